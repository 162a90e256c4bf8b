//! tcpdump in a VM, with known moments at which it listens and has printed everything.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::timeout;

use crate::LabError;
use crate::command::program;

/// How long tcpdump may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running tcpdump.
pub(super) struct Capture {
    tcpdump: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Kept open: tcpdump writes its statistics there at the end.
    stderr: Lines<BufReader<ChildStderr>>,
    lines: Vec<String>,
}

impl Capture {
    /// Starts tcpdump for the ICMP frames of `eth0` in a namespace, and returns when it listens.
    pub(super) async fn start(namespace: &str) -> Result<Self, LabError> {
        // Each frame is handed over and printed at once, not with the next buffer.
        let arguments = [
            "tcpdump",
            "-n",
            "-i",
            "eth0",
            "-l",
            "--immediate-mode",
            "icmp",
        ];
        let mut tcpdump = program("ip")
            .args(["netns", "exec", namespace])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| LabError::io("tcpdump", &error))?;
        let missing = || LabError::failed("tcpdump", "has no output");
        let stdout = BufReader::new(tcpdump.stdout.take().ok_or_else(missing)?).lines();
        let stderr = BufReader::new(tcpdump.stderr.take().ok_or_else(missing)?).lines();
        let mut capture = Self {
            tcpdump,
            stdout,
            stderr,
            lines: Vec::new(),
        };
        let mut said = String::new();
        let listening = async {
            while let Ok(Some(line)) = capture.stderr.next_line().await {
                if line.contains("listening on") {
                    return true;
                }
                said = line;
            }
            false
        };
        match timeout(PATIENCE, listening).await {
            Ok(true) => Ok(capture),
            _ => Err(LabError::failed(
                "tcpdump",
                format!("does not start to listen: {said}"),
            )),
        }
    }

    /// Waits until it prints a line that holds `marker`.
    pub(super) async fn until(&mut self, marker: &str) -> Result<(), LabError> {
        let printed = async {
            while let Ok(Some(line)) = self.stdout.next_line().await {
                let last = line.contains(marker);
                self.lines.push(line);
                if last {
                    return true;
                }
            }
            false
        };
        match timeout(PATIENCE, printed).await {
            Ok(true) => Ok(()),
            _ => Err(LabError::failed(
                "tcpdump",
                format!("does not see {marker:?}"),
            )),
        }
    }

    /// Ends it and returns every line that it printed.
    pub(super) async fn stop(mut self) -> Result<Vec<String>, LabError> {
        let pid = self
            .tcpdump
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not yet waited for, so the number is still its own.
            kill_process(pid, Signal::INT)
                .map_err(|error| LabError::io("tcpdump", &error.into()))?;
        }
        let rest = async {
            while let Ok(Some(line)) = self.stdout.next_line().await {
                self.lines.push(line);
            }
            self.tcpdump.wait().await
        };
        match timeout(PATIENCE, rest).await {
            Ok(Ok(_)) => Ok(self.lines),
            Ok(Err(error)) => Err(LabError::io("tcpdump", &error)),
            Err(_) => Err(LabError::failed("tcpdump", "does not end")),
        }
    }
}
