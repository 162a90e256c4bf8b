//! The receive side of a queue pair: what a guest transmits.
//!
//! A burst is taken in three steps, each over all of its frames, so that what one step asks memory for is there when the next
//! one needs it: heads and descriptors; buffers; frames.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use weft_packet::vnet;

use super::handshake::Bell;
use super::queue::{Fault, Faults, Queue};
use super::ring::{Access, Buffer, Chain};
use crate::DropReason;
use crate::frame::{BURST, Burst, HEAD, SHORT_HEAD};
use crate::prefetch::prefetch_at;

/// How long the control side waits for a poll thread to take a change.
const ANSWER: Duration = Duration::from_secs(10);

/// A queue that starts, or `None` where it stops; the answer is what ran before.
struct Change {
    queue: Option<Queue>,
    done: Sender<Option<Queue>>,
}

/// Changes the queue of a receive side that a poll thread owns.
pub(crate) struct RxControl {
    changes: Sender<Change>,
    bell: Arc<EventBell>,
}

/// Rings when there is a change.
struct EventBell {
    pending: AtomicBool,
    doorbell: OwnedFd,
}

impl Bell for EventBell {
    type Flag = AtomicBool;

    #[inline]
    fn flag(&self) -> &AtomicBool {
        &self.pending
    }

    fn press(&self) {
        // A full counter is readable all the same.
        let _ = rustix::io::write(&self.doorbell, &1u64.to_ne_bytes());
    }

    fn quiet(&self) {
        let _ = rustix::io::read(&self.doorbell, &mut [0u8; 8]);
    }
}

impl RxControl {
    /// Puts a queue in the place of the one before; returns when the poll thread has done with that one, with its next
    /// available index.
    pub(crate) fn replace(&self, queue: Option<Queue>) -> Option<u16> {
        let (done, answer) = bounded(1);
        // Without a poll thread there is nobody who uses a queue.
        self.changes.send(Change { queue, done }).ok()?;
        self.bell.ring();
        // Closed here: with the last queue of a guest's memory that is unmapped, for which no poll thread has time.
        let before = answer.recv_timeout(ANSWER).ok().flatten();
        before.map(|queue| queue.ring.base())
    }
}

/// The receive side.
pub(crate) struct Rx {
    queue: Option<Queue>,
    /// Buffers of the current burst, by their heads; nothing is written to them.
    taken: ArrayVec<(u16, u32), BURST>,
    changes: Receiver<Change>,
    bell: Arc<EventBell>,
    /// Readable when the doorbell rings or the guest kicks.
    readiness: OwnedFd,
    faults: Arc<Faults>,
    /// Its queue's number.
    index: usize,
}

impl Rx {
    pub(crate) fn new(pair: usize, faults: Arc<Faults>) -> std::io::Result<(Self, RxControl)> {
        // Unbounded: what is in such a channel goes with its receiver, and whoever waits for an answer learns of it.
        let (sender, changes) = unbounded();
        let bell = Arc::new(EventBell {
            pending: AtomicBool::new(false),
            doorbell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        });
        let readiness = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&readiness, &bell.doorbell, data, epoll::EventFlags::IN)?;
        let control = RxControl {
            changes: sender,
            bell: Arc::clone(&bell),
        };
        let rx = Self {
            queue: None,
            taken: ArrayVec::new(),
            changes,
            bell,
            readiness,
            faults,
            index: 2 * pair + 1,
        };
        Ok((rx, control))
    }

    /// Changes the queue, if that is asked for.
    #[inline]
    pub(crate) fn attend(&mut self) {
        if self.bell.is_rung() {
            self.obey();
        }
    }

    #[inline]
    pub(crate) fn receive(&mut self, burst: &mut Burst) {
        self.attend();
        let Some(queue) = &mut self.queue else {
            return;
        };
        let result = take(queue, burst, &mut self.taken);
        // Of what the last burst gave back: asked now, when that has reached the guest, which costs no wait, and its driver's
        // wish, which stands beside its index, was just read.
        queue.notify();
        if let Err(fault) = result {
            self.fail(fault);
        }
    }

    /// Gives the buffers of the burst back.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        let Some(queue) = &mut self.queue else {
            self.taken.clear();
            return;
        };
        queue.ring.give_back(&self.taken);
        self.taken.clear();
        queue.ring.publish();
        if queue.ring.is_lost() {
            self.fail(Fault::Memory);
        }
    }

    /// Readable when a guest that was asked to kick does so; `None` for one that cannot.
    pub(crate) fn readiness(&self) -> Option<BorrowedFd<'_>> {
        match &self.queue {
            Some(queue) if queue.kick.is_none() => None,
            _ => Some(self.readiness.as_fd()),
        }
    }

    /// Asks the guest to kick. Returns whether there is something to do already.
    pub(crate) fn arm(&self) -> bool {
        if self.bell.is_rung_before_sleep() {
            return true;
        }
        let ready = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.ring.arm_kicks());
        if ready {
            self.disarm();
        }
        ready
    }

    /// Tells the guest that it need not kick.
    pub(crate) fn disarm(&self) {
        if let Some(queue) = &self.queue {
            queue.ring.suppress_kicks();
            // Forgets the kick without reading it, which a guest could make wait.
            let mut events = [std::mem::MaybeUninit::uninit(); 2];
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let _ = epoll::wait(&self.readiness, &mut events, Some(&now));
        }
    }

    #[cold]
    fn obey(&mut self) {
        self.bell.answer();
        while let Ok(Change { queue, done }) = self.changes.try_recv() {
            let before = self.replace(queue);
            // Nobody waits any more where the poll thread was late.
            let _ = done.try_send(before);
        }
    }

    fn replace(&mut self, queue: Option<Queue>) -> Option<Queue> {
        let mut before = std::mem::replace(&mut self.queue, queue);
        if let Some(queue) = &mut before {
            queue.ring.publish();
            queue.notify();
        }
        self.faults.clear(self.index);
        if let Some(queue) = &mut self.queue {
            // The queue before has given everything back by now.
            queue.ring.resume();
            queue.call();
        }
        if let Some(kick) = before.as_ref().and_then(|queue| queue.kick.as_ref()) {
            let _ = epoll::delete(&self.readiness, kick);
        }
        if let Some(kick) = self.queue.as_ref().and_then(|queue| queue.kick.as_ref()) {
            let data = epoll::EventData::new_u64(1);
            let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
            // Fails for what is no eventfd or pipe: the guest's own loss.
            let _ = epoll::add(&self.readiness, kick, data, edge);
        }
        self.disarm();
        before
    }

    /// The queue stands still until the front-end starts it again.
    #[cold]
    fn fail(&mut self, fault: Fault) {
        let fault = fault.of(self.queue.as_ref());
        self.taken.clear();
        self.replace(None);
        self.faults.report(self.index, fault);
    }
}

/// Takes a burst off the ring.
#[inline]
fn take(
    queue: &mut Queue,
    burst: &mut Burst,
    taken: &mut ArrayVec<(u16, u32), BURST>,
) -> Result<(), Fault> {
    let ring = &mut queue.ring;
    let count = ring.available(1)?.min(BURST as u16);
    let mut heads: ArrayVec<u16, BURST> = ArrayVec::new();
    for ahead in 0..count {
        let head = ring.head(ahead)?;
        ring.prefetch(head);
        heads.push(head);
    }
    let mut first: ArrayVec<Option<Buffer>, BURST> = ArrayVec::new();
    for &head in &heads {
        let buffer = ring.only_buffer(head, Access::Read);
        if let Some(buffer) = buffer {
            let start = buffer.start.as_ptr();
            if queue.reads_header {
                prefetch_at(start);
            }
            // The frame's first octets may lie across two lines.
            prefetch_at(start.wrapping_add(vnet::LEN));
            prefetch_at(start.wrapping_add(vnet::LEN + SHORT_HEAD - 1));
        }
        first.push(buffer);
    }
    for (&head, &buffer) in heads.iter().zip(&first) {
        let pushed = match buffer {
            Some(buffer) => push_one(burst, buffer, queue.reads_header),
            None => {
                let mut chain = Chain::new();
                let walked = queue.ring.walk(head, Access::Read, &mut chain);
                push_chain(burst, walked.is_ok().then_some(&chain), queue.reads_header)
            }
        };
        if !pushed {
            break;
        }
        taken.push((head, 0));
    }
    queue.ring.take(taken.len() as u16);
    Ok(())
}

/// Adds the frame in a buffer. Returns whether there was room.
#[inline]
fn push_one(burst: &mut Burst, buffer: Buffer, reads_header: bool) -> bool {
    if !burst.has_room(1) {
        return false;
    }
    // SAFETY: the buffer lies in mapped memory, and is the switch's until it is given back, which happens after the burst
    // was cleared. A guest that writes to it meanwhile changes octets that nobody decides by: what is decided by is copied.
    let octets = unsafe { std::slice::from_raw_parts(buffer.start.as_ptr(), buffer.len) };
    let Some((header, frame)) = octets.split_first_chunk::<{ vnet::LEN }>() else {
        push_fault(burst);
        return true;
    };
    let header = if reads_header {
        read_header(header)
    } else {
        [0; _]
    };
    let head_size = if header[0] | header[1] == 0 {
        SHORT_HEAD
    } else {
        HEAD
    };
    // SAFETY: as above.
    unsafe { burst.push(&[frame], head_size) };
    burst.read_vnet(&header);
    true
}

/// Copies the header before a frame: what is checked is what is carried out, whatever the guest writes meanwhile.
#[inline]
fn read_header(place: &[u8; vnet::LEN]) -> [u8; vnet::LEN] {
    #[derive(Clone, Copy)]
    #[repr(C, packed)]
    struct Word(u32);
    // SAFETY: the octets are readable, are as many as three words have, and words of this kind may lie anywhere. Volatile:
    // the compiler reads them once.
    let words = unsafe { place.as_ptr().cast::<[Word; 3]>().read_volatile() };
    let mut header = [0; vnet::LEN];
    for (octets, Word(word)) in header.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *octets = word.to_ne_bytes();
    }
    header
}

/// Adds the frame of a chain, or a fault in its place. Returns whether there was room.
fn push_chain(burst: &mut Burst, chain: Option<&Chain>, reads_header: bool) -> bool {
    if !burst.has_room(chain.map_or(1, |chain| chain.len())) {
        return false;
    }
    let mut header = [0; vnet::LEN];
    let mut filled = 0;
    let mut pieces: ArrayVec<&[u8], { super::ring::MOST_BUFFERS }> = ArrayVec::new();
    for buffer in chain.into_iter().flatten() {
        // SAFETY: as in `push_one`.
        let octets = unsafe { std::slice::from_raw_parts(buffer.start.as_ptr(), buffer.len) };
        let (start, rest) = octets.split_at(octets.len().min(vnet::LEN - filled));
        header[filled..filled + start.len()].copy_from_slice(start);
        filled += start.len();
        if !rest.is_empty() {
            pieces.push(rest);
        }
    }
    if filled < vnet::LEN || pieces.is_empty() {
        push_fault(burst);
        return true;
    }
    let header = if reads_header { header } else { [0; _] };
    // SAFETY: as in `push_one`.
    unsafe { burst.push(&pieces, HEAD) };
    burst.read_vnet(&header);
    true
}

#[cold]
fn push_fault(burst: &mut Burst) {
    // SAFETY: no octet is read.
    unsafe { burst.push(&[&[]], SHORT_HEAD) };
    burst.mark(DropReason::BadDescriptor);
}
