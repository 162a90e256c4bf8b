//! Any sequence of changes leaves a configuration that keeps its rules, survives export, and compiles the same way
//! every time.

use proptest::prelude::*;
use weft_datapath::{Config, PortId, SwitchId, TeamId, TeamPolicy};
use weft_model::{
    Change, IdPool, Intent, Manifest, Outcome, PortKey, PortPatch, PortSpec, PortgroupPatch,
    PortgroupSpec, Realisation, Realised, Shaping, Toggle, VswitchPatch, VswitchSpec, compile,
};

fn switch() -> impl Strategy<Value = String> {
    (0..3u8).prop_map(|number| format!("vSwitch{number}"))
}

fn group() -> impl Strategy<Value = String> {
    (0..4u8).prop_map(|number| format!("Group {number}"))
}

fn port() -> impl Strategy<Value = String> {
    (0..6u8).prop_map(|number| format!("VM{number}"))
}

fn interface() -> impl Strategy<Value = String> {
    (0..8u8).prop_map(|number| format!("eth{number}"))
}

fn vlan() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(10), Just(20), Just(4095)]
}

fn mac() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        (0..4u8).prop_map(|last| Some(format!("02:00:00:00:00:0{last}")))
    ]
}

/// Some leaves of the policies, as a patch of a port group or else of a switch.
fn policies(inherit: bool) -> impl Strategy<Value = String> {
    let words = |words: &'static [&'static str]| {
        let words = words.iter().map(|word| (*word).to_owned());
        let words: Vec<_> = words.chain(inherit.then(|| "inherit".to_owned())).collect();
        prop::option::of(prop::sample::select(words))
    };
    let teaming = (
        words(&["srcid", "srcmac", "iphash", "explicit", "lbt"]),
        words(&["all", "[]", "[eth0]", "[eth1, eth0]", "[eth2]"]),
        words(&["[]", "[eth1]", "[eth2, eth3]"]),
        words(&["true", "false"]),
        words(&["true", "false"]),
        words(&["0ms", "100ms", "1s", "30m"]),
        words(&["30s", "10m"]),
        words(&["1", "75"]),
    );
    let limit = [
        "off",
        "{average: 10mbit}",
        "{average: 1gbit, peak: 2gbit, burst: 64KiB}",
    ];
    let limit: &'static [&'static str] = Box::leak(Box::new(limit));
    let others = (
        words(limit),
        words(limit),
        words(&["true", "false"]),
        words(&["1", "4096"]),
        words(&["allow", "drop"]),
        words(&["true", "false"]),
        words(&["60s", "300s"]),
        (
            words(&["enabled", "disabled"]),
            words(&["enabled", "disabled"]),
        ),
    );
    (teaming, others).prop_map(|(teaming, others)| {
        let fields = |fields: &[(&str, Option<String>)]| {
            let set = fields.iter();
            let set = set.filter_map(|(name, value)| Some(format!("{name}: {}", value.as_ref()?)));
            set.collect::<Vec<_>>().join(", ")
        };
        let (policy, active, standby, failback, notify, up_delay, period, threshold) = teaming;
        let (ingress, egress, enabled, limit, beyond, flood, age, toggles) = others;
        let teaming = fields(&[
            ("policy", policy),
            ("active", active),
            ("standby", standby),
            ("failback", failback),
            ("notify", notify),
            ("upDelay", up_delay),
            ("lbtPeriod", period),
            ("lbtThreshold", threshold),
        ]);
        let shaping = fields(&[("in", ingress), ("out", egress)]);
        let learning = fields(&[
            ("enabled", enabled),
            ("limit", limit),
            ("beyond", beyond),
            ("flood", flood),
            ("age", age),
        ]);
        let (filter, netflow) = toggles;
        let toggles = fields(&[("bpduFilter", filter), ("netflow", netflow)]);
        format!(
            "{{teaming: {{{teaming}}}, shaping: {{{shaping}}}, macLearning: {{{learning}}}, {toggles}}}"
        )
    })
}

fn change() -> impl Strategy<Value = Change> {
    let decision = prop_oneof![Just("accept"), Just("reject"), Just("inherit")];
    prop_oneof![
        switch().prop_map(|name| Change::AddVswitch(VswitchSpec::new(name.parse().unwrap()))),
        switch().prop_map(|name| Change::DelVswitch(name.parse().unwrap())),
        (switch(), 1280..9001u64).prop_map(|(name, mtu)| {
            let patch = VswitchPatch {
                mtu: Some(mtu.try_into().unwrap()),
                ..VswitchPatch::default()
            };
            Change::SetVswitch(name.parse().unwrap(), patch)
        }),
        (group(), switch(), vlan()).prop_map(|(name, switch, vlan)| {
            let mut spec = PortgroupSpec::new(name.parse().unwrap(), switch.parse().unwrap());
            spec.vlan = vlan.to_string().parse().unwrap();
            Change::AddPortgroup(spec)
        }),
        group().prop_map(|name| Change::DelPortgroup(name.parse().unwrap())),
        (group(), vlan(), decision).prop_map(|(name, vlan, decision)| {
            let text = format!("{{vlan: {vlan}, security: {{promiscuous: {decision}}}}}");
            Change::SetPortgroup(
                name.parse().unwrap(),
                weft_model::from_text::<PortgroupPatch>(&text).unwrap(),
            )
        }),
        (port(), group(), interface(), mac()).prop_map(|(name, group, interface, mac)| {
            let mut spec = PortSpec::veth(
                name.parse().unwrap(),
                group.parse().unwrap(),
                interface.parse().unwrap(),
            );
            spec.mac = mac.map(|mac| mac.parse().unwrap());
            Change::AddPort(spec)
        }),
        port().prop_map(|name| Change::DelPort(name.parse().unwrap())),
        (port(), group(), mac(), any::<bool>()).prop_map(|(name, group, mac, block)| {
            let patch = PortPatch {
                portgroup: Some(group.parse().unwrap()),
                mac: Some(mac.map(|mac| mac.parse().unwrap())),
                block: Some(block),
                ..PortPatch::default()
            };
            Change::SetPort(name.parse().unwrap(), patch)
        }),
        (switch(), policies(false)).prop_map(|(name, policies)| {
            Change::SetVswitch(
                name.parse().unwrap(),
                weft_model::from_text::<VswitchPatch>(&policies).unwrap(),
            )
        }),
        (group(), policies(true)).prop_map(|(name, policies)| {
            Change::SetPortgroup(
                name.parse().unwrap(),
                weft_model::from_text::<PortgroupPatch>(&policies).unwrap(),
            )
        }),
        (switch(), interface()).prop_map(|(switch, interface)| {
            Change::AddUplink(switch.parse().unwrap(), interface.parse().unwrap())
        }),
        // Those that teams name.
        (0..3u8).prop_map(|uplink| {
            let uplink = format!("eth{uplink}");
            Change::AddUplink("vSwitch1".parse().unwrap(), uplink.parse().unwrap())
        }),
        (
            switch(),
            1..4u16,
            prop::sample::select(vec!["ipfix", "9", "5"])
        )
            .prop_map(|(switch, port, version)| {
                let patch = format!("{{collectors: ['10.8.0.9:{port}'], version: {version}}}");
                let patch = weft_model::from_text(&patch).unwrap();
                Change::SetNetflow(switch.parse().unwrap(), patch)
            }),
        (switch(), 16_380..16_385u16).prop_map(|(switch, sampling)| {
            let patch = weft_model::from_text(&format!("sampling: {sampling}")).unwrap();
            Change::SetNetflow(switch.parse().unwrap(), patch)
        }),
        switch().prop_map(|name| Change::DelNetflow(name.parse().unwrap())),
        (switch(), interface()).prop_map(|(switch, interface)| {
            Change::DelUplink(switch.parse().unwrap(), interface.parse().unwrap())
        }),
    ]
}

/// Numbers for everything, all of it up.
fn realise(intent: &Intent) -> Realisation {
    let mut switches = IdPool::new(64);
    let mut ports = IdPool::new(64);
    for name in intent.vswitches.keys() {
        switches.hold(name.clone()).unwrap();
    }
    let uplinks = intent
        .uplinks()
        .map(|(_, interface)| PortKey::Uplink(interface.clone()));
    for key in intent
        .ports
        .keys()
        .cloned()
        .map(PortKey::Port)
        .chain(uplinks)
    {
        ports.hold(key).unwrap();
    }
    Realisation {
        switches: switches
            .iter()
            .map(|(name, id)| (name.clone(), SwitchId(id)))
            .collect(),
        ports: ports
            .iter()
            .map(|(key, id)| {
                (
                    key.clone(),
                    Realised {
                        id: PortId(id),
                        up: true,
                        taken: None,
                    },
                )
            })
            .collect(),
    }
}

/// Every port leaves its host by the uplinks that its policy has in force, and equal teams are one.
fn teams_are_those_of_the_policies(intent: &Intent, config: &Config) -> Result<(), TestCaseError> {
    let realisation = realise(intent);
    for (index, team) in config.teams.iter().enumerate() {
        let id = TeamId(u16::try_from(index).unwrap());
        prop_assert!(
            !config.teams[..index].contains(team),
            "a team is there once"
        );
        prop_assert!(
            config.ports.iter().any(|port| port.team == Some(id)),
            "nobody uses it"
        );
    }
    for (name, port) in &intent.ports {
        let number = realisation.ports[&PortKey::Port(name.clone())].id;
        let found = config.ports.iter().find(|port| port.id == number).unwrap();
        let policy = intent.effective_policy(name).unwrap();
        let group = &intent.portgroup(&port.spec.portgroup).unwrap().spec;
        let uplinks = &intent.vswitch(&group.vswitch).unwrap().spec.uplinks;
        prop_assert_eq!(found.team.is_some(), !uplinks.is_empty());
        if let Some(team) = found
            .team
            .map(|TeamId(index)| &config.teams[usize::from(index)])
        {
            let numbers = |text: String| -> Vec<PortId> {
                let names = text.split(',').filter(|name| *name != "none");
                let key = |name: &str| PortKey::Uplink(name.parse().unwrap());
                names.map(|name| realisation.ports[&key(name)].id).collect()
            };
            prop_assert_eq!(team.switch, found.switch);
            prop_assert_eq!(
                &team.active,
                &numbers(policy.teaming.active.value.to_string())
            );
            prop_assert_eq!(
                &team.standby,
                &numbers(policy.teaming.standby.value.to_string())
            );
            prop_assert!(
                team.active
                    .iter()
                    .all(|uplink| !team.standby.contains(uplink))
            );
            prop_assert!(team.policy != TeamPolicy::IpHash || team.standby.is_empty());
            prop_assert_eq!(team.failback, policy.teaming.failback.value.0);
            prop_assert_eq!(team.notify, policy.teaming.notify.value.0);
            prop_assert_eq!(team.up_delay, policy.teaming.up_delay.value.duration());
        }
        let learning = policy.mac_learning.enabled.value.0;
        prop_assert_eq!(found.learning.is_some(), learning);
        let shaped = [policy.shaping.ingress.value, policy.shaping.egress.value];
        let shaped = shaped.map(|limit| limit != Shaping::Off);
        prop_assert_eq!(
            [found.shape_in.is_some(), found.shape_out.is_some()],
            shaped
        );
        prop_assert_eq!(found.metered, policy.netflow.value == Toggle::Enabled);
        let meter = config.switches.iter().find(|one| one.id == found.switch);
        prop_assert!(!found.metered || meter.unwrap().meter.is_some());
        prop_assert_eq!(
            found.bpdu_filter,
            policy.bpdu_filter.value == Toggle::Enabled
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn rules_hold_after_every_change(changes in prop::collection::vec(change(), 0..60)) {
        let mut intent = Intent::default();
        for change in &changes {
            let Ok((next, outcome)) = intent.apply(change) else { continue };
            prop_assert!(next.check().is_ok());
            prop_assert_eq!(outcome == Outcome::Unchanged, next == intent);
            prop_assert!(outcome == Outcome::Unchanged || next.revision > intent.revision);
            if !matches!(outcome, Outcome::Deleted) && !matches!(change, Change::DelUplink(..)) {
                prop_assert_eq!(next.apply(change).unwrap().1, Outcome::Unchanged, "a change twice is one change");
            }
            intent = next;
        }

        let exported = Manifest::export(&intent);
        let read = Manifest::parse(&exported.to_yaml()).unwrap();
        prop_assert_eq!(&read, &exported);
        let again = read.changes().iter().fold(Intent::default(), |made, change| made.apply(change).unwrap().0);
        prop_assert_eq!(Manifest::export(&again).to_yaml(), exported.to_yaml());
        for change in read.changes() {
            prop_assert_eq!(intent.apply(&change).unwrap().1, Outcome::Unchanged);
        }

        let stored: Intent = serde_json::from_str(&serde_json::to_string(&intent).unwrap()).unwrap();
        prop_assert_eq!(&stored, &intent);
        let config = compile(&intent, &realise(&intent));
        prop_assert_eq!(&config, &compile(&stored, &realise(&stored)));
        prop_assert_eq!(config.ports.len(), intent.ports.len() + intent.uplinks().count());
        prop_assert!(config.ports.is_sorted_by_key(|port| port.id));
        teams_are_those_of_the_policies(&intent, &config)?;
    }

    /// Whatever stands there, and however it is held, a manifest leads to what it says, in one step; what it does not touch
    /// stays the same object.
    #[test]
    fn a_manifest_leads_from_anywhere_to_what_it_says(
        one in prop::collection::vec(change(), 0..60),
        other in prop::collection::vec(change(), 0..60),
    ) {
        let made = |changes: &[Change]| {
            let step = |intent: Intent, change| intent.apply(change).map_or(intent, |(next, _)| next);
            changes.iter().fold(Intent::default(), step)
        };
        let (here, there) = (made(&one), made(&other));
        let manifest = Manifest::export(&there);
        let (arrived, outcomes) = here.transact(&manifest.plan(&here).unwrap()).unwrap();
        prop_assert_eq!(&Manifest::export(&arrived), &manifest);
        prop_assert!(arrived.check().is_ok());
        prop_assert_eq!(outcomes.iter().all(|outcome| *outcome == Outcome::Unchanged), arrived == here);
        for (name, port) in &here.ports {
            let same = arrived.ports.get(name).filter(|after| after.spec == port.spec);
            prop_assert!(same.is_none_or(|after| after == port));
        }
        let again = arrived.transact(&manifest.plan(&arrived).unwrap()).unwrap();
        prop_assert_eq!(again.0, arrived, "a manifest twice is a manifest once");

        let (kept, _) = here.transact(&Manifest::default().plan(&here).unwrap()).unwrap();
        prop_assert_eq!(kept, here, "a manifest without sections says nothing");
    }
}
