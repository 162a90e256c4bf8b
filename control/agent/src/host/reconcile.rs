//! Attaching what can be attached, again and again, as interfaces come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weft_api::{EventDetails, EventKind, Problem, ProblemKind};
use weft_datapath::PortId;
use weft_model::{InterfaceName, PortKey};

use super::Host;
use crate::events::News;
use crate::links::{self, Link, LinkEvent};
use crate::plane::FULL_WAIT;
use crate::state::{Engine, Failure, State};
use crate::wanted::Wanted;

/// Engines that are opened at a time: one may wait 2 s for a queue that a dying process still holds.
const OPENED_AT_A_TIME: usize = 8;

/// How long the first attempt on an interface that appeared waits: longer than the kernel takes to let go of it, and short
/// enough for changes that wait behind it.
const SHORT_WAIT: Duration = Duration::from_millis(200);

/// An engine to be opened.
pub(super) struct Opening {
    pub(super) key: PortKey,
    pub(super) id: PortId,
    pub(super) wanted: Wanted,
    /// The interface that it is opened on, where it needs one.
    pub(super) on: Option<Link>,
    /// How long it waits for somebody who still holds the interface.
    pub(super) busy_wait: Duration,
}

/// What opening several engines does where one cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The others are opened.
    GoOn,
    /// No other is begun.
    Stop,
}

impl Host {
    /// Deals with interfaces that came, went or changed, and with what is to be tried again.
    pub(crate) fn links_changed(&self, events: Vec<LinkEvent>) {
        self.links_changed_at(Instant::now(), events);
    }

    /// The same at a time that a test makes up.
    pub(super) fn links_changed_at(&self, now: Instant, events: Vec<LinkEvent>) {
        self.log_left_out();
        if events.is_empty() && !self.state().is_due(now) {
            return;
        }
        let store = self.writer();
        let mut next = self.state();
        let events: Vec<_> = events
            .into_iter()
            .map(|event| self.up_to_date(&next, event))
            .collect();
        self.put_devices_right(&next, &events);
        let links = Arc::make_mut(&mut next.links);
        let before = links.clone();
        for event in events {
            links::update(links, event);
        }
        let changed = *links != before;
        let links = Arc::clone(&next.links);
        for (key, wanted) in next.wanted() {
            let differs = |interface| links.get(interface) != before.get(interface);
            if wanted.interface().is_some_and(differs)
                && let Some(failure) = next.failures.get_mut(&key)
            {
                failure.reset(now);
            }
        }
        if changed || next.is_due(now) || self.has_lost_a_device(&next) {
            self.reconcile(next, now, SHORT_WAIT, |_| true);
        }
        drop(store);
    }

    /// Has the devices of the host's own interfaces, of which there is news, have their addresses and MTU, whoever changed them.
    fn put_devices_right(&self, state: &State, events: &[LinkEvent]) {
        let is_concerned = |device: &InterfaceName| {
            events.iter().any(|event| match event {
                LinkEvent::Present(name, _) | LinkEvent::Readdressed(name) => name == device,
                LinkEvent::Gone(_) => false,
                LinkEvent::All(links) => links.contains_key(device),
            })
        };
        for (key, engine) in &state.engines {
            let adapter = engine.wanted.adapter();
            let Some(adapter) = adapter.filter(|adapter| is_concerned(adapter.device)) else {
                continue;
            };
            let missing = self.plane.put_right(adapter);
            if !missing.is_empty() {
                let what = format!("was changed, and is given back {}", missing.join(" and "));
                self.tell_of_device(state, key, adapter.device, &what);
            }
        }
    }

    /// Tells what somebody did to the device of one of the host's own interfaces, and what became of it.
    fn tell_of_device(&self, state: &State, key: &PortKey, device: &InterfaceName, what: &str) {
        if !self.may_log("interface", device.as_str()) {
            return;
        }
        tracing::warn!("interface {device} {what}");
        let text = format!("interface {device} {what}");
        let details = EventDetails {
            on: Some(device.to_string()),
            ..EventDetails::default()
        };
        let news = News::warning(EventKind::VmkRestored, text).with(details);
        self.events.push(news.about(state.object_of(key)));
    }

    /// Removes devices of the host's own interfaces that an agent which was killed could not remove any more.
    pub(super) fn remove_leftovers(&self) {
        let state = self.view().clone();
        for device in self.plane.own_devices() {
            if state.intent.holder_of(&device).is_none() {
                tracing::info!(%device, "removing the device of a vmk that was deleted");
                self.plane.remove_device(&device);
            }
        }
    }

    /// News of a vmk's device may be of the time before it was set up, and would set the port down for a moment.
    fn up_to_date(&self, state: &State, event: LinkEvent) -> LinkEvent {
        let LinkEvent::Present(name, _) = &event else {
            return event;
        };
        let is_device = |engine: &Engine| {
            let adapter = engine.wanted.adapter();
            adapter.is_some_and(|adapter| adapter.device == name)
        };
        if !state.engines.values().any(is_device) {
            return event;
        }
        match self.plane.link(name) {
            Ok(Some(now)) => LinkEvent::Present(name.clone(), now),
            Ok(None) => LinkEvent::Gone(name.clone()),
            Err(_) => event,
        }
    }

    /// Attaches everything and puts it in force, at the start: first what waits for nobody, so that guests do not wait either.
    pub(super) fn reconcile_all(&self) {
        let store = self.writer();
        let now = Instant::now();
        self.reconcile(self.state(), now, FULL_WAIT, |wanted| !wanted.may_wait());
        self.reconcile(self.state(), now, FULL_WAIT, |_| true);
        drop(store);
    }

    /// Makes the engines fit the interfaces, puts the result in force and commits it. Its caller holds the store. Of what has no
    /// engine, that is opened whose turn it is; the first attempt waits for up to `busy_wait`, and later ones do not.
    fn reconcile(
        &self,
        mut next: State,
        now: Instant,
        busy_wait: Duration,
        is_its_turn: impl Fn(&Wanted) -> bool,
    ) {
        let before = self.state();
        let old_config = before.compile(&self.addresses());
        let deleted = self.deleted_devices(&next);
        // One that is opened anew at once looks as it did, and is another to the poll threads.
        let closed = self.close_stale(&mut next);
        self.open_missing(&mut next, now, busy_wait, is_its_turn);
        for (key, device) in &deleted {
            if next.engines.contains_key(key) {
                let what = "was deleted and is made again; routes through it are gone";
                self.tell_of_device(&next, key, device, what);
            }
        }
        self.keep_devices(&next);
        let config = next.compile(&self.addresses());
        let is_behind = self.applied_generation.load(Ordering::Relaxed) != next.generation;
        if (config != old_config || next.engines != before.engines || closed || is_behind)
            && let Err(problem) = self.bring_in_force(&config, &next)
        {
            tracing::error!(%problem, "link changes are not in force yet");
        }
        self.log_differences(&before, &next);
        self.commit(next);
        self.uplinks_are_news();
    }

    /// Says which ports and uplinks came up or went down, once for each.
    fn log_differences(&self, before: &State, next: &State) {
        for (key, wanted) in next.wanted() {
            let (was, is) = (before.link_obstacle(&key), next.link_obstacle(&key));
            let name = match &key {
                PortKey::Port(_) => next.object_of(&key).to_string(),
                PortKey::Uplink(interface) => format!("uplink {interface}"),
            };
            if was == is {
                continue;
            }
            if is.is_none() && wanted.attachment.socket().is_none() {
                self.has_come_up(&key);
            }
            if !self.may_log("link", &name) {
                continue;
            }
            match is {
                None if wanted.attachment.socket().is_some() => {
                    tracing::info!(on = %wanted.attachment, "{name} is attached");
                }
                None => {
                    tracing::info!(on = %wanted.attachment, "{name} is up");
                    self.tell_of_link(&key, &wanted, None);
                }
                Some(obstacle) => {
                    tracing::warn!(on = %wanted.attachment, reason = obstacle.reason, "{name} is down");
                    self.tell_of_link(&key, &wanted, Some(obstacle.reason));
                }
            }
        }
    }

    /// Tells of ports and uplinks that a change brought up or down. Of thousands the change itself tells enough.
    pub(super) fn tell_of_ports(&self, before: &State) {
        const MOST: usize = 100;
        let next = self.state();
        let obstacle = |state: &State, key: &PortKey| match key {
            PortKey::Port(name) => {
                let port = state.intent.ports.get(name)?;
                Some(state.port_obstacle(&port.spec))
            }
            PortKey::Uplink(_) => Some(state.link_obstacle(key)),
        };
        let known = before.wanted();
        let differs = |(key, wanted): (PortKey, Wanted)| {
            let was = known.get(&key).and_then(|_| obstacle(before, &key));
            let is = obstacle(&next, &key)?;
            // A port on a socket is up when its VM is there, which is told then.
            let waits = wanted.attachment.socket().is_some() && was.is_none() && is.is_none();
            (was.as_ref() != Some(&is) && !waits).then_some((key, wanted, is))
        };
        let told: Vec<_> = next.wanted().into_iter().filter_map(differs).collect();
        for (key, ..) in told.iter().filter(|(.., obstacle)| obstacle.is_none()) {
            self.has_come_up(key);
        }
        if told.len() <= MOST {
            for (key, wanted, is) in told {
                self.tell_of_link(&key, &wanted, is.map(|obstacle| obstacle.reason));
            }
        }
    }

    fn has_come_up(&self, key: &PortKey) {
        if let Some(id) = self.view().id(key) {
            self.is_connected(id);
        }
    }

    /// Tells of a port or uplink that came up, or went down for a reason.
    fn tell_of_link(&self, key: &PortKey, wanted: &Wanted, reason: Option<String>) {
        let object = self.view().object_of(key);
        let (up, down) = match key {
            PortKey::Port(_) => (EventKind::PortUp, EventKind::PortDown),
            PortKey::Uplink(_) => (EventKind::LinkUp, EventKind::LinkDown),
        };
        let news = match &reason {
            None => News::info(up, format!("{object} is up")),
            Some(reason) => News::warning(down, format!("{object} is down: {reason}")),
        };
        let details = EventDetails {
            on: Some(wanted.attachment.to_string()),
            reason,
            ..EventDetails::default()
        };
        self.events.push(news.about(object).with(details));
    }

    /// Has the devices of the host's own interfaces, which a durable configuration has, outlive the agent.
    pub(super) fn keep_devices(&self, state: &State) {
        let vmks = state.engines.values();
        for engine in vmks.filter(|engine| engine.wanted.adapter().is_some()) {
            self.plane.keep_device(engine.id);
        }
    }

    /// The devices of the host's own interfaces that somebody deleted.
    fn deleted_devices(&self, state: &State) -> Vec<(PortKey, InterfaceName)> {
        let engines = state.engines.iter();
        let deleted = engines.filter_map(|(key, engine)| {
            let adapter = engine.wanted.adapter()?;
            let is_lost = self.plane.datapath().has_lost_device(engine.id);
            is_lost.then(|| (key.clone(), adapter.device.clone()))
        });
        deleted.collect()
    }

    fn has_lost_a_device(&self, state: &State) -> bool {
        let lost = |engine: &Engine| self.plane.datapath().has_lost_device(engine.id);
        state.engines.values().any(lost)
    }

    /// Closes engines whose interface is gone, is another one of the same name, or has another MTU; says whether there were any.
    fn close_stale(&self, next: &mut State) -> bool {
        let on = |engine: &Engine| {
            let link = engine.wanted.link().and_then(|name| next.links.get(name));
            engine.wanted.opened_on(link.copied())
        };
        let stale: Vec<_> = next
            .engines
            .iter()
            .filter(|(_, engine)| {
                on(engine) != engine.on || self.plane.datapath().has_lost_device(engine.id)
            })
            .map(|(key, engine)| (key.clone(), engine.clone(), on(engine)))
            .collect();
        let ids: Vec<_> = stale.iter().map(|(_, engine, _)| engine.id).collect();
        self.plane.detach(&ids);
        for (key, engine, now) in stale {
            next.engines.remove(&key);
            if let (Some(before), Some(now)) = (engine.on, now)
                && before.index == now.index
            {
                let (interface, before, now) = (engine.wanted.attachment, before.mtu, now.mtu);
                if self.may_log("mtu", &interface.to_string()) {
                    tracing::info!(%interface, before, now, "the MTU of an interface changed; it is opened anew");
                }
                continue;
            }
            if let PortKey::Port(name) = &key
                && self.addresses().forget(name)
            {
                self.addresses_are_news();
            }
        }
        !ids.is_empty()
    }

    /// Opens an engine for everything that has none, whose turn it is, whose interface exists and whose time has come.
    fn open_missing(
        &self,
        next: &mut State,
        now: Instant,
        busy_wait: Duration,
        is_its_turn: impl Fn(&Wanted) -> bool,
    ) {
        let openings: Vec<_> = next
            .wanted()
            .into_iter()
            .filter(|(key, wanted)| !next.engines.contains_key(key) && is_its_turn(wanted))
            .filter_map(|(key, wanted)| {
                let id = next.id(&key)?;
                let link = match wanted.link() {
                    Some(interface) => Some(*next.links.get(interface)?),
                    None => None,
                };
                let busy_wait = match next.failures.get(&key) {
                    None => busy_wait,
                    Some(failure) if failure.again <= now => Duration::ZERO,
                    Some(_) => return None,
                };
                Some(Opening {
                    key,
                    id,
                    on: link,
                    wanted,
                    busy_wait,
                })
            })
            .collect();
        // An agent that was killed may have left addresses that were on their way.
        self.make_room(openings.iter().map(|opening| &opening.wanted));
        for (position, result) in self.open(&openings, AfterFailure::GoOn) {
            let opening = &openings[position];
            match result {
                Ok(()) => self.note_engine(next, opening),
                Err(problem) => {
                    let earlier = next.failures.get(&opening.key);
                    let failure = Failure::after(earlier, problem.to_string(), now);
                    next.failures.insert(opening.key.clone(), failure);
                }
            }
        }
    }

    /// Has the addresses that the host's own interfaces among `wanted` are to have be free, where others of them still have them.
    /// Returns the devices that had one.
    pub(super) fn make_room<'a>(
        &self,
        wanted: impl Iterator<Item = &'a Wanted>,
    ) -> Vec<InterfaceName> {
        let adapters = wanted.filter_map(Wanted::adapter);
        let adapters: Vec<_> = adapters.filter(|adapter| adapter.ip.is_some()).collect();
        if adapters.is_empty() {
            return Vec::new();
        }
        self.plane.make_room(&adapters)
    }

    /// Notes an engine that was opened.
    pub(super) fn note_engine(&self, next: &mut State, opening: &Opening) {
        let Opening {
            key,
            id,
            wanted,
            on,
            ..
        } = opening;
        self.readopt(key, *id);
        self.note_device(next, wanted);
        next.failures.remove(key);
        let engine = Engine {
            id: *id,
            on: wanted.opened_on(*on),
            wanted: wanted.clone(),
        };
        next.engines.insert(key.clone(), engine);
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

    /// Opens several engines at a time; each result has the position of its opening, in whose order they are.
    pub(super) fn open(
        &self,
        openings: &[Opening],
        after_failure: AfterFailure,
    ) -> Vec<(usize, Result<(), Problem>)> {
        let following = AtomicUsize::new(0);
        let work = || {
            let mut results = Vec::new();
            loop {
                let position = following.fetch_add(1, Ordering::Relaxed);
                let Some(opening) = openings.get(position) else {
                    break results;
                };
                let result = self
                    .plane
                    .attach(opening.id, &opening.wanted, opening.busy_wait);
                let result = result.map(drop);
                if result.is_err() && after_failure == AfterFailure::Stop {
                    following.store(openings.len(), Ordering::Relaxed);
                }
                results.push((position, result));
            }
        };
        let mut results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..OPENED_AT_A_TIME.min(openings.len()))
                .map(|_| scope.spawn(work))
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .flatten()
                .collect()
        });
        results.sort_unstable_by_key(|(position, _)| *position);
        if after_failure == AfterFailure::GoOn || results.iter().all(|(_, result)| result.is_ok()) {
            let lost = |position: &usize| {
                let found = results.binary_search_by_key(position, |(position, _)| *position);
                found.is_err()
            };
            // A thread that panicked said why in the log.
            let lost: Vec<_> = (0..openings.len()).filter(lost).collect();
            results.extend(lost.into_iter().map(|position| {
                let message = format!("{} cannot be opened", openings[position].wanted.place());
                let problem = Problem::new(ProblemKind::Failed, message);
                (position, Err(problem.with_remedy("see the agent's log")))
            }));
        }
        results
    }

    /// Gives a freshly opened port the address that it had adopted.
    pub(super) fn readopt(&self, key: &PortKey, id: PortId) {
        if let PortKey::Port(name) = key {
            let adopted = self.addresses().of(name).adopted;
            if adopted.is_some() {
                self.plane.datapath().adopt(id, adopted);
            }
        }
    }
}
