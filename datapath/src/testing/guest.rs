//! A guest: a driver with its rings and buffers in shared memory, and the front-end that presents it to the switch.
//!
//! The memory is read and written as a file, as another process does it. The driver can be right, and everything that a
//! driver writes can also be written wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::front_end::{FrontEnd, Region, RingAddresses, request};
use crate::vhost::features::{EVENT_IDX, MRG_RXBUF, OFFERED};

/// Flags of a descriptor.
pub const NEXT: u16 = 1;
/// The device writes it.
pub const WRITE: u16 = 2;
/// It is a table of descriptors.
pub const INDIRECT: u16 = 4;

/// Octets of a guest's memory, nearly all of which nobody touches.
pub const MEMORY: u64 = 256 << 20;

/// Where the memory is in the front-end; in the guest it starts at 0.
pub const USER: u64 = 0x5000_0000_0000;

/// Where in the memory what is: rings, indirect tables, buffers to receive into, buffers to send from.
const RINGS: u64 = 0;
const TABLES: u64 = 2 << 20;
const RECEIVE: u64 = 16 << 20;
const SEND: u64 = 128 << 20;

/// Octets of a buffer to send from: a packet of 64 KiB with all that is before it.
const SEND_LEN: u64 = 0x1_1000;

/// Entries of an indirect table.
const TABLE_LEN: u64 = 64;

/// What is expected comes within this time.
const LIMIT: Duration = Duration::from_secs(10);

/// A virtio-net header and a frame.
pub type Received = ([u8; 12], Vec<u8>);

/// What a guest is like.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// Virtio features that its driver accepts.
    pub features: u64,
    /// Queue pairs.
    pub pairs: usize,
    /// Entries of each ring, a power of two up to 1024.
    pub size: u16,
    /// Where the indices of its rings are: where an earlier switch left them.
    pub index: u16,
    /// Octets of each buffer in a chain to receive into; none to make no buffers available.
    pub buffers: Vec<u32>,
    /// Those chains are indirect.
    pub indirect: bool,
}

impl Default for GuestOptions {
    fn default() -> Self {
        Self {
            features: OFFERED,
            pairs: 1,
            size: 64,
            index: 0,
            buffers: vec![2048],
            indirect: false,
        }
    }
}

/// A descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Descriptor {
    /// Where the buffer is in the guest.
    pub address: u64,
    /// Its octets.
    pub len: u32,
    /// What it is.
    pub flags: u16,
    /// The descriptor that follows.
    pub next: u16,
}

impl Descriptor {
    /// As it is in memory.
    pub fn octets(self) -> Vec<u8> {
        [
            &self.address.to_le_bytes()[..],
            &self.len.to_le_bytes(),
            &self.flags.to_le_bytes(),
            &self.next.to_le_bytes(),
        ]
        .concat()
    }
}

/// A chain that was made available.
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// Address and length of every buffer.
    pub buffers: Vec<(u64, u32)>,
    descriptors: Vec<u16>,
}

/// A driver's knowledge of a queue.
#[derive(Debug)]
struct Queue {
    kick: OwnedFd,
    call: OwnedFd,
    /// The next entry of the available ring, and of the used ring.
    available: u16,
    used: u16,
    /// Descriptors that are in no chain; the last is taken first.
    free: Vec<u16>,
    /// Chains by their heads.
    posted: BTreeMap<u16, Posted>,
}

/// A guest.
#[derive(Debug)]
pub struct Guest {
    options: GuestOptions,
    front_end: Arc<FrontEnd>,
    file: File,
    queues: Vec<Queue>,
}

impl Guest {
    /// A guest whose driver has started, and is ready to receive.
    ///
    /// # Panics
    /// The switch refuses it.
    pub fn new(stream: UnixStream, options: GuestOptions) -> Self {
        let mut guest = Self::unconnected(stream, options);
        guest.connect();
        guest.refill();
        guest
    }

    /// A guest whose front-end has said nothing yet.
    ///
    /// # Panics
    /// The kernel refuses memory or descriptors.
    pub fn unconnected(stream: UnixStream, options: GuestOptions) -> Self {
        let event = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("events");
        let queues = (0..2 * options.pairs).map(|_| Queue {
            kick: event(),
            call: event(),
            available: options.index,
            used: options.index,
            free: (0..options.size).rev().collect(),
            posted: BTreeMap::new(),
        });
        let guest = Self {
            front_end: Arc::new(FrontEnd::new(stream)),
            file: memory_file(MEMORY),
            queues: queues.collect(),
            options,
        };
        for queue in 0..guest.queues.len() {
            for ring in [guest.available_at(queue), guest.used_at(queue)] {
                guest.write(ring + 2, &guest.options.index.to_le_bytes());
            }
        }
        guest
    }

    /// The front-end of a new connection, with everything else as it was.
    ///
    /// # Panics
    /// The switch refuses it.
    pub fn reconnect(&mut self, stream: UnixStream) {
        self.front_end = Arc::new(FrontEnd::new(stream));
        self.connect();
    }

    /// Says all that a front-end says, in the order of QEMU.
    fn connect(&self) {
        let offered = self.front_end.greet().expect("an answer");
        assert_eq!(offered, OFFERED, "the same at all times");
        let pairs = self.front_end.ask(request::GET_QUEUE_NUM);
        assert!(pairs.expect("an answer") >= self.options.pairs as u64);
        // QEMU enables the queues when it makes the adapter, before it knows the driver's features, and never again.
        (0..self.queues.len()).for_each(|queue| self.enable(queue));
        let accepted = self.front_end.set_features(self.options.features);
        accepted.expect("features that are offered");
        self.share();
        (0..self.queues.len()).for_each(|queue| self.describe(queue));
    }

    /// The whole memory as a region.
    pub fn region(&self) -> Region {
        Region {
            guest: 0,
            len: MEMORY,
            user: USER,
            offset: 0,
        }
    }

    /// Shares the memory.
    ///
    /// # Panics
    /// The switch refuses it.
    pub fn share(&self) {
        let shared = self.front_end.share(&[(self.region(), &self.file)]);
        shared.expect("accepted");
    }

    /// Describes a queue and starts it.
    ///
    /// # Panics
    /// The switch refuses it.
    pub fn start(&self, queue: usize) {
        self.describe(queue);
        self.enable(queue);
    }

    fn enable(&self, queue: usize) {
        let accepted = self
            .front_end
            .set_queue(request::SET_VRING_ENABLE, queue as u32, 1);
        accepted.expect("accepted");
    }

    /// Says all of a queue but that it is enabled.
    fn describe(&self, queue: usize) {
        let number = queue as u32;
        let size = self.options.size.into();
        let set = |request, value| {
            let accepted = self.front_end.set_queue(request, number, value);
            accepted.expect("accepted");
        };
        set(request::SET_VRING_NUM, size);
        set(request::SET_VRING_BASE, 0);
        let addresses = self
            .front_end
            .set_addresses(number, self.ring_addresses(queue));
        addresses.expect("accepted");
        self.set_event(request::SET_VRING_CALL, queue);
        self.set_event(request::SET_VRING_KICK, queue);
    }

    /// Stops a queue and starts it where it was.
    ///
    /// # Panics
    /// The switch refuses it.
    pub fn start_again(&self, queue: usize) {
        let stopped = self.front_end.stop_queue(queue as u32);
        stopped.expect("an answer");
        self.start(queue);
    }

    /// Hands over a queue's kick or call descriptor.
    ///
    /// # Panics
    /// The switch refuses it.
    pub fn set_event(&self, request: u32, queue: usize) {
        let event = self.event(request, queue).as_fd();
        let accepted = self.front_end.set_event(request, queue as u8, Some(event));
        accepted.expect("accepted");
    }

    /// Where a queue's ring is in the front-end.
    pub fn ring_addresses(&self, queue: usize) -> RingAddresses {
        RingAddresses {
            descriptors: USER + self.descriptors_at(queue),
            used: USER + self.used_at(queue),
            available: USER + self.available_at(queue),
        }
    }

    /// Its front-end, which may speak while the driver works.
    pub fn front_end(&self) -> &Arc<FrontEnd> {
        &self.front_end
    }

    /// The file of its memory.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What it is like.
    pub fn options(&self) -> &GuestOptions {
        &self.options
    }

    /// Where a queue's descriptors are in the memory.
    pub fn descriptors_at(&self, queue: usize) -> u64 {
        RINGS + queue as u64 * 0x1_0000
    }

    /// Where a queue's available ring is: flags, index, heads, used_event.
    pub fn available_at(&self, queue: usize) -> u64 {
        self.descriptors_at(queue) + 0x4000
    }

    /// Where a queue's used ring is: flags, index, entries, avail_event.
    pub fn used_at(&self, queue: usize) -> u64 {
        self.descriptors_at(queue) + 0x8000
    }

    /// Where the indirect table of a head is.
    pub fn table_at(&self, queue: usize, head: u16) -> u64 {
        let number = queue as u64 * u64::from(self.options.size) + u64::from(head);
        TABLES + number * 16 * TABLE_LEN
    }

    /// Where the buffer is from which a chain with this head sends.
    pub fn send_at(&self, queue: usize, head: u16) -> u64 {
        let number = (queue / 2) as u64 * u64::from(self.options.size) + u64::from(head);
        SEND + number * SEND_LEN
    }

    /// Writes octets into the memory.
    ///
    /// # Panics
    /// They are not in it.
    pub fn write(&self, at: u64, octets: &[u8]) {
        self.file.write_all_at(octets, at).expect("in the file");
    }

    /// Reads octets of the memory.
    ///
    /// # Panics
    /// They are not in it.
    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut octets = vec![0; len];
        self.file
            .read_exact_at(&mut octets, at)
            .expect("in the file");
        octets
    }

    fn word(&self, at: u64) -> u16 {
        let octets = self.read(at, 2);
        u16::from_le_bytes([octets[0], octets[1]])
    }

    /// Writes a descriptor of a queue.
    pub fn write_descriptor(&self, queue: usize, index: u16, descriptor: Descriptor) {
        let at = self.descriptors_at(queue) + 16 * u64::from(index);
        self.write(at, &descriptor.octets());
    }

    /// The next entry of a queue's available ring.
    pub fn available(&self, queue: usize) -> u16 {
        self.queues[queue].available
    }

    /// Buffers that the device gave back and the driver has not seen.
    pub fn unseen(&self, queue: usize) -> u16 {
        self.word(self.used_at(queue) + 2)
            .wrapping_sub(self.queues[queue].used)
    }

    /// Takes descriptors of a queue out of use, for a chain.
    ///
    /// # Panics
    /// So many do not come free.
    pub fn take_descriptors(&mut self, queue: usize, count: usize) -> Vec<u16> {
        assert!(count <= self.options.size.into(), "the ring has no more");
        wait("room in the ring", || self.has_room(queue, count));
        let free = &mut self.queues[queue].free;
        let mut taken = free.split_off(free.len() - count);
        taken.reverse();
        taken
    }

    /// Whether so many descriptors are free, to send from, without waiting for them.
    pub fn has_room(&mut self, queue: usize, count: usize) -> bool {
        self.reclaim_all(queue);
        self.queues[queue].free.len() >= count
    }

    fn reclaim_all(&mut self, queue: usize) {
        // What the device filled is fetched by those who receive.
        while queue % 2 == 1 && self.reclaim(queue).is_some() {}
    }

    /// Makes a chain available, and kicks if the device wants it.
    pub fn offer(&mut self, queue: usize, head: u16, posted: Posted) {
        let (size, available_at) = (self.options.size, self.available_at(queue));
        let index = self.queues[queue].available;
        let slot = available_at + 4 + 2 * u64::from(index % size);
        self.write(slot, &head.to_le_bytes());
        let next = index.wrapping_add(1);
        self.queues[queue].available = next;
        self.queues[queue].posted.insert(head, posted);
        self.write(available_at + 2, &next.to_le_bytes());
        let used_at = self.used_at(queue);
        let wants = if self.options.features & EVENT_IDX != 0 {
            self.word(used_at + 4 + 8 * u64::from(size)) == index
        } else {
            self.word(used_at) & 1 == 0
        };
        if wants {
            self.kick(queue);
        }
    }

    /// Kicks, whether the device wants it or not.
    pub fn kick(&self, queue: usize) {
        // A full counter is readable all the same.
        let _ = rustix::io::write(&self.queues[queue].kick, &1u64.to_ne_bytes());
    }

    /// Makes these descriptors available as they are; those of one chain are linked, so that a flag can say whether the link
    /// counts. Returns the head.
    pub fn post_descriptors(&mut self, queue: usize, descriptors: &[Descriptor]) -> u16 {
        let taken = self.take_descriptors(queue, descriptors.len());
        for (n, descriptor) in descriptors.iter().enumerate() {
            let next = taken.get(n + 1).copied().unwrap_or(descriptor.next);
            self.write_descriptor(
                queue,
                taken[n],
                Descriptor {
                    next,
                    ..*descriptor
                },
            );
        }
        let posted = Posted {
            buffers: Vec::new(),
            descriptors: taken.clone(),
        };
        self.offer(queue, taken[0], posted);
        taken[0]
    }

    /// Makes a chain of buffers available, directly or in a table.
    fn post(&mut self, queue: usize, taken: Vec<u16>, buffers: Vec<(u64, u32)>, indirect: bool) {
        let direction = if queue.is_multiple_of(2) { WRITE } else { 0 };
        let last = buffers.len() - 1;
        let descriptor = |n: usize, next: u16| Descriptor {
            address: buffers[n].0,
            len: buffers[n].1,
            flags: direction | if n < last { NEXT } else { 0 },
            next,
        };
        let head = taken[0];
        if indirect {
            let entries = (0..=last).flat_map(|n| descriptor(n, n as u16 + 1).octets());
            let table: Vec<u8> = entries.collect();
            let at = self.table_at(queue, head);
            self.write(at, &table);
            let head_descriptor = Descriptor {
                address: at,
                len: table.len() as u32,
                flags: INDIRECT,
                next: 0,
            };
            self.write_descriptor(queue, head, head_descriptor);
        } else {
            for n in 0..=last {
                let next = taken.get(n + 1).copied().unwrap_or(0);
                self.write_descriptor(queue, taken[n], descriptor(n, next));
            }
        }
        let posted = Posted {
            buffers,
            descriptors: taken,
        };
        self.offer(queue, head, posted);
    }

    /// The next chain that the device gave back, and how many octets it wrote.
    ///
    /// # Panics
    /// It gave back what it was not given.
    pub fn reclaim(&mut self, queue: usize) -> Option<(Posted, u32)> {
        if self.unseen(queue) == 0 {
            return None;
        }
        let slot = u64::from(self.queues[queue].used % self.options.size);
        let entry = self.read(self.used_at(queue) + 4 + 8 * slot, 8);
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| entry[at + n]));
        let own = &mut self.queues[queue];
        own.used = own.used.wrapping_add(1);
        let posted = u16::try_from(number(0))
            .ok()
            .and_then(|head| own.posted.remove(&head));
        let posted = posted.unwrap_or_else(|| panic!("queue {queue} has no chain {}", number(0)));
        own.free.extend(posted.descriptors.iter().rev());
        Some((posted, number(4)))
    }

    /// Makes as many buffers available as the rings have room for.
    pub fn refill(&mut self) {
        if self.options.buffers.is_empty() {
            return;
        }
        for pair in 0..self.options.pairs {
            let queue = 2 * pair;
            let per_chain = if self.options.indirect {
                1
            } else {
                self.options.buffers.len()
            };
            let stride: u64 = self.options.buffers.iter().map(|&len| u64::from(len)).sum();
            let chains = usize::from(self.options.size) / per_chain;
            assert!(chains > 0, "a chain does not fit into the ring");
            let first = RECEIVE + (pair * chains) as u64 * stride;
            for n in 0..chains as u64 {
                let mut at = first + n * stride;
                let place = |&len: &u32| {
                    let start = at;
                    at += u64::from(len);
                    (start, len)
                };
                let buffers = self.options.buffers.iter().map(place).collect();
                let taken = self.take_descriptors(queue, per_chain);
                self.post(queue, taken, buffers, self.options.indirect);
            }
        }
    }

    /// Sends a frame when the ring has room.
    pub fn send(&mut self, header: [u8; 12], frame: &[u8]) {
        self.send_split(0, header, frame, &[], false);
    }

    /// Sends a frame over a pair, in buffers of these lengths and one with the rest, if there is any.
    pub fn send_split(
        &mut self,
        pair: usize,
        header: [u8; 12],
        frame: &[u8],
        lengths: &[u32],
        indirect: bool,
    ) {
        let octets = [&header[..], frame].concat();
        let mut buffers: Vec<(u64, u32)> = Vec::new();
        let mut at = 0;
        for &len in lengths.iter().chain([&u32::MAX]) {
            let len = len.min(octets.len() as u32 - at);
            if len > 0 {
                buffers.push((u64::from(at), len));
                at += len;
            }
        }
        let queue = 2 * pair + 1;
        let count = if indirect { 1 } else { buffers.len() };
        let taken = self.take_descriptors(queue, count);
        let start = self.send_at(queue, taken[0]);
        self.write(start, &octets);
        buffers.iter_mut().for_each(|(at, _)| *at += start);
        self.post(queue, taken, buffers, indirect);
    }

    /// A frame if one is there whole. Its buffers are made available again.
    pub fn receive(&mut self) -> Option<Received> {
        self.receive_from(0)
    }

    /// A frame of a pair.
    ///
    /// # Panics
    /// What the device says of it contradicts itself.
    pub fn receive_from(&mut self, pair: usize) -> Option<Received> {
        let queue = 2 * pair;
        let mut octets = Vec::new();
        let mut left = 1;
        while left > 0 {
            // All chains of a frame are given back at once.
            let Some((posted, written)) = self.reclaim(queue) else {
                assert!(octets.is_empty(), "a frame in part");
                return None;
            };
            let is_first = octets.is_empty();
            let mut rest = written as usize;
            for &(at, len) in &posted.buffers {
                let taken = rest.min(len as usize);
                octets.extend(self.read(at, taken));
                rest -= taken;
            }
            assert!(rest == 0 && written > 0, "{written} octets in {posted:?}");
            if is_first {
                left = u16::from_le_bytes([octets[10], octets[11]]);
                let merges = self.options.features & MRG_RXBUF != 0;
                assert!(left >= 1 && (left == 1 || merges), "{left} buffers");
            }
            left -= 1;
            let taken = self.take_descriptors(queue, posted.descriptors.len());
            self.post(queue, taken, posted.buffers, self.options.indirect);
        }
        let frame = octets.split_off(12);
        Some((octets.try_into().expect("12 octets"), frame))
    }

    /// Sleeps until the device interrupts, as a kernel's driver does.
    ///
    /// # Panics
    /// An interrupt does not come.
    pub fn expect_frame(&mut self) -> Received {
        loop {
            if let Some(received) = self.receive() {
                return received;
            }
            self.want_interrupt(0);
            // States its wish, then looks once more: the mirror image of what the device does.
            if let Some(received) = self.receive() {
                return received;
            }
            assert!(self.interrupted(0, LIMIT), "no interrupt came");
        }
    }

    /// States the wish to be interrupted with the next buffer given back.
    pub fn want_interrupt(&self, queue: usize) {
        let event = self.available_at(queue) + 4 + 2 * u64::from(self.options.size);
        self.write(event, &self.queues[queue].used.to_le_bytes());
        self.write(self.available_at(queue), &[0, 0]);
    }

    /// States the wish not to be interrupted.
    pub fn mask_interrupts(&self, queue: usize) {
        let event = self.available_at(queue) + 4 + 2 * u64::from(self.options.size);
        let far = self.queues[queue].used.wrapping_sub(1);
        self.write(event, &far.to_le_bytes());
        self.write(self.available_at(queue), &[1, 0]);
    }

    /// Whether an interrupt came, or comes within this time.
    ///
    /// # Panics
    /// The kernel refuses to wait.
    pub fn interrupted(&self, queue: usize, longest: Duration) -> bool {
        let call = &self.queues[queue].call;
        let mut events = [PollFd::new(call, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: longest.as_secs() as i64,
            tv_nsec: longest.subsec_nanos().into(),
        };
        let ready = poll(&mut events, Some(&limit)).expect("a descriptor");
        ready > 0 && self.interrupts(queue) > 0
    }

    /// How many interrupts came since this was asked last.
    pub fn interrupts(&self, queue: usize) -> u64 {
        let mut count = [0; 8];
        // Nothing to read: there was none.
        let _ = rustix::io::read(&self.queues[queue].call, &mut count);
        u64::from_ne_bytes(count)
    }

    /// A queue's kick or call descriptor.
    pub fn event(&self, request: u32, queue: usize) -> &OwnedFd {
        if request == request::SET_VRING_KICK {
            &self.queues[queue].kick
        } else {
            &self.queues[queue].call
        }
    }
}

/// A file of memory, all zeros.
///
/// # Panics
/// The kernel refuses it.
pub fn memory_file(len: u64) -> File {
    let file = memfd_create("weft-guest", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&file, len).expect("a length");
    File::from(file)
}

/// Waits until something is done, without giving time to others for longer than needed.
///
/// # Panics
/// It is not done within 10 s.
#[track_caller]
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}
