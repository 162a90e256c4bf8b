//! The host's health, and what to do about what is wrong.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use weft_api::{Cause, Counts, Finding, Status, ThreadReport};
use weft_model::{ObjectKind, ObjectRef, PortKey};

use super::Host;
use super::change::remaining;
use crate::descriptors;
use crate::state::{Obstacle, State, quoted};
use crate::store::Store;

/// Fewer frames than this say nothing about what one costs: they share wake-ups and cold caches.
const ENOUGH_FRAMES: u64 = 1000;

/// What keeps ports and uplinks from forwarding, looked at once for everything that is said about it.
pub(super) struct Faults {
    pub(super) obstacles: BTreeMap<PortKey, Obstacle>,
}

impl Host {
    /// The host's health.
    pub(crate) fn status(&self) -> Status {
        let storage = self.storage();
        let state = self.view();
        let faults = self.faults(&state);
        let counts = counts(&state, &faults);
        let progress = self.progress();
        let threads = self
            .plane
            .datapath()
            .threads()
            .into_iter()
            .map(|thread| ThreadReport {
                index: thread.index,
                core: thread.core,
                queues: thread.queues,
                frames_total: thread.frames,
                busy_share: thread.busy,
                asleep_share: thread.asleep,
                stalled_seconds: progress
                    .of(thread.index)
                    .stalled
                    .map(|still| still.as_secs()),
                cycles_per_frame: thread
                    .cycles_per_frame
                    .filter(|_| thread.frames >= ENOUGH_FRAMES),
            })
            .collect();
        drop(progress);
        Status {
            host: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            threads,
            counts,
            problems: self.findings(&state, &faults, storage),
        }
    }

    /// Why changes cannot be stored. A disk may take its time to say, so nobody waits for this with the state in hand.
    pub(super) fn storage(&self) -> Option<Finding> {
        let generation = self.durable_generation.load(Ordering::Relaxed);
        let obstacle = Store::obstacle(&self.directory, generation)?;
        Some(Finding {
            object: ObjectRef::new(ObjectKind::Host, &self.name),
            cause: Cause::Storage,
            reason: format!(
                "{obstacle}: changes are refused until that is mended, and frames go on"
            ),
            next: format!("df -h {}", self.directory.display()),
        })
    }

    /// What keeps each port and uplink from forwarding.
    pub(super) fn faults(&self, state: &State) -> Faults {
        let ports = state.intent.ports.values().filter_map(|object| {
            let obstacle = self.obstacle(state, &object.spec)?;
            Some((PortKey::Port(object.spec.name.clone()), obstacle))
        });
        let uplinks = state.intent.uplinks().filter_map(|(_, interface)| {
            let key = PortKey::Uplink(interface.clone());
            let obstacle = state.link_obstacle(&key)?;
            Some((key, obstacle))
        });
        Faults {
            obstacles: ports.chain(uplinks).collect(),
        }
    }

    /// What is wrong: the worst cause first, and uplinks before ports, because every port of a switch needs its uplink.
    pub(super) fn findings(
        &self,
        state: &State,
        faults: &Faults,
        storage: Option<Finding>,
    ) -> Vec<Finding> {
        let stalled = self.ailments().into_iter().map(|ailment| Finding {
            object: ObjectRef::new(ObjectKind::Host, &self.name),
            cause: Cause::Stalled,
            reason: format!("{ailment}: its ports do not forward"),
            next: "systemctl restart weft-agent".to_owned(),
        });
        let damaged = self.damaged.iter().map(|problem| Finding {
            object: ObjectRef::new(ObjectKind::Host, &self.name),
            cause: Cause::State,
            reason: format!("state file {problem}; the generation before it is in use"),
            next: "weft history".to_owned(),
        });
        let descriptors = descriptors::are_exhausted().then(|| Finding {
            object: ObjectRef::new(ObjectKind::Host, &self.name),
            cause: Cause::Descriptors,
            reason: "the agent has no file descriptors left: what comes now cannot be attached"
                .to_owned(),
            next: format!("grep 'open files' /proc/{}/limits", std::process::id()),
        });
        let unconfirmed = state.unconfirmed.as_ref().map(|unconfirmed| Finding {
            object: ObjectRef::new(ObjectKind::Host, &self.name),
            cause: Cause::Unconfirmed,
            reason: format!(
                "generation {} waits for its confirmation{}, and is then taken back",
                state.generation,
                remaining(unconfirmed)
            ),
            next: "weft confirm".to_owned(),
        });
        let obstacles = faults.obstacles.iter().map(|(key, obstacle)| Finding {
            object: state.object_of(key),
            cause: obstacle.cause,
            reason: obstacle.reason.clone(),
            next: obstacle.next.clone(),
        });
        let addresses = self.addresses().clone();
        let conflicts = addresses
            .conflicts(&state.intent)
            .map(|conflict| Finding {
                object: (&conflict.port).into(),
                cause: Cause::AddressConflict,
                reason: format!(
                    "its guest uses the address {}, which port {} has, so frames for it go there",
                    conflict.mac, conflict.holder
                ),
                next: "weft fdb list".to_owned(),
            })
            .collect::<Vec<_>>();
        let warnings = state.engines.iter().filter_map(|(key, engine)| {
            let reason = self.engine(Some(engine.id))?.warnings.join(" ");
            (!reason.is_empty()).then(|| Finding {
                object: state.object_of(key),
                cause: Cause::Warning,
                reason,
                next: show(key),
            })
        });
        let mut findings: Vec<_> = stalled
            .chain(damaged)
            .chain(storage)
            .chain(descriptors)
            .chain(unconfirmed)
            .chain(obstacles)
            .chain(conflicts)
            .chain(self.advice(state))
            .chain(self.netflow_findings(state))
            .chain(self.strains(state, Instant::now()))
            .chain(warnings)
            .collect();
        findings.sort_by_key(|finding| {
            let is_uplink = finding.object.kind == ObjectKind::Uplink;
            (finding.cause, !is_uplink)
        });
        findings
    }
}

/// How many objects there are, and how many of them are up.
pub(super) fn counts(state: &State, faults: &Faults) -> Counts {
    let (ports, uplinks) = (state.intent.ports.len(), state.intent.uplinks().count());
    let is_port = |key: &&PortKey| matches!(key, PortKey::Port(_));
    let ports_down = faults.obstacles.keys().filter(is_port).count();
    let uplinks_down = faults.obstacles.len() - ports_down;
    Counts {
        vswitches: state.intent.vswitches.len(),
        portgroups: state.intent.portgroups.len(),
        ports,
        ports_up: ports - ports_down,
        uplinks,
        uplinks_up: uplinks - uplinks_down,
    }
}

/// A port or uplink as the data path has it: one of the host's own interfaces is a port there like others.
pub(super) fn object(key: &PortKey) -> ObjectRef {
    match key {
        PortKey::Port(name) => name.into(),
        PortKey::Uplink(interface) => ObjectRef::new(ObjectKind::Uplink, interface),
    }
}

/// The command that shows it.
pub(super) fn show(key: &PortKey) -> String {
    match key {
        PortKey::Port(name) => format!("weft port show {}", quoted(name)),
        PortKey::Uplink(interface) => format!("weft uplink show {interface}"),
    }
}
