//! Collectors that come late, agents that end, die and start again, and ports that go.

use std::time::{Duration, Instant};

use weft_tests::{Collectors, eventually, until};

use crate::flows::{agree, dissect, known, of_capture, of_nfdump, of_tshark, told};
use crate::lab::Lab;
use crate::mix;

/// From one time that templates are sent to the next.
const TEMPLATES: Duration = Duration::from_secs(60);

/// Sets of templates (RFC 7011 §3.3.2), and where a message has the number of its first set.
const TEMPLATE_SET: [u8; 2] = [0, 2];
const FIRST_SET: std::ops::Range<usize> = 16..18;

/// "Forced end" (IANA "flowEndReason").
const FORCED: u64 = 4;

#[test]
fn a_collector_that_comes_late_reads_after_the_next_templates() {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let early = network.socket(2055);
    early
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    lab.tell("--collector 10.8.0.9:2055 --active 1s --idle 1s");
    let frame = mix::datagram(lab.one.mac, lab.two.mac, 40_000, 100);
    let socket = lab.one.socket();
    // At the start, after a second and after five.
    let mut message = [0; 2000];
    let mut templates = 0;
    while templates < 3 {
        let length = early.recv(&mut message).unwrap();
        let is_template = message[..length].get(FIRST_SET) == Some(&TEMPLATE_SET);
        templates += u32::from(is_template);
        socket.send(&frame);
    }
    drop(early);
    let start = Instant::now();
    let late = network.nfcapd_in_pieces(2055);
    let slack = Duration::from_secs(5);
    let records = eventually(TEMPLATES + slack, || {
        socket.send(&frame);
        Some(late.records()).filter(|records| !records.is_empty())
    });
    let records = records.expect("the collector reads within the period of templates");
    println!("read after {:?}", start.elapsed());
    let flows = of_nfdump(&records);
    let flow = flows.keys().next().expect("there are records");
    assert_eq!((flows.len(), flow.ports), (1, [40_000, 9_000]));
}

/// Several flows of so many packets.
fn frames(lab: &Lab, count: usize) -> Vec<Vec<u8>> {
    let (from, to) = (lab.one.mac, lab.two.mac);
    let flows = (0..count).map(|number| (40_000 + number as u16 % 20, number % 700));
    flows
        .map(|(port, octets)| mix::datagram(from, to, port, octets))
        .collect()
}

#[test]
fn an_agent_that_is_asked_to_end_tells_all_that_it_has_counted() {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let nfcapd = network.nfcapd(2055);
    let export = network.capture(2055);
    let received = lab.capture();
    lab.tell("--collector 10.8.0.9:2055");
    let mut sent = 0;
    for count in [400, 300, 200] {
        lab.send(&lab.one, &frames(&lab, count));
        sent += count as u64;
        lab.host.end();
        lab.host.start();
        lab.are_up();
    }
    lab.host.end();
    let expected = of_capture(received.holds(sent));
    let records = dissect(export.all(&lab.host));
    agree("tshark", &of_tshark(&records), &expected);
    assert!(
        records
            .iter()
            .all(|record| told(record, "flow_end_reason") == FORCED)
    );
    let (records, _) = nfcapd.ends();
    let expected = known(&expected, |flow, totals| {
        (flow.ethertype, totals.layer2_octets) = (0, 0);
        true
    });
    agree("nfdump", &of_nfdump(&records), &expected);
}

#[test]
fn an_agent_that_is_killed_tells_nothing_twice() {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let nfcapd = network.nfcapd(2055);
    let received = lab.capture();
    lab.tell("--collector 10.8.0.9:2055 --active 1s --idle 1s");
    let mut sent = 0;
    let mut send = |count| {
        lab.send(&lab.one, &frames(&lab, count));
        sent += count as u64;
    };
    for _ in 0..2 {
        // What is told before it dies, and what dies with it.
        send(400);
        lab.over(20);
        send(300);
        lab.host.kill();
        lab.host.start();
        lab.are_up();
    }
    send(200);
    lab.host.end();
    let received = of_capture(received.holds(sent));
    let (records, _) = nfcapd.ends();
    let told = of_nfdump(&records);
    let received = known(&received, |flow, totals| {
        (flow.ethertype, totals.layer2_octets) = (0, 0);
        true
    });
    assert_eq!(told.len(), 20);
    let mut all = 0;
    for (flow, totals) in told {
        let most = received[&flow];
        assert!(
            totals.packets <= most.packets && totals.octets <= most.octets,
            "{flow:?}: {totals:?} of {most:?}"
        );
        all += totals.packets;
    }
    // What was told before, and what was sent to the last agent, is there.
    assert!(all >= 2 * 400 + 200, "{all} packets");
}

#[test]
fn the_flows_of_a_port_that_goes_end_at_once() {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let nfcapd = network.nfcapd(2055);
    let export = network.capture(2055);
    let received = lab.capture();
    lab.tell("--collector 10.8.0.9:2055");
    let (one, two) = (&lab.one, &lab.two);
    let three = lab.host.vm("three", "Lab");
    lab.send(one, &vec![mix::datagram(one.mac, two.mac, 12, 70); 12]);
    lab.send(two, &vec![mix::datagram(two.mac, one.mac, 21, 70); 21]);
    lab.send(one, &vec![mix::datagram(one.mac, three.mac, 13, 70); 13]);
    assert_eq!(lab.status()["flows"], 3);
    lab.host.does("port del two");
    // Neither timeout is near.
    until("both flows of the port are told", || {
        let status = lab.status();
        (&status["flows"], &status["collectors"][0]["records"]) == (&1.into(), &2.into())
    });
    // It comes back, and goes on where it was.
    let (interface, mac) = (&two.interface, two.mac);
    lab.host.does(&format!(
        "port add two --portgroup Lab --veth {interface} --mac {mac}"
    ));
    lab.are_up();
    lab.send(one, &vec![mix::datagram(one.mac, two.mac, 12, 70); 5]);
    lab.send(one, &vec![mix::datagram(one.mac, three.mac, 13, 70); 2]);
    lab.host.end();

    let records = dissect(export.all(&lab.host));
    assert!(
        records
            .iter()
            .all(|record| told(record, "flow_end_reason") == FORCED),
        "{records:#?}"
    );
    let packets = |port| {
        let of_port = records
            .iter()
            .filter(|record| told(record, "srcport") == port);
        of_port
            .map(|record| told(record, "packets"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        [packets(12), packets(21), packets(13)],
        [vec![12, 5], vec![21], vec![15]]
    );
    let expected = of_capture(received.holds(12 + 5));
    let to_two = known(&of_tshark(&records), |flow, _| flow.ports[0] == 12);
    agree("tshark", &to_two, &expected);
    let (records, _) = nfcapd.ends();
    let total: u64 = of_nfdump(&records)
        .values()
        .map(|total| total.packets)
        .sum();
    assert_eq!(total, 12 + 21 + 13 + 5 + 2);
}
