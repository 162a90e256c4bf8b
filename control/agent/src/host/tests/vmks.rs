//! The host's own interfaces: their devices, their addresses, and the operator's connection over them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use weft_api::{AddressSource, ApplyOptions, EventKind, ProblemKind, RollbackRequest};
use weft_model::{InterfaceName, VmkPatch, vmk_mac};

use super::*;
use crate::links::LinkEvent;
use crate::operator::Operator;

const HOST: &str = "
vswitches:
  - name: vSwitch0
    uplinks: [eth1, eth2]
    portgroups: [{name: Mgmt, vlan: 10}, {name: Other, vlan: 20}]
  - {name: Inner, portgroups: [{name: Lab, vlan: 10}]}
vmks:
  - {name: vmk0, portgroup: Mgmt, ip: 10.0.0.11/24}
";

fn host() -> Bench {
    let bench = Bench::new(&["eth1", "eth2"]);
    bench.add(HOST);
    bench
}

fn set(text: &str) -> Change {
    let patch: VmkPatch = weft_model::from_text(text).unwrap();
    Change::SetVmk("vmk0".parse().unwrap(), patch)
}

fn parsed(text: &str) -> Manifest {
    Manifest::parse(text).unwrap()
}

/// Somebody who is connected over the address of vmk0.
fn operator() -> Operator {
    Operator {
        connected_to: Some(IpAddr::from([10, 0, 0, 11])),
        ..Operator::from("root")
    }
}

#[test]
fn an_adapter_has_the_address_of_its_name_until_it_has_another() {
    let mut bench = host();
    let first = |bench: &Bench| {
        let address = bench.port("vmk0").status.addresses[0];
        (address.mac, address.source)
    };
    let generated = (vmk_mac("esxi01", "vmk0"), AddressSource::Generated);
    assert!(bench.is_up("vmk0"));
    assert_eq!(first(&bench), generated);
    bench.kill();
    bench.start();
    assert_eq!(first(&bench), generated);
    bench.change(&set("{mac: '02:00:00:00:00:09'}")).unwrap();
    assert_eq!(first(&bench).1, AddressSource::Configured);
    assert_eq!(bench.memory.opened("vmk0"), 2, "its engine stays open");
    let vmk = bench.host().vmk(&"vmk0".parse().unwrap()).unwrap();
    assert_eq!(vmk.spec.ip, Some("10.0.0.11/24".parse().unwrap()));
}

/// A guest on the port group of vmk0, before that is made.
const GUEST: &str = "
vswitches: [{name: vSwitch0, portgroups: [{name: Mgmt, vlan: 10}]}]
ports: [{name: MyVM1, portgroup: Mgmt, veth: p-MyVM1}]
";

#[test]
fn a_guest_does_not_keep_the_address_of_a_vmk_over_a_restart() {
    let mut bench = Bench::new(&["p-MyVM1"]);
    bench.add(GUEST);
    let own = vmk_mac("esxi01", "vmk0");
    let mut sent = frame(0xff, 0);
    sent[6..12].copy_from_slice(&own.octets());
    bench.memory.send("p-MyVM1", &sent);
    let addresses = |bench: &Bench| -> Vec<_> {
        let addresses = bench.port("MyVM1").status.addresses;
        addresses.into_iter().map(|address| address.mac).collect()
    };
    eventually("the guest has it", || addresses(&bench) == [own]);
    let kept = bench.state_dir().join("addresses.json");
    let is_kept =
        || std::fs::read_to_string(&kept).is_ok_and(|text| text.contains(&own.to_string()));
    eventually("it is kept", is_kept);
    let before = std::fs::read(&kept).unwrap();
    let vmk = weft_model::from_text("{name: vmk0, portgroup: Mgmt}").unwrap();
    let result = bench.change(&Change::AddVmk(vmk)).unwrap();
    let lost = format!("Port MyVM1 loses the address {own}, which its guest uses, to port vmk0.");
    assert_eq!(result.warnings, [lost]);
    assert!(addresses(&bench).is_empty());
    bench.kill();
    // As if the agent had ended before it wrote what became of it.
    std::fs::write(&kept, before).unwrap();
    bench.start();
    assert!(addresses(&bench).is_empty());
    bench.memory.send("p-MyVM1", &sent);
    eventually("it is told", || {
        let problems = bench.host().status().problems;
        (problems.iter()).any(|problem| problem.reason.contains("which port vmk0 has"))
    });
}

#[test]
fn no_port_is_given_the_address_of_a_vmk() {
    let bench = host();
    bench.memory.add("p-MyVM1");
    let own = vmk_mac("esxi01", "vmk0");
    let add = |text: &str| {
        let port = weft_model::from_text(text).unwrap();
        bench.change(&Change::AddPort(port))
    };
    let with_it = format!("{{name: MyVM1, portgroup: Mgmt, veth: p-MyVM1, mac: '{own}'}}");
    let problem = add(&with_it).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict);
    assert_eq!(problem.field.as_deref(), Some("mac"));
    assert!(
        problem.message.starts_with("port MyVM1: vmk vmk0 has"),
        "{problem}"
    );
    add(&with_it.replace("Mgmt", "Other")).unwrap();
}

#[test]
fn a_smaller_mtu_of_the_switch_is_that_of_the_device() {
    let bench = host();
    let mtu = |bench: &Bench| bench.host().state().links[&"vmk0".parse().unwrap()].mtu;
    assert_eq!(mtu(&bench), 1500);
    bench.change(&set("{mtu: 1400}")).unwrap();
    assert_eq!(mtu(&bench), 1400);
    bench.change(&set("{mtu: null}")).unwrap();
    let smaller = weft_model::from_text("{mtu: 1300}").unwrap();
    let smaller = Change::SetVswitch("vSwitch0".parse().unwrap(), smaller);
    bench.change(&smaller).unwrap();
    assert_eq!(mtu(&bench), 1300);
}

#[test]
fn an_address_that_the_host_has_elsewhere_is_refused_and_all_is_as_before() {
    let bench = host();
    bench.memory.give_elsewhere("10.0.0.12/24", true);
    let problem = bench.change(&set("{ip: 10.0.0.12/24}")).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict);
    assert!(
        problem
            .message
            .starts_with("vmk vmk0: the host has the address 10.0.0.12"),
        "{problem}"
    );
    let vmk = bench.host().vmk(&"vmk0".parse().unwrap()).unwrap();
    assert_eq!(vmk.spec.ip, Some("10.0.0.11/24".parse().unwrap()));
    assert!(bench.is_up("vmk0"));
}

#[test]
fn an_interface_is_given_what_it_is_to_have_while_its_engine_stays_open() {
    let bench = host();
    let opened = bench.memory.opened("vmk0");
    let result = bench.change(&set("{ip: 10.0.0.12/24, mtu: 1400}")).unwrap();
    assert_eq!(
        result.warnings,
        ["The address 10.0.0.11 of vmk vmk0 is given up; connections over it end."]
    );
    assert_eq!(result.interrupted.len(), 1);
    assert_eq!(
        bench.memory.ip("vmk0"),
        Some("10.0.0.12/24".parse().unwrap())
    );
    let result = bench.change(&set("{mac: '02:00:00:00:00:09'}")).unwrap();
    assert_eq!(result.warnings, [""; 0]);
    assert_eq!(result.interrupted, []);
    bench.memory.give_elsewhere("10.0.0.13/24", true);
    let problem = bench
        .change(&set("{ip: 10.0.0.13/24, mtu: 1300}"))
        .unwrap_err();
    assert!(problem.message.contains("10.0.0.13"), "{problem}");
    let link = bench.memory.link(&"vmk0".parse().unwrap()).unwrap();
    assert_eq!(link.mtu, 1400);
    assert_eq!(
        bench.memory.ip("vmk0"),
        Some("10.0.0.12/24".parse().unwrap())
    );
    assert_eq!(bench.memory.opened("vmk0"), opened);
    assert!(bench.is_up("vmk0"));
}

#[test]
fn an_address_that_is_taken_at_the_start_is_tried_again() {
    let mut bench = host();
    bench.kill();
    bench.memory.give_elsewhere("10.0.0.11/24", true);
    bench.start();
    let reason = bench.port("vmk0").status.reason.unwrap();
    assert!(reason.contains("has the address 10.0.0.11"), "{reason}");
    bench.memory.give_elsewhere("10.0.0.11/24", false);
    let later = Instant::now() + Duration::from_secs(3);
    bench.host().links_changed_at(later, Vec::new());
    assert!(bench.is_up("vmk0"));
}

#[test]
fn an_interface_that_was_renamed_is_not_up() {
    let bench = host();
    let device: InterfaceName = "vmk0".parse().unwrap();
    let link = bench.memory.link(&device).unwrap();
    let host = bench.host();
    host.links_changed_at(Instant::now(), vec![LinkEvent::Gone(device.clone())]);
    let reason = bench.port("vmk0").status.reason.unwrap();
    assert!(
        reason.contains("vmk0 is not there: it was renamed or moved"),
        "{reason}"
    );
    host.links_changed_at(Instant::now(), vec![LinkEvent::Present(device, link)]);
    assert!(bench.is_up("vmk0"));
}

#[test]
fn what_is_changed_by_hand_is_put_right() {
    let bench = host();
    let device: InterfaceName = "vmk0".parse().unwrap();
    bench.memory.take_ip("vmk0");
    bench.memory.set_mtu("vmk0", 9000);
    let news = LinkEvent::Readdressed(device.clone());
    bench.host().links_changed_at(Instant::now(), vec![news]);
    assert_eq!(
        bench.memory.ip("vmk0"),
        Some("10.0.0.11/24".parse().unwrap())
    );
    assert_eq!(bench.memory.link(&device).unwrap().mtu, 1500);
    let events = bench.host().events().after(0, 100);
    let told = events
        .iter()
        .filter(|event| event.kind == EventKind::VmkRestored);
    let told: Vec<_> = told.map(|event| event.text.as_str()).collect();
    assert_eq!(
        told,
        ["interface vmk0 was changed, and is given back the MTU 1500 and the address 10.0.0.11/24"]
    );
}

#[test]
fn addresses_move_between_interfaces_in_one_change() {
    let bench = host();
    let options = ApplyOptions::default();
    let apply = |text: &str| bench.host().apply(&parsed(text), options, "root", |_| {});
    let ip = |name: &str| bench.memory.ip(name).map(|ip| ip.to_string());
    let (first, second) = (
        Some("10.0.0.11/24".to_owned()),
        Some("10.0.0.12/24".to_owned()),
    );
    // Renamed, and back.
    apply("vmks: [{name: vmk1, portgroup: Mgmt, ip: 10.0.0.11/24}]").unwrap();
    assert_eq!((ip("vmk0"), ip("vmk1")), (None, first.clone()));
    bench
        .host()
        .rollback(None, options, "root", |_| {})
        .unwrap();
    assert_eq!((ip("vmk0"), ip("vmk1")), (first.clone(), None));
    // Exchanged.
    let both = |one: u8, other: u8| {
        format!(
            "vmks:
  - {{name: vmk0, portgroup: Mgmt, ip: 10.0.0.{one}/24}}
  - {{name: vmk1, portgroup: Mgmt, ip: 10.0.0.{other}/24}}"
        )
    };
    apply(&both(11, 12)).unwrap();
    apply(&both(12, 11)).unwrap();
    assert_eq!((ip("vmk0"), ip("vmk1")), (second.clone(), first.clone()));
    // Given back where the change is refused, whoever had them.
    bench.memory.give_elsewhere("10.0.0.13/24", true);
    let refused = format!(
        "{}\n  - {{name: vmk2, portgroup: Mgmt, ip: 10.0.0.13/24}}",
        both(11, 12)
    );
    apply(&refused).unwrap_err();
    assert_eq!((ip("vmk0"), ip("vmk1")), (second.clone(), first.clone()));
    let refused = "vmks:
  - {name: vmk1, portgroup: Mgmt}
  - {name: vmk2, portgroup: Mgmt, ip: 10.0.0.12/24}
  - {name: vmk3, portgroup: Mgmt, ip: 10.0.0.13/24}";
    apply(refused).unwrap_err();
    assert_eq!((ip("vmk0"), ip("vmk1")), (second, first));
    assert!(bench.is_up("vmk0") && bench.is_up("vmk1"));
}

#[test]
fn a_deleted_interface_takes_its_device_along() {
    let bench = host();
    let has = |bench: &Bench| {
        bench
            .host()
            .plane
            .link(&"vmk0".parse().unwrap())
            .unwrap()
            .is_some()
    };
    assert!(has(&bench));
    bench
        .change(&Change::DelVmk("vmk0".parse().unwrap()))
        .unwrap();
    assert!(!has(&bench));
}

#[test]
fn the_last_path_of_the_operator_goes_only_when_that_is_meant() {
    let group = |text: &str| {
        let patch = weft_model::from_text(text).unwrap();
        Change::SetPortgroup("Mgmt".parse().unwrap(), patch)
    };
    let port = |text: &str| {
        let patch = weft_model::from_text(text).unwrap();
        Change::SetPort("vmk0".parse().unwrap(), patch)
    };
    for change in [
        Change::DelVmk("vmk0".parse().unwrap()),
        set("{ip: 10.0.0.12/24}"),
        set("{ip: null}"),
        set("{ip: 10.0.0.11/28}"),
        set("{portgroup: Other}"),
        set("{portgroup: Lab}"),
        port("{block: true}"),
        port("{link: down}"),
        group("{vlan: 20}"),
        group("{teaming: {active: []}}"),
    ] {
        let bench = host();
        let make = |options| bench.host().change(&change, options, operator(), |_| {});
        for dry_run in [true, false] {
            let options = ChangeOptions {
                dry_run,
                ..ChangeOptions::default()
            };
            let problem = make(options).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::Conflict, "{change:?}");
            let text = problem.to_string();
            for word in ["vmk vmk0", "10.0.0.11", "--yes"] {
                assert!(text.contains(word), "{change:?}: {text}");
            }
        }
        // Who looks at all that a change is sees it as well.
        let options = ChangeOptions {
            dry_run: true,
            yes: true,
            ..ChangeOptions::default()
        };
        let warnings = make(options).unwrap().warnings;
        let told = warnings
            .iter()
            .any(|warning| warning.contains("you are connected over its address 10.0.0.11"));
        assert!(told, "{change:?}: {warnings:?}");
        // Others cut nobody off, and neither does who means it.
        bench
            .change_with(
                &change,
                ChangeOptions {
                    dry_run: true,
                    ..ChangeOptions::default()
                },
            )
            .unwrap();
        make(ChangeOptions {
            yes: true,
            ..ChangeOptions::default()
        })
        .unwrap();
    }
    // What leaves a path is not refused, and the last uplink of a team is.
    let bench = host();
    let make = |change: &Change| {
        bench
            .host()
            .change(change, ChangeOptions::default(), operator(), |_| {})
    };
    let del =
        |uplink: &str| Change::DelUplink("vSwitch0".parse().unwrap(), uplink.parse().unwrap());
    make(&set("{mtu: 1400}")).unwrap();
    make(&set("{ip: 10.0.0.11/16}")).unwrap();
    make(&del("eth1")).unwrap();
    let problem = make(&del("eth2")).unwrap_err();
    assert!(
        problem.message.contains("loses its last uplink"),
        "{problem}"
    );
}

#[test]
fn manifests_and_rollbacks_cut_nobody_off_either() {
    let bench = host();
    let without = parsed("vmks: []");
    let options = ApplyOptions::default();
    let problem = bench
        .host()
        .apply(&without, options, operator(), |_| {})
        .unwrap_err();
    assert!(problem.message.contains("10.0.0.11"), "{problem}");
    let RollbackRequest { to } = RollbackRequest { to: Some(1) };
    let problem = bench
        .host()
        .rollback(to, options, operator(), |_| {})
        .unwrap_err();
    assert!(problem.message.contains("10.0.0.11"), "{problem}");
    let renamed = parsed("vmks: [{name: vmk1, portgroup: Mgmt, ip: 10.0.0.11/24}]");
    bench
        .host()
        .apply(&renamed, options, operator(), |_| {})
        .unwrap();
}

/// Its link is up, and nothing leaves by it.
#[test]
fn an_uplink_that_could_not_be_attached_is_no_path() {
    let mut bench = host();
    bench.kill();
    bench.memory.hold("eth2");
    bench.start();
    let del = Change::DelUplink("vSwitch0".parse().unwrap(), "eth1".parse().unwrap());
    let make = || {
        bench
            .host()
            .change(&del, ChangeOptions::default(), operator(), |_| {})
    };
    let problem = make().unwrap_err();
    assert!(
        problem.message.contains("loses its last uplink"),
        "{problem}"
    );
    bench.memory.release("eth2");
    let later = Instant::now() + Duration::from_secs(3);
    bench.host().links_changed_at(later, Vec::new());
    make().unwrap();
}
