//! Numbers and yes or no, with the value that they have where nobody names one.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A whole number of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Number<const LEAST: u32, const MOST: u32, const DEFAULT: u32>(u32);

impl<const LEAST: u32, const MOST: u32, const DEFAULT: u32> Number<LEAST, MOST, DEFAULT> {
    /// The greatest of the range.
    pub const MOST: u32 = MOST;

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The number, of things that are in memory.
    pub fn count(self) -> usize {
        usize::try_from(self.0).expect("weft runs on 64 bits")
    }

    fn new(number: i128) -> Result<Self, String> {
        let fitting = u32::try_from(number).ok();
        let fitting = fitting.filter(|number| (LEAST..=MOST).contains(number));
        let fitting = fitting.map(Self);
        fitting.ok_or_else(|| format!("{number} is out of range; use {LEAST}-{MOST}"))
    }
}

impl<const LEAST: u32, const MOST: u32, const DEFAULT: u32> Default
    for Number<LEAST, MOST, DEFAULT>
{
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const LEAST: u32, const MOST: u32, const DEFAULT: u32> fmt::Display
    for Number<LEAST, MOST, DEFAULT>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const LEAST: u32, const MOST: u32, const DEFAULT: u32> FromStr
    for Number<LEAST, MOST, DEFAULT>
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<i128>();
        let number =
            number.map_err(|_| format!("{text:?} is not a whole number; use {LEAST}-{MOST}"))?;
        Self::new(number)
    }
}

impl<'de, const LEAST: u32, const MOST: u32, const DEFAULT: u32> Deserialize<'de>
    for Number<LEAST, MOST, DEFAULT>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InRange<const LEAST: u32, const MOST: u32, const DEFAULT: u32>;

        impl<const LEAST: u32, const MOST: u32, const DEFAULT: u32> Visitor<'_>
            for InRange<LEAST, MOST, DEFAULT>
        {
            type Value = Number<LEAST, MOST, DEFAULT>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number {LEAST}-{MOST}")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Number::new(number.into()).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Number::new(number.into()).map_err(E::custom)
            }
        }

        deserializer.deserialize_u64(InRange::<LEAST, MOST, DEFAULT>)
    }
}

impl<const LEAST: u32, const MOST: u32, const DEFAULT: u32> JsonSchema
    for Number<LEAST, MOST, DEFAULT>
{
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": LEAST, "maximum": MOST})
    }
}

/// Yes or no: `true` and `false` in files, `yes` and `no` on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct YesNo<const DEFAULT: bool>(pub bool);

impl<const DEFAULT: bool> Default for YesNo<DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const DEFAULT: bool> fmt::Display for YesNo<DEFAULT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "yes" } else { "no" })
    }
}

impl<const DEFAULT: bool> FromStr for YesNo<DEFAULT> {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "yes" => Ok(Self(true)),
            "no" => Ok(Self(false)),
            _ => Err(format!("{word:?} is not one of: yes, no")),
        }
    }
}

impl<'de, const DEFAULT: bool> Deserialize<'de> for YesNo<DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TrueOrFalse;

        impl Visitor<'_> for TrueOrFalse {
            type Value = bool;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
                Ok(value)
            }
        }

        deserializer.deserialize_bool(TrueOrFalse).map(Self)
    }
}
