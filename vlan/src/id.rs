//! The number of a VLAN.

use std::fmt;
use std::str::FromStr;

/// A VLAN that a tag can name, 1-4094 (IEEE 802.1Q-2018 table 9-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanId(u16);

impl VlanId {
    /// The lowest VLAN.
    pub const MIN: Self = Self(1);
    /// The highest VLAN.
    pub const MAX: Self = Self(4094);
    /// The VID that no frame may carry (IEEE 802.1Q-2018 table 9-2).
    pub const RESERVED: u16 = 4095;

    /// The VLAN with this number, if it is 1-4094.
    pub const fn new(id: u16) -> Option<Self> {
        if id >= Self::MIN.0 && id <= Self::MAX.0 {
            Some(Self(id))
        } else {
            None
        }
    }

    /// Its number, 1-4094.
    #[inline]
    pub const fn id(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for VlanId {
    type Error = InvalidVlanId;

    fn try_from(id: u16) -> Result<Self, InvalidVlanId> {
        Self::new(id).ok_or_else(|| InvalidVlanId {
            text: id.to_string(),
        })
    }
}

impl FromStr for VlanId {
    type Err = InvalidVlanId;

    fn from_str(text: &str) -> Result<Self, InvalidVlanId> {
        text.parse()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| InvalidVlanId {
                text: crate::text::shown(text),
            })
    }
}

/// A text or number is not a VLAN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("VLAN {text} is out of range: 1-4094")]
pub struct InvalidVlanId {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_1_to_4094() {
        for id in 0..=u16::MAX {
            let valid = (1..=4094).contains(&id);
            assert_eq!(VlanId::new(id).map(VlanId::id), valid.then_some(id));
            assert_eq!(id.to_string().parse::<VlanId>().is_ok(), valid);
        }
    }

    #[test]
    fn errors_say_the_range() {
        for text in ["0", "4095", "65536", "x"] {
            let error = text.parse::<VlanId>().expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("VLAN {text} is out of range: 1-4094")
            );
        }
        assert_eq!(
            VlanId::try_from(4095).expect_err("reserved"),
            "4095".parse::<VlanId>().expect_err("reserved")
        );
    }
}
