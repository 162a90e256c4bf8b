//! Everything that moves, as counters at one instant.

use weft_api::{Activity, FindingGroup, PortActivity, PortState, ThreadActivity};
use weft_model::PortKey;

use super::Host;
use super::counters::name;

impl Host {
    /// The counters of every thread, port and uplink, and what is wrong, in groups.
    pub(crate) fn activity(&self) -> Activity {
        let storage = self.storage();
        let state = self.view();
        let faults = self.faults(&state);
        let ports = state.wanted().into_keys().map(|key| {
            let stats = self.stats_of(&state, &key);
            let is_blocked = match &key {
                PortKey::Port(name) => state
                    .intent
                    .ports
                    .get(name)
                    .is_some_and(|port| port.spec.block),
                PortKey::Uplink(_) => false,
            };
            PortActivity {
                name: name(&key).to_owned(),
                uplink: stats.uplink,
                state: match faults.obstacles.get(&key) {
                    None => PortState::Up,
                    Some(_) if is_blocked => PortState::Blocked,
                    Some(_) => PortState::Down,
                },
                rx_frames: stats.rx_frames,
                rx_bytes: stats.rx_bytes,
                tx_frames: stats.tx_frames,
                tx_bytes: stats.tx_bytes,
                drops: stats.drops,
                kernel_drops: stats.kernel_drops,
            }
        });
        let ports = ports.collect();
        let threads = self.plane.datapath().threads().into_iter();
        let threads = threads.map(|thread| ThreadActivity {
            index: thread.index,
            core: thread.core,
            frames: thread.frames,
            elapsed_cycles: thread.elapsed_cycles,
            busy_cycles: thread.busy_cycles,
            asleep_nanoseconds: thread.asleep_ns,
        });
        Activity {
            host: self.name.clone(),
            pid: std::process::id(),
            uptime_nanoseconds: u64::try_from(self.started.elapsed().as_nanos())
                .unwrap_or(u64::MAX),
            threads: threads.collect(),
            ports,
            problems: FindingGroup::of(&self.findings(&state, &faults, storage)),
        }
    }
}
