//! Tests of addresses, ports and protocols, behind the words that say of which.

use std::net::{IpAddr, Ipv4Addr};

use weft_packet::{MacAddr, ethertype, ip_protocol};

use super::error::{beyond, is_beyond, wrong};
use super::parse::{Parser, Qualifiers, Result};
use super::values::{network, number, ports};
use super::words::Word;
use super::{Carrier, Node, Prefix, SCTP, Side, Test, prefix};

impl<'a> Parser<'a, '_> {
    pub(super) fn host(&mut self, qualifiers: Qualifiers<'a>) -> Result<Node> {
        let side = qualifiers.side.unwrap_or(Side::Either);
        let word = self.next("an address")?;
        if qualifiers.protocol.is_some_and(|word| word.text == "ether") {
            let mac = word.text.parse::<MacAddr>();
            let mac = mac.map_err(|_| {
                wrong(
                    word,
                    "an address of the link is needed, as 02:00:00:00:00:01",
                )
            })?;
            return Ok(Node::Test(Test::Ether(side, mac)));
        }
        if is_beyond(word.text) {
            return Err(beyond(word));
        }
        let carrier = carrier(qualifiers.protocol)?;
        let address: IpAddr = word.text.parse().map_err(|_| {
            if word.text.parse::<MacAddr>().is_ok() {
                wrong(word, "write 'ether host' before an address of the link")
            } else {
                wrong(
                    word,
                    "it is neither a word of a filter nor an address, as 10.0.0.1 or fd00::1",
                )
            }
        })?;
        fits(word, carrier, address)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix(address, bits).expect("as many bits as the address has");
        Ok(Node::Test(Test::Address(carrier, side, prefix)))
    }

    pub(super) fn net(&mut self, qualifiers: Qualifiers<'a>) -> Result<Node> {
        let side = qualifiers.side.unwrap_or(Side::Either);
        let word = self.next("a network")?;
        let carrier = carrier(qualifiers.protocol)?;
        let (text, bits) = match word.text.split_once('/') {
            Some((text, bits)) => (text, Some(bits)),
            None => (word.text, None),
        };
        let (address, own_bits) = network(text).ok_or_else(|| {
            wrong(
                word,
                "a network is needed, as 10.0.0.0/8, 192.168.1 or fd00::/8",
            )
        })?;
        fits(word, carrier, address)?;
        let mask = if self.take(&["mask"]) {
            Some(self.next("a mask")?)
        } else {
            None
        };
        let of_mask = |mask: Word<'_>| {
            let octets = mask.text.parse::<Ipv4Addr>().ok().map(u32::from);
            let bits =
                octets.filter(|octets| octets.leading_ones() + octets.trailing_zeros() >= 32);
            bits.map(u32::leading_ones)
                .ok_or_else(|| wrong(mask, "a mask is needed, as 255.255.0.0"))
        };
        let bits = match (bits, mask) {
            (Some(bits), None) => bits
                .parse()
                .map_err(|_| wrong(word, "a number of bits is needed behind '/'"))?,
            (None, Some(mask)) if address.is_ipv4() => of_mask(mask)?,
            (None, None) => own_bits,
            (_, Some(mask)) => return Err(wrong(mask, "a mask is for IPv4, and instead of '/'")),
        };
        let prefix =
            prefix(address, bits).ok_or_else(|| wrong(word, "an address has not so many bits"))?;
        let is_whole = match prefix {
            Prefix::V4 { address, mask } => address & !mask == 0,
            Prefix::V6 { address, mask } => address & !mask == 0,
        };
        if !is_whole {
            return Err(wrong(
                word,
                "bits beyond those of the network are set; clear them",
            ));
        }
        Ok(Node::Test(Test::Address(carrier, side, prefix)))
    }

    pub(super) fn port(&mut self, qualifiers: Qualifiers<'a>, is_range: bool) -> Result<Node> {
        const ALL: &[u8] = &[ip_protocol::TCP, ip_protocol::UDP, SCTP];
        let side = qualifiers.side.unwrap_or(Side::Either);
        let protocols: &'static [u8] = match qualifiers.protocol {
            None => ALL,
            Some(word) => match word.text {
                "tcp" => &ALL[..1],
                "udp" => &ALL[1..2],
                "sctp" => &ALL[2..],
                _ => return Err(wrong(word, "ports are those of tcp, udp and sctp")),
            },
        };
        let word = self.next("a port")?;
        let ports = ports(word.text, is_range).ok_or_else(|| {
            wrong(
                word,
                if is_range {
                    "two ports are needed, as 1000-2000"
                } else {
                    "a port is needed, 0-65535 or the name of a usual one"
                },
            )
        })?;
        Ok(Node::Test(Test::Port(protocols, side, ports)))
    }

    pub(super) fn protocol(&mut self, qualifiers: Qualifiers<'a>) -> Result<Node> {
        let of = qualifiers.protocol.map_or("", |word| word.text);
        let word = self.next("a protocol")?;
        // A shell's way of saying that a word is no keyword.
        let text = word.text.trim_start_matches('\\');
        let number = match text {
            "ip" => Some(u32::from(ethertype::IPV4)),
            "ip6" if of == "ether" => Some(u32::from(ethertype::IPV6)),
            "arp" => Some(u32::from(ethertype::ARP)),
            "rarp" => Some(u32::from(ethertype::RARP)),
            "tcp" => Some(u32::from(ip_protocol::TCP)),
            "udp" => Some(u32::from(ip_protocol::UDP)),
            "sctp" => Some(u32::from(SCTP)),
            "icmp" => Some(u32::from(ip_protocol::ICMP)),
            "icmp6" => Some(u32::from(ip_protocol::ICMPV6)),
            _ => number(text),
        };
        let is_ether = of == "ether";
        let number = number.filter(|number| *number <= if is_ether { 0xffff } else { 0xff });
        let number =
            number.ok_or_else(|| wrong(word, "a number or a name of a protocol is needed"))?;
        Ok(Node::Test(match of {
            "ether" => Test::EtherType(number as u16),
            "ip" => Test::Protocol(Carrier::Only(ethertype::IPV4), number as u8),
            "ip6" => Test::Protocol(Carrier::Only(ethertype::IPV6), number as u8),
            "" => Test::Protocol(Carrier::Any, number as u8),
            _ => return Err(wrong(word, "'proto' is for ether, ip and ip6")),
        }))
    }
}

fn carrier(protocol: Option<Word<'_>>) -> Result<Carrier> {
    let Some(word) = protocol else {
        return Ok(Carrier::Any);
    };
    Ok(Carrier::Only(match word.text {
        "ip" => ethertype::IPV4,
        "ip6" => ethertype::IPV6,
        "arp" => ethertype::ARP,
        "rarp" => ethertype::RARP,
        _ => {
            return Err(wrong(
                word,
                "addresses are those of ip, ip6, arp, rarp and ether",
            ));
        }
    }))
}

/// An address is one that its carrier has.
fn fits(word: Word<'_>, carrier: Carrier, address: IpAddr) -> Result<()> {
    match carrier {
        Carrier::Any => Ok(()),
        Carrier::Only(kind) if (kind == ethertype::IPV6) == address.is_ipv6() => Ok(()),
        Carrier::Only(_) => Err(wrong(word, "it is an address of the other version of IP")),
    }
}

pub(super) fn multicast(address: IpAddr, bits: u32) -> Node {
    let prefix = prefix(address, bits).expect("fewer bits than the address has");
    Node::Test(Test::Address(
        Carrier::Only(if address.is_ipv4() {
            ethertype::IPV4
        } else {
            ethertype::IPV6
        }),
        Side::Destination,
        prefix,
    ))
}
