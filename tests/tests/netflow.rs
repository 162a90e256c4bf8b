//! NetFlow as operators set it: collectors of a switch, port groups one by one and together, and every refusal.
#![forbid(unsafe_code)]

use std::fs;

use serde_json::{Value, json};
use weft_tests::Host;

/// A host with three port groups on a switch, and a port in the first.
fn host() -> Host {
    let host = Host::with_switch();
    for group in ["Lab", "Web", "Mail"] {
        host.does(&format!("portgroup add {group} --vswitch vSwitch1"));
    }
    host.vm("MyVM1", "Lab");
    host
}

/// What is asked for, as `show` tells it.
fn spec(host: &Host) -> Value {
    host.shows("netflow show vSwitch1")["spec"].clone()
}

#[test]
fn collectors_are_named_changed_and_taken_away() {
    let host = host();
    assert_eq!(host.shows("netflow list"), json!([]));
    let set = "netflow set vSwitch1 --collector 10.8.0.9:2055";
    assert_eq!(
        host.does(&format!("{set} --dry-run")),
        "netflow vSwitch1 would be added: ipfix to 10.8.0.9:2055\n"
    );
    assert_eq!(host.shows("netflow list"), json!([]));
    assert_eq!(
        host.does(set),
        "netflow vSwitch1 added: ipfix to 10.8.0.9:2055\n"
    );
    assert_eq!(host.does(set), "netflow vSwitch1: unchanged\n");
    let said = host.does(
        "netflow set vSwitch1 --collector 10.8.0.9:2055 --collector [fd00::9]:4739 --version 9 --active 30s --idle 5s \
         --sampling 100 --domain 7 --internal-only yes --direction in --flows 1000",
    );
    assert!(
        said.contains("collectors 10.8.0.9:2055 -> 10.8.0.9:2055,[fd00::9]:4739"),
        "{said}"
    );
    assert_eq!(
        spec(&host),
        json!({
            "vswitch": "vSwitch1",
            "collectors": ["10.8.0.9:2055", "[fd00::9]:4739"],
            "version": 9,
            "active": "30s",
            "idle": "5s",
            "sampling": 100,
            "domain": 7,
            "internalOnly": true,
            "direction": "in",
            "flows": 1000,
        })
    );
    assert_eq!(
        host.does(
            "netflow set vSwitch1 --collector 10.8.0.9:2055 --source-ip 10.8.0.1 --domain auto"
        ),
        "netflow vSwitch1: collectors 10.8.0.9:2055,[fd00::9]:4739 -> 10.8.0.9:2055, domain 7 -> auto, sourceIp none -> 10.8.0.1\n"
    );
    let shown = host.does("netflow show vSwitch1");
    assert!(
        shown.contains("sampling:          1 packet in 100\n"),
        "{shown}"
    );
    assert!(
        host.does("netflow list")
            .contains("vSwitch1  9        10.8.0.9:2055")
    );
    let exported = host.export();
    let file = host.state().join("host.yaml");
    fs::write(&file, &exported).unwrap();
    let said = host.does(&format!("apply -f {}", file.display()));
    assert!(said.starts_with("unchanged"), "{said}");
    assert_eq!(
        host.does("netflow del vSwitch1"),
        "netflow vSwitch1 deleted\n"
    );
    host.does(&format!("apply -f {}", file.display()));
    assert_eq!(host.export(), exported);
    host.does("rollback");
    assert_eq!(host.shows("netflow list"), json!([]));
}

#[test]
fn port_groups_have_it_enabled_together_or_none_has() {
    let host = host();
    let enable = "portgroup set Lab Web Mail --netflow enabled";
    host.weft(enable).refused(
        4,
        &[
            "port group Lab: netflow: flows are to be told, and standard switch vSwitch1 has no collector",
            "first run 'weft netflow set vSwitch1 --collector ADDR:PORT'",
        ],
    );
    host.does("netflow set vSwitch1 --collector 10.8.0.9:2055");
    let before = host.export();
    host.weft("portgroup set Lab Web Mial --netflow enabled")
        .refused(3, &["port group Mial does not exist", "did you mean Mail?"]);
    assert_eq!(host.export(), before, "all of them or none");
    host.weft(&format!("{enable} --if-version 3"))
        .refused(2, &["--if-version", "one by one"]);
    let planned = host.does(&format!("{enable} --dry-run"));
    assert!(planned.contains("3 to be changed"), "{planned}");
    assert_eq!(host.export(), before);
    let said = host.does(enable);
    assert!(
        said.contains("change  port group Web   netflow inherit -> enabled"),
        "{said}"
    );
    assert!(
        said.contains("3 changed; new settings in force on 1 port (MyVM1)"),
        "{said}"
    );
    let policy = host.shows("policy show MyVM1");
    let leaves = policy["leaves"].as_array().unwrap();
    let expected = json!({"leaf": "netflow", "value": "enabled", "from": {"kind": "portgroup", "name": "Lab"}});
    assert!(leaves.contains(&expected), "{policy}");
    assert_eq!(
        host.shows("netflow show vSwitch1")["status"]["ports"],
        json!(1)
    );
    assert_eq!(host.shows("flows --port MyVM1 --limit 10"), json!([]));

    host.weft("netflow del vSwitch1").refused(
        4,
        &[
            "netflow vSwitch1 is in use by port group Lab, port group Mail, port group Web",
            "first run 'weft portgroup set Lab Mail Web --netflow disabled'",
        ],
    );
    host.does("rollback");
    assert_eq!(host.export(), before, "one change");
    host.does("portgroup set Lab Web --netflow inherit --vlan 10");
    host.does("vswitch set vSwitch1 --netflow enabled");
    host.weft("netflow del vSwitch1")
        .refused(4, &["'weft vswitch set vSwitch1 --netflow disabled'"]);
}

#[test]
fn what_cannot_be_is_refused_and_says_what_can() {
    let host = host();
    for (line, code, words) in [
        (
            "netflow set vSwitch1 --active 30s",
            3,
            ["netflow vSwitch1 does not exist", "--collector ADDR:PORT"],
        ),
        (
            "netflow set vSwitch --collector 10.8.0.9:2055",
            3,
            [
                "standard switch vSwitch does not exist",
                "did you mean vSwitch1?",
            ],
        ),
        (
            "netflow show vSwitch1",
            3,
            [
                "netflow vSwitch1 does not exist",
                "weft netflow set vSwitch1",
            ],
        ),
        (
            "netflow del vSwitch1",
            3,
            ["netflow vSwitch1 does not exist", "weft netflow list"],
        ),
        (
            "netflow set vSwitch1 --collector 10.8.0.9",
            2,
            ["\"10.8.0.9\" is no collector", "such as 10.8.0.9:2055"],
        ),
        (
            "netflow set vSwitch1 --collector 10.8.0.9:1 --collector 10.8.0.9:1",
            2,
            [
                "netflow vSwitch1: collectors: collector 10.8.0.9:1",
                "named twice",
            ],
        ),
        (
            "netflow set vSwitch1 --collector 10.8.0.9:1 --version 5 --sampling 16384",
            2,
            [
                "netflow vSwitch1: sampling: 16384 is out of range",
                "use 0-16383",
            ],
        ),
        (
            "netflow set vSwitch1 --collector 10.8.0.9:1 --source-ip fd00::1",
            2,
            [
                "netflow vSwitch1: sourceIp: fd00::1 cannot send",
                "--source-ip none",
            ],
        ),
        (
            "netflow set vSwitch1 --active 0s",
            2,
            ["0s is out of range", "use 1s-1h"],
        ),
        (
            "netflow set vSwitch1 --idle 1500ms",
            2,
            ["\"1500ms\" is not a time in whole seconds", "use 1s-10m"],
        ),
        (
            "flows --port MyVM",
            3,
            ["port MyVM does not exist", "did you mean MyVM1?"],
        ),
        ("flows --limit 0", 2, ["0 is out of range", "use 1-10000"]),
    ] {
        host.weft(line).refused(code, &words);
    }
}

#[test]
fn flows_are_shown_by_the_names_of_ports_and_by_messages() {
    let host = host();
    host.does("netflow set vSwitch1 --collector 127.0.0.1:9");
    host.does("portgroup set Lab --netflow enabled");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    assert!(one.reaches(&two));
    let flows = host.shows("flows --port one");
    let flows = flows.as_array().expect("a list");
    let find = |source: &str, icmp_type: u64| {
        let is = |flow: &&Value| flow["inPort"] == source && flow["icmpType"] == icmp_type;
        flows.iter().find(is).expect("the flow").clone()
    };
    for (flow, to) in [(find("one", 8), "two"), (find("two", 0), "one")] {
        assert_eq!(flow["outPort"], to);
        assert_eq!(
            (&flow["protocol"], &flow["icmpCode"]),
            (&json!("icmp"), &json!(0))
        );
        assert_eq!((flow.get("srcPort"), flow.get("dstPort")), (None, None));
    }
    let shown = host.does("flows --port one");
    let request = shown
        .lines()
        .find(|line| line.contains("icmp echo-request"));
    let words: Vec<_> = request.expect("the request").split_whitespace().collect();
    assert_eq!(words[..5], ["one", "two", "0", "icmp", "echo-request"]);
    assert!(!words[5].contains(':'), "{shown}");
    assert!(shown.contains("icmp echo-reply"), "{shown}");
}
