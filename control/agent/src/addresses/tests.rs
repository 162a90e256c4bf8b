use weft_model::{Change, Manifest, PortPatch, PortgroupPatch};

use super::*;

const A: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xb]);
const CONFIGURED: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

/// Two ports on VLAN 10, one with an address, and one on VLAN 20.
fn intent() -> Intent {
    let manifest = "
vswitches:
  - name: vSwitch1
    portgroups: [{name: Ten, vlan: 10}, {name: Twenty, vlan: 20}]
ports:
  - {name: one, portgroup: Ten, veth: p-one}
  - {name: two, portgroup: Ten, mac: '02:00:00:00:00:01', veth: p-two}
  - {name: three, portgroup: Twenty, veth: p-three}
";
    let changes = Manifest::parse(manifest).unwrap().changes();
    changes.iter().fold(Intent::default(), |intent, change| {
        intent.apply(change).unwrap().0
    })
}

fn port(name: &str) -> PortName {
    name.parse().unwrap()
}

#[test]
fn a_port_takes_its_first_source_unless_it_is_anothers() {
    let (intent, mut addresses) = (intent(), Addresses::default());
    assert!(
        !addresses.take(&intent, &port("two"), A),
        "it has a configured address"
    );
    assert!(
        !addresses.take(&intent, &port("one"), CONFIGURED),
        "the address of port two"
    );
    assert!(!addresses.take(&intent, &port("one"), MacAddr::BROADCAST));
    assert!(addresses.take(&intent, &port("one"), A));
    assert!(!addresses.take(&intent, &port("one"), A), "no news");
    assert!(
        addresses.take(&intent, &port("three"), CONFIGURED),
        "another VLAN"
    );
}

#[test]
fn a_port_adopts_its_latest_source_unless_it_is_anothers_or_its_policy_rejects() {
    let (mut intent, mut addresses) = (intent(), Addresses::default());
    assert!(addresses.take(&intent, &port("one"), A));
    assert!(
        !addresses.adopt(&intent, &port("two"), A),
        "port one took it"
    );
    assert!(addresses.adopt(&intent, &port("two"), B));
    assert!(
        !addresses.adopt(&intent, &port("one"), B),
        "port two adopted it"
    );
    assert!(
        !addresses.adopt(&intent, &port("two"), CONFIGURED),
        "its own"
    );
    intent = reject_changes(intent, "Twenty");
    assert!(!addresses.adopt(&intent, &port("three"), B));
}

fn reject_changes(intent: Intent, group: &str) -> Intent {
    let patch: PortgroupPatch = weft_model::from_text("security: {macChanges: reject}").unwrap();
    intent
        .apply(&Change::SetPortgroup(group.parse().unwrap(), patch))
        .unwrap()
        .0
}

#[test]
fn a_new_configuration_takes_away_what_it_does_not_allow() {
    let (intent, mut addresses) = (intent(), Addresses::default());
    addresses.take(&intent, &port("one"), A);
    addresses.adopt(&intent, &port("two"), B);
    assert!(addresses.settle(&intent).is_empty());

    let rejecting = reject_changes(intent.clone(), "Ten");
    let mut after = addresses.clone();
    assert_eq!(after.settle(&rejecting), [port("two")]);
    assert_eq!(
        (after.of(&port("one")).taken, after.of(&port("two")).adopted),
        (Some(A), None)
    );

    let patch = PortPatch {
        mac: Some(Some(A)),
        ..PortPatch::default()
    };
    let (claimed, _) = intent.apply(&Change::SetPort(port("two"), patch)).unwrap();
    assert_eq!(
        addresses.settle(&claimed),
        [port("one")],
        "the configured address wins"
    );
    assert_eq!(addresses.of(&port("one")), Learned::default());
}
