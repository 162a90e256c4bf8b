//! The agent's API: HTTP and JSON on a Unix socket.
//!
//! | path | methods | body and answer |
//! |---|---|---|
//! | `/v1/status` | GET | [`Status`] |
//! | `/v1/vswitches` | GET, POST | list of [`Vswitch`]; [`VswitchSpec`](weft_model::VswitchSpec) → [`ChangeResult`] |
//! | `/v1/vswitches/{name}` | GET, PATCH, DELETE | [`Vswitch`]; [`VswitchPatch`](weft_model::VswitchPatch) → [`ChangeResult`] |
//! | `/v1/portgroups` | GET, POST | list of [`Portgroup`]; [`PortgroupSpec`](weft_model::PortgroupSpec) → [`ChangeResult`] |
//! | `/v1/portgroups/{name}` | GET, PATCH, DELETE | [`Portgroup`]; [`PortgroupPatch`](weft_model::PortgroupPatch) → [`ChangeResult`] |
//! | `/v1/ports` | GET, POST | list of [`Port`]; [`PortSpec`](weft_model::PortSpec) → [`ChangeResult`] |
//! | `/v1/ports/{name}` | GET, PATCH, DELETE | [`Port`]; [`PortPatch`](weft_model::PortPatch) → [`ChangeResult`] |
//! | `/v1/ports/{name}/policy` | GET | [`PolicyReport`] |
//! | `/v1/uplinks` | GET, POST | list of [`Uplink`]; [`UplinkRequest`] → [`ChangeResult`] |
//! | `/v1/vswitches/{name}/uplinks/{interface}` | DELETE | [`ChangeResult`] |
//! | `/v1/fdb?vswitch=NAME` | GET | list of [`FdbEntry`] |
//! | `/v1/stats?port=NAME` | GET | list of [`PortStats`] |
//! | `/v1/drops` | GET | [`DropsReport`] |
//! | `/v1/export` | GET | [`Manifest`](weft_model::Manifest) |
//! | `/v1/apply` | POST | [`Manifest`](weft_model::Manifest) → [`ApplyResult`] |
//! | `/v1/history` | GET | list of [`Generation`], newest first |
//! | `/v1/history/{generation}` | GET | [`Manifest`](weft_model::Manifest) |
//! | `/v1/rollback` | POST | [`RollbackRequest`] → [`ApplyResult`] |
//! | `/v1/confirm` | POST | [`Confirmed`] |
//!
//! Every changing request of one object takes the query parameters of [`ChangeOptions`], `apply` and `rollback` those of
//! [`ApplyOptions`]. Every answer that is not a success is a [`Problem`].
#![forbid(unsafe_code)]

mod apply;
mod caller;
mod client;
mod object;
mod problem;
mod report;

pub use apply::{ApplyOptions, ApplyResult, Confirmed, Generation, ObjectChange, RollbackRequest};
pub use caller::Caller;
pub use client::Client;
pub use object::{
    AddressSource, ChangeOptions, ChangeResult, EngineStatus, Envelope, GuestQueue, GuestStatus,
    Port, PortAddress, PortState, PortStatus, Portgroup, PortgroupStatus, Uplink, UplinkRequest,
    UplinkState, Vswitch, VswitchStatus, Wait,
};
pub use problem::{Problem, ProblemKind};
pub use report::{
    AllVlans, Counts, DropCount, DropsReport, FdbEntry, FdbSource, FdbVlan, Finding, PolicyLeaf,
    PolicyReport, PortDrops, PortStats, Status, ThreadReport,
};

/// The socket of an agent that nothing else was said about.
pub const DEFAULT_SOCKET: &str = "/run/weft/agent.sock";
