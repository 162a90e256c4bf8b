//! What holds an interface while it is a port, and gives it back.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::bpf::Link;
use super::offloads::Offloads;

/// What holds the interface: the attached program, promiscuous mode, and the features that are off. Gives all of it
/// back when dropped; all but the features also end with the process.
#[derive(Debug)]
pub struct Guard {
    // In the order in which they are released.
    _link: Link,
    _promiscuous: Option<Promiscuous>,
    offloads: Option<Offloads>,
}

impl Guard {
    pub(super) fn new(
        link: Link,
        promiscuous: Option<Promiscuous>,
        offloads: Option<Offloads>,
    ) -> Self {
        Self {
            _link: link,
            _promiscuous: promiscuous,
            offloads,
        }
    }

    /// The features that are off and were on.
    pub(super) fn changed_features(&self) -> Vec<String> {
        self.offloads
            .as_ref()
            .map(|offloads| offloads.changed().to_vec())
            .unwrap_or_default()
    }
}

/// Membership in an interface's promiscuous mode (packet(7)), which counts its members.
#[derive(Debug)]
pub(super) struct Promiscuous {
    socket: OwnedFd,
    interface: u32,
}

impl Promiscuous {
    /// Joins, for as long as the result lives.
    ///
    /// # Errors
    /// Those of socket(2) and of PACKET_ADD_MEMBERSHIP.
    pub(super) fn join(interface: u32) -> io::Result<Self> {
        // Without a protocol, the socket receives nothing.
        let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        let membership = Self { socket, interface };
        membership.set(libc::PACKET_ADD_MEMBERSHIP)?;
        Ok(membership)
    }

    fn set(&self, option: libc::c_int) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: self.interface as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        let len = size_of_val(&request) as libc::socklen_t;
        let (socket, level) = (self.socket.as_raw_fd(), libc::SOL_PACKET);
        // SAFETY: both membership options take a `packet_mreq` of this length, which lives until the call returns.
        let result =
            unsafe { libc::setsockopt(socket, level, option, (&raw const request).cast(), len) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl Drop for Promiscuous {
    /// Closing the socket would leave too, but not while a child process that is just being started holds a copy.
    fn drop(&mut self) {
        // Fails if the interface is gone.
        let _ = self.set(libc::PACKET_DROP_MEMBERSHIP);
    }
}
