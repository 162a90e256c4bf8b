//! The headers of a frame whose payload is to be cut into segments.

use std::ops::Range;

use crate::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
use crate::vnet::BadVnetHeader;
use crate::{
    Head, MAX_HEADERS, Malformed, SegmentKind, ethertype, ip_protocol, ipv4, ipv6, tcp, udp,
};

/// Where the headers of a frame stand that is to be segmented, and its payload. Offsets are from the start of the
/// frame.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    /// What the IP header says.
    pub(crate) internet: Internet,
    /// Where the IP header starts.
    pub(crate) network: usize,
    /// Where the TCP or UDP header starts.
    pub(crate) transport: usize,
    /// The payload of TCP or UDP. What pads the frame is beyond it.
    pub(crate) payload: Range<usize>,
}

/// What an IP header and its extensions say.
#[derive(Clone, Debug)]
pub(crate) struct Internet {
    /// IPv4 or IPv6.
    pub(crate) is_v4: bool,
    /// The sum of the pseudo-header, its length left out.
    pub(crate) pseudo_header: Sum,
    protocol: u8,
    /// Octets up to the transport header, options and extension headers included.
    header_len: usize,
    /// Octets of headers and payload.
    total_len: usize,
}

impl Headers {
    /// Finds the headers of a frame of `frame_len` octets, of which `head` holds the first. They lie wholly in `head`
    /// and its first [`MAX_HEADERS`] octets, and the payload wholly in the frame.
    ///
    /// The length of UDP is not looked at: no single datagram has it.
    ///
    /// # Errors
    ///
    /// What hinders segmentation.
    #[inline]
    pub(crate) fn parse(
        kind: SegmentKind,
        head: &[u8],
        frame_len: usize,
    ) -> Result<Self, BadVnetHeader> {
        let head = first_octets(head, frame_len);
        let ethernet = Head::parse(head, frame_len).map_err(|_| BadVnetHeader::Runt)?;
        let network = usize::from(ethernet.header_len);
        let packet = head.get(network..).unwrap_or_default();
        let internet = match (ethernet.ethertype, kind) {
            (ethertype::IPV4, SegmentKind::TcpV4 | SegmentKind::Udp) => Internet::v4(packet)?,
            (ethertype::IPV6, SegmentKind::TcpV6 | SegmentKind::Udp) => Internet::v6(packet)?,
            _ => return Err(BadVnetHeader::OtherPacket),
        };
        if internet.protocol != kind.protocol() {
            return Err(BadVnetHeader::OtherPacket);
        }
        let transport = network + internet.header_len;
        let end = network + internet.total_len;
        if end > frame_len {
            return Err(BadVnetHeader::CutOff);
        }
        let segment = head.get(transport..).unwrap_or_default();
        let payload = transport
            + match kind {
                SegmentKind::Udp => udp::HEADER_LEN,
                SegmentKind::TcpV4 | SegmentKind::TcpV6 => {
                    tcp::Segment::new_checked(segment)?.header_len().into()
                }
            };
        if payload > head.len() || payload > end {
            return Err(BadVnetHeader::Headers);
        }
        Ok(Self {
            internet,
            network,
            transport,
            payload: payload..end,
        })
    }
}

impl Internet {
    #[inline]
    fn v4(packet: &[u8]) -> Result<Self, BadVnetHeader> {
        let packet = ipv4::Packet::new_checked(packet)?;
        if packet.is_fragment() {
            return Err(BadVnetHeader::Fragment);
        }
        Ok(Self {
            is_v4: true,
            pseudo_header: pseudo_header_v4(packet.src(), packet.dst(), packet.protocol(), 0),
            protocol: packet.protocol(),
            header_len: packet.header_len().into(),
            total_len: packet.total_len().into(),
        })
    }

    #[inline]
    fn v6(packet: &[u8]) -> Result<Self, BadVnetHeader> {
        let packet = ipv6::Packet::new_checked(packet)?;
        let upper = packet.upper_layer().ok_or(BadVnetHeader::Headers)?;
        if upper.is_fragment {
            return Err(BadVnetHeader::Fragment);
        }
        // The pseudo-header has the last address of the routing header (RFC 8200 §8.1).
        if upper.is_source_routed {
            return Err(BadVnetHeader::SourceRoute);
        }
        Ok(Self {
            is_v4: false,
            pseudo_header: pseudo_header_v6(packet.src(), packet.dst(), upper.protocol, 0),
            protocol: upper.protocol,
            header_len: upper.offset,
            total_len: ipv6::HEADER_LEN + usize::from(packet.payload_len()),
        })
    }
}

impl SegmentKind {
    /// What the IP header has for the protocol.
    #[inline]
    pub(crate) const fn protocol(self) -> u8 {
        match self {
            Self::TcpV4 | Self::TcpV6 => ip_protocol::TCP,
            Self::Udp => ip_protocol::UDP,
        }
    }

    /// Where the checksum stands in the transport header.
    #[inline]
    pub(crate) const fn checksum_field(self) -> Range<usize> {
        match self {
            Self::TcpV4 | Self::TcpV6 => tcp::field::CHECKSUM,
            Self::Udp => udp::field::CHECKSUM,
        }
    }
}

/// What of `head` offload may look at and change in a frame of `frame_len` octets.
#[inline]
pub(crate) fn first_octets(head: &[u8], frame_len: usize) -> &[u8] {
    &head[..head.len().min(frame_len).min(MAX_HEADERS)]
}

impl From<Malformed> for BadVnetHeader {
    fn from(_: Malformed) -> Self {
        Self::Headers
    }
}
