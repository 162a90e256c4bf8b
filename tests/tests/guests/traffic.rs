//! What passes between guests, and between a guest and a kernel's stack.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use weft_tests::{GUEST_VLAN, Guest, Random, Stats};

use crate::lab::{ACCESS, Lab, TRUNK};

/// The longest frame of an MTU of 1500 octets.
const LONGEST_FRAME: u64 = 1514;

/// Octets of the file that is sent around.
const FILE: usize = 4 << 20;

#[test]
fn guests_reach_each_other_on_an_access_vlan() {
    Lab::runs(|lab| {
        let [one, two, three] = &lab.guests;
        for (from, to) in [(one, two), (two, three), (three, one)] {
            assert!(from.reaches(&to.ip), "{} to {}", from.name, to.name);
            assert!(from.reaches(&lab.vm.ip), "{}", from.name);
        }
        // The guests' tags are not for them to choose.
        let before = lab.host.drops("VlanTagNotAllowed");
        assert!(!one.reaches(&two.tagged_ip));
        assert!(lab.host.drops("VlanTagNotAllowed") > before);
    });
}

#[test]
fn a_guest_uses_every_offload_there_is() {
    Lab::runs(|lab| {
        for guest in &lab.guests {
            let port = lab.host.shows(&format!("port show {}", guest.name));
            let shown = &port["status"]["engine"]["guest"];
            let features: Vec<&str> = array(&shown["features"])
                .filter_map(Value::as_str)
                .collect();
            for feature in [
                "CSUM",
                "HOST_TSO4",
                "GUEST_CSUM",
                "GUEST_TSO4",
                "MRG_RXBUF",
                "EVENT_IDX",
            ] {
                assert!(features.contains(&feature), "{feature}: {shown}");
            }
            assert_eq!(shown["state"], "running");
            let queues: Vec<_> = array(&shown["queues"])
                .map(|queue| &queue["name"])
                .collect();
            let pairs = ["receiveq1", "transmitq1", "receiveq2", "transmitq2"];
            let expected = if guest.name == "two" { 4 } else { 2 };
            assert_eq!(queues, pairs[..expected]);
            let ethtool = guest.does("ethtool -k eth0");
            for offload in [
                "rx-checksumming: on",
                "tx-checksumming: on",
                "scatter-gather: on",
                "tcp-segmentation-offload: on",
            ] {
                assert!(ethtool.contains(offload), "{offload}: {ethtool}");
            }
        }
    });
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn tcp_between_guests_passes_uncut() {
    Lab::runs(|lab| {
        let [one, two, _] = &lab.guests;
        let before = lab.host.stats();
        sends_a_file(one, two, &two.ip);
        sends_a_file(two, one, &one.ip);
        two.does("iperf3 --server --one-off --daemon");
        two.until("iperf3 listens", "netstat -ltn | grep -q ':5201 '");
        one.does(&format!("iperf3 --client {} --time 2", two.ip));
        let counted = Counted::since(&before, lab);
        for guest in [one, two] {
            let name = &guest.name;
            for what in ["segmented", "checksumsCompleted"] {
                assert_eq!(counted.of(name, what), 0, "{what} for {name}");
            }
        }
        let average = counted.of("one", "rxBytes") / counted.of("one", "rxFrames");
        assert!(average > LONGEST_FRAME, "{average} octets a frame");
    });
}

#[test]
fn tcp_between_a_guest_and_an_interface_without_offloads_is_cut_and_finished() {
    Lab::runs(|lab| {
        let guest = &lab.guests[0];
        let before = lab.host.stats();
        listens(guest, "cat >/tmp/received; cat /tmp/received");
        let content = Random::new().octets(FILE);
        let address = (guest.ip.as_str(), 7000);
        let connect = || TcpStream::connect(address).expect("the guest listens");
        let mut stream = lab.vm.namespace().run(connect);
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("not zero");
        stream.write_all(&content).expect("the guest reads");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the guest answers");
        assert!(answer == content, "{} octets came back", answer.len());
        let counted = Counted::since(&before, lab);
        let (cut, segments) = (counted.of("vm", "segmented"), counted.of("vm", "segments"));
        assert!(cut > 0 && segments > 2 * cut, "{cut} in {segments}");
        assert!(counted.of("vm", "checksumsCompleted") > 0);
        assert_eq!(counted.of("one", "segmented"), 0);
    });
}

#[test]
fn guests_tag_on_vlan_4095() {
    Lab::runs(|lab| {
        let [one, two, three] = &lab.guests;
        lab.connect(&lab.guests[..2], TRUNK);
        assert!(one.reaches(&two.tagged_ip));
        sends_a_file(one, two, &two.tagged_ip);
        assert!(!one.reaches(&three.tagged_ip), "an access port took a tag");
        // What is tagged here is untagged where the port group has that VLAN.
        let vlan = format!("portgroup add Thirty --vswitch vSwitch1 --vlan {GUEST_VLAN}");
        lab.host.does(&vlan);
        lab.connect(&lab.guests[2..], "Thirty");
        one.does(&format!("ip addr add 10.99.0.1/24 dev eth0.{GUEST_VLAN}"));
        three.does("ip addr add 10.99.0.3/24 dev eth0");
        assert!(one.reaches("10.99.0.3"));
        one.does(&format!("ip addr del 10.99.0.1/24 dev eth0.{GUEST_VLAN}"));
        three.does("ip addr del 10.99.0.3/24 dev eth0");
        lab.connect(&lab.guests[2..], ACCESS);
        lab.host.does("portgroup del Thirty");
    });
}

#[test]
fn a_promiscuous_guest_sees_the_traffic_of_others_while_the_policy_accepts_that() {
    Lab::runs(|lab| {
        for (policy, requests) in [("reject", 0), ("accept", 5), ("reject", 0)] {
            lab.host
                .does(&format!("portgroup set {ACCESS} --promiscuous {policy}"));
            assert_eq!(requests_seen(lab), requests, "{policy}");
        }
    });
}

/// How many of five requests of the first guest to the second a capture in the third one sees.
fn requests_seen(lab: &Lab) -> usize {
    let [one, two, three] = &lab.guests;
    three.does("tcpdump -n -l --immediate-mode -i eth0 icmp >/tmp/seen 2>/tmp/tcpdump &");
    three.until("tcpdump captures", "grep -q 'listening on' /tmp/tcpdump");
    one.does(&format!("ping -c 5 -i 0.05 {}", two.ip));
    // What is captured is in order: behind this, nothing of the five is to come.
    one.does(&format!("ping -c 1 {}", three.ip));
    let last = format!(
        "grep -q '{} > {}: ICMP echo reply' /tmp/seen",
        three.ip, one.ip
    );
    three.until("the last packet is captured", &last);
    three.does("killall tcpdump");
    let seen = three.does("cat /tmp/seen");
    let request = format!("{} > {}: ICMP echo request", one.ip, two.ip);
    seen.lines().filter(|line| line.contains(&request)).count()
}

/// Sends a file from one guest to another, and compares the checksums.
fn sends_a_file(from: &Guest, to: &Guest, address: &str) {
    listens(to, "cat >/tmp/received");
    from.does(&format!("head -c {FILE} /dev/urandom >/tmp/sent"));
    from.does(&format!("nc {address} 7000 </tmp/sent"));
    let sent = from.does("sha256sum </tmp/sent");
    let received = to.does("sha256sum </tmp/received");
    assert_eq!(sent, received, "{} to {address}", from.name);
}

/// Makes a guest accept one connection, and run a script on it.
fn listens(guest: &Guest, script: &str) {
    guest.does(&format!(
        "nc -l -p 7000 -e /bin/sh -c '{script}' >/dev/null 2>&1 &"
    ));
    guest.until("nc listens", "netstat -ltn | grep -q ':7000 '");
}

/// Counters of what happened since some time.
struct Counted {
    before: BTreeMap<String, Stats>,
    after: BTreeMap<String, Stats>,
}

impl Counted {
    fn since(before: &BTreeMap<String, Stats>, lab: &Lab) -> Self {
        Self {
            before: before.clone(),
            after: lab.host.stats(),
        }
    }

    fn of(&self, port: &str, counter: &str) -> u64 {
        self.after[port].count(counter) - self.before[port].count(counter)
    }
}
