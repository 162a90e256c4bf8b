//! Running commands in a lab.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use weft_model::nearest;

use crate::record::{HostPaths, Record};
use crate::{LabError, command};

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
        Some((lab_name, member)) => (vec![Record::find(&lab_name.parse()?)?], member),
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
