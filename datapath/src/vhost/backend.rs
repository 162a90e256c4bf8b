//! What a front-end asks for, message by message: it starts and stops queues.
//!
//! Everything may come at any time, in any order and with any value. What cannot be is refused with an error, which ends the
//! connection or is answered, as the protocol has it; a queue runs only when all that it needs is there and right.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};

use super::call::Call;
use super::memory::{MOST_REGIONS, Memory, RegionSpec};
use super::pace::Pace;
use super::queue::Queue;
use super::ring::{Layout, Ring};
use super::rx::RxControl;
use super::status::{Shared, VhostQueue, VhostState};
use super::{PAIRS, QUEUES, features};
use crate::engine::TxEngine;
use crate::port::Transmit;

/// What a front-end said of one queue.
#[derive(Default)]
struct Setup {
    layout: Option<Layout>,
    size: Option<u16>,
    /// The front-end said how the guest kicks; `Some(None)`: not at all.
    kick: Option<Option<OwnedFd>>,
    call: Option<Call>,
    is_enabled: bool,
    is_running: bool,
    /// Buffers that were in use when it started.
    found: u16,
    base: u16,
}

/// One connection's state.
pub(super) struct Backend<'a> {
    shared: Arc<Shared>,
    controls: Arc<Vec<RxControl>>,
    tx: Transmit,
    pace: &'a mut Pace,
    features: u64,
    memory: Option<Arc<Memory>>,
    queues: [Setup; QUEUES],
}

impl<'a> Backend<'a> {
    pub(super) fn new(
        shared: Arc<Shared>,
        controls: Arc<Vec<RxControl>>,
        tx: Transmit,
        pace: &'a mut Pace,
    ) -> Self {
        Self {
            shared,
            controls,
            tx,
            pace,
            features: 0,
            memory: None,
            queues: std::array::from_fn(|_| Setup::default()),
        }
    }

    /// Stops every queue, so that nothing of the guest's memory is in use, and tells nobody.
    pub(super) fn stop(&mut self) {
        for index in 0..QUEUES {
            self.halt(index);
        }
    }

    /// Whether a queue was ever started in vain or in earnest: a front-end that did neither gave up.
    pub(super) fn has_run(&self) -> bool {
        self.queues.iter().any(|queue| queue.layout.is_some())
    }

    /// Whether the front-end has accepted what enabling queues is a part of.
    pub(super) fn has_negotiated(&self) -> bool {
        self.features & features::PROTOCOL != 0
    }

    fn setup(&mut self, index: usize) -> Result<&mut Setup> {
        self.queues.get_mut(index).ok_or(Error::InvalidParam)
    }

    /// Starts a queue that has all it needs, again if it runs already, and stops one that has not.
    fn settle(&mut self, index: usize) -> Result<()> {
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
    fn stop_queue(&mut self, index: usize) {
        self.halt(index);
        self.report(None);
    }

    /// The same, and nobody is told.
    fn halt(&mut self, index: usize) {
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
            let before = match &mut *self.tx.lock() {
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
    fn change_memory(&mut self, memory: Memory) -> Result<()> {
        // The old one is unmapped when the last queue has left it: all do, whatever becomes of one of them.
        self.memory = Some(Arc::new(memory));
        let settled: Vec<_> = (0..QUEUES).map(|index| self.try_settle(index)).collect();
        // The first failure is the answer.
        self.answer(settled.into_iter().collect())
    }

    fn refuse(&self, reason: &dyn std::fmt::Display) -> Error {
        self.report(Some(reason.to_string()));
        Error::InvalidParam
    }

    /// Tells those who ask how it is.
    fn report(&self, failure: Option<String>) {
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

/// The front-end may hand over any file; only an eventfd is sure to be watched, and counted on, without waiting.
fn event(file: File) -> Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let name = std::fs::read_link(link).map_err(|_| Error::InvalidParam)?;
    if name.as_os_str() != "anon_inode:[eventfd]" {
        return Err(Error::InvalidParam);
    }
    Ok(file.into())
}

const UNSUPPORTED: Error = Error::InvalidOperation("not offered");

impl VhostUserBackendReqHandlerMut for Backend<'_> {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.stop();
        self.report(None);
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        Err(UNSUPPORTED)
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(features::OFFERED)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        let unknown = features & !features::OFFERED;
        if unknown != 0 {
            return Err(self.refuse(&format_args!(
                "the front-end accepted features that were not offered ({unknown:#x})"
            )));
        }
        let running = self.queues.iter().any(|queue| queue.is_running);
        if running && features != self.features {
            return Err(self.refuse(&"the front-end changed features while queues ran"));
        }
        self.features = features;
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let specs = regions.iter().map(|region| RegionSpec {
            guest: region.guest_phys_addr,
            len: region.memory_size,
            user: region.user_addr,
            offset: region.mmap_offset,
        });
        self.pace.wait();
        let memory =
            Memory::new(specs.zip(files).collect()).map_err(|error| self.refuse(&error))?;
        self.change_memory(memory).map(|()| None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let size = u16::try_from(num).map_err(|_| Error::InvalidParam)?;
        let setup = self.setup(index as usize)?;
        if setup.is_running || !size.is_power_of_two() || size > 32768 {
            return Err(Error::InvalidParam);
        }
        setup.size = Some(size);
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        // Dirty pages are not logged: it was not offered.
        if !flags.is_empty() {
            return Err(Error::InvalidParam);
        }
        let index = index as usize;
        let setup = self.setup(index)?;
        setup.layout = Some(Layout {
            size: 0,
            descriptors: descriptor,
            available,
            used,
        });
        if setup.is_running {
            self.settle(index)?;
        }
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        // The ring itself says where to start: it is right also after a back-end that was killed.
        self.setup(index as usize)?.base = base as u16;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let position = index as usize;
        self.setup(position)?;
        self.stop_queue(position);
        // Stopped until the next kick descriptor (vhost-user, "Ring states").
        self.queues[position].kick = None;
        Ok(VhostUserVringState::new(
            index,
            self.queues[position].base.into(),
        ))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let index = usize::from(index);
        let kick = fd.map(event).transpose()?;
        self.setup(index)?.kick = Some(kick);
        self.settle(index)
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let index = usize::from(index);
        let call = fd.map(event).transpose()?.map(Call::new);
        let setup = self.setup(index)?;
        setup.call = call;
        if setup.is_running {
            self.settle(index)?;
        }
        Ok(())
    }

    fn set_vring_err(&mut self, _index: u8, _fd: Option<File>) -> Result<()> {
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS)
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        let offered = self.get_protocol_features()?.bits();
        if features & !offered != 0 {
            return Err(
                self.refuse(&"the front-end accepted protocol features that were not offered")
            );
        }
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(PAIRS as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let index = index as usize;
        self.setup(index)?.is_enabled = enable;
        self.settle(index)
    }

    fn get_config(&mut self, _: u32, _: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        Err(UNSUPPORTED)
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        Err(UNSUPPORTED)
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(UNSUPPORTED)
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(UNSUPPORTED)
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(UNSUPPORTED)
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(UNSUPPORTED)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MOST_REGIONS as u64)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        let before = self.memory.as_deref().cloned().unwrap_or_default();
        // QEMU before 8.0 names a region once for each queue pair: all queues would start anew for each.
        if before.has(&spec(region), &file) {
            return Ok(None);
        }
        self.pace.wait();
        let memory = before
            .without(&spec(region))
            .unwrap_or(before)
            .with(spec(region), &file)
            .map_err(|error| self.refuse(&error))?;
        self.change_memory(memory).map(|()| None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        let before = self.memory.as_deref().cloned().unwrap_or_default();
        // One that is not there was taken away for another queue pair.
        let Ok(memory) = before.without(&spec(region)) else {
            return Ok(());
        };
        self.pace.wait();
        self.change_memory(memory)
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(UNSUPPORTED)
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(UNSUPPORTED)
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(UNSUPPORTED)
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Err(UNSUPPORTED)
    }
}

fn spec(region: &VhostUserSingleMemoryRegion) -> RegionSpec {
    RegionSpec {
        guest: region.guest_phys_addr,
        len: region.memory_size,
        user: region.user_addr,
        offset: region.mmap_offset,
    }
}
