//! Frames between hosts and the world.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use weft_packet::MacAddr;
use weft_tests::{Frame, Host, Machine, Received, Vm, Wire, until};

const CTAG: u16 = 0x8100;
const STRANGER: MacAddr = MacAddr::new([2, 0, 0, 0, 9, 9]);

/// Two VMs on VLAN 10, one without a VLAN and one that tags for itself, behind the uplink `eth1`.
struct Edge {
    host: Host,
    vms: Vec<Vm>,
}

impl Edge {
    fn new() -> Self {
        let host = Host::new();
        let world = host.world("eth1");
        let said = host.does("vswitch add vSwitch1 --uplink eth1");
        assert!(said.contains("added: up on eth1 (af-xdp"), "{said}");
        // Announcements are not what these tests look at.
        host.does("vswitch set vSwitch1 --notify no");
        for (group, vlan) in [("Ten", 10), ("None", 0), ("Guest", 4095)] {
            host.does(&format!(
                "portgroup add {group} --vswitch vSwitch1 --vlan {vlan}"
            ));
        }
        let members = [
            ("one", "Ten"),
            ("two", "Ten"),
            ("none", "None"),
            ("guest", "Guest"),
        ];
        let vms = members.map(|(name, group)| host.vm(name, group));
        let vms = vms.into_iter().chain([world]).collect();
        Self { host, vms }
    }

    fn mac(&self, name: &str) -> MacAddr {
        let vm = self.vms.iter().find(|vm| vm.name == name);
        vm.expect("a VM of this test").mac
    }
}

fn all(expected: &[(&str, Vec<u8>)]) -> Received {
    let each = expected.iter();
    each.map(|(name, frame)| ((*name).to_owned(), vec![frame.clone()]))
        .collect()
}

#[test]
fn frames_for_the_world_leave_tagged_by_the_uplink_alone() {
    let edge = Edge::new();
    let mut wire = Wire::new(&edge.host, &edge.vms);
    for (from, tags) in [
        ("one", &[][..]),
        ("none", &[]),
        ("guest", &[]),
        ("guest", &[(CTAG, 30)]),
    ] {
        let frame = Frame::new(edge.mac(from), STRANGER).tagged(tags);
        let outside = match from {
            "one" => frame.tagged(&[(CTAG, 10)]),
            _ => frame,
        };
        let received = wire.send(from, &frame.octets());
        assert_eq!(
            received,
            all(&[("eth1", outside.octets())]),
            "{from} {tags:?}"
        );
    }
    wire.silent();
}

#[test]
fn frames_from_the_world_reach_their_vlan_and_never_go_back() {
    let edge = Edge::new();
    let mut wire = Wire::new(&edge.host, &edge.vms);
    let broadcast = Frame::new(STRANGER, MacAddr::BROADCAST);
    let (ten, thirty) = (
        broadcast.tagged(&[(CTAG, 10)]).octets(),
        broadcast.tagged(&[(CTAG, 30)]).octets(),
    );
    let untagged = broadcast.octets();
    let expected = all(&[
        ("one", untagged.clone()),
        ("two", untagged.clone()),
        ("guest", ten.clone()),
    ]);
    assert_eq!(wire.send("eth1", &ten), expected);
    let expected = all(&[("none", untagged.clone()), ("guest", untagged.clone())]);
    assert_eq!(wire.send("eth1", &untagged), expected);
    assert_eq!(wire.send("eth1", &thirty), all(&[("guest", thirty)]));

    let to_one = Frame::new(STRANGER, edge.mac("one"));
    let tagged = to_one.tagged(&[(CTAG, 10)]).octets();
    assert_eq!(wire.send("eth1", &tagged), all(&[("one", to_one.octets())]));
    wire.silent();
}

#[test]
fn unknown_destinations_from_the_world_are_dropped() {
    let edge = Edge::new();
    let mut wire = Wire::new(&edge.host, &edge.vms);
    let dropped = || edge.host.stats()["eth1"].rx_drops("UnknownUnicast");
    // An address that nobody has, and one that is behind another VLAN.
    for (to, vlan) in [
        (MacAddr::new([2, 0, 0, 0, 8, 8]), 10),
        (edge.mac("one"), 20),
    ] {
        let before = dropped();
        let tags = [(CTAG, vlan)];
        let frame = Frame::new(STRANGER, to).tagged(&tags).octets();
        assert_eq!(wire.send("eth1", &frame), BTreeMap::new());
        assert_eq!(dropped(), before + 1);
    }
    assert_eq!(edge.host.drops("UnknownUnicast"), 2);
    wire.silent();
}

#[test]
fn a_broadcast_of_a_vm_reaches_its_vlan_and_the_world_once() {
    let edge = Edge::new();
    let mut wire = Wire::new(&edge.host, &edge.vms);
    let broadcast = Frame::new(edge.mac("one"), MacAddr::BROADCAST);
    let tagged = broadcast.tagged(&[(CTAG, 10)]).octets();
    let expected = all(&[
        ("two", broadcast.octets()),
        ("guest", tagged.clone()),
        ("eth1", tagged),
    ]);
    assert_eq!(wire.send("one", &broadcast.octets()), expected);
    wire.silent();
}

#[test]
fn an_uplink_without_carrier_says_so_and_comes_back() {
    let edge = Edge::new();
    let (one, two, world) = (&edge.vms[0], &edge.vms[1], &edge.vms[4]);
    let state = || edge.host.shows("uplink show eth1");
    world.does("ip link set eth0 down");
    // Ports move first; why the link is down is found after that.
    until("the uplink is down", || {
        let state = state();
        let reason = state["reason"].as_str().unwrap_or_default();
        state["state"] == "down" && reason.contains("no carrier")
    });
    let mut wire = Wire::new(&edge.host, [one, two, &edge.vms[2], &edge.vms[3]]);
    let frame = Frame::new(one.mac, STRANGER).octets();
    assert_eq!(wire.send("one", &frame), BTreeMap::new());
    assert_eq!(edge.host.drops("NoUplink"), 1);
    assert!(one.reaches(two), "the VMs of a host need no uplink");
    world.does("ip link set eth0 up");
    until("the uplink is up", || state()["state"] == "up");
    let mut wire = Wire::new(&edge.host, &edge.vms);
    let outside = Frame::new(one.mac, STRANGER).tagged(&[(CTAG, 10)]);
    assert_eq!(wire.send("one", &frame), all(&[("eth1", outside.octets())]));
    wire.silent();
}

#[test]
fn an_uplink_comes_and_goes_while_vms_talk() {
    let host = Host::with_switch();
    let world = host.world("eth1");
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    let frame = Frame::new(one.mac, STRANGER);
    let outside = frame.tagged(&[(CTAG, 10)]).octets();
    for _ in 0..2 {
        let mut wire = Wire::new(&host, [&one, &two]);
        assert_eq!(wire.send("one", &frame.octets()), BTreeMap::new());
        let said = host.does("uplink add vSwitch1 eth1");
        assert!(said.contains(": up on eth1 (af-xdp"), "{said}");
        let mut wire = Wire::new(&host, [&one, &two, &world]);
        let received = wire.send("one", &frame.octets());
        assert_eq!(received, all(&[("eth1", outside.clone())]));
        assert!(one.reaches(&two));
        host.does("uplink del vSwitch1 eth1");
    }
    assert_eq!(host.shows("uplink list"), serde_json::json!([]));
}

/// Access VLAN, no VLAN and guest tagging, from one host to another.
#[test]
fn every_vlan_mode_crosses_from_host_to_host() {
    let (left, right) = (Host::new(), Host::new());
    left.join(&right, "eth1");
    for host in [&left, &right] {
        host.does("vswitch add vSwitch1 --uplink eth1 --notify no");
        for (group, vlan) in [("Ten", 10), ("None", 0), ("Guest", 4095)] {
            host.does(&format!(
                "portgroup add {group} --vswitch vSwitch1 --vlan {vlan}"
            ));
        }
    }
    let members = [("ten", "Ten"), ("none", "None"), ("guest", "Guest")];
    let vms = |host: &Host| members.map(|(name, group)| host.vm(name, group));
    let (near, far) = (vms(&left), vms(&right));
    let mut wire = Wire::new(&left, &near);
    let mut sockets = far.each_ref().map(Vm::socket);
    let mut expected = [const { Vec::new() }; 3];
    for (from, tags, to_ten, to_none) in [
        (0, &[][..], true, false),
        (1, &[], false, true),
        (2, &[], false, true),
        (2, &[(CTAG, 10)], true, false),
        (2, &[(CTAG, 30)], false, false),
    ] {
        let frame = Frame::new(near[from].mac, MacAddr::BROADCAST);
        wire.send(&near[from].name, &frame.tagged(tags).octets());
        if to_ten {
            expected[0].push(frame.octets());
            expected[2].push(frame.tagged(&[(CTAG, 10)]).octets());
        } else if to_none {
            expected[1].push(frame.octets());
            expected[2].push(frame.octets());
        } else {
            expected[2].push(frame.tagged(tags).octets());
        }
    }
    for ((socket, expected), vm) in sockets.iter_mut().zip(&expected).zip(&far) {
        for frame in expected {
            let received = socket.receive(Duration::from_secs(2));
            assert_eq!(received.as_ref(), Some(frame), "{}", vm.name);
        }
        assert_eq!(socket.receive(Duration::from_millis(50)), None);
    }
    for (near, far) in near.iter().zip(&far) {
        assert!(near.reaches(far), "{}", near.name);
    }
}

/// The example that the documentation shows.
#[test]
fn the_two_hosts_of_the_example_reach_each_other() {
    let machine = Machine::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/uplink.yaml");
    machine.weft(&format!("lab up {example}")).succeeds();
    let ping = "lab exec web -- ping -n -q -c 3 -i 0.05 -W 1 10.0.10.2";
    let said = machine.weft(ping).succeeds();
    assert!(said.contains(" 3 received"), "{said}");
    let again = machine.weft(&format!("lab up {example}")).succeeds();
    assert!(again.contains("unchanged"), "{again}");
    for host in ["esxi01", "esxi02"] {
        let words = format!("lab exec {host} -- weft uplink list -o json");
        let uplinks = machine.weft(&words).json();
        assert_eq!(uplinks[0]["state"], "up", "{uplinks}");
    }
    machine.weft("lab down").succeeds();
    machine.is_clean("after the lab");
}
