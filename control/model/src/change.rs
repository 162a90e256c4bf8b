//! Changes: what an administrator does to the configuration, one transaction each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::fields::{Compared, FieldChange, differing};
use crate::intent::{Intent, Object, ObjectKind, ObjectRef, ResourceVersion};
use crate::name::{InterfaceName, PortName, PortgroupName, VmkName, VswitchName, nearest};
use crate::patch::{NetflowPatch, PortPatch, PortgroupPatch, VmkPatch, VswitchPatch};
use crate::rules;
use crate::spec::{
    NetflowSpec, PortSpec, PortgroupSpec, PortgroupTeaming, SwitchTeaming, VmkSpec, VswitchSpec,
};

/// One change of a host's configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds a switch.
    AddVswitch(VswitchSpec),
    /// Changes settings of a switch.
    SetVswitch(VswitchName, VswitchPatch),
    /// Deletes a switch without port groups.
    DelVswitch(VswitchName),
    /// Adds a port group.
    AddPortgroup(PortgroupSpec),
    /// Changes settings of a port group.
    SetPortgroup(PortgroupName, PortgroupPatch),
    /// Deletes a port group without ports.
    DelPortgroup(PortgroupName),
    /// Adds a port.
    AddPort(PortSpec),
    /// Changes settings of a port.
    SetPort(PortName, PortPatch),
    /// Deletes a port.
    DelPort(PortName),
    /// Adds the host's own interface on a port group.
    AddVmk(VmkSpec),
    /// Changes settings of the host's own interface.
    SetVmk(VmkName, VmkPatch),
    /// Deletes the host's own interface.
    DelVmk(VmkName),
    /// Makes an interface an uplink of a switch.
    AddUplink(VswitchName, InterfaceName),
    /// Takes an uplink from a switch.
    DelUplink(VswitchName, InterfaceName),
    /// Changes settings of a switch's NetFlow, and makes it where there is none and collectors are named.
    SetNetflow(VswitchName, NetflowPatch),
    /// Deletes the NetFlow of a switch.
    DelNetflow(VswitchName),
    /// Makes a switch so, whether it exists or not.
    PutVswitch(VswitchSpec),
    /// Makes a port group so, whether it exists or not.
    PutPortgroup(PortgroupSpec),
    /// Makes a port so, whether it exists or not.
    PutPort(PortSpec),
    /// Makes the NetFlow of a switch so, whether it exists or not.
    PutNetflow(NetflowSpec),
}

impl Change {
    /// The object that the change is made to. An uplink is a setting of its switch.
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::AddVswitch(spec) | Self::PutVswitch(spec) => (&spec.name).into(),
            Self::AddPortgroup(spec) | Self::PutPortgroup(spec) => (&spec.name).into(),
            Self::AddPort(spec) | Self::PutPort(spec) => spec.into(),
            Self::AddVmk(spec) => (&spec.name).into(),
            Self::SetVmk(name, _) | Self::DelVmk(name) => name.into(),
            Self::SetPortgroup(name, _) | Self::DelPortgroup(name) => name.into(),
            Self::SetPort(name, _) | Self::DelPort(name) => name.into(),
            Self::PutNetflow(spec) => spec.into(),
            Self::SetNetflow(name, _) | Self::DelNetflow(name) => ObjectRef::netflow_of(name),
            Self::SetVswitch(name, _)
            | Self::DelVswitch(name)
            | Self::AddUplink(name, _)
            | Self::DelUplink(name, _) => name.into(),
        }
    }
}

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// The object is new.
    Created,
    /// These of its settings are new.
    Changed {
        /// What it was and what it is.
        fields: Vec<FieldChange>,
    },
    /// It was so already.
    Unchanged,
    /// The object is gone.
    Deleted,
}

impl Intent {
    /// The configuration after a change, and what the change did. `self` is what remains if it is refused.
    ///
    /// # Errors
    /// Any [`ModelError`]; the change is then not made at all.
    pub fn apply(&self, change: &Change) -> Result<(Self, Outcome), ModelError> {
        let (next, mut outcomes) = self.transact(std::slice::from_ref(change))?;
        let outcome = outcomes.pop().unwrap_or(Outcome::Unchanged);
        Ok((next, outcome))
    }

    /// The configuration after changes that are made together, and what each of them did. Rules need not hold in between.
    ///
    /// # Errors
    /// Any [`ModelError`]; none of the changes is then made.
    pub fn transact(&self, changes: &[Change]) -> Result<(Self, Vec<Outcome>), ModelError> {
        let mut next = self.clone();
        let outcomes: Result<Vec<_>, _> = changes.iter().map(|change| next.make(change)).collect();
        let outcomes = outcomes?;
        let made = changes.iter().zip(&outcomes);
        let changed: Vec<_> = made
            .filter(|(_, outcome)| **outcome != Outcome::Unchanged)
            .map(|(change, _)| change.object())
            .collect();
        if !changed.is_empty() {
            rules::check(&next, &changed)?;
        }
        Ok((next, outcomes))
    }

    /// Makes a change, whether or not the rules hold then.
    fn make(&mut self, change: &Change) -> Result<Outcome, ModelError> {
        Ok(match change {
            Change::AddVswitch(spec) => {
                add(self, &spec.name, spec, |intent| &mut intent.vswitches)?
            }
            Change::AddPortgroup(spec) => {
                add(self, &spec.name, spec, |intent| &mut intent.portgroups)?
            }
            Change::AddPort(spec) => self.add_port(spec)?,
            Change::AddVmk(spec) => self.add_port(&PortSpec::from(spec.clone()))?,
            Change::SetVswitch(name, patch) => {
                let mut spec = self.vswitch(name)?.spec.clone();
                patch.apply(&mut spec);
                set(self, name, spec, |intent| &mut intent.vswitches)
            }
            Change::SetPortgroup(name, patch) => {
                let mut spec = self.portgroup(name)?.spec.clone();
                patch.apply(&mut spec);
                set(self, name, spec, |intent| &mut intent.portgroups)
            }
            Change::SetPort(name, patch) => {
                let mut spec = self.port(name)?.spec.clone();
                patch.apply(&mut spec);
                set(self, name, spec, |intent| &mut intent.ports)
            }
            Change::SetVmk(name, patch) => {
                let mut spec = self.vmk(name)?.spec.clone();
                patch.apply(&mut spec);
                set(self, &PortName::from(name), spec, |intent| {
                    &mut intent.ports
                })
            }
            Change::SetNetflow(name, patch) => {
                self.vswitch(name)?;
                let mut spec = match (self.netflow_of(name), &patch.collectors) {
                    (Ok(found), _) => found.spec.clone(),
                    (Err(_), Some(collectors)) => {
                        NetflowSpec::new(name.clone(), collectors.clone())
                    }
                    (Err(unknown), None) => return Err(unknown),
                };
                patch.apply(&mut spec);
                put(self, name, &spec, |intent| &mut intent.netflow)
            }
            Change::DelNetflow(name) => {
                deletable(self.netflow_of(name))?;
                self.netflow.remove(name);
                self.revision += 1;
                Outcome::Deleted
            }
            Change::AddUplink(name, interface) => {
                let mut spec = self.vswitch(name)?.spec.clone();
                if !spec.uplinks.contains(interface) {
                    spec.uplinks.push(interface.clone());
                }
                set(self, name, spec, |intent| &mut intent.vswitches)
            }
            Change::DelUplink(name, interface) => {
                let mut spec = deletable(self.vswitch(name))?.spec.clone();
                self.uplink_of(&spec, interface)?;
                self.in_no_team(&spec, interface)?;
                spec.uplinks.retain(|uplink| uplink != interface);
                set(self, name, spec, |intent| &mut intent.vswitches)
            }
            Change::DelVswitch(name) => {
                deletable(self.vswitch(name))?;
                unused(
                    change,
                    self.portgroups_of(name).map(|group| (&group.name).into()),
                )?;
                self.vswitches.remove(name);
                // It is a part of the switch that has a form of its own.
                self.netflow.remove(name);
                self.revision += 1;
                Outcome::Deleted
            }
            Change::DelPortgroup(name) => {
                deletable(self.portgroup(name))?;
                unused(change, self.ports_of(name).map(ObjectRef::from))?;
                self.portgroups.remove(name);
                self.revision += 1;
                Outcome::Deleted
            }
            Change::DelVmk(name) => {
                deletable(self.vmk(name))?;
                self.ports.remove(&PortName::from(name));
                self.revision += 1;
                Outcome::Deleted
            }
            Change::DelPort(name) => {
                let port = &deletable(self.port(name))?.spec;
                if port.is_vmk() {
                    let object = port.into();
                    return Err(ModelError::IsVmk { object });
                }
                self.ports.remove(name);
                self.revision += 1;
                Outcome::Deleted
            }
            Change::PutVswitch(spec) => put(self, &spec.name, spec, |intent| &mut intent.vswitches),
            Change::PutPortgroup(spec) => {
                put(self, &spec.name, spec, |intent| &mut intent.portgroups)
            }
            Change::PutPort(spec) => put(self, &spec.name, spec, |intent| &mut intent.ports),
            Change::PutNetflow(spec) => {
                put(self, &spec.vswitch, spec, |intent| &mut intent.netflow)
            }
        })
    }

    fn add_port(&mut self, spec: &PortSpec) -> Result<Outcome, ModelError> {
        self.is_of_its_kind(spec)?;
        add(self, &spec.name, spec, |intent| &mut intent.ports)
    }

    /// Refuses the name of one of the host's own interfaces to another port, and the other way round.
    pub(crate) fn is_of_its_kind(&self, spec: &PortSpec) -> Result<(), ModelError> {
        match self.ports.get(&spec.name) {
            Some(present) if present.spec.is_vmk() != spec.is_vmk() => Err(ModelError::NameTaken {
                object: spec.into(),
                holder: (&present.spec).into(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses a write of an object that somebody else wrote since `expected` was read. A deleted or never created
    /// object is the change's own business.
    ///
    /// # Errors
    /// [`ModelError::Stale`].
    pub fn expect_version(
        &self,
        object: &ObjectRef,
        expected: ResourceVersion,
    ) -> Result<(), ModelError> {
        match self.version_of(object) {
            Some(current) if current != expected => Err(ModelError::Stale {
                object: object.clone(),
                expected,
                current,
            }),
            _ => Ok(()),
        }
    }

    /// In what an object is not as it was in an earlier configuration. Nothing, where it is not in both.
    pub fn differing_from(&self, earlier: &Self, object: &ObjectRef) -> Vec<FieldChange> {
        fn between<N: Ord, S: Compared>(
            name: Option<N>,
            earlier: &Objects<N, S>,
            now: &Objects<N, S>,
        ) -> Vec<FieldChange> {
            let objects = name.and_then(|name| Some((earlier.get(&name)?, now.get(&name)?)));
            objects.map_or_else(Vec::new, |(before, after)| {
                differing(&before.spec, &after.spec)
            })
        }
        let name = &object.name;
        match object.kind {
            ObjectKind::Vswitch => between(name.parse().ok(), &earlier.vswitches, &self.vswitches),
            ObjectKind::Portgroup => {
                between(name.parse().ok(), &earlier.portgroups, &self.portgroups)
            }
            ObjectKind::Port | ObjectKind::Vmk => {
                between(name.parse().ok(), &earlier.ports, &self.ports)
            }
            ObjectKind::Netflow => between(name.parse().ok(), &earlier.netflow, &self.netflow),
            ObjectKind::Host | ObjectKind::Uplink | ObjectKind::Interface => Vec::new(),
        }
    }

    /// The version of an object, where it has one.
    pub fn version_of(&self, object: &ObjectRef) -> Option<ResourceVersion> {
        let name = &object.name;
        match object.kind {
            ObjectKind::Vswitch => self
                .vswitches
                .get(&name.parse().ok()?)
                .map(|found| found.resource_version),
            ObjectKind::Portgroup => self
                .portgroups
                .get(&name.parse().ok()?)
                .map(|found| found.resource_version),
            ObjectKind::Port | ObjectKind::Vmk => self
                .ports
                .get(&name.parse().ok()?)
                .map(|found| found.resource_version),
            ObjectKind::Netflow => self
                .netflow
                .get(&name.parse().ok()?)
                .map(|found| found.resource_version),
            ObjectKind::Host | ObjectKind::Uplink | ObjectKind::Interface => None,
        }
    }

    fn uplink_of(&self, switch: &VswitchSpec, interface: &InterfaceName) -> Result<(), ModelError> {
        if switch.uplinks.contains(interface) {
            return Ok(());
        }
        let near = nearest(
            interface.as_str(),
            switch.uplinks.iter().map(InterfaceName::as_str),
        );
        Err(ModelError::NotAnUplink {
            object: (&switch.name).into(),
            interface: interface.to_string(),
            nearest: near.map(str::to_owned),
        })
    }

    /// An uplink that somebody counts on does not go.
    fn in_no_team(
        &self,
        switch: &VswitchSpec,
        interface: &InterfaceName,
    ) -> Result<(), ModelError> {
        let SwitchTeaming {
            active, standby, ..
        } = &switch.teaming;
        let by_switch = active.named().contains(interface) || standby.0.contains(interface);
        let mut users: Vec<ObjectRef> = Vec::new();
        users.extend(by_switch.then(|| (&switch.name).into()));
        let groups = self.portgroups_of(&switch.name);
        let naming = groups.filter(|group| {
            let PortgroupTeaming {
                active, standby, ..
            } = &group.teaming;
            let named = active
                .own()
                .is_some_and(|active| active.named().contains(interface));
            named
                || standby
                    .own()
                    .is_some_and(|standby| standby.0.contains(interface))
        });
        users.extend(naming.map(|group| ObjectRef::from(&group.name)));
        if users.is_empty() {
            return Ok(());
        }
        Err(ModelError::UplinkInTeam {
            object: (&switch.name).into(),
            interface: interface.to_string(),
            users,
        })
    }
}

/// Whoever deletes what does not exist is not led to delete something else.
fn deletable<T>(found: Result<T, ModelError>) -> Result<T, ModelError> {
    found.map_err(|error| match error {
        ModelError::Unknown { object, suggestion } => ModelError::NothingToDelete {
            object,
            nearest: suggestion,
        },
        other => other,
    })
}

type Objects<N, S> = std::collections::BTreeMap<N, Object<S>>;

fn add<N, S>(
    intent: &mut Intent,
    name: &N,
    spec: &S,
    objects: impl Fn(&mut Intent) -> &mut Objects<N, S>,
) -> Result<Outcome, ModelError>
where
    N: Ord + Clone,
    for<'a> ObjectRef: From<&'a S>,
    S: Clone + PartialEq + Compared,
{
    if let Some(present) = objects(intent).get(name) {
        if present.spec == *spec {
            return Ok(Outcome::Unchanged);
        }
        let differing = differing(&present.spec, spec);
        return Err(ModelError::AlreadyExists {
            object: (&present.spec).into(),
            differing,
        });
    }
    let object = intent.create(spec.clone());
    objects(intent).insert(name.clone(), object);
    Ok(Outcome::Created)
}

fn put<N, S>(
    intent: &mut Intent,
    name: &N,
    spec: &S,
    objects: impl Fn(&mut Intent) -> &mut Objects<N, S>,
) -> Outcome
where
    N: Ord + Clone,
    S: Clone + PartialEq + Compared,
{
    if objects(intent).contains_key(name) {
        return set(intent, name, spec.clone(), objects);
    }
    let object = intent.create(spec.clone());
    objects(intent).insert(name.clone(), object);
    Outcome::Created
}

fn set<N, S>(
    intent: &mut Intent,
    name: &N,
    spec: S,
    objects: impl Fn(&mut Intent) -> &mut Objects<N, S>,
) -> Outcome
where
    N: Ord,
    S: PartialEq + Compared,
{
    let written = ResourceVersion(intent.revision + 1);
    let Some(object) = objects(intent)
        .get_mut(name)
        .filter(|object| object.spec != spec)
    else {
        return Outcome::Unchanged;
    };
    let fields = differing(&object.spec, &spec);
    object.spec = spec;
    object.resource_version = written;
    intent.revision = written.0;
    Outcome::Changed { fields }
}

fn unused(change: &Change, users: impl Iterator<Item = ObjectRef>) -> Result<(), ModelError> {
    let users: Vec<_> = users.collect();
    if users.is_empty() {
        Ok(())
    } else {
        Err(ModelError::InUse {
            object: change.object(),
            users,
        })
    }
}

impl Outcome {
    /// What changed, for an object that existed before.
    pub fn fields(&self) -> &[FieldChange] {
        match self {
            Self::Changed { fields } => fields,
            Self::Created | Self::Unchanged | Self::Deleted => &[],
        }
    }
}
