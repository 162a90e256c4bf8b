//! A leaf that is set, or left to the object above.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{
    Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Serialize, Serializer};

/// The word for a leaf that is left to the object above.
const INHERIT: &str = "inherit";

/// A leaf that is set, or left to the object above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Setting<T> {
    /// As the object above says.
    #[default]
    Inherit,
    /// Set here.
    Own(T),
}

impl<T> Setting<T> {
    /// The value, where one is set here.
    pub fn own(&self) -> Option<&T> {
        match self {
            Self::Inherit => None,
            Self::Own(value) => Some(value),
        }
    }

    /// The same of a value in another form.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Self::Inherit => Setting::Inherit,
            Self::Own(value) => Setting::Own(form(value)),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherit => f.write_str(INHERIT),
            Self::Own(value) => value.fmt(f),
        }
    }
}

impl<T: FromStr<Err = String>> FromStr for Setting<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == INHERIT {
            return Ok(Self::Inherit);
        }
        text.parse().map(Self::Own).map_err(|problem| {
            // One more of the words that may stand there, or another way than that of the value.
            let or = if problem.contains("is not one of: ") {
                ""
            } else {
                "or "
            };
            format!("{problem}, {or}{INHERIT}")
        })
    }
}

impl<T: Serialize> Serialize for Setting<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inherit => serializer.serialize_str(INHERIT),
            Self::Own(value) => value.serialize(serializer),
        }
    }
}

/// By what stands there, so that an error is that of the value.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrValue<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for WordOrValue<T> {
            type Value = Setting<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a value or {INHERIT}; or leave the field out")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Setting<T>, E> {
                if text == INHERIT {
                    return Ok(Setting::Inherit);
                }
                T::deserialize(text.into_deserializer()).map(Setting::Own)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Setting<T>, E> {
                T::deserialize(value.into_deserializer()).map(Setting::Own)
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Setting<T>, E> {
                T::deserialize(value.into_deserializer()).map(Setting::Own)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Setting<T>, E> {
                T::deserialize(value.into_deserializer()).map(Setting::Own)
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Setting<T>, E> {
                T::deserialize(value.into_deserializer()).map(Setting::Own)
            }

            /// Nothing, behind the colon or as `null`.
            fn visit_unit<E: Error>(self) -> Result<Setting<T>, E> {
                Err(E::custom(
                    "the value is missing; write one, or leave the field out",
                ))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Setting<T>, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(items)).map(Setting::Own)
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Setting<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Setting::Own)
            }
        }

        deserializer.deserialize_any(WordOrValue(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Setting<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Setting_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<T>(), {"const": INHERIT}]})
    }
}
