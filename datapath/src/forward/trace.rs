//! A dry frame: the decisions of the packet path, made by the code that makes them there, and nothing done.
//!
//! The stages say at each decision what they are about to decide. On the packet path nobody listens, and it costs nothing;
//! a trace writes it down.

use std::cell::Cell;

use weft_packet::{Head, Tag, TagEdit};

use super::Edits;
use super::admit::{self, SourceJudgement};
use super::destinations::{CopyKind, Query, look_up};
use crate::frame::with_frame;
use crate::mac_table::{key, mac_of};
use crate::snapshot::{PortEntry, Snapshot};
use crate::{DropReason, PortId};

/// What would happen to a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The decisions in the order in which they are made, and then one [`Step::Copy`] for each destination.
    pub steps: Vec<Step>,
    /// Why the frame goes nowhere: what the last step that is no copy decided. Promiscuous ports may get a copy all the same.
    pub dropped: Option<DropReason>,
    /// The sender has a limit: while it is used up, its frames wait with it.
    pub shaped_in: bool,
    /// Destinations that have a limit. While one is used up a copy waits, and is dropped (`ShaperFull`) where too many do.
    pub shaped_out: Vec<PortId>,
}

/// One decision about a frame, with what it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Whether the port takes part in forwarding.
    Port,
    /// Whether the frame is as long as its Ethernet header and tags.
    Parse,
    /// Whether the payload is within the MTU.
    Length {
        /// Octets behind the Ethernet header and all tags.
        payload: usize,
        /// The most that the port takes.
        mtu: usize,
    },
    /// Which VLAN the frame is in, if the port carries it.
    Vlan {
        /// The frame's outer tag.
        outer: Option<Tag>,
        /// How many tags it has.
        tags: u8,
    },
    /// Whether the port may send from this source. An uplink may send from any, and is not asked.
    Source {
        /// The forwarding domain, 0 for none.
        vlan: u16,
        /// What the source is to the port.
        judgement: SourceJudgement,
    },
    /// Who has the destination address, or listens to the group.
    LookUp {
        /// The forwarding domain, 0 for none.
        vlan: u16,
    },
    /// What one destination gets.
    Copy {
        /// The destination.
        to: PortId,
        /// Whether the copy is the delivery of the frame.
        kind: CopyKind,
        /// How the tags change on the way, or why the destination takes nothing. Whether its ring has room shows only when a
        /// frame is there.
        outcome: Result<TagEdit, DropReason>,
    },
}

/// Who is told of the steps of a frame.
pub(super) trait Witness {
    /// The step is about to be decided.
    fn note(&mut self, step: impl FnOnce() -> Step);
}

/// The packet path's: nobody is told.
pub(super) struct Nobody;

impl Witness for Nobody {
    #[inline(always)]
    fn note(&mut self, _step: impl FnOnce() -> Step) {}
}

impl Witness for Vec<Step> {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}

/// What would happen to a frame that the port with this entry sends. Nothing changes by it: no counter, no address, no
/// engine, and nobody is told. `now`: monotonic time, ns.
pub(crate) fn trace(snapshot: &Snapshot, entry: &PortEntry, frame: &[u8], now: u64) -> Trace {
    let switch = snapshot.switch_of(entry);
    let shaped_in = entry.shape_in.is_some();
    let (mut steps, mut shaped_out) = (Vec::new(), Vec::new());
    let taken = Cell::new(None);
    let check_source = |head: &Head, vlan: u16, witness: &mut Vec<Step>| {
        let judgement = admit::judge_source(entry, switch, head.src, vlan, now);
        witness.note(|| Step::Source { vlan, judgement });
        let gets = matches!(judgement, SourceJudgement::First | SourceJudgement::New);
        taken.set(gets.then_some(head.src));
        admit::verdict(entry, judgement)
    };
    let dropped = with_frame(frame, |burst| {
        let (head, admitted) = admit::judge(entry, burst, 0, &mut steps, check_source)?;
        let vlan = admitted.vlan;
        steps.note(|| Step::LookUp { vlan });
        // The port would have an address that it takes, or that is learned behind it, before the frame is looked up.
        let find = |key| match taken.get() {
            Some(mac) if mac_of(key) == mac => Some(entry.port.id),
            _ => switch.find(key),
        };
        let edits = Edits::of(&admitted);
        let copy = |to, kind| {
            // Destinations come from this snapshot's own lists.
            if let Some(entry) = snapshot.port(to) {
                let outcome = entry.closed.map_or_else(|| Ok(edits.for_port(entry)), Err);
                steps.push(Step::Copy { to, kind, outcome });
                if entry.shapes_out {
                    shaped_out.push(to);
                }
            }
        };
        let query = Query {
            snapshot,
            entry,
            switch,
            key: key(vlan, head.dst),
            frame: &burst.frames()[0],
            now,
            is_dry: true,
        };
        look_up(&query, find, copy)
    });
    Trace {
        steps,
        dropped: dropped.err(),
        shaped_in,
        shaped_out,
    }
}
