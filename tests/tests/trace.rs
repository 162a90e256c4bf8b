//! `weft trace` on a real host: what it says happens to real frames, and what it proposes lets them pass.
#![forbid(unsafe_code)]

use serde_json::Value;
use weft_packet::MacAddr;
use weft_tests::{Frame, Host, Received, Stats, Vm, Wire, until};

const CTAG: u16 = 0x8100;

/// A frame of a VM, and the words that describe it to `weft trace`.
#[derive(Clone, Copy)]
struct Probe<'a> {
    from: &'a Vm,
    source: MacAddr,
    to: MacAddr,
    vlan: Option<u16>,
    payload: usize,
}

impl<'a> Probe<'a> {
    fn new(from: &'a Vm, to: MacAddr) -> Self {
        Self {
            from,
            source: from.mac,
            to,
            vlan: None,
            payload: 46,
        }
    }

    fn octets(&self) -> Vec<u8> {
        let tags: Vec<_> = self.vlan.iter().map(|vlan| (CTAG, *vlan)).collect();
        let payload = vec![0; self.payload];
        let frame = Frame::new(self.source, self.to);
        frame.tagged(&tags).carrying(&payload).octets()
    }

    fn traced(&self, host: &Host) -> Value {
        let Self {
            from, source, to, ..
        } = self;
        let vlan = self.vlan.map(|vlan| format!("--vlan {vlan}"));
        host.shows(&format!(
            "trace --port {} --dst {to} --src {source} --ethertype 0x88b5 --length {} {}",
            from.name,
            self.octets().len(),
            vlan.unwrap_or_default(),
        ))
    }
}

/// Who gets a frame according to a trace.
fn promised(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().expect("steps are a list");
    let passes = steps
        .iter()
        .filter(|step| step["outcome"] == "pass" && step["to"].is_object());
    let mut names: Vec<_> = passes
        .map(|step| step["to"]["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

fn names(received: &Received) -> Vec<String> {
    received.keys().cloned().collect()
}

fn drops(stats: &Stats, reason: &str) -> u64 {
    stats.rx_drops(reason) + stats.tx_drops(reason)
}

/// Checks that a frame is dropped for a reason, as the trace says, and passes once the proposed commands have run.
#[track_caller]
fn passes_as_proposed(host: &Host, wire: &mut Wire<'_>, probe: Probe<'_>, reason: &str, to: &str) {
    let frame = probe.octets();
    let counted = |host: &Host| -> u64 {
        let stats = host.stats();
        stats.values().map(|port| drops(port, reason)).sum()
    };
    let before = counted(host);
    let report = probe.traced(host);
    assert_eq!(report["delivered"], false, "{report:#}");
    assert_eq!(report["reason"], reason, "{report:#}");
    assert_eq!(counted(host), before, "a dry frame is not counted");
    let from = &probe.from.name;
    let received = wire.send(from, &frame);
    assert_eq!(names(&received), promised(&report), "{report:#}");
    assert_eq!(counted(host), before + 1, "a real one is: {report:#}");

    let next = &report["next"];
    assert_eq!(next["delivers"], true, "{report:#}");
    for command in next["commands"].as_array().expect("a list") {
        let command = command.as_str().expect("a command");
        let words = command.strip_prefix("weft ");
        host.does(words.unwrap_or_else(|| panic!("{command} is weft's")));
    }
    let report = probe.traced(host);
    assert_eq!(report["delivered"], true, "{report:#}");
    assert_eq!(report["verdict"], next["effect"], "as it was promised");
    let received = wire.send(from, &frame);
    assert_eq!(names(&received), [to], "{report:#}");
    assert_eq!(names(&received), promised(&report), "{report:#}");
    wire.silent();
}

#[test]
fn what_is_proposed_lets_a_real_frame_pass() {
    let host = Host::with_switch();
    for (group, vlan) in [("Lab", 10), ("Web", 20)] {
        host.does(&format!(
            "portgroup add {group} --vswitch vSwitch1 --vlan {vlan} --mac-changes reject"
        ));
    }
    let vms = [("a", "Lab"), ("b", "Lab"), ("c", "Web")].map(|(name, group)| host.vm(name, group));
    let [a, b, c] = &vms;
    let mut wire = Wire::new(&host, &vms);
    let to_b = Probe::new(a, b.mac);
    let reported = to_b.traced(&host);
    assert_eq!(reported["verdict"], "delivered to port b");
    assert_eq!(names(&wire.send("a", &to_b.octets())), ["b"]);

    host.does("port set a --block yes");
    passes_as_proposed(&host, &mut wire, to_b, "PortBlocked", "b");
    host.does("port set b --block yes --link down");
    passes_as_proposed(&host, &mut wire, to_b, "PortBlocked", "b");
    host.does("port set b --link down");
    passes_as_proposed(&host, &mut wire, to_b, "PortDown", "b");

    host.does("vswitch set vSwitch1 --forged-transmits reject");
    let source = MacAddr::new([2, 0, 0, 0, 9, 9]);
    let forged = Probe { source, ..to_b };
    passes_as_proposed(&host, &mut wire, forged, "ForgedTransmit", "b");

    let vlan = Some(10);
    let tagged = Probe { vlan, ..to_b };
    passes_as_proposed(&host, &mut wire, tagged, "VlanTagNotAllowed", "b");
    host.does("portgroup set Lab --vlan 10");

    let to_c = Probe::new(a, c.mac);
    passes_as_proposed(&host, &mut wire, to_c, "UnknownUnicast", "c");
    host.does("port set a --portgroup Lab");
    host.does("port set b --block yes");
    let broadcast = Probe::new(a, MacAddr::BROADCAST);
    passes_as_proposed(&host, &mut wire, broadcast, "NoReceiver", "b");
}

#[test]
fn frames_that_are_too_long_pass_a_larger_mtu() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let vms = [host.unplugged_vm("a"), host.unplugged_vm("b")];
    for vm in &vms {
        host.runs(&format!("ip link set {} mtu 1700", vm.interface));
        vm.does("ip link set eth0 mtu 1700");
        let (name, interface, mac) = (&vm.name, &vm.interface, vm.mac);
        host.does(&format!(
            "port add {name} --portgroup Lab --veth {interface} --mac {mac}"
        ));
    }
    let mut wire = Wire::new(&host, &vms);
    let long = Probe {
        payload: 1600,
        ..Probe::new(&vms[0], vms[1].mac)
    };
    passes_as_proposed(&host, &mut wire, long, "TooLong", "b");
}

#[test]
fn what_only_the_host_can_do_is_named() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (a, b) = (host.vm("a", "Lab"), host.vm("b", "Lab"));
    host.runs("ip link set p-b down");
    until("the agent has seen it", || host.port("b").0 == "down");
    let probe = Probe::new(&a, b.mac);
    let report = probe.traced(&host);
    assert_eq!(report["reason"], "PortDown", "{report:#}");
    let next = &report["next"];
    assert_eq!(next["delivers"], false, "{report:#}");
    let commands = next["commands"].as_array().expect("a list");
    let [command] = commands.as_slice() else {
        panic!("{report:#}")
    };
    assert_eq!(command, "ip link set p-b up");
    host.runs(command.as_str().expect("a command"));
    until("the port is up", || host.port("b").0 == "up");
    assert_eq!(probe.traced(&host)["delivered"], true);
    let mut wire = Wire::new(&host, [&a, &b]);
    assert_eq!(names(&wire.send("a", &probe.octets())), ["b"]);
}

#[test]
fn a_dropped_frame_is_an_answer_and_an_unknown_port_is_none() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let _vm = host.vm("MyVM1", "Lab");
    let text = host.does("trace --port MyVM1 --dst 02:00:00:00:00:77");
    assert!(text.contains("dropped, UnknownUnicast"), "{text}");
    let words = ["MyVM11", "did you mean MyVM1?"];
    let unknown = host.weft("trace --port MyVM11 --dst 02:00:00:00:00:77");
    unknown.refused(3, &words);
    let out_of_range = host.weft("trace --port MyVM1 --dst 02:00:00:00:00:77 --vlan 4096");
    out_of_range.refused(2, &["4096"]);
}

#[test]
fn frames_from_an_uplink_are_traced_by_its_interface() {
    let host = Host::new();
    let world = host.world("eth1");
    host.does("vswitch add vSwitch1 --uplink eth1 --notify no");
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let vm = host.vm("a", "Lab");
    let mut wire = Wire::new(&host, [&vm, &world]);
    let inward = Probe {
        vlan: Some(10),
        ..Probe::new(&world, vm.mac)
    };
    let report = inward.traced(&host);
    assert_eq!(report["port"]["kind"], "uplink");
    assert_eq!(promised(&report), ["a"], "{report:#}");
    assert_eq!(names(&wire.send("eth1", &inward.octets())), ["a"]);
    let outward = Probe::new(&vm, world.mac);
    let report = outward.traced(&host);
    assert_eq!(report["verdict"], "leaves by uplink eth1");
    let copy = report["steps"].as_array().expect("a list").last();
    assert_eq!(copy.expect("a step")["tags"][0]["vlan"], 10);
    let received = wire.send("a", &outward.octets());
    assert_eq!(received["eth1"][0][12..16], [0x81, 0, 0, 10]);
    wire.silent();
}
