//! Segments that a VM leaves to others to cut.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use weft_tests::{Collectors, Engine, Host, Vm};

use crate::flows::{Flow, agree, dissect, known, of_capture, of_nfdump, of_tshark};
use crate::lab::Lab;

/// Octets that are sent.
const CONTENT: usize = 3_000_000;

/// Sends them by TCP, and returns when they have arrived and both ends are closed.
fn stream(from: &Vm, to: &Vm) {
    // What is on its way fits the rings: nothing is lost between meter and receiver.
    let buffers = "/proc/sys/net/ipv4/tcp_rmem";
    let limit = || fs::write(buffers, "4096 131072 262144").unwrap();
    to.namespace().run(limit);
    let address = (to.ip.as_str(), 7000);
    let listener = to.namespace().run(|| TcpListener::bind(address).unwrap());
    let sink = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received.len()
    });
    let mut stream = from
        .namespace()
        .run(|| TcpStream::connect(address).unwrap());
    stream.write_all(&vec![1; CONTENT]).unwrap();
    drop(stream);
    assert_eq!(sink.join().unwrap(), CONTENT);
}

/// The record of a stream from a VM that leaves cutting to others, to one that gets whole packets, is what the latter has received.
fn as_on_the_wire(engine: Engine) {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm_by(engine, "one", "Lab"), host.vm("two", "Lab"));
    let lab = Lab { one, two, host };
    let network = Collectors::new(&lab.host);
    let nfcapd = network.nfcapd(2055);
    let export = network.capture(2055);
    lab.tell("--collector 10.8.0.9:2055");
    let received = lab.capture();
    stream(&lab.one, &lab.two);
    lab.host.audit();
    let stats = lab.host.stats();
    assert_eq!(stats["two"].tx_drops("RingFull"), 0);
    let frames = received.holds(stats["two"].count("txFrames"));
    let is_stream = |flow: &Flow| flow.ports[1] == 7000;
    let expected = known(&of_capture(frames), |flow, _| is_stream(flow));
    let total = expected.values().next().expect("the stream was received");
    println!(
        "{total:?}, of which the switch saw {}",
        stats["one"].count("rxFrames")
    );
    assert!(
        stats["one"].count("rxFrames") < total.packets / 2,
        "nothing was left to be cut"
    );
    lab.host.end();

    let told = of_tshark(&dissect(export.all(&lab.host)));
    agree(
        "tshark",
        &known(&told, |flow, _| is_stream(flow)),
        &expected,
    );
    let expected = known(&expected, |flow, totals| {
        (flow.ethertype, totals.layer2_octets) = (0, 0);
        true
    });
    let (records, _) = nfcapd.ends();
    let told = known(&of_nfdump(&records), |flow, _| is_stream(flow));
    agree("nfdump", &told, &expected);
}

#[test]
fn segments_of_a_veth_pair_count_as_packets_on_the_wire() {
    as_on_the_wire(Engine::Packet);
}

#[test]
fn segments_of_a_tap_device_count_as_packets_on_the_wire() {
    as_on_the_wire(Engine::Tap);
}
