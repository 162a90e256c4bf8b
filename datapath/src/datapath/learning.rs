//! Addresses that switches learned behind ports.

use super::Datapath;
use crate::clock;
use crate::config::{PortId, SwitchId};
use crate::learning::{LearnedAddress, second};

impl Datapath {
    /// Forgets every learned address that has sent nothing for longer than its port lets it stay. To be called once a second;
    /// waits for nobody.
    pub fn age_learned(&self) {
        let now = second(clock::coarse_nanoseconds());
        self.snapshot.load().age_learned(now);
    }

    /// The addresses that a switch learned behind its ports, by VLAN and address. The ports' own are not among them.
    pub fn learned_addresses(&self, switch: SwitchId) -> Vec<LearnedAddress> {
        let now = second(clock::coarse_nanoseconds());
        self.snapshot.load().learned_addresses(switch, now)
    }

    /// How many addresses a port has learned.
    pub fn learned_count(&self, port: PortId) -> usize {
        self.snapshot.load().learned_count(port)
    }
}
