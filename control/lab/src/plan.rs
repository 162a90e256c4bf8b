//! From a lab file to everything that is to be made, by name. A pure function: a lab that cannot work is refused before
//! anything exists.

mod vms;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weft_api::ProblemKind;
use weft_model::{
    Change, HostSpec, Intent, InterfaceName, Manifest, ModelError, NetflowSection, ObjectKind,
    VmEngine, VmkSection, VswitchSection, nearest,
};
use weft_packet::MacAddr;

use crate::name::{self, LabName};
use crate::{LabError, record};

/// The member of a lab where uplinks meet. No host and no VM has this name.
pub(crate) const FABRIC: &str = "fabric";

/// The host of a lab file that lists none.
const IMPLIED_HOST: &str = "host1";

/// The longest path of a Unix socket (`sun_path` is 108 octets with its final zero).
const LONGEST_SOCKET: usize = 107;

/// A lab: what is made, each thing under the name that the kernel knows it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(crate) lab: LabName,
    /// The namespace of the bridge where uplinks meet. `None`: no host has an uplink.
    pub(crate) fabric: Option<String>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) vms: Vec<Vm>,
}

/// A namespace with an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uplinks: Vec<Uplink>,
    /// Its configuration, the ports of its VMs included.
    pub(crate) manifest: Manifest,
}

/// A veth pair between a host and the fabric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Uplink {
    pub(crate) interface: String,
    pub(crate) fabric_end: String,
    pub(crate) mtu: u16,
}

/// A namespace with one interface, `eth0`, and the other end of it on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vm {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) namespace: String,
    pub(crate) host_end: String,
    pub(crate) mac: MacAddr,
    pub(crate) ip: Option<String>,
    pub(crate) mtu: u16,
    pub(crate) engine: VmEngine,
}

impl Plan {
    /// What `manifest` asks for as the lab `lab`.
    ///
    /// # Errors
    /// When the manifest is not that of a lab, or an agent would refuse it.
    pub(crate) fn new(lab: &LabName, manifest: &Manifest) -> Result<Self, LabError> {
        let specs = hosts_of(manifest)?;
        check_names(manifest, &specs)?;
        let mut hosts = specs
            .iter()
            .map(|spec| plan_host(lab, spec, manifest, &specs))
            .collect::<Result<Vec<_>, _>>()?;
        let mut ends = BTreeSet::from(["lo".to_owned(), crate::up::BRIDGE.to_owned()]);
        for host in &mut hosts {
            for uplink in &mut host.uplinks {
                uplink.fabric_end = name::interface(
                    "",
                    &format!("{}-{}", host.name, uplink.interface),
                    &mut ends,
                );
            }
        }
        let vms = vms::plan(lab, manifest, &specs, &mut hosts)?;
        plan_vmks(manifest, &specs, &mut hosts)?;
        plan_netflow(manifest, &specs, &mut hosts)?;
        hosts.iter().try_for_each(check_configuration)?;
        let fabric = hosts
            .iter()
            .any(|host| !host.uplinks.is_empty())
            .then(|| name::namespace(lab, FABRIC));
        Ok(Self {
            lab: lab.clone(),
            fabric,
            hosts,
            vms,
        })
    }

    /// Every namespace of the lab.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        let hosts = self.hosts.iter().map(|host| host.namespace.as_str());
        let vms = self.vms.iter().map(|vm| vm.namespace.as_str());
        vms.chain(hosts).chain(self.fabric.as_deref())
    }

    /// The member of this name: its namespace, and the host if it is one.
    pub(crate) fn member(&self, name: &str) -> Option<(&str, Option<&Host>)> {
        let host = self
            .hosts
            .iter()
            .find(|host| host.name == name)
            .map(|host| (host.namespace.as_str(), Some(host)));
        let vm = || {
            self.vms
                .iter()
                .find(|vm| vm.name == name)
                .map(|vm| (vm.namespace.as_str(), None))
        };
        let fabric = || {
            self.fabric
                .as_deref()
                .filter(|_| name == FABRIC)
                .map(|namespace| (namespace, None))
        };
        host.or_else(vm).or_else(fabric)
    }

    /// The names of all members.
    pub(crate) fn members(&self) -> impl Iterator<Item = &str> {
        let hosts = self.hosts.iter().map(|host| host.name.as_str());
        hosts
            .chain(self.vms.iter().map(|vm| vm.name.as_str()))
            .chain(self.fabric.as_ref().map(|_| FABRIC))
    }
}

/// Gives each vmk to its host: the one that it names, or the only one that has its port group.
fn plan_vmks(manifest: &Manifest, specs: &[HostSpec], hosts: &mut [Host]) -> Result<(), LabError> {
    for vmk in manifest.vmks() {
        let object = format!("vmk {}", vmk.name);
        let named = match &vmk.host {
            Some(name) => Some(resolve(&object, Some(name.as_str()), specs)?),
            None => None,
        };
        let is_its_host = |host: &&mut Host| match named {
            Some(named) => host.name == named.name.as_str(),
            None => {
                let mut groups = (host.manifest.vswitches().iter()).flat_map(|one| &one.portgroups);
                groups.any(|group| group.name == vmk.portgroup)
            }
        };
        let mut its_hosts: Vec<_> = hosts.iter_mut().filter(is_its_host).collect();
        let host = match its_hosts.as_mut_slice() {
            [host] => host,
            [] => {
                let problem = format!("port group {} does not exist", vmk.portgroup);
                return Err(
                    LabError::invalid(object, problem).hint("name a port group that one host has")
                );
            }
            [first, ..] => {
                let problem = format!("several hosts have the port group {}", vmk.portgroup);
                return Err(LabError::invalid(format!("{object}: host"), problem)
                    .hint(format!("add 'host: {}'", first.name)));
            }
        };
        let vmks = host.manifest.vmks.get_or_insert_default();
        if vmks.iter().any(|other| other.name == vmk.name) {
            let problem = format!("stands twice on host {}", host.name);
            return Err(LabError::invalid(object, problem).hint("keep one of them"));
        }
        vmks.push(VmkSection {
            host: None,
            ..vmk.clone()
        });
    }
    Ok(())
}

/// Gives the NetFlow of a switch to the host that has the switch.
fn plan_netflow(
    manifest: &Manifest,
    specs: &[HostSpec],
    hosts: &mut [Host],
) -> Result<(), LabError> {
    for section in manifest.netflow() {
        let object = format!("netflow {}", section.vswitch);
        let named = section.host.as_ref().map(|host| host.as_str());
        let place = resolve(&object, named, specs)?;
        let host = hosts
            .iter_mut()
            .find(|host| host.name == place.name.as_str());
        let host = host.expect("every spec of a host was planned");
        let switches = host.manifest.vswitches();
        if !switches.iter().any(|switch| switch.name == section.vswitch) {
            let known = switches.iter().map(|switch| switch.name.as_str());
            let near = nearest(section.vswitch.as_str(), known);
            return Err(LabError::new(
                ProblemKind::NotFound,
                format!("host {}: {object}", host.name),
                format!("standard switch {} does not exist", section.vswitch),
            )
            .hint(near.map_or_else(
                || "add it under 'vswitches:'".to_owned(),
                |near| format!("did you mean {near}?"),
            )));
        }
        let netflow = host.manifest.netflow.get_or_insert_default();
        netflow.push(NetflowSection {
            host: None,
            ..section.clone()
        });
    }
    Ok(())
}

fn hosts_of(manifest: &Manifest) -> Result<Vec<HostSpec>, LabError> {
    if manifest.vms.is_empty() && manifest.hosts.is_empty() {
        return Err(LabError::invalid("lab file", "lists neither hosts nor VMs")
            .hint("add 'hosts:' and 'vms:'; examples/mirror.yaml is a lab file"));
    }
    if let Some(port) = manifest.ports().first() {
        return Err(LabError::invalid(
            format!("port {}", port.name),
            "a lab makes its ports from 'vms:'",
        )
        .hint(format!(
            "write it as a VM: {{name: {}, portgroup: {}}}",
            port.name, port.portgroup
        )));
    }
    if !manifest.hosts.is_empty() {
        return Ok(manifest.hosts.clone());
    }
    let name = manifest
        .vswitches()
        .iter()
        .find_map(|section| section.host.clone())
        .unwrap_or_else(|| {
            IMPLIED_HOST
                .parse()
                .expect("a letter and a digit are a host name")
        });
    let uplinks: BTreeSet<InterfaceName> = manifest
        .vswitches()
        .iter()
        .flat_map(|section| section.uplinks.clone())
        .collect();
    Ok(vec![HostSpec {
        name,
        uplinks: uplinks.into_iter().collect(),
    }])
}

/// `lab exec` finds members by name, so hosts and VMs share one space of names.
fn check_names(manifest: &Manifest, hosts: &[HostSpec]) -> Result<(), LabError> {
    let mut seen = BTreeMap::from([(FABRIC, "the namespace where uplinks meet")]);
    let names = hosts.iter().map(|host| ("host", host.name.as_str()));
    for (kind, name) in names.chain(manifest.vms.iter().map(|vm| ("VM", vm.name.as_str()))) {
        if let Some(other) = seen.insert(name, if kind == "VM" { "a VM" } else { "a host" }) {
            return Err(LabError::invalid(
                format!("{kind} {name}: name"),
                format!("is also that of {other}"),
            )
            .hint("give every host and VM of a lab its own name"));
        }
    }
    Ok(())
}

/// The host that an object of the lab file names, or the only one.
fn resolve<'a>(
    object: &str,
    named: Option<&str>,
    hosts: &'a [HostSpec],
) -> Result<&'a HostSpec, LabError> {
    match (named, hosts) {
        (None, [only]) => Ok(only),
        (None, _) => Err(LabError::invalid(
            format!("{object}: host"),
            "is missing in a lab of several hosts",
        )
        .hint(format!("add 'host: {}'", hosts[0].name))),
        (Some(name), _) => hosts
            .iter()
            .find(|host| host.name.as_str() == name)
            .ok_or_else(|| {
                let known = hosts.iter().map(|host| host.name.as_str());
                LabError::new(
                    ProblemKind::NotFound,
                    format!("{object}: host"),
                    format!("{name} does not exist"),
                )
                .hint(nearest(name, known).map_or_else(
                    || "add it under 'hosts:'".to_owned(),
                    |near| format!("did you mean {near}?"),
                ))
            }),
    }
}

fn plan_host(
    lab: &LabName,
    spec: &HostSpec,
    whole: &Manifest,
    hosts: &[HostSpec],
) -> Result<Host, LabError> {
    let name = spec.name.to_string();
    let socket = record::directory(lab).join(&name).join(record::SOCKET);
    if socket.as_os_str().len() > LONGEST_SOCKET {
        return Err(LabError::invalid(
            format!("host {name}: name"),
            "is too long for the path of the agent's socket",
        )
        .hint("use a shorter name for the host, or a shorter --name for the lab"));
    }
    let mut vswitches: Vec<VswitchSection> = Vec::new();
    for section in whole.vswitches() {
        let object = format!("standard switch {}", section.name);
        if resolve(
            &object,
            section.host.as_ref().map(|host| host.as_str()),
            hosts,
        )?
        .name
            != spec.name
        {
            continue;
        }
        if vswitches.iter().any(|other| other.name == section.name) {
            return Err(
                LabError::invalid(object, format!("stands twice on host {name}"))
                    .hint("keep one of them"),
            );
        }
        if let Some(unknown) = section
            .uplinks
            .iter()
            .find(|uplink| !spec.uplinks.contains(uplink))
        {
            return Err(LabError::new(
                ProblemKind::NotFound,
                format!("{object}: uplinks"),
                format!("host {name} has no interface {unknown}"),
            )
            .hint(format!(
                "add it: hosts: [{{name: {name}, uplinks: [{unknown}]}}]"
            )));
        }
        vswitches.push(VswitchSection {
            host: None,
            ..section.clone()
        });
    }
    let mtu = |uplink: &InterfaceName| {
        let users = vswitches
            .iter()
            .filter(|section| section.uplinks.contains(uplink));
        users
            .map(|section| section.mtu)
            .max()
            .unwrap_or_default()
            .octets()
    };
    let uplinks = spec.uplinks.iter().map(|uplink| Uplink {
        interface: uplink.to_string(),
        fabric_end: String::new(),
        mtu: mtu(uplink),
    });
    Ok(Host {
        namespace: name::namespace(lab, &name),
        uplinks: uplinks.collect(),
        manifest: Manifest {
            vswitches: Some(vswitches),
            ..Manifest::default()
        },
        name,
    })
}

/// Does what the host's agent will do, on paper.
fn check_configuration(host: &Host) -> Result<(), LabError> {
    let mut intent = Intent::default();
    for change in host.manifest.changes() {
        (intent, _) = intent
            .apply(&change)
            .map_err(|error| refused(host, &change, &error))?;
    }
    Ok(())
}

fn refused(host: &Host, change: &Change, error: &ModelError) -> LabError {
    let kind = match error {
        ModelError::Unknown { .. }
        | ModelError::UnknownTarget { .. }
        | ModelError::NoSuchUplink { .. } => ProblemKind::NotFound,
        _ => ProblemKind::Invalid,
    };
    // The error's text starts with its object.
    let problem = error.to_string();
    let object = change.object().to_string();
    let problem = problem
        .strip_prefix(&object)
        .map_or(problem.as_str(), |rest| rest.trim_start_matches([':', ' ']));
    LabError::new(kind, format!("host {}: {object}", host.name), problem).hint(hint(host, error))
}

/// What to do in the lab file, where the remedy of the model is a command for a host.
fn hint(host: &Host, error: &ModelError) -> String {
    match error {
        ModelError::UnknownTarget {
            target,
            suggestion: None,
            ..
        } if target.kind == ObjectKind::Portgroup => {
            let sections = host.manifest.vswitches().iter();
            let known: Vec<&str> = sections
                .flat_map(|section| &section.portgroups)
                .map(|group| group.name.as_str())
                .collect();
            let name = &host.name;
            if known.is_empty() {
                return format!("add it under 'portgroups:' of a switch of {name}");
            }
            format!(
                "the port groups of {name} in the lab file are: {}",
                known.join(", ")
            )
        }
        ModelError::AlreadyExists { .. } => {
            "keep one of them, or give each its own name".to_owned()
        }
        ModelError::NoSuchUplink {
            nearest: None,
            switch,
            ..
        } => format!("add it under 'uplinks:' of {switch}"),
        ModelError::StandbyWithIpHash { .. } => {
            "choose another policy, or have none standby".to_owned()
        }
        ModelError::NoCollector { switch, .. } => {
            format!(
                "name its collectors: netflow: [{{vswitch: {switch}, collectors: [\"ADDR:PORT\"]}}]"
            )
        }
        _ => error.remedy(),
    }
}

#[cfg(test)]
mod tests;
