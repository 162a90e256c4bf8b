//! Stage 3: each destination is served once.

use weft_packet::TagEdit;

use super::destinations::FrameCopy;
use super::{Edits, Forwarder};
use crate::DropReason;
use crate::counters::ThreadPortCounters;
use crate::engine::{Flushed, Outgoing, TxEngine};
use crate::frame::{BURST, Burst};
use crate::port::TransmitSide;
use crate::shaping::EgressQueue;
use crate::snapshot::{PortEntry, Snapshot};

/// Room in which bursts are made for destinations.
#[derive(Default)]
pub(super) struct Rooms {
    /// For frames that are finished for a destination.
    finished: Box<Burst>,
    /// For frames that waited.
    waited: Box<Burst>,
}

impl Forwarder {
    /// Copies the burst to its destinations. Returns the frames, as bits, that reached one.
    #[inline]
    pub(super) fn transmit(&mut self, snapshot: &Snapshot, burst: &Burst, now: u64) -> u32 {
        let Self {
            thread,
            edits,
            destinations,
            rooms,
            flushes,
            held_back,
            ..
        } = self;
        let mut delivered = 0;
        destinations.drain(|port, copies| {
            // Destinations come from this snapshot's own lists.
            let Some(entry) = snapshot.port(port) else {
                return;
            };
            let served = serve(entry, *thread, copies, edits, burst, rooms, now);
            delivered |= served.delivered;
            flushes.note(port, served.flushed);
            if let Some(opens_at) = served.opens_at {
                held_back.note(port, opens_at);
            }
        });
        delivered
    }

    /// Sends what was held back for limits and may leave by now.
    #[inline]
    pub(crate) fn send_held_back(&mut self, snapshot: &Snapshot, now: u64) {
        if !self.held_back.is_due(now) {
            return;
        }
        self.notify(snapshot);
        let Self {
            thread,
            rooms,
            flushes,
            held_back,
            ..
        } = self;
        held_back.retain(now, |port| {
            let (flushed, opens_at) = send_waiting(snapshot.port(port)?, *thread, rooms, now);
            flushes.note(port, flushed);
            opens_at
        });
    }
}

/// What became of the copies for one destination.
struct Served {
    /// The originals, as bits, that it took.
    delivered: u32,
    flushed: Flushed,
    /// When copies that wait may leave (ns), if some do.
    opens_at: Option<u64>,
}

#[inline]
fn serve(
    entry: &PortEntry,
    thread: usize,
    copies: &[FrameCopy],
    edits: &[Edits; BURST],
    burst: &Burst,
    rooms: &mut Rooms,
    now: u64,
) -> Served {
    let counters = entry.port.thread_counters(thread);
    counters.tx_attempts.add(copies.len() as u64);
    if let Some(reason) = entry.closed {
        counters.tx_drops[reason as usize].add(copies.len() as u64);
        return Served {
            delivered: 0,
            flushed: Flushed::Done,
            opens_at: None,
        };
    }
    let read = |copy: &FrameCopy| {
        let frame = copy.frame();
        let edit = edits[frame].for_port(entry);
        (Outgoing { frame, edit }, copy.delivery())
    };
    let mut side = entry.port.tx.lock();
    let TransmitSide { engine, queue } = &mut *side;
    let (tally, opens_at) = match queue {
        None => {
            let finished = &mut rooms.finished;
            let tally = send(engine, counters, burst, copies, read, finished);
            (tally, None)
        }
        Some(queue) => {
            let way = Way { engine, counters };
            let tally = send_shaped(way, queue, burst, copies, read, rooms, now);
            (tally, queue.opens_at())
        }
    };
    let flushed = engine.flush();
    drop(side);
    tally.count(counters);
    Served {
        delivered: tally.delivered,
        flushed,
        opens_at,
    }
}

/// What a destination took.
#[derive(Default)]
struct Tally {
    delivered: u32,
    sent: u64,
    bytes: u64,
}

impl Tally {
    #[inline]
    fn count(&self, counters: &ThreadPortCounters) {
        counters.tx_frames.add(self.sent);
        counters.tx_bytes.add(self.bytes);
    }
}

/// Hands copies to the engine, in order. `read` tells of each what goes out, and its frame as a bit if the copy is its delivery.
#[inline]
fn send<C>(
    engine: &mut TxEngine,
    counters: &ThreadPortCounters,
    burst: &Burst,
    copies: &[C],
    read: impl Fn(&C) -> (Outgoing, u32) + Copy,
    finished: &mut Burst,
) -> Tally {
    let mut tally = Tally::default();
    let takes = engine.offloads();
    let asks_for_nothing = burst.asks_for_nothing();
    let mut waiting = copies;
    while let Some((first, rest)) = waiting.split_first() {
        let is_taken = |copy: &C| {
            let offload = &burst.frames()[read(copy).0.frame].offload;
            offload.is_none() || takes.take(offload)
        };
        if !asks_for_nothing && !is_taken(first) {
            let (Outgoing { frame, edit }, delivery) = read(first);
            let (frames, octets) = finish(engine, counters, burst, frame, edit, finished);
            tally.sent += frames;
            tally.bytes += octets;
            tally.delivered |= if frames > 0 { delivery } else { 0 };
            waiting = rest;
            continue;
        }
        // As many as can go as they are, so that order stays.
        let run = if asks_for_nothing {
            waiting.len()
        } else {
            waiting.iter().take_while(|copy| is_taken(copy)).count()
        };
        let (run, rest) = waiting.split_at(run);
        let outgoing = run.iter().map(|copy| read(copy).0);
        engine.transmit(burst, outgoing, |position, result| match result {
            Ok(len) => {
                tally.sent += 1;
                tally.bytes += len as u64;
                tally.delivered |= read(&run[position]).1;
            }
            Err(reason) => counters.tx_drops[reason as usize].add(1),
        });
        waiting = rest;
    }
    tally
}

/// Where copies go, and where they are counted.
struct Way<'a> {
    engine: &'a mut TxEngine,
    counters: &'a ThreadPortCounters,
}

/// Sends by the limit of a port: first what waits, then of `copies` what may leave at once. The others wait, which counts as
/// taken, or find no room.
#[inline(never)]
fn send_shaped<C>(
    way: Way<'_>,
    queue: &mut EgressQueue,
    burst: &Burst,
    copies: &[C],
    read: impl Fn(&C) -> (Outgoing, u32) + Copy,
    rooms: &mut Rooms,
    now: u64,
) -> Tally {
    let Way { engine, counters } = way;
    if !queue.is_empty() {
        send_some(engine, counters, queue, rooms, now);
    }
    let (mut at_once, mut octets) = (0, 0);
    let budget = queue.budget(now);
    while at_once < copies.len() && octets < budget {
        let (Outgoing { frame, edit }, _) = read(&copies[at_once]);
        octets += burst.cost(frame, edit);
        at_once += 1;
    }
    if at_once > 0 {
        queue.charge(octets, now);
    }
    let (at_once, later) = copies.split_at(at_once);
    let mut tally = send(engine, counters, burst, at_once, read, &mut rooms.finished);
    for copy in later {
        let (outgoing, delivery) = read(copy);
        if queue.push(burst, outgoing) {
            counters.tx_queued.add(1);
            tally.delivered |= delivery;
        } else {
            counters.tx_drops[DropReason::ShaperFull as usize].add(1);
        }
    }
    tally
}

/// Sends what waits and may leave by now, a burst at most. Returns how many copies that were.
fn send_some(
    engine: &mut TxEngine,
    counters: &ThreadPortCounters,
    queue: &mut EgressQueue,
    rooms: &mut Rooms,
    now: u64,
) -> usize {
    let Rooms { finished, waited } = rooms;
    let count = queue.take(now, waited, |burst, outgoing| {
        // When they were queued they counted as taken.
        let read = |outgoing: &Outgoing| (*outgoing, 0);
        send(engine, counters, burst, outgoing, read, finished).count(counters);
    });
    counters.tx_dequeued.add(count as u64);
    count
}

/// Sends all that waits for a port and may leave by now, under a lock for each burst. Returns what is left to do, and when more
/// may leave (ns), if more waits.
fn send_waiting(
    entry: &PortEntry,
    thread: usize,
    rooms: &mut Rooms,
    now: u64,
) -> (Flushed, Option<u64>) {
    let counters = entry.port.thread_counters(thread);
    let mut flushed = Flushed::Done;
    loop {
        let mut side = entry.port.tx.lock();
        let TransmitSide { engine, queue } = &mut *side;
        let Some(queue) = queue else {
            return (flushed, None);
        };
        if let Some(reason) = entry.closed {
            counters.note_discarded(queue.clear() as u64, reason);
            return (flushed, None);
        }
        let count = send_some(engine, counters, queue, rooms, now);
        if count > 0 {
            flushed = engine.flush();
        }
        // What others add meanwhile, they send as well.
        if count < BURST {
            return (flushed, queue.opens_at());
        }
    }
}

/// Carries out what the sender of a frame left to its NIC, and transmits what comes of it: the frame, or its segments.
/// Returns how many were sent, and their octets.
#[inline(never)]
fn finish(
    engine: &mut TxEngine,
    counters: &ThreadPortCounters,
    burst: &Burst,
    index: usize,
    edit: TagEdit,
    room: &mut Burst,
) -> (u64, u64) {
    let (mut made, mut sent, mut bytes) = (0, 0, 0);
    burst.finish(index, room, |finished| {
        made += finished.len() as u64;
        let outgoing = (0..finished.len()).map(|frame| Outgoing { frame, edit });
        engine.transmit(finished, outgoing, |_, result| match result {
            Ok(len) => {
                sent += 1;
                bytes += len as u64;
            }
            Err(reason) => counters.tx_drops[reason as usize].add(1),
        });
    });
    if burst.frames()[index].offload.segmentation.is_some() {
        counters.tx_segmented.add(1);
        counters.tx_segments.add(made);
        // The attempt that was counted is one of them.
        counters.tx_attempts.add(made - 1);
    } else {
        counters.tx_checksums_completed.add(1);
    }
    (sent, bytes)
}
