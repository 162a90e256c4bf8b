//! Stage 2: every admitted frame is looked up, and noted with each of its destinations.

use super::{Forwarder, Pending};
use crate::frame::BURST;
use crate::mac_table::{mac_of, vlan_of};
use crate::snapshot::{PortEntry, Switch};
use crate::{DropReason, PortId};

/// Frames of the current burst that go to one destination.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    len: u8,
    copies: [FrameCopy; BURST],
}

/// One copy of a frame.
#[derive(Clone, Copy)]
pub(super) struct FrameCopy(u8);

impl FrameCopy {
    /// The copy is not the delivery of the original, but one of promiscuous mode or a mirror.
    const EXTRA: u8 = 0x80;

    #[inline]
    const fn new(frame: u8, kind: CopyKind) -> Self {
        match kind {
            CopyKind::Original => Self(frame),
            CopyKind::Promiscuous => Self(frame | Self::EXTRA),
        }
    }

    /// The frame's index in the burst.
    #[inline]
    pub(super) const fn frame(self) -> usize {
        (self.0 & !Self::EXTRA) as usize
    }

    /// The frame as a bit if this is its delivery, else nothing.
    #[inline]
    pub(super) const fn delivery(self) -> u32 {
        ((self.0 & Self::EXTRA == 0) as u32) << self.frame()
    }
}

/// Who gets what of the current burst.
#[derive(Default)]
pub(super) struct Destinations {
    /// By port number.
    batches: Vec<Batch>,
    /// Ports with a batch, in the order in which they were first needed.
    touched: Vec<PortId>,
}

impl Destinations {
    /// Makes room for ports up to a number. Returns whether there was too little.
    pub(super) fn make_room(&mut self, slots: usize) -> bool {
        let grows = slots > self.batches.len();
        if grows {
            self.batches.resize(
                slots,
                Batch {
                    len: 0,
                    copies: [FrameCopy(0); BURST],
                },
            );
            self.touched.reserve(slots);
        }
        grows
    }

    /// Hands each destination with its copies to `serve`, and forgets them.
    #[inline]
    pub(super) fn drain(&mut self, mut serve: impl FnMut(PortId, &[FrameCopy])) {
        for &port in &self.touched {
            let batch = &mut self.batches[port.index()];
            serve(port, &batch.copies[..usize::from(batch.len)]);
            batch.len = 0;
        }
        self.touched.clear();
    }

    #[inline]
    fn add(&mut self, port: PortId, copy: FrameCopy) {
        let batch = &mut self.batches[port.index()];
        if batch.len == 0 {
            self.touched.push(port);
        }
        batch.copies[usize::from(batch.len)] = copy;
        batch.len += 1;
    }
}

/// What a copy is to the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyKind {
    /// Its delivery.
    Original,
    /// One for a port in promiscuous mode.
    Promiscuous,
}

/// Tells `add` every destination of an admitted frame with this key. `find` knows who has an address: [`Switch::find`].
///
/// # Errors
/// Why the frame itself goes nowhere; promiscuous ports may get a copy all the same.
#[inline(always)]
pub(super) fn look_up(
    entry: &PortEntry,
    switch: &Switch,
    key: u64,
    find: impl FnOnce(u64) -> Option<PortId>,
    add: impl FnMut(PortId, CopyKind),
) -> Result<(), DropReason> {
    if mac_of(key).is_multicast() {
        flood(entry, switch, vlan_of(key), add)
    } else {
        unicast(entry, switch, key, find, add)
    }
}

/// Unicast: to the port that has the address, else to the uplink; copies to promiscuous ports either way.
#[inline]
fn unicast(
    entry: &PortEntry,
    switch: &Switch,
    key: u64,
    find: impl FnOnce(u64) -> Option<PortId>,
    mut add: impl FnMut(PortId, CopyKind),
) -> Result<(), DropReason> {
    let source = entry.port.id;
    let destination = match find(key) {
        Some(port) if port == source => Err(DropReason::SamePort),
        Some(port) => Ok(port),
        None if entry.is_uplink => Err(DropReason::UnknownUnicast),
        None => match switch.uplink {
            Some(uplink) => Ok(uplink),
            None if switch.has_uplinks => Err(DropReason::NoUplink),
            None => Err(DropReason::UnknownUnicast),
        },
    };
    if let Ok(port) = destination {
        add(port, CopyKind::Original);
    }
    if !switch.promiscuous.is_empty() {
        for port in switch.promiscuous.receivers(vlan_of(key), Some(source)) {
            if destination != Ok(port) {
                add(port, CopyKind::Promiscuous);
            }
        }
    }
    destination.map(|_| ())
}

/// Broadcast and multicast: to every other port of the VLAN and, from a VM, to one uplink. A promiscuous port that
/// admits the VLAN is one of these ports, so nobody gets a copy on top.
#[inline(never)]
fn flood(
    entry: &PortEntry,
    switch: &Switch,
    vlan: u16,
    mut add: impl FnMut(PortId, CopyKind),
) -> Result<(), DropReason> {
    let source = entry.port.id;
    let mut reached = false;
    for port in switch.members(vlan).filter(|&port| port != source) {
        add(port, CopyKind::Original);
        reached = true;
    }
    if !entry.is_uplink {
        match switch.uplink {
            Some(uplink) => {
                add(uplink, CopyKind::Original);
                reached = true;
            }
            None if switch.has_uplinks && !reached => return Err(DropReason::NoUplink),
            None => {}
        }
    }
    if reached {
        Ok(())
    } else {
        Err(DropReason::NoReceiver)
    }
}

impl Forwarder {
    /// Notes the destinations of every pending frame. Returns the frames, as bits, of which at least one copy counts as
    /// delivery.
    #[inline]
    pub(super) fn look_up(&mut self, entry: &PortEntry, switch: &Switch) -> u32 {
        let counters = entry.port.thread_counters(self.thread);
        let mut attempted = 0;
        let destinations = &mut self.destinations;
        for &Pending { key, frame } in &self.pending {
            let add = |port, kind| destinations.add(port, FrameCopy::new(frame, kind));
            match look_up(entry, switch, key, |key| switch.find(key), add) {
                Ok(()) => attempted |= 1 << frame,
                Err(reason) => counters.rx_drops[reason as usize].add(1),
            }
        }
        attempted
    }
}
