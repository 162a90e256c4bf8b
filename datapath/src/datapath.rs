//! The control side's handle on a running data path.

mod announce;
mod control;
mod cores;
mod flows;
mod learning;
mod trace;
mod uplinks;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use weft_packet::MacAddr;

use crate::clock;
use crate::config::{Config, PortId};
use crate::counters::PortCounters;
use crate::engine::{
    self, AttachError, EngineInfo, EngineSpec, Opened, RingStatistics, VhostStatus,
};
#[cfg(any(test, feature = "testing"))]
use crate::engine::{RxEngine, TxEngine};
use crate::learned::LearnedTable;
use crate::poll::{Command, ThreadShared, Worker};
#[cfg(any(test, feature = "testing"))]
use crate::port::transmit;
use crate::port::{NO_ADDRESS, Port};
use crate::snapshot::{Attached, Snapshot};
pub use announce::Announcement;
use control::{Attachment, Control};
use flows::Flows;
pub use flows::{FlowOrigin, MeterStatus};

/// How long the control side waits for a poll thread to answer before it calls it stalled.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands that a poll thread can have waiting.
const COMMANDS: usize = 1024;

/// How poll threads behave when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// After a short empty spell arm the notifications and sleep.
    Adaptive,
    /// Never sleep.
    Busy,
}

/// How to start a data path.
#[derive(Clone, Debug)]
pub struct Options {
    /// A poll thread is pinned to each of these cores. Empty: one thread, not pinned.
    pub cores: Vec<usize>,
    /// What the threads do when there is nothing to do.
    pub poll: PollMode,
}

/// What the data path tells the control side.
///
/// The channel is bounded: where the control side is slow, events are dropped; those that matter come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A port sent from an address that is not its own, reported at most once a second and port: one that it may adopt where
    /// MAC changes are accepted, or one that it could not take as its first because another port has it. The control side
    /// decides, and answers with [`Datapath::adopt`] or tells its operator.
    SourceSeen {
        /// The sender.
        port: PortId,
        /// The forwarding domain of the frame, 0 for none.
        vlan: u16,
        /// The source address.
        mac: MacAddr,
    },
    /// A port sent from an address that is not its own and that it may neither adopt nor use: the frame was dropped
    /// (`ForgedTransmit`). Reported at most once a second and port.
    SourceRefused {
        /// The sender.
        port: PortId,
        /// The source address.
        mac: MacAddr,
    },
    /// A port without a configured address sent its first frame and took its source as its own at once.
    AddressTaken {
        /// The port.
        port: PortId,
        /// Its address from now on.
        mac: MacAddr,
    },
}

/// A poll thread did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("poll thread {thread} did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
pub struct Stalled {
    /// Its index.
    pub thread: usize,
}

/// One poll thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadStatus {
    /// Its index.
    pub index: usize,
    /// The core that it is pinned to.
    pub core: Option<usize>,
    /// Receive queues that it owns.
    pub queues: usize,
    /// Frames received so far.
    pub frames: u64,
    /// Share of the time since start that the thread spent on frames, 0-1.
    pub busy: f64,
    /// Share of the time since start that the thread slept, 0-1.
    pub asleep: f64,
    /// Time that the thread spent on frames; never less than what was said before.
    pub busy_time: Duration,
    /// Time that the thread slept.
    pub asleep_time: Duration,
    /// Time stamp counter cycles in passes that moved frames, per frame; `None` before the first one.
    pub cycles_per_frame: Option<f64>,
    /// Passes over its ports so far: its heartbeat.
    pub passes: u64,
    /// Time stamp counter cycles since its start.
    pub elapsed_cycles: u64,
    /// Of these, in passes that moved frames.
    pub busy_cycles: u64,
    /// Nanoseconds since its start that it slept.
    pub asleep_ns: u64,
}

struct Thread {
    shared: Arc<ThreadShared>,
    commands: Sender<Command>,
    handle: Option<JoinHandle<()>>,
    /// Receive queues that it owns. Written by whoever holds the control lock, and read without it: a change that waits for a
    /// stalled thread holds the lock, and it must be visible meanwhile.
    queues: AtomicUsize,
    /// The busy time that was told last (ns). It is cycles in terms of two clocks, one of which is adjusted while it runs, so a
    /// later one could come out smaller.
    busy_told: AtomicU64,
}

#[cfg(any(test, feature = "testing"))]
impl Opened {
    fn in_memory(rx: RxEngine, tx: TxEngine) -> Self {
        Self {
            rx: vec![rx],
            tx: transmit(tx),
            probes: Vec::new(),
            info: EngineInfo::Memory,
            guard: None,
            vhost: None,
        }
    }
}

/// A running data path: poll threads, attached ports and the snapshot in force.
///
/// Methods may be called from any thread; changes are made one at a time. Dropping it ends the poll threads and closes
/// every engine.
pub struct Datapath {
    threads: Vec<Thread>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    control: Mutex<Control>,
    /// Where the records of flows come out; not behind the lock of changes, which may take their time.
    flows: Mutex<Flows>,
    /// Hash seed, so that nobody outside can choose addresses that collide.
    seed: u64,
}

impl Datapath {
    /// Starts the poll threads. Events arrive on `events`.
    ///
    /// # Errors
    /// A core is not there or named twice, or the kernel refuses a thread or a file descriptor.
    pub fn start(options: &Options, events: &Sender<Event>) -> std::io::Result<Self> {
        let cores: Vec<Option<usize>> = match options.cores.as_slice() {
            [] => vec![None],
            cores => cores.iter().copied().map(Some).collect(),
        };
        cores::check(&options.cores)?;
        let mut datapath = Self::new();
        for (index, core) in cores.into_iter().enumerate() {
            let mut worker = datapath.add_worker(index, core, events)?;
            let poll = options.poll;
            let (pinned, outcome) = bounded(1);
            let handle = std::thread::Builder::new()
                .name(format!("weft-poll-{index}"))
                .spawn(move || {
                    let _guard = AbortOnPanic;
                    let result = worker.pin();
                    let runs = result.is_ok();
                    crate::vhost::prepare_calls();
                    // The other side waits for it.
                    let _ = pinned.send(result);
                    if runs {
                        worker.run(poll);
                    }
                })?;
            datapath.threads[index].handle = Some(handle);
            outcome
                .recv()
                .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))?;
        }
        Ok(datapath)
    }

    /// A data path whose one poll thread is the caller, who runs the passes.
    ///
    /// # Errors
    /// The kernel refuses a file descriptor.
    #[cfg(any(test, feature = "testing"))]
    pub fn by_hand(events: &Sender<Event>) -> std::io::Result<(Self, Worker)> {
        let mut datapath = Self::new();
        let worker = datapath.add_worker(0, None, events)?;
        Ok((datapath, worker))
    }

    fn new() -> Self {
        Self {
            threads: Vec::new(),
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::empty())),
            control: Mutex::default(),
            flows: Mutex::default(),
            seed: seed(),
        }
    }

    fn add_worker(
        &mut self,
        index: usize,
        core: Option<usize>,
        events: &Sender<Event>,
    ) -> std::io::Result<Worker> {
        let (commands, receiver) = bounded(COMMANDS);
        let shared = Arc::new(ThreadShared::new(core)?);
        let worker = Worker::new(
            index,
            Arc::clone(&shared),
            Arc::clone(&self.snapshot),
            receiver,
            events.clone(),
            self.flows.get_mut().retired(),
        )?;
        self.threads.push(Thread {
            shared,
            commands,
            handle: None,
            queues: AtomicUsize::new(0),
            busy_told: AtomicU64::new(0),
        });
        self.control.get_mut().first_queues.push(0);
        Ok(worker)
    }

    /// Opens the engine of a port and hands its receive side to poll threads.
    ///
    /// No frame is forwarded from or to the port until a configuration that holds it is applied: what its other side sends
    /// waits there until then. May block for up to 2 s
    /// while a dying process lets go of a queue.
    ///
    /// # Errors
    /// See [`AttachError`]; nothing is attached then.
    pub fn attach(&self, port: PortId, spec: &EngineSpec) -> Result<EngineInfo, AttachError> {
        if self.control.lock().attachments.contains_key(&port) {
            return Err(AttachError::Attached(port.0));
        }
        let opened = match spec {
            EngineSpec::AfXdp {
                interface,
                mtu,
                uplink,
                busy_wait,
            } => engine::open_af_xdp(interface, *mtu, *uplink, *busy_wait)?,
            EngineSpec::VhostUser { socket, role } => engine::open_vhost_user(socket, *role)?,
            EngineSpec::Packet { interface } => engine::open_packet(interface)?,
            EngineSpec::Tap { device, mtu } => engine::open_tap(device, *mtu, self.threads.len())?,
        };
        let info = opened.info.clone();
        self.adopt_engine(port, opened);
        Ok(info)
    }

    /// Attaches a memory port whose receive queue holds `depth` frames; `deep`: as an engine that recognises checksums
    /// which were left to a NIC.
    ///
    /// # Errors
    /// The kernel refuses a file descriptor.
    #[cfg(any(test, feature = "testing"))]
    pub fn attach_memory(
        &self,
        port: PortId,
        depth: usize,
        deep: bool,
    ) -> std::io::Result<engine::memory::MemoryPort> {
        let (rx, tx, handle) = engine::memory::open(depth, deep)?;
        let rx = RxEngine::Memory(Box::new(rx));
        self.adopt_engine(port, Opened::in_memory(rx, TxEngine::Memory(tx)));
        Ok(handle)
    }

    /// Attaches a memory port from which every poll thread receives, whoever comes first.
    ///
    /// # Errors
    /// The kernel refuses a file descriptor.
    #[cfg(any(test, feature = "testing"))]
    pub fn attach_shared_memory(
        &self,
        port: PortId,
        depth: usize,
    ) -> std::io::Result<engine::memory::MemoryPort> {
        let (rx, tx, handle) = engine::memory::open(depth, false)?;
        let queues = (1..self.threads.len())
            .map(|_| rx.another())
            .collect::<Vec<_>>();
        let mut opened = Opened::in_memory(RxEngine::Memory(Box::new(rx)), TxEngine::Memory(tx));
        let queues = queues.into_iter().map(|rx| RxEngine::Memory(Box::new(rx)));
        opened.rx.extend(queues);
        self.adopt_engine(port, opened);
        Ok(handle)
    }

    /// Attaches a port that receives `frame` without end, to each of `destinations` in turn and from each of `sources`, if
    /// there are any, and discards what is sent to it; for benches.
    #[cfg(any(test, feature = "testing"))]
    pub fn attach_replay(
        &self,
        port: PortId,
        frame: &[u8],
        destinations: Vec<MacAddr>,
        sources: Vec<MacAddr>,
    ) {
        let replay = engine::memory::Replay::new(frame, destinations, sources);
        let rx = RxEngine::Replay(Box::new(replay));
        let tx = TxEngine::Sink(engine::memory::Sink::new());
        self.adopt_engine(port, Opened::in_memory(rx, tx));
    }

    fn adopt_engine(&self, id: PortId, engine: Opened) {
        let Opened {
            rx: queues,
            tx,
            probes,
            info,
            guard,
            vhost,
        } = engine;
        let mut control = self.control.lock();
        let counters = control.counters_of(id, self.threads.len());
        let port = Arc::new(Port::new(id, tx, Some(info), counters).with_guest(vhost));
        let mut threads = Vec::new();
        // The first queue, which is often the only one in use, goes where the fewest such are; the others follow in turn.
        let first = (0..self.threads.len())
            .min_by_key(|&thread| {
                let queues = self.threads[thread].queues.load(Ordering::Relaxed);
                (control.first_queues[thread], queues)
            })
            .unwrap_or_default();
        for (number, engine) in queues.into_iter().enumerate() {
            let thread = (first + number) % self.threads.len();
            control.first_queues[thread] += usize::from(number == 0);
            self.threads[thread].queues.fetch_add(1, Ordering::Relaxed);
            threads.push(thread);
            self.command(thread, Command::Add { port: id, engine });
        }
        control.attachments.insert(
            id,
            Attachment {
                port,
                threads,
                probes,
                guard,
                shape_out: None,
                has_queue: false,
            },
        );
    }

    /// Closes a port's engine; see [`detach_all`](Self::detach_all).
    ///
    /// # Errors
    /// A poll thread does not answer; the engine is then closed when it does.
    pub fn detach(&self, port: PortId) -> Result<(), Stalled> {
        self.detach_all(&[port])
    }

    /// Closes the engines of ports; returns when no poll thread uses them any more. A port that is not attached stays so.
    ///
    /// # Errors
    /// A poll thread does not answer; its engines are then closed when it does.
    pub fn detach_all(&self, ports: &[PortId]) -> Result<(), Stalled> {
        let mut control = self.control.lock();
        let attachments: Vec<_> = ports
            .iter()
            .filter_map(|port| control.attachments.remove(port))
            .collect();
        if attachments.is_empty() {
            return Ok(());
        }
        for attachment in &attachments {
            control.begin_life(attachment.port.id);
        }
        let published = self.publish(&mut control);
        let mut waits = Vec::new();
        for attachment in &attachments {
            if let Some(&first) = attachment.threads.first() {
                control.first_queues[first] -= 1;
            }
            for &thread in &attachment.threads {
                self.threads[thread].queues.fetch_sub(1, Ordering::Relaxed);
                let (done, wait) = bounded(1);
                let port = attachment.port.id;
                self.command(thread, Command::Remove { port, done });
                waits.push((thread, wait));
            }
        }
        let answered = self.wait_for(waits);
        for attachment in &attachments {
            attachment.port.discard_queue();
        }
        drop(control);
        for Attachment { port, guard, .. } in attachments {
            // The transmit side goes before what the engine did to its interface.
            drop(port);
            drop(guard);
        }
        published.and(answered)
    }

    /// Puts a configuration in force; returns when every poll thread forwards by it.
    ///
    /// A port without an engine has its place and its addresses, and is down; attach it and apply again.
    ///
    /// # Errors
    /// A poll thread does not answer: the configuration is in force there as soon as the thread goes on.
    pub fn apply(&self, config: &Config) -> Result<(), Stalled> {
        let mut control = self.control.lock();
        control.follow_lives(config);
        control.config.clone_from(config);
        let metered = self.renew_meters(&mut control);
        let published = self.publish(&mut control);
        metered.and(published)
    }

    /// Compiles and publishes what `control` holds, and waits until all threads have seen it.
    fn publish(&self, control: &mut Control) -> Result<(), Stalled> {
        let ports = control.ports(self.threads.len());
        let now = clock::precise_nanoseconds();
        control.teams.configure(&control.config, now);
        let decision = control.decide(now);
        control.shape(now);
        control.renew_learning(self.seed);
        let Control {
            learned,
            learning,
            config,
            shape_in,
            meters,
            last_meter,
            lives,
            ..
        } = control;
        learned.retain(|id, _| config.switches.iter().any(|switch| switch.id == *id));
        for switch in &config.switches {
            learned
                .entry(switch.id)
                .or_insert_with(|| Arc::new(LearnedTable::new(self.seed)));
        }
        let attached = Attached {
            ports: &ports,
            learned,
            ways: &decision.ways,
            shape_in,
            learning,
            meters,
            last_meter: *last_meter,
            lives,
        };
        let snapshot = Arc::new(Snapshot::build(config, &attached, self.seed));
        snapshot.offer_learned();
        let old = self.snapshot.swap(Arc::clone(&snapshot));
        let synchronised = self.synchronise();
        // Until now a poll thread may have taken an address by the old snapshot.
        snapshot.offer_learned();
        snapshot.settle_learned();
        control.settle_queues();
        // Freed here, never on a poll thread.
        drop(old);
        synchronised
    }

    /// Waits until every poll thread has passed through its loop.
    fn synchronise(&self) -> Result<(), Stalled> {
        let waits: Vec<_> = (0..self.threads.len())
            .filter(|&thread| self.threads[thread].handle.is_some())
            .map(|thread| {
                let (done, wait) = bounded(1);
                self.command(thread, Command::Sync { done });
                (thread, wait)
            })
            .collect();
        self.wait_for(waits)
    }

    /// Waits for the answers of poll threads, once for each that does not answer.
    fn wait_for(&self, waits: Vec<(usize, Receiver<()>)>) -> Result<(), Stalled> {
        let mut stalled = BTreeSet::new();
        for (thread, wait) in waits {
            if self.threads[thread].handle.is_some()
                && !stalled.contains(&thread)
                && wait.recv_timeout(ANSWER_TIMEOUT).is_err()
            {
                tracing::error!(thread, "the poll thread does not answer");
                stalled.insert(thread);
            }
        }
        match stalled.pop_first() {
            None => Ok(()),
            Some(thread) => Err(Stalled { thread }),
        }
    }

    fn command(&self, thread: usize, command: Command) {
        // The channel is closed only where the thread died, which it logged.
        let _ = self.threads[thread].commands.send(command);
        self.threads[thread].shared.notify();
    }

    /// Gives a port an adopted address; `None` takes it away. It lives until the port is detached, MAC changes are rejected,
    /// or a configuration gives the address to another port. Where another port has the address, the port gets none.
    pub fn adopt(&self, port: PortId, mac: Option<MacAddr>) {
        let control = self.control.lock();
        if let Some(attachment) = control.attachments.get(&port) {
            let snapshot = self.snapshot.load();
            if snapshot
                .port(port)
                .is_some_and(|entry| Arc::ptr_eq(&entry.port, &attachment.port))
            {
                snapshot.adopt(port, mac, clock::coarse_nanoseconds());
            } else {
                // The configuration that brings the port in decides.
                attachment.port.set_adopted(mac);
            }
        }
    }

    /// The addresses that a port has from its own traffic: the first source of a port without a configured one, and the
    /// adopted one.
    pub fn learned(&self, port: PortId) -> (Option<MacAddr>, Option<MacAddr>) {
        let address = |bits: u64| (bits != NO_ADDRESS).then(|| MacAddr::from_bits(bits));
        self.control
            .lock()
            .attachments
            .get(&port)
            .map_or((None, None), |attachment| {
                (
                    address(attachment.port.taken_bits()),
                    address(attachment.port.adopted_bits()),
                )
            })
    }

    /// A port's counters since it was first attached or configured; `None` for one that is neither.
    pub fn counters(&self, port: PortId) -> Option<PortCounters> {
        self.control
            .lock()
            .counters
            .get(&port)
            .map(|counters| counters.sum())
    }

    /// What the kernel says of a port's rings; `None` for one that is not attached.
    pub fn ring_statistics(&self, port: PortId) -> Option<RingStatistics> {
        self.control
            .lock()
            .attachments
            .get(&port)
            .map(|attachment| engine::statistics(&attachment.probes))
    }

    /// Whether the TAP device of a port was deleted under its engine, which then moves nothing any more.
    pub fn has_lost_device(&self, port: PortId) -> bool {
        let control = self.control.lock();
        let probes = control.attachments.get(&port).map(|port| &port.probes);
        probes.is_some_and(|probes| probes.iter().any(engine::Probe::has_lost_device))
    }

    /// Has the TAP device of a port outlive its engine, with its addresses and routes, or go with it. Does nothing to other ports.
    ///
    /// # Errors
    /// The kernel refuses it: the device was deleted.
    pub fn set_persistent(&self, port: PortId, persistent: bool) -> std::io::Result<()> {
        let control = self.control.lock();
        let probes = control.attachments.get(&port).map(|port| &port.probes);
        probes.map_or(Ok(()), |probes| engine::set_persistent(probes, persistent))
    }

    /// How the guest of a vhost-user port is connected; `None` for any other port.
    pub fn vhost_status(&self, port: PortId) -> Option<VhostStatus> {
        let control = self.control.lock();
        let shared = control.attachments.get(&port)?.port.vhost.as_ref()?;
        Some(shared.status())
    }

    /// What a port's engine turned out to be; `None` for one that is not attached.
    pub fn engine(&self, port: PortId) -> Option<EngineInfo> {
        self.control
            .lock()
            .attachments
            .get(&port)
            .and_then(|attachment| attachment.port.info.clone())
    }

    /// The poll threads. Waits for nobody, so it also tells of a thread that a change waits for.
    pub fn threads(&self) -> Vec<ThreadStatus> {
        self.threads
            .iter()
            .enumerate()
            .map(|(index, thread)| {
                let shared = &thread.shared;
                let elapsed_cycles = clock::cycles().wrapping_sub(shared.started_cycles).max(1);
                let elapsed = clock::precise_nanoseconds()
                    .saturating_sub(shared.started_ns)
                    .max(1) as f64;
                let (frames, busy_cycles) = (shared.frames.value(), shared.busy_cycles.value());
                let (busy, asleep_ns) = (busy_cycles as f64, shared.asleep_ns.value());
                let share = (busy / elapsed_cycles as f64).min(1.0);
                let busy_ns = (share * elapsed) as u64;
                let told = thread.busy_told.fetch_max(busy_ns, Ordering::Relaxed);
                ThreadStatus {
                    index,
                    core: shared.core,
                    queues: thread.queues.load(Ordering::Relaxed),
                    frames,
                    busy: share,
                    asleep: (asleep_ns as f64 / elapsed).min(1.0),
                    busy_time: Duration::from_nanos(busy_ns.max(told)),
                    asleep_time: Duration::from_nanos(asleep_ns),
                    cycles_per_frame: (frames > 0).then(|| busy / frames as f64),
                    passes: shared.passes.value(),
                    elapsed_cycles,
                    busy_cycles,
                    asleep_ns,
                }
            })
            .collect()
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        for thread in 0..self.threads.len() {
            self.command(thread, Command::Stop);
        }
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // A thread that panicked has said so.
                let _ = handle.join();
            }
        }
        self.snapshot.store(Arc::new(Snapshot::empty()));
    }
}

/// Ends the process when a poll thread panics: its ports would be dead for good and nobody would say so, while a new
/// process restores everything within a second.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// A number that nobody outside can guess.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
