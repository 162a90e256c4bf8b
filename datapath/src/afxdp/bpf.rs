//! The few commands of bpf(2) that an AF_XDP port needs.
//!
//! Every argument block is a `#[repr(C)]` prefix of the kernel's `union bpf_attr` without padding; what follows the
//! prefix counts as zero.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::insn::Insn;

/// `BPF_PROG_TYPE_XDP` and the attach type that goes with it.
pub(super) const XDP: ProgramType = ProgramType {
    program: 6,
    attach: 37,
};
/// `BPF_PROG_TYPE_SCHED_CLS`, attached where frames leave an interface (`BPF_TCX_EGRESS`).
#[cfg(any(test, feature = "testing"))]
pub(super) const TCX_EGRESS: ProgramType = ProgramType {
    program: 3,
    attach: 47,
};
/// `BPF_PROG_TYPE_SCHED_CLS`, attached where frames enter an interface (`BPF_TCX_INGRESS`).
#[cfg(any(test, feature = "testing"))]
pub(super) const TCX_INGRESS: ProgramType = ProgramType {
    program: 3,
    attach: 46,
};

/// The program handles frames whose tail lies in further buffers (`BPF_F_XDP_HAS_FRAGS`).
pub(super) const HAS_FRAGS: u32 = 1 << 5;
/// The program runs only on the interface it was loaded for, so that it may call the driver's metadata functions
/// (`BPF_F_XDP_DEV_BOUND_ONLY`).
pub(super) const DEVICE_BOUND: u32 = 1 << 6;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
#[cfg(test)]
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;

/// What a program is and where it is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgramType {
    program: u32,
    attach: u32,
}

/// Creates a map of `entries` AF_XDP sockets, indexed by queue.
///
/// # Errors
/// Those of bpf(2).
pub(super) fn create_socket_map(entries: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    }
    const XSKMAP: u32 = 17;
    let mut attr = Attr {
        map_type: XSKMAP,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
    };
    // SAFETY: the argument block is that of BPF_MAP_CREATE and holds no pointers.
    let fd = unsafe { bpf(MAP_CREATE, &mut attr)? };
    Ok(owned(fd))
}

/// Puts `socket` into a map of sockets at `queue`.
///
/// # Errors
/// Those of bpf(2).
pub(super) fn set_socket(
    map: BorrowedFd<'_>,
    queue: u32,
    socket: BorrowedFd<'_>,
) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        map: u32,
        pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let value = raw(socket);
    let mut attr = Attr {
        map: raw(map),
        pad: 0,
        key: &raw const queue as u64,
        value: &raw const value as u64,
        flags: 0,
    };
    // SAFETY: the argument block is that of BPF_MAP_UPDATE_ELEM; key and value point to the four bytes each that
    // the map was created for, and live until the call returns.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attr)? };
    Ok(())
}

/// Loads a program. `interface` is the index of the interface for [`DEVICE_BOUND`], otherwise 0.
///
/// # Errors
/// Those of bpf(2); what the verifier says is part of the text.
pub(super) fn load(
    program_type: ProgramType,
    program: &[Insn],
    flags: u32,
    interface: u32,
) -> io::Result<OwnedFd> {
    let error = match try_load(program_type, program, flags, interface, &mut []) {
        Ok(program) => return Ok(program),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Err(error),
        Err(error) => error,
    };
    let mut log = vec![0; 64 << 10];
    match try_load(program_type, program, flags, interface, &mut log) {
        Ok(program) => Ok(program),
        Err(_) => {
            let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = String::from_utf8_lossy(text);
            Err(io::Error::new(
                error.kind(),
                format!("{error}: {}", text.trim()),
            ))
        }
    }
}

fn try_load(
    program_type: ProgramType,
    program: &[Insn],
    flags: u32,
    interface: u32,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        program_type: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    // Functions of the kernel may be called only by programs under a licence that the GPL allows; this names the MIT
    // half of weft's licence in the words that the kernel knows.
    const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";
    let mut attr = Attr {
        program_type: program_type.program,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log: if log.is_empty() {
            0
        } else {
            log.as_mut_ptr() as u64
        },
        kernel_version: 0,
        flags,
        name: *b"weft\0\0\0\0\0\0\0\0\0\0\0\0",
        interface,
        attach_type: program_type.attach,
    };
    // SAFETY: the argument block is that of BPF_PROG_LOAD; its pointers lead to `instruction_count` instructions, a
    // terminated string and `log_size` writable bytes, all of which live until the call returns.
    let fd = unsafe { bpf(PROG_LOAD, &mut attr)? };
    Ok(owned(fd))
}

/// A program attached to an interface, for as long as this lives: it goes when the process dies.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

/// Attaches a program to an interface. `flags` are those of XDP (`XDP_FLAGS_*`) or TCX.
///
/// # Errors
/// Those of bpf(2).
pub(super) fn attach(
    program_type: ProgramType,
    program: BorrowedFd<'_>,
    interface: u32,
    flags: u32,
) -> io::Result<Link> {
    #[repr(C)]
    struct Attr {
        program: u32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    let attach_type = program_type.attach;
    let mut attr = Attr {
        program: raw(program),
        interface,
        attach_type,
        flags,
    };
    // SAFETY: the argument block is that of BPF_LINK_CREATE and holds no pointers.
    let fd = unsafe { bpf(LINK_CREATE, &mut attr)? };
    Ok(Link(owned(fd)))
}

impl Drop for Link {
    /// Closing would detach too, but not while a child process that is just being started holds a copy of the file
    /// descriptor.
    fn drop(&mut self) {
        #[repr(C)]
        struct Attr {
            link: u32,
        }
        let mut attr = Attr {
            link: raw(self.0.as_fd()),
        };
        // SAFETY: the argument block is that of BPF_LINK_DETACH and holds no pointers.
        // It fails if the interface is gone, and the program with it.
        let _ = unsafe { bpf(LINK_DETACH, &mut attr) };
    }
}

/// Runs an XDP program once on `frame`, as if received on queue 0, and returns its verdict and the frame as it left it.
///
/// # Errors
/// Those of bpf(2).
#[cfg(test)]
pub(super) fn test_run(program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<(u32, Vec<u8>)> {
    #[repr(C)]
    struct Attr {
        program: u32,
        verdict: u32,
        size_in: u32,
        size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }
    let mut out = vec![0; frame.len() + 64];
    let mut attr = Attr {
        program: raw(program),
        verdict: 0,
        size_in: frame.len() as u32,
        size_out: out.len() as u32,
        data_in: frame.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: the argument block is that of BPF_PROG_TEST_RUN; its pointers lead to `size_in` readable and `size_out`
    // writable bytes, which live until the call returns.
    unsafe { bpf(PROG_TEST_RUN, &mut attr)? };
    out.truncate(attr.size_out as usize);
    Ok((attr.verdict, out))
}

/// # Safety
/// `attr` is the argument block of `command` (a prefix of it), and whatever it points to is valid for the call.
unsafe fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads, and for some commands writes, at most the given size at `attr`, which is exclusively
    // borrowed; the caller vouches for the pointers inside.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<A>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as libc::c_int)
    }
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just made this file descriptor for the caller, and nothing else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}
