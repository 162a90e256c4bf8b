//! NetFlow: what is refused, what is inherited, what the data path and the exporter are told.

use std::time::Duration;

use weft_datapath::{Config, MeterConfig, PortId, SwitchId};
use weft_model::{
    Change, Intent, Manifest, ModelError, NetflowPatch, ObjectKind, ObjectRef, Outcome, PortKey,
    PortgroupPatch, Realisation, Realised, ResourceVersion, VswitchName, VswitchPatch, compile,
    netflow_exports,
};

/// A switch with a collector and one without, and a port on each of their port groups.
const HOST: &str = "
vswitches:
  - {name: S, uplinks: [eth1], portgroups: [{name: Lab, netflow: enabled}, {name: Web}]}
  - {name: T, portgroups: [{name: Mail}]}
ports:
  - {name: a, portgroup: Lab, veth: a}
  - {name: b, portgroup: Web, veth: b}
  - {name: c, portgroup: Mail, veth: c}
netflow: [{vswitch: S, collectors: ['10.8.0.9:2055']}]
";

fn host() -> Intent {
    applied(&Intent::default(), HOST)
}

fn applied(host: &Intent, text: &str) -> Intent {
    let manifest = Manifest::parse(text).unwrap();
    host.transact(&manifest.plan(host).unwrap()).unwrap().0
}

fn name(switch: &str) -> VswitchName {
    switch.parse().unwrap()
}

fn set(switch: &str, patch: &str) -> Change {
    let patch = weft_model::from_text::<NetflowPatch>(patch).unwrap();
    Change::SetNetflow(name(switch), patch)
}

fn set_group(group: &str, netflow: &str) -> Change {
    let patch = weft_model::from_text::<PortgroupPatch>(&format!("netflow: {netflow}")).unwrap();
    Change::SetPortgroup(group.parse().unwrap(), patch)
}

fn set_switch(switch: &str, netflow: &str) -> Change {
    let patch = weft_model::from_text::<VswitchPatch>(&format!("netflow: {netflow}")).unwrap();
    Change::SetVswitch(name(switch), patch)
}

fn del(switch: &str) -> Change {
    Change::DelNetflow(name(switch))
}

/// What an error says of its object, its field, what is wrong and what to do.
fn said(error: &ModelError) -> (String, Option<String>, String) {
    (error.to_string(), error.field(), error.remedy())
}

fn refused(intent: &Intent, change: &Change) -> (String, Option<String>, String) {
    said(&intent.apply(change).expect_err("the change is refused"))
}

fn told(intent: &Intent, change: &Change) -> Vec<String> {
    let (_, outcome) = intent.apply(change).unwrap();
    outcome.fields().iter().map(ToString::to_string).collect()
}

#[test]
fn a_collector_makes_it_and_settings_change_one_by_one() {
    let make = set("T", "{collectors: ['10.8.0.9:2055'], sampling: 100}");
    let (host, outcome) = host().apply(&make).unwrap();
    assert_eq!(outcome, Outcome::Created);
    assert_eq!(make.object(), ObjectRef::new(ObjectKind::Netflow, "T"));
    let again = host.apply(&make).unwrap();
    assert_eq!(again, (host.clone(), Outcome::Unchanged));
    assert_eq!(
        told(
            &host,
            &set(
                "T",
                "{collectors: ['[fd00::9]:1', '10.8.0.9:1'], version: 9, active: 30s, idle: 1s, sampling: 0, domain: 7,
                  internalOnly: true, direction: in, flows: 1000}"
            )
        ),
        [
            "active 1m -> 30s",
            "collectors 10.8.0.9:2055 -> [fd00::9]:1,10.8.0.9:1",
            "direction both -> in",
            "domain auto -> 7",
            "flows 65536 -> 1000",
            "idle 15s -> 1s",
            "internalOnly no -> yes",
            "sampling 100 -> 0",
            "version ipfix -> 9",
        ]
    );
    let source = set("T", "{sourceIp: 10.8.0.1, domain: 4294967295}");
    let (host, _) = host.apply(&source).unwrap();
    assert_eq!(
        told(&host, &set("T", "{sourceIp: null, domain: null}")),
        ["domain 4294967295 -> auto", "sourceIp 10.8.0.1 -> none"]
    );
    assert!(told(&host, &set("T", "{}")).is_empty());
}

#[test]
fn what_is_not_there_is_not_found() {
    let make = "weft netflow set T --collector ADDR:PORT";
    assert_eq!(
        refused(&host(), &set("T", "{active: 30s}")),
        (
            "netflow T does not exist".to_owned(),
            None,
            format!("make it with '{make}'")
        )
    );
    for change in [
        set("s", "{collectors: ['10.8.0.9:2055']}"),
        set("s", "{active: 30s}"),
    ] {
        assert_eq!(
            refused(&host(), &change),
            (
                "standard switch s does not exist".to_owned(),
                None,
                "did you mean S?".to_owned()
            )
        );
    }
    let error = host().apply(&del("T")).unwrap_err();
    assert!(matches!(error, ModelError::NothingToDelete { .. }));
    assert_eq!(error.remedy(), "see 'weft netflow list'");
    let manifest =
        Manifest::parse("netflow: [{vswitch: U, collectors: ['10.8.0.9:2055']}]").unwrap();
    let error = host()
        .transact(&manifest.plan(&host()).unwrap())
        .unwrap_err();
    assert_eq!(
        said(&error),
        (
            "netflow U: standard switch U does not exist".to_owned(),
            Some("vswitch".to_owned()),
            "did you mean S?".to_owned()
        )
    );
}

#[test]
fn a_port_group_has_it_enabled_only_with_a_collector() {
    let no_collector = |object: &str| {
        (
            format!("{object}: flows are to be told, and standard switch T has no collector"),
            Some("netflow".to_owned()),
            "first run 'weft netflow set T --collector ADDR:PORT'".to_owned(),
        )
    };
    let group = "port group Mail";
    assert_eq!(
        refused(&host(), &set_group("Mail", "enabled")),
        no_collector(group)
    );
    assert_eq!(
        refused(&host(), &set_switch("T", "enabled")),
        no_collector("standard switch T")
    );
    // What a switch without port groups that follow it would have is nothing yet.
    let (own, _) = host().apply(&set_group("Mail", "disabled")).unwrap();
    let (default, _) = own.apply(&set_switch("T", "enabled")).unwrap();
    assert_eq!(
        refused(&default, &set_group("Mail", "inherit")),
        no_collector(group)
    );
    let new = weft_model::from_text("{name: New, vswitch: T}").unwrap();
    assert_eq!(
        refused(&default, &Change::AddPortgroup(new)),
        no_collector("port group New")
    );
    let together = [
        set_group("Mail", "enabled"),
        set("T", "{collectors: ['10.8.0.9:2055']}"),
    ];
    assert!(host().transact(&together).is_ok(), "in either order");
}

#[test]
fn it_stays_while_somebody_has_it_enabled() {
    let in_use = |users: &str, commands: &str| {
        (
            format!("netflow S is in use by {users}"),
            None,
            format!("first run {commands}"),
        )
    };
    assert_eq!(
        refused(&host(), &del("S")),
        in_use(
            "port group Lab",
            "'weft portgroup set Lab --netflow disabled'"
        )
    );
    let (all, _) = host().apply(&set_switch("S", "enabled")).unwrap();
    let group = weft_model::from_text("{name: VM Network, vswitch: S, netflow: enabled}").unwrap();
    let (all, _) = all.apply(&Change::AddPortgroup(group)).unwrap();
    assert_eq!(
        refused(&all, &del("S")),
        in_use(
            "port group Lab, port group VM Network, standard switch S",
            "'weft portgroup set Lab \"VM Network\" --netflow disabled' and 'weft vswitch set S --netflow disabled'"
        )
    );
    let (none, _) = host().apply(&set_group("Lab", "inherit")).unwrap();
    let (none, outcome) = none.apply(&del("S")).unwrap();
    assert_eq!((outcome, none.netflow.len()), (Outcome::Deleted, 0));
    // With the switch goes its NetFlow.
    let gone = "vswitches: [{name: T, portgroups: [{name: Mail}]}]\nports: [{name: c, portgroup: Mail, veth: c}]";
    assert!(applied(&host(), gone).netflow.is_empty());
}

#[test]
fn what_the_format_and_the_addresses_cannot_is_refused() {
    assert_eq!(
        refused(&host(), &set("S", "{version: 5, sampling: 16384}")),
        (
            "netflow S: 16384 is out of range; version 5 tells up to 16383".to_owned(),
            Some("sampling".to_owned()),
            "use 0-16383, or another version".to_owned()
        )
    );
    for fits in [
        "{version: 5, sampling: 16383}",
        "{version: 9, sampling: 16384}",
    ] {
        assert!(host().apply(&set("S", fits)).is_ok(), "{fits}");
    }
    let both = "{collectors: ['10.8.0.9:2055', '[fd00::9]:2055']";
    for (source, other) in [("10.8.0.1", "[fd00::9]:2055"), ("fd00::1", "10.8.0.9:2055")] {
        assert_eq!(
            refused(&host(), &set("S", &format!("{both}, sourceIp: '{source}'}}"))),
            (
                format!(
                    "netflow S: {source} cannot send to collector {other}: one is IPv4 and the other IPv6"
                ),
                Some("sourceIp".to_owned()),
                "use a source of the collectors' family, or none with 'weft netflow set S --source-ip none'"
                    .to_owned()
            )
        );
    }
}

/// What is wrong with the NetFlow of a switch on a host of this name, which is the one that changed.
fn refused_on(
    name: &str,
    host: &Intent,
    changed: &str,
) -> Option<(String, Option<String>, String)> {
    let changed = [ObjectRef::netflow_of(&changed.parse().unwrap())];
    let checked = host.check_on(&name.parse().unwrap(), &changed);
    checked.err().map(|error| said(&error))
}

#[test]
fn two_switches_with_one_domain_have_no_collector_in_common() {
    let one = "{domain: 7, collectors: ['10.8.0.9:2055', '10.8.0.9:2056']}";
    let (host, _) = host().apply(&set("S", one)).unwrap();
    let with = |patch: &str| host.apply(&set("T", patch)).unwrap().0;
    let other = with("{domain: 7, collectors: ['10.8.0.8:2055', '10.8.0.9:2056']}");
    // The one that was changed is the one that is refused.
    for (changed, holder) in [("T", "S"), ("S", "T")] {
        let reason = format!(
            "netflow {changed}: 7 is also that of netflow {holder}, and collector 10.8.0.9:2056 is told by both"
        );
        let remedy = format!("name another with 'weft netflow set {changed} --domain N'");
        let expected = (reason, Some("domain".to_owned()), remedy);
        assert_eq!(refused_on("h", &other, changed), Some(expected));
    }
    for fits in [
        "{domain: 7, collectors: ['10.8.0.8:2055', '10.8.0.9:2057']}",
        "{domain: 8, collectors: ['10.8.0.9:2056']}",
        "{domain: 7, version: 9, collectors: ['10.8.0.9:2056']}",
        "{collectors: ['10.8.0.9:2056']}",
    ] {
        assert_eq!(refused_on("h", &with(fits), "T"), None, "{fits}");
    }
    // One that is set may be the one that follows from the names of another.
    let exports = netflow_exports(&"h".parse().unwrap(), &host_of_two(), &numbered());
    let of_names = exports[1].domain;
    let same = format!("{{domain: {of_names}, collectors: ['10.8.0.9:2055']}}");
    let (same, _) = host_of_two().apply(&set("S", &same)).unwrap();
    assert!(refused_on("h", &same, "S").is_some());
    assert_eq!(refused_on("i", &same, "S"), None);
}

/// A host both of whose switches tell one collector.
fn host_of_two() -> Intent {
    let make = set("T", "{collectors: ['10.8.0.9:2055']}");
    host().apply(&make).unwrap().0
}

fn numbered() -> Realisation {
    let numbers = [(name("S"), SwitchId(0)), (name("T"), SwitchId(1))];
    Realisation {
        switches: numbers.into(),
        ..Realisation::default()
    }
}

/// Version 5 tells eight bits of a domain, be it set or not.
#[test]
fn domains_that_version_5_does_not_tell_apart_are_one() {
    let both = |one: &str, other: &str| {
        let set = |switch, domain: &str| {
            let patch = format!("{{version: 5, collectors: ['10.8.0.9:2056']{domain}}}");
            set(switch, &patch)
        };
        let (host, _) = host().apply(&set("S", one)).unwrap();
        host.apply(&set("T", other)).unwrap().0
    };
    let refused = refused_on("h", &both(", domain: 7", ", domain: 263"), "T");
    let (reason, ..) = refused.expect("7 and 263 are told as 7");
    assert_eq!(
        reason,
        "netflow T: 7, which is what version 5 tells of it, is also that of netflow S, and collector 10.8.0.9:2056 is told by both"
    );
    assert_eq!(
        refused_on("h", &both(", domain: 7", ", domain: 264"), "T"),
        None
    );
    // Both of their names stand for one that ends in these eight bits.
    let text = "
vswitches: [{name: vSwitch6}, {name: vSwitch10}]
netflow:
  - {vswitch: vSwitch6, version: 5, collectors: ['10.8.0.9:2055']}
  - {vswitch: vSwitch10, version: 5, collectors: ['10.8.0.9:2055']}
";
    let alike = applied(&Intent::default(), text);
    let (reason, ..) = refused_on("esxi23", &alike, "vSwitch10").expect("both are told as 123");
    assert!(reason.starts_with("netflow vSwitch10: 123, "), "{reason}");
    assert_eq!(refused_on("esxi24", &alike, "vSwitch10"), None);
}

#[test]
fn a_stale_write_is_a_conflict() {
    let host = host();
    let change = set("S", "{sampling: 10}");
    let read = host.version_of(&change.object()).unwrap();
    let (after, _) = host.apply(&change).unwrap();
    let error = after.expect_version(&change.object(), read).unwrap_err();
    assert!(
        error.to_string().starts_with("netflow S has changed"),
        "{error}"
    );
    let now = ResourceVersion(after.revision);
    assert!(after.expect_version(&change.object(), now).is_ok());
    let fields = after.differing_from(&host, &change.object());
    assert_eq!(fields[0].to_string(), "sampling 0 -> 10");
}

#[test]
fn a_port_has_it_from_its_port_group_or_else_from_its_switch() {
    let decided = |intent: &Intent, port: &str| {
        let policy = intent.effective_policy(&port.parse().unwrap()).unwrap();
        let (leaf, decided) = policy.leaves().pop().unwrap();
        format!("{leaf} {} by {}", decided.value, decided.from)
    };
    assert_eq!(decided(&host(), "a"), "netflow enabled by port group Lab");
    assert_eq!(
        decided(&host(), "b"),
        "netflow disabled by standard switch S"
    );
    let (all, _) = host().apply(&set_switch("S", "enabled")).unwrap();
    assert_eq!(decided(&all, "b"), "netflow enabled by standard switch S");
    let (none, _) = all.apply(&set_group("Lab", "disabled")).unwrap();
    assert_eq!(decided(&none, "a"), "netflow disabled by port group Lab");
    assert_eq!(
        told(&host(), &set_group("Lab", "inherit")),
        ["netflow enabled -> inherit"]
    );
}

/// Switch S is number 3 and T 4; ports a to c are 0 to 2, the uplink 9.
fn realisation() -> Realisation {
    let ports = ["a", "b", "c"].map(|name| PortKey::Port(name.parse().unwrap()));
    let ports = ports.into_iter().zip(0..);
    let uplink = (PortKey::Uplink("eth1".parse().unwrap()), 9);
    let realised = |(key, id)| {
        let realised = Realised {
            id: PortId(id),
            up: true,
            taken: None,
        };
        (key, realised)
    };
    Realisation {
        switches: [(name("S"), SwitchId(3)), (name("T"), SwitchId(4))].into(),
        ports: ports.chain([uplink]).map(realised).collect(),
    }
}

#[test]
fn a_switch_has_a_meter_where_one_of_its_ports_is_metered() {
    let compiled = |host: &Intent| compile(host, &realisation());
    let metered = |config: &Config| -> Vec<u16> {
        let ports = config.ports.iter().filter(|port| port.metered);
        ports.map(|port| port.id.0).collect()
    };
    let meters =
        |config: &Config| -> Vec<_> { config.switches.iter().map(|switch| switch.meter).collect() };
    let by_default = MeterConfig {
        flows: 65_536,
        active: Duration::from_secs(60),
        idle: Duration::from_secs(15),
        sampling: 0,
        ingress: true,
        egress: true,
        internal_only: false,
    };
    let config = compiled(&host());
    assert_eq!(metered(&config), [0]);
    assert_eq!(meters(&config), [Some(by_default), None]);

    let (all, _) = host().apply(&set_switch("S", "enabled")).unwrap();
    assert_eq!(metered(&compiled(&all)), [0, 1], "an uplink is no VM's");
    let (none, _) = host().apply(&set_group("Lab", "disabled")).unwrap();
    let config = compiled(&none);
    assert_eq!(
        (metered(&config), meters(&config)),
        (vec![], vec![None, None])
    );

    for (patch, meter) in [
        (
            "{active: 1s, idle: 10m, sampling: 16384, direction: in, flows: 1000000}",
            MeterConfig {
                flows: 1_000_000,
                active: Duration::from_secs(1),
                idle: Duration::from_secs(600),
                sampling: 16_384,
                egress: false,
                ..by_default
            },
        ),
        (
            "{direction: out, internalOnly: true}",
            MeterConfig {
                ingress: false,
                internal_only: true,
                ..by_default
            },
        ),
    ] {
        let (host, _) = host().apply(&set("S", patch)).unwrap();
        assert_eq!(meters(&compiled(&host))[0], Some(meter), "{patch}");
    }
}

#[test]
fn an_exporter_has_the_same_domain_whenever_it_comes_and_another_than_others() {
    let exports = |host: &str, intent: &Intent| {
        netflow_exports(&host.parse().unwrap(), intent, &realisation())
    };
    let (both, _) = host()
        .apply(&set("T", "{collectors: ['[fd00::9]:4739'], version: 5}"))
        .unwrap();
    let told = exports("esxi01", &both);
    let numbers: Vec<_> = told
        .iter()
        .map(|one| (one.vswitch.as_str(), one.id))
        .collect();
    assert_eq!(numbers, [("S", SwitchId(3)), ("T", SwitchId(4))]);
    assert_eq!(told[1].spec.version.to_string(), "5");
    let domains = |host: &str| {
        exports(host, &both)
            .iter()
            .map(|one| one.domain)
            .collect::<Vec<_>>()
    };
    assert_eq!(domains("esxi01"), [1_947_883_224, 3_934_176_123]);
    assert!(
        domains("esxi02")
            .iter()
            .all(|one| !domains("esxi01").contains(one))
    );
    for domain in [0, 7, u32::MAX] {
        let (host, _) = both
            .apply(&set("S", &format!("{{domain: {domain}}}")))
            .unwrap();
        assert_eq!(exports("esxi01", &host)[0].domain, domain);
    }
    let nowhere = Realisation::default();
    assert!(netflow_exports(&"esxi01".parse().unwrap(), &both, &nowhere).is_empty());
}

#[test]
fn a_manifest_says_all_there_is_of_it_or_nothing() {
    let exported = Manifest::export(&host());
    assert_eq!(applied(&host(), &exported.to_yaml()), host());
    assert!(
        exported.to_yaml().ends_with(
            "\
netflow:
  - vswitch: S
    collectors:
      - 10.8.0.9:2055
    version: ipfix
    active: 1m
    idle: 15s
    sampling: 0
    internalOnly: false
    direction: both
    flows: 65536
"
        ),
        "{}",
        exported.to_yaml()
    );
    assert_eq!(applied(&host(), "ports: []").netflow.len(), 1);
    let without = "{vswitches: [{name: S, uplinks: [eth1], portgroups: [{name: Lab}, {name: Web}]},
        {name: T, portgroups: [{name: Mail}]}], netflow: []}";
    assert!(applied(&host(), without).netflow.is_empty());
    let other = "netflow: [{vswitch: S, collectors: ['10.8.0.8:1'], version: '5', sourceIp: 10.8.0.1, domain: 1}]";
    let host_after = applied(&host(), other);
    assert_eq!(
        applied(&host_after, &Manifest::export(&host_after).to_yaml()),
        host_after
    );

    let planned = |text: &str| {
        let manifest = Manifest::parse(text).unwrap();
        let planned = manifest.plan(&host());
        planned
            .and_then(|changes| host().transact(&changes))
            .unwrap_err()
            .to_string()
    };
    let one = "{vswitch: S, collectors: ['10.8.0.9:2055']}";
    assert_eq!(
        planned(&format!("netflow: [{one}, {one}]")),
        "netflow S: stands twice in the manifest"
    );
    assert_eq!(
        planned(&format!("{{vswitches: [], ports: [], netflow: [{one}]}}")),
        "netflow S: standard switch S does not exist"
    );
    assert_eq!(
        planned("netflow: []"),
        "netflow S is in use by port group Lab"
    );
}

#[test]
fn errors_are_in_words_of_the_file() {
    for (field, expected) in [
        (
            "collectors: 10.8.0.9:2055",
            "collectors: a list is expected",
        ),
        ("collectors: []", "0 collectors are out of range; name 1-8"),
        (
            "collectors: [10.8.0.9]",
            "\"10.8.0.9\" is no collector; write an address and a UDP port, such as 10.8.0.9:2055",
        ),
        (
            "collectors: ['10.8.0.9:1', '10.8.0.9:1']",
            "collector 10.8.0.9:1 is named twice; name each once",
        ),
        ("version: 7", "\"7\" is not one of: ipfix, 9, 5"),
        ("version: ipfx", "did you mean ipfix?"),
        ("active: 0s", "0s is out of range; use 1s-1h, such as 60s"),
        ("active: 3601s", "use 1s-1h"),
        ("idle: 11m", "use 1s-10m"),
        ("idle: 15", "\"15\" is not a time"),
        (
            "active: 1500ms",
            "\"1500ms\" is not a time in whole seconds",
        ),
        ("sampling: 16385", "16385 is out of range; use 0-16384"),
        ("sampling: some", "use 0-16384"),
        (
            "domain: 4294967296",
            "domain: 4294967296 is out of range; use 0-4294967295",
        ),
        ("domain: -1", "domain: -1 is out of range; use 0-4294967295"),
        ("sourceIp: eth1", "\"eth1\" is no IP address"),
        (
            "sourceIp: 224.0.0.1",
            "\"224.0.0.1\" is a multicast address",
        ),
        ("internalOnly: perhaps", "neither true nor false"),
        ("direction: ingress", "unknown value \"ingress\""),
        ("flows: 999", "999 is out of range; use 1000-1000000"),
        ("flows: 1000001", "use 1000-1000000"),
        ("colectors: []", "did you mean collectors?"),
    ] {
        let collectors = if field.starts_with("co") {
            ""
        } else {
            "    collectors: ['10.8.0.9:1']\n"
        };
        let text = format!("netflow:\n  - vswitch: S\n{collectors}    {field}\n");
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(
            error.starts_with("line ") && error.contains(expected),
            "{field}: {error}"
        );
    }
    let missing = Manifest::parse("netflow:\n  - vswitch: S\n")
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("the field \"collectors\" is missing"),
        "{missing}"
    );
}
