//! What a front-end asks for, message by message: it starts and stops queues.
//!
//! Everything may come at any time, in any order and with any value. What cannot be is refused with an error, which ends the
//! connection or is answered, as the protocol has it; a queue runs only when all that it needs is there and right.

mod queues;

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
use super::ring::Layout;
use super::rx::RxControl;
use super::status::Shared;
use super::{PAIRS, QUEUES, features};
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
