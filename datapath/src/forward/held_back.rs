//! Destinations for whose limits copies wait, as one thread remembers them: those that it had to hold back itself.

use crate::PortId;

/// Which destinations these are, and when the next of them is worth a look.
pub(super) struct HeldBack {
    /// Each with the time (ns) at which a copy may leave.
    ports: Vec<(PortId, u64)>,
    /// By port number: whether it is in the list.
    is_noted: Vec<bool>,
    /// The first of all times.
    next: u64,
}

impl Default for HeldBack {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            is_noted: Vec::new(),
            next: u64::MAX,
        }
    }
}

impl HeldBack {
    /// Makes room for ports up to a number.
    pub(super) fn make_room(&mut self, slots: usize) {
        self.is_noted.resize(slots, false);
        self.ports.reserve(slots);
    }

    /// Remembers a port where a copy may leave at that time.
    pub(super) fn note(&mut self, port: PortId, opens_at: u64) {
        if !std::mem::replace(&mut self.is_noted[port.index()], true) {
            self.ports.push((port, opens_at));
            self.next = self.next.min(opens_at);
        }
    }

    /// The first time at which a copy may leave; `None` if there is none.
    #[inline]
    pub(super) fn next_opening(&self) -> Option<u64> {
        (self.next < u64::MAX).then_some(self.next)
    }

    #[inline]
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.next <= now
    }

    /// Makes every port due.
    pub(super) fn look_at_all(&mut self) {
        for (_, opens_at) in &mut self.ports {
            *opens_at = 0;
            self.next = 0;
        }
    }

    /// Hands every port that is due to `send`, which tells when more may leave, and forgets it where nothing waits.
    #[cold]
    pub(super) fn retain(&mut self, now: u64, mut send: impl FnMut(PortId) -> Option<u64>) {
        self.next = u64::MAX;
        let Self {
            ports,
            is_noted,
            next,
        } = self;
        ports.retain_mut(|(port, opens_at)| {
            if *opens_at <= now {
                let Some(later) = send(*port) else {
                    is_noted[port.index()] = false;
                    return false;
                };
                *opens_at = later;
            }
            *next = (*next).min(*opens_at);
            true
        });
    }
}
