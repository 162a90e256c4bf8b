//! Queues as the front-end described them: they start and stop as it wishes, and it is told of what cannot be.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use vhost::vhost_user::{Error, Result};

use super::Backend;
use crate::engine::TxEngine;
use crate::vhost::call::Call;
use crate::vhost::memory::Memory;
use crate::vhost::queue::Queue;
use crate::vhost::ring::{Layout, Ring};
use crate::vhost::status::{VhostQueue, VhostState};
use crate::vhost::{QUEUES, features};

impl Backend<'_> {
    /// Starts a queue that has all it needs, again if it runs already, and stops one that has not.
    pub(super) fn settle(&mut self, index: usize) -> Result<()> {
        self.setup(index)?;
        let settled = self.try_settle(index);
        self.answer(settled)
    }

    /// The same, and nobody is told.
    fn try_settle(&mut self, index: usize) -> std::result::Result<(), String> {
        let setup = &self.queues[index];
        // Without the protocol features rings are enabled from the start (vhost-user, "Ring states").
        let is_enabled = setup.is_enabled || self.features & features::PROTOCOL == 0;
        let is_ready = setup.layout.is_some() && setup.size.is_some() && setup.kick.is_some();
        if !(is_ready && is_enabled && self.memory.is_some()) {
            self.halt(index);
            return Ok(());
        }
        match self.queue(index) {
            Ok(queue) => {
                let found = queue.ring.gauge().in_use();
                let before = self.replace(index, Some(queue));
                let setup = &mut self.queues[index];
                setup.is_running = true;
                // One that failed was there no more.
                if before.is_none() {
                    setup.found = found;
                }
                Ok(())
            }
            Err(reason) => {
                self.halt(index);
                Err(reason)
            }
        }
    }

    /// Reports how the queues are now, and answers the front-end.
    fn answer(&self, settled: std::result::Result<(), String>) -> Result<()> {
        match settled {
            Ok(()) => {
                self.report(None);
                Ok(())
            }
            Err(reason) => Err(self.refuse(&reason)),
        }
    }

    /// A queue by what the front-end said.
    fn queue(&self, index: usize) -> std::result::Result<Queue, String> {
        let setup = &self.queues[index];
        let (Some(memory), Some(layout), Some(size), Some(kick)) =
            (&self.memory, &setup.layout, setup.size, &setup.kick)
        else {
            return Err("a queue was started before it was described".to_owned());
        };
        if self.features & (features::VERSION_1 | features::MRG_RXBUF) == 0 {
            return Err(
                "the guest's driver speaks neither virtio 1.0 nor mergeable buffers; use a newer one"
                    .to_owned(),
            );
        }
        let layout = Layout {
            size,
            ..layout.clone()
        };
        let event_index = self.features & features::EVENT_IDX != 0;
        let ring = Ring::new(Arc::clone(memory), &layout, event_index)
            .map_err(|error| format!("queue {index}: {error}"))?;
        let kick = kick.as_ref().map(OwnedFd::try_clone).transpose();
        let call = setup.call.as_ref().map(Call::try_clone).transpose();
        Ok(Queue {
            ring,
            kick: kick.map_err(|error| error.to_string())?,
            call: call.map_err(|error| error.to_string())?,
            merges: self.features & features::MRG_RXBUF != 0,
            reads_header: self.features & features::FROM_GUEST != 0,
            offloads: features::taken(self.features),
        })
    }

    /// Stops a queue if it runs.
    pub(super) fn stop_queue(&mut self, index: usize) {
        self.halt(index);
        self.report(None);
    }

    /// The same, and nobody is told.
    pub(super) fn halt(&mut self, index: usize) {
        if std::mem::take(&mut self.queues[index].is_running)
            && let Some(base) = self.replace(index, None)
        {
            self.queues[index].base = base;
        }
    }

    /// Puts a queue in the place of the one before; nobody uses that one any more when this returns. Returns its next available
    /// index, if there was one.
    fn replace(&mut self, index: usize, queue: Option<Queue>) -> Option<u16> {
        self.pace.wait();
        let gauge = queue.as_ref().map(|queue| queue.ring.gauge());
        self.shared.watch(index, gauge);
        let pair = index / 2;
        if index.is_multiple_of(2) {
            let before = match &mut self.tx.lock().engine {
                TxEngine::VhostUser(tx) => tx.replace(pair, queue),
                _ => None,
            };
            // Closed here, where nobody waits for the lock.
            before.map(|queue| queue.ring.base())
        } else {
            self.controls.get(pair)?.replace(queue)
        }
    }

    /// The memory is another from now on.
    pub(super) fn change_memory(&mut self, memory: Memory) -> Result<()> {
        // The old one is unmapped when the last queue has left it: all do, whatever becomes of one of them.
        self.memory = Some(Arc::new(memory));
        let settled: Vec<_> = (0..QUEUES).map(|index| self.try_settle(index)).collect();
        // The first failure is the answer.
        self.answer(settled.into_iter().collect())
    }

    pub(super) fn refuse(&self, reason: &dyn std::fmt::Display) -> Error {
        self.report(Some(reason.to_string()));
        Error::InvalidParam
    }

    /// Tells those who ask how it is.
    pub(super) fn report(&self, failure: Option<String>) {
        let running = self.queues.iter().enumerate();
        let queues: Vec<VhostQueue> = running
            .filter(|(_, setup)| setup.is_running)
            .map(|(index, setup)| VhostQueue {
                index,
                size: setup.size.unwrap_or(0),
                available: 0,
                found: setup.found,
            })
            .collect();
        let names = features::names(self.features);
        self.shared.update(|status| {
            (status.state, status.reason) = match failure {
                Some(reason) => (VhostState::Failed, reason),
                None if queues.is_empty() => (
                    VhostState::Negotiating,
                    "the guest's driver does not use the adapter yet".to_owned(),
                ),
                None => (VhostState::Running, String::new()),
            };
            status.features = names;
            status.queues = queues;
        });
    }
}
