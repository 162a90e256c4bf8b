//! From a text to a filter.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use weft_packet::{ethertype, ip_protocol};

use super::error::{FilterError, wrong};
use super::qualified::multicast;
use super::values::number;
use super::words::{Word, words};
use super::{Carrier, Node, SCTP, Side, Test};

/// Octets of the longest text, and how deep parts of it may lie in one another.
const LONGEST: usize = 4_096;
const DEEPEST: usize = 64;

pub(super) type Result<T> = std::result::Result<T, FilterError>;

pub(super) fn parse(text: &str) -> Result<Option<Node>> {
    if text.len() > LONGEST {
        return Err(FilterError::Size("it is longer than 4096 octets"));
    }
    let words = words(text);
    let mut parser = Parser {
        words: &words,
        latest: Qualifiers::default(),
        depth: 0,
    };
    if words.is_empty() {
        return Ok(None);
    }
    let node = parser.expression()?;
    match parser.words.first() {
        None => Ok(Some(node)),
        Some(&word) => Err(wrong(
            word,
            "'and' or 'or' is needed before it, or it does not belong here",
        )),
    }
}

/// What stands before an address or a port, and says what it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Qualifiers<'a> {
    pub(super) protocol: Option<Word<'a>>,
    pub(super) side: Option<Side>,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
}

impl Kind {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "host" => Self::Host,
            "net" => Self::Net,
            "port" => Self::Port,
            "portrange" => Self::PortRange,
            "proto" => Self::Protocol,
            _ => return None,
        })
    }
}

pub(super) struct Parser<'a, 'w> {
    /// What was not read yet.
    words: &'w [Word<'a>],
    /// Those of the test before, which a word without any has too.
    latest: Qualifiers<'a>,
    depth: usize,
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<&'a str> {
        self.words.first().map(|word| word.text)
    }

    pub(super) fn next(&mut self, missing: &'static str) -> Result<Word<'a>> {
        let (&word, rest) = (self.words.split_first()).ok_or(FilterError::End { missing })?;
        self.words = rest;
        Ok(word)
    }

    pub(super) fn take(&mut self, texts: &[&str]) -> bool {
        let is_there = self.peek().is_some_and(|text| texts.contains(&text));
        if is_there {
            self.words = &self.words[1..];
        }
        is_there
    }

    /// `and` and `or` bind alike, from left to right (pcap-filter(7)).
    fn expression(&mut self) -> Result<Node> {
        let mut node = self.term()?;
        loop {
            if self.take(&["and", "&&"]) {
                node = Node::And(Box::new(node), Box::new(self.term()?));
            } else if self.take(&["or", "||"]) {
                node = Node::Or(Box::new(node), Box::new(self.term()?));
            } else {
                return Ok(node);
            }
        }
    }

    fn term(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(FilterError::Size("its parts lie in one another too deep"));
        }
        let node = if self.take(&["not", "!"]) {
            Node::Not(Box::new(self.term()?))
        } else if self.take(&["("]) {
            let node = self.expression()?;
            let end = self.next("')'")?;
            if end.text != ")" {
                return Err(wrong(end, "'and', 'or' or ')' is needed here"));
            }
            node
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn test(&mut self) -> Result<Node> {
        if self.take(&["vlan"]) {
            let number = self.peek().filter(|text| text.parse::<u32>().is_ok());
            let vlan = number.map(|_| self.number(0..=4095)).transpose()?;
            return Ok(Node::Test(Test::Vlan(vlan.map(|vlan| vlan as u16))));
        }
        for (word, make) in [
            ("less", Test::Shorter as fn(usize) -> Test),
            ("greater", Test::Longer),
        ] {
            if self.take(&[word]) {
                return Ok(Node::Test(make(self.number(0..=65_535)? as usize)));
            }
        }
        if self.take(&["broadcast"]) {
            return Ok(Node::Test(Test::Group { broadcast: true }));
        }
        if self.take(&["multicast"]) {
            return Ok(Node::Test(Test::Group { broadcast: false }));
        }
        let qualifiers = self.qualifiers()?;
        let Some(qualifiers) = qualifiers else {
            return self.group_or_protocol();
        };
        self.latest = qualifiers;
        match qualifiers.kind.unwrap_or(Kind::Host) {
            Kind::Host => self.host(qualifiers),
            Kind::Net => self.net(qualifiers),
            Kind::Port => self.port(qualifiers, false),
            Kind::PortRange => self.port(qualifiers, true),
            Kind::Protocol => self.protocol(qualifiers),
        }
    }

    /// What stands before an address, port or number, or the qualifiers of the one before. `None`: a protocol stands by itself.
    fn qualifiers(&mut self) -> Result<Option<Qualifiers<'a>>> {
        let start = self.words;
        let protocol = (self.words.first().copied()).filter(|word| is_protocol(word.text));
        if protocol.is_some() {
            self.words = &self.words[1..];
        }
        let side = self.side();
        let kind = self.peek().and_then(Kind::of);
        if kind.is_some() {
            self.words = &self.words[1..];
        }
        if side.is_none() && kind.is_none() {
            if protocol.is_some() {
                self.words = start;
                return Ok(None);
            }
            // A word without any: as the one before.
            return Ok(Some(self.latest));
        }
        Ok(Some(Qualifiers {
            protocol,
            side,
            kind,
        }))
    }

    fn side(&mut self) -> Option<Side> {
        let texts: Vec<_> = self.words.iter().take(3).map(|word| word.text).collect();
        let (side, words) = match texts[..] {
            ["src", "or", "dst"] | ["dst", "or", "src"] => (Side::Either, 3),
            ["src", "and", "dst"] | ["dst", "and", "src"] => (Side::Both, 3),
            ["src", ..] => (Side::Source, 1),
            ["dst", ..] => (Side::Destination, 1),
            _ => return None,
        };
        self.words = &self.words[words..];
        Some(side)
    }

    /// A protocol by itself, or who of it is meant.
    fn group_or_protocol(&mut self) -> Result<Node> {
        let word = self.next("a test")?;
        let group = [("broadcast", true), ("multicast", false)]
            .into_iter()
            .find(|(text, _)| self.peek() == Some(*text));
        if let Some((_, broadcast)) = group {
            let of = self.next("a group")?;
            return match (word.text, broadcast) {
                ("ether", _) => Ok(Node::Test(Test::Group { broadcast })),
                ("ip", false) => Ok(multicast(Ipv4Addr::new(224, 0, 0, 0).into(), 4)),
                ("ip6", false) => Ok(multicast(
                    Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(),
                    8,
                )),
                _ => Err(wrong(of, "it is a word behind 'ether'")),
            };
        }
        let both = |protocol| Test::Protocol(Carrier::Any, protocol);
        Ok(Node::Test(match word.text {
            "ip" => Test::EtherType(ethertype::IPV4),
            "ip6" => Test::EtherType(ethertype::IPV6),
            "arp" => Test::EtherType(ethertype::ARP),
            "rarp" => Test::EtherType(ethertype::RARP),
            "tcp" => both(ip_protocol::TCP),
            "udp" => both(ip_protocol::UDP),
            "sctp" => both(SCTP),
            "icmp" => Test::Protocol(Carrier::Only(ethertype::IPV4), ip_protocol::ICMP),
            "icmp6" => Test::Protocol(Carrier::Only(ethertype::IPV6), ip_protocol::ICMPV6),
            _ => return Err(wrong(word, "an address, or 'proto', is needed behind it")),
        }))
    }

    fn number(&mut self, range: RangeInclusive<u32>) -> Result<u32> {
        let word = self.next("a number")?;
        let found = number(word.text).filter(|number| range.contains(number));
        found.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            wrong(word, &format!("a number of {least}-{most} is needed"))
        })
    }
}

fn is_protocol(text: &str) -> bool {
    matches!(
        text,
        "ether" | "ip" | "ip6" | "arp" | "rarp" | "tcp" | "udp" | "sctp" | "icmp" | "icmp6"
    )
}
