//! Who is told of flows, and the flows.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::{Collector, FlowDirection, NetflowSpec, VswitchName};
use weft_packet::MacAddr;

use crate::object::Envelope;

/// The NetFlow of a switch.
pub type Netflow = Envelope<NetflowSpec, NetflowStatus>;

/// How the NetFlow of a switch stands. Counters count from the start of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetflowStatus {
    /// The observation domain in force.
    pub domain: u32,
    /// How many ports have their flows counted.
    pub ports: usize,
    /// Flows that are counted at this moment, on all poll threads.
    pub flows: u64,
    /// Flows that there is room for, on all poll threads.
    pub room: u64,
    /// Packets that were counted.
    pub packets: u64,
    /// Flows that were told early because there was no room.
    pub evicted: u64,
    /// Records that were lost to all collectors, because they came faster than they could be taken.
    pub lost_records: u64,
    /// The collectors, in the order in which they were named.
    pub collectors: Vec<CollectorStatus>,
}

/// What became of what a collector was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorStatus {
    /// The collector.
    pub collector: Collector,
    /// Messages that were sent.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
    /// Records that were lost to this collector: the network did not take their message, or answered that nobody did.
    pub lost_records: u64,
    /// Records that the version has no place for: in version 5 those of what is no IPv4.
    pub unsaid: u64,
    /// Why messages do not arrive; absent once some were sent and the network did not complain for five seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A flow that goes on at this moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowEntry {
    /// The switch.
    pub vswitch: VswitchName,
    /// The port that sends; an uplink by its interface.
    pub in_port: String,
    /// The port that receives; absent where several do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_port: Option<String>,
    /// `in` where the port that sends has its flows counted, `out` where only the one that receives has.
    pub direction: FlowDirection,
    /// The VLAN inside the switch, 0 for none.
    pub vlan: u16,
    /// The Ethernet address that sends.
    pub src_mac: MacAddr,
    /// The one that receives.
    pub dst_mac: MacAddr,
    /// What follows all tags.
    pub ethertype: u16,
    /// The IP address that sends; absent for what is no IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_ip: Option<IpAddr>,
    /// The one that receives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_ip: Option<IpAddr>,
    /// The IP protocol: `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, or its number; absent for what is no IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The type of service, or traffic class.
    pub tos: u8,
    /// The transport port that sends, of protocols that have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    /// The one that receives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
    /// The type of ICMP messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Their code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// Packets, as they are on the wire.
    pub packets: u64,
    /// Octets from the IP header on; of what is no IP those behind the Ethernet header and its tags.
    pub octets: u64,
    /// When its first packet came, by the host's clock (RFC 3339, UTC).
    pub first: String,
    /// When its last packet came.
    pub last: String,
    /// How many milliseconds its packets span.
    pub duration_ms: u64,
    /// How many milliseconds ago its last packet came.
    pub age_ms: u64,
    /// Every TCP flag that was seen, as `SA`: of C, E, U, A, P, R, S and F. Empty for what is no TCP.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tcp_flags: String,
}
