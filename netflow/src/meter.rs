//! The meter of one poll thread: packets in, flows that ended out.

mod sampler;
mod table;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use weft_packet::{Head, Segmentation};

use crate::key::{Key, Place};
use crate::packet::{Likeness, Packet};
use crate::{Counts, Direction, End, EndReason, Record};
use sampler::Sampler;
use table::{Flow, Found, Spot, Table};

/// Most packets that are metered at once.
pub const BATCH: usize = 32;

/// Every flow is looked at as often (ms): a record leaves at most so long after its time.
const ROUND: u64 = 500;

/// Flows that are looked at in one go.
const FLOWS_AT_ONCE: u64 = 1024;

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
    packets: u32,
    octets: u32,
    layer2_octets: u32,
    first: u64,
    last: u64,
    tcp_flags: u8,
    min_ttl: u8,
    max_ttl: u8,
    reason: EndReason,
}

impl Ended {
    /// Where it passes.
    pub fn ends(&self) -> Ends {
        Ends::of(&self.key)
    }

    /// What was counted until `now` (ms), of which the flow has the low bits of its times.
    fn new(key: Key, flow: &Flow, reason: EndReason, now: u64) -> Self {
        let past = |time: u32| now - u64::from((now as u32).wrapping_sub(time)).min(now);
        Self {
            key,
            packets: flow.packets,
            octets: flow.octets,
            layer2_octets: flow.layer2_octets,
            first: past(flow.first),
            last: past(flow.last),
            tcp_flags: flow.tcp_flags,
            min_ttl: flow.min_ttl,
            max_ttl: flow.max_ttl,
            reason,
        }
    }

    /// The same in words.
    pub fn record(&self) -> Record {
        Record {
            flow: self.key.flow(),
            counts: Counts {
                packets: self.packets.into(),
                octets: self.octets.into(),
                layer2_octets: self.layer2_octets.into(),
                first: self.first,
                last: self.last,
                tcp_flags: self.tcp_flags.into(),
                min_ttl: self.min_ttl,
                max_ttl: self.max_ttl,
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
    /// The last one of the batch.
    last: Likeness,
    tally: Tally,
    /// The place that is looked at next.
    next: usize,
    /// Until when places were looked at (ms), and what is left of that in flows, times the time of a round.
    looked: u64,
    due: u64,
}

impl Meter {
    /// A meter with room for `flows`, from the time `now` (ms) on. `seed` is not known to those whose packets are metered.
    pub fn new(flows: usize, timing: Timing, seed: u64, now: u64) -> Self {
        Self {
            table: Table::new(flows, seed),
            timing,
            sampler: Sampler::new(timing.sampling, seed),
            seed,
            batch: ArrayVec::new(),
            last: Likeness::NONE,
            tally: Tally::default(),
            next: 0,
            looked: now,
            due: 0,
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

    /// Notes a frame, to be counted with the others of its burst, at most [`BATCH`]. It is `len` octets long and begins with `bytes`,
    /// which hold at least its Ethernet header; `head` is asked for what they say. `cut` is how its sender wants it cut: it counts as the
    /// packets that it becomes. `prefetch` is told which memory will be read.
    #[inline(always)]
    pub fn note(
        &mut self,
        head: impl FnOnce() -> Option<Head>,
        bytes: &[u8],
        len: usize,
        cut: Option<Segmentation>,
        place: Place,
        prefetch: impl FnOnce(*const u8),
    ) {
        // Most frames of a burst are of one flow.
        if cut.is_none()
            && let Some((last, _)) = self.batch.last_mut()
            && self.last.add(last, bytes, len, place)
        {
            return;
        }
        if let Some(packet) = Packet::read(head, bytes, len, cut, place) {
            self.last = Likeness::of(bytes, &packet, place);
            self.note_packet(packet, prefetch);
        }
    }

    #[inline(always)]
    fn note_packet(&mut self, packet: Packet, prefetch: impl FnOnce(*const u8)) {
        let spot = self.table.spot(&packet.key);
        prefetch(self.table.set_at(&spot));
        debug_assert!(!self.batch.is_full(), "more packets than a burst has");
        let _ = self.batch.try_push((packet, spot));
    }

    /// Counts what was noted, at the time `now` (ms). `end` is given what had to go.
    #[inline]
    pub fn count(&mut self, now: u64, prefetch: impl Fn(*const u8), mut end: impl FnMut(&Ended)) {
        if self.batch.len() > 1 {
            for (_, spot) in &self.batch {
                if let Some(flow) = self.table.flow_at(spot) {
                    prefetch(flow);
                }
            }
        }
        for (packet, spot) in &self.batch {
            self.tally.packets += u64::from(packet.packets);
            let flow = match self.table.flow(spot, &packet.key) {
                Found::Known(flow) => flow,
                Found::New(flow) => {
                    self.tally.flows += 1;
                    flow
                }
                Found::Instead(flow, key, before) => {
                    self.tally.flows += 1;
                    if before.packets > 0 {
                        self.tally.evicted += 1;
                        end(&Ended::new(key, &before, EndReason::NoRoom, now));
                    }
                    flow
                }
            };
            if !flow.has_room(packet) {
                // It is told of before its counters overflow, and goes on.
                end(&Ended::new(packet.key, flow, EndReason::Active, now));
                flow.forget();
            }
            flow.add(packet, now);
        }
        self.batch.clear();
        self.last = Likeness::NONE;
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
        let top = self.table.top() as u64;
        // One round at most: what was looked at then has been looked at.
        self.due = (self.due + elapsed * top).min(top * ROUND);
        let flows = (self.due / ROUND).min(FLOWS_AT_ONCE);
        self.due -= flows * ROUND;
        let timing = &self.timing;
        for _ in 0..flows {
            if self.next >= self.table.top() {
                self.next = 0;
            }
            self.table.look(
                self.next,
                |key, flow| reason_to_end(key, flow, timing, now, &stays),
                |key, flow, reason| end(&Ended::new(key, flow, reason, now)),
            );
            self.next += 1;
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
        let end = self.table.top().min(first + places);
        for place in first..end {
            self.table.show(place, |key, flow| {
                if flow.packets > 0 {
                    show(&Ended::new(key, flow, EndReason::Active, now));
                }
            });
        }
        (end < self.table.top()).then_some(end)
    }
}

impl Flow {
    /// Whether its counters take another packet.
    #[inline]
    fn has_room(&self, packet: &Packet) -> bool {
        // Of the three it is the largest.
        self.layer2_octets
            .checked_add(packet.layer2_octets)
            .is_some()
    }

    #[inline]
    fn add(&mut self, packet: &Packet, now: u64) {
        if self.packets == 0 {
            self.first = now as u32;
            (self.min_ttl, self.max_ttl) = (packet.min_ttl, packet.max_ttl);
        }
        self.packets += packet.packets;
        self.octets += packet.octets;
        self.layer2_octets += packet.layer2_octets;
        self.last = now as u32;
        self.tcp_flags |= packet.tcp_flags;
        self.min_ttl = self.min_ttl.min(packet.min_ttl);
        self.max_ttl = self.max_ttl.max(packet.max_ttl);
    }
}

/// Why a record of a flow is to be made, if it is.
fn reason_to_end(
    key: &Key,
    flow: &Flow,
    timing: &Timing,
    now: u64,
    stays: impl Fn(&Ends) -> bool,
) -> Option<EndReason> {
    let ends = Ends::of(key);
    let since = |time: u32| u64::from((now as u32).wrapping_sub(time));
    let quiet = since(flow.last);
    if !stays(&ends) {
        Some(EndReason::Forced)
    } else if flow.tcp_flags & FIN_OR_RST != 0 && quiet >= ENDS_AFTER {
        Some(EndReason::Ended)
    } else if quiet >= timing.idle {
        Some(EndReason::Idle)
    } else if flow.packets > 0 && since(flow.first) >= timing.active {
        Some(EndReason::Active)
    } else {
        None
    }
}
