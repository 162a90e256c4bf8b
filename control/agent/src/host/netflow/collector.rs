//! One collector: what it is told, and what became of it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use weft_netflow::Record;
use weft_netflow::export::{Exporter, Message, NamedInterface, Now, Settings, Statistics, Totals};

use super::health::{Health, News, PROBE, Trouble};
use super::socket::{Line, Sent};

/// How far apart two attempts are to open a socket that could not be opened (ms).
const OPEN_AGAIN: u64 = 1_000;

/// What became of what a collector was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Told {
    pub(in crate::host) messages: u64,
    pub(in crate::host) records: u64,
    pub(in crate::host) lost_records: u64,
    /// Records that the version has no place for.
    pub(in crate::host) unsaid: u64,
    /// Why messages do not arrive, if they do not.
    pub(in crate::host) trouble: Option<Trouble>,
}

/// A collector and what it is told.
pub(super) struct Collector {
    to: SocketAddr,
    source: Option<IpAddr>,
    settings: Settings,
    exporter: Exporter,
    line: Option<Line>,
    /// The port that it is told from, once it is.
    port: u16,
    /// Not before this time (monotonic, ms) it is tried again to open one.
    open_at: u64,
    statistics: Statistics,
    unsaid: u64,
    /// The records of the last message, of which an error may still tell that nobody took it.
    last: Totals,
    health: Health,
    /// When templates go out again, in trouble (monotonic, ms).
    probe: u64,
}

impl Collector {
    pub(super) fn new(to: SocketAddr, source: Option<IpAddr>, settings: Settings) -> Self {
        Self {
            to,
            source,
            exporter: Exporter::new(settings.clone()),
            settings,
            line: None,
            port: 0,
            open_at: 0,
            statistics: Statistics::default(),
            unsaid: 0,
            last: Totals::default(),
            health: Health::default(),
            probe: 0,
        }
    }

    /// Whether it is told to this address, from that one.
    pub(super) fn is(&self, to: SocketAddr, source: Option<IpAddr>) -> bool {
        (self.to, self.source) == (to, source)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.to
    }

    /// Other settings, or other interfaces: templates and options go out again.
    pub(super) fn set(&mut self, settings: Settings) {
        if settings == self.settings {
            self.exporter.changed();
        } else {
            self.exporter.set(settings.clone());
            self.settings = settings;
        }
    }

    /// What it was told so far: what was sent, and what had no place.
    pub(super) const fn totals(&self) -> (Statistics, u64) {
        (self.statistics, self.unsaid)
    }

    /// Goes on counting from there.
    pub(super) const fn go_on(&mut self, (statistics, unsaid): &(Statistics, u64)) {
        (self.statistics, self.unsaid) = (*statistics, *unsaid);
    }

    /// Records that come are of packets of which one in so many was counted.
    pub(super) fn sample(&mut self, sampling: u32) {
        let mut settings = self.settings.clone();
        settings.sampling = sampling;
        self.set(settings);
    }

    /// The host has other addresses: one that is told from an address that is gone is told from another, where it is another exporter
    /// and templates go out again.
    pub(super) fn readdressed(&mut self) {
        if self.line.as_ref().is_some_and(Line::is_lost) {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        self.line = None;
        self.open_at = 0;
    }

    pub(super) fn told(&self) -> Told {
        Told {
            messages: self.statistics.messages,
            records: self.statistics.flows,
            lost_records: self.statistics.not_sent.flows,
            unsaid: self.unsaid,
            trouble: self.health.trouble().cloned(),
        }
    }

    /// Listens to what the network says of messages. Returns what is new.
    pub(super) fn look(&mut self, now: Now) -> Option<News> {
        if let Some(error) = self.line.as_ref().and_then(Line::complaint) {
            lose(&mut self.statistics, &mut self.last);
            self.health
                .failed(Trouble::of(&error, self.to, self.source));
        }
        let news = self.health.news(now.monotonic_ms);
        match news {
            Some(News::Trouble(_)) => self.probe = now.monotonic_ms + PROBE,
            // It may have begun anew meanwhile, and know nothing.
            Some(News::Over) => self.exporter.changed(),
            None if self.health.trouble().is_some() && now.monotonic_ms >= self.probe => {
                self.probe = now.monotonic_ms + PROBE;
                self.exporter.changed();
            }
            None => {}
        }
        news
    }

    /// Tells it records, and what else is due, if there is something to tell.
    pub(super) fn tell(&mut self, now: Now, records: &[Record], interfaces: &[NamedInterface]) {
        let is_due = |due: u64| due <= now.monotonic_ms;
        if records.is_empty() && !self.exporter.due().is_some_and(is_due) {
            return;
        }
        if self.line.is_none() && is_due(self.open_at) {
            match Line::open(self.to, self.source, self.port) {
                Ok(line) => {
                    self.port = line.port();
                    self.line = Some(line);
                    // Who is told from here on has been told nothing from here.
                    self.exporter.changed();
                }
                Err(error) => {
                    self.health
                        .failed(Trouble::of(&error, self.to, self.source));
                    self.open_at = now.monotonic_ms + OPEN_AGAIN;
                }
            }
        }
        let Self {
            to,
            source,
            exporter,
            line,
            statistics,
            last,
            health,
            ..
        } = self;
        let Some(line) = line else {
            for record in records {
                statistics.not_sent += Totals::of(record);
            }
            return;
        };
        let before = *statistics;
        let (mut is_lost, mut lacks_layouts) = (false, false);
        let send = |message: Message<'_>| {
            let sent = line.send(message.bytes, |error| {
                lose(statistics, last);
                health.failed(Trouble::of(&error, *to, *source));
            });
            match sent {
                Sent::Taken => {
                    statistics.messages += 1;
                    statistics.flows += message.flows.flows;
                    *last = message.flows;
                    health.sent(now.monotonic_ms);
                }
                Sent::Refused(error) => {
                    statistics.not_sent += message.flows;
                    is_lost |= error.kind() == ErrorKind::InvalidInput;
                    lacks_layouts |= message.flows == Totals::default();
                    health.failed(Trouble::of(&error, *to, *source));
                }
            }
        };
        let unsaid = exporter.encode(now, records, interfaces, &before, send);
        self.unsaid += unsaid.flows;
        if lacks_layouts {
            exporter.changed();
        }
        if is_lost {
            self.reopen();
        }
    }
}

/// Nobody took the last message.
fn lose(statistics: &mut Statistics, last: &mut Totals) {
    statistics.flows -= last.flows;
    statistics.not_sent += std::mem::take(last);
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

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

    /// An address where nobody listens.
    fn deserted() -> SocketAddr {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap()
    }

    #[test]
    fn what_nobody_takes_is_lost_and_told_once() {
        let to = deserted();
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

        let listener = UdpSocket::bind(to).unwrap();
        collector.tell(at(2_000), &[record()], &[]);
        assert_eq!(collector.look(at(6_999)), None);
        assert_eq!(collector.look(at(7_000)), Some(News::Over));
        let told = collector.told();
        assert_eq!((told.records, told.lost_records), (1, 20));
        assert_eq!(told.trouble, None);
        assert!(listener.recv(&mut [0; 1_500]).unwrap() > 0);
    }

    #[test]
    fn one_in_trouble_is_told_templates_until_it_is_back() {
        let to = deserted();
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
        let _listener = UdpSocket::bind(to).unwrap();
        let told = pass(30_000, 46_000);
        assert!(matches!(told[..], [_, (_, News::Over)]), "{told:?}");
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
    fn one_that_begins_anew_is_told_templates_when_it_is_known() {
        let mut listener = Some(UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = listener.as_ref().unwrap().local_addr().unwrap();
        let mut collector = collector(to, Version::Ipfix);
        let mut told = Vec::new();
        // Away for less than a probe, while records go on, between the times at which templates go out of themselves.
        for now in (0..100_000).step_by(100) {
            match now {
                66_000 => listener = None,
                68_000 => listener = Some(UdpSocket::bind(to).unwrap()),
                _ => {}
            }
            collector.tell(at(now), &[record()], &[]);
            collector.look(at(now));
            let heard = listener.as_ref().map(heard);
            told.extend(heard.filter(|(templates, _)| *templates > 0).map(|_| now));
        }
        assert_eq!(told, [0, 1_000, 5_000, 65_000, 73_100]);
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
            let listener = UdpSocket::bind(to).unwrap();
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
    fn unsaid_is_what_the_version_has_no_place_for() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut collector = collector(listener.local_addr().unwrap(), Version::V5);
        let mut other = record();
        other.flow.addresses = Addresses::None;
        collector.tell(at(0), &[record(), other], &[]);
        let told = collector.told();
        assert_eq!((told.records, told.unsaid, told.lost_records), (1, 1, 0));
    }
}
