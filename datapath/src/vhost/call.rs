//! How guests are notified, without ever waiting for one.
//!
//! A front-end shares the open file behind its event: it may take O_NONBLOCK off and fill the counter, and whoever writes then
//! waits for it. So events are not written. A read of no octets completes at once, and the kernel counts the completion on the
//! event (io_submit(2), IOCB_FLAG_RESFD), which never waits: a counter that is full stays full, and readable.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use libc::{c_long, iocb, syscall};

/// Completions that are kept until they are forgotten all at once.
const COMPLETIONS: usize = 256;

/// Of linux/aio_abi.h.
const IOCB_CMD_PREAD: u16 = 0;
const IOCB_FLAG_RESFD: u32 = 1;

/// `struct io_event` of linux/aio_abi.h: four words that nobody looks at.
type IoEvent = [u64; 4];

/// A guest's event, which notifies it of a queue.
pub(crate) struct Call {
    event: OwnedFd,
    caller: &'static Caller,
}

impl Call {
    /// # Errors
    /// The kernel has no asynchronous reads, or no room for them.
    pub(crate) fn new(event: OwnedFd) -> Result<Self> {
        let caller = Caller::get()?;
        Ok(Self { event, caller })
    }

    pub(crate) fn try_clone(&self) -> Result<Self> {
        Ok(Self {
            event: self.event.try_clone()?,
            caller: self.caller,
        })
    }

    /// Notifies the guest.
    pub(crate) fn ring(&self) {
        let mut read = self.caller.read(&self.event);
        // Full: others may fill it again before this one comes, though not forever. Without memory for a read the kernel has
        // other troubles than a guest that looks late.
        while let Err(error) = self.caller.submit(&mut read)
            && error.kind() == ErrorKind::WouldBlock
        {
            self.caller.forget();
        }
    }
}

/// The reads that notify, of all threads.
struct Caller {
    context: c_long,
    nothing: File,
}

impl Caller {
    /// The only one, which stays.
    fn get() -> Result<&'static Self> {
        static ONLY: OnceLock<Caller> = OnceLock::new();
        if let Some(caller) = ONLY.get() {
            return Ok(caller);
        }
        // Another thread may be first: then this one goes again.
        let caller = Self::new()?;
        Ok(ONLY.get_or_init(|| caller))
    }

    fn new() -> Result<Self> {
        let nothing = File::open("/dev/null")?;
        let mut context: c_long = 0;
        // SAFETY: the kernel writes a word, for which the reference is.
        check(unsafe { syscall(libc::SYS_io_setup, COMPLETIONS, &raw mut context) })?;
        Ok(Self { context, nothing })
    }

    /// A read of nothing whose completion is counted on an event.
    fn read(&self, event: &OwnedFd) -> iocb {
        // SAFETY: numbers only, for which zero is a value; padding is private.
        let mut read: iocb = unsafe { std::mem::zeroed() };
        read.aio_lio_opcode = IOCB_CMD_PREAD;
        read.aio_fildes = self.nothing.as_raw_fd().cast_unsigned();
        read.aio_flags = IOCB_FLAG_RESFD;
        read.aio_resfd = event.as_raw_fd().cast_unsigned();
        read
    }

    fn submit(&self, read: &mut iocb) -> Result<()> {
        let mut reads = [ptr::from_mut(read)];
        // SAFETY: the kernel copies one pointer and what it points to, both of which outlive the call; the read writes to no
        // buffer.
        check(unsafe {
            syscall(
                libc::SYS_io_submit,
                self.context,
                reads.len(),
                reads.as_mut_ptr(),
            )
        })
    }

    /// Makes room.
    #[cold]
    fn forget(&self) {
        let mut events: [IoEvent; COMPLETIONS] = [[0; 4]; _];
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel writes at most as many events as there are places, and reads the time.
        let _ = check(unsafe {
            syscall(
                libc::SYS_io_getevents,
                self.context,
                0usize,
                events.len(),
                events.as_mut_ptr(),
                &raw const at_once,
            )
        });
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: nothing of this process's memory is used by the context's reads.
        let _ = check(unsafe { syscall(libc::SYS_io_destroy, self.context) });
    }
}

fn check(result: c_long) -> Result<()> {
    if result < 0 {
        return Err(Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    /// More than are kept, of several threads.
    #[test]
    fn every_call_counts() {
        let event = eventfd(0, EventfdFlags::CLOEXEC).expect("an event");
        let call = Call::new(event).expect("asynchronous reads");
        let each = 10 * COMPLETIONS as u64;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..each).for_each(|_| call.ring()));
            }
        });
        let mut count = [0; 8];
        rustix::io::read(&call.event, &mut count).expect("it was called");
        assert_eq!(u64::from_ne_bytes(count), 2 * each);
    }
}
