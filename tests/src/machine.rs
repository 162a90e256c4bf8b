//! A place for labs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::{Answer, eventually, weft};

/// A machine of its own, as far as labs can tell: its own processes, interfaces, and `/run`. What is left in it is all that
/// somebody left there, and goes with it.
#[derive(Debug)]
pub struct Machine {
    init: Child,
    /// Its first process ends, and with it all others, when this is closed.
    _lifeline: ChildStdin,
}

/// A command that runs in a machine.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Its number among the processes of the machine.
    pid: String,
    said: String,
}

impl Machine {
    /// A machine in which nothing runs.
    ///
    /// # Panics
    /// If the kernel does not make one.
    #[expect(clippy::new_without_default, reason = "it changes the system")]
    pub fn new() -> Self {
        // Bash waits for processes that lost their parents, as a first process must.
        let script = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && echo ready && read";
        let mut init = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["bash", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("running unshare (install util-linux)");
        let lifeline = init.stdin.take().expect("its input is a pipe");
        let mut ready = [0; 6];
        let mut output = init.stdout.take().expect("its output is a pipe");
        output
            .read_exact(&mut ready)
            .expect("a machine of its own needs namespaces: run this as root");
        Self {
            init,
            _lifeline: lifeline,
        }
    }

    /// A command to be run in it.
    fn command(&self, words: &[&str]) -> Command {
        // unshare forked: the machine's first process is its child.
        let init = self.init.id();
        let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children"));
        let first = children.expect("the machine runs").trim().to_owned();
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--pid", "--target", &first, "--"]);
        command
            .args(words)
            .env_remove("WEFT_AGENT")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program in it.
    pub fn runs(&self, words: &[&str]) -> Answer {
        Answer::of(&mut self.command(words))
    }

    /// Runs `weft` in it.
    pub fn weft(&self, line: &str) -> Answer {
        let weft = weft();
        let weft = weft.to_str().expect("a path in UTF-8");
        let words: Vec<&str> = [weft]
            .into_iter()
            .chain(line.split_ascii_whitespace())
            .collect();
        self.runs(&words)
    }

    /// Starts `weft` in it.
    ///
    /// # Panics
    /// If that fails.
    pub fn starts(&self, line: &str) -> Running {
        let script = format!("echo $$; exec '{}' {line}", weft().display());
        let mut child = self
            .command(&["sh", "-c", &script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("running nsenter (install util-linux)");
        let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut pid = String::new();
        output.read_line(&mut pid).expect("its number is readable");
        Running {
            child,
            output,
            pid: pid.trim().to_owned(),
            said: String::new(),
        }
    }

    /// Sends a signal, such as `INT`, to a command in it.
    pub fn signals(&self, running: &Running, signal: &str) {
        self.runs(&["kill", "-s", signal, &running.pid]).succeeds();
    }

    /// Checks that nothing is left in it; a process that was killed may take a moment to go.
    ///
    /// # Panics
    /// If something is left after 2 s; `when` then says when.
    #[track_caller]
    pub fn is_clean(&self, when: &str) {
        let clean = || self.leftovers().is_empty().then_some(());
        let clean = eventually(Duration::from_secs(2), clean);
        assert!(clean.is_some(), "{when}: {:#?}", self.leftovers());
    }

    /// Every process, namespace, interface and file that is left in it. A new machine has none.
    pub fn leftovers(&self) -> Vec<String> {
        // Bash is its first process, and the one that looks.
        let script = "\
            for process in /proc/[0-9]*; do
                name=$(cat $process/comm)
                [ \"$name\" != bash ] && grep -q '^State:.[^Z]' $process/status &&
                    echo \"process $name: $(tr '\\0' ' ' < $process/cmdline)\"
            done 2>/dev/null
            ip netns list | sed 's/^/namespace /'
            ip -o link | grep -v ': lo:' | sed 's/^/interface /'
            find /run -mindepth 1 -not -path /run/netns | sed 's/^/file /'";
        let answer = self.runs(&["bash", "-c", script]);
        answer.stdout.lines().map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

impl Running {
    /// Reads what it prints up to a line that holds `marker`.
    ///
    /// # Panics
    /// If it ends before.
    #[track_caller]
    pub fn reaches(&mut self, marker: &str) {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line);
            assert_ne!(
                read.expect("its output is text"),
                0,
                "it ended before {marker:?}: {}",
                self.said
            );
            self.said += &line;
            if line.contains(marker) {
                return;
            }
        }
    }

    /// Waits for its end. Returns its exit code, or `None` if a signal ended it, and all that it printed.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let _ = self.output.read_to_string(&mut self.said);
        let errors = self.child.stderr.as_mut().expect("its errors are a pipe");
        let _ = errors.read_to_string(&mut self.said);
        let status = self.child.wait().expect("it was a child");
        (status.code(), self.said)
    }
}
