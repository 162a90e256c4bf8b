//! Poll threads, engines, forwarding and counters: the way of a frame.
//!
//! (under construction: this is the contract that the control side is written against)
#![allow(missing_docs, unused)]

pub mod config;
mod drop_reason;

pub use config::{Admission, Config, PortConfig, PortId, Role, SwitchConfig, SwitchId};
pub use drop_reason::DropReason;
use weft_packet::MacAddr;

/// How poll threads behave when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// After a short empty spell arm the notifications and sleep.
    Adaptive,
    /// Never sleep.
    Busy,
}

/// How to start a data path.
#[derive(Clone, Debug)]
pub struct Options {
    /// A poll thread is pinned to each of these cores. Empty: one thread, not pinned.
    pub cores: Vec<usize>,
    pub poll: PollMode,
}

/// What moves a port's frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineSpec {
    /// AF_XDP sockets on every receive queue of a network interface.
    AfXdp {
        interface: String,
        /// Largest payload in octets (MTU) that the port must carry; decides the size of UMEM frames.
        mtu: u16,
        /// Promiscuous membership and receive offloads off (an uplink), or not (a VM port).
        uplink: bool,
    },
}

/// What an engine turned out to be, for `weft port show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineInfo {
    AfXdp {
        /// "native" or "generic"
        xdp_mode: &'static str,
        /// "zero-copy" or "copy"
        copy_mode: &'static str,
        /// Receive queues served.
        queues: u32,
        /// The driver's name, such as "veth".
        driver: String,
        huge_pages: bool,
        /// What the operator should know, each a full sentence (such as tags that stay invisible).
        warnings: Vec<String>,
    },
    Memory,
}

/// Why an engine could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("interface {0} does not exist")]
    NoInterface(String),
    #[error("interface {0} is held by another AF_XDP socket or XDP program")]
    InterfaceBusy(String),
    #[error("the kernel offers no AF_XDP sockets: {0}")]
    NoAfXdp(String),
    #[error("not permitted: {0}")]
    NotPermitted(String),
    #[error("MTU {mtu} does not fit interface {interface}: {reason}")]
    Mtu { interface: String, mtu: u16, reason: String },
    #[error("{interface}: {step}: {source}")]
    System { interface: String, step: &'static str, source: std::io::Error },
    #[error("port {0} is attached already")]
    Attached(u16),
}

/// What the data path tells the control side. Bounded: where the control side is slow, events are dropped, and the
/// poll threads send those that matter again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A port sent from an address that is not its own, at most once a second and port. The control side decides
    /// whether the port adopts it (design: effective MAC) and answers with [`Datapath::adopt`].
    SourceSeen { port: PortId, vlan: u16, mac: MacAddr },
    /// A port without a configured address sent its first frame and took its source as its own at once.
    AddressTaken { port: PortId, mac: MacAddr },
}

/// The counters of one port, summed over threads. Balance: `rx_frames = rx_delivered + rx_undelivered + sum(rx_drops)`
/// and `tx_attempts = tx_frames + sum(tx_drops)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames that the switch received from the port.
    pub rx_frames: u64,
    pub rx_bytes: u64,
    /// Of these: delivered to at least one destination (promiscuous and mirror copies do not count).
    pub rx_delivered: u64,
    /// Of these: sent to destinations none of which could take it; the reason is counted there.
    pub rx_undelivered: u64,
    /// Of these: dropped, by reason.
    pub rx_drops: [u64; DropReason::COUNT],
    /// Frames whose checksum was only the pseudo-header sum, and which the switch completed.
    pub rx_checksums_completed: u64,
    /// Copies meant for this port.
    pub tx_attempts: u64,
    pub tx_frames: u64,
    pub tx_bytes: u64,
    pub tx_drops: [u64; DropReason::COUNT],
}

/// What the kernel or the guest says of a port's rings, where the engine can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingStatistics {
    /// Frames that the kernel dropped before the switch could see them, and why.
    pub kernel_drops: Vec<(&'static str, u64)>,
    /// System calls made to wake the kernel for transmission.
    pub wakeups: u64,
}

/// One poll thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadStatus {
    pub index: usize,
    pub core: Option<usize>,
    /// Ports whose receive side the thread owns.
    pub ports: usize,
    pub frames: u64,
    /// Share of the time since start that the thread spent on frames, 0-1.
    pub busy: f64,
    /// Share of the time since start that the thread slept, 0-1.
    pub asleep: f64,
    /// Time stamp counter cycles in passes that moved frames, per frame.
    pub cycles_per_frame: Option<f64>,
    /// The thread's heartbeat: passes over its ports so far.
    pub passes: u64,
}

/// An address that the switch delivers to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub port: PortId,
    pub mac: MacAddr,
}

/// A running data path.
pub struct Datapath {}

impl Datapath {
    /// Starts the poll threads. Events arrive on `events`.
    pub fn start(options: Options, events: crossbeam_channel::Sender<Event>) -> std::io::Result<Self> {
        todo!()
    }

    /// Opens the engine of a port and hands its receive side to a poll thread. No frame is forwarded from or to the port
    /// until a configuration that holds it is applied. May block for up to 2 s while another process lets go of a queue.
    pub fn attach(&self, port: PortId, engine: EngineSpec) -> Result<EngineInfo, AttachError> {
        todo!()
    }

    /// Closes a port's engine; returns when no poll thread uses it any more. Nothing happens to a port that is not attached.
    pub fn detach(&self, port: PortId) {
        todo!()
    }

    /// Puts a configuration in force; returns when every poll thread forwards by it. Ports without an engine are treated as down.
    pub fn apply(&self, config: &Config) {
        todo!()
    }

    /// Gives a port an adopted address (`None` takes it away). Lives until the port is detached; the control side makes it durable.
    pub fn adopt(&self, port: PortId, mac: Option<MacAddr>) {
        todo!()
    }

    /// The address that a port took or adopted from its traffic.
    pub fn adopted(&self, port: PortId) -> Option<MacAddr> {
        todo!()
    }

    /// `None` for a port that is not attached.
    pub fn counters(&self, port: PortId) -> Option<PortCounters> {
        todo!()
    }

    pub fn ring_statistics(&self, port: PortId) -> Option<RingStatistics> {
        todo!()
    }

    pub fn engine(&self, port: PortId) -> Option<EngineInfo> {
        todo!()
    }

    pub fn threads(&self) -> Vec<ThreadStatus> {
        todo!()
    }
}
