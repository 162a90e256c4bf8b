//! The thread that takes records of flows from the poll threads and tells them to collectors.
//!
//! It holds nobody up: what a collector's socket does not take at once is lost to that collector, and counted. The socket to a
//! collector lives as long as the thread, since collectors know an exporter by its port.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::time::{ClockId, clock_gettime};
use weft_datapath::SwitchId;
use weft_model::{NetflowExport, NetflowVersion, PortKey, VswitchName};
use weft_netflow::export::{NamedInterface, Now, Settings, Version};
use weft_netflow::{Interface, Record};

use super::collector::{Collector, Told};
use super::health::{Pressure, Strain};
use crate::host::Host;
use crate::state::State;

/// How often records are taken.
const TICK: Duration = Duration::from_millis(100);

/// Records that are taken in one go.
const AT_ONCE: usize = 16_384;

/// How long it goes on taking records without looking whether there is something else to do.
const LONGEST: Duration = Duration::from_secs(1);

/// How often it looks for records that are left, of switches whose flows are told to nobody any more.
const LEFT: u32 = 50;

/// Collectors that are remembered, of those that are told nothing any more: one that is named again is told from the same port, with
/// sequence numbers that go on.
const REMEMBERED: usize = 64;

/// How long flows that go on are given to end when the agent does.
const LAST_FLOWS: Duration = Duration::from_secs(2);

/// What the thread is told.
enum Word {
    /// A configuration is in force.
    Changed,
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
    told: Mutex<BTreeMap<VswitchName, Telling>>,
}

impl Default for Flows {
    fn default() -> Self {
        // One word says all that several would.
        let (sender, receiver) = bounded(4);
        Self {
            sender,
            receiver,
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

    /// Has a configuration followed.
    fn changed(&self) {
        // Where it is full, it says so already.
        let _ = self.sender.try_send(Word::Changed);
    }

    /// Has everything told, and waits until it is. Returns whether it was.
    pub(in crate::host) fn end(&self) -> bool {
        let (done, wait) = bounded(1);
        let said = self.sender.send_timeout(Word::End(done), 2 * LONGEST);
        said.is_ok() && wait.recv_timeout(3 * LAST_FLOWS).is_ok()
    }
}

/// Tells collectors until the host is gone.
///
/// # Errors
/// The system refuses a thread.
pub(crate) fn export(host: &Arc<Host>) -> Result<(), Error> {
    let receiver = host.flow_records.receiver.clone();
    let host = Arc::downgrade(host);
    std::thread::Builder::new()
        .name("weft-netflow".to_owned())
        .spawn(move || run(&host, &receiver))
        .map(drop)
}

fn run(host: &Weak<Host>, receiver: &Receiver<Word>) {
    let mut exporters = Exporters::new();
    let mut is_news = true;
    let mut idle = 0;
    loop {
        let Some(this) = host.upgrade() else { return };
        if std::mem::take(&mut is_news) {
            exporters.follow(&this.view());
        }
        let is_more = exporters.tell(&this, LONGEST);
        drop(this);
        idle = if is_more || !exporters.switches.is_empty() {
            0
        } else {
            idle + 1
        };
        let word = if is_more {
            receiver.recv_timeout(Duration::ZERO)
        } else if idle <= LEFT {
            receiver.recv_timeout(TICK)
        } else {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match word {
            Ok(Word::Changed) => {
                is_news = true;
                idle = 0;
            }
            Ok(Word::End(done)) => {
                if let Some(this) = host.upgrade() {
                    let datapath = this.plane.datapath();
                    datapath.end_flows(LAST_FLOWS, || {
                        exporters.tell(&this, LAST_FLOWS);
                    });
                    exporters.tell(&this, LAST_FLOWS);
                }
                let _ = done.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Host {
    /// Has a configuration followed by those who tell of flows.
    pub(in crate::host) fn flows_are_news(&self) {
        self.flow_records.changed();
    }

    /// Ends every flow and tells it. Called when the agent ends.
    pub(crate) fn end_flows(&self) {
        if !self.flow_records.end() {
            tracing::warn!("not all flows that went on could be told to collectors");
        }
    }
}

/// A switch whose flows are told.
struct Exported {
    export: NetflowExport,
    interfaces: Vec<NamedInterface>,
    collectors: Vec<Collector>,
    /// Taken, and not told yet.
    records: Vec<Record>,
    pressure: Pressure,
    /// What was last told of it.
    strain: Strain,
}

struct Exporters {
    /// When this exporter's uptime was 0 (monotonic, ms).
    started: u64,
    switches: BTreeMap<SwitchId, Exported>,
    /// Collectors that are told nothing any more, with their switch; the latest last.
    left: VecDeque<(VswitchName, Collector)>,
}

impl Exporters {
    fn new() -> Self {
        Self {
            started: now().monotonic_ms,
            switches: BTreeMap::new(),
            left: VecDeque::new(),
        }
    }

    /// Does as a configuration says. What goes on being told goes on as it was.
    fn follow(&mut self, state: &State) {
        let mut before: HashMap<_, _> = std::mem::take(&mut self.switches)
            .into_values()
            .map(|known| (known.export.vswitch.clone(), known))
            .collect();
        for export in state.netflow_exports() {
            let known = before.remove(&export.vswitch);
            let interfaces = interfaces(state, &export.vswitch);
            let exported = match known {
                Some(known) if known.export == export && known.interfaces == interfaces => known,
                known => {
                    let (collectors, pressure, strain) = known
                        .map(|known| (known.collectors, known.pressure, known.strain))
                        .unwrap_or_default();
                    Exported {
                        collectors: self.collectors(&export, collectors),
                        interfaces,
                        records: Vec::new(),
                        pressure,
                        strain,
                        export,
                    }
                }
            };
            self.switches.insert(exported.export.id, exported);
        }
        for (vswitch, known) in before {
            self.remember(&vswitch, known.collectors);
        }
    }

    fn remember(&mut self, vswitch: &VswitchName, collectors: Vec<Collector>) {
        let left = collectors.into_iter();
        self.left.extend(left.map(|one| (vswitch.clone(), one)));
        let too_many = self.left.len().saturating_sub(REMEMBERED);
        self.left.drain(..too_many);
    }

    fn collectors(&mut self, export: &NetflowExport, mut before: Vec<Collector>) -> Vec<Collector> {
        let (spec, vswitch) = (&export.spec, &export.vswitch);
        let source = spec.source_ip.map(|source| source.address());
        let seconds = |time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
        let version = match spec.version {
            NetflowVersion::Ipfix => Version::Ipfix,
            NetflowVersion::V9 => Version::V9,
            NetflowVersion::V5 => Version::V5,
        };
        let mut settings = Settings::new(version, export.domain, self.started);
        settings.sampling = spec.sampling.number();
        settings.active = seconds(spec.active.duration());
        settings.idle = seconds(spec.idle.duration());
        let all = spec.collectors.all().iter();
        let told = all.map(|collector| {
            let to = collector.address();
            let known = match before.iter().position(|known| known.is(to, source)) {
                Some(known) => Some(before.swap_remove(known)),
                None => {
                    let is = |(of, known): &(_, Collector)| of == vswitch && known.is(to, source);
                    let known = self.left.iter().position(is);
                    known
                        .and_then(|known| self.left.remove(known))
                        .map(|(_, known)| known)
                }
            };
            match known {
                Some(mut known) => {
                    known.set(settings.clone());
                    known
                }
                None => Collector::new(to, source, settings.clone()),
            }
        });
        let told = told.collect();
        self.remember(vswitch, before);
        told
    }

    /// Takes what ended, and tells everybody what is due, for so long. Returns whether there is more.
    fn tell(&mut self, host: &Host, longest: Duration) -> bool {
        let datapath = host.plane.datapath();
        let until = Instant::now() + longest;
        let is_more = loop {
            let switches = &mut self.switches;
            let taken = datapath.take_flows(AT_ONCE, |switch, ended| {
                if let Some(exported) = switches.get_mut(&switch) {
                    exported.records.push(ended.record());
                }
            });
            let now = now();
            for exported in self.switches.values_mut() {
                exported.tell(now);
            }
            if taken < AT_ONCE {
                break false;
            }
            if Instant::now() >= until {
                break true;
            }
        };
        let now = now();
        for exported in self.switches.values_mut() {
            exported.look(now, host);
        }
        let told = self.switches.values().map(|exported| {
            let collectors = exported.collectors.iter();
            let telling = Telling {
                collectors: collectors.map(|one| (one.address(), one.told())).collect(),
                strain: exported.strain,
            };
            (exported.export.vswitch.clone(), telling)
        });
        let told = told.collect();
        let shown = &host.flow_records.told;
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = told;
        is_more
    }
}

impl Exported {
    fn tell(&mut self, now: Now) {
        for collector in &mut self.collectors {
            collector.tell(now, &self.records, &self.interfaces);
        }
        self.records.clear();
    }

    /// Looks how collectors and meters are, and says what is new.
    fn look(&mut self, now: Now, host: &Host) {
        let vswitch = &self.export.vswitch;
        for collector in &mut self.collectors {
            if let Some(news) = collector.look(now) {
                host.collector_is_news(vswitch, &collector.address().to_string(), news);
            }
        }
        let meters = host.plane.datapath().meter_status(self.export.id);
        self.pressure
            .look(now.monotonic_ms, meters.unwrap_or_default());
        let strain = self.pressure.strain(now.monotonic_ms);
        if strain != self.strain {
            host.strain_is_news(vswitch, strain);
            self.strain = strain;
        }
    }
}

/// How the ports and uplinks of a switch are called, by number.
fn interfaces(state: &State, vswitch: &VswitchName) -> Vec<NamedInterface> {
    let intent = &state.intent;
    let ports = intent.ports.values().filter_map(|object| {
        let port = &object.spec;
        let group = &intent.portgroups.get(&port.portgroup)?.spec;
        (group.vswitch == *vswitch).then(|| {
            let description = format!("{} on {vswitch}/{}", port.name, group.name);
            (
                PortKey::Port(port.name.clone()),
                port.name.to_string(),
                description,
            )
        })
    });
    let uplinks = intent.uplinks().filter(|(switch, _)| *switch == vswitch);
    let uplinks = uplinks.map(|(_, interface)| {
        let description = format!("uplink {interface} of {vswitch}");
        (
            PortKey::Uplink(interface.clone()),
            interface.to_string(),
            description,
        )
    });
    let mut named: Vec<_> = ports
        .chain(uplinks)
        .filter_map(|(key, name, description)| {
            let number = Interface(u32::from(state.id(&key)?.0) + 1);
            Some(NamedInterface {
                number,
                name,
                description,
            })
        })
        .collect();
    named.sort_by_key(|interface| interface.number);
    named
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
