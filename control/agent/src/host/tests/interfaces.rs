//! Interfaces that come, go, change and are held by others.

use std::time::{Duration, Instant};

use weft_api::{ChangeOptions, PortState, ProblemKind};
use weft_model::{Change, VswitchPatch};

use super::{Bench, LAB, eventually, frame};
use crate::links::{Link, LinkEvent};

#[test]
fn an_interface_that_vanishes_leaves_its_port_down_until_it_returns() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.memory.remove("p-MyVM1");
    bench
        .host()
        .links_changed(vec![LinkEvent::Gone("p-MyVM1".parse().unwrap())]);
    let port = bench.port("MyVM1");
    assert_eq!(port.status.state, PortState::Down);
    assert_eq!(
        port.status.reason.as_deref(),
        Some("interface p-MyVM1 does not exist")
    );
    assert_eq!(bench.host().status().problems[0].next, "ip -brief link");
    assert!(bench.is_up("MyVM2"));

    let (name, link) = bench.memory.add("p-MyVM1");
    bench
        .host()
        .links_changed(vec![LinkEvent::Present(name.clone(), link)]);
    assert!(bench.is_up("MyVM1"));

    let no_carrier = Link {
        carrier: false,
        ..link
    };
    bench
        .host()
        .links_changed(vec![LinkEvent::Present(name.clone(), no_carrier)]);
    assert!(
        bench
            .port("MyVM1")
            .status
            .reason
            .unwrap()
            .contains("no carrier")
    );
    bench
        .host()
        .links_changed(vec![LinkEvent::Present(name, link)]);
    assert!(bench.is_up("MyVM1"));
}

#[test]
fn an_interface_that_is_missing_at_the_start_fails_nothing() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.kill();
    bench.memory.remove("p-MyVM2");
    bench.start();
    assert!(bench.is_up("MyVM1") && !bench.is_up("MyVM2"));
    bench
        .change(&Change::DelPort("MyVM2".parse().unwrap()))
        .unwrap();
}

#[test]
fn an_interface_that_another_process_holds_is_tried_again() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.kill();
    bench.memory.hold("p-MyVM1");
    bench.start();
    assert!(
        bench
            .port("MyVM1")
            .status
            .reason
            .unwrap()
            .starts_with("interface p-MyVM1 is held by another")
    );
    assert_eq!(bench.memory.waits(), [Duration::from_secs(2)]);
    let start = Instant::now();
    let mut attempts = Vec::new();
    for second in 0..100 {
        let now = start + Duration::from_secs(second);
        bench.host().links_changed_at(now, Vec::new());
        let waits = bench.memory.waits();
        attempts.extend(waits.iter().map(|_| second));
        assert!(
            waits.iter().all(Duration::is_zero),
            "no change waits for it"
        );
    }
    assert_eq!(attempts, [2, 6, 14, 30, 60, 90]);

    let name: weft_model::InterfaceName = "p-MyVM1".parse().unwrap();
    let link = Link {
        carrier: false,
        ..bench.host().state().links[&name]
    };
    let now = start + Duration::from_secs(100);
    let event = LinkEvent::Present(name, link);
    bench.host().links_changed_at(now, vec![event]);
    assert_eq!(bench.memory.waits().len(), 1, "its interface changed");
    bench.memory.release("p-MyVM1");
    bench
        .host()
        .links_changed_at(now + Duration::from_secs(2), Vec::new());
    assert!(bench.host().state().engines.len() == 2);
}

#[test]
fn a_new_mtu_opens_engines_anew_or_leaves_all_as_it_was() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    let mtu = |octets: u64| {
        let patch = VswitchPatch {
            mtu: Some(octets.try_into().unwrap()),
            ..VswitchPatch::default()
        };
        Change::SetVswitch("vSwitch1".parse().unwrap(), patch)
    };
    let opened = || bench.memory.opened("p-MyVM1");
    let before = opened();
    let dry_run = ChangeOptions {
        dry_run: true,
        ..ChangeOptions::default()
    };
    bench.memory.set_mtu("p-MyVM1", 9000);
    for options in [dry_run, ChangeOptions::default()] {
        let refused = bench.change_with(&mtu(9000), options);
        let problem = refused.unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Invalid);
        assert_eq!(problem.field.as_deref(), Some("mtu"));
        assert!(
            problem
                .message
                .starts_with("standard switch vSwitch1: MTU 9000 does not fit interface p-MyVM2"),
            "{problem}"
        );
        assert!(problem.remedy.unwrap().contains("p-MyVM2 mtu 9000"));
    }
    assert_eq!(opened(), before, "traffic was not interrupted");

    bench.memory.set_mtu("p-MyVM2", 9000);
    let result = bench.change(&mtu(9000)).unwrap();
    assert_eq!(result.warnings.len(), 1);
    assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
    bench.memory.limit_mtu(8000);
    let problem = bench.change(&mtu(8500)).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Invalid);
    assert_eq!(problem.field.as_deref(), Some("mtu"));
    assert!(
        problem
            .message
            .starts_with("standard switch vSwitch1: MTU 8500 does not fit interface"),
        "{problem}"
    );
    bench.memory.limit_mtu(9000);
    let later = Instant::now() + Duration::from_secs(2);
    bench.host().links_changed_at(later, Vec::new());
    assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
}

#[test]
fn an_interface_with_another_mtu_is_opened_anew_or_its_port_is_down() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.memory.send("p-MyVM2", &frame(1, 2));
    let addresses = || bench.port("MyVM2").status.addresses;
    eventually("the address is taken", || !addresses().is_empty());
    let taken = addresses();
    let name: weft_model::InterfaceName = "p-MyVM2".parse().unwrap();
    let link = bench.host().state().links[&name];
    let set_mtu = |mtu: u32| {
        let link = Link { mtu, ..link };
        bench
            .host()
            .links_changed(vec![LinkEvent::Present(name.clone(), link)]);
    };
    let opened = bench.memory.opened("p-MyVM2");
    set_mtu(9000);
    assert_eq!(bench.memory.opened("p-MyVM2"), opened + 1);
    assert!(bench.is_up("MyVM2"));
    // The event that tells of the address may come later than the change.
    eventually("the adapter is the same", || addresses() == taken);
    set_mtu(9000);
    assert_eq!(bench.memory.opened("p-MyVM2"), opened + 1, "no news");

    bench.memory.limit_mtu(1400);
    set_mtu(1400);
    let reason = bench.port("MyVM2").status.reason.unwrap();
    assert!(reason.contains("MTU 1500 does not fit"), "{reason}");
    bench.memory.limit_mtu(1500);
    set_mtu(1500);
    assert!(bench.is_up("MyVM1") && bench.is_up("MyVM2"));
}
