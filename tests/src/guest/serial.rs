//! Commands over a guest's second serial line, whose other end is a socket. `init.sh` is the other side.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::Answer;

/// Runs a line of shell. There is one client at a time.
///
/// # Errors
/// Nobody listens, or there is no answer in time.
pub(super) fn run(socket: &Path, line: &str, patience: Duration) -> Result<Answer> {
    static REQUESTS: AtomicU32 = AtomicU32::new(0);
    assert!(!line.contains('\n'), "a line of shell: {line}");
    let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let mut stream = UnixStream::connect(socket)?;
    // A client that went away half-way may have left half a line.
    stream.write_all(format!("\n{request} {line}\n").as_bytes())?;
    let mut output = BufReader::new(Patient {
        stream,
        deadline: Instant::now() + patience,
    });
    let marker = format!("@{request} ");
    loop {
        let mut head = Vec::new();
        output.read_until(b'\n', &mut head)?;
        if head.is_empty() {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the guest is gone"));
        }
        // Anything else belongs to a request that nobody waits for any more.
        let head = String::from_utf8_lossy(&head);
        if let Some(head) = head.strip_prefix(&marker) {
            return answer(line, head, &mut output);
        }
    }
}

/// The answer behind its first line.
fn answer(line: &str, head: &str, output: &mut impl Read) -> Result<Answer> {
    let mut numbers = head.split_ascii_whitespace().map(str::parse::<u32>);
    let (Some(Ok(code)), Some(Ok(stdout)), Some(Ok(stderr))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return Err(Error::new(ErrorKind::InvalidData, head.to_owned()));
    };
    let mut text = |length: u32| -> Result<String> {
        let mut octets = vec![0; length as usize];
        output.read_exact(&mut octets)?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    };
    Ok(Answer {
        command: line.to_owned(),
        code: i32::try_from(code).ok(),
        stdout: text(stdout)?,
        stderr: text(stderr)?,
    })
}

/// A stream that is read until a deadline.
struct Patient {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::TimedOut, "no answer in time"));
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}
