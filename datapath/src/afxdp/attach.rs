//! Attaching the XDP program in the best way that the interface offers.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::io::Errno;

use super::bpf::{self, Link};
use super::error::{Failure, Step};
use super::plan::Plan;
use super::program::{Variant, load_program};
use super::socket::retry_while_busy;

// linux/if_link.h
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// An attached program.
#[derive(Debug)]
pub(super) struct Attached {
    /// Keeps the program attached.
    pub(super) link: Link,
    /// The plan, which may have become one for multi-buffer.
    pub(super) plan: Plan,
    /// Attached in the driver.
    pub(super) native: bool,
    /// The program puts tags back.
    pub(super) vlan_tag_restored: bool,
    /// What the operator should know.
    pub(super) warnings: Vec<String>,
}

/// Attaches a program that sends every frame of the interface with this index to `sockets`: in the driver if it can,
/// with tags put back if the kernel reveals them; otherwise in the generic path.
///
/// # Errors
/// `EBUSY` or `EEXIST` if another program is there beyond `deadline`; otherwise what the generic path answered.
pub(super) fn attach(
    interface: u32,
    sockets: BorrowedFd<'_>,
    plan: Plan,
    deadline: Instant,
) -> Result<Attached, Failure> {
    let native = match attach_native(interface, sockets, plan, deadline) {
        // The peer of a veth has an MTU that only a program for multi-buffer may face.
        Err(failure) if failure.is(&[Errno::RANGE]) && !plan.multi_buffer => {
            attach_native(interface, sockets, Plan::MULTI_BUFFER, deadline)
        }
        result => result,
    };
    let reason = match native {
        Err(failure) if !is_final(&failure) => failure.source,
        result => return result,
    };
    let variant = Variant {
        restore_tags: false,
        multi_buffer: plan.multi_buffer,
    };
    let program = load_program(sockets, variant, interface).step("loading the XDP program")?;
    let link = link(program.as_fd(), interface, XDP_FLAGS_SKB_MODE, deadline)?;
    let warnings = vec![format!(
        "XDP runs in the kernel's generic path, which is slower and hides 802.1Q tags that were offloaded, since the \
         driver does not take the program: {reason}"
    )];
    Ok(Attached {
        link,
        plan,
        native: false,
        vlan_tag_restored: false,
        warnings,
    })
}

fn attach_native(
    interface: u32,
    sockets: BorrowedFd<'_>,
    plan: Plan,
    deadline: Instant,
) -> Result<Attached, Failure> {
    let attempt = |restore_tags| {
        let variant = Variant {
            restore_tags,
            multi_buffer: plan.multi_buffer,
        };
        let program = load_program(sockets, variant, interface).step("loading the XDP program")?;
        link(program.as_fd(), interface, XDP_FLAGS_DRV_MODE, deadline)
    };
    let (link, vlan_tag_restored) = match attempt(true) {
        Ok(link) => (link, true),
        Err(failure) if is_final(&failure) || failure.is(&[Errno::RANGE]) => return Err(failure),
        Err(_) => (attempt(false)?, false),
    };
    Ok(Attached {
        link,
        plan,
        native: true,
        vlan_tag_restored,
        warnings: Vec::new(),
    })
}

fn link(
    program: BorrowedFd<'_>,
    interface: u32,
    flags: u32,
    deadline: Instant,
) -> Result<Link, Failure> {
    let step = "attaching the XDP program";
    retry_while_busy(deadline, || {
        bpf::attach(bpf::XDP, program, interface, flags).step(step)
    })
}

/// Whether no other way of attaching would do better.
fn is_final(failure: &Failure) -> bool {
    failure.is_busy() || failure.is(&[Errno::PERM, Errno::ACCESS, Errno::NODEV])
}
