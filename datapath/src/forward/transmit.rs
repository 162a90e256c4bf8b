//! Stage 3: each destination is served once.

use weft_packet::{Offload, TagEdit};

use super::destinations::FrameCopy;
use super::{Edits, Forwarder};
use crate::counters::ThreadPortCounters;
use crate::engine::{Flushed, Outgoing, TxEngine};
use crate::frame::{BURST, Burst};
use crate::snapshot::{PortEntry, Snapshot};

impl Forwarder {
    /// Copies the burst to its destinations. Returns the frames, as bits, that reached one.
    #[inline]
    pub(super) fn transmit(&mut self, snapshot: &Snapshot, burst: &Burst) -> u32 {
        let Self {
            thread,
            edits,
            destinations,
            finished,
            unflushed,
            unnotified,
            ..
        } = self;
        let mut delivered = 0;
        destinations.drain(|port, copies| {
            // Destinations come from this snapshot's own lists.
            let Some(entry) = snapshot.port(port) else {
                return;
            };
            let served = serve(entry, *thread, copies, edits, burst, finished);
            delivered |= served.delivered;
            match served.flushed {
                Flushed::Done => {}
                Flushed::Asleep => unnotified.push(port),
                Flushed::Again if unflushed.contains(&port) => {}
                Flushed::Again => unflushed.push(port),
            }
        });
        delivered
    }
}

/// What became of the copies for one destination.
struct Served {
    /// The originals, as bits, that it took.
    delivered: u32,
    flushed: Flushed,
}

#[inline]
fn serve(
    entry: &PortEntry,
    thread: usize,
    copies: &[FrameCopy],
    edits: &[Edits; BURST],
    burst: &Burst,
    finished: &mut Burst,
) -> Served {
    let counters = entry.port.thread_counters(thread);
    counters.tx_attempts.add(copies.len() as u64);
    if let Some(reason) = entry.closed {
        counters.tx_drops[reason as usize].add(copies.len() as u64);
        return Served {
            delivered: 0,
            flushed: Flushed::Done,
        };
    }
    let mut tally = Tally::default();
    let mut engine = entry.port.tx.lock();
    let takes = engine.offloads();
    let asks_for_nothing = burst.asks_for_nothing();
    let mut waiting = copies;
    while let Some((first, rest)) = waiting.split_first() {
        let offload = &burst.frames()[first.frame()].offload;
        let is_taken = |offload: &Offload| offload.is_none() || takes.take(offload);
        if !asks_for_nothing && !is_taken(offload) {
            let edit = edits[first.frame()].for_port(entry);
            let (frames, octets) =
                finish(&mut engine, counters, burst, first.frame(), edit, finished);
            tally.sent += frames;
            tally.bytes += octets;
            tally.delivered |= if frames > 0 { first.delivery() } else { 0 };
            waiting = rest;
            continue;
        }
        // As many as can go as they are, so that order stays.
        let run = if asks_for_nothing {
            waiting.len()
        } else {
            waiting
                .iter()
                .take_while(|copy| is_taken(&burst.frames()[copy.frame()].offload))
                .count()
        };
        let (run, rest) = waiting.split_at(run);
        let outgoing = run.iter().map(|copy| Outgoing {
            frame: copy.frame(),
            edit: edits[copy.frame()].for_port(entry),
        });
        engine.transmit(burst, outgoing, |position, result| match result {
            Ok(len) => {
                tally.sent += 1;
                tally.bytes += len as u64;
                tally.delivered |= run[position].delivery();
            }
            Err(reason) => counters.tx_drops[reason as usize].add(1),
        });
        waiting = rest;
    }
    let flushed = engine.flush();
    drop(engine);
    counters.tx_frames.add(tally.sent);
    counters.tx_bytes.add(tally.bytes);
    Served {
        delivered: tally.delivered,
        flushed,
    }
}

/// What a destination took.
#[derive(Default)]
struct Tally {
    delivered: u32,
    sent: u64,
    bytes: u64,
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
