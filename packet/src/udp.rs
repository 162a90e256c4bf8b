//! UDP headers (RFC 768).

use crate::{Malformed, wire};

/// Octets of the header.
pub const HEADER_LEN: usize = field::CHECKSUM.end;

/// Where the fields stand.
pub mod field {
    use std::ops::Range;

    /// Source port.
    pub const SOURCE: Range<usize> = 0..2;
    /// Destination port.
    pub const DESTINATION: Range<usize> = 2..4;
    /// Octets of header and payload.
    pub const LENGTH: Range<usize> = 4..6;
    /// Checksum; 0 if there is none.
    pub const CHECKSUM: Range<usize> = 6..8;
}

/// A datagram whose header is there. Its payload may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Datagram<T> {
    /// Checks that `buffer` starts with a whole header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is shorter than 8 octets or states a length below that.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Malformed> {
        let bytes = buffer.as_ref();
        let whole = bytes.len() >= HEADER_LEN
            && usize::from(wire::u16_at(bytes, field::LENGTH)) >= HEADER_LEN;
        if whole {
            Ok(Self { buffer })
        } else {
            Err(Malformed)
        }
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::SOURCE)
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::DESTINATION)
    }

    /// Octets of header and payload, as the header states it.
    pub fn length(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::LENGTH)
    }

    /// Checksum; 0 if there is none.
    pub fn checksum(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The payload; less if it is cut off.
    pub fn payload(&self) -> &[u8] {
        let bytes = self.buffer.as_ref();
        let end = bytes.len().min(self.length().into());
        bytes.get(HEADER_LEN..end).unwrap_or_default()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Datagram<T> {
    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        wire::put(
            self.buffer.as_mut(),
            field::CHECKSUM,
            &checksum.to_be_bytes(),
        );
    }
}
