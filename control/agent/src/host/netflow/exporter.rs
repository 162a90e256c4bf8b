//! The thread that takes records of flows from the poll threads and tells them to collectors.
//!
//! It holds nobody up: what a collector's socket does not take at once is lost to that collector, and counted. The socket to a
//! collector lives as long as the thread, since collectors know an exporter by its port.
//!
//! Records come after what they are about: those of a port that is gone, of flows that a meter before the present one counted, of a
//! switch that has no NetFlow any more. A switch is told of until its last record is, with the sampling of each; numbers of ports
//! and switches are not given to others meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Error;
use std::iter;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use rustix::time::{ClockId, clock_gettime};
use weft_datapath::SwitchId;
use weft_model::VswitchName;
use weft_netflow::export::Now;

use super::collector::Told;
use super::health::Strain;
use super::switch::{Exported, Left, Wish};
use crate::host::Host;
use crate::links::LinkEvent;

/// How often records are taken.
const TICK: Duration = Duration::from_millis(100);

/// How often they are, at most, where there are many.
const SHORTEST: Duration = Duration::from_millis(5);

/// So many at once are many: a quarter of what waits at most of one thread and switch.
const MANY: usize = 4_096;

/// Records that are taken in one go.
const AT_ONCE: usize = 16_384;

/// How long it goes on taking records without looking whether there is something else to do.
const LONGEST: Duration = Duration::from_secs(1);

/// How long flows that go on are given to end when the agent does.
const LAST_FLOWS: Duration = Duration::from_secs(2);

/// What the thread is told.
enum Word {
    /// This is wished of each switch. Every wish is followed, though another one comes at once: it may have had flows counted.
    Wishes(Vec<Wish>),
    /// The agent ends: everything is to be told, then the answer.
    End(Sender<()>),
}

/// How telling the flows of a switch goes.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct Telling {
    /// What became of what its collectors were told, in their order.
    pub(in crate::host) collectors: Vec<(SocketAddr, Told)>,
    pub(in crate::host) strain: Strain,
}

/// The way to the thread, and what it shows.
pub(in crate::host) struct Flows {
    sender: Sender<Word>,
    receiver: Receiver<Word>,
    /// What was wished last.
    wished: Mutex<Vec<Wish>>,
    /// The host has other addresses than when it was looked last.
    readdressed: AtomicBool,
    told: Mutex<BTreeMap<VswitchName, Telling>>,
}

impl Default for Flows {
    fn default() -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender,
            receiver,
            wished: Mutex::default(),
            readdressed: AtomicBool::default(),
            told: Mutex::default(),
        }
    }
}

impl Flows {
    /// How telling the flows of each switch goes.
    pub(in crate::host) fn told(&self) -> BTreeMap<VswitchName, Telling> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    /// Has wishes followed, if they are others than the last ones.
    fn wish(&self, wishes: impl FnOnce() -> Vec<Wish>) {
        let mut wished = self.wished.lock().unwrap_or_else(PoisonError::into_inner);
        let wishes = wishes();
        if *wished != wishes {
            wished.clone_from(&wishes);
            // Where nobody listens any more, nothing is told.
            let _ = self.sender.send(Word::Wishes(wishes));
        }
    }

    /// Has everything told, and waits until it is. Returns whether it was.
    pub(in crate::host) fn end(&self) -> bool {
        let (done, wait) = bounded(1);
        let said = self.sender.send(Word::End(done));
        said.is_ok() && wait.recv_timeout(LONGEST + 3 * LAST_FLOWS).is_ok()
    }
}

/// Tells collectors until the host is gone.
///
/// # Errors
/// The system refuses a thread.
pub(crate) fn export(host: &Arc<Host>) -> Result<(), Error> {
    host.flows_are_news();
    let receiver = host.flow_records.receiver.clone();
    let host = Arc::downgrade(host);
    std::thread::Builder::new()
        .name("weft-netflow".to_owned())
        .spawn(move || run(&host, &receiver))
        .map(drop)
}

fn run(host: &Weak<Host>, receiver: &Receiver<Word>) {
    let mut exporters = Exporters::new();
    let mut pause = TICK;
    loop {
        let Some(this) = host.upgrade() else { return };
        let told = exporters.tell(&this, LONGEST);
        drop(this);
        // Messages are full where there is much to tell, and it does not wait until rings are full.
        pause = if told.records > MANY {
            (pause / 2).max(SHORTEST)
        } else {
            (pause * 2).min(TICK)
        };
        let first = if told.is_more {
            receiver.recv_timeout(Duration::ZERO)
        } else if exporters.switches.is_empty() {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            receiver.recv_timeout(pause)
        };
        let first = match first {
            Ok(word) => word,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // What has ended until now is told to who was to be told until now.
        if let Some(this) = host.upgrade() {
            exporters.tell(&this, LONGEST);
        }
        for word in iter::once(first).chain(receiver.try_iter()) {
            match word {
                Word::Wishes(wishes) => exporters.follow(wishes),
                Word::End(done) => {
                    if let Some(this) = host.upgrade() {
                        exporters.end(&this);
                    }
                    let _ = done.send(());
                    return;
                }
            }
        }
    }
}

impl Host {
    /// Has the configuration followed by those who tell of flows.
    pub(in crate::host) fn flows_are_news(&self) {
        self.flow_records.wish(|| Wish::all(&self.view()));
    }

    /// Passes on what happened to an interface.
    pub(in crate::host) fn link_concerns_flows(&self, event: &LinkEvent) {
        if !matches!(event, LinkEvent::Present(..)) {
            self.flow_records.readdressed.store(true, Ordering::Release);
        }
    }

    /// Ends every flow and tells it. Called when the agent ends.
    pub(crate) fn end_flows(&self) {
        if !self.flow_records.end() {
            tracing::warn!("not all flows that went on could be told to collectors");
        }
    }
}

/// What was done in one go.
#[derive(Default)]
struct Pass {
    /// Records that were taken.
    records: usize,
    /// There are more.
    is_more: bool,
}

struct Exporters {
    /// When this exporter's uptime was 0 (monotonic, ms).
    started: u64,
    switches: BTreeMap<VswitchName, Exported>,
    /// Which switches they are: of one that was removed and added again there may be records of both.
    numbers: BTreeMap<SwitchId, VswitchName>,
    /// Those whose flows are to be told; of others, what was counted before.
    wished: Vec<SwitchId>,
    left: Left,
}

impl Exporters {
    fn new() -> Self {
        Self {
            started: now().monotonic_ms,
            switches: BTreeMap::new(),
            numbers: BTreeMap::new(),
            wished: Vec::new(),
            left: Left::default(),
        }
    }

    fn follow(&mut self, wishes: Vec<Wish>) {
        self.wished = wishes.iter().map(Wish::switch).collect();
        for wish in wishes {
            let vswitch = wish.vswitch().clone();
            self.numbers.insert(wish.switch(), vswitch.clone());
            match self.switches.entry(vswitch) {
                Entry::Occupied(mut known) => {
                    let exported = known.get_mut();
                    exported.follow(wish, &mut self.left, self.started);
                }
                Entry::Vacant(place) => {
                    place.insert(Exported::new(wish, &mut self.left, self.started));
                }
            }
        }
    }

    /// Takes what ended, and tells everybody what is due, for so long.
    fn tell(&mut self, host: &Host, longest: Duration) -> Pass {
        let until = Instant::now() + longest;
        if host.flow_records.readdressed.swap(false, Ordering::AcqRel) {
            self.switches.values_mut().for_each(Exported::readdressed);
        }
        let mut pass = Pass::default();
        loop {
            let taken = self.take(host);
            let now = now();
            for exported in self.switches.values_mut() {
                exported.tell(now);
            }
            pass.records += taken;
            pass.is_more = taken >= AT_ONCE;
            if !pass.is_more || Instant::now() >= until {
                break;
            }
        }
        self.let_go(host);
        let now = now();
        let mut told = BTreeMap::new();
        for number in &self.wished {
            let vswitch = self.numbers.get(number);
            if let Some((vswitch, exported)) =
                vswitch.and_then(|vswitch| Some((vswitch, self.switches.get_mut(vswitch)?)))
            {
                exported.look(now, host);
                told.insert(vswitch.clone(), exported.telling());
            }
        }
        let shown = &host.flow_records.told;
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = told;
        pass
    }

    /// Ends all flows, and tells them.
    fn end(&mut self, host: &Host) {
        let datapath = host.plane.datapath();
        datapath.end_flows(LAST_FLOWS, || {
            self.tell(host, LAST_FLOWS);
        });
        // Behind the last records of a meter come those of the one after it.
        let until = Instant::now() + LAST_FLOWS;
        while self.tell(host, LAST_FLOWS).records > 0 && Instant::now() < until {}
    }

    /// Takes records that wait. Returns how many there were.
    fn take(&mut self, host: &Host) -> usize {
        let now = now();
        let Self {
            switches, numbers, ..
        } = self;
        // A wish that is on its way may be about others, whose records wait for it.
        let is_known = |switch| numbers.contains_key(&switch);
        let datapath = host.plane.datapath();
        datapath.take_flows(AT_ONCE, is_known, |origin, ended| {
            let vswitch = numbers.get(&origin.switch);
            if let Some(exported) = vswitch.and_then(|vswitch| switches.get_mut(vswitch)) {
                exported.take(ended.record(), origin.sampling, now);
            }
        })
    }

    /// Lets go of switches of which nothing more comes, and tells the sampling of those of which nothing came.
    fn let_go(&mut self, host: &Host) {
        let Self {
            switches,
            numbers,
            wished,
            left,
            ..
        } = self;
        let now = now();
        numbers.retain(|number, vswitch| {
            let sampling = host.plane.datapath().flow_sampling(*number);
            let is_wished = wished.contains(number);
            if let Some(sampling) = sampling.filter(|_| is_wished)
                && let Some(exported) = switches.get_mut(vswitch)
            {
                exported.sample(sampling, now);
            }
            is_wished || sampling.is_some()
        });
        let is_over = |vswitch: &VswitchName, _: &mut Exported| {
            !numbers.values().any(|known| known == vswitch)
        };
        for (_, exported) in switches.extract_if(.., is_over) {
            exported.leave(left);
        }
    }
}

/// Both clocks, read together.
pub(super) fn now() -> Now {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let ms = |seconds: i64, nanoseconds: i64| {
        let ms = seconds.saturating_mul(1000) + nanoseconds / 1_000_000;
        u64::try_from(ms).unwrap_or_default()
    };
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    let unix = unix.unwrap_or_default().as_millis();
    Now {
        monotonic_ms: ms(monotonic.tv_sec, monotonic.tv_nsec),
        unix_ms: u64::try_from(unix).unwrap_or(u64::MAX),
    }
}
