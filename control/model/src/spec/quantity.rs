//! Amounts with units: rates, sizes and times, each within the range that makes sense for it.

mod range;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// An amount of one kind, in its smallest unit. As text it has its largest exact unit: 1500000 bits per second are
/// `1500kbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity<K>(u64, PhantomData<K>);

/// What is measured.
pub trait Kind {
    /// It in words, with its article.
    const WHAT: &'static str;
    /// Its units, smallest first, and how many of the smallest each is.
    const UNITS: &'static [(&'static str, u64)];
    /// Its least value, in the smallest unit.
    const LEAST: u64;
    /// Its greatest value, in the smallest unit.
    const MOST: u64;
    /// A value as somebody would write it.
    const EXAMPLE: &'static str;
}

/// A kind that has a value where nobody names one.
pub trait WithDefault: Kind {
    /// It, in the smallest unit.
    const DEFAULT: u64;
}

/// Bits per second of whole frames, 8kbit-400gbit: `100mbit`.
pub type Rate = Quantity<RateKind>;

/// Octets that may pass at once, 1500B-1GiB: `100KiB`. vSphere's default of 102,400 KB.
pub type Burst = Quantity<BurstKind>;

/// A time within a range, in milliseconds, with a default: `60s`.
pub type Time<const LEAST: u64, const MOST: u64, const DEFAULT: u64> =
    Quantity<TimeKind<LEAST, MOST, DEFAULT>>;

/// A time within a range, in whole seconds, with a default: `60s`.
pub type Seconds<const LEAST: u64, const MOST: u64, const DEFAULT: u64> =
    Quantity<SecondsKind<LEAST, MOST, DEFAULT>>;

/// The kind of [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RateKind {}

impl Kind for RateKind {
    const WHAT: &'static str = "a rate";
    const UNITS: &'static [(&'static str, u64)] = &[
        ("bit", 1),
        ("kbit", 1_000),
        ("mbit", 1_000_000),
        ("gbit", 1_000_000_000),
    ];
    const LEAST: u64 = 8_000;
    const MOST: u64 = 400_000_000_000;
    const EXAMPLE: &'static str = "100mbit";
}

/// The kind of [`Burst`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BurstKind {}

impl Kind for BurstKind {
    const WHAT: &'static str = "a size";
    const UNITS: &'static [(&'static str, u64)] = &[
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    const LEAST: u64 = 1_500;
    const MOST: u64 = 1 << 30;
    const EXAMPLE: &'static str = "100KiB";
}

impl WithDefault for BurstKind {
    const DEFAULT: u64 = 100 << 20;
}

/// The kind of [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeKind<const LEAST: u64, const MOST: u64, const DEFAULT: u64> {}

impl<const LEAST: u64, const MOST: u64, const DEFAULT: u64> Kind
    for TimeKind<LEAST, MOST, DEFAULT>
{
    const WHAT: &'static str = "a time";
    const UNITS: &'static [(&'static str, u64)] =
        &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    const LEAST: u64 = LEAST;
    const MOST: u64 = MOST;
    const EXAMPLE: &'static str = "60s";
}

impl<const LEAST: u64, const MOST: u64, const DEFAULT: u64> WithDefault
    for TimeKind<LEAST, MOST, DEFAULT>
{
    const DEFAULT: u64 = DEFAULT;
}

/// The kind of [`Seconds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecondsKind<const LEAST: u64, const MOST: u64, const DEFAULT: u64> {}

impl<const LEAST: u64, const MOST: u64, const DEFAULT: u64> Kind
    for SecondsKind<LEAST, MOST, DEFAULT>
{
    const WHAT: &'static str = "a time in whole seconds";
    const UNITS: &'static [(&'static str, u64)] = &[("s", 1), ("m", 60), ("h", 3_600)];
    const LEAST: u64 = LEAST;
    const MOST: u64 = MOST;
    const EXAMPLE: &'static str = "60s";
}

impl<const LEAST: u64, const MOST: u64, const DEFAULT: u64> WithDefault
    for SecondsKind<LEAST, MOST, DEFAULT>
{
    const DEFAULT: u64 = DEFAULT;
}

impl Rate {
    /// The rate in bits per second.
    pub fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl Burst {
    /// The size in octets.
    pub fn octets(self) -> u64 {
        self.0
    }
}

impl<const LEAST: u64, const MOST: u64, const DEFAULT: u64> Time<LEAST, MOST, DEFAULT> {
    /// The time.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<const LEAST: u64, const MOST: u64, const DEFAULT: u64> Seconds<LEAST, MOST, DEFAULT> {
    /// The time.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl<K: Kind> Quantity<K> {
    /// What a text has to be, to be one.
    pub fn expected() -> String {
        let range = format!("{}-{}", shown(K::LEAST, K::UNITS), shown(K::MOST, K::UNITS));
        format!("use {range}, such as {}", K::EXAMPLE)
    }
}

impl<K: WithDefault> Default for Quantity<K> {
    fn default() -> Self {
        Self(K::DEFAULT, PhantomData)
    }
}

impl<K: Kind> fmt::Display for Quantity<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.0, K::UNITS))
    }
}

/// An amount in its largest exact unit.
fn shown(amount: u64, units: &[(&str, u64)]) -> String {
    let exact = |unit: &&(&str, u64)| amount >= unit.1 && amount.is_multiple_of(unit.1);
    let (unit, factor) = units.iter().rev().find(exact).unwrap_or(&units[0]);
    format!("{}{unit}", amount / factor)
}

/// Digits and a unit, and nothing else: each spelling of a number the only one.
impl<K: Kind> FromStr for Quantity<K> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text.find(|char: char| !char.is_ascii_digit());
        let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
        let (what, expected) = (K::WHAT, Self::expected());
        let known = K::UNITS.iter().find(|(known, _)| *known == unit);
        let padded = digits.len() > 1 && digits.starts_with('0');
        let Some((_, factor)) = known.filter(|_| !digits.is_empty() && !padded) else {
            let units: Vec<_> = K::UNITS.iter().map(|(unit, _)| *unit).collect();
            return Err(format!(
                "{text:?} is not {what} (a whole number and one of {}); {expected}",
                units.join(", ")
            ));
        };
        let amount = digits
            .parse()
            .ok()
            .and_then(|number: u64| number.checked_mul(*factor));
        let fitting = amount.filter(|amount| (K::LEAST..=K::MOST).contains(amount));
        let fitting = fitting.ok_or_else(|| format!("{text} is out of range; {expected}"))?;
        Ok(Self(fitting, PhantomData))
    }
}

impl<K: Kind> Serialize for Quantity<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Quantity<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<K>(PhantomData<K>);

        impl<K: Kind> Visitor<'_> for Text<K> {
            type Value = Quantity<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} such as {}", K::WHAT, K::EXAMPLE)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity<K>, E> {
                text.parse().map_err(E::custom)
            }

            /// A number without a unit.
            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity<K>, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_str(Text(PhantomData))
    }
}

impl<K: Kind> JsonSchema for Quantity<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        K::WHAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": range::pattern(K::UNITS, K::LEAST, K::MOST),
            "examples": [K::EXAMPLE],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type UpDelay = Time<0, 1_800_000, 100>;
    type Active = Seconds<1, 3_600, 60>;

    #[test]
    fn amounts_are_shown_in_their_largest_exact_unit() {
        for (text, canonical) in [
            ("8000bit", "8kbit"),
            ("8001bit", "8001bit"),
            ("1000mbit", "1gbit"),
            ("1500mbit", "1500mbit"),
            ("400gbit", "400gbit"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(rate));
        }
        for (text, canonical) in [
            ("1500B", "1500B"),
            ("102400KiB", "100MiB"),
            ("1024MiB", "1GiB"),
        ] {
            assert_eq!(text.parse::<Burst>().unwrap().to_string(), canonical);
        }
        for (text, canonical) in [
            ("0s", "0ms"),
            ("60s", "1m"),
            ("90s", "90s"),
            ("1800000ms", "30m"),
        ] {
            assert_eq!(text.parse::<UpDelay>().unwrap().to_string(), canonical);
        }
        for (text, canonical) in [("1s", "1s"), ("60s", "1m"), ("60m", "1h")] {
            assert_eq!(text.parse::<Active>().unwrap().to_string(), canonical);
        }
        assert_eq!(
            "2m".parse::<Active>().unwrap().duration(),
            Duration::from_secs(120)
        );
        assert_eq!(Active::default().to_string(), "1m");
        assert_eq!("64kbit".parse::<Rate>().unwrap().bits_per_second(), 64_000);
        assert_eq!("10MiB".parse::<Burst>().unwrap().octets(), 10 << 20);
        assert_eq!(
            "5m".parse::<UpDelay>().unwrap().duration(),
            Duration::from_secs(300)
        );
        assert_eq!(Burst::default().to_string(), "100MiB");
        assert_eq!(UpDelay::default().to_string(), "100ms");
    }

    #[test]
    fn what_is_none_says_what_is_expected() {
        let rate = |text: &str| text.parse::<Rate>().unwrap_err();
        assert_eq!(
            rate("100"),
            "\"100\" is not a rate (a whole number and one of bit, kbit, mbit, gbit); use 8kbit-400gbit, such as 100mbit"
        );
        for text in [
            "", "mbit", "1.5gbit", "-1mbit", "+1mbit", "01mbit", "1 mbit", "1Mbit", "1mbit ", "1mb",
        ] {
            assert!(rate(text).contains("is not a rate"), "{text}");
        }
        for text in [
            "7999bit",
            "401gbit",
            "0bit",
            "99999999999999999999gbit",
            "18446744073709552gbit",
        ] {
            assert_eq!(
                rate(text),
                format!("{text} is out of range; use 8kbit-400gbit, such as 100mbit")
            );
        }
        assert!("1KiB".parse::<Burst>().is_err());
        for text in ["1500ms", "60000ms", "1.5s"] {
            assert_eq!(
                text.parse::<Active>().unwrap_err(),
                format!(
                    "{text:?} is not a time in whole seconds (a whole number and one of s, m, h); use 1s-1h, such as 60s"
                )
            );
        }
        assert_eq!(
            "3601s".parse::<Active>().unwrap_err(),
            "3601s is out of range; use 1s-1h, such as 60s"
        );
        assert!(
            "31m"
                .parse::<UpDelay>()
                .unwrap_err()
                .contains("use 0ms-30m")
        );
    }
}
