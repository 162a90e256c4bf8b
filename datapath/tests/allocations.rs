//! Forwarding allocates nothing, whatever becomes of a frame.

use std::time::Duration;

use weft_datapath::testing::{CountingAllocator, Rig, allocations};
use weft_datapath::{
    Admission, Config, DropReason, PortConfig, PortId, Role, SwitchConfig, SwitchId, TeamConfig,
    TeamId, TeamPolicy,
};
use weft_packet::MacAddr;
use weft_vlan::{Policy, VlanId};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn mac(n: u16) -> MacAddr {
    let [high, low] = n.to_be_bytes();
    MacAddr::new([2, 0, 0, 0, high, low])
}

fn port(id: u16, vlan: Policy) -> PortConfig {
    PortConfig {
        mac: Some(mac(id)),
        forged_transmits: false,
        ..PortConfig::vm(PortId(id), SwitchId(0), vlan)
    }
}

/// UDP over IPv4 whose checksum was left to a NIC: the field holds the pseudo-header's sum.
fn unfinished(src: MacAddr) -> Vec<u8> {
    let mut frame = [&[0; 6][..], &src.octets(), &[0x08, 0x00]].concat();
    // IPv4: 48 octets from 10.0.0.1 to 10.0.0.2; the header's own checksum is of no interest to a switch.
    frame.extend([
        0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    // 0x0a00 + 1 + 0x0a00 + 2 + 17 + 28
    frame.extend([0, 1, 0, 2, 0, 28, 0x14, 0x30]);
    frame.extend([7; 20]);
    frame
}

#[test]
fn no_way_of_a_frame_allocates() {
    let access = Policy::Access(VlanId::new(5).expect("a VLAN"));
    let mut rig = Rig::new().expect("an eventfd");
    // Known unicast, a stranger's address, the sender's own, broadcast and multicast, each with a checksum to complete.
    let destinations = vec![
        mac(1),
        mac(2),
        mac(99),
        mac(0),
        MacAddr::BROADCAST,
        MacAddr::new([1, 0, 0x5e, 0, 0, 1]),
    ];
    rig.attach_replay(PortId(0), &unfinished(mac(0)), destinations.clone());
    rig.attach_replay(PortId(1), &unfinished(mac(77)), destinations);
    for id in 2..5 {
        rig.attach_replay(PortId(id), &unfinished(mac(id)), vec![]);
    }
    let mut ports: Vec<_> = (0..3).map(|id| port(id, access.clone())).collect();
    ports.push(PortConfig {
        promiscuous: true,
        ..port(3, Policy::trunk_all())
    });
    ports.push(PortConfig {
        role: Role::Uplink,
        mac: None,
        admission: Admission::Down,
        ..port(4, Policy::trunk_all())
    });
    let switch = SwitchConfig {
        id: SwitchId(0),
        static_addresses: vec![],
    };
    let team = TeamConfig {
        switch: switch.id,
        policy: TeamPolicy::IpHash,
        active: vec![PortId(4)],
        standby: vec![],
        failback: true,
        notify: true,
        up_delay: Duration::ZERO,
    };
    for port in ports.iter_mut().filter(|port| port.role == Role::Vm) {
        port.team = Some(TeamId(0));
    }
    rig.apply(&Config {
        switches: vec![switch],
        teams: vec![team],
        ports,
    });
    let forward = |rig: &mut Rig| {
        let mut frames = 0;
        while frames < 100_000 {
            frames += rig.worker.pass();
        }
    };
    // The first passes grow what is kept, and the forger's address is reported once.
    forward(&mut rig);
    let before = allocations();
    forward(&mut rig);
    assert_eq!(allocations() - before, 0);
    rig.audit();

    let counters = |id| {
        rig.datapath
            .counters(PortId(id))
            .expect("the port is attached")
    };
    let (sender, forger, watcher) = (counters(0), counters(1), counters(3));
    assert!(
        watcher.tx_checksums_completed > 0,
        "checksums were completed"
    );
    for reason in [DropReason::NoUplink, DropReason::SamePort] {
        assert!(sender.rx_drops[reason as usize] > 0, "{reason} happened");
    }
    assert_eq!(
        forger.rx_drops[DropReason::ForgedTransmit as usize],
        forger.rx_frames
    );
    assert!(
        watcher.tx_frames > sender.rx_delivered,
        "promiscuous copies were made"
    );
}
