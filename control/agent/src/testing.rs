//! Hosts of thousands of memory ports, for tests and benches.

use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use weft_api::{
    Activity, ApplyOptions, ApplyResult, ChangeOptions, ChangeResult, Problem, Status, TraceReport,
    TraceRequest,
};
use weft_model::{Change, InterfaceName, Manifest};

use crate::AgentError;
use crate::host::Host;
use crate::host::uplinks::Follower;
use crate::links::{Link, LinkEvent};
use crate::plane::testing::Memory;
use crate::store::Store;

/// Port groups of [`manifest`], called `PG1` and so on.
pub const PORTGROUPS: usize = 100;

/// A manifest of so many ports, `vm0` on `p0` and so on, which are in the port groups in turn. Each port group has its own VLAN, the
/// last one this.
///
/// # Panics
/// If there are more than 65,536 ports.
pub fn manifest(ports: usize, last_vlan: usize) -> Manifest {
    assert!(ports <= 1 << 16, "each has an address of its own");
    let groups = (1..=PORTGROUPS).map(|number| {
        let vlan = if number < PORTGROUPS {
            number
        } else {
            last_vlan
        };
        format!("      - {{name: PG{number}, vlan: {vlan}}}\n")
    });
    let groups: String = groups.collect();
    let ports = (0..ports).map(|number| {
        let group = number % PORTGROUPS + 1;
        let (high, low) = (number >> 8, number & 0xff);
        let mac = format!("02:00:00:00:{high:02x}:{low:02x}");
        format!("  - {{name: vm{number}, portgroup: PG{group}, mac: '{mac}', veth: p{number}}}\n")
    });
    let ports: String = ports.collect();
    let text = format!("vswitches:\n  - name: vSwitch1\n    portgroups:\n{groups}ports:\n{ports}");
    Manifest::parse(&text).expect("it is a manifest")
}

/// Uplinks that a [`MemoryHost`] can have beside the interfaces of its ports.
pub const UPLINKS: [&str; 2] = ["u0", "u1"];

/// A host whose interfaces are made up; its poll threads, its store and everything in between are the real ones.
pub struct MemoryHost {
    host: Host,
    memory: Memory,
    follower: Mutex<Follower>,
}

impl MemoryHost {
    /// A host that keeps its state in `directory`, with the interfaces that a [`manifest`] of so many ports needs.
    ///
    /// # Errors
    /// The state cannot be opened.
    pub fn new(directory: &Path, ports: usize) -> Result<Self, AgentError> {
        let memory = Memory::default();
        for number in 0..ports {
            memory.add(&format!("p{number}"));
        }
        for uplink in UPLINKS {
            memory.add(uplink);
        }
        let (events, _) = crossbeam_channel::bounded(64);
        let (changed, _) = mpsc::sync_channel(1);
        let name = "bench".parse().expect("a host name");
        let (store, loaded) = Store::open(directory)?;
        let plane = memory.plane(&events);
        Ok(Self {
            host: Host::restore(name, store, loaded, plane, changed)?,
            memory,
            follower: Mutex::new(Follower::new(Instant::now())),
        })
    }

    /// Has the link of an interface go down or come up, as the kernel tells of it; returns when ports go by other uplinks
    /// accordingly.
    ///
    /// # Panics
    /// There is no such interface.
    pub fn set_link(&self, interface: &str, up: bool) {
        let interface: InterfaceName = interface.parse().expect("a name");
        let link = self.memory.link(&interface).expect("an interface");
        let link = Link {
            carrier: up,
            ..link
        };
        self.host.link_event(&LinkEvent::Present(interface, link));
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.follow_now(&mut follower, Instant::now());
    }

    /// How many ports leave by each uplink.
    pub fn uplinks(&self) -> Vec<usize> {
        let uplinks = self.host.uplinks();
        let used = uplinks.iter().map(|uplink| {
            let teams = uplink.teams.iter();
            teams.map(|team| team.ports.len()).sum()
        });
        used.collect()
    }

    /// Makes its configuration that of a manifest; returns when it is in force.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn apply(&self, manifest: &Manifest) -> Result<ApplyResult, Problem> {
        self.host
            .apply(manifest, ApplyOptions::default(), "root", |_| {})
    }

    /// Makes a change; returns when it is in force.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn change(&self, change: &Change) -> Result<ChangeResult, Problem> {
        self.host
            .change(change, ChangeOptions::default(), "root", |_| {})
    }

    /// Its health.
    pub fn status(&self) -> Status {
        self.host.status()
    }

    /// What moves on it.
    pub fn activity(&self) -> Activity {
        self.host.activity()
    }

    /// What would happen to a frame.
    ///
    /// # Errors
    /// There is no such port.
    pub fn trace(&self, request: &TraceRequest) -> Result<TraceReport, Problem> {
        self.host.trace(request)
    }
}
