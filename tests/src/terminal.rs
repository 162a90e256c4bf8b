//! A real terminal, by tmux: what is typed, and what stands on the screen.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Answer, eventually, weft};

/// A terminal in which a program runs. It ends with this.
#[derive(Debug)]
pub struct Terminal {
    directory: tempfile::TempDir,
}

impl Terminal {
    /// A terminal of 80 columns and 24 rows in which a shell line runs, with `weft` in the `PATH` and this agent as `WEFT_AGENT`.
    ///
    /// # Panics
    /// If tmux does not start.
    pub fn running(line: &str, agent: &Path) -> Self {
        let terminal = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        let mut command = terminal.tmux();
        let weft = weft();
        let programs = weft.parent().expect("a file is in a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("HOME", terminal.directory.path())
            .env("WEFT_AGENT", agent)
            .env_remove("NO_COLOR")
            .args(["new-session", "-d", "-x", "80", "-y", "24", line]);
        Answer::of(&mut command).succeeds();
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        let socket = self.directory.path().join("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(socket);
        command
    }

    fn tells(&self, words: &[&str]) -> String {
        Answer::of(self.tmux().args(words)).succeeds()
    }

    /// The directory that is `HOME` in it.
    pub fn home(&self) -> &Path {
        self.directory.path()
    }

    /// Types a text.
    pub fn types(&self, text: &str) {
        self.tells(&["send-keys", "-l", text]);
    }

    /// Presses a key, such as `Enter`, `Tab`, `C-c` or `PageDown`.
    pub fn presses(&self, key: &str) {
        self.tells(&["send-keys", key]);
    }

    /// Gives it another size.
    pub fn resizes(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tells(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// What stands on the screen, in lines without spaces at their ends.
    pub fn screen(&self) -> String {
        self.tells(&["capture-pane", "-p"])
    }

    /// The same with its attributes, as escape sequences.
    pub fn attributes(&self) -> String {
        self.tells(&["capture-pane", "-p", "-e"])
    }

    /// What tmux says of it, such as `#{alternate_on}`.
    pub fn fact(&self, format: &str) -> String {
        self.tells(&["display-message", "-p", format])
            .trim()
            .to_owned()
    }

    /// Waits until a text stands on the screen.
    ///
    /// # Panics
    /// If it does not within 15 s.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        self.is(text, |screen| screen.contains(text));
    }

    /// Waits until the screen is as it should be.
    ///
    /// # Panics
    /// If it is not within 15 s; `what` then says how.
    #[track_caller]
    pub fn is(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let holds = || holds(&self.screen()).then_some(());
        let held = eventually(Duration::from_secs(15), holds);
        assert!(held.is_some(), "not {what:?}:\n{}", self.screen());
    }

    /// Sends a signal to what the shell of the terminal runs.
    ///
    /// # Panics
    /// If it runs nothing.
    #[track_caller]
    pub fn signals(&self, signal: Signal) {
        let shell = self.fact("#{pane_pid}");
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let children = children.expect("the shell runs");
        let child = children.split_ascii_whitespace().next();
        let child = child.and_then(|child| child.parse().ok());
        let child = child.and_then(Pid::from_raw);
        kill_process(child.expect("the shell runs something"), signal).expect("it runs");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}
