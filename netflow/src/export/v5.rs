//! NetFlow version 5: IPv4 alone, in records of one layout, with counters of 32 bits (Cisco, "NetFlow Export Datagram
//! Format").

use std::net::Ipv4Addr;

use super::clock::Clock;
use super::{Message, Settings, Totals};
use crate::record::{Addresses, Interface, Record};

const HEADER_LENGTH: usize = 24;
const RECORD_LENGTH: usize = 48;

/// Most records in a message.
const MOST_RECORDS: usize = 30;

/// The sampling interval has 14 bits.
const MOST_SAMPLING: u32 = 0x3fff;

/// "Random" among the modes of sampling, in the upper two bits.
const SAMPLING_RANDOM: u16 = 2 << 14;

/// What lasts from one message to the next.
pub(super) struct Encoder {
    /// Records in all messages before.
    sequence: u32,
    /// The message in work, the header's room included. Empty between two calls, and kept for its memory.
    buffer: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            sequence: 0,
            buffer: Vec::new(),
        }
    }

    /// Sends off all records, and returns what of them has no place in this version.
    pub(super) fn encode<'a>(
        &mut self,
        settings: &Settings,
        clock: Clock,
        records: impl IntoIterator<Item = &'a Record>,
        out: &mut impl FnMut(Message<'_>),
    ) -> Totals {
        let room = (settings.message_limit() - HEADER_LENGTH) / RECORD_LENGTH;
        let most = room.min(MOST_RECORDS);
        let mut flows = Totals::default();
        let mut unsaid = Totals::default();
        self.clear();
        for record in records {
            let Addresses::V4(source, destination) = record.flow.addresses else {
                unsaid += Totals::of(record);
                continue;
            };
            if flows.flows == most as u64 {
                self.flush(settings, clock, flows, out);
                flows = Totals::default();
            }
            let [packets, octets] = [record.counts.packets, record.counts.octets].map(counter);
            self.put(record, source, destination, packets, octets, clock);
            flows += Totals {
                flows: 1,
                packets: packets.into(),
                octets: octets.into(),
            };
        }
        if flows.flows > 0 {
            self.flush(settings, clock, flows, out);
        }
        unsaid
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.resize(HEADER_LENGTH, 0);
    }

    fn put(
        &mut self,
        record: &Record,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        packets: u32,
        octets: u32,
        clock: Clock,
    ) {
        let flow = &record.flow;
        let counts = &record.counts;
        let message = &mut self.buffer;
        message.extend(source.octets());
        message.extend(destination.octets());
        message.extend([0; 4]); // next hop
        message.extend(short(flow.ingress).to_be_bytes());
        message.extend(short(flow.egress).to_be_bytes());
        message.extend(packets.to_be_bytes());
        message.extend(octets.to_be_bytes());
        message.extend(clock.uptime(counts.first).to_be_bytes());
        message.extend(clock.uptime(counts.last).to_be_bytes());
        message.extend(flow.src_port.to_be_bytes());
        message.extend(flow.dst_port.to_be_bytes());
        message.push(0);
        message.push(counts.tcp_flags as u8);
        message.push(flow.protocol);
        message.push(flow.tos);
        message.extend([0; 8]); // AS numbers, prefix lengths, padding
    }

    fn flush(
        &mut self,
        settings: &Settings,
        clock: Clock,
        flows: Totals,
        out: &mut impl FnMut(Message<'_>),
    ) {
        // At most `MOST_RECORDS`.
        let count = flows.flows as u16;
        let uptime = clock.uptime(clock.now.monotonic_ms);
        let nanoseconds = (clock.now.unix_ms % 1_000) as u32 * 1_000_000;
        let header = &mut self.buffer;
        header[0..2].copy_from_slice(&5u16.to_be_bytes());
        header[2..4].copy_from_slice(&count.to_be_bytes());
        header[4..8].copy_from_slice(&uptime.to_be_bytes());
        header[8..12].copy_from_slice(&clock.seconds().to_be_bytes());
        header[12..16].copy_from_slice(&nanoseconds.to_be_bytes());
        header[16..20].copy_from_slice(&self.sequence.to_be_bytes());
        header[20] = 0; // engine type
        header[21] = settings.domain as u8; // engine id
        header[22..24].copy_from_slice(&sampling(settings).to_be_bytes());
        self.sequence = self.sequence.wrapping_add(count.into());
        out(Message {
            bytes: &self.buffer,
            flows,
        });
        self.clear();
    }
}

/// Mode and interval.
fn sampling(settings: &Settings) -> u16 {
    match settings.interval() {
        1 => 0,
        interval => SAMPLING_RANDOM | interval.min(MOST_SAMPLING) as u16,
    }
}

/// An interface in 16 bits; the highest number stands for all that have more.
fn short(interface: Interface) -> u16 {
    interface.0.try_into().unwrap_or(u16::MAX)
}

/// A count in 32 bits, which is all that a meter has.
fn counter(count: u64) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}
