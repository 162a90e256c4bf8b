//! Every refusal names the object, the field, what is wrong and what to do.

mod policies;
mod teams;
mod vmks;

use weft_model::{
    Change, Intent, Manifest, ModelError, Outcome, PortPatch, PortgroupPatch, ResourceVersion,
    VswitchPatch,
};

/// A host with a switch and an uplink, two port groups and two ports.
fn host() -> Intent {
    made(
        "
vswitches:
  - name: vSwitch1
    uplinks: [eth1]
    portgroups:
      - {name: Lab, vlan: 4095}
      - {name: Web, vlan: 10}
      - {name: Mail, vlan: 20}
  - name: vSwitch2
    portgroups: [{name: Other, vlan: 10}]
ports:
  - {name: MyVM1, portgroup: Web, mac: '02:00:00:00:00:01', veth: p-MyVM1}
  - {name: MyVM2, portgroup: Mail, mac: '02:00:00:00:00:01', veth: p-MyVM2}
",
    )
}

fn made(manifest: &str) -> Intent {
    let changes = Manifest::parse(manifest).unwrap().changes();
    changes.iter().fold(Intent::default(), |intent, change| {
        intent.apply(change).unwrap().0
    })
}

fn add_port(text: &str) -> Change {
    Change::AddPort(weft_model::from_text(text).unwrap())
}

fn set_group(name: &str, patch: &str) -> Change {
    let patch = weft_model::from_text::<PortgroupPatch>(patch).unwrap();
    Change::SetPortgroup(name.parse().unwrap(), patch)
}

fn set_switch(patch: &str) -> Change {
    let patch = weft_model::from_text::<VswitchPatch>(patch).unwrap();
    Change::SetVswitch("vSwitch1".parse().unwrap(), patch)
}

/// The error of a change, which has to leave a remedy.
fn refused(intent: &Intent, change: &Change) -> ModelError {
    let error = intent.apply(change).expect_err("the change is refused");
    assert!(!error.remedy().is_empty());
    error
}

#[test]
fn an_unknown_port_group_is_not_found_with_the_nearest_name() {
    let error = refused(&host(), &add_port("{name: A, portgroup: lab, veth: a}"));
    assert_eq!(error.to_string(), "port A: port group lab does not exist");
    assert_eq!(
        (error.field().as_deref(), error.suggestion()),
        (Some("portgroup"), Some("Lab"))
    );
    assert_eq!(error.remedy(), "did you mean Lab?");
}

#[test]
fn an_unknown_switch_is_not_found() {
    let change =
        Change::AddPortgroup(weft_model::from_text("{name: A, vswitch: Nowhere}").unwrap());
    let error = refused(&host(), &change);
    assert_eq!(
        error.to_string(),
        "port group A: standard switch Nowhere does not exist"
    );
    assert_eq!(error.remedy(), "see 'weft vswitch list'");
    assert!(matches!(
        refused(&host(), &Change::DelVswitch("vSwitch3".parse().unwrap())),
        ModelError::NothingToDelete { .. }
    ));
}

#[test]
fn a_name_twice_is_unchanged_with_the_same_settings_and_a_conflict_with_others() {
    let same = add_port("{name: MyVM1, portgroup: Web, mac: '02:00:00:00:00:01', veth: p-MyVM1}");
    let (after, outcome) = host().apply(&same).unwrap();
    assert_eq!((outcome, after), (Outcome::Unchanged, host()));
    let other = add_port("{name: MyVM1, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-MyVM1}");
    let error = refused(&host(), &other);
    assert_eq!(
        error.to_string(),
        "port MyVM1 exists already with other settings: portgroup Web -> Lab"
    );
    assert_eq!(error.field().as_deref(), Some("portgroup"));
}

#[test]
fn what_a_set_cannot_change_is_not_told_to_be_set() {
    for (line, remedy) in [
        (
            "{name: MyVM1, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-MyVM1}",
            "change it with 'weft port set MyVM1', or choose another name",
        ),
        (
            "{name: MyVM1, portgroup: Web, mac: '02:00:00:00:00:01', veth: p-other}",
            "delete it with 'weft port del MyVM1' and add it again, or choose another name",
        ),
    ] {
        assert_eq!(refused(&host(), &add_port(line)).remedy(), remedy);
    }
    let spec = weft_model::from_text("{name: vSwitch1, uplinks: [eth2]}").unwrap();
    let remedy = refused(&host(), &Change::AddVswitch(spec)).remedy();
    assert!(remedy.contains("weft uplink add vSwitch1"), "{remedy}");
}

#[test]
fn deleting_what_does_not_exist_leads_to_nothing_else() {
    for (change, near) in [
        (Change::DelPort("MyVM3".parse().unwrap()), "MyVM1"),
        (Change::DelPortgroup("lab".parse().unwrap()), "Lab"),
        (Change::DelVswitch("vSwitch".parse().unwrap()), "vSwitch1"),
    ] {
        let remedy = refused(&host(), &change).remedy();
        assert_eq!(remedy, format!("the nearest existing name is {near}"));
    }
    let error = refused(&host(), &Change::DelPort("nonsense".parse().unwrap()));
    assert_eq!(error.remedy(), "see 'weft port list'");
}

#[test]
fn what_is_in_use_stays_and_says_by_whom() {
    let error = refused(&host(), &Change::DelPortgroup("Web".parse().unwrap()));
    assert_eq!(error.to_string(), "port group Web is in use by port MyVM1");
    let error = refused(&host(), &Change::DelVswitch("vSwitch1".parse().unwrap()));
    assert_eq!(
        error.to_string(),
        "standard switch vSwitch1 is in use by port group Lab, port group Mail, port group Web"
    );
}

#[test]
fn an_interface_serves_one_port_or_one_uplink() {
    let error = refused(
        &host(),
        &add_port("{name: A, portgroup: Lab, veth: p-MyVM1}"),
    );
    assert_eq!(
        error.to_string(),
        "port A: interface p-MyVM1 is used by port MyVM1"
    );
    let error = refused(&host(), &add_port("{name: Z, portgroup: Lab, veth: eth1}"));
    assert_eq!(
        error.to_string(),
        "port Z: interface eth1 is used by standard switch vSwitch1"
    );
    let change = Change::AddUplink("vSwitch2".parse().unwrap(), "eth1".parse().unwrap());
    let error = refused(&host(), &change);
    assert_eq!(
        error.to_string(),
        "standard switch vSwitch2: interface eth1 is used by standard switch vSwitch1"
    );
    assert_eq!(error.field().as_deref(), Some("uplinks"));
}

#[test]
fn addresses_of_groups_and_of_nobody_are_no_adapters() {
    for (mac, problem) in [
        ("01:00:5e:00:00:01", "a multicast address"),
        ("00:00:00:00:00:00", "the zero address"),
    ] {
        let error = refused(
            &host(),
            &add_port(&format!(
                "{{name: A, portgroup: Web, mac: '{mac}', veth: a}}"
            )),
        );
        assert_eq!(error.to_string(), format!("port A: {mac} is {problem}"));
    }
}

#[test]
fn one_address_on_overlapping_vlans_of_a_switch_is_a_conflict() {
    let port = |group: &str| {
        add_port(&format!(
            "{{name: A, portgroup: {group}, mac: '02:00:00:00:00:01', veth: a}}"
        ))
    };
    let error = refused(&host(), &port("Web"));
    assert_eq!(
        error.to_string(),
        "port A: port MyVM1 has the address 02:00:00:00:00:01 already, on the same switch and VLAN"
    );
    assert!(
        matches!(refused(&host(), &port("Lab")), ModelError::MacTaken { .. }),
        "4095 overlaps with every VLAN"
    );
    assert!(host().apply(&port("Other")).is_ok(), "another switch");
    let merge = PortgroupPatch {
        vlan: Some("20".parse().unwrap()),
        ..PortgroupPatch::default()
    };
    let error = refused(
        &host(),
        &Change::SetPortgroup("Web".parse().unwrap(), merge),
    );
    assert!(
        matches!(error, ModelError::MacTaken { .. }),
        "a change of the VLAN can bring two ports together"
    );
}

#[test]
fn a_stale_write_is_a_conflict() {
    let intent = host();
    let read = intent.ports[&"MyVM1".parse().unwrap()].resource_version;
    let block = PortPatch {
        block: Some(true),
        ..PortPatch::default()
    };
    let change = Change::SetPort("MyVM1".parse().unwrap(), block);
    intent.expect_version(&change.object(), read).unwrap();
    let (after, outcome) = intent.apply(&change).unwrap();
    assert_eq!(outcome.fields()[0].to_string(), "block no -> yes");
    let error = after.expect_version(&change.object(), read).unwrap_err();
    assert!(matches!(error, ModelError::Stale { .. }));
    assert_eq!(error.field().as_deref(), Some("resourceVersion"));
    assert!(
        after
            .expect_version(&change.object(), ResourceVersion(after.revision))
            .is_ok()
    );
}

#[test]
fn a_name_that_returns_is_another_object() {
    let name = "MyVM2".parse().unwrap();
    let before = host();
    let (gone, outcome) = before.apply(&Change::DelPort(name)).unwrap();
    assert_eq!(outcome, Outcome::Deleted);
    let (back, _) = gone
        .apply(&add_port("{name: MyVM2, portgroup: Mail, veth: p-MyVM2}"))
        .unwrap();
    let name = "MyVM2".parse().unwrap();
    assert!(back.ports[&name].uid > before.ports[&name].uid);
}
