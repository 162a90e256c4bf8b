//! What tells one flow from another, in words that compare and hash fast.

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

/// Where a frame passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interface that sent it.
    pub ingress: End,
    /// The interface that it leaves by.
    pub egress: End,
    /// How it passes the port that has it metered.
    pub direction: Direction,
    /// The VLAN inside the switch, 0 for none.
    pub vlan: u16,
}

/// The flow that a packet belongs to. Two packets are of one flow if their keys are equal.
///
/// | word | contents, from the upper bits |
/// |---|---|
/// | 0 | destination address (48), EtherType (16) |
/// | 1 | source address (48), VLAN (12), IP version (3), egress (1) |
/// | 2 | interfaces of ingress (16) and egress (16), protocol (8), type of service (8), lives of ingress (8) and egress (8) |
/// | 3 | 0, source port (16), destination port (16) |
/// | 4-7 | IP addresses: two words each, or both in the first where they are of version 4 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Key([u64; 8]);

const VERSION_SHIFT: u32 = 1;
const EGRESS: u64 = 1;

impl Key {
    /// A frame of which no more is known than its Ethernet header.
    #[inline]
    pub(crate) fn layer2(place: &Place, src: MacAddr, dst: MacAddr, ethertype: u16) -> Self {
        let direction = match place.direction {
            Direction::Ingress => 0,
            Direction::Egress => EGRESS,
        };
        Self([
            dst.to_bits() << 16 | u64::from(ethertype),
            src.to_bits() << 16 | u64::from(place.vlan) << 4 | direction,
            u64::from(place.ingress.interface) << 48
                | u64::from(place.egress.interface) << 32
                | u64::from(place.ingress.life) << 8
                | u64::from(place.egress.life),
            0,
            0,
            0,
            0,
            0,
        ])
    }

    #[inline]
    pub(crate) fn set_v4(&mut self, src: Ipv4Addr, dst: Ipv4Addr) {
        self.0[1] |= 4 << VERSION_SHIFT;
        self.0[4] = u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits());
    }

    #[inline]
    pub(crate) fn set_v6(&mut self, src: Ipv6Addr, dst: Ipv6Addr) {
        self.0[1] |= 6 << VERSION_SHIFT;
        let (src, dst) = (src.to_bits(), dst.to_bits());
        self.0[4] = (src >> 64) as u64;
        self.0[5] = src as u64;
        self.0[6] = (dst >> 64) as u64;
        self.0[7] = dst as u64;
    }

    #[inline]
    pub(crate) fn set_protocol(&mut self, protocol: u8, tos: u8) {
        self.0[2] |= u64::from(protocol) << 24 | u64::from(tos) << 16;
    }

    #[inline]
    pub(crate) fn set_ports(&mut self, src: u16, dst: u16) {
        self.0[3] = u64::from(src) << 16 | u64::from(dst);
    }

    #[inline]
    pub(crate) const fn ingress(&self) -> End {
        End {
            interface: (self.0[2] >> 48) as u16,
            life: (self.0[2] >> 8) as u8,
        }
    }

    #[inline]
    pub(crate) const fn egress(&self) -> End {
        End {
            interface: (self.0[2] >> 32) as u16,
            life: self.0[2] as u8,
        }
    }

    pub(crate) const fn direction(&self) -> Direction {
        if self.0[1] & EGRESS == 0 {
            Direction::Ingress
        } else {
            Direction::Egress
        }
    }

    /// A number that nobody who does not know the seed can have two keys agree in.
    #[inline]
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        // What most flows differ in goes first; the last words are all zero unless both addresses are of version 6.
        let [w0, w1, w2, w3, w4, w5, w6, w7] = self.0;
        let one = fold(w0 ^ seed, w4 ^ MIX[0] ^ seed.rotate_left(32));
        let two = fold(w1 ^ MIX[1] ^ seed, w3 ^ w2.rotate_left(32) ^ MIX[2]);
        let mut hash = fold(one ^ MIX[3], two ^ seed);
        if w5 | w6 | w7 != 0 {
            let three = fold(w5 ^ MIX[0] ^ seed, w6 ^ MIX[1]);
            hash = fold(hash ^ three ^ MIX[2], w7 ^ MIX[3] ^ seed.rotate_left(32));
        }
        hash
    }

    pub(crate) fn flow(&self) -> Flow {
        let [w0, w1, w2, w3, w4, w5, w6, w7] = self.0;
        let wide =
            |high: u64, low: u64| Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
        Flow {
            ingress: Interface(self.ingress().interface.into()),
            egress: Interface(self.egress().interface.into()),
            direction: self.direction(),
            vlan: (w1 >> 4) as u16 & 0xfff,
            src_mac: MacAddr::from_bits(w1 >> 16),
            dst_mac: MacAddr::from_bits(w0 >> 16),
            ethertype: w0 as u16,
            addresses: match w1 >> VERSION_SHIFT & 0x7 {
                4 => Addresses::V4(
                    Ipv4Addr::from_bits((w4 >> 32) as u32),
                    Ipv4Addr::from_bits(w4 as u32),
                ),
                6 => Addresses::V6(wide(w4, w5), wide(w6, w7)),
                _ => Addresses::None,
            },
            protocol: (w2 >> 24) as u8,
            tos: (w2 >> 16) as u8,
            src_port: (w3 >> 16) as u16,
            dst_port: w3 as u16,
        }
    }
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
