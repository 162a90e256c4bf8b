//! Flows that ended, as they are handed over.

use super::flow::{Flow, Time};
use crate::key::Key;
use crate::{Counts, Direction, End, EndReason, Record};

/// A flow that ended, or a part of one, as a poll thread hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    key: Key,
    packets: u32,
    octets: u32,
    layer2_octets: u32,
    first: u64,
    last: u64,
    tcp_flags: u8,
    min_ttl: u8,
    max_ttl: u8,
    reason: EndReason,
}

impl Ended {
    /// Where it passes.
    pub fn ends(&self) -> Ends {
        Ends::of(&self.key)
    }

    /// What was counted until `now` (ms), of which the flow has the low bits of its times.
    pub(super) fn new(key: Key, flow: &Flow, reason: EndReason, now: u64) -> Self {
        let past = |time: Time| now - time.until(now).min(now);
        Self {
            key,
            packets: flow.packets,
            octets: flow.octets,
            layer2_octets: flow.layer2_octets,
            first: past(flow.first),
            last: past(flow.last),
            tcp_flags: flow.tcp_flags,
            min_ttl: flow.min_ttl,
            max_ttl: flow.max_ttl,
            reason,
        }
    }

    /// Octets from the IP header on.
    pub fn octets(&self) -> u32 {
        self.octets
    }

    /// The same in words.
    pub fn record(&self) -> Record {
        Record {
            flow: self.key.flow(),
            counts: Counts {
                packets: self.packets.into(),
                octets: self.octets.into(),
                layer2_octets: self.layer2_octets.into(),
                first: self.first,
                last: self.last,
                tcp_flags: self.tcp_flags.into(),
                min_ttl: self.min_ttl,
                max_ttl: self.max_ttl,
            },
            reason: self.reason,
        }
    }
}

/// The ends of a flow that goes on, and which of them has it metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where it enters.
    pub ingress: End,
    /// Where it leaves.
    pub egress: End,
    /// How it passes the port that has it metered.
    pub direction: Direction,
}

impl Ends {
    pub(super) fn of(key: &Key) -> Self {
        Self {
            ingress: key.ingress(),
            egress: key.egress(),
            direction: key.direction(),
        }
    }
}
