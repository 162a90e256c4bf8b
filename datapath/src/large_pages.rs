//! Large pages for memory that is read all over: the processor has to know the places of fewer.

use rustix::mm::{Advice, madvise};

/// Octets of the smallest pages.
const PAGE: usize = 4096;

/// Asks the kernel for large pages for `len` octets from `start` on, before they are first written; where it has none, they are small.
/// Nothing else changes, whatever the memory is.
pub(crate) fn ask(start: *const u8, len: usize) {
    let before = start.addr().next_multiple_of(PAGE) - start.addr();
    let Some(whole) = len.checked_sub(before).map(|len| len & !(PAGE - 1)) else {
        return;
    };
    // SAFETY: this advice leaves contents and access as they are; of pages that are not mapped the kernel says so (madvise(2)).
    let _ = unsafe {
        madvise(
            start.wrapping_add(before).cast_mut().cast(),
            whole,
            Advice::LinuxHugepage,
        )
    };
}
