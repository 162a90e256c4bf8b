//! How guests are notified, without ever waiting for one.
//!
//! A front-end shares the open file behind its event: it may take O_NONBLOCK off and fill the counter, and whoever writes then
//! waits for it. So events are not written. A read of no octets completes at once, and the kernel counts the completion on the
//! event (io_submit(2), IOCB_FLAG_RESFD), which never waits: a counter that is full stays full, and readable.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::LazyLock;

use libc::{c_long, iocb, syscall};

/// Completions that are kept until they are forgotten all at once.
const COMPLETIONS: usize = 256;

/// Of linux/aio_abi.h.
const IOCB_CMD_PREAD: u16 = 0;
const IOCB_FLAG_RESFD: u32 = 1;

/// `struct io_event` of linux/aio_abi.h: four words that nobody looks at.
type IoEvent = [u64; 4];

thread_local! {
    /// A poll thread's own, so that no two of them wait for each other.
    static OWN: OnceCell<Caller> = const { OnceCell::new() };
}

/// That of all other threads.
static SHARED: LazyLock<Result<Caller>> = LazyLock::new(Caller::new);

/// Lets the calling poll thread notify guests by a context of its own, and has that of all others made: later, somebody else
/// of this host may hold all that there are.
pub(crate) fn prepare() {
    let shared = SHARED.as_ref().err();
    let own = Caller::new().map(|caller| OWN.with(|own| drop(own.set(caller))));
    if let Some(error) = own.as_ref().err().or(shared) {
        tracing::warn!(
            %error,
            "guests are notified by writing to their events, for which a hostile hypervisor can make a poll thread wait; \
             a larger fs.aio-max-nr helps"
        );
    }
}

/// A guest's event, which notifies it of a queue.
pub(crate) struct Call(OwnedFd);

impl Call {
    pub(crate) fn new(event: OwnedFd) -> Self {
        Self(event)
    }

    pub(crate) fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Notifies the guest.
    pub(crate) fn ring(&self) {
        let rung = OWN.with(|own| match (own.get(), SHARED.as_ref()) {
            (Some(caller), _) | (None, Ok(caller)) => caller.notify(&self.0),
            (None, Err(_)) => Err(ErrorKind::Unsupported.into()),
        });
        if rung.is_err() {
            self.write();
        }
    }

    /// Where the kernel has no room for a read: a front-end would have to take O_NONBLOCK off in this very moment.
    #[cold]
    fn write(&self) {
        let _ = rustix::io::ioctl_fionbio(&self.0, true);
        // A full counter is readable all the same.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// A context of reads that notify.
struct Caller {
    context: c_long,
    nothing: File,
}

impl Caller {
    fn new() -> Result<Self> {
        let nothing = File::open("/dev/null")?;
        let mut context: c_long = 0;
        // SAFETY: the kernel writes a word, for which the reference is.
        check(unsafe { syscall(libc::SYS_io_setup, COMPLETIONS, &raw mut context) })?;
        Ok(Self { context, nothing })
    }

    /// # Errors
    /// The kernel takes no read, also when all completions are forgotten.
    fn notify(&self, event: &OwnedFd) -> Result<()> {
        let mut read = self.read(event);
        match self.submit(&mut read) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.forget()?;
                self.submit(&mut read)
            }
            submitted => submitted,
        }
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
        // SAFETY: the kernel copies one pointer and what it points to, to which it writes a key; both outlive the call, and
        // nobody else has them. The read writes to no buffer.
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
    fn forget(&self) -> Result<()> {
        let mut events: [IoEvent; COMPLETIONS] = [[0; 4]; _];
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel writes at most as many events as there are places, and reads the time.
        check(unsafe {
            syscall(
                libc::SYS_io_getevents,
                self.context,
                0usize,
                events.len(),
                events.as_mut_ptr(),
                &raw const at_once,
            )
        })
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

    fn event() -> OwnedFd {
        eventfd(0, EventfdFlags::CLOEXEC).expect("an event")
    }

    fn count(call: &Call) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&call.0, &mut count).expect("it was called");
        u64::from_ne_bytes(count)
    }

    /// More than are kept, by threads with a context of their own and by those without.
    #[test]
    fn every_call_counts() {
        let call = Call::new(event());
        let each = 10 * COMPLETIONS as u64;
        std::thread::scope(|scope| {
            for is_poll_thread in [true, true, false, false] {
                let call = &call;
                scope.spawn(move || {
                    if is_poll_thread {
                        prepare();
                    }
                    (0..each).for_each(|_| call.ring());
                });
            }
        });
        assert_eq!(count(&call), 4 * each);
    }

    #[test]
    fn a_write_calls_too_and_does_not_wait() {
        let call = Call::new(event());
        call.write();
        assert_eq!(count(&call), 1);
        rustix::io::write(&call.0, &(u64::MAX - 1).to_ne_bytes()).expect("room for it");
        call.write();
        assert_eq!(count(&call), u64::MAX - 1);
    }
}
