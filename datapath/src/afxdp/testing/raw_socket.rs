//! A raw AF_PACKET socket: the far end of a port, without a protocol stack in between.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, netdevice, send, socket_with,
};

/// Sends and receives whole frames on one interface.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

impl RawSocket {
    /// Opens a socket on an interface of the calling thread's namespace
    /// ([`Namespace::run`](super::Namespace::run)).
    ///
    /// # Panics
    /// If that is not possible.
    pub fn open(interface: &str) -> Self {
        let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)
            .expect("opening an AF_PACKET socket (run as root)");
        let index = netdevice::name_to_index(&socket, interface).expect("the interface exists");
        // Room for every frame that a test may send before it looks.
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
        set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
        set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1);
        bind_to(&socket, index);
        Self {
            socket,
            buffer: vec![0; 1 << 17].into(),
        }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If the kernel does not take it, for example since it is longer than the MTU.
    pub fn send(&self, frame: &[u8]) {
        let sent = send(&self.socket, frame, SendFlags::empty()).expect("sending a frame");
        assert_eq!(sent, frame.len());
    }

    /// The next frame that arrives within `patience`, with its 802.1Q tag in place.
    ///
    /// # Panics
    /// If the kernel reports an error, for example since the interface went down.
    pub fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                Ok(0) => return None,
                Ok(_) => return Some(self.read()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("waiting for a frame: {error}"),
            }
        }
    }

    /// Reads the frame that is waiting, and the tag that the kernel took out of it (packet(7), PACKET_AUXDATA).
    fn read(&mut self) -> Vec<u8> {
        let mut control = [0u64; 16];
        let mut part = libc::iovec {
            iov_base: self.buffer.as_mut_ptr().cast(),
            iov_len: self.buffer.len(),
        };
        // SAFETY: `msghdr` is integers and pointers; all zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the header points to a buffer and a control buffer of the lengths it gives, both of which live
        // until the call returns.
        let len =
            unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_TRUNC) };
        assert!(
            len >= 0,
            "receiving a frame: {}",
            io::Error::last_os_error()
        );
        let mut frame = self.buffer[..len as usize].to_vec();
        if let Some(tag) = tag(&message) {
            frame.splice(12..12, tag);
        }
        frame
    }
}

/// The tag in the control data of a received frame, as it was on the wire.
fn tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel filled in the header's control buffer, which is still there.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref()? };
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: control data of this type is a `tpacket_auxdata`, at any alignment.
    let data = unsafe {
        libc::CMSG_DATA(header)
            .cast::<libc::tpacket_auxdata>()
            .read_unaligned()
    };
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let [tpid, tci] = [data.tp_vlan_tpid, data.tp_vlan_tci].map(u16::to_be_bytes);
    Some([tpid[0], tpid[1], tci[0], tci[1]])
}

/// Receives from one interface only, all protocols.
fn bind_to(socket: &OwnedFd, index: u32) {
    // SAFETY: `sockaddr_ll` is integers; all zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as libc::c_int;
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is a `sockaddr_ll` of the length given and lives until the call returns.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    assert_eq!(
        result,
        0,
        "binding a raw socket: {}",
        io::Error::last_os_error()
    );
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: these options take an integer, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            len,
        )
    };
    assert_eq!(
        result,
        0,
        "socket option {option}: {}",
        io::Error::last_os_error()
    );
}
