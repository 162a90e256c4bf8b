//! Flows as messages for collectors: IPFIX (RFC 7011), NetFlow version 9 (RFC 3954) and version 5.
//!
//! An [`Exporter`] is made for each collector. Records go in, and whole messages come out, each the payload of one datagram.

mod clock;
mod ipfix;
mod sets;
mod template;
mod v5;
mod v9;

use std::ops::AddAssign;

use clock::Clock;
pub use clock::Now;
use sets::Sets;

use crate::record::{Addresses, Interface, Record};

/// A format of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// IPFIX, also called version 10.
    Ipfix,
    /// NetFlow version 9.
    V9,
    /// NetFlow version 5: IPv4 only, no addresses of the link, no VLAN, and interfaces up to 65,535, which stands for all
    /// above.
    V5,
}

/// What an exporter is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The format.
    pub version: Version,
    /// Observation domain (IPFIX) or source id (version 9): unlike that of any other exporter with the same address.
    /// Version 5 tells its lower eight bits.
    pub domain: u32,
    /// One of how many packets is metered; 1 and 0 for every one. Version 5 tells up to 16,383.
    pub sampling: u32,
    /// The active timeout (s).
    pub active: u16,
    /// The idle timeout (s).
    pub idle: u16,
    /// Octets of the longest message, 512 to 65,535; what is beyond counts as the nearest of these.
    pub max_message: usize,
    /// When the exporter's uptime was 0 (monotonic, ms).
    pub started: u64,
}

impl Settings {
    /// Every packet, timeouts of 60 and 15 s, and messages of up to 1,400 octets, which go through any tunnel.
    pub fn new(version: Version, domain: u32, started: u64) -> Self {
        Self {
            version,
            domain,
            sampling: 1,
            active: 60,
            idle: 15,
            max_message: 1_400,
            started,
        }
    }

    /// One of how many packets is metered, never 0.
    fn interval(&self) -> u32 {
        self.sampling.max(1)
    }

    /// Octets of the longest message. Every record and every template fits.
    fn message_limit(&self) -> usize {
        self.max_message.clamp(512, u16::MAX.into())
    }
}

/// How an interface is called. Of each text 63 octets are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedInterface {
    /// Its number in records.
    pub number: Interface,
    /// Its name, as pmacct shows it.
    pub name: String,
    /// More about it. nfdump shows this in the place of the name, so it should not be empty.
    pub description: String,
}

/// A number of flow records and what they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Flow records.
    pub flows: u64,
    /// Packets.
    pub packets: u64,
    /// Octets from the IP header on.
    pub octets: u64,
}

impl Totals {
    /// Those of one record.
    pub fn of(record: &Record) -> Self {
        Self {
            flows: 1,
            packets: record.counts.packets,
            octets: record.counts.octets,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.flows = self.flows.wrapping_add(other.flows);
        self.packets = self.packets.wrapping_add(other.packets);
        self.octets = self.octets.wrapping_add(other.octets);
    }
}

/// What became of messages and records since the exporter started, which only who sends knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Messages that were sent.
    pub messages: u64,
    /// Flow records that were sent.
    pub flows: u64,
    /// Flow records that were not.
    pub not_sent: Totals,
}

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The payload of a datagram.
    pub bytes: &'a [u8],
    /// The flow records in it, lost if it is not sent.
    pub flows: Totals,
}

/// Makes the messages for one collector.
///
/// Templates and options go out by themselves: three times at the start (at 0, 1 and 5 s), every 60 s, after 4,096
/// messages, after a change, and where the host's clock went back: a collector reads records by templates that were sent before
/// them (RFC 7011 §8.2). They precede the first flow.
///
/// ```
/// use weft_netflow::export::{Exporter, Now, Settings, Statistics, Version};
///
/// let mut exporter = Exporter::new(Settings::new(Version::Ipfix, 7, 5_000));
/// let now = Now { monotonic_ms: 5_000, unix_ms: 1_750_000_000_000 };
/// let mut messages = Vec::new();
/// let unsaid = exporter.encode(now, [], &[], &Statistics::default(), |message| {
///     messages.push(message.bytes.to_vec());
/// });
/// assert_eq!(messages.len(), 2); // templates, then options
/// assert_eq!(exporter.due(), Some(6_000));
/// assert_eq!(unsaid.flows, 0);
/// ```
pub struct Exporter {
    settings: Settings,
    encoder: Encoder,
    schedule: Schedule,
}

enum Encoder {
    Sets(Sets),
    V5(v5::Encoder),
}

impl Exporter {
    /// One that has sent nothing yet.
    pub fn new(settings: Settings) -> Self {
        let encoder = match settings.version {
            Version::Ipfix => Encoder::Sets(Sets::new(&ipfix::FORMAT)),
            Version::V9 => Encoder::Sets(Sets::new(&v9::FORMAT)),
            Version::V5 => Encoder::V5(v5::Encoder::new()),
        };
        Self {
            settings,
            encoder,
            schedule: Schedule::default(),
        }
    }

    /// Goes on with other settings. Sequence numbers continue, unless version or domain is another.
    pub fn set(&mut self, settings: Settings) {
        let same =
            (self.settings.version, self.settings.domain) == (settings.version, settings.domain);
        if same {
            self.settings = settings;
            self.changed();
        } else {
            *self = Self::new(settings);
        }
    }

    /// Interfaces have changed: templates and options are due.
    pub fn changed(&mut self) {
        self.schedule.due = 0;
    }

    /// When [`encode`](Self::encode) wants to be called (monotonic, ms) though there be no records; in the past where it
    /// does at once. Never for version 5.
    pub fn due(&self) -> Option<u64> {
        matches!(self.encoder, Encoder::Sets(_)).then_some(self.schedule.due)
    }

    /// Whether the version has a place for a record: version 5 has one for those of IPv4.
    pub const fn has_place_for(&self, record: &Record) -> bool {
        match self.encoder {
            Encoder::Sets(_) => true,
            Encoder::V5(_) => matches!(record.flow.addresses, Addresses::V4(..)),
        }
    }

    /// Sends off templates and options if they are due, and all records. Nothing is kept for a later call: a caller that
    /// wants full messages collects records.
    ///
    /// Returns what of the records has no place in the version.
    pub fn encode<'a>(
        &mut self,
        now: Now,
        records: impl IntoIterator<Item = &'a Record>,
        interfaces: &[NamedInterface],
        statistics: &Statistics,
        mut out: impl FnMut(Message<'_>),
    ) -> Totals {
        let clock = Clock {
            now,
            started: self.settings.started,
        };
        let sets = match &mut self.encoder {
            Encoder::Sets(sets) => sets,
            Encoder::V5(encoder) => {
                return encoder.encode(&self.settings, clock, records, &mut out);
            }
        };
        let mut writer = sets.writer(&self.settings, clock, out);
        let mut records = records.into_iter();
        loop {
            if self.schedule.is_due(now, writer.messages()) {
                writer.announce(interfaces, statistics);
                self.schedule.announced(now, writer.messages());
            }
            let Some(record) = records.next() else { break };
            writer.flow(record);
        }
        writer.flush();
        Totals::default()
    }
}

/// When templates and options are to go out.
#[derive(Default)]
struct Schedule {
    /// The time (monotonic, ms).
    due: u64,
    /// How often they went out.
    announced: usize,
    /// How many messages there were when they last did.
    messages: u64,
    /// The host's time (ms since 1970) when they last did.
    unix_ms: u64,
}

/// From one time to the next (ms).
const INTERVAL: u64 = 60_000;

/// The first intervals: a lost datagram is not to cost a minute of flows.
const FIRST_INTERVALS: [u64; 2] = [1_000, 4_000];

/// Most messages between two times.
const MESSAGES: u64 = 4_096;

impl Schedule {
    fn is_due(&self, now: Now, messages: u64) -> bool {
        now.monotonic_ms >= self.due
            || messages - self.messages >= MESSAGES
            || now.unix_ms < self.unix_ms
    }

    fn announced(&mut self, now: Now, messages: u64) {
        let interval = FIRST_INTERVALS.get(self.announced).unwrap_or(&INTERVAL);
        self.due = now.monotonic_ms + interval;
        self.announced += 1;
        self.messages = messages;
        self.unix_ms = now.unix_ms;
    }
}
