//! The meter of one poll thread: packets in, flows that ended out.

mod sampler;
mod table;
#[cfg(test)]
mod tests;

use weft_packet::{Head, Segmentation};

use crate::key::{Key, Place};
use crate::packet::{PLAIN, Packet, Plain};
use crate::{Counts, Direction, End, EndReason, Record};
use sampler::Sampler;
use table::{Flow, Found, Spot, Table, Time, WAYS};

/// Most packets that are metered at once.
pub const BATCH: usize = 32;

/// Every flow is looked at as often (ms): a record leaves at most so long after its time.
const ROUND: u64 = 500;

/// Places for flows that are looked at in one go.
const PLACES_AT_ONCE: u64 = 1024;

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
        let past = |time: Time| now - time.until(now).min(now);
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

/// Packets that were noted, and where their flows are looked for. They are written where they stay.
#[derive(Default)]
struct Batch {
    packets: [(Packet, Spot); BATCH],
    len: usize,
    /// The last one is a plain packet.
    ends_plain: bool,
}

impl Batch {
    #[inline(always)]
    fn next(&mut self) -> Option<&mut (Packet, Spot)> {
        debug_assert!(self.len < BATCH, "more packets than a burst has");
        self.packets.get_mut(self.len)
    }

    #[inline(always)]
    fn last(&mut self) -> Option<&mut Packet> {
        let (packet, _) = self.packets.get_mut(self.len.checked_sub(1)?)?;
        Some(packet)
    }
}

/// The meter of one thread.
pub struct Meter {
    table: Table,
    timing: Timing,
    sampler: Sampler,
    seed: u64,
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
            seed,
            batch: Batch::default(),
            tally: Tally::default(),
            next: 0,
            looked: now,
            due: 0,
            urgent: 0,
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

    /// Notes a frame that begins with these octets, is `len` octets long and is sent as it is, to be counted with the others of its
    /// burst, at most [`BATCH`], if it is what most are: TCP or UDP in IPv4 without options or fragments, untagged. Returns whether it
    /// is. `prefetch` is told which memory will be read.
    #[inline(always)]
    pub fn note_plain(
        &mut self,
        frame: &[u8; PLAIN],
        len: usize,
        place: Place,
        prefetch: impl FnOnce(*const u8),
    ) -> bool {
        let Some(plain) = Plain::read(frame, len, place) else {
            return false;
        };
        // Most frames of a burst are of one flow.
        if self.batch.ends_plain
            && let Some(last) = self.batch.last()
            && last.add(&plain)
        {
            return true;
        }
        if !plain.is_plain() {
            return false;
        }
        self.note_packet(|packet| packet.set_plain(&plain), prefetch);
        self.batch.ends_plain = true;
        true
    }

    /// Notes any frame: it is `len` octets long and begins with `bytes`, which hold at least its Ethernet header, `head`. `cut` is how its
    /// sender wants it cut: it counts as the packets that it becomes.
    #[inline(never)]
    pub fn note(
        &mut self,
        head: &Head,
        bytes: &[u8],
        len: usize,
        cut: Option<Segmentation>,
        place: Place,
        prefetch: impl FnOnce(*const u8),
    ) {
        let read = |packet: &mut Packet| *packet = Packet::read(head, bytes, len, cut, place);
        self.note_packet(read, prefetch);
        self.batch.ends_plain = false;
    }

    #[inline(always)]
    fn note_packet(&mut self, set: impl FnOnce(&mut Packet), prefetch: impl FnOnce(*const u8)) {
        let Some((packet, spot)) = self.batch.next() else {
            return;
        };
        set(packet);
        *spot = self.table.spot(&packet.key);
        prefetch(self.table.set_at(spot));
        self.batch.len += 1;
    }

    /// Asks for the memory of the flows that were noted. A moment later they are counted without waiting for it.
    #[inline(always)]
    pub fn look_up(&mut self, prefetch: impl Fn(*const u8)) {
        let Self { batch, table, .. } = self;
        for (_, spot) in batch.packets.iter_mut().take(batch.len) {
            if let Some(flow) = table.look_up(spot) {
                prefetch(flow);
            }
        }
    }

    /// Whether something was noted and not counted.
    #[inline(always)]
    pub const fn has_noted(&self) -> bool {
        self.batch.len > 0
    }

    /// Counts what was noted, at the time `now` (ms). `end` is given what had to go. Returns how many flows began.
    #[inline]
    pub fn count(&mut self, now: u64, mut end: impl FnMut(&Ended)) -> u64 {
        let before = self.tally.flows;
        let Self {
            batch,
            table,
            tally,
            timing,
            ..
        } = self;
        let due = Time::new(now).after(timing.active.min(timing.idle));
        for (packet, spot) in batch.packets.iter().take(batch.len) {
            tally.packets += u64::from(packet.packets);
            let flow = match table.known(spot, &packet.key) {
                Some(place) => table.flow_at(place),
                None => match table.flow(spot, &packet.key, due) {
                    Found::Known(flow) => flow,
                    Found::New(flow) => {
                        tally.flows += 1;
                        flow
                    }
                    Found::Instead(flow, key, gone) => {
                        tally.flows += 1;
                        if gone.packets > 0 {
                            tally.evicted += 1;
                            end(&Ended::new(key, &gone, EndReason::NoRoom, now));
                        }
                        flow
                    }
                },
            };
            if !flow.has_room(packet) {
                // It is told of before its counters overflow, and goes on.
                end(&Ended::new(packet.key, flow, EndReason::Active, now));
                flow.forget();
            }
            flow.add(packet, now);
            if packet.tcp_flags & FIN_OR_RST != 0 {
                table.hasten(spot, Time::new(now).after(ENDS_AFTER));
            }
        }
        batch.len = 0;
        batch.ends_plain = false;
        tally.flows - before
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
        let sets = (self.due / ROUND).min(PLACES_AT_ONCE / WAYS as u64);
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
            self.first = Time::new(now);
            (self.min_ttl, self.max_ttl) = (packet.min_ttl, packet.max_ttl);
        }
        self.packets += packet.packets;
        self.octets += packet.octets;
        self.layer2_octets += packet.layer2_octets;
        self.last = Time::new(now);
        self.tcp_flags |= packet.tcp_flags;
        self.min_ttl = self.min_ttl.min(packet.min_ttl);
        self.max_ttl = self.max_ttl.max(packet.max_ttl);
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
