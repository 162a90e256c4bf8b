//! Dry frames: what would happen to them, in the configuration in force or in another one.

use std::collections::HashMap;
use std::sync::Arc;

use super::Datapath;
use super::control::Control;
use crate::clock;
use crate::config::{Config, PortId, SwitchId};
use crate::forward::{self, Trace};
use crate::meter::MeterId;
use crate::port::Port;
use crate::shaping::Bucket;
use crate::snapshot::{Attached, Snapshot};

impl Datapath {
    /// What would happen to a frame that a port sends, by the configuration in force. Nothing changes by it.
    ///
    /// `None` for a port that is in no configuration: what it sends waits for one.
    pub fn trace(&self, port: PortId, frame: &[u8]) -> Option<Trace> {
        let snapshot = self.snapshot.load();
        let now = clock::precise_nanoseconds();
        Some(forward::trace(&snapshot, snapshot.port(port)?, frame, now))
    }

    /// What would happen to it if `config` were in force, and every port that is open there had an engine. Nothing changes
    /// by it.
    pub fn trace_in(&self, config: &Config, port: PortId, frame: &[u8]) -> Option<Trace> {
        let switch = config.ports.iter().find(|own| own.id == port)?.switch;
        let config = of_switch(config, switch);
        let now = clock::precise_nanoseconds();
        let (ports, learning, decision) = {
            let control = self.control.lock();
            let learning = control.learning.get(&switch);
            let learning = learning.map(|table| (switch, Arc::new(table.copy())));
            let mut teams = control.teams.clone();
            teams.configure(&config, now);
            (
                control.likenesses(&config),
                learning.into_iter().collect::<HashMap<_, _>>(),
                teams.decide(&config, |_| true, now),
            )
        };
        let shapes = config.ports.iter().filter_map(|port| {
            let bucket = Arc::new(Bucket::new(port.shape_in?));
            Some((port.id, bucket))
        });
        let shapes = shapes.collect();
        let attached = Attached {
            ports: &ports,
            // The switch gets tables of its own, with the addresses that would be in them.
            learned: &HashMap::new(),
            learning: &learning,
            ways: &decision.ways,
            shape_in: &shapes,
            meters: &HashMap::new(),
            last_meter: MeterId::default(),
            lives: &HashMap::new(),
        };
        let snapshot = Snapshot::build(&config, &attached, self.seed);
        snapshot.offer_learned();
        snapshot.settle_learned();
        Some(forward::trace(&snapshot, snapshot.port(port)?, frame, now))
    }
}

/// What of a configuration concerns one switch: no other one sees its frames.
fn of_switch(config: &Config, id: SwitchId) -> Config {
    let switches = config.switches.iter().filter(|switch| switch.id == id);
    let ports = config.ports.iter().filter(|port| port.switch == id);
    Config {
        switches: switches.cloned().collect(),
        // Ports name them by position.
        teams: config.teams.clone(),
        ports: ports.cloned().collect(),
    }
}

impl Control {
    /// The ports of a configuration with the addresses that they have from their traffic, and nothing that anybody else
    /// uses.
    fn likenesses(&self, config: &Config) -> HashMap<PortId, Arc<Port>> {
        let likeness = |id: PortId| {
            let port = Port::likeness(id);
            if let Some(attachment) = self.attachments.get(&id) {
                port.copy_learned(&attachment.port);
            }
            Arc::new(port)
        };
        config
            .ports
            .iter()
            .map(|port| (port.id, likeness(port.id)))
            .collect()
    }
}
