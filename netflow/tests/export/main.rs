//! Encoders against strict readers of their formats: what goes in comes out, and nothing that a collector would refuse.

mod bytes;
mod decoder;
mod options;
mod records;
mod v5;

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_netflow::export::{Exporter, NamedInterface, Now, Settings, Statistics, Totals};
use weft_netflow::{Addresses, Counts, Direction, EndReason, Flow, Interface, Record};
use weft_packet::MacAddr;

/// A request to a web server, as its first port sees it: 10 packets in 1.5 s.
fn request(now: Now) -> Record {
    Record {
        flow: Flow {
            ingress: Interface(3),
            egress: Interface(0x1_0002),
            direction: Direction::Ingress,
            vlan: 20,
            src_mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
            dst_mac: MacAddr::new([2, 0, 0, 0, 0, 2]),
            ethertype: 0x0800,
            addresses: Addresses::V4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)),
            protocol: 6,
            tos: 0x10,
            src_port: 40_000,
            dst_port: 443,
        },
        counts: Counts {
            packets: 10,
            octets: 1_234,
            layer2_octets: 1_374,
            first: now.monotonic_ms - 2_000,
            last: now.monotonic_ms - 500,
            tcp_flags: 0x11b,
            min_ttl: 63,
            max_ttl: 64,
        },
        reason: EndReason::Ended,
    }
}

/// An echo request.
fn ping(now: Now) -> Record {
    let mut record = request(now);
    record.flow.protocol = 1;
    record.flow.src_port = 0;
    record.flow.dst_port = 0x0800;
    record.counts.tcp_flags = 0;
    record.reason = EndReason::Idle;
    record
}

/// A neighbour solicitation.
fn solicitation(now: Now) -> Record {
    let mut record = ping(now);
    let unspecified = Ipv6Addr::UNSPECIFIED;
    record.flow.ethertype = 0x86dd;
    record.flow.addresses = Addresses::V6(unspecified, "ff02::1:ff00:1".parse().unwrap());
    record.flow.protocol = 58;
    record.flow.dst_port = 135 << 8;
    record
}

/// A request for an address, flooded.
fn arp(now: Now) -> Record {
    let mut record = ping(now);
    record.flow.egress = Interface(0);
    record.flow.direction = Direction::Egress;
    record.flow.dst_mac = MacAddr::BROADCAST;
    record.flow.ethertype = 0x0806;
    record.flow.addresses = Addresses::None;
    record.flow.protocol = 0;
    record.flow.tos = 0;
    record.flow.dst_port = 0;
    record.counts.min_ttl = 0;
    record.counts.max_ttl = 0;
    record
}

fn interface(number: u32, name: &str, description: &str) -> NamedInterface {
    NamedInterface {
        number: Interface(number),
        name: name.to_owned(),
        description: description.to_owned(),
    }
}

/// The messages of one call, and what has no place in the version. What each message says that it has is checked.
fn encode(
    exporter: &mut Exporter,
    settings: &Settings,
    now: Now,
    records: &[Record],
    interfaces: &[NamedInterface],
) -> (Vec<(Vec<u8>, Totals)>, Totals) {
    let mut messages = Vec::new();
    let statistics = Statistics {
        messages: 11,
        flows: 12,
        not_sent: Totals {
            flows: 13,
            packets: 14,
            octets: 15,
        },
    };
    let unsaid = exporter.encode(now, records, interfaces, &statistics, |message| {
        assert!(message.bytes.len() <= settings.max_message);
        messages.push((message.bytes.to_vec(), message.flows));
    });
    (messages, unsaid)
}
