//! Manifests: what is written, what is refused and where, and that export is faithful.

use weft_model::{Intent, Manifest, VmEngine};

const LAB: &str = "
hosts:
  - {name: esxi01, uplinks: [eth1]}
vms:
  - {name: MyVM1, host: esxi01, portgroup: Lab, ip: 192.168.10.1/24, engine: veth}
vswitches:
  - name: vSwitch1
    host: esxi01
    uplinks: []
    mtu: 1500
    security: {promiscuous: reject, macChanges: accept, forgedTransmits: accept}
    portgroups:
      - name: Lab
        vlan: 4095
        security: {promiscuous: accept}
ports:
  - {name: MyVM1, portgroup: Lab, mac: \"02:00:00:00:00:01\", veth: p-MyVM1}
";

fn refused(text: &str) -> String {
    Manifest::parse(text)
        .expect_err("the manifest is refused")
        .to_string()
}

#[test]
fn the_forms_of_the_documentation_are_read() {
    let manifest = Manifest::parse(LAB).unwrap();
    assert_eq!(manifest.vms[0].engine, VmEngine::Veth);
    assert_eq!(manifest.vswitches()[0].portgroups[0].vlan.number(), 4095);
    assert_eq!(manifest.changes().len(), 3);
    assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
    assert_eq!(Manifest::parse(&manifest.to_yaml()).unwrap(), manifest);
    assert_eq!(Manifest::parse("").unwrap(), Manifest::default());
}

#[test]
fn an_unknown_field_is_refused_with_line_column_and_the_nearest_name() {
    let error = refused("vswitches:\n  - name: vSwitch1\n    portgroup: []\n");
    assert_eq!(
        error,
        "line 3, column 5: unknown field \"portgroup\"; did you mean portgroups?"
    );
    let error = refused("vswitches:\n  - name: vSwitch1\n    security: {promiscous: accept}\n");
    assert!(
        error.starts_with("line 3, column ") && error.ends_with("did you mean promiscuous?"),
        "{error}"
    );
    let error = refused("ports:\n  - {name: A, portgroup: B, vet: C}\n");
    assert!(
        error.starts_with("line 2") && error.ends_with("did you mean veth?"),
        "{error}"
    );
}

#[test]
fn values_out_of_range_are_refused_with_their_place() {
    for (text, expected) in [
        (
            "vswitches:\n  - {name: S, mtu: 9001}\n",
            "MTU 9001 is out of range; use 1280-9000",
        ),
        (
            "vswitches:\n  - {name: S, portgroups: [{name: G, vlan: 4096}]}\n",
            "4096",
        ),
        (
            "vswitches:\n  - {name: S, security: {promiscuous: acept}}\n",
            "did you mean accept?",
        ),
        (
            "ports:\n  - {name: A, portgroup: B, veth: C, mac: 02:00}\n",
            "02:00",
        ),
        (
            "ports:\n  - {name: A, portgroup: B, veth: this-is-too-long}\n",
            "is too long",
        ),
        (
            "ports:\n  - {name: A, portgroup: B}\n",
            "nothing is attached",
        ),
        (
            "ports:\n  - {name: a/b, portgroup: B, veth: C}\n",
            "holds a character that names cannot have",
        ),
    ] {
        let error = refused(text);
        assert!(
            error.starts_with("line 2, column ") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn what_is_not_supported_yet_says_so() {
    for field in ["dvswitches", "mirrors"] {
        let error = refused(&format!("{field}: []\n"));
        let expected = format!(": the field {field:?} is not supported yet");
        assert!(
            error.starts_with("line ") && error.ends_with(&expected),
            "{error}"
        );
    }
}

fn group(vlan: &str) -> String {
    format!("vswitches: [{{name: S, portgroups: [{{name: G, vlan: {vlan}}}]}}]")
}

/// The error of a file, which says where it is.
fn says(text: &str, expected: &str) {
    let error = refused(text);
    assert!(
        error.starts_with("line ") && error.contains(expected),
        "{text}: {error}"
    );
}

#[test]
fn errors_are_in_words_of_the_file() {
    let port = |more: &str| format!("ports:\n  - {{name: A, portgroup: B, {more}}}\n");
    for (text, expected) in [
        (
            group("ten"),
            "vlan: \"ten\" is not a whole number; use 0-4095",
        ),
        (group("70000"), "vlan: 70000 is out of range; use 0-4095"),
        (group("-1"), "vlan: -1 is out of range; use 0-4095"),
        (
            "vswitches:\n  - name: S\n    mtu: big   # enough\n".to_owned(),
            "line 3, column 10: mtu: \"big\" is not a whole number; use 1280-9000",
        ),
        (
            port("veth: C, block: maybe"),
            "block: \"maybe\" is neither true nor false",
        ),
        (
            port("\"veth\": [C]"),
            "veth: one word or number is expected",
        ),
        (
            port("vhostUser: /run/a.sock"),
            "vhostUser: fields are expected, as 'NAME: VALUE'",
        ),
        (
            "vswitches:\n  - vSwitch1\n".to_owned(),
            "line 2, column 5: fields are expected",
        ),
        (
            "vswitches:\n  name: S\n".to_owned(),
            "vswitches: a list is expected, as '- ENTRY'",
        ),
        ("vswitches: S\n".to_owned(), "vswitches: a list is expected"),
        ("hello".to_owned(), "line 1, column 1: fields are expected"),
        (
            "vswitches:\n\t- name: S\n".to_owned(),
            "line 2, column 2: a tab stands before the text",
        ),
        (
            "vswitches:\n  - name:\n".to_owned(),
            "name: the value is missing",
        ),
        (
            "vswitches: []\nvswitches: []\n".to_owned(),
            "the field \"vswitches\" stands twice",
        ),
    ] {
        says(&text, expected);
    }
}

/// Of a switch as of a port group.
#[test]
fn errors_of_policies_are_in_words_of_the_file() {
    for (policies, expected) in [
        (
            "teaming: {policy: srcip}",
            "unknown value \"srcip\"; did you mean srcid?",
        ),
        (
            "teaming: {polcy: srcid}",
            "unknown field \"polcy\"; did you mean policy?",
        ),
        (
            "teaming: {active: eth1}",
            "\"eth1\" is not a list of uplinks; write [eth1], or all",
        ),
        (
            "teaming: {upDelay: 31m}",
            "31m is out of range; use 0ms-30m, such as 60s",
        ),
        (
            "teaming: {upDelay: 100}",
            "\"100\" is not a time (a whole number and one of ms, s, m, h); use 0ms-30m",
        ),
        (
            "teaming: {lbtThreshold: 101}",
            "101 is out of range; use 1-100",
        ),
        (
            "teaming: {lbtThreshold: -1}",
            "-1 is out of range; use 1-100",
        ),
        ("macLearning: {limit: many}", "1-4096"),
        (
            "macLearning: {limit: 4097}",
            "4097 is out of range; use 1-4096",
        ),
        ("macLearning: {age: 0s}", "0s is out of range; use 1s-1h"),
        ("macLearning: {enabled: perhaps}", "true"),
        ("macLearning: {beyond: dorp}", "did you mean drop?"),
        (
            "shaping: {in: on}",
            "expected {average: RATE, peak: RATE, burst: SIZE} or off",
        ),
        (
            "shaping: {in: {peak: 1mbit}}",
            "the field \"average\" is missing",
        ),
        (
            "shaping: {in: {average: 100}}",
            "\"100\" is not a rate (a whole number and one of bit, kbit, mbit, gbit); use 8kbit-400gbit",
        ),
        (
            "shaping: {out: {average: 2mbit, peak: 1mbit}}",
            "the peak 1mbit is below the average 2mbit",
        ),
        (
            "shaping: {out: {average: 2mbit, burst: 1KiB}}",
            "1KiB is out of range; use 1500B-1GiB, such as 100KiB",
        ),
        ("bpduFilter: on", "enabled"),
        ("bpduFilter: enable", "did you mean enabled?"),
        ("netflow: on", "enabled"),
        ("netflow: enable", "did you mean enabled?"),
        ("teaming: {policy:}", "missing"),
    ] {
        for text in [
            format!("vswitches:\n  - name: S\n    {policies}\n"),
            format!(
                "vswitches:\n  - name: S\n    portgroups:\n      - name: G\n        {policies}\n"
            ),
        ] {
            says(&text, expected);
        }
    }
}

#[test]
fn the_ranges_of_a_file_are_those_of_the_types() {
    for (field, fits, does_not) in [
        ("vlan", [0, 4095], [4096, 65535]),
        ("mtu", [1280, 9000], [1279, 9001]),
    ] {
        let of = |number: i32| match field {
            "vlan" => group(&number.to_string()),
            _ => format!("vswitches: [{{name: S, {field}: {number}}}]"),
        };
        for number in fits {
            Manifest::parse(&of(number)).unwrap();
        }
        for number in does_not {
            refused(&of(number));
        }
    }
}

#[test]
fn hostile_texts_are_refused_in_bounded_memory() {
    refused(&"[".repeat(100_000));
    refused("vswitches: &a [*a, *a, *a]");
    refused("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nvswitches: [*c, *c]");
    refused("\u{0}");
    refused("vswitches: []\nvswitches: []\n");
    refused("---\nports: []\n---\nports: []\n");
}

#[test]
fn an_export_reads_nicely_and_is_sorted() {
    let manifest = Manifest::parse(LAB).unwrap();
    let intent = manifest
        .changes()
        .iter()
        .fold(Intent::default(), |intent, change| {
            intent.apply(change).unwrap().0
        });
    assert_eq!(
        Manifest::export(&intent).to_yaml(),
        "\
vswitches:
  - name: vSwitch1
    uplinks: []
    mtu: 1500
    security:
      promiscuous: reject
      macChanges: accept
      forgedTransmits: accept
    portgroups:
      - name: Lab
        vlan: 4095
        security:
          promiscuous: accept
ports:
  - name: MyVM1
    portgroup: Lab
    mac: 02:00:00:00:00:01
    veth: p-MyVM1
vmks: []
netflow: []
"
    );
}

/// What is set to a default is left out on a switch, and kept on a port group, where it does not follow the switch.
#[test]
fn an_export_has_policies_where_they_are_set() {
    let text = "
vswitches:
  - name: S
    uplinks: [e1, e2]
    teaming: {policy: srcid, active: all, standby: [], failback: true, upDelay: 100ms, lbtThreshold: 75}
    shaping: {in: off, out: {average: 1000kbit, peak: 1mbit, burst: 102400KiB}}
    macLearning: {limit: 4096, age: 300s}
    bpduFilter: disabled
    portgroups:
      - name: G
        teaming: {policy: explicit, active: [e2], standby: [], failback: true, upDelay: inherit}
        shaping: {in: off, out: inherit}
        macLearning: {enabled: true, age: 300s}
        bpduFilter: disabled
      - {name: H, teaming: {active: all}, shaping: {}, macLearning: {}, bpduFilter: inherit}
";
    let intent = Manifest::parse(text)
        .unwrap()
        .changes()
        .iter()
        .fold(Intent::default(), |intent, change| {
            intent.apply(change).unwrap().0
        });
    let exported = Manifest::export(&intent).to_yaml();
    assert_eq!(
        exported,
        "\
vswitches:
  - name: S
    uplinks:
      - e1
      - e2
    mtu: 1500
    security:
      promiscuous: reject
      macChanges: accept
      forgedTransmits: accept
    shaping:
      out:
        average: 1mbit
    portgroups:
      - name: G
        vlan: 0
        teaming:
          policy: explicit
          active:
            - e2
          standby: []
          failback: true
        shaping:
          in: \"off\"
        macLearning:
          enabled: true
          age: 5m
        bpduFilter: disabled
      - name: H
        vlan: 0
        teaming:
          active: all
ports: []
vmks: []
netflow: []
"
    );
    let again = Manifest::parse(&exported).unwrap();
    assert_eq!(Manifest::export(&intent), again);
    let planned = intent.transact(&again.plan(&intent).unwrap()).unwrap();
    assert_eq!(planned.0, intent);
}

#[test]
fn names_that_look_like_other_values_survive_an_export() {
    for name in [
        "10",
        "1e3",
        "yes",
        "null",
        "~x",
        "0x10",
        "1_000",
        "true",
        "12.5",
        "2026-01-01",
    ] {
        let Ok(name) = name.parse::<weft_model::VswitchName>() else {
            continue;
        };
        let change = weft_model::Change::AddVswitch(weft_model::VswitchSpec::new(name));
        let exported = Manifest::export(&Intent::default().apply(&change).unwrap().0);
        let yaml = exported.to_yaml();
        assert_eq!(Manifest::parse(&yaml).unwrap(), exported, "{yaml}");
    }
    // YAML 1.1 reads digits and colons as a number to base 60.
    let port = "ports: [{name: A, portgroup: B, veth: c, mac: '12:34:56:10:20:30'}]";
    let yaml = Manifest::parse(port).unwrap().to_yaml();
    assert!(
        yaml.contains("\"12:34:56:10:20:30\"") || yaml.contains("'12:34:56:10:20:30'"),
        "{yaml}"
    );
}

/// The port group that loses its port and the switch that loses its interface are looked at when all is done.
#[test]
fn what_a_manifest_moves_may_be_in_use_on_the_way() {
    let before = "
vswitches:
  - {name: vSwitch1, uplinks: [eth1], portgroups: [{name: Old}]}
  - {name: vSwitch2}
ports: [{name: A, portgroup: Old, veth: a}, {name: B, portgroup: Old, veth: b}]
";
    let after = "
vswitches:
  - {name: vSwitch2, uplinks: [eth1], portgroups: [{name: New}]}
ports: [{name: A, portgroup: New, veth: b}, {name: B, portgroup: New, veth: a}]
";
    let applied = |intent: &Intent, text: &str| {
        let manifest = Manifest::parse(text).unwrap();
        let changes = manifest.plan(intent).unwrap();
        intent.transact(&changes).unwrap().0
    };
    let intent = applied(&applied(&Intent::default(), before), after);
    assert_eq!(intent, applied(&intent, after));
    let (switches, groups): (Vec<_>, Vec<_>) = (
        intent.vswitches.keys().map(ToString::to_string).collect(),
        intent.portgroups.keys().map(ToString::to_string).collect(),
    );
    assert_eq!(
        (switches, groups),
        (vec!["vSwitch2".to_owned()], vec!["New".to_owned()])
    );
}

#[test]
fn a_manifest_that_contradicts_itself_or_what_it_leaves_changes_nothing() {
    let base = "{vswitches: [{name: S, portgroups: [{name: G}]}], ports: [{name: A, portgroup: G, veth: a}]}";
    let manifest = Manifest::parse(base).unwrap();
    let host = Intent::default();
    let (host, _) = host.transact(&manifest.plan(&host).unwrap()).unwrap();
    let refused = |text: &str| {
        let manifest = Manifest::parse(text).unwrap();
        let planned = manifest.plan(&host);
        planned
            .and_then(|changes| host.transact(&changes))
            .unwrap_err()
            .to_string()
    };
    let twice =
        refused("ports: [{name: A, portgroup: G, veth: a}, {name: A, portgroup: G, veth: b}]");
    assert_eq!(twice, "port A: stands twice in the manifest");
    let used = refused("vswitches: [{name: S}]");
    assert!(
        used.contains("port group G") && used.contains("port A"),
        "{used}"
    );
    let nowhere = refused("ports: [{name: B, portgroup: g, veth: b}]");
    assert!(nowhere.contains("port B"), "{nowhere}");
    let shared =
        refused("ports: [{name: A, portgroup: G, veth: a}, {name: B, portgroup: G, veth: a}]");
    assert!(shared.contains("interface a is used by port A"), "{shared}");
}

#[test]
fn the_hosts_own_interfaces_have_a_section_of_their_own() {
    let group = "vswitches: [{name: S, portgroups: [{name: G}]}]";
    let full = format!(
        "{{{group}, ports: [{{name: A, portgroup: G, veth: a}}], vmks: [{{name: vmk0, portgroup: G, ip: 10.0.0.11/24, mtu: 1400}}]}}"
    );
    let host = applied(&Intent::default(), &full);
    let exported = Manifest::export(&host);
    assert_eq!(exported.ports().len(), 1);
    assert_eq!(exported.vmks(), Manifest::parse(&full).unwrap().vmks());
    let again = exported.plan(&host).unwrap();
    assert_eq!(host.transact(&again).unwrap().0, host);
    let names =
        |host: &Intent| -> Vec<String> { host.ports.keys().map(ToString::to_string).collect() };
    assert_eq!(
        names(&applied(&host, "ports: []")),
        ["vmk0"],
        "says nothing of vmks"
    );
    assert_eq!(
        names(&applied(&host, "vmks: []")),
        ["A"],
        "says nothing of other ports"
    );
    // A name can go from one kind to the other.
    let moved = applied(
        &host,
        "{ports: [{name: vmk0, portgroup: G, veth: a}], vmks: []}",
    );
    assert_eq!(names(&moved), ["vmk0"]);
    assert!(!moved.ports.values().any(|port| port.spec.is_vmk()));
    // Not, where the manifest says nothing of the kind that has it.
    for (manifest, refusal) in [
        (
            "vmks: [{name: A, portgroup: G}]",
            "vmk A: port A has this name",
        ),
        (
            "ports: [{name: vmk0, portgroup: G, veth: a}]",
            "port vmk0: vmk vmk0 has this name",
        ),
    ] {
        let plan = Manifest::parse(manifest).unwrap().plan(&host);
        assert_eq!(plan.unwrap_err().to_string(), refusal);
    }
    let error = refused("ports: [{name: vmk0, portgroup: G, vmk: {ip: 10.0.0.11/24}}]");
    assert!(error.contains("stand in the section 'vmks'"), "{error}");
    let error = refused("vmks:\n  - {name: management network, portgroup: G}\n");
    assert!(error.contains("such as vmk0"), "{error}");
    let error = refused("vmks:\n  - {name: vmk0, portgroup: G, ip: 10.0.0.11}\n");
    assert!(error.contains("has no prefix length"), "{error}");
}

fn applied(host: &Intent, text: &str) -> Intent {
    let manifest = Manifest::parse(text).unwrap();
    host.transact(&manifest.plan(host).unwrap()).unwrap().0
}
