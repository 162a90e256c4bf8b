//! What stands between an IP header and a mirrored frame that is sent to an address: GRE (RFC 2784, RFC 2890), ERSPAN of the types II
//! and III (draft-foschiano-erspan-03). The frame follows without its checksum.

use std::fmt;

/// A GRE header carries a frame of Ethernet (IANA "Protocol Type", transparent Ethernet bridging).
const ETHERNET: u16 = 0x6558;
/// ERSPAN of the type II, and of the type III.
const ERSPAN2: u16 = 0x88be;
const ERSPAN3: u16 = 0x22eb;

/// A GRE header has a sequence number (RFC 2890 §2).
const SEQUENCE: u16 = 0x1000;

/// The number of an ERSPAN session, by which whoever receives it tells sessions of one sender apart: 0-1023.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErspanId(u16);

impl ErspanId {
    /// The largest.
    pub const MOST: u16 = 0x3ff;

    /// The session of this number, if there is one.
    pub const fn new(id: u16) -> Option<Self> {
        if id <= Self::MOST {
            Some(Self(id))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ErspanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How mirrored frames are sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// GRE, and nothing else.
    Gre,
    /// ERSPAN of the type II.
    Erspan2(ErspanId),
    /// ERSPAN of the type III, which also tells when and in which direction.
    Erspan3(ErspanId),
}

/// What is told of a mirrored frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// Its VLAN in the switch, 0 for none.
    pub vlan: u16,
    /// The priority in its tag, 0-7.
    pub priority: u8,
    /// It has its tag.
    pub is_tagged: bool,
    /// It is longer than what is sent of it.
    pub is_cut: bool,
    /// It leaves the switch by the port; otherwise it enters there.
    pub is_egress: bool,
    /// The number of the port; its lower 20 bits are told.
    pub port: u32,
    /// When it was mirrored, in units of 100 ns; the lower 32 bits are told.
    pub time: u64,
}

/// Octets of the longest header.
pub const LONGEST: usize = 20;

/// A header.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    octets: [u8; LONGEST],
    len: usize,
}

impl Header {
    const EMPTY: Self = Self {
        octets: [0; LONGEST],
        len: 0,
    };

    fn put<const N: usize>(&mut self, octets: [u8; N]) {
        self.octets[self.len..self.len + N].copy_from_slice(&octets);
        self.len += N;
    }
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl Encapsulation {
    /// Octets of the header: 4, 16 or 20.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Gre => 4,
            Self::Erspan2(_) => 16,
            Self::Erspan3(_) => LONGEST,
        }
    }

    /// The header of a frame. `sequence` is one more than that of the frame before it, from 0 on; GRE by itself does not tell it.
    pub fn header(self, sequence: u32, frame: &Mirrored) -> Header {
        let mut header = Header::EMPTY;
        match self {
            Self::Gre => {
                header.put([0; 2]);
                header.put(ETHERNET.to_be_bytes());
            }
            Self::Erspan2(id) => {
                header.put(SEQUENCE.to_be_bytes());
                header.put(ERSPAN2.to_be_bytes());
                header.put(sequence.to_be_bytes());
                // The second bits say how the frame was tagged: not at all, or so that it still is.
                let tags = if frame.is_tagged { 3 } else { 0 };
                header.put(first_word(1, tags, id, frame).to_be_bytes());
                header.put((frame.port & 0xf_ffff).to_be_bytes());
            }
            Self::Erspan3(id) => {
                header.put(SEQUENCE.to_be_bytes());
                header.put(ERSPAN3.to_be_bytes());
                header.put(sequence.to_be_bytes());
                // The second bits say that the frame is neither short, long nor damaged.
                header.put(first_word(2, 0, id, frame).to_be_bytes());
                header.put((frame.time as u32).to_be_bytes());
                // No security group, a frame of Ethernet, from this hardware, in units of 100 ns, and no more behind it.
                const ETHERNET_FRAME: u32 = 1 << 15;
                const HUNDRED_NANOSECONDS: u32 = 1 << 1;
                let direction = u32::from(frame.is_egress) << 3;
                header.put((ETHERNET_FRAME | direction | HUNDRED_NANOSECONDS).to_be_bytes());
            }
        }
        header
    }
}

/// Version (4 bits), VLAN (12), class of service (3), two bits of the version's own, whether it is cut (1), session (10).
const fn first_word(version: u32, two: u32, id: ErspanId, frame: &Mirrored) -> u32 {
    version << 28
        | (frame.vlan as u32 & 0xfff) << 16
        | (frame.priority as u32 & 7) << 13
        | two << 11
        | (frame.is_cut as u32) << 10
        | id.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(encapsulation: Encapsulation, sequence: u32, frame: &Mirrored) -> String {
        let header = encapsulation.header(sequence, frame);
        assert_eq!(header.as_ref().len(), encapsulation.header_len());
        let octets = header.as_ref().iter();
        octets.map(|octet| format!("{octet:02x}")).collect()
    }

    /// The first packet of tcpdump's sample `erspan-type-ii-1`, which tells no frame's tag.
    #[test]
    fn erspan_2_is_what_others_send() {
        let frame = Mirrored {
            vlan: 0x156,
            priority: 6,
            port: 32_760,
            ..Mirrored::default()
        };
        let id = ErspanId::new(666).unwrap();
        assert_eq!(
            hex(Encapsulation::Erspan2(id), 0xab, &frame),
            "100088be000000ab1156c29a00007ff8"
        );
    }

    #[test]
    fn every_field_has_its_place() {
        let all = Mirrored {
            vlan: 0xffff,
            priority: 0xff,
            is_tagged: true,
            is_cut: true,
            is_egress: true,
            port: u32::MAX,
            time: 0x1_2345_6789,
        };
        let most = ErspanId::new(1023).unwrap();
        let two = Encapsulation::Erspan2(most);
        assert_eq!(hex(two, u32::MAX, &all), "100088beffffffff1fffffff000fffff");
        let three = Encapsulation::Erspan3(most);
        assert_eq!(
            hex(three, 1, &all),
            "100022eb000000012fffe7ff234567890000800a"
        );
        assert_eq!(hex(Encapsulation::Gre, 1, &all), "00006558");
        let none = Mirrored::default();
        let least = ErspanId::default();
        let two = Encapsulation::Erspan2(least);
        assert_eq!(hex(two, 0, &none), "100088be000000001000000000000000");
        let three = Encapsulation::Erspan3(least);
        assert_eq!(
            hex(three, 0, &none),
            "100022eb00000000200000000000000000008002"
        );
    }

    #[test]
    fn sessions_are_numbered_to_1023() {
        assert_eq!(ErspanId::new(1023).map(ErspanId::number), Some(1023));
        assert_eq!(ErspanId::new(1024), None);
    }
}
