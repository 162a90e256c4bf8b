//! The way of a frame, from a received burst to transmitted copies.
//!
//! A burst goes through three stages, each in a file of its own:
//!
//! 1. `admit`: every frame is parsed and admitted, or dropped with a reason; the table lines that the next stage will need
//!    are asked for.
//! 2. `destinations`: every admitted frame is looked up, and noted with each of its destinations.
//!    On a switch that meters flows, `meter` notes it then, and counts it behind the third stage.
//! 3. `transmit`: each destination is served once: one lock, one copy per frame, one publish. What a sender left to its
//!    NIC goes on to a destination that takes it, and is carried out for any other.
//!
//! What the first two decide, `trace` has them decide about a frame that nobody sent.

mod admit;
mod destinations;
mod held_back;
mod meter;
mod trace;
mod transmit;

use arrayvec::ArrayVec;
use crossbeam_channel::Sender;
use weft_packet::TagEdit;
use weft_vlan::Admitted;

use crate::engine::Flushed;
use crate::frame::{BURST, Burst};
use crate::meter::Meters;
use crate::snapshot::{PortEntry, Snapshot};
use crate::{Event, PortId};

pub(crate) use admit::Source;
pub use admit::SourceJudgement;
pub use destinations::CopyKind;
use destinations::Destinations;
use held_back::HeldBack;
pub(crate) use trace::trace;
pub use trace::{Step, Trace};
use transmit::Rooms;

/// A frame that was admitted and waits for its look-up.
struct Pending {
    /// Its forwarding domain and destination, as tables have them.
    key: u64,
    frame: u8,
}

/// The edits of one frame: for destinations that see tags, and for those that do not.
#[derive(Clone, Copy)]
struct Edits {
    tagged: TagEdit,
    untagged: TagEdit,
}

impl Edits {
    #[inline]
    fn of(admitted: &Admitted) -> Self {
        Self {
            tagged: admitted.to_tagged,
            untagged: admitted.to_untagged,
        }
    }

    /// The one for this destination.
    #[inline]
    fn for_port(&self, entry: &PortEntry) -> TagEdit {
        if entry.tagged {
            self.tagged
        } else {
            self.untagged
        }
    }
}

/// One poll thread's forwarding state; nothing in it outlives a burst but its memory.
pub(crate) struct Forwarder {
    thread: usize,
    pending: ArrayVec<Pending, BURST>,
    /// By frame.
    edits: [Edits; BURST],
    destinations: Destinations,
    pub(crate) meters: Meters,
    rooms: Rooms,
    flushes: Flushes,
    held_back: HeldBack,
    events: Sender<Event>,
}

/// Destinations with which flushing did not end.
#[derive(Default)]
struct Flushes {
    /// Those whose other side could not take everything at the last flush.
    unflushed: Vec<PortId>,
    /// Those of the last burst that may wait for a notification.
    unnotified: Vec<PortId>,
}

impl Flushes {
    #[inline]
    fn note(&mut self, port: PortId, flushed: Flushed) {
        match flushed {
            Flushed::Done => {}
            Flushed::Asleep => self.unnotified.push(port),
            Flushed::Again if self.unflushed.contains(&port) => {}
            Flushed::Again => self.unflushed.push(port),
        }
    }
}

impl Forwarder {
    pub(crate) fn new(thread: usize, events: Sender<Event>, meters: Meters) -> Self {
        let keep = Edits {
            tagged: TagEdit::Keep,
            untagged: TagEdit::Keep,
        };
        Self {
            thread,
            pending: ArrayVec::new(),
            edits: [keep; BURST],
            destinations: Destinations::default(),
            meters,
            rooms: Rooms::default(),
            flushes: Flushes::default(),
            held_back: HeldBack::default(),
            events,
        }
    }

    /// Makes room for the ports of a new snapshot, so that no burst allocates.
    pub(crate) fn prepare(&mut self, snapshot: &Snapshot) {
        let slots = snapshot.port_slots();
        if self.destinations.make_room(slots) {
            self.flushes.unflushed.reserve(slots);
            self.flushes.unnotified.reserve(slots);
            self.held_back.make_room(slots);
        }
    }

    /// Forwards every frame of a burst from the port with this entry. `now` is the monotonic time in ns: coarse, unless
    /// some port has a limit.
    pub(crate) fn forward(
        &mut self,
        snapshot: &Snapshot,
        entry: &PortEntry,
        source: &mut Source,
        burst: &Burst,
        now: u64,
    ) {
        let counters = entry.port.thread_counters(self.thread);
        let switch = snapshot.switch_of(entry);

        self.admit(entry, switch, source, burst, now);
        let attempted = self.look_up(snapshot, entry, burst, now);
        if let Some(metering) = &switch.meter {
            self.meter(metering, snapshot, entry, burst, attempted);
        }
        let delivered = self.transmit(snapshot, burst, now);
        if let Some(metering) = &switch.meter {
            self.count_metered(metering, source, now);
        }

        counters.rx_delivered.add(u64::from(delivered.count_ones()));
        counters
            .rx_undelivered
            .add(u64::from((attempted & !delivered).count_ones()));
    }

    /// Notifies the destinations of the burst before, those that want it. The poll thread has received since: what it wrote has
    /// reached them meanwhile, so that asking them waits for nothing.
    #[inline]
    pub(crate) fn notify(&mut self, snapshot: &Snapshot) {
        for id in self.flushes.unnotified.drain(..) {
            if let Some(entry) = snapshot.port(id) {
                entry.port.tx.lock().engine.notify();
            }
        }
    }

    /// Whether a destination waits to be flushed again.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.flushes.unflushed.is_empty()
    }

    /// When copies that were held back for limits may leave (ns); `None` while none are.
    #[inline]
    pub(crate) fn next_opening(&self) -> Option<u64> {
        self.held_back.next_opening()
    }

    /// Has the next look at held back copies, and at flows, be at all of them: limits and ports may be others.
    pub(crate) fn look_at_all(&mut self) {
        self.held_back.look_at_all();
        self.meters.look_at_all();
    }

    /// Asks the destinations again that could not take everything.
    #[cold]
    pub(crate) fn flush_again(&mut self, snapshot: &Snapshot) {
        self.flushes.unflushed.retain(|&id| {
            snapshot
                .port(id)
                .is_some_and(|entry| entry.port.tx.lock().engine.flush() == Flushed::Again)
        });
    }
}
