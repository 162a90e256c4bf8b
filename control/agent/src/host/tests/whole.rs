//! Whole configurations: manifests that are applied, generations that are gone back to.

use weft_api::{ApplyOptions, ApplyResult, Problem, ProblemKind};
use weft_model::{Manifest, Outcome, PortKey};

use super::{Bench, LAB, add_port};

impl Bench {
    fn apply_with(&self, manifest: &str, options: ApplyOptions) -> Result<ApplyResult, Problem> {
        let manifest = Manifest::parse(manifest).unwrap();
        self.host().apply(&manifest, options, "root", |_| {})
    }

    fn apply(&self, manifest: &str) -> Result<ApplyResult, Problem> {
        self.apply_with(manifest, ApplyOptions::default())
    }

    fn rollback(&self, to: Option<u64>) -> Result<ApplyResult, Problem> {
        self.host()
            .rollback(to, ApplyOptions::default(), "root", |_| {})
    }

    fn exported(&self) -> String {
        self.host().export().to_yaml()
    }

    /// What is attached, by port.
    fn engines(&self) -> Vec<(String, weft_datapath::PortId)> {
        let engines = self.host().state().engines;
        engines
            .into_iter()
            .map(|(key, engine)| match key {
                PortKey::Port(name) => (name.to_string(), engine.id),
                PortKey::Uplink(interface) => (interface.to_string(), engine.id),
            })
            .collect()
    }
}

fn told(result: &ApplyResult) -> Vec<String> {
    let tell = |outcome: &Outcome| match outcome {
        Outcome::Created => "created".to_owned(),
        Outcome::Deleted => "deleted".to_owned(),
        Outcome::Unchanged => "unchanged".to_owned(),
        Outcome::Changed { fields } => fields
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let changes = result.changes.iter();
    changes
        .map(|change| format!("{} {}", change.object, tell(&change.outcome)))
        .collect()
}

fn interrupted(result: &ApplyResult) -> Vec<String> {
    let objects = result.interrupted.iter();
    objects.map(ToString::to_string).collect()
}

const CHANGED: &str = "
vswitches: [{name: vSwitch1, portgroups: [{name: Lab}, {name: Prod, vlan: 10}]}]
ports:
  - {name: MyVM2, portgroup: Prod, veth: p-MyVM2}
  - {name: MyVM3, portgroup: Prod, veth: p-MyVM3}
";

#[test]
fn a_manifest_is_applied_whole_and_tells_what_it_did() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB).unwrap();
    let before = bench.exported();
    let dry = ApplyOptions {
        dry_run: true,
        ..ApplyOptions::default()
    };
    let plan = bench.apply_with(CHANGED, dry).unwrap();
    assert_eq!((plan.dry_run, plan.generation), (true, 1));
    assert_eq!(bench.exported(), before);
    let result = bench.apply(CHANGED).unwrap();
    assert_eq!(
        told(&result),
        [
            "port group Prod created",
            "port MyVM2 portgroup Lab -> Prod",
            "port MyVM3 created",
            "port MyVM1 deleted"
        ]
    );
    assert_eq!(result.changes, plan.changes);
    assert_eq!(result.ports, ["MyVM2".parse().unwrap()]);
    assert_eq!(interrupted(&result), ["port MyVM1", "port MyVM2"]);
    assert_eq!(result.generation, 2);
    assert!(bench.is_up("MyVM2") && bench.is_up("MyVM3"));
    let again = bench.apply(CHANGED).unwrap();
    assert!(again.changes.is_empty());
    assert_eq!(again.generation, 2, "nothing was changed");
}

#[test]
fn what_a_manifest_is_silent_about_stays() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB).unwrap();
    let engines = bench.engines();
    bench
        .apply("vswitches: [{name: vSwitch1, portgroups: [{name: Lab, vlan: 7}]}]")
        .unwrap();
    assert_eq!(bench.engines(), engines);
    let problem = bench.apply("vswitches: []").unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict, "{problem}");
    bench.apply("ports: []").unwrap();
    bench.apply("vswitches: []").unwrap();
    assert_eq!(bench.exported(), Bench::new(&[]).exported());
}

#[test]
fn one_bad_object_refuses_the_whole_manifest() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3", "busy"]);
    bench.apply(LAB).unwrap();
    bench.memory.hold("busy");
    let (before, engines) = (bench.exported(), bench.engines());
    for (port, kind, message) in [
        (
            "{name: A, portgroup: Prod, veth: nowhere}",
            ProblemKind::NotFound,
            "port A: interface nowhere does not exist",
        ),
        (
            "{name: A, portgroup: Prod, veth: busy}",
            ProblemKind::Conflict,
            "port A: interface busy is held",
        ),
        (
            "{name: A, portgroup: prod, veth: p-MyVM1}",
            ProblemKind::NotFound,
            "port A: port group prod does not exist",
        ),
        (
            "{name: MyVM3, portgroup: Prod, veth: p-MyVM1}",
            ProblemKind::Invalid,
            "port MyVM3: stands twice",
        ),
    ] {
        let problem = bench.apply(&format!("{CHANGED}  - {port}\n")).unwrap_err();
        assert_eq!(problem.kind, kind, "{problem}");
        assert!(problem.message.starts_with(message), "{problem}");
        assert_eq!(
            (bench.exported(), bench.engines()),
            (before.clone(), engines.clone())
        );
        assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
    }
}

#[test]
fn interfaces_change_hands_in_one_step() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB).unwrap();
    // Swapped between ports that stay, handed to a port that is new, and to a switch as its uplink.
    let swapped = "ports:
  - {name: MyVM1, portgroup: Lab, veth: p-MyVM2}
  - {name: MyVM2, portgroup: Lab, veth: p-MyVM1}";
    let result = bench.apply(swapped).unwrap();
    assert_eq!(interrupted(&result), ["port MyVM1", "port MyVM2"]);
    assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
    let handed = "
vswitches: [{name: vSwitch1, uplinks: [p-MyVM1], portgroups: [{name: Lab}]}]
ports: [{name: New, portgroup: Lab, veth: p-MyVM2}]";
    bench.apply(handed).unwrap();
    assert!(bench.is_up("New"));
    assert_eq!(bench.host().status().counts.uplinks_up, 1);
    // And back, refused half-way: everything is as it was.
    let held = format!("{swapped}\n  - {{name: MyVM4, portgroup: Lab, veth: p-MyVM4}}");
    bench.memory.add("p-MyVM4");
    bench.memory.hold("p-MyVM4");
    let isolated = format!("vswitches: [{{name: vSwitch1, portgroups: [{{name: Lab}}]}}]\n{held}");
    bench.apply(&isolated).unwrap_err();
    assert!(bench.is_up("New"));
    let engines = bench.engines();
    assert_eq!(engines.len(), 2);
    let datapath = bench.host().plane.datapath();
    for (name, id) in engines {
        assert!(datapath.engine(id).is_some(), "{name} is open again");
    }
    let status = bench.host().status();
    assert_eq!((status.counts.ports_up, status.counts.uplinks_up), (1, 1));
    assert!(status.problems.is_empty(), "{:?}", status.problems);
}

#[test]
fn a_plan_is_refused_where_the_configuration_has_changed_meanwhile() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    let planned = bench.apply(LAB).unwrap().generation;
    bench
        .change(&add_port("{name: MyVM3, portgroup: Lab, veth: p-MyVM3}"))
        .unwrap();
    let options = ApplyOptions {
        generation: Some(planned),
        ..ApplyOptions::default()
    };
    let problem = bench.apply_with(CHANGED, options).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict);
    assert!(problem.message.contains("generation 2, not 1"), "{problem}");
}

#[test]
fn sections_of_a_lab_are_refused_on_a_host() {
    let bench = Bench::new(&[]);
    for manifest in [
        "hosts: [{name: esxi01}]",
        "vms: [{name: MyVM1, portgroup: Lab}]",
        "vswitches: [{name: vSwitch1, host: esxi01}]",
    ] {
        let problem = bench.apply(manifest).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Invalid);
        let remedy = problem.remedy.as_deref().unwrap_or_default();
        assert!(remedy.contains("weft lab up"), "{problem}");
    }
}

#[test]
fn history_names_who_and_what_and_every_generation_can_come_back() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB).unwrap();
    let first = bench.exported();
    bench.apply(CHANGED).unwrap();
    let second = bench.exported();
    bench.kill();
    bench.start();
    let history = bench.host().history().unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|one| (one.generation, one.current, one.by.as_deref()))
        .collect();
    assert_eq!(told, [(2, true, Some("root")), (1, false, Some("root"))]);
    let change = history[0].change.as_deref().unwrap();
    assert!(
        change.starts_with("port group Prod created; port MyVM2 changed: portgroup Lab -> Prod;"),
        "{change}"
    );
    assert!(history[0].written_at.as_deref().unwrap().ends_with('Z'));

    bench.rollback(None).unwrap();
    assert_eq!(bench.exported(), first);
    assert!(bench.is_up("MyVM1"));
    let change = bench.host().history().unwrap()[0].change.clone().unwrap();
    assert!(change.starts_with("rollback to generation 1: "), "{change}");
    // The generation before this one is the one that was gone back from.
    bench.rollback(None).unwrap();
    assert_eq!(bench.exported(), second);
    bench.rollback(Some(1)).unwrap();
    assert_eq!(bench.exported(), first);
    assert!(bench.rollback(Some(1)).unwrap().changes.is_empty());
    bench.rollback(Some(0)).unwrap();
    assert!(bench.engines().is_empty());
    assert_eq!(bench.host().generation(2).unwrap().to_yaml(), second);
    let problem = bench.rollback(Some(70)).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::NotFound);
    assert!(
        problem.message.contains("generations 1 to 6 are kept"),
        "{problem}"
    );
}

fn to_confirm(seconds: u64) -> ApplyOptions {
    ApplyOptions {
        confirm: Some(seconds),
        ..ApplyOptions::default()
    }
}

#[test]
fn what_is_confirmed_stays() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB).unwrap();
    let result = bench.apply_with(CHANGED, to_confirm(60)).unwrap();
    assert_eq!(result.confirm_within_seconds, Some(60));
    let status = bench.host().status();
    assert!(
        status.problems[0]
            .reason
            .contains("waits for its confirmation"),
        "{:?}",
        status.problems
    );
    assert_eq!(status.problems[0].next, "weft confirm");
    // Nothing else comes in between, which would be taken back with it.
    let problem = bench
        .change(&add_port("{name: A, portgroup: Lab, veth: p-MyVM1}"))
        .unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict);
    assert!(problem.remedy.as_deref().unwrap().contains("weft confirm"));
    bench.kill();
    bench.start();
    assert!(
        bench.host().history().unwrap()[0]
            .confirm_within_seconds
            .is_some()
    );
    let changed = bench.exported();
    let confirmed = bench.host().confirm("root").unwrap();
    assert_eq!((confirmed.generation, confirmed.waited), (2, true));
    assert!(!bench.host().confirm("root").unwrap().waited);
    bench.host().take_back_unconfirmed();
    bench.kill();
    bench.start();
    bench.host().take_back_unconfirmed();
    assert_eq!(bench.exported(), changed);
    assert!(bench.host().status().problems.is_empty());
    bench
        .change(&add_port("{name: A, portgroup: Lab, veth: p-MyVM1}"))
        .unwrap();
}

#[test]
fn what_is_not_confirmed_is_taken_back_although_something_is_gone_meanwhile() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB).unwrap();
    let first = bench.exported();
    bench.apply_with(CHANGED, to_confirm(1)).unwrap();
    bench.host().take_back_unconfirmed();
    assert_ne!(bench.exported(), first, "it is not time yet");
    bench.memory.remove("p-MyVM1");
    super::eventually("it is taken back", || {
        bench.host().take_back_unconfirmed();
        bench.exported() == first
    });
    assert!(bench.is_up("MyVM2"));
    let port = bench.port("MyVM1").status;
    assert!(port.reason.unwrap().contains("p-MyVM1 does not exist"));
    let last = &bench.host().history().unwrap()[0];
    assert_eq!((last.generation, last.by.as_deref()), (3, Some("weft")));
    let change = last.change.as_deref().unwrap();
    assert!(
        change.starts_with("generation 2 was not confirmed in time"),
        "{change}"
    );
}

#[test]
fn what_was_not_confirmed_when_the_agent_was_killed_is_taken_back_at_its_start() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB).unwrap();
    let first = bench.exported();
    bench.apply_with(CHANGED, to_confirm(1)).unwrap();
    bench.kill();
    super::eventually("its time is over", || {
        bench.start();
        let taken_back = bench.exported() == first;
        if !taken_back {
            bench.kill();
        }
        taken_back
    });
    assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
    assert!(bench.host().status().problems.is_empty());
}

#[test]
fn a_rollback_takes_back_what_waits_for_its_confirmation() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB).unwrap();
    let first = bench.exported();
    bench.apply_with(CHANGED, to_confirm(60)).unwrap();
    bench.rollback(None).unwrap();
    assert_eq!(bench.exported(), first);
    assert!(bench.host().status().problems.is_empty());
    for seconds in [0, ApplyOptions::LONGEST_CONFIRM + 1] {
        let problem = bench.apply_with(CHANGED, to_confirm(seconds)).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Invalid);
    }
}

#[test]
fn whose_traffic_a_change_interrupts_is_said_before() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "eth1"]);
    let host = "
vswitches: [{name: vSwitch1, uplinks: [eth1], portgroups: [{name: Lab}]}]
ports:
  - {name: MyVM1, portgroup: Lab, veth: p-MyVM1}
  - {name: MyVM2, portgroup: Lab, veth: p-MyVM2}";
    bench.apply(host).unwrap();
    let dry = ApplyOptions {
        dry_run: true,
        ..ApplyOptions::default()
    };
    for (from, to, cut) in [
        (
            "veth: p-MyVM1",
            "veth: p-MyVM1, mac: '02:00:00:00:00:07'",
            &[][..],
        ),
        (
            "name: Lab",
            "name: Lab, security: {promiscuous: accept}",
            &[],
        ),
        (
            "veth: p-MyVM1",
            "veth: p-MyVM1, block: true",
            &["port MyVM1"],
        ),
        (
            "veth: p-MyVM1",
            "veth: p-MyVM1, link: down",
            &["port MyVM1"],
        ),
        (
            "name: Lab",
            "name: Lab, vlan: 9",
            &["port MyVM1", "port MyVM2"],
        ),
        ("uplinks: [eth1]", "uplinks: []", &["uplink eth1"]),
        (
            "  - {name: MyVM2, portgroup: Lab, veth: p-MyVM2}",
            "",
            &["port MyVM2"],
        ),
        (
            "name: vSwitch1",
            "name: vSwitch1, mtu: 1400",
            &["port MyVM1", "port MyVM2", "uplink eth1"],
        ),
    ] {
        assert!(host.contains(from));
        let plan = bench.apply_with(&host.replace(from, to), dry).unwrap();
        let mut said = interrupted(&plan);
        said.sort();
        assert_eq!(said, cut, "{to}");
    }
}

#[test]
fn a_rollback_is_made_although_an_interface_is_gone() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    let problem = bench.rollback(None).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::NotFound, "{problem}");
    bench.apply(LAB).unwrap();
    let first = bench.exported();
    bench.apply(CHANGED).unwrap();
    bench.memory.remove("p-MyVM1");
    let said = "Port MyVM1 is down then: interface p-MyVM1 does not exist.";
    let dry = ApplyOptions {
        dry_run: true,
        ..ApplyOptions::default()
    };
    let plan = bench.host().rollback(None, dry, "root", |_| {}).unwrap();
    assert_eq!(plan.warnings, [said]);
    assert_eq!(bench.rollback(None).unwrap().warnings, [said]);
    assert_eq!(bench.exported(), first);
    assert!(bench.is_up("MyVM2") && !bench.is_up("MyVM1"));
    // What is held by somebody else shows only when it is opened.
    bench.memory.add("p-MyVM1");
    bench.rollback(None).unwrap();
    bench.memory.hold("p-MyVM1");
    let warnings = bench.rollback(None).unwrap().warnings;
    assert!(
        warnings.len() == 1
            && warnings[0].starts_with("Port MyVM1 is down then: interface p-MyVM1 is held"),
        "{warnings:?}"
    );
}

#[test]
fn what_is_not_confirmed_goes_back_to_what_was_confirmed() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB).unwrap();
    let first = bench.exported();
    bench.apply_with(CHANGED, to_confirm(60)).unwrap();
    let options = to_confirm(1);
    bench
        .host()
        .rollback(Some(0), options, "root", |_| {})
        .unwrap();
    super::eventually("it is taken back", || {
        bench.host().take_back_unconfirmed();
        bench.exported() == first
    });
}
