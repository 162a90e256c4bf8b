//! Stage 1: every frame of a burst is admitted, or dropped with a reason.

use crossbeam_channel::Sender;
use weft_packet::{Head, MacAddr};
use weft_vlan::{Admitted, Refusal};

use super::trace::{Nobody, Step, Witness};
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
            let check_source = |head: &Head, vlan, _: &mut Nobody| {
                // The rule, and nothing that would have to be called.
                if head.src.to_bits() == entry.mac_bits {
                    return Ok(());
                }
                check_source(entry, switch, source, head, vlan, now, &self.events)
            };
            match judge(entry, burst, index, &mut Nobody, check_source) {
                Ok((head, admitted)) => {
                    let key = key(admitted.vlan, head.dst);
                    switch.addresses.prefetch(key);
                    self.edits[index] = Edits::of(&admitted);
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

/// Parses a frame, admits it to a VLAN, and has a source that is to be checked checked.
#[inline(always)]
pub(super) fn judge<W: Witness>(
    entry: &PortEntry,
    burst: &Burst,
    index: usize,
    witness: &mut W,
    check_source: impl FnOnce(&Head, u16, &mut W) -> Result<(), DropReason>,
) -> Result<(Head, Admitted), DropReason> {
    let (head, admitted) = parse(entry, burst, index, witness)?;
    if !entry.is_uplink {
        check_source(&head, admitted.vlan, witness)?;
    }
    Ok((head, admitted))
}

/// Parses a frame and admits it to a VLAN.
#[inline]
fn parse(
    entry: &PortEntry,
    burst: &Burst,
    index: usize,
    witness: &mut impl Witness,
) -> Result<(Head, Admitted), DropReason> {
    witness.note(|| Step::Port);
    if let Some(reason) = entry.closed {
        return Err(reason);
    }
    let frame = &burst.frames()[index];
    if let Some(reason) = frame.fault {
        return Err(reason);
    }
    witness.note(|| Step::Parse);
    let head = burst.parse(index).map_err(|_| DropReason::Runt)?;
    let payload = frame.finished_len() - usize::from(head.header_len);
    witness.note(|| Step::Length {
        payload,
        mtu: entry.mtu,
    });
    if payload > entry.mtu {
        return Err(DropReason::TooLong);
    }
    witness.note(|| Step::Vlan {
        outer: head.outer,
        tags: head.tags,
    });
    let admitted = weft_vlan::admit(&entry.vlan, &head).map_err(|refusal| match refusal {
        Refusal::TagNotAllowed => DropReason::VlanTagNotAllowed,
        Refusal::NotMember => DropReason::VlanNotMember,
        Refusal::Reserved => DropReason::VlanReserved,
    })?;
    Ok((head, admitted))
}

/// What a source is to the port that sends from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceJudgement {
    /// One of its addresses.
    Own,
    /// The first that a port without an address sends from: it becomes the port's.
    First,
    /// None of its addresses.
    Foreign,
}

/// What a source is to a port.
pub(super) fn judge_source(
    entry: &PortEntry,
    switch: &Switch,
    src: MacAddr,
    vlan: u16,
) -> SourceJudgement {
    let port = &entry.port;
    let own = [entry.mac_bits, port.adopted_bits(), port.taken_bits()];
    if own.contains(&src.to_bits()) {
        return SourceJudgement::Own;
    }
    let is_free = || {
        let holder = switch.find(key(vlan, src));
        holder.is_none_or(|holder| holder == port.id)
            && switch.learned.is_free(entry.key(src), port.id)
    };
    if src.is_unicast_source() && is_nameless(entry) && is_free() {
        SourceJudgement::First
    } else {
        SourceJudgement::Foreign
    }
}

/// Whether a port may send from a source.
pub(super) fn verdict(entry: &PortEntry, judgement: SourceJudgement) -> Result<(), DropReason> {
    if judgement == SourceJudgement::Foreign && !entry.forged_transmits {
        Err(DropReason::ForgedTransmit)
    } else {
        Ok(())
    }
}

/// Whether a port has no address yet.
fn is_nameless(entry: &PortEntry) -> bool {
    entry.mac_bits == NO_ADDRESS && entry.port.taken_bits() == NO_ADDRESS
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
    let judgement = judge_source(entry, switch, head.src, vlan);
    match judgement {
        SourceJudgement::Own => return Ok(()),
        SourceJudgement::First if take(entry, switch, head.src, events) => return Ok(()),
        SourceJudgement::First | SourceJudgement::Foreign => {}
    }
    let may_be_adopted = is_nameless(entry) || entry.mac_changes;
    if head.src.is_unicast_source()
        && (may_be_adopted || !entry.forged_transmits)
        && now >= source.next_report
    {
        let (port, mac) = (entry.port.id, head.src);
        let event = if may_be_adopted {
            Event::SourceSeen { port, vlan, mac }
        } else {
            Event::SourceRefused { port, mac }
        };
        if events.try_send(event).is_ok() {
            source.next_report = now + REPORT_INTERVAL_NS;
        }
    }
    verdict(entry, SourceJudgement::Foreign)
}

/// Makes a source the address of its port. False where another port was faster.
fn take(entry: &PortEntry, switch: &Switch, src: MacAddr, events: &Sender<Event>) -> bool {
    let port = &entry.port;
    // Noted before it is claimed: the control side takes back claims of addresses that no port has.
    port.set_taken(Some(src));
    let claimed = switch.learned.claim(entry.key(src), port.id);
    if claimed {
        // A full channel loses nothing: the control side also reads the address from the port.
        let _ = events.try_send(Event::AddressTaken {
            port: port.id,
            mac: src,
        });
    } else {
        port.set_taken(None);
    }
    claimed
}
