//! IPv4 headers (RFC 791).

use std::net::Ipv4Addr;

use crate::{Malformed, wire};

/// Octets of a header without options.
pub const HEADER_LEN: usize = field::DESTINATION.end;

/// Where the fields stand.
pub mod field {
    use std::ops::Range;

    /// Version, and header length in units of four octets.
    pub const VERSION_IHL: usize = 0;
    /// DSCP and ECN (RFC 2474, RFC 3168).
    pub const TRAFFIC_CLASS: usize = 1;
    /// Octets of header and payload.
    pub const TOTAL_LEN: Range<usize> = 2..4;
    /// Identification of the fragments of one packet.
    pub const IDENTIFICATION: Range<usize> = 4..6;
    /// Flags, and fragment offset in units of eight octets.
    pub const FRAGMENT: Range<usize> = 6..8;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Protocol of the payload.
    pub const PROTOCOL: usize = 9;
    /// Checksum of the header.
    pub const CHECKSUM: Range<usize> = 10..12;
    /// Source address.
    pub const SOURCE: Range<usize> = 12..16;
    /// Destination address.
    pub const DESTINATION: Range<usize> = 16..20;
}

/// The flag of all fragments but the last (RFC 791 §3.1).
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// A packet whose header, options included, is there. Its payload may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks that `buffer` starts with a whole IPv4 header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is of another version, is cut off in the header, or states a header shorter than 20 octets
    /// or longer than the packet.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Malformed> {
        if buffer.as_ref().len() < HEADER_LEN {
            return Err(Malformed);
        }
        let packet = Self { buffer };
        let header_len = usize::from(packet.header_len());
        let whole = packet.version() == 4
            && header_len >= HEADER_LEN
            && header_len <= packet.buffer.as_ref().len()
            && header_len <= packet.total_len().into();
        if whole { Ok(packet) } else { Err(Malformed) }
    }

    /// Octets of the header with its options, 20-60.
    #[inline]
    pub fn header_len(&self) -> u8 {
        (wire::u8_at(self.buffer.as_ref(), field::VERSION_IHL) & 0x0f) * 4
    }

    /// DSCP (upper six bits) and ECN.
    pub fn traffic_class(&self) -> u8 {
        wire::u8_at(self.buffer.as_ref(), field::TRAFFIC_CLASS)
    }

    /// Octets of header and payload, as the header states it.
    #[inline]
    pub fn total_len(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::TOTAL_LEN)
    }

    /// Whether it is one of several fragments, the first and the last included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment_field() & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0
    }

    /// Offset of the fragment in octets; the transport header is in the fragment with offset 0.
    pub fn fragment_offset(&self) -> u32 {
        u32::from(self.fragment_field() & FRAGMENT_OFFSET) * 8
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        wire::u8_at(self.buffer.as_ref(), field::TTL)
    }

    /// Protocol of the payload, one of [`ip_protocol`](crate::ip_protocol).
    #[inline]
    pub fn protocol(&self) -> u8 {
        wire::u8_at(self.buffer.as_ref(), field::PROTOCOL)
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> Ipv4Addr {
        wire::array::<4>(self.buffer.as_ref(), field::SOURCE).into()
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> Ipv4Addr {
        wire::array::<4>(self.buffer.as_ref(), field::DESTINATION).into()
    }

    /// The payload, without what pads the frame; less if it is cut off.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.buffer.as_ref();
        let end = bytes.len().min(self.total_len().into());
        bytes.get(self.header_len().into()..end).unwrap_or_default()
    }

    fn version(&self) -> u8 {
        wire::u8_at(self.buffer.as_ref(), field::VERSION_IHL) >> 4
    }

    fn fragment_field(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::FRAGMENT)
    }
}
