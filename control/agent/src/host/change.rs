//! Changes that somebody asked for: checked, prepared, durable, in force. One change or many, they are made whole or not at all.

mod connection;
mod consequences;
mod engines;
mod interfaces;
mod words;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weft_api::{
    ApplyOptions, ApplyResult, ChangeOptions, ChangeResult, EventDetails, EventKind, ObjectChange,
    PortgroupsRequest, Problem, ProblemKind,
};
use weft_model::{Attachment, Change, Intent, ObjectRef, Outcome, PortKey, Vmk};

use super::Host;
use crate::events::News;
use crate::operator::Operator;
use crate::state::State;
use crate::store::{Note, Store, Unconfirmed};
use consequences::Consequences;
use interfaces::Concerned;

/// Who makes changes that nobody asked for.
pub(super) const BY_ITSELF: &str = "weft";

/// How changes are to be made, and for whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// Who asked for them.
    pub(crate) by: Operator,
    /// What they are together, where that says more than they do one by one.
    pub(crate) title: Option<String>,
    /// Only say what would change.
    pub(crate) dry_run: bool,
    /// Take interfaces even if the host uses them, and cut off the operator's own connection.
    pub(crate) yes: bool,
    /// Refuse unless the configuration is still this generation.
    pub(crate) generation: Option<u64>,
    /// Take the changes back after this time unless they are confirmed.
    pub(crate) confirm: Option<Duration>,
    /// Whether they go before a generation that waits for its confirmation.
    pub(crate) supersedes: bool,
    /// Make them even where something cannot be attached, which is then down.
    pub(crate) forced: bool,
}

impl Order {
    /// An order of one change.
    pub(crate) fn of_one(options: ChangeOptions, by: impl Into<Operator>) -> Self {
        Self {
            by: by.into(),
            dry_run: options.dry_run,
            yes: options.yes,
            ..Self::default()
        }
    }

    /// An order of several.
    ///
    /// # Errors
    /// `invalid`: a time to confirm that is out of range.
    pub(crate) fn of_many(options: ApplyOptions, by: impl Into<Operator>) -> Result<Self, Problem> {
        const MOST: u64 = ApplyOptions::LONGEST_CONFIRM;
        if let Some(seconds) = options
            .confirm
            .filter(|seconds| !(1..=MOST).contains(seconds))
        {
            let message = format!("confirm: {seconds} s is not a time of 1 to {MOST} s");
            return Err(Problem::new(ProblemKind::Invalid, message)
                .in_field("confirm")
                .with_remedy(
                    "name a time within these bounds, or none to keep the changes at once",
                ));
        }
        Ok(Self {
            by: by.into(),
            dry_run: options.dry_run,
            yes: options.yes,
            generation: options.generation,
            confirm: options.confirm.map(Duration::from_secs),
            ..Self::default()
        })
    }
}

/// What changes did, or would do.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    dry_run: bool,
    generation: u64,
    outcomes: Vec<(ObjectRef, Outcome, Option<String>)>,
    consequences: Consequences,
    confirm: Option<Duration>,
}

impl Made {
    /// As the answer to one change.
    fn one(self, object: ObjectRef) -> ChangeResult {
        let outcome = self.outcomes.into_iter().next();
        let Consequences {
            ports,
            interrupted,
            interfaces,
            warnings,
        } = self.consequences;
        ChangeResult {
            object,
            outcome: outcome.map_or(Outcome::Unchanged, |(_, outcome, _)| outcome),
            dry_run: self.dry_run,
            ports,
            interrupted,
            interfaces,
            warnings,
        }
    }
}

impl From<Made> for ApplyResult {
    fn from(made: Made) -> Self {
        let Consequences {
            ports,
            interrupted,
            interfaces,
            warnings,
        } = made.consequences;
        let changes = made.outcomes.into_iter();
        let changes = changes.filter(|(_, outcome, _)| *outcome != Outcome::Unchanged);
        Self {
            dry_run: made.dry_run,
            generation: made.generation,
            changes: changes
                .map(|(object, outcome, place)| ObjectChange {
                    object,
                    outcome,
                    place,
                })
                .collect(),
            ports,
            interrupted,
            interfaces,
            warnings,
            confirm_within_seconds: made.confirm.map(|time| time.as_secs()),
        }
    }
}

impl Host {
    /// Makes one change. Calls `durable` as soon as nothing can undo it; returns when it is in force. Blocks.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    pub(crate) fn change(
        &self,
        change: &Change,
        options: ChangeOptions,
        by: impl Into<Operator>,
        durable: impl FnOnce(&ChangeResult),
    ) -> Result<ChangeResult, Problem> {
        let plan = |intent: &Intent| {
            if let Some(expected) = options.resource_version {
                intent.expect_version(&change.object(), expected)?;
            }
            Ok(vec![change.clone()])
        };
        let order = Order::of_one(options, by);
        let made = self.transact(&mut self.writer(), &order, plan, |made| {
            durable(&made.clone().one(change.object()));
        });
        match (made, options.resource_version) {
            (Ok(made), _) => Ok(made.one(change.object())),
            (Err(problem), Some(read)) if problem.field.as_deref() == Some("resourceVersion") => {
                Err(self.with_what_changed(problem, &change.object(), read))
            }
            (Err(problem), _) => Err(problem),
        }
    }

    /// Changes settings of port groups together; see [`transact`](Self::transact). Blocks.
    ///
    /// # Errors
    /// As [`transact`](Self::transact), and `invalid` where no port group is named.
    pub(crate) fn set_portgroups(
        &self,
        request: &PortgroupsRequest,
        options: ApplyOptions,
        by: impl Into<Operator>,
        durable: impl FnOnce(&ApplyResult),
    ) -> Result<ApplyResult, Problem> {
        let PortgroupsRequest { portgroups, set } = request;
        if portgroups.is_empty() {
            return Err(
                Problem::new(ProblemKind::Invalid, "portgroups: none is named")
                    .in_field("portgroups")
                    .with_remedy("name the port groups to change"),
            );
        }
        let order = Order::of_many(options, by)?;
        let plan = |_: &Intent| {
            let changes = portgroups.iter().cloned();
            Ok(changes
                .map(|name| Change::SetPortgroup(name, set.clone()))
                .collect())
        };
        let made = self.transact(&mut self.writer(), &order, plan, |made| {
            durable(&made.clone().into());
        })?;
        Ok(made.into())
    }

    /// Makes changes together, whole or not at all. Calls `durable` as soon as nothing can undo them; returns when they are in
    /// force. Blocks.
    ///
    /// # Errors
    /// Why they are refused; then nothing has changed. `timedOut`: they are durable, and a poll thread does not answer.
    pub(super) fn transact(
        &self,
        store: &mut Store,
        order: &Order,
        plan: impl FnOnce(&Intent) -> Result<Vec<Change>, Problem>,
        durable: impl FnOnce(&Made),
    ) -> Result<Made, Problem> {
        let before = self.state();
        expect_generation(store, order)?;
        let changes = plan(&before.intent)?;
        let (intent, outcomes) = before.intent.transact(&changes)?;
        let mut next = before.clone();
        next.intent = Arc::new(intent);
        next.number()?;
        let concerned = Concerned::by(&changes, &outcomes);
        concerned.expect_own_adapters(&next)?;
        let down = self.check_interfaces(&before, &mut next, &concerned, order)?;
        let cut_off = self.expect_to_stay_connected(&before, &next, order)?;
        let mut made = Made {
            dry_run: order.dry_run,
            generation: store.current(),
            consequences: self.consequences(&before, &next),
            outcomes: words::described(&changes, outcomes),
            confirm: order.confirm,
        };
        made.consequences.warnings.extend(down);
        made.consequences.warnings.extend(cut_off);
        let is_unchanged =
            |(_, outcome, _): &(_, Outcome, _)| matches!(outcome, Outcome::Unchanged);
        if made.outcomes.iter().all(is_unchanged) {
            made.confirm = None;
            durable(&made);
            return Ok(made);
        }
        if order.dry_run {
            durable(&made);
            return Ok(made);
        }
        expect_confirmed(store, order)?;
        let words = words::of(&changes, &made.outcomes, order.title.as_deref());
        let note = Note {
            by: order.by.name.clone(),
            change: words.clone(),
            confirm: order.confirm,
        };
        let not_durable = |error| {
            if self.may_log("store", "generation") {
                tracing::error!(%error, "a change is refused because it cannot be made durable");
            }
            concerned.about(Problem::from(error))
        };
        // Before anything is touched: a disk that takes nothing interrupts nobody.
        let staged = store.stage(&next.intent, note).map_err(not_durable)?;
        let warnings = &mut made.consequences.warnings;
        let steps = self.open_engines(&before, &mut next, &concerned, order, warnings)?;
        if let Err(error) = store.commit(staged) {
            self.undo(steps, before);
            return Err(not_durable(error));
        }
        made.generation = store.current();
        next.note_generation(store);
        self.durable_generation
            .store(next.generation, Ordering::Relaxed);
        durable(&made);
        let applied = self.put_in_force(next);
        tracing::info!(
            generation = made.generation,
            by = order.by.name,
            change = words,
            "changed"
        );
        self.events.push(self::applied(order, &made, words));
        self.tell_of_ports(&before);
        applied.map(|()| made)
    }

    /// Has the poll threads forward by a durable change, then closes what it no longer needs.
    fn put_in_force(&self, mut next: State) -> Result<(), Problem> {
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
        let applied = self.bring_in_force(&config, &next);
        let wanted = next.wanted();
        let unwanted = next
            .engines
            .extract_if(.., |key, _| !wanted.contains_key(key));
        let unwanted: Vec<_> = unwanted.map(|(_, engine)| engine.id).collect();
        self.plane.detach(&unwanted);
        self.keep_devices(&next);
        self.remove_devices(&next);
        next.release_numbers();
        let intent = Arc::clone(&next.intent);
        self.commit(next);
        self.uplinks_are_news();
        self.settle_again(&intent);
        applied
    }

    /// Removes the devices of the host's own interfaces that are gone by a durable change, unless somebody else has them then.
    fn remove_devices(&self, next: &State) {
        let before = Arc::clone(&self.view().intent);
        for port in before.ports.values() {
            if let Attachment::Vmk(Vmk { device, .. }) = &port.spec.attachment
                && next.intent.holder_of(device).is_none()
            {
                self.plane.remove_device(device);
            }
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
}

/// That a change is made, by whom and of what.
fn applied(order: &Order, made: &Made, words: String) -> News {
    let changed = made.outcomes.iter();
    let changed = changed.filter(|(_, outcome, _)| *outcome != Outcome::Unchanged);
    let objects: Vec<_> = changed.map(|(object, ..)| object.clone()).collect();
    let details = EventDetails {
        by: Some(order.by.name.clone()),
        generation: Some(made.generation),
        count: Some(objects.len() as u64),
        objects: objects.clone(),
        ..EventDetails::default()
    };
    let text = format!("{words}, by {}", order.by.name);
    let news = if order.forced && order.by.name == BY_ITSELF {
        News::warning(EventKind::ConfigurationApplied, text)
    } else {
        News::info(EventKind::ConfigurationApplied, text)
    };
    let news = news.with(details);
    match objects.as_slice() {
        [one] => news.about(one.clone()),
        _ => news,
    }
}

/// Refuses changes that were planned for another configuration.
fn expect_generation(store: &Store, order: &Order) -> Result<(), Problem> {
    let current = store.current();
    match order.generation.filter(|expected| *expected != current) {
        None => Ok(()),
        Some(expected) => {
            let message = format!(
                "the configuration has changed meanwhile: it is generation {current}, not {expected}"
            );
            Err(Problem::new(ProblemKind::Conflict, message)
                .in_field("generation")
                .with_remedy("see what changed ('weft history'), then repeat the command"))
        }
    }
}

/// Refuses changes while an earlier one may still be taken back, which would take them along.
fn expect_confirmed(store: &Store, order: &Order) -> Result<(), Problem> {
    match store.unconfirmed() {
        Some(unconfirmed) if !order.supersedes => {
            let message = format!(
                "generation {} waits for its confirmation{}",
                store.current(),
                remaining(unconfirmed),
            );
            Err(Problem::new(ProblemKind::Conflict, message).with_remedy(
                "keep it with 'weft confirm', or take it back with 'weft rollback', then repeat the command",
            ))
        }
        _ => Ok(()),
    }
}

/// How long a generation may still be confirmed, in words.
pub(super) fn remaining(unconfirmed: &Unconfirmed) -> String {
    unconfirmed
        .remaining()
        .map(|time| format!(", {} s are left", time.as_secs()))
        .unwrap_or_default()
}
