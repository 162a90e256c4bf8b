//! The memory engine: a port whose other side is the test or bench that holds it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use weft_packet::{MacAddr, TagEdit, vnet};

use crate::frame::{BURST, Burst, HEAD, SHORT_HEAD};
use crate::{DropReason, Offloads};

/// A virtio-net header.
pub type VnetHeader = [u8; vnet::LEN];

/// Frames between a test and the switch, both ways.
struct Queues {
    to_switch: Mutex<VecDeque<(Option<VnetHeader>, Vec<u8>)>>,
    from_switch: Mutex<VecDeque<(VnetHeader, Vec<u8>)>>,
    /// What the other side does itself.
    offloads: Mutex<Offloads>,
    /// Frames that `from_switch` holds at most.
    depth: usize,
    doorbell: OwnedFd,
}

/// The other side of a memory port: what a guest would be.
#[derive(Clone)]
pub struct MemoryPort(Arc<Queues>);

impl MemoryPort {
    /// Sends a frame into the switch.
    pub fn send(&self, frame: &[u8]) {
        self.push(None, frame);
    }

    /// Sends a frame with a virtio-net header.
    pub fn send_with(&self, header: VnetHeader, frame: &[u8]) {
        self.push(Some(header), frame);
    }

    /// From now on this side takes frames that need these offloads.
    pub fn take_offloads(&self, offloads: Offloads) {
        *self.0.offloads.lock() = offloads;
    }

    /// Every frame that the switch delivered, with its virtio-net header, oldest first.
    pub fn drain_with_headers(&self) -> Vec<(VnetHeader, Vec<u8>)> {
        self.0.from_switch.lock().drain(..).collect()
    }

    fn push(&self, header: Option<VnetHeader>, frame: &[u8]) {
        self.0.to_switch.lock().push_back((header, frame.to_vec()));
        // A full eventfd counter is readable all the same.
        let _ = rustix::io::write(&self.0.doorbell, &1u64.to_ne_bytes());
    }

    /// The oldest frame that the switch delivered.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let (_, frame) = self.0.from_switch.lock().pop_front()?;
        Some(frame)
    }

    /// Every frame that the switch delivered, oldest first.
    pub fn drain(&self) -> Vec<Vec<u8>> {
        self.drain_with_headers()
            .into_iter()
            .map(|(_, frame)| frame)
            .collect()
    }

    /// Whether the switch took everything that was sent.
    pub fn is_idle(&self) -> bool {
        self.waiting() == 0
    }

    /// How many frames the switch did not take yet.
    pub fn waiting(&self) -> usize {
        self.0.to_switch.lock().len()
    }
}

/// Opens a memory port whose receive queue holds `depth` frames. `deep` reads long heads and recognises checksums that
/// were left to a NIC, as AF_XDP on veth does.
pub(crate) fn open(depth: usize, deep: bool) -> std::io::Result<(Rx, Tx, MemoryPort)> {
    let queues = Arc::new(Queues {
        to_switch: Mutex::default(),
        from_switch: Mutex::default(),
        offloads: Mutex::default(),
        depth,
        doorbell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
    });
    let rx = Rx::new(Arc::clone(&queues), deep);
    Ok((rx, Tx(Arc::clone(&queues)), MemoryPort(queues)))
}

pub(crate) struct Rx {
    queues: Arc<Queues>,
    /// Frames that the current burst points into.
    in_flight: Vec<Vec<u8>>,
    deep: bool,
}

impl Rx {
    fn new(queues: Arc<Queues>, deep: bool) -> Self {
        Self {
            queues,
            in_flight: Vec::with_capacity(BURST),
            deep,
        }
    }

    /// Another receive side that takes frames from the same other side.
    pub(crate) fn another(&self) -> Self {
        Self::new(Arc::clone(&self.queues), self.deep)
    }

    pub(crate) fn receive(&mut self, burst: &mut Burst) {
        let mut queue = self.queues.to_switch.lock();
        if queue.is_empty() {
            let _ = rustix::io::read(&self.queues.doorbell, &mut [0u8; 8]);
            return;
        }
        while burst.has_room(1) {
            let Some((header, frame)) = queue.pop_front() else {
                break;
            };
            let head = if self.deep || header.is_some() {
                HEAD
            } else {
                SHORT_HEAD
            };
            // SAFETY: the vector's heap block stays where it is and unwritten in `in_flight`, which is emptied by
            // `release` only, after the burst was cleared.
            unsafe { burst.push(&[&frame], head) };
            match header {
                Some(header) => burst.read_vnet(&header),
                None if self.deep => burst.recognise_checksum(),
                None => {}
            }
            self.in_flight.push(frame);
        }
    }

    pub(crate) fn release(&mut self) {
        self.in_flight.clear();
    }

    pub(crate) fn readiness(&self) -> BorrowedFd<'_> {
        self.queues.doorbell.as_fd()
    }
}

pub(crate) struct Tx(Arc<Queues>);

impl Tx {
    pub(crate) fn offloads(&self) -> Offloads {
        *self.0.offloads.lock()
    }

    pub(crate) fn transmit(
        &self,
        burst: &Burst,
        index: usize,
        edit: TagEdit,
    ) -> Result<usize, DropReason> {
        let mut queue = self.0.from_switch.lock();
        if queue.len() >= self.0.depth {
            return Err(DropReason::RingFull);
        }
        let mut frame = vec![0; burst.edited_len(index, edit)];
        let len = burst.write(index, edit, &mut frame);
        let header = vnet::write(burst.frames()[index].offload, edit);
        queue.push_back((header, frame));
        Ok(len)
    }
}

/// The receive side for benches: frames without end, without a queue and without an allocation. A few buffers go round, as
/// in a ring, and each leaves with the next destination of a list. Heads are read and checksums looked at as from a veth.
pub(crate) struct Replay {
    buffers: Vec<Vec<u8>>,
    next_buffer: usize,
    destinations: Vec<MacAddr>,
    next_destination: usize,
    /// None: as the frame has it.
    sources: Vec<MacAddr>,
    next_source: usize,
}

/// Buffers that go round.
const REPLAY_BUFFERS: usize = 256;

impl Replay {
    /// Repeats `frame` to each of `destinations` in turn; to none, it is silent. From each of `sources` in turn, if there are
    /// any.
    pub(crate) fn new(frame: &[u8], destinations: Vec<MacAddr>, sources: Vec<MacAddr>) -> Self {
        Self {
            buffers: vec![frame.to_vec(); REPLAY_BUFFERS],
            next_buffer: 0,
            destinations,
            next_destination: 0,
            sources,
            next_source: 0,
        }
    }

    pub(crate) fn receive(&mut self, burst: &mut Burst) {
        if self.destinations.is_empty() {
            return;
        }
        while burst.has_room(1) {
            let buffer = &mut self.buffers[self.next_buffer];
            buffer[..6].copy_from_slice(&self.destinations[self.next_destination].octets());
            self.next_buffer = (self.next_buffer + 1) % REPLAY_BUFFERS;
            self.next_destination += 1;
            if self.next_destination == self.destinations.len() {
                self.next_destination = 0;
            }
            if let Some(source) = self.sources.get(self.next_source) {
                buffer[6..12].copy_from_slice(&source.octets());
                self.next_source += 1;
                if self.next_source == self.sources.len() {
                    self.next_source = 0;
                }
            }
            // SAFETY: the buffers live as long as the engine, and this one is written again only after all others, in a
            // later burst.
            unsafe { burst.push(&[buffer], HEAD) };
            burst.recognise_checksum();
        }
    }
}

/// The transmit side for benches: copies every frame into the next slot of a ring that nobody reads.
pub(crate) struct Sink {
    slots: Box<[u8]>,
    next: usize,
}

/// Slots of a sink, and octets of each.
const SINK_SLOTS: usize = 256;
const SINK_SLOT: usize = 2048;

impl Sink {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![0; SINK_SLOTS * SINK_SLOT].into_boxed_slice(),
            next: 0,
        }
    }

    #[inline]
    pub(crate) fn transmit(
        &mut self,
        burst: &Burst,
        index: usize,
        edit: TagEdit,
    ) -> Result<usize, DropReason> {
        let at = self.next * SINK_SLOT;
        self.next = (self.next + 1) % SINK_SLOTS;
        match burst.write(index, edit, &mut self.slots[at..at + SINK_SLOT]) {
            0 => Err(DropReason::TooLong),
            len => Ok(len),
        }
    }
}
