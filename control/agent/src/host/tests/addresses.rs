//! Addresses that guests use.

use std::time::Duration;

use weft_api::{AddressSource, ChangeOptions};
use weft_model::{Change, PortPatch, VswitchPatch};
use weft_packet::MacAddr;

use super::{Bench, LAB, eventually, frame};

#[test]
fn addresses_that_ports_send_from_are_known_after_a_restart() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
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
    bench.add(LAB);
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
    bench.add(LAB);
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
    bench.add(LAB);
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
            .change_with(&Change::SetPort("MyVM1".parse().unwrap(), patch), options)
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
    assert_eq!(problems[0].next, "weft fdb list");

    set_mac("02:00:00:00:00:01", false);
    assert!(bench.host().status().problems.is_empty());
}
