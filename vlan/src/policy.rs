//! The VLAN policy of a port.

use std::sync::{Arc, LazyLock};

use crate::{PortgroupVlan, VlanId, VlanSet};

/// What a port does with VLANs, ready for the packet path. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// No VLAN: the port sends and sees untagged frames of VLAN 0. Tagging, if any, is the physical switch's matter.
    External,
    /// One VLAN, whose tag the port does not see: the switch adds and removes it.
    Access(VlanId),
    /// The VLANs in the set, with their tags; 0 in it stands for untagged frames.
    Trunk(Arc<VlanSet>),
}

impl Policy {
    /// A trunk that carries every VLAN and untagged frames: port group VLAN 4095, and uplinks. All such policies share
    /// one set.
    pub fn trunk_all() -> Self {
        static ALL: LazyLock<Arc<VlanSet>> = LazyLock::new(|| Arc::new(VlanSet::all()));
        Self::Trunk(Arc::clone(&ALL))
    }

    /// A trunk that carries these VLANs.
    pub fn trunk(vlans: VlanSet) -> Self {
        Self::Trunk(Arc::new(vlans))
    }

    /// Whether the port is in a forwarding domain, where 0 is untagged.
    #[inline]
    pub fn admits(&self, vlan: u16) -> bool {
        match self {
            Self::External => vlan == 0,
            Self::Access(id) => vlan == id.id(),
            Self::Trunk(set) => set.contains(vlan),
        }
    }
}

impl From<PortgroupVlan> for Policy {
    fn from(vlan: PortgroupVlan) -> Self {
        match (vlan, VlanId::new(vlan.number())) {
            (PortgroupVlan::NONE, _) => Self::External,
            (_, Some(id)) => Self::Access(id),
            (_, None) => Self::trunk_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership() {
        let access = Policy::Access(VlanId::new(10).expect("a VLAN"));
        let trunk = Policy::trunk("0-9,20".parse().expect("a set"));
        for vlan in 0..=u16::MAX {
            assert_eq!(Policy::External.admits(vlan), vlan == 0);
            assert_eq!(access.admits(vlan), vlan == 10);
            assert_eq!(trunk.admits(vlan), vlan < 10 || vlan == 20);
            assert_eq!(Policy::trunk_all().admits(vlan), vlan <= 4094);
        }
    }

    #[test]
    fn trunks_of_everything_share_their_set() {
        let (Policy::Trunk(a), Policy::Trunk(b)) = (Policy::trunk_all(), Policy::trunk_all())
        else {
            panic!("a trunk is a trunk");
        };
        assert!(Arc::ptr_eq(&a, &b));
    }
}
