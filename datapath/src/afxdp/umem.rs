//! UMEM: the memory that frames are received into and transmitted from.
//!
//! A port has one area. Each of its queues registers a slice of it, cut into frames of one size: the first half of a
//! slice receives, the second half transmits, so that the two sides of a queue share nothing and may live on
//! different threads.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::mm::{Advice, MapFlags};

use super::mapping::Mapping;

const HUGE_PAGE: usize = 2 << 20;

/// A port's memory. Page-aligned, on huge pages where there are any free.
#[derive(Debug)]
pub(super) struct Area {
    memory: Mapping,
    huge_pages: bool,
}

impl Area {
    /// Maps at least `len` bytes.
    ///
    /// # Errors
    /// `ENOMEM` and the like from mmap(2).
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let len = len.next_multiple_of(HUGE_PAGE);
        let huge = MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        // Huge pages may be free and yet not for this control group, which shows when they are touched: do it here,
        // where it is an error and not a signal.
        let huge = Mapping::anonymous(len, huge)
            .and_then(|memory| memory.advise(Advice::LinuxPopulateWrite).map(|()| memory));
        if let Ok(memory) = huge {
            return Ok(Self {
                memory,
                huge_pages: true,
            });
        }
        let memory = Mapping::anonymous(len, MapFlags::empty())?;
        // Where the kernel has no transparent huge pages either, ordinary pages serve.
        let _ = memory.advise(Advice::LinuxHugepage);
        Ok(Self {
            memory,
            huge_pages: false,
        })
    }

    /// Whether the area lies on reserved huge pages (hugetlb).
    pub(super) fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// Cuts the area into `queues` slices of `frames` frames (an even number) of `frame_size` bytes (2048 or 4096).
    /// Takes the area, so that nothing else can lay frames over the same memory.
    pub(super) fn divide(self, queues: u32, frames: u32, frame_size: u32) -> Vec<Slice> {
        let area = Arc::new(self);
        let len = frames as usize * frame_size as usize;
        let half =
            |start, first| Frames::new(Arc::clone(&area), start, first, frames / 2, frame_size);
        (0..queues as usize)
            .map(|queue| queue * len)
            .map(|start| Slice {
                address: area.memory.at(start, len).as_ptr() as u64,
                len: len as u64,
                frame_size,
                receive: half(start, 0),
                transmit: half(start, frames / 2),
            })
            .collect()
    }
}

/// What one queue registers as its UMEM, and the two halves of it.
#[derive(Debug)]
pub(super) struct Slice {
    /// Where it begins in this process.
    pub(super) address: u64,
    /// In bytes.
    pub(super) len: u64,
    pub(super) frame_size: u32,
    pub(super) receive: Frames,
    pub(super) transmit: Frames,
}

/// The frames of one half of a slice, and a ledger of who holds each of them: this process or the kernel.
///
/// The ledger makes access safe. Bytes can be reached only in frames that this process holds; the kernel uses only
/// frames that it was given in a ring, and [`Frames::give`] takes a frame out of the ledger before it goes there.
/// It costs a byte per frame in memory that is hot anyway, and it also catches a frame that is given back twice.
///
/// Addresses are the kernel's: bytes from the beginning of the slice.
pub(super) struct Frames {
    area: Arc<Area>,
    /// Where the slice begins in the area.
    slice: usize,
    /// The first frame of this half.
    first: u32,
    frame_size: u32,
    /// For each frame, whether this process holds it.
    held: Box<[bool]>,
}

impl Frames {
    fn new(area: Arc<Area>, slice: usize, first: u32, count: u32, frame_size: u32) -> Self {
        assert!(
            frame_size.is_power_of_two(),
            "frames are aligned to their size"
        );
        let end = (first + count) as usize * frame_size as usize;
        let _ = area.memory.at(slice, end);
        Self {
            area,
            slice,
            first,
            frame_size,
            held: vec![true; count as usize].into(),
        }
    }

    /// How many frames there are.
    pub(super) fn count(&self) -> u32 {
        self.held.len() as u32
    }

    /// Bytes in a frame.
    pub(super) fn frame_size(&self) -> usize {
        self.frame_size as usize
    }

    /// The addresses of all frames.
    pub(super) fn addresses(&self) -> impl DoubleEndedIterator<Item = u64> + use<> {
        let (first, size) = (u64::from(self.first), u64::from(self.frame_size));
        (first..first + u64::from(self.count())).map(move |frame| frame * size)
    }

    /// Notes that the kernel returned the frame that `address` points into. `false`, and nothing is noted, if there is
    /// no such frame, if this process holds it already, or if `len` bytes at `address` are not inside it.
    #[inline]
    pub(super) fn take(&mut self, address: u64, len: u32) -> bool {
        let Some(frame) = self.frame(address, len as usize) else {
            return false;
        };
        !std::mem::replace(&mut self.held[frame], true)
    }

    /// Notes that the frame which `address` points into is the kernel's, and returns the frame's own address for the
    /// ring. `None` if there is no such frame or this process does not hold it.
    #[inline]
    pub(super) fn give(&mut self, address: u64) -> Option<u64> {
        let frame = self.frame(address, 0)?;
        std::mem::replace(&mut self.held[frame], false)
            .then_some(address & !(u64::from(self.frame_size) - 1))
    }

    /// The `len` bytes at `address`; none if they are not inside one frame that this process holds.
    #[inline]
    pub(super) fn bytes(&self, address: u64, len: usize) -> &[u8] {
        if !self.holds(address, len) {
            return &[];
        }
        let start = self.area.memory.at(self.slice + address as usize, len);
        // SAFETY: `at` checked that the bytes are inside the mapping, which `area` keeps alive. They are in a frame of
        // this half that this process holds, so the kernel leaves them alone (see `Frames`), and no other `Frames`
        // covers them (`Area::divide`). Writing needs `&mut self`, so nobody writes while the result is borrowed.
        // Mapped memory is initialised.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// As [`Self::bytes`], for writing.
    #[inline]
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "the exclusive borrow is what makes writing safe"
    )]
    pub(super) fn bytes_mut(&mut self, address: u64, len: usize) -> &mut [u8] {
        if !self.holds(address, len) {
            return &mut [];
        }
        let start = self.area.memory.at(self.slice + address as usize, len);
        // SAFETY: as in `bytes`, and `&mut self` makes this the only borrow of any of this half's bytes.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    #[inline]
    fn holds(&self, address: u64, len: usize) -> bool {
        self.frame(address, len)
            .is_some_and(|frame| self.held[frame])
    }

    /// Which frame of this half `len` bytes at `address` lie in.
    #[inline]
    fn frame(&self, address: u64, len: usize) -> Option<usize> {
        let size = u64::from(self.frame_size);
        let frame = (address >> size.trailing_zeros()).checked_sub(u64::from(self.first))?;
        let fits = (address & (size - 1)) as usize + len <= size as usize;
        (frame < u64::from(self.count()) && fits).then_some(frame as usize)
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.iter().filter(|held| **held).count();
        write!(
            f,
            "{} frames of {} bytes, {held} held",
            self.count(),
            self.frame_size
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slices() -> Vec<Slice> {
        Area::new(2 * 8 * 2048).unwrap().divide(2, 8, 2048)
    }

    #[test]
    fn halves_and_slices_do_not_overlap() {
        let mut slices = slices();
        for (index, slice) in slices.iter_mut().enumerate() {
            for (half, frames) in [&mut slice.receive, &mut slice.transmit]
                .into_iter()
                .enumerate()
            {
                for address in frames.addresses() {
                    frames
                        .bytes_mut(address, 2048)
                        .fill((2 * index + half) as u8);
                }
            }
        }
        for (index, slice) in slices.iter().enumerate() {
            for (half, frames) in [&slice.receive, &slice.transmit].into_iter().enumerate() {
                let value = (2 * index + half) as u8;
                assert_eq!(frames.addresses().count(), 4);
                for address in frames.addresses() {
                    assert_eq!(frames.bytes(address, 2048), [value; 2048]);
                }
            }
        }
        assert_eq!(slices[1].address - slices[0].address, 8 * 2048);
    }

    #[test]
    fn a_frame_is_held_by_one_side() {
        let mut frames = slices().remove(0).receive;
        assert!(!frames.take(2048, 60), "held already");
        assert_eq!(
            frames.give(2048 + 256),
            Some(2048),
            "aligned down to the frame"
        );
        assert_eq!(frames.give(2048), None, "given already");
        assert!(frames.bytes(2048, 60).is_empty(), "the kernel's");
        assert!(frames.bytes_mut(2048, 60).is_empty(), "the kernel's");
        assert!(frames.take(2048 + 256, 60));
        assert_eq!(frames.bytes(2048 + 256, 60).len(), 60);
    }

    proptest! {
        #[test]
        fn no_address_reaches_outside(address in prop_oneof![0..40_000u64, any::<u64>()], len in any::<u32>()) {
            let Slice { mut receive, mut transmit, .. } = slices().remove(0);
            let len = len >> (address % 32);
            let fits = address % 2048 + u64::from(len) <= 2048;
            let expected = |low, high| if (low..high).contains(&address) && fits { len as usize } else { 0 };
            prop_assert_eq!(receive.bytes(address, len as usize).len(), expected(0, 4 * 2048));
            prop_assert_eq!(transmit.bytes_mut(address, len as usize).len(), expected(4 * 2048, 8 * 2048));
            prop_assert!(!receive.take(address, len));
            prop_assert_eq!(receive.give(address).is_some(), address < 4 * 2048);
        }
    }
}
