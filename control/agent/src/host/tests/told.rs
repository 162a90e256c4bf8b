//! What is told of ports: counters, reasons, states.

use std::time::{Duration, Instant};

use weft_api::{PortState, ProblemKind};
use weft_model::{Change, PortPatch};

use super::{Bench, LAB, eventually, frame};
use crate::links::LinkEvent;

#[test]
fn every_port_has_counters_and_every_reason_a_line() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.memory.send("p-MyVM1", &frame(9, 1));
    eventually("the drop is counted", || {
        bench.host().stats(&[]).unwrap()[0]
            .drops
            .get("UnknownUnicast")
            == Some(&1)
    });
    let drops = bench.host().drops();
    let unknown = drops
        .reasons
        .iter()
        .find(|drop| drop.reason == "UnknownUnicast")
        .unwrap();
    assert_eq!(
        (
            unknown.count,
            unknown.ports[0].name.as_str(),
            unknown.ports[0].rx
        ),
        (1, "MyVM1", 1)
    );
    assert!(drops.reasons.iter().all(|drop| !drop.help.is_empty()));
    let problem = bench.host().stats(&["MyVm1".to_owned()]).unwrap_err();
    assert_eq!(
        (problem.kind, problem.suggestion.as_deref()),
        (ProblemKind::NotFound, Some("MyVM1"))
    );
}

#[test]
fn a_port_without_its_interface_keeps_its_counters_and_goes_on_counting() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    let stats = |name: &str| bench.host().stats(&[name.to_owned()]).unwrap().remove(0);
    bench.memory.send("p-MyVM2", &frame(1, 2));
    eventually("the frame is delivered", || stats("MyVM1").tx_frames == 1);
    bench.memory.remove("p-MyVM1");
    bench
        .host()
        .links_changed(vec![LinkEvent::Gone("p-MyVM1".parse().unwrap())]);
    bench.memory.send("p-MyVM2", &frame(1, 2));
    eventually("the copy for the absent port is counted", || {
        stats("MyVM1").tx_drops.get("PortDown") == Some(&1)
    });
    assert_eq!(stats("MyVM1").tx_frames, 1);
    let drops = bench.host().drops();
    let down = drops.reasons.iter().find(|drop| drop.reason == "PortDown");
    assert_eq!(down.unwrap().ports[0].name, "MyVM1");

    let (name, link) = bench.memory.add("p-MyVM1");
    bench
        .host()
        .links_changed(vec![LinkEvent::Present(name, link)]);
    assert_eq!(
        (stats("MyVM1").tx_frames, stats("MyVM1").tx_attempts),
        (1, 2)
    );
}

#[test]
fn a_few_frames_say_nothing_about_the_cost_of_one() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    let thread = || bench.host().status().threads.remove(0);
    let rx_frames = || bench.host().stats(&["MyVM2".to_owned()]).unwrap()[0].rx_frames;
    for sent in 1..=1000 {
        bench.memory.send("p-MyVM2", &frame(1, 2));
        if sent % 100 == 0 {
            eventually("the frames are taken", || rx_frames() == sent);
        }
        if sent == 900 {
            assert_eq!(thread().cycles_per_frame, None);
        }
    }
    eventually("the thread says what a frame costs", || {
        thread().cycles_per_frame.is_some()
    });
}

#[test]
fn what_the_administrator_took_down_or_blocked_says_so() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    let set = |text: &str| {
        let patch: PortPatch = weft_model::from_text(text).unwrap();
        bench
            .change(&Change::SetPort("MyVM1".parse().unwrap(), patch))
            .unwrap();
        bench.port("MyVM1").status.state
    };
    assert_eq!(set("{block: true}"), PortState::Blocked);
    assert_eq!(set("{block: false, link: down}"), PortState::Down);
    assert_eq!(
        bench.host().status().problems[0].next,
        "weft port set MyVM1 --link up"
    );
    assert_eq!(set("{link: up}"), PortState::Up);
}

#[test]
fn activity_tells_of_everything_that_moves() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "eth1"]);
    bench.add(LAB);
    let uplink = Change::AddUplink("vSwitch1".parse().unwrap(), "eth1".parse().unwrap());
    bench.change(&uplink).unwrap();
    bench.memory.send("p-MyVM2", &frame(1, 2));
    let of = |name: &str| {
        let mut ports = bench.host().activity().ports.into_iter();
        ports.find(|port| port.name == name).unwrap()
    };
    eventually("the frame is delivered", || of("MyVM1").tx_frames == 1);
    assert_eq!((of("MyVM2").rx_frames, of("MyVM2").rx_bytes), (1, 60));
    assert!(of("eth1").uplink && !of("MyVM1").uplink);

    let (before, after) = (bench.host().activity(), bench.host().activity());
    assert!(after.uptime_nanoseconds > before.uptime_nanoseconds);
    let (before, after) = (&before.threads[0], &after.threads[0]);
    assert!(after.elapsed_cycles > before.elapsed_cycles);
    assert!(after.busy_cycles > 0 && after.busy_cycles < after.elapsed_cycles);
    assert_eq!(after.frames, 1);

    let patch: PortPatch = weft_model::from_text("{block: true}").unwrap();
    let block = Change::SetPort("MyVM1".parse().unwrap(), patch);
    bench.change(&block).unwrap();
    assert_eq!(of("MyVM1").state, PortState::Blocked);
    bench.memory.remove("eth1");
    let gone = LinkEvent::Gone("eth1".parse().unwrap());
    bench.host().links_changed(vec![gone]);
    assert_eq!(of("eth1").state, PortState::Down);
    let problems: Vec<_> = bench
        .host()
        .activity()
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        problems,
        [
            "uplink eth1: interface eth1 does not exist",
            "port MyVM1: blocked by its administrator"
        ]
    );
}

#[test]
fn drops_that_grow_are_told_with_their_reason_and_those_of_yesterday_are_not() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    let start = Instant::now();
    let reasons = |after: u64| -> Vec<(String, String)> {
        let state = bench.host().view();
        let now = start + Duration::from_secs(after);
        let strains = bench.host().strains(&state, now).into_iter();
        strains
            .map(|problem| (problem.reason, problem.next))
            .collect()
    };
    let note = |after: u64| {
        bench
            .host()
            .note_counters(start + Duration::from_secs(after));
    };
    note(0);
    for _ in 0..8 {
        bench.memory.send("p-MyVM2", &frame(9, 2));
    }
    let sent = || bench.host().stats(&["MyVM2".to_owned()]).unwrap()[0].rx_frames;
    eventually("the frames are dropped", || sent() == 8);
    assert_eq!(
        reasons(4),
        [(
            "UnknownUnicast drops 2 frames a second: no port of the switch has the destination MAC on this VLAN"
                .to_owned(),
            "weft fdb list --vswitch vSwitch1".to_owned()
        )]
    );
    note(6);
    note(8);
    assert_eq!(reasons(13), []);
}
