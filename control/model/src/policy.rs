//! A port's policy after inheritance, each leaf with the object that it comes from.

use std::fmt;

use serde::{Deserialize, Serialize};
use weft_vlan::PortgroupVlan;

use crate::error::ModelError;
use crate::intent::{Intent, ObjectRef};
use crate::name::PortName;
use crate::spec::{Decision, Inheritable, Mtu, PortSpec, PortgroupSpec, VswitchSpec};

/// The value of one policy leaf and who decided it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaf<T> {
    /// The value in force.
    pub value: T,
    /// The object that sets it.
    pub from: ObjectRef,
}

/// A port's policy after inheritance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePolicy {
    /// VLAN admission and tagging.
    pub vlan: Leaf<PortgroupVlan>,
    /// Largest payload of a frame.
    pub mtu: Leaf<Mtu>,
    /// Whether the port receives every frame that its VLAN admits.
    pub promiscuous: Leaf<Decision>,
    /// Whether the port is reachable under an address that its guest chose.
    pub mac_changes: Leaf<Decision>,
    /// Whether the port may send from an address that is not its own.
    pub forged_transmits: Leaf<Decision>,
}

impl EffectivePolicy {
    /// Every leaf by the name that it has in manifests, its value as text.
    pub fn leaves(&self) -> Vec<(&'static str, Leaf<String>)> {
        vec![
            ("vlan", self.vlan.as_text()),
            ("mtu", self.mtu.as_text()),
            ("security.promiscuous", self.promiscuous.as_text()),
            ("security.macChanges", self.mac_changes.as_text()),
            ("security.forgedTransmits", self.forged_transmits.as_text()),
        ]
    }
}

impl<T: fmt::Display> Leaf<T> {
    fn as_text(&self) -> Leaf<String> {
        Leaf {
            value: self.value.to_string(),
            from: self.from.clone(),
        }
    }
}

impl Intent {
    /// The policy of a port after inheritance: port group, then switch.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] for a port that does not exist.
    pub fn effective_policy(&self, port: &PortName) -> Result<EffectivePolicy, ModelError> {
        let (_, group, switch) = self.chain(&self.port(port)?.spec)?;
        Ok(inherited(group, switch))
    }

    /// A port with its port group and switch.
    pub(crate) fn chain<'a>(
        &'a self,
        port: &'a PortSpec,
    ) -> Result<(&'a PortSpec, &'a PortgroupSpec, &'a VswitchSpec), ModelError> {
        let group = &self.portgroup(&port.portgroup)?.spec;
        let switch = &self.vswitch(&group.vswitch)?.spec;
        Ok((port, group, switch))
    }
}

/// The policy that a port of this group has.
pub(crate) fn inherited(group: &PortgroupSpec, switch: &VswitchSpec) -> EffectivePolicy {
    let decide = |own: Inheritable, default: Decision| match own.decision() {
        Some(value) => Leaf {
            value,
            from: (&group.name).into(),
        },
        None => Leaf {
            value: default,
            from: (&switch.name).into(),
        },
    };
    EffectivePolicy {
        vlan: Leaf {
            value: group.vlan,
            from: (&group.name).into(),
        },
        mtu: Leaf {
            value: switch.mtu,
            from: (&switch.name).into(),
        },
        promiscuous: decide(group.security.promiscuous, switch.security.promiscuous),
        mac_changes: decide(group.security.mac_changes, switch.security.mac_changes),
        forged_transmits: decide(
            group.security.forged_transmits,
            switch.security.forged_transmits,
        ),
    }
}
