//! Teaming, shaping, MAC learning and the BPDU filter as operators set them: by flags, in manifests, inherited and shown.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;

use weft_tests::{Answer, Host};

/// A host whose switch has three uplinks, and a port in the port group `Lab`.
fn host() -> Host {
    let host = Host::new();
    for uplink in ["eth1", "eth2", "eth3"] {
        host.world(uplink);
    }
    host.does("vswitch add vSwitch1 --uplink eth1 --uplink eth2 --uplink eth3");
    host.does("portgroup add Lab --vswitch vSwitch1");
    host.does("portgroup add Web --vswitch vSwitch1");
    host.vm("MyVM1", "Lab");
    host.does("netflow set vSwitch1 --collector 127.0.0.1:2055");
    host
}

/// What is in force on `MyVM1`: each setting with the kind of object that it comes from.
fn in_force(host: &Host) -> BTreeMap<String, (String, String)> {
    let policy = host.shows("policy show MyVM1");
    let leaves = policy["leaves"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    leaves
        .map(|leaf| {
            let from = text(&leaf["from"]["kind"]);
            (text(&leaf["leaf"]), (text(&leaf["value"]), from))
        })
        .collect()
}

/// Every flag with a value, the setting, and what is in force then.
const FLAGS: [(&str, &str, &str); 17] = [
    ("--teaming explicit", "teaming.policy", "explicit"),
    ("--active eth2,eth1", "teaming.active", "eth2,eth1"),
    ("--standby eth3", "teaming.standby", "eth3"),
    ("--failback no", "teaming.failback", "no"),
    ("--notify no", "teaming.notify", "no"),
    ("--up-delay 2s", "teaming.upDelay", "2s"),
    ("--lbt-period 60s", "teaming.lbtPeriod", "1m"),
    ("--lbt-threshold 80", "teaming.lbtThreshold", "80"),
    (
        "--shape-in avg=100mbit,peak=200mbit,burst=100KiB",
        "shaping.in",
        "avg=100mbit,peak=200mbit,burst=100KiB",
    ),
    (
        "--shape-out avg=1gbit",
        "shaping.out",
        "avg=1gbit,peak=1gbit,burst=100MiB",
    ),
    ("--mac-learning enabled", "macLearning.enabled", "yes"),
    ("--learning-limit 16", "macLearning.limit", "16"),
    ("--learning-beyond drop", "macLearning.beyond", "drop"),
    ("--learning-flood no", "macLearning.flood", "no"),
    ("--learning-age 60s", "macLearning.age", "1m"),
    ("--bpdu-filter enabled", "bpduFilter", "enabled"),
    ("--netflow enabled", "netflow", "enabled"),
];

#[test]
fn a_setting_is_made_on_the_switch_inherited_and_made_otherwise() {
    let host = host();
    let flags: Vec<&str> = FLAGS.map(|(flag, _, _)| flag).to_vec();
    let defaults = in_force(&host);
    assert!(defaults.len() > FLAGS.len());
    assert_eq!(defaults["teaming.active"].0, "eth1,eth2,eth3");

    let all = flags.join(" ");
    let said = host.does(&format!("vswitch set vSwitch1 {all}"));
    assert!(said.contains("teaming.active all -> eth2,eth1"), "{said}");
    assert!(said.contains("(1 port)"), "{said}");
    assert_eq!(
        host.does(&format!("vswitch set vSwitch1 {all}")),
        "standard switch vSwitch1: unchanged\n"
    );
    let shown = host.does("vswitch show vSwitch1");
    for (_, leaf, value) in FLAGS {
        assert_eq!(
            in_force(&host)[leaf],
            (value.to_owned(), "vswitch".to_owned())
        );
        assert!(
            shown
                .lines()
                .any(|line| line.starts_with(&format!("{leaf}:")) && line.ends_with(value)),
            "{shown}"
        );
    }

    // One by one, so that each is seen to be itself.
    for (flag, leaf, value) in FLAGS {
        host.does(&format!("portgroup set Lab {flag}"));
        assert_eq!(
            in_force(&host)[leaf],
            (value.to_owned(), "portgroup".to_owned()),
            "{flag}"
        );
        let (name, _) = flag.split_once(' ').unwrap();
        host.does(&format!("portgroup set Lab {name} inherit"));
        assert_eq!(in_force(&host)[leaf].1, "vswitch", "{flag}");
    }
    let said = host.does("portgroup set Lab --active eth3 --shape-in off --mac-learning disabled");
    assert!(said.contains("shaping.in inherit -> off"), "{said}");
    let now = in_force(&host);
    for (leaf, value) in [
        ("teaming.active", "eth3"),
        ("teaming.standby", "none"),
        ("shaping.in", "off"),
        ("macLearning.enabled", "no"),
    ] {
        assert_eq!(now[leaf], (value.to_owned(), "portgroup".to_owned()));
    }
    assert!(host.does("portgroup show Lab").contains("shaping.in:"));
    // With 'add', too.
    host.does(&format!("portgroup add Third --vswitch vSwitch1 {all}"));
    let third = host.does("portgroup show Third");
    assert!(
        third.contains("teaming.standby:") && third.contains("bpduFilter:"),
        "{third}"
    );
}

#[test]
fn policies_are_exported_and_applied_word_for_word() {
    let host = host();
    let plain = host.export();
    for word in [
        "teaming",
        "shaping",
        "macLearning",
        "bpduFilter",
        "netflow: enabled",
    ] {
        assert!(!plain.contains(word), "defaults are left out: {plain}");
    }
    host.does("vswitch set vSwitch1 --teaming lbt --active eth1,eth2 --standby eth3 --shape-out avg=10mbit");
    host.does(
        "portgroup set Lab --active none --shape-out off --learning-limit 7 --bpdu-filter enabled",
    );
    let exported = host.export();
    let file = host.state().join("host.yaml");
    let apply = |text: &str| -> Answer {
        fs::write(&file, text).unwrap();
        host.weft(&format!("apply -f {}", file.display()))
    };
    let unchanged = apply(&exported).succeeds();
    assert!(unchanged.starts_with("unchanged"), "{unchanged}");
    assert_eq!(host.export(), exported);

    // Where a manifest is silent there are defaults.
    let said = apply(&plain).succeeds();
    assert!(said.contains("teaming.policy lbt -> srcid"), "{said}");
    assert!(
        said.contains("shaping.out avg=10mbit,peak=10mbit,burst=100MiB -> off"),
        "{said}"
    );
    assert!(said.contains("bpduFilter enabled -> inherit"), "{said}");
    assert_eq!(host.export(), plain);
    apply(&exported).succeeds();
    assert_eq!(host.export(), exported);
    let misspelt = exported.replace("policy: lbt", "policy: lbd");
    apply(&misspelt).refused(2, &["line ", "unknown value \"lbd\"", "did you mean lbt?"]);
}

#[test]
fn a_team_that_cannot_be_is_refused_and_says_what_can() {
    let host = host();
    host.does("portgroup set Web --active eth1 --standby eth2");
    for (line, code, words) in [
        (
            "portgroup set Lab --active eth11",
            3,
            &[
                "port group Lab",
                "teaming.active",
                "eth11 is not an uplink of standard switch vSwitch1",
                "did you mean eth1?",
            ][..],
        ),
        (
            "portgroup set Lab --active eth1,eth2 --standby eth2",
            2,
            &["port group Lab", "teaming.standby", "eth2 is named twice"],
        ),
        (
            "portgroup set Web --teaming iphash",
            4,
            &[
                "port group Web",
                "iphash takes no standby uplinks",
                "weft portgroup set Web --standby none",
            ],
        ),
        (
            "vswitch set vSwitch1 --teaming iphash",
            4,
            &[
                "standard switch vSwitch1",
                "eth2 is standby by port group Web",
            ],
        ),
        (
            "uplink del vSwitch1 eth2",
            4,
            &[
                "standard switch vSwitch1",
                "eth2 is in the team of port group Web",
                "weft portgroup set Web --active",
            ],
        ),
        (
            "vswitch set vSwitch1 --teaming inherit",
            2,
            &["srcid, srcmac, iphash, explicit, lbt"],
        ),
        (
            "vswitch set vSwitch1 --shape-in avg=2mbit,peak=1mbit",
            2,
            &["below the average"],
        ),
        (
            "portgroup set Lab --learning-limit 4097",
            2,
            &["use 1-4096, or inherit"],
        ),
        ("portgroup set Lab", 2, &["say what to change"]),
    ] {
        let before = host.export();
        host.weft(line).refused(code, words);
        assert_eq!(host.export(), before, "{line}");
    }
    host.does("portgroup set Web --active inherit --standby inherit");
    host.does("uplink del vSwitch1 eth2");
    assert_eq!(in_force(&host)["teaming.active"].0, "eth1,eth3");
}
