//! The meter of one poll thread: packets in, flows that ended out.

mod ended;
mod flow;
mod note;
mod sampler;
mod set;
mod table;
#[cfg(test)]
mod tests;

pub use ended::{Ended, Ends};
use flow::{Flow, Time};
use note::Batch;
pub use note::{BATCH, Notes};
use sampler::Sampler;
use set::WAYS;
use table::Table;

use crate::EndReason;
use crate::key::Key;

/// Every flow is looked at as often (ms): a record leaves at most so long after its time.
const ROUND: u64 = 500;

/// Most flows that end in one go.
pub const LOOKED_AT_ONCE: usize = 1024;

/// How often a thread that has nothing else to do wakes for the flows (ms).
const LOOK: u64 = 100;

/// A TCP flow that said that it ends is over when it is quiet for so long (ms): the last word comes after that.
const ENDS_AFTER: u64 = 500;

const FIN_OR_RST: u8 = weft_packet::tcp::flag::FIN | weft_packet::tcp::flag::RST;

/// How flows are metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A record is made of a flow that goes on for so long (ms).
    pub active: u64,
    /// A flow of which no packet comes for so long is over (ms).
    pub idle: u64,
    /// One packet in so many is metered; 0 and 1: every one.
    pub sampling: u32,
}

/// What a meter has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that were metered.
    pub packets: u64,
    /// Flows that began.
    pub flows: u64,
    /// Flows that ended because there was no room for another.
    pub evicted: u64,
}

/// The meter of one thread.
pub struct Meter {
    table: Table,
    timing: Timing,
    sampler: Sampler,
    batch: Batch,
    tally: Tally,
    /// The set of places that is looked at next.
    next: usize,
    /// Until when sets were looked at (ms), and what is left of that in sets, times the time of a round.
    looked: u64,
    due: u64,
    /// Sets that are looked at whether something is due or not.
    urgent: usize,
}

impl Meter {
    /// A meter with room for `flows`, from the time `now` (ms) on. `seed` is not known to those whose packets are metered. `prepare` is
    /// told of the meter's memory, by address and octets, before it is first written.
    pub fn new(
        flows: usize,
        timing: Timing,
        seed: u64,
        now: u64,
        prepare: impl Fn(*const u8, usize),
    ) -> Self {
        Self {
            table: Table::new(flows, seed, prepare),
            timing,
            sampler: Sampler::new(timing.sampling, seed),
            batch: Batch::default(),
            tally: Tally::default(),
            next: 0,
            looked: now,
            due: 0,
            urgent: 0,
        }
    }

    /// Has other timeouts. What takes another share of packets is another meter.
    pub fn set_timing(&mut self, timing: Timing) {
        debug_assert_eq!(timing.sampling, self.timing.sampling);
        self.timing = timing;
        self.look_at_all();
    }

    /// Has every flow looked at within a round: their ports may be others, or have others' numbers.
    pub fn look_at_all(&mut self) {
        self.urgent = self.table.sets();
    }

    /// How flows are metered.
    pub const fn timing(&self) -> Timing {
        self.timing
    }

    /// Flows that it knows.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it knows no flow.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// What it has done.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether every packet is metered.
    #[inline(always)]
    pub const fn takes_all(&self) -> bool {
        self.sampler.takes_all()
    }

    /// Whether the next packet is one that is metered.
    #[inline]
    pub fn takes(&mut self) -> bool {
        self.sampler.takes()
    }

    /// Looks at those flows whose turn it is. `stays` tells of one whether its ports are still metered; `end` is given those whose
    /// time is up. Returns whether more are due already.
    pub fn look(
        &mut self,
        now: u64,
        stays: impl Fn(&Ends) -> bool,
        mut end: impl FnMut(&Ended),
    ) -> bool {
        let elapsed = now.saturating_sub(self.looked).min(ROUND);
        self.looked = now;
        if self.is_empty() {
            self.due = 0;
            return false;
        }
        let all = self.table.sets() as u64;
        // One round at most: what was looked at then has been looked at.
        self.due = (self.due + elapsed * all).min(all * ROUND);
        let sets = (self.due / ROUND).min((LOOKED_AT_ONCE / WAYS) as u64);
        self.due -= sets * ROUND;
        let timing = &self.timing;
        for _ in 0..sets {
            if self.next >= self.table.sets() {
                self.next = 0;
            }
            self.table.look(
                self.next,
                Time::new(now),
                self.urgent > 0,
                |key, flow| reason_to_end(key, flow, timing, now, &stays),
                |key, flow, reason| end(&Ended::new(key, flow, reason, now)),
            );
            self.next += 1;
            self.urgent = self.urgent.saturating_sub(1);
        }
        self.due >= ROUND
    }

    /// When flows are to be looked at next (ms); `None` while there is none.
    pub fn next_look(&self) -> Option<u64> {
        let behind = if self.due >= ROUND { 0 } else { LOOK };
        (!self.is_empty()).then_some(self.looked + behind)
    }

    /// The flows of some places from `first` on, as they are at the time `now` (ms), for those who ask what goes on. Returns the
    /// place to go on with, if any is left.
    pub fn show(
        &self,
        first: usize,
        places: usize,
        now: u64,
        mut show: impl FnMut(&Ended),
    ) -> Option<usize> {
        let sets = first / WAYS..self.table.sets().min((first + places).div_ceil(WAYS));
        let next = sets.end;
        for set in sets {
            self.table.show(set, |key, flow| {
                if flow.packets > 0 {
                    show(&Ended::new(key, flow, EndReason::Active, now));
                }
            });
        }
        (next < self.table.sets()).then_some(next * WAYS)
    }
}

/// Why a record of a flow is to be made, or until when none is.
fn reason_to_end(
    key: &Key,
    flow: &Flow,
    timing: &Timing,
    now: u64,
    stays: impl Fn(&Ends) -> bool,
) -> Result<EndReason, Time> {
    let quiet = flow.last.until(now);
    let is_ending = flow.tcp_flags & FIN_OR_RST != 0;
    let patience = if is_ending {
        timing.idle.min(ENDS_AFTER)
    } else {
        timing.idle
    };
    // One of which nothing is counted since it was told of begins anew with its next packet.
    let is_counted = flow.packets > 0;
    let begun = if is_counted {
        flow.first
    } else {
        Time::new(now)
    };
    if !stays(&Ends::of(key)) {
        Ok(EndReason::Forced)
    } else if is_ending && quiet >= ENDS_AFTER {
        Ok(EndReason::Ended)
    } else if quiet >= timing.idle {
        Ok(EndReason::Idle)
    } else if is_counted && begun.until(now) >= timing.active {
        Ok(EndReason::Active)
    } else {
        Err(flow
            .last
            .after(patience)
            .or_earlier(begun.after(timing.active)))
    }
}
