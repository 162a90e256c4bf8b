//! Taking a lab apart. Every step finds out by itself what is left to do, so it works on a whole lab, on one whose making
//! was cut short, and on one that is half gone.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::LabError;
use crate::command::{check_requirements, ip};
use crate::name::LabName;
use crate::process::ProcessId;
use crate::record::{HostPaths, Record};

/// How long agents, and what runs in VMs, may take to end by themselves.
const GRACE: Duration = Duration::from_secs(3);

/// Removes a lab: its processes, namespaces with their interfaces, and files. Without a name, the only lab. Returns the
/// name of the lab that was removed; `None`: there was nothing to remove.
///
/// # Errors
/// When there is no lab of that name, several and none is named, or something does not go away.
pub async fn down(lab: Option<&LabName>, dry_run: bool) -> Result<Option<LabName>, LabError> {
    let record = match lab {
        Some(lab) => Record::find(lab)?,
        None => match Record::load_all()?.as_mut_slice() {
            [] => return Ok(None),
            [only] => only.clone(),
            several => {
                let names: Vec<&str> = several
                    .iter()
                    .map(|record| record.plan.lab.as_str())
                    .collect();
                return Err(LabError::conflict(
                    "lab",
                    format!("there are several: {}", names.join(", ")),
                )
                .hint("name one: weft lab down LAB"));
            }
        },
    };
    let lab = record.plan.lab.clone();
    let this = ProcessId::of_self();
    if !record.complete && record.maker.is_running() && Some(record.maker) != this {
        return Err(LabError::conflict(
            format!("lab {lab}"),
            format!("is being made by process {}", record.maker.pid),
        )
        .hint("wait for it, or stop that process: it then removes the lab itself"));
    }
    if !dry_run {
        check_requirements(&format!("lab {lab}"), &["ip"])?;
        remove(&record).await?;
    }
    Ok(Some(lab))
}

/// Removes everything that a record names.
pub(crate) async fn remove(record: &Record) -> Result<(), LabError> {
    let plan = &record.plan;
    for host in &plan.hosts {
        if let Some(agent) = HostPaths::new(&plan.lab, host).agent() {
            agent
                .stop(GRACE)
                .await
                .map_err(|error| LabError::io(format!("host {}: agent", host.name), &error))?;
        }
    }
    for namespace in plan
        .namespaces()
        .filter(|name| Path::new("/run/netns").join(name).exists())
    {
        empty(namespace).await?;
        ip(&["netns", "del", namespace]).await?;
    }
    Record::erase(&plan.lab)
}

/// Ends every process in a namespace but this one. Processes may start others, so it looks again until there are none. Those that are
/// there are asked first, and all at once: what they leave behind, as shared memory, nobody else tidies up.
async fn empty(namespace: &str) -> Result<(), LabError> {
    let failed = |error: &std::io::Error| LabError::io(format!("namespace {namespace}"), error);
    for round in 0..10 {
        let listed = ip(&["netns", "pids", namespace]).await?;
        let this = std::process::id();
        let found: Vec<ProcessId> = listed
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter(|pid| *pid != this)
            .filter_map(ProcessId::of)
            .collect();
        if found.is_empty() {
            return Ok(());
        }
        let grace = if round == 0 { GRACE } else { Duration::ZERO };
        let mut stops = JoinSet::new();
        for process in found {
            stops.spawn(process.stop(grace));
        }
        while let Some(stopped) = stops.join_next().await {
            let stopped = stopped.map_err(std::io::Error::other);
            stopped.flatten().map_err(|error| failed(&error))?;
        }
    }
    Err(LabError::failed(
        format!("namespace {namespace}"),
        "processes in it start faster than they can be ended",
    )
    .hint(format!("see 'ip netns pids {namespace}'")))
}
