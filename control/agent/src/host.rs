//! The agent's heart: one host's configuration, and everything that is done to bring it about.
//!
//! Changes come from requests and from interfaces that come and go. They are made one at a time, on a copy of the
//! [`State`] that replaces it when all has succeeded.

mod activity;
mod advice;
mod change;
mod counters;
mod guests;
mod health;
mod history;
pub(crate) mod learning;
mod metrics;
pub(crate) mod netflow;
mod reconcile;
mod report;
mod status;
mod strain;
mod trace;
pub(crate) mod uplinks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::time::{Instant, SystemTime};

use weft_api::{EventDetails, EventKind, Problem};
use weft_datapath::{Config, Event, PortId};
use weft_model::{HostName, ObjectKind, ObjectRef, PortKey, PortName};
use weft_packet::MacAddr;

use crate::addresses::{self, Addresses, Conflict, Heard};
use crate::error::AgentError;
use crate::events::{Events, News};
use crate::plane::Plane;
use crate::progress::Progress;
use crate::quota::Quota;
use crate::state::{Failure, State};
use crate::store::{Loaded, Store};

/// One host.
pub(crate) struct Host {
    name: HostName,
    started: Instant,
    started_at: SystemTime,
    /// The newest generation that is durable.
    durable_generation: AtomicU64,
    /// The generation that poll threads forward by.
    applied_generation: AtomicU64,
    plane: Plane,
    /// Whoever holds it may change the state.
    store: Mutex<Store>,
    /// Where the store keeps generations.
    directory: PathBuf,
    state: RwLock<State>,
    addresses: Mutex<Addresses>,
    /// Says that addresses are to be written.
    addresses_changed: mpsc::SyncSender<()>,
    guests: Mutex<guests::Guests>,
    notes: Mutex<strain::Notes>,
    quota: Quota,
    refused: Mutex<BTreeMap<PortName, MacAddr>>,
    /// Why a generation that was not confirmed is still there.
    take_back: Mutex<Option<Failure>>,
    events: Arc<Events>,
    /// What the thread that looks after uplinks is told.
    uplinks: uplinks::Words,
    /// Those who tell of flows.
    flow_records: netflow::exporter::Flows,
    progress: Mutex<Progress>,
    /// What was wrong with the stored state when it was loaded.
    damaged: Vec<String>,
}

impl Host {
    /// Restores the host from its store: everything is attached that can be, and the rest is down with its reason.
    /// Blocks.
    ///
    /// # Errors
    /// The interfaces cannot be read. What concerns a single port never fails the start.
    pub(crate) fn restore(
        name: HostName,
        store: Store,
        loaded: Loaded,
        plane: Plane,
        addresses_changed: mpsc::SyncSender<()>,
    ) -> Result<Self, AgentError> {
        for problem in &loaded.damaged {
            tracing::error!(
                problem,
                "a generation of the state is not readable, and the one before it is used"
            );
        }
        let links = plane
            .links()
            .map_err(|problem| AgentError::Links(problem.message))?;
        let mut state = State::new(name.clone(), loaded.intent, links);
        state.note_generation(&store);
        let addresses = addresses::restore(store.directory(), &state);
        if let Err(problem) = state.number() {
            tracing::error!(%problem, "not all ports can be attached");
        }
        let host = Self {
            name,
            started: Instant::now(),
            started_at: SystemTime::now(),
            durable_generation: AtomicU64::new(state.generation),
            applied_generation: AtomicU64::new(0),
            plane,
            directory: store.directory().to_owned(),
            store: Mutex::new(store),
            state: RwLock::new(state),
            addresses: Mutex::new(addresses),
            addresses_changed,
            guests: Mutex::default(),
            notes: Mutex::default(),
            quota: Quota::default(),
            refused: Mutex::default(),
            take_back: Mutex::default(),
            events: Arc::default(),
            uplinks: uplinks::Words::default(),
            flow_records: netflow::exporter::Flows::default(),
            progress: Mutex::default(),
            damaged: loaded.damaged,
        };
        // Before anything is attached that is not to stay.
        host.take_back_unconfirmed();
        for problem in &host.damaged {
            let text = format!("state file {problem}; the generation before it is in use");
            let damaged = News::error(EventKind::StateDamaged, text);
            let object = ObjectRef::new(ObjectKind::Host, &host.name);
            host.events.push(damaged.about(object));
        }
        host.reconcile_all();
        host.remove_leftovers();
        Ok(host)
    }

    /// What happened.
    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// The state as it is now.
    pub(super) fn state(&self) -> State {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes a new state the current one. Its caller holds the store.
    fn commit(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Has the poll threads forward by a configuration, which is that of this state.
    ///
    /// # Errors
    /// `timedOut`: a poll thread does not answer; the configuration is in force as soon as it goes on.
    fn bring_in_force(&self, config: &Config, state: &State) -> Result<(), Problem> {
        self.plane.apply(config)?;
        self.applied_generation
            .store(state.generation, Ordering::Relaxed);
        Ok(())
    }

    /// The right to change the state. A panic of an earlier change left the state as it was.
    fn writer(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn guests(&self) -> MutexGuard<'_, guests::Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, strain::Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the addresses written soon. Where that is on its way, nothing more is needed.
    fn addresses_are_news(&self) {
        let _ = self.addresses_changed.try_send(());
    }

    /// Deals with what a poll thread saw.
    pub(crate) fn event(&self, event: &Event) {
        match *event {
            Event::AddressTaken { port, mac } => {
                self.of_port(port, |state, name| {
                    let heard = self.addresses().take(&state.intent, name, mac);
                    match heard {
                        Heard::News => {
                            if self.may_log("address", name.as_str()) {
                                tracing::info!(port = %name, %mac, "the port took its first source as its address");
                            }
                            self.addresses_are_news();
                        }
                        Heard::NoNews => {}
                        Heard::Conflict(conflict) => self.log_conflicts(&[conflict]),
                    }
                });
            }
            Event::SourceRefused { port, mac } => {
                self.of_port(port, |state, name| {
                    self.refused()
                        .retain(|port, _| state.intent.ports.contains_key(port));
                    self.note_refused(name, mac);
                });
            }
            Event::SourceSeen { port, mac, .. } => {
                self.of_port(port, |state, name| {
                    // Held until the data path knows, so that a change of the policy comes before or after all of it.
                    let mut addresses = self.addresses();
                    let heard = addresses.adopt(&state.intent, name, mac);
                    match heard {
                        Heard::News => {
                            if self.may_log("address", name.as_str()) {
                                tracing::info!(port = %name, %mac, "the port adopts the address that it sends from");
                            }
                            self.plane.datapath().adopt(port, Some(mac));
                            self.addresses_are_news();
                        }
                        Heard::NoNews => {}
                        Heard::Conflict(conflict) => self.log_conflicts(&[conflict]),
                    }
                });
            }
        }
    }

    /// Notes an address that a guest sends from in vain, and tells it where it is another than before.
    fn note_refused(&self, port: &PortName, mac: MacAddr) {
        let mut refused = self.refused();
        if refused.insert(port.clone(), mac) == Some(mac) || !self.may_log("refused", port.as_str())
        {
            return;
        }
        tracing::warn!(%port, %mac, "the port's guest sends from an address that is not let through");
        let text = format!(
            "port {port}: frames from {mac} are dropped: it is none of the port's addresses, and forged transmits are rejected"
        );
        let details = EventDetails {
            mac: Some(mac.to_string()),
            ..EventDetails::default()
        };
        let news = News::warning(EventKind::SourceRefused, text);
        self.events.push(news.about(port).with(details));
    }

    /// The latest address that each port's guest sent from in vain. Ports that are gone go with the next one that is noted.
    fn refused(&self) -> MutexGuard<'_, BTreeMap<PortName, MacAddr>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once that guests use addresses which other ports have.
    fn log_conflicts(&self, conflicts: &[Conflict]) {
        for Conflict { port, mac, holder } in conflicts {
            if self.may_log("conflict", port.as_str()) {
                tracing::warn!(%port, %mac, %holder, "the port's guest uses an address that another port has");
                let text = format!(
                    "port {port}: its guest uses the address {mac}, which port {holder} has"
                );
                let details = EventDetails {
                    mac: Some(mac.to_string()),
                    holder: Some(holder.to_string()),
                    ..EventDetails::default()
                };
                let conflict = News::warning(EventKind::AddressConflict, text);
                self.events.push(conflict.about(port).with(details));
            }
        }
    }

    /// Whether a line that a guest can cause may be logged; see [`Quota`].
    fn may_log(&self, subject: &'static str, object: &str) -> bool {
        self.quota.allows(subject, object, Instant::now())
    }

    /// Says how many lines were left out.
    fn log_left_out(&self) {
        for (subject, object, lines) in self.quota.left_out(Instant::now()) {
            tracing::warn!(subject, object, lines, "lines were left out of this log");
            let text =
                format!("{lines} events and lines of the log are left out: {subject}, {object}");
            let details = EventDetails {
                count: Some(lines),
                ..EventDetails::default()
            };
            let left_out = News::warning(EventKind::EventsLeftOut, text);
            self.events.push(left_out.with(details));
        }
    }

    /// Calls `action` if the number is that of a port; uplinks have no addresses.
    fn of_port(&self, id: PortId, action: impl FnOnce(&State, &PortName)) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(PortKey::Port(name)) = state.key(id) {
            action(&state, name);
        }
    }

    /// Writes the learned addresses to this directory, as far as that is possible.
    pub(crate) fn keep_addresses(&self, directory: &Path) {
        let (state, addresses) = (self.state(), self.addresses().clone());
        if let Err(error) = addresses::keep(directory, &state, &addresses) {
            tracing::warn!(%error, directory = %directory.display(), "learned addresses cannot be kept over a restart");
        }
    }
}

#[cfg(test)]
mod tests;
