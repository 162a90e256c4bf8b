//! Which frames are meant: filters in the words of tcpdump (pcap-filter(7)), as far as they are about addresses, protocols, ports
//! and VLANs.
//!
//! One thing is otherwise: tags do not hide what is behind them. In tcpdump `host 10.0.0.1` finds untagged frames only, and `vlan`
//! has the rest of a filter look behind one tag more; here every test looks behind all tags, and `vlan 10` asks for the outer one.

mod error;
mod parse;
mod qualified;
mod values;
mod words;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use weft_packet::{Head, MacAddr, arp, ethertype, ipv4, ipv6};

pub use error::FilterError;

/// SCTP has its ports where TCP and UDP have them (RFC 9260).
const SCTP: u8 = 132;

/// A filter. The one of an empty text is for every frame.
///
/// ```
/// use weft_mirror::Filter;
///
/// let filter: Filter = "arp or udp port 67".parse()?;
/// let mut frame = [0xff; 60];
/// frame[12..14].copy_from_slice(&[0x08, 0x06]);
/// assert!(filter.takes(&frame, frame.len()));
/// # Ok::<(), weft_mirror::FilterError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Option<Node>);

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(Self)
    }
}

impl Filter {
    /// Whether it takes a frame of `len` octets that begins with these.
    pub fn takes(&self, frame: &[u8], len: usize) -> bool {
        let Some(node) = &self.0 else {
            return true;
        };
        Facts::of(frame, len).is_some_and(|facts| node.takes(&facts))
    }
}

/// A part of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Test(Test),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl Node {
    fn takes(&self, facts: &Facts) -> bool {
        match self {
            Self::Test(test) => test.takes(facts),
            Self::Not(one) => !one.takes(facts),
            Self::And(one, other) => one.takes(facts) && other.takes(facts),
            Self::Or(one, other) => one.takes(facts) || other.takes(facts),
        }
    }
}

/// Which of two addresses or ports are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
    Either,
    Both,
}

impl Side {
    fn takes<T>(self, source: T, destination: T, takes: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => takes(source),
            Self::Destination => takes(destination),
            Self::Either => takes(source) || takes(destination),
            Self::Both => takes(source) && takes(destination),
        }
    }
}

/// What carries IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    /// IPv4, IPv6, ARP and RARP.
    Any,
    Only(u16),
}

/// One question to a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Ether(Side, MacAddr),
    Group {
        broadcast: bool,
    },
    EtherType(u16),
    /// A tag, the outer one of this VLAN.
    Vlan(Option<u16>),
    Address(Carrier, Side, Prefix),
    /// IPv4 or IPv6, where it is one of these, with this protocol.
    Protocol(Carrier, u8),
    /// Of one of these protocols.
    Port(&'static [u8], Side, RangeInclusive<u16>),
    Longer(usize),
    Shorter(usize),
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl Prefix {
    fn takes(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4 { address, mask }, IpAddr::V4(one)) => u32::from(one) & mask == address,
            (Self::V6 { address, mask }, IpAddr::V6(one)) => u128::from(one) & mask == address,
            _ => false,
        }
    }
}

impl Test {
    fn takes(&self, facts: &Facts) -> bool {
        let is_carried = |carrier: Carrier| match carrier {
            Carrier::Any => true,
            Carrier::Only(ethertype) => facts.head.ethertype == ethertype,
        };
        match self {
            Self::Ether(side, mac) => side.takes(facts.head.src, facts.head.dst, |one| one == *mac),
            Self::Group { broadcast: true } => facts.head.dst.is_broadcast(),
            Self::Group { broadcast: false } => facts.head.dst.is_multicast(),
            Self::EtherType(ethertype) => facts.head.ethertype == *ethertype,
            Self::Vlan(vlan) => facts
                .head
                .outer
                .is_some_and(|tag| vlan.is_none_or(|vlan| tag.vid() == vlan)),
            Self::Address(carrier, side, prefix) => {
                is_carried(*carrier)
                    && facts.addresses.is_some_and(|(source, destination)| {
                        side.takes(source, destination, |one| prefix.takes(one))
                    })
            }
            Self::Protocol(carrier, protocol) => {
                is_carried(*carrier) && facts.protocol == Some(*protocol)
            }
            Self::Port(protocols, side, ports) => {
                facts.protocol.is_some_and(|one| protocols.contains(&one))
                    && facts.ports.is_some_and(|(source, destination)| {
                        side.takes(source, destination, |one| ports.contains(&one))
                    })
            }
            Self::Longer(len) => facts.len >= *len,
            Self::Shorter(len) => facts.len <= *len,
        }
    }
}

/// What is asked of a frame.
struct Facts {
    head: Head,
    len: usize,
    /// Source and destination, or who sends and who is asked for.
    addresses: Option<(IpAddr, IpAddr)>,
    protocol: Option<u8>,
    ports: Option<(u16, u16)>,
}

impl Facts {
    fn of(frame: &[u8], len: usize) -> Option<Self> {
        let head = Head::parse(frame, len).ok()?;
        let frame = &frame[..frame.len().min(len)];
        let network = frame.get(usize::from(head.header_len)..)?;
        let mut facts = Self {
            head,
            len,
            addresses: None,
            protocol: None,
            ports: None,
        };
        match head.ethertype {
            ethertype::IPV4 => facts.read_v4(network),
            ethertype::IPV6 => facts.read_v6(network),
            ethertype::ARP | ethertype::RARP => facts.read_arp(network),
            _ => {}
        }
        Some(facts)
    }

    fn read_v4(&mut self, network: &[u8]) {
        let Ok(packet) = ipv4::Packet::new_checked(network) else {
            return;
        };
        self.addresses = Some((packet.src().into(), packet.dst().into()));
        self.protocol = Some(packet.protocol());
        if packet.fragment_offset() == 0 {
            self.read_ports(network.get(usize::from(packet.header_len())..));
        }
    }

    fn read_v6(&mut self, network: &[u8]) {
        let Ok(packet) = ipv6::Packet::new_checked(network) else {
            return;
        };
        self.addresses = Some((packet.src().into(), packet.dst().into()));
        self.protocol = Some(packet.next_header());
        if let Some(upper) = packet.upper_layer() {
            self.protocol = Some(upper.protocol);
            if upper.fragment_offset == 0 {
                self.read_ports(network.get(upper.offset..));
            }
        }
    }

    fn read_arp(&mut self, network: &[u8]) {
        if let Ok(packet) = arp::Packet::new_checked(network) {
            self.addresses = Some((packet.sender_ip().into(), packet.target_ip().into()));
        }
    }

    fn read_ports(&mut self, transport: Option<&[u8]>) {
        if let Some(&[s0, s1, d0, d1]) = transport.and_then(<[u8]>::first_chunk) {
            self.ports = Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])));
        }
    }
}

/// The addresses that begin with so many bits of this one; `None` where it has not as many.
fn prefix(address: IpAddr, bits: u32) -> Option<Prefix> {
    match address {
        IpAddr::V4(address) => v4_prefix(address, bits),
        IpAddr::V6(address) => v6_prefix(address, bits),
    }
}

fn v4_prefix(address: Ipv4Addr, bits: u32) -> Option<Prefix> {
    let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?);
    let mask = mask.unwrap_or_default();
    Some(Prefix::V4 {
        address: u32::from(address),
        mask,
    })
}

fn v6_prefix(address: Ipv6Addr, bits: u32) -> Option<Prefix> {
    let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?);
    let mask = mask.unwrap_or_default();
    Some(Prefix::V6 {
        address: u128::from(address),
        mask,
    })
}
