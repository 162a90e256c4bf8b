//! A change that somebody asked for: checked, prepared, durable, in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use weft_api::{ChangeOptions, ChangeResult, Problem, ProblemKind};
use weft_datapath::PortId;
use weft_model::{
    Change, Intent, InterfaceName, ObjectKind, ObjectRef, Outcome, PortKey, PortName, nearest,
};

use super::Host;
use crate::addresses::{Addresses, Conflict};
use crate::plane::{FULL_WAIT, attach_problem};
use crate::state::{Engine, Failure, State};
use crate::wanted::Wanted;

/// What was done to engines before a change is durable, and is undone if it does not become so.
enum Step {
    /// Opened one.
    Opened(PortId),
    /// Closed one to open it with other settings.
    Replaced(PortKey, Engine),
}

impl Host {
    /// Makes a change whole or not at all. Calls `durable` as soon as nothing can undo it; returns when it is in
    /// force. Blocks.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed. `timedOut`: it is durable, and a poll thread does not answer.
    pub(crate) fn change(
        &self,
        change: &Change,
        options: ChangeOptions,
        durable: impl FnOnce(&ChangeResult),
    ) -> Result<ChangeResult, Problem> {
        let mut store = self.writer();
        let before = self.state();
        if let Some(expected) = options.resource_version {
            before.intent.expect_version(&change.object(), expected)?;
        }
        let (intent, outcome) = before.intent.apply(change)?;
        let mut next = before.clone();
        next.intent = Arc::new(intent);
        next.number()?;
        self.check_interfaces(&before, &mut next, change, options.yes)?;
        let mut result = self.describe(change, outcome, &before, &next);
        result.dry_run = options.dry_run;
        if options.dry_run || result.outcome == Outcome::Unchanged {
            durable(&result);
            return Ok(result);
        }
        let steps = self.open_engines(&change.object(), &before, &mut next)?;
        if let Err(error) = store.save(&next.intent, &in_words(change, &result.outcome)) {
            self.undo(steps, before);
            tracing::error!(%error, "a change is refused because it cannot be made durable");
            return Err(Problem::from(error).about(change.object()));
        }
        durable(&result);
        let applied = self.put_in_force(&before, next);
        tracing::info!(change = in_words(change, &result.outcome), "changed");
        applied.map(|()| result)
    }

    /// Refuses interfaces that do not exist, that the host needs for itself, or whose own MTU is too small.
    fn check_interfaces(
        &self,
        before: &State,
        next: &mut State,
        change: &Change,
        yes: bool,
    ) -> Result<(), Problem> {
        let known = before.wanted();
        for (key, wanted) in next.wanted() {
            let is_new = !known.contains_key(&key);
            if known.get(&key) == Some(&wanted) {
                continue;
            }
            let Some(interface) = wanted.link().cloned() else {
                continue;
            };
            let (field, mtu) = (wanted.field(), wanted.mtu);
            let link = self.plane.link(&interface)?;
            if let Some(link) = link
                && link.mtu < u32::from(mtu)
            {
                return Err(small_interface(&interface, link.mtu, mtu, change.object()));
            }
            if !is_new {
                continue;
            }
            let Some(link) = link else {
                return Err(no_interface(before, &interface, change.object()).in_field(field));
            };
            if !yes && let Some(used) = self.plane.uses(link)?.first() {
                let message = format!("{}: interface {interface} {used}", change.object());
                return Err(Problem::new(ProblemKind::Conflict, message)
                    .about(change.object())
                    .in_field(field)
                    .with_remedy("the host itself loses it; say --yes if that is meant, or use another interface"));
            }
            Arc::make_mut(&mut next.links).insert(interface, link);
        }
        Ok(())
    }

    fn describe(
        &self,
        change: &Change,
        outcome: Outcome,
        before: &State,
        next: &State,
    ) -> ChangeResult {
        let addresses = self.addresses().clone();
        let mut settled_addresses = addresses.clone();
        let settled = settled_addresses.settle(&next.intent);
        let configs = |state: &State, addresses: &Addresses| -> BTreeMap<PortId, _> {
            state
                .compile(addresses)
                .ports
                .into_iter()
                .map(|port| (port.id, port))
                .collect()
        };
        let (old, new) = (
            configs(before, &addresses),
            configs(next, &settled_addresses),
        );
        let ports: Vec<PortName> = before
            .intent
            .ports
            .keys()
            .filter(|name| {
                let id = before.id(&PortKey::Port((*name).clone()));
                id.is_some_and(|id| new.contains_key(&id) && old.get(&id) != new.get(&id))
            })
            .cloned()
            .collect();
        let (was, is) = (before.wanted(), next.wanted());
        let differ = |one: &BTreeMap<PortKey, Wanted>,
                      other: &BTreeMap<PortKey, Wanted>|
         -> Vec<InterfaceName> {
            one.iter()
                .filter(|(key, _)| !other.contains_key(key))
                .filter_map(|(_, wanted)| wanted.interface().cloned())
                .collect()
        };
        let mut interfaces = differ(&is, &was);
        interfaces.extend(differ(&was, &is));
        let reopened = is
            .iter()
            .filter(|(key, wanted)| was.get(key).is_some_and(|old| !old.serves(wanted)))
            .count();
        let mut warnings: Vec<_> = settled
            .displaced
            .iter()
            .map(|Conflict { port, mac, holder }| {
                format!(
                    "Port {port} loses the address {mac}, which its guest uses, to port {holder}."
                )
            })
            .collect();
        if reopened > 0 {
            warnings.push(match reopened {
                1 => "The engine of 1 port or uplink is opened anew; its traffic pauses.".to_owned(),
                _ => format!("The engines of {reopened} ports and uplinks are opened anew; their traffic pauses."),
            });
        }
        ChangeResult {
            object: change.object(),
            outcome,
            dry_run: false,
            ports,
            interfaces,
            warnings,
        }
    }

    /// Opens the engines of what is new, and those whose settings change anew, for a change of `object`.
    ///
    /// # Errors
    /// The first one that cannot be opened; all are then as before.
    fn open_engines(
        &self,
        object: &ObjectRef,
        before: &State,
        next: &mut State,
    ) -> Result<Vec<Step>, Problem> {
        let known = before.wanted();
        let mut steps = Vec::new();
        for (key, wanted) in next.wanted() {
            let present = before.engines.get(&key);
            if present.is_some_and(|engine| engine.wanted.serves(&wanted))
                || (present.is_none() && known.contains_key(&key))
            {
                continue;
            }
            let Some(id) = next.id(&key) else { continue };
            let on = match wanted.link() {
                None => None,
                Some(interface) => {
                    let Some(link) = next.links.get(interface) else {
                        continue;
                    };
                    // Interfaces of new ports were read just now; of others, news may still be on its way.
                    let now = present.and_then(|_| self.plane.link(interface).ok().flatten());
                    Some(now.filter(|now| now.index == link.index).unwrap_or(*link))
                }
            };
            if let Some(engine) = present {
                self.plane.detach(id);
                steps.push(Step::Replaced(key.clone(), engine.clone()));
            }
            match self.plane.attach(id, &wanted, FULL_WAIT) {
                Ok(_) => {
                    if present.is_none() {
                        steps.push(Step::Opened(id));
                    }
                    self.readopt(&key, id);
                    self.note_device(next, &wanted);
                    let on = wanted.opened_on(on);
                    next.engines.insert(key, Engine { id, wanted, on });
                }
                Err(error) => {
                    self.undo(steps, before.clone());
                    let field = match present {
                        // All that a change can ask anew of an interface.
                        Some(_) => "mtu",
                        None => wanted.field(),
                    };
                    let problem = attach_problem(&wanted, &error);
                    let message = format!("{object}: {}", problem.message);
                    return Err(Problem { message, ..problem }
                        .about(object.clone())
                        .in_field(field));
                }
            }
        }
        Ok(steps)
    }

    /// Notes a TAP device that has just come with its engine, so that the port's state is told right at once.
    pub(super) fn note_device(&self, next: &mut State, wanted: &Wanted) {
        let Some(device) = wanted.interface().filter(|_| wanted.link().is_none()) else {
            return;
        };
        if let Ok(Some(link)) = self.plane.link(device) {
            Arc::make_mut(&mut next.links).insert(device.clone(), link);
        }
    }

    /// Brings the engines back to what they were before a refused change.
    fn undo(&self, steps: Vec<Step>, mut before: State) {
        let mut replaced = false;
        for step in steps.into_iter().rev() {
            match step {
                Step::Opened(id) => self.plane.detach(id),
                Step::Replaced(key, engine) => {
                    replaced = true;
                    self.plane.detach(engine.id);
                    match self.plane.attach(engine.id, &engine.wanted, FULL_WAIT) {
                        Ok(_) => self.readopt(&key, engine.id),
                        Err(error) => {
                            let reason = attach_problem(&engine.wanted, &error).to_string();
                            tracing::error!(reason, "a port is down after a refused change");
                            before.engines.remove(&key);
                            let failure = Failure::after(None, reason, Instant::now());
                            before.failures.insert(key, failure);
                        }
                    }
                }
            }
        }
        if replaced {
            let config = before.compile(&self.addresses());
            if let Err(problem) = self.plane.apply(&config) {
                tracing::error!(%problem, "the configuration before a refused change is not in force yet");
            }
            self.commit(before);
        }
    }

    /// Takes back what a port adopted by the configuration before, while the one that is now committed was put in force.
    fn settle_again(&self, intent: &Intent) {
        let state = self.state();
        let mut addresses = self.addresses();
        let settled = addresses.settle(intent);
        self.log_conflicts(&settled.displaced);
        for port in settled.changed {
            if let Some(id) = state.id(&PortKey::Port(port.clone())) {
                self.plane.datapath().adopt(id, addresses.of(&port).adopted);
            }
            self.addresses_are_news();
        }
    }

    /// Has the poll threads forward by a durable change, then closes what it no longer needs.
    fn put_in_force(&self, before: &State, mut next: State) -> Result<(), Problem> {
        let config = {
            let mut addresses = self.addresses();
            let settled = addresses.settle(&next.intent);
            self.log_conflicts(&settled.displaced);
            for port in settled.changed {
                if let Some(id) = next.id(&PortKey::Port(port.clone())) {
                    self.plane.datapath().adopt(id, addresses.of(&port).adopted);
                }
                self.addresses_are_news();
            }
            next.compile(&addresses)
        };
        let applied = self.plane.apply(&config);
        let wanted = next.wanted();
        for (key, engine) in &before.engines {
            if !wanted.contains_key(key) {
                self.plane.detach(engine.id);
                next.engines.remove(key);
            }
        }
        next.release_numbers();
        let intent = Arc::clone(&next.intent);
        self.commit(next);
        self.settle_again(&intent);
        applied
    }
}

fn small_interface(interface: &InterfaceName, own: u32, mtu: u16, object: ObjectRef) -> Problem {
    let message = format!(
        "{object}: MTU {mtu} does not fit interface {interface}: the interface's own MTU is {own}"
    );
    Problem::new(ProblemKind::Invalid, message)
        .about(object)
        .in_field("mtu")
        .with_remedy(format!(
            "raise it with 'ip link set dev {interface} mtu {mtu}', or set a smaller MTU on the switch"
        ))
}

fn no_interface(state: &State, interface: &InterfaceName, object: ObjectRef) -> Problem {
    let suggestion = nearest(
        interface.as_str(),
        state.links.keys().map(InterfaceName::as_str),
    )
    .map(str::to_owned);
    let remedy = match &suggestion {
        Some(near) => format!("did you mean {near}?"),
        None => "create it first, or name another; see 'ip link'".to_owned(),
    };
    let message = format!("{object}: interface {interface} does not exist");
    let problem = Problem::new(ProblemKind::NotFound, message)
        .about(object)
        .with_remedy(remedy);
    Problem {
        suggestion,
        ..problem
    }
}

/// A change for the log and the history.
fn in_words(change: &Change, outcome: &Outcome) -> String {
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
