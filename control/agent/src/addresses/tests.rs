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

fn none() -> Addresses {
    Addresses::new("esxi01".parse().unwrap())
}

fn port(name: &str) -> PortName {
    name.parse().unwrap()
}

fn conflict(port_: &str, mac: MacAddr, holder: &str) -> Conflict {
    Conflict {
        port: port(port_),
        mac,
        holder: port(holder),
    }
}

#[test]
fn a_port_takes_its_first_source_unless_it_is_anothers() {
    let (intent, mut addresses) = (intent(), none());
    assert_eq!(
        addresses.take(&intent, &port("two"), A),
        Heard::NoNews,
        "it has a configured address"
    );
    assert_eq!(
        addresses.take(&intent, &port("one"), CONFIGURED),
        Heard::Conflict(conflict("one", CONFIGURED, "two"))
    );
    assert_eq!(
        addresses.take(&intent, &port("one"), MacAddr::BROADCAST),
        Heard::NoNews
    );
    assert_eq!(addresses.take(&intent, &port("one"), A), Heard::News);
    assert_eq!(addresses.take(&intent, &port("one"), A), Heard::NoNews);
    assert_eq!(
        addresses.take(&intent, &port("three"), CONFIGURED),
        Heard::News,
        "another VLAN"
    );
}

#[test]
fn a_port_adopts_its_latest_source_unless_it_is_anothers_or_its_policy_rejects() {
    let (mut intent, mut addresses) = (intent(), none());
    assert_eq!(addresses.take(&intent, &port("one"), A), Heard::News);
    assert_eq!(
        addresses.adopt(&intent, &port("two"), A),
        Heard::Conflict(conflict("two", A, "one"))
    );
    assert_eq!(addresses.adopt(&intent, &port("two"), B), Heard::News);
    assert_eq!(
        addresses.adopt(&intent, &port("one"), B),
        Heard::Conflict(conflict("one", B, "two"))
    );
    assert_eq!(
        addresses.adopt(&intent, &port("two"), CONFIGURED),
        Heard::NoNews,
        "its own"
    );
    intent = reject_changes(intent, "Twenty");
    assert_eq!(addresses.adopt(&intent, &port("three"), B), Heard::NoNews);
}

#[test]
fn a_conflict_is_news_once_and_ends_with_its_cause() {
    let (intent, mut addresses) = (intent(), none());
    let conflicts = |addresses: &Addresses, intent: &Intent| -> Vec<Conflict> {
        addresses.conflicts(intent).cloned().collect()
    };
    let first = conflict("one", CONFIGURED, "two");
    assert_eq!(
        addresses.take(&intent, &port("one"), CONFIGURED),
        Heard::Conflict(first.clone())
    );
    assert_eq!(
        addresses.take(&intent, &port("one"), CONFIGURED),
        Heard::NoNews
    );
    assert_eq!(conflicts(&addresses, &intent), [first]);

    let mut after = addresses.clone();
    after.take(&intent, &port("one"), A);
    assert!(conflicts(&after, &intent).is_empty(), "it has another one");

    let (without, _) = intent.apply(&Change::DelPort(port("two"))).unwrap();
    addresses.settle(&without);
    assert!(conflicts(&addresses, &without).is_empty());
    assert!(conflicts(&addresses, &intent).is_empty(), "forgotten");
}

#[test]
fn of_two_ports_that_come_together_with_one_address_the_first_keeps_it() {
    let (intent, mut addresses) = (intent(), none());
    addresses.take(&intent, &port("one"), A);
    addresses.take(&intent, &port("three"), A);
    assert_eq!(addresses.settle(&intent), Settled::default());
    let patch = PortPatch {
        portgroup: Some("Ten".parse().unwrap()),
        ..PortPatch::default()
    };
    let (together, _) = intent
        .apply(&Change::SetPort(port("three"), patch))
        .unwrap();
    let settled = addresses.settle(&together);
    assert_eq!(settled.changed, [port("three")]);
    assert_eq!(settled.displaced, [conflict("three", A, "one")]);
    assert_eq!(addresses.of(&port("one")).taken, Some(A));
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
    let (intent, mut addresses) = (intent(), none());
    addresses.take(&intent, &port("one"), A);
    addresses.adopt(&intent, &port("two"), B);
    assert_eq!(addresses.settle(&intent), Settled::default());

    let rejecting = reject_changes(intent.clone(), "Ten");
    let mut after = addresses.clone();
    let settled = after.settle(&rejecting);
    assert_eq!(settled.changed, [port("two")]);
    assert!(settled.displaced.is_empty());
    assert_eq!(
        (after.of(&port("one")).taken, after.of(&port("two")).adopted),
        (Some(A), None)
    );

    let patch = PortPatch {
        mac: Some(Some(A)),
        ..PortPatch::default()
    };
    let (claimed, _) = intent.apply(&Change::SetPort(port("two"), patch)).unwrap();
    let settled = addresses.settle(&claimed);
    assert_eq!(settled.changed, [port("one")]);
    assert_eq!(
        settled.displaced,
        [conflict("one", A, "two")],
        "the configured address wins"
    );
    assert_eq!(addresses.of(&port("one")), Learned::default());
}

#[test]
fn the_address_that_a_vmk_has_by_its_name_is_nobody_elses() {
    let vmk = weft_model::from_text("{name: vmk0, portgroup: Ten}").unwrap();
    let (before, mut addresses) = (intent(), none());
    let (after, _) = before.apply(&Change::AddVmk(vmk)).unwrap();
    let own = weft_model::vmk_mac("esxi01", "vmk0");
    assert_eq!(addresses.take(&before, &port("one"), own), Heard::News);
    let lost = conflict("one", own, "vmk0");
    assert_eq!(
        addresses.settle(&after).displaced,
        std::slice::from_ref(&lost)
    );
    assert_eq!(addresses.of(&port("one")), Learned::default());
    let mut addresses = none();
    let heard = addresses.take(&after, &port("one"), own);
    assert_eq!(heard, Heard::Conflict(lost));
    let heard = addresses.adopt(&after, &port("two"), own);
    assert_eq!(heard, Heard::Conflict(conflict("two", own, "vmk0")));
    for mac in [own, A] {
        let taken = addresses.take(&after, &port("vmk0"), mac);
        assert_eq!(taken, Heard::NoNews, "it has an address");
    }
    assert_eq!(addresses.adopt(&after, &port("vmk0"), own), Heard::NoNews);
}
