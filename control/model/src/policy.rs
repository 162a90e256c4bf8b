//! A port's policy after inheritance, each leaf with the object that it comes from.

use std::fmt;

use serde::{Deserialize, Serialize};
use weft_vlan::PortgroupVlan;

use crate::error::ModelError;
use crate::intent::{Intent, ObjectRef};
use crate::name::{PortName, PortgroupName, VswitchName};
use crate::spec::{
    Decision, EffectiveLearning, EffectiveShaping, EffectiveTeaming, Inheritable, Mtu, PortSpec,
    PortgroupSpec, Setting, Toggle, VswitchSpec,
};

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
    /// By which uplinks the port reaches the world; those in use are by name.
    pub teaming: EffectiveTeaming,
    /// Limits on what passes the port.
    pub shaping: EffectiveShaping,
    /// Whether addresses behind the port are learned.
    pub mac_learning: EffectiveLearning,
    /// Whether spanning tree frames of the guest are dropped.
    pub bpdu_filter: Leaf<Toggle>,
    /// Whether the port's flows are counted and told to the collectors of its switch.
    pub netflow: Leaf<Toggle>,
}

impl EffectivePolicy {
    /// Every leaf by the name that it has in manifests, its value as text.
    pub fn leaves(&self) -> Vec<(&'static str, Leaf<String>)> {
        let mut leaves = vec![
            ("vlan", self.vlan.as_text()),
            ("mtu", self.mtu.as_text()),
            ("security.promiscuous", self.promiscuous.as_text()),
            ("security.macChanges", self.mac_changes.as_text()),
            ("security.forgedTransmits", self.forged_transmits.as_text()),
        ];
        leaves.extend(self.teaming.leaves());
        leaves.extend(self.shaping.leaves());
        leaves.extend(self.mac_learning.leaves());
        leaves.push(("bpduFilter", self.bpdu_filter.as_text()));
        leaves.push(("netflow", self.netflow.as_text()));
        leaves
    }
}

impl<T: fmt::Display> Leaf<T> {
    pub(crate) fn as_text(&self) -> Leaf<String> {
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

    /// The policy that ports of a port group have.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] for a port group that does not exist.
    pub fn portgroup_policy(&self, name: &PortgroupName) -> Result<EffectivePolicy, ModelError> {
        let group = &self.portgroup(name)?.spec;
        let switch = &self.vswitch(&group.vswitch)?.spec;
        Ok(inherited(group, switch))
    }

    /// The ports of a switch whose flows are counted.
    pub fn metered_ports<'a>(
        &'a self,
        vswitch: &'a VswitchName,
    ) -> impl Iterator<Item = &'a PortSpec> {
        let switch = self.vswitches.get(vswitch).map(|object| &object.spec);
        let ports = self.ports.values().map(|object| &object.spec);
        ports.filter(move |port| {
            let group = self.portgroups.get(&port.portgroup);
            let group = group.filter(|group| group.spec.vswitch == *vswitch);
            let toggle = group.zip(switch).map(|(group, switch)| {
                let own = group.spec.netflow.own();
                own.copied().unwrap_or(switch.netflow)
            });
            toggle == Some(Toggle::Enabled)
        })
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
    let (own, default) = (
        &ObjectRef::from(&group.name),
        &ObjectRef::from(&switch.name),
    );
    let decide = |leaf: Inheritable, inherited: Decision| match leaf.decision() {
        Some(value) => own.decides(value),
        None => default.decides(inherited),
    };
    let toggle = |leaf: Setting<Toggle>, inherited: Toggle| match leaf.own() {
        Some(value) => own.decides(*value),
        None => default.decides(inherited),
    };
    EffectivePolicy {
        vlan: own.decides(group.vlan),
        mtu: default.decides(switch.mtu),
        promiscuous: decide(group.security.promiscuous, switch.security.promiscuous),
        mac_changes: decide(group.security.mac_changes, switch.security.mac_changes),
        forged_transmits: decide(
            group.security.forged_transmits,
            switch.security.forged_transmits,
        ),
        teaming: EffectiveTeaming::on(
            &switch.uplinks,
            (&group.teaming, own),
            (&switch.teaming, default),
        ),
        shaping: EffectiveShaping::inherited((&group.shaping, own), (&switch.shaping, default)),
        mac_learning: EffectiveLearning::inherited(
            (&group.mac_learning, own),
            (&switch.mac_learning, default),
        ),
        bpdu_filter: toggle(group.bpdu_filter, switch.bpdu_filter),
        netflow: toggle(group.netflow, switch.netflow),
    }
}

impl ObjectRef {
    /// A leaf that this object sets.
    fn decides<T>(&self, value: T) -> Leaf<T> {
        Leaf {
            value,
            from: self.clone(),
        }
    }
}
