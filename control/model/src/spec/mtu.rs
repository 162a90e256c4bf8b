//! The largest payload of a frame.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The largest payload of a frame in octets, after the Ethernet header and its tags: 1280-9000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct Mtu(u16);

/// What IPv6 needs (RFC 8200 §5).
const SMALLEST: u16 = 1280;
const LARGEST: u16 = 9000;

/// A number that is not an MTU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MTU {0} is out of range; use 1280-9000")]
pub struct MtuError(String);

impl Mtu {
    /// The MTU in octets.
    pub fn octets(self) -> u16 {
        self.0
    }
}

impl Default for Mtu {
    fn default() -> Self {
        Self(1500)
    }
}

impl TryFrom<u64> for Mtu {
    type Error = MtuError;

    fn try_from(octets: u64) -> Result<Self, MtuError> {
        match u16::try_from(octets) {
            Ok(fitting @ SMALLEST..=LARGEST) => Ok(Self(fitting)),
            _ => Err(MtuError(octets.to_string())),
        }
    }
}

impl From<Mtu> for u16 {
    fn from(mtu: Mtu) -> Self {
        mtu.0
    }
}

impl FromStr for Mtu {
    type Err = MtuError;

    fn from_str(text: &str) -> Result<Self, MtuError> {
        text.parse::<u64>()
            .map_err(|_| MtuError(format!("{text:?}")))?
            .try_into()
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Mtu {
    fn schema_name() -> Cow<'static, str> {
        "Mtu".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The largest payload of a frame in octets, after the Ethernet header and its tags.",
            "type": "integer",
            "minimum": SMALLEST,
            "maximum": LARGEST,
        })
    }
}
