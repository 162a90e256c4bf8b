//! The agent's API: HTTP and JSON on a Unix socket.
//!
//! Every path with its parameters, bodies and answers stands in the OpenAPI document, `docs/api/agent.json`, which is made from
//! these types. Every changing request of one object takes the query parameters of [`ChangeOptions`], `apply` and `rollback` those
//! of [`ApplyOptions`]. Every answer that is not a success is a [`Problem`].
#![forbid(unsafe_code)]

mod activity;
mod apply;
mod caller;
mod client;
mod connection;
mod event;
mod finding;
mod netflow;
mod object;
mod problem;
mod report;
mod trace;

pub use activity::{Activity, PortActivity, ThreadActivity};
pub use apply::{ApplyOptions, ApplyResult, Confirmed, Generation, ObjectChange, RollbackRequest};
pub use caller::Caller;
pub use client::Client;
pub use connection::{CONNECTED_TO, connection_of};
pub use event::{Event, EventDetails, EventKind, Severity};
pub use finding::{Cause, Finding, FindingGroup};
pub use netflow::{CollectorStatus, FlowEntry, Netflow, NetflowStatus};
pub use object::{
    AddressSource, ChangeOptions, ChangeResult, EngineStatus, Envelope, GuestQueue, GuestStatus,
    Port, PortAddress, PortLearning, PortState, PortStatus, Portgroup, PortgroupStatus,
    PortgroupsRequest, Uplink, UplinkPlace, UplinkRequest, UplinkState, UplinkTeam, Vmk, Vswitch,
    VswitchStatus, Wait,
};
pub use problem::{Problem, ProblemKind};
pub use report::{
    AllVlans, Counts, DropCount, DropsReport, FdbEntry, FdbSource, FdbVlan, PolicyLeaf,
    PolicyReport, PortDrops, PortStats, Status, ThreadReport,
};
pub use trace::{
    EtherType, Priority, TraceFrame, TraceNext, TraceOutcome, TraceReport, TraceRequest, TraceStep,
    TraceTag, Vid,
};

/// The socket of an agent that nothing else was said about.
pub const DEFAULT_SOCKET: &str = "/run/weft/agent.sock";

/// The largest body of a request, in octets: several times the manifest of a host with all the ports that it can have.
pub const LARGEST_BODY: usize = 16 << 20;
