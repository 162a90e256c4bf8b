//! A split virtqueue (virtio 1.2 §2.7), the device's side, in memory that a guest writes at the same time.
//!
//! Nothing that the guest writes is believed, or read twice: an index, a descriptor or a flag is copied first and checked
//! then. Addresses of the ring are translated once; those of buffers by the region that the last one was in, else by
//! search. Used entries are gathered, and published with one store per burst.

use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering, fence};

use super::handshake::{Handshake, Word};
use super::memory::{Memory, View};

/// Most descriptors of one chain, those of its indirect table included: a packet of 64 KiB takes 18 of Linux's.
pub(crate) const MOST_BUFFERS: usize = 64;

/// Most octets of one chain.
const MOST_OCTETS: usize = 128 << 10;

/// Flags of a descriptor.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A descriptor as the guest wrote it, in its byte order, which is little endian.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

/// An entry of the used ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Used {
    id: u32,
    len: u32,
}

/// A guest's buffer, translated: it lies wholly in memory that the ring keeps mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
}

/// The buffers of one chain.
pub(crate) type Chain = arrayvec::ArrayVec<Buffer, MOST_BUFFERS>;

/// Which way the buffers of a queue go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The device reads them: the guest transmits.
    Read,
    /// The device writes them: the guest receives.
    Write,
}

/// Why a chain cannot be used; the ring goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadChain {
    #[error("a buffer is not in the guest's memory")]
    Address,
    #[error("a descriptor has no octets")]
    Empty,
    #[error("a descriptor is for the other direction")]
    Direction,
    #[error("a chain runs in circles or has too many descriptors")]
    TooLong,
    #[error("a chain has too many octets")]
    TooLarge,
    #[error("a chain leads out of its table")]
    Next,
    #[error("an indirect table is nested, empty or of an odd size")]
    Indirect,
}

/// Why a ring cannot go on at all, as an operator reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("its driver made more buffers available than the ring has")]
    AvailableIndex,
    #[error("its driver made a descriptor available that the ring does not have")]
    Head,
}

/// A ring cannot be where the front-end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRing {
    #[error("the ring has {0} entries, which is no power of two up to 32768")]
    Size(u16),
    #[error("a part of the ring is not in the guest's memory")]
    Address,
    #[error("a part of the ring is not aligned")]
    Alignment,
}

/// Where a ring is, as a front-end tells it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) size: u16,
    /// Addresses in the front-end's own address space.
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// A position in a ring, which goes on from 65535 to 0. As wide as what the compiler reads it with: a read that is wider than
/// the last write would wait until that write has reached memory, behind all that were made to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(4))]
struct Position(u16);

/// Reads how much of a ring is in use, from beside its poll thread.
pub(crate) struct Gauge {
    /// Keeps mapped what the pointers lead to.
    _memory: Arc<Memory>,
    available: NonNull<u16>,
    used: NonNull<u16>,
    size: u16,
}

// SAFETY: the pointers lead into memory that `_memory` keeps mapped for as long as the gauge lives, from any thread.
unsafe impl Send for Gauge {}

impl Gauge {
    /// Buffers that the driver made available and has not got back, as the ring says, which a guest may write at any time.
    pub(crate) fn in_use(&self) -> u16 {
        let index = |area: NonNull<u16>| {
            // SAFETY: the second word of either area is its index, aligned, in memory that stays mapped; a guest writes it as
            // a word.
            unsafe { AtomicU16::from_ptr(area.as_ptr().add(1)) }.load(Ordering::Relaxed)
        };
        let (available, used) = (index(self.available), index(self.used));
        available.wrapping_sub(used).min(self.size)
    }
}

/// A virtqueue that runs.
pub(crate) struct Ring {
    memory: Arc<Memory>,
    /// The region of the last buffer.
    view: View,
    descriptors: NonNull<Descriptor>,
    /// Flags, index, `size` heads, used_event.
    available: NonNull<u16>,
    /// Flags and index, `size` entries, avail_event.
    used: NonNull<u16>,
    size: u16,
    event_index: bool,
    /// The next entry of the available ring that nobody took.
    next_available: Position,
    /// The driver's index as last read.
    driver_index: Position,
    /// Used entries that the driver was told of.
    published: Position,
    /// Used entries that wait to be told.
    gathered: Position,
    /// The used index when the driver was last asked whether it wants a notification.
    asked: Position,
}

// SAFETY: the pointers lead into memory that `memory` keeps mapped for as long as the ring lives, from any thread.
unsafe impl Send for Ring {}

impl Ring {
    pub(crate) fn new(
        memory: Arc<Memory>,
        layout: &Layout,
        event_index: bool,
    ) -> Result<Self, BadRing> {
        let size = layout.size;
        if !size.is_power_of_two() || size > 32768 {
            return Err(BadRing::Size(size));
        }
        let entries = u64::from(size);
        let find = |address: u64, len: u64, align: u64| {
            let start = memory.user(address, len).ok_or(BadRing::Address)?;
            if address.is_multiple_of(align) && (start.as_ptr() as u64).is_multiple_of(align) {
                Ok(start)
            } else {
                Err(BadRing::Alignment)
            }
        };
        // The event indices are behind the rings, and there only with EVENT_IDX; all drivers leave room for them.
        let descriptors = find(layout.descriptors, 16 * entries, 16)?.cast();
        let available = find(layout.available, 4 + 2 * entries + 2, 2)?.cast();
        let used: NonNull<u16> = find(layout.used, 4 + 8 * entries + 2, 4)?.cast();
        let view = View::default();
        let mut ring = Self {
            memory,
            view,
            descriptors,
            available,
            used,
            size,
            event_index,
            next_available: Position(0),
            driver_index: Position(0),
            published: Position(0),
            gathered: Position(0),
            asked: Position(0),
        };
        ring.resume();
        Ok(ring)
    }

    /// A reader of its use.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge {
            _memory: Arc::clone(&self.memory),
            available: self.available,
            used: self.used,
            size: self.size,
        }
    }

    /// Goes on where the ring says that whoever used it last stopped: a queue of the same guest a moment ago, or a back-end
    /// that was killed, of which the front-end cannot know how far it got. All before the used index is done, and all from
    /// there on is new. What was taken and not given back comes again, once.
    ///
    /// To be called when nobody else uses the ring any more, else what is given back meanwhile is done twice.
    pub(crate) fn resume(&mut self) {
        self.published.0 = self.word(Word::UsedIndex).load(Ordering::Acquire);
        self.asked = self.published;
        self.next_available = self.published;
        self.driver_index = self.published;
    }

    /// What the next back-end has to start with.
    pub(crate) fn base(&self) -> u16 {
        self.next_available.0
    }

    /// Whether part of the guest's memory is gone.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.memory.is_lost()
    }

    /// Buffers that the driver made available and nobody took, as of the last look; looks again if they are fewer than
    /// `wanted`.
    ///
    /// # Errors
    /// The driver's index is impossible.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u16) -> Result<u16, Broken> {
        let known = self.driver_index.0.wrapping_sub(self.next_available.0);
        if known >= wanted {
            return Ok(known);
        }
        // Acquire: the entries that the index covers are read after it.
        let index = self.available_word(1).load(Ordering::Acquire);
        let count = index.wrapping_sub(self.next_available.0);
        if count > self.size {
            return Err(Broken::AvailableIndex);
        }
        self.driver_index.0 = index;
        Ok(count)
    }

    /// The head of the buffer `ahead` entries from the next one, which is available.
    ///
    /// # Errors
    /// There is no such descriptor.
    #[inline]
    pub(crate) fn head(&self, ahead: u16) -> Result<u16, Broken> {
        let slot = self.next_available.0.wrapping_add(ahead) & (self.size - 1);
        let head = self
            .available_word(2 + usize::from(slot))
            .load(Ordering::Relaxed);
        if head < self.size {
            Ok(head)
        } else {
            Err(Broken::Head)
        }
    }

    /// Asks for the memory of a descriptor, so that it is there when it is needed.
    #[inline]
    pub(crate) fn prefetch(&self, head: u16) {
        let descriptor = self.descriptors.as_ptr().wrapping_add(head.into());
        crate::prefetch::prefetch_at(descriptor);
    }

    /// The buffer of a chain that has only one, and is right; any other is to be walked.
    #[inline(always)]
    pub(crate) fn only_buffer(&mut self, head: u16, access: Access) -> Option<Buffer> {
        let first = self.descriptor(head);
        if first.flags & (NEXT | INDIRECT) == 0 {
            self.buffer(first, access).ok()
        } else {
            None
        }
    }

    /// Walks a chain into `chain`.
    ///
    /// # Errors
    /// It cannot be used.
    #[inline]
    pub(crate) fn walk(
        &mut self,
        head: u16,
        access: Access,
        chain: &mut Chain,
    ) -> Result<(), BadChain> {
        chain.clear();
        let first = self.descriptor(head);
        if first.flags & (NEXT | INDIRECT) == 0 {
            let buffer = self.buffer(first, access)?;
            chain.push(buffer);
            return Ok(());
        }
        self.walk_on(first, access, chain)
    }

    /// The buffers are taken.
    #[inline]
    pub(crate) fn take(&mut self, count: u16) {
        self.next_available.0 = self.next_available.0.wrapping_add(count);
    }

    /// Gives buffers back, each by its head and the octets that were written; the driver learns of it with
    /// [`Self::publish`].
    #[inline]
    pub(crate) fn give_back(&mut self, buffers: &[(u16, u32)]) {
        let mask = self.size - 1;
        let mut slot = self.published.0.wrapping_add(self.gathered.0);
        // SAFETY: flags and index before the entries are there.
        let entries = unsafe { self.used.as_ptr().add(2).cast::<Used>() };
        for &(head, len) in buffers {
            let entry = Used {
                id: u32::from(head),
                len,
            };
            // SAFETY: the used ring has `size` entries, and is aligned; only the device writes it, and whatever a guest
            // writes there is a value.
            unsafe {
                let place = entries.add(usize::from(slot & mask));
                // A driver that uses its buffers in order finds what stood there the last time round: left alone, the line
                // stays in both caches.
                if place.read_volatile() != entry {
                    place.write_volatile(entry);
                }
            }
            slot = slot.wrapping_add(1);
        }
        self.gathered.0 += buffers.len() as u16;
    }

    /// Tells the driver of all buffers given back.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.gathered.0 > 0 {
            self.published.0 = self.published.0.wrapping_add(self.gathered.0);
            self.gathered.0 = 0;
            self.tell(self.published.0);
        }
    }

    /// Whether the driver wants to be notified of what was published since this was last asked.
    #[inline]
    pub(crate) fn wants_notification(&mut self) -> bool {
        let (old, new) = (self.asked.0, self.published.0);
        if old == new {
            return false;
        }
        self.asked.0 = new;
        self.is_notification_wanted(old, new)
    }

    /// Tells the driver that it need not kick: the ring is polled.
    pub(crate) fn suppress_kicks(&self) {
        self.refuse_kicks(self.next_available.0);
    }

    /// Asks for a kick with the next buffer. Returns whether there is one already, of which no kick may come.
    pub(crate) fn arm_kicks(&self) -> bool {
        self.ask_for_kick(self.next_available.0)
    }

    /// A chain of several descriptors, or with an indirect table.
    #[inline(never)]
    fn walk_on(
        &mut self,
        first: Descriptor,
        access: Access,
        chain: &mut Chain,
    ) -> Result<(), BadChain> {
        let mut table = (self.descriptors, self.size);
        let mut descriptor = first;
        let mut is_indirect = false;
        let mut octets = 0;
        // Bounded: every step adds a buffer, or enters the one table.
        loop {
            if descriptor.flags & INDIRECT != 0 {
                // virtio 1.2 §2.7.5.3.1: no table in a table, and no NEXT beside INDIRECT.
                let len = descriptor.len as usize;
                let entries = len / size_of::<Descriptor>();
                let whole = len.is_multiple_of(size_of::<Descriptor>());
                if is_indirect || descriptor.flags & NEXT != 0 || !whole || entries == 0 {
                    return Err(BadChain::Indirect);
                }
                // More than the ring has entries is not allowed, and more than the bound is not walked.
                let entries = entries.min(usize::from(self.size)) as u16;
                let start = self.translate(descriptor.address, len as u64)?;
                is_indirect = true;
                table = (start.cast(), entries);
                descriptor = read(table.0, 0);
                continue;
            }
            let buffer = self.buffer(descriptor, access)?;
            octets += buffer.len;
            if octets > MOST_OCTETS {
                return Err(BadChain::TooLarge);
            }
            chain.try_push(buffer).map_err(|_| BadChain::TooLong)?;
            if descriptor.flags & NEXT == 0 {
                return Ok(());
            }
            if descriptor.next >= table.1 {
                return Err(BadChain::Next);
            }
            descriptor = read(table.0, descriptor.next);
        }
    }

    #[inline]
    fn descriptor(&self, index: u16) -> Descriptor {
        debug_assert!(index < self.size);
        read(self.descriptors, index & (self.size - 1))
    }

    #[inline(always)]
    fn buffer(&mut self, descriptor: Descriptor, access: Access) -> Result<Buffer, BadChain> {
        if (descriptor.flags & WRITE != 0) != (access == Access::Write) {
            return Err(BadChain::Direction);
        }
        if descriptor.len == 0 {
            return Err(BadChain::Empty);
        }
        Ok(Buffer {
            start: self.translate(descriptor.address, descriptor.len.into())?,
            len: descriptor.len as usize,
        })
    }

    #[inline(always)]
    fn translate(&mut self, address: u64, len: u64) -> Result<NonNull<u8>, BadChain> {
        match self.view.find(address, len) {
            Some(start) => Ok(start),
            None => self.search(address, len),
        }
    }

    /// Translates an address that is in another region than the last one.
    #[inline(never)]
    fn search(&mut self, address: u64, len: u64) -> Result<NonNull<u8>, BadChain> {
        self.view = self.memory.view(address).ok_or(BadChain::Address)?;
        self.view.find(address, len).ok_or(BadChain::Address)
    }

    /// A word of the driver's area: flags, index, heads, used_event.
    #[inline]
    fn available_word(&self, at: usize) -> &AtomicU16 {
        debug_assert!(at <= 2 + usize::from(self.size));
        // SAFETY: the area has that many aligned words, in memory that stays mapped; the guest writes them as words.
        unsafe { AtomicU16::from_ptr(self.available.as_ptr().add(at)) }
    }

    /// A word of the device's area that is no entry: flags, index, avail_event.
    #[inline]
    fn used_word(&self, at: usize) -> &AtomicU16 {
        debug_assert!(at <= 2 + 4 * usize::from(self.size));
        // SAFETY: as above.
        unsafe { AtomicU16::from_ptr(self.used.as_ptr().add(at)) }
    }
}

impl Handshake for Ring {
    type Word = AtomicU16;

    #[inline]
    fn word(&self, word: Word) -> &AtomicU16 {
        match word {
            Word::AvailableFlags => self.available_word(0),
            Word::AvailableIndex => self.available_word(1),
            Word::UsedEvent => self.available_word(2 + usize::from(self.size)),
            Word::UsedFlags => self.used_word(0),
            Word::UsedIndex => self.used_word(1),
            Word::AvailableEvent => self.used_word(2 + 4 * usize::from(self.size)),
        }
    }

    #[inline]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    #[inline]
    fn has_event_indices(&self) -> bool {
        self.event_index
    }
}

/// Copies a descriptor of a table that has it.
#[inline]
fn read(table: NonNull<Descriptor>, index: u16) -> Descriptor {
    // SAFETY: the caller has checked the index against the table, which lies in mapped memory. Any octets are a descriptor.
    // Volatile: it is read once, whatever is done with the copy; by octets where a guest placed an indirect table oddly.
    unsafe {
        let place = table.as_ptr().add(index.into());
        if place.is_aligned() {
            place.read_volatile()
        } else {
            std::mem::transmute::<[u8; 16], Descriptor>(place.cast::<[u8; 16]>().read_volatile())
        }
    }
}
