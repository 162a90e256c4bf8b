//! TAP devices: a host interface whose other side is this process (Documentation/networking/tuntap.rst).

use std::ffi::CStr;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketType, socket};
use weft_packet::vnet;

/// A TAP device, opened with one or more queues. The kernel removes a device that was not there before, unless it is made persistent
/// ([`set_persistent`]), when the last queue is closed.
pub(crate) struct Tap {
    pub(crate) queues: Vec<OwnedFd>,
    /// The device was not there before.
    pub(crate) created: bool,
    /// Trains of UDP datagrams pass as one (Linux 6.2).
    pub(crate) udp_segmentation: bool,
}

const CLONE_DEVICE: &CStr = c"/dev/net/tun";

impl Tap {
    /// Opens or creates the device, with up to `queues` queues: fewer where it was made for one.
    pub(crate) fn open(device: &str, queues: usize, mtu: u16) -> Result<Self> {
        let created = !exists(device)?;
        let first = attach(device, libc::IFF_MULTI_QUEUE);
        let (first, several) = match first {
            Ok(first) => (first, true),
            // The device is there and has one queue only.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (attach(device, 0)?, false),
            Err(error) => return Err(error),
        };
        let mut all = vec![first];
        while several && all.len() < queues {
            all.push(attach(device, libc::IFF_MULTI_QUEUE)?);
        }
        let mut udp_segmentation = true;
        for queue in &all {
            set_header_size(queue)?;
            let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
            let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
            if set_offload(queue, tcp | udp).is_err() {
                udp_segmentation = false;
                set_offload(queue, tcp)?;
            }
        }
        if created {
            set_mtu(device, mtu)?;
        }
        Ok(Self {
            queues: all,
            created,
            udp_segmentation,
        })
    }
}

/// Has the device stay when its last queue is closed, with its addresses and routes, or not.
pub(crate) fn set_persistent(queue: &OwnedFd, persistent: bool) -> Result<()> {
    set_number(queue, libc::TUNSETPERSIST as _, persistent.into())
}

/// Whether the device of a queue was deleted under it. One that was moved to another network namespace is still there.
pub(crate) fn is_lost(queue: &OwnedFd) -> bool {
    // SAFETY: an ifreq is numbers only, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes an ifreq, and the descriptor is open.
    let answer =
        check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNGETIFF as _, &raw mut request) });
    answer.is_err_and(|error| error.raw_os_error() == Some(libc::EBADFD))
}

/// Whether this network namespace has an interface of that name.
fn exists(device: &str) -> Result<bool> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    match rustix::net::netdevice::name_to_index(&socket, device) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens one queue of the device.
fn attach(device: &str, more_flags: libc::c_int) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let queue = rustix::fs::open(CLONE_DEVICE, flags, Mode::empty())?;
    let mut request = request(device)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | more_flags;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request is an ifreq, which the kernel reads and writes, and the descriptor is open.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })?;
    Ok(queue)
}

/// Tells that every frame has the virtio-net header with `num_buffers` before it.
fn set_header_size(queue: &OwnedFd) -> Result<()> {
    let size = vnet::LEN as libc::c_int;
    // SAFETY: the kernel reads an int, and the descriptor is open.
    check(unsafe {
        libc::ioctl(
            queue.as_raw_fd(),
            libc::TUNSETVNETHDRSZ as _,
            &raw const size,
        )
    })
}

/// Tells what the kernel may leave to us.
fn set_offload(queue: &OwnedFd, flags: libc::c_uint) -> Result<()> {
    set_number(queue, libc::TUNSETOFFLOAD as _, flags.into())
}

/// Makes a request of TAP devices whose argument is a number.
fn set_number(queue: &OwnedFd, request: libc::Ioctl, value: libc::c_ulong) -> Result<()> {
    // SAFETY: the argument is a number, and the descriptor is open.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), request, value) })
}

fn set_mtu(device: &str, mtu: u16) -> Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut request = request(device)?;
    request.ifr_ifru.ifru_mtu = mtu.into();
    // SAFETY: the request is an ifreq, which the kernel reads, and the descriptor is open.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFMTU as _,
            &raw const request,
        )
    })
}

/// A request that names the device.
fn request(device: &str) -> Result<libc::ifreq> {
    // SAFETY: an ifreq is numbers only, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last octet stays 0.
    if device.is_empty() || device.len() >= request.ifr_name.len() {
        return Err(Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn check(result: libc::c_int) -> Result<()> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}
