//! Between look-up and transmission: frames of metered ports are counted, each once on its switch.

use weft_netflow::{Direction, End, Place};

use super::{Forwarder, Pending};
use crate::PortId;
use crate::clock::milliseconds;
use crate::frame::Burst;
use crate::mac_table::vlan_of;
use crate::meter::Metering;
use crate::prefetch::prefetch_at;
use crate::snapshot::{PortEntry, Snapshot};

/// Whom a frame is delivered to, as far as the meter asks.
#[derive(Clone, Copy, Default)]
pub(super) struct Reached {
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
    pub(super) fn note(&mut self, snapshot: &Snapshot, port: PortId) {
        let Some(entry) = snapshot.port(port) else {
            return;
        };
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

impl Forwarder {
    /// Counts those frames of a burst that are metered and have a destination, `attempted`.
    #[inline(never)]
    pub(super) fn meter(
        &mut self,
        metering: &Metering,
        entry: &PortEntry,
        burst: &Burst,
        attempted: u32,
        now: u64,
    ) {
        let Some(meter) = self.meters.get(metering.id) else {
            return;
        };
        let ingress = end(entry);
        let enters = metering.ingress && entry.metered;
        for &Pending { key, frame } in &self.pending {
            let reached = &self.reached[usize::from(frame)];
            let direction = if enters {
                Direction::Ingress
            } else if metering.egress && reached.is_metered {
                Direction::Egress
            } else {
                continue;
            };
            let is_counted = attempted >> frame & 1 != 0
                && !(metering.internal_only && (entry.is_uplink || reached.leaves));
            if !is_counted || !meter.meter.takes() {
                continue;
            }
            let place = Place::new(ingress, reached.end, direction, vlan_of(key));
            let head = || burst.parse(usize::from(frame)).ok();
            let frame = &burst.frames()[usize::from(frame)];
            let cut = frame.offload.segmentation;
            let (bytes, len) = (frame.head(), frame.len());
            meter.meter.note(head, bytes, len, cut, place, prefetch_at);
        }
        meter.count(milliseconds(now));
    }
}
