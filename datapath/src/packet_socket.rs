//! AF_PACKET sockets with virtio-net headers on a plain interface: frames as the kernel's stack has them, large ones
//! uncut (packet(7), PACKET_VNET_HDR).

use std::io::{IoSlice, IoSliceMut, Result};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socket_with, sockopt};
use weft_packet::{Tag, vnet};

/// The kernel's header on these sockets has no `num_buffers`.
const HEADER: usize = vnet::LEN - 2;

/// What may wait to be received: some 64 frames of 64 KiB as the kernel accounts for them.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Where a tag is put back: after the addresses.
const TAG_AT: usize = 12;

/// A frame that was received.
pub(crate) struct Received {
    pub(crate) header: [u8; vnet::LEN],
    /// Where in the buffer it starts.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The buffer was too short for it.
    pub(crate) is_cut: bool,
}

/// A socket that gets every frame which enters an interface, and none which leaves it.
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    pub(crate) fn open(interface: &str) -> Result<Self> {
        // Of no protocol until it is bound: nothing of other interfaces gets in.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        let index = rustix::net::netdevice::name_to_index(&fd, interface)?;
        if sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER)?;
        }
        let socket = Self(fd);
        socket.set(libc::PACKET_VNET_HDR, &1i32)?;
        socket.set(libc::PACKET_AUXDATA, &1i32)?;
        socket.set(libc::PACKET_IGNORE_OUTGOING, &1i32)?;
        let membership = libc::packet_mreq {
            mr_ifindex: index as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        socket.set(libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        socket.bind(index)?;
        Ok(socket)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Receives a frame into `buffer`, with the tag that the kernel took out of it; `None` if none is there.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Option<Received> {
        let mut header = [0; vnet::LEN];
        // Room before the frame, so that a tag moves only the addresses.
        let mut parts = [
            IoSliceMut::new(&mut header[..HEADER]),
            IoSliceMut::new(buffer.get_mut(Tag::LEN..)?),
        ];
        let mut control = MaybeUninit::<[u64; 16]>::uninit();
        // SAFETY: a msghdr is pointers and numbers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr().cast();
        message.msg_iovlen = parts.len();
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[u64; 16]>();
        // SAFETY: `IoSliceMut` has the layout of an iovec; all buffers outlive the call and are ours alone.
        let got = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        let len = usize::try_from(got).ok()?.checked_sub(HEADER)?;
        let mut received = Received {
            header,
            start: Tag::LEN,
            end: (Tag::LEN + len).min(buffer.len()),
            is_cut: message.msg_flags & libc::MSG_TRUNC != 0,
        };
        if let Some(tag) = hidden_tag(&message)
            && len >= TAG_AT
        {
            received.put_back(tag, buffer);
        }
        Some(received)
    }

    /// Sends a frame of one or more parts, of which the first is its virtio-net header.
    pub(crate) fn send(&self, parts: &[IoSlice<'_>]) -> Result<()> {
        let sent = rustix::net::sendmsg(
            &self.0,
            parts,
            &mut rustix::net::SendAncillaryBuffer::default(),
            SendFlags::DONTWAIT,
        );
        Ok(sent.map(|_| ())?)
    }

    /// The part of a virtio-net header that these sockets have.
    pub(crate) fn header(header: &[u8; vnet::LEN]) -> &[u8] {
        &header[..HEADER]
    }

    /// Frames that the kernel dropped since the last call, because too many waited.
    pub(crate) fn take_drops(&self) -> u64 {
        let mut statistics = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` octets of the structure, which is numbers only.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut len,
            )
        };
        if result < 0 {
            0
        } else {
            statistics.tp_drops.into()
        }
    }

    fn set<T: Copy>(&self, option: libc::c_int, value: &T) -> Result<()> {
        // SAFETY: the kernel reads the octets of the value, which has the type that the option wants.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        check(result)
    }

    fn bind(&self, index: u32) -> Result<()> {
        // SAFETY: the address is numbers only, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as libc::c_int;
        // SAFETY: the kernel reads the address, of the length that is stated.
        let result = unsafe {
            libc::bind(
                self.0.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        check(result)
    }
}

/// Whether trains of UDP datagrams pass as one (Linux 6.2). Nothing but the kernel's release tells: an older one refuses the
/// first train.
pub(crate) fn has_udp_segmentation() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_str().unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    let version: (u32, u32) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    version >= (6, 2)
}

impl Received {
    /// Puts the outer tag back into the frame, which starts [`Tag::LEN`] octets into the buffer.
    fn put_back(&mut self, tag: Tag, buffer: &mut [u8]) {
        buffer.copy_within(self.start..self.start + TAG_AT, 0);
        buffer[TAG_AT..TAG_AT + Tag::LEN].copy_from_slice(&tag.octets());
        self.start = 0;
        let start = u16::from_le_bytes([self.header[6], self.header[7]]);
        if start != 0 {
            // Where summing starts is counted from the start of the frame (virtio 1.2 §5.1.6.2).
            let moved = start.saturating_add(Tag::LEN as u16);
            self.header[6..8].copy_from_slice(&moved.to_le_bytes());
        }
    }
}

/// The tag that the kernel took out of a frame and tells beside it.
fn hidden_tag(message: &libc::msghdr) -> Option<Tag> {
    // SAFETY: the kernel filled the message, whose control buffer lives in the caller.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !control.is_null() {
        // SAFETY: the macros return headers that lie wholly in the control buffer.
        let header = unsafe { control.read_unaligned() };
        let len = size_of::<libc::tpacket_auxdata>();
        if header.cmsg_level == libc::SOL_PACKET
            && header.cmsg_type == libc::PACKET_AUXDATA
            // SAFETY: computes a length, reads nothing.
            && header.cmsg_len >= unsafe { libc::CMSG_LEN(len as u32) } as usize
        {
            // SAFETY: the data of this control message is as long as the structure, which is numbers only.
            let data = unsafe {
                libc::CMSG_DATA(control)
                    .cast::<libc::tpacket_auxdata>()
                    .read_unaligned()
            };
            let says = |flag: u32| data.tp_status & flag != 0;
            return says(libc::TP_STATUS_VLAN_VALID).then(|| Tag {
                tpid: if says(libc::TP_STATUS_VLAN_TPID_VALID) {
                    data.tp_vlan_tpid
                } else {
                    weft_packet::TPID_CTAG
                },
                tci: data.tp_vlan_tci,
            });
        }
        // SAFETY: `control` is a header of this message.
        control = unsafe { libc::CMSG_NXTHDR(message, control) };
    }
    None
}

fn check(result: libc::c_int) -> Result<()> {
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}
