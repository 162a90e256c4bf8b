//! Teams: uplinks that may be in them, and where their order comes from.

use weft_model::{Change, Intent, ModelError, ObjectKind};

use super::{host, made, refused, set_group, set_switch};

/// A switch with two uplinks and a team that names them, and a port group that inherits it.
pub(super) fn team() -> Intent {
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
