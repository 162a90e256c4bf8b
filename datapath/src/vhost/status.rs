//! How a guest is connected, for those who ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::queue::Faults;
use super::ring::Gauge;

/// Who listens on a vhost-user socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketRole {
    /// The hypervisor does, and the switch connects: a restart of the switch leaves the guest running.
    #[default]
    Client,
    /// The switch does.
    Server,
}

/// Where the connection to a guest is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VhostState {
    /// There is no front-end.
    #[default]
    Waiting,
    /// A front-end is there, and its guest uses no queue yet.
    Negotiating,
    /// Frames move.
    Running,
    /// The front-end or its guest did what cannot be.
    Failed,
}

impl VhostState {
    /// One word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Negotiating => "negotiating",
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }
}

/// A queue that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VhostQueue {
    /// Its number: even ones carry frames to the guest, odd ones from it.
    pub index: usize,
    /// Entries of its ring.
    pub size: u16,
    /// Of these, buffers that the driver made available and has not got back: room for frames to the guest, frames that wait
    /// from it.
    pub available: u16,
    /// As many there were when the queue started. Those from the guest were sent before that: where the switch that ran until
    /// then was killed, up to a burst of them may be forwarded for the second time.
    pub found: u16,
}

/// How a guest is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostStatus {
    /// Where the connection is.
    pub state: VhostState,
    /// Why it is there, and what to do; empty while frames move.
    pub reason: String,
    /// Virtio features that the guest's driver accepted.
    pub features: Vec<&'static str>,
    /// Queues that run.
    pub queues: Vec<VhostQueue>,
    /// Connections so far.
    pub connections: u64,
}

/// What a port's service thread tells.
pub(crate) struct Shared {
    status: Mutex<VhostStatus>,
    /// Frames move, for those who may not wait for the status.
    is_running: AtomicBool,
    /// The rings of queues that run, by queue.
    gauges: Mutex<BTreeMap<usize, Gauge>>,
    faults: Arc<Faults>,
}

impl Shared {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self {
            status: Mutex::default(),
            is_running: AtomicBool::new(false),
            gauges: Mutex::default(),
            faults,
        }
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut VhostStatus)) {
        let mut status = self.status.lock();
        change(&mut status);
        let is_running = status.state == VhostState::Running;
        self.is_running.store(is_running, Ordering::Relaxed);
    }

    /// Whether the guest's driver uses the adapter.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    /// The ring of a queue is another, or none, from now on.
    pub(super) fn watch(&self, index: usize, gauge: Option<Gauge>) {
        let mut gauges = self.gauges.lock();
        match gauge {
            Some(gauge) => gauges.insert(index, gauge),
            None => gauges.remove(&index),
        };
    }

    /// How the guest is connected now.
    pub(crate) fn status(&self) -> VhostStatus {
        let mut status = self.status.lock().clone();
        let gauges = self.gauges.lock();
        for queue in &mut status.queues {
            queue.available = gauges.get(&queue.index).map_or(0, Gauge::in_use);
        }
        drop(gauges);
        // What a poll thread found comes before what the front-end last asked for.
        if let Some(reason) = self.faults.reason() {
            status.state = VhostState::Failed;
            reason.clone_into(&mut status.reason);
        }
        status
    }
}
