//! Shaping: limits on what passes a port.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::is_default;
use super::leaves::leaves;
use super::quantity::{Burst, Rate};
use super::setting::Setting;
use crate::intent::ObjectRef;
use crate::policy::Leaf;

leaves! {
    /// Limits on what passes a port, for each port by itself.
    "shaping": SwitchShaping, PortgroupShaping, SwitchShapingPatch, ShapingPatch, EffectiveShaping {
        /// On what the switch receives from the port: what the VM sends.
        ingress = "in": Shaping,
        /// On what the switch delivers to the port: what the VM receives.
        egress = "out": Shaping,
    }
}

/// A limit, or none. On the command line `avg=100mbit,peak=200mbit,burst=100KiB`, or `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shaping {
    /// No limit.
    #[default]
    Off,
    /// This limit.
    To(Limit),
}

/// A limit: a bucket that fills at the average and holds the burst; while it lasts, up to the peak passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "LimitFields", into = "LimitFields")]
pub struct Limit {
    average: Rate,
    peak: Rate,
    burst: Burst,
}

impl Limit {
    /// A limit; the peak is the average unless it is said, and the burst 100MiB.
    ///
    /// # Errors
    /// A peak below the average.
    pub fn new(average: Rate, peak: Option<Rate>, burst: Option<Burst>) -> Result<Self, String> {
        let peak = peak.unwrap_or(average);
        if peak < average {
            return Err(format!(
                "the peak {peak} is below the average {average}; use {average} or more, or leave it out"
            ));
        }
        let burst = burst.unwrap_or_default();
        Ok(Self {
            average,
            peak,
            burst,
        })
    }

    /// What passes in the long run.
    pub fn average(self) -> Rate {
        self.average
    }

    /// What passes while the burst lasts; at least the average.
    pub fn peak(self) -> Rate {
        self.peak
    }

    /// What may pass at once, after a time in which nothing did.
    pub fn burst(self) -> Burst {
        self.burst
    }
}

/// A limit: a bucket that fills at the average and holds the burst; while it lasts, up to the peak passes.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limit")]
struct LimitFields {
    /// Bits per second in the long run.
    average: Rate,
    /// Bits per second while the burst lasts; at least the average, which it is if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peak: Option<Rate>,
    /// Octets that may pass at once, after a time in which nothing did.
    #[serde(default, skip_serializing_if = "is_default")]
    burst: Burst,
}

impl TryFrom<LimitFields> for Limit {
    type Error = String;

    fn try_from(fields: LimitFields) -> Result<Self, String> {
        Self::new(fields.average, fields.peak, Some(fields.burst))
    }
}

impl From<Limit> for LimitFields {
    fn from(limit: Limit) -> Self {
        let Limit {
            average,
            peak,
            burst,
        } = limit;
        let peak = (peak != average).then_some(peak);
        Self {
            average,
            peak,
            burst,
        }
    }
}

/// What a limit is on the command line.
const EXPECTED: &str = "use avg=RATE,peak=RATE,burst=SIZE, of which avg is needed, such as avg=100mbit,peak=200mbit,burst=100KiB, or off";

const OFF: &str = "off";

impl fmt::Display for Shaping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::To(Limit {
                average,
                peak,
                burst,
            }) => {
                write!(f, "avg={average},peak={peak},burst={burst}")
            }
        }
    }
}

impl FromStr for Shaping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == OFF {
            return Ok(Self::Off);
        }
        let (mut average, mut peak, mut burst) = (None, None, None);
        for part in text.split(',') {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not NAME=VALUE; {EXPECTED}"))?;
            let of = |problem: String| format!("{name}: {problem}");
            let twice = match name {
                "avg" | "average" => average.replace(value.parse().map_err(of)?).is_some(),
                "peak" => peak.replace(value.parse().map_err(of)?).is_some(),
                "burst" => burst.replace(value.parse().map_err(of)?).is_some(),
                _ => return Err(format!("{name:?} is unknown; {EXPECTED}")),
            };
            if twice {
                return Err(format!("{name:?} stands twice; {EXPECTED}"));
            }
        }
        let average = average.ok_or_else(|| format!("avg is missing; {EXPECTED}"))?;
        Limit::new(average, peak, burst).map(Self::To)
    }
}

impl Serialize for Shaping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::To(limit) => limit.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Shaping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrLimit;

        impl<'de> Visitor<'de> for WordOrLimit {
            type Value = Shaping;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{{average: RATE, peak: RATE, burst: SIZE}} or {OFF}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Shaping, E> {
                match text {
                    OFF => Ok(Shaping::Off),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            /// In YAML 1.1 the plain word `off` is a truth value.
            fn visit_bool<E: Error>(self, value: bool) -> Result<Shaping, E> {
                match value {
                    false => Ok(Shaping::Off),
                    true => Err(E::invalid_value(Unexpected::Bool(true), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Shaping, A::Error> {
                Limit::deserialize(MapAccessDeserializer::new(fields)).map(Shaping::To)
            }
        }

        deserializer.deserialize_any(WordOrLimit)
    }
}

impl JsonSchema for Shaping {
    fn schema_name() -> Cow<'static, str> {
        "Shaping".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A limit, or none: `off`, which some programs write as `false`.",
            "anyOf": [generator.subschema_for::<LimitFields>(), {"enum": [OFF, false]}],
        })
    }
}
