//! A mapped range of memory, unmapped when dropped.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// A range of memory that this process shares with the kernel. It hands out pointers and never looks inside:
/// who may read or write which byte is the business of the rings and frames that are laid into it.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread, and nothing here reads or writes through `start`;
// those who do (`ring`, `umem`) state how they keep threads apart.
unsafe impl Send for Mapping {}
// SAFETY: as above; the methods that take `&self` only compute addresses.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of zeroed memory; `flags` may ask for huge pages, of which `len` is then a multiple.
    ///
    /// # Errors
    /// Those of mmap(2); `ENOMEM` where huge pages were asked for and too few are free.
    pub(super) fn anonymous(len: usize, flags: MapFlags) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address (no MAP_FIXED), so no existing memory is replaced.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), len, access, flags | MapFlags::PRIVATE)? };
        Ok(Self::owned(start, len))
    }

    /// Maps `len` bytes of what `file` offers at `offset`, shared.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(super) fn of(file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel chooses the address (no MAP_FIXED), so no existing memory is replaced.
        let start = unsafe { mmap(ptr::null_mut(), len, access, flags, file, offset)? };
        Ok(Self::owned(start, len))
    }

    /// Tells the kernel how the memory will be used, which changes how it is backed and not what it holds.
    ///
    /// # Errors
    /// Those of madvise(2). `EINVAL` for advice that the kernel does not know.
    pub(super) fn advise(&self, advice: Advice) -> io::Result<()> {
        debug_assert!(matches!(
            advice,
            Advice::LinuxPopulateWrite | Advice::LinuxHugepage
        ));
        // SAFETY: the range is this mapping, and these kinds of advice leave its contents alone.
        unsafe { madvise(self.start.as_ptr().cast(), self.len, advice)? };
        Ok(())
    }

    /// Where `size` bytes at `offset` are.
    ///
    /// # Panics
    /// If they are not all inside the mapping: a mistake in the layout, found while a port is opened.
    #[inline]
    pub(super) fn at(&self, offset: usize, size: usize) -> NonNull<u8> {
        let end = offset.checked_add(size);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "outside the mapping"
        );
        // SAFETY: `offset` is at most `len`, so the result stays inside (or one past) the mapped range.
        unsafe { self.start.add(offset) }
    }

    fn owned(start: *mut c_void, len: usize) -> Self {
        let start =
            NonNull::new(start.cast()).expect("mmap never returns the null page unless asked");
        Self { start, len }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range came from mmap with this length, is unmapped once, and whoever points into it
        // holds an `Arc` of this mapping, so nobody is left. A failure would leave it mapped: harmless.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
