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

    use weft_packet::MacAddr;
    use weft_vlan::{Policy, VlanId};

    use crate::testing::Rig;
    use crate::{Beyond, Config, LearningConfig, PortConfig, PortId, SwitchConfig, SwitchId};

    #[test]
    fn a_first_address_passes_while_another_thread_learns() {
        let vlan = Policy::Access(VlanId::new(5).unwrap());
        let [nameless, learner] =
            [0, 1].map(|id| PortConfig::vm(PortId(id), SwitchId(0), vlan.clone()));
        let [sender, receiver] = [nameless.id, learner.id];
        let learning = LearningConfig {
            limit: 1,
            beyond: Beyond::Drop,
            flood: false,
            age: Duration::from_secs(300),
        };
        let mut rig = Rig::new().unwrap();
        rig.attach(sender, 8).unwrap();
        rig.attach(receiver, 8).unwrap();
        rig.apply(&Config {
            switches: vec![SwitchConfig {
                id: SwitchId(0),
                static_addresses: vec![],
            }],
            teams: vec![],
            ports: vec![
                PortConfig {
                    forged_transmits: false,
                    ..nameless
                },
                PortConfig {
                    learning: Some(learning),
                    ..learner
                },
            ],
        });
        let mac = MacAddr::new([2, 0, 0, 0, 0, 1]);
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
