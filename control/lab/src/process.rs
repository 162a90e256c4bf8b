//! Processes that outlive the command that started them: known by number and start time, so that a number which the kernel
//! has given to somebody else is never signalled.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// How long a killed process may take to go.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// One process, told apart from any later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// Clock ticks after boot (`/proc/PID/stat`, field 22).
    pub(crate) start_time: u64,
}

impl ProcessId {
    /// This process.
    pub(crate) fn of_self() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// The process that has this number now. `None`: none has, or it has ended and only waits to be reaped.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self {
            pid,
            start_time: start_time_of_running(&stat)?,
        })
    }

    /// Whether it still runs.
    pub(crate) fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Asks the process to end, waits for `grace`, then kills it. Returns when it is gone.
    pub(crate) async fn stop(self, grace: Duration) -> io::Result<()> {
        tokio::task::spawn_blocking(move || self.stop_blocking(grace))
            .await
            .map_err(io::Error::other)?
    }

    fn stop_blocking(self, grace: Duration) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        // The file descriptor pins the process, the comparison after it makes sure that it is the right one.
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(());
        };
        if !self.is_running() {
            return Ok(());
        }
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, LAST_PATIENCE)] {
            if patience.is_zero() {
                continue;
            }
            match pidfd_send_signal(&pidfd, signal) {
                Ok(()) => {}
                Err(Errno::SRCH) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if ends_within(&pidfd, patience)? {
                return Ok(());
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("process {} does not end", self.pid),
        ))
    }
}

/// A pidfd is readable when its process has ended (pidfd_open(2)).
fn ends_within(pidfd: &OwnedFd, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The start time in a line of `/proc/PID/stat`, unless the process has ended. The second field is the program's name in
/// parentheses and may itself hold spaces and parentheses.
fn start_time_of_running(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let rest = "S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 2703360 1";
        for name in ["weft", "a b", "a) R 1 (b"] {
            assert_eq!(
                start_time_of_running(&format!("7 ({name}) {rest}")),
                Some(4711),
                "{name}"
            );
        }
        assert_eq!(
            start_time_of_running(&format!("7 (weft) {}", rest.replace("S ", "Z "))),
            None
        );
        assert_eq!(start_time_of_running("7 (weft"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let this = ProcessId::of_self().unwrap();
        assert!(this.is_running());
        assert!(
            !ProcessId {
                start_time: this.start_time + 1,
                ..this
            }
            .is_running()
        );
    }

    #[tokio::test]
    async fn a_stranger_with_the_same_number_is_left_alone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        ProcessId {
            start_time: id.start_time + 1,
            ..id
        }
        .stop(Duration::from_secs(1))
        .await
        .unwrap();
        assert!(id.is_running());
        id.stop(Duration::from_secs(1)).await.unwrap();
        assert!(!id.is_running());
        child.wait().unwrap();
    }
}
