//! Faults in memory that somebody else can take away: a front-end that truncates the file of its guest's memory takes down
//! its own port, and nothing else.
//!
//! The kernel answers an access beyond the end of a mapped file with SIGBUS. The handler puts anonymous memory in the
//! mapping's place, so that the access goes on and reads zeros, and marks the mapping as lost. It allocates nothing and takes no
//! lock: it may run in any thread at any instruction.

mod slot;

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use parking_lot::Mutex;
use slot::Slot;

/// Most mappings at a time: 8192 ports with one region each.
const SLOTS: usize = 8192;

/// There is no room for another mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guests of this host share more than {SLOTS} regions of memory")]
pub(crate) struct TooMany;

/// The mappings that the handler knows.
static REGISTRY: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; SLOTS];

/// Slots that are marked as lost: while there are none, nobody has to look at any.
static LOST: AtomicUsize = AtomicUsize::new(0);

/// Whether a mapping of some guest is lost.
#[inline]
pub(super) fn is_any_lost() -> bool {
    LOST.load(Ordering::Relaxed) > 0
}

/// Held by whoever fills or empties a slot; never by the handler.
static CHANGES: Mutex<()> = Mutex::new(());

/// What was done about SIGBUS before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping whose faults are answered, until it is dropped; it must be dropped before the mapping is.
pub(super) struct Registered(&'static Slot);

impl Registered {
    pub(super) fn new(start: NonNull<u8>, len: usize) -> Result<Self, TooMany> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let _changes = CHANGES.lock();
        let slot = REGISTRY.iter().find(|slot| slot.is_free()).ok_or(TooMany)?;
        slot.fill(start.as_ptr() as usize, len);
        Ok(Self(slot))
    }

    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _changes = CHANGES.lock();
        self.0.empty(&LOST);
    }
}

fn install() {
    // SAFETY: both structures are numbers and a pointer, for which zero is a value; the handler has the signature that
    // SA_SIGINFO asks for, and does only what a signal handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before) == 0 {
            let _ = BEFORE.set(before);
        }
    }
}

extern "C" fn on_fault(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a valid structure; of SIGBUS it holds an address.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &REGISTRY {
        let Some((start, len)) = slot.find(address) else {
            continue;
        };
        slot.lose(&LOST);
        // The whole mapping: that is aligned for pages of any size. Others that use it find zeros too, and the mark.
        // SAFETY: the range is a registered mapping, which lives as long as somebody can fault in it; the system call is
        // all that happens.
        let result = unsafe {
            libc::mmap(
                start as *mut libc::c_void,
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if result != libc::MAP_FAILED {
            return;
        }
    }
    // Somebody else's fault: it strikes again, and is then dealt with as before.
    if let Some(before) = BEFORE.get() {
        // SAFETY: restores what the kernel reported.
        unsafe { libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut()) };
    }
}
