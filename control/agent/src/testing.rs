//! A host over memory ports, for benches of thousands of ports.

use std::path::Path;
use std::sync::mpsc;

use weft_api::{
    Activity, ApplyOptions, ApplyResult, ChangeOptions, ChangeResult, Problem, Status, TraceReport,
    TraceRequest,
};
use weft_model::{Change, Manifest};

use crate::AgentError;
use crate::host::Host;
use crate::plane::testing::Memory;
use crate::store::Store;

/// A host whose interfaces are made up; its poll threads, its store and everything in between are the real ones.
pub struct MemoryHost(Host);

impl MemoryHost {
    /// A host that keeps its state in `directory`.
    ///
    /// # Errors
    /// The state cannot be opened.
    pub fn new<'a>(
        directory: &Path,
        interfaces: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, AgentError> {
        let memory = Memory::default();
        for name in interfaces {
            memory.add(name);
        }
        let (events, _) = crossbeam_channel::bounded(64);
        let (changed, _) = mpsc::sync_channel(1);
        let name = "bench".parse().expect("a host name");
        let (store, loaded) = Store::open(directory)?;
        let plane = memory.plane(&events);
        Host::restore(name, store, loaded, plane, changed).map(Self)
    }

    /// Makes its configuration that of a manifest; returns when it is in force.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn apply(&self, manifest: &Manifest) -> Result<ApplyResult, Problem> {
        self.0
            .apply(manifest, ApplyOptions::default(), "root", |_| {})
    }

    /// Makes a change; returns when it is in force.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn change(&self, change: &Change) -> Result<ChangeResult, Problem> {
        self.0
            .change(change, ChangeOptions::default(), "root", |_| {})
    }

    /// Its health.
    pub fn status(&self) -> Status {
        self.0.status()
    }

    /// What moves on it.
    pub fn activity(&self) -> Activity {
        self.0.activity()
    }

    /// What would happen to a frame.
    ///
    /// # Errors
    /// There is no such port.
    pub fn trace(&self, request: &TraceRequest) -> Result<TraceReport, Problem> {
        self.0.trace(request)
    }
}
