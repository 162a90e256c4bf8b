//! A program that runs beside the tests, with all that it starts.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::NamedTempFile;

use crate::{eventually, until};

/// A running program, and what it says. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: NamedTempFile,
}

impl Process {
    /// Starts a command, both of whose streams are one.
    ///
    /// # Panics
    /// If it cannot be run.
    pub(crate) fn start(mut command: Command) -> Self {
        let log = NamedTempFile::new().expect("a temporary file");
        let stream = || File::options().append(true).open(log.path());
        let stream = || stream().expect("the file is there");
        command.stdin(Stdio::null()).stdout(stream());
        command.stderr(stream()).process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// Waits until it has said this.
    ///
    /// # Panics
    /// If it does not within 10 s.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        until(words, || self.said().contains(words));
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Asks it to end (SIGTERM), and returns what it has said when it has.
    ///
    /// # Panics
    /// If it does not within 10 s.
    #[track_caller]
    pub(crate) fn ends(mut self) -> String {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        let ended = eventually(Duration::from_secs(10), || {
            self.child.try_wait().expect("it is a child")
        });
        assert!(ended.is_some(), "it does not end: {}", self.said());
        self.said()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails for one that has ended.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
