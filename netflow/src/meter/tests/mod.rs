//! The meter on a simulated clock.

mod ending;
mod frames;
mod paths;
mod reading;
mod sampling;
mod seen;
mod sums;
mod table;

use weft_packet::{Head, MacAddr, ethertype};

use super::*;
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
