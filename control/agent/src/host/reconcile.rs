//! Attaching what can be attached, again and again, as interfaces come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weft_datapath::PortId;
use weft_model::PortKey;

use super::Host;
use crate::links::{LinkEvent, Links};
use crate::plane::{Wanted, attach_problem};
use crate::state::{Engine, OpenedOn, State};

/// Engines that are opened at a time: one may wait 2 s for a queue that a dying process still holds.
const OPENED_AT_A_TIME: usize = 8;

/// An engine to be opened.
struct Opening {
    key: PortKey,
    id: PortId,
    wanted: Wanted,
    on: OpenedOn,
}

impl Host {
    /// Deals with interfaces that came, went or changed.
    pub(crate) fn links_changed(&self, events: Vec<LinkEvent>) {
        let store = self.writer();
        let mut next = self.state();
        let links = Arc::make_mut(&mut next.links);
        let before = links.clone();
        for event in events {
            update(links, event);
        }
        if *links != before
            || next
                .failures
                .keys()
                .any(|key| !next.engines.contains_key(key))
        {
            self.reconcile(next);
        }
        drop(store);
    }

    /// Attaches everything and puts it in force, at the start.
    pub(super) fn reconcile_all(&self) {
        let store = self.writer();
        self.reconcile(self.state());
        drop(store);
    }

    /// Makes the engines fit the interfaces, puts the result in force and commits it. Its caller holds the store.
    fn reconcile(&self, mut next: State) {
        let before = self.state();
        let old_config = before.compile(&self.addresses());
        self.close_stale(&mut next);
        self.open_missing(&mut next);
        let config = next.compile(&self.addresses());
        if (config != old_config || next.engines != before.engines)
            && let Err(problem) = self.plane.apply(&config)
        {
            tracing::error!(%problem, "link changes are not in force yet");
        }
        log_differences(&before, &next);
        self.commit(next);
    }

    /// Closes engines whose interface is gone, is another one of the same name, or has another MTU.
    fn close_stale(&self, next: &mut State) {
        let on = |engine: &Engine| next.links.get(&engine.wanted.interface).copied();
        let stale: Vec<_> = next
            .engines
            .iter()
            .filter(|(_, engine)| on(engine).map(OpenedOn::from) != Some(engine.on))
            .map(|(key, engine)| (key.clone(), engine.clone(), on(engine)))
            .collect();
        for (key, engine, link) in stale {
            self.plane.detach(engine.id);
            next.engines.remove(&key);
            if let Some(link) = link.filter(|link| link.index == engine.on.index) {
                let (interface, before) = (engine.wanted.interface, engine.on.mtu);
                tracing::info!(%interface, before, now = link.mtu, "the MTU of an interface changed; it is opened anew");
                continue;
            }
            if let PortKey::Port(name) = &key
                && self.addresses().forget(name)
            {
                self.addresses_are_news();
            }
        }
    }

    /// Opens an engine for everything that has none and whose interface exists.
    fn open_missing(&self, next: &mut State) {
        let openings: Vec<_> = next
            .wanted()
            .into_iter()
            .filter(|(key, _)| !next.engines.contains_key(key))
            .filter_map(|(key, wanted)| {
                let (id, link) = (next.id(&key)?, next.links.get(&wanted.interface)?);
                Some(Opening {
                    key,
                    id,
                    wanted,
                    on: (*link).into(),
                })
            })
            .collect();
        let results = self.open(&openings);
        for (opening, result) in openings.into_iter().zip(results) {
            let Opening {
                key,
                id,
                wanted,
                on,
            } = opening;
            match result {
                Ok(()) => {
                    next.failures.remove(&key);
                    self.readopt(&key, id);
                    next.engines.insert(key, Engine { id, wanted, on });
                }
                Err(reason) => {
                    next.failures.insert(key, reason);
                }
            }
        }
    }

    /// Opens several engines at a time; the results are in the order of the openings.
    fn open(&self, openings: &[Opening]) -> Vec<Result<(), String>> {
        let following = AtomicUsize::new(0);
        let work = || {
            let mut results = Vec::new();
            loop {
                let position = following.fetch_add(1, Ordering::Relaxed);
                let Some(opening) = openings.get(position) else {
                    break results;
                };
                let result = self.plane.attach(opening.id, &opening.wanted);
                let result = result.map(|_| ());
                results.push((
                    position,
                    result.map_err(|error| {
                        attach_problem(&opening.wanted.interface, &error).to_string()
                    }),
                ));
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
        results.into_iter().map(|(_, result)| result).collect()
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

fn update(links: &mut Links, event: LinkEvent) {
    match event {
        LinkEvent::Present(name, link) => {
            links.insert(name, link);
        }
        LinkEvent::Gone(name) => {
            links.remove(&name);
        }
        LinkEvent::All(all) => *links = all,
    }
}

/// Says which ports and uplinks came up or went down, once for each.
fn log_differences(before: &State, next: &State) {
    for (key, wanted) in next.wanted() {
        let (was, is) = (before.link_obstacle(&key), next.link_obstacle(&key));
        if was == is {
            continue;
        }
        let name = match &key {
            PortKey::Port(name) => format!("port {name}"),
            PortKey::Uplink(interface) => format!("uplink {interface}"),
        };
        match is {
            None => tracing::info!(interface = %wanted.interface, "{name} is up"),
            Some(obstacle) => {
                tracing::warn!(interface = %wanted.interface, reason = obstacle.reason, "{name} is down");
            }
        }
    }
}
