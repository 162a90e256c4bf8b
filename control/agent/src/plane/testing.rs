//! A kernel of made-up interfaces over the memory engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weft_api::{Problem, ProblemKind};
use weft_datapath::engine::memory::MemoryPort;
use weft_datapath::{AttachError, Datapath, EngineInfo, Event, Options, PollMode, PortId};
use weft_model::{InterfaceName, IpCidr};

use super::{Kernel, Plane, Wanted};
use crate::adapters::Adapter;
use crate::links::{Link, Links};

/// Shared by the plane and the test.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    links: Links,
    used: BTreeSet<u32>,
    busy: BTreeSet<InterfaceName>,
    largest_mtu: Option<u16>,
    ports: BTreeMap<InterfaceName, (PortId, MemoryPort)>,
    opened: BTreeMap<InterfaceName, usize>,
    waits: Vec<Duration>,
    elsewhere: BTreeSet<IpCidr>,
    devices: BTreeMap<InterfaceName, Device>,
}

/// The device of one of the host's own interfaces.
struct Device {
    ip: Option<IpCidr>,
    /// The port whose engine has it open, or had.
    id: PortId,
    /// It stays when that closes.
    is_kept: bool,
}

impl Memory {
    /// A plane with poll threads over these interfaces.
    pub(crate) fn plane(&self, events: &crossbeam_channel::Sender<Event>) -> Plane {
        let options = Options {
            cores: Vec::new(),
            poll: PollMode::Adaptive,
        };
        let datapath = Datapath::start(&options, events).unwrap();
        Plane {
            datapath,
            kernel: Kernel::Memory(self.clone()),
            mark: String::new(),
        }
    }

    /// Adds an interface that is up, or replaces one of this name by a new one.
    pub(crate) fn add(&self, name: &str) -> (InterfaceName, Link) {
        let mut state = self.0.lock().unwrap();
        let index = state
            .links
            .values()
            .map(|link| link.index)
            .max()
            .unwrap_or(0)
            + 1;
        let (name, link) = (
            name.parse::<InterfaceName>().unwrap(),
            Link {
                index,
                up: true,
                carrier: true,
                mtu: 1500,
            },
        );
        state.links.insert(name.clone(), link);
        (name, link)
    }

    pub(crate) fn remove(&self, name: &str) {
        let (name, mut state) = (
            name.parse::<InterfaceName>().unwrap(),
            self.0.lock().unwrap(),
        );
        state.links.remove(&name);
        state.devices.remove(&name);
    }

    /// Takes its address from the device of one of the host's own interfaces.
    pub(crate) fn take_ip(&self, name: &str) {
        let name: InterfaceName = name.parse().unwrap();
        self.0.lock().unwrap().devices.get_mut(&name).unwrap().ip = None;
    }

    /// The address of the device of one of the host's own interfaces.
    pub(crate) fn ip(&self, name: &str) -> Option<IpCidr> {
        let name: InterfaceName = name.parse().unwrap();
        self.0.lock().unwrap().devices.get(&name)?.ip
    }

    /// Gives an interface another MTU.
    pub(crate) fn set_mtu(&self, name: &str, mtu: u32) {
        let name: InterfaceName = name.parse().unwrap();
        self.0.lock().unwrap().links.get_mut(&name).unwrap().mtu = mtu;
    }

    /// Gives an interface an address.
    pub(crate) fn give_address(&self, link: Link) {
        self.0.lock().unwrap().used.insert(link.index);
    }

    /// Has another interface of the host have an address, or no more.
    pub(crate) fn give_elsewhere(&self, ip: &str, has: bool) {
        let (ip, mut state) = (ip.parse().unwrap(), self.0.lock().unwrap());
        if has {
            state.elsewhere.insert(ip);
        } else {
            state.elsewhere.remove(&ip);
        }
    }

    /// Has another process hold an interface.
    pub(crate) fn hold(&self, name: &str) {
        self.0.lock().unwrap().busy.insert(name.parse().unwrap());
    }

    /// Has the other process let go.
    pub(crate) fn release(&self, name: &str) {
        self.0
            .lock()
            .unwrap()
            .busy
            .remove(&name.parse::<InterfaceName>().unwrap());
    }

    /// How long each attempt on an interface that another process holds would have waited, since the last call.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        std::mem::take(&mut self.0.lock().unwrap().waits)
    }

    /// Refuses engines for larger frames.
    pub(crate) fn limit_mtu(&self, mtu: u16) {
        self.0.lock().unwrap().largest_mtu = Some(mtu);
    }

    /// Sends a frame from behind an interface.
    pub(crate) fn send(&self, name: &str, frame: &[u8]) {
        self.port(name).send(frame);
    }

    /// The other side of an interface that is attached.
    pub(crate) fn port(&self, name: &str) -> MemoryPort {
        let name: InterfaceName = name.parse().unwrap();
        self.0.lock().unwrap().ports[&name].1.clone()
    }

    /// How often an engine was opened on an interface.
    pub(crate) fn opened(&self, name: &str) -> usize {
        let name: InterfaceName = name.parse().unwrap();
        self.0
            .lock()
            .unwrap()
            .opened
            .get(&name)
            .copied()
            .unwrap_or(0)
    }

    /// An interface as it is.
    pub(crate) fn link(&self, name: &InterfaceName) -> Option<Link> {
        self.0.lock().unwrap().links.get(name).copied()
    }

    pub(super) fn links(&self) -> Links {
        self.0.lock().unwrap().links.clone()
    }

    pub(super) fn uses(&self, link: Link) -> Vec<String> {
        let used = self.0.lock().unwrap().used.contains(&link.index);
        if used {
            vec!["carries the address 192.0.2.1/24".to_owned()]
        } else {
            Vec::new()
        }
    }

    pub(super) fn attach(
        &self,
        datapath: &Datapath,
        id: PortId,
        wanted: &Wanted,
        busy_wait: Duration,
    ) -> Result<EngineInfo, Problem> {
        let info = self
            .open(datapath, id, wanted, busy_wait)
            .map_err(|error| super::attach_problem(wanted, &error))?;
        if let Some(adapter) = wanted.adapter() {
            self.make(adapter.device, id);
            self.set_up(adapter).inspect_err(|_| {
                let _ = datapath.detach_all(&[id]);
                self.detached(&[id]);
            })?;
        }
        Ok(info)
    }

    /// Opens the device of one of the host's own interfaces, and makes it if there is none.
    fn make(&self, device: &InterfaceName, id: PortId) {
        let is_new = !self.0.lock().unwrap().devices.contains_key(device);
        if is_new {
            self.add(device.as_str());
        }
        let mut state = self.0.lock().unwrap();
        let before = state.devices.remove(device);
        let (ip, is_kept) = before.map_or((None, false), |device| (device.ip, device.is_kept));
        state
            .devices
            .insert(device.clone(), Device { ip, id, is_kept });
    }

    pub(super) fn set_up(&self, adapter: Adapter<'_>) -> Result<(), Problem> {
        let Adapter {
            device, mtu, ip, ..
        } = adapter;
        let mut state = self.0.lock().unwrap();
        let has_it = |other: &Option<IpCidr>| {
            ip.is_some_and(|ip| other.is_some_and(|other| other.address() == ip.address()))
        };
        let mut others = state.devices.iter().filter(|(name, _)| *name != device);
        let on = others.find_map(|(name, other)| has_it(&other.ip).then(|| name.to_string()));
        let is_elsewhere = (state.elsewhere.iter()).any(|other| has_it(&Some(*other)));
        if let Some(on) = on.or_else(|| is_elsewhere.then(|| "eth0".to_owned())) {
            let ip = ip.unwrap().address();
            let message = format!("the host has the address {ip} on {on} already");
            return Err(Problem::new(ProblemKind::Conflict, message).with_remedy("-"));
        }
        state.devices.get_mut(device).unwrap().ip = ip;
        state.links.get_mut(device).unwrap().mtu = mtu.into();
        Ok(())
    }

    pub(super) fn put_right(&self, adapter: Adapter<'_>) -> Vec<String> {
        let Adapter {
            device, mtu, ip, ..
        } = adapter;
        let mut state = self.0.lock().unwrap();
        let mut missing = Vec::new();
        if let Some(link) = (state.links.get_mut(device)).filter(|link| link.mtu != u32::from(mtu))
        {
            link.mtu = mtu.into();
            missing.push(format!("the MTU {mtu}"));
        }
        let own = state.devices.get_mut(device).filter(|own| own.ip != ip);
        if let (Some(own), Some(address)) = (own, ip) {
            own.ip = ip;
            missing.push(format!("the address {address}"));
        }
        missing
    }

    pub(super) fn vacate(&self, adapters: &[Adapter<'_>]) -> Vec<InterfaceName> {
        let mut state = self.0.lock().unwrap();
        let mut vacated = Vec::new();
        for (name, device) in &mut state.devices {
            let moves = |adapter: &Adapter<'_>| adapter.device != name && adapter.ip == device.ip;
            if device.ip.is_some() && adapters.iter().any(moves) {
                device.ip = None;
                vacated.push(name.clone());
            }
        }
        vacated
    }

    pub(super) fn keep(&self, id: PortId) {
        let mut state = self.0.lock().unwrap();
        for device in state.devices.values_mut().filter(|device| device.id == id) {
            device.is_kept = true;
        }
    }

    pub(super) fn detached(&self, ids: &[PortId]) {
        let mut state = self.0.lock().unwrap();
        let goes = |device: &mut Device| !device.is_kept && ids.contains(&device.id);
        let gone = state.devices.extract_if(.., |_, device| goes(device));
        let gone: Vec<_> = gone.map(|(name, _)| name).collect();
        state.links.retain(|name, _| !gone.contains(name));
    }

    fn open(
        &self,
        datapath: &Datapath,
        id: PortId,
        wanted: &Wanted,
        busy_wait: Duration,
    ) -> Result<EngineInfo, AttachError> {
        let mut state = self.0.lock().unwrap();
        let Some(name) = wanted.interface().cloned() else {
            return datapath.attach(id, &super::engine_spec(wanted, busy_wait));
        };
        let interface = name.to_string();
        if wanted.link().is_some() && !state.links.contains_key(&name) {
            return Err(AttachError::NoInterface(interface));
        }
        let other = state.ports.get(&name).map(|(other, _)| *other);
        let is_open = other.is_some_and(|other| datapath.engine(other).is_some());
        if is_open || state.busy.contains(&name) {
            state.waits.push(busy_wait);
            return Err(AttachError::InterfaceBusy(interface));
        }
        if state
            .largest_mtu
            .is_some_and(|largest| wanted.mtu > largest)
        {
            return Err(AttachError::Mtu {
                interface,
                mtu: wanted.mtu,
                reason: "too large".to_owned(),
            });
        }
        if datapath.engine(id).is_some() {
            return Err(AttachError::Attached(id.0));
        }
        let port = datapath.attach_memory(id, 256, true).unwrap();
        // Whatever else the number had before is closed.
        state.ports.retain(|_, (other, _)| *other != id);
        state.ports.insert(name.clone(), (id, port));
        *state.opened.entry(name).or_default() += 1;
        Ok(EngineInfo::Memory)
    }
}
