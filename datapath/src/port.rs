//! A port while it is attached: what poll threads and the control side share of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use spin::Yield;
use spin::mutex::SpinMutex;
use weft_packet::MacAddr;

use crate::counters::{PortCounters, ThreadPortCounters};
use crate::engine::{EngineInfo, TxEngine};
use crate::shaping::EgressQueue;
use crate::{DropReason, PortId};

/// Stands for "no address" among addresses as numbers: no frame has it, while a hostile one may well have zero.
pub(crate) const NO_ADDRESS: u64 = u64::MAX;

/// A transmit side behind its lock, which those who change the engine share with the port.
///
/// It is held for a burst at most, and let go of with a plain store: what was written to a guest need not have reached it
/// before the poll thread goes on.
pub(crate) type Transmit = Arc<CachePadded<SpinMutex<TransmitSide, Yield>>>;

/// What leads out of the switch at a port.
pub(crate) struct TransmitSide {
    pub(crate) engine: TxEngine,
    /// What its limit needs; `None` without one.
    pub(crate) queue: Option<Box<EgressQueue>>,
}

/// A transmit side behind a lock of its own.
pub(crate) fn transmit(engine: TxEngine) -> Transmit {
    let queue = None;
    let side = TransmitSide { engine, queue };
    Arc::new(CachePadded::new(SpinMutex::new(side)))
}

/// The shared part of an attached port. The receive side is not here: one poll thread owns it.
pub(crate) struct Port {
    pub(crate) id: PortId,
    /// The transmit side; a poll thread locks it once per burst.
    pub(crate) tx: Transmit,
    counters: Arc<CounterSet>,
    /// The first source of a port without a configured address.
    taken: AtomicU64,
    /// The further address that the control side let the port adopt.
    adopted: AtomicU64,
    /// What its engine turned out to be; `None` without one.
    pub(crate) info: Option<EngineInfo>,
    /// How a guest's connection is.
    pub(crate) vhost: Option<Arc<crate::vhost::Shared>>,
}

/// The counters of a port, which outlive its engine: one set per poll thread, so that no two threads write one line, and
/// one for the control side.
pub(crate) struct CounterSet(Box<[CachePadded<ThreadPortCounters>]>);

impl CounterSet {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..=threads).map(|_| CachePadded::default()).collect())
    }

    /// Those that the control side writes, while it holds the lock of what it controls.
    pub(crate) fn of_control(&self) -> &ThreadPortCounters {
        &self.0[self.0.len() - 1]
    }

    pub(crate) fn sum(&self) -> PortCounters {
        PortCounters::sum(self.0.iter().map(|padded| &**padded))
    }
}

impl Port {
    /// A port whose engine is not there: it has a place in the switch, and takes no frame.
    pub(crate) fn absent(id: PortId, counters: Arc<CounterSet>) -> Self {
        Self::new(id, transmit(TxEngine::Absent), None, counters)
    }

    /// A port that is nobody's and looks attached: for configurations that are only tried.
    pub(crate) fn likeness(id: PortId) -> Self {
        let counters = Arc::new(CounterSet::new(0));
        Self::new(
            id,
            transmit(TxEngine::Absent),
            Some(EngineInfo::Memory),
            counters,
        )
    }

    pub(crate) fn new(
        id: PortId,
        tx: Transmit,
        info: Option<EngineInfo>,
        counters: Arc<CounterSet>,
    ) -> Self {
        Self {
            id,
            tx,
            counters,
            taken: AtomicU64::new(NO_ADDRESS),
            adopted: AtomicU64::new(NO_ADDRESS),
            info,
            vhost: None,
        }
    }

    /// The same with a guest's connection.
    pub(crate) fn with_guest(self, vhost: Option<Arc<crate::vhost::Shared>>) -> Self {
        Self { vhost, ..self }
    }

    /// Whether whoever sends by the port is here: a guest may run on another host by now, or have left.
    #[inline]
    pub(crate) fn is_inhabited(&self) -> bool {
        self.vhost.as_ref().is_none_or(|guest| guest.is_running())
    }

    /// The counters that poll thread `thread` writes.
    #[inline]
    pub(crate) fn thread_counters(&self, thread: usize) -> &ThreadPortCounters {
        &self.counters.0[thread]
    }

    /// The counters that the control side writes, while it holds the lock of what it controls.
    pub(crate) fn control_counters(&self) -> &ThreadPortCounters {
        self.counters.of_control()
    }

    /// Drops every frame that waits for the port's limit, with the limit: nobody else uses the transmit side any more, and the
    /// caller is the control side.
    pub(crate) fn discard_queue(&self) {
        let queue = self.tx.lock().queue.take();
        if let Some(mut queue) = queue {
            let counters = self.control_counters();
            counters.note_discarded(queue.clear() as u64, DropReason::PortDown);
        }
    }

    /// The port's own address as taken from its traffic, or [`NO_ADDRESS`].
    #[inline]
    pub(crate) fn taken_bits(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The adopted address, or [`NO_ADDRESS`].
    #[inline]
    pub(crate) fn adopted_bits(&self) -> u64 {
        self.adopted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_taken(&self, mac: Option<MacAddr>) {
        self.taken
            .store(mac.map_or(NO_ADDRESS, MacAddr::to_bits), Ordering::Relaxed);
    }

    pub(crate) fn set_adopted(&self, mac: Option<MacAddr>) {
        self.adopted
            .store(mac.map_or(NO_ADDRESS, MacAddr::to_bits), Ordering::Relaxed);
    }

    /// Has the addresses that another port has from its traffic.
    pub(crate) fn copy_learned(&self, other: &Self) {
        self.taken.store(other.taken_bits(), Ordering::Relaxed);
        self.adopted.store(other.adopted_bits(), Ordering::Relaxed);
    }

    /// The addresses that came from traffic.
    pub(crate) fn learned(&self) -> impl Iterator<Item = MacAddr> {
        [self.taken_bits(), self.adopted_bits()]
            .into_iter()
            .filter(|&bits| bits != NO_ADDRESS)
            .map(MacAddr::from_bits)
    }
}
