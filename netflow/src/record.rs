//! What is known of a flow.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_packet::MacAddr;

/// The number of a port among the interfaces of an exporter; 0 where there is none, or more than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface(pub u32);

/// Which way a flow passes the port whose traffic is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Into the switch.
    Ingress,
    /// Out of the switch.
    Egress,
}

/// The IP addresses of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Addresses {
    /// It is no IP.
    None,
    /// Source and destination.
    V4(Ipv4Addr, Ipv4Addr),
    /// Source and destination.
    V6(Ipv6Addr, Ipv6Addr),
}

/// What the frames of one flow have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// The port that sent the frames.
    pub ingress: Interface,
    /// The port that they left by; none where they were flooded to several.
    pub egress: Interface,
    /// How they pass the port that has them metered.
    pub direction: Direction,
    /// The VLAN inside the switch, 0 for none.
    pub vlan: u16,
    /// Source address.
    pub src_mac: MacAddr,
    /// Destination address.
    pub dst_mac: MacAddr,
    /// What follows all tags.
    pub ethertype: u16,
    /// The IP addresses.
    pub addresses: Addresses,
    /// The IP protocol; that of the last extension header that was read. 0 for what is no IP.
    pub protocol: u8,
    /// The type of service, or traffic class.
    pub tos: u8,
    /// Source port of TCP, UDP, SCTP, DCCP and UDP-Lite; 0 for others and for fragments that do not have it.
    pub src_port: u16,
    /// Destination port; of ICMP and ICMPv6 the type in the upper octet and the code in the lower.
    pub dst_port: u16,
}

/// What is counted of a flow. A meter makes a record before any of its counts is beyond 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets. What a guest leaves to be cut counts as the packets that it becomes.
    pub packets: u64,
    /// Octets from the IP header on, without padding; of what is no IP those behind the Ethernet header and its tags.
    pub octets: u64,
    /// Octets of the frames as they entered, without their checksum.
    pub layer2_octets: u64,
    /// When the first packet came (monotonic, ms).
    pub first: u64,
    /// When the last packet came (monotonic, ms).
    pub last: u64,
    /// Every TCP flag that was seen.
    pub tcp_flags: u16,
    /// Smallest time to live, or hop limit; 0 for what is no IP.
    pub min_ttl: u8,
    /// Largest time to live, or hop limit.
    pub max_ttl: u8,
}

/// Why a record was made (IANA "flowEndReason").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// No packet came for the idle timeout.
    Idle = 1,
    /// It went on for the active timeout.
    Active = 2,
    /// TCP ended it.
    Ended = 3,
    /// A port or the meter went away.
    Forced = 4,
    /// The table had no room.
    NoRoom = 5,
}

/// A flow that ended, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose packets are counted.
    pub flow: Flow,
    /// What was counted.
    pub counts: Counts,
    /// Why.
    pub reason: EndReason,
}
