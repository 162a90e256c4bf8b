//! How many files the agent may have open.

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
