//! What is wrong on a host, and the command to run next.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::{ObjectKind, ObjectRef};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is about.
    pub object: ObjectRef,
    /// What kind of fault it is.
    pub cause: Cause,
    /// What is wrong.
    pub reason: String,
    /// The command to run next.
    pub next: String,
}

/// Kinds of faults, worst first: what an operator should look at before anything else comes before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// A poll thread stands still.
    Stalled,
    /// The stored configuration is damaged.
    State,
    /// Changes cannot be stored, so they are refused.
    Storage,
    /// The agent has no file descriptors left.
    Descriptors,
    /// A change waits for its confirmation and is taken back without it.
    Unconfirmed,
    /// A poll thread cannot keep up.
    Saturated,
    /// The interface does not exist.
    NoInterface,
    /// The interface is set down.
    InterfaceDown,
    /// The interface has no carrier.
    NoCarrier,
    /// No uplink of a port group is usable.
    NoUplink,
    /// The engine cannot be opened.
    NotAttached,
    /// The VM or its hypervisor did what cannot be.
    GuestFailed,
    /// The VM is connected, and its driver does not use the adapter yet.
    GuestNotReady,
    /// Two guests use one address.
    AddressConflict,
    /// Frames are being dropped.
    Drops,
    /// Flows are not told to collectors as they should be.
    Netflow,
    /// It works, but not as it should.
    Warning,
    /// No VM is connected, as when it is switched off.
    NoGuest,
    /// The administrator blocked the port.
    Blocked,
    /// The administrator set the link down.
    LinkSetDown,
}

impl Cause {
    /// What is wrong with several objects at once, where they can have the same cause.
    fn of_several(self) -> Option<&'static str> {
        Some(match self {
            Self::NoInterface => "their interfaces do not exist",
            Self::InterfaceDown => "their interfaces are set down",
            Self::NoCarrier => "their interfaces have no carrier",
            Self::NoUplink => "none of their uplinks is usable",
            Self::NotAttached => "they cannot be attached",
            Self::GuestFailed => "their guests failed",
            Self::GuestNotReady => "their guests do not use the adapter yet",
            Self::NoGuest => "no VM is connected",
            Self::AddressConflict => "their guests use addresses that other ports have",
            Self::Warning => "they work, but not as they should",
            Self::Blocked => "blocked by their administrator",
            Self::LinkSetDown => "their administrator set the link down",
            Self::Stalled
            | Self::State
            | Self::Storage
            | Self::Descriptors
            | Self::Unconfirmed
            | Self::Saturated
            | Self::Drops
            | Self::Netflow => return None,
        })
    }
}

/// Findings of one kind of object that have the same cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingGroup {
    /// The first of them.
    pub first: Finding,
    /// The names of the objects after the first; few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// The command to run next.
    pub next: String,
}

/// Names of a group that are shown.
const NAMES: usize = 3;

impl FindingGroup {
    /// Puts together what is wrong with several objects of a kind for the same cause. Groups are in the order of their first
    /// findings.
    pub fn of(findings: &[Finding]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for finding in findings {
            let same = |group: &&mut Self| {
                let first = &group.first;
                finding.cause.of_several().is_some()
                    && (first.cause, first.object.kind) == (finding.cause, finding.object.kind)
            };
            match groups.iter_mut().find(same) {
                Some(group) => {
                    group.count += 1;
                    if group.others.len() + 1 < NAMES {
                        group.others.push(finding.object.name.clone());
                    }
                    group.next = next_of_several(finding);
                }
                None => groups.push(Self {
                    first: finding.clone(),
                    others: Vec::new(),
                    count: 1,
                    next: finding.next.clone(),
                }),
            }
        }
        groups
    }
}

/// A command about one object says nothing about the others.
fn next_of_several(Finding { object, cause, .. }: &Finding) -> String {
    match (cause, object.kind) {
        (Cause::AddressConflict, _) => "weft fdb list",
        (Cause::NoInterface | Cause::InterfaceDown | Cause::NoCarrier, _) => "ip -brief link",
        (Cause::Warning, ObjectKind::Port | ObjectKind::Vmk) => "weft port list -o wide",
        (Cause::Warning, _) => "weft uplink list -o wide",
        (_, ObjectKind::Port) => "weft port list",
        (_, ObjectKind::Vmk) => "weft vmk list",
        (_, _) => "weft uplink list",
    }
    .to_owned()
}

/// `port a: interface p-a does not exist`, or `3000 ports (a, b, c, ...): their interfaces do not exist`.
impl fmt::Display for FindingGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            others,
            count,
            ..
        } = self;
        if *count == 1 {
            return write!(f, "{}: {}", first.object, first.reason);
        }
        write!(f, "{count} {}s ({}", first.object.kind, first.object.name)?;
        for name in others {
            write!(f, ", {name}")?;
        }
        let more = if *count > others.len() + 1 {
            ", ..."
        } else {
            ""
        };
        let what = first.cause.of_several().unwrap_or(&first.reason);
        write!(f, "{more}): {what}")?;
        match first.cause {
            // What it is differs from one to the next.
            Cause::NotAttached | Cause::GuestFailed | Cause::Warning => {
                write!(f, "; {}: {}", first.object.name, first.reason)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: ObjectKind, name: &str, cause: Cause) -> Finding {
        Finding {
            object: ObjectRef::new(kind, name),
            cause,
            reason: format!("interface p-{name} does not exist"),
            next: format!("weft port show {name}"),
        }
    }

    fn shown(findings: &[Finding]) -> Vec<(String, String)> {
        let groups = FindingGroup::of(findings);
        let shown = groups
            .iter()
            .map(|group| (group.to_string(), group.next.clone()));
        shown.collect()
    }

    #[test]
    fn one_object_keeps_its_own_words() {
        let findings = [finding(ObjectKind::Port, "a", Cause::NoInterface)];
        let expected = (
            "port a: interface p-a does not exist".to_owned(),
            "weft port show a".to_owned(),
        );
        assert_eq!(shown(&findings), [expected]);
    }

    #[test]
    fn thousands_with_one_cause_are_one_line() {
        let mut findings: Vec<_> = (0..3000)
            .map(|number| finding(ObjectKind::Port, &format!("vm{number}"), Cause::NoInterface))
            .collect();
        findings.push(finding(ObjectKind::Uplink, "eth1", Cause::NoInterface));
        findings.push(finding(ObjectKind::Port, "w1", Cause::Warning));
        findings.push(finding(ObjectKind::Port, "w2", Cause::Warning));
        findings.push(finding(ObjectKind::Port, "b", Cause::Blocked));
        findings.push(finding(ObjectKind::Port, "c", Cause::Blocked));
        let lines = shown(&findings);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(
            lines[0],
            (
                "3000 ports (vm0, vm1, vm2, ...): their interfaces do not exist".to_owned(),
                "ip -brief link".to_owned()
            )
        );
        assert_eq!(
            lines[1].0,
            "uplink eth1: interface p-eth1 does not exist".to_owned()
        );
        assert_eq!(
            lines[2].0,
            "2 ports (w1, w2): they work, but not as they should; w1: interface p-w1 does not exist"
        );
        assert_eq!(
            lines[3],
            (
                "2 ports (b, c): blocked by their administrator".to_owned(),
                "weft port list".to_owned()
            )
        );
    }

    #[test]
    fn what_has_no_common_cause_stays_apart() {
        let findings = ["a", "b"].map(|name| finding(ObjectKind::Port, name, Cause::Drops));
        assert_eq!(shown(&findings).len(), 2);
    }
}
