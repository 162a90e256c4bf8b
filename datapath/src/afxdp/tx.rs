//! The transmit side of a queue: the transmit ring, the completion ring, and the frames between them.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::net::xdp::XdpStatistics;
use rustix::net::{SendFlags, send, sockopt};

use super::desc::Desc;
use super::ring::{Consumer, Producer};
use super::umem::Frames;

/// Length of an Ethernet header; drivers may rely on its presence.
const HEADER: usize = 14;

/// Most buffers in one frame: what one socket buffer of the kernel can hold (`MAX_SKB_FRAGS`, 17 by default).
pub(super) const MOST_BUFFERS: usize = 17;

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No free frame or no room in the ring.
    #[error("the transmit ring is full")]
    Full,
    /// Shorter than an Ethernet header or longer than [`TxQueue::longest`].
    #[error("the frame's length cannot be transmitted")]
    Length,
}

/// What became of the frames that were queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// The kernel has taken them, or works on them without being asked again.
    Done,
    /// Some are still in the ring, since the kernel had no memory or room: flush again later.
    Pending,
    /// The interface is down or gone. What is in the ring stays there, and leaves if the interface comes up again.
    Down,
}

/// Transmits through one queue. One thread uses it at a time.
pub struct TxQueue {
    ring: Producer<Desc>,
    completion: Consumer<u64>,
    frames: Frames,
    /// Frames to write to. The last one returned is the first to be used again, since it is still in the cache.
    free: Vec<u64>,
    multi_buffer: bool,
    /// In copy mode the kernel transmits only in system calls.
    zero_copy: bool,
    /// Written by whoever transmits, read by anybody.
    wakeups: Arc<AtomicU64>,
    socket: Arc<OwnedFd>,
}

/// Tells what was counted for a queue, to whoever does not own its sides.
pub struct Probe {
    socket: Arc<OwnedFd>,
    wakeups: Arc<AtomicU64>,
    faults: Arc<AtomicU64>,
}

impl Probe {
    /// What the kernel counted since the queue was opened.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn kernel(&self) -> std::io::Result<XdpStatistics> {
        Ok(sockopt::xdp_statistics(&self.socket)?)
    }

    /// System calls made to wake the kernel for transmission.
    pub fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// What the kernel handed over that could not be used.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
}

impl TxQueue {
    /// `completion` has room for every frame.
    pub(super) fn new(
        ring: Producer<Desc>,
        completion: Consumer<u64>,
        frames: Frames,
        multi_buffer: bool,
        zero_copy: bool,
        socket: Arc<OwnedFd>,
    ) -> Self {
        let free = frames.addresses().rev().collect();
        Self {
            ring,
            completion,
            frames,
            free,
            multi_buffer,
            zero_copy,
            wakeups: Arc::default(),
            socket,
        }
    }

    /// Queues a frame of `len` bytes, which leaves with the next [`Self::flush`].
    ///
    /// `write(offset, bytes)` fills the bytes of the frame from `offset` on. It is called once, or once per buffer, in
    /// order, where a frame needs several; together the calls cover the frame. The bytes hold what an earlier frame
    /// left there, so it must write them all.
    ///
    /// # Errors
    /// [`Refused`]; nothing was queued and `write` was not called.
    #[inline]
    pub fn transmit(
        &mut self,
        len: usize,
        mut write: impl FnMut(usize, &mut [u8]),
    ) -> Result<(), Refused> {
        let buffer = self.frames.frame_size();
        if len < HEADER || len > self.longest() {
            return Err(Refused::Length);
        }
        let buffers = len.div_ceil(buffer);
        if self.free.len() < buffers {
            self.reclaim();
        }
        if self.free.len() < buffers || (self.ring.room(buffers as u32) as usize) < buffers {
            return Err(Refused::Full);
        }
        for offset in (0..len).step_by(buffer) {
            let part = buffer.min(len - offset);
            let Some(address) = self.free.pop() else {
                return Err(Refused::Full);
            };
            write(offset, self.frames.bytes_mut(address, part));
            self.frames.give(address);
            self.ring
                .push(Desc::new(address, part as u32, offset + part < len));
        }
        Ok(())
    }

    /// Hands everything queued to the kernel: one store, one system call if the kernel needs it (one per 32 frames on
    /// kernels that transmit no more in one), and takes back the frames that are done with.
    #[inline]
    pub fn flush(&mut self) -> Flushed {
        self.ring.publish();
        let left = self.ring.unconsumed();
        let kick = left > 0 && (!self.zero_copy || self.ring.needs_wakeup());
        let flushed = if kick { self.kick(left) } else { Flushed::Done };
        self.reclaim();
        flushed
    }

    /// The longest frame in bytes that can be transmitted.
    #[inline]
    pub fn longest(&self) -> usize {
        let buffers = if self.multi_buffer { MOST_BUFFERS } else { 1 };
        buffers * self.frames.frame_size()
    }

    /// Buffers queued or in the kernel's hands: transmitted, as far as is known, when they come back.
    pub fn outstanding(&self) -> usize {
        self.frames.count() as usize - self.free.len()
    }

    /// System calls made to wake the kernel.
    pub fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// Reads the queue's statistics without the queue.
    pub fn probe(&self, faults: Arc<AtomicU64>) -> Probe {
        Probe {
            socket: Arc::clone(&self.socket),
            wakeups: Arc::clone(&self.wakeups),
            faults,
        }
    }

    /// The socket. Writable while there is room in the transmit ring.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes back the frames whose transmission is complete.
    #[inline]
    fn reclaim(&mut self) {
        self.completion.available(u32::MAX);
        while let Some(address) = self.completion.pop() {
            if self.frames.take(address, 0) {
                self.free.push(address);
            }
        }
        self.completion.release();
    }

    /// Calls the kernel until it has taken the `left` descriptors in the ring or stops taking them.
    fn kick(&self, mut left: u32) -> Flushed {
        loop {
            self.wakeups.fetch_add(1, Ordering::Relaxed);
            match send(&self.socket, &[], SendFlags::DONTWAIT) {
                Ok(_) => {}
                // More to do than one call does, no room in the completion ring or the driver's queue, no memory.
                Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => {}
                // ENETDOWN while the interface is down, ENXIO when it is gone.
                Err(_) => return Flushed::Down,
            }
            if self.zero_copy {
                return Flushed::Done;
            }
            let before = std::mem::replace(&mut left, self.ring.unconsumed());
            if left == 0 {
                return Flushed::Done;
            }
            if left >= before {
                return Flushed::Pending;
            }
        }
    }
}

impl fmt::Debug for TxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxQueue")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}
