//! A guest's memory, mapped: regions of files that its front-end shares, and what guest addresses mean in them.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Result as IoResult;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use super::sigbus::{Registered, TooMany, is_any_lost};

/// Most regions of one guest: what QEMU can use of memory slots.
pub(crate) const MOST_REGIONS: usize = 509;

/// Most octets of one guest's memory: far more than VMs have, and little enough that many guests find room.
const MOST_MEMORY: u64 = 4 << 40;

/// A region as a front-end describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegionSpec {
    /// Its first address in the guest.
    pub(crate) guest: u64,
    pub(crate) len: u64,
    /// Its first address in the front-end.
    pub(crate) user: u64,
    /// Where in the file it starts.
    pub(crate) offset: u64,
}

/// Why a guest's memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error("the front-end shares {0} regions of memory; at most {MOST_REGIONS} are possible")]
    TooManyRegions(usize),
    #[error("a region of {len} octets at guest address {guest:#x} is empty or wraps around")]
    Range { guest: u64, len: u64 },
    #[error("two regions have guest address {0:#x}")]
    Overlap(u64),
    #[error("no region is at guest address {0:#x}")]
    NoRegion(u64),
    #[error("a region ends at octet {end} of its file, which has {file}")]
    BeyondFile { end: u64, file: u64 },
    #[error("the guest's regions are more than {} TiB in all", MOST_MEMORY >> 40)]
    TooLarge,
    #[error(
        "the file of a region is no memory: use memfd, tmpfs or hugetlbfs, whose pages make nobody wait"
    )]
    NoMemory,
    #[error(transparent)]
    Registry(#[from] TooMany),
    #[error("mapping a region: {0}")]
    Map(#[from] std::io::Error),
}

/// File systems whose files are memory, by their magic numbers: tmpfs, to which a memfd belongs too, and hugetlbfs
/// (linux/magic.h).
const MEMORY_SYSTEMS: [rustix::fs::FsWord; 2] = [0x0102_1994, 0x9584_58f6];

/// Which file it is: its device and its inode, which nobody gets anew as long as the file is mapped.
type FileId = (u64, u64);

fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// A part of a file, mapped for reading and writing until it is dropped.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// Where in the file it starts.
    offset: u64,
    file: FileId,
    /// Answers faults within, where the file was truncated. Ends before the mapping does.
    registered: Option<Registered>,
}

// SAFETY: a mapping may be used and unmapped from any thread; what is in it is only reached through `Region`.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: &File, spec: &RegionSpec) -> Result<Self, MemoryError> {
        let range = MemoryError::Range {
            guest: spec.guest,
            len: spec.len,
        };
        let Some(end) = spec.offset.checked_add(spec.len) else {
            return Err(range);
        };
        let metadata = file.metadata()?;
        let file_len = metadata.len();
        if end > file_len {
            return Err(MemoryError::BeyondFile {
                end,
                file: file_len,
            });
        }
        // A page of any other file may take its time, or never come, and a poll thread would wait for it.
        let system = rustix::fs::fstatfs(file).map_err(std::io::Error::from)?;
        if !MEMORY_SYSTEMS.contains(&system.f_type) {
            return Err(MemoryError::NoMemory);
        }
        let page = (system.f_bsize as u64).max(4096);
        let offset = spec.offset - spec.offset % page;
        let Some(len) = end
            .checked_next_multiple_of(page)
            .and_then(|end| usize::try_from(end - offset).ok())
        else {
            return Err(range);
        };
        // SAFETY: a new mapping at an address that the kernel chooses; nobody else knows it.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                file,
                offset,
            )
        }
        .map_err(std::io::Error::from)?;
        let Some(start) = NonNull::new(start.cast()) else {
            return Err(std::io::Error::other("mapped at address 0").into());
        };
        let mut mapping = Self {
            start,
            len,
            offset,
            file: file_id(&metadata),
            registered: None,
        };
        mapping.registered = Some(Registered::new(start, len)?);
        // A guest's memory does not belong into a core dump of the switch.
        // SAFETY: the range is the mapping's own, and the advice changes none of its octets.
        let _ = unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxDontDump) };
        Ok(mapping)
    }

    fn is_lost(&self) -> bool {
        self.registered.as_ref().is_some_and(Registered::is_lost)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.registered = None;
        // SAFETY: the range is what `mmap` gave, and the last user of it is gone with the last `Arc`.
        let _: IoResult<()> =
            unsafe { munmap(self.start.as_ptr().cast(), self.len) }.map_err(std::io::Error::from);
    }
}

/// One region.
#[derive(Clone)]
struct Region {
    spec: RegionSpec,
    mapping: Arc<Mapping>,
}

impl Region {
    fn host(&self) -> NonNull<u8> {
        // SAFETY: the mapping covers the file from the page of the region's start to its end.
        unsafe {
            let into = self.spec.offset - self.mapping.offset;
            self.mapping.start.add(into as usize)
        }
    }
}

/// The part of a region by which guest addresses are translated; of no use without the memory that it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    guest: u64,
    len: u64,
    host: NonNull<u8>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            guest: 0,
            len: 0,
            host: NonNull::dangling(),
        }
    }
}

impl View {
    /// Where `len` octets at guest address `address` are, all of them in this region.
    #[inline]
    pub(crate) fn find(&self, address: u64, len: u64) -> Option<NonNull<u8>> {
        let offset = address.wrapping_sub(self.guest);
        // In this order nothing overflows: the offset is within the region first.
        if offset < self.len && len <= self.len - offset {
            // SAFETY: the offset is within the region, which is mapped.
            Some(unsafe { self.host.add(offset as usize) })
        } else {
            None
        }
    }
}

/// A guest's memory. It does not change: another table of regions is another memory, which shares what both have.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    /// By guest address.
    regions: Vec<Region>,
}

impl Memory {
    /// Maps regions of files.
    pub(crate) fn new(regions: Vec<(RegionSpec, File)>) -> Result<Self, MemoryError> {
        let mut memory = Self::default();
        for (spec, file) in regions {
            memory = memory.with(spec, &file)?;
        }
        Ok(memory)
    }

    /// Whether a region of this file is there as it is described, and nothing of it is lost.
    pub(crate) fn has(&self, spec: &RegionSpec, file: &File) -> bool {
        let Ok(metadata) = file.metadata() else {
            return false;
        };
        let is_it = |region: &Region| {
            let mapping = &region.mapping;
            region.spec == *spec && mapping.file == file_id(&metadata) && !mapping.is_lost()
        };
        self.regions.iter().any(is_it)
    }

    /// The same with one more region.
    pub(crate) fn with(&self, spec: RegionSpec, file: &File) -> Result<Self, MemoryError> {
        if self.regions.len() >= MOST_REGIONS {
            return Err(MemoryError::TooManyRegions(self.regions.len() + 1));
        }
        let end = |start: u64| start.checked_add(spec.len);
        let (Some(guest_end), Some(_), true) = (end(spec.guest), end(spec.user), spec.len > 0)
        else {
            return Err(MemoryError::Range {
                guest: spec.guest,
                len: spec.len,
            });
        };
        let overlap = |region: &&Region| {
            let other = &region.spec;
            other.guest < guest_end && spec.guest < other.guest + other.len
        };
        if let Some(other) = self.regions.iter().find(overlap) {
            return Err(MemoryError::Overlap(spec.guest.max(other.spec.guest)));
        }
        let others = self.regions.iter().map(|region| region.spec.len);
        if others.fold(spec.len, u64::saturating_add) > MOST_MEMORY {
            return Err(MemoryError::TooLarge);
        }
        let mapping = Arc::new(Mapping::new(file, &spec)?);
        let mut memory = self.clone();
        let at = memory
            .regions
            .partition_point(|region| region.spec.guest < spec.guest);
        memory.regions.insert(at, Region { spec, mapping });
        Ok(memory)
    }

    /// The same without a region, which is named by all but its file.
    pub(crate) fn without(&self, spec: &RegionSpec) -> Result<Self, MemoryError> {
        let mut memory = self.clone();
        let is_it = |region: &Region| {
            let own = &region.spec;
            (own.guest, own.user, own.len) == (spec.guest, spec.user, spec.len)
        };
        let Some(at) = memory.regions.iter().position(is_it) else {
            return Err(MemoryError::NoRegion(spec.guest));
        };
        memory.regions.remove(at);
        Ok(memory)
    }

    /// The region that has a guest address.
    pub(crate) fn view(&self, address: u64) -> Option<View> {
        let after = self
            .regions
            .partition_point(|region| region.spec.guest <= address);
        let region = &self.regions[after.checked_sub(1)?];
        (address - region.spec.guest < region.spec.len).then(|| View {
            guest: region.spec.guest,
            len: region.spec.len,
            host: region.host(),
        })
    }

    /// Where `len` octets at an address of the front-end are, all of them in one region.
    pub(crate) fn user(&self, address: u64, len: u64) -> Option<NonNull<u8>> {
        self.regions.iter().find_map(|region| {
            let view = View {
                guest: region.spec.user,
                len: region.spec.len,
                host: region.host(),
            };
            view.find(address, len)
        })
    }

    /// Whether a part was truncated, and reads as zeros since.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        is_any_lost() && self.regions.iter().any(|region| region.mapping.is_lost())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.regions.iter().map(|region| region.spec))
            .finish()
    }
}
