//! Policies: where each leaf comes from, and what a change of one is called.

use weft_model::{
    Change, Inheritable, Intent, ObjectKind, PortgroupPatch, SecurityPatch, VswitchPatch,
};

use super::teams::team;
use super::{host, made, set_group, set_switch};

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
              ports: [{{name: A, portgroup: G, veth: a}}],
              netflow: [{{vswitch: S, collectors: ['10.8.0.9:2055']}}]}}"
        ))
    };
    let from = |object: &str, leaves: [(&str, &str); 17]| -> Vec<String> {
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
        "netflow",
    ];
    let valued = |values: [&'static str; 17]| {
        let mut index = 0;
        values.map(|value| {
            index += 1;
            (names[index - 1], value)
        })
    };
    let defaults = valued([
        "srcid", "e1,e2", "none", "yes", "yes", "100ms", "30s", "75", "off", "off", "no", "4096",
        "allow", "yes", "5m", "disabled", "disabled",
    ]);
    assert_eq!(leaves(&host("", "")), from("standard switch S", defaults));
    let policies =
        "teaming: {policy: lbt, active: [e2], standby: [e1], failback: false, notify: false,
                upDelay: 2s, lbtPeriod: 10s, lbtThreshold: 90},
      shaping: {in: {average: 10mbit}, out: {average: 10mbit, peak: 20mbit, burst: 64KiB}},
      macLearning: {enabled: true, limit: 16, beyond: drop, flood: false, age: 60s},
      bpduFilter: enabled, netflow: enabled,";
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
        "enabled",
    ]);
    assert_eq!(leaves(&host(policies, "")), from("standard switch S", set));
    assert_eq!(leaves(&host("", policies)), from("port group G", set));
    // A default that a port group sets is set.
    let off = "teaming: {policy: srcid, active: all, failback: true, notify: true, upDelay: 100ms, lbtPeriod: 30s, lbtThreshold: 75},
      shaping: {in: off, out: 'off'},
      macLearning: {enabled: false, limit: 4096, beyond: allow, flood: true, age: 300s}, bpduFilter: disabled, netflow: disabled,";
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
