//! What the host shows of its objects.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLockReadGuard};

use weft_api::{
    AddressSource, Cause, EngineStatus, FdbEntry, FdbVlan, PolicyLeaf, PolicyReport, Port,
    PortAddress, PortState, PortStatus, Portgroup, PortgroupStatus, Problem, Vmk, Vswitch,
    VswitchStatus,
};
use weft_datapath::{PortId, VhostState};
use weft_model::{
    Manifest, ModelError, Object, PortKey, PortName, PortSpec, PortgroupName, PortgroupSpec,
    VmkName, VmkSpec, VswitchName, VswitchSpec,
};
use weft_vlan::PortgroupVlan;

use super::Host;
use crate::plane::{engine_status, guest_status};
use crate::state::{Obstacle, State, quoted};

impl Host {
    /// The state, to read only.
    pub(super) fn view(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All switches.
    pub(crate) fn vswitches(&self) -> Vec<Vswitch> {
        let state = self.view();
        let standing = Standing::of(self, &state);
        state
            .intent
            .vswitches
            .values()
            .map(|object| standing.vswitch(&state, object))
            .collect()
    }

    /// One switch.
    ///
    /// # Errors
    /// `notFound`.
    pub(crate) fn vswitch(&self, name: &VswitchName) -> Result<Vswitch, Problem> {
        let state = self.view();
        Ok(Standing::of(self, &state).vswitch(&state, state.intent.vswitch(name)?))
    }

    /// All port groups.
    pub(crate) fn portgroups(&self) -> Vec<Portgroup> {
        let state = self.view();
        let standing = Standing::of(self, &state);
        state
            .intent
            .portgroups
            .values()
            .map(|object| standing.portgroup(object))
            .collect()
    }

    /// One port group.
    ///
    /// # Errors
    /// `notFound`.
    pub(crate) fn portgroup(&self, name: &PortgroupName) -> Result<Portgroup, Problem> {
        let state = self.view();
        Ok(Standing::of(self, &state).portgroup(state.intent.portgroup(name)?))
    }

    /// All ports.
    pub(crate) fn ports(&self) -> Vec<Port> {
        let state = self.view();
        state
            .intent
            .ports
            .values()
            .map(|object| self.describe_port(&state, object))
            .collect()
    }

    /// One port.
    ///
    /// # Errors
    /// `notFound`.
    pub(crate) fn port(&self, name: &PortName) -> Result<Port, Problem> {
        let state = self.view();
        Ok(self.describe_port(&state, state.intent.port(name)?))
    }

    /// All of the host's own interfaces.
    pub(crate) fn vmks(&self) -> Vec<Vmk> {
        let state = self.view();
        let ports = state.intent.ports.values();
        ports
            .filter_map(|object| as_vmk(self.describe_port(&state, object)))
            .collect()
    }

    /// One of the host's own interfaces.
    ///
    /// # Errors
    /// `notFound`.
    pub(crate) fn vmk(&self, name: &VmkName) -> Result<Vmk, Problem> {
        let state = self.view();
        let port = self.describe_port(&state, state.intent.vmk(name)?);
        as_vmk(port).ok_or_else(|| {
            let unknown = ModelError::Unknown {
                object: name.into(),
                suggestion: None,
            };
            unknown.into()
        })
    }

    /// A port's policy after inheritance.
    ///
    /// # Errors
    /// `notFound`.
    pub(crate) fn policy(&self, port: &PortName) -> Result<PolicyReport, Problem> {
        let leaves = self.view().intent.effective_policy(port)?.leaves();
        let leaves = leaves.into_iter().map(|(leaf, decided)| PolicyLeaf {
            leaf: leaf.to_owned(),
            value: decided.value,
            from: decided.from,
        });
        Ok(PolicyReport {
            port: port.clone(),
            leaves: leaves.collect(),
        })
    }

    /// The addresses that switches deliver, of one switch or of all, by switch, VLAN and address.
    ///
    /// # Errors
    /// `notFound` for a switch that does not exist.
    pub(crate) fn fdb(&self, vswitch: Option<&VswitchName>) -> Result<Vec<FdbEntry>, Problem> {
        let state = self.view();
        if let Some(name) = vswitch {
            state.intent.vswitch(name)?;
        }
        let mut entries = Vec::new();
        for port in state.intent.ports.values().map(|object| &object.spec) {
            let Some(group) = state
                .intent
                .portgroups
                .get(&port.portgroup)
                .map(|object| &object.spec)
            else {
                continue;
            };
            if vswitch.is_some_and(|name| *name != group.vswitch) {
                continue;
            }
            let vlan = match group.vlan {
                PortgroupVlan::GUEST_TAGGING => FdbVlan::ALL,
                vlan => FdbVlan::One(vlan.number()),
            };
            entries.extend(self.addresses_of(&state, port).into_iter().map(
                |PortAddress { mac, source }| FdbEntry {
                    vswitch: group.vswitch.clone(),
                    vlan,
                    mac,
                    port: port.name.clone(),
                    source,
                    age_seconds: None,
                },
            ));
        }
        let switches = state.intent.vswitches.keys();
        for name in switches.filter(|name| vswitch.is_none_or(|asked| asked == *name)) {
            entries.extend(self.learned(&state, name));
        }
        entries.sort_by(|one, other| {
            (&one.vswitch, one.vlan, one.mac).cmp(&(&other.vswitch, other.vlan, other.mac))
        });
        Ok(entries)
    }

    /// The addresses that a switch learned behind its ports.
    fn learned<'a>(
        &self,
        state: &'a State,
        vswitch: &'a VswitchName,
    ) -> impl Iterator<Item = FdbEntry> + 'a {
        let id = state.switch_id(vswitch);
        let learned = id.map(|id| self.plane.datapath().learned_addresses(id));
        learned.into_iter().flatten().filter_map(move |entry| {
            let PortKey::Port(port) = state.key(entry.port)? else {
                return None;
            };
            Some(FdbEntry {
                vswitch: vswitch.clone(),
                vlan: FdbVlan::One(entry.vlan),
                mac: entry.mac,
                port: port.clone(),
                source: AddressSource::Learned,
                age_seconds: Some(entry.age.as_secs()),
            })
        })
    }

    /// The specs of everything.
    pub(crate) fn export(&self) -> Manifest {
        Manifest::export(&self.view().intent)
    }

    fn describe_port(&self, state: &State, object: &Object<PortSpec>) -> Port {
        let port = &object.spec;
        let obstacle = self.obstacle(state, port);
        let engine = state.engines.get(&PortKey::Port(port.name.clone()));
        let group = state.intent.portgroups.get(&port.portgroup);
        let group = group.expect("rules hold: the port group of a port exists");
        Port {
            name: port.name.to_string(),
            uid: object.uid,
            resource_version: object.resource_version,
            spec: port.clone(),
            status: PortStatus {
                vswitch: group.spec.vswitch.clone(),
                state: match &obstacle {
                    None => PortState::Up,
                    Some(_) if port.block => PortState::Blocked,
                    Some(_) => PortState::Down,
                },
                reason: obstacle.map(|obstacle| obstacle.reason),
                engine: self.engine(engine.map(|engine| engine.id)),
                addresses: self.addresses_of(state, port),
                learning: self.learning(state, &port.name),
            },
        }
    }

    /// What moves the frames of a number.
    pub(super) fn engine(&self, id: Option<PortId>) -> Option<EngineStatus> {
        let datapath = self.plane.datapath();
        Some(EngineStatus {
            guest: datapath.vhost_status(id?).map(guest_status),
            ..datapath.engine(id?).map(engine_status)?
        })
    }

    /// What keeps a port from forwarding: what the agent knows, or that its VM is not there.
    pub(super) fn obstacle(&self, state: &State, port: &PortSpec) -> Option<Obstacle> {
        state
            .port_obstacle(port)
            .or_else(|| self.absent_guest(state, port))
    }

    fn absent_guest(&self, state: &State, port: &PortSpec) -> Option<Obstacle> {
        let socket = port.attachment.socket()?;
        let engine = state.engines.get(&PortKey::Port(port.name.clone()))?;
        let status = self.plane.datapath().vhost_status(engine.id)?;
        let show = || format!("weft port show {}", quoted(&port.name));
        let (cause, next) = match status.state {
            VhostState::Running => return None,
            VhostState::Waiting => (Cause::NoGuest, format!("ls -l {}", quoted(socket))),
            VhostState::Negotiating => (Cause::GuestNotReady, show()),
            VhostState::Failed => (Cause::GuestFailed, show()),
        };
        Some(Obstacle {
            cause,
            reason: status.reason,
            next,
        })
    }

    /// A port's addresses, the effective one first: configured or taken, then adopted.
    pub(super) fn addresses_of(&self, state: &State, port: &PortSpec) -> Vec<PortAddress> {
        let kept = self.addresses().of(&port.name);
        let engine = state.engines.get(&PortKey::Port(port.name.clone()));
        let (taken, adopted) = engine.map_or((None, None), |engine| {
            self.plane.datapath().learned(engine.id)
        });
        let first = match port.mac {
            Some(mac) => Some(PortAddress {
                mac,
                source: AddressSource::Configured,
            }),
            None if port.is_vmk() => state.vmk_mac(port).map(|mac| PortAddress {
                mac,
                source: AddressSource::Generated,
            }),
            None => kept.taken.or(taken).map(|mac| PortAddress {
                mac,
                source: AddressSource::Taken,
            }),
        };
        let second = kept.adopted.or(adopted).map(|mac| PortAddress {
            mac,
            source: AddressSource::Adopted,
        });
        let second = second.filter(|second| first.is_none_or(|first| first.mac != second.mac));
        first.into_iter().chain(second).collect()
    }
}

/// A port as one of the host's own interfaces.
fn as_vmk(port: Port) -> Option<Vmk> {
    Some(Vmk {
        spec: VmkSpec::of(&port.spec)?,
        name: port.name,
        uid: port.uid,
        resource_version: port.resource_version,
        status: port.status,
    })
}

/// Ports and how many of them are up, counted once for all switches and port groups.
struct Standing {
    portgroups: BTreeMap<PortgroupName, (usize, usize)>,
}

impl Standing {
    fn of(host: &Host, state: &State) -> Self {
        let mut portgroups: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for port in state.intent.ports.values().map(|object| &object.spec) {
            let (all, up) = portgroups.entry(port.portgroup.clone()).or_default();
            *all += 1;
            *up += usize::from(host.obstacle(state, port).is_none());
        }
        Self { portgroups }
    }

    fn count(&self, portgroup: &PortgroupName) -> (usize, usize) {
        self.portgroups.get(portgroup).copied().unwrap_or_default()
    }

    fn portgroup(&self, object: &Object<PortgroupSpec>) -> Portgroup {
        let (ports, ports_up) = self.count(&object.spec.name);
        Portgroup {
            name: object.spec.name.to_string(),
            uid: object.uid,
            resource_version: object.resource_version,
            spec: object.spec.clone(),
            status: PortgroupStatus { ports, ports_up },
        }
    }

    fn vswitch(&self, state: &State, object: &Object<VswitchSpec>) -> Vswitch {
        let portgroups: Vec<_> = state
            .intent
            .portgroups_of(&object.spec.name)
            .map(|group| group.name.clone())
            .collect();
        let counts = portgroups.iter().map(|name| self.count(name));
        let (ports, ports_up) = counts.fold((0, 0), |(all, up), (more, more_up)| {
            (all + more, up + more_up)
        });
        Vswitch {
            name: object.spec.name.to_string(),
            uid: object.uid,
            resource_version: object.resource_version,
            spec: object.spec.clone(),
            status: VswitchStatus {
                portgroups,
                ports,
                ports_up,
            },
        }
    }
}
