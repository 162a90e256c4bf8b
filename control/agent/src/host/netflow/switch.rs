//! One switch whose flows are told: what its collectors are told, and how they are.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use weft_datapath::SwitchId;
use weft_model::{NetflowExport, NetflowVersion, PortKey, VswitchName};
use weft_netflow::export::{NamedInterface, Now, Settings, Version};
use weft_netflow::{Interface, Record};

use super::collector::Collector;
use super::exporter::Telling;
use super::health::{Pressure, Strain};
use crate::host::Host;
use crate::state::State;

/// Collectors that are remembered, of those that are told nothing any more: one that is named again is told from the same port, with
/// sequence numbers that go on.
const REMEMBERED: usize = 64;

/// What is to be told of a switch, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    export: NetflowExport,
    interfaces: Vec<NamedInterface>,
}

impl Wish {
    /// What a state wishes, of each switch.
    pub(super) fn all(state: &State) -> Vec<Self> {
        let exports = state.netflow_exports().into_iter();
        let wish = |export: NetflowExport| Self {
            interfaces: interfaces(state, &export.vswitch),
            export,
        };
        exports.map(wish).collect()
    }

    pub(super) fn vswitch(&self) -> &VswitchName {
        &self.export.vswitch
    }

    pub(super) fn switch(&self) -> SwitchId {
        self.export.id
    }

    /// What collectors are told, by an exporter that started at this time (monotonic, ms).
    fn settings(&self, started: u64) -> Settings {
        let spec = &self.export.spec;
        let seconds = |time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
        let version = match spec.version {
            NetflowVersion::Ipfix => Version::Ipfix,
            NetflowVersion::V9 => Version::V9,
            NetflowVersion::V5 => Version::V5,
        };
        let mut settings = Settings::new(version, self.export.domain, started);
        settings.sampling = spec.sampling.number();
        settings.active = seconds(spec.active.duration());
        settings.idle = seconds(spec.idle.duration());
        settings
    }
}

/// A switch whose flows are told.
pub(super) struct Exported {
    wish: Wish,
    collectors: Vec<Collector>,
    /// One in so many packets was counted, in records that come.
    sampling: u32,
    /// Taken, and not told yet.
    records: Vec<Record>,
    pressure: Pressure,
    /// What was last told of it.
    strain: Strain,
}

impl Exported {
    pub(super) fn new(wish: Wish, left: &mut Left, started: u64) -> Self {
        let mut exported = Self {
            sampling: wish.export.spec.sampling.number(),
            wish,
            collectors: Vec::new(),
            records: Vec::new(),
            pressure: Pressure::default(),
            strain: Strain::default(),
        };
        exported.name_collectors(left, started);
        exported
    }

    /// Does as another wish says. What goes on being told goes on as it was; the sampling is that of the records.
    pub(super) fn follow(&mut self, wish: Wish, left: &mut Left, started: u64) {
        if wish != self.wish {
            self.wish = wish;
            self.name_collectors(left, started);
        }
    }

    fn name_collectors(&mut self, left: &mut Left, started: u64) {
        let mut settings = self.wish.settings(started);
        settings.sampling = self.sampling;
        let spec = &self.wish.export.spec;
        let source = spec.source_ip.map(|source| source.address());
        let mut before = std::mem::take(&mut self.collectors);
        let told: HashMap<_, _> = before
            .iter()
            .map(|known| (known.address(), known.totals()))
            .collect();
        for collector in spec.collectors.all() {
            let to = collector.address();
            let known = match before.iter().position(|known| known.is(to, source)) {
                Some(known) => Some(before.swap_remove(known)),
                None => left.recall(self.wish.vswitch(), |known| known.is(to, source)),
            };
            let mut collector = match known {
                Some(mut known) => {
                    known.set(settings.clone());
                    known.readdressed();
                    known
                }
                None => Collector::new(to, source, settings.clone()),
            };
            // One that is told from another address is the same to who reads what it was told.
            if let Some(told) = told.get(&to) {
                collector.go_on(told);
            }
            self.collectors.push(collector);
        }
        left.remember(self.wish.vswitch(), before);
    }

    /// Takes a record of packets of which one in `sampling` was counted.
    pub(super) fn take(&mut self, record: Record, sampling: u32, now: Now) {
        self.sample(sampling, now);
        self.records.push(record);
    }

    /// Records that come are of packets of which one in so many was counted. Collectors that were told another interval are told
    /// what they have not been told yet, and then this one.
    pub(super) fn sample(&mut self, sampling: u32, now: Now) {
        if sampling == self.sampling {
            return;
        }
        self.tell(now);
        self.sampling = sampling;
        for collector in &mut self.collectors {
            collector.sample(sampling);
        }
    }

    /// The host has other addresses.
    pub(super) fn readdressed(&mut self) {
        self.collectors.iter_mut().for_each(Collector::readdressed);
    }

    /// Tells what was taken, and what else is due.
    pub(super) fn tell(&mut self, now: Now) {
        for collector in &mut self.collectors {
            collector.tell(now, &self.records, &self.wish.interfaces);
        }
        self.records.clear();
    }

    /// Looks how collectors and meters are, and says what is new.
    pub(super) fn look(&mut self, now: Now, host: &Host) {
        let vswitch = self.wish.vswitch();
        for collector in &mut self.collectors {
            if let Some(news) = collector.look(now) {
                host.collector_is_news(vswitch, &collector.address().to_string(), news);
            }
        }
        let meters = host.plane.datapath().meter_status(self.wish.switch());
        self.pressure
            .look(now.monotonic_ms, meters.unwrap_or_default());
        let strain = self.pressure.strain(now.monotonic_ms);
        if strain != self.strain {
            host.strain_is_news(vswitch, strain);
            self.strain = strain;
        }
    }

    pub(super) fn telling(&self) -> Telling {
        let collectors = self.collectors.iter();
        Telling {
            collectors: collectors.map(|one| (one.address(), one.told())).collect(),
            strain: self.strain,
        }
    }

    /// Tells nothing any more.
    pub(super) fn leave(self, left: &mut Left) {
        left.remember(self.wish.vswitch(), self.collectors);
    }
}

/// Collectors that are told nothing any more, with their switch; the latest last.
#[derive(Default)]
pub(super) struct Left(VecDeque<(VswitchName, Collector)>);

impl Left {
    fn remember(&mut self, vswitch: &VswitchName, collectors: Vec<Collector>) {
        let collectors = collectors.into_iter();
        self.0.extend(collectors.map(|one| (vswitch.clone(), one)));
        let too_many = self.0.len().saturating_sub(REMEMBERED);
        self.0.drain(..too_many);
    }

    fn recall(
        &mut self,
        vswitch: &VswitchName,
        is_it: impl Fn(&Collector) -> bool,
    ) -> Option<Collector> {
        let mut known = self.0.iter();
        let place = known.position(|(of, known)| of == vswitch && is_it(known))?;
        self.0.remove(place).map(|(_, known)| known)
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
