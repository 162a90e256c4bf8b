//! The host's health, and what to do about what is wrong.

use weft_api::{Counts, Finding, Status, ThreadReport};
use weft_model::{ObjectKind, ObjectRef, PortKey};

use super::Host;
use super::change::remaining;
use crate::state::{State, quoted};

/// Fewer frames than this say nothing about what one costs: they share wake-ups and cold caches.
const ENOUGH_FRAMES: u64 = 1000;

impl Host {
    /// The host's health.
    pub(crate) fn status(&self) -> Status {
        let state = self.view();
        let ports_up = state
            .intent
            .ports
            .values()
            .filter(|port| self.obstacle(&state, &port.spec).is_none())
            .count();
        let uplinks: Vec<_> = state
            .intent
            .uplinks()
            .map(|(_, uplink)| PortKey::Uplink(uplink.clone()))
            .collect();
        let counts = Counts {
            vswitches: state.intent.vswitches.len(),
            portgroups: state.intent.portgroups.len(),
            ports: state.intent.ports.len(),
            ports_up,
            uplinks: uplinks.len(),
            uplinks_up: uplinks
                .iter()
                .filter(|key| state.link_obstacle(key).is_none())
                .count(),
        };
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
                cycles_per_frame: thread
                    .cycles_per_frame
                    .filter(|_| thread.frames >= ENOUGH_FRAMES),
            });
        Status {
            host: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            threads: threads.collect(),
            counts,
            problems: self.findings(&state),
        }
    }

    /// What is wrong: the store first, then uplinks, then ports, then what works but not as it should.
    fn findings(&self, state: &State) -> Vec<Finding> {
        let damaged = self.damaged.iter().map(|problem| Finding {
            object: ObjectRef::new(ObjectKind::Host, &self.name),
            reason: format!("state file {problem}; the generation before it is in use"),
            next: "weft export".to_owned(),
        });
        let unconfirmed = state.unconfirmed.as_ref().map(|unconfirmed| Finding {
            object: ObjectRef::new(ObjectKind::Host, &self.name),
            reason: format!(
                "generation {} waits for its confirmation{}, and is then taken back",
                state.generation,
                remaining(unconfirmed)
            ),
            next: "weft confirm".to_owned(),
        });
        let uplinks = state.intent.uplinks().filter_map(|(_, interface)| {
            let obstacle = state.link_obstacle(&PortKey::Uplink(interface.clone()))?;
            let object = ObjectRef::new(ObjectKind::Uplink, interface);
            Some(Finding {
                object,
                reason: obstacle.reason,
                next: obstacle.next,
            })
        });
        let ports = state.intent.ports.values().filter_map(|object| {
            let obstacle = self.obstacle(state, &object.spec)?;
            Some(Finding {
                object: (&object.spec.name).into(),
                reason: obstacle.reason,
                next: obstacle.next,
            })
        });
        let addresses = self.addresses().clone();
        let conflicts = addresses
            .conflicts(&state.intent)
            .map(|conflict| Finding {
                object: (&conflict.port).into(),
                reason: format!(
                    "its guest uses the address {}, which port {} has, so frames for it go there",
                    conflict.mac, conflict.holder
                ),
                next: format!("weft port show {}", quoted(&conflict.holder)),
            })
            .collect::<Vec<_>>();
        let warnings = state.engines.iter().filter_map(|(key, engine)| {
            let reason = self.engine(Some(engine.id))?.warnings.join(" ");
            let (object, next) = match key {
                PortKey::Port(name) => (name.into(), format!("weft port show {}", quoted(name))),
                PortKey::Uplink(name) => (
                    ObjectRef::new(ObjectKind::Uplink, name),
                    "weft uplink list".to_owned(),
                ),
            };
            (!reason.is_empty()).then_some(Finding {
                object,
                reason,
                next,
            })
        });
        damaged
            .chain(unconfirmed)
            .chain(uplinks)
            .chain(ports)
            .chain(conflicts)
            .chain(warnings)
            .collect()
    }
}
