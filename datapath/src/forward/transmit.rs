//! Stage 3: each destination is served once.

use weft_packet::TagEdit;

use super::destinations::FrameCopy;
use super::{Edits, Forwarder};
use crate::counters::ThreadPortCounters;
use crate::engine::TxEngine;
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
            if !served.flushed && !unflushed.contains(&port) {
                unflushed.push(port);
            }
        });
        delivered
    }
}

/// What became of the copies for one destination.
struct Served {
    /// The originals, as bits, that it took.
    delivered: u32,
    /// Its other side has everything, or will fetch it.
    flushed: bool,
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
            flushed: true,
        };
    }
    let (mut delivered, mut sent, mut bytes) = (0, 0, 0);
    let mut engine = entry.port.tx.lock();
    let takes = engine.offloads();
    for copy in copies {
        let edits = edits[copy.frame()];
        let edit = if entry.tagged {
            edits.tagged
        } else {
            edits.untagged
        };
        let offload = &burst.frames()[copy.frame()].offload;
        if !offload.is_none() && !takes.take(offload) {
            let (frames, octets) =
                finish(&mut engine, counters, burst, copy.frame(), edit, finished);
            sent += frames;
            bytes += octets;
            delivered |= if frames > 0 { copy.delivery() } else { 0 };
            continue;
        }
        match engine.transmit(burst, copy.frame(), edit) {
            Ok(len) => {
                sent += 1;
                bytes += len as u64;
                delivered |= copy.delivery();
            }
            Err(reason) => counters.tx_drops[reason as usize].add(1),
        }
    }
    let flushed = !engine.flush();
    drop(engine);
    counters.tx_frames.add(sent);
    counters.tx_bytes.add(bytes);
    Served { delivered, flushed }
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
        for index in 0..finished.len() {
            made += 1;
            match engine.transmit(finished, index, edit) {
                Ok(len) => {
                    sent += 1;
                    bytes += len as u64;
                }
                Err(reason) => counters.tx_drops[reason as usize].add(1),
            }
        }
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
