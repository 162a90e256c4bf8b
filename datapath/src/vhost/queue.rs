//! A ring with what belongs to it: how the guest and the switch wake each other, and what was negotiated.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};

use super::QUEUES;
use super::call::Call;
use super::ring::{Broken, Ring};
use crate::Offloads;

/// A queue that runs.
pub(crate) struct Queue {
    pub(crate) ring: Ring,
    /// The guest writes to it after it made buffers available; without one, the ring is looked at again and again.
    pub(crate) kick: Option<OwnedFd>,
    /// Notifies the guest; without one, it looks by itself.
    pub(crate) call: Option<Call>,
    /// Frames may take several chains (VIRTIO_NET_F_MRG_RXBUF).
    pub(crate) merges: bool,
    /// The guest may leave work to the switch; else the header before its frames need not be read.
    pub(crate) reads_header: bool,
    /// What the guest takes.
    pub(crate) offloads: Offloads,
}

impl Queue {
    /// Notifies the guest of what was published, if it wants that.
    #[inline]
    pub(crate) fn notify(&mut self) {
        if self.ring.wants_notification() {
            self.call();
        }
    }

    /// Notifies the guest, whatever it wishes: of a queue that starts nobody knows whether the last switch, which may have been
    /// killed, still told of what it published.
    #[inline]
    pub(crate) fn call(&self) {
        if let Some(call) = &self.call {
            call.ring();
        }
    }
}

/// Why a port's queues stand still although its front-end wants them to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    AvailableIndex = 1,
    Head,
    Memory,
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::AvailableIndex => Self::AvailableIndex,
            Broken::Head => Self::Head,
        }
    }
}

impl Fault {
    /// What is behind a fault: a ring whose memory was taken away says anything.
    pub(crate) fn of(self, queue: Option<&Queue>) -> Self {
        match queue {
            Some(queue) if queue.ring.is_lost() => Self::Memory,
            _ => self,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::AvailableIndex => {
                "the guest's driver made more buffers available than its ring has; restart the guest"
            }
            Self::Head => {
                "the guest's driver named a descriptor that its ring does not have; restart the guest"
            }
            Self::Memory => {
                "the file of the guest's memory was truncated while the guest ran; restart the VM"
            }
        }
    }
}

/// The fault of every queue, which poll threads report and the control side shows.
#[derive(Debug, Default)]
pub(crate) struct Faults([AtomicU8; QUEUES]);

impl Faults {
    pub(crate) fn report(&self, queue: usize, fault: Fault) {
        self.0[queue].store(fault as u8, Ordering::Relaxed);
    }

    /// A queue is another, or none, from now on.
    pub(crate) fn clear(&self, queue: usize) {
        self.0[queue].store(0, Ordering::Relaxed);
    }

    pub(crate) fn clear_all(&self) {
        (0..QUEUES).for_each(|queue| self.clear(queue));
    }

    /// What happened and what to do, for an operator: of several faults the one that explains most.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        let reported = |fault: &Fault| {
            let code = *fault as u8;
            self.0.iter().any(|own| own.load(Ordering::Relaxed) == code)
        };
        [Fault::Memory, Fault::AvailableIndex, Fault::Head]
            .into_iter()
            .find(reported)
            .map(Fault::reason)
    }
}
