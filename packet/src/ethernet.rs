//! Ethernet frames (IEEE 802.3-2018 §3), without preamble and frame check sequence.

use crate::{MacAddr, Malformed, wire};

/// Octets of the header without tags.
pub const HEADER_LEN: usize = field::ETHERTYPE.end;

/// Where the fields stand.
pub mod field {
    use std::ops::{Range, RangeFrom};

    /// Destination address.
    pub const DESTINATION: Range<usize> = 0..6;
    /// Source address.
    pub const SOURCE: Range<usize> = 6..12;
    /// EtherType, the TPID of a tag, or the length of an IEEE 802.3 frame.
    pub const ETHERTYPE: Range<usize> = 12..14;
    /// What follows, tags included.
    pub const PAYLOAD: RangeFrom<usize> = 14..;
}

/// A frame whose header is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Frame<T> {
    /// Checks that `buffer` holds an Ethernet header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is shorter than 14 octets.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Malformed> {
        if buffer.as_ref().len() < HEADER_LEN {
            Err(Malformed)
        } else {
            Ok(Self { buffer })
        }
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> MacAddr {
        MacAddr::new(wire::array(self.buffer.as_ref(), field::DESTINATION))
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> MacAddr {
        MacAddr::new(wire::array(self.buffer.as_ref(), field::SOURCE))
    }

    /// What stands right after the source address: an EtherType, or the TPID of the outer tag.
    #[inline]
    pub fn ethertype(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::ETHERTYPE)
    }

    /// What follows [`ethertype`](Self::ethertype).
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_ref().get(field::PAYLOAD).unwrap_or_default()
    }

    /// The buffer back.
    pub fn into_inner(self) -> T {
        self.buffer
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Frame<T> {
    /// Sets the destination address.
    #[inline]
    pub fn set_dst(&mut self, dst: MacAddr) {
        wire::put(self.buffer.as_mut(), field::DESTINATION, &dst.octets());
    }

    /// Sets the source address.
    #[inline]
    pub fn set_src(&mut self, src: MacAddr) {
        wire::put(self.buffer.as_mut(), field::SOURCE, &src.octets());
    }

    /// Sets what stands right after the source address.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: u16) {
        wire::put(
            self.buffer.as_mut(),
            field::ETHERTYPE,
            &ethertype.to_be_bytes(),
        );
    }

    /// What follows [`ethertype`](Self::ethertype), to be written.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.buffer
            .as_mut()
            .get_mut(field::PAYLOAD)
            .unwrap_or_default()
    }
}
