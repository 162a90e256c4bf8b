//! The rings that an AF_XDP socket shares with the kernel: one producer, one consumer, indices in shared memory.
//!
//! The program produces into the fill and transmit rings and consumes the receive and completion rings. An entry is
//! written before the producer's index is stored (release) and read after it was loaded (acquire); the consumer's
//! index hands slots back in the same way.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};

use super::cursor::Cursor;
use super::mapping::Mapping;

/// What may lie in a ring.
///
/// # Safety
/// Every bit pattern is a valid value, since the other side may write any.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: every bit pattern is an integer. Entries of the fill and completion rings.
unsafe impl Entry for u64 {}

/// Where the parts of a ring are in its mapping, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) flags: Option<usize>,
    pub(super) entries: usize,
}

impl Layout {
    /// The layout that the kernel reports for a ring of a socket.
    pub(super) fn new(offsets: &XdpRingOffset) -> Self {
        Self {
            producer: offsets.producer as usize,
            consumer: offsets.consumer as usize,
            flags: offsets.flags.map(|offset| offset as usize),
            entries: offsets.desc as usize,
        }
    }
}

/// The side that writes entries.
#[derive(Debug)]
pub(super) struct Producer<T>(Ring<T>);

impl<T: Entry> Producer<T> {
    /// Maps a socket's fill or transmit ring.
    ///
    /// # Safety
    /// `page_offset` and `layout` are those of a ring of `size` entries of `T` that the kernel consumes, and it is
    /// mapped as a producer once.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(super) unsafe fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        layout: Layout,
        size: u32,
    ) -> std::io::Result<Self> {
        let memory = Ring::<T>::mapped(socket, page_offset, layout, size)?;
        // SAFETY: passed on from the caller.
        Ok(unsafe { Self::new(memory, layout, size) })
    }

    /// # Safety
    /// `memory` holds a ring of `T` so laid out, of which no other `Producer` exists.
    unsafe fn new(memory: Arc<Mapping>, layout: Layout, size: u32) -> Self {
        Self(Ring::new(
            memory,
            layout.producer,
            layout.consumer,
            layout,
            size,
        ))
    }

    /// Entries that can be pushed; looks at the consumer's index only if fewer than `wanted` are known to be free.
    #[inline]
    pub(super) fn room(&mut self, wanted: u32) -> u32 {
        if self.0.cursor.room() < wanted {
            let consumed = self.0.other().load(Ordering::Acquire);
            self.0
                .cursor
                .grant(consumed.wrapping_add(self.0.cursor.size()));
        }
        self.0.cursor.room()
    }

    /// Writes the next entry, which the other side sees after [`Self::publish`]. `false` if the ring is full.
    #[inline]
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.room(1) == 0 {
            return false;
        }
        let slot = self.0.slot(0);
        // SAFETY: `slot` is inside the mapping and there is room, so the consumer has handed the slot back (acquire
        // in `room`) and does not look at it before `publish`; no other producer exists.
        unsafe { slot.write(entry) };
        self.0.cursor.advance(1);
        true
    }

    /// Makes everything pushed visible to the other side.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.0.publish();
    }

    /// Entries pushed that the other side has not consumed.
    #[inline]
    pub(super) fn unconsumed(&self) -> u32 {
        let consumed = self.0.other().load(Ordering::Acquire);
        self.0.cursor.index().wrapping_sub(consumed)
    }

    /// Whether the kernel asks for a system call before it looks at the ring.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.0.flags().is_some_and(|flags| {
            flags.load(Ordering::Relaxed) & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
        })
    }
}

/// The side that reads entries.
#[derive(Debug)]
pub(super) struct Consumer<T>(Ring<T>);

impl<T: Entry> Consumer<T> {
    /// Maps a socket's receive or completion ring.
    ///
    /// # Safety
    /// `page_offset` and `layout` are those of a ring of `size` entries of `T` that the kernel produces, and it is
    /// mapped as a consumer once.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(super) unsafe fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        layout: Layout,
        size: u32,
    ) -> std::io::Result<Self> {
        let memory = Ring::<T>::mapped(socket, page_offset, layout, size)?;
        // SAFETY: passed on from the caller.
        Ok(unsafe { Self::new(memory, layout, size) })
    }

    /// # Safety
    /// `memory` holds a ring of `T` so laid out, of which no other `Consumer` exists.
    unsafe fn new(memory: Arc<Mapping>, layout: Layout, size: u32) -> Self {
        Self(Ring::new(
            memory,
            layout.consumer,
            layout.producer,
            layout,
            size,
        ))
    }

    /// Entries that can be read; looks at the producer's index only if fewer than `wanted` are known to be there.
    #[inline]
    pub(super) fn available(&mut self, wanted: u32) -> u32 {
        if self.0.cursor.room() < wanted {
            let produced = self.0.other().load(Ordering::Acquire);
            self.0.cursor.grant(produced);
        }
        self.0.cursor.room()
    }

    /// Whether there is nothing to read. One load at most.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.cursor.room() == 0 && self.0.other().load(Ordering::Relaxed) == self.0.cursor.index()
    }

    /// The entry `ahead` of the next one, if it is known to be available.
    #[inline]
    pub(super) fn peek(&self, ahead: u32) -> Option<T> {
        if ahead >= self.0.cursor.room() {
            return None;
        }
        let slot = self.0.slot(ahead);
        // SAFETY: `slot` is inside the mapping; the producer has published the entry (acquire in `available`) and
        // does not write it again before `release`; every bit pattern is a `T`.
        Some(unsafe { slot.read() })
    }

    /// Takes the next entry, whose slot goes back to the producer at [`Self::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        self.available(1);
        let entry = self.peek(0)?;
        self.0.cursor.advance(1);
        Some(entry)
    }

    /// Hands the slots of everything that was taken back to the producer.
    #[inline]
    pub(super) fn release(&mut self) {
        self.0.publish();
    }
}

/// What both sides have: a cursor, and where the shared parts are.
#[derive(Debug)]
struct Ring<T> {
    cursor: Cursor,
    own: NonNull<AtomicU32>,
    other: NonNull<AtomicU32>,
    flags: Option<NonNull<AtomicU32>>,
    entries: NonNull<T>,
    /// Keeps the memory mapped that the pointers point into.
    _memory: Arc<Mapping>,
}

// SAFETY: the pointers lead into a mapping that this value keeps alive and that is not bound to a thread; all access
// goes through `&self` with atomics or through `&mut self`.
unsafe impl<T: Entry + Send> Send for Ring<T> {}

impl<T> Ring<T> {
    fn mapped(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        layout: Layout,
        size: u32,
    ) -> std::io::Result<Arc<Mapping>> {
        let len = layout.entries + size as usize * size_of::<T>();
        Ok(Arc::new(Mapping::of(socket, page_offset, len)?))
    }

    fn new(memory: Arc<Mapping>, own: usize, other: usize, layout: Layout, size: u32) -> Self {
        let word = |offset| {
            let word = memory
                .at(offset, size_of::<AtomicU32>())
                .cast::<AtomicU32>();
            assert!(word.is_aligned(), "ring indices are aligned");
            word
        };
        let entries = memory
            .at(layout.entries, size as usize * size_of::<T>())
            .cast::<T>();
        assert!(entries.is_aligned(), "ring entries are aligned");
        let (own, other, flags) = (word(own), word(other), layout.flags.map(word));
        // SAFETY: `own` is inside the mapping and aligned (checked above), and shared words are only used as atomics.
        let start = unsafe { own.as_ref() }.load(Ordering::Relaxed);
        Self {
            cursor: Cursor::new(size, start),
            own,
            other,
            flags,
            entries,
            _memory: memory,
        }
    }

    fn publish(&mut self) {
        // SAFETY: inside the mapping and aligned (checked in `new`), mapped as long as `self` lives.
        unsafe { self.own.as_ref() }.store(self.cursor.index(), Ordering::Release);
    }

    fn other(&self) -> &AtomicU32 {
        // SAFETY: inside the mapping and aligned (checked in `new`), mapped as long as `self` lives.
        unsafe { self.other.as_ref() }
    }

    fn flags(&self) -> Option<&AtomicU32> {
        // SAFETY: inside the mapping and aligned (checked in `new`), mapped as long as `self` lives.
        self.flags.map(|flags| unsafe { flags.as_ref() })
    }

    fn slot(&self, ahead: u32) -> NonNull<T> {
        // SAFETY: the cursor masks the slot to the ring's size, and that many entries are inside the mapping (`new`).
        unsafe { self.entries.add(self.cursor.slot(ahead)) }
    }
}

#[cfg(test)]
mod tests;
