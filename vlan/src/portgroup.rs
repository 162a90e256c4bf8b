//! The VLAN number of a port group.

use std::fmt;
use std::str::FromStr;

use crate::VlanId;

/// The VLAN of a port group as the administrator writes it: 0 for none, 1-4094 for a VLAN that the switch tags, 4095
/// for guests that tag themselves. [`Policy`](crate::Policy) is made from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortgroupVlan(u16);

impl PortgroupVlan {
    /// No VLAN.
    pub const NONE: Self = Self(0);
    /// Every VLAN, tagged by the guests.
    pub const GUEST_TAGGING: Self = Self(4095);

    /// The port group VLAN with this number.
    ///
    /// # Errors
    ///
    /// If the number is above 4095.
    pub fn new(number: u16) -> Result<Self, InvalidPortgroupVlan> {
        if number > Self::GUEST_TAGGING.0 {
            return Err(InvalidPortgroupVlan::OutOfRange {
                text: number.to_string(),
            });
        }
        Ok(Self(number))
    }

    /// Its number, 0-4095.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl From<VlanId> for PortgroupVlan {
    fn from(vlan: VlanId) -> Self {
        Self(vlan.id())
    }
}

impl fmt::Display for PortgroupVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PortgroupVlan {
    type Err = InvalidPortgroupVlan;

    fn from_str(text: &str) -> Result<Self, InvalidPortgroupVlan> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPortgroupVlan::NotANumber {
                text: crate::text::shown(text),
            });
        }
        // A number that no u16 holds is out of range too.
        text.parse()
            .ok()
            .and_then(|number| Self::new(number).ok())
            .ok_or_else(|| InvalidPortgroupVlan::OutOfRange {
                text: crate::text::shown(text),
            })
    }
}

/// A text or number is not the VLAN of a port group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPortgroupVlan {
    /// A number, but not 0-4095.
    #[error("VLAN {text} is out of range: 0 (none), 1-4094, or 4095 (guest tagging)")]
    OutOfRange {
        /// What was written.
        text: String,
    },
    /// Not a number.
    #[error("VLAN {text:?} is not a number: expected 0 (none), 1-4094, or 4095 (guest tagging)")]
    NotANumber {
        /// What was written.
        text: String,
    },
}

#[cfg(feature = "serde")]
mod serde_number {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::PortgroupVlan;

    impl Serialize for PortgroupVlan {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u16(self.0)
        }
    }

    impl<'de> Deserialize<'de> for PortgroupVlan {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_u16(Number)
        }
    }

    struct Number;

    impl Visitor<'_> for Number {
        type Value = PortgroupVlan;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a VLAN: 0 (none), 1-4094, or 4095 (guest tagging)")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<PortgroupVlan, E> {
            number.to_string().parse().map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<PortgroupVlan, E> {
            number.to_string().parse().map_err(E::custom)
        }
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::PortgroupVlan;

    impl JsonSchema for PortgroupVlan {
        fn schema_name() -> Cow<'static, str> {
            "PortgroupVlan".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "The VLAN of a port group. 0: no tag; 1-4094: the switch tags; 4095: the guests tag.",
                "type": "integer",
                "minimum": Self::NONE.0,
                "maximum": Self::GUEST_TAGGING.0,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    #[test]
    fn every_number_has_its_policy() {
        for number in 0..=u16::MAX {
            let policy = PortgroupVlan::new(number).ok().map(Policy::from);
            let expected = match number {
                0 => Some(Policy::External),
                4095 => Some(Policy::trunk_all()),
                _ => VlanId::new(number).map(Policy::Access),
            };
            assert_eq!(policy, expected, "{number}");
        }
    }

    #[test]
    fn text_leads_back() {
        for number in [0, 1, 10, 4094, 4095] {
            let vlan = PortgroupVlan::new(number).expect("in range");
            assert_eq!(vlan.to_string().parse(), Ok(vlan));
        }
        assert_eq!(PortgroupVlan::default(), PortgroupVlan::NONE);
    }

    #[test]
    fn errors_say_what_is_allowed() {
        for (text, error) in [
            (
                "4096",
                "VLAN 4096 is out of range: 0 (none), 1-4094, or 4095 (guest tagging)",
            ),
            (
                "70000",
                "VLAN 70000 is out of range: 0 (none), 1-4094, or 4095 (guest tagging)",
            ),
            (
                "-1",
                "VLAN -1 is out of range: 0 (none), 1-4094, or 4095 (guest tagging)",
            ),
            (
                "ten",
                "VLAN \"ten\" is not a number: expected 0 (none), 1-4094, or 4095 (guest tagging)",
            ),
            (
                "",
                "VLAN \"\" is not a number: expected 0 (none), 1-4094, or 4095 (guest tagging)",
            ),
            (
                "-",
                "VLAN \"-\" is not a number: expected 0 (none), 1-4094, or 4095 (guest tagging)",
            ),
            (
                "+1",
                "VLAN \"+1\" is not a number: expected 0 (none), 1-4094, or 4095 (guest tagging)",
            ),
        ] {
            assert_eq!(
                text.parse::<PortgroupVlan>().expect_err(text).to_string(),
                error
            );
        }
        let from_number = PortgroupVlan::new(4096).expect_err("out of range");
        assert_eq!(
            from_number,
            "4096".parse::<PortgroupVlan>().expect_err("out of range")
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn is_a_number_to_serde() {
        use serde::de::IntoDeserializer;
        use serde::de::value::Error;
        use serde::{Deserialize, Serialize};

        struct Shown(PortgroupVlan);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.serialize(f)
            }
        }

        let from_u64 = |number: u64| {
            PortgroupVlan::deserialize(IntoDeserializer::<Error>::into_deserializer(number))
        };
        let from_i64 = |number: i64| {
            PortgroupVlan::deserialize(IntoDeserializer::<Error>::into_deserializer(number))
        };
        assert_eq!(Shown(PortgroupVlan::GUEST_TAGGING).to_string(), "4095");
        assert_eq!(from_u64(4095), Ok(PortgroupVlan::GUEST_TAGGING));
        for error in [from_u64(4096), from_u64(1 << 40), from_i64(-1)] {
            let error = error.expect_err("out of range").to_string();
            assert!(
                error.contains("is out of range: 0 (none), 1-4094, or 4095 (guest tagging)"),
                "{error}"
            );
        }
    }
}
