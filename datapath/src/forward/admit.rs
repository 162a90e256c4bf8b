//! Stage 1: every frame of a burst is admitted, or dropped with a reason.

use crossbeam_channel::Sender;
use weft_packet::{Head, MacAddr};
use weft_vlan::{Admitted, Refusal};

use super::trace::{Nobody, Step, Witness};
use super::{Edits, Forwarder, Pending};
use crate::config::Beyond;
use crate::frame::Burst;
use crate::learning::second;
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
    /// Turns for which it lets the others go first.
    pub(crate) waits: u8,
}

impl Source {
    pub(crate) fn new(id: PortId) -> Self {
        Self {
            id,
            next_report: 0,
            waits: 0,
        }
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
        // The learned source of the frame before: most frames of a burst have one source.
        let mut known = NO_ADDRESS;
        for index in 0..burst.len() {
            bytes += burst.frames()[index].len() as u64;
            let check_source = |head: &Head, vlan, _: &mut Nobody| {
                // The rule, and nothing that would have to be called.
                if head.src.to_bits() == entry.mac_bits {
                    return Ok(());
                }
                if entry.learning.is_some() {
                    let behind = key(vlan, head.src);
                    if behind == known || is_known(entry, switch, behind, now) {
                        known = behind;
                        return Ok(());
                    }
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
    /// One that was learned behind it.
    Learned,
    /// One that is learned behind it from now on.
    New,
    /// One that would be learned, if the port had not learned as many as it may, or the table had room.
    Beyond,
    /// None of its addresses, nor one to learn.
    Foreign,
}

/// What a source is to a port. `now` is the monotonic time in ns.
pub(super) fn judge_source(
    entry: &PortEntry,
    switch: &Switch,
    src: MacAddr,
    vlan: u16,
    now: u64,
) -> SourceJudgement {
    let port = &entry.port;
    let own = [entry.mac_bits, port.adopted_bits(), port.taken_bits()];
    if own.contains(&src.to_bits()) {
        return SourceJudgement::Own;
    }
    if !src.is_unicast_source() {
        return SourceJudgement::Foreign;
    }
    let key = key(vlan, src);
    let owner = switch.find_own(key);
    let is_free = || {
        owner.is_none_or(|owner| owner == port.id)
            && switch.learned.is_free(entry.key(src), port.id)
            && !switch.is_learned_by_another(key, port.id, now)
    };
    if is_nameless(entry) && is_free() {
        return SourceJudgement::First;
    }
    let Some(learning) = switch
        .learning
        .as_ref()
        .filter(|_| entry.learning.is_some())
    else {
        return SourceJudgement::Foreign;
    };
    if learning.find(key) == Some(port.id) {
        SourceJudgement::Learned
    } else if owner.is_some() || switch.is_learned_by_another(key, port.id, now) {
        SourceJudgement::Foreign
    } else if learning.is_beyond(key, port.id) {
        SourceJudgement::Beyond
    } else {
        SourceJudgement::New
    }
}

/// Whether the source of a key was learned behind the port; if so, it is remembered that it sent. Nothing else has an address that was
/// learned: what would get it waits for its silence, and a configuration that gives it away has it forgotten.
#[inline]
fn is_known(entry: &PortEntry, switch: &Switch, behind: u64, now: u64) -> bool {
    let learning = switch.learning.as_ref();
    learning.is_some_and(|learning| learning.table.refresh(behind, entry.port.id, second(now)))
}

/// Whether a port may send from a source.
pub(super) fn verdict(entry: &PortEntry, judgement: SourceJudgement) -> Result<(), DropReason> {
    let drops_beyond = || entry.learning == Some(Beyond::Drop);
    match judgement {
        SourceJudgement::Foreign if !entry.forged_transmits => Err(DropReason::ForgedTransmit),
        SourceJudgement::Beyond if drops_beyond() => Err(DropReason::LearningLimit),
        _ => Ok(()),
    }
}

/// Whether a port has no address yet.
fn is_nameless(entry: &PortEntry) -> bool {
    entry.mac_bits == NO_ADDRESS && entry.port.taken_bits() == NO_ADDRESS
}

/// The source is neither the configured address nor one that is known to be behind the port: it may be one that the port took
/// or adopted, become one, be learned, or be forged.
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
    let judgement = judge_source(entry, switch, head.src, vlan, now);
    match judgement {
        SourceJudgement::First if take(entry, switch, head.src, vlan, now, events) => {
            return Ok(());
        }
        SourceJudgement::First | SourceJudgement::Foreign => {}
        SourceJudgement::New => {
            learn(entry, switch, key(vlan, head.src), now);
            return Ok(());
        }
        SourceJudgement::Own | SourceJudgement::Learned | SourceJudgement::Beyond => {
            return verdict(entry, judgement);
        }
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

/// Learns a source behind its port.
fn learn(entry: &PortEntry, switch: &Switch, key: u64, now: u64) {
    if let Some(learning) = &switch.learning {
        let is_own = || switch.find_own(key).is_some();
        learning.learn(key, entry.port.id, second(now), is_own);
    }
}

/// Makes a source the address of its port, unless another thread learns addresses of the switch just then: the next frame is
/// as good. Returns whether the port may send from it, which it may not where another port was faster.
fn take(
    entry: &PortEntry,
    switch: &Switch,
    src: MacAddr,
    vlan: u16,
    now: u64,
    events: &Sender<Event>,
) -> bool {
    let port = &entry.port;
    let behind = key(vlan, src);
    // Held until the address is the port's: nobody learns it meanwhile.
    let writer = match &switch.learning {
        Some(learning) => match learning.table.try_write() {
            Some(writer) => Some(writer),
            None => return true,
        },
        None => None,
    };
    if switch.is_learned_by_another(behind, port.id, now) {
        return false;
    }
    // Noted before it is claimed: the control side takes back claims of addresses that no port has.
    port.set_taken(Some(src));
    let claimed = switch.learned.claim(entry.key(src), port.id);
    if claimed {
        if let Some(writer) = writer {
            writer.release(behind);
        }
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
