//! The transmit side of a port: what a guest receives.

use std::sync::Arc;

use arrayvec::ArrayVec;
use weft_packet::{TagEdit, vnet};

use super::flow;
use super::queue::{Fault, Faults, Queue};
use super::ring::{Access, Broken, Buffer, Chain};
use crate::engine::Outgoing;
use crate::frame::{BURST, Burst};
use crate::prefetch::{prefetch_at, prefetch_for_write};
use crate::{DropReason, Offloads};

/// Most buffers that one frame takes of a guest: 64 KiB in buffers of 1526 octets are 43.
const MOST_CHAINS: usize = 64;

/// The transmit side, with a queue for each pair that the guest uses.
pub(crate) struct Tx {
    queues: Vec<Option<Queue>>,
    /// How many queues run; frames are spread over the first of them.
    running: usize,
    /// No queue from here on is there.
    end: usize,
    offloads: Offloads,
    faults: Arc<Faults>,
}

impl Tx {
    pub(crate) fn new(pairs: usize, faults: Arc<Faults>) -> Self {
        Self {
            queues: (0..pairs).map(|_| None).collect(),
            running: 0,
            end: 0,
            offloads: Offloads::NONE,
            faults,
        }
    }

    /// Puts a queue in the place of the one before, which comes back.
    pub(crate) fn replace(&mut self, pair: usize, mut queue: Option<Queue>) -> Option<Queue> {
        let place = self.queues.get_mut(pair)?;
        self.faults.clear(2 * pair);
        if let Some(queue) = &mut queue {
            // The queue before has told of everything by now.
            queue.ring.resume();
            queue.ring.suppress_kicks();
            queue.call();
            self.offloads = queue.offloads;
        }
        let mut before = std::mem::replace(place, queue);
        if let Some(queue) = &mut before {
            queue.ring.publish();
            queue.notify();
        }
        self.running = self
            .queues
            .iter()
            .take_while(|queue| queue.is_some())
            .count();
        let last = self.queues.iter().rposition(Option::is_some);
        self.end = last.map_or(0, |last| last + 1);
        before
    }

    #[inline]
    pub(crate) fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Copies frames into the guest's buffers. Each flow stays on one queue, and in order.
    #[inline]
    pub(crate) fn transmit(
        &mut self,
        burst: &Burst,
        copies: impl ExactSizeIterator<Item = Outgoing> + Clone,
        mut done: impl FnMut(usize, Result<usize, DropReason>),
    ) {
        match self.running {
            0 => (0..copies.len()).for_each(|at| done(at, Err(DropReason::PortDown))),
            1 => self.send(0, burst, copies.len(), copies.enumerate(), &mut done),
            _ => self.spread(burst, copies, &mut done),
        }
    }

    /// Copies frames into the buffers of several queues.
    #[inline(never)]
    fn spread(
        &mut self,
        burst: &Burst,
        copies: impl Iterator<Item = Outgoing> + Clone,
        done: &mut impl FnMut(usize, Result<usize, DropReason>),
    ) {
        let running = self.running;
        let mut pairs: ArrayVec<usize, BURST> = ArrayVec::new();
        pairs.extend(
            copies
                .clone()
                .map(|copy| flow::number(burst.frames()[copy.frame].head()) % running),
        );
        for pair in 0..running {
            let own = copies
                .clone()
                .enumerate()
                .filter(|(at, _)| pairs[*at] == pair);
            let count = pairs.iter().filter(|other| **other == pair).count();
            self.send(pair, burst, count, own, done);
        }
    }

    /// Copies frames, `count` of them, into the buffers of one queue.
    #[inline]
    fn send(
        &mut self,
        pair: usize,
        burst: &Burst,
        count: usize,
        mut copies: impl Iterator<Item = (usize, Outgoing)>,
        done: &mut impl FnMut(usize, Result<usize, DropReason>),
    ) {
        if count == 0 {
            return;
        }
        let result = match &mut self.queues[pair] {
            Some(queue) => fill_buffers(queue, burst, count, &mut copies, done),
            None => Ok(()),
        };
        if let Err(broken) = result {
            self.fail(pair, broken.into());
        }
        // Those that no queue was left for.
        copies.for_each(|(at, _)| done(at, Err(DropReason::PortDown)));
    }

    /// Tells the guest what it received.
    #[inline]
    pub(crate) fn flush(&mut self) {
        for pair in 0..self.end {
            if let Some(queue) = &mut self.queues[pair] {
                queue.ring.publish();
                if queue.ring.is_lost() {
                    self.fail(pair, Fault::Memory);
                }
            }
        }
    }

    /// Notifies the guest of what it was told, if it wants that.
    #[inline]
    pub(crate) fn notify(&mut self) {
        for queue in self.queues[..self.end].iter_mut().flatten() {
            queue.notify();
        }
    }

    /// The queue stands still until the front-end starts it again.
    #[cold]
    fn fail(&mut self, pair: usize, fault: Fault) {
        let fault = fault.of(self.queues[pair].as_ref());
        self.replace(pair, None);
        self.faults.report(2 * pair, fault);
    }
}

/// Copies frames, `count` of them, into a guest's next buffers, in three steps, each over all of them, so that what one step
/// asks memory for is there when the next one needs it: heads and descriptors; buffers; frames. Takes off `copies` all whose
/// outcome is known.
///
/// # Errors
/// The ring cannot go on.
#[inline]
fn fill_buffers(
    queue: &mut Queue,
    burst: &Burst,
    count: usize,
    copies: &mut impl Iterator<Item = (usize, Outgoing)>,
    done: &mut impl FnMut(usize, Result<usize, DropReason>),
) -> Result<(), Broken> {
    let ring = &mut queue.ring;
    let count = ring.available(count as u16)?.min(count as u16);
    let mut heads: ArrayVec<u16, BURST> = ArrayVec::new();
    for ahead in 0..count {
        let head = ring.head(ahead)?;
        ring.prefetch(head);
        heads.push(head);
    }
    let mut buffers: ArrayVec<Option<Buffer>, BURST> = ArrayVec::new();
    for &head in &heads {
        let buffer = ring.only_buffer(head, Access::Write);
        if let Some(buffer) = buffer {
            let start = buffer.start.as_ptr();
            prefetch_at(start);
            prefetch_for_write(start.wrapping_add(vnet::LEN));
        }
        buffers.push(buffer);
    }
    // Filled, and not yet given back: what the ring keeps is not touched between frames.
    let mut filled: ArrayVec<(u16, u32), BURST> = ArrayVec::new();
    let mut next = 0;
    for (at, Outgoing { frame, edit }) in copies {
        let len = burst.edited_len(frame, edit);
        let sent = match buffers.get(next) {
            Some(&Some(buffer)) if buffer.len >= len + vnet::LEN => {
                put(buffer, burst, frame, edit, len);
                filled.push((heads[next], (len + vnet::LEN) as u32));
                next += 1;
                Ok(len)
            }
            _ => {
                queue.ring.take(filled.len() as u16);
                queue.ring.give_back(&filled);
                filled.clear();
                let before = queue.ring.base();
                let sent = put_scattered(queue, burst, frame, edit, len);
                next += usize::from(queue.ring.base().wrapping_sub(before));
                match sent {
                    Err(Refused::Broken(broken)) => {
                        done(at, Err(DropReason::PortDown));
                        return Err(broken);
                    }
                    Err(Refused::Dropped(reason)) => Err(reason),
                    Ok(len) => Ok(len),
                }
            }
        };
        done(at, sent);
    }
    queue.ring.take(filled.len() as u16);
    queue.ring.give_back(&filled);
    Ok(())
}

enum Refused {
    Dropped(DropReason),
    Broken(Broken),
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Copies a frame of `len` octets and its header into a buffer that holds them.
#[inline]
fn put(buffer: Buffer, burst: &Burst, index: usize, edit: TagEdit, len: usize) {
    // SAFETY: the buffer lies in mapped memory, and is the switch's until it is given back, which the caller does. What a
    // guest writes there meanwhile is its own loss: nothing is read from it but the header that is compared.
    let out = unsafe { std::slice::from_raw_parts_mut(buffer.start.as_ptr(), len + vnet::LEN) };
    let (header, frame) = out.split_at_mut(vnet::LEN);
    put_header(header, &vnet::write(burst.frames()[index].offload, edit));
    burst.write(index, edit, frame);
}

/// A guest rarely touches the header: left alone where it is right already, its line stays in both caches.
#[inline]
fn put_header(place: &mut [u8], header: &[u8; vnet::LEN]) {
    if place != header {
        place.copy_from_slice(header);
    }
}

/// Copies a frame into a chain of buffers, or several chains where the guest merges them.
#[inline(never)]
fn put_scattered(
    queue: &mut Queue,
    burst: &Burst,
    index: usize,
    edit: TagEdit,
    len: usize,
) -> Result<usize, Refused> {
    let whole = len + vnet::LEN;
    let most = if queue.merges { MOST_CHAINS } else { 1 };
    let available = usize::from(queue.ring.available(most as u16)?);
    let mut chains: ArrayVec<(u16, Chain), MOST_CHAINS> = ArrayVec::new();
    let mut room = 0;
    while room < whole {
        if chains.len() == most {
            return Err(Refused::Dropped(DropReason::TooLong));
        }
        if chains.len() == available {
            return Err(Refused::Dropped(DropReason::RingFull));
        }
        let head = queue.ring.head(chains.len() as u16)?;
        let mut chain = Chain::new();
        if queue.ring.walk(head, Access::Write, &mut chain).is_err() {
            // It goes back unused, with what was gathered before it, so that the ring goes on.
            let heads = chains.iter().map(|(head, _)| *head);
            for head in heads.chain([head]) {
                queue.ring.take(1);
                queue.ring.give_back(&[(head, 0)]);
            }
            return Err(Refused::Dropped(DropReason::BadDescriptor));
        }
        room += chain.iter().map(|buffer| buffer.len).sum::<usize>();
        chains.push((head, chain));
    }
    let mut header = vnet::write(burst.frames()[index].offload, edit);
    header[10..].copy_from_slice(&(chains.len() as u16).to_le_bytes());
    let mut at = 0;
    for (head, chain) in &chains {
        let before = at;
        for buffer in chain {
            at += fill(*buffer, burst, index, edit, &header, at, whole);
        }
        queue.ring.take(1);
        queue.ring.give_back(&[(*head, (at - before) as u32)]);
    }
    Ok(len)
}

/// Fills a buffer with header and frame from octet `at` of both on, of `whole`. Returns how many were written.
fn fill(
    buffer: Buffer,
    burst: &Burst,
    index: usize,
    edit: TagEdit,
    header: &[u8; vnet::LEN],
    at: usize,
    whole: usize,
) -> usize {
    let taken = buffer.len.min(whole - at);
    // SAFETY: as in `put`.
    let out = unsafe { std::slice::from_raw_parts_mut(buffer.start.as_ptr(), taken) };
    let of_header = vnet::LEN.saturating_sub(at).min(taken);
    let (start, rest) = out.split_at_mut(of_header);
    start.copy_from_slice(&header[at.min(vnet::LEN)..][..of_header]);
    if !rest.is_empty() {
        burst.write_part(index, edit, at + of_header - vnet::LEN, rest);
    }
    taken
}
