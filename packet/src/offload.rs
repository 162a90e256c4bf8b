//! What a sender left to its NIC: the checksum, and cutting a large packet into segments.
//!
//! A frame passes through the switch as its sender handed it over, and the work is done only where its destination
//! cannot do it: the request goes on in a [`vnet`](crate::vnet) header, or [`Segmenter`](crate::Segmenter) and
//! [`complete`](crate::complete) carry it out.

use crate::PartialChecksum;

/// Octets at the start of a frame in which everything lies that offload reads or writes: all headers up to the
/// payload of a frame that is to be segmented, and the checksum field of any other. Ethernet with two tags, IPv4 and
/// TCP with all options they have room for take 142; to IPv6 and TCP it leaves 70 for extension headers.
pub const MAX_HEADERS: usize = 192;

/// Most segments of one frame. It bounds how much work, and how many buffers of its destinations, a sender commands
/// with one descriptor: 64 KiB in segments of one octet would be 65,536 frames. The largest packet of IPv4 stays within
/// it with a segment size of 256, which the least MTU of IPv4 in use, 576, leaves room for (RFC 9293 §3.7.1).
pub const MAX_SEGMENTS: usize = 256;

/// What a sender left to its (virtual) NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The checksum that is still to be computed.
    pub checksum: Option<PartialChecksum>,
    /// How the frame is to be cut. A frame with this has a `checksum` too, which stands for that of every segment
    /// (virtio 1.2 §5.1.6.2.1).
    pub segmentation: Option<Segmentation>,
}

impl Offload {
    /// Whether the frame is finished.
    #[inline]
    pub const fn is_none(&self) -> bool {
        self.checksum.is_none() && self.segmentation.is_none()
    }
}

/// How the payload of a frame is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// What the frame holds.
    pub kind: SegmentKind,
    /// The sender knows explicit congestion notification: CWR may be set (RFC 3168 §6.1.2).
    pub ecn: bool,
    /// Octets of TCP or UDP payload in every segment but the last, which has the rest.
    pub size: u16,
    /// Octets of all headers, Ethernet's to the last option of TCP's: where the payload starts. It is what the frame
    /// says, not what its sender stated.
    pub header_len: u16,
}

/// What a frame to be segmented holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// Datagrams of UDP, of one size but the last, over IPv4 or IPv6.
    Udp,
}
