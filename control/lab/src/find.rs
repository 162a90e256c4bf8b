//! Finding labs and their members, and running commands in them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use weft_model::nearest;
use weft_packet::MacAddr;

use crate::LabError;
use crate::command;
use crate::name::LabName;
use crate::plan::FABRIC;
use crate::record::{HostPaths, Record};

/// The lab of this name.
pub(crate) fn lab(name: &LabName) -> Result<Record, LabError> {
    Record::load(name)?.ok_or_else(|| {
        let known: Vec<String> = Record::load_all()
            .unwrap_or_default()
            .iter()
            .map(|record| record.plan.lab.to_string())
            .collect();
        let near = nearest(name.as_str(), known.iter().map(String::as_str));
        LabError::not_found(format!("lab {name}"), "does not exist").hint(near.map_or_else(
            || "see 'weft lab ls'".to_owned(),
            |near| format!("did you mean {near}?"),
        ))
    })
}

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

fn report(record: &Record) -> LabReport {
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

/// Becomes `command`, in the namespace of the VM or host that `name` or `LAB/NAME` says. On a host, `weft` is `weft` itself
/// and `WEFT_AGENT` names the host's agent. Returns only if that fails.
pub fn exec(name: &str, command: &[OsString], weft: &Path) -> LabError {
    match prepare(name, command, weft) {
        Ok(mut prepared) => LabError::io(format!("{prepared:?}"), &prepared.exec()),
        Err(error) => error,
    }
}

fn prepare(name: &str, command: &[OsString], weft: &Path) -> Result<Command, LabError> {
    let (record, member) = resolve(name)?;
    let (namespace, host) = record
        .plan
        .member(&member)
        .expect("a member was resolved in this plan");
    let Some((first, _)) = command.split_first() else {
        return Err(LabError::invalid("command", "is missing")
            .hint("write it behind '--', as in: -- ip addr"));
    };
    let plain = first.to_str().filter(|first| !first.contains('/'));
    let own = weft.file_name().is_some_and(|own| own == first);
    if plain.is_some_and(|first| !own && command::find(first).is_none()) {
        return Err(LabError::not_found(
            format!("command {}", first.display()),
            "is in no directory of PATH",
        ));
    }
    let ip = command::find("ip").ok_or_else(|| {
        LabError::failed("ip", "is not installed").hint("apt-get install iproute2")
    })?;
    let mut prepared = Command::new(ip);
    prepared.args(["netns", "exec", namespace]).args(command);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = weft
        .parent()
        .map(Path::to_owned)
        .into_iter()
        .chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(directories) {
        prepared.env("PATH", path);
    }
    if let Some(host) = host {
        prepared.env(
            "WEFT_AGENT",
            HostPaths::new(&record.plan.lab, host).socket(),
        );
    }
    Ok(prepared)
}

/// The lab and the name of the member that `name` or `LAB/NAME` means.
fn resolve(name: &str) -> Result<(Record, String), LabError> {
    let (labs, member) = match name.split_once('/') {
        Some((lab_name, member)) => (vec![lab(&lab_name.parse()?)?], member),
        None => (Record::load_all()?, name),
    };
    let matching: Vec<&Record> = labs
        .iter()
        .filter(|record| record.plan.member(member).is_some())
        .collect();
    match matching.as_slice() {
        [only] => Ok(((*only).clone(), member.to_owned())),
        [] => {
            let known = labs.iter().flat_map(|record| record.plan.members());
            let hint = match nearest(member, known) {
                Some(near) => format!("did you mean {near}?"),
                None if labs.is_empty() => {
                    "no lab is up; start one with 'weft lab up FILE'".to_owned()
                }
                None => "see 'weft lab ls'".to_owned(),
            };
            Err(
                LabError::not_found(format!("VM or host {member}"), "does not exist in any lab")
                    .hint(hint),
            )
        }
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|record| format!("{}/{member}", record.plan.lab))
                .collect();
            Err(LabError::conflict(
                format!("VM or host {member}"),
                format!("exists in several labs: {}", names.join(", ")),
            )
            .hint(format!("say which: weft lab exec {} -- ...", names[0])))
        }
    }
}
