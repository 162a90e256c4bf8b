//! The receive side of a queue: the receive ring, the fill ring, and the frames between them.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::retry_on_intr;
use rustix::net::xdp::XdpStatistics;
use rustix::net::{RecvFlags, recv, sockopt};

use super::desc::Desc;
use super::ring::{Consumer, Producer};
use super::umem::Frames;

/// Receives the frames of one queue. One thread uses it at a time.
pub struct RxQueue {
    ring: Consumer<Desc>,
    fill: Producer<u64>,
    frames: Frames,
    multi_buffer: bool,
    /// Frames that the fill ring had no room for. It has, unless the kernel lags behind by more than there are frames.
    owed: Vec<u64>,
    faults: Arc<AtomicU64>,
    socket: Arc<OwnedFd>,
}

impl RxQueue {
    /// Gives the kernel every frame to receive into. `fill` has room for all of them.
    pub(super) fn new(
        ring: Consumer<Desc>,
        fill: Producer<u64>,
        frames: Frames,
        multi_buffer: bool,
        socket: Arc<OwnedFd>,
    ) -> Self {
        let owed = Vec::with_capacity(frames.count() as usize);
        let mut queue = Self {
            ring,
            fill,
            frames,
            multi_buffer,
            owed,
            faults: Arc::default(),
            socket,
        };
        for address in queue.frames.addresses() {
            queue.give(address);
        }
        queue.recycle(&[]);
        queue
    }

    /// Takes received frames, at most one descriptor per element of `out`, and returns how many.
    ///
    /// A frame in several buffers (multi-buffer) is taken whole or left for the next call, provided that `out` has
    /// room for the longest one (18 descriptors). Each descriptor's frame is the caller's until it is recycled.
    #[inline]
    pub fn receive(&mut self, out: &mut [Desc]) -> usize {
        self.receive_within(out, usize::MAX)
    }

    /// The same, and no frame that begins once `octets` were taken.
    #[inline]
    pub(crate) fn receive_within(&mut self, out: &mut [Desc], octets: usize) -> usize {
        let mut available = self.ring.available(out.len() as u32).min(out.len() as u32);
        if octets < usize::MAX {
            available = self.within(available, octets);
        }
        let taken = if self.multi_buffer {
            self.whole(available)
        } else {
            available
        };
        let mut count = 0;
        for _ in 0..taken {
            let Some(desc) = self.ring.pop() else { break };
            if self.frames.take(desc.address(), desc.len() as u32) {
                out[count] = desc;
                count += 1;
            } else {
                self.note_fault();
            }
        }
        self.ring.release();
        count
    }

    /// The bytes of a descriptor that was received here and not recycled; empty for any other.
    #[inline]
    pub fn data(&self, desc: &Desc) -> &[u8] {
        self.frames.bytes(desc.address(), desc.len())
    }

    /// As [`Self::data`], for writing.
    #[inline]
    pub fn data_mut(&mut self, desc: &Desc) -> &mut [u8] {
        self.frames.bytes_mut(desc.address(), desc.len())
    }

    /// Gives frames back to the kernel to receive into, and wakes it if it waits for them. Descriptors that were not
    /// received here, or are recycled already, are ignored.
    #[inline]
    pub fn recycle(&mut self, descs: &[Desc]) {
        if !self.owed.is_empty() {
            self.settle();
        }
        for desc in descs {
            self.give(desc.address());
        }
        self.fill.publish();
        if self.fill.needs_wakeup() {
            self.wake();
        }
    }

    /// Whether nothing is waiting to be received. Costs one load.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Readable (level-triggered) while frames wait. It reports neither that the interface went down nor that it
    /// vanished: those are news from rtnetlink.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What the kernel counted for this queue since it was opened.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn statistics(&self) -> std::io::Result<XdpStatistics> {
        Ok(sockopt::xdp_statistics(&self.socket)?)
    }

    /// Descriptors and frames from the kernel that could not be used: outside this queue's frames, or noted by
    /// [`Self::note_fault`]. Always 0 with a correct kernel.
    pub fn faults(&self) -> &Arc<AtomicU64> {
        &self.faults
    }

    /// Counts something from the kernel that could not be used.
    #[cold]
    pub fn note_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of the next `available` descriptors make whole frames. All, if not even the first frame is whole.
    fn whole(&self, available: u32) -> u32 {
        let ends = |ahead: &u32| self.ring.peek(*ahead).is_some_and(|desc| !desc.continues());
        (0..available)
            .rev()
            .find(ends)
            .map_or(available, |last| last + 1)
    }

    /// How many of the next `available` descriptors belong to frames that begin before `octets` are reached.
    fn within(&self, available: u32, octets: usize) -> u32 {
        let (mut taken, mut begins) = (0, true);
        for ahead in 0..available {
            let Some(desc) = self.ring.peek(ahead) else {
                return ahead;
            };
            if begins && taken >= octets {
                return ahead;
            }
            taken += desc.len();
            begins = !desc.continues();
        }
        available
    }

    fn give(&mut self, address: u64) {
        if let Some(frame) = self.frames.give(address)
            && !self.fill.push(frame)
        {
            // Every frame is owed at most once, so this never grows beyond what `new` reserved.
            self.owed.push(frame);
        }
    }

    /// Gives the frames for which the fill ring had no room.
    #[cold]
    fn settle(&mut self) {
        while let Some(frame) = self.owed.pop() {
            if !self.fill.push(frame) {
                self.owed.push(frame);
                break;
            }
        }
    }

    /// A receive call that asks for nothing makes the driver look at the fill ring. It fails while the interface is
    /// down, and then there is nothing to wake.
    #[cold]
    fn wake(&self) {
        let _ = retry_on_intr(|| recv(&self.socket, &mut [0u8; 0], RecvFlags::DONTWAIT));
    }
}

impl fmt::Debug for RxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxQueue")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}
