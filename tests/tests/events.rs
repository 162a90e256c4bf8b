//! What `weft events` tells.
#![forbid(unsafe_code)]

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use weft_packet::MacAddr;
use weft_tests::{Frame, Host, Received, Wire, until, weft};

/// The newest event of a kind that is about an object.
fn newest(host: &Host, kind: &str, object: &str) -> Option<Value> {
    let events = host.shows("events");
    let events = events.as_array().expect("events are a list").iter();
    let mut found =
        events.filter(|event| event["kind"] == kind && event["object"]["name"] == object);
    found.next_back().cloned()
}

fn lab() -> Host {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    host
}

#[test]
fn links_that_go_and_come_back_are_told_with_the_reason() {
    let host = lab();
    let vm = host.vm("one", "Lab");
    let _world = host.world("eth1");
    host.does("uplink add vSwitch1 eth1");
    for (interface, name, down, up) in [
        (vm.interface.as_str(), "one", "portDown", "portUp"),
        ("eth1", "eth1", "linkDown", "linkUp"),
    ] {
        assert_eq!(newest(&host, down, name), None);
        host.runs(&format!("ip link set {interface} down"));
        until("the event that it is down", || {
            newest(&host, down, name).is_some()
        });
        let event = newest(&host, down, name).expect("it was there");
        assert_eq!(event["severity"], "warning");
        let reason = event["details"]["reason"].as_str().expect("a reason");
        assert!(reason.contains("down"), "{event}");
        assert!(
            event["text"].as_str().expect("a text").contains(reason),
            "{event}"
        );
        assert_eq!(event["details"]["on"], interface);
        let before = event["sequence"].as_u64();
        host.runs(&format!("ip link set {interface} up"));
        until("the event that it is up", || {
            newest(&host, up, name).is_some_and(|event| event["sequence"].as_u64() > before)
        });
    }
}

#[test]
fn a_change_is_told_with_who_made_it() {
    let host = lab();
    let _vm = host.vm("one", "Lab");
    host.does("port set one --block yes");
    let event = newest(&host, "configurationApplied", "one").expect("the change");
    assert_eq!(event["details"]["by"], "root");
    assert_eq!(
        event["details"]["objects"],
        serde_json::json!([{"kind": "port", "name": "one"}])
    );
    let text = event["text"].as_str().expect("a text");
    assert!(
        text.contains("block no -> yes") && text.ends_with("by root"),
        "{text}"
    );
    let down = newest(&host, "portDown", "one").expect("what it did to the port");
    let number = down["sequence"].as_u64().expect("a number");
    assert!(
        Some(number) > event["sequence"].as_u64(),
        "the cause comes first"
    );
    host.does("port set one --block yes");
    host.does("port set one --block no --dry-run");
    assert_eq!(
        host.shows(&format!("events --since {number}")),
        serde_json::json!([])
    );
    // Lines of fixed columns for people.
    let table = host.does("events --since 10m");
    let lines: Vec<&str> = table.lines().collect();
    let starts = |line: &str| ["configurationApplied", "EVENT"].map(|word| line.find(word));
    let columns = lines.iter().flat_map(|line| starts(line)).flatten();
    assert!(
        lines.len() > 3 && columns.clone().all(|column| column == 36),
        "{table}"
    );
}

/// `weft events --watch`, killed with the test.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whoever_watches_has_every_event_until_the_agent_ends() {
    let host = lab();
    let output = tempfile::NamedTempFile::new().expect("a file");
    let mut command = Command::new(weft());
    command.arg("--agent").arg(host.socket());
    command.args(["events", "--watch", "--since", "0", "-o", "json"]);
    command
        .stdout(output.reopen().expect("a file"))
        .stderr(Stdio::piped());
    let mut watch = Watch(command.spawn().expect("weft"));
    let seen = || -> Vec<Value> {
        let text = std::fs::read_to_string(output.path()).expect("a file");
        let lines = text.lines().map(serde_json::from_str);
        lines.filter_map(Result::ok).collect()
    };
    let kinds = |kind: &str| seen().iter().filter(|event| event["kind"] == kind).count();
    until("what was before is shown", || {
        kinds("configurationApplied") == 2
    });
    host.does("portgroup set Lab --vlan 20");
    until("what happens is shown", || {
        kinds("configurationApplied") == 3
    });
    host.end();
    let status = watch.0.wait().expect("a child");
    assert_eq!(status.code(), Some(5), "the agent is not there any more");
    let events = seen();
    assert_eq!(events.last().expect("events")["kind"], "agentStopping");
    let numbers: Vec<_> = events
        .iter()
        .filter_map(|event| event["sequence"].as_u64())
        .collect();
    assert!(
        numbers.iter().copied().eq(1..=numbers.len() as u64),
        "{numbers:?}"
    );
    host.start();
}

/// Whoever looks for the address that a guest uses in vain finds it, and what would let it pass.
#[test]
fn an_address_that_is_not_let_through_is_told() {
    let host = lab();
    host.does("portgroup set Lab --forged-transmits reject --mac-changes reject");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    let mut wire = Wire::new(&host, [&one, &two]);
    let forged = MacAddr::new([2, 0, 0, 0, 9, 9]);
    let frame = Frame::new(forged, MacAddr::BROADCAST).octets();
    // Some a second, for as long as the status looks back.
    until("the status tells it", || {
        assert_eq!(wire.send("one", &frame), Received::new());
        let status = host.does("status");
        status.contains("ForgedTransmit") && status.contains("the latest is 02:00:00:00:09:09")
    });
    let event = newest(&host, "sourceRefused", "one").expect("the event");
    assert_eq!(event["details"]["mac"], "02:00:00:00:09:09");
    let status = host.does("status");
    let next = "weft trace --port one --src 02:00:00:00:09:09 --dst ff:ff:ff:ff:ff:ff";
    assert!(status.contains(next), "{status}");
    let trace = host.does(next.trim_start_matches("weft "));
    assert!(
        trace.contains("next: weft portgroup set Lab --forged-transmits accept"),
        "{trace}"
    );
}
