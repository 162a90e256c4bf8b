//! MAC addresses.

use std::fmt;
use std::str::FromStr;

/// A 48-bit Ethernet address, in the order of the wire.
// One number below 2^48, the first octet highest: six octets would go through memory wherever they are compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(u64);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`, every station.
    pub const BROADCAST: Self = Self(0xffff_ffff_ffff);

    /// The address with these octets, first on the wire first.
    #[inline]
    pub const fn new(octets: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = octets;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// Its octets, first on the wire first.
    #[inline]
    pub const fn octets(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// The address in the lower 48 bits of `bits`, the first octet highest. The upper 16 bits are ignored.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::BROADCAST.0)
    }

    /// The address as a number below 2^48, the first octet highest: a compact key for tables.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Whether it is a group address (IEEE 802-2014 §8.2: the least significant bit of the first octet), which
    /// broadcast is too.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0 & 1 << 40 != 0
    }

    /// Whether it is [`BROADCAST`](Self::BROADCAST).
    #[inline]
    pub const fn is_broadcast(self) -> bool {
        self.0 == Self::BROADCAST.0
    }

    /// Whether all octets are zero, which no station may use.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether one station can send from this address, so that a port may hold it: neither a group nor zero.
    #[inline]
    pub const fn is_unicast_source(self) -> bool {
        !self.is_multicast() && !self.is_zero()
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.octets();
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
        Ok(Self::new(octets))
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

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::MacAddr;

    impl JsonSchema for MacAddr {
        fn schema_name() -> Cow<'static, str> {
            "MacAddr".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "A MAC address: six pairs of hexadecimal digits, all separated by ':' or all by '-'.",
                "type": "string",
                "pattern": "^[0-9A-Fa-f]{2}((:[0-9A-Fa-f]{2}){5}|(-[0-9A-Fa-f]{2}){5})$",
                "examples": ["02:00:00:00:00:01"],
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddr = MacAddr::new([0x02, 0, 0, 0, 0xab, 0x01]);

    #[test]
    fn reads_either_separator_and_case() {
        for text in [
            "02:00:00:00:ab:01",
            "02-00-00-00-AB-01",
            "02:00:00:00:Ab:01",
        ] {
            assert_eq!(text.parse(), Ok(MAC), "{text}");
        }
        assert_eq!(MAC.to_string(), "02:00:00:00:ab:01");
    }

    #[test]
    fn refuses_everything_else_and_says_what_is_expected() {
        for text in [
            "",
            "02",
            "020000000001",
            "02:00:00:00:00",
            "02:00:00:00:00:01:",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "02:00:00-00:00:01",
            "02.00.00.00.00.01",
            "0x:00:00:00:00:01",
            "+2:00:00:00:00:01",
            " 2:00:00:00:00:01",
            "02:00:00:00:00:1é",
        ] {
            let error = text.parse::<MacAddr>().expect_err(text).to_string();
            assert!(
                error.starts_with(&format!("{text:?} is not a MAC address")),
                "{error}"
            );
            assert!(error.contains("02:00:00:00:00:01"), "{error}");
        }
        assert!(
            "é".repeat(1000)
                .parse::<MacAddr>()
                .expect_err("not a MAC")
                .to_string()
                .len()
                < 200
        );
    }

    #[test]
    fn tells_kinds_of_addresses_apart() {
        let group = MacAddr::new([0x01, 0, 0x5e, 0, 0, 1]);
        let zero = MacAddr::new([0; 6]);
        assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast());
        assert!(group.is_multicast() && !group.is_broadcast());
        assert!(zero.is_zero() && !zero.is_multicast());
        assert!(MAC.is_unicast_source());
        assert!(
            [MacAddr::BROADCAST, group, zero]
                .iter()
                .all(|mac| !mac.is_unicast_source())
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn is_a_string_to_serde() {
        use serde::de::value::{Error, StrDeserializer};
        use serde::{Deserialize, Serialize, de::IntoDeserializer};

        struct Shown(MacAddr);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.serialize(f)
            }
        }

        let read = |text: &'static str| -> Result<MacAddr, Error> {
            let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
            MacAddr::deserialize(deserializer)
        };
        assert_eq!(Shown(MAC).to_string(), "02:00:00:00:ab:01");
        assert_eq!(read("02-00-00-00-ab-01"), Ok(MAC));
        let error = read("zz").expect_err("not a MAC").to_string();
        assert!(error.contains("\"zz\" is not a MAC address"), "{error}");
    }

    proptest! {
        #[test]
        fn text_and_bits_lead_back(octets: [u8; 6], upper: u16) {
            let mac = MacAddr::new(octets);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
            prop_assert!(mac.to_bits() < 1 << 48);
            prop_assert_eq!(MacAddr::from_bits(mac.to_bits() | u64::from(upper) << 48), mac);
        }

        #[test]
        fn bits_sort_as_octets_do(a: [u8; 6], b: [u8; 6]) {
            let (a, b) = (MacAddr::new(a), MacAddr::new(b));
            prop_assert_eq!(a.cmp(&b), a.to_bits().cmp(&b.to_bits()));
        }

        #[test]
        fn no_text_panics(text: String, near in "[0-9a-fA-F:é-]{15,19}") {
            let _ = text.parse::<MacAddr>();
            let _ = near.parse::<MacAddr>();
        }
    }
}
