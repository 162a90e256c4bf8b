//! What tests and benches use: a data path driven by hand over memory ports, an obvious reference switch, the audit, and
//! guests on vhost-user sockets.

mod allocations;
pub mod front_end;
pub mod guest;
mod reference;
mod setup;

use std::collections::BTreeMap;

use crossbeam_channel::{Receiver, bounded};

use weft_packet::MacAddr;

use crate::engine::memory::MemoryPort;
use crate::mac_table::{MacTable, key};
use crate::{Config, Datapath, Event, PortId, Worker};

pub use crate::clock::set_clock;
pub use allocations::{CountingAllocator, allocations};
pub use front_end::FrontEnd;
pub use guest::{Guest, GuestOptions, Received, wait};
pub use reference::{Outcome, ReferenceSwitch};
pub use setup::{access, mac, meter, one_switch, one_team, port};

/// A data path whose poll thread is the test itself, so that every step is repeatable.
pub struct Rig {
    /// The data path.
    pub datapath: Datapath,
    /// Its only poll thread.
    pub worker: Worker,
    /// What it tells the control side.
    pub events: Receiver<Event>,
    ports: BTreeMap<PortId, MemoryPort>,
}

impl Rig {
    /// An empty data path.
    ///
    /// # Errors
    /// The kernel refuses a file descriptor.
    pub fn new() -> std::io::Result<Self> {
        let (sender, events) = bounded(1024);
        let (datapath, worker) = Datapath::by_hand(&sender)?;
        Ok(Self {
            datapath,
            worker,
            events,
            ports: BTreeMap::new(),
        })
    }

    /// Attaches a memory port whose receive queue holds `depth` frames.
    ///
    /// # Errors
    /// The kernel refuses a file descriptor.
    pub fn attach(&mut self, port: PortId, depth: usize) -> std::io::Result<()> {
        let handle = self.datapath.attach_memory(port, depth, true)?;
        self.ports.insert(port, handle);
        self.worker.pass();
        Ok(())
    }

    /// The other side of a memory port.
    ///
    /// # Panics
    /// There is no such port.
    pub fn port(&self, port: PortId) -> MemoryPort {
        self.ports[&port].clone()
    }

    /// Attaches a port that receives `frame` without end, to each of `destinations` in turn, and discards what is sent to
    /// it.
    pub fn attach_replay(&mut self, port: PortId, frame: &[u8], destinations: Vec<MacAddr>) {
        self.attach_replay_from(port, frame, destinations, Vec::new());
    }

    /// The same from each of `sources` in turn.
    pub fn attach_replay_from(
        &mut self,
        port: PortId,
        frame: &[u8],
        destinations: Vec<MacAddr>,
        sources: Vec<MacAddr>,
    ) {
        self.datapath
            .attach_replay(port, frame, destinations, sources);
        // The commands that wait for the poll thread are bounded in number.
        self.worker.pass();
    }

    /// Puts a configuration in force.
    pub fn apply(&self, config: &Config) {
        // The poll thread is the caller, so nobody has to be waited for.
        let _ = self.datapath.apply(config);
    }

    /// Sends frames from one port and forwards until nothing is left; then returns what every port received.
    pub fn exchange(&mut self, from: PortId, frames: &[Vec<u8>]) -> BTreeMap<PortId, Vec<Vec<u8>>> {
        if let Some(port) = self.ports.get(&from) {
            frames.iter().for_each(|frame| port.send(frame));
            while !port.is_idle() {
                self.worker.pass();
            }
        }
        self.ports
            .iter()
            .map(|(id, port)| (*id, port.drain()))
            .filter(|(_, got)| !got.is_empty())
            .collect()
    }

    /// Checks that the counters of every port balance.
    ///
    /// # Panics
    /// They do not; the text says where.
    pub fn audit(&self) {
        for id in self.ports.keys() {
            if let Some(imbalance) = self
                .datapath
                .counters(*id)
                .and_then(|counters| counters.imbalance())
            {
                panic!("{id}: {imbalance}");
            }
        }
    }
}

/// The exact table of a switch by itself, for benches.
pub struct AddressTable(MacTable);

impl AddressTable {
    /// A table of these entries: VLAN, address, port.
    pub fn new(entries: impl IntoIterator<Item = (u16, MacAddr, PortId)>) -> Self {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(vlan, mac, port)| (key(vlan, mac), port))
            .collect();
        Self(MacTable::build(&entries, 0))
    }

    /// The port that has `mac` on `vlan`.
    #[inline]
    pub fn find(&self, vlan: u16, mac: MacAddr) -> Option<PortId> {
        self.0.find(key(vlan, mac))
    }
}
