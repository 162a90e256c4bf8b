//! Ports that see what passes through their switch.

use std::sync::Arc;

use weft_vlan::{Policy, VlanSet};

/// The ports of one switch on which promiscuous mode is accepted, `P` being what names a port. Immutable: it is built
/// with the snapshot, and poll threads read it.
///
/// A promiscuous port receives every frame of the switch on this host that its VLAN policy admits.
#[derive(Clone, Debug)]
pub struct PromiscuousSet<P> {
    /// Ports in one VLAN (0: external), by VLAN: a frame costs what the ports of its own VLAN cost.
    single: Box<[(u16, P)]>,
    trunks: Box<[(Arc<VlanSet>, P)]>,
}

impl<P: Copy + Eq> PromiscuousSet<P> {
    /// The set of these ports with their VLAN policies.
    pub fn new(ports: impl IntoIterator<Item = (P, Policy)>) -> Self {
        let mut single = Vec::new();
        let mut trunks = Vec::new();
        for (port, policy) in ports {
            match policy {
                Policy::External => single.push((0, port)),
                Policy::Access(vlan) => single.push((vlan.id(), port)),
                Policy::Trunk(vlans) => trunks.push((vlans, port)),
            }
        }
        single.sort_by_key(|&(vlan, _)| vlan);
        Self {
            single: single.into(),
            trunks: trunks.into(),
        }
    }

    /// Whether no port is promiscuous, the common case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.single.is_empty() && self.trunks.is_empty()
    }

    /// The ports that receive a frame in VLAN `vlan` (0: untagged) sent by `source`, which does not receive its own.
    #[inline]
    pub fn receivers(&self, vlan: u16, source: Option<P>) -> impl Iterator<Item = P> + '_ {
        let from = self.single.partition_point(|&(of_port, _)| of_port < vlan);
        let in_vlan = self.single[from..]
            .iter()
            .take_while(move |&&(of_port, _)| of_port == vlan);
        let trunks = self
            .trunks
            .iter()
            .filter(move |(vlans, _)| vlans.contains(vlan));
        let ports = in_vlan
            .map(|&(_, port)| port)
            .chain(trunks.map(|&(_, port)| port));
        ports.filter(move |&port| Some(port) != source)
    }
}

impl<P: Copy + Eq> Default for PromiscuousSet<P> {
    fn default() -> Self {
        Self::new([])
    }
}
