//! The way of a frame, from a received burst to transmitted copies.
//!
//! A burst goes through three stages: parse and admit every frame (asking for the table lines that will be needed), look
//! every frame up and note its destinations, then serve each destination once: one lock, one copy per frame, one publish.

use arrayvec::ArrayVec;
use crossbeam_channel::Sender;
use weft_packet::{Head, MacAddr, TagEdit};
use weft_vlan::{Admitted, Refusal};

use crate::counters::ThreadPortCounters;
use crate::frame::{BURST, Burst};
use crate::port::NO_ADDRESS;
use crate::snapshot::{PortEntry, Snapshot, Switch};
use crate::{DropReason, Event, PortId};

/// A port reports sources that are not its own at most this often.
const REPORT_INTERVAL_NS: u64 = 1_000_000_000;

/// What a poll thread remembers of a port that it receives from.
pub(crate) struct Source {
    pub(crate) id: PortId,
    /// Before this time (monotonic, ns) no foreign source is reported again.
    next_report: u64,
}

impl Source {
    pub(crate) fn new(id: PortId) -> Self {
        Self { id, next_report: 0 }
    }
}

/// Frames of the current burst that go to one destination.
#[derive(Clone, Copy)]
struct Batch {
    len: u8,
    frames: [u8; BURST],
}

/// Set in a batch entry: the copy is not the delivery of the original (promiscuous mode, mirror).
const COPY: u8 = 0x80;
const FRAME: u8 = 0x7f;

/// A frame that was admitted and waits for its look-up.
struct Pending {
    frame: u8,
    dst: MacAddr,
    admitted: Admitted,
}

/// One poll thread's forwarding state; holds nothing that outlives a burst but its memory.
pub(crate) struct Forwarder {
    thread: usize,
    /// By port number.
    batches: Vec<Batch>,
    /// Destinations with a batch, in the order in which they were first needed.
    touched: Vec<PortId>,
    /// Destinations whose other side could not take everything at the last flush.
    unflushed: Vec<PortId>,
    pending: ArrayVec<Pending, BURST>,
    /// By frame: the edit for destinations that see tags, and for those that do not.
    edits: [(TagEdit, TagEdit); BURST],
    events: Sender<Event>,
}

impl Forwarder {
    pub(crate) fn new(thread: usize, events: Sender<Event>) -> Self {
        Self {
            thread,
            batches: Vec::new(),
            touched: Vec::new(),
            unflushed: Vec::new(),
            pending: ArrayVec::new(),
            edits: [(TagEdit::Keep, TagEdit::Keep); BURST],
            events,
        }
    }

    /// Makes room for the ports of a new snapshot, so that no burst allocates.
    pub(crate) fn prepare(&mut self, snapshot: &Snapshot) {
        let slots = snapshot.port_slots();
        if slots > self.batches.len() {
            self.batches.resize(
                slots,
                Batch {
                    len: 0,
                    frames: [0; BURST],
                },
            );
            self.touched.reserve(slots);
            self.unflushed.reserve(slots);
        }
    }

    /// Whether a destination waits to be flushed again.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.unflushed.is_empty()
    }

    /// Asks the destinations again that could not take everything.
    #[cold]
    pub(crate) fn flush_again(&mut self, snapshot: &Snapshot) {
        self.unflushed.retain(|&id| {
            snapshot
                .port(id)
                .is_some_and(|entry| entry.port.tx.lock().flush())
        });
    }

    /// Forwards every frame of a burst. `now` is the monotonic time in ns, as of this burst.
    pub(crate) fn forward(
        &mut self,
        snapshot: &Snapshot,
        source: &mut Source,
        burst: &mut Burst,
        now: u64,
    ) {
        let Some(entry) = snapshot.port(source.id) else {
            // Attached, but in no configuration yet: the frames never entered the switch.
            return;
        };
        let counters = entry.port.thread_counters(self.thread);
        let switch = snapshot.switch_of(entry);

        self.admit(entry, switch, source, burst, now, counters);
        let attempted = self.look_up(entry, switch, burst, counters);
        let delivered = self.transmit(snapshot, burst);

        counters.rx_delivered.add(u64::from(delivered.count_ones()));
        counters
            .rx_undelivered
            .add(u64::from((attempted & !delivered).count_ones()));
    }

    /// Stage 1: every frame becomes pending, or is dropped with a reason.
    #[inline]
    fn admit(
        &mut self,
        entry: &PortEntry,
        switch: &Switch,
        source: &mut Source,
        burst: &Burst,
        now: u64,
        counters: &ThreadPortCounters,
    ) {
        self.pending.clear();
        let mut bytes = 0;
        for index in 0..burst.len() {
            bytes += burst.frames()[index].len() as u64;
            match self.admit_one(entry, switch, source, burst, index, now) {
                Ok(pending) => {
                    switch
                        .addresses
                        .prefetch(pending.admitted.vlan, pending.dst);
                    self.pending.push(pending);
                }
                Err(reason) => counters.rx_drops[reason as usize].add(1),
            }
        }
        counters.rx_frames.add(burst.len() as u64);
        counters.rx_bytes.add(bytes);
    }

    #[inline]
    fn admit_one(
        &mut self,
        entry: &PortEntry,
        switch: &Switch,
        source: &mut Source,
        burst: &Burst,
        index: usize,
        now: u64,
    ) -> Result<Pending, DropReason> {
        if let Some(reason) = entry.closed {
            return Err(reason);
        }
        let head = burst.parse(index).map_err(|_| DropReason::Runt)?;
        if burst.frames()[index].len() - usize::from(head.header_len) > entry.mtu {
            return Err(DropReason::TooLong);
        }
        let admitted = weft_vlan::admit(&entry.vlan, &head).map_err(refused)?;
        if !entry.is_uplink && head.src.to_bits() != entry.mac_bits {
            self.check_source(entry, switch, source, &head, admitted.vlan, now)?;
        }
        self.edits[index] = (admitted.to_tagged, admitted.to_untagged);
        Ok(Pending {
            frame: index as u8,
            dst: head.dst,
            admitted,
        })
    }

    /// The source is not the configured address: it may be one that the port took or adopted, become one, or be forged.
    fn check_source(
        &self,
        entry: &PortEntry,
        switch: &Switch,
        source: &mut Source,
        head: &Head,
        vlan: u16,
        now: u64,
    ) -> Result<(), DropReason> {
        let src = head.src.to_bits();
        let port = &entry.port;
        if src == port.adopted_bits() || src == port.taken_bits() {
            return Ok(());
        }
        if head.src.is_unicast_source() {
            let free = switch
                .find(vlan, head.src)
                .is_none_or(|holder| holder == port.id);
            if entry.mac_bits == NO_ADDRESS && port.taken_bits() == NO_ADDRESS {
                if free && switch.learned.claim(entry.key(head.src), port.id) {
                    port.set_taken(Some(head.src));
                    // A full channel loses nothing: the control side also reads the address from the port.
                    let _ = self.events.try_send(Event::AddressTaken {
                        port: port.id,
                        mac: head.src,
                    });
                    return Ok(());
                }
            } else if entry.mac_changes && free && now >= source.next_report {
                let event = Event::SourceSeen {
                    port: port.id,
                    vlan,
                    mac: head.src,
                };
                if self.events.try_send(event).is_ok() {
                    source.next_report = now + REPORT_INTERVAL_NS;
                }
            }
        }
        if entry.forged_transmits {
            Ok(())
        } else {
            Err(DropReason::ForgedTransmit)
        }
    }

    /// Stage 2: every pending frame goes to the batches of its destinations. Returns the frames, as bits, of which at
    /// least one copy counts as delivery.
    #[inline]
    fn look_up(
        &mut self,
        entry: &PortEntry,
        switch: &Switch,
        burst: &mut Burst,
        counters: &ThreadPortCounters,
    ) -> u32 {
        let mut attempted = 0;
        let mut pending = std::mem::take(&mut self.pending);
        for Pending {
            frame,
            dst,
            admitted,
        } in pending.drain(..)
        {
            let vlan = admitted.vlan;
            let before = self.touched.len();
            let sent = if dst.is_multicast() {
                self.flood(entry, switch, vlan, frame)
            } else {
                self.unicast(entry, switch, vlan, dst, frame)
            };
            match sent {
                Ok(()) => attempted |= 1 << frame,
                Err(reason) => counters.rx_drops[reason as usize].add(1),
            }
            if burst.frames()[usize::from(frame)].checksum.is_some()
                && (sent.is_ok() || self.touched.len() > before || !switch.promiscuous.is_empty())
            {
                burst.complete_checksum(usize::from(frame));
                counters.rx_checksums_completed.add(1);
            }
        }
        self.pending = pending;
        attempted
    }

    /// Unicast: to the port that has the address, else to the uplink; copies to promiscuous ports either way.
    #[inline]
    fn unicast(
        &mut self,
        entry: &PortEntry,
        switch: &Switch,
        vlan: u16,
        dst: MacAddr,
        frame: u8,
    ) -> Result<(), DropReason> {
        let source = entry.port.id;
        let holder = switch.find(vlan, dst);
        let destination = match holder {
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
            self.enqueue(port, frame);
        }
        if !switch.promiscuous.is_empty() {
            for port in switch.promiscuous.receivers(vlan, Some(source)) {
                if destination != Ok(port) {
                    self.enqueue(port, frame | COPY);
                }
            }
        }
        destination.map(|_| ())
    }

    /// Broadcast and multicast: to every other port of the VLAN and, from a VM, to one uplink. A promiscuous port that
    /// admits the VLAN is one of these ports, so nobody gets a copy on top.
    fn flood(
        &mut self,
        entry: &PortEntry,
        switch: &Switch,
        vlan: u16,
        frame: u8,
    ) -> Result<(), DropReason> {
        let source = entry.port.id;
        let mut reached = false;
        for port in switch.members(vlan) {
            if port != source {
                self.enqueue(port, frame);
                reached = true;
            }
        }
        if !entry.is_uplink {
            match switch.uplink {
                Some(uplink) => {
                    self.enqueue(uplink, frame);
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

    #[inline]
    fn enqueue(&mut self, port: PortId, entry: u8) {
        let batch = &mut self.batches[port.index()];
        if batch.len == 0 {
            self.touched.push(port);
        }
        batch.frames[usize::from(batch.len)] = entry;
        batch.len += 1;
    }

    /// Stage 3: serves each destination once. Returns the frames, as bits, that reached a destination.
    #[inline]
    fn transmit(&mut self, snapshot: &Snapshot, burst: &Burst) -> u32 {
        let mut delivered = 0;
        for &id in &self.touched {
            let batch = &mut self.batches[id.index()];
            let frames = &batch.frames[..usize::from(batch.len)];
            // Destinations come from this snapshot's own lists.
            if let Some(entry) = snapshot.port(id) {
                let (taken, flushed) = transmit_to(entry, self.thread, frames, &self.edits, burst);
                delivered |= taken;
                if !flushed && !self.unflushed.contains(&id) {
                    self.unflushed.push(id);
                }
            }
            batch.len = 0;
        }
        self.touched.clear();
        delivered
    }
}

/// Copies `frames` to one destination. Returns the originals, as bits, that it took, and whether its other side has all.
#[inline]
fn transmit_to(
    entry: &PortEntry,
    thread: usize,
    frames: &[u8],
    edits: &[(TagEdit, TagEdit); BURST],
    burst: &Burst,
) -> (u32, bool) {
    let counters = entry.port.thread_counters(thread);
    counters.tx_attempts.add(frames.len() as u64);
    if let Some(reason) = entry.closed {
        counters.tx_drops[reason as usize].add(frames.len() as u64);
        return (0, true);
    }
    let (mut delivered, mut sent, mut bytes) = (0, 0, 0);
    let mut engine = entry.port.tx.lock();
    for &copy in frames {
        let index = usize::from(copy & FRAME);
        let (tagged, untagged) = edits[index];
        let edit = if entry.tagged { tagged } else { untagged };
        match engine.transmit(burst, index, edit) {
            Ok(len) => {
                sent += 1;
                bytes += len as u64;
                delivered |= u32::from(copy & COPY == 0) << index;
            }
            Err(reason) => counters.tx_drops[reason as usize].add(1),
        }
    }
    let flushed = !engine.flush();
    drop(engine);
    counters.tx_frames.add(sent);
    counters.tx_bytes.add(bytes);
    (delivered, flushed)
}

fn refused(refusal: Refusal) -> DropReason {
    match refusal {
        Refusal::TagNotAllowed => DropReason::VlanTagNotAllowed,
        Refusal::NotMember => DropReason::VlanNotMember,
        Refusal::Reserved => DropReason::VlanReserved,
    }
}
