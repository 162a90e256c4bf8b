//! What a change means for ports: which it touches, and whose traffic pauses.

use std::collections::{BTreeMap, BTreeSet};

use weft_datapath::PortId;
use weft_model::{InterfaceName, ObjectKind, ObjectRef, PortKey, PortName};

use super::Host;
use crate::addresses::{Addresses, Conflict};
use crate::state::State;
use crate::wanted::Wanted;

/// What a change means for ports.
#[derive(Clone, Debug)]
pub(super) struct Consequences {
    /// Ports that stay and whose settings in force change.
    pub(super) ports: Vec<PortName>,
    /// Ports and uplinks that stay and are opened anew.
    pub(super) interrupted: Vec<ObjectRef>,
    /// Interfaces that are taken or released.
    pub(super) interfaces: Vec<InterfaceName>,
    /// What the operator should know, each a full sentence.
    pub(super) warnings: Vec<String>,
}

impl Host {
    /// What becomes of ports between two states.
    pub(super) fn consequences(&self, before: &State, next: &State) -> Consequences {
        let addresses = self.addresses().clone();
        let mut settled_addresses = addresses.clone();
        let settled = settled_addresses.settle(&next.intent);
        let configs = |state: &State, addresses: &Addresses| -> BTreeMap<PortId, _> {
            let ports = state.compile(addresses).ports.into_iter();
            ports.map(|port| (port.id, port)).collect()
        };
        let (old, new) = (
            configs(before, &addresses),
            configs(next, &settled_addresses),
        );
        let differs = |name: &&PortName| {
            let id = before.id(&PortKey::Port((*name).clone()));
            id.is_some_and(|id| new.contains_key(&id) && old.get(&id) != new.get(&id))
        };
        let ports = before.intent.ports.keys().filter(differs).cloned();
        let (was, is) = (before.wanted(), next.wanted());
        let reopened = is
            .iter()
            .filter(|(key, wanted)| was.get(key).is_some_and(|old| !old.serves(wanted)));
        let mut warnings: Vec<_> = settled
            .displaced
            .iter()
            .map(|Conflict { port, mac, holder }| {
                format!(
                    "Port {port} loses the address {mac}, which its guest uses, to port {holder}."
                )
            })
            .collect();
        let interrupted: Vec<_> = reopened.map(|(key, _)| object(key)).collect();
        match interrupted.len() {
            0 => {}
            1 => warnings.push(
                "The engine of 1 port or uplink is opened anew; its traffic pauses.".to_owned(),
            ),
            several => warnings.push(format!(
                "The engines of {several} ports and uplinks are opened anew; their traffic pauses."
            )),
        }
        Consequences {
            ports: ports.collect(),
            interrupted,
            interfaces: moved(&was, &is),
            warnings,
        }
    }
}

/// Interfaces that somebody else uses after the change, or nobody.
fn moved(was: &BTreeMap<PortKey, Wanted>, is: &BTreeMap<PortKey, Wanted>) -> Vec<InterfaceName> {
    let held = |wanted: &BTreeMap<PortKey, Wanted>| -> BTreeSet<(InterfaceName, PortKey)> {
        let holders = wanted.iter();
        holders
            .filter_map(|(key, wanted)| Some((wanted.interface()?.clone(), key.clone())))
            .collect()
    };
    let (was, is) = (held(was), held(is));
    let interfaces: BTreeSet<_> = was
        .symmetric_difference(&is)
        .map(|(interface, _)| interface.clone())
        .collect();
    interfaces.into_iter().collect()
}

/// A port or uplink as an object.
pub(super) fn object(key: &PortKey) -> ObjectRef {
    match key {
        PortKey::Port(name) => name.into(),
        PortKey::Uplink(interface) => ObjectRef::new(ObjectKind::Uplink, interface),
    }
}
