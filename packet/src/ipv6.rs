//! IPv6 headers and the walk over extension headers (RFC 8200).

use std::net::Ipv6Addr;

use crate::{Malformed, ip_protocol, wire};

/// Octets of the fixed header.
pub const HEADER_LEN: usize = field::DESTINATION.end;

/// Most extension headers that are walked. RFC 8200 §4.1 knows a use for six in one packet.
pub const MAX_EXTENSIONS: usize = 8;

/// Where the fields stand.
pub mod field {
    use std::ops::Range;

    /// Version, traffic class and flow label.
    pub const VERSION_CLASS_FLOW: Range<usize> = 0..4;
    /// Octets after the fixed header.
    pub const PAYLOAD_LEN: Range<usize> = 4..6;
    /// What follows the fixed header.
    pub const NEXT_HEADER: usize = 6;
    /// Hop limit.
    pub const HOP_LIMIT: usize = 7;
    /// Source address.
    pub const SOURCE: Range<usize> = 8..24;
    /// Destination address.
    pub const DESTINATION: Range<usize> = 24..40;
}

/// A packet whose fixed header is there. Its payload may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks that `buffer` starts with a whole fixed header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is of another version or shorter than 40 octets.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Malformed> {
        let bytes = buffer.as_ref();
        let whole = bytes.len() >= HEADER_LEN
            && wire::u8_at(bytes, field::VERSION_CLASS_FLOW.start) >> 4 == 6;
        if whole {
            Ok(Self { buffer })
        } else {
            Err(Malformed)
        }
    }

    /// DSCP (upper six bits) and ECN.
    pub fn traffic_class(&self) -> u8 {
        // Bits 20-27 of the word: eight are left by the mask.
        (self.version_class_flow() >> 20 & 0xff) as u8
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow() & 0x000f_ffff
    }

    /// Octets after the fixed header, extension headers included, as the header states it. 0 in a jumbogram (RFC 2675).
    #[inline]
    pub fn payload_len(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::PAYLOAD_LEN)
    }

    /// What follows the fixed header, one of [`ip_protocol`].
    #[inline]
    pub fn next_header(&self) -> u8 {
        wire::u8_at(self.buffer.as_ref(), field::NEXT_HEADER)
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        wire::u8_at(self.buffer.as_ref(), field::HOP_LIMIT)
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> Ipv6Addr {
        wire::array::<16>(self.buffer.as_ref(), field::SOURCE).into()
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> Ipv6Addr {
        wire::array::<16>(self.buffer.as_ref(), field::DESTINATION).into()
    }

    /// What follows the fixed header, without what pads the frame; less if it is cut off.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.buffer.as_ref();
        let end = bytes
            .len()
            .min(HEADER_LEN + usize::from(self.payload_len()));
        bytes.get(HEADER_LEN..end).unwrap_or_default()
    }

    /// Walks hop-by-hop, routing, destination and fragment headers to what they precede. `None` if the headers are
    /// cut off or more than [`MAX_EXTENSIONS`].
    #[inline]
    pub fn upper_layer(&self) -> Option<UpperLayer> {
        let payload = self.payload();
        let mut upper = UpperLayer {
            protocol: self.next_header(),
            offset: HEADER_LEN,
            is_fragment: false,
            fragment_offset: 0,
            is_source_routed: false,
        };
        for _ in 0..=MAX_EXTENSIONS {
            if !is_extension(upper.protocol) || upper.fragment_offset != 0 {
                return Some(upper);
            }
            upper.step_over(payload.get(upper.offset - HEADER_LEN..)?)?;
        }
        None
    }

    fn version_class_flow(&self) -> u32 {
        wire::u32_at(self.buffer.as_ref(), field::VERSION_CLASS_FLOW)
    }
}

/// What follows the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// Its protocol, one of [`ip_protocol`].
    pub protocol: u8,
    /// Where it starts, in octets from the start of the IPv6 header.
    pub offset: usize,
    /// Whether the packet is one of several fragments. A fragment header alone does not make it one (RFC 6946).
    pub is_fragment: bool,
    /// Offset of the fragment in octets; only with 0 does `offset` lead to the start of the upper layer.
    pub fragment_offset: u32,
    /// Whether a routing header has segments left, so that the packet is not yet at its last destination.
    pub is_source_routed: bool,
}

impl UpperLayer {
    /// Steps over the extension header at the start of `bytes`.
    #[inline]
    fn step_over(&mut self, bytes: &[u8]) -> Option<()> {
        let &[next_header, length, b2, b3] = bytes.first_chunk()?;
        let octets = match self.protocol {
            ip_protocol::FRAGMENT => {
                let field = u16::from_be_bytes([b2, b3]);
                self.is_fragment |= field & !0x6 != 0;
                self.fragment_offset = u32::from(field & 0xfff8);
                8
            }
            protocol => {
                self.is_source_routed |= protocol == ip_protocol::ROUTING && b3 != 0;
                (usize::from(length) + 1) * 8
            }
        };
        if bytes.len() < octets {
            return None;
        }
        self.protocol = next_header;
        self.offset += octets;
        Some(())
    }
}

const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        ip_protocol::HOP_BY_HOP
            | ip_protocol::ROUTING
            | ip_protocol::FRAGMENT
            | ip_protocol::DESTINATION_OPTIONS
    )
}
