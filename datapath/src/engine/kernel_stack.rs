//! Engines towards the stack of a kernel, this host's or that of a namespace: TAP, and AF_PACKET sockets on a veth.
//!
//! Frames of up to 64 KiB pass uncut both ways, each with one system call, and what the stack left to its NIC goes on to
//! destinations that take it.

use std::io::{Error, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_packet::{TagEdit, vnet};

use super::{AttachError, EngineInfo, Opened, Probe, RxEngine, TxEngine};
use crate::frame::{BURST, Burst, EditedHead, HEAD, Slices};
use crate::packet_socket::PacketSocket;
use crate::port::transmit;
use crate::tap::Tap;
use crate::{DropReason, Offloads};

/// Room for a frame: the longest IP packet, with an Ethernet header, tags, and the virtio-net header.
const BUFFER: usize = (64 << 10) + 128;

/// What connects to the stack.
enum Link {
    Tap(OwnedFd),
    Packet(Arc<PacketSocket>),
}

impl Link {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tap(queue) => queue.as_fd(),
            Self::Packet(socket) => socket.fd().as_fd(),
        }
    }

    #[inline]
    fn send(&self, parts: &[IoSlice<'_>]) -> Result<(), Error> {
        match self {
            Self::Tap(queue) => Ok(rustix::io::writev(queue, parts).map(|_| ())?),
            Self::Packet(socket) => socket.send(parts),
        }
    }

    /// Sends a frame that lies in memory of a guest which was taken away. Reading it, as all other engines do and the kernel
    /// refuses to do, puts zeros in its place and fails the guest's port.
    #[cold]
    fn send_copy(&self, parts: &[IoSlice<'_>]) -> Result<(), Error> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        self.send(&[IoSlice::new(&parts.concat())])
    }
}

/// Counts what the kernel dropped at a socket.
pub(crate) struct Drops {
    socket: Arc<PacketSocket>,
    /// The kernel forgets what it has told.
    told: AtomicU64,
}

impl Drops {
    pub(super) fn total(&self) -> u64 {
        let new = self.socket.take_drops();
        self.told.fetch_add(new, Ordering::Relaxed) + new
    }
}

/// Opens or creates a TAP device, with as many queues as there are poll threads.
pub(crate) fn open_tap(device: &str, mtu: u16, threads: usize) -> Result<Opened, AttachError> {
    let failed = |step| {
        move |source: Error| match source.raw_os_error() {
            Some(libc::EBUSY) => AttachError::DeviceBusy(device.to_owned()),
            Some(libc::EINVAL) => AttachError::NotATap(device.to_owned()),
            Some(libc::EPERM | libc::EACCES) => {
                AttachError::NotPermitted(format!("{device}: {step}: {source}"))
            }
            _ => AttachError::System {
                interface: device.to_owned(),
                step,
                source,
            },
        }
    };
    let tap = Tap::open(device, threads, mtu).map_err(failed("opening the TAP device"))?;
    let offloads = Offloads::CHECKSUM
        .with(Offloads::TCP_V4)
        .with(Offloads::TCP_V6)
        .with(Offloads::ECN)
        .with_if(tap.udp_segmentation, Offloads::UDP);
    let clone = || {
        tap.queues[0]
            .try_clone()
            .map_err(failed("duplicating a descriptor"))
    };
    let (first, probe) = (clone()?, clone()?);
    Ok(Opened {
        info: EngineInfo::Tap {
            queues: tap.queues.len() as u32,
            created: tap.created,
        },
        tx: transmit(TxEngine::KernelStack(Box::new(Tx::new(
            Link::Tap(first),
            offloads,
        )))),
        rx: tap
            .queues
            .into_iter()
            .map(|queue| RxEngine::KernelStack(Box::new(Rx::new(Link::Tap(queue)))))
            .collect(),
        probes: vec![Probe::Tap(probe)],
        guard: None,
        vhost: None,
    })
}

/// Opens an AF_PACKET socket on an interface.
pub(crate) fn open_packet(interface: &str) -> Result<Opened, AttachError> {
    let socket = PacketSocket::open(interface).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => {
            AttachError::NotPermitted(format!("{interface}: opening the packet socket: {source}"))
        }
        _ if source.raw_os_error() == Some(libc::ENODEV) => {
            AttachError::NoInterface(interface.to_owned())
        }
        _ => AttachError::System {
            interface: interface.to_owned(),
            step: "opening the packet socket",
            source,
        },
    })?;
    let quiet = Quiet::start(interface);
    let socket = Arc::new(socket);
    let offloads = Offloads::CHECKSUM
        .with(Offloads::TCP_V4)
        .with(Offloads::TCP_V6)
        .with(Offloads::ECN)
        .with_if(crate::packet_socket::has_udp_segmentation(), Offloads::UDP);
    Ok(Opened {
        info: EngineInfo::Packet {
            warnings: quiet
                .is_none()
                .then(|| {
                    format!(
                        "IPv6 could not be switched off on {interface}, so the host itself may answer there"
                    )
                })
                .into_iter()
                .collect(),
        },
        rx: vec![RxEngine::KernelStack(Box::new(Rx::new(Link::Packet(
            Arc::clone(&socket),
        ))))],
        tx: transmit(TxEngine::KernelStack(Box::new(Tx::new(
            Link::Packet(Arc::clone(&socket)),
            offloads,
        )))),
        probes: vec![Probe::Packet(Drops {
            socket,
            told: AtomicU64::new(0),
        })],
        guard: quiet.map(|quiet| Box::new(quiet) as Box<dyn Send>),
        vhost: None,
    })
}

/// Keeps the host's own stack from speaking IPv6 on an interface that belongs to the switch.
struct Quiet {
    setting: PathBuf,
    before: String,
}

impl Quiet {
    fn start(interface: &str) -> Option<Self> {
        let setting = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"));
        let before = match std::fs::read_to_string(&setting) {
            Ok(before) => before,
            // A kernel without IPv6 is quiet as it is.
            Err(_) => "1".to_owned(),
        };
        let quiet = Self { setting, before };
        (quiet.before.trim() == "1" || std::fs::write(&quiet.setting, "1").is_ok()).then_some(quiet)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.before.trim() != "1" {
            // Fails where the interface is gone, and the setting with it.
            let _ = std::fs::write(&self.setting, &self.before);
        }
    }
}

/// The receive side of one queue.
pub(crate) struct Rx {
    link: Link,
    /// One for each frame of a burst.
    buffers: Vec<Box<[u8]>>,
}

impl Rx {
    fn new(link: Link) -> Self {
        Self {
            link,
            buffers: vec![vec![0; BUFFER].into_boxed_slice(); BURST],
        }
    }

    pub(crate) fn receive(&mut self, burst: &mut Burst) {
        for buffer in &mut self.buffers {
            if !burst.has_room(1) {
                break;
            }
            let Some(received) = receive(&self.link, buffer) else {
                break;
            };
            let frame = &buffer[received.start..received.end];
            // SAFETY: the buffer is the engine's, and is written again in the next call only, before which the burst
            // was cleared (`release`).
            unsafe { burst.push(&[frame], HEAD) };
            burst.read_vnet(&received.header);
            if received.is_cut {
                burst.mark(DropReason::TooLong);
            }
        }
    }

    pub(crate) fn readiness(&self) -> BorrowedFd<'_> {
        self.link.fd()
    }
}

/// Where a frame lies that was received.
struct Received {
    header: [u8; vnet::LEN],
    start: usize,
    end: usize,
    is_cut: bool,
}

fn receive(link: &Link, buffer: &mut [u8]) -> Option<Received> {
    match link {
        Link::Tap(queue) => {
            // Nothing there, or the device is down or gone: link news say so.
            let end = rustix::io::read(queue, &mut *buffer).ok()?;
            let header = *buffer.first_chunk()?;
            Some(Received {
                header,
                start: vnet::LEN.min(end),
                end,
                is_cut: end == buffer.len(),
            })
        }
        Link::Packet(socket) => socket.receive(buffer).map(|got| Received {
            header: got.header,
            start: got.start,
            end: got.end,
            is_cut: got.is_cut,
        }),
    }
}

/// The transmit side.
pub(crate) struct Tx {
    link: Link,
    offloads: Offloads,
    head: EditedHead,
}

impl Tx {
    fn new(link: Link, offloads: Offloads) -> Self {
        Self {
            link,
            offloads,
            head: [0; _],
        }
    }

    #[inline]
    pub(crate) fn offloads(&self) -> Offloads {
        self.offloads
    }

    pub(crate) fn transmit(
        &mut self,
        burst: &Burst,
        index: usize,
        edit: TagEdit,
    ) -> Result<usize, DropReason> {
        let header = vnet::write(burst.frames()[index].offload, edit);
        let mut parts = Slices::new();
        parts.push(IoSlice::new(match &self.link {
            Link::Tap(_) => &header,
            Link::Packet(_) => PacketSocket::header(&header),
        }));
        let len = burst
            .slices(index, edit, &mut self.head, &mut parts)
            .ok_or(DropReason::TooLong)?;
        let sent = match self.link.send(&parts) {
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => self.link.send_copy(&parts),
            sent => sent,
        };
        sent.map(|()| len).map_err(|error| refused(&error))
    }
}

/// Why the kernel did not take a frame.
#[cold]
fn refused(error: &Error) -> DropReason {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) => DropReason::RingFull,
        Some(libc::EMSGSIZE) => DropReason::TooLong,
        Some(libc::EINVAL) => DropReason::BadVnetHeader,
        // EIO and ENETDOWN while the interface is down, ENXIO and EBADFD when it is gone.
        _ => DropReason::PortDown,
    }
}
