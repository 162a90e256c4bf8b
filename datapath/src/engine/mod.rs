//! Engines: what moves a port's frames.
//!
//! All share one shape. The receive side fills a [`Burst`] and takes the memory back when the burst is done; it belongs to
//! one poll thread. The transmit side copies frames out of a burst; it sits behind the port's lock. An enum chooses, so
//! that nothing on the packet path is a virtual call.

mod af_xdp;
mod kernel_stack;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod vhost_user;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use weft_packet::TagEdit;

use crate::frame::Burst;
use crate::port::Transmit;
use crate::{DropReason, Offloads};

pub use crate::vhost::{SocketRole, VhostQueue, VhostState, VhostStatus};
pub(crate) use af_xdp::open as open_af_xdp;
pub(crate) use kernel_stack::{open_packet, open_tap};
pub(crate) use vhost_user::open as open_vhost_user;

/// An opened engine, about to become a port.
pub(crate) struct Opened {
    /// One receive side for each queue.
    pub(crate) rx: Vec<RxEngine>,
    pub(crate) tx: Transmit,
    pub(crate) probes: Vec<Probe>,
    pub(crate) info: EngineInfo,
    /// Undoes what was done to the interface; dropped after the engine.
    pub(crate) guard: Option<Box<dyn Send>>,
    /// How a guest's connection is.
    pub(crate) vhost: Option<Arc<crate::vhost::Shared>>,
}

/// Tells what was counted for a queue, without disturbing those who serve it.
pub(crate) enum Probe {
    AfXdp(crate::afxdp::Probe),
    Packet(kernel_stack::Drops),
    Tap(OwnedFd),
}

impl Probe {
    /// Whether the device was deleted under its engine.
    pub(crate) fn has_lost_device(&self) -> bool {
        match self {
            Self::Tap(queue) => crate::tap::is_lost(queue),
            // These have their interface by its number, which the kernel's messages are about.
            Self::AfXdp(_) | Self::Packet(_) => false,
        }
    }
}

/// Has the TAP device of a port stay, or not stay, when its engine closes.
pub(crate) fn set_persistent(probes: &[Probe], persistent: bool) -> std::io::Result<()> {
    for probe in probes {
        if let Probe::Tap(queue) = probe {
            crate::tap::set_persistent(queue, persistent)?;
        }
    }
    Ok(())
}

/// Sums what probes tell.
pub(crate) fn statistics(probes: &[Probe]) -> RingStatistics {
    let mut statistics = RingStatistics::default();
    let mut counts = af_xdp::KernelDrops::default();
    for probe in probes {
        match probe {
            Probe::AfXdp(probe) => counts.add(probe, &mut statistics.wakeups),
            Probe::Packet(drops) => counts.ring_full += drops.total(),
            Probe::Tap(_) => {}
        }
    }
    statistics.kernel_drops = counts.named();
    statistics
}

/// What moves a port's frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineSpec {
    /// AF_XDP sockets on every receive queue of a network interface.
    AfXdp {
        /// The interface's name in the agent's network namespace.
        interface: String,
        /// Largest payload in octets that the port must carry; decides the size of UMEM frames.
        mtu: u16,
        /// An uplink: promiscuous membership, and receive offloads that hide tags or merge frames off.
        uplink: bool,
        /// How long opening waits for an interface that somebody else holds: a dying process lets go of it soon.
        busy_wait: std::time::Duration,
    },
    /// An AF_PACKET socket on a network interface, which keeps its offloads: for TCP between the stacks of kernels.
    Packet {
        /// The interface's name in the agent's network namespace.
        interface: String,
    },
    /// A guest's network adapter.
    VhostUser {
        /// The socket that its hypervisor, or the switch, listens on.
        socket: PathBuf,
        /// Which of the two does.
        role: SocketRole,
    },
    /// A TAP device, created where it is not there.
    Tap {
        /// Its name in the agent's network namespace.
        device: String,
        /// The MTU of a device that is created.
        mtu: u16,
    },
}

/// What an engine turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineInfo {
    /// AF_XDP sockets.
    AfXdp {
        /// Where the XDP program runs: "native" (in the driver) or "generic".
        xdp_mode: &'static str,
        /// "zero-copy" or "copy".
        copy_mode: &'static str,
        /// Receive queues served.
        queues: u32,
        /// The driver's name, such as "veth".
        driver: String,
        /// UMEM lies on huge pages.
        huge_pages: bool,
        /// What the operator should know, each a full sentence.
        warnings: Vec<String>,
        /// Receive offloads that were switched off and are restored on release.
        changed_features: Vec<String>,
    },
    /// An AF_PACKET socket.
    Packet {
        /// What the operator should know, each a full sentence.
        warnings: Vec<String>,
    },
    /// A TAP device.
    Tap {
        /// Queues served.
        queues: u32,
        /// It was not there before, and goes with the port.
        created: bool,
    },
    /// A guest's network adapter, whose state changes: see [`Datapath::vhost_status`](crate::Datapath::vhost_status).
    VhostUser,
    /// Queues in memory, for tests.
    Memory,
}

/// Why an engine could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No such interface.
    #[error("interface {0} does not exist")]
    NoInterface(String),
    /// Another socket or program has it.
    #[error("interface {0} is held by another AF_XDP socket or XDP program")]
    InterfaceBusy(String),
    /// Another process has the TAP device.
    #[error("TAP device {0} is held by another process")]
    DeviceBusy(String),
    /// The interface of that name is something else.
    #[error("interface {0} is no TAP device")]
    NotATap(String),
    /// The socket cannot be listened on.
    #[error("socket {}: {source}", socket.display())]
    Socket {
        /// Its path.
        socket: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel lacks CONFIG_XDP_SOCKETS.
    #[error("the kernel offers no AF_XDP sockets: {0}")]
    NoAfXdp(String),
    /// Missing capabilities.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// Frames of that size do not fit.
    #[error("MTU {mtu} does not fit interface {interface}: {reason}")]
    Mtu {
        /// The interface.
        interface: String,
        /// What was asked for.
        mtu: u16,
        /// What stands against it.
        reason: String,
    },
    /// A system call failed.
    #[error("{interface}: {step}: {source}")]
    System {
        /// The interface.
        interface: String,
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The port has an engine already.
    #[error("port {0} is attached already")]
    Attached(u16),
}

/// What the kernel says of a port's rings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingStatistics {
    /// Frames that the kernel dropped before the switch could see them, by reason.
    pub kernel_drops: Vec<(&'static str, u64)>,
    /// System calls made to wake the kernel for transmission.
    pub wakeups: u64,
}

/// The receive side of one queue of a port.
pub(crate) enum RxEngine {
    AfXdp(Box<af_xdp::Rx>),
    KernelStack(Box<kernel_stack::Rx>),
    VhostUser(Box<crate::vhost::Rx>),
    #[cfg(any(test, feature = "testing"))]
    Memory(Box<memory::Rx>),
    #[cfg(any(test, feature = "testing"))]
    Replay(Box<memory::Replay>),
}

impl RxEngine {
    /// Fills the burst with the frames that are there.
    #[inline]
    pub(crate) fn receive(&mut self, burst: &mut Burst) {
        match self {
            Self::AfXdp(rx) => rx.receive(burst),
            Self::KernelStack(rx) => rx.receive(burst),
            Self::VhostUser(rx) => rx.receive(burst),
            #[cfg(any(test, feature = "testing"))]
            Self::Memory(rx) => rx.receive(burst),
            #[cfg(any(test, feature = "testing"))]
            Self::Replay(rx) => rx.receive(burst),
        }
    }

    /// Does what the control side waits for, leaves frames where they are and wants to be told of none. From then on the engine
    /// becomes readable when the control side asks for more.
    pub(crate) fn attend(&mut self) {
        if let Self::VhostUser(rx) = self {
            // Before the look at what it stands for, the doorbell is made unreadable; and arming is taken back.
            rx.arm();
            rx.attend();
            rx.disarm();
        }
    }

    /// Does what the control side waits for, where frames are left for a moment; the engine goes on to be polled.
    #[inline]
    pub(crate) fn answer(&mut self) {
        if let Self::VhostUser(rx) = self {
            rx.attend();
        }
    }

    /// Whether the control side may wait for the poll thread to attend.
    pub(crate) fn is_attended(&self) -> bool {
        matches!(self, Self::VhostUser(_))
    }

    /// Ends a burst that this engine filled: forgets its frames and takes their memory back.
    #[inline]
    pub(crate) fn release(&mut self, burst: &mut Burst) {
        burst.clear();
        match self {
            Self::AfXdp(rx) => rx.release(),
            Self::KernelStack(_) => {}
            Self::VhostUser(rx) => rx.release(),
            #[cfg(any(test, feature = "testing"))]
            Self::Memory(rx) => rx.release(),
            #[cfg(any(test, feature = "testing"))]
            Self::Replay(_) => {}
        }
    }

    /// Whether looking for frames costs a system call, so that a port without any should soon be left to epoll.
    #[inline]
    pub(crate) fn is_costly_to_poll(&self) -> bool {
        matches!(self, Self::KernelStack(_))
    }

    /// Asks the other side to make the engine readable with the next frame. Returns whether there is one already, of which
    /// no word may come.
    pub(crate) fn arm(&mut self) -> bool {
        match self {
            Self::VhostUser(rx) => rx.arm(),
            _ => false,
        }
    }

    /// Tells the other side that the engine is polled from now on.
    pub(crate) fn disarm(&mut self) {
        if let Self::VhostUser(rx) = self {
            rx.disarm();
        }
    }

    /// Becomes readable when frames arrive; `None` where only looking tells.
    pub(crate) fn readiness(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::AfXdp(rx) => Some(rx.readiness()),
            Self::KernelStack(rx) => Some(rx.readiness()),
            Self::VhostUser(rx) => rx.readiness(),
            #[cfg(any(test, feature = "testing"))]
            Self::Memory(rx) => Some(rx.readiness()),
            #[cfg(any(test, feature = "testing"))]
            Self::Replay(_) => None,
        }
    }
}

/// A copy of a frame on its way to a destination.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing {
    /// The frame's index in the burst.
    pub(crate) frame: usize,
    pub(crate) edit: TagEdit,
}

/// The transmit side of a port.
pub(crate) enum TxEngine {
    /// There is no engine: its interface is gone, or is not there yet.
    Absent,
    AfXdp(Box<af_xdp::Tx>),
    KernelStack(Box<kernel_stack::Tx>),
    VhostUser(Box<crate::vhost::Tx>),
    #[cfg(any(test, feature = "testing"))]
    Memory(memory::Tx),
    #[cfg(any(test, feature = "testing"))]
    Sink(memory::Sink),
}

impl TxEngine {
    /// What the other side does itself. A frame that asks for more is finished before it is transmitted.
    #[inline]
    pub(crate) fn offloads(&self) -> Offloads {
        match self {
            Self::Absent | Self::AfXdp(_) => Offloads::NONE,
            Self::KernelStack(tx) => tx.offloads(),
            Self::VhostUser(tx) => tx.offloads(),
            #[cfg(any(test, feature = "testing"))]
            Self::Memory(tx) => tx.offloads(),
            #[cfg(any(test, feature = "testing"))]
            Self::Sink(_) => Offloads::NONE,
        }
    }

    /// Copies frames of the burst, at most a burst of them, to the other side, in order. `done` is told, by position in `copies`,
    /// the length that was sent or why nothing was.
    #[inline]
    pub(crate) fn transmit(
        &mut self,
        burst: &Burst,
        copies: impl ExactSizeIterator<Item = Outgoing> + Clone,
        mut done: impl FnMut(usize, Result<usize, DropReason>),
    ) {
        if let Self::VhostUser(tx) = self {
            return tx.transmit(burst, copies, done);
        }
        for (position, Outgoing { frame, edit }) in copies.enumerate() {
            done(position, self.transmit_one(burst, frame, edit));
        }
    }

    #[inline]
    fn transmit_one(
        &mut self,
        burst: &Burst,
        index: usize,
        edit: TagEdit,
    ) -> Result<usize, DropReason> {
        match self {
            Self::Absent | Self::VhostUser(_) => Err(DropReason::PortDown),
            Self::AfXdp(tx) => tx.transmit(burst, index, edit),
            Self::KernelStack(tx) => tx.transmit(burst, index, edit),
            #[cfg(any(test, feature = "testing"))]
            Self::Memory(tx) => tx.transmit(burst, index, edit),
            #[cfg(any(test, feature = "testing"))]
            Self::Sink(tx) => tx.transmit(burst, index, edit),
        }
    }

    /// Publishes what was copied since the last flush, and wakes a kernel that asked for that.
    #[inline]
    pub(crate) fn flush(&mut self) -> Flushed {
        match self {
            Self::Absent | Self::KernelStack(_) => Flushed::Done,
            Self::AfXdp(tx) => tx.flush(),
            Self::VhostUser(tx) => {
                tx.flush();
                Flushed::Asleep
            }
            #[cfg(any(test, feature = "testing"))]
            Self::Memory(_) | Self::Sink(_) => Flushed::Done,
        }
    }

    /// Wakes a guest that asked for that.
    #[inline]
    pub(crate) fn notify(&mut self) {
        if let Self::VhostUser(tx) = self {
            tx.notify();
        }
    }
}

/// What is left to do for a destination after it was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing.
    Done,
    /// The other side has everything, and may have to be notified: a moment later, when what was written has reached it and
    /// asking costs no wait.
    Asleep,
    /// The other side could not take everything yet, and has to be asked again.
    Again,
}
