//! Whether the interfaces that a change asks for can be taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_api::{Problem, ProblemKind};
use weft_model::{Change, InterfaceName, ObjectRef, Outcome, PortKey, nearest};

use super::{Host, Order};
use crate::host::status::object;
use crate::state::State;

/// The objects that changes are made to: one of them is to blame for what a port or an uplink lacks.
pub(super) struct Concerned(BTreeSet<ObjectRef>);

impl Concerned {
    /// Those that these changes do something to.
    pub(super) fn by(changes: &[Change], outcomes: &[Outcome]) -> Self {
        let made = changes.iter().zip(outcomes);
        let made = made.filter(|(_, outcome)| **outcome != Outcome::Unchanged);
        Self(made.map(|(change, _)| change.object()).collect())
    }

    /// Refuses a port's address that one of the host's own interfaces has.
    pub(super) fn expect_own_adapters(&self, next: &State) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let changed: Vec<_> = self.0.iter().cloned().collect();
        Ok(next.intent.check_on(&next.host, &changed)?)
    }

    /// The object to blame for a port or an uplink: the port, or what it inherits from.
    fn to_blame(&self, state: &State, key: &PortKey) -> ObjectRef {
        let intent = &state.intent;
        let (own, switch) = match key {
            PortKey::Port(name) => {
                let port = intent.ports.get(name).map(|object| &object.spec);
                let group = port.and_then(|port| intent.portgroups.get(&port.portgroup));
                let group = group.map(|object| &object.spec);
                let own = [
                    port.map(Into::into),
                    group.map(|group| (&group.name).into()),
                ];
                (own, group.map(|group| (&group.vswitch).into()))
            }
            PortKey::Uplink(interface) => {
                let switch = intent.uplinks().find(|(_, uplink)| *uplink == interface);
                ([None, None], switch.map(|(switch, _)| switch.into()))
            }
        };
        let chain = || own.iter().chain([&switch]).flatten();
        let changed = chain().find(|object| self.0.contains(object));
        let blamed = changed.or_else(|| chain().next()).cloned();
        blamed.unwrap_or_else(|| object(key))
    }

    /// The problem, about the object if there is one only.
    pub(super) fn about(&self, problem: Problem) -> Problem {
        match self.0.iter().next() {
            Some(object) if self.0.len() == 1 => problem.about(object.clone()),
            _ => problem,
        }
    }

    /// The problem of a port or an uplink, with the object to blame for it.
    pub(super) fn blamed(&self, state: &State, key: &PortKey, problem: Problem) -> Problem {
        let object = self.to_blame(state, key);
        let message = format!("{object}: {}", problem.message);
        Problem { message, ..problem }.about(object)
    }
}

impl Host {
    /// Refuses interfaces that do not exist, that the host needs for itself, or whose own MTU is too small. Of a forced change,
    /// returns instead what is down by it, and of a dry run that is told to go on what takes consent, each a full sentence.
    pub(super) fn check_interfaces(
        &self,
        before: &State,
        next: &mut State,
        concerned: &Concerned,
        order: &Order,
    ) -> Result<Vec<String>, Problem> {
        let mut warnings = Vec::new();
        let known = before.wanted();
        for (key, wanted) in next.wanted() {
            let present = known.get(&key);
            if present == Some(&wanted) {
                continue;
            }
            let Some(interface) = wanted.link().cloned() else {
                continue;
            };
            let is_new = present.and_then(|present| present.link()) != Some(&interface);
            let link = self.plane.link(&interface)?;
            let mut refuse = |problem: Problem| {
                if order.forced {
                    warnings.push(stays_down(&key, &problem));
                    Ok(())
                } else {
                    Err(concerned.blamed(next, &key, problem))
                }
            };
            if let Some(link) = link
                && link.mtu < u32::from(wanted.mtu)
            {
                refuse(small_interface(&interface, link.mtu, wanted.mtu))?;
            }
            if !is_new {
                continue;
            }
            let Some(link) = link else {
                refuse(no_interface(before, &interface).in_field(wanted.field()))?;
                Arc::make_mut(&mut next.links).remove(&interface);
                continue;
            };
            // What a port or an uplink has already was asked about when it was taken.
            let is_ours = before.intent.holder_of(&interface).is_some();
            let is_of_interest = !order.yes || order.dry_run;
            if is_of_interest
                && !is_ours
                && let Some(used) = self.plane.uses(link)?.first()
            {
                if order.yes {
                    warnings.push(format!(
                        "Interface {interface} {used}: the host itself loses it; it takes --yes."
                    ));
                    Arc::make_mut(&mut next.links).insert(interface, link);
                    continue;
                }
                let message = format!("interface {interface} {used}");
                let problem = Problem::new(ProblemKind::Conflict, message)
                    .in_field(wanted.field())
                    .with_remedy("the host itself loses it; say --yes if that is meant, or use another interface");
                return Err(concerned.blamed(next, &key, problem));
            }
            Arc::make_mut(&mut next.links).insert(interface, link);
        }
        Ok(warnings)
    }
}

/// That a port or an uplink is down by a change that is made all the same.
pub(super) fn stays_down(key: &PortKey, problem: &Problem) -> String {
    let object = object(key).to_string();
    let (first, rest) = object.split_at(1);
    format!(
        "{}{rest} is down then: {}.",
        first.to_uppercase(),
        problem.message
    )
}

fn small_interface(interface: &InterfaceName, own: u32, mtu: u16) -> Problem {
    let message =
        format!("MTU {mtu} does not fit interface {interface}: the interface's own MTU is {own}");
    Problem::new(ProblemKind::Invalid, message)
        .in_field("mtu")
        .with_remedy(format!(
            "raise it with 'ip link set dev {interface} mtu {mtu}', or set a smaller MTU on the switch"
        ))
}

fn no_interface(state: &State, interface: &InterfaceName) -> Problem {
    let suggestion = nearest(
        interface.as_str(),
        state.links.keys().map(InterfaceName::as_str),
    )
    .map(str::to_owned);
    let remedy = match &suggestion {
        Some(near) => format!("did you mean {near}?"),
        None => "create it first, or name another; see 'ip link'".to_owned(),
    };
    let message = format!("interface {interface} does not exist");
    let problem = Problem::new(ProblemKind::NotFound, message).with_remedy(remedy);
    Problem {
        suggestion,
        ..problem
    }
}
