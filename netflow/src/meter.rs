//! The meter of one poll thread: packets in, flows that ended out.

mod sampler;
mod table;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;

use crate::key::Key;
use crate::packet::Packet;
use crate::{Counts, Direction, End, EndReason, Record};
use sampler::Sampler;
use table::{Found, Spot, State, Table};

/// Most packets that are metered at once.
pub const BATCH: usize = 32;

/// Every flow is looked at as often (ms): a record leaves at most so long after its time.
const ROUND: u64 = 500;

/// Sets that are looked at in one go.
const SETS_AT_ONCE: u64 = 256;

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

/// A flow that ended, or a part of one, as a poll thread hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    key: Key,
    state: State,
    reason: EndReason,
}

impl Ended {
    /// Where it passes.
    pub fn ends(&self) -> Ends {
        Ends::of(&self.key)
    }

    /// The same in words.
    pub fn record(&self) -> Record {
        let state = &self.state;
        Record {
            flow: self.key.flow(),
            counts: Counts {
                packets: state.packets,
                octets: state.octets,
                layer2_octets: state.layer2_octets,
                first: state.first,
                last: state.last,
                tcp_flags: state.tcp_flags.into(),
                min_ttl: state.min_ttl,
                max_ttl: state.max_ttl,
            },
            reason: self.reason,
        }
    }
}

/// The ends of a flow that goes on, and which of them has it metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where it enters.
    pub ingress: End,
    /// Where it leaves.
    pub egress: End,
    /// How it passes the port that has it metered.
    pub direction: Direction,
}

impl Ends {
    fn of(key: &Key) -> Self {
        Self {
            ingress: key.ingress(),
            egress: key.egress(),
            direction: key.direction(),
        }
    }
}

/// The meter of one thread.
pub struct Meter {
    table: Table,
    timing: Timing,
    sampler: Sampler,
    seed: u64,
    batch: ArrayVec<(Packet, Spot), BATCH>,
    tally: Tally,
    /// Since when sets are looked at (ms), and how many were: one after the other, all of them once in a round.
    started: u64,
    looked: u64,
}

impl Meter {
    /// A meter with room for `flows`, from the time `now` (ms) on. `seed` is not known to those whose packets are metered.
    pub fn new(flows: usize, timing: Timing, seed: u64, now: u64) -> Self {
        Self {
            table: Table::new(flows),
            timing,
            sampler: Sampler::new(timing.sampling, seed),
            seed,
            batch: ArrayVec::new(),
            tally: Tally::default(),
            started: now,
            looked: 0,
        }
    }

    /// Has other timeouts and another sampling.
    pub fn set_timing(&mut self, timing: Timing) {
        if timing.sampling != self.timing.sampling {
            self.sampler = Sampler::new(
                timing.sampling,
                self.seed.rotate_left(self.tally.packets as u32),
            );
        }
        self.timing = timing;
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

    /// Whether the next packet is one that is metered.
    #[inline]
    pub fn takes(&mut self) -> bool {
        self.sampler.takes()
    }

    /// Notes a packet, to be counted with the others of its burst, at most [`BATCH`]. `prefetch` is told which memory will be read.
    #[inline]
    pub fn note(&mut self, packet: Packet, prefetch: impl FnOnce(*const u8)) {
        if let Some((last, _)) = self.batch.last_mut()
            && last.key == packet.key
        {
            last.add(&packet);
            return;
        }
        let spot = self.table.spot(packet.key.hash(self.seed));
        prefetch(self.table.tags_at(&spot));
        debug_assert!(!self.batch.is_full(), "more packets than a burst has");
        let _ = self.batch.try_push((packet, spot));
    }

    /// Counts what was noted, at the time `now` (ms). `end` is given what had to go.
    #[inline]
    pub fn count(&mut self, now: u64, prefetch: impl Fn(*const u8), mut end: impl FnMut(&Ended)) {
        if self.batch.len() > 1 {
            for (_, spot) in &self.batch {
                if let Some(place) = self.table.place_at(spot) {
                    prefetch(place);
                    prefetch(place.wrapping_add(64));
                }
            }
        }
        for (packet, spot) in &self.batch {
            self.tally.packets += u64::from(packet.packets);
            let place = match self.table.place(spot, &packet.key) {
                Found::Known(place) => place,
                Found::New(place) => {
                    self.tally.flows += 1;
                    place
                }
                Found::Instead(place, before) => {
                    self.tally.flows += 1;
                    if before.state.packets > 0 {
                        self.tally.evicted += 1;
                        end(&Ended {
                            key: before.key,
                            state: before.state,
                            reason: EndReason::NoRoom,
                        });
                    }
                    place
                }
            };
            place.state.add(packet, now);
        }
        self.batch.clear();
    }

    /// Looks at those flows whose turn it is. `stays` tells of one whether its ports are still metered; `end` is given those whose
    /// time is up. Returns whether more are due already.
    pub fn look(
        &mut self,
        now: u64,
        stays: impl Fn(&Ends) -> bool,
        mut end: impl FnMut(&Ended),
    ) -> bool {
        let sets = self.table.sets() as u64;
        let target = now.saturating_sub(self.started) * sets / ROUND;
        if self.is_empty() {
            self.looked = target;
            return false;
        }
        // One round at most: what was looked at then has been looked at.
        self.looked = self.looked.max(target.saturating_sub(sets));
        let due = target.saturating_sub(self.looked);
        let go = due.min(SETS_AT_ONCE);
        for _ in 0..go {
            let timing = &self.timing;
            let set = (self.looked % sets) as usize;
            self.looked += 1;
            self.table.sweep(set, |place| {
                let reason = reason_to_end(&place.key, &place.state, timing, now, &stays);
                let Some(reason) = reason else { return true };
                if place.state.packets > 0 {
                    end(&Ended {
                        key: place.key,
                        state: place.state,
                        reason,
                    });
                }
                // One that goes on is likely to go on further.
                let goes_on = reason == EndReason::Active;
                if goes_on {
                    place.state = State {
                        last: place.state.last,
                        ..State::default()
                    };
                }
                goes_on
            });
        }
        due > go
    }

    /// When flows are to be looked at next (ms); `None` while there is none.
    pub fn next_look(&self) -> Option<u64> {
        let looked = self.started + self.looked * ROUND / self.table.sets() as u64;
        (!self.is_empty()).then_some(looked + LOOK)
    }

    /// The flows of some sets from `first` on, as they are; for those who ask what goes on. Returns the set to go on with, if any is left.
    pub fn show(&self, first: usize, sets: usize, mut show: impl FnMut(&Ended)) -> Option<usize> {
        let end = self.table.sets().min(first + sets);
        for set in first..end {
            self.table.show(set, |place| {
                if place.state.packets > 0 {
                    show(&Ended {
                        key: place.key,
                        state: place.state,
                        reason: EndReason::Active,
                    });
                }
            });
        }
        (end < self.table.sets()).then_some(end)
    }
}

impl State {
    #[inline]
    fn add(&mut self, packet: &Packet, now: u64) {
        if self.packets == 0 {
            self.first = now;
            (self.min_ttl, self.max_ttl) = (packet.min_ttl, packet.max_ttl);
        }
        self.packets += u64::from(packet.packets);
        self.octets += u64::from(packet.octets);
        self.layer2_octets += u64::from(packet.layer2_octets);
        self.last = now;
        self.tcp_flags |= packet.tcp_flags;
        self.min_ttl = self.min_ttl.min(packet.min_ttl);
        self.max_ttl = self.max_ttl.max(packet.max_ttl);
    }
}

/// Why a record of a flow is to be made, if it is.
fn reason_to_end(
    key: &Key,
    state: &State,
    timing: &Timing,
    now: u64,
    stays: impl Fn(&Ends) -> bool,
) -> Option<EndReason> {
    let ends = Ends::of(key);
    let quiet = now.saturating_sub(state.last);
    if !stays(&ends) {
        Some(EndReason::Forced)
    } else if state.tcp_flags & FIN_OR_RST != 0 && quiet >= ENDS_AFTER {
        Some(EndReason::Ended)
    } else if quiet >= timing.idle {
        Some(EndReason::Idle)
    } else if state.packets > 0 && now.saturating_sub(state.first) >= timing.active {
        Some(EndReason::Active)
    } else {
        None
    }
}
