//! A poll thread: owns the receive side of its ports and runs each burst to completion.

mod roster;

use std::collections::LinkedList;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender};
use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::clock;
use crate::counters::Counter;
use crate::engine::RxEngine;
use crate::forward::{Forwarder, Source};
use crate::frame::Burst;
use crate::meter::{Inquiry, Meters, ThreadMeter};
use crate::snapshot::Snapshot;
use crate::{Event, PollMode, PortId};
use roster::{Look, Roster};

/// An adaptive thread polls in vain for this long before it sleeps: longer than a burst takes, much shorter than what a
/// core would notice.
const SPIN_NS: u64 = 50_000;

/// Empty passes between two looks at the clock.
const PASSES_PER_LOOK: u32 = 32;

/// Cycles between two looks for resting ports that woke, and for destinations that wait to be flushed again: some 200 µs. It
/// costs a system call, which is nothing among the frames of that time.
const CYCLES_PER_WAKE: u64 = 500_000;

/// How long a thread sleeps that has to ask a destination again to take what it was sent.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);

/// A sleeping thread shows that it lives at least this often.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What the control side asks of a poll thread.
pub(crate) enum Command {
    /// Receive from this engine from now on.
    Add { port: PortId, engine: RxEngine },
    /// Stop receiving from a port; its engine is closed when the answer comes.
    Remove { port: PortId, done: Sender<()> },
    /// Count flows with a meter, which no snapshot in force needs before the answer comes.
    Meter {
        meter: LinkedList<ThreadMeter>,
        done: Sender<()>,
    },
    /// Tell which flows go on.
    Flows(LinkedList<Inquiry>),
    /// Answer when every later burst is forwarded by the newest snapshot.
    Sync { done: Sender<()> },
    /// End.
    Stop,
}

/// What a poll thread and the control side share.
pub(crate) struct ThreadShared {
    pub(crate) core: Option<usize>,
    /// Something is in the command channel.
    pending: AtomicBool,
    /// Wakes the thread when it sleeps.
    doorbell: OwnedFd,
    pub(crate) frames: Counter,
    pub(crate) passes: Counter,
    /// Cycles in passes that moved frames.
    pub(crate) busy_cycles: Counter,
    /// Time asleep.
    pub(crate) asleep_ns: Counter,
    pub(crate) started_cycles: u64,
    pub(crate) started_ns: u64,
}

impl ThreadShared {
    pub(crate) fn new(core: Option<usize>) -> std::io::Result<Self> {
        Ok(Self {
            core,
            pending: AtomicBool::new(false),
            doorbell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            frames: Counter::default(),
            passes: Counter::default(),
            busy_cycles: Counter::default(),
            asleep_ns: Counter::default(),
            started_cycles: clock::cycles(),
            started_ns: clock::precise_nanoseconds(),
        })
    }

    /// Makes the thread look into its command channel, also if it sleeps.
    pub(crate) fn notify(&self) {
        self.pending.store(true, Ordering::Release);
        // A full counter is readable all the same.
        let _ = rustix::io::write(&self.doorbell, &1u64.to_ne_bytes());
    }
}

/// One poll thread's state. Tests run its passes by hand; [`Worker::run`] is what a thread does.
#[cfg_attr(
    not(any(test, feature = "testing")),
    expect(unreachable_pub, reason = "tests run passes by hand")
)]
pub struct Worker {
    shared: Arc<ThreadShared>,
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    commands: Receiver<Command>,
    forwarder: Forwarder,
    roster: Roster,
    burst: Box<Burst>,
    /// When resting ports were last asked about, in cycles.
    last_wake: u64,
    stopped: bool,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        shared: Arc<ThreadShared>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        commands: Receiver<Command>,
        events: Sender<Event>,
        retired: Sender<LinkedList<ThreadMeter>>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            roster: Roster::new(shared.doorbell.as_fd())?,
            shared,
            snapshot: Cache::new(snapshot),
            commands,
            forwarder: Forwarder::new(index, events, Meters::new(retired)),
            burst: Box::default(),
            last_wake: clock::cycles(),
            stopped: false,
        })
    }

    /// Pins the calling thread to the worker's core.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn pin(&self) -> std::io::Result<()> {
        let Some(core) = self.shared.core else {
            return Ok(());
        };
        let mut cpus = CpuSet::new();
        cpus.set(core);
        Ok(sched_setaffinity(None, &cpus)?)
    }

    /// Polls until it is told to stop.
    pub(crate) fn run(&mut self, poll: PollMode) {
        let mut idle_since = 0;
        let mut empty_passes = 0;
        while !self.stopped {
            if self.pass() > 0 {
                empty_passes = 0;
                idle_since = 0;
                continue;
            }
            // Told to in this very pass: nobody rings for that again.
            if self.stopped {
                return;
            }
            if self.roster.is_at_rest() {
                match poll {
                    PollMode::Busy => self.roster.wake_ready(),
                    PollMode::Adaptive => self.sleep(clock::precise_nanoseconds()),
                }
                continue;
            }
            std::hint::spin_loop();
            empty_passes += 1;
            if poll == PollMode::Busy || empty_passes < PASSES_PER_LOOK {
                continue;
            }
            empty_passes = 0;
            let now = clock::precise_nanoseconds();
            if idle_since == 0 {
                idle_since = now;
            } else if now - idle_since >= SPIN_NS {
                self.sleep(now);
                idle_since = 0;
            }
        }
    }

    /// Looks once at every port that may have frames, and forwards them. Returns the number of frames.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        expect(unreachable_pub, reason = "tests run passes by hand")
    )]
    pub fn pass(&mut self) -> usize {
        if self.shared.pending.load(Ordering::Acquire) {
            self.obey();
        }
        let start = clock::cycles();
        let (forwarder, burst) = (&mut self.forwarder, &mut self.burst);
        let snapshot = self.snapshot.load();
        forwarder.prepare(snapshot);
        if self.roster.renew(snapshot) {
            forwarder.look_at_all();
        }
        let is_shaped = snapshot.is_shaped || forwarder.next_opening().is_some();
        let now = if is_shaped {
            clock::precise_nanoseconds()
        } else {
            0
        };
        if is_shaped {
            self.roster.look_at_opened(now);
            forwarder.send_held_back(snapshot, now);
        }
        let frames = self
            .roster
            .poll(|source: &mut Source, engine: &mut RxEngine| {
                // One that is in no configuration yet: what waits there is forwarded by the one that comes.
                let Some(entry) = snapshot.port(source.id) else {
                    return Look::NotConfigured;
                };
                if source.waits > 0 {
                    source.waits -= 1;
                    return Look::Frames(0);
                }
                if let Some(bucket) = &entry.shape_in {
                    let octets = bucket.octets(now);
                    if octets == 0 {
                        engine.answer();
                        return Look::Closed {
                            opens_at: bucket.opens_at(),
                        };
                    }
                    burst.limit(octets);
                }
                burst.set_deep(snapshot.switch_of(entry).meter.is_some());
                engine.receive(burst);
                forwarder.notify(snapshot);
                let frames = burst.len();
                if frames > 0 {
                    if let Some(bucket) = &entry.shape_in {
                        bucket.charge(burst.octets(), now);
                    }
                    let now = if is_shaped {
                        now
                    } else {
                        clock::coarse_nanoseconds()
                    };
                    forwarder.forward(snapshot, entry, source, burst, now);
                }
                engine.release(burst);
                Look::Frames(frames)
            });
        if frames == 0 {
            forwarder.notify(snapshot);
        }
        self.shared.passes.add(1);
        if start.wrapping_sub(self.last_wake) >= CYCLES_PER_WAKE {
            self.last_wake = start;
            self.roster.wake_ready();
            if !self.forwarder.is_flushed() {
                self.forwarder.flush_again(self.snapshot.load());
            }
            self.look_at_flows();
        }
        if frames > 0 {
            self.shared.frames.add(frames as u64);
            self.shared
                .busy_cycles
                .add(clock::cycles().wrapping_sub(start));
        }
        frames
    }

    /// Ends flows whose time is up, those whose turn it is to be looked at.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        expect(unreachable_pub, reason = "tests look at flows by hand")
    )]
    pub fn look_at_flows(&mut self) {
        if !self.forwarder.meters.is_idle() {
            let now = clock::milliseconds(clock::coarse_nanoseconds());
            self.forwarder.meters.look(self.snapshot.load(), now);
        }
    }

    /// Sleeps until a port has frames, a limit lets some pass, or the control side rings.
    fn sleep(&mut self, now: u64) {
        let mut longest = if self.forwarder.is_flushed() {
            HEARTBEAT
        } else {
            FLUSH_INTERVAL
        };
        let openings = [self.forwarder.next_opening(), self.roster.next_opening()];
        if let Some(opens_at) = openings.into_iter().flatten().min() {
            longest = longest.min(Duration::from_nanos(opens_at.saturating_sub(now)));
        }
        if let Some(look) = self.forwarder.meters.next_look() {
            let look = look.saturating_mul(1_000_000);
            longest = longest.min(Duration::from_nanos(look.saturating_sub(now)));
        }
        self.roster.sleep(longest, now);
        if !self.forwarder.is_flushed() {
            self.forwarder.flush_again(self.snapshot.load());
        }
        let _ = rustix::io::read(&self.shared.doorbell, &mut [0u8; 8]);
        self.shared
            .asleep_ns
            .add(clock::precise_nanoseconds().saturating_sub(now));
    }

    /// Carries out what the control side asked for.
    fn obey(&mut self) {
        self.shared.pending.store(false, Ordering::Release);
        // Left readable, it would stand in the way of every look at the resting ports.
        let _ = rustix::io::read(&self.shared.doorbell, &mut [0u8; 8]);
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Add { port, engine } => self.roster.add(Source::new(port), engine),
                Command::Remove { port, done } => {
                    self.roster.remove(port);
                    let _ = done.try_send(());
                }
                Command::Meter { meter, done } => {
                    self.forwarder.meters.add(meter);
                    let _ = done.try_send(());
                }
                Command::Flows(inquiry) => self.forwarder.meters.ask(inquiry),
                Command::Sync { done } => {
                    // The control side keeps the old snapshot until every thread has answered, so none is freed here.
                    let snapshot = self.snapshot.load();
                    self.forwarder.prepare(snapshot);
                    if self.roster.renew(snapshot) {
                        self.forwarder.look_at_all();
                    }
                    let _ = done.try_send(());
                }
                Command::Stop => self.stopped = true,
            }
        }
    }
}
