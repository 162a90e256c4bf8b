//! What tells one flow from another, in words that are read, compared and hashed fast.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_packet::{MacAddr, ip_protocol};

use crate::{Addresses, Direction, Flow, Interface};

/// An interface that a flow passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its number; 0 for none, or several.
    pub interface: u16,
    /// Tells it from those that had the number before it.
    pub life: u8,
}

/// Where a frame passes: the interfaces, how it passes the one that has it metered, and its VLAN.
///
/// Bits: what words 2, 3 and 4 of a [`Key`] have of it, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    /// Where no frame passes.
    pub(crate) const NOWHERE: Self = Self(u64::MAX);

    /// A frame from one interface to another, in no VLAN.
    #[inline(always)]
    pub const fn new(ingress: End, egress: End, direction: Direction) -> Self {
        let egress_bit = match direction {
            Direction::Ingress => 0,
            Direction::Egress => EGRESS,
        };
        Self(
            ingress.interface as u64
                | (egress.interface as u64) << 16
                | egress_bit << 32
                | (ingress.life as u64) << 48
                | (egress.life as u64) << 56,
        )
    }

    /// The same in a VLAN of the switch, 0 for none. It is in none yet.
    #[inline(always)]
    #[must_use]
    pub const fn in_vlan(self, vlan: u16) -> Self {
        Self(self.0 | ((vlan & VLAN) as u64) << 32)
    }

    /// What words 2, 3 and 4 of a key have of it.
    #[inline(always)]
    const fn words(self) -> [u64; 3] {
        [
            self.0 & 0xffff_ffff,
            self.0 >> 32 & 0xffff,
            self.0 & 0xffff << 48,
        ]
    }
}

/// Words of a key that every flow has.
pub(crate) const SHORT: usize = 5;

/// Words that only a flow of IPv6 has besides.
pub(crate) const LONG: usize = 3;

/// The flow that a packet belongs to. Two packets are of one flow if their keys are equal.
///
/// The first words are the first 40 octets of an untagged frame of IPv4 without options, each octet where it stands in the frame, the
/// first one lowest; in those that do not tell flows apart stands where it passes. So the key of most packets is a few loads.
///
/// | word | octets of the frame | in the others |
/// |---|---|---|
/// | 0 | addresses of the link | |
/// | 1 | source address, EtherType, version and header length (0x45, 0x60; 0 for no IP), type of service | |
/// | 2 | (length, identification, fragmentation, time to live,) protocol | interfaces of ingress (16) and egress (16), 0 |
/// | 3 | (checksum,) IP addresses | VLAN (12), egress (1) |
/// | 4 | destination address, ports (, behind them) | lives of ingress (8) and egress (8) |
/// | 5-7 | | of IPv6: what of its addresses has no room where those of IPv4 stand, else 0 |
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key {
    pub(crate) short: [u64; SHORT],
    pub(crate) long: [u64; LONG],
}

const VLAN: u16 = 0xfff;
const EGRESS: u64 = 0x1000;

/// What of a plain packet's first octets stands in its key.
pub(crate) const OF_FRAME: [u64; SHORT] = [
    u64::MAX,
    u64::MAX,
    u64::from_le_bytes([0, 0, 0, 0, 0x3f, 0xff, 0, 0xff]),
    u64::from_le_bytes([0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]),
];

impl PartialEq for Key {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.has_short(&other.short) && (!self.is_long() || self.long == other.long)
    }
}

/// What of the key every flow has, of a frame that begins with these words. [`is_plain`] tells whether that is what they mean.
#[inline(always)]
pub(crate) fn short(place: Place, frame: &[u64; SHORT]) -> [u64; SHORT] {
    let [two, three, four] = place.words();
    let of_place = [0, 0, two, three, four];
    std::array::from_fn(|word| frame[word] & OF_FRAME[word] | of_place[word])
}

/// Whether words read by [`short`] are of an IPv4 packet without options that is no fragment and has ports of TCP or UDP.
#[inline(always)]
pub(crate) fn is_plain(short: &[u64; SHORT]) -> bool {
    const V4: u64 = u64::from_le_bytes([0, 0, 0, 0, 0x08, 0x00, 0x45, 0]);
    const KIND: u64 = u64::from_le_bytes([0, 0, 0, 0, 0xff, 0xff, 0xff, 0]);
    let protocol = (short[2] >> 56) as u8;
    short[1] & KIND == V4
        && short[2] >> 32 & 0xffff == 0
        && (protocol == ip_protocol::TCP || protocol == ip_protocol::UDP)
}

impl Key {
    /// A frame of which no more is known than its Ethernet header.
    #[inline]
    pub(crate) fn layer2(place: Place, src: MacAddr, dst: MacAddr, ethertype: u16) -> Self {
        let [two, three, four] = place.words();
        let (src, dst) = (address_word(src), address_word(dst));
        let kind = u64::from(ethertype.swap_bytes()) << 32;
        Self {
            short: [dst | src << 48, src >> 16 | kind, two, three, four],
            long: [0; LONG],
        }
    }

    #[inline]
    pub(crate) fn set_v4(&mut self, src: Ipv4Addr, dst: Ipv4Addr) {
        let word = |address: Ipv4Addr| u64::from(u32::from_le_bytes(address.octets()));
        self.short[1] |= 0x45 << 48;
        self.set_addresses(word(src) | word(dst) << 32);
    }

    #[inline]
    pub(crate) fn set_v6(&mut self, src: Ipv6Addr, dst: Ipv6Addr) {
        let halves = |address: Ipv6Addr| {
            let bits = u128::from_le_bytes(address.octets());
            (bits as u64, (bits >> 64) as u64)
        };
        let ((s0, s1), (d0, d1)) = (halves(src), halves(dst));
        self.short[1] |= 0x60 << 48;
        self.set_addresses(s0);
        self.long = [s1, d0, d1];
    }

    /// The eight octets that stand behind the checksum of IPv4.
    #[inline]
    fn set_addresses(&mut self, octets: u64) {
        self.short[3] |= octets << 16;
        self.short[4] |= octets >> 48;
    }

    const fn addresses(&self) -> u64 {
        self.short[3] >> 16 | self.short[4] << 48
    }

    #[inline]
    pub(crate) fn set_protocol(&mut self, protocol: u8, tos: u8) {
        self.short[2] |= u64::from(protocol) << 56;
        self.short[1] |= u64::from(tos) << 56;
    }

    #[inline]
    pub(crate) fn set_ports(&mut self, src: u16, dst: u16) {
        self.short[4] |= u64::from(src.swap_bytes()) << 16 | u64::from(dst.swap_bytes()) << 32;
    }

    pub(crate) const fn ingress(&self) -> End {
        End {
            interface: self.short[2] as u16,
            life: (self.short[4] >> 48) as u8,
        }
    }

    pub(crate) const fn egress(&self) -> End {
        End {
            interface: (self.short[2] >> 16) as u16,
            life: (self.short[4] >> 56) as u8,
        }
    }

    pub(crate) const fn direction(&self) -> Direction {
        if self.short[3] & EGRESS == 0 {
            Direction::Ingress
        } else {
            Direction::Egress
        }
    }

    /// Whether the part of a key that every flow has is this one's.
    #[inline(always)]
    pub(crate) fn has_short(&self, short: &[u64; SHORT]) -> bool {
        are_equal(&self.short, short)
    }

    #[inline]
    pub(crate) const fn is_long(&self) -> bool {
        self.short[1] >> 52 & 0xf == 6
    }

    /// A number that nobody who does not know the secret can have two keys agree in.
    #[inline(always)]
    pub(crate) fn hash(&self, secret: &Secret) -> u64 {
        let ([w0, w1, w2, w3, w4], Secret(s)) = (self.short, secret);
        let (one, two) = (fold(w0 ^ s[0], w4 ^ s[1]), fold(w1 ^ s[2], w3 ^ s[3]));
        let hash = fold(one ^ w2 ^ s[4], two ^ s[5]);
        if self.is_long() {
            self.hash_long(hash, secret)
        } else {
            hash
        }
    }

    #[inline(never)]
    fn hash_long(&self, hash: u64, Secret(s): &Secret) -> u64 {
        let [w5, w6, w7] = self.long;
        let three = fold(w5 ^ s[6], w6 ^ s[7]);
        fold(hash ^ three, w7 ^ s[8])
    }

    pub(crate) fn flow(&self) -> Flow {
        let [w0, w1, w2, w3, w4] = self.short;
        let [w5, w6, w7] = self.long;
        let addresses = self.addresses();
        let wide = |low: u64, high: u64| {
            Ipv6Addr::from((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
        };
        let narrow = |word: u64| Ipv4Addr::from((word as u32).to_le_bytes());
        Flow {
            ingress: Interface(self.ingress().interface.into()),
            egress: Interface(self.egress().interface.into()),
            direction: self.direction(),
            vlan: w3 as u16 & VLAN,
            src_mac: word_address(w0 >> 48 | w1 << 16),
            dst_mac: word_address(w0),
            ethertype: ((w1 >> 32) as u16).swap_bytes(),
            addresses: match w1 >> 52 & 0xf {
                4 => Addresses::V4(narrow(addresses), narrow(addresses >> 32)),
                6 => Addresses::V6(wide(addresses, w5), wide(w6, w7)),
                _ => Addresses::None,
            },
            protocol: (w2 >> 56) as u8,
            tos: (w1 >> 56) as u8,
            src_port: ((w4 >> 16) as u16).swap_bytes(),
            dst_port: ((w4 >> 32) as u16).swap_bytes(),
        }
    }
}

/// A comparison of arrays is a call.
#[inline(always)]
pub(crate) fn are_equal(one: &[u64; SHORT], other: &[u64; SHORT]) -> bool {
    let pairs = one.iter().zip(other);
    pairs.fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

fn address_word(address: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = address.octets();
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

fn word_address(word: u64) -> MacAddr {
    let [a, b, c, d, e, f, ..] = word.to_le_bytes();
    MacAddr::new([a, b, c, d, e, f])
}

/// What hashes are made with, so that those whose packets are metered cannot choose who shares a place.
pub(crate) struct Secret([u64; 9]);

impl Secret {
    /// Words that a seed stands for (SplitMix64, Steele et al. 2014).
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }))
    }
}

/// Both halves of the product in one word.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}
