//! The transmit side of a port: what a guest receives.

use std::sync::Arc;

use arrayvec::ArrayVec;
use weft_packet::{TagEdit, vnet};

use super::queue::{Fault, Faults, Queue};
use super::ring::{Access, Buffer, Chain};
use crate::frame::Burst;
use crate::{DropReason, Offloads};

/// Most buffers that one frame takes of a guest: 64 KiB in buffers of 1526 octets are 43.
const MOST_CHAINS: usize = 64;

/// Octets of an address of IPv4 and the ports behind it, by which frames are spread over queues.
const FLOW: std::ops::Range<usize> = 26..38;

/// The transmit side, with a queue for each pair that the guest uses.
pub(crate) struct Tx {
    queues: Vec<Option<Queue>>,
    /// How many queues run; frames are spread over the first of them.
    running: usize,
    offloads: Offloads,
    faults: Arc<Faults>,
}

impl Tx {
    pub(crate) fn new(pairs: usize, faults: Arc<Faults>) -> Self {
        Self {
            queues: (0..pairs).map(|_| None).collect(),
            running: 0,
            offloads: Offloads::NONE,
            faults,
        }
    }

    /// Puts a queue in the place of the one before, whose next available index is the answer.
    pub(crate) fn replace(&mut self, pair: usize, mut queue: Option<Queue>) -> Option<u16> {
        let place = self.queues.get_mut(pair)?;
        if let Some(queue) = &mut queue {
            // The queue before has told of everything by now.
            queue.ring.resume();
            queue.ring.suppress_kicks();
            self.offloads = queue.offloads;
        }
        let before = std::mem::replace(place, queue);
        self.running = self
            .queues
            .iter()
            .take_while(|queue| queue.is_some())
            .count();
        before.map(|queue| queue.ring.base())
    }

    #[inline]
    pub(crate) fn offloads(&self) -> Offloads {
        self.offloads
    }

    #[inline]
    pub(crate) fn transmit(
        &mut self,
        burst: &Burst,
        index: usize,
        edit: TagEdit,
    ) -> Result<usize, DropReason> {
        let pair = match self.running {
            0 => return Err(DropReason::PortDown),
            1 => 0,
            running => spread(burst.frames()[index].head()) % running,
        };
        let Some(queue) = &mut self.queues[pair] else {
            return Err(DropReason::PortDown);
        };
        match put(queue, burst, index, edit) {
            Ok(len) => Ok(len),
            Err(Refused::Dropped(reason)) => Err(reason),
            Err(Refused::Broken(fault)) => {
                self.fail(pair, fault);
                Err(DropReason::PortDown)
            }
        }
    }

    /// Tells the guest what it received.
    #[inline]
    pub(crate) fn flush(&mut self) {
        for pair in 0..self.running {
            if let Some(queue) = &mut self.queues[pair] {
                queue.finish();
                if queue.ring.is_lost() {
                    self.fail(pair, Fault::Memory);
                    return;
                }
            }
        }
    }

    /// The queue stands still until the front-end starts it again.
    #[cold]
    fn fail(&mut self, pair: usize, fault: Fault) {
        self.faults
            .report(2 * pair, fault.of(self.queues[pair].as_ref()));
        self.replace(pair, None);
    }
}

enum Refused {
    Dropped(DropReason),
    Broken(Fault),
}

impl From<super::ring::Broken> for Refused {
    fn from(broken: super::ring::Broken) -> Self {
        Self::Broken(broken.into())
    }
}

/// Copies a frame into the guest's next buffer, or as many as it takes.
#[inline]
fn put(queue: &mut Queue, burst: &Burst, index: usize, edit: TagEdit) -> Result<usize, Refused> {
    let len = burst.edited_len(index, edit);
    if queue.ring.available(1)? == 0 {
        return Err(Refused::Dropped(DropReason::RingFull));
    }
    let head = queue.ring.head(0)?;
    let whole = len + vnet::LEN;
    match queue.ring.only_buffer(head, Access::Write) {
        Some(buffer) if buffer.len >= whole => {
            // SAFETY: the buffer lies in mapped memory, and is the switch's until it is given back below. What a guest
            // writes there meanwhile is its own loss: nothing is read from it but the header that is compared.
            let out = unsafe { std::slice::from_raw_parts_mut(buffer.start.as_ptr(), whole) };
            let (header, frame) = out.split_at_mut(vnet::LEN);
            put_header(header, &vnet::write(burst.frames()[index].offload, edit));
            burst.write(index, edit, frame);
            queue.ring.take(1);
            queue.ring.give_back(head, whole as u32);
            Ok(len)
        }
        _ => put_scattered(queue, burst, index, edit, len),
    }
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
            for (head, _) in chains {
                queue.ring.take(1);
                queue.ring.give_back(head, 0);
            }
            queue.ring.take(1);
            queue.ring.give_back(head, 0);
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
        queue.ring.give_back(*head, (at - before) as u32);
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

/// A number that is the same for all frames of a flow of IPv4, so that they stay in order.
fn spread(head: &[u8]) -> usize {
    let flow = head.get(FLOW).unwrap_or_default();
    let hash = flow.iter().fold(0u32, |hash, octet| {
        (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193)
    });
    (hash >> 8) as usize
}
