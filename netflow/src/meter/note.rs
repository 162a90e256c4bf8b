//! From a frame to the flow that counts it: frames of a burst are noted one by one, and counted together.

use weft_packet::{Head, Segmentation};

use super::ended::Ended;
use super::flow::{Flow, Time};
use super::table::{Found, Spot};
use super::{ENDS_AFTER, FIN_OR_RST, Meter};
use crate::EndReason;
use crate::key::Place;
use crate::packet::Packet;
use crate::plain::{Plain, Run};
use crate::usual;

/// Most packets that are metered at once.
pub const BATCH: usize = 32;

/// Packets that were noted, and where their flows are looked for. They are written where they stay.
#[derive(Default)]
pub(super) struct Batch {
    packets: [(Packet, Spot); BATCH],
    len: usize,
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

/// Notes frames of a burst, at most [`BATCH`], to be counted together.
pub struct Notes<'a> {
    meter: &'a mut Meter,
    /// What follows the last one that was noted, if that is plain.
    run: Run,
}

impl Notes<'_> {
    /// Whether a frame is metered, where not every one is.
    #[inline(always)]
    pub fn takes(&mut self) -> bool {
        self.meter.takes()
    }

    /// Notes a frame that is sent as it is, if its packet is plain. Returns whether it is. `prefetch` is told which memory will be read.
    #[inline(always)]
    pub fn note_plain(
        &mut self,
        plain: &Plain,
        place: Place,
        prefetch: impl FnOnce(*const u8),
    ) -> bool {
        // Most frames of a burst are of one flow.
        if self.run.add(plain, place) {
            return true;
        }
        let Some(short) = plain.key(place) else {
            return false;
        };
        self.end_run();
        self.meter
            .note_packet(|packet| packet.set_plain(&short, plain), prefetch);
        self.run.restart(plain, place);
        true
    }

    /// Has `note` note another frame, by [`Meter::note_usual`] or [`Meter::note`].
    #[inline(always)]
    pub fn note_other(&mut self, note: impl FnOnce(&mut Meter)) {
        self.end_run();
        self.run = Run::NONE;
        note(self.meter);
    }

    /// Counts what follows the last one with it.
    #[inline(always)]
    fn end_run(&mut self) {
        if let Some(counts) = self.run.take()
            && let Some(last) = self.meter.batch.last()
        {
            last.add(counts);
        }
    }
}

impl Meter {
    /// Has frames of a burst noted, at most [`BATCH`], to be counted together.
    #[inline(always)]
    pub fn note_burst(&mut self, note: impl FnOnce(&mut Notes<'_>)) {
        let mut notes = Notes {
            meter: self,
            run: Run::NONE,
        };
        note(&mut notes);
        notes.end_run();
    }

    /// Notes a frame that begins with these octets, is `len` octets long and is sent as it is, if its packet is usual: TCP or UDP in IPv4
    /// without options or in IPv6 without extension headers, whole, with one tag or none. Returns whether it is.
    #[inline(never)]
    pub fn note_usual(
        &mut self,
        frame: &[u8],
        len: usize,
        place: Place,
        prefetch: impl FnOnce(*const u8),
    ) -> bool {
        let Some(packet) = usual::read(frame, len, place) else {
            return false;
        };
        let counts = (1, packet.octets, packet.layer2_octets, packet.tcp_flags);
        match self.batch.last() {
            Some(last) if (last.key, last.ttl) == (packet.key, packet.ttl) => last.add(counts),
            _ => self.note_packet(|noted| *noted = packet, prefetch),
        }
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
    }

    #[inline(always)]
    pub(super) fn note_packet(
        &mut self,
        set: impl FnOnce(&mut Packet),
        prefetch: impl FnOnce(*const u8),
    ) {
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
        tally.flows - before
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
            self.last = self.first;
            (self.min_ttl, self.max_ttl) = (packet.ttl, packet.ttl);
        }
        self.packets += packet.packets;
        self.octets += packet.octets;
        self.layer2_octets += packet.layer2_octets;
        // A clock that is read less often may be behind.
        self.last = self.last.or_later(Time::new(now));
        self.tcp_flags |= packet.tcp_flags;
        self.min_ttl = self.min_ttl.min(packet.ttl);
        self.max_ttl = self.max_ttl.max(packet.ttl);
    }
}
