use std::net::{Ipv4Addr, UdpSocket};

use weft_datapath::afxdp::testing::Namespace;
use weft_netflow::export::Version;
use weft_netflow::{Addresses, Counts, Direction, EndReason, Flow, Interface};
use weft_packet::MacAddr;

use super::*;

fn record() -> Record {
    let address = [10, 0, 0, 1].into();
    Record {
        flow: Flow {
            ingress: Interface(1),
            egress: Interface(2),
            direction: Direction::Ingress,
            vlan: 0,
            src_mac: MacAddr::BROADCAST,
            dst_mac: MacAddr::BROADCAST,
            ethertype: 0x0800,
            addresses: Addresses::V4(address, address),
            protocol: 17,
            tos: 0,
            src_port: 1,
            dst_port: 2,
        },
        counts: Counts {
            packets: 1,
            octets: 100,
            ..Counts::default()
        },
        reason: EndReason::Idle,
    }
}

fn at(monotonic_ms: u64) -> Now {
    Now {
        monotonic_ms,
        unix_ms: 1_750_000_000_000,
    }
}

fn collector(to: SocketAddr, version: Version) -> Collector {
    Collector::new(to, None, Settings::new(version, 7, 0))
}

/// An address where nobody listens, where [`alone`].
const DESERTED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2055);

/// A collector there. A program that another test starts has what was open here for a moment, so it may have to be tried again.
fn listen(at: SocketAddr) -> UdpSocket {
    loop {
        match UdpSocket::bind(at) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => std::thread::yield_now(),
            bound => return bound.unwrap(),
        }
    }
}

/// Has a collector gone, also where another program has what was open here.
fn leave(listener: Option<UdpSocket>) {
    drop(listener);
    let line = Line::open(DESERTED, None, 0).unwrap();
    let mut is_refused = false;
    while !is_refused {
        line.send(&[], |error| {
            is_refused = error.kind() == ErrorKind::ConnectionRefused;
        });
        std::thread::yield_now();
    }
}

/// Tests where nobody else takes the ports that it lets go.
fn alone(test: impl FnOnce() + Send) {
    let namespace = Namespace::new();
    namespace.ip(&["link", "set", "lo", "up"]);
    namespace.run(test);
}

#[test]
fn what_nobody_takes_is_lost_and_told_once() {
    alone(|| {
        let to = DESERTED;
        let mut collector = collector(to, Version::V5);
        for tick in 0..20 {
            collector.tell(at(tick * 100), &[record()], &[]);
            let news = collector.look(at(tick * 100));
            // Over this interface the answer comes at once.
            assert_eq!(news.is_some(), tick == 0, "{tick}: {news:?}");
        }
        let told = collector.told();
        assert_eq!((told.records, told.lost_records), (0, 20));
        assert_eq!(told.trouble.unwrap().reason, "nobody listens there");

        let listener = listen(to);
        collector.tell(at(2_000), &[record()], &[]);
        assert_eq!(collector.look(at(6_999)), None);
        assert_eq!(collector.look(at(7_000)), Some(News::Over));
        let told = collector.told();
        assert_eq!((told.records, told.lost_records), (1, 20));
        assert_eq!(told.trouble, None);
        assert!(listener.recv(&mut [0; 1_500]).unwrap() > 0);
    });
}

#[test]
fn one_in_trouble_is_told_templates_until_it_is_back() {
    alone(|| {
        let to = DESERTED;
        let mut collector = collector(to, Version::Ipfix);
        let mut told = Vec::new();
        let mut pass = |from: u64, to: u64| {
            for now in (from..to).step_by(100) {
                collector.tell(at(now), &[], &[]);
                told.extend(collector.look(at(now)).map(|news| (now, news)));
            }
            told.clone()
        };
        // Beyond the times at which templates go out of themselves, of which the next is 65 s.
        assert!(matches!(pass(0, 30_000)[..], [(0, News::Trouble(_))]));
        let _listener = listen(to);
        let told = pass(30_000, 46_000);
        assert!(matches!(told[..], [_, (_, News::Over)]), "{told:?}");
    });
}

/// How many messages with templates and with records of IPv4 came in.
fn heard(listener: &UdpSocket) -> (usize, usize) {
    const FIRST_SET: usize = 16;
    listener.set_nonblocking(true).unwrap();
    let (mut message, mut templates, mut records) = ([0; 1_500], 0, 0);
    while listener.recv(&mut message).is_ok() {
        match u16::from_be_bytes([message[FIRST_SET], message[FIRST_SET + 1]]) {
            2 => templates += 1,
            256 => records += 1,
            _ => {}
        }
    }
    (templates, records)
}

#[test]
fn one_that_was_away_is_told_templates_when_it_is_known() {
    alone(|| {
        let mut listener = Some(listen(DESERTED));
        let mut collector = collector(DESERTED, Version::Ipfix);
        let mut told = Vec::new();
        // Away for less than a probe, while records go on, between the times at which templates go out of themselves.
        for now in (0..100_000).step_by(100) {
            match now {
                66_000 => leave(listener.take()),
                68_000 => listener = Some(listen(DESERTED)),
                _ => {}
            }
            collector.tell(at(now), &[record()], &[]);
            collector.look(at(now));
            let heard = listener.as_ref().map(heard);
            told.extend(heard.filter(|(templates, _)| *templates > 0).map(|_| now));
        }
        assert_eq!(told, [0, 1_000, 5_000, 65_000, 73_100]);
    });
}

#[test]
fn records_come_behind_templates_however_late_the_way_is() {
    let namespace = Namespace::new();
    namespace.run(|| {
        let to = "127.0.0.1:2055".parse().unwrap();
        let mut collector = collector(to, Version::Ipfix);
        // As long as the interface is down, there is no way.
        for now in (0..11_000).step_by(100) {
            collector.tell(at(now), &[record()], &[]);
            collector.look(at(now));
        }
        let lost = collector.told().lost_records;
        assert_eq!((lost, collector.told().messages), (110, 0));
        namespace.ip(&["link", "set", "lo", "up"]);
        let listener = listen(to);
        let mut all = (0, 0);
        for now in (11_000..12_100).step_by(100) {
            collector.tell(at(now), &[record()], &[]);
            let (templates, records) = heard(&listener);
            all = (all.0 + templates, all.1 + records);
            assert!(all.0 > 0 || all.1 == 0, "{now}: {all:?}");
        }
        assert!(all.1 > 0);
    });
}

#[test]
fn unsaid_is_not_lost_where_there_is_no_way() {
    let namespace = Namespace::new();
    namespace.run(|| {
        let mut collector = collector("127.0.0.1:9".parse().unwrap(), Version::V5);
        let mut other = record();
        other.flow.addresses = Addresses::None;
        collector.tell(at(0), &[record(), other], &[]);
        let told = collector.told();
        assert_eq!((told.records, told.unsaid, told.lost_records), (0, 1, 1));
    });
}

#[test]
fn unsaid_is_what_the_version_has_no_place_for() {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut collector = collector(listener.local_addr().unwrap(), Version::V5);
    let mut other = record();
    other.flow.addresses = Addresses::None;
    collector.tell(at(0), &[record(), other], &[]);
    let told = collector.told();
    assert_eq!((told.records, told.unsaid, told.lost_records), (1, 1, 0));
}
