//! The engine of change over made-up interfaces and real poll threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weft_api::{ChangeOptions, ChangeResult, PortState, Problem};
use weft_model::{Change, Manifest};

use super::Host;
use crate::plane::testing::Memory;
use crate::store::Store;

mod addresses;
mod changes;
mod findings;
mod guests;
mod interfaces;
mod learning;
mod netflow;
mod teaming;
mod thousands;
mod told;
mod trace;
mod vmks;
mod whole;

/// A host in a directory of its own, which can be restarted.
struct Bench {
    directory: tempfile::TempDir,
    memory: Memory,
    host: Option<Arc<Host>>,
}

impl Bench {
    fn new(interfaces: &[&str]) -> Self {
        let memory = Memory::default();
        for name in interfaces {
            memory.add(name);
        }
        let mut bench = Self {
            directory: tempfile::tempdir().unwrap(),
            memory,
            host: None,
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        let (sender, seen) = crossbeam_channel::bounded(64);
        let (store, loaded) = Store::open(&self.state_dir()).unwrap();
        let plane = self.memory.plane(&sender);
        drop(sender);
        let (changed, keep) = std::sync::mpsc::sync_channel(1);
        let host = Host::restore("esxi01".parse().unwrap(), store, loaded, plane, changed).unwrap();
        let host = Arc::new(host);
        crate::follow_events(&host, seen).unwrap();
        crate::follow_addresses(&host, keep, &self.state_dir()).unwrap();
        self.host = Some(host);
    }

    /// Ends the agent as `kill -9` would: nothing is written any more.
    fn kill(&mut self) {
        let host = self.host.take().unwrap();
        crate::close(host);
    }

    fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    fn change(&self, change: &Change) -> Result<ChangeResult, Problem> {
        self.change_with(change, ChangeOptions::default())
    }

    fn change_with(
        &self,
        change: &Change,
        options: ChangeOptions,
    ) -> Result<ChangeResult, Problem> {
        self.host().change(change, options, "root", |_| {})
    }

    /// Adds the objects of a manifest one by one.
    fn add(&self, manifest: &str) {
        for change in Manifest::parse(manifest).unwrap().changes() {
            self.change(&change).unwrap();
        }
    }

    fn port(&self, name: &str) -> weft_api::Port {
        self.host().port(&name.parse().unwrap()).unwrap()
    }

    fn is_up(&self, name: &str) -> bool {
        self.port(name).status.state == PortState::Up
    }
}

const LAB: &str = "
vswitches: [{name: vSwitch1, portgroups: [{name: Lab}]}]
ports:
  - {name: MyVM1, portgroup: Lab, mac: '02:00:00:00:00:01', veth: p-MyVM1}
  - {name: MyVM2, portgroup: Lab, veth: p-MyVM2}
";

fn add_port(text: &str) -> Change {
    Change::AddPort(weft_model::from_text(text).unwrap())
}

fn frame(to: u8, from: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5];
    frame.resize(60, 0);
    frame
}

/// Waits for what happens on other threads.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}
