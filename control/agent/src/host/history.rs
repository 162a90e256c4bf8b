//! Whole configurations: a manifest that is applied, and generations that are gone back to.

use std::sync::Arc;

use std::sync::PoisonError;
use std::time::Instant;

use weft_api::{ApplyOptions, ApplyResult, Confirmed, Generation, Problem, ProblemKind};
use weft_model::{Intent, Manifest, ObjectRef, ResourceVersion};

use super::Host;
use super::change::{BY_ITSELF, Order};
use crate::operator::Operator;
use crate::state::Failure;
use crate::store::{Store, Unconfirmed};

impl Host {
    /// Makes the configuration that of a manifest; see [`Manifest::plan`]. Blocks.
    ///
    /// # Errors
    /// As [`transact`](Self::transact), and `invalid` for a manifest of a lab.
    pub(crate) fn apply(
        &self,
        manifest: &Manifest,
        options: ApplyOptions,
        by: impl Into<Operator>,
        durable: impl FnOnce(&ApplyResult),
    ) -> Result<ApplyResult, Problem> {
        of_a_host(manifest)?;
        let order = Order::of_many(options, by)?;
        let plan = |intent: &Intent| Ok(manifest.plan(intent)?);
        let made = self.transact(&mut self.writer(), &order, plan, |made| {
            durable(&made.clone().into());
        })?;
        Ok(made.into())
    }

    /// Goes back to an earlier generation; to the one before the current one if none is named. Blocks.
    ///
    /// # Errors
    /// As [`transact`](Self::transact), and `notFound` for a generation that is not kept.
    pub(crate) fn rollback(
        &self,
        to: Option<u64>,
        options: ApplyOptions,
        by: impl Into<Operator>,
        durable: impl FnOnce(&ApplyResult),
    ) -> Result<ApplyResult, Problem> {
        let mut store = self.writer();
        let directory = store.directory().to_owned();
        let to = match (to, store.unconfirmed()) {
            (Some(to), _) => to,
            (None, Some(unconfirmed)) => unconfirmed.revert_to,
            (None, None) if store.current() == 0 => {
                let message = "there is nothing to go back to: nothing was changed yet";
                return Err(
                    Problem::new(ProblemKind::NotFound, message).with_remedy("see 'weft history'")
                );
            }
            (None, None) => Store::before(&directory, store.current())?,
        };
        let goal = Store::load(&directory, to)?;
        let order = Order {
            title: Some(format!("rollback to generation {to}")),
            supersedes: true,
            // Who goes back is in need: what cannot be attached meanwhile is down and says so.
            forced: true,
            ..Order::of_many(options, by)?
        };
        let made = self.transact(&mut store, &order, plan_of(&goal), |made| {
            durable(&made.clone().into());
        })?;
        Ok(made.into())
    }

    /// Has the current generation stay.
    ///
    /// # Errors
    /// `failed`: that cannot be made durable.
    pub(crate) fn confirm(&self, by: &str) -> Result<Confirmed, Problem> {
        let mut store = self.writer();
        let waited = store.unconfirmed().is_some();
        let generation = store.current();
        if waited {
            store.confirm()?;
            let mut state = self.state();
            state.note_generation(&store);
            self.commit(state);
            tracing::info!(generation, by, "confirmed");
        }
        Ok(Confirmed { generation, waited })
    }

    /// All generations that are kept, newest first.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub(crate) fn history(&self) -> Result<Vec<Generation>, Problem> {
        Store::history(&self.directory, self.view().generation)
    }

    /// The configuration of an earlier generation.
    ///
    /// # Errors
    /// `notFound`, or it cannot be read.
    pub(crate) fn generation(&self, number: u64) -> Result<Manifest, Problem> {
        Ok(Manifest::export(&Store::load(&self.directory, number)?))
    }

    /// The refusal of a stale write with what others wrote since, as far as the generations that are kept tell it.
    pub(super) fn with_what_changed(
        &self,
        problem: Problem,
        object: &ObjectRef,
        read: ResourceVersion,
    ) -> Problem {
        let now = Arc::clone(&self.view().intent);
        let mut by = None;
        for generation in self.history().unwrap_or_default() {
            let Ok(then) = Store::load(&self.directory, generation.generation) else {
                continue;
            };
            let version = then.version_of(object);
            if version == now.version_of(object) {
                by = generation.by;
            }
            if version != Some(read) {
                continue;
            }
            let fields = now.differing_from(&then, object);
            let mut fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
            if fields.is_empty() {
                fields.push("changed and changed back".to_owned());
            }
            let by = by.map(|by| format!(", by {by}")).unwrap_or_default();
            let message = format!("{}; since then: {}{by}", problem.message, fields.join(", "));
            return Problem { message, ..problem };
        }
        problem
    }

    /// Takes back a generation that nobody confirmed in time, whether or not everything can be attached then.
    pub(crate) fn take_back_unconfirmed(&self) {
        let is_overdue = |unconfirmed: &Unconfirmed| unconfirmed.remaining().is_none();
        let now = Instant::now();
        if !self.view().unconfirmed.as_ref().is_some_and(is_overdue) || self.pauses_since(now) {
            return;
        }
        let mut store = self.writer();
        let Some(to) = store
            .unconfirmed()
            .filter(|unconfirmed| is_overdue(unconfirmed))
            .map(|unconfirmed| unconfirmed.revert_to)
        else {
            return;
        };
        let from = store.current();
        let order = Order {
            by: BY_ITSELF.into(),
            title: Some(format!(
                "generation {from} was not confirmed in time; back to generation {to}"
            )),
            yes: true,
            supersedes: true,
            forced: true,
            ..Order::default()
        };
        let done = Store::load(&self.directory, to)
            .and_then(|goal| self.transact(&mut store, &order, plan_of(&goal), |_| {}));
        let mut failure = self
            .take_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *failure = match done {
            // Durable, and in force as soon as a poll thread goes on.
            Err(problem) if problem.kind != ProblemKind::TimedOut => {
                tracing::error!(%problem, from, to, "a generation that was not confirmed cannot be taken back yet");
                Some(Failure::after(failure.as_ref(), problem.to_string(), now))
            }
            _ => None,
        };
    }

    /// Whether an attempt to take a generation back failed so shortly ago that the next one waits.
    fn pauses_since(&self, now: Instant) -> bool {
        let failure = self
            .take_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().is_some_and(|failure| failure.again > now)
    }
}

/// What makes a configuration that of `goal`.
fn plan_of(goal: &Intent) -> impl FnOnce(&Intent) -> Result<Vec<weft_model::Change>, Problem> {
    let goal = Manifest::export(goal);
    move |intent| Ok(goal.plan(intent)?)
}

/// Refuses the sections that only a lab has.
fn of_a_host(manifest: &Manifest) -> Result<(), Problem> {
    let section = match (manifest.hosts.is_empty(), manifest.vms.is_empty()) {
        (true, true) => {
            return match manifest.vswitches().iter().find(|one| one.host.is_some()) {
                None => of_its_host(manifest),
                Some(one) => Err(of_a_lab(&format!("standard switch {}: host", one.name))
                    .about(&one.name)
                    .in_field("host")),
            };
        }
        (false, _) => "hosts",
        (true, false) => "vms",
    };
    Err(of_a_lab(section).in_field(section))
}

fn of_its_host(manifest: &Manifest) -> Result<(), Problem> {
    match manifest.netflow().iter().find(|one| one.host.is_some()) {
        None => Ok(()),
        Some(one) => {
            let object = ObjectRef::netflow_of(&one.vswitch);
            Err(of_a_lab(&format!("{object}: host"))
                .about(object)
                .in_field("host"))
        }
    }
}

fn of_a_lab(what: &str) -> Problem {
    Problem::new(
        ProblemKind::Invalid,
        format!("{what}: a host has none, only a lab"),
    )
    .with_remedy("make it a lab with 'weft lab up FILE'")
}
