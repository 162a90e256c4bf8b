//! A set of VLANs.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A set of forwarding domains, 0-4094, where 0 stands for untagged frames. Looking one up is one load.
///
/// As text it is a list of numbers and ranges, such as `0-100,200`; the empty set is the empty text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VlanSet {
    /// One bit for each, the lowest first. The bit of 4095 is never set.
    bits: [u64; WORDS],
}

const WORDS: usize = 64;

/// The highest member.
const MAX: u16 = 4094;

impl VlanSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { bits: [0; WORDS] }
    }

    /// Everything from 0 to 4094.
    pub const fn all() -> Self {
        let mut bits = [u64::MAX; WORDS];
        bits[WORDS - 1] = u64::MAX >> 1;
        Self { bits }
    }

    /// The VLANs of all ranges, which may overlap.
    ///
    /// # Errors
    ///
    /// If a range goes beyond 4094 or its first number is above its last.
    pub fn from_ranges(
        ranges: impl IntoIterator<Item = RangeInclusive<u16>>,
    ) -> Result<Self, InvalidVlanSet> {
        let mut set = Self::new();
        for range in ranges {
            set.insert_range(range)?;
        }
        Ok(set)
    }

    /// Adds a VLAN, where 0 stands for untagged frames.
    ///
    /// # Errors
    ///
    /// If it is above 4094.
    pub fn insert(&mut self, vlan: u16) -> Result<(), InvalidVlanSet> {
        self.insert_range(vlan..=vlan)
    }

    /// Adds a range of VLANs.
    ///
    /// # Errors
    ///
    /// If it goes beyond 4094 or its first number is above its last; then nothing is added.
    pub fn insert_range(&mut self, range: RangeInclusive<u16>) -> Result<(), InvalidVlanSet> {
        let (first, last) = (*range.start(), *range.end());
        if first > last {
            return Err(InvalidVlanSet::Backwards { first, last });
        }
        if last > MAX {
            return Err(InvalidVlanSet::OutOfRange {
                text: last.to_string(),
            });
        }
        for vlan in range {
            self.bits[usize::from(vlan / 64)] |= 1 << (vlan % 64);
        }
        Ok(())
    }

    /// Whether it holds a VLAN, where 0 stands for untagged frames.
    #[inline]
    pub fn contains(&self, vlan: u16) -> bool {
        self.bits
            .get(usize::from(vlan / 64))
            .is_some_and(|word| word >> (vlan % 64) & 1 != 0)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|&word| word == 0)
    }

    /// How many VLANs it holds.
    pub fn len(&self) -> usize {
        self.bits
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Its members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..=MAX).filter(|&vlan| self.contains(vlan))
    }

    /// Its members as the fewest ranges, in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = (next..=MAX).find(|&vlan| self.contains(vlan))?;
            next = (first..=MAX)
                .find(|&vlan| !self.contains(vlan))
                .unwrap_or(MAX + 1);
            Some(first..=next - 1)
        })
    }
}

impl Default for VlanSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VlanSet({self})")
    }
}

impl fmt::Display for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl FromStr for VlanSet {
    type Err = InvalidVlanSet;

    fn from_str(text: &str) -> Result<Self, InvalidVlanSet> {
        let mut set = Self::new();
        if text.trim().is_empty() {
            return Ok(set);
        }
        for part in text.split(',').map(str::trim) {
            let range = match part.split_once('-') {
                Some((first, last)) => parse_vlan(first, part)?..=parse_vlan(last, part)?,
                None => {
                    let vlan = parse_vlan(part, part)?;
                    vlan..=vlan
                }
            };
            set.insert_range(range)?;
        }
        Ok(set)
    }
}

fn parse_vlan(text: &str, part: &str) -> Result<u16, InvalidVlanSet> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidVlanSet::Syntax {
            text: crate::text::shown(part),
        });
    }
    // Digits only, so that it can fail only for being too large.
    text.parse().map_err(|_| InvalidVlanSet::OutOfRange {
        text: crate::text::shown(text),
    })
}

/// A text or range is not a set of VLANs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVlanSet {
    /// A number above 4094.
    #[error("VLAN {text} is out of range: 0 (untagged) or 1-4094")]
    OutOfRange {
        /// What was written.
        text: String,
    },
    /// A range from a higher to a lower number.
    #[error("VLAN range {first}-{last} is backwards: write {last}-{first}")]
    Backwards {
        /// The number written first.
        first: u16,
        /// The number written last.
        last: u16,
    },
    /// Neither a number nor a range.
    #[error("{text:?} is neither a VLAN nor a range of VLANs: expected a list such as 0-100,200")]
    Syntax {
        /// What was written.
        text: String,
    },
}

#[cfg(feature = "serde")]
mod serde_text {
    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::fmt;

    use super::VlanSet;

    impl Serialize for VlanSet {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for VlanSet {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Text)
        }
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = VlanSet;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of VLANs as text, such as \"0-100,200\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<VlanSet, E> {
            text.parse().map_err(E::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_is_0_to_4094() {
        assert_eq!(VlanSet::all().to_string(), "0-4094");
        assert_eq!("0-4094".parse(), Ok(VlanSet::all()));
        assert_eq!(VlanSet::all().len(), 4095);
        assert!(!VlanSet::all().contains(4095) && !VlanSet::all().contains(u16::MAX));
    }

    #[test]
    fn reads_what_administrators_write() {
        for (text, shown) in [
            ("0-100,200", "0-100,200"),
            ("200, 0 - 100", "0-100,200"),
            ("1,2,3", "1-3"),
            ("10-20,15-30,30-31", "10-31"),
            ("4094", "4094"),
            ("", ""),
        ] {
            assert_eq!(text.parse::<VlanSet>().expect(text).to_string(), shown);
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, error) in [
            ("4095", "VLAN 4095 is out of range: 0 (untagged) or 1-4094"),
            (
                "1-99999",
                "VLAN 99999 is out of range: 0 (untagged) or 1-4094",
            ),
            ("20-10", "VLAN range 20-10 is backwards: write 10-20"),
            (
                "1,,2",
                "\"\" is neither a VLAN nor a range of VLANs: expected a list such as 0-100,200",
            ),
            (
                "1-",
                "\"1-\" is neither a VLAN nor a range of VLANs: expected a list such as 0-100,200",
            ),
            (
                "1-2-3",
                "\"1-2-3\" is neither a VLAN nor a range of VLANs: expected a list such as 0-100,200",
            ),
            (
                "+1",
                "\"+1\" is neither a VLAN nor a range of VLANs: expected a list such as 0-100,200",
            ),
            (
                "all",
                "\"all\" is neither a VLAN nor a range of VLANs: expected a list such as 0-100,200",
            ),
        ] {
            assert_eq!(text.parse::<VlanSet>().expect_err(text).to_string(), error);
        }
    }

    #[test]
    fn a_refused_range_adds_nothing() {
        let mut set = VlanSet::new();
        assert!(set.insert_range(4000..=4095).is_err());
        assert!(set.insert(4095).is_err());
        assert!(set.is_empty());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn is_a_string_to_serde() {
        use serde::de::IntoDeserializer;
        use serde::de::value::Error;
        use serde::{Deserialize, Serialize};

        struct Shown(VlanSet);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.serialize(f)
            }
        }

        let read = |text: &'static str| {
            VlanSet::deserialize(IntoDeserializer::<Error>::into_deserializer(text))
        };
        let set = read("0-100,200").expect("a set");
        assert_eq!(Shown(set).to_string(), "0-100,200");
        assert!(
            read("20-10")
                .expect_err("backwards")
                .to_string()
                .contains("backwards")
        );
    }

    proptest! {
        #[test]
        fn is_the_set_of_its_ranges(
            ranges in prop::collection::vec((0..=MAX, 0u16..200).prop_map(|(first, more)| first..=(first + more).min(MAX)), 0..8),
        ) {
            let members: BTreeSet<u16> = ranges.iter().cloned().flatten().collect();
            let set = VlanSet::from_ranges(ranges).expect("in range");
            prop_assert_eq!(set.len(), members.len());
            prop_assert_eq!(set.is_empty(), members.is_empty());
            prop_assert!(set.iter().eq(members.iter().copied()));
            prop_assert!(set.ranges().flatten().eq(members.iter().copied()));
            prop_assert!((0..=u16::MAX).all(|vlan| set.contains(vlan) == members.contains(&vlan)));
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }

        #[test]
        fn no_text_panics(text: String, near in "[0-9, -]{0,30}") {
            let _ = text.parse::<VlanSet>();
            let _ = near.parse::<VlanSet>();
        }
    }
}
