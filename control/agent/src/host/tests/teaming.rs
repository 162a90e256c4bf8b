//! Teams whose links fail: what ports do, what is announced, and who is told.

use std::time::Instant;

use weft_api::{Cause, EventKind, TraceRequest, UplinkPlace, UplinkState};

use super::*;
use crate::host::uplinks::Follower;
use crate::links::{Link, LinkEvent};

const TEAM: &str = "
vswitches:
  - name: vSwitch1
    uplinks: [eth1, eth2, eth3]
    teaming: {policy: explicit, active: [eth1], standby: [eth2], upDelay: 0ms}
    portgroups: [{name: Lab, vlan: 10}]
ports:
  - {name: MyVM1, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-MyVM1}
";

struct Team {
    bench: Bench,
    follower: Follower,
}

impl Team {
    fn new() -> Self {
        Self::with(TEAM)
    }

    fn with(manifest: &str) -> Self {
        let bench = Bench::new(&["eth1", "eth2", "eth3", "p-MyVM1"]);
        bench.add(manifest);
        let mut team = Self {
            bench,
            follower: Follower::new(Instant::now()),
        };
        team.follow();
        team
    }

    fn follow(&mut self) {
        let host = self.bench.host();
        host.follow_now(&mut self.follower, Instant::now());
    }

    /// Has a link go down or come up, and the thread hear of it; the rest of the agent does not.
    fn set(&mut self, name: &str, carrier: bool) {
        let uplinks = self.bench.host().view().links.clone();
        let name: weft_model::InterfaceName = name.parse().unwrap();
        let link = Link {
            carrier,
            ..uplinks[&name]
        };
        let event = LinkEvent::Present(name, link);
        self.bench.host().link_event(&event);
        self.follow();
    }

    fn used(&self) -> Vec<String> {
        let uplinks = self.bench.host().uplinks();
        let uses = |uplink: &&weft_api::Uplink| !uplink.teams[0].ports.is_empty();
        let used = uplinks.iter().filter(uses);
        used.map(|uplink| uplink.interface.to_string()).collect()
    }

    fn events(&self) -> Vec<(EventKind, String)> {
        let kinds = [
            EventKind::PortsMoved,
            EventKind::NoUplink,
            EventKind::UplinkFound,
        ];
        let events = self.bench.host().events().after(0, 100);
        let of_teams = events
            .into_iter()
            .filter(|event| kinds.contains(&event.kind));
        of_teams.map(|event| (event.kind, event.text)).collect()
    }
}

#[test]
fn a_port_moves_before_anything_else_is_done() {
    let mut team = Team::new();
    assert_eq!(team.used(), ["eth1"]);
    team.bench.memory.port("eth1").drain();
    {
        // A change is being made meanwhile, which holds the store.
        let store = team.bench.host().writer();
        let links = team.bench.host().view().links.clone();
        let (name, link) = links.iter().next().unwrap();
        assert_eq!(name.as_str(), "eth1");
        let carrier = false;
        let event = LinkEvent::Present(name.clone(), Link { carrier, ..*link });
        team.bench.host().link_event(&event);
        let now = Instant::now();
        team.bench.host().follow_now(&mut team.follower, now);
        drop(store);
    }
    assert_eq!(team.used(), ["eth2"]);
    let announced = team.bench.memory.port("eth2").drain();
    assert!(!announced.is_empty(), "the switch beyond is told");
    for frame in announced {
        assert_eq!(frame[6..12], [2, 0, 0, 0, 0, 1]);
        assert_eq!(frame[12..18], [0x81, 0, 0, 10, 0x80, 0x35]);
    }
    team.set("eth2", false);
    assert!(team.used().is_empty());
    let status = team.bench.host().status();
    let mut causes = status.problems.iter().map(|finding| finding.cause);
    assert!(causes.any(|cause| cause == Cause::NoUplink), "{status:?}");
    team.set("eth1", true);
    assert_eq!(team.used(), ["eth1"]);
    let expected = [
        (
            EventKind::PortsMoved,
            "port group Lab: 1 port goes by eth2 instead of eth1",
        ),
        (
            EventKind::NoUplink,
            "port group Lab: none of its uplinks is usable; 1 port cannot leave the host",
        ),
        (
            EventKind::UplinkFound,
            "port group Lab: 1 port can leave the host again, by eth1",
        ),
    ];
    assert_eq!(
        team.events(),
        expected.map(|(kind, text)| (kind, text.to_owned()))
    );
}

/// However soon it is up again: the switch beyond may have forgotten what it knew.
#[test]
fn a_link_that_came_back_before_anybody_looked_has_been_down() {
    let mut team = Team::with(&TEAM.replace("upDelay: 0ms", "upDelay: 60s"));
    assert_eq!(team.used(), ["eth1"]);
    let name: weft_model::InterfaceName = "eth1".parse().unwrap();
    let link = team.bench.host().view().links[&name];
    for carrier in [false, true] {
        let event = LinkEvent::Present(name.clone(), Link { carrier, ..link });
        team.bench.host().link_event(&event);
    }
    team.follow();
    assert_eq!(team.used(), ["eth2"]);
    assert_eq!(team.bench.host().uplinks()[0].state, UplinkState::Waiting);
}

/// Of thousands the log tells little, and the switch beyond is told of each.
#[test]
fn every_port_that_comes_is_announced_however_many_they_are() {
    const PORTS: u8 = 150;
    let names: Vec<_> = (0..PORTS).map(|number| format!("p{number}")).collect();
    let interfaces: Vec<_> = names.iter().map(String::as_str).chain(["eth1"]).collect();
    let bench = Bench::new(&interfaces);
    let mut manifest = "
vswitches: [{name: vSwitch1, uplinks: [eth1], portgroups: [{name: Lab}]}]
ports:
"
    .to_owned();
    for number in 0..PORTS {
        manifest += &format!(
            "  - {{name: vm{number}, portgroup: Lab, mac: '02:00:00:00:00:{number:02x}', veth: p{number}}}\n"
        );
    }
    let options = weft_api::ApplyOptions::default();
    bench
        .host()
        .apply(
            &Manifest::parse(&manifest).unwrap(),
            options,
            "root",
            |_| {},
        )
        .unwrap();
    let mut now = Instant::now();
    let mut follower = Follower::new(now);
    let mut announced = std::collections::BTreeSet::new();
    for _ in 0..3 {
        bench.host().follow_now(&mut follower, now);
        let frames = bench.memory.port("eth1").drain();
        announced.extend(frames.iter().map(|frame| frame[11]));
        now += Duration::from_millis(10);
    }
    assert_eq!(announced, (0..PORTS).collect());
}

#[test]
fn an_uplink_says_who_uses_it_and_why() {
    let mut team = Team::new();
    let places = |team: &Team| -> Vec<_> {
        let uplinks = team.bench.host().uplinks();
        let each = uplinks.into_iter().map(|uplink| {
            let of_lab = uplink.teams.into_iter().next().unwrap();
            (uplink.state, of_lab.place, of_lab.reason)
        });
        each.collect()
    };
    assert_eq!(
        places(&team),
        [
            (
                UplinkState::Up,
                UplinkPlace::Active,
                "it is the first usable one".to_owned()
            ),
            (
                UplinkState::Up,
                UplinkPlace::Standby,
                "waits for an active uplink to fail".to_owned()
            ),
            (
                UplinkState::Up,
                UplinkPlace::Unused,
                "neither active nor standby".to_owned()
            ),
        ]
    );
    team.set("eth1", false);
    assert_eq!(
        places(&team)[1].2,
        "stands in for an active uplink that is not usable"
    );
    assert_eq!(places(&team)[0].0, UplinkState::Down);
}

#[test]
fn a_trace_names_the_team() {
    let mut team = Team::new();
    let last = |team: &Team| {
        let request = TraceRequest::new("MyVM1", "02:00:00:00:00:99".parse().unwrap());
        let report = team.bench.host().trace(&request).unwrap();
        let step = report.steps.into_iter().last().unwrap();
        (step.detail, step.setting.unwrap(), step.value.unwrap())
    };
    let (detail, setting, value) = last(&team);
    assert_eq!(detail, "to uplink eth1, VLAN 10: the only active uplink");
    assert_eq!((&*setting, &*value), ("teaming.policy", "explicit"));
    team.set("eth1", false);
    let (detail, ..) = last(&team);
    assert_eq!(
        detail,
        "to uplink eth2, VLAN 10: standby, as no active uplink is usable for it"
    );
}

/// Two port groups, one of which waits for a minute.
#[test]
fn each_port_group_waits_for_its_own_delay() {
    let groups = "portgroups: [{name: Lab, vlan: 10}, {name: Slow, teaming: {upDelay: 60s}}]";
    let mut team = Team::with(&TEAM.replace("portgroups: [{name: Lab, vlan: 10}]", groups));
    team.bench.memory.add("p-Slow");
    let slow = "{name: Slow1, portgroup: Slow, mac: '02:00:00:00:00:02', veth: p-Slow}";
    team.bench.change(&add_port(slow)).unwrap();
    team.follow();
    team.set("eth1", false);
    team.set("eth1", true);
    let eth1 = |team: &Team| {
        let uplink = team.bench.host().uplinks().swap_remove(0);
        let reasons: Vec<_> = uplink.teams.into_iter().map(|team| team.reason).collect();
        (uplink.state, reasons)
    };
    let (state, reasons) = eth1(&team);
    assert_eq!(state, UplinkState::Up, "Lab uses it");
    assert_eq!(reasons[0], "it is the first usable one");
    assert!(reasons[1].contains("it is used in "), "{reasons:?}");
    let patience = "{teaming: {upDelay: 10m}}";
    let patience = weft_model::from_text(patience).unwrap();
    let change = Change::SetPortgroup("Lab".parse().unwrap(), patience);
    team.bench.change(&change).unwrap();
    team.follow();
    let (state, reasons) = eth1(&team);
    assert_eq!(state, UplinkState::Up, "it is in use");
    assert_eq!(reasons[0], "it is the first usable one");
    assert!(reasons[1].contains("it is used in "), "{reasons:?}");
}

#[test]
fn without_failback_an_uplink_says_what_it_waits_for() {
    let manifest = TEAM.replace("upDelay: 0ms", "upDelay: 0ms, failback: false");
    let mut team = Team::with(&manifest);
    team.set("eth1", false);
    team.set("eth1", true);
    let uplinks = team.bench.host().uplinks();
    let reasons = uplinks.iter().map(|uplink| &*uplink.teams[0].reason);
    assert_eq!(
        reasons.take(2).collect::<Vec<_>>(),
        [
            "eth1 is usable again, but failback is off; it waits until eth2 fails",
            "it stands in for eth1, usable again, as failback is off",
        ]
    );
    let request = TraceRequest::new("MyVM1", "02:00:00:00:00:99".parse().unwrap());
    let report = team.bench.host().trace(&request).unwrap();
    let step = report.steps.last().unwrap();
    assert_eq!(
        step.detail,
        "to uplink eth2, VLAN 10: eth1 is usable again, but failback is off; it waits until eth2 fails"
    );
    assert_eq!(step.setting.as_deref(), Some("teaming.failback"));
    assert_eq!(step.value.as_deref(), Some("no"));
    team.set("eth2", false);
    let first = &team.bench.host().uplinks()[0].teams[0];
    assert_eq!(first.reason, "it is the first usable one");
}

/// Of ports that are spread by number, those whose uplink waits go by another one because of that, the others do not.
#[test]
fn without_failback_only_ports_of_the_uplink_that_waits_are_elsewhere() {
    let manifest = TEAM
        .replace("policy: explicit", "policy: srcid")
        .replace("active: [eth1], standby: [eth2]", "active: [eth1, eth2]")
        .replace("upDelay: 0ms", "upDelay: 0ms, failback: false");
    let mut team = Team::with(&manifest);
    let own = team.used().remove(0);
    let other = if own == "eth1" { "eth2" } else { "eth1" };
    let setting = |team: &Team| {
        let request = TraceRequest::new("MyVM1", "02:00:00:00:00:99".parse().unwrap());
        let report = team.bench.host().trace(&request).unwrap();
        report.steps.last().unwrap().setting.clone().unwrap()
    };
    team.set(other, false);
    team.set(other, true);
    assert_eq!(setting(&team), "teaming.policy");
    team.set(&own, false);
    team.set(&own, true);
    assert_eq!(team.used(), [other]);
    assert_eq!(setting(&team), "teaming.failback");
}

#[test]
fn an_unstable_link_is_told_once() {
    let mut team = Team::new();
    let told = |team: &Team| {
        let events = team.bench.host().events().after(0, 1000);
        let unstable = events
            .iter()
            .filter(|event| event.kind == EventKind::LinkUnstable);
        unstable.count()
    };
    team.set("eth3", true);
    for _ in 0..61 {
        team.set("eth3", false);
        team.set("eth3", true);
    }
    assert_eq!(told(&team), 1);
    for _ in 0..5 {
        team.set("eth3", false);
        team.set("eth3", true);
    }
    assert_eq!(told(&team), 1);
}
