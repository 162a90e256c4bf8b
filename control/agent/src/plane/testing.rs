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
        self.0
            .lock()
            .unwrap()
            .links
            .remove(&name.parse::<InterfaceName>().unwrap());
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
        if let Some(Adapter {
            device, mtu, ip, ..
        }) = wanted.adapter()
        {
            let taken = ip.filter(|ip| self.0.lock().unwrap().elsewhere.contains(ip));
            if let Some(ip) = taken {
                let _ = datapath.detach_all(&[id]);
                let message = format!("the host has the address {ip} on eth0 already");
                return Err(Problem::new(ProblemKind::Conflict, message).with_remedy("-"));
            }
            self.add(device.as_str());
            self.set_mtu(device.as_str(), mtu.into());
        }
        Ok(info)
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
