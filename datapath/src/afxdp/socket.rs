//! One AF_XDP socket: a queue of an interface, bound and mapped.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::desc::Desc;
use super::error::{Failure, Step};
use super::ring::{Consumer, Layout, Producer};
use super::rx::RxQueue;
use super::tx::TxQueue;
use super::umem::Slice;

/// How a queue is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// Index of the interface.
    pub(super) interface: u32,
    /// Entries of the receive and the transmit ring.
    pub(super) ring_size: u32,
    /// Frames may take several buffers.
    pub(super) multi_buffer: bool,
    /// Do not ask the driver for zero-copy: generic XDP cannot have it.
    pub(super) copy: bool,
    /// Until when to wait for a queue that another socket holds.
    pub(super) deadline: Instant,
}

/// An open queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) receive: RxQueue,
    pub(super) transmit: TxQueue,
    pub(super) zero_copy: bool,
}

/// Registers `slice` as the UMEM of a new socket and binds it to queue `queue`.
///
/// # Errors
/// A [`Failure`] that names the step; `EBUSY` if the queue is held beyond the deadline.
pub(super) fn open(setup: &Setup, queue: u32, slice: Slice) -> Result<Queue, Failure> {
    let socket = new()?;
    register(&socket, &slice)?;
    let rings = Rings::map(&socket, setup.ring_size, &slice)?;
    bind_to(&socket, setup, queue)?;
    let options = sockopt::xdp_options(&socket).step("reading the copy mode")?;
    let zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
    let socket = Arc::new(socket);
    let (
        Slice {
            receive, transmit, ..
        },
        shared,
    ) = (slice, Arc::clone(&socket));
    let multi_buffer = setup.multi_buffer;
    Ok(Queue {
        receive: RxQueue::new(rings.receive, rings.fill, receive, multi_buffer, socket),
        transmit: TxQueue::new(
            rings.transmit,
            rings.completion,
            transmit,
            multi_buffer,
            zero_copy,
            shared,
        ),
        zero_copy,
    })
}

/// An AF_XDP socket that is not a queue's yet.
///
/// # Errors
/// `EAFNOSUPPORT` if the kernel has none; `EPERM` without CAP_NET_RAW.
pub(super) fn new() -> Result<OwnedFd, Failure> {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::XDP, SocketType::RAW, flags, None).step("opening an AF_XDP socket")
}

fn register(socket: &OwnedFd, slice: &Slice) -> Result<(), Failure> {
    let umem = XdpUmemReg {
        addr: slice.address,
        len: slice.len,
        chunk_size: slice.frame_size,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(socket, umem).step("registering the UMEM")
}

/// The four rings of a socket.
struct Rings {
    receive: Consumer<Desc>,
    fill: Producer<u64>,
    transmit: Producer<Desc>,
    completion: Consumer<u64>,
}

impl Rings {
    /// The completion ring has room for every frame of its half, so that the kernel never waits for it. The fill ring has
    /// twice that: the kernel hands a received frame over before it says that it took the frame's entry out of the fill
    /// ring (`xsk_flush`), so a frame that comes back quickly would find a ring without spare room full.
    fn map(socket: &OwnedFd, size: u32, slice: &Slice) -> Result<Self, Failure> {
        let fill_size = 2 * slice.receive.count().next_power_of_two();
        let completion_size = slice.transmit.count().next_power_of_two();
        sockopt::set_xdp_umem_fill_ring_size(socket, fill_size).step("sizing the fill ring")?;
        sockopt::set_xdp_umem_completion_ring_size(socket, completion_size)
            .step("sizing the completion ring")?;
        sockopt::set_xdp_rx_ring_size(socket, size).step("sizing the receive ring")?;
        sockopt::set_xdp_tx_ring_size(socket, size).step("sizing the transmit ring")?;
        let offsets = sockopt::xdp_mmap_offsets(socket).step("reading the rings' layout")?;
        let layouts = [offsets.rx, offsets.fr, offsets.tx, offsets.cr];
        let [receive, fill, transmit, completion] = layouts.map(|ring| Layout::new(&ring));
        let step = "mapping the rings";
        let socket = socket.as_fd();
        // SAFETY: the sizes were just set, the layouts are what the kernel reports for them, `Desc` and u64 are the
        // entries of these rings (linux/if_xdp.h), and each ring of this new socket is mapped once.
        unsafe {
            Ok(Self {
                receive: Consumer::map(socket, XDP_PGOFF_RX_RING, receive, size).step(step)?,
                fill: Producer::map(socket, XDP_UMEM_PGOFF_FILL_RING, fill, fill_size)
                    .step(step)?,
                transmit: Producer::map(socket, XDP_PGOFF_TX_RING, transmit, size).step(step)?,
                completion: Consumer::map(
                    socket,
                    XDP_UMEM_PGOFF_COMPLETION_RING,
                    completion,
                    completion_size,
                )
                .step(step)?,
            })
        }
    }
}

/// Binds with zero-copy if the driver has it (the kernel falls back to copying by itself). A process that is just
/// dying holds its queues for some tens of milliseconds, so a busy queue is tried again until the deadline.
fn bind_to(socket: &OwnedFd, setup: &Setup, queue: u32) -> Result<(), Failure> {
    let mut flags = SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    flags.set(SocketAddrXdpFlags::XDP_COPY, setup.copy);
    flags.set(SocketAddrXdpFlags::XDP_USE_SG, setup.multi_buffer);
    let address = SocketAddrXdp::new(flags, setup.interface, queue);
    retry_while_busy(setup.deadline, || {
        bind(socket, &address).map_err(|error| {
            let step = match error {
                Errno::NETDOWN => "binding to a queue (set the interface up first)",
                _ => "binding to a queue",
            };
            Failure {
                step,
                source: error.into(),
            }
        })
    })
}

/// Tries until it works, fails for another reason than that somebody else holds it, or `deadline` has passed.
pub(super) fn retry_while_busy<T>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(failure) if failure.is_busy() && Instant::now() < deadline => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}
