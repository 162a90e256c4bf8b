//! What a change means for ports: which it touches, and whose traffic pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weft_datapath::{Admission, Config, PortConfig, PortId, TeamConfig, TeamId};
use weft_model::{InterfaceName, ObjectRef, PortKey, PortName};

use super::Host;
use crate::addresses::{Addresses, Conflict};
use crate::host::status::object;
use crate::state::State;
use crate::wanted::Wanted;

/// The settings of a port.
#[derive(PartialEq, Eq)]
struct InForce {
    port: PortConfig,
    /// The uplinks by which it leaves its switch.
    team: Option<TeamConfig>,
}

/// What a change means for ports.
#[derive(Clone, Debug)]
pub(super) struct Consequences {
    /// Ports that stay and whose settings in force change.
    pub(super) ports: Vec<PortName>,
    /// Ports and uplinks whose traffic stops or pauses: they go, close, are opened anew, or have another IP address, VLAN or switch
    /// then.
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
        let configs = |state: &State, addresses: &Addresses| -> BTreeMap<PortId, InForce> {
            let Config { teams, ports, .. } = state.compile(addresses);
            let in_force = |port: PortConfig| {
                // The number of a team says nothing about it.
                let team = port
                    .team
                    .map(|TeamId(index)| teams[usize::from(index)].clone());
                let port = PortConfig { team: None, ..port };
                (port.id, InForce { port, team })
            };
            ports.into_iter().map(in_force).collect()
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
        let reopened: Vec<_> = is
            .iter()
            .filter(|(key, wanted)| {
                was.get(key)
                    .is_some_and(|old| !old.keeps_its_engine(wanted))
            })
            .map(|(key, _)| key)
            .collect();
        let address = |wanted: &Wanted| Some(wanted.adapter()?.ip?.address());
        // What moves to another one of the host's own interfaces keeps its connections.
        let kept: BTreeSet<IpAddr> = is.values().filter_map(address).collect();
        let lost = was.iter().filter(|(key, _)| is.contains_key(key));
        let lost = lost.filter_map(|(key, was)| Some((key, address(was)?)));
        let lost: Vec<_> = lost.filter(|(_, ip)| !kept.contains(ip)).collect();
        let mut warnings: Vec<_> = settled
            .displaced
            .iter()
            .map(|Conflict { port, mac, holder }| {
                format!(
                    "Port {port} loses the address {mac}, which its guest uses, to port {holder}."
                )
            })
            .collect();
        warnings.extend(lost.iter().map(|(key, ip)| {
            let object = next.object_of(key);
            format!("The address {ip} of {object} is given up; connections over it end.")
        }));
        match reopened.as_slice() {
            [] => {}
            [one] => warnings.push(format!(
                "The engine of {} is opened anew; its traffic pauses.",
                next.object_of(one)
            )),
            several => warnings.push(format!(
                "{} engines are opened anew; their traffic pauses.",
                several.len()
            )),
        }
        // What is open and does not stay so, or is elsewhere then, has conversations that end.
        let is_cut = |key: &&PortKey| {
            let config = |configs: &BTreeMap<PortId, InForce>, state: &State| {
                let InForce { port, .. } = configs.get(&state.id(key)?)?;
                let is_open = port.admission == Admission::Open;
                is_open.then(|| (port.switch, port.vlan.clone()))
            };
            let place = config(&old, before);
            place.is_some() && (!is.contains_key(*key) || place != config(&new, next))
        };
        let lost = lost.into_iter().map(|(key, _)| key);
        let interrupted = was.keys().filter(is_cut).chain(reopened).chain(lost);
        let interrupted: BTreeSet<_> = interrupted.collect();
        Consequences {
            ports: ports.collect(),
            interrupted: interrupted.into_iter().map(object).collect(),
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
