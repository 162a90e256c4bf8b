//! Addresses that ports have from their own traffic.
//!
//! A port without a configured address *takes* the first source that it sends. A port whose policy accepts MAC changes
//! *adopts* one further address, the latest source. Neither is ever one that another port of the same switch and VLAN
//! has. They are kept over a restart of the agent, so that traffic flows before a guest has sent anything.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use weft_model::{Decision, Intent, PortKey, PortName, Uid};
use weft_packet::MacAddr;

use crate::state::State;
use crate::store::write_durably;

/// The addresses of every port that has some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses(BTreeMap<PortName, Learned>);

/// The addresses of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Its first source, where none is configured.
    pub(crate) taken: Option<MacAddr>,
    /// A later one.
    pub(crate) adopted: Option<MacAddr>,
}

impl Addresses {
    /// The addresses of a port.
    pub(crate) fn of(&self, port: &PortName) -> Learned {
        self.0.get(port).copied().unwrap_or_default()
    }

    /// Records the first source of a port. Returns whether that is news.
    pub(crate) fn take(&mut self, intent: &Intent, port: &PortName, mac: MacAddr) -> bool {
        let configured = intent
            .ports
            .get(port)
            .is_none_or(|object| object.spec.mac.is_some());
        if configured || self.of(port).taken == Some(mac) || !self.is_free(intent, port, mac) {
            return false;
        }
        self.0.entry(port.clone()).or_default().taken = Some(mac);
        true
    }

    /// Has a port adopt a source, if its policy and its neighbours allow it. Returns whether that is news.
    pub(crate) fn adopt(&mut self, intent: &Intent, port: &PortName, mac: MacAddr) -> bool {
        let accepts = may_adopt(intent, port);
        let own = intent
            .ports
            .get(port)
            .and_then(|object| object.spec.mac)
            .or_else(|| self.of(port).taken);
        if !accepts
            || own == Some(mac)
            || self.of(port).adopted == Some(mac)
            || !self.is_free(intent, port, mac)
        {
            return false;
        }
        self.0.entry(port.clone()).or_default().adopted = Some(mac);
        true
    }

    /// Forgets a port's addresses: another adapter is behind it now.
    pub(crate) fn forget(&mut self, port: &PortName) -> bool {
        self.0.remove(port).is_some()
    }

    /// Forgets what a new configuration does not allow any more, and returns the ports that lost something.
    pub(crate) fn settle(&mut self, intent: &Intent) -> Vec<PortName> {
        let mut configured: HashMap<MacAddr, Vec<&PortName>> = HashMap::new();
        for object in intent.ports.values() {
            if let Some(mac) = object.spec.mac {
                configured.entry(mac).or_default().push(&object.spec.name);
            }
        }
        let claimed = |port: &PortName, mac: &MacAddr| {
            let holders = configured.get(mac).map(Vec::as_slice).unwrap_or_default();
            holders
                .iter()
                .any(|holder| *holder != port && intent.share_a_domain(holder, port))
        };
        let mut changed = Vec::new();
        self.0.retain(|port, learned| {
            let before = *learned;
            let own = intent.ports.get(port).map(|object| object.spec.mac);
            learned.taken = learned
                .taken
                .filter(|mac| own == Some(None) && !claimed(port, mac));
            learned.adopted = learned.adopted.filter(|mac| {
                may_adopt(intent, port) && own.flatten() != Some(*mac) && !claimed(port, mac)
            });
            if *learned != before {
                changed.push(port.clone());
            }
            *learned != Learned::default()
        });
        changed
    }

    /// Whether no other port that could be reached instead has the address.
    fn is_free(&self, intent: &Intent, port: &PortName, mac: MacAddr) -> bool {
        let configured = intent
            .ports
            .values()
            .filter(|object| object.spec.mac == Some(mac))
            .map(|object| &object.spec.name);
        let learned = self
            .0
            .iter()
            .filter(|(_, learned)| [learned.taken, learned.adopted].contains(&Some(mac)));
        mac.is_unicast_source()
            && !configured
                .chain(learned.map(|(name, _)| name))
                .any(|other| other != port && intent.share_a_domain(other, port))
    }
}

fn may_adopt(intent: &Intent, port: &PortName) -> bool {
    intent
        .effective_policy(port)
        .is_ok_and(|policy| policy.mac_changes.value == Decision::Accept)
}

/// What is kept over a restart of the agent, and not over one of the host.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    boot: String,
    ports: Vec<KeptPort>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptPort {
    name: PortName,
    uid: Uid,
    /// The number of the interface: on another one is another adapter.
    interface_index: u32,
    taken: Option<MacAddr>,
    adopted: Option<MacAddr>,
}

const FILE: &str = "addresses.json";

/// Writes the addresses of all attached ports.
///
/// # Errors
/// What the system said.
pub(crate) fn keep(directory: &Path, state: &State, addresses: &Addresses) -> std::io::Result<()> {
    let ports = addresses.0.iter().filter_map(|(name, learned)| {
        let uid = state.intent.ports.get(name)?.uid;
        let interface_index = state.engines.get(&PortKey::Port(name.clone()))?.index;
        let Learned { taken, adopted } = *learned;
        Some(KeptPort {
            name: name.clone(),
            uid,
            interface_index,
            taken,
            adopted,
        })
    });
    let kept = Kept {
        boot: boot(),
        ports: ports.collect(),
    };
    write_durably(&directory.join(FILE), &serde_json::to_vec(&kept)?)
}

/// Reads back the addresses of those ports that are attached as they were. What cannot be read is not known.
pub(crate) fn restore(directory: &Path, state: &State) -> Addresses {
    let text = std::fs::read(directory.join(FILE)).unwrap_or_default();
    let Ok(kept) = serde_json::from_slice::<Kept>(&text) else {
        return Addresses::default();
    };
    if kept.boot != boot() {
        return Addresses::default();
    }
    let same = |port: &KeptPort| {
        let interface = state
            .intent
            .ports
            .get(&port.name)
            .filter(|object| object.uid == port.uid);
        let interface = interface.and_then(|object| object.spec.attachment.interface());
        interface
            .and_then(|name| state.links.get(name))
            .is_some_and(|link| link.index == port.interface_index)
    };
    let ports = kept.ports.into_iter().filter(same);
    let mut addresses = Addresses(
        ports
            .map(|port| {
                (
                    port.name,
                    Learned {
                        taken: port.taken,
                        adopted: port.adopted,
                    },
                )
            })
            .collect(),
    );
    addresses.settle(&state.intent);
    addresses
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests;
