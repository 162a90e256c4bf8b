//! The ways to collectors: from addresses of others, by IPv6, and those that lead nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use weft_tests::{Collectors, Host, fields, until};

use crate::flows::of_nfdump;
use crate::lab::Lab;
use crate::mix;

/// So many packets of one flow.
fn send(lab: &Lab, count: usize) {
    send_flow(lab, 40_000, count);
}

fn send_flow(lab: &Lab, port: u16, count: usize) {
    let frame = mix::datagram(lab.one.mac, lab.two.mac, port, 100);
    lab.send(&lab.one, &vec![frame; count]);
}

/// Packets by the router and the observation domain that tell of them.
fn by_exporter(records: &[Value], router: &str) -> BTreeMap<(String, u64), u64> {
    let mut packets = BTreeMap::new();
    for record in records {
        let router = record[router].as_str().unwrap_or_default().to_owned();
        // As nfdump 1.7.1 spells it.
        let domain = record["observationDoaminID"].as_u64().unwrap_or_default();
        *packets.entry((router, domain)).or_default() +=
            record["in_packets"].as_u64().expect("a count");
    }
    packets
}

#[test]
fn hosts_with_one_source_address_are_told_apart() {
    let labs = ["esxi01", "esxi02"].map(|name| Lab::of(Host::called(name)));
    let network = Collectors::new(&labs[0].host);
    network.join(&labs[1].host);
    let nfcapd = network.nfcapd(2055);
    let mut expected = BTreeMap::new();
    for (lab, count) in labs.iter().zip([30, 40]) {
        lab.tell("--collector 10.8.0.9:2055 --source-ip 198.51.100.1");
        send(lab, count);
        let domain = lab.status()["domain"].as_u64().expect("a number");
        expected.insert(("198.51.100.1".to_owned(), domain), count as u64);
        lab.host.end();
    }
    let (records, log) = nfcapd.ends();
    assert_eq!(by_exporter(&records, "ip4_router"), expected, "{log}");
    assert_eq!(expected.len(), 2);
}

#[test]
fn collectors_are_told_by_ipv6_from_an_address_of_nobody() {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let nfcapd = network.nfcapd_v6(2055);
    lab.tell("--collector [fd08::9]:2055 --source-ip 2001:db8::1");
    send(&lab, 30);
    let domain = lab.status()["domain"].as_u64().expect("a number");
    lab.host.end();
    let (records, log) = nfcapd.ends();
    let expected = BTreeMap::from([(("2001:db8::1".to_owned(), domain), 30)]);
    assert_eq!(by_exporter(&records, "ip6_router"), expected, "{log}");
}

/// From which addresses of the host, and ports, a collector was told.
fn senders(export: &Path, protocol: &str) -> BTreeSet<(String, String)> {
    let names = [format!("{protocol}.src"), "udp.srcport".to_owned()];
    let messages = fields(
        export,
        "-Y udp.dstport==2055",
        names.each_ref().map(String::as_str),
    );
    let senders = messages.into_iter();
    senders
        .map(|message| (message[0].clone(), message[1].clone()))
        .collect()
}

/// Has the host lose its address in the network of collectors, and get another one there, while it tells flows.
fn readdressed(protocol: &str, addresses: [&str; 2], prefix: u8, collector: &str) {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let nfcapd = match protocol {
        "ip" => network.nfcapd(2055),
        _ => network.nfcapd_v6(2055),
    };
    let export = network.capture(2055);
    lab.tell(&format!("--collector {collector} --active 1s --idle 1s"));
    send(&lab, 30);
    lab.over(1);
    let [before, after] = addresses;
    let address = |does: &str| lab.host.runs(&format!("ip addr {does} dev mgmt1"));
    address(&format!("del {before}/{prefix}"));
    address(&format!(
        "add {after}/{prefix} {}",
        if protocol == "ip" { "" } else { "nodad" }
    ));
    send(&lab, 20);
    lab.over(2);
    let domain = lab.status()["domain"].as_u64().expect("a number");
    lab.host.end();
    let senders = senders(export.all(&lab.host), protocol);
    let told_from: Vec<_> = senders
        .iter()
        .map(|(address, _)| address.as_str())
        .collect();
    assert_eq!(told_from, addresses);
    let ports: BTreeSet<_> = senders.iter().map(|(_, port)| port).collect();
    assert_eq!(ports.len(), 1, "{senders:?}");
    let (records, log) = nfcapd.ends();
    let expected = BTreeMap::from([
        ((before.to_owned(), domain), 30),
        ((after.to_owned(), domain), 20),
    ]);
    let router = if protocol == "ip" {
        "ip4_router"
    } else {
        "ip6_router"
    };
    assert_eq!(by_exporter(&records, router), expected, "{log}");
}

#[test]
fn a_host_that_gets_another_address_tells_flows_from_it() {
    readdressed("ip", ["10.8.0.1", "10.8.0.3"], 24, "10.8.0.9:2055");
}

#[test]
fn a_host_that_gets_another_address_tells_flows_from_it_by_ipv6() {
    readdressed("ipv6", ["fd08::1", "fd08::3"], 64, "[fd08::9]:2055");
}

#[test]
fn a_collector_that_cannot_be_told_costs_the_others_nothing() {
    const FLOWS: u64 = 40;
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    network.answer_all();
    let nfcapd = network.nfcapd(2055);
    // One that is told, one where nobody listens, one that does not answer, and one to which there is no way.
    let [told, refusing, absent, beyond] = [
        "10.8.0.9:2055",
        "10.8.0.9:2056",
        "10.8.0.99:2055",
        "203.0.113.9:2055",
    ];
    lab.tell(&format!(
        "--collector {told} --collector {refusing} --collector {absent} --collector {beyond} --active 1s --idle 1s"
    ));
    let (from, to) = (lab.one.mac, lab.two.mac);
    for round in 1..=3 {
        let frames: Vec<_> = (0..FLOWS)
            .flat_map(|flow| vec![mix::datagram(from, to, 40_000 + flow as u16, 100); 5])
            .collect();
        lab.send(&lab.one, &frames);
        lab.over(round * FLOWS);
    }
    let status = lab.status();
    let collectors = status["collectors"]
        .as_array()
        .expect("collectors are a list");
    let of = |address: &str| {
        let found = collectors
            .iter()
            .find(|collector| collector["collector"] == address);
        found.unwrap_or_else(|| panic!("{address} is not shown: {status}"))
    };
    let count = |address: &str, name: &str| of(address)[name].as_u64().expect("a count");
    let all = count(told, "records");
    for address in [told, refusing, absent, beyond] {
        let sum = count(address, "records") + count(address, "lostRecords");
        assert_eq!(sum, all, "{address}: {status}");
    }
    assert_eq!(
        (count(told, "lostRecords"), &of(told)["lastError"]),
        (0, &Value::Null)
    );
    assert_eq!(
        (count(beyond, "records"), count(beyond, "messages")),
        (0, 0)
    );
    assert!(
        of(beyond)["lastError"]
            .as_str()
            .expect("an error")
            .contains("there is no route to it")
    );
    // Only of the last message that was sent to it is it not known yet that nobody took it.
    assert!(count(refusing, "lostRecords") >= 2 * FLOWS, "{status}");
    assert!(count(refusing, "records") <= FLOWS, "{status}");
    assert_eq!(of(refusing)["lastError"], "nobody listens there");

    lab.host.end();
    let (records, _) = nfcapd.ends();
    let flows = of_nfdump(&records);
    assert_eq!(flows.len() as u64, FLOWS);
    assert!(
        flows.values().all(|total| total.packets == 3 * 5),
        "{flows:#?}"
    );
}

#[test]
fn that_nobody_listens_is_shown_though_few_messages_are_answered() {
    let lab = Lab::new();
    let _network = Collectors::new(&lab.host);
    lab.tell("--collector 10.8.0.9:2055 --active 1s --idle 1s");
    let mut flows = 0;
    until("many messages were sent", || {
        flows += 1;
        send_flow(&lab, 40_000 + flows, 1);
        lab.status()["collectors"][0]["messages"].as_u64() > Some(20)
    });
    let status = lab.status();
    let collector = &status["collectors"][0];
    assert_eq!(collector["lastError"], "nobody listens there", "{status}");
    assert_ne!(collector["lostRecords"], 0, "{status}");
}
