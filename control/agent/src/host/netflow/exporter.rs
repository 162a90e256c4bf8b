//! The thread that takes records of flows from the poll threads and tells them to collectors.
//!
//! It holds nobody up: what a collector's socket does not take at once is lost to that collector, and counted. One socket to each
//! collector lives as long as the thread, since collectors know an exporter by its port.

use std::collections::{BTreeMap, HashMap};
use std::io::Error;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::time::{ClockId, clock_gettime};
use weft_datapath::SwitchId;
use weft_model::{NetflowExport, NetflowVersion, PortKey, VswitchName};
use weft_netflow::export::{NamedInterface, Now, Settings, Version};
use weft_netflow::{Interface, Record};

use super::collector::{Collector, Told, open};
use crate::host::Host;
use crate::state::State;

/// How often records are taken.
const TICK: Duration = Duration::from_millis(100);

/// Records that are taken in one go.
const AT_ONCE: usize = 16_384;

/// How long flows that go on are given to end when the agent does.
const LAST_FLOWS: Duration = Duration::from_secs(2);

/// What the thread is told.
enum Word {
    /// A configuration is in force.
    Changed,
    /// The agent ends: everything is to be told, then the answer.
    End(Sender<()>),
}

/// What became of what the collectors of a switch were told, in their order.
type Telling = BTreeMap<VswitchName, Vec<(SocketAddr, Told)>>;

/// The way to the thread, and what it shows.
pub(in crate::host) struct Flows {
    sender: Sender<Word>,
    receiver: Receiver<Word>,
    told: Mutex<Telling>,
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
    /// What the collectors of a switch were told.
    pub(super) fn told(&self, vswitch: &VswitchName) -> HashMap<SocketAddr, Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of_switch = told.get(vswitch).into_iter().flatten();
        of_switch.cloned().collect()
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
    loop {
        let Some(this) = host.upgrade() else { return };
        if std::mem::take(&mut is_news) {
            exporters.follow(&this.view());
        }
        exporters.tell(&this);
        let is_idle = exporters.switches.is_empty();
        drop(this);
        let word = if is_idle {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            receiver.recv_timeout(TICK)
        };
        match word {
            Ok(Word::Changed) => is_news = true,
            Ok(Word::End(done)) => {
                if let Some(this) = host.upgrade() {
                    this.plane.datapath().end_flows(LAST_FLOWS);
                    exporters.tell(&this);
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
        // Where it is full, it says so already.
        let _ = self.flow_records.sender.try_send(Word::Changed);
    }

    /// Ends every flow and tells it. Called when the agent ends.
    pub(crate) fn end_flows(&self) {
        let (done, wait) = bounded(1);
        if self.flow_records.sender.try_send(Word::End(done)).is_ok() {
            let _ = wait.recv_timeout(2 * LAST_FLOWS);
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
}

struct Exporters {
    /// When this exporter's uptime was 0 (monotonic, ms).
    started: u64,
    switches: BTreeMap<SwitchId, Exported>,
    sockets: HashMap<(SocketAddr, Option<IpAddr>), Rc<UdpSocket>>,
}

impl Exporters {
    fn new() -> Self {
        Self {
            started: now().monotonic_ms,
            switches: BTreeMap::new(),
            sockets: HashMap::new(),
        }
    }

    /// Does as a configuration says. What goes on being told goes on as it was.
    fn follow(&mut self, state: &State) {
        let mut before = std::mem::take(&mut self.switches);
        for export in state.netflow_exports() {
            let id = export.id;
            let known = before.remove(&id);
            let known = known.filter(|known| known.export.vswitch == export.vswitch);
            let interfaces = interfaces(state, &export.vswitch);
            let is_same = known
                .as_ref()
                .is_some_and(|known| known.export == export && known.interfaces == interfaces);
            let (mut collectors, records) =
                known.map_or_else(Default::default, |known| (known.collectors, known.records));
            if !is_same {
                collectors = self.collectors(&export, collectors);
            }
            let exported = Exported {
                export,
                interfaces,
                collectors,
                records,
            };
            self.switches.insert(id, exported);
        }
    }

    fn collectors(&self, export: &NetflowExport, mut before: Vec<Collector>) -> Vec<Collector> {
        let spec = &export.spec;
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
        all.map(|collector| {
            let to = collector.address();
            match before.iter().position(|known| known.is(to, source)) {
                Some(known) => {
                    let mut known = before.swap_remove(known);
                    known.set(settings.clone());
                    known
                }
                None => Collector::new(to, source, settings.clone()),
            }
        })
        .collect()
    }

    /// Takes what ended, and tells everybody what is due.
    fn tell(&mut self, host: &Host) {
        loop {
            let switches = &mut self.switches;
            let taken = host.plane.datapath().take_flows(AT_ONCE, |switch, ended| {
                if let Some(exported) = switches.get_mut(&switch) {
                    exported.records.push(ended.record());
                }
            });
            let now = now();
            for exported in self.switches.values_mut() {
                exported.tell(now, &mut self.sockets);
            }
            if taken < AT_ONCE {
                break;
            }
        }
        let told = self.switches.values().map(|exported| {
            let all = exported.export.spec.collectors.all().iter();
            let addresses = all.map(|collector| collector.address());
            let told = exported.collectors.iter().map(Collector::told);
            let vswitch = exported.export.vswitch.clone();
            (vswitch, addresses.zip(told).collect())
        });
        let told = told.collect();
        let shown = &host.flow_records.told;
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }
}

impl Exported {
    fn tell(
        &mut self,
        now: Now,
        sockets: &mut HashMap<(SocketAddr, Option<IpAddr>), Rc<UdpSocket>>,
    ) {
        for collector in &mut self.collectors {
            let is_due = collector.due().is_some_and(|due| due <= now.monotonic_ms);
            if !is_due && self.records.is_empty() {
                continue;
            }
            collector.tell(now, &self.records, &self.interfaces, |to, source| {
                if let Some(socket) = sockets.get(&(to, source)) {
                    return Ok(Rc::clone(socket));
                }
                let socket = Rc::new(open(to, source)?);
                sockets.insert((to, source), Rc::clone(&socket));
                Ok(socket)
            });
        }
        self.records.clear();
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
