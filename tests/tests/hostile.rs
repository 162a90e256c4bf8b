//! A VM that sends what it likes harms nobody else.
#![forbid(unsafe_code)]

use weft_packet::MacAddr;
use weft_tests::{Frame, Host, Pings, Random, Vm, Wire, rounds, until};

/// Frames that are sent at a time; the kernel keeps 256 for a port that is busy.
const BURST: usize = 64;

/// Starts of frames that mean something: ARP, IPv4, IPv6, tags, LLDP, pause, and lengths instead of types.
const HEADS: [&[u8]; 12] = [
    &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2],
    &[0x08, 0x00, 0x45, 0],
    &[0x08, 0x00, 0x4f, 0xff, 0xff, 0xff],
    &[0x08, 0x00, 0x45, 0, 0, 20, 0, 0, 0x20, 0, 64, 17],
    &[0x86, 0xdd, 0x60, 0, 0, 0, 0xff, 0xff, 0],
    &[0x81, 0x00],
    &[0x81, 0x00, 0x00, 0x0a, 0x81, 0x00],
    &[0x88, 0xa8, 0x0f, 0xff, 0x81, 0x00, 0x00, 0x01],
    &[0x81, 0x00, 0x0f, 0xff],
    &[0x88, 0xcc],
    &[0x88, 0x08, 0, 1, 0xff, 0xff],
    &[0x00, 0x05],
];

/// Nearly anything: addresses of others and of nobody, tags, known protocols with nonsense in them, any length.
fn nonsense(random: &mut Random, vms: [&Vm; 3]) -> Vec<u8> {
    let known = [MacAddr::BROADCAST, vms[0].mac, vms[1].mac, vms[2].mac];
    let address = |random: &mut Random| match random.below(3) {
        0 => random.octets(6),
        _ => random.one_of(&known).octets().to_vec(),
    };
    let mut frame = [address(random), address(random)].concat();
    for _ in 0..random.below(3) {
        let tpid = random.one_of(&[[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]]);
        frame.extend(tpid);
        frame.extend(random.octets(2));
    }
    if random.below(4) > 0 {
        frame.extend(random.one_of(&HEADS));
    }
    let length = match random.below(3) {
        0 => random.below(32),
        _ => random.below(1600),
    };
    frame.extend(random.octets(length));
    // The kernel sends no less than an Ethernet header, and no more than the MTU of the interface with it.
    frame.resize(frame.len().clamp(14, 1600), 0);
    frame
}

#[test]
fn random_frames_harm_nobody() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 4095");
    let (one, two, hostile) = (
        host.vm("one", "Lab"),
        host.vm("two", "Lab"),
        host.unplugged_vm("hostile"),
    );
    // Before the port is opened: an interface whose MTU changes later is opened anew, and loses frames meanwhile.
    hostile.does("ip link set eth0 mtu 1600");
    host.namespace()
        .ip(&["link", "set", &hostile.interface, "mtu", "1600"]);
    host.does(&format!(
        "port add hostile --portgroup Lab --veth {} --mac {}",
        hostile.interface, hostile.mac
    ));
    let socket = hostile.socket();
    let mut random = Random::new();
    let pings = Pings::start(&one, &two);
    let mut sent = 0;
    for round in 0..rounds(400) {
        // Each kind of port decides differently.
        if round % 50 == 0 {
            let vlan = random.one_of(&[0, 10, 4095]);
            host.does(&format!("portgroup set Lab --vlan {vlan}"));
        }
        for _ in 0..BURST {
            socket.send(&nonsense(&mut random, [&one, &two, &hostile]));
        }
        sent += BURST as u64;
        until("the switch has seen every frame", || {
            host.stats()["hostile"].count("rxFrames") >= sent
        });
    }
    let (asked, answered) = pings.stop();
    println!("{sent} frames of nonsense; {answered} of {asked} pings answered");
    assert!(
        asked - answered <= asked / 100,
        "{answered} of {asked} pings answered"
    );
    assert!(one.reaches(&two));
    host.agent_pid();
    let stats = host.stats();
    println!("{:?}", stats["hostile"]);
    assert!(stats["hostile"].rx_drops("TooLong") > 0);
    assert!(stats["hostile"].rx_drops("Runt") > 0);
}

#[test]
fn frames_that_end_within_their_tags_are_runts() {
    for vlan in [0, 10, 4095] {
        let host = Host::with_switch();
        host.does(&format!(
            "portgroup add Lab --vswitch vSwitch1 --vlan {vlan}"
        ));
        let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
        let mut wire = Wire::new(&host, [&one, &two]);
        let whole = Frame::new(one.mac, two.mac)
            .tagged(&[(0x8100, 0), (0x8100, 7)])
            .octets();
        for length in [14, 15, 17, 18, 21] {
            let before = host.stats()["one"].rx_drops("Runt");
            assert!(wire.send("one", &whole[..length]).is_empty());
            let after = host.stats()["one"].rx_drops("Runt");
            assert_eq!(after, before + 1, "{length} octets, VLAN {vlan}");
        }
        // The shortest that is whole.
        let smallest = Frame::new(one.mac, two.mac).carrying(&[]).octets();
        let received = wire.send("one", &smallest);
        assert_eq!(received["two"], [smallest]);
        wire.silent();
    }
}

#[test]
fn frames_beyond_the_mtu_of_the_switch_are_too_long() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 4095");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    // A guest sets what it likes; the host's end takes four octets more than its MTU, for a tag.
    one.does("ip link set eth0 mtu 1600");
    let mut wire = Wire::new(&host, [&one, &two]);
    let payload = [0x5a; 1504];
    for (length, tags, fits) in [
        (1500, &[][..], true),
        (1501, &[], false),
        (1504, &[], false),
        (1500, &[(0x8100, 7)], true),
    ] {
        let frame = Frame::new(one.mac, two.mac).tagged(tags);
        let frame = frame.carrying(&payload[..length]).octets();
        let before = host.stats()["one"].rx_drops("TooLong");
        assert_eq!(
            wire.send("one", &frame).len(),
            usize::from(fits),
            "{length}"
        );
        let after = host.stats()["one"].rx_drops("TooLong");
        assert_eq!(after - before, u64::from(!fits), "{length} octets");
    }
    wire.silent();
}
