//! TCP headers (RFC 9293 §3.1).

use crate::{Malformed, wire};

/// Octets of a header without options.
pub const HEADER_LEN: usize = field::URGENT.end;

/// Where the fields stand.
pub mod field {
    use std::ops::Range;

    /// Source port.
    pub const SOURCE: Range<usize> = 0..2;
    /// Destination port.
    pub const DESTINATION: Range<usize> = 2..4;
    /// Sequence number.
    pub const SEQUENCE: Range<usize> = 4..8;
    /// Acknowledgement number.
    pub const ACKNOWLEDGEMENT: Range<usize> = 8..12;
    /// Header length in units of four octets, in the upper four bits.
    pub const DATA_OFFSET: usize = 12;
    /// The control bits CWR to FIN.
    pub const FLAGS: usize = 13;
    /// Receive window.
    pub const WINDOW: Range<usize> = 14..16;
    /// Checksum.
    pub const CHECKSUM: Range<usize> = 16..18;
    /// Urgent pointer.
    pub const URGENT: Range<usize> = 18..20;
}

/// Control bits.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// Congestion was experienced (RFC 3168 §6.1).
    pub const ECE: u8 = 0x40;
    /// The congestion window was reduced (RFC 3168 §6.1).
    pub const CWR: u8 = 0x80;
}

/// A segment whose header, options included, is there. Its payload may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Segment<T> {
    /// Checks that `buffer` starts with a whole header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is cut off in the header or states a header shorter than 20 octets.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Malformed> {
        if buffer.as_ref().len() < HEADER_LEN {
            return Err(Malformed);
        }
        let segment = Self { buffer };
        let header_len = usize::from(segment.header_len());
        let whole = header_len >= HEADER_LEN && header_len <= segment.buffer.as_ref().len();
        if whole { Ok(segment) } else { Err(Malformed) }
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::SOURCE)
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::DESTINATION)
    }

    /// Sequence number.
    pub fn sequence(&self) -> u32 {
        wire::u32_at(self.buffer.as_ref(), field::SEQUENCE)
    }

    /// Acknowledgement number.
    pub fn acknowledgement(&self) -> u32 {
        wire::u32_at(self.buffer.as_ref(), field::ACKNOWLEDGEMENT)
    }

    /// Octets of the header with its options, 20-60.
    pub fn header_len(&self) -> u8 {
        (wire::u8_at(self.buffer.as_ref(), field::DATA_OFFSET) >> 4) * 4
    }

    /// The control bits, see [`flag`].
    pub fn flags(&self) -> u8 {
        wire::u8_at(self.buffer.as_ref(), field::FLAGS)
    }

    /// Checksum.
    pub fn checksum(&self) -> u16 {
        wire::u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The payload; less if it is cut off.
    pub fn payload(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .get(self.header_len().into()..)
            .unwrap_or_default()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Segment<T> {
    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        wire::put(
            self.buffer.as_mut(),
            field::CHECKSUM,
            &checksum.to_be_bytes(),
        );
    }
}
