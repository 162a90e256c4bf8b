//! Telling the switches beyond an uplink which addresses are reached through it: RARP requests (RFC 903) that nobody answers,
//! as vSphere sends them. Bridges learn from the source.

use std::collections::HashSet;
use std::iter::once;

use weft_packet::{MacAddr, TPID_CTAG, Tag, TagEdit, arp, ethertype};
use weft_vlan::Policy;

use super::Datapath;
use crate::PortId;
use crate::engine::Outgoing;
use crate::frame::with_frame;
use crate::learning::LearnedAddress;
use crate::mac_table::key;
use crate::snapshot::{PortEntry, Snapshot};

/// Octets of the shortest Ethernet frame, without its checksum.
const SHORTEST: usize = 60;

/// An address that is to be announced, with the port that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Announcement {
    /// The port.
    pub port: PortId,
    /// The VLAN on which it is announced, 0 for none.
    pub vlan: u16,
    /// The address.
    pub mac: MacAddr,
}

impl Datapath {
    /// What there is to announce of ports: each address in its VLAN, of a port that trunks its own address without a tag. A
    /// port's own addresses come before those that were learned behind it. Nothing of a port whose team does not notify, or
    /// whose VM may be on another host: it is down, or its guest is not there.
    pub fn announcements(&self, ports: &[PortId]) -> Vec<Announcement> {
        let snapshot = self.snapshot.load();
        let entries = ports.iter().filter_map(|port| snapshot.port(*port));
        let entries: Vec<_> = entries.filter(|entry| is_announced(entry)).collect();
        let own = entries.iter().flat_map(|entry| {
            let port = entry.port.id;
            own_addresses(entry).map(move |(vlan, mac)| Announcement { port, vlan, mac })
        });
        let mut all: Vec<_> = own.collect();
        let learners: HashSet<PortId> = entries
            .iter()
            .map(|entry| entry.port.id)
            .filter(|port| snapshot.learned_count(*port) > 0)
            .collect();
        if !learners.is_empty() {
            let learned = snapshot.learning().flat_map(|learning| learning.list(0));
            let learned = learned.filter(|address| learners.contains(&address.port));
            all.extend(learned.map(
                |LearnedAddress {
                     port, vlan, mac, ..
                 }| Announcement { port, vlan, mac },
            ));
        }
        all
    }

    /// Sends announcements, each out of the uplink that its address leaves by. Returns how many an uplink took. One that is not
    /// true any more is left out.
    pub fn announce(&self, announcements: &[Announcement]) -> usize {
        // One at a time: the counters that are written here have one writer.
        let _control = self.control.lock();
        let snapshot = self.snapshot.load();
        let sent = announcements.iter().filter(|announcement| {
            let &Announcement { port, vlan, mac } = *announcement;
            snapshot.port(port).is_some_and(|entry| {
                is_true(&snapshot, entry, vlan, mac) && send(&snapshot, entry, vlan, mac)
            })
        });
        sent.count()
    }
}

fn is_announced(entry: &PortEntry) -> bool {
    entry.way.notify && entry.is_here()
}

fn is_true(snapshot: &Snapshot, entry: &PortEntry, vlan: u16, mac: MacAddr) -> bool {
    let is_learned = || {
        let learning = snapshot.switch_of(entry).learning.as_ref();
        learning.is_some_and(|learning| learning.find(key(vlan, mac)) == Some(entry.port.id))
    };
    is_announced(entry) && (own_addresses(entry).any(|own| own == (vlan, mac)) || is_learned())
}

/// Every address of a port itself, with its VLAN.
fn own_addresses(entry: &PortEntry) -> impl Iterator<Item = (u16, MacAddr)> {
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

fn send(snapshot: &Snapshot, entry: &PortEntry, vlan: u16, mac: MacAddr) -> bool {
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
            switches: vec![SwitchConfig::new(switch)],
            teams: vec![team],
            ports: vec![PortConfig::uplink(UPLINK, switch), vm],
        });
        rig
    }

    /// Announces all there is to announce of a port.
    fn announce(rig: &Rig, port: PortId) -> usize {
        rig.datapath.announce(&rig.datapath.announcements(&[port]))
    }

    #[test]
    fn each_address_is_announced_in_its_vlan() {
        let mac = MacAddr::new([2, 0, 0, 0, 0, 7]);
        let rig = rig(Policy::Access(VlanId::new(10).unwrap()), Some(mac));
        assert_eq!(announce(&rig, VM), 1);
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
        assert_eq!(announce(&rig, VM), 2);
        assert_eq!(announce(&rig, UPLINK), 0);
        // What was true when it was noted may not be any more.
        let noted = rig.datapath.announcements(&[VM]);
        rig.datapath.adopt(VM, None);
        assert_eq!(rig.datapath.announce(&noted), 1);
        rig.audit();
    }

    #[test]
    fn a_port_without_an_address_or_a_way_is_silent() {
        let rig = rig(Policy::trunk_all(), None);
        assert_eq!(announce(&rig, VM), 0);
        rig.datapath
            .adopt(VM, Some(MacAddr::new([2, 0, 0, 0, 0, 8])));
        assert_eq!(announce(&rig, VM), 1);
        assert_eq!(rig.port(UPLINK).drain()[0].len(), SHORTEST);
        let _ = rig.datapath.set_links(&[(UPLINK, true)]);
        let _ = rig.datapath.set_links(&[(UPLINK, false)]);
        assert_eq!(announce(&rig, VM), 0);
        rig.audit();
    }
}
