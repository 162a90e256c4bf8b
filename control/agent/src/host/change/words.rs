//! Changes in words: for the log, the history and the operator.

use weft_model::{Change, NetflowVersion, ObjectKind, ObjectRef, Outcome, PortSpec, PortgroupSpec};

/// Changes that are told one by one; a manifest may hold thousands.
const TOLD: usize = 5;

/// Every change with its object, what became of it, and where an object that is new belongs.
pub(super) fn described(
    changes: &[Change],
    outcomes: Vec<Outcome>,
) -> Vec<(ObjectRef, Outcome, Option<String>)> {
    let describe = |(change, outcome): (&Change, Outcome)| {
        let place = match (&outcome, change) {
            (Outcome::Created, Change::AddPortgroup(spec) | Change::PutPortgroup(spec)) => {
                let PortgroupSpec { vswitch, vlan, .. } = spec;
                Some(format!("to {vswitch}: VLAN {vlan}"))
            }
            (Outcome::Created, Change::AddPort(spec) | Change::PutPort(spec)) => {
                let PortSpec {
                    portgroup,
                    attachment,
                    ..
                } = spec;
                Some(format!("to {portgroup} on {attachment}"))
            }
            (Outcome::Created, Change::PutNetflow(spec)) => {
                let version = match spec.version {
                    NetflowVersion::Ipfix => spec.version.to_string(),
                    NetflowVersion::V9 | NetflowVersion::V5 => format!("version {}", spec.version),
                };
                Some(format!("{version} to {}", spec.collectors))
            }
            _ => None,
        };
        (change.object(), outcome, place)
    };
    changes.iter().zip(outcomes).map(describe).collect()
}

/// What changed, in one line of bounded length.
pub(super) fn of(
    changes: &[Change],
    outcomes: &[(ObjectRef, Outcome, Option<String>)],
    title: Option<&str>,
) -> String {
    let made: Vec<_> = changes
        .iter()
        .zip(outcomes)
        .filter(|(_, (_, outcome, _))| *outcome != Outcome::Unchanged)
        .collect();
    let mut text: Vec<_> = made
        .iter()
        .take(TOLD)
        .map(|(change, (_, outcome, _))| one(change, outcome))
        .collect();
    if made.len() > TOLD {
        text.push(format!("and {} more", made.len() - TOLD));
    }
    let text = text.join("; ");
    match title {
        Some(title) => format!("{title}: {text}"),
        None => text,
    }
}

fn one(change: &Change, outcome: &Outcome) -> String {
    let object = match change {
        Change::AddUplink(_, interface) | Change::DelUplink(_, interface) => {
            format!(
                "{}, {}",
                ObjectRef::new(ObjectKind::Uplink, interface),
                change.object()
            )
        }
        _ => change.object().to_string(),
    };
    match outcome {
        Outcome::Created => format!("{object} created"),
        Outcome::Deleted => format!("{object} deleted"),
        Outcome::Unchanged => format!("{object} unchanged"),
        Outcome::Changed { fields } => {
            let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
            format!("{object} changed: {}", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{Intent, VswitchSpec};

    use super::*;

    #[test]
    fn thousands_of_changes_are_one_line() {
        let changes: Vec<_> = (0..4000)
            .map(|number| {
                Change::AddVswitch(VswitchSpec::new(format!("s{number}").parse().unwrap()))
            })
            .collect();
        let (_, outcomes) = Intent::default().transact(&changes).unwrap();
        let text = of(&changes, &described(&changes, outcomes), Some("manifest"));
        assert!(
            text.starts_with("manifest: standard switch s0 created; standard switch s1 created;"),
            "{text}"
        );
        assert!(text.ends_with("and 3995 more"), "{text}");
    }
}
