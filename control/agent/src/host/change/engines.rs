//! Opening the engines that a change needs, so that it can still be refused.

use std::collections::BTreeSet;
use std::time::Instant;

use weft_api::Problem;
use weft_datapath::PortId;
use weft_model::{InterfaceName, PortKey};

use super::interfaces::{Concerned, stays_down};
use super::{Host, Order};
use crate::host::reconcile::{AfterFailure, Opening};
use crate::plane::FULL_WAIT;
use crate::state::{Engine, Failure, State};
use crate::wanted::Wanted;

/// What was done to engines before a change is durable, and is undone if it does not become so.
pub(super) enum Step {
    /// Opened one.
    Opened(PortId),
    /// Closed one: to open it with other settings, or because another port takes its interface or socket.
    Closed(PortKey, Engine),
    /// Gave the device of one of the host's own interfaces other addresses, or took one from it.
    SetUp(InterfaceName),
}

impl Host {
    /// Opens the engines of what is new, and those whose settings change anew. Devices of the host's own interfaces whose engines
    /// stay open are given what they are to have.
    ///
    /// # Errors
    /// One that cannot be opened; all are then as before. Of a forced change none: what cannot be opened is noted, added to
    /// `warnings`, and tried again.
    pub(super) fn open_engines(
        &self,
        before: &State,
        next: &mut State,
        concerned: &Concerned,
        order: &Order,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Step>, Problem> {
        let openings = self.openings(before, next);
        let mut steps = self.make_way(next, &openings);
        let settings = self.settings(next);
        let opened = openings.iter().map(|opening| &opening.wanted);
        let set_up = settings.iter().map(|(_, wanted)| wanted);
        let vacated = self.make_room(opened.chain(set_up));
        steps.extend(vacated.into_iter().map(Step::SetUp));
        let after_failure = if order.forced {
            AfterFailure::GoOn
        } else {
            AfterFailure::Stop
        };
        let mut refused = None;
        for (position, result) in self.open(&openings, after_failure) {
            let opening = &openings[position];
            match result {
                Ok(()) => {
                    steps.push(Step::Opened(opening.id));
                    self.note_engine(next, opening);
                }
                Err(problem) if order.forced => {
                    warnings.push(stays_down(&opening.key, &problem));
                    let failure = Failure::after(None, problem.to_string(), Instant::now());
                    next.failures.insert(opening.key.clone(), failure);
                }
                Err(problem) => {
                    refused.get_or_insert((&opening.key, &opening.wanted, problem));
                }
            }
        }
        for (key, wanted) in &settings {
            let Some(adapter) = wanted.adapter().filter(|_| refused.is_none()) else {
                break;
            };
            steps.push(Step::SetUp(adapter.device.clone()));
            match self.plane.set_up(adapter) {
                Ok(()) => self.note_settings(next, key, wanted),
                Err(problem) if order.forced => {
                    // Opened anew when it is tried again.
                    if let Some(engine) = next.engines.remove(key) {
                        self.plane.detach(&[engine.id]);
                        steps.push(Step::Closed(key.clone(), engine));
                    }
                    warnings.push(stays_down(key, &problem));
                    let failure = Failure::after(None, problem.to_string(), Instant::now());
                    next.failures.insert(key.clone(), failure);
                }
                Err(problem) => refused = Some((key, wanted, problem)),
            }
        }
        let Some((key, wanted, problem)) = refused else {
            return Ok(steps);
        };
        // All that a change can ask anew of an engine that stays on its interface.
        let stays = |engine: &Engine| engine.wanted.attachment == wanted.attachment;
        let field = match &problem.field {
            Some(field) => field.clone(),
            None if before.engines.get(key).is_some_and(stays) => "mtu".to_owned(),
            None => wanted.field().to_owned(),
        };
        let problem = concerned.blamed(next, key, problem).in_field(field);
        self.undo(steps, before.clone());
        Err(problem)
    }

    /// The engines that a change needs and that are not open.
    fn openings(&self, before: &State, next: &State) -> Vec<Opening> {
        let known = before.wanted();
        let mut openings = Vec::new();
        for (key, wanted) in next.wanted() {
            let present = before.engines.get(&key);
            if present.is_some_and(|engine| self.stays(engine, &wanted))
                // What could not be attached before the change is none of its business.
                || (present.is_none() && known.get(&key).is_some_and(|was| was.serves(&wanted)))
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
            openings.push(Opening {
                key,
                id,
                wanted,
                on,
                busy_wait: FULL_WAIT,
            });
        }
        openings
    }

    /// Whether an engine stays open.
    fn stays(&self, engine: &Engine, wanted: &Wanted) -> bool {
        engine.wanted.serves(wanted)
            || (engine.wanted.keeps_its_engine(wanted)
                && !self.plane.datapath().has_lost_device(engine.id))
    }

    /// What the devices of the host's own interfaces are to have whose engines stay open.
    fn settings(&self, next: &State) -> Vec<(PortKey, Wanted)> {
        let differs = |(key, wanted): &(PortKey, Wanted)| {
            let engine = next.engines.get(key);
            engine.is_some_and(|engine| {
                wanted.adapter() != engine.wanted.adapter() && self.stays(engine, wanted)
            })
        };
        next.wanted().into_iter().filter(differs).collect()
    }

    /// Notes what the device of an open engine has.
    fn note_settings(&self, next: &mut State, key: &PortKey, wanted: &Wanted) {
        self.note_device(next, wanted);
        if let Some(engine) = next.engines.get_mut(key) {
            engine.wanted = wanted.clone();
        }
    }

    /// Closes what is opened anew, and what has the interface or socket of something else that is opened.
    fn make_way(&self, next: &mut State, openings: &[Opening]) -> Vec<Step> {
        let keys: BTreeSet<_> = openings.iter().map(|opening| &opening.key).collect();
        let places: BTreeSet<_> = openings
            .iter()
            .filter_map(|one| place(&one.wanted))
            .collect();
        let in_the_way = next.engines.extract_if(.., |key, engine| {
            keys.contains(key) || place(&engine.wanted).is_some_and(|place| places.contains(&place))
        });
        let in_the_way: Vec<_> = in_the_way.collect();
        let ids: Vec<_> = in_the_way.iter().map(|(_, engine)| engine.id).collect();
        self.plane.detach(&ids);
        in_the_way
            .into_iter()
            .map(|(key, engine)| Step::Closed(key, engine))
            .collect()
    }

    /// Brings the engines back to what they were before a refused change.
    pub(super) fn undo(&self, steps: Vec<Step>, mut before: State) {
        let (mut opened, mut closed, mut set_up) = (Vec::new(), Vec::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Opened(id) => opened.push(id),
                Step::Closed(key, engine) => closed.push(Opening {
                    key,
                    id: engine.id,
                    on: None,
                    wanted: engine.wanted,
                    busy_wait: FULL_WAIT,
                }),
                Step::SetUp(device) => {
                    set_up.insert(device);
                }
            }
        }
        self.plane.detach(&opened);
        let is_open = |key: &PortKey| !closed.iter().any(|opening| opening.key == *key);
        let is_set_up = |wanted: &&Wanted| {
            let adapter = wanted.adapter();
            adapter.is_some_and(|adapter| set_up.contains(adapter.device))
        };
        let open = before.engines.iter().filter(|(key, _)| is_open(key));
        let open: Vec<_> = open
            .map(|(_, engine)| &engine.wanted)
            .filter(is_set_up)
            .collect();
        let reopened = closed.iter().map(|opening| &opening.wanted);
        self.make_room(reopened.chain(open.iter().copied()));
        for adapter in open.iter().filter_map(|wanted| wanted.adapter()) {
            if let Err(problem) = self.plane.set_up(adapter) {
                tracing::error!(%problem, "an interface has not got its address after a refused change");
            }
        }
        if closed.is_empty() {
            return;
        }
        for (position, result) in self.open(&closed, AfterFailure::GoOn) {
            let Opening { key, id, .. } = &closed[position];
            match result {
                Ok(()) => self.readopt(key, *id),
                Err(problem) => {
                    let reason = problem.to_string();
                    tracing::error!(reason, "a port is down after a refused change");
                    before.engines.remove(key);
                    let failure = Failure::after(None, reason, Instant::now());
                    before.failures.insert(key.clone(), failure);
                }
            }
        }
        let config = before.compile(&self.addresses());
        if let Err(problem) = self.bring_in_force(&config, &before) {
            tracing::error!(%problem, "the configuration before a refused change is not in force yet");
        }
        self.commit(before);
    }
}

/// What only one engine can have: an interface or a socket.
fn place(wanted: &Wanted) -> Option<&str> {
    let attachment = &wanted.attachment;
    let interface = attachment.interface().map(|name| name.as_str());
    interface.or_else(|| attachment.socket().map(|socket| socket.as_str()))
}
