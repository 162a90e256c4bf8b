//! The engine of change over made-up interfaces and real poll threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weft_api::{AddressSource, ChangeOptions, ChangeResult, PortState, Problem, ProblemKind};
use weft_model::{Change, Manifest, Outcome, PortPatch, VswitchPatch};
use weft_packet::MacAddr;

use super::Host;
use crate::links::{Link, LinkEvent};
use crate::plane::testing::Memory;
use crate::store::Store;

mod guests;

/// A host in a directory of its own, which can be restarted.
struct Bench {
    directory: tempfile::TempDir,
    memory: Memory,
    host: Option<Arc<Host>>,
}

impl Bench {
    fn new(interfaces: &[&str]) -> Self {
        let memory = Memory::default();
        for name in interfaces {
            memory.add(name);
        }
        let mut bench = Self {
            directory: tempfile::tempdir().unwrap(),
            memory,
            host: None,
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        let (sender, seen) = crossbeam_channel::bounded(64);
        let (store, loaded) = Store::open(&self.state_dir()).unwrap();
        let plane = self.memory.plane(&sender);
        drop(sender);
        let (changed, keep) = std::sync::mpsc::sync_channel(1);
        let host = Host::restore("esxi01".parse().unwrap(), store, loaded, plane, changed).unwrap();
        let host = Arc::new(host);
        crate::follow_events(&host, seen).unwrap();
        crate::follow_addresses(&host, keep, &self.state_dir()).unwrap();
        self.host = Some(host);
    }

    /// Ends the agent as `kill -9` would: nothing is written any more.
    fn kill(&mut self) {
        let host = self.host.take().unwrap();
        crate::close(host);
    }

    fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    fn change(&self, change: &Change) -> Result<ChangeResult, Problem> {
        self.host().change(change, ChangeOptions::default(), |_| {})
    }

    fn apply(&self, manifest: &str) {
        for change in Manifest::parse(manifest).unwrap().changes() {
            self.change(&change).unwrap();
        }
    }

    fn port(&self, name: &str) -> weft_api::Port {
        self.host().port(&name.parse().unwrap()).unwrap()
    }

    fn is_up(&self, name: &str) -> bool {
        self.port(name).status.state == PortState::Up
    }
}

const LAB: &str = "
vswitches: [{name: vSwitch1, portgroups: [{name: Lab}]}]
ports:
  - {name: MyVM1, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-MyVM1}
  - {name: MyVM2, portgroup: Lab, veth: p-MyVM2}
";

fn add_port(text: &str) -> Change {
    Change::AddPort(weft_model::from_text(text).unwrap())
}

fn frame(to: u8, from: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5];
    frame.resize(60, 0);
    frame
}

/// Waits for what happens on other threads.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

#[test]
fn a_change_is_in_force_when_it_returns_and_survives_a_restart() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB);
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
    bench.apply(LAB);
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
        .host()
        .change(
            &add_port("{name: A, portgroup: Lab, veth: mine}"),
            yes,
            |_| {},
        )
        .unwrap();
    assert!(bench.is_up("A"));
}

#[test]
fn a_change_that_cannot_be_made_durable_is_not_made() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2", "p-MyVM3"]);
    bench.apply(LAB);
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
    bench.apply(LAB);
    let before = bench.host().export();
    let dry = ChangeOptions {
        dry_run: true,
        ..ChangeOptions::default()
    };
    let change = add_port("{name: MyVM3, portgroup: Lab, veth: p-MyVM3}");
    let result = bench.host().change(&change, dry, |_| {}).unwrap();
    assert_eq!((result.outcome, result.dry_run), (Outcome::Created, true));
    assert_eq!(result.interfaces, ["p-MyVM3".parse().unwrap()]);
    let missing = add_port("{name: MyVM4, portgroup: Lab, veth: p-MyVM4}");
    assert_eq!(
        bench.host().change(&missing, dry, |_| {}).unwrap_err().kind,
        ProblemKind::NotFound
    );
    let accept = VswitchPatch {
        security: weft_model::from_text("promiscuous: accept").unwrap(),
        ..VswitchPatch::default()
    };
    let result = bench
        .host()
        .change(
            &Change::SetVswitch("vSwitch1".parse().unwrap(), accept),
            dry,
            |_| {},
        )
        .unwrap();
    assert_eq!(result.ports.len(), 2, "both ports inherit it");
    assert_eq!(bench.host().export(), before);
}

#[test]
fn an_interface_that_vanishes_leaves_its_port_down_until_it_returns() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB);
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
    assert_eq!(bench.host().status().problems[0].next, "ip link");
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
    bench.apply(LAB);
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
    bench.apply(LAB);
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
    bench.apply(LAB);
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
        let refused = bench.host().change(&mtu(9000), options, |_| {});
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
    bench.apply(LAB);
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

#[test]
fn addresses_that_ports_send_from_are_known_after_a_restart() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB);
    bench.memory.send("p-MyVM2", &frame(1, 2));
    let kept = bench.state_dir().join("addresses.json");
    eventually("the address is kept", || kept.exists());
    let source = |bench: &Bench| bench.port("MyVM2").status.addresses.first().copied();
    assert_eq!(
        source(&bench).unwrap().mac,
        MacAddr::new([2, 0, 0, 0, 0, 2])
    );
    bench.kill();
    bench.start();
    assert_eq!(source(&bench).unwrap().source, AddressSource::Taken);
    bench.memory.send("p-MyVM1", &frame(2, 1));
    eventually("the frame is delivered", || {
        bench.host().stats(&["MyVM2".to_owned()]).unwrap()[0].tx_frames == 1
    });

    bench.kill();
    bench.memory.add("p-MyVM2");
    bench.start();
    assert_eq!(source(&bench), None, "another adapter is behind the port");
}

#[test]
fn a_port_that_changes_its_address_is_found_under_the_new_one() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB);
    let adopted = || {
        bench
            .port("MyVM1")
            .status
            .addresses
            .get(1)
            .map(|address| (address.mac, address.source))
    };
    for _ in 0..300 {
        bench.memory.send("p-MyVM1", &frame(0xff, 7));
        std::thread::sleep(Duration::from_millis(10));
        if adopted().is_some() {
            break;
        }
    }
    assert_eq!(
        adopted(),
        Some((MacAddr::new([2, 0, 0, 0, 0, 7]), AddressSource::Adopted))
    );
    assert_eq!(
        bench.port("MyVM1").status.addresses[0].source,
        AddressSource::Configured
    );
    assert_eq!(bench.host().fdb(None).unwrap().len(), 2);
    let reject = weft_model::from_text("macChanges: reject").unwrap();
    let patch = VswitchPatch {
        security: reject,
        ..VswitchPatch::default()
    };
    bench
        .change(&Change::SetVswitch("vSwitch1".parse().unwrap(), patch))
        .unwrap();
    assert_eq!(adopted(), None);
}

#[test]
fn no_address_is_adopted_once_changes_are_rejected() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB);
    let name = "MyVM1".parse().unwrap();
    let port = bench.host().state().engines[&weft_model::PortKey::Port(name)].id;
    let set = |policy: &str| {
        let patch = VswitchPatch {
            security: weft_model::from_text(&format!("macChanges: {policy}")).unwrap(),
            ..VswitchPatch::default()
        };
        bench
            .change(&Change::SetVswitch("vSwitch1".parse().unwrap(), patch))
            .unwrap();
    };
    let adopted = || {
        bench
            .host()
            .addresses()
            .of(&"MyVM1".parse().unwrap())
            .adopted
    };
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = 0u8;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                last = last.wrapping_add(1);
                let mac = MacAddr::new([2, 0, 0, 0, 7, last]);
                bench
                    .host()
                    .event(&weft_datapath::Event::AddressTaken { port, mac });
                bench
                    .host()
                    .event(&weft_datapath::Event::SourceSeen { port, mac, vlan: 0 });
            }
        });
        let results: Vec<_> = (0..50)
            .map(|_| {
                set("accept");
                eventually("an address is adopted", || adopted().is_some());
                set("reject");
                adopted()
            })
            .collect();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(results, [None; 50]);
    });
}

#[test]
fn a_configured_address_that_a_guest_elsewhere_uses_is_a_problem_until_it_ends() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB);
    bench.memory.send("p-MyVM2", &frame(1, 2));
    eventually("the address is taken", || {
        bench.host().addresses().of(&"MyVM2".parse().unwrap()).taken
            == Some(MacAddr::new([2, 0, 0, 0, 0, 2]))
    });
    let set_mac = |mac: &str, dry_run: bool| {
        let patch: PortPatch = weft_model::from_text(&format!("{{mac: '{mac}'}}")).unwrap();
        let options = ChangeOptions {
            dry_run,
            ..ChangeOptions::default()
        };
        bench
            .host()
            .change(
                &Change::SetPort("MyVM1".parse().unwrap(), patch),
                options,
                |_| {},
            )
            .unwrap()
    };
    let result = set_mac("02:00:00:00:00:02", true);
    assert!(
        result.warnings[0].starts_with("Port MyVM2 loses the address 02:00:00:00:00:02"),
        "{result:?}"
    );
    assert!(bench.host().status().problems.is_empty());

    set_mac("02:00:00:00:00:02", false);
    let problems = bench.host().status().problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].object.to_string(), "port MyVM2");
    assert!(
        problems[0]
            .reason
            .contains("02:00:00:00:00:02, which port MyVM1 has")
    );
    assert_eq!(problems[0].next, "weft port show MyVM1");

    set_mac("02:00:00:00:00:01", false);
    assert!(bench.host().status().problems.is_empty());
}

#[test]
fn every_port_has_counters_and_every_reason_a_line() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.apply(LAB);
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
    bench.apply(LAB);
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
    bench.apply(LAB);
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
    bench.apply(LAB);
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
