//! A trace says what the reference does, and leaves everything as it was.

use std::collections::BTreeMap;

use weft_datapath::testing::{Outcome, ReferenceSwitch, Rig};
use weft_datapath::{CopyKind, DropReason, LearnedAddress, PortId, Step, Trace};
use weft_packet::MacAddr;

use crate::{Drops, PORTS, drops, learned};

/// Everything that a frame could change: counts by port and reason, frames and copies by port, addresses by port.
#[derive(Debug, PartialEq)]
struct Kept {
    drops: (Drops, Drops),
    counts: Vec<[u64; 6]>,
    own: Vec<(Option<MacAddr>, Option<MacAddr>)>,
    learned: Vec<LearnedAddress>,
    events: usize,
}

fn kept(rig: &Rig) -> Kept {
    let ports = || (0..PORTS).map(PortId);
    let counts = |id| {
        let counters = rig.datapath.counters(id).unwrap_or_default();
        [
            counters.rx_frames,
            counters.rx_bytes,
            counters.rx_delivered,
            counters.rx_undelivered,
            counters.tx_attempts,
            counters.tx_frames,
        ]
    };
    Kept {
        drops: drops(rig),
        counts: ports().map(counts).collect(),
        own: ports().map(|id| rig.datapath.learned(id)).collect(),
        learned: learned(rig),
        events: rig.events.len(),
    }
}

/// What a trace says, as the reference says it.
fn outcome(frame: &[u8], trace: &Trace) -> Outcome {
    let mut outcome = Outcome {
        dropped: trace.dropped,
        ..Outcome::default()
    };
    for step in &trace.steps {
        if let Step::Copy {
            to, outcome: got, ..
        } = step
        {
            match got {
                Ok(edit) => {
                    let mut copy = vec![0; frame.len() + 4];
                    let len = edit.apply(frame, &mut copy);
                    copy.truncate(len);
                    let before = outcome.copies.insert(*to, copy);
                    assert_eq!(before, None, "{to} gets the frame twice");
                }
                Err(reason) => {
                    let before = outcome.refused.insert(*to, *reason);
                    assert_eq!(before, None, "{to} is asked twice");
                }
            }
        }
    }
    outcome
}

/// The step that a trace ends with which goes nowhere.
fn last(trace: &Trace) -> Option<&'static str> {
    let mut decisions = trace.steps.iter().rev().filter_map(name);
    trace.dropped.and_then(|_| decisions.next())
}

fn name(step: &Step) -> Option<&'static str> {
    Some(match step {
        Step::Port => "port",
        Step::Parse => "parse",
        Step::Length { .. } => "length",
        Step::Vlan { .. } => "VLAN",
        Step::Source { .. } => "source",
        Step::LookUp { .. } => "look-up",
        _ => return None,
    })
}

/// The step that decides on a reason.
fn decided_by(reason: DropReason) -> Option<&'static str> {
    Some(match reason {
        DropReason::PortDown | DropReason::PortBlocked => "port",
        DropReason::Runt => "parse",
        DropReason::TooLong => "length",
        DropReason::VlanTagNotAllowed | DropReason::VlanNotMember | DropReason::VlanReserved => {
            "VLAN"
        }
        DropReason::ForgedTransmit | DropReason::LearningLimit => "source",
        DropReason::UnknownUnicast
        | DropReason::NoReceiver
        | DropReason::SamePort
        | DropReason::NoUplink
        | DropReason::ReversePath
        | DropReason::BpduFilter
        | DropReason::ControlFrame => "look-up",
        other => panic!("{other} is for frames that are there"),
    })
}

/// Traces each of `frames`, as the first that the port sends, and compares with what the reference does with it.
pub(crate) fn check(rig: &Rig, reference: &ReferenceSwitch, port: PortId, frames: &[Vec<u8>]) {
    let before = kept(rig);
    for frame in frames {
        let trace = rig.datapath.trace(port, frame);
        let trace = trace.expect("the port is in the configuration");
        let expected = reference.clone().forward(port, frame);
        assert_eq!(
            outcome(frame, &trace),
            expected,
            "{frame:02x?} of {port}: {trace:?}"
        );
        let delivers = |step: &Step| {
            let kind = CopyKind::Original;
            matches!(step, Step::Copy { kind: of, .. } if *of == kind)
        };
        assert_eq!(
            trace.dropped.and_then(decided_by),
            last(&trace),
            "{trace:?}"
        );
        assert_eq!(
            trace.steps.iter().any(delivers),
            trace.dropped.is_none(),
            "a frame goes somewhere or is dropped: {trace:?}"
        );
    }
    assert_eq!(kept(rig), before, "a trace leaves everything as it was");
}

/// The traces of frames in a configuration that is not in force yet, or is.
pub(crate) type Traces = BTreeMap<(PortId, Vec<u8>), Option<Trace>>;

/// Traces each of `frames` from each port by `trace`.
pub(crate) fn of_all(frames: &[Vec<u8>], trace: impl Fn(PortId, &[u8]) -> Option<Trace>) -> Traces {
    let ports = (0..PORTS).map(PortId);
    let pairs = ports.flat_map(|port| frames.iter().map(move |frame| (port, frame)));
    pairs
        .map(|(port, frame)| ((port, frame.clone()), trace(port, frame)))
        .collect()
}
