//! What tells one flow from another, in words that are read, compared and hashed fast.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_packet::MacAddr;

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
/// Bits as in the words 0, 2 and 3 of a [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    /// Nobody's.
    pub(crate) const NONE: Self = Self(u64::MAX);

    /// A frame from one interface to another, in a VLAN of the switch, 0 for none.
    #[inline(always)]
    pub const fn new(ingress: End, egress: End, direction: Direction, vlan: u16) -> Self {
        let egress_bit = match direction {
            Direction::Ingress => 0,
            Direction::Egress => 1 << EGRESS,
        };
        Self(
            ingress.interface as u64
                | (egress.interface as u64) << 16
                | (ingress.life as u64) << 32
                | (egress.life as u64) << 40
                | (vlan as u64 & 0xfff) << VLAN
                | egress_bit,
        )
    }

    /// What words 0, 2 and 3 of a key have of it.
    #[inline(always)]
    const fn words(self) -> [u64; 3] {
        [
            self.0 & (0x1fff << VLAN),
            self.0 & (0xffff << 32),
            self.0 & 0xffff_ffff,
        ]
    }
}

/// Words of a key that every flow has.
pub(crate) const SHORT: usize = 5;

/// Words that only a flow of IPv6 has besides.
pub(crate) const LONG: usize = 3;

/// The flow that a packet belongs to. Two packets are of one flow if their keys are equal.
///
/// Octets of a frame stand in a word as they stand in the frame, the first one lowest, so that reading a word is a load.
///
/// | word | contents, from the lowest bits |
/// |---|---|
/// | 0 | destination address (48), VLAN (12), egress (1), IP version (3) |
/// | 1 | source address (48), EtherType (16) |
/// | 2 | source port (16), destination port (16), lives of ingress (8) and egress (8), protocol (8), type of service (8) |
/// | 3 | interfaces of ingress (16) and egress (16), 0 |
/// | 4 | source and destination of IPv4; the first half of the source of IPv6 |
/// | 5-7 | the other halves of IPv6, else 0 |
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key {
    pub(crate) short: [u64; SHORT],
    pub(crate) long: [u64; LONG],
}

const VLAN: u32 = 48;
const EGRESS: u32 = 60;
const VERSION: u32 = 61;
const ADDRESS: u64 = (1 << 48) - 1;

impl PartialEq for Key {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.has_short(&other.short) && (!self.is_long() || self.long == other.long)
    }
}

impl Key {
    /// A frame that begins with these octets, whose EtherType is where an untagged frame has it: IPv4 without options, with ports
    /// behind it.
    #[inline(always)]
    pub(crate) fn plain(place: Place, frame: &[u8; 38]) -> Self {
        let [zero, two, three] = place.words();
        let word = |at: usize| {
            let octets = frame[at..at + 8].first_chunk().expect("a constant range");
            u64::from_le_bytes(*octets)
        };
        let ports = u32::from_le_bytes(*frame[34..].first_chunk().expect("a constant range"));
        let tail = u64::from(frame[23]) << 48 | u64::from(frame[15]) << 56;
        Self {
            short: [
                word(0) & ADDRESS | zero | 4 << VERSION,
                word(6),
                two | u64::from(ports) | tail,
                three,
                word(26),
            ],
            long: [0; LONG],
        }
    }

    /// A frame of which no more is known than its Ethernet header.
    #[inline]
    pub(crate) fn layer2(place: Place, src: MacAddr, dst: MacAddr, ethertype: u16) -> Self {
        let [zero, two, three] = place.words();
        Self {
            short: [
                address_word(dst) | zero,
                address_word(src) | u64::from(ethertype.swap_bytes()) << 48,
                two,
                three,
                0,
            ],
            long: [0; LONG],
        }
    }

    #[inline]
    pub(crate) fn set_v4(&mut self, src: Ipv4Addr, dst: Ipv4Addr) {
        let word = |address: Ipv4Addr| u64::from(u32::from_le_bytes(address.octets()));
        self.short[0] |= 4 << VERSION;
        self.short[4] = word(src) | word(dst) << 32;
    }

    #[inline]
    pub(crate) fn set_v6(&mut self, src: Ipv6Addr, dst: Ipv6Addr) {
        let halves = |address: Ipv6Addr| {
            let bits = u128::from_le_bytes(address.octets());
            (bits as u64, (bits >> 64) as u64)
        };
        let ((s0, s1), (d0, d1)) = (halves(src), halves(dst));
        self.short[0] |= 6 << VERSION;
        self.short[4] = s0;
        self.long = [s1, d0, d1];
    }

    #[inline]
    pub(crate) fn set_protocol(&mut self, protocol: u8, tos: u8) {
        self.short[2] |= u64::from(protocol) << 48 | u64::from(tos) << 56;
    }

    #[inline]
    pub(crate) fn set_ports(&mut self, src: u16, dst: u16) {
        self.short[2] |= u64::from(src.swap_bytes()) | u64::from(dst.swap_bytes()) << 16;
    }

    pub(crate) const fn ingress(&self) -> End {
        End {
            interface: self.short[3] as u16,
            life: (self.short[2] >> 32) as u8,
        }
    }

    pub(crate) const fn egress(&self) -> End {
        End {
            interface: (self.short[3] >> 16) as u16,
            life: (self.short[2] >> 40) as u8,
        }
    }

    pub(crate) const fn direction(&self) -> Direction {
        if self.short[0] >> EGRESS & 1 == 0 {
            Direction::Ingress
        } else {
            Direction::Egress
        }
    }

    /// Whether the part of a key that every flow has is this one's.
    #[inline(always)]
    pub(crate) fn has_short(&self, short: &[u64; SHORT]) -> bool {
        // A comparison of arrays is a call.
        let pairs = self.short.iter().zip(short);
        pairs.fold(0, |differs, (own, other)| differs | (own ^ other)) == 0
    }

    #[inline]
    pub(crate) const fn is_long(&self) -> bool {
        self.short[0] >> VERSION == 6
    }

    /// A number that nobody who does not know the seed can have two keys agree in.
    #[inline]
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let [w0, w1, w2, w3, w4] = self.short;
        let one = fold(w0 ^ seed, w4 ^ MIX[0]);
        let two = fold(w1 ^ MIX[1], w2 ^ w3.rotate_left(40) ^ seed.rotate_left(32));
        let hash = fold(one ^ seed.rotate_left(16), two ^ MIX[2]);
        if self.is_long() {
            self.hash_long(hash, seed)
        } else {
            hash
        }
    }

    #[inline(never)]
    fn hash_long(&self, hash: u64, seed: u64) -> u64 {
        let [w5, w6, w7] = self.long;
        let three = fold(w5 ^ seed, w6 ^ MIX[3]);
        fold(hash ^ three ^ MIX[1], w7 ^ seed.rotate_left(48))
    }

    pub(crate) fn flow(&self) -> Flow {
        let [w0, w1, w2, _, w4] = self.short;
        let [w5, w6, w7] = self.long;
        let wide = |low: u64, high: u64| {
            Ipv6Addr::from((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
        };
        let narrow = |word: u64| Ipv4Addr::from((word as u32).to_le_bytes());
        Flow {
            ingress: Interface(self.ingress().interface.into()),
            egress: Interface(self.egress().interface.into()),
            direction: self.direction(),
            vlan: (w0 >> VLAN) as u16 & 0xfff,
            src_mac: word_address(w1),
            dst_mac: word_address(w0),
            ethertype: ((w1 >> 48) as u16).swap_bytes(),
            addresses: match w0 >> VERSION {
                4 => Addresses::V4(narrow(w4), narrow(w4 >> 32)),
                6 => Addresses::V6(wide(w4, w5), wide(w6, w7)),
                _ => Addresses::None,
            },
            protocol: (w2 >> 48) as u8,
            tos: (w2 >> 56) as u8,
            src_port: (w2 as u16).swap_bytes(),
            dst_port: ((w2 >> 16) as u16).swap_bytes(),
        }
    }
}

fn address_word(address: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = address.octets();
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

fn word_address(word: u64) -> MacAddr {
    let [a, b, c, d, e, f, ..] = word.to_le_bytes();
    MacAddr::new([a, b, c, d, e, f])
}

/// Odd numbers without a pattern: digits of pi.
const MIX: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
];

/// Both halves of the product in one word.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}
