//! MAC addresses.

use std::fmt;
use std::str::FromStr;

/// A 48-bit Ethernet address, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`, every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address with these octets, first on the wire first.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// Its octets, first on the wire first.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The address in the lower 48 bits of `bits`, the first octet highest. The upper 16 bits are ignored.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The address as a number below 2^48, the first octet highest: a compact key for tables.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// Whether it is a group address (IEEE 802-2014 §8.2: the least significant bit of the first octet), which
    /// broadcast is too.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it is [`BROADCAST`](Self::BROADCAST).
    #[inline]
    pub const fn is_broadcast(self) -> bool {
        self.to_bits() == Self::BROADCAST.to_bits()
    }

    /// Whether all octets are zero, which no station may use.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.to_bits() == 0
    }

    /// Whether one station can send from this address, so that a port may hold it: neither a group nor zero.
    #[inline]
    pub const fn is_unicast_source(self) -> bool {
        !self.is_multicast() && !self.is_zero()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = InvalidMac;

    /// Six pairs of hexadecimal digits in either case, all separated by `:` or all by `-`.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac {
            text: text.chars().take(InvalidMac::SHOWN).collect(),
        };
        let bytes: &[u8; 17] = text.as_bytes().try_into().map_err(|_| invalid())?;
        let separator = bytes[2];
        if separator != b':' && separator != b'-' {
            return Err(invalid());
        }
        let mut octets = [0; 6];
        for (index, octet) in octets.iter_mut().enumerate() {
            let at = index * 3;
            let (Some(high), Some(low)) = (hex_digit(bytes[at]), hex_digit(bytes[at + 1])) else {
                return Err(invalid());
            };
            if bytes.get(at + 2).is_some_and(|&byte| byte != separator) {
                return Err(invalid());
            }
            *octet = high << 4 | low;
        }
        Ok(Self(octets))
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    // A digit is below 16, so the cast keeps it.
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// A text is not a MAC address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a MAC address: expected six pairs of hexadecimal digits such as 02:00:00:00:00:01"
)]
pub struct InvalidMac {
    text: String,
}

impl InvalidMac {
    /// Characters of the refused text that an error repeats; the text may come from a hostile source.
    const SHOWN: usize = 40;
}

#[cfg(feature = "serde")]
mod serde_text {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::MacAddr;

    impl Serialize for MacAddr {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for MacAddr {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Text)
        }
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = MacAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a MAC address as text, such as \"02:00:00:00:00:01\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<MacAddr, E> {
            text.parse().map_err(E::custom)
        }
    }
}
