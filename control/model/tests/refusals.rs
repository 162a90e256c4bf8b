//! Every refusal names the object, the field, what is wrong and what to do.

use weft_model::{
    Change, Inheritable, Intent, Manifest, ModelError, ObjectKind, Outcome, PortPatch,
    PortgroupPatch, ResourceVersion, SecurityPatch, VmkPatch, VswitchPatch,
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

/// A switch with two uplinks and a team that names them, and a port group that inherits it.
fn team() -> Intent {
    made(
        "
vswitches:
  - name: vSwitch1
    uplinks: [eth1, eth2, eth3]
    teaming: {policy: explicit, active: [eth1], standby: [eth2]}
    portgroups: [{name: Lab}, {name: Web, teaming: {active: [eth3, eth2]}}]
ports: [{name: A, portgroup: Lab, veth: a}]
",
    )
}

fn set_group(name: &str, patch: &str) -> Change {
    let patch = weft_model::from_text::<PortgroupPatch>(patch).unwrap();
    Change::SetPortgroup(name.parse().unwrap(), patch)
}

fn set_switch(patch: &str) -> Change {
    let patch = weft_model::from_text::<VswitchPatch>(patch).unwrap();
    Change::SetVswitch("vSwitch1".parse().unwrap(), patch)
}

#[test]
fn a_team_is_of_uplinks_of_its_switch() {
    for (change, object) in [
        (
            set_group("Lab", "{teaming: {standby: [eth22]}}"),
            "port group Lab",
        ),
        (
            set_switch("{teaming: {standby: [eth22]}}"),
            "standard switch vSwitch1",
        ),
    ] {
        let error = refused(&team(), &change);
        assert_eq!(
            error.to_string(),
            format!("{object}: eth22 is not an uplink of standard switch vSwitch1")
        );
        assert_eq!(error.field().as_deref(), Some("teaming.standby"));
        assert_eq!(error.remedy(), "did you mean eth2?");
    }
    let error = refused(&team(), &set_group("Lab", "{teaming: {active: [wlan0]}}"));
    assert!(
        error.remedy().contains("weft uplink add vSwitch1 wlan0"),
        "{}",
        error.remedy()
    );
    let group = "{name: New, vswitch: vSwitch1, teaming: {active: [eth0]}}";
    let group = weft_model::from_text(group).unwrap();
    assert!(matches!(
        refused(&team(), &Change::AddPortgroup(group)),
        ModelError::NoSuchUplink { .. }
    ));
}

#[test]
fn an_uplink_has_one_place_in_a_team() {
    for (patch, field) in [
        ("{teaming: {active: [eth2, eth1, eth2]}}", "teaming.active"),
        ("{teaming: {standby: [eth2, eth2]}}", "teaming.standby"),
        (
            "{teaming: {active: [eth1, eth2], standby: [eth2]}}",
            "teaming.standby",
        ),
    ] {
        let error = refused(&team(), &set_group("Lab", patch));
        assert_eq!(
            error.to_string(),
            "port group Lab: eth2 is named twice, and an uplink is either active or standby"
        );
        assert_eq!(error.field().as_deref(), Some(field));
    }
}

#[test]
fn an_uplink_that_becomes_active_is_not_standby_any_more() {
    let order = |patch: &Change| {
        let (intent, _) = team().apply(patch).unwrap();
        let switch = &intent.vswitches.values().next().unwrap().spec;
        let group = &intent.portgroups.values().last().unwrap().spec;
        let own = |leaf: Option<String>| leaf.unwrap_or_default();
        [
            switch.teaming.active.to_string(),
            switch.teaming.standby.to_string(),
            own(group.teaming.active.own().map(ToString::to_string)),
            own(group.teaming.standby.own().map(ToString::to_string)),
        ]
    };
    let active = set_switch("{teaming: {active: [eth2]}}");
    assert_eq!(order(&active), ["eth2", "none", "eth3,eth2", ""]);
    let standby = set_switch("{teaming: {standby: [eth1, eth2]}}");
    assert_eq!(order(&standby), ["none", "eth1,eth2", "eth3,eth2", ""]);
    let standby = set_group("Web", "{teaming: {standby: [eth2]}}");
    assert_eq!(order(&standby), ["eth1", "eth2", "eth3", "eth2"]);
}

#[test]
fn a_team_by_iphash_has_no_standby_uplinks() {
    let refusal = |intent: &Intent, change: &Change| {
        let error = refused(intent, change);
        assert_eq!(error.field().as_deref(), Some("teaming.standby"));
        (error.to_string(), error.remedy())
    };
    let iphash = |object: &str, policy: &str, order: &str| {
        format!(
            "{object}: iphash takes no standby uplinks; the policy is that of {policy}, and eth2 is standby by {order}"
        )
    };
    let (group, switch) = ("port group Lab", "standard switch vSwitch1");
    let (text, remedy) = refusal(&team(), &set_switch("{teaming: {policy: iphash}}"));
    assert_eq!(text, iphash(switch, switch, switch));
    assert!(
        remedy.contains("'weft vswitch set vSwitch1 --standby none'"),
        "{remedy}"
    );
    let by_group = set_group("Lab", "{teaming: {policy: iphash}}");
    assert_eq!(refusal(&team(), &by_group).0, iphash(group, group, switch));

    // With an order of its own the port group may, and the switch may where no port group inherits.
    let own_order = set_group("Lab", "{teaming: {policy: iphash, active: [eth2, eth1]}}");
    let (intent, _) = team().apply(&own_order).unwrap();
    let back = set_group("Lab", "{teaming: {active: inherit}}");
    assert_eq!(refusal(&intent, &back).0, iphash(group, group, switch));
    let none = set_switch("{teaming: {active: all, standby: []}}");
    let (intent, _) = intent.apply(&none).unwrap();
    let (intent, _) = intent.apply(&back).unwrap();
    let again = set_switch("{teaming: {standby: [eth2]}}");
    assert_eq!(refusal(&intent, &again).0, iphash(switch, group, switch));
}

#[test]
fn an_uplink_that_a_team_names_stays() {
    let del = |uplink: &str| {
        let uplink = uplink.parse().unwrap();
        Change::DelUplink("vSwitch1".parse().unwrap(), uplink)
    };
    for (uplink, users) in [
        ("eth1", "standard switch vSwitch1"),
        ("eth2", "standard switch vSwitch1, port group Web"),
        ("eth3", "port group Web"),
    ] {
        let error = refused(&team(), &del(uplink));
        assert_eq!(
            error.to_string(),
            format!("standard switch vSwitch1: its uplink {uplink} is in the team of {users}")
        );
        assert_eq!(error.field().as_deref(), Some("uplinks"));
    }
    let (intent, _) = team()
        .apply(&set_group("Web", "{teaming: {active: inherit}}"))
        .unwrap();
    assert!(intent.apply(&del("eth3")).is_ok());
    let error = refused(&team(), &Change::DelVswitch("vSwitch1".parse().unwrap()));
    assert!(matches!(error, ModelError::InUse { .. }));
}

/// The active and standby uplinks in force on port A, and the objects that they come from.
fn order(intent: &Intent) -> (String, String, ObjectKind) {
    let policy = intent.effective_policy(&"A".parse().unwrap()).unwrap();
    let (active, standby) = (policy.teaming.active, policy.teaming.standby);
    assert_eq!(active.from, standby.from, "they are inherited together");
    (
        active.value.to_string(),
        standby.value.to_string(),
        active.from.kind,
    )
}

#[test]
fn the_order_of_uplinks_is_inherited_as_a_whole() {
    let (switch, group) = (ObjectKind::Vswitch, ObjectKind::Portgroup);
    let is = |active: &str, standby: &str, from| (active.to_owned(), standby.to_owned(), from);
    let with = |patch: &str| team().apply(&set_group("Lab", patch)).unwrap().0;
    assert_eq!(order(&team()), is("eth1", "eth2", switch));
    for (teaming, active, standby) in [
        ("active: [eth3]", "eth3", "none"),
        ("active: [eth3], standby: [eth1]", "eth3", "eth1"),
        ("standby: [eth3]", "eth1,eth2", "eth3"),
        ("standby: []", "eth1,eth2,eth3", "none"),
        ("active: []", "none", "none"),
        ("active: all", "eth1,eth2,eth3", "none"),
        ("active: all, standby: [eth1]", "eth2,eth3", "eth1"),
    ] {
        let intent = with(&format!("{{teaming: {{{teaming}}}}}"));
        assert_eq!(order(&intent), is(active, standby, group), "{teaming}");
    }
    let other_leaf = with("{teaming: {policy: lbt, failback: false}}");
    assert_eq!(order(&other_leaf), is("eth1", "eth2", switch));
    let all = set_switch("{teaming: {active: all}}");
    let (intent, _) = team().apply(&all).unwrap();
    assert_eq!(order(&intent), is("eth1,eth3", "eth2", switch));
}

/// Every leaf of a policy has its default on the switch, is set there, and again on the port group.
#[test]
fn every_leaf_comes_from_where_it_is_set() {
    let leaves = |intent: &Intent| {
        let policy = intent.effective_policy(&"A".parse().unwrap()).unwrap();
        let leaves = policy.leaves().into_iter().skip(5);
        leaves
            .map(|(name, leaf)| format!("{name} {} {}", leaf.value, leaf.from))
            .collect::<Vec<_>>()
    };
    let host = |of_switch: &str, of_group: &str| {
        made(&format!(
            "{{vswitches: [{{name: S, uplinks: [e1, e2], {of_switch} portgroups: [{{name: G, {of_group}}}]}}],
              ports: [{{name: A, portgroup: G, veth: a}}]}}"
        ))
    };
    let from = |object: &str, leaves: [(&str, &str); 16]| -> Vec<String> {
        let leaves = leaves.iter();
        leaves
            .map(|(name, value)| format!("{name} {value} {object}"))
            .collect()
    };
    let names = [
        "teaming.policy",
        "teaming.active",
        "teaming.standby",
        "teaming.failback",
        "teaming.notify",
        "teaming.upDelay",
        "teaming.lbtPeriod",
        "teaming.lbtThreshold",
        "shaping.in",
        "shaping.out",
        "macLearning.enabled",
        "macLearning.limit",
        "macLearning.beyond",
        "macLearning.flood",
        "macLearning.age",
        "bpduFilter",
    ];
    let valued = |values: [&'static str; 16]| {
        let mut index = 0;
        values.map(|value| {
            index += 1;
            (names[index - 1], value)
        })
    };
    let defaults = valued([
        "srcid", "e1,e2", "none", "yes", "yes", "100ms", "30s", "75", "off", "off", "no", "4096",
        "allow", "yes", "5m", "disabled",
    ]);
    assert_eq!(leaves(&host("", "")), from("standard switch S", defaults));
    let policies =
        "teaming: {policy: lbt, active: [e2], standby: [e1], failback: false, notify: false,
                upDelay: 2s, lbtPeriod: 10s, lbtThreshold: 90},
      shaping: {in: {average: 10mbit}, out: {average: 10mbit, peak: 20mbit, burst: 64KiB}},
      macLearning: {enabled: true, limit: 16, beyond: drop, flood: false, age: 60s},
      bpduFilter: enabled,";
    let set = valued([
        "lbt",
        "e2",
        "e1",
        "no",
        "no",
        "2s",
        "10s",
        "90",
        "avg=10mbit,peak=10mbit,burst=100MiB",
        "avg=10mbit,peak=20mbit,burst=64KiB",
        "yes",
        "16",
        "drop",
        "no",
        "1m",
        "enabled",
    ]);
    assert_eq!(leaves(&host(policies, "")), from("standard switch S", set));
    assert_eq!(leaves(&host("", policies)), from("port group G", set));
    // A default that a port group sets is set.
    let off = "teaming: {policy: srcid, active: all, failback: true, notify: true, upDelay: 100ms, lbtPeriod: 30s, lbtThreshold: 75},
      shaping: {in: off, out: 'off'},
      macLearning: {enabled: false, limit: 4096, beyond: allow, flood: true, age: 300s}, bpduFilter: disabled,";
    assert_eq!(leaves(&host(policies, off)), from("port group G", defaults));
}

#[test]
fn what_changes_is_said_in_words_of_the_command_line() {
    let told = |change: &Change| -> Vec<String> {
        let (_, outcome) = team().apply(change).unwrap();
        outcome.fields().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told(&set_switch(
            "{teaming: {active: all, failback: false, upDelay: 1000ms, lbtThreshold: 80},
              shaping: {in: {average: 8mbit}}, macLearning: {enabled: true, limit: 7}, bpduFilter: enabled}"
        )),
        [
            "bpduFilter disabled -> enabled",
            "macLearning.enabled no -> yes",
            "macLearning.limit 4096 -> 7",
            "shaping.in off -> avg=8mbit,peak=8mbit,burst=100MiB",
            "teaming.active eth1 -> all",
            "teaming.failback yes -> no",
            "teaming.lbtThreshold 75 -> 80",
            "teaming.upDelay 100ms -> 1s",
        ]
    );
    assert_eq!(
        told(&set_group(
            "Web",
            "{teaming: {active: inherit, notify: true}, shaping: {out: off}, macLearning: {beyond: drop}, bpduFilter: disabled}"
        )),
        [
            "bpduFilter inherit -> disabled",
            "macLearning.beyond inherit -> drop",
            "shaping.out inherit -> off",
            "teaming.active eth3,eth2 -> inherit",
            "teaming.notify inherit -> yes",
        ]
    );
    assert_eq!(
        told(&set_group("Web", "{teaming: {active: []}}")),
        ["teaming.active eth3,eth2 -> none"]
    );
    assert_eq!(
        told(&set_group(
            "Web",
            "{shaping: {in: {average: 8mbit, burst: 1MiB}}}"
        )),
        ["shaping.in inherit -> avg=8mbit,peak=8mbit,burst=1MiB"]
    );
    assert!(told(&set_switch("{teaming: {policy: explicit, failback: true}}")).is_empty());
}

#[test]
fn an_uplink_that_is_none_cannot_go() {
    let change = Change::DelUplink("vSwitch1".parse().unwrap(), "eth2".parse().unwrap());
    let error = refused(&host(), &change);
    assert_eq!(
        (error.to_string().as_str(), error.suggestion()),
        (
            "standard switch vSwitch1: eth2 is not one of its uplinks",
            Some("eth1")
        )
    );
    assert_eq!(error.remedy(), "the nearest of its uplinks is eth1");
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

#[test]
fn inheritance_goes_from_switch_to_port_group_leaf_by_leaf() {
    let decided = |intent: &Intent| {
        let policy = intent.effective_policy(&"MyVM1".parse().unwrap()).unwrap();
        [
            policy.promiscuous,
            policy.mac_changes,
            policy.forged_transmits,
        ]
        .map(|leaf| (leaf.value.to_string(), leaf.from.kind))
    };
    let (switch, group) = (ObjectKind::Vswitch, ObjectKind::Portgroup);
    let leaf = |value: &str, from| (value.to_owned(), from);
    let intent = host();
    assert_eq!(
        decided(&intent),
        [
            leaf("reject", switch),
            leaf("accept", switch),
            leaf("accept", switch)
        ]
    );

    let set = |promiscuous: &str| {
        let patch = format!("{{security: {{promiscuous: {promiscuous}}}}}");
        Change::SetVswitch(
            "vSwitch1".parse().unwrap(),
            weft_model::from_text::<VswitchPatch>(&patch).unwrap(),
        )
    };
    let (intent, _) = intent.apply(&set("accept")).unwrap();
    assert_eq!(decided(&intent)[0], leaf("accept", switch));

    let own = |leaf| PortgroupPatch {
        security: SecurityPatch {
            promiscuous: Some(leaf),
            ..SecurityPatch::default()
        },
        ..PortgroupPatch::default()
    };
    let set_group = |leaf| Change::SetPortgroup("Web".parse().unwrap(), own(leaf));
    let (intent, _) = intent.apply(&set_group(Inheritable::Reject)).unwrap();
    assert_eq!(decided(&intent)[0], leaf("reject", group));
    let (intent, outcome) = intent.apply(&set_group(Inheritable::Inherit)).unwrap();
    assert_eq!(decided(&intent)[0], leaf("accept", switch));
    assert_eq!(
        outcome.fields()[0].to_string(),
        "security.promiscuous reject -> inherit"
    );
}

fn add_vmk(text: &str) -> Change {
    Change::AddVmk(weft_model::from_text(text).unwrap())
}

#[test]
fn the_hosts_own_interfaces_keep_their_rules() {
    let (host, _) = host()
        .apply(&add_vmk("{name: vmk0, portgroup: Web, ip: 10.0.0.11/24}"))
        .unwrap();
    let error = refused(
        &host,
        &add_vmk("{name: vmk1, portgroup: Mail, ip: 10.0.0.11/16}"),
    );
    assert_eq!(
        error.to_string(),
        "vmk vmk1: vmk vmk0 has the address 10.0.0.11 already"
    );
    assert_eq!(error.field().as_deref(), Some("ip"));
    let error = refused(&host, &add_vmk("{name: vmk1, portgroup: Mail, mtu: 9000}"));
    assert_eq!(
        error.to_string(),
        "vmk vmk1: MTU 9000 is larger than that of standard switch vSwitch1, 1500"
    );
    assert_eq!(
        error.remedy(),
        "use at most 1500, or first run 'weft vswitch set vSwitch1 --mtu 9000'"
    );
    let (with_mtu, _) = host
        .apply(&add_vmk("{name: vmk1, portgroup: Mail, mtu: 1400}"))
        .unwrap();
    let smaller = weft_model::from_text("{mtu: 1300}").unwrap();
    let smaller = Change::SetVswitch("vSwitch1".parse().unwrap(), smaller);
    let error = refused(&with_mtu, &smaller);
    assert_eq!(
        error.to_string(),
        "standard switch vSwitch1: MTU 1300 is smaller than that of vmk vmk1, 1400"
    );
    assert_eq!(error.remedy(), "first run 'weft vmk set vmk1 --mtu 1300'");
    for (change, refusal, remedy) in [
        (
            add_vmk("{name: MyVM1, portgroup: Web}"),
            "vmk MyVM1: port MyVM1 has this name",
            "choose another name for the vmk",
        ),
        (
            add_port("{name: vmk0, portgroup: Web, veth: a}"),
            "port vmk0: vmk vmk0 has this name",
            "choose another name for the port",
        ),
    ] {
        let error = refused(&host, &change);
        assert_eq!(error.to_string(), refusal);
        assert_eq!(error.remedy(), remedy);
    }
    let error = refused(&host, &Change::DelPort("vmk0".parse().unwrap()));
    assert_eq!(error.remedy(), "run 'weft vmk del vmk0'");
    let error = refused(&host, &Change::DelVmk("vmk1".parse().unwrap()));
    assert_eq!(error.to_string(), "vmk vmk1 does not exist");
    let error = refused(&host, &Change::DelVmk("MyVM1".parse().unwrap()));
    assert_eq!(error.to_string(), "vmk MyVM1 does not exist");
    let error = refused(&host, &add_port("{name: A, portgroup: Web, veth: vmk0}"));
    assert_eq!(
        error.to_string(),
        "port A: interface vmk0 is used by vmk vmk0"
    );
    let error = refused(
        &host,
        &add_vmk("{name: vmk0, portgroup: Web, ip: 10.0.0.12/24}"),
    );
    assert_eq!(
        error.to_string(),
        "vmk vmk0 exists already with other settings: ip 10.0.0.11/24 -> 10.0.0.12/24"
    );
    assert!(
        error
            .remedy()
            .starts_with("change it with 'weft vmk set vmk0'")
    );
}

#[test]
fn settings_of_the_hosts_own_interface_change_one_by_one() {
    let (host, _) = host()
        .apply(&add_vmk(
            "{name: vmk0, portgroup: Web, ip: 10.0.0.11/24, mtu: 1400}",
        ))
        .unwrap();
    let patch: VmkPatch = weft_model::from_text("{ip: null, mtu: null, portgroup: Mail}").unwrap();
    let (host, outcome) = host
        .apply(&Change::SetVmk("vmk0".parse().unwrap(), patch))
        .unwrap();
    let fields: Vec<_> = outcome.fields().iter().map(ToString::to_string).collect();
    assert_eq!(
        fields,
        [
            "ip 10.0.0.11/24 -> none",
            "mtu 1400 -> as its switch",
            "portgroup Web -> Mail"
        ]
    );
    assert!(host.apply(&Change::DelVmk("vmk0".parse().unwrap())).is_ok());
}
