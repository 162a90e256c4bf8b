//! Labs: hosts and VMs out of network namespaces, so that all of weft can be tried on one machine.
//!
//! A lab file is a manifest with `hosts:` and `vms:`. Each host is a namespace with an agent of its own, each VM a namespace
//! with one interface, and uplinks meet on a bridge in a further namespace, the fabric. Everything is made with iproute2
//! and ethtool, and recorded under `/run/weft/lab` before it is made, so that it can be removed after any crash.
//!
//! ```no_run
//! use std::path::Path;
//!
//! # async fn example() -> Result<(), weft_lab::LabError> {
//! let wish = weft_lab::Wish::read(Path::new("examples/mirror.yaml"), None)?;
//! weft_lab::up(&wish, Path::new("/usr/bin/weft"), false).await?;
//! for member in weft_lab::list()?.iter().flat_map(|lab| &lab.members) {
//!     println!("{} {} in {}", member.kind, member.name, member.namespace);
//! }
//! weft_lab::down(Some(&wish.lab), false).await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod agent;
mod command;
mod demo;
mod down;
mod error;
mod exec;
mod list;
mod name;
mod plan;
mod process;
mod record;
mod signal;
mod up;

pub use demo::demo;
pub use down::down;
pub use error::LabError;
pub use exec::exec;
pub use list::{LabReport, LabState, Member, list};
pub use name::LabName;
pub use up::{UpOutcome, up};

/// A lab that somebody wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its name.
    pub lab: LabName,
    /// What it consists of.
    pub manifest: weft_model::Manifest,
}
