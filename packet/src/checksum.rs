//! The Internet checksum (RFC 1071).

use std::net::{Ipv4Addr, Ipv6Addr};

/// A running one's complement sum of 16-bit words, over octets that may come in pieces of any length.
///
/// ```
/// use weft_packet::checksum::Sum;
///
/// // The example of RFC 1071 §3, in two pieces that part a word.
/// let mut sum = Sum::new();
/// sum.add_bytes(&[0x00, 0x01, 0xf2]);
/// sum.add_bytes(&[0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
/// assert_eq!(sum.fold(), 0xddf2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Sum of words in big-endian order, carries not yet added back: less than 2^36 from a pseudo-header and less
    /// than 2^16 with each call, of which 2^47 would be needed to overflow it.
    words: u64,
    /// The octets so far end in the middle of a word.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const fn new() -> Self {
        Self {
            words: 0,
            odd: false,
        }
    }

    /// The sum that starts with words of 16 or 32 bits already added up. 2^16 and 1 are the same in one's complement
    /// sums of 16 bits, so that the upper half of a word may count as if it stood alone.
    #[inline]
    const fn of_words(words: u64) -> Self {
        Self { words, odd: false }
    }

    /// Adds the next octets.
    #[inline]
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        // RFC 1071 §2 (B): a sum over octets that start in the middle of a word is the sum over them with its two
        // octets swapped.
        let sum = sum_words(bytes);
        self.words += u64::from(if self.odd { sum.swap_bytes() } else { sum });
        self.odd ^= !bytes.len().is_multiple_of(2);
    }

    /// The sum as 16 bits, not complemented: 0 only if every octet was 0.
    #[inline]
    pub fn fold(self) -> u16 {
        fold(self.words)
    }

    /// The checksum: the complement of the sum.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The sum of an IPv4 pseudo-header (RFC 9293 §3.1, RFC 768). `length` is that of the transport header and payload.
#[inline]
pub fn pseudo_header_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    let addresses = u64::from(src.to_bits()) + u64::from(dst.to_bits());
    Sum::of_words(addresses + u64::from(protocol) + u64::from(length))
}

/// The sum of an IPv6 pseudo-header (RFC 8200 §8.1). `length` is that of the transport header and payload.
#[inline]
pub fn pseudo_header_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, length: u32) -> Sum {
    let address = |address: Ipv6Addr| {
        let octets = address.octets();
        let (words, _) = octets.as_chunks();
        words
            .iter()
            .map(|&word| u64::from(u32::from_be_bytes(word)))
            .sum::<u64>()
    };
    Sum::of_words(address(src) + address(dst) + u64::from(protocol) + u64::from(length))
}

/// The folded sum of octets that start a word; an odd last one is the upper half of a word.
#[inline]
fn sum_words(bytes: &[u8]) -> u16 {
    // RFC 1071 §2 (B), (C): the sum does not care about the order of octets until the end, nor about the width
    // of the words that are added. Halves of 64-bit words in machine order go into four 64-bit lanes, which the
    // compiler turns into vector additions, and which only 2^31 steps, 64 GiB, could overflow.
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut lanes = [0u64; 4];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, &word) in lanes.iter_mut().zip(words) {
            let word = u64::from_ne_bytes(word);
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    let mut sum = lanes
        .into_iter()
        .map(|lane| (lane & 0xffff_ffff) + (lane >> 32))
        .sum::<u64>();
    let (words, last) = rest.as_chunks::<2>();
    for &word in words {
        sum += u64::from(u16::from_ne_bytes(word));
    }
    if let &[last] = last {
        sum += u64::from(u16::from_ne_bytes([last, 0]));
    }
    u16::from_be(fold(sum))
}

/// Adds the carries back until 16 bits are left.
#[inline]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // At most 2^16 + 1 by now, so that the last carry leaves 16 bits.
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §4.1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        sum as u16
    }

    fn sum_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u16 {
        let mut sum = Sum::new();
        pieces.into_iter().for_each(|piece| sum.add_bytes(piece));
        sum.fold()
    }

    #[test]
    fn all_ones_of_every_length() {
        let ones = [0xff; 300];
        for len in 0..ones.len() {
            assert_eq!(sum_of([&ones[..len]]), naive(&ones[..len]), "{len} octets");
        }
        assert_eq!(sum_of([&[0xff; 1 << 20][..]]), 0xffff);
    }

    #[test]
    fn zero_only_of_zeros() {
        assert_eq!(sum_of([&[0; 100][..]]), 0);
        assert_eq!(sum_of([&[0xff, 0xfe, 0, 1][..]]), 0xffff);
    }

    #[test]
    fn pseudo_headers_as_bytes() {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(
            pseudo_header_v4(src, dst, 17, 13).fold(),
            naive(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 13])
        );
        let (src, dst) = (
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
            Ipv6Addr::LOCALHOST,
        );
        let bytes = [
            &src.octets()[..],
            &dst.octets(),
            &[0, 1, 0, 2],
            &[0, 0, 0, 6],
        ]
        .concat();
        assert_eq!(
            pseudo_header_v6(src, dst, 6, 0x1_0002).fold(),
            naive(&bytes)
        );
    }

    proptest! {
        #[test]
        fn any_pieces_sum_as_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            mut cuts in prop::collection::vec(0usize..2000, 0..6),
        ) {
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
            prop_assert_eq!(sum_of(pieces), naive(&bytes));
        }
    }
}
