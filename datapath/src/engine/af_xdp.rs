//! The AF_XDP engine: a network interface's queues as receive and transmit sides of a port.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use weft_packet::TagEdit;

use super::{AttachError, EngineInfo, Flushed, Opened, RxEngine, TxEngine};
use crate::DropReason;
use crate::afxdp::{AfXdpPort, Desc, OpenError, Options, Probe, Refused, RxQueue, TxQueue};
use crate::frame::{BURST, Burst, HEAD, SHORT_HEAD};
use crate::port::transmit;

/// Most buffers of one received frame: the linear part and MAX_SKB_FRAGS (17) more. A longer chain is dropped.
const CHAIN: usize = 18;

/// Opens `interface`, one receive side for each of its queues.
pub(crate) fn open(
    interface: &str,
    mtu: u16,
    uplink: bool,
    busy_wait: Duration,
) -> Result<Opened, AttachError> {
    let AfXdpPort {
        rx,
        tx,
        info,
        guard,
    } = AfXdpPort::open(
        interface,
        Options {
            mtu,
            uplink,
            busy_wait,
            ..Options::default()
        },
    )?;
    // A veth hands over what its peer's stack left to a NIC that is not there; a NIC does no such thing.
    let peer_may_offload = info.driver == "veth";
    let queues = rx.iter().zip(&tx);
    let probes = queues
        .map(|(rx, tx)| super::Probe::AfXdp(tx.probe(Arc::clone(rx.faults()))))
        .collect();
    Ok(Opened {
        probes,
        rx: rx
            .into_iter()
            .map(|queue| RxEngine::AfXdp(Box::new(Rx::new(queue, peer_may_offload))))
            .collect(),
        tx: transmit(TxEngine::AfXdp(Box::new(Tx { queues: tx }))),
        info: EngineInfo::AfXdp {
            xdp_mode: if info.native { "native" } else { "generic" },
            copy_mode: if info.zero_copy { "zero-copy" } else { "copy" },
            queues: info.queues,
            driver: info.driver,
            huge_pages: info.huge_pages,
            warnings: info.warnings,
            changed_features: info.changed_features,
        },
        guard: Some(Box::new(guard)),
        vhost: None,
    })
}

impl From<OpenError> for AttachError {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::NoInterface { interface } => Self::NoInterface(interface),
            OpenError::Busy { interface, .. } => Self::InterfaceBusy(interface),
            OpenError::Unsupported { .. } => Self::NoAfXdp(text),
            OpenError::NotPermitted { .. } => Self::NotPermitted(text),
            OpenError::Mtu {
                interface,
                mtu,
                reason,
            } => Self::Mtu {
                interface,
                mtu,
                reason,
            },
            OpenError::System {
                interface,
                step,
                source,
            } => Self::System {
                interface,
                step,
                source,
            },
        }
    }
}

/// The receive side of one queue.
pub(crate) struct Rx {
    queue: RxQueue,
    /// Descriptors that the current burst points into.
    held: ArrayVec<Desc, BURST>,
    peer_may_offload: bool,
}

impl Rx {
    fn new(queue: RxQueue, peer_may_offload: bool) -> Self {
        Self {
            queue,
            held: ArrayVec::new(),
            peer_may_offload,
        }
    }

    #[inline]
    pub(crate) fn receive(&mut self, burst: &mut Burst) {
        let mut descs = [Desc::default(); BURST];
        let count = self.queue.receive_within(&mut descs, burst.most_octets());
        let mut rest = &descs[..count];
        while let Some(last) = rest.iter().position(|desc| !desc.continues()) {
            let (frame, others) = rest.split_at(last + 1);
            rest = others;
            let head_size = if self.peer_may_offload {
                HEAD
            } else {
                SHORT_HEAD
            };
            let pieces: ArrayVec<&[u8], CHAIN> = frame
                .iter()
                .take(CHAIN)
                .map(|desc| self.queue.data(desc))
                .collect();
            // A chain that is too long is counted, left out, and recycled with the others.
            if frame.len() > CHAIN || !burst.has_room(pieces.len()) {
                self.queue.note_fault();
            } else {
                // SAFETY: the buffers stay the caller's, in memory that lives as long as the queue, until `release`
                // recycles them, which happens after the burst was cleared; nothing writes to them in between.
                unsafe { burst.push(&pieces, head_size) };
                if self.peer_may_offload {
                    burst.recognise_checksum();
                }
            }
        }
        self.held.extend(descs[..count].iter().copied());
    }

    #[inline]
    pub(crate) fn release(&mut self) {
        if !self.held.is_empty() {
            self.queue.recycle(&self.held);
            self.held.clear();
        }
    }

    pub(crate) fn readiness(&self) -> BorrowedFd<'_> {
        self.queue.fd()
    }
}

/// The transmit side. All queues reach the wire, and the first one carries what is sent.
pub(crate) struct Tx {
    queues: Vec<TxQueue>,
}

impl Tx {
    #[inline]
    pub(crate) fn transmit(
        &mut self,
        burst: &Burst,
        index: usize,
        edit: TagEdit,
    ) -> Result<usize, DropReason> {
        let len = burst.edited_len(index, edit);
        let Some(queue) = self.queues.first_mut() else {
            return Err(DropReason::PortDown);
        };
        queue
            .transmit(len, |offset, out| {
                if out.len() == len {
                    burst.write(index, edit, out);
                } else {
                    burst.write_part(index, edit, offset, out);
                }
            })
            .map(|()| len)
            .map_err(|refused| match refused {
                Refused::Full => DropReason::RingFull,
                Refused::Length => DropReason::TooLong,
            })
    }

    /// Frames may be left that only another flush gets going: the kernel had no room, or the link is down and they can
    /// leave when it is up again.
    #[inline]
    pub(crate) fn flush(&mut self) -> Flushed {
        match self.queues.first_mut().map(TxQueue::flush) {
            None | Some(crate::afxdp::Flushed::Done) => Flushed::Done,
            Some(_) => Flushed::Again,
        }
    }
}

/// What the kernel dropped before the switch could see it.
#[derive(Default)]
pub(super) struct KernelDrops {
    pub(super) ring_full: u64,
    no_free_buffer: u64,
    invalid_descriptor: u64,
    other: u64,
}

impl KernelDrops {
    /// Adds what a queue's probe tells.
    pub(super) fn add(&mut self, probe: &Probe, wakeups: &mut u64) {
        *wakeups += probe.wakeups();
        self.invalid_descriptor += probe.faults();
        // Fails only for a socket whose interface is gone, which has nothing to report.
        let Ok(kernel) = probe.kernel() else { return };
        self.ring_full += kernel.rx_ring_full.unwrap_or(0);
        self.no_free_buffer += kernel.rx_fill_ring_empty_descs.unwrap_or(0);
        self.invalid_descriptor += kernel.rx_invalid_descs + kernel.tx_invalid_descs;
        self.other += kernel.rx_dropped;
    }

    /// What is not zero, with its name.
    pub(super) fn named(&self) -> Vec<(&'static str, u64)> {
        [
            ("ring full", self.ring_full),
            ("no free buffer", self.no_free_buffer),
            ("invalid descriptor", self.invalid_descriptor),
            ("other", self.other),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}
