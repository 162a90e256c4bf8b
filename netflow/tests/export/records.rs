//! Records in any batches, at any times.

use proptest::collection::vec;
use proptest::prelude::*;
use weft_netflow::export::{Exporter, Now, Settings, Totals, Version};
use weft_netflow::{Addresses, Counts, Direction, EndReason, Flow, Interface, Record};
use weft_packet::MacAddr;

use super::decoder::{Decoder, Fields, Item};
use super::{encode, interface, v5};

/// What happens between two calls, and what the second is given.
#[derive(Clone, Debug)]
struct Step {
    /// Time that passes (ms).
    elapsed: u64,
    /// How far the clock on the wall is set forward besides (ms).
    set_forward: u64,
    /// Whether interfaces change.
    changed: bool,
    records: Vec<Aged>,
}

/// A record whose times are ages (ms), below 0 for what has yet to come.
#[derive(Clone, Debug)]
struct Aged {
    record: Record,
    first: i64,
    last: i64,
}

impl Aged {
    fn at(&self, now: Now) -> Record {
        let mut record = self.record;
        record.counts.first = now.monotonic_ms.saturating_add_signed(-self.first);
        record.counts.last = now.monotonic_ms.saturating_add_signed(-self.last);
        record
    }
}

fn flows() -> impl Strategy<Value = Flow> {
    let addresses = prop_oneof![
        Just(Addresses::None),
        any::<(u32, u32)>().prop_map(|(a, b)| Addresses::V4(a.into(), b.into())),
        any::<(u128, u128)>().prop_map(|(a, b)| Addresses::V6(a.into(), b.into())),
    ];
    let protocol = prop_oneof![Just(1), Just(6), Just(17), Just(58), any::<u8>()];
    let interface = || prop_oneof![0..10u32, any::<u32>()].prop_map(Interface);
    let direction = prop_oneof![Just(Direction::Ingress), Just(Direction::Egress)];
    let ip = (addresses, protocol, any::<u8>(), any::<(u16, u16)>());
    let ethernet = (0..4095u16, any::<(u64, u64)>(), any::<u16>());
    (interface(), interface(), direction, ethernet, ip).prop_map(
        |(ingress, egress, direction, (vlan, macs, ethertype), ip)| {
            let (addresses, protocol, tos, ports) = ip;
            Flow {
                ingress,
                egress,
                direction,
                vlan,
                src_mac: MacAddr::from_bits(macs.0),
                dst_mac: MacAddr::from_bits(macs.1),
                ethertype,
                addresses,
                protocol,
                tos,
                src_port: ports.0,
                dst_port: ports.1,
            }
        },
    )
}

fn records() -> impl Strategy<Value = Aged> {
    // Beyond 32 bits too, where version 5 tells the most that it can.
    let count = || prop_oneof![0..10_000u64, 0..1u64 << 36];
    let reason = prop_oneof![
        Just(EndReason::Idle),
        Just(EndReason::Active),
        Just(EndReason::Ended),
        Just(EndReason::Forced),
        Just(EndReason::NoRoom),
    ];
    let counts = (
        count(),
        count(),
        any::<u64>(),
        any::<u16>(),
        any::<(u8, u8)>(),
    );
    let ages = (-1_000..100_000i64, 0..60_000i64);
    (flows(), counts, reason, ages).prop_map(|(flow, counts, reason, (last, duration))| {
        let (packets, octets, layer2_octets, tcp_flags, (min_ttl, max_ttl)) = counts;
        Aged {
            record: Record {
                flow,
                counts: Counts {
                    packets,
                    octets,
                    layer2_octets,
                    first: 0,
                    last: 0,
                    tcp_flags,
                    min_ttl,
                    max_ttl,
                },
                reason,
            },
            first: last + duration,
            last,
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let elapsed = prop_oneof![0..1_500u64, 0..70_000u64];
    let step = (elapsed, 0..3_000u64, any::<bool>(), vec(records(), 0..70));
    let step = step.prop_map(|(elapsed, set_forward, changed, records)| Step {
        elapsed,
        set_forward,
        changed,
        records,
    });
    vec(step, 1..8)
}

fn settings(version: Version) -> impl Strategy<Value = Settings> {
    // On both sides of where 32 bits of uptime end.
    let started = 0..1u64 << 33;
    (any::<u32>(), started, 512..2_000usize).prop_map(move |(domain, started, max_message)| {
        let mut settings = Settings::new(version, domain, started);
        settings.max_message = max_message;
        settings
    })
}

fn start(settings: &Settings, uptime: u64) -> Now {
    Now {
        monotonic_ms: settings.started + uptime,
        unix_ms: 1_750_000_000_000,
    }
}

fn next(now: Now, step: &Step) -> Now {
    Now {
        monotonic_ms: now.monotonic_ms + step.elapsed,
        unix_ms: now.unix_ms + step.elapsed + step.set_forward,
    }
}

/// Uptimes that are worth a test: at the start, later, and where 32 bits end.
fn uptimes() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..1_000u64,
        0..1u64 << 40,
        (1u64 << 32) - 100_000..(1u64 << 32) + 100_000
    ]
}

/// A record with the times that a message tells: since 1970 or of uptime, never later than the message.
fn with_times(mut record: Record, version: Version, settings: &Settings, now: Now) -> Record {
    let told = |time: u64| {
        let time = i128::from(time.min(now.monotonic_ms));
        let told = match version {
            Version::Ipfix => i128::from(now.unix_ms) - (i128::from(now.monotonic_ms) - time),
            Version::V9 | Version::V5 => (time - i128::from(settings.started)).max(0) % (1 << 32),
        };
        told as u64
    };
    record.counts.first = told(record.counts.first);
    record.counts.last = told(record.counts.last);
    record
}

/// What a format with templates can tell of a record.
fn told(record: Record, version: Version, settings: &Settings, now: Now) -> Record {
    let mut told = with_times(record, version, settings, now);
    let is_icmp = matches!(
        (told.flow.addresses, told.flow.protocol),
        (Addresses::V4(..), 1) | (Addresses::V6(..), 58)
    );
    if told.flow.addresses == Addresses::None {
        told.flow.protocol = 0;
        told.flow.tos = 0;
        told.flow.src_port = 0;
        told.flow.dst_port = 0;
        told.counts.min_ttl = 0;
        told.counts.max_ttl = 0;
    }
    if told.flow.addresses == Addresses::None || is_icmp {
        told.counts.tcp_flags = 0;
    }
    // As many as every collector reads.
    told.counts.tcp_flags &= 0xff;
    told
}

/// The record that a reader makes of fields. What is told twice must be told alike.
fn read(fields: &Fields, version: Version) -> Record {
    let number = |name| fields.number(name);
    let address = |name| {
        let octets = fields.octets(name);
        octets.map(|octets| {
            octets
                .iter()
                .fold(0, |n: u128, &octet| n << 8 | u128::from(octet))
        })
    };
    let v4 = |name| address(name).map(|bits| u32::try_from(bits).unwrap());
    let mac = |name| MacAddr::new(fields.octets(name).unwrap().try_into().unwrap());
    let addresses = match (v4("sourceIPv4Address"), address("sourceIPv6Address")) {
        (Some(source), None) => {
            Addresses::V4(source.into(), v4("destinationIPv4Address").unwrap().into())
        }
        (None, Some(source)) => Addresses::V6(
            source.into(),
            address("destinationIPv6Address").unwrap().into(),
        ),
        (None, None) => Addresses::None,
        both => panic!("{both:?}"),
    };
    let ip_version = match addresses {
        Addresses::None => 0,
        Addresses::V4(..) => 4,
        Addresses::V6(..) => 6,
    };
    assert_eq!(number("ipVersion"), ip_version);
    let ingress = Interface(number("ingressInterface") as u32);
    let egress = Interface(number("egressInterface") as u32);
    let (direction, point) = match number("flowDirection") {
        0 => (Direction::Ingress, ingress),
        1 => (Direction::Egress, egress),
        other => panic!("direction {other}"),
    };
    for name in ["icmpTypeCodeIPv4", "icmpTypeCodeIPv6"] {
        if fields.octets(name).is_some() {
            assert_eq!(number(name), number("destinationTransportPort"));
        }
    }
    assert_eq!(number("postVlanId"), number("vlanId"));
    let is_icmp = fields.octets("icmpTypeCodeIPv4").is_some() && number("protocolIdentifier") == 1
        || fields.octets("icmpTypeCodeIPv6").is_some() && number("protocolIdentifier") == 58;
    let is_layer2 = addresses == Addresses::None;
    assert_eq!(
        is_icmp || is_layer2,
        fields.octets("tcpControlBits").is_none()
    );
    let (first, last) = match version {
        Version::Ipfix => {
            assert_eq!(number("observationPointId"), u64::from(point.0));
            assert_eq!(number("dot1qVlanId"), number("vlanId"));
            ("flowStartMilliseconds", "flowEndMilliseconds")
        }
        _ => ("flowStartSysUpTime", "flowEndSysUpTime"),
    };
    Record {
        flow: Flow {
            ingress,
            egress,
            direction,
            vlan: number("vlanId") as u16,
            src_mac: mac("sourceMacAddress"),
            dst_mac: mac("destinationMacAddress"),
            ethertype: number("ethernetType") as u16,
            addresses,
            protocol: number("protocolIdentifier") as u8,
            tos: number("ipClassOfService") as u8,
            src_port: number("sourceTransportPort") as u16,
            dst_port: number("destinationTransportPort") as u16,
        },
        counts: Counts {
            packets: number("packetDeltaCount"),
            octets: number("octetDeltaCount"),
            layer2_octets: number("layer2OctetDeltaCount"),
            first: number(first),
            last: number(last),
            tcp_flags: number("tcpControlBits") as u16,
            min_ttl: number("minimumTTL") as u8,
            max_ttl: number("maximumTTL") as u8,
        },
        reason: match number("flowEndReason") {
            1 => EndReason::Idle,
            2 => EndReason::Active,
            3 => EndReason::Ended,
            4 => EndReason::Forced,
            5 => EndReason::NoRoom,
            other => panic!("reason {other}"),
        },
    }
}

fn total(records: &[Record]) -> Totals {
    let mut total = Totals::default();
    for record in records {
        total += Totals::of(record);
    }
    total
}

/// One exporter and one strict collector, through all steps.
fn every_record_comes_out(settings: &Settings, uptime: u64, steps: &[Step]) {
    let version = settings.version;
    let number = if version == Version::Ipfix { 10 } else { 9 };
    let mut decoder = Decoder::new(number, settings.domain);
    let mut exporter = Exporter::new(settings.clone());
    let interfaces = [
        interface(3, "MyVM1", "MyVM1 in Lab"),
        interface(4, "vmk0", ""),
    ];
    let mut now = start(settings, uptime);
    for step in steps {
        now = next(now, step);
        if step.changed {
            exporter.changed();
        }
        let due = exporter.due().unwrap() <= now.monotonic_ms;
        let records: Vec<_> = step.records.iter().map(|record| record.at(now)).collect();
        let (messages, unsaid) = encode(&mut exporter, settings, now, &records, &interfaces);
        assert_eq!(unsaid, Totals::default());
        assert!(exporter.due().unwrap() > now.monotonic_ms);

        let mut kinds = Vec::new();
        let mut flows = Vec::new();
        for (message, claimed) in messages {
            let decoded = decoder.decode(&message).unwrap();
            assert_eq!(u64::from(decoded.seconds), now.unix_ms / 1_000);
            if let Some(told) = decoded.uptime {
                assert_eq!(told, (now.monotonic_ms - settings.started) as u32);
            }
            let mut inside = Vec::new();
            for item in &decoded.items {
                let kind = match item {
                    Item::Template(_) | Item::OptionsTemplate(_) => "templates",
                    Item::Options(_) => "options",
                    Item::Flow(fields) => {
                        inside.push(read(fields, version));
                        "flows"
                    }
                };
                if kinds.last() != Some(&kind) {
                    kinds.push(kind);
                }
            }
            let mixed = decoded
                .items
                .iter()
                .any(|item| matches!(item, Item::Flow(_)));
            assert!(!mixed || inside.len() == decoded.items.len());
            assert_eq!(claimed, total(&inside));
            flows.extend(inside);
        }
        let expected: Vec<_> = records
            .iter()
            .map(|&record| told(record, version, settings, now))
            .collect();
        assert_eq!(flows, expected);
        assert_eq!(total(&flows), total(&records));
        let mut order = Vec::new();
        if due {
            order.extend(["templates", "options"]);
        }
        if !records.is_empty() {
            order.push("flows");
        }
        assert_eq!(kinds, order);
    }
}

/// What version 5 can tell of a record.
fn told_by_v5(record: Record, settings: &Settings, now: Now) -> v5::Record {
    let record = with_times(record, Version::V5, settings, now);
    let Addresses::V4(source, destination) = record.flow.addresses else {
        panic!("{record:?} is not IPv4");
    };
    let short = |interface: Interface| interface.0.min(65_535) as u16;
    v5::Record {
        source: source.octets(),
        destination: destination.octets(),
        input: short(record.flow.ingress),
        output: short(record.flow.egress),
        packets: record.counts.packets.min(u32::MAX.into()) as u32,
        octets: record.counts.octets.min(u32::MAX.into()) as u32,
        first: record.counts.first as u32,
        last: record.counts.last as u32,
        src_port: record.flow.src_port,
        dst_port: record.flow.dst_port,
        tcp_flags: (record.counts.tcp_flags & 0xff) as u8,
        protocol: record.flow.protocol,
        tos: record.flow.tos,
    }
}

fn every_ipv4_record_comes_out(settings: &Settings, uptime: u64, steps: &[Step]) {
    let mut exporter = Exporter::new(settings.clone());
    let mut sequence = 0;
    let mut now = start(settings, uptime);
    for step in steps {
        now = next(now, step);
        let records: Vec<_> = step.records.iter().map(|record| record.at(now)).collect();
        let (messages, unsaid) = encode(&mut exporter, settings, now, &records, &[]);
        assert_eq!(exporter.due(), None);
        let (ipv4, others): (Vec<_>, Vec<_>) = records
            .iter()
            .partition(|record| matches!(record.flow.addresses, Addresses::V4(..)));
        assert_eq!(unsaid, total(&others));

        let full = 30.min((settings.max_message - 24) / 48);
        let mut told = Vec::new();
        for (n, (message, claimed)) in messages.iter().enumerate() {
            let decoded = v5::decode(message, &mut sequence).unwrap();
            assert_eq!(decoded.unix_ms, now.unix_ms);
            assert_eq!(decoded.uptime, (now.monotonic_ms - settings.started) as u32);
            assert_eq!(decoded.engine, settings.domain as u8);
            assert_eq!(decoded.sampling, (0, 0));
            assert!(n + 1 == messages.len() || decoded.records.len() == full);
            let sum =
                |of: fn(&v5::Record) -> u32| decoded.records.iter().map(|r| u64::from(of(r))).sum();
            let totals = Totals {
                flows: decoded.records.len() as u64,
                packets: sum(|record| record.packets),
                octets: sum(|record| record.octets),
            };
            assert_eq!(*claimed, totals);
            told.extend(decoded.records);
        }
        let expected = ipv4.into_iter();
        let expected: Vec<_> = expected
            .map(|record| told_by_v5(record, settings, now))
            .collect();
        assert_eq!(told, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ipfix_tells_every_record(
        settings in settings(Version::Ipfix), uptime in uptimes(), steps in steps(),
    ) {
        every_record_comes_out(&settings, uptime, &steps);
    }

    #[test]
    fn v9_tells_every_record(
        settings in settings(Version::V9), uptime in uptimes(), steps in steps(),
    ) {
        every_record_comes_out(&settings, uptime, &steps);
    }

    #[test]
    fn v5_tells_every_ipv4_record_and_counts_the_others(
        settings in settings(Version::V5), uptime in uptimes(), steps in steps(),
    ) {
        every_ipv4_record_comes_out(&settings, uptime, &steps);
    }
}
