//! A ping that goes on while something happens.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Vm;

/// A running ping of one VM by another.
#[derive(Debug)]
pub struct Pings {
    child: Child,
    /// When each line came, and what it said.
    lines: Receiver<(Instant, String)>,
}

impl Pings {
    /// Starts to ping every 10 ms, and returns at the first reply.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn start(from: &Vm, to: &Vm) -> Self {
        let mut child = from
            .command(&format!("ping -n -i 0.01 {}", to.ip))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("running ip (install iproute2)");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        let pings = Self { child, lines };
        pings.reply_after(Instant::now());
        pings
    }

    /// How long after `start` the first reply came.
    ///
    /// # Panics
    /// If none came within 10 s.
    #[track_caller]
    pub fn reply_after(&self, start: Instant) -> Duration {
        let deadline = start + Duration::from_secs(10);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (when, line) = self
                .lines
                .recv_timeout(left)
                .expect("a ping is answered within 10 s");
            if when >= start && line.contains("bytes from") {
                return when - start;
            }
        }
    }

    /// Ends it and returns how many were sent and how many answered.
    ///
    /// # Panics
    /// If it does not say so.
    #[track_caller]
    pub fn stop(mut self) -> (u64, u64) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("ping still runs");
        let lines = self.lines.iter().map(|(_, line)| line);
        let summary = lines.filter(|line| line.contains("packets transmitted"));
        let summary = summary.last().expect("ping sums up");
        let _ = self.child.wait();
        let mut numbers = summary
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok());
        let mut next = || numbers.next().expect("ping gives numbers");
        (next(), next())
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
