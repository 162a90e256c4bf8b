//! A port while it is attached: what poll threads and the control side share of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use spin::Yield;
use spin::mutex::SpinMutex;
use weft_packet::MacAddr;

use crate::PortId;
use crate::counters::{PortCounters, ThreadPortCounters};
use crate::engine::{EngineInfo, TxEngine};

/// Stands for "no address" among addresses as numbers: no frame has it, while a hostile one may well have zero.
pub(crate) const NO_ADDRESS: u64 = u64::MAX;

/// A transmit side behind its lock, which those who change the engine share with the port.
///
/// It is held for a burst at most, and let go of with a plain store: what was written to a guest need not have reached it
/// before the poll thread goes on.
pub(crate) type Transmit = Arc<CachePadded<SpinMutex<TxEngine, Yield>>>;

/// A transmit side behind a lock of its own.
pub(crate) fn transmit(engine: TxEngine) -> Transmit {
    Arc::new(CachePadded::new(SpinMutex::new(engine)))
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
}

/// The counters of a port, which outlive its engine: one set per poll thread, so that no two threads write one line.
pub(crate) struct CounterSet(Box<[CachePadded<ThreadPortCounters>]>);

impl CounterSet {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| CachePadded::default()).collect())
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
        }
    }

    /// The counters that poll thread `thread` writes.
    #[inline]
    pub(crate) fn thread_counters(&self, thread: usize) -> &ThreadPortCounters {
        &self.counters.0[thread]
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
