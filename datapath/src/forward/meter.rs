//! Between look-up and transmission: frames of metered ports are counted, each once on its switch.

use weft_netflow::{Direction, End, Meter, Place, Plain};

use super::{Forwarder, Pending, Source};
use crate::clock::milliseconds;
use crate::frame::{BURST, Burst};
use crate::mac_table::vlan_of;
use crate::meter::Metering;
use crate::prefetch::prefetch_at;
use crate::snapshot::{PortEntry, Snapshot};

/// Who begins so many flows with one burst lets the others of its thread go first for a turn, and twice for twice as many: to begin a
/// flow, for which another one may have to give way, takes longer than to forward a frame.
const FLOWS_PER_TURN: u64 = 12;

/// Whom a frame is delivered to, as far as the meter asks.
#[derive(Clone, Copy, Default)]
struct Reached {
    /// The only one; none where there are several.
    end: End,
    count: u8,
    /// One of them is metered.
    is_metered: bool,
    /// One of them is an uplink.
    leaves: bool,
}

impl Reached {
    #[inline]
    fn note(&mut self, entry: &PortEntry) {
        self.count = self.count.saturating_add(1);
        self.end = if self.count == 1 {
            end(entry)
        } else {
            End::default()
        };
        self.is_metered |= entry.metered;
        self.leaves |= entry.is_uplink;
    }
}

/// A port among the interfaces of its exporter.
fn end(entry: &PortEntry) -> End {
    End {
        interface: entry.port.id.0 + 1,
        life: entry.life,
    }
}

/// A burst whose frames are metered, or some of them.
struct Metered<'a> {
    metering: &'a Metering,
    /// The port that sent it.
    entry: &'a PortEntry,
    burst: &'a Burst,
    /// The frames that have a destination, as bits.
    attempted: u32,
}

impl Metered<'_> {
    /// Where a frame with these destinations passes, if it is metered.
    #[inline]
    fn place(&self, reached: &Reached) -> Option<Place> {
        let Self {
            metering, entry, ..
        } = self;
        let direction = if metering.ingress && entry.metered {
            Direction::Ingress
        } else if metering.egress && reached.is_metered {
            Direction::Egress
        } else {
            return None;
        };
        let leaves = entry.is_uplink || reached.leaves;
        (!(metering.internal_only && leaves))
            .then(|| Place::new(end(entry), reached.end, direction))
    }

    /// Notes the frames of the burst that are metered; `place` tells where one passes.
    #[inline(always)]
    fn note(&self, meter: &mut Meter, pending: &[Pending], place: impl Fn(u8) -> Option<Place>) {
        let takes_all = meter.takes_all();
        meter.note_burst(|notes| {
            for &Pending { key, frame } in pending {
                let Some(place) = place(frame) else {
                    continue;
                };
                if self.attempted >> frame & 1 == 0 || !(takes_all || notes.takes()) {
                    continue;
                }
                let place = place.in_vlan(vlan_of(key));
                let frame = usize::from(frame);
                let taken = &self.burst.frames()[frame];
                let is_cut = taken.offload.segmentation.is_some();
                let plain = Plain::read(taken.head(), taken.len()).filter(|_| !is_cut);
                if !plain.is_some_and(|plain| notes.note_plain(&plain, place, prefetch_at)) {
                    notes.note_other(|meter| self.note_other(meter, frame, place));
                }
            }
        });
    }

    #[inline(never)]
    fn note_other(&self, meter: &mut Meter, index: usize, place: Place) {
        let frame = &self.burst.frames()[index];
        let cut = frame.offload.segmentation;
        let head = frame.head();
        if cut.is_none() && meter.note_usual(head, frame.len(), place, prefetch_at) {
            return;
        }
        self.note_any(meter, index, place);
    }

    #[cold]
    #[inline(never)]
    fn note_any(&self, meter: &mut Meter, index: usize, place: Place) {
        // Those that do not parse were dropped.
        let Ok(head) = self.burst.parse(index) else {
            return;
        };
        let frame = &self.burst.frames()[index];
        let cut = frame.offload.segmentation;
        meter.note(&head, frame.head(), frame.len(), cut, place, prefetch_at);
    }
}

impl Forwarder {
    /// Notes those frames of a burst that are metered and have a destination, `attempted`. They are counted once the burst is
    /// transmitted: until then the memory of their flows has come.
    #[inline]
    pub(super) fn meter(
        &mut self,
        metering: &Metering,
        snapshot: &Snapshot,
        entry: &PortEntry,
        burst: &Burst,
        attempted: u32,
    ) {
        let enters = metering.ingress && entry.metered;
        let is_metered = |port| snapshot.port(port).is_some_and(|entry| entry.metered);
        let leaves = || self.destinations.iter().any(|(port, _)| is_metered(port));
        if enters || metering.egress && leaves() {
            let metered = Metered {
                metering,
                entry,
                burst,
                attempted,
            };
            self.meter_some(&metered, snapshot);
        }
    }

    #[inline(never)]
    fn meter_some(&mut self, metered: &Metered<'_>, snapshot: &Snapshot) {
        let Some(thread) = self.meters.get(metered.metering.id) else {
            return;
        };
        let meter = &mut thread.meter;
        let mut all = self
            .destinations
            .iter()
            .filter_map(|(port, copies)| Some((snapshot.port(port)?, copies)));
        if self.destinations.iter().len() == 1 {
            // All frames go to the same port, as those of most bursts do.
            let mut reached = Reached::default();
            if let Some((entry, _)) = all.next() {
                reached.note(entry);
            }
            if let Some(place) = metered.place(&reached) {
                metered.note(meter, &self.pending, |_| Some(place));
            }
        } else {
            let mut reached = [Reached::default(); BURST];
            for (entry, copies) in all {
                for copy in copies.iter().filter(|copy| copy.delivery() != 0) {
                    reached[copy.frame()].note(entry);
                }
            }
            let place = |frame: u8| metered.place(&reached[usize::from(frame)]);
            metered.note(meter, &self.pending, place);
        }
        thread.look_up();
    }

    /// Counts what was noted of the burst.
    #[inline]
    pub(super) fn count_metered(&mut self, metering: &Metering, source: &mut Source, now: u64) {
        if let Some(thread) = self.meters.get(metering.id)
            && thread.meter.has_noted()
        {
            // A burst has few enough frames.
            source.waits = (thread.count(milliseconds(now)) / FLOWS_PER_TURN) as u8;
        }
    }
}
