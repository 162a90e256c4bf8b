//! Checksums that a sender left to hardware which is not there.
//!
//! A guest whose interface offers checksum offload stores only the sum of the pseudo-header, not complemented, in the
//! checksum field of TCP and UDP, and expects the hardware to sum the rest. Through AF_XDP such a frame arrives
//! without any mark, so it is recognised by that value. A frame that is finished and carries the value by chance (1 in
//! 65,535) does not suffer: completing it gives the value that it has.

use crate::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
use crate::{Head, TagEdit, ethertype, ip_protocol, ipv4, ipv6, tcp, udp};

/// Where the checksum of a frame is still to be computed. All offsets are from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Offset of the transport header, where summing starts.
    pub start: u16,
    /// Offset of the checksum field.
    pub field: u16,
    /// Octets to sum from `start`. A frame may be longer: short ones are padded on the wire.
    pub length: u32,
}

impl PartialChecksum {
    /// The same checksum in the frame after a tag edit.
    #[inline]
    pub fn after(self, edit: TagEdit) -> Self {
        // A tag edit changes a frame by 4 octets, far within the range of the type.
        let change = edit.length_change() as i16;
        Self {
            start: self.start.saturating_add_signed(change),
            field: self.field.saturating_add_signed(change),
            ..self
        }
    }
}

/// Finds out whether a frame of `frame_len` octets, of which `head` holds the first, carries only the sum of the
/// pseudo-header in its TCP or UDP checksum, and where.
///
/// `None` too if that cannot be told: fragments, IPv6 with a routing header that is not at its end, lengths that
/// contradict each other, and headers that end beyond `head`.
#[inline]
pub fn recognise(head: &[u8], frame_len: usize) -> Option<PartialChecksum> {
    let ethernet = Head::parse(head, frame_len).ok()?;
    let start = usize::from(ethernet.header_len);
    match ethernet.ethertype {
        ethertype::IPV4 => recognise_v4(head, start, frame_len),
        ethertype::IPV6 => recognise_v6(head, start, frame_len),
        _ => None,
    }
}

/// Computes what is to be stored in the checksum field of a frame, which `segments` hold from its first octet on, in
/// pieces of any length. The frame still holds the sum of the pseudo-header in the field.
pub fn complete<'a>(partial: PartialChecksum, segments: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let mut skip = usize::from(partial.start);
    let mut left = usize::try_from(partial.length).unwrap_or(usize::MAX);
    let mut sum = Sum::new();
    for segment in segments {
        let skipped = skip.min(segment.len());
        skip -= skipped;
        let segment = &segment[skipped..];
        let segment = &segment[..left.min(segment.len())];
        left -= segment.len();
        sum.add_bytes(segment);
    }
    // RFC 768: a computed checksum of zero is sent as all ones. In one's complement both are zero, so that TCP can
    // go by the same rule.
    match sum.checksum() {
        0 => 0xffff,
        checksum => checksum,
    }
}

fn recognise_v4(head: &[u8], start: usize, frame_len: usize) -> Option<PartialChecksum> {
    let packet = ipv4::Packet::new_checked(head.get(start..)?).ok()?;
    if packet.is_fragment() {
        return None;
    }
    let length = packet.total_len().checked_sub(packet.header_len().into())?;
    let transport = Transport {
        protocol: packet.protocol(),
        start: start + usize::from(packet.header_len()),
        available: length.into(),
    };
    transport.recognise(head, frame_len, |length| {
        // Not longer than `available`, which is 16 bits wide.
        pseudo_header_v4(packet.src(), packet.dst(), packet.protocol(), length as u16)
    })
}

fn recognise_v6(head: &[u8], start: usize, frame_len: usize) -> Option<PartialChecksum> {
    let packet = ipv6::Packet::new_checked(head.get(start..)?).ok()?;
    let upper = packet.upper_layer()?;
    // With segments left the pseudo-header has the last address of the routing header (RFC 8200 §8.1).
    if upper.is_fragment || upper.is_source_routed {
        return None;
    }
    let extensions = upper.offset.checked_sub(ipv6::HEADER_LEN)?;
    let transport = Transport {
        protocol: upper.protocol,
        start: start + upper.offset,
        available: usize::from(packet.payload_len()).checked_sub(extensions)?,
    };
    transport.recognise(head, frame_len, |length| {
        // Not longer than `available`, which is 16 bits wide.
        pseudo_header_v6(packet.src(), packet.dst(), upper.protocol, length as u32)
    })
}

/// A transport header and its payload.
struct Transport {
    protocol: u8,
    /// Offset of the header in the frame.
    start: usize,
    /// Octets of header and payload, as the IP header has it.
    available: usize,
}

impl Transport {
    #[inline]
    fn recognise(
        &self,
        head: &[u8],
        frame_len: usize,
        pseudo_header: impl FnOnce(usize) -> Sum,
    ) -> Option<PartialChecksum> {
        let header = head.get(self.start..)?;
        let (field, header_len, length) = match self.protocol {
            ip_protocol::TCP => (tcp::field::CHECKSUM, tcp::HEADER_LEN, self.available),
            ip_protocol::UDP => {
                // RFC 768: the pseudo-header has the length of the UDP header.
                let length = read_u16(header, udp::field::LENGTH)?.into();
                (udp::field::CHECKSUM, udp::HEADER_LEN, length)
            }
            _ => return None,
        };
        let checksum = read_u16(header, field.clone())?;
        let whole =
            length >= header_len && length <= self.available && self.start + length <= frame_len;
        // 0, by which UDP says that there is no checksum, is not the sum of any pseudo-header.
        if !whole || pseudo_header(length).fold() != checksum {
            return None;
        }
        Some(PartialChecksum {
            start: u16::try_from(self.start).ok()?,
            field: u16::try_from(self.start + field.start).ok()?,
            length: u32::try_from(length).ok()?,
        })
    }
}

fn read_u16(bytes: &[u8], field: std::ops::Range<usize>) -> Option<u16> {
    let &[high, low] = bytes.get(field)? else {
        return None;
    };
    Some(u16::from_be_bytes([high, low]))
}
