//! Addresses that ports have from their own traffic.
//!
//! A port whose adapter has no address that is known here *takes* the first source that it sends. A port whose policy accepts MAC changes
//! *adopts* one further address, the latest source. Neither is ever one that another port of the same switch and VLAN
//! has: a guest that uses such a one is in conflict, which is remembered and shown. Addresses are kept over a restart of
//! the agent, so that traffic flows before a guest has sent anything.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use weft_model::{Attachment, Decision, HostName, Intent, PortKey, PortName, Uid};
use weft_packet::MacAddr;

use crate::host::learning::learns;
use crate::state::State;
use crate::store::write_durably;

/// The addresses of every port that has some, and the conflicts about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The host, by whose name its own interfaces have their addresses.
    host: HostName,
    learned: BTreeMap<PortName, Learned>,
    /// By the port that does not have the address. One for each port, so that no guest can fill the memory or the log.
    conflicts: BTreeMap<PortName, Conflict>,
}

/// An address that a port's guest uses and another port has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The port whose guest uses it.
    pub(crate) port: PortName,
    /// The address.
    pub(crate) mac: MacAddr,
    /// The port that has it.
    pub(crate) holder: PortName,
}

/// What became of a source that a port sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The port has it from now on.
    News,
    /// Nothing changed.
    NoNews,
    /// Another port has it, and that was not known.
    Conflict(Conflict),
}

/// The addresses of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Its first source, where its adapter's own address is not known.
    pub(crate) taken: Option<MacAddr>,
    /// A later one.
    pub(crate) adopted: Option<MacAddr>,
}

impl Addresses {
    /// None, on a host of this name.
    pub(crate) fn new(host: HostName) -> Self {
        Self {
            host,
            learned: BTreeMap::new(),
            conflicts: BTreeMap::new(),
        }
    }

    /// The addresses that a port has from its own traffic.
    pub(crate) fn of(&self, port: &PortName) -> Learned {
        self.learned.get(port).copied().unwrap_or_default()
    }

    /// Records the first source of a port, unless another port has it.
    pub(crate) fn take(&mut self, intent: &Intent, port: &PortName, mac: MacAddr) -> Heard {
        let has_its_own = intent
            .ports
            .get(port)
            .is_none_or(|object| object.spec.adapter_mac(&self.host).is_some());
        if has_its_own || self.of(port).taken == Some(mac) || !mac.is_unicast_source() {
            return Heard::NoNews;
        }
        if let Some(holder) = self.holder(intent, port, mac) {
            return self.contested(intent, port, mac, holder);
        }
        self.learned.entry(port.clone()).or_default().taken = Some(mac);
        self.conflicts.remove(port);
        Heard::News
    }

    /// Has a port adopt a source, if its policy and its neighbours allow it.
    pub(crate) fn adopt(&mut self, intent: &Intent, port: &PortName, mac: MacAddr) -> Heard {
        let accepts = may_adopt(intent, port);
        let own = intent
            .ports
            .get(port)
            .and_then(|object| object.spec.adapter_mac(&self.host))
            .or_else(|| self.of(port).taken);
        if !accepts
            || own == Some(mac)
            || self.of(port).adopted == Some(mac)
            || !mac.is_unicast_source()
        {
            return Heard::NoNews;
        }
        if let Some(holder) = self.holder(intent, port, mac) {
            return self.contested(intent, port, mac, holder);
        }
        self.learned.entry(port.clone()).or_default().adopted = Some(mac);
        self.conflicts.remove(port);
        Heard::News
    }

    /// Forgets a port's addresses: another adapter is behind it now.
    pub(crate) fn forget(&mut self, port: &PortName) -> bool {
        self.conflicts.remove(port);
        self.learned.remove(port).is_some()
    }

    /// The conflicts that there are, by port.
    pub(crate) fn conflicts<'a>(
        &'a self,
        intent: &'a Intent,
    ) -> impl Iterator<Item = &'a Conflict> {
        self.conflicts
            .values()
            .filter(|conflict| self.stands(intent, conflict))
    }

    /// Forgets what a new configuration does not allow any more. Where two ports that learned one address come together,
    /// the first by name keeps it.
    pub(crate) fn settle(&mut self, intent: &Intent) -> Settled {
        let mut holders: BTreeMap<MacAddr, Vec<PortName>> = BTreeMap::new();
        for object in intent.ports.values() {
            if let Some(mac) = object.spec.adapter_mac(&self.host) {
                holders
                    .entry(mac)
                    .or_default()
                    .push(object.spec.name.clone());
            }
        }
        let mut settled = Settled::default();
        self.learned.retain(|port, learned| {
            let before = *learned;
            let Some(object) = intent.ports.get(port) else {
                settled.changed.push(port.clone());
                return false;
            };
            let own = object.spec.adapter_mac(&self.host);
            let mut keep = |mac: MacAddr| {
                let others = holders.entry(mac).or_default();
                let holder = others
                    .iter()
                    .find(|other| *other != port && intent.share_a_domain(other, port));
                match holder {
                    None => others.push(port.clone()),
                    Some(holder) => settled.displaced.push(Conflict {
                        port: port.clone(),
                        mac,
                        holder: holder.clone(),
                    }),
                }
                others.contains(port)
            };
            learned.taken = learned.taken.filter(|mac| own.is_none() && keep(*mac));
            learned.adopted = learned
                .adopted
                .filter(|mac| may_adopt(intent, port) && own != Some(*mac) && keep(*mac));
            if *learned != before {
                settled.changed.push(port.clone());
            }
            *learned != Learned::default()
        });
        let standing: Vec<_> = self.conflicts(intent).cloned().collect();
        self.conflicts = (settled.displaced.iter().cloned().chain(standing))
            .map(|conflict| (conflict.port.clone(), conflict))
            .collect();
        settled
    }

    /// The other port that could be reached under this address instead.
    fn holder(&self, intent: &Intent, port: &PortName, mac: MacAddr) -> Option<PortName> {
        let own = intent
            .ports
            .values()
            .filter(|object| object.spec.adapter_mac(&self.host) == Some(mac))
            .map(|object| &object.spec.name);
        let learned = self
            .learned
            .iter()
            .filter(|(_, learned)| [learned.taken, learned.adopted].contains(&Some(mac)));
        own.chain(learned.map(|(name, _)| name))
            .find(|other| *other != port && intent.share_a_domain(other, port))
            .cloned()
    }

    /// Remembers a conflict, unless there is one about the port already.
    fn contested(
        &mut self,
        intent: &Intent,
        port: &PortName,
        mac: MacAddr,
        holder: PortName,
    ) -> Heard {
        let present = self.conflicts.get(port);
        if present.is_some_and(|present| self.stands(intent, present)) {
            return Heard::NoNews;
        }
        let conflict = Conflict {
            port: port.clone(),
            mac,
            holder,
        };
        self.conflicts.insert(port.clone(), conflict.clone());
        Heard::Conflict(conflict)
    }

    /// Whether the address is still the other port's.
    fn stands(&self, intent: &Intent, conflict: &Conflict) -> bool {
        self.holder(intent, &conflict.port, conflict.mac).as_ref() == Some(&conflict.holder)
    }
}

/// What a new configuration took from ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The ports that lost an address.
    pub(crate) changed: Vec<PortName>,
    /// Where they lost it because another port has it.
    pub(crate) displaced: Vec<Conflict>,
}

fn may_adopt(intent: &Intent, port: &PortName) -> bool {
    intent.effective_policy(port).is_ok_and(|policy| {
        // What a port that learns sends from is learned.
        policy.mac_changes.value == Decision::Accept && !learns(&policy)
    })
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
    /// The number of the interface: on another one is another adapter. A VM's adapter has none and stays the same.
    #[serde(default)]
    interface_index: Option<u32>,
    taken: Option<MacAddr>,
    adopted: Option<MacAddr>,
}

const FILE: &str = "addresses.json";

/// Writes the addresses of all attached ports.
///
/// # Errors
/// What the system said.
pub(crate) fn keep(directory: &Path, state: &State, addresses: &Addresses) -> std::io::Result<()> {
    let ports = addresses.learned.iter().filter_map(|(name, learned)| {
        let port = state.intent.ports.get(name)?;
        let uid = port.uid;
        let engine = state.engines.get(&PortKey::Port(name.clone()))?;
        let opened_on = engine.on.map(|on| on.index);
        let interface_index = opened_on.or_else(|| index_of(state, &port.spec.attachment));
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
    let mut addresses = Addresses::new(state.host.clone());
    let text = std::fs::read(directory.join(FILE)).unwrap_or_default();
    let Ok(kept) = serde_json::from_slice::<Kept>(&text) else {
        return addresses;
    };
    if kept.boot != boot() {
        return addresses;
    }
    let same = |port: &KeptPort| {
        let object = state.intent.ports.get(&port.name);
        let object = object.filter(|object| object.uid == port.uid);
        object.is_some_and(|object| match &object.spec.attachment {
            Attachment::VhostUser(_) => true,
            // One that is gone or elsewhere is not known to be the same.
            on => index_of(state, on).is_some_and(|now| port.interface_index == Some(now)),
        })
    };
    let ports = kept.ports.into_iter().filter(same);
    let learned = ports.map(|port| {
        let KeptPort { taken, adopted, .. } = port;
        (port.name, Learned { taken, adopted })
    });
    addresses.learned = learned.collect();
    addresses.settle(&state.intent);
    addresses
}

/// The number of the interface that a port is attached to, where this network namespace has it.
fn index_of(state: &State, attachment: &Attachment) -> Option<u32> {
    let link = state.links.get(attachment.interface()?)?;
    Some(link.index)
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests;
