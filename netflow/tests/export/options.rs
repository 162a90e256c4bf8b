//! What the exporter tells of itself, and when.

use weft_netflow::Record;
use weft_netflow::export::{Exporter, NamedInterface, Now, Settings, Version};

use super::decoder::{Decoder, Fields, Item};
use super::{arp, encode, interface, ping, request, solicitation, v5};

/// An exporter, and a collector that gets all its messages.
struct Pair {
    exporter: Exporter,
    decoder: Decoder,
    settings: Settings,
    interfaces: Vec<NamedInterface>,
}

/// What a call sent.
#[derive(Default)]
struct Sent {
    templates: Vec<u16>,
    options_templates: Vec<u16>,
    options: Vec<Fields>,
    flows: usize,
    messages: usize,
}

const STARTED: u64 = 10_000;

fn at(uptime: u64) -> Now {
    Now {
        monotonic_ms: STARTED + uptime,
        unix_ms: 1_750_000_000_000 + uptime,
    }
}

impl Pair {
    fn new(settings: Settings) -> Self {
        let number = if settings.version == Version::Ipfix {
            10
        } else {
            9
        };
        Self {
            exporter: Exporter::new(settings.clone()),
            decoder: Decoder::new(number, settings.domain),
            settings,
            interfaces: vec![interface(3, "MyVM1", "MyVM1 in Lab")],
        }
    }

    fn send(&mut self, uptime: u64, records: &[Record]) -> Sent {
        self.send_at(at(uptime), records)
    }

    fn send_at(&mut self, now: Now, records: &[Record]) -> Sent {
        let (messages, _) = encode(
            &mut self.exporter,
            &self.settings,
            now,
            records,
            &self.interfaces,
        );
        let mut sent = Sent {
            messages: messages.len(),
            ..Sent::default()
        };
        for (message, _) in messages {
            for item in self.decoder.decode(&message).unwrap().items {
                match item {
                    Item::Template(id) => sent.templates.push(id),
                    Item::OptionsTemplate(id) => sent.options_templates.push(id),
                    Item::Options(fields) => sent.options.push(fields),
                    Item::Flow(_) => sent.flows += 1,
                }
            }
        }
        sent
    }

    fn announces(&mut self, uptime: u64) -> bool {
        let due = self.exporter.due().unwrap() <= at(uptime).monotonic_ms;
        let sent = self.send(uptime, &[]);
        assert_eq!(sent.templates.is_empty(), sent.messages == 0);
        assert_eq!(due, sent.messages > 0);
        due
    }
}

fn templated() -> [Settings; 2] {
    [Version::Ipfix, Version::V9].map(|version| Settings::new(version, 7, STARTED))
}

#[test]
fn templates_go_out_three_times_at_the_start_and_each_minute() {
    for settings in templated() {
        let mut pair = Pair::new(settings);
        let times: Vec<_> = (0..200_000)
            .step_by(100)
            .filter(|&uptime| pair.announces(uptime))
            .collect();
        assert_eq!(times, [0, 1_000, 5_000, 65_000, 125_000, 185_000]);
    }
}

#[test]
fn templates_go_out_when_interfaces_or_settings_change() {
    for settings in templated() {
        let mut pair = Pair::new(settings);
        pair.send(0, &[]);
        pair.exporter.changed();
        assert!(pair.announces(10));
        assert!(!pair.announces(20));

        pair.settings.sampling = 100;
        pair.exporter.set(pair.settings.clone());
        let sent = pair.send(30, &[]);
        assert_eq!(sent.options[0].number("samplingInterval"), 100);
    }
}

#[test]
fn templates_go_out_after_4096_messages() {
    for mut settings in templated() {
        settings.max_message = 512;
        let mut pair = Pair::new(settings);
        pair.send(0, &[]);
        let records = vec![request(at(5)); 4];
        for n in 0..4_096 {
            let sent = pair.send(5, &records);
            assert_eq!((n, sent.messages, sent.templates.len()), (n, 1, 0));
        }
        assert_eq!(pair.send(5, &records).templates.len(), 5);
        assert_eq!(pair.send(5, &records).templates.len(), 0);

        // Within one call too: six flows at most in a message.
        let sent = pair.send(5, &vec![request(at(5)); 7 * 4_096]);
        assert_eq!(sent.templates.len(), 5);
        assert_eq!(sent.flows, 7 * 4_096);
    }
}

/// RFC 7011 §8.2: a record is read by templates whose message was sent before its own.
#[test]
fn templates_go_out_when_the_clock_goes_back() {
    for settings in templated() {
        let mut pair = Pair::new(settings);
        pair.send(5_000, &[]);
        let back = Now {
            unix_ms: at(0).unix_ms,
            ..at(5_100)
        };
        let records = [request(back)];
        let sent = pair.send_at(back, &records);
        assert_eq!((sent.templates.len(), sent.flows), (5, 1));
        assert_eq!(pair.send_at(back, &records).templates.len(), 0);
    }
}

#[test]
fn a_change_of_domain_or_version_begins_anew() {
    let [ipfix, _] = templated();
    let mut pair = Pair::new(ipfix.clone());
    pair.send(0, &[request(at(0))]);

    let mut other = ipfix;
    other.domain = 8;
    pair.exporter.set(other.clone());
    pair.decoder = Decoder::new(10, 8);
    assert_eq!(pair.send(100, &[]).templates.len(), 5);
    assert_eq!(pair.exporter.due(), Some(at(1_100).monotonic_ms));

    other.version = Version::V9;
    pair.exporter.set(other);
    pair.decoder = Decoder::new(9, 8);
    assert_eq!(pair.send(200, &[]).templates.len(), 5);
}

#[test]
fn ipfix_options_tell_what_collectors_need() {
    let [mut settings, _] = templated();
    settings.sampling = 0;
    settings.active = 120;
    settings.idle = 20;
    let sent = Pair::new(settings).send(3_456, &[]);
    let [sampling, timeouts, statistics, interface] = &sent.options[..] else {
        panic!("{:?}", sent.options);
    };
    assert_eq!(sampling.number("observationDomainId"), 7);
    assert_eq!(sampling.octets("samplingInterval"), Some(&[0, 0, 0, 1][..]));
    assert_eq!(sampling.octets("samplingAlgorithm"), None);
    assert_eq!(timeouts.number("samplingAlgorithm"), 1);
    assert_eq!(timeouts.number("flowActiveTimeout"), 120);
    assert_eq!(timeouts.number("flowIdleTimeout"), 20);
    assert_eq!(
        timeouts.number("systemInitTimeMilliseconds"),
        1_750_000_000_000
    );
    assert_eq!(statistics.number("exportedMessageTotalCount"), 11);
    assert_eq!(statistics.number("exportedFlowRecordTotalCount"), 12);
    assert_eq!(statistics.number("notSentFlowTotalCount"), 13);
    assert_eq!(statistics.number("notSentPacketTotalCount"), 14);
    assert_eq!(statistics.number("notSentOctetTotalCount"), 15);
    assert_eq!(interface.number("observationDomainId"), 7);
    assert_eq!(interface.number("ingressInterface"), 3);
    assert_eq!(interface.text("interfaceName"), "MyVM1");
    assert_eq!(interface.text("interfaceDescription"), "MyVM1 in Lab");
}

#[test]
fn v9_options_tell_what_collectors_need() {
    let [_, mut settings] = templated();
    settings.sampling = 1_000;
    let sent = Pair::new(settings).send(3_456, &[]);
    let [sampling, with_algorithm, timeouts, statistics, interface] = &sent.options[..] else {
        panic!("{:?}", sent.options);
    };
    for sampling in [sampling, with_algorithm] {
        assert_eq!(sampling.number("System"), 7);
        let interval = 1_000u32.to_be_bytes();
        assert_eq!(sampling.octets("samplingInterval"), Some(&interval[..]));
    }
    assert_eq!(sampling.octets("samplingAlgorithm"), None);
    assert_eq!(with_algorithm.number("samplingAlgorithm"), 2);
    assert_eq!(timeouts.number("flowActiveTimeout"), 60);
    assert_eq!(timeouts.number("flowIdleTimeout"), 15);
    assert_eq!(statistics.number("exportedMessageTotalCount"), 11);
    assert_eq!(statistics.number("exportedFlowRecordTotalCount"), 12);
    assert_eq!(interface.number("System"), 7);
    assert_eq!(interface.number("ingressInterface"), 3);
    assert_eq!(interface.text("interfaceName"), "MyVM1");
    assert_eq!(interface.text("interfaceDescription"), "MyVM1 in Lab");
}

#[test]
fn v5_tells_sampling_in_its_header() {
    let told = |sampling| {
        let mut settings = Settings::new(Version::V5, 0x1234, STARTED);
        settings.sampling = sampling;
        let mut exporter = Exporter::new(settings.clone());
        let (messages, _) = encode(&mut exporter, &settings, at(0), &[request(at(0))], &[]);
        v5::decode(&messages[0].0, &mut 0).unwrap().sampling
    };
    assert_eq!(told(0), (0, 0));
    assert_eq!(told(1), (0, 0));
    assert_eq!(told(100), (2, 100));
    assert_eq!(told(16_383), (2, 16_383));
    assert_eq!(told(16_384), (2, 16_383));
}

#[test]
fn names_are_cut_between_characters() {
    for settings in templated() {
        let mut pair = Pair::new(settings);
        // 63 octets, 64 octets, and 62 of which the next character takes two.
        let fits = "x".repeat(63);
        let long = "y".repeat(64);
        let split = format!("{}é", "z".repeat(62));
        pair.interfaces = vec![interface(1, &fits, &long), interface(2, &split, "")];
        let sent = pair.send(0, &[]);
        let [.., first, second] = &sent.options[..] else {
            panic!("{:?}", sent.options);
        };
        assert_eq!(first.text("interfaceName"), fits);
        assert_eq!(first.text("interfaceDescription"), &long[..63]);
        assert_eq!(second.text("interfaceName"), &split[..62]);
        assert_eq!(second.text("interfaceDescription"), "");
    }
}

#[test]
fn thousands_of_interfaces_take_several_messages_and_are_announced_once() {
    for settings in templated() {
        let mut pair = Pair::new(settings);
        pair.interfaces = (0..50_000).map(|n| interface(n, "MyVM", "Lab")).collect();
        let sent = pair.send(0, &[request(at(0))]);
        assert_eq!(sent.templates.len(), 5);
        let named = sent
            .options
            .iter()
            .filter(|options| options.octets("interfaceName").is_some());
        assert_eq!(named.count(), 50_000);
        assert_eq!(sent.flows, 1);
        assert!(sent.messages > 4_096);
        assert_eq!(pair.send(0, &[request(at(0))]).messages, 1);
    }
}

#[test]
fn the_shortest_messages_have_room_for_all() {
    for mut settings in templated() {
        settings.max_message = 512;
        let mut pair = Pair::new(settings);
        let now = at(2_000);
        let records = [request(now), ping(now), solicitation(now), arp(now)];
        let sent = pair.send(2_000, &records);
        assert_eq!(sent.templates, [256, 257, 258, 259, 260]);
        assert_eq!(sent.options_templates.len(), sent.options.len());
        assert_eq!(sent.flows, 4);
    }
}

#[test]
fn limits_beyond_what_is_possible_are_taken_as_the_nearest() {
    for version in [Version::Ipfix, Version::V9, Version::V5] {
        for (limit, taken) in [(0, 512), (usize::MAX, 65_535)] {
            let mut settings = Settings::new(version, 7, STARTED);
            settings.max_message = limit;
            let mut exporter = Exporter::new(settings.clone());
            let records = vec![request(at(0)); 1_000];
            settings.max_message = taken;
            let (messages, _) = encode(&mut exporter, &settings, at(0), &records, &[]);
            let longest = messages.iter().map(|(message, _)| message.len()).max();
            let least = if version == Version::V5 {
                taken.min(24 + 30 * 48) - 48
            } else {
                taken - 130
            };
            assert!(longest.unwrap() > least);
        }
    }
}
