//! Forwarding allocates nothing, whatever becomes of a frame.

use std::sync::Barrier;
use std::time::Duration;

use weft_datapath::testing::{
    CountingAllocator, Rig, access, allocations, mac, meter, one_switch, one_team, port, set_clock,
};
use weft_datapath::{
    Admission, Beyond, DropReason, LearningConfig, PortConfig, PortId, ShapeConfig, SwitchConfig,
    SwitchId, TeamPolicy,
};
use weft_packet::MacAddr;
use weft_vlan::Policy;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A port that sends from no address but its own.
fn honest(id: u16, vlan: Policy) -> PortConfig {
    PortConfig {
        forged_transmits: false,
        ..port(id, vlan)
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
    let mut ports: Vec<_> = (0..3).map(|id| honest(id, access(5))).collect();
    ports.push(PortConfig {
        promiscuous: true,
        ..honest(3, Policy::trunk_all())
    });
    ports.push(PortConfig {
        admission: Admission::Down,
        ..PortConfig::uplink(PortId(4), SwitchId(0))
    });
    rig.apply(&one_team(TeamPolicy::IpHash, ports));
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

#[test]
fn limits_allocate_nothing() {
    let mut rig = Rig::new().expect("an eventfd");
    let shape = |average| {
        Some(ShapeConfig {
            average,
            peak: 2 * average,
            burst: 100_000,
        })
    };
    rig.attach_replay(
        PortId(0),
        &unfinished(mac(0)),
        vec![mac(1), MacAddr::BROADCAST],
    );
    rig.attach_replay(PortId(1), &unfinished(mac(1)), vec![]);
    rig.attach_replay(PortId(2), &unfinished(mac(2)), vec![mac(1)]);
    let mut ports: Vec<_> = (0..3).map(|id| port(id, Policy::External)).collect();
    ports[0].shape_in = shape(1_000_000_000);
    ports[1].shape_out = shape(500_000_000);
    ports[2].shape_out = shape(100_000_000);
    rig.apply(&one_switch(ports));
    let mut now = 1_000_000_000;
    let mut forward = |rig: &mut Rig| {
        for _ in 0..10_000 {
            now += 10_000;
            set_clock(Some(now));
            rig.worker.pass();
        }
    };
    forward(&mut rig);
    let before = allocations();
    forward(&mut rig);
    assert_eq!(allocations() - before, 0);
    rig.audit();
    for id in [1, 2] {
        let counters = rig
            .datapath
            .counters(PortId(id))
            .expect("the port is attached");
        assert!(counters.tx_queued > 0, "frames wait for port {id}");
        assert!(counters.tx_drops[DropReason::ShaperFull as usize] > 0);
    }
}

/// One port sends from more addresses than it may learn, the other from some that are the first one's.
#[test]
fn learning_allocates_nothing() {
    let mut rig = Rig::new().expect("an eventfd");
    let sources = |from: u16| (from..from + 100).map(mac).collect::<Vec<_>>();
    let destinations = vec![mac(1), mac(0), mac(110), mac(150), mac(9999)];
    for (id, from) in [(0, 100), (1, 150)] {
        let frame = unfinished(mac(id));
        rig.attach_replay_from(PortId(id), &frame, destinations.clone(), sources(from));
    }
    let learning = LearningConfig {
        limit: 60,
        beyond: Beyond::Drop,
        flood: true,
        age: Duration::from_secs(2),
    };
    let ports = (0..2).map(|id| PortConfig {
        learning: Some(learning),
        ..port(id, Policy::External)
    });
    rig.apply(&one_switch(ports));
    let forward = |rig: &mut Rig| {
        let mut frames = 0;
        while frames < 20_000 {
            frames += rig.worker.pass();
        }
    };
    set_clock(Some(1_000_000_000));
    forward(&mut rig);
    let before = allocations();
    // Everything is forgotten and learned again.
    for round in 1..10 {
        set_clock(Some(round * 5_000_000_000));
        rig.datapath.age_learned();
        assert_eq!(rig.datapath.learned_count(PortId(0)), 0);
        forward(&mut rig);
    }
    assert_eq!(allocations() - before, 0);
    rig.audit();
    for id in (0..2).map(PortId) {
        let counters = rig.datapath.counters(id).expect("the port is attached");
        assert!(counters.rx_drops[DropReason::LearningLimit as usize] > 0);
        assert!(counters.rx_drops[DropReason::SamePort as usize] > 0);
        assert!((1..=60).contains(&rig.datapath.learned_count(id)));
    }
}

/// However many meters there are and however many ask: each comes with the memory that it needs.
#[test]
fn meters_and_who_asks_for_flows_allocate_nothing_on_a_poll_thread() {
    const ASKING: usize = 40;
    let mut rig = Rig::new().expect("an eventfd");
    let mut config = one_switch([port(0, access(5))]);
    let switches = (0..200).map(|id| SwitchConfig::new(SwitchId(id)));
    config.switches = switches.collect();
    rig.apply(&config);
    rig.worker.pass();
    let passes = |rig: &mut Rig| {
        let before = allocations();
        rig.worker.pass();
        (0..300).for_each(|_| rig.worker.look_at_flows());
        allocations() - before
    };
    // One that takes many looks to show, and many others.
    for (id, switch) in config.switches.iter_mut().enumerate() {
        switch.meter = Some(meter(if id == 0 { 100_000 } else { 1 }));
    }
    rig.apply(&config);
    assert_eq!(passes(&mut rig), 0, "meters that come");
    for switch in &mut config.switches[1..] {
        switch.meter = None;
    }
    rig.apply(&config);
    assert_eq!(passes(&mut rig), 0, "meters that go");
    let all_ask = Barrier::new(ASKING + 1);
    let Rig {
        datapath, worker, ..
    } = &mut rig;
    let datapath = &*datapath;
    std::thread::scope(|scope| {
        let ask = || {
            all_ask.wait();
            datapath.flows(None, 10)
        };
        let asking: Vec<_> = (0..ASKING).map(|_| scope.spawn(ask)).collect();
        all_ask.wait();
        let before = allocations();
        while asking.iter().any(|asking| !asking.is_finished()) {
            worker.pass();
        }
        assert_eq!(allocations() - before, 0, "those who ask");
    });
}
