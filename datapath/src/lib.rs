//! Poll threads, engines, forwarding and counters: the way of a frame.
//!
//! The crate knows nothing of names, inheritance or files. The control side compiles its intent into a [`Config`] and
//! hands it over:
//!
//! 1. [`Datapath::start`] starts poll threads, each pinned to a core.
//! 2. [`Datapath::attach`] opens a port's engine; a poll thread owns its receive side from then on.
//! 3. [`Datapath::apply`] turns a [`Config`] into the immutable snapshot which every poll thread reads once per burst, and
//!    returns when it is in force.
//!
//! From there on a frame goes its way without the control side:
//!
//! ```text
//! rx burst (≤32) → parse head → admit → look up → for each destination: tag → copy once
//! ```
//!
//! Unsafe code is confined to the modules that talk to shared memory and the kernel: `frame` (a frame's bytes in its
//! source's memory), `afxdp` (rings, UMEM, BPF, ioctl), `tap` and `packet_socket` (system calls), `vhost` (a guest's memory and
//! its rings), and a few lines in `prefetch` and `clock`.

pub mod afxdp;
mod clock;
pub mod config;
mod counters;
mod datapath;
mod drop_reason;
pub mod engine;
mod forward;
mod frame;
mod large_pages;
mod learned;
mod learning;
mod mac_table;
mod meter;
mod offloads;
mod packet_socket;
mod poll;
mod port;
mod prefetch;
mod shaping;
mod snapshot;
mod tap;
mod teaming;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod vhost;

pub use config::{
    Admission, Beyond, Config, LearningConfig, MeterConfig, PortConfig, PortId, Role, ShapeConfig,
    StaticAddress, SwitchConfig, SwitchId, TeamConfig, TeamId, TeamPolicy,
};
pub use counters::PortCounters;
pub use datapath::{
    Announcement, Datapath, Event, FlowOrigin, MeterStatus, Options, PollMode, Stalled,
    ThreadStatus,
};
pub use drop_reason::DropReason;
pub use engine::{
    AttachError, EngineInfo, EngineSpec, RingStatistics, SocketRole, VhostQueue, VhostState,
    VhostStatus,
};
pub use forward::{CopyKind, SourceJudgement, Step, Trace};
pub use learning::LearnedAddress;
pub use offloads::Offloads;
#[cfg(any(test, feature = "testing"))]
pub use poll::Worker;
pub use teaming::{LinkState, Move};
