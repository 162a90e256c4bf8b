//! The JSON Schema of manifests, judged by a validator of others.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use expect_test::expect_file;
use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use weft_model::{Intent, Manifest, from_text};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema = Manifest::json_schema();
    jsonschema::meta::validate(&schema).expect("it is a schema");
    jsonschema::draft202012::new(&schema).expect("it is a schema")
});

#[test]
fn the_schema_in_the_documentation_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&Manifest::json_schema()).unwrap() + "\n";
    expect_file!["../../../docs/schema/manifest.json"].assert_eq(&schema);
}

#[test]
fn every_example_is_accepted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = fs::read_dir(directory).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let manifests: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    assert!(manifests.len() >= 2, "{manifests:?}");
    for path in manifests {
        let text = fs::read_to_string(&path).unwrap();
        let value: Value = from_text(&text).unwrap();
        let verdict = VALIDATOR.validate(&value);
        verdict.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Every field that there is, and every way to attach a port.
fn full() -> Value {
    json!({
        "hosts": [{"name": "esxi01", "uplinks": ["eth1"]}],
        "vms": [
            {"name": "MyVM1", "host": "esxi01", "portgroup": "Lab", "ip": "192.168.10.1/24",
             "mac": "02-00-00-00-00-0A", "engine": "packet"},
            {"name": "_2 b.c-d", "portgroup": "VM Network", "engine": "tap"},
        ],
        "vswitches": [{
            "name": "vSwitch1",
            "host": "esxi01",
            "uplinks": ["eth1", "veth@x"],
            "mtu": 9000,
            "security": {"promiscuous": "accept", "macChanges": "reject", "forgedTransmits": "accept"},
            "teaming": {
                "policy": "lbt", "active": ["eth1"], "standby": ["veth@x"], "failback": false, "notify": true,
                "upDelay": "0ms", "lbtPeriod": "10m", "lbtThreshold": 100,
            },
            "shaping": {
                "in": {"average": "8kbit", "peak": "400gbit", "burst": "1GiB"},
                "out": {"average": "12345678bit", "burst": "1500B"},
            },
            "macLearning": {"enabled": true, "limit": 1, "beyond": "drop", "flood": false, "age": "1h"},
            "bpduFilter": "enabled",
            "netflow": "enabled",
            "portgroups": [
                {
                    "name": "Web",
                    "teaming": {
                        "policy": "explicit", "active": [], "standby": ["eth1", "veth@x"], "failback": true, "notify": false,
                        "upDelay": "30m", "lbtPeriod": "1s", "lbtThreshold": 1,
                    },
                    "shaping": {"in": "off", "out": {"average": "1mbit", "peak": "1mbit", "burst": "64KiB"}},
                    "macLearning": {"enabled": false, "limit": 4096, "beyond": "allow", "flood": true, "age": "1s"},
                    "bpduFilter": "disabled",
                    "netflow": "disabled",
                },
                {
                    "name": "Mail",
                    "teaming": {
                        "policy": "inherit", "active": "all", "standby": "inherit", "failback": "inherit", "notify": "inherit",
                        "upDelay": "inherit", "lbtPeriod": "inherit", "lbtThreshold": "inherit",
                    },
                    "shaping": {"in": "inherit", "out": false},
                    "macLearning": {"enabled": "inherit", "limit": "inherit", "beyond": "inherit", "flood": "inherit", "age": "inherit"},
                    "bpduFilter": "inherit",
                    "netflow": "inherit",
                },
                {"name": "Lab", "vlan": 4095, "security": {"promiscuous": "inherit"}},
                {"name": "VM Network", "security": {"macChanges": "accept", "forgedTransmits": "reject"}},
            ],
        }],
        "ports": [
            {"name": "A", "portgroup": "Lab", "mac": "02:00:00:00:00:01", "veth": "p-A", "engine": "packet"},
            {"name": "B", "portgroup": "Lab", "vhostUser": {"socket": "/run/b.sock", "role": "server"}},
            {"name": "C", "portgroup": "Lab", "tap": "tap0", "link": "down", "block": true},
        ],
        "vmks": [
            {"name": "vmk0", "portgroup": "Lab", "ip": "10.0.0.11/24", "mac": "02:00:00:00:00:02", "mtu": 1500},
            {"name": "vmk1", "portgroup": "Lab", "ip": "fd00::11/64", "link": "down", "block": true},
        ],
        "netflow": [{
            "vswitch": "vSwitch1", "host": "esxi01", "collectors": ["10.8.0.9:2055", "10.8.0.9:65535"], "version": 9,
            "active": "1h", "idle": "1s", "sampling": 16384, "domain": 4294967295_u32, "sourceIp": "10.8.0.1", "internalOnly": true,
            "direction": "in", "flows": 1000000,
        }],
    })
}

#[test]
fn an_export_is_accepted() {
    assert!(VALIDATOR.is_valid(&full()));
    let text = full().to_string();
    let manifest = Manifest::parse(&text).unwrap();
    assert!(VALIDATOR.is_valid(&serde_json::to_value(&manifest).unwrap()));
    let mut intent = Intent::default();
    for change in Manifest::parse(&text).unwrap().changes() {
        (intent, _) = intent.apply(&change).unwrap();
    }
    let exported = Manifest::export(&intent);
    for text in [exported.to_json(), exported.to_yaml()] {
        let value: Value = from_text(&text).unwrap();
        assert!(VALIDATOR.is_valid(&value), "{text}");
    }
    assert!(VALIDATOR.is_valid(&json!({})));
}

/// The manifest with `value` at a place, as JSON Pointers (RFC 6901) name it.
fn with(pointer: &str, value: Value) -> Value {
    let mut manifest = full();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match manifest.pointer_mut(parent).unwrap() {
        Value::Object(fields) => fields.insert(field.to_owned(), value),
        Value::Array(items) => Some(std::mem::replace(
            &mut items[field.parse::<usize>().unwrap()],
            value,
        )),
        _ => panic!("{pointer} has no parent"),
    };
    manifest
}

#[test]
fn what_the_parser_refuses_the_schema_refuses() {
    let wrong = [
        ("/vswitchs", json!([])),
        ("/vswitches/0/mtuu", json!(1500)),
        ("/vswitches/0/mtu", json!(1279)),
        ("/vswitches/0/mtu", json!(9001)),
        ("/vswitches/0/mtu", json!(-1)),
        ("/vswitches/0/name", json!("")),
        ("/vswitches/0/name", json!("-x")),
        ("/vswitches/0/name", json!("a".repeat(33))),
        ("/vswitches/0/name", json!("a  b")),
        ("/vswitches/0/name", json!("a ")),
        ("/vswitches/0/name", json!("a/b")),
        ("/vswitches/0/name", json!("é")),
        ("/vswitches/0/host", json!("a".repeat(64))),
        ("/vswitches/0/uplinks", json!("eth1")),
        ("/vswitches/0/uplinks/0", json!("..")),
        ("/vswitches/0/uplinks/0", json!("eth0:1")),
        ("/vswitches/0/uplinks/0", json!("a234567890123456")),
        ("/vswitches/0/security/promiscuous", json!("inherit")),
        ("/vswitches/0/security/promiscuous", json!("yes")),
        ("/vswitches/0/security/promiscous", json!("accept")),
        ("/vswitches/0/teaming/policy", json!("inherit")),
        ("/vswitches/0/teaming/policy", json!("srcip")),
        ("/vswitches/0/teaming/active", json!("eth1")),
        ("/vswitches/0/teaming/active", json!("inherit")),
        ("/vswitches/0/teaming/active/0", json!("..")),
        ("/vswitches/0/teaming/standby", json!("all")),
        ("/vswitches/0/teaming/upDelay", json!("1800001ms")),
        ("/vswitches/0/teaming/upDelay", json!("01s")),
        ("/vswitches/0/teaming/upDelay", json!("1h")),
        ("/vswitches/0/teaming/upDelay", json!(100)),
        ("/vswitches/0/teaming/lbtPeriod", json!("999ms")),
        ("/vswitches/0/teaming/lbtPeriod", json!("601s")),
        ("/vswitches/0/teaming/lbtThreshold", json!(0)),
        ("/vswitches/0/teaming/lbtThreshold", json!(101)),
        ("/vswitches/0/teaming/beaconing", json!(true)),
        ("/vswitches/0/shaping/in", json!("inherit")),
        ("/vswitches/0/shaping/in", json!(true)),
        ("/vswitches/0/shaping/in/average", json!("7999bit")),
        ("/vswitches/0/shaping/in/average", json!("7kbit")),
        ("/vswitches/0/shaping/in/peak", json!("401gbit")),
        ("/vswitches/0/shaping/in/peak", json!("400000000001bit")),
        ("/vswitches/0/shaping/in/burst", json!("1499B")),
        ("/vswitches/0/shaping/in/burst", json!("1KiB")),
        ("/vswitches/0/shaping/in/burst", json!("1073741825B")),
        ("/vswitches/0/shaping/in/burst", json!("2GiB")),
        ("/vswitches/0/shaping/in", json!({"peak": "1mbit"})),
        ("/vswitches/0/macLearning/limit", json!(0)),
        ("/vswitches/0/macLearning/limit", json!(4097)),
        ("/vswitches/0/macLearning/age", json!("999ms")),
        ("/vswitches/0/macLearning/age", json!("61m")),
        ("/vswitches/0/macLearning/beyond", json!("reject")),
        ("/vswitches/0/bpduFilter", json!("inherit")),
        ("/vswitches/0/bpduFilter", json!(true)),
        ("/vswitches/0/portgroups/0/teaming/policy", json!(null)),
        ("/vswitches/0/portgroups/0/teaming/active", json!("some")),
        (
            "/vswitches/0/portgroups/0/teaming/failback",
            json!("perhaps"),
        ),
        ("/vswitches/0/portgroups/0/teaming/upDelay", json!("2h")),
        ("/vswitches/0/portgroups/0/teaming/lbtThreshold", json!(101)),
        (
            "/vswitches/0/portgroups/0/teaming/lbtThreshold",
            json!("75"),
        ),
        ("/vswitches/0/portgroups/0/shaping/in", json!("on")),
        ("/vswitches/0/portgroups/0/shaping/out", json!(true)),
        ("/vswitches/0/portgroups/0/shaping/out/peak", json!("off")),
        ("/vswitches/0/portgroups/0/macLearning/limit", json!(-1)),
        ("/vswitches/0/portgroups/0/macLearning/flood", json!("yes")),
        ("/vswitches/0/portgroups/0/bpduFilter", json!("on")),
        ("/vswitches/0/portgroups/0/vlan", json!(4096)),
        ("/vswitches/0/portgroups/0/vlan", json!(-1)),
        ("/vswitches/0/portgroups/0/name", json!("a".repeat(81))),
        ("/vswitches/0/portgroups/0/vswitch", json!("vSwitch1")),
        ("/vms/0/engine", json!("veht")),
        ("/vms/0/mac", json!("02:00:00:00:00")),
        ("/hosts/0", json!({"uplinks": ["eth1"]})),
        ("/ports/0/mac", json!("02:00:00-00:00:01")),
        ("/ports/0/engine", json!("vpp")),
        ("/ports/0/tap", json!("tap1")),
        ("/ports/0/veth", json!(null)),
        ("/ports/0/block", json!("perhaps")),
        ("/ports/1", json!({"name": "B", "portgroup": "Lab"})),
        ("/ports/1/engine", json!("packet")),
        ("/ports/1/vhostUser/role", json!("both")),
        ("/ports/1/vhostUser/socket", json!("run/b.sock")),
        ("/ports/1/vhostUser/socket", json!("/run/../b.sock")),
        ("/ports/1/vhostUser/socket", json!("/run//b.sock")),
        ("/ports/1/vhostUser/socket", json!("/run/b.sock/")),
        ("/ports/1/vhostUser/socket", json!("/run/b\u{85}")),
        (
            "/ports/1/vhostUser/socket",
            json!(format!("/{}", "a".repeat(107))),
        ),
        ("/ports/2/link", json!("sideways")),
        ("/ports/2", json!([])),
        ("/ports", json!({})),
        (
            "/ports/2",
            json!({"name": "vmk2", "portgroup": "Lab", "vmk": {}}),
        ),
        ("/vmks", json!({})),
        ("/vmks/0/name", json!("a b")),
        ("/vmks/0/name", json!("a234567890123456")),
        ("/vmks/0/name", json!("lo")),
        ("/vmks/0/ip", json!("10.0.0.11")),
        ("/vmks/0/ip", json!("10.0.0.11/0")),
        ("/vmks/0/ip", json!("10.0.0/24")),
        ("/vmks/0/mtu", json!(1279)),
        ("/vmks/0/mac", json!("02:00:00:00:00")),
        ("/vmks/0/tap", json!("tap1")),
        ("/vmks/1/portgroup", json!("a/b")),
        ("/vswitches/0/netflow", json!("inherit")),
        ("/vswitches/0/portgroups/0/netflow", json!("on")),
        ("/netflow", json!({})),
        ("/netflow/0/vswitch", json!("a/b")),
        ("/netflow/0/vswitch", json!(null)),
        ("/netflow/0/host", json!("a".repeat(64))),
        ("/netflow/0/collectors", json!("10.8.0.9:2055")),
        ("/netflow/0/collectors", json!([])),
        ("/netflow/0/collectors", json!(["10.8.0.9:1", "10.8.0.9:1"])),
        (
            "/netflow/0/collectors",
            json!(
                (1..=9)
                    .map(|port| format!("10.8.0.9:{port}"))
                    .collect::<Vec<_>>()
            ),
        ),
        ("/netflow/0/collectors/0", json!("10.8.0.9")),
        ("/netflow/0/collectors/0", json!("10.8.0.9:02055")),
        ("/netflow/0/collectors/0", json!("fd00::9:2055")),
        ("/netflow/0/collectors/0", json!("collector:2055")),
        ("/netflow/0/version", json!(7)),
        ("/netflow/0/version", json!("v9")),
        ("/netflow/0/active", json!("3601s")),
        ("/netflow/0/active", json!("999ms")),
        ("/netflow/0/idle", json!("601s")),
        ("/netflow/0/sampling", json!(16385)),
        ("/netflow/0/domain", json!(-1)),
        ("/netflow/0/domain", json!("auto")),
        ("/netflow/0/sourceIp", json!("10.8.0.1/24")),
        ("/netflow/0/internalOnly", json!("perhaps")),
        ("/netflow/0/direction", json!("ingress")),
        ("/netflow/0/flows", json!(999)),
        ("/netflow/0/flows", json!(1000001)),
    ];
    for (place, value) in wrong {
        let manifest = with(place, value);
        assert!(
            Manifest::parse(&manifest.to_string()).is_err(),
            "{place}: the parser accepts {manifest}"
        );
        assert!(
            !VALIDATOR.is_valid(&manifest),
            "{place}: the schema accepts {manifest}"
        );
    }
}

/// Every place of a manifest, as JSON Pointers name it.
fn places(value: &Value, place: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => (0..)
            .zip(items)
            .map(|(index, value): (usize, _)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        let place = format!("{place}/{name}");
        places(value, &place, all);
        all.push(place);
    }
}

/// Another value of the same type, or one that a slip may put there.
fn other_value() -> impl Strategy<Value = Value> {
    let words = [
        "accept",
        "reject",
        "inherit",
        "up",
        "down",
        "af-xdp",
        "packet",
        "veth",
        "tap",
        "all",
        "off",
        "srcid",
        "iphash",
        "enabled",
        "disabled",
        "allow",
        "drop",
        "100ms",
        "0s",
        "01s",
        "60s",
        "1801s",
        "30m",
        "1h",
        "100mbit",
        "7999bit",
        "400gbit",
        "401gbit",
        "1.5gbit",
        "100KiB",
        "1499B",
        "1GiB",
        "client",
        "server",
        ".",
        "..",
        "/a/b",
        "/a/./b",
        "10.0.0.12/24",
        "10.0.0.12/33",
        "10.0.0.0/24",
        "fd00::12/64",
        "::ffff:10.0.0.12/96",
        "10.0.0.12:2055",
        "[fd00::12]:4739",
        "[FD00::12]:65536",
        "10.0.0.12",
        "ipfix",
        "9",
        "both",
        "/a/",
        "/",
        "//",
        "a b",
        "02:00:00:00:00:01",
        "02-00:00:00:00:01",
        "",
    ];
    let text = prop_oneof![
        select(words.map(str::to_owned).to_vec()),
        "[A-Za-z0-9_. -]{0,34}",
        "/[a-z./\u{80}-\u{ff}]{0,6}",
        "[0-9]{1,13}(bit|kbit|mbit|gbit|B|KiB|MiB|GiB|ms|s|m|h)",
        "[!-~]{0,17}",
        // The longest of each kind, and one more.
        select(vec![15, 16, 32, 33, 63, 64, 80, 81]).prop_map(|length| "a".repeat(length)),
        select(vec![106, 107]).prop_map(|length| format!("/{}", "a".repeat(length))),
    ];
    prop_oneof![
        4 => text.prop_map(Value::from),
        2 => select(vec![-1, 0, 1, 100, 101, 1279, 1280, 4094, 4095, 4096, 4097, 9000, 9001, 65536]).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([])),
        1 => Just(json!({})),
    ]
}

/// A text for a text and so on: in YAML a plain number may stand for a text, and in JSON Schema it may not.
fn may_replace(before: &Value, after: &Value) -> bool {
    let is_scalar = !after.is_object() && !after.is_array() && !after.is_null();
    !is_scalar || std::mem::discriminant(before) == std::mem::discriminant(after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_the_parser_accepts_the_schema_accepts(
        changes in prop::collection::vec((any::<Index>(), prop::option::of(other_value())), 1..3),
    ) {
            let mut manifest = full();
        for (index, value) in changes {
            let mut all = Vec::new();
            places(&manifest, "", &mut all);
            let place = &all[index.index(all.len())];
            match value {
                Some(value) => {
                    let there = manifest.pointer_mut(place).unwrap();
                    if may_replace(there, &value) {
                        *there = value;
                    }
                }
                None => {
                    let (parent, name) = place.rsplit_once('/').unwrap();
                    match manifest.pointer_mut(parent).unwrap() {
                        Value::Object(fields) => drop(fields.remove(name)),
                        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
                        _ => unreachable!("only objects and lists have places in them"),
                    }
                }
            }
        }
        let parsed = Manifest::parse(&manifest.to_string());
        prop_assert!(
            parsed.is_err() || VALIDATOR.is_valid(&manifest),
            "{manifest}: {:?}", VALIDATOR.validate(&manifest)
        );
    }
}
