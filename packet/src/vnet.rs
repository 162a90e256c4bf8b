//! The header that virtio-net puts before every frame (virtio 1.2 §5.1.6), through which guest and switch leave work
//! to each other.
//!
//! ```text
//! octet  0      1         2-3      4-5       6-7         8-9          10-11
//!        flags  gso_type  hdr_len  gso_size  csum_start  csum_offset  num_buffers     (little endian)
//! ```
//!
//! A guest may write anything into it. What [`Offload::from_vnet`] lets through has been checked against the frame, so
//! that carrying it out reads and writes nothing but that frame.

use crate::headers::{Headers, first_octets};
use crate::{Head, MAX_SEGMENTS, Offload, PartialChecksum, SegmentKind, Segmentation, TagEdit};

/// Octets of the header, with `num_buffers`, as it is with VIRTIO_F_VERSION_1.
pub const LEN: usize = 12;

/// The only flag that a driver may set. A device ignores all it does not know, DATA_VALID and RSC_INFO, which only
/// devices set, among them (virtio 1.2 §5.1.6.2.1, §5.1.6.2.2).
const NEEDS_CSUM: u8 = 1;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Or-ed to the types of TCP.
const GSO_ECN: u8 = 0x80;

/// Why the request of a virtio-net header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadVnetHeader {
    /// There is no whole Ethernet header.
    #[error("the frame is shorter than its Ethernet header and tags")]
    Runt,
    /// `csum_start` is less than the length of the Ethernet header and its tags.
    #[error("the checksum starts in the Ethernet header")]
    ChecksumStart,
    /// `csum_start` and `csum_offset` lead out of the frame or its first [`MAX_HEADERS`](crate::MAX_HEADERS) octets.
    #[error("the checksum field is not in the first octets of the frame")]
    ChecksumField,
    /// `gso_type` is none that is offered to guests.
    #[error("the segmentation type {0} is not offered")]
    SegmentationType(u8),
    /// Segmentation without NEEDS_CSUM.
    #[error("segmentation is asked for without the checksum")]
    NoChecksum,
    /// `gso_size` is 0.
    #[error("the segment size is zero")]
    ZeroSize,
    /// EtherType or IP protocol are not those of `gso_type`.
    #[error("the frame is not of the protocols of its segmentation type")]
    OtherPacket,
    /// IP or TCP contradict themselves, or end beyond the first [`MAX_HEADERS`](crate::MAX_HEADERS) octets.
    #[error("the headers up to the payload are truncated or contradict themselves")]
    Headers,
    /// The IP length is more than the frame has.
    #[error("the packet ends beyond the frame")]
    CutOff,
    /// A frame to be segmented with octets behind its packet, which only make it longer than any bound.
    #[error("the frame to be segmented goes on behind its packet")]
    Trailer,
    /// Segmentation of one fragment of several.
    #[error("the packet to be segmented is a fragment")]
    Fragment,
    /// Segmentation of a packet with a routing header that is not at its end.
    #[error("the packet to be segmented is source-routed")]
    SourceRoute,
    /// `csum_start` and `csum_offset` are not those of the transport header that is to be segmented.
    #[error("the checksum is not that of the transport header")]
    OtherChecksum,
    /// More than [`MAX_SEGMENTS`].
    #[error("the segments are too many")]
    TooManySegments,
}

impl Offload {
    /// Reads what the `header` before a frame of `frame_len` octets asks for. `head` holds the first octets of the frame,
    /// all or at least [`MAX_HEADERS`](crate::MAX_HEADERS), in memory that its sender cannot change any more.
    ///
    /// `hdr_len` is not looked at (virtio 1.2 §5.1.6.2.2: the device must not rely on it), nor `num_buffers`. A packet
    /// that fits into one segment comes back without segmentation.
    ///
    /// A checksum is summed to the end of the frame, padding included, whatever the IP length says (virtio 1.2
    /// §5.1.6.2). Its field may be any beyond the Ethernet header unless the frame is to be segmented.
    ///
    /// # Errors
    ///
    /// [`BadVnetHeader`] if it asks for what is not offered, or contradicts the frame.
    #[inline]
    pub fn from_vnet(
        header: &[u8; LEN],
        head: &[u8],
        frame_len: usize,
    ) -> Result<Self, BadVnetHeader> {
        let header = VnetHeader::parse(header);
        let Some(kind) = header.kind()? else {
            let checksum = header
                .needs_checksum()
                .then(|| header.checksum(head, frame_len))
                .transpose()?;
            return Ok(Self {
                checksum,
                segmentation: None,
            });
        };
        if !header.needs_checksum() {
            return Err(BadVnetHeader::NoChecksum);
        }
        let checksum = header.checksum(head, frame_len)?;
        Ok(Self {
            checksum: Some(checksum),
            segmentation: header.segmentation(kind, checksum, head, frame_len)?,
        })
    }
}

/// The header for a frame with this `offload` after this `edit`, for a destination that can do what is asked for.
/// Segmentation is asked for only with a checksum, as a receiver is entitled to expect (virtio 1.2 §5.1.6.4.1).
#[inline]
pub fn write(offload: Offload, edit: TagEdit) -> [u8; LEN] {
    let mut header = VnetHeader {
        num_buffers: 1,
        ..VnetHeader::default()
    };
    if let Some(checksum) = offload.checksum {
        let checksum = checksum.after(edit);
        header.flags = NEEDS_CSUM;
        header.csum_start = checksum.start;
        header.csum_offset = checksum.field.saturating_sub(checksum.start);
        if let Some(segmentation) = offload.segmentation {
            header.gso_type = gso_type(segmentation);
            header.gso_size = segmentation.size;
            // 4 octets at most, far within the range of the type.
            let change = edit.length_change() as i16;
            header.hdr_len = segmentation.header_len.saturating_add_signed(change);
        }
    }
    header.octets()
}

const fn gso_type(segmentation: Segmentation) -> u8 {
    let ecn = if segmentation.ecn { GSO_ECN } else { 0 };
    match segmentation.kind {
        SegmentKind::TcpV4 => GSO_TCPV4 | ecn,
        SegmentKind::TcpV6 => GSO_TCPV6 | ecn,
        SegmentKind::Udp => GSO_UDP_L4,
    }
}

/// The fields, by their names in virtio 1.2 §5.1.6.
#[derive(Clone, Copy, Default)]
struct VnetHeader {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
    num_buffers: u16,
}

impl VnetHeader {
    #[inline]
    const fn parse(&[flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, n0, n1]: &[u8; LEN]) -> Self {
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
            num_buffers: u16::from_le_bytes([n0, n1]),
        }
    }

    #[inline]
    const fn octets(self) -> [u8; LEN] {
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        let [n0, n1] = self.num_buffers.to_le_bytes();
        [
            self.flags,
            self.gso_type,
            h0,
            h1,
            g0,
            g1,
            s0,
            s1,
            o0,
            o1,
            n0,
            n1,
        ]
    }

    #[inline]
    const fn needs_checksum(self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// What is to be segmented, if anything.
    #[inline]
    const fn kind(self) -> Result<Option<SegmentKind>, BadVnetHeader> {
        match self.gso_type {
            GSO_NONE => Ok(None),
            GSO_UDP_L4 => Ok(Some(SegmentKind::Udp)),
            other => match other & !GSO_ECN {
                GSO_TCPV4 => Ok(Some(SegmentKind::TcpV4)),
                GSO_TCPV6 => Ok(Some(SegmentKind::TcpV6)),
                _ => Err(BadVnetHeader::SegmentationType(other)),
            },
        }
    }

    #[inline]
    fn checksum(self, head: &[u8], frame_len: usize) -> Result<PartialChecksum, BadVnetHeader> {
        let head = first_octets(head, frame_len);
        let ethernet = Head::parse(head, frame_len).map_err(|_| BadVnetHeader::Runt)?;
        if self.csum_start < u16::from(ethernet.header_len) {
            return Err(BadVnetHeader::ChecksumStart);
        }
        let field = self.csum_start.checked_add(self.csum_offset);
        let field = field.ok_or(BadVnetHeader::ChecksumField)?;
        if usize::from(field) + size_of::<u16>() > head.len() {
            return Err(BadVnetHeader::ChecksumField);
        }
        let length = frame_len - usize::from(self.csum_start);
        Ok(PartialChecksum {
            start: self.csum_start,
            field,
            length: u32::try_from(length).map_err(|_| BadVnetHeader::ChecksumField)?,
        })
    }

    /// How a frame with this `checksum` is to be cut, or `None` if its payload fits into one segment.
    #[inline]
    fn segmentation(
        self,
        kind: SegmentKind,
        checksum: PartialChecksum,
        head: &[u8],
        frame_len: usize,
    ) -> Result<Option<Segmentation>, BadVnetHeader> {
        if self.gso_size == 0 {
            return Err(BadVnetHeader::ZeroSize);
        }
        let headers = Headers::parse(kind, head, frame_len)?;
        let field = headers.transport + kind.checksum_field().start;
        if usize::from(checksum.start) != headers.transport || usize::from(checksum.field) != field
        {
            return Err(BadVnetHeader::OtherChecksum);
        }
        let segments = headers.payload.len().div_ceil(self.gso_size.into());
        if segments > MAX_SEGMENTS {
            return Err(BadVnetHeader::TooManySegments);
        }
        // A short frame may be padded; one that has more than one segment is none.
        if segments > 1 && headers.payload.end != frame_len {
            return Err(BadVnetHeader::Trailer);
        }
        Ok((segments > 1).then_some(Segmentation {
            kind,
            ecn: self.gso_type & GSO_ECN != 0,
            size: self.gso_size,
            // Within MAX_HEADERS.
            header_len: headers.payload.start as u16,
        }))
    }
}
