//! Who receives a copy of a frame that is not addressed to it, which frames are meant, and what stands before a copy that is sent to an
//! address.
//!
//! ```
//! use weft_mirror::PromiscuousSet;
//! use weft_vlan::{Policy, PortgroupVlan};
//!
//! let lab: Policy = PortgroupVlan::GUEST_TAGGING.into();
//! let office: Policy = PortgroupVlan::new(10)?.into();
//! let set = PromiscuousSet::new([(1, lab.clone()), (2, lab), (3, office)]);
//!
//! // What port 1 sends in VLAN 20 reaches the other port of the lab.
//! assert_eq!(set.receivers(20, Some(1)).collect::<Vec<_>>(), [2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod encapsulation;
mod filter;
mod promiscuous;

pub use encapsulation::{Encapsulation, ErspanId, Header, LONGEST, Mirrored};
pub use filter::{Filter, FilterError};
pub use promiscuous::PromiscuousSet;
