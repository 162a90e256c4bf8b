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

#[cfg(test)]
mod tests {
    use weft_vlan::{PortgroupVlan, VlanId};

    use super::*;

    fn policy(number: u16) -> Policy {
        PortgroupVlan::new(number).expect("0-4095").into()
    }

    fn trunk(vlans: &str) -> Policy {
        Policy::trunk(vlans.parse().expect("a set"))
    }

    fn receivers(set: &PromiscuousSet<u16>, vlan: u16, source: Option<u16>) -> Vec<u16> {
        let mut ports: Vec<u16> = set.receivers(vlan, source).collect();
        ports.sort_unstable();
        ports
    }

    #[test]
    fn nobody_listens_by_default() {
        let set = PromiscuousSet::<u16>::default();
        assert!(set.is_empty());
        assert!(receivers(&set, 0, None).is_empty());
    }

    #[test]
    fn the_vlan_policy_decides() {
        let set = PromiscuousSet::new([
            (1, policy(0)),
            (2, policy(10)),
            (3, policy(4095)),
            (4, trunk("0,20")),
        ]);
        assert!(!set.is_empty());
        assert_eq!(receivers(&set, 0, None), [1, 3, 4]);
        assert_eq!(receivers(&set, 10, None), [2, 3]);
        assert_eq!(receivers(&set, 20, None), [3, 4]);
        assert_eq!(receivers(&set, 4094, None), [3]);
        assert!(receivers(&set, 4095, None).is_empty());
    }

    #[test]
    fn a_port_does_not_receive_its_own() {
        let set = PromiscuousSet::new([(1, policy(4095)), (2, policy(10)), (3, policy(10))]);
        assert_eq!(receivers(&set, 10, Some(1)), [2, 3]);
        assert_eq!(receivers(&set, 10, Some(2)), [1, 3]);
        assert_eq!(receivers(&set, 10, Some(9)), [1, 2, 3]);
    }

    #[test]
    fn agrees_with_asking_every_port() {
        let policies = (0u16..300).map(|port| match port % 4 {
            0 => policy(0),
            1 => Policy::Access(VlanId::new(1 + port % 7).expect("a VLAN")),
            2 => policy(4095),
            _ => trunk(&format!("{}-{}", port % 5, port % 5 + 3)),
        });
        let ports: Vec<(u16, Policy)> = (0..).zip(policies).collect();
        let set = PromiscuousSet::new(ports.clone());
        for vlan in 0..12 {
            for source in [None, Some(0), Some(1), Some(2), Some(3), Some(299)] {
                let asked = ports
                    .iter()
                    .filter(|(port, policy)| policy.admits(vlan) && Some(*port) != source);
                let asked: Vec<u16> = asked.map(|&(port, _)| port).collect();
                assert_eq!(
                    receivers(&set, vlan, source),
                    asked,
                    "VLAN {vlan} from {source:?}"
                );
            }
        }
    }
}
