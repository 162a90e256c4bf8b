//! Changes that somebody asks for.

use weft_api::{ChangeOptions, ProblemKind};
use weft_model::{Change, Outcome, VswitchPatch};

use super::{Bench, LAB, add_port};

#[test]
fn a_change_is_in_force_when_it_returns_and_survives_a_restart() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
    let exported = bench.host().export();
    bench.kill();
    bench.start();
    assert_eq!(bench.host().export(), exported);
    assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
    assert!(bench.host().status().problems.is_empty());
}

#[test]
fn a_refused_change_leaves_nothing_behind() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "busy", "mine"]);
    bench.add(LAB);
    let before = bench.host().export();
    bench.memory.hold("busy");
    let (_, mine) = bench.memory.add("mine");
    bench.memory.give_address(mine);
    for (change, kind, message) in [
        (
            "{name: A, portgroup: Lab, veth: p-MyVM3}",
            ProblemKind::NotFound,
            "port A: interface p-MyVM3 does not exist",
        ),
        (
            "{name: A, portgroup: Lab, veth: busy}",
            ProblemKind::Conflict,
            "port A: interface busy is held by another",
        ),
        (
            "{name: A, portgroup: Lab, veth: p-MyVM1}",
            ProblemKind::Conflict,
            "port A: interface p-MyVM1 is used by port MyVM1",
        ),
        (
            "{name: A, portgroup: Lab, veth: mine}",
            ProblemKind::Conflict,
            "port A: interface mine carries the address",
        ),
        (
            "{name: A, portgroup: lab, veth: busy}",
            ProblemKind::NotFound,
            "port A: port group lab does not exist",
        ),
    ] {
        let problem = bench.change(&add_port(change)).unwrap_err();
        assert_eq!(problem.kind, kind, "{problem}");
        assert!(
            problem.message.starts_with(message) && problem.remedy.is_some(),
            "{problem}"
        );
    }
    assert_eq!(bench.host().export(), before);
    assert_eq!(bench.host().state().engines.len(), 2);
    let yes = ChangeOptions {
        yes: true,
        ..ChangeOptions::default()
    };
    bench
        .change_with(&add_port("{name: A, portgroup: Lab, veth: mine}"), yes)
        .unwrap();
    assert!(bench.is_up("A"));
}

#[test]
fn a_change_that_cannot_be_made_durable_is_not_made() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.add(LAB);
    let before = bench.host().export();
    // A directory in the way of the next generation: root writes where permissions forbid it.
    let newest = std::fs::read_dir(bench.state_dir()).unwrap().count();
    for number in newest as u64 - 2..newest as u64 + 3 {
        let in_the_way = bench
            .state_dir()
            .join(format!("generation-{number:010}.tmp"));
        std::fs::create_dir(in_the_way).unwrap();
    }
    let problem = bench
        .change(&add_port("{name: MyVM3, portgroup: Lab, veth: p-MyVM3}"))
        .unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Failed);
    assert!(
        problem.message.contains("generation-") && problem.message.contains("nothing was changed"),
        "{problem}"
    );
    assert_eq!(bench.host().export(), before);
    assert_eq!(
        bench.host().state().engines.len(),
        2,
        "what was opened for it is closed"
    );
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.add(LAB);
    let before = bench.host().export();
    let dry = ChangeOptions {
        dry_run: true,
        ..ChangeOptions::default()
    };
    let change = add_port("{name: MyVM3, portgroup: Lab, veth: p-MyVM3}");
    let result = bench.change_with(&change, dry).unwrap();
    assert_eq!((result.outcome, result.dry_run), (Outcome::Created, true));
    assert_eq!(result.interfaces, ["p-MyVM3".parse().unwrap()]);
    let missing = add_port("{name: MyVM4, portgroup: Lab, veth: p-MyVM4}");
    assert_eq!(
        bench.change_with(&missing, dry).unwrap_err().kind,
        ProblemKind::NotFound
    );
    let accept = VswitchPatch {
        security: weft_model::from_text("promiscuous: accept").unwrap(),
        ..VswitchPatch::default()
    };
    let result = bench
        .change_with(
            &Change::SetVswitch("vSwitch1".parse().unwrap(), accept),
            dry,
        )
        .unwrap();
    assert_eq!(result.ports.len(), 2, "both ports inherit it");
    assert_eq!(bench.host().export(), before);
}

/// Policies are settings in force, and so are the uplinks of a team, whoever names them.
#[test]
fn a_change_of_a_policy_tells_the_ports_that_it_touches() {
    let interfaces = ["p-MyVM1", "p-MyVM2", "eth1", "eth2"];
    let bench = Bench::new(&interfaces);
    bench.add(LAB);
    let switch = || "vSwitch1".parse().unwrap();
    let uplink = |name: &str| Change::AddUplink(switch(), name.parse().unwrap());
    let set = |patch: &str| {
        let patch = weft_model::from_text::<VswitchPatch>(patch).unwrap();
        Change::SetVswitch(switch(), patch)
    };
    let group = |patch: &str| {
        let patch = weft_model::from_text(patch).unwrap();
        Change::SetPortgroup("Lab".parse().unwrap(), patch)
    };
    for (change, ports) in [
        (uplink("eth1"), 2),
        (uplink("eth2"), 2),
        (set("{teaming: {policy: explicit}}"), 2),
        (set("{teaming: {standby: [eth2]}}"), 2),
        (set("{teaming: {active: [eth1]}}"), 0),
        (group("{teaming: {active: [eth1], standby: [eth2]}}"), 0),
        (set("{teaming: {active: all, standby: []}}"), 0),
        (group("{teaming: {failback: false}}"), 2),
        (group("{shaping: {in: {average: 10mbit}}}"), 2),
        (set("{shaping: {in: {average: 20mbit}}}"), 0),
        (set("{shaping: {out: {average: 20mbit}}}"), 2),
        (set("{macLearning: {limit: 7}}"), 0),
        (set("{macLearning: {enabled: true}}"), 2),
        (set("{macLearning: {limit: 8}}"), 2),
        (group("{bpduFilter: enabled}"), 2),
    ] {
        let result = bench.change(&change).unwrap();
        assert!(
            matches!(result.outcome, Outcome::Changed { .. }),
            "{change:?}"
        );
        assert_eq!(result.ports.len(), ports, "{change:?}");
        assert_eq!(result.interrupted, [], "{change:?}");
    }
}
