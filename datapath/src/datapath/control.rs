//! What the control side keeps of its ports: engines, counters, and what is in force.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::config::{Config, PortConfig, PortId, ShapeConfig, SwitchId};
use crate::engine::Probe;
use crate::learned::LearnedTable;
use crate::learning::LearningTable;
use crate::meter::MeterId;
use crate::port::{CounterSet, Port};
use crate::shaping::{Bucket, EgressQueue};
use crate::teaming::{Decision, Move, Teams};

/// A port with the threads that receive from it.
pub(super) struct Attachment {
    pub(super) port: Arc<Port>,
    pub(super) threads: Vec<usize>,
    /// One for each queue that the kernel counts for.
    pub(super) probes: Vec<Probe>,
    /// Keeps what the engine did to its interface; dropped after the engine.
    pub(super) guard: Option<Box<dyn Send>>,
    /// The limit on what is sent to the port.
    pub(super) shape_out: Option<ShapeConfig>,
    /// The transmit side has a queue, for this limit or for the one before.
    pub(super) has_queue: bool,
}

#[derive(Default)]
pub(super) struct Control {
    pub(super) attachments: HashMap<PortId, Attachment>,
    /// Configured ports without an engine.
    pub(super) absent: HashMap<PortId, Arc<Port>>,
    /// Of every port that is attached or configured.
    pub(super) counters: HashMap<PortId, Arc<CounterSet>>,
    pub(super) learned: HashMap<SwitchId, Arc<LearnedTable>>,
    /// Limits on what is received, of every configured port that has one. An engine that comes anew finds used what the one
    /// before used.
    pub(super) shape_in: HashMap<PortId, Arc<Bucket>>,
    /// Of switches where a port learns.
    pub(super) learning: HashMap<SwitchId, Arc<LearningTable>>,
    /// Of switches that count flows.
    pub(super) meters: HashMap<SwitchId, MeterId>,
    /// Meters there were so far.
    pub(super) last_meter: MeterId,
    /// How many ports had a number before the one that has it.
    pub(super) lives: HashMap<PortId, u8>,
    pub(super) config: Config,
    pub(super) teams: Teams,
    /// Ports that left by another way since they were last asked for.
    pub(super) moves: BTreeMap<PortId, Move>,
    /// When ways may have to be decided anew (monotonic, ns).
    pub(super) again: Option<u64>,
    /// Of each thread: receive queues that are the first ones of a port.
    pub(super) first_queues: Vec<usize>,
}

impl Control {
    /// Every port that is attached or configured; counters of others are forgotten.
    pub(super) fn ports(&mut self, threads: usize) -> HashMap<PortId, Arc<Port>> {
        let configured: HashSet<PortId> = self.config.ports.iter().map(|port| port.id).collect();
        let Self {
            attachments,
            absent,
            counters,
            ..
        } = self;
        counters.retain(|id, _| attachments.contains_key(id) || configured.contains(id));
        absent.retain(|id, _| !attachments.contains_key(id) && configured.contains(id));
        for &id in &configured {
            if !self.attachments.contains_key(&id) && !self.absent.contains_key(&id) {
                let counters = self.counters_of(id, threads);
                self.absent.insert(id, Arc::new(Port::absent(id, counters)));
            }
        }
        let attached = self.attachments.values().map(|attachment| &attachment.port);
        attached
            .chain(self.absent.values())
            .map(|port| (port.id, Arc::clone(port)))
            .collect()
    }

    /// Notes which ports the next configuration has no more: who gets their numbers is another port.
    pub(super) fn follow_lives(&mut self, next: &Config) {
        let kept: HashSet<PortId> = next.ports.iter().map(|port| port.id).collect();
        let ports = self.config.ports.iter().map(|port| port.id);
        for port in ports
            .filter(|port| !kept.contains(port))
            .collect::<Vec<_>>()
        {
            self.begin_life(port);
        }
    }

    /// What is at a port from here on is another one.
    pub(super) fn begin_life(&mut self, port: PortId) {
        let life = self.lives.entry(port).or_default();
        *life = life.wrapping_add(1);
    }

    /// Decides by which way every port leaves. `now`: monotonic time, ns.
    pub(super) fn decide(&mut self, now: u64) -> Decision {
        let Self {
            attachments,
            config,
            teams,
            ..
        } = self;
        let decision = teams.decide(config, |id| attachments.contains_key(&id), now);
        self.again = decision.again;
        let ways = &decision.ways;
        self.moves.retain(|port, _| ways.contains_key(port));
        for latest in &decision.moves {
            let moved = self
                .moves
                .entry(latest.port)
                .or_insert_with(|| latest.clone());
            moved.to.clone_from(&latest.to);
        }
        decision
    }

    /// Gives ports the limits of the configuration, at the time `now`. What was used of a limit stays used, and what waits for
    /// one that goes may leave at once.
    pub(super) fn shape(&mut self, now: u64) {
        let configured: HashMap<PortId, &PortConfig> = self
            .config
            .ports
            .iter()
            .map(|port| (port.id, port))
            .collect();
        let limit = |id: &PortId| configured.get(id)?.shape_in;
        self.shape_in.retain(|id, _| limit(id).is_some());
        for (&id, port) in &configured {
            let Some(limit) = port.shape_in else { continue };
            self.shape_in
                .entry(id)
                .and_modify(|bucket| {
                    if bucket.config != limit {
                        *bucket = Arc::new(bucket.with(limit, now));
                    }
                })
                .or_insert_with(|| Arc::new(Bucket::new(limit)));
        }
        for (id, attachment) in &mut self.attachments {
            let limit = configured.get(id).and_then(|port| port.shape_out);
            if limit == attachment.shape_out {
                continue;
            }
            attachment.shape_out = limit;
            if attachment.has_queue {
                if let Some(queue) = &mut attachment.port.tx.lock().queue {
                    queue.set(limit, now);
                }
            } else if let Some(limit) = limit {
                let queue = Box::new(EgressQueue::new(limit));
                attachment.port.tx.lock().queue = Some(queue);
                attachment.has_queue = true;
            }
        }
    }

    /// Takes away queues that no limit needs, once nothing waits there. No poll thread forwards by an older snapshot any more.
    pub(super) fn settle_queues(&mut self) {
        let configured: HashSet<PortId> = self.config.ports.iter().map(|port| port.id).collect();
        for (id, attachment) in &mut self.attachments {
            if !attachment.has_queue || attachment.shape_out.is_some() {
                continue;
            }
            if !configured.contains(id) {
                attachment.port.discard_queue();
                attachment.has_queue = false;
                continue;
            }
            let mut side = attachment.port.tx.lock();
            let queue = side.queue.take_if(|queue| queue.is_empty());
            attachment.has_queue = side.queue.is_some();
            drop(side);
            // Freed here, where nobody waits for the lock.
            drop(queue);
        }
    }

    /// Has a table for every switch where a port learns, and for no other.
    pub(super) fn renew_learning(&mut self, seed: u64) {
        let ports = self.config.ports.iter();
        let learns: HashSet<SwitchId> = ports
            .filter(|port| port.effective_learning().is_some())
            .map(|port| port.switch)
            .collect();
        self.learning.retain(|id, _| learns.contains(id));
        for id in learns {
            self.learning
                .entry(id)
                .or_insert_with(|| Arc::new(LearningTable::new(seed)));
        }
    }

    /// A port's counters, which begin with its first engine or configuration.
    pub(super) fn counters_of(&mut self, id: PortId, threads: usize) -> Arc<CounterSet> {
        Arc::clone(
            self.counters
                .entry(id)
                .or_insert_with(|| Arc::new(CounterSet::new(threads))),
        )
    }
}
