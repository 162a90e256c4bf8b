//! Telling the switches beyond an uplink which addresses are reached through it: RARP requests (RFC 903) that nobody answers,
//! as vSphere sends them. Bridges learn from the source.

use std::iter::once;

use weft_packet::{MacAddr, TPID_CTAG, Tag, TagEdit, arp, ethertype};
use weft_vlan::Policy;

use super::Datapath;
use crate::PortId;
use crate::engine::Outgoing;
use crate::frame::with_frame;
use crate::snapshot::{PortEntry, Snapshot};

/// Octets of the shortest Ethernet frame, without its checksum.
const SHORTEST: usize = 60;

impl Datapath {
    /// Sends an announcement for each address of a port, in its VLAN, out of the uplink that the port uses; of a port that
    /// trunks, for its own address without a tag. Returns how many an uplink took; none where its
    /// team does not notify, or the port is down: its VM may be on another host.
    pub fn announce(&self, port: PortId) -> usize {
        // One at a time: the counters that are written here have one writer.
        let _control = self.control.lock();
        let snapshot = self.snapshot.load();
        let here = |entry: &&PortEntry| entry.way.notify && entry.closed.is_none();
        let Some(entry) = snapshot.port(port).filter(here) else {
            return 0;
        };
        let addresses = addresses(entry).chain(snapshot.learned_by(entry));
        let sent = addresses.map(|(vlan, mac)| announce(&snapshot, entry, vlan, mac));
        sent.filter(|sent| *sent).count()
    }
}

/// Every address that a port is reached under, with its VLAN.
fn addresses(entry: &PortEntry) -> impl Iterator<Item = (u16, MacAddr)> {
    let vlan = match &entry.vlan {
        Policy::Access(vlan) => vlan.id(),
        Policy::External | Policy::Trunk(_) => 0,
    };
    let own = Some(entry.own_address()).filter(|own| own.is_unicast_source());
    let own = own.into_iter().chain(entry.port.learned());
    let mut own: Vec<_> = own.map(|mac| (vlan, mac)).collect();
    own.sort_unstable();
    own.dedup();
    own.into_iter()
}

fn announce(snapshot: &Snapshot, entry: &PortEntry, vlan: u16, mac: MacAddr) -> bool {
    let uplink = entry.way.uplink(|| mac, || None);
    let Some(uplink) = uplink.and_then(|uplink| snapshot.port(uplink)) else {
        return false;
    };
    if uplink.closed.is_some() {
        return false;
    }
    let counters = uplink.port.control_counters();
    let mut side = uplink.port.tx.lock();
    let mut sent = false;
    with_frame(&request(mac, vlan), |burst| {
        let (frame, edit) = (0, TagEdit::Keep);
        let outgoing = once(Outgoing { frame, edit });
        side.engine.transmit(burst, outgoing, |_, result| {
            counters.tx_attempts.add(1);
            match result {
                Ok(len) => {
                    counters.tx_frames.add(1);
                    counters.tx_bytes.add(len as u64);
                    sent = true;
                }
                Err(reason) => counters.tx_drops[reason as usize].add(1),
            }
        });
        // What the kernel does not take at once goes with whatever the uplink sends next; whoever has it to send waits for
        // the lock meanwhile.
        side.engine.flush();
    });
    sent
}

/// A RARP request of `mac` about itself, to everybody.
fn request(mac: MacAddr, vlan: u16) -> Vec<u8> {
    let packet = arp::Repr {
        operation: arp::operation::REVERSE_REQUEST,
        sender_mac: mac,
        sender_ip: [0; 4].into(),
        target_mac: mac,
        target_ip: [0; 4].into(),
    };
    let mut frame = [MacAddr::BROADCAST.octets(), mac.octets()].concat();
    frame.extend(ethertype::RARP.to_be_bytes());
    frame.extend(packet.octets());
    frame.resize(SHORTEST, 0);
    if vlan == 0 {
        return frame;
    }
    let edit = TagEdit::Push(Tag::new(TPID_CTAG, vlan, 0));
    let mut tagged = vec![0; edit.edited_len(frame.len())];
    edit.apply(&frame, &mut tagged);
    tagged
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_vlan::VlanId;

    use super::*;
    use crate::config::{
        Config, PortConfig, SwitchConfig, SwitchId, TeamConfig, TeamId, TeamPolicy,
    };
    use crate::testing::Rig;

    const UPLINK: PortId = PortId(0);
    const VM: PortId = PortId(1);

    fn rig(vlan: Policy, mac: Option<MacAddr>) -> Rig {
        let mut rig = Rig::new().unwrap();
        rig.attach(UPLINK, 8).unwrap();
        rig.attach(VM, 8).unwrap();
        let switch = SwitchId(0);
        let team = TeamConfig {
            switch,
            policy: TeamPolicy::SourceId,
            active: vec![UPLINK],
            standby: vec![],
            failback: true,
            notify: true,
            up_delay: Duration::ZERO,
        };
        let vm = PortConfig {
            mac,
            team: Some(TeamId(0)),
            ..PortConfig::vm(VM, switch, vlan)
        };
        rig.apply(&Config {
            switches: vec![SwitchConfig {
                id: switch,
                static_addresses: vec![],
            }],
            teams: vec![team],
            ports: vec![PortConfig::uplink(UPLINK, switch), vm],
        });
        rig
    }

    #[test]
    fn each_address_is_announced_in_its_vlan() {
        let mac = MacAddr::new([2, 0, 0, 0, 0, 7]);
        let rig = rig(Policy::Access(VlanId::new(10).unwrap()), Some(mac));
        assert_eq!(rig.datapath.announce(VM), 1);
        let mut expected = vec![0xff; 6];
        // Source, tag of VLAN 10, RARP; Ethernet, IPv4, lengths, request reverse; sender and target (RFC 903).
        expected.extend([2, 0, 0, 0, 0, 7, 0x81, 0, 0, 10, 0x80, 0x35]);
        expected.extend([0, 1, 8, 0, 6, 4, 0, 3]);
        expected.extend([2, 0, 0, 0, 0, 7, 0, 0, 0, 0, 2, 0, 0, 0, 0, 7, 0, 0, 0, 0]);
        expected.resize(64, 0);
        assert_eq!(rig.port(UPLINK).drain(), [expected]);
        rig.audit();
        rig.datapath
            .adopt(VM, Some(MacAddr::new([2, 0, 0, 0, 0, 8])));
        assert_eq!(rig.datapath.announce(VM), 2);
        assert_eq!(rig.datapath.announce(UPLINK), 0);
        rig.audit();
    }

    #[test]
    fn a_port_without_an_address_or_a_way_is_silent() {
        let rig = rig(Policy::trunk_all(), None);
        assert_eq!(rig.datapath.announce(VM), 0);
        rig.datapath
            .adopt(VM, Some(MacAddr::new([2, 0, 0, 0, 0, 8])));
        assert_eq!(rig.datapath.announce(VM), 1);
        assert_eq!(rig.port(UPLINK).drain()[0].len(), SHORTEST);
        let _ = rig.datapath.set_links(&[(UPLINK, true)]);
        let _ = rig.datapath.set_links(&[(UPLINK, false)]);
        assert_eq!(rig.datapath.announce(VM), 0);
        rig.audit();
    }
}
