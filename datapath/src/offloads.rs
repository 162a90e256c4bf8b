//! What the other side of a port does itself with frames that a sender did not finish.

use weft_packet::{Offload, SegmentKind};

/// A set of offloads, as negotiated with a guest or known of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads(u8);

impl Offloads {
    /// None: frames must be finished.
    pub const NONE: Self = Self(0);
    /// Completes checksums.
    pub const CHECKSUM: Self = Self(1);
    /// Takes large TCP packets over IPv4.
    pub const TCP_V4: Self = Self(2);
    /// Takes large TCP packets over IPv6.
    pub const TCP_V6: Self = Self(4);
    /// Takes large TCP packets whose sender uses explicit congestion notification.
    pub const ECN: Self = Self(8);
    /// Takes trains of UDP datagrams as one.
    pub const UDP: Self = Self(16);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `other` where `condition` holds, too.
    #[must_use]
    pub const fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.with(other) } else { self }
    }

    /// Whether a frame may go to the other side as its sender left it.
    #[inline]
    pub(crate) const fn take(self, offload: &Offload) -> bool {
        let mut needed = match offload.checksum {
            Some(_) => Self::CHECKSUM,
            None => Self::NONE,
        };
        if let Some(cut) = &offload.segmentation {
            needed = needed.with(match cut.kind {
                SegmentKind::TcpV4 => Self::TCP_V4,
                SegmentKind::TcpV6 => Self::TCP_V6,
                SegmentKind::Udp => Self::UDP,
            });
            needed = needed.with_if(cut.ecn, Self::ECN);
        }
        needed.0 & !self.0 == 0
    }
}
