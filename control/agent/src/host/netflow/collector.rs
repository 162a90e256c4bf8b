//! One collector: what it is told, and what became of it.

#[cfg(test)]
mod tests;

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
            unsaid,
            last,
            health,
            ..
        } = self;
        let Some(line) = line else {
            for record in records {
                if exporter.has_place_for(record) {
                    statistics.not_sent += Totals::of(record);
                } else {
                    *unsaid += 1;
                }
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
        *unsaid += exporter
            .encode(now, records, interfaces, &before, send)
            .flows;
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
