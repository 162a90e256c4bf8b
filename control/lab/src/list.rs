//! How labs stand.

use std::path::{Path, PathBuf};

use serde::Serialize;
use weft_packet::MacAddr;

use crate::LabError;
use crate::plan::FABRIC;
use crate::record::{HostPaths, Record};

/// How a lab stands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabReport {
    /// Its name.
    pub name: String,
    /// Whether all of it is there.
    pub state: LabState,
    /// What it consists of.
    pub members: Vec<Member>,
}

/// Whether a lab is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LabState {
    /// All of it is there.
    Up,
    /// It is being made.
    Starting,
    /// Its making was cut short, or an agent or a namespace is gone.
    Broken,
}

/// A part of a lab.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// `host`, `vm` or `fabric`.
    pub kind: &'static str,
    /// Its name, which `weft lab exec` takes.
    pub name: String,
    /// The host of a VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its network namespace.
    pub namespace: String,
    /// The host's end of a VM's interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The address of a VM's interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The IP address of a VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The process of a host's agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_pid: Option<u32>,
    /// The socket of a host's agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_socket: Option<PathBuf>,
    /// What is missing of it. `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'static str>,
}

/// Every lab of this machine.
///
/// # Errors
/// When a lab's record cannot be read.
pub fn list() -> Result<Vec<LabReport>, LabError> {
    Ok(Record::load_all()?.iter().map(report).collect())
}

/// How one lab stands.
pub(crate) fn report(record: &Record) -> LabReport {
    let plan = &record.plan;
    let blank = |kind, name: &str, namespace: &str| Member {
        kind,
        name: name.to_owned(),
        host: None,
        namespace: namespace.to_owned(),
        interface: None,
        mac: None,
        ip: None,
        agent_pid: None,
        agent_socket: None,
        problem: (!Path::new("/run/netns").join(namespace).exists())
            .then_some("its namespace is gone"),
    };
    let hosts = plan.hosts.iter().map(|host| {
        let paths = HostPaths::new(&plan.lab, host);
        let agent = paths.agent().filter(|agent| agent.is_running());
        let member = blank("host", &host.name, &host.namespace);
        Member {
            agent_pid: agent.map(|agent| agent.pid),
            agent_socket: Some(paths.socket()),
            problem: member
                .problem
                .or_else(|| agent.is_none().then_some("its agent does not run")),
            ..member
        }
    });
    let vms = plan.vms.iter().map(|vm| Member {
        host: Some(vm.host.clone()),
        interface: Some(vm.host_end.clone()),
        mac: Some(vm.mac),
        ip: vm.ip.clone(),
        ..blank("vm", &vm.name, &vm.namespace)
    });
    let fabric = plan
        .fabric
        .iter()
        .map(|namespace| blank("fabric", FABRIC, namespace));
    let members: Vec<Member> = hosts.chain(vms).chain(fabric).collect();
    let state = match (
        record.complete,
        members.iter().all(|member| member.problem.is_none()),
    ) {
        (true, true) if !record.is_abandoned() => LabState::Up,
        (false, _) if record.maker.is_running() => LabState::Starting,
        _ => LabState::Broken,
    };
    LabReport {
        name: plan.lab.to_string(),
        state,
        members,
    }
}
