//! Ports on a clock that is set, and frames with a number.

use weft_datapath::engine::memory::VnetHeader;
use weft_datapath::testing::{Rig, access, mac, one_switch, port, set_clock};
use weft_datapath::{DropReason, PortConfig, PortCounters, PortId, ShapeConfig};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// A port's receive queue: as much as anybody sends.
pub(crate) const DEPTH: usize = 100_000;

/// When tests begin.
pub(crate) const START: u64 = 77 * SECOND;

pub(crate) fn limit(average: u64, peak: u64, burst: u64) -> ShapeConfig {
    ShapeConfig {
        average,
        peak,
        burst,
    }
}

/// Where frames have a number: in the source address of IPv4, which segments have of their packet.
pub(crate) const NUMBER: std::ops::Range<usize> = 26..30;

/// A frame of `len` octets, at least 30, with a number.
pub(crate) fn frame(from: u16, to: u16, number: u32, len: usize) -> Vec<u8> {
    let mut frame = [&mac(to).octets()[..], &mac(from).octets(), &[0x88, 0xb5]].concat();
    frame.resize(len, 0);
    frame[NUMBER].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The number of a frame, which may have got a tag.
pub(crate) fn number(frame: &[u8]) -> u32 {
    let tag = if frame[12..14] == [0x81, 0] { 4 } else { 0 };
    let octets = &frame[tag..][NUMBER];
    u32::from_be_bytes(octets.try_into().expect("four octets"))
}

/// Octets of the headers of a large packet.
pub(crate) const HEADERS: usize = 54;

/// TCP over IPv4 from port 1 to port 2, of so many octets of payload, which its sender left to be cut into segments of `size`
/// octets (virtio 1.2 §5.1.6.2).
pub(crate) fn large_packet(number: u32, payload: usize, size: u16) -> (VnetHeader, Vec<u8>) {
    let mut frame = [&mac(2).octets()[..], &mac(1).octets(), &[0x08, 0x00]].concat();
    let [high, low] = (40 + payload as u16).to_be_bytes();
    frame.extend([0x45, 0, high, low, 0, 0, 0, 0, 64, 6, 0, 0]);
    frame.extend(number.to_be_bytes());
    frame.extend([10, 0, 0, 2, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10]);
    frame.extend([0, 9, 0, 0, 0, 0]);
    frame.resize(HEADERS + payload, 7);
    let [low, high] = size.to_le_bytes();
    ([1, 1, 54, 0, low, high, 34, 0, 16, 0, 0, 0], frame)
}

/// Octets of a frame as a limit counts them.
pub(crate) fn cost((header, frame): &(VnetHeader, Vec<u8>)) -> u64 {
    let size = usize::from(u16::from_le_bytes([header[4], header[5]]));
    if header[1] == 0 {
        return frame.len() as u64;
    }
    let headers = usize::from(u16::from_le_bytes([header[2], header[3]]));
    let segments = (frame.len() - headers).div_ceil(size);
    (frame.len() + (segments - 1) * headers) as u64
}

/// Ports 1 to 3, of which 1 sends and 2 receives, on a clock that stands.
pub(crate) struct Bench {
    pub(crate) rig: Rig,
    pub(crate) now: u64,
    pub(crate) ports: Vec<PortConfig>,
}

impl Bench {
    pub(crate) fn new(shape_in: Option<ShapeConfig>, shape_out: Option<ShapeConfig>) -> Self {
        let mut rig = Rig::new().expect("an eventfd");
        set_clock(Some(START));
        for id in 1..=3 {
            rig.attach(PortId(id), DEPTH).expect("an eventfd");
        }
        let mut bench = Self {
            rig,
            now: START,
            ports: (1..=3).map(|id| port(id, access(10))).collect(),
        };
        bench.shape(shape_in, shape_out);
        bench
    }

    /// Gives port 1 and port 2 other limits.
    pub(crate) fn shape(&mut self, shape_in: Option<ShapeConfig>, shape_out: Option<ShapeConfig>) {
        self.ports[0].shape_in = shape_in;
        self.ports[1].shape_out = shape_out;
        self.apply();
    }

    pub(crate) fn apply(&self) {
        self.rig.apply(&one_switch(self.ports.clone()));
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        self.rig.port(PortId(1)).send(frame);
    }

    pub(crate) fn pass_at(&mut self, now: u64) {
        self.now = now;
        set_clock(Some(now));
        self.rig.worker.pass();
    }

    /// Makes passes until nothing moves, without time going by.
    pub(crate) fn settle(&mut self) {
        while self.rig.worker.pass() > 0 {}
    }

    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.rig.port(PortId(2)).drain()
    }

    pub(crate) fn octets(&self) -> u64 {
        self.received().iter().map(|frame| frame.len() as u64).sum()
    }

    pub(crate) fn counters(&self, id: u16) -> PortCounters {
        let counters = self.rig.datapath.counters(PortId(id));
        counters.expect("the port is attached")
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.counters(2).tx_drops[reason as usize]
    }

    /// Offers more than the peak of a limit in frames of `len` octets, in steps of 2 ms for `ns`. Returns the octets that
    /// arrived in each step.
    pub(crate) fn full_load(&mut self, limit: ShapeConfig, len: usize, ns: u64) -> Vec<u64> {
        let step = 2_000_000;
        let frame = frame(1, 2, 0, len);
        let offered = (limit.peak / 8 * step / SECOND) as usize * 5 / 4 / len + 40;
        let end = self.now + ns;
        let mut arrived = Vec::new();
        while self.now < end {
            for _ in self.rig.port(PortId(1)).waiting()..offered {
                self.send(&frame);
            }
            self.pass_at(self.now + step);
            self.settle();
            arrived.push(self.octets());
        }
        self.rig.audit();
        arrived
    }
}

pub(crate) fn is_near(octets: u64, rate: u64, ns: u64) -> bool {
    let expected = rate as f64 / 8.0 * ns as f64 / SECOND as f64;
    (octets as f64 - expected).abs() <= expected * 0.02
}
