//! Cutting a large packet of TCP or UDP into segments, for destinations that take only such as a link can carry.

use std::ops::Range;

use crate::headers::Headers;
use crate::{
    MAX_SEGMENTS, PartialChecksum, SegmentKind, Segmentation, checksum::Sum, ipv4, ipv6, tcp, udp,
    wire,
};

/// The segments of one frame: each has headers of its own, and a part of the frame's payload, which stays where it is.
///
/// IPv4 options, IPv6 extension headers, TCP options and VLAN tags are in every segment as they are in the frame. The
/// headers are those of the frame as it came in: a [`TagEdit`](crate::TagEdit) is still to be made, in each segment.
///
/// The pseudo-header is made from the addresses of the IP header. A packet whose IPv4 options have it go by another
/// destination first (RFC 791 §3.1, source routes, which RFC 7126 §4.3 wants dropped) gets a checksum that its last
/// destination finds wrong.
#[derive(Clone, Debug)]
pub struct Segmenter<'a> {
    /// All headers of the frame and nothing else.
    template: &'a [u8],
    headers: Headers,
    kind: SegmentKind,
    /// Octets of payload per segment, not 0.
    size: usize,
    /// At least 1.
    count: usize,
}

impl<'a> Segmenter<'a> {
    /// Prepares to cut a frame of `frame_len` octets, of which `head` holds the first, all headers included.
    ///
    /// `None` if the frame cannot be cut like this, or into more than [`MAX_SEGMENTS`]; never with what
    /// [`Offload::from_vnet`](crate::Offload::from_vnet) said of the same frame.
    #[inline]
    pub fn new(head: &'a [u8], frame_len: usize, segmentation: Segmentation) -> Option<Self> {
        let headers = Headers::parse(segmentation.kind, head, frame_len).ok()?;
        let template = head.get(..segmentation.header_len.into())?;
        let size = usize::from(segmentation.size);
        if headers.payload.start != template.len() || size == 0 {
            return None;
        }
        let count = headers.payload.len().div_ceil(size).max(1);
        (count <= MAX_SEGMENTS).then_some(Self {
            template,
            headers,
            kind: segmentation.kind,
            size,
            count,
        })
    }

    /// How many segments there are, 1 to [`MAX_SEGMENTS`].
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Writes the headers of segment `n`, counted from 0, to the start of `out`. Returns their length, which is the
    /// same for all segments, and the checksum that is still to be computed over these headers and the payload; its
    /// field holds the sum of the pseudo-header.
    ///
    /// `None` if there is no such segment, or no room in `out`; then `out` is unchanged.
    #[inline]
    pub fn header(&self, n: usize, out: &mut [u8]) -> Option<(usize, PartialChecksum)> {
        if n >= self.count {
            return None;
        }
        let out = out.get_mut(..self.template.len())?;
        out.copy_from_slice(self.template);
        let (lower, transport) = out.split_at_mut_checked(self.headers.transport)?;
        let network = lower.get_mut(self.headers.network..)?;

        // As long as a part of a packet at most, whose length IP states in 16 bits.
        let length = (transport.len() + self.payload(n).len()) as u16;
        if self.headers.internet.is_v4 {
            write_v4(network, n, length);
        } else {
            write_v6(network, length);
        }
        match self.kind {
            SegmentKind::TcpV4 | SegmentKind::TcpV6 => self.write_tcp(transport, n),
            SegmentKind::Udp => wire::put(transport, udp::field::LENGTH, &length.to_be_bytes()),
        }
        let mut pseudo_header = self.headers.internet.pseudo_header;
        pseudo_header.add_bytes(&length.to_be_bytes());
        let field = self.kind.checksum_field();
        wire::put(
            transport,
            field.clone(),
            &pseudo_header.fold().to_be_bytes(),
        );

        // Offsets within MAX_HEADERS.
        let checksum = PartialChecksum {
            start: self.headers.transport as u16,
            field: (self.headers.transport + field.start) as u16,
            length: length.into(),
        };
        Some((self.template.len(), checksum))
    }

    /// Where in the frame the payload of segment `n` is. Empty if there is no such segment.
    #[inline]
    pub fn payload(&self, n: usize) -> Range<usize> {
        let Range { start, end } = self.headers.payload;
        let from = start.saturating_add(n.saturating_mul(self.size)).min(end);
        from..from.saturating_add(self.size).min(end)
    }

    #[inline]
    fn write_tcp(&self, header: &mut [u8], n: usize) {
        // Sequence numbers wrap around at 2^32 (RFC 9293 §3.4).
        let sequence = wire::u32_at(header, tcp::field::SEQUENCE);
        let sequence = sequence.wrapping_add((n * self.size) as u32);
        wire::put(header, tcp::field::SEQUENCE, &sequence.to_be_bytes());

        let mut flags = wire::u8_at(header, tcp::field::FLAGS);
        if n > 0 {
            // The first segment with new data tells that the window was reduced, and only that (RFC 3168 §6.1.2).
            flags &= !tcp::flag::CWR;
        }
        if n + 1 < self.count {
            // Both stand behind the last octet of the data (RFC 9293 §3.4, §3.9.1.2).
            flags &= !(tcp::flag::FIN | tcp::flag::PSH);
        }
        wire::put(header, tcp::field::FLAGS..tcp::field::FLAGS + 1, &[flags]);
    }
}

/// Completes the IPv4 header before a transport header and payload of `length` octets.
#[inline]
fn write_v4(header: &mut [u8], n: usize, length: u16) {
    // Not longer than the frame's, see `header`.
    let total_len = length.wrapping_add(header.len() as u16);
    wire::put(header, ipv4::field::TOTAL_LEN, &total_len.to_be_bytes());
    // Each segment may be fragmented on its way, and then needs a number of its own (RFC 6864 §4.3). The sender has
    // counted on these.
    let identification = wire::u16_at(header, ipv4::field::IDENTIFICATION).wrapping_add(n as u16);
    wire::put(
        header,
        ipv4::field::IDENTIFICATION,
        &identification.to_be_bytes(),
    );
    wire::put(header, ipv4::field::CHECKSUM, &[0, 0]);
    let mut sum = Sum::new();
    sum.add_bytes(header);
    wire::put(header, ipv4::field::CHECKSUM, &sum.checksum().to_be_bytes());
}

/// Completes the IPv6 header, which its extension headers follow, before a transport header and payload of `length`
/// octets.
#[inline]
fn write_v6(header: &mut [u8], length: u16) {
    let extensions = header.len().saturating_sub(ipv6::HEADER_LEN);
    // Not longer than the frame's, see `header`.
    let payload_len = length.wrapping_add(extensions as u16);
    wire::put(header, ipv6::field::PAYLOAD_LEN, &payload_len.to_be_bytes());
}
