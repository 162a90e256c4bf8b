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
    assert_eq!(manifest.vswitches[0].portgroups[0].vlan.number(), 4095);
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
"
    );
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
