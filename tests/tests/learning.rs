//! Addresses behind a port that are not its own: bridges, nested guests, macvlans and VRRP, without promiscuous mode.
#![forbid(unsafe_code)]

use serde_json::Value;
use weft_datapath::afxdp::testing::Namespace;
use weft_tests::{Answer, Host, Vm, until};

/// A VM with a bridge and two more stations behind its port, and a VM beside it.
struct Nest {
    host: Host,
    outer: Vm,
    beside: Vm,
    stations: Vec<(Namespace, String, String)>,
}

impl Nest {
    fn new() -> Self {
        let host = Host::with_switch();
        host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
        let (outer, beside) = (host.vm("outer", "Lab"), host.vm("beside", "Lab"));
        outer.does("ip link add br0 type bridge stp_state 0 mcast_snooping 0");
        outer.does("ip link set br0 up");
        outer.does("ip link set eth0 master br0");
        let stations = (1..=2).map(|number| {
            let namespace = Namespace::new();
            let (name, mac) = (format!("s{number}"), format!("02:00:00:00:77:0{number}"));
            let ip = format!("10.0.77.{number}");
            outer.does(&format!(
                "ip link add {name} type veth peer name eth0 address {mac} netns {}",
                namespace.name()
            ));
            outer.does(&format!("ip link set {name} master br0 up"));
            // Frames of the switch are finished; what comes from the nested stack has to be too.
            let inside = |line: &str| {
                let mut command = std::process::Command::new("ip");
                command.args(["netns", "exec", namespace.name()]);
                Answer::of(command.args(line.split_ascii_whitespace())).succeeds()
            };
            inside("ethtool -K eth0 tx off");
            inside(&format!("ip addr add {ip}/16 dev eth0"));
            inside("ip link set eth0 up");
            (namespace, mac, ip)
        });
        let stations = stations.collect();
        Self {
            host,
            outer,
            beside,
            stations,
        }
    }

    /// How many of three pings from beside a nested station answers.
    fn answers(&self, ip: &str) -> bool {
        let line = format!("ping -n -q -c 3 -i 0.05 -W 1 {ip}");
        self.beside.runs(&line).stdout.contains(" 3 received")
    }

    fn learned(&self) -> Vec<(String, String)> {
        let entries = self.host.shows("fdb list");
        let entries = entries.as_array().expect("a list");
        let learned = entries.iter().filter(|entry| entry["source"] == "learned");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        learned
            .map(|entry| (text(&entry["mac"]), text(&entry["port"])))
            .collect()
    }
}

/// A station with an address of its own on the adapter of a VM (macvlan).
struct Station(Namespace);

impl Station {
    fn on(vm: &Vm, mac: &str, ip: &str) -> Self {
        let station = Self(Namespace::new());
        let add = "ip link add macvlan0 link eth0 type macvlan mode bridge";
        vm.does(add);
        vm.does(&format!("ip link set macvlan0 address {mac}"));
        vm.does(&format!("ip link set macvlan0 netns {}", station.0.name()));
        station.runs("ip link set macvlan0 name eth0").succeeds();
        station.runs("ip link set eth0 up").succeeds();
        let add = format!("ip addr add {ip}/16 dev eth0");
        station.runs(&add).succeeds();
        station
    }

    fn runs(&self, line: &str) -> Answer {
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", self.0.name()]);
        Answer::of(command.args(line.split_ascii_whitespace()))
    }
}

/// The port behind which an address was learned.
fn learned_behind(host: &Host, mac: &str) -> Option<String> {
    let entries = host.shows("fdb list");
    let mut entries = entries.as_array().expect("a list").iter();
    let entry = entries.find(|entry| entry["source"] == "learned" && entry["mac"] == mac)?;
    entry["port"].as_str().map(str::to_owned)
}

#[test]
fn a_macvlan_is_reached_without_promiscuous_mode() {
    const MAC: &str = "02:00:00:00:66:01";
    let host = Host::with_switch();
    // Otherwise the port adopts the address.
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10 --mac-changes reject");
    let (outer, beside) = (host.vm("outer", "Lab"), host.vm("beside", "Lab"));
    let _station = Station::on(&outer, MAC, "10.0.66.1");
    let answers = || {
        let ping = beside.runs("ping -n -q -c 3 -i 0.05 -W 1 10.0.66.1");
        ping.stdout.contains(" 3 received")
    };
    assert!(!answers(), "the port has another address");
    host.does("portgroup set Lab --mac-learning enabled");
    until("the macvlan answers", answers);
    assert_eq!(learned_behind(&host, MAC).as_deref(), Some("outer"));
    assert!(beside.reaches(&outer), "its own address stays");
}

/// As a VRRP router does whose neighbour has failed (RFC 9568 §7.3: the virtual router's address).
#[test]
fn a_virtual_address_that_fails_over_is_found_behind_the_other_port() {
    const MAC: &str = "00:00:5e:00:01:07";
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10 --mac-learning enabled");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    let beside = host.vm("beside", "Lab");
    let is_reached = || {
        let ping = beside.runs("ping -n -q -c 1 -W 1 10.0.66.2");
        ping.stdout.contains(" 1 received")
    };
    let master = Station::on(&one, MAC, "10.0.66.2");
    until("the first has the address", is_reached);
    assert_eq!(learned_behind(&host, MAC).as_deref(), Some("one"));
    master.runs("ip link del eth0").succeeds();
    let backup = Station::on(&two, MAC, "10.0.66.2");
    until("the second has the address", || {
        // It says again and again that it is there, as the protocol has it.
        backup.runs(&format!("ping -n -q -c 1 -W 1 {}", beside.ip));
        learned_behind(&host, MAC).as_deref() == Some("two") && is_reached()
    });
}

#[test]
fn nested_stations_are_reached_without_promiscuous_mode() {
    let nest = Nest::new();
    let [(_, first_mac, first), (_, second_mac, second)] = &nest.stations[..] else {
        panic!("two stations");
    };
    // The bridge sends from addresses that the switch does not know, and nobody answers there.
    nest.beside.does("ip neigh flush all");
    assert!(!nest.answers(first) || !nest.answers(second));
    nest.host.does("portgroup set Lab --mac-learning enabled");
    for ip in [first, second] {
        until("the nested station answers", || nest.answers(ip));
    }
    let learned = nest.learned();
    for mac in [first_mac, second_mac] {
        assert!(
            learned.contains(&(mac.clone(), "outer".to_owned())),
            "{learned:?}"
        );
    }
    // Known addresses are delivered to nobody else.
    let by_nobody = nest.host.vm("third", "Lab");
    nest.host.does("portgroup set Lab --learning-flood no");
    let before = nest.host.stats()[&by_nobody.name].count("txFrames");
    assert!(nest.answers(first) && nest.answers(second));
    let arps = nest.host.stats()[&by_nobody.name].count("txFrames") - before;
    assert!(arps <= 6, "only broadcasts reach others: {arps}");
    assert_eq!(nest.outer.name, "outer");
}

#[test]
fn a_port_at_its_limit_keeps_what_it_has() {
    let nest = Nest::new();
    nest.host
        .does("portgroup set Lab --mac-learning enabled --learning-limit 1 --learning-beyond drop");
    let [(_, _, first), (_, second_mac, second)] = &nest.stations[..] else {
        panic!("two stations");
    };
    until("the first is learned", || nest.answers(first));
    assert!(!nest.answers(second));
    assert!(nest.host.drops("LearningLimit") > 0);
    assert!(nest.answers(first), "the first one stays");
    assert!(!nest.learned().iter().any(|(mac, _)| mac == second_mac));
    nest.host.does("portgroup set Lab --learning-limit 2");
    until("the second is learned", || nest.answers(second));
    nest.host.does("portgroup set Lab --mac-learning disabled");
    assert!(nest.learned().is_empty());
}
