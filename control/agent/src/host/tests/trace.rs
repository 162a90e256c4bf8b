//! What decides about a frame, and what would let it pass: each proposal is really made, and the frame traced again.

use std::time::Instant;

use serde_json::{Map, Value, json};
use weft_api::{ProblemKind, TraceNext, TraceOutcome, TraceReport, TraceRequest, TraceStep};
use weft_datapath::DropReason::{
    self, ForgedTransmit, NoReceiver, NoUplink, PortBlocked, PortDown, Runt, SamePort, TooLong,
    UnknownUnicast, VlanReserved, VlanTagNotAllowed,
};
use weft_model::{Change, ObjectRef};
use weft_packet::MacAddr;

use super::{Bench, eventually, frame};
use crate::links::{Link, LinkEvent};

/// Two ports on VLAN 10 and one on VLAN 20.
const SWITCH: &str = "
vswitches: [{name: vSwitch1, portgroups: [{name: Lab, vlan: 10}, {name: Web, vlan: 20}]}]
ports:
  - {name: a, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-a}
  - {name: b, portgroup: Lab, mac: '02:00:00:00:00:02', veth: p-b}
  - {name: c, portgroup: Web, mac: '02:00:00:00:00:03', veth: p-c}
";

fn bench() -> Bench {
    let bench = Bench::new(&["p-a", "p-b", "p-c"]);
    bench.add(SWITCH);
    bench
}

fn mac(n: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, n])
}

fn trace(bench: &Bench, request: &TraceRequest) -> TraceReport {
    bench.host().trace(request).unwrap()
}

/// A frame from `a`.
fn to(n: u8) -> TraceRequest {
    TraceRequest::new("a", mac(n))
}

/// The settings that flags of the command line name, as a manifest writes them.
fn settings(words: &[&str]) -> Value {
    let mut settings = Map::new();
    for flag in words.chunks(2) {
        let [name, value] = flag else {
            panic!("{words:?}")
        };
        let (name, value) = match (*name, *value) {
            ("--block", value) => ("block", json!(value == "yes")),
            ("--link", value) => ("link", json!(value)),
            ("--mac", value) => ("mac", json!(value)),
            ("--portgroup", value) => ("portgroup", json!(value)),
            ("--vlan", value) => ("vlan", json!(value.parse::<u16>().unwrap())),
            ("--mtu", value) => ("mtu", json!(value.parse::<u16>().unwrap())),
            ("--forged-transmits", value) => ("security", json!({"forgedTransmits": value})),
            ("--active", value) => ("teaming", json!({"active": value})),
            ("--learning-limit", value) => {
                let limit: u16 = value.parse().unwrap();
                ("macLearning", json!({"limit": limit}))
            }
            ("--learning-beyond", value) => ("macLearning", json!({"beyond": value})),
            (other, _) => panic!("{other} is no flag of this test"),
        };
        settings.insert(name.to_owned(), value);
    }
    Value::Object(settings)
}

/// The change that a command line makes.
fn change(line: &str) -> Change {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["weft", "uplink", "add", switch, interface] => {
            Change::AddUplink(switch.parse().unwrap(), interface.parse().unwrap())
        }
        ["weft", noun, "set", name, flags @ ..] => {
            let patch = settings(flags).to_string();
            let read = |error| format!("{line}: {error}");
            match *noun {
                "port" => Change::SetPort(
                    name.parse().unwrap(),
                    weft_model::from_text(&patch).map_err(read).unwrap(),
                ),
                "portgroup" => Change::SetPortgroup(
                    name.parse().unwrap(),
                    weft_model::from_text(&patch).map_err(read).unwrap(),
                ),
                "vswitch" => Change::SetVswitch(
                    name.parse().unwrap(),
                    weft_model::from_text(&patch).map_err(read).unwrap(),
                ),
                other => panic!("{other} is no noun of this test"),
            }
        }
        _ => panic!("{line} is no command of this test"),
    }
}

fn does(bench: &Bench, line: &str) {
    bench.change(&change(line)).unwrap();
}

/// The step that drops a frame.
fn dropping(report: &TraceReport) -> &TraceStep {
    let mut steps = report.steps.iter();
    let step = steps.find(|step| step.outcome == TraceOutcome::Drop);
    step.unwrap_or_else(|| panic!("nothing is dropped: {report:#?}"))
}

/// Checks what drops a frame, by which object and setting, and that the commands which are proposed let it pass.
#[track_caller]
fn is_dropped(
    bench: &Bench,
    request: &TraceRequest,
    (name, reason): (&str, DropReason),
    (object, setting): (&str, &str),
    commands: &[&str],
) {
    let before = bench.host().stats(&[]).unwrap();
    let report = trace(bench, request);
    assert!(!report.delivered, "{report:#?}");
    assert_eq!(report.reason.as_deref(), Some(reason.name()), "{report:#?}");
    assert!(report.verdict.contains(reason.name()), "{report:#?}");
    let step = dropping(&report);
    assert_eq!(step.step, name, "{report:#?}");
    assert_eq!(step.reason.as_deref(), Some(reason.name()));
    let decides = step.object.as_ref().map(ObjectRef::to_string);
    assert_eq!(decides.unwrap_or_default(), object);
    let pair = |(setting, value)| format!("{setting}={value}");
    let decides = step.setting.as_ref().zip(step.value.as_ref()).map(pair);
    assert_eq!(decides.unwrap_or_default(), setting);

    let next = report.next.unwrap_or_else(|| panic!("nothing to do"));
    assert_eq!(next.commands, commands, "{next:#?}");
    assert!(next.delivers, "{next:#?}");
    for command in commands {
        does(bench, command);
    }
    let report = trace(bench, request);
    assert!(report.delivered, "after {commands:?}: {report:#?}");
    assert_eq!(report.verdict, next.effect, "as it was promised");
    assert_eq!(report.next, None);
    let after = bench.host().stats(&[]).unwrap();
    let frames = |stats: &[weft_api::PortStats]| -> u64 {
        let of = |port: &weft_api::PortStats| port.rx_frames + port.tx_attempts;
        stats.iter().map(of).sum()
    };
    assert_eq!(frames(&after), frames(&before), "no frame was sent");
}

/// Checks that no change lets a frame pass, and where it leads instead.
#[track_caller]
fn leads_to(bench: &Bench, request: &TraceRequest, reason: DropReason, next: Option<&str>) {
    let report = trace(bench, request);
    assert_eq!(report.reason.as_deref(), Some(reason.name()), "{report:#?}");
    let delivers = report.next.as_ref().is_some_and(|next| next.delivers);
    assert!(!delivers, "{report:#?}");
    let commands = |next: TraceNext| next.commands.join("; ");
    assert_eq!(report.next.map(commands).as_deref(), next);
}

#[test]
fn a_frame_that_passes_is_told_step_by_step() {
    let bench = bench();
    let report = trace(&bench, &to(2));
    let told: Vec<_> = report
        .steps
        .iter()
        .map(|step| {
            let object = step.object.as_ref().map(ObjectRef::to_string);
            (
                step.step.as_str(),
                object.unwrap_or_default(),
                step.setting.as_deref().unwrap_or_default(),
                step.value.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        ("port", "port a", "", ""),
        ("parse", "", "", ""),
        ("length", "standard switch vSwitch1", "mtu", "1500"),
        ("vlan", "port group Lab", "vlan", "10"),
        ("source", "port a", "mac", "02:00:00:00:00:01"),
        ("lookUp", "port b", "mac", "02:00:00:00:00:02"),
        ("deliver", "port group Lab", "vlan", "10"),
    ];
    assert_eq!(
        told,
        expected.map(|(step, object, setting, value)| (step, object.to_owned(), setting, value))
    );
    assert!(report.delivered && report.next.is_none() && report.reason.is_none());
    assert_eq!(report.verdict, "delivered to port b");
    assert_eq!((report.frame.src, report.frame.length), (mac(1), 60));
}

#[test]
fn ports_that_are_blocked_or_unplugged() {
    let bench = bench();
    does(&bench, "weft port set a --block yes");
    let commands = ["weft port set a --block no"];
    let who = ("port a", "block=yes");
    is_dropped(&bench, &to(2), ("port", PortBlocked), who, &commands);
    does(&bench, "weft port set a --link down");
    let commands = ["weft port set a --link up"];
    let who = ("port a", "link=down");
    is_dropped(&bench, &to(2), ("port", PortDown), who, &commands);
    does(&bench, "weft port set b --block yes --link down");
    let commands = ["weft port set b --block no --link up"];
    let who = ("port b", "block=yes");
    is_dropped(&bench, &to(2), ("deliver", PortBlocked), who, &commands);
    does(&bench, "weft port set a --block yes");
    does(&bench, "weft port set b --link down");
    let commands = ["weft port set a --block no", "weft port set b --link up"];
    let who = ("port a", "block=yes");
    is_dropped(&bench, &to(2), ("port", PortBlocked), who, &commands);
}

#[test]
fn what_else_is_in_the_way_is_said_too() {
    let bench = bench();
    let link = bench.host().state().links[&"p-b".parse().unwrap()];
    bench.sees("p-b", Link { up: false, ..link });
    does(&bench, "weft port set b --link down");
    let both = "weft port set b --link up; ip link set p-b up";
    leads_to(&bench, &to(2), PortDown, Some(both));
    leads_to(
        &bench,
        &TraceRequest::new("b", mac(1)),
        PortDown,
        Some(both),
    );
    does(&bench, "weft port set b --block yes");
    let all = "weft port set b --block no --link up; ip link set p-b up";
    leads_to(&bench, &to(2), PortBlocked, Some(all));
    let runt = TraceRequest {
        length: Some(13),
        ..TraceRequest::new("a", mac(2))
    };
    does(&bench, "weft port set a --block yes");
    leads_to(
        &bench,
        &runt,
        PortBlocked,
        Some("weft port set a --block no"),
    );
}

#[test]
fn frames_that_are_too_long_for_the_switch() {
    let bench = bench();
    let long = TraceRequest {
        length: Some(1614),
        ..to(2)
    };
    let interface = "ip link set dev p-a mtu 1600";
    leads_to(&bench, &long, TooLong, Some(interface));
    for interface in ["p-a", "p-b", "p-c"] {
        bench.memory.set_mtu(interface, 2000);
        let link = bench.host().state().links[&interface.parse().unwrap()];
        bench.sees(interface, Link { mtu: 2000, ..link });
    }
    let commands = ["weft vswitch set vSwitch1 --mtu 1600"];
    let who = ("standard switch vSwitch1", "mtu=1500");
    is_dropped(&bench, &long, ("length", TooLong), who, &commands);
    let longest = TraceRequest {
        length: Some(u16::MAX),
        ..to(2)
    };
    leads_to(&bench, &longest, TooLong, None);
}

#[test]
fn guests_that_tag() {
    let bench = bench();
    let tagged = TraceRequest {
        vlans: vec![10u64.try_into().unwrap()],
        ..to(2)
    };
    let who = ("port group Lab", "vlan=10");
    let commands = ["weft portgroup set Lab --vlan 4095"];
    let dropped = ("vlan", VlanTagNotAllowed);
    is_dropped(&bench, &tagged, dropped, who, &commands);
    does(&bench, "weft portgroup set Lab --vlan 10");
    let trunk = "{name: Trunk, vswitch: vSwitch1, vlan: 4095}";
    let trunk = Change::AddPortgroup(weft_model::from_text(trunk).unwrap());
    bench.change(&trunk).unwrap();
    let commands = ["weft port set a --portgroup Trunk"];
    is_dropped(&bench, &tagged, dropped, who, &commands);
    let reserved = TraceRequest {
        vlans: vec![4095u64.try_into().unwrap()],
        ..to(2)
    };
    leads_to(&bench, &reserved, VlanReserved, None);
}

#[test]
fn sources_that_are_not_the_ports() {
    let bench = bench();
    let forged = TraceRequest {
        src: Some(mac(9)),
        ..to(2)
    };
    does(
        &bench,
        "weft vswitch set vSwitch1 --forged-transmits reject",
    );
    let commands = ["weft portgroup set Lab --forged-transmits accept"];
    let who = (
        "standard switch vSwitch1",
        "security.forgedTransmits=reject",
    );
    is_dropped(&bench, &forged, ("source", ForgedTransmit), who, &commands);
    does(&bench, "weft portgroup set Lab --forged-transmits reject");
    let who = ("port group Lab", "security.forgedTransmits=reject");
    is_dropped(&bench, &forged, ("source", ForgedTransmit), who, &commands);
}

#[test]
fn addresses_that_the_switch_does_not_know() {
    let bench = bench();
    let alone = ("standard switch vSwitch1", "uplinks=none");
    let unknown = ("lookUp", UnknownUnicast);
    let commands = ["weft port set a --portgroup Web"];
    is_dropped(&bench, &to(3), unknown, alone, &commands);
    does(&bench, "weft port set a --portgroup Lab");
    let look = "weft fdb list --vswitch vSwitch1";
    leads_to(&bench, &to(0x77), UnknownUnicast, Some(look));
    bench.memory.add("p-d");
    let nameless = "{name: d, portgroup: Lab, veth: p-d}";
    bench.change(&super::add_port(nameless)).unwrap();
    let commands = ["weft port set d --mac 02:00:00:00:00:77"];
    is_dropped(&bench, &to(0x77), unknown, alone, &commands);
    let (eth1, link) = bench.memory.add("eth1");
    bench.sees(eth1.as_str(), link);
    let commands = ["weft uplink add vSwitch1 eth1"];
    is_dropped(&bench, &to(0x78), unknown, alone, &commands);
    leads_to(&bench, &to(1), SamePort, Some("weft port show a"));
    let from_uplink = TraceRequest {
        vlans: vec![20u64.try_into().unwrap()],
        ..TraceRequest::new("eth1", mac(2))
    };
    let linked = ("standard switch vSwitch1", "uplinks=eth1");
    let commands = ["weft port set b --portgroup Web"];
    is_dropped(&bench, &from_uplink, unknown, linked, &commands);
}

#[test]
fn broadcasts_that_nobody_hears() {
    let bench = bench();
    let broadcast = TraceRequest::new("c", MacAddr::BROADCAST);
    let look = "weft portgroup list";
    leads_to(&bench, &broadcast, NoReceiver, Some(look));
    does(&bench, "weft port set b --portgroup Web");
    does(&bench, "weft port set b --block yes");
    let alone = ("standard switch vSwitch1", "uplinks=none");
    let commands = ["weft port set b --block no"];
    is_dropped(&bench, &broadcast, ("lookUp", NoReceiver), alone, &commands);
}

#[test]
fn a_port_that_has_learned_as_much_as_it_may() {
    let bench = bench();
    let patch = "{macLearning: {enabled: true, limit: 1, beyond: drop}}";
    let patch = weft_model::from_text(patch).unwrap();
    let change = Change::SetPortgroup("Lab".parse().unwrap(), patch);
    bench.change(&change).unwrap();
    eventually("an address is learned", || {
        bench.memory.send("p-a", &frame(0xff, 7));
        let learning = bench.port("a").status.learning;
        learning.is_some_and(|learning| learning.addresses == 1)
    });
    let beyond = TraceRequest {
        src: Some(mac(9)),
        ..to(2)
    };
    let who = ("port group Lab", "macLearning.beyond=drop");
    let commands = ["weft portgroup set Lab --learning-limit 4096"];
    let limit = ("source", DropReason::LearningLimit);
    is_dropped(&bench, &beyond, limit, who, &commands);
}

#[test]
fn uplinks_that_are_down() {
    let bench = bench();
    let (eth1, link) = bench.memory.add("eth1");
    bench.sees(eth1.as_str(), link);
    does(&bench, "weft uplink add vSwitch1 eth1");
    let unplugged = Link {
        carrier: false,
        ..link
    };
    bench.sees("eth1", unplugged);
    let look = "ip -details link show eth1";
    leads_to(&bench, &to(0x77), NoUplink, Some(look));
    let broadcast = TraceRequest::new("c", MacAddr::BROADCAST);
    leads_to(&bench, &broadcast, NoUplink, Some(look));
    let from_uplink = TraceRequest::new("eth1", mac(1));
    leads_to(&bench, &from_uplink, PortDown, Some(look));
    let who = ("standard switch vSwitch1", "teaming.active=eth1");
    let commands = ["weft port set a --portgroup Web"];
    is_dropped(&bench, &to(3), ("lookUp", NoUplink), who, &commands);
}

#[test]
fn a_port_group_that_leaves_its_uplinks_out() {
    let bench = bench();
    for uplink in ["eth1", "eth2"] {
        let (uplink, link) = bench.memory.add(uplink);
        bench.sees(uplink.as_str(), link);
        does(&bench, &format!("weft uplink add vSwitch1 {uplink}"));
    }
    let order = |patch: &str| {
        let patch = weft_model::from_text(patch).unwrap();
        let change = Change::SetPortgroup("Lab".parse().unwrap(), patch);
        bench.change(&change).unwrap();
    };
    let none = ("lookUp", NoUplink);
    let who = ("port group Lab", "teaming.active=none");
    order("{teaming: {active: []}}");
    let report = trace(&bench, &to(0x77));
    assert_eq!(
        dropping(&report).detail,
        "no port has 02:00:00:00:00:77 in VLAN 10, and no uplink of port group Lab is usable (active none, standby none)"
    );
    let commands = ["weft portgroup set Lab --active inherit"];
    is_dropped(&bench, &to(0x77), none, who, &commands);
    // Where the switch says so, the port group has to say otherwise.
    let patch = weft_model::from_text("{teaming: {active: []}}").unwrap();
    let change = Change::SetVswitch("vSwitch1".parse().unwrap(), patch);
    bench.change(&change).unwrap();
    let who = ("standard switch vSwitch1", "teaming.active=none");
    let commands = ["weft portgroup set Lab --active all"];
    is_dropped(&bench, &to(0x77), none, who, &commands);
}

#[test]
fn what_is_not_configuration_is_looked_up_instead() {
    let bench = bench();
    let runt = TraceRequest {
        length: Some(13),
        ..to(2)
    };
    leads_to(&bench, &runt, Runt, None);
    let socket = bench.directory.path().join("vm.sock");
    let vm = format!(
        "{{name: vm, portgroup: Lab, mac: '02:00:00:00:00:04', vhostUser: {{socket: {}}}, block: true}}",
        socket.display()
    );
    bench.change(&super::add_port(&vm)).unwrap();
    let look = format!("ls -l {}", socket.display());
    let first = format!("weft port set vm --block no; {look}");
    leads_to(&bench, &to(4), PortBlocked, Some(&first));
    does(&bench, "weft port set vm --block no");
    leads_to(&bench, &to(4), PortDown, Some(&look));
    let report = trace(&bench, &to(4));
    let step = dropping(&report);
    assert_eq!(step.step, "deliver");
    assert_eq!(step.setting.as_deref(), Some("vhostUser"));
    // Everybody else hears it.
    let broadcast = trace(&bench, &TraceRequest::new("a", MacAddr::BROADCAST));
    assert_eq!(broadcast.verdict, "delivered to port b");
    assert_eq!(
        dropping(&broadcast).to.as_ref().unwrap().to_string(),
        "port vm"
    );
}

#[test]
fn promiscuous_ports_get_copies_that_are_no_delivery() {
    let bench = bench();
    let listener =
        "{name: Listeners, vswitch: vSwitch1, vlan: 4095, security: {promiscuous: accept}}";
    let listener = Change::AddPortgroup(weft_model::from_text(listener).unwrap());
    bench.change(&listener).unwrap();
    does(&bench, "weft port set c --portgroup Listeners");
    let report = trace(&bench, &to(2));
    assert_eq!(
        report.verdict,
        "delivered to port b; 1 port in promiscuous mode gets a copy"
    );
    let copy = report.steps.last().unwrap();
    assert_eq!(copy.step, "promiscuous");
    let from = copy.object.as_ref().unwrap().to_string();
    assert_eq!(
        (from.as_str(), copy.setting.as_deref()),
        ("port group Listeners", Some("security.promiscuous"))
    );
    let tags = copy.tags.as_ref().unwrap();
    assert_eq!(tags.iter().map(|tag| tag.vlan).collect::<Vec<_>>(), [10]);
    let nowhere = trace(&bench, &to(0x77));
    assert!(!nowhere.delivered, "{nowhere:#?}");
    assert!(nowhere.verdict.ends_with("gets a copy"), "{nowhere:#?}");
}

#[test]
fn a_trace_teaches_nobody_an_address() {
    let bench = bench();
    bench.memory.add("p-d");
    let nameless = "{name: d, portgroup: Lab, veth: p-d}";
    bench.change(&super::add_port(nameless)).unwrap();
    let first = TraceRequest {
        src: Some(mac(7)),
        ..TraceRequest::new("d", mac(1))
    };
    let report = trace(&bench, &first);
    let source = report.steps.iter().find(|step| step.step == "source");
    assert!(source.unwrap().detail.contains("becomes its address"));
    assert_eq!(bench.port("d").status.addresses, []);
    let unnamed = trace(&bench, &TraceRequest::new("d", mac(1)));
    assert!(unnamed.delivered, "some source is made up: {unnamed:#?}");
    bench.memory.send("p-d", &frame(1, 7));
    eventually("d has its address", || {
        !bench.port("d").status.addresses.is_empty()
    });
    let known = trace(&bench, &TraceRequest::new("d", mac(1)));
    assert_eq!(known.frame.src, mac(7), "its own from then on");
}

#[test]
fn ports_that_do_not_exist_and_frames_that_cannot_be() {
    let bench = bench();
    let problem = |request: &TraceRequest| bench.host().trace(request).unwrap_err();
    let unknown = problem(&TraceRequest::new("A", mac(1)));
    assert_eq!(unknown.kind, ProblemKind::NotFound);
    assert_eq!(unknown.suggestion.as_deref(), Some("a"));
    let tags = TraceRequest {
        vlans: vec![10u64.try_into().unwrap(); 9],
        ..to(2)
    };
    assert_eq!(problem(&tags).kind, ProblemKind::Invalid);
}

impl Bench {
    /// Has the host see an interface so.
    fn sees(&self, interface: &str, link: Link) {
        let event = LinkEvent::Present(interface.parse().unwrap(), link);
        self.host().links_changed_at(Instant::now(), vec![event]);
    }
}
