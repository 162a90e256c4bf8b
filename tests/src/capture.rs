//! What passes an interface, recorded by tcpdump.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::{Answer, until};

/// Octets of the header of a pcap file, and of each packet in it (draft-ietf-opsawg-pcap §4, §5).
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// A running tcpdump, and the file that it writes.
#[derive(Debug)]
pub struct Capture {
    _tcpdump: Process,
    file: PathBuf,
    _directory: TempDir,
}

impl Capture {
    /// Starts to record what a namespace receives at `interface`, by a command that runs its words in it. Returns when it does.
    ///
    /// # Panics
    /// If tcpdump does not start.
    pub fn start(run: impl Fn(&str) -> Command, interface: &str, filter: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("capture.pcap");
        // Its buffer has a place of the longest frame's size for each.
        let line = format!(
            "tcpdump -n -i {interface} -Q in -U --immediate-mode -s 2048 -B 65536 -Z root -w {} {filter}",
            file.display()
        );
        let tcpdump = Process::start(run(&line));
        tcpdump.says("listening on");
        Self {
            _tcpdump: tcpdump,
            file,
            _directory: directory,
        }
    }

    /// The file, once it has `count` frames.
    ///
    /// # Panics
    /// If it does not get so many within 10 s, or gets more.
    #[track_caller]
    pub fn holds(&self, count: u64) -> &Path {
        until("every frame is recorded", || self.len() >= count);
        assert_eq!(self.len(), count, "frames that were recorded");
        &self.file
    }

    /// How many frames it has.
    pub fn len(&self) -> u64 {
        let file = fs::read(&self.file).unwrap_or_default();
        let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
        let mut count = 0;
        // The last one may be half written.
        while let Some(length) = rest.get(8..12).and_then(|octets| octets.first_chunk()) {
            let next = PACKET_HEADER + u32::from_ne_bytes(*length) as usize;
            let Some(after) = rest.get(next..) else { break };
            rest = after;
            count += 1;
        }
        count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file as it is.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// What tshark reads from a file, with these options: one line for each frame, of these fields in order, as text; empty where a frame
/// has none, and the outermost where it has several.
///
/// # Panics
/// If tshark fails.
#[track_caller]
pub fn fields<const N: usize>(file: &Path, options: &str, fields: [&str; N]) -> Vec<[String; N]> {
    let mut command = tshark(file, options);
    command.args(["-T", "fields", "-E", "occurrence=f"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let lines = Answer::of(&mut command).succeeds();
    let texts = lines.lines().map(|line| {
        let texts: Vec<_> = line.split('\t').map(str::to_owned).collect();
        texts.try_into().expect("as many fields as were asked for")
    });
    texts.collect()
}

/// What tshark makes of every frame of a file that a filter lets through, with these options: all layers, as JSON.
///
/// # Panics
/// If tshark fails.
#[track_caller]
pub fn dissected(file: &Path, options: &str, filter: &str) -> Vec<Value> {
    let mut command = tshark(file, options);
    // A name that comes several times makes a list.
    command.args(["-T", "json", "--no-duplicate-keys", "-Y", filter]);
    let frames = Answer::of(&mut command).json();
    let frames = frames.as_array().expect("frames are a list");
    let layers = |frame: &Value| frame["_source"]["layers"].clone();
    frames.iter().map(layers).collect()
}

fn tshark(file: &Path, options: &str) -> Command {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file);
    command.args(options.split_ascii_whitespace());
    command
}
