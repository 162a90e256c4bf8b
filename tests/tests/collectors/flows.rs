//! Flows and their totals: those of a capture, and those that collectors have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use weft_tests::{dissected, fields};

/// What tells a flow from others. What somebody does not tell is 0 or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) macs: [String; 2],
    pub(crate) vlan: u64,
    pub(crate) ethertype: u64,
    pub(crate) addresses: Option<[IpAddr; 2]>,
    pub(crate) protocol: u64,
    pub(crate) tos: u64,
    /// Of ICMP: 0, and type · 256 + code.
    pub(crate) ports: [u64; 2],
}

/// What is counted of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    pub(crate) layer2_octets: u64,
    pub(crate) tcp_flags: u64,
}

/// All flows.
pub(crate) type Flows = BTreeMap<Flow, Totals>;

const TCP: u64 = 6;
const UDP: u64 = 17;
const ICMP: u64 = 1;
const ICMPV6: u64 = 58;
pub(crate) const SCTP: u64 = 132;

/// The fields of a frame, as tshark calls them.
const FIELDS: [&str; 30] = [
    "eth.src",
    "eth.dst",
    "eth.type",
    "vlan.id",
    "vlan.etype",
    "frame.len",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.dsfield",
    "ip.len",
    "tcp.flags",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.tclass",
    "ipv6.plen",
    "ipv6.hopopts.nxt",
    "ipv6.fraghdr.nxt",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
    "ip.frag_offset",
];

/// The flows of the frames in a file. tshark reads them, and each fragment is a packet of its own.
pub(crate) fn of_capture(file: &Path) -> Flows {
    let options =
        "-o ip.defragment:FALSE -o ipv6.defragment:FALSE -o tcp.desegment_tcp_streams:FALSE";
    let frames = fields(file, options, FIELDS);
    sum(frames.iter().map(|values| {
        let frame: BTreeMap<&str, &str> = FIELDS
            .into_iter()
            .zip(values.iter().map(String::as_str))
            .collect();
        of_frame(&frame)
    }))
}

fn of_frame(frame: &BTreeMap<&str, &str>) -> (Flow, Totals) {
    // The first that is there; 0 without any.
    let number = |names: &[&str]| {
        let found = names.iter().find(|name| !frame[*name].is_empty());
        found.map_or(0, |name| parse(frame[name]))
    };
    let has = |name: &str| !frame[name].is_empty();
    let protocol = number(&[
        "ipv6.fraghdr.nxt",
        "ipv6.hopopts.nxt",
        "ipv6.nxt",
        "ip.proto",
    ]);
    let pair = |names: [&str; 2]| names.map(|name| number(&[name]));
    let ports = match protocol {
        TCP => pair(["tcp.srcport", "tcp.dstport"]),
        UDP => pair(["udp.srcport", "udp.dstport"]),
        SCTP => pair(["sctp.srcport", "sctp.dstport"]),
        ICMP => [0, number(&["icmp.type"]) << 8 | number(&["icmp.code"])],
        ICMPV6 => [0, number(&["icmpv6.type"]) << 8 | number(&["icmpv6.code"])],
        _ => [0, 0],
    };
    let (length, tag) = (number(&["frame.len"]), if has("vlan.id") { 4 } else { 0 });
    let (addresses, octets) = if has("ip.src") {
        (Some(["ip.src", "ip.dst"]), number(&["ip.len"]))
    } else if has("ipv6.src") {
        (Some(["ipv6.src", "ipv6.dst"]), 40 + number(&["ipv6.plen"]))
    } else {
        (None, length - 14 - tag)
    };
    let flow = Flow {
        macs: ["eth.src", "eth.dst"].map(|name| frame[name].to_owned()),
        vlan: number(&["vlan.id"]),
        ethertype: number(&["vlan.etype", "eth.type"]),
        addresses: addresses.map(|names| names.map(|name| address(frame[name]))),
        protocol,
        tos: number(&["ipv6.tclass", "ip.dsfield"]),
        ports,
    };
    let totals = Totals {
        packets: 1,
        octets,
        layer2_octets: length,
        tcp_flags: if protocol == TCP {
            number(&["tcp.flags"])
        } else {
            0
        },
    };
    (flow, totals)
}

/// The flows that nfdump has read, of which it tells all but the EtherType and the octets of the frames.
pub(crate) fn of_nfdump(records: &[Value]) -> Flows {
    sum(records.iter().map(|record| {
        let number = |name: &str| record[name].as_u64().unwrap_or_default();
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let found = ["src4_addr", "src6_addr"]
            .iter()
            .any(|name| !record[*name].is_null());
        let addresses = if record["src6_addr"].is_null() {
            ["src4_addr", "dst4_addr"]
        } else {
            ["src6_addr", "dst6_addr"]
        };
        let mut flow = Flow {
            macs: ["in_src_mac", "in_dst_mac"].map(|name| text(name).to_owned()),
            vlan: number("src_vlan"),
            ethertype: 0,
            addresses: found.then(|| addresses.map(|name| address(text(name)))),
            protocol: number("proto"),
            tos: number("src_tos"),
            ports: ["src_port", "dst_port"].map(number),
        };
        if matches!(flow.protocol, ICMP | ICMPV6) {
            flow.ports = [0, number("icmp_type") << 8 | number("icmp_code")];
        }
        let totals = Totals {
            packets: number("in_packets"),
            octets: number("in_bytes"),
            layer2_octets: 0,
            tcp_flags: flags(text("tcp_flags")),
        };
        (flow, totals)
    }))
}

/// TCP flags as nfdump shows them, "CEUAPRSF" with dots for those that are missing.
fn flags(text: &str) -> u64 {
    text.chars()
        .fold(0, |flags, letter| flags << 1 | u64::from(letter != '.'))
}

/// The flows that nfacctd tells of: those of IP, without EtherType, octets of frames and TCP flags.
pub(crate) fn of_nfacctd(records: &[Value]) -> Flows {
    sum(records.iter().map(|record| {
        let number = |name: &str| record[name].as_u64().unwrap_or_default();
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        // Without any, it shows zeros.
        let mac = |name: &str| {
            let mac = text(name);
            if mac == "00:00:00:00:00:00" {
                String::new()
            } else {
                mac.to_owned()
            }
        };
        let protocol = match text("ip_proto") {
            "tcp" => TCP,
            "udp" => UDP,
            "icmp" => ICMP,
            "ipv6-icmp" => ICMPV6,
            "sctp" => SCTP,
            "gre" => 47,
            other => panic!("nfacctd calls it {other}"),
        };
        let flow = Flow {
            macs: ["mac_src", "mac_dst"].map(mac),
            vlan: number("vlan"),
            ethertype: 0,
            addresses: Some(["ip_src", "ip_dst"].map(|name| address(text(name)))),
            protocol,
            tos: number("tos"),
            ports: ["port_src", "port_dst"].map(number),
        };
        let totals = Totals {
            packets: number("packets"),
            octets: number("bytes"),
            ..Totals::default()
        };
        (flow, totals)
    }))
}

/// A message of an exporter as tshark reads it.
const EXPORT: &str = "-d udp.port==2055,cflow";

/// The records in the messages of a file, as tshark tells them.
///
/// # Panics
/// If it finds anything wrong with a message.
pub(crate) fn dissect(file: &Path) -> Vec<Value> {
    let wrong = dissected(file, EXPORT, "_ws.malformed || _ws.expert");
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut records = Vec::new();
    for message in dissected(file, EXPORT, "cflow") {
        find(&message, &mut records);
    }
    records
}

/// Finds those of flows, however deep they are.
fn find(tree: &Value, records: &mut Vec<Value>) {
    match tree {
        Value::Object(members) if members.contains_key("cflow.octets") => {
            records.push(tree.clone());
        }
        Value::Object(members) => members.values().for_each(|tree| find(tree, records)),
        Value::Array(trees) => trees.iter().for_each(|tree| find(tree, records)),
        _ => {}
    }
}

/// A number in a record that tshark tells; 0 if it is not there.
pub(crate) fn told(record: &Value, name: &str) -> u64 {
    record[format!("cflow.{name}")].as_str().map_or(0, parse)
}

/// The flows in records as tshark tells them: all that is known of them.
pub(crate) fn of_tshark(records: &[Value]) -> Flows {
    sum(records.iter().map(|record| {
        let number = |name: &str| told(record, name);
        let text = |name: &str| record[format!("cflow.{name}")].as_str().unwrap_or_default();
        let addresses = [["srcaddr", "dstaddr"], ["srcaddrv6", "dstaddrv6"]];
        let addresses = addresses
            .into_iter()
            .find(|names| !text(names[0]).is_empty());
        let flow = Flow {
            macs: ["srcmac", "dstmac"].map(|name| text(name).to_owned()),
            vlan: number("vlanid"),
            ethertype: number("ethernet_type"),
            addresses: addresses.map(|names| names.map(|name| address(text(name)))),
            protocol: number("protocol"),
            tos: number("tos"),
            ports: ["srcport", "dstport"].map(number),
        };
        let totals = Totals {
            packets: number("packets"),
            octets: number("octets"),
            layer2_octets: number("layer2_octet_delta_count"),
            tcp_flags: number("tcpflags"),
        };
        (flow, totals)
    }))
}

/// What is left of flows for somebody who knows less of them: `forget` blanks what he does not know, and says whether he knows of a
/// flow at all.
pub(crate) fn known(flows: &Flows, forget: impl Fn(&mut Flow, &mut Totals) -> bool) -> Flows {
    sum(flows.iter().filter_map(|(flow, totals)| {
        let (mut flow, mut totals) = (flow.clone(), *totals);
        forget(&mut flow, &mut totals).then_some((flow, totals))
    }))
}

fn sum(parts: impl Iterator<Item = (Flow, Totals)>) -> Flows {
    let mut flows = Flows::new();
    for (flow, part) in parts {
        let totals = flows.entry(flow).or_default();
        totals.packets += part.packets;
        totals.octets += part.octets;
        totals.layer2_octets += part.layer2_octets;
        totals.tcp_flags |= part.tcp_flags;
    }
    flows
}

/// Checks that somebody tells the same flows with the same totals.
///
/// # Panics
/// If not; it names those that differ.
#[track_caller]
pub(crate) fn agree(who: &str, told: &Flows, expected: &Flows) {
    let mut wrong = String::new();
    for flow in told.keys().chain(expected.keys()) {
        let (told, expected) = (told.get(flow), expected.get(flow));
        if told != expected {
            wrong += &format!("{flow:?}\n  told {told:?}\n  is   {expected:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{who}:\n{wrong}");
}

/// A number, decimal or with 0x before it.
fn parse(text: &str) -> u64 {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|error| panic!("{text:?} is no number: {error}"))
}

fn address(text: &str) -> IpAddr {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
}
