//! A descriptor: where a frame, or a piece of one, is in the UMEM.

use rustix::net::xdp::XdpDescOptions;

use super::ring::Entry;

/// A received frame, or one buffer of it (`struct xdp_desc`, linux/if_xdp.h). Its bytes are read through the
/// [`RxQueue`](super::RxQueue) that handed it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Desc {
    address: u64,
    len: u32,
    options: u32,
}

// SAFETY: three integers without padding between or behind them; every bit pattern is a value.
unsafe impl Entry for Desc {}

impl Desc {
    pub(super) fn new(address: u64, len: u32, continues: bool) -> Self {
        let options = if continues {
            XdpDescOptions::XDP_PKT_CONTD.bits()
        } else {
            0
        };
        Self {
            address,
            len,
            options,
        }
    }

    /// Bytes from the beginning of the queue's UMEM.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Length in bytes of this buffer.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the buffer holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the frame continues in the next descriptor (multi-buffer).
    pub fn continues(&self) -> bool {
        self.options & XdpDescOptions::XDP_PKT_CONTD.bits() != 0
    }
}
