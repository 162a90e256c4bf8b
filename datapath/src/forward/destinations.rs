//! Stage 2: every admitted frame is looked up, and noted with each of its destinations.

use weft_packet::{Head, MacAddr};

use super::{Forwarder, Pending};
use crate::frame::{BURST, Burst, Frame};
use crate::learning::Learning;
use crate::mac_table::{key, mac_of, vlan_of};
use crate::snapshot::{PortEntry, Snapshot, Switch};
use crate::teaming::Exit;
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

    /// Each destination with its copies.
    #[inline]
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (PortId, &[FrameCopy])> {
        self.touched.iter().map(|&port| {
            let batch = &self.batches[port.index()];
            (port, &batch.copies[..usize::from(batch.len)])
        })
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

/// An admitted frame whose destinations are asked for.
pub(super) struct Query<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The port that sent it.
    pub(super) entry: &'a PortEntry,
    pub(super) switch: &'a Switch,
    /// Its forwarding domain and destination, as tables have them.
    pub(super) key: u64,
    pub(super) frame: &'a Frame,
    /// Monotonic time, ns.
    pub(super) now: u64,
    /// Nothing may change by it.
    pub(super) is_dry: bool,
}

/// Tells `add` every destination of a frame. `find` knows who has an address: [`Switch::find`].
///
/// # Errors
/// Why the frame itself goes nowhere; promiscuous ports may get a copy all the same.
#[inline(always)]
pub(super) fn look_up(
    query: &Query<'_>,
    find: impl FnOnce(u64) -> Option<PortId>,
    add: impl FnMut(PortId, CopyKind),
) -> Result<(), DropReason> {
    if mac_of(query.key).is_multicast() {
        query.flood(add)
    } else {
        query.unicast(find, add)
    }
}

impl Query<'_> {
    /// Unicast: to the port that has the address, else to the uplink; copies to promiscuous ports either way.
    #[inline]
    fn unicast(
        &self,
        find: impl FnOnce(u64) -> Option<PortId>,
        mut add: impl FnMut(PortId, CopyKind),
    ) -> Result<(), DropReason> {
        let Self {
            entry, switch, key, ..
        } = *self;
        let source = entry.port.id;
        let holder = find(key);
        let destination = match holder {
            Some(port) if port == source => Err(DropReason::SamePort),
            Some(port) if entry.is_uplink && !self.is_accepted_by(port) => {
                Err(DropReason::ReversePath)
            }
            Some(port) => Ok(port),
            None if entry.is_uplink => Err(DropReason::UnknownUnicast),
            None => self.way_out(),
        };
        if let (None, Some(learning)) = (holder, &switch.learning)
            && !learning.flooded.is_empty()
        {
            return self.flood_unknown(learning, destination, add);
        }
        if let Ok(port) = destination {
            add(port, CopyKind::Original);
        }
        if !switch.promiscuous.is_empty() {
            self.show(destination, add);
        }
        destination.map(|_| ())
    }

    /// Unicast to an address that nobody has: to the ports that want such frames, beside the way out if there is one.
    #[inline(never)]
    fn flood_unknown(
        &self,
        learning: &Learning,
        way_out: Result<PortId, DropReason>,
        mut add: impl FnMut(PortId, CopyKind),
    ) -> Result<(), DropReason> {
        let (entry, vlan) = (self.entry, vlan_of(self.key));
        if entry.is_uplink && self.is_reflection() {
            return Err(DropReason::ReversePath);
        }
        let is_for = |port| !entry.is_uplink || self.is_flooded_to(port);
        let source = Some(entry.port.id);
        let mut outcome = way_out.map(|uplink| add(uplink, CopyKind::Original));
        for port in learning.flooded.receivers(vlan, source) {
            if is_for(port) {
                add(port, CopyKind::Original);
                outcome = Ok(());
            } else {
                outcome = outcome.map_err(|_| DropReason::ReversePath);
            }
        }
        for port in self.switch.promiscuous.receivers(vlan, source) {
            if !learning.floods(port) && way_out != Ok(port) && is_for(port) {
                add(port, CopyKind::Promiscuous);
            }
        }
        outcome
    }

    /// Copies to promiscuous ports. What comes in by several uplinks is shown once: with the copy that its destination
    /// accepts, or, where nobody here has the address, by the uplink that the promiscuous port uses itself.
    #[inline(never)]
    fn show(&self, destination: Result<PortId, DropReason>, mut add: impl FnMut(PortId, CopyKind)) {
        let (entry, vlan) = (self.entry, vlan_of(self.key));
        let is_flooded = entry.is_uplink && destination.is_err();
        if is_flooded && (destination == Err(DropReason::ReversePath) || self.is_reflection()) {
            return;
        }
        let source = entry.port.id;
        for port in self.switch.promiscuous.receivers(vlan, Some(source)) {
            if destination != Ok(port) && (!is_flooded || self.is_flooded_to(port)) {
                add(port, CopyKind::Promiscuous);
            }
        }
    }

    /// Broadcast and multicast: to every other port of the VLAN and, from a VM, to one uplink. A promiscuous port that
    /// admits the VLAN is one of these ports, so nobody gets a copy on top.
    #[inline(never)]
    fn flood(&self, mut add: impl FnMut(PortId, CopyKind)) -> Result<(), DropReason> {
        let Self {
            entry, switch, key, ..
        } = *self;
        let source = entry.port.id;
        if let Some(reason) = control_frame(entry, mac_of(key)) {
            return Err(reason);
        }
        if entry.is_uplink && self.is_reflection() {
            return Err(DropReason::ReversePath);
        }
        let (mut reached, mut is_elsewhere) = (false, false);
        for port in switch.members(vlan_of(key)).filter(|&port| port != source) {
            if entry.is_uplink && !self.is_flooded_to(port) {
                is_elsewhere = true;
                continue;
            }
            add(port, CopyKind::Original);
            reached = true;
        }
        if !entry.is_uplink {
            match self.way_out() {
                Ok(uplink) => {
                    add(uplink, CopyKind::Original);
                    reached = true;
                }
                Err(DropReason::NoUplink) if !reached => return Err(DropReason::NoUplink),
                Err(_) => {}
            }
        }
        if reached {
            Ok(())
        } else if is_elsewhere {
            Err(DropReason::ReversePath)
        } else {
            Err(DropReason::NoReceiver)
        }
    }

    /// The uplink by which the frame leaves the host.
    #[inline]
    fn way_out(&self) -> Result<PortId, DropReason> {
        let way = &self.entry.way;
        way.uplink(|| self.src(), || self.ip_spread())
            .ok_or(match way.exit {
                Exit::Isolated => DropReason::UnknownUnicast,
                _ => DropReason::NoUplink,
            })
    }

    /// Whether unicast from this uplink is for the port that has its destination address.
    #[inline]
    fn is_accepted_by(&self, port: PortId) -> bool {
        let (uplink, own) = (self.entry.port.id, mac_of(self.key));
        let entry = self.snapshot.port(port);
        entry.is_some_and(|entry| entry.way.accepts(uplink, own, self.now))
    }

    /// Whether what this uplink floods is for a port: it comes in by all uplinks of a network, and is taken from one.
    #[inline]
    fn is_flooded_to(&self, port: PortId) -> bool {
        let entry = self.snapshot.port(port);
        entry.is_some_and(|entry| entry.way.leads_by(self.entry.port.id, entry.own_address()))
    }

    /// Whether the frame left this host by one uplink and came back by another: its source is a port of the switch, or behind
    /// one, that uses another. An address that was learned and is heard from an uplink may have left instead.
    fn is_reflection(&self) -> bool {
        let (switch, src) = (self.switch, self.src());
        if !switch.may_reflect && switch.learning.is_none() {
            return false;
        }
        let key = key(vlan_of(self.key), src);
        let Some(holder) = switch.find(key) else {
            return false;
        };
        if let Some(learning) = &switch.learning
            && learning.find(key) == Some(holder)
            && learning.has_left(key, self.now, switch.may_reflect)
        {
            if !self.is_dry {
                learning.forget(key, self.now, switch.may_reflect);
            }
            return false;
        }
        let holder = self.snapshot.port(holder);
        switch.may_reflect
            && holder.is_some_and(|holder| {
                holder.is_here() && !holder.way.leads_by(self.entry.port.id, src)
            })
    }

    fn src(&self) -> MacAddr {
        let mut src = [0; 6];
        if let Some(octets) = self.frame.head().get(6..12) {
            src.copy_from_slice(octets);
        }
        MacAddr::new(src)
    }

    #[inline(never)]
    fn ip_spread(&self) -> Option<u32> {
        let bytes = self.frame.head();
        let head = Head::parse(bytes, self.frame.len()).ok()?;
        weft_packet::ip_spread(&head, bytes)
    }
}

/// Why a frame to a reserved group address is not forwarded, if it is not (IEEE 802.1Q-2018, table 8-1). Spanning tree passes,
/// as on a vSphere switch, unless the port filters it; the others are for the next bridge, and a port that trunks may have
/// one behind it. Pause frames are for the NIC at the other end of a cable.
fn control_frame(entry: &PortEntry, dst: MacAddr) -> Option<DropReason> {
    const SPANNING_TREE: [u64; 3] = [0x0180_c200_0000, 0x0180_c200_0008, 0x0100_0ccc_cccd];
    const PAUSE: u64 = 0x0180_c200_0001;
    const RESERVED: u64 = 0x0180_c200_0000;
    let dst = dst.to_bits();
    if SPANNING_TREE.contains(&dst) {
        return entry.bpdu_filter.then_some(DropReason::BpduFilter);
    }
    let may_pass = entry.is_uplink || entry.tagged;
    (dst == PAUSE || dst & !0xf == RESERVED && !may_pass).then_some(DropReason::ControlFrame)
}

impl Forwarder {
    /// Notes the destinations of every pending frame. Returns the frames, as bits, of which at least one copy counts as delivery.
    #[inline]
    pub(super) fn look_up(
        &mut self,
        snapshot: &Snapshot,
        entry: &PortEntry,
        burst: &Burst,
        now: u64,
    ) -> u32 {
        let switch = snapshot.switch_of(entry);
        let counters = entry.port.thread_counters(self.thread);
        let mut attempted = 0;
        let destinations = &mut self.destinations;
        for &Pending { key, frame } in &self.pending {
            let add = |port, kind| destinations.add(port, FrameCopy::new(frame, kind));
            let query = Query {
                snapshot,
                entry,
                switch,
                key,
                frame: &burst.frames()[usize::from(frame)],
                now,
                is_dry: false,
            };
            match look_up(&query, |key| switch.find(key), add) {
                Ok(()) => attempted |= 1 << frame,
                Err(reason) => counters.rx_drops[reason as usize].add(1),
            }
        }
        attempted
    }
}
