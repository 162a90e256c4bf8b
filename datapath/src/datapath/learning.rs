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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::{Rig, access, mac, one_switch, port};
    use crate::{Beyond, LearningConfig, PortConfig, PortId};

    #[test]
    fn a_first_address_passes_while_another_thread_learns() {
        let [sender, receiver] = [PortId(0), PortId(1)];
        let learning = LearningConfig {
            limit: 1,
            beyond: Beyond::Drop,
            flood: false,
            age: Duration::from_secs(300),
        };
        let mut rig = Rig::new().unwrap();
        rig.attach(sender, 8).unwrap();
        rig.attach(receiver, 8).unwrap();
        rig.apply(&one_switch([
            PortConfig {
                mac: None,
                forged_transmits: false,
                ..port(0, access(5))
            },
            PortConfig {
                learning: Some(learning),
                ..port(1, access(5))
            },
        ]));
        let mac = mac(7);
        let says = |rig: &mut Rig| {
            let frame = [&[0xff; 6][..], &mac.octets(), &[0x88, 0xb5], &[0; 46]].concat();
            rig.exchange(sender, &[frame]).contains_key(&receiver)
        };
        let snapshot = rig.datapath.snapshot.load_full();
        let switch = snapshot.switch_of(snapshot.port(sender).unwrap());
        let writer = switch.learning.as_ref().unwrap().table.write();
        assert!(says(&mut rig));
        assert_eq!(rig.datapath.learned(sender), (None, None));
        drop(writer);
        assert!(says(&mut rig));
        assert_eq!(rig.datapath.learned(sender), (Some(mac), None));
        rig.audit();
    }
}
