//! Every value of every policy, set on the switch, on the port group, and inherited.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use weft_packet::MacAddr;
use weft_tests::{Frame, Host, Received, Vm, Wire, eventually};

/// What the switch says, what the port group says, and what is then in force.
const VALUES: [(&str, &str, &str); 6] = [
    ("reject", "inherit", "reject"),
    ("accept", "inherit", "accept"),
    ("accept", "reject", "reject"),
    ("reject", "reject", "reject"),
    ("reject", "accept", "accept"),
    ("accept", "accept", "accept"),
];

/// Sets a policy on the switch and on the port group `Lab`, and checks what `weft policy show` makes of it.
#[track_caller]
fn set(host: &Host, leaf: &str, (switch, group, in_force): (&str, &str, &str)) {
    let flag: String = leaf
        .chars()
        .map(|c| match c {
            'A'..='Z' => format!("-{}", c.to_ascii_lowercase()),
            _ => c.to_string(),
        })
        .collect();
    host.does(&format!("vswitch set vSwitch1 --{flag} {switch}"));
    host.does(&format!("portgroup set Lab --{flag} {group}"));
    let policy = host.shows("policy show one");
    let leaves = policy["leaves"].as_array().expect("a policy has leaves");
    let leaf = leaves
        .iter()
        .find(|entry| entry["leaf"] == format!("security.{leaf}"))
        .expect("every policy is a leaf");
    let from = if group == "inherit" {
        "vSwitch1"
    } else {
        "Lab"
    };
    assert_eq!(leaf["value"], in_force, "{policy}");
    assert_eq!(leaf["from"]["name"], from, "{policy}");
}

/// A switch with the port group `Lab` and these VMs in it.
fn lab<const N: usize>(names: [&str; N]) -> (Host, [Vm; N]) {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let vms = names.map(|name| host.vm(name, "Lab"));
    (host, vms)
}

fn only(vm: &Vm, frame: &[u8]) -> Received {
    BTreeMap::from([(vm.name.clone(), vec![frame.to_vec()])])
}

#[test]
fn promiscuous_ports_see_what_is_meant_for_others() {
    let (host, [one, two, three]) = lab(["one", "two", "three"]);
    let mut wire = Wire::new(&host, [&one, &two, &three]);
    let to_three = Frame::new(one.mac, three.mac).octets();
    let to_nobody = Frame::new(one.mac, MacAddr::new([2, 0, 0, 0, 0, 99])).octets();
    let to_all = Frame::new(one.mac, MacAddr::BROADCAST).octets();
    for values in VALUES {
        set(&host, "promiscuous", values);
        let (mut third, mut nobody) = (only(&three, &to_three), Received::new());
        if values.2 == "accept" {
            third.extend(only(&two, &to_three));
            nobody.extend(only(&two, &to_nobody));
            nobody.extend(only(&three, &to_nobody));
        }
        assert_eq!(wire.send("one", &to_three), third, "{values:?}");
        let undelivered = || host.stats()["one"].rx_drops("UnknownUnicast");
        let before = undelivered();
        assert_eq!(wire.send("one", &to_nobody), nobody, "{values:?}");
        assert_eq!(undelivered(), before + 1, "a copy is not the delivery");
        // A broadcast comes once, promiscuous or not.
        let mut all = only(&two, &to_all);
        all.extend(only(&three, &to_all));
        assert_eq!(wire.send("one", &to_all), all, "{values:?}");
    }
    wire.silent();
}

#[test]
fn promiscuous_ports_see_only_the_vlans_that_are_theirs() {
    let host = Host::with_switch();
    host.does("vswitch set vSwitch1 --promiscuous accept");
    for (group, vlan) in [("Ten", 10), ("Twenty", 20), ("Guest", 4095)] {
        host.does(&format!(
            "portgroup add {group} --vswitch vSwitch1 --vlan {vlan}"
        ));
    }
    let vms = [
        host.vm("one", "Ten"),
        host.vm("two", "Ten"),
        host.vm("ten", "Ten"),
        host.vm("twenty", "Twenty"),
        host.vm("guest", "Guest"),
    ];
    let mut wire = Wire::new(&host, &vms);
    let frame = Frame::new(vms[0].mac, vms[1].mac);
    let mut expected = only(&vms[1], &frame.octets());
    expected.extend(only(&vms[2], &frame.octets()));
    let tagged = frame.tagged(&[(0x8100, 10)]).octets();
    expected.extend(only(&vms[4], &tagged));
    assert_eq!(wire.send("one", &frame.octets()), expected);
    wire.silent();
}

#[test]
fn forged_transmits_are_dropped_where_they_are_rejected() {
    let (host, [one, two]) = lab(["one", "two"]);
    host.does("vswitch set vSwitch1 --mac-changes reject");
    let mut wire = Wire::new(&host, [&one, &two]);
    let own = Frame::new(one.mac, two.mac).octets();
    let foreign = Frame::new(MacAddr::new([2, 0, 0, 0, 9, 9]), two.mac).octets();
    let stolen = Frame::new(two.mac, two.mac).octets();
    for values in VALUES {
        set(&host, "forgedTransmits", values);
        assert_eq!(wire.send("one", &own), only(&two, &own), "{values:?}");
        for forged in [&foreign, &stolen] {
            let dropped = || host.stats()["one"].rx_drops("ForgedTransmit");
            let before = dropped();
            let received = wire.send("one", forged);
            if values.2 == "accept" {
                assert_eq!(received, only(&two, forged), "{values:?}");
                assert_eq!(dropped(), before);
            } else {
                assert_eq!(received, Received::new(), "{values:?}");
                assert_eq!(dropped(), before + 1);
            }
        }
    }
    assert_eq!(
        host.drops("ForgedTransmit"),
        host.stats()["one"].rx_drops("ForgedTransmit")
    );
    wire.silent();
}

#[test]
fn a_vm_is_reached_under_the_address_that_it_chose_where_that_is_accepted() {
    let (host, [one, two]) = lab(["one", "two"]);
    for (number, values) in (1..).zip(VALUES) {
        set(&host, "macChanges", values);
        let chosen = MacAddr::new([2, 0, 0, 0, 1, number]);
        two.does(&format!("ip link set eth0 address {chosen}"));
        // Neither has to ask for the address of the other, which may not get through.
        for (vm, other, mac) in [(&one, &two, chosen), (&two, &one, one.mac)] {
            let ip = &other.ip;
            vm.does(&format!(
                "ip neigh replace {ip} lladdr {mac} nud permanent dev eth0"
            ));
        }
        // What it sends tells the switch its address; whether answers come back is the question.
        let ping = format!("ping -n -q -c 1 -W 0.2 {}", one.ip);
        let pings = || two.runs(&ping).code == Some(0);
        let reached = eventually(Duration::from_secs(2), || pings().then_some(()));
        assert_eq!(reached.is_some(), values.2 == "accept", "{values:?}");

        let mut wire = Wire::new(&host, [&one, &two]);
        let to_chosen = Frame::new(one.mac, chosen).octets();
        let expected = match values.2 {
            "accept" => only(&two, &to_chosen),
            _ => Received::new(),
        };
        assert_eq!(wire.send("one", &to_chosen), expected, "{values:?}");
        let to_configured = Frame::new(one.mac, two.mac).octets();
        let received = wire.send("one", &to_configured);
        assert_eq!(received, only(&two, &to_configured), "{values:?}");
        wire.silent();
    }
}

#[test]
fn an_adopted_address_is_no_forgery() {
    let (host, [one, two]) = lab(["one", "two"]);
    host.does("vswitch set vSwitch1 --forged-transmits reject");
    let mut wire = Wire::new(&host, [&one, &two]);
    let frame = Frame::new(MacAddr::new([2, 0, 0, 0, 1, 1]), two.mac).octets();
    // The first frame has the address adopted, and is itself still foreign.
    assert_eq!(wire.send("one", &frame), Received::new());
    let delivered = || (!wire.send("one", &frame).is_empty()).then_some(());
    assert!(eventually(Duration::from_secs(2), delivered).is_some());
    wire.silent();
}

#[test]
fn nobody_adopts_the_address_of_another_port() {
    let (host, [one, two, three]) = lab(["one", "two", "three"]);
    let mut wire = Wire::new(&host, [&one, &two, &three]);
    let stolen = Frame::new(two.mac, three.mac).octets();
    let to_two = Frame::new(three.mac, two.mac).octets();
    // The switch looks at the sources of a port once a second.
    let deadline = std::time::Instant::now() + Duration::from_millis(1500);
    while std::time::Instant::now() < deadline {
        assert_eq!(wire.send("one", &stolen), only(&three, &stolen));
        assert_eq!(wire.send("three", &to_two), only(&two, &to_two));
    }
    wire.silent();
}

#[test]
fn a_port_without_an_address_takes_the_first_that_it_sends() {
    let host = Host::with_switch();
    host.does(
        "portgroup add Lab --vswitch vSwitch1 --mac-changes reject --forged-transmits reject",
    );
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    host.does("port set two --mac none");
    let mut wire = Wire::new(&host, [&one, &two]);
    let to_two = Frame::new(one.mac, two.mac).octets();
    assert_eq!(wire.send("one", &to_two), Received::new());
    let from_two = Frame::new(two.mac, one.mac).octets();
    assert_eq!(wire.send("two", &from_two), only(&one, &from_two));
    assert_eq!(wire.send("one", &to_two), only(&two, &to_two));
    let forged = Frame::new(MacAddr::new([2, 0, 0, 0, 1, 1]), one.mac).octets();
    assert_eq!(wire.send("two", &forged), Received::new());
    wire.silent();
}
