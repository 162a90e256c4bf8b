//! How many files the agent may have open, and some that are kept for when there are no more.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A vhost-user port with one queue pair has this many descriptors; other ports have fewer. One with eight pairs has 84.
const OF_A_PORT: u64 = 28;

/// A limit below this is worth a line in the log: hosts of some hundreds of VMs are common.
const SMALL: u64 = 16_384;

/// The default of the kernel's own bound (fs.nr_open): enough for all ports that a host carries.
const ENOUGH: u64 = 1_048_576;

/// Raises the limit as far as it may be raised: the hard limit too, where the agent may. The soft limit that a process is given is
/// 1024 on most systems, for the sake of select(2), which the agent does not use.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let own = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let raised = match limit.maximum {
        Some(maximum) if maximum < ENOUGH => Rlimit {
            current: Some(ENOUGH),
            maximum: Some(ENOUGH),
        },
        _ => own,
    };
    let set = |wanted: Rlimit| setrlimit(Resource::Nofile, wanted).map(|()| wanted);
    let limit = set(raised).or_else(|_| set(own)).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be raised");
        limit
    });
    if let Some(limit) = limit.current.filter(|limit| *limit < SMALL) {
        let guests = limit / OF_A_PORT;
        tracing::warn!(
            limit,
            "the limit of open files is enough for some {guests} VMs on vhost-user sockets; more need a larger hard limit \
             (LimitNOFILE)"
        );
    }
}

/// Descriptors that are held to be given up: enough for an operator's connections and for the file of a change.
const RESERVED: usize = 32;

/// Whether the reserve had to be given up.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

/// Whether there are no descriptors left but those that were reserved.
pub(crate) fn are_exhausted() -> bool {
    EXHAUSTED.load(Ordering::Relaxed)
}

/// How long after they were given up they are taken again at the earliest: meanwhile whoever needs one finds it.
const PAUSE: Duration = Duration::from_secs(2);

/// Descriptors that are held so that they can be given up.
pub(crate) struct Reserve {
    held: Vec<File>,
    again: Instant,
}

impl Reserve {
    /// Takes as many as there are, if that is enough.
    pub(crate) fn new() -> Self {
        let mut reserve = Self {
            held: Vec::new(),
            again: Instant::now(),
        };
        reserve.refill();
        reserve
    }

    /// Gives them up. Returns whether there were any.
    pub(crate) fn release(&mut self) -> bool {
        if !EXHAUSTED.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "there are no file descriptors left: what comes now cannot be attached"
            );
        }
        self.again = Instant::now() + PAUSE;
        !std::mem::take(&mut self.held).is_empty()
    }

    /// Takes them again where they were given up and others have been closed since.
    pub(crate) fn refill(&mut self) {
        if !self.held.is_empty() || Instant::now() < self.again {
            return;
        }
        let taken: Result<Vec<_>, _> = (0..RESERVED).map(|_| File::open("/dev/null")).collect();
        let Ok(taken) = taken else {
            self.again = Instant::now() + PAUSE;
            return;
        };
        self.held = taken;
        if EXHAUSTED.swap(false, Ordering::Relaxed) {
            tracing::info!("there are file descriptors again");
        }
    }
}
