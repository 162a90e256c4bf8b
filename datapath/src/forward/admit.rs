//! Stage 1: every frame of a burst is admitted, or dropped with a reason.

use crossbeam_channel::Sender;
use weft_packet::Head;
use weft_vlan::Refusal;

use super::{Edits, Forwarder, Pending};
use crate::frame::Burst;
use crate::mac_table::key;
use crate::port::NO_ADDRESS;
use crate::snapshot::{PortEntry, Switch};
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

impl Forwarder {
    /// Makes every frame pending, or drops it.
    #[inline]
    pub(super) fn admit(
        &mut self,
        entry: &PortEntry,
        switch: &Switch,
        source: &mut Source,
        burst: &Burst,
        now: u64,
    ) {
        let counters = entry.port.thread_counters(self.thread);
        self.pending.clear();
        let mut bytes = 0;
        for index in 0..burst.len() {
            bytes += burst.frames()[index].len() as u64;
            let admitted = parse(entry, burst, index).and_then(|(head, admitted)| {
                let foreign = !entry.is_uplink && head.src.to_bits() != entry.mac_bits;
                if foreign {
                    check_source(
                        entry,
                        switch,
                        source,
                        &head,
                        admitted.vlan,
                        now,
                        &self.events,
                    )?;
                }
                Ok((head, admitted))
            });
            match admitted {
                Ok((head, admitted)) => {
                    let key = key(admitted.vlan, head.dst);
                    switch.addresses.prefetch(key);
                    self.edits[index] = Edits {
                        tagged: admitted.to_tagged,
                        untagged: admitted.to_untagged,
                    };
                    let frame = index as u8;
                    self.pending.push(Pending { key, frame });
                }
                Err(reason) => counters.rx_drops[reason as usize].add(1),
            }
        }
        counters.rx_frames.add(burst.len() as u64);
        counters.rx_bytes.add(bytes);
    }
}

/// Parses a frame and admits it to a VLAN.
#[inline]
fn parse(
    entry: &PortEntry,
    burst: &Burst,
    index: usize,
) -> Result<(Head, weft_vlan::Admitted), DropReason> {
    if let Some(reason) = entry.closed {
        return Err(reason);
    }
    let frame = &burst.frames()[index];
    if let Some(reason) = frame.fault {
        return Err(reason);
    }
    let head = burst.parse(index).map_err(|_| DropReason::Runt)?;
    if frame.finished_len() - usize::from(head.header_len) > entry.mtu {
        return Err(DropReason::TooLong);
    }
    let admitted = weft_vlan::admit(&entry.vlan, &head).map_err(|refusal| match refusal {
        Refusal::TagNotAllowed => DropReason::VlanTagNotAllowed,
        Refusal::NotMember => DropReason::VlanNotMember,
        Refusal::Reserved => DropReason::VlanReserved,
    })?;
    Ok((head, admitted))
}

/// The source is not the configured address: it may be one that the port took or adopted, become one, or be forged.
#[inline(never)]
fn check_source(
    entry: &PortEntry,
    switch: &Switch,
    source: &mut Source,
    head: &Head,
    vlan: u16,
    now: u64,
    events: &Sender<Event>,
) -> Result<(), DropReason> {
    let (port, src) = (&entry.port, head.src.to_bits());
    if src == port.adopted_bits() || src == port.taken_bits() {
        return Ok(());
    }
    if head.src.is_unicast_source() {
        let nameless = entry.mac_bits == NO_ADDRESS && port.taken_bits() == NO_ADDRESS;
        let holder = switch.find(key(vlan, head.src));
        if nameless && holder.is_none_or(|holder| holder == port.id) {
            // Noted before it is claimed: the control side takes back claims of addresses that no port has.
            port.set_taken(Some(head.src));
            if switch.learned.claim(entry.key(head.src), port.id) {
                // A full channel loses nothing: the control side also reads the address from the port.
                let _ = events.try_send(Event::AddressTaken {
                    port: port.id,
                    mac: head.src,
                });
                return Ok(());
            }
            port.set_taken(None);
        }
        if (nameless || entry.mac_changes) && now >= source.next_report {
            let event = Event::SourceSeen {
                port: port.id,
                vlan,
                mac: head.src,
            };
            if events.try_send(event).is_ok() {
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
