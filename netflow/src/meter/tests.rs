use std::collections::HashMap;

use proptest::prelude::*;
use weft_packet::{Head, MacAddr, SegmentKind, Segmentation, ethertype};

use super::*;
use crate::key::Secret;
use crate::packet::Packet;
use crate::{Addresses, Direction, End, Flow, Interface, Place, Record};

const TIMING: Timing = Timing {
    active: 60_000,
    idle: 15_000,
    sampling: 0,
};

const fn end(interface: u16) -> End {
    End { interface, life: 1 }
}

const PLACE: Place = Place::new(end(3), end(7), Direction::Ingress).in_vlan(10);

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet, with 20 octets of header and this transport part.
fn v4(protocol: u8, fragment: u16, transport: &[u8]) -> Vec<u8> {
    let len = 20 + transport.len() as u16;
    let mut packet = vec![0x45, 0x28];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(transport);
    packet
}

fn v6(next_header: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x62, 0x80, 0, 0];
    packet.extend((rest.len() as u16).to_be_bytes());
    packet.extend([next_header, 63]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(rest);
    packet
}

/// Ports 1000 and 80, and these flags.
fn tcp(flags: u8, payload: usize) -> Vec<u8> {
    let mut segment = vec![0x03, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags];
    segment.resize(20 + payload, 0);
    segment
}

fn read(frame: &[u8]) -> Packet {
    let head = Head::parse(frame, frame.len()).unwrap();
    Packet::read(&head, frame, frame.len(), None, PLACE)
}

/// A packet of the flow of this number.
fn numbered(number: u32) -> Packet {
    let mut packet = v4(17, 0, &[0; 8]);
    packet[16..20].copy_from_slice(&number.to_be_bytes());
    read(&ethernet(ethertype::IPV4, &packet))
}

struct Bench {
    meter: Meter,
    now: u64,
    ended: Vec<Record>,
}

impl Bench {
    fn new(flows: usize, timing: Timing) -> Self {
        Self {
            meter: Meter::new(flows, timing, 0x1234_5678_9abc_def1, 1000, |_, _| {}),
            now: 1000,
            ended: Vec::new(),
        }
    }

    fn send(&mut self, packets: &[Packet]) {
        for burst in packets.chunks(BATCH) {
            for packet in burst {
                self.meter.note_packet(|noted| *noted = *packet, |_| {});
            }
            self.count();
        }
    }

    fn count(&mut self) {
        let ended = &mut self.ended;
        self.meter.look_up(|_| {});
        self.meter.count(self.now, |end| ended.push(end.record()));
    }

    fn look(&mut self, stays: bool) {
        if !stays {
            self.meter.look_at_all();
        }
        let ended = &mut self.ended;
        while self
            .meter
            .look(self.now, |_| stays, |end| ended.push(end.record()))
        {}
    }

    /// Lets time pass as a poll thread does that looks once a millisecond, until something ends.
    fn wait(&mut self, most: u64) -> Option<(u64, Vec<Record>)> {
        let begin = self.now;
        while self.ended.is_empty() && self.now < begin + most {
            self.now += 1;
            self.look(true);
        }
        let ended = std::mem::take(&mut self.ended);
        (!ended.is_empty()).then_some((self.now - begin, ended))
    }
}

fn flow(addresses: Addresses, ethertype: u16) -> Flow {
    Flow {
        ingress: Interface(3),
        egress: Interface(7),
        direction: Direction::Ingress,
        vlan: 10,
        src_mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
        dst_mac: MacAddr::new([2, 0, 0, 0, 0, 2]),
        ethertype,
        addresses,
        protocol: 0,
        tos: 0,
        src_port: 0,
        dst_port: 0,
    }
}

fn four() -> Flow {
    let addresses = Addresses::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    Flow {
        tos: 0x28,
        ..flow(addresses, ethertype::IPV4)
    }
}

fn six() -> Flow {
    let address = |last: u16| std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
    Flow {
        tos: 0x28,
        ..flow(Addresses::V6(address(1), address(2)), ethertype::IPV6)
    }
}

#[test]
fn a_packet_is_of_the_flow_that_it_says() {
    let flow_of = |ethertype, packet: &[u8]| read(&ethernet(ethertype, packet)).key.flow();
    let ports = |flow: Flow, protocol, src_port, dst_port| Flow {
        protocol,
        src_port,
        dst_port,
        ..flow
    };
    let udp = [0x03, 0xe8, 0, 53, 0, 8, 0, 0];
    let four_of = |protocol, fragment, transport: &[u8]| {
        flow_of(ethertype::IPV4, &v4(protocol, fragment, transport))
    };
    assert_eq!(four_of(6, 0, &tcp(2, 0)), ports(four(), 6, 1000, 80));
    assert_eq!(four_of(17, 0, &udp), ports(four(), 17, 1000, 53));
    assert_eq!(four_of(132, 0, &udp), ports(four(), 132, 1000, 53));
    assert_eq!(four_of(1, 0, &udp), ports(four(), 1, 0, 0x03e8));
    assert_eq!(four_of(47, 0, &udp), ports(four(), 47, 0, 0));
    // The first fragment has the ports, the others do not; nor has what is cut off before them.
    assert_eq!(four_of(17, 0x2000, &udp), ports(four(), 17, 1000, 53));
    assert_eq!(four_of(17, 0x0001, &udp), ports(four(), 17, 0, 0));
    assert_eq!(four_of(17, 0, &udp[..3]), ports(four(), 17, 0, 0));
    let six_of = |next, rest: &[u8]| flow_of(ethertype::IPV6, &v6(next, rest));
    assert_eq!(six_of(6, &tcp(2, 0)), ports(six(), 6, 1000, 80));
    assert_eq!(six_of(58, &[128, 0, 0, 0]), ports(six(), 58, 0, 0x8000));
    // Hop-by-hop options before UDP; a first and a later fragment of UDP; headers without an end.
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp].concat();
    assert_eq!(six_of(0, &options), ports(six(), 17, 1000, 53));
    let first = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &udp].concat();
    assert_eq!(six_of(44, &first), ports(six(), 17, 1000, 53));
    let later = [&[17, 0, 0, 0x10, 0, 0, 0, 9][..], &udp].concat();
    assert_eq!(six_of(44, &later), ports(six(), 17, 0, 0));
    assert_eq!(six_of(43, &[17, 200, 0, 0]), ports(six(), 43, 0, 0));
    // What is no IP, or says so and is not.
    let none = |ethertype| flow(Addresses::None, ethertype);
    assert_eq!(flow_of(ethertype::ARP, &[0; 28]), none(ethertype::ARP));
    assert_eq!(flow_of(ethertype::IPV4, &[0x65; 40]), none(ethertype::IPV4));
    assert_eq!(flow_of(ethertype::IPV4, &[0x44; 40]), none(ethertype::IPV4));
    assert_eq!(flow_of(ethertype::IPV6, &[0x60; 39]), none(ethertype::IPV6));
    assert_eq!(flow_of(0x0026, &[0x42; 38]), none(0x0026));
}

#[test]
fn octets_are_those_of_the_packet_and_no_more() {
    let octets = |frame: &[u8]| {
        let packet = read(frame);
        (packet.octets, packet.layer2_octets)
    };
    let mut padded = ethernet(ethertype::IPV4, &v4(17, 0, &[0; 8]));
    padded.resize(60, 0);
    assert_eq!(octets(&padded), (28, 60));
    let mut claims = padded.clone();
    claims[16..18].copy_from_slice(&1500u16.to_be_bytes());
    assert_eq!(octets(&claims), (46, 60));
    let mut padded = ethernet(ethertype::IPV6, &v6(59, &[]));
    padded.resize(60, 0);
    assert_eq!(octets(&padded), (40, 60));
    let mut jumbo = ethernet(ethertype::IPV6, &v6(0, &[]));
    jumbo.resize(60, 0);
    assert_eq!(octets(&jumbo), (40 + 6, 60), "a length of 0 says nothing");
    assert_eq!(
        octets(&ethernet(ethertype::IPV6, &v6(59, &[0; 5]))),
        (45, 59)
    );
    assert_eq!(octets(&ethernet(ethertype::ARP, &[0; 46])), (46, 60));
}

/// What pads a frame stands where ports and flags would, and is neither.
#[test]
fn nothing_is_read_behind_the_packet() {
    for (protocol, len) in [(17, 0), (17, 3), (6, 3)] {
        let mut frame = ethernet(ethertype::IPV4, &v4(protocol, 0, &vec![0x41; len]));
        frame.resize(60, 0x41);
        let packet = read(&frame);
        assert_eq!(packet.key.flow(), Flow { protocol, ..four() });
        assert_eq!(packet.tcp_flags, 0);
        assert_counted_apart(&[frame.clone(), frame], "IPv4");
        let mut frame = ethernet(ethertype::IPV6, &v6(protocol, &vec![0x41; len]));
        frame.resize(80, 0x41);
        assert_eq!(read(&frame).key.flow(), Flow { protocol, ..six() });
    }
    // Ports, and no flags yet.
    let mut frame = ethernet(ethertype::IPV4, &v4(6, 0, &tcp(0x12, 0)[..8]));
    frame.resize(60, 0x41);
    let packet = read(&frame);
    assert_eq!((packet.key.flow().src_port, packet.tcp_flags), (1000, 0));
    assert_counted_apart(&[frame.clone(), frame], "TCP");
}

/// Who looks at flows may read its clock less often than who counts them.
#[test]
fn a_flow_of_a_moment_to_come_goes_on() {
    let mut bench = Bench::new(10, TIMING);
    bench.send(&[numbered(1)]);
    bench.now += 4;
    bench.send(&[numbered(1)]);
    bench.now -= 4;
    bench.meter.look_at_all();
    assert_eq!(bench.wait(500), None);
    bench.now -= 504;
    bench.send(&[numbered(1)]);
    bench.look(false);
    bench.now += 1_000;
    let (_, ended) = bench.wait(20_000).unwrap();
    let counts = ended[0].counts;
    assert_eq!((counts.first, counts.last, counts.packets), (1000, 1004, 3));
}

#[test]
fn what_is_to_be_cut_counts_as_its_pieces() {
    let packet = v4(6, 0, &tcp(0x19, 2500));
    let frame = ethernet(ethertype::IPV4, &packet);
    let head = Head::parse(&frame, frame.len()).unwrap();
    let cut = Segmentation {
        kind: SegmentKind::TcpV4,
        ecn: false,
        size: 1000,
        header_len: 54,
    };
    // The meter sees the first octets only.
    let packet = Packet::read(&head, &frame[..64], frame.len(), Some(cut), PLACE);
    assert_eq!(packet.packets, 3);
    assert_eq!(packet.octets, 3 * 40 + 2500);
    assert_eq!(packet.layer2_octets, 3 * 54 + 2500);
    assert_eq!(packet.tcp_flags, 0x19);
}

/// Has the frames counted in one burst, and compares with what each is read as for itself.
fn assert_counted_apart(frames: &[Vec<u8>], context: &str) {
    let mut bench = Bench::new(100, TIMING);
    for frame in frames {
        let (meter, len) = (&mut bench.meter, frame.len());
        let plain = frame.first_chunk();
        if !plain.is_some_and(|plain| meter.note_plain(plain, len, PLACE, |_| {})) {
            let head = Head::parse(frame, len).unwrap();
            meter.note(&head, frame, len, None, PLACE, |_| {});
        }
    }
    bench.count();
    bench.now += 500;
    bench.look(false);
    let mut counted = HashMap::<_, [u64; 3]>::new();
    for record in &bench.ended {
        let sum = counted.entry(record.flow).or_default();
        sum[0] += record.counts.packets;
        sum[1] += record.counts.octets;
        sum[2] |= u64::from(record.counts.tcp_flags);
    }
    let mut expected = HashMap::<_, [u64; 3]>::new();
    for frame in frames {
        let packet = read(frame);
        let sum = expected.entry(packet.key.flow()).or_default();
        sum[0] += 1;
        sum[1] += u64::from(packet.octets);
        sum[2] |= u64::from(packet.tcp_flags);
    }
    assert_eq!(counted, expected, "{context}");
}

/// Frames of one flow are counted to the packet before them by the octets that tell flows apart; whoever differs in one of these
/// is not.
#[test]
fn frames_that_are_alike_are_of_one_flow_and_no_others() {
    let plain = ethernet(ethertype::IPV4, &v4(6, 0, &tcp(0x02, 6)));
    for at in 0..plain.len() {
        let mut other = plain.clone();
        other[at] ^= 0x01;
        let frames = [plain.clone(), other, plain.clone(), plain.clone()];
        assert_counted_apart(&frames, &format!("octet {at}"));
    }
}

/// What is no plain packet may have where that has ports what the key of the packet before it has there.
#[test]
fn a_frame_is_not_taken_for_one_of_the_flow_before_by_what_it_carries() {
    // ICMP of the type 5, then an answer whose checksum is what stands for that type in a key.
    let icmp = |kind: u8, checksum: [u8; 2]| {
        let message = [
            kind,
            0,
            checksum[0],
            checksum[1],
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        ethernet(ethertype::IPV4, &v4(1, 0, &message))
    };
    let frames = [icmp(5, [1, 2]), icmp(0, [5, 0]), icmp(5, [1, 2])];
    assert_counted_apart(&frames, "ICMP");
    // IPv6 packets that agree in what of their addresses stands where IPv4 has its own.
    let six = |last: u8| {
        let mut frame = ethernet(ethertype::IPV6, &v6(17, &[0; 16]));
        frame[14..54].fill(0);
        (frame[14], frame[18], frame[19], frame[20]) = (0x60, 0, 16, 17);
        frame[53] = last;
        frame
    };
    assert_counted_apart(&[six(1), six(2), six(1)], "IPv6");
}

#[test]
fn every_field_tells_flows_apart() {
    let base = numbered(1).key;
    let mut others = Vec::new();
    for (ingress, egress, direction, vlan) in [
        (4, 7, Direction::Ingress, 10),
        (3, 8, Direction::Ingress, 10),
        (3, 7, Direction::Egress, 10),
        (3, 7, Direction::Ingress, 11),
    ] {
        let place = Place::new(end(ingress), end(egress), direction).in_vlan(vlan);
        let mut packet = v4(17, 0, &[0; 8]);
        packet[16..20].copy_from_slice(&1u32.to_be_bytes());
        let frame = ethernet(ethertype::IPV4, &packet);
        let head = Head::parse(&frame, frame.len()).unwrap();
        others.push(Packet::read(&head, &frame, frame.len(), None, place).key);
    }
    others.push(numbered(2).key);
    let second = End { life: 2, ..end(3) };
    let later = Place::new(second, end(7), Direction::Ingress).in_vlan(10);
    let mut packet = v4(17, 0, &[0; 8]);
    packet[16..20].copy_from_slice(&1u32.to_be_bytes());
    let frame = ethernet(ethertype::IPV4, &packet);
    let head = Head::parse(&frame, frame.len()).unwrap();
    others.push(Packet::read(&head, &frame, frame.len(), None, later).key);
    for other in &others {
        assert_ne!(*other, base);
        assert_ne!(other.hash(&Secret::new(7)), base.hash(&Secret::new(7)));
    }
    assert_ne!(base.hash(&Secret::new(7)), base.hash(&Secret::new(8)));
}

#[test]
fn a_flow_ends_when_it_is_idle() {
    let mut bench = Bench::new(1000, TIMING);
    bench.send(&[numbered(1), numbered(1), numbered(2)]);
    bench.now += 10_000;
    bench.look(true);
    bench.send(&[numbered(1)]);
    let (after, ended) = bench.wait(20_000).unwrap();
    assert!((5_000..=5_500).contains(&after), "{after}");
    assert_eq!(ended[0].reason, EndReason::Idle);
    assert_eq!(ended[0].flow, numbered(2).key.flow());
    let (after, ended) = bench.wait(20_000).unwrap();
    assert!((9_500..=10_500).contains(&after), "{after}");
    let counts = ended[0].counts;
    assert_eq!((counts.packets, counts.octets), (3, 3 * 28));
    assert_eq!((counts.first, counts.last), (1000, 11_000));
    assert!(bench.meter.is_empty());
    assert_eq!(bench.meter.next_look(), None);
}

#[test]
fn a_flow_that_goes_on_is_told_in_parts() {
    let mut bench = Bench::new(1000, TIMING);
    let mut sent = 0;
    let mut told = Vec::new();
    while bench.now < 150_000 {
        bench.send(&[numbered(1)]);
        sent += 1;
        bench.now += 100;
        bench.look(true);
        told.append(&mut bench.ended);
    }
    assert_eq!(told.len(), 2);
    for part in &told {
        assert_eq!(part.reason, EndReason::Active);
        let lasted = part.counts.last - part.counts.first;
        assert!((59_900..=60_500).contains(&lasted), "{lasted}");
    }
    // Parts do not overlap, and the rest comes at the end; one that has nothing to tell does not.
    assert!(told[0].counts.last < told[1].counts.first);
    told.extend(bench.wait(20_000).unwrap().1);
    let packets: u64 = told.iter().map(|part| part.counts.packets).sum();
    assert_eq!(packets, sent);
    assert!(bench.meter.is_empty());
    let mut bench = Bench::new(1000, TIMING);
    for _ in 0..600 {
        bench.send(&[numbered(1)]);
        bench.now += 100;
        bench.look(true);
    }
    assert_eq!(bench.wait(1000).unwrap().1[0].reason, EndReason::Active);
    assert_eq!(bench.wait(20_000), None);
    assert!(bench.meter.is_empty());
}

#[test]
fn tcp_says_when_it_ends() {
    for flags in [0x11, 0x04] {
        let mut bench = Bench::new(1000, TIMING);
        let segment = |flags| read(&ethernet(ethertype::IPV4, &v4(6, 0, &tcp(flags, 0))));
        bench.send(&[segment(0x02), segment(0x10), segment(flags)]);
        bench.now += 100;
        bench.send(&[segment(0x10)]);
        let (after, ended) = bench.wait(20_000).unwrap();
        assert!((500..=1_000).contains(&after), "{after}");
        assert_eq!(ended[0].reason, EndReason::Ended);
        assert_eq!(ended[0].counts.tcp_flags, u16::from(0x12 | flags));
        assert_eq!(ended[0].counts.packets, 4);
    }
}

/// One that was looked at, and of which nothing was due for long, is over as soon.
#[test]
fn tcp_that_ends_after_a_while_is_not_waited_for() {
    let mut bench = Bench::new(1000, TIMING);
    let segment = |flags| read(&ethernet(ethertype::IPV4, &v4(6, 0, &tcp(flags, 0))));
    bench.send(&[segment(0x02)]);
    assert_eq!(bench.wait(2_000), None);
    bench.send(&[segment(0x11)]);
    let (after, ended) = bench.wait(20_000).unwrap();
    assert!((500..=1_000).contains(&after), "{after}");
    assert_eq!(ended[0].reason, EndReason::Ended);
}

/// Times are told by their low bits, which begin anew every 49.7 days: a place that was empty for long knows nothing of when it is due.
#[test]
fn a_flow_after_weeks_of_silence_ends_in_time() {
    let mut bench = Bench::new(1, TIMING);
    for days in [0, 10, 20, 25, 30, 40, 49, 60] {
        bench.send(&[numbered(days)]);
        let (after, ended) = bench.wait(20_000).unwrap();
        assert!((15_000..=15_500).contains(&after), "{days} days: {after}");
        assert_eq!(ended[0].reason, EndReason::Idle);
        bench.now += u64::from(days) * 86_400_000;
    }
}

#[test]
fn a_flow_whose_port_goes_is_forced_to_end() {
    let mut bench = Bench::new(1000, TIMING);
    bench.send(&[numbered(1), numbered(2)]);
    bench.look(true);
    assert_eq!(bench.ended, []);
    bench.now += 500;
    bench.look(false);
    let reasons: Vec<_> = bench.ended.iter().map(|record| record.reason).collect();
    assert_eq!(reasons, [EndReason::Forced; 2]);
    assert!(bench.meter.is_empty());
}

/// Who was seen again stays, and nothing is lost of those that have to go.
#[test]
fn a_full_table_lets_go_of_who_was_seen_once() {
    let mut bench = Bench::new(1000, TIMING);
    let regulars: Vec<_> = (0..200).map(numbered).collect();
    bench.send(&regulars);
    bench.send(&regulars);
    let mut number = 1000;
    for _ in 0..100 {
        bench.send(&regulars);
        let strangers: Vec<_> = (number..number + 200).map(numbered).collect();
        bench.send(&strangers);
        number += 200;
    }
    let evicted = bench.meter.tally().evicted;
    assert!(evicted > 15_000, "{evicted}");
    assert_eq!(evicted, bench.ended.len() as u64);
    let lost = bench
        .ended
        .iter()
        .filter(|record| record.counts.packets > 1);
    assert!(lost.count() as u64 <= evicted / 1000, "regulars stay");
    bench.now += 60_000;
    bench.look(true);
    let packets: u64 = bench.ended.iter().map(|end| end.counts.packets).sum();
    assert_eq!(packets, 200 * 102 + 100 * 200);
}

/// So many flows as were asked for find room.
#[test]
fn a_table_holds_what_it_is_made_for() {
    for flows in [1, 100, 10_000, 100_000] {
        let mut bench = Bench::new(flows, TIMING);
        let all: Vec<_> = (0..flows as u32).map(numbered).collect();
        bench.send(&all);
        let evicted = bench.meter.tally().evicted as usize;
        assert!(evicted <= flows / 1000, "{evicted} of {flows}");
        assert_eq!(bench.meter.len() + evicted, flows);
    }
    // A million flows take less than 256 MiB.
}

/// However late the thread looks, everything is looked at once in a round, so many at a time.
#[test]
fn flows_are_looked_at_in_turn() {
    let mut bench = Bench::new(100_000, TIMING);
    let all: Vec<_> = (0..10_000).map(numbered).collect();
    bench.send(&all);
    bench.now += TIMING.idle + ROUND;
    let places = (bench.meter.table.sets() * WAYS) as u64;
    let mut goes = 0;
    while bench.meter.look(bench.now, |_| true, |_| {}) {
        goes += 1;
    }
    assert_eq!(goes, places / LOOKED_AT_ONCE as u64);
    assert!(bench.meter.is_empty());
}

#[test]
fn one_in_n_is_taken_at_random() {
    for one_in in [2, 100, 10_000] {
        let timing = Timing {
            sampling: one_in,
            ..TIMING
        };
        let mut meter = Meter::new(1, timing, 99, 0, |_, _| {});
        let total = 4_000_000u64;
        let mut taken = 0u64;
        let mut gaps = HashMap::<u64, u64>::new();
        let mut since = 0;
        for _ in 0..total {
            since += 1;
            if meter.takes() {
                taken += 1;
                *gaps.entry(since).or_default() += 1;
                since = 0;
            }
        }
        // Binomial: four standard deviations.
        let share = 1.0 / f64::from(one_in);
        let expected = total as f64 * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        assert!((taken as f64 - expected).abs() < 4.0 * deviation, "{taken}");
        // Each packet is asked for itself: one in N gaps is a single packet.
        let single = gaps.get(&1).copied().unwrap_or_default() as f64;
        let expected = taken as f64 * share;
        assert!(
            (single - expected).abs() <= 4.0 * expected.sqrt() + 1.0,
            "{single} of {taken}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u32>),
    Wait(u64),
    Leave,
}

proptest! {
    /// Whatever is sent, and whenever: each packet is in one record.
    #[test]
    fn records_sum_up_to_what_was_sent(
        flows in 1usize..40,
        active in 1u64..5,
        idle in 1u64..5,
        steps in prop::collection::vec(
            prop_oneof![
                6 => prop::collection::vec(0u32..60, 1..70).prop_map(Step::Send),
                3 => (0u64..4000).prop_map(Step::Wait),
                1 => Just(Step::Leave),
            ],
            1..40,
        ),
    ) {
        let timing = Timing { active: active * 1000, idle: idle * 1000, sampling: 1 };
        let mut bench = Bench::new(flows, timing);
        let mut sent = HashMap::<u32, u64>::new();
        for step in steps {
            match step {
                Step::Send(numbers) => {
                    for number in &numbers {
                        *sent.entry(*number).or_default() += 1;
                    }
                    let packets: Vec<_> = numbers.into_iter().map(numbered).collect();
                    bench.send(&packets);
                }
                Step::Wait(time) => {
                    bench.now += time;
                    bench.look(true);
                }
                Step::Leave => {
                    bench.now += ROUND;
                    bench.look(false);
                    prop_assert!(bench.meter.is_empty());
                }
            }
        }
        bench.now += 10_000;
        bench.look(true);
        bench.now += 10_000;
        bench.look(true);
        prop_assert!(bench.meter.is_empty());
        let mut told = HashMap::<u32, u64>::new();
        for record in &bench.ended {
            prop_assert!(record.counts.packets > 0);
            prop_assert_eq!(record.counts.octets, 28 * record.counts.packets);
            prop_assert!(record.counts.first <= record.counts.last);
            let Addresses::V4(_, to) = record.flow.addresses else { panic!("{record:?}") };
            *told.entry(to.to_bits()).or_default() += record.counts.packets;
        }
        prop_assert_eq!(told, sent);
    }
}
