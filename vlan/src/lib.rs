//! VLAN admission and tagging: which frames a port may send, in which VLAN they are, and how their tag has to look
//! where they leave. Pure functions over a [`Policy`] per port and the [`Head`](weft_packet::Head) of a frame.
//!
//! Inside the switch, a forwarding domain is a VLAN from 0 to 4094, where 0 is what is untagged outside.
//!
//! ```
//! use weft_packet::{Head, TagEdit, ethertype};
//! use weft_vlan::{Policy, PortgroupVlan, admit, deliver};
//!
//! let access: Policy = "10".parse::<PortgroupVlan>()?.into();
//! let guest_trunk: Policy = "4095".parse::<PortgroupVlan>()?.into();
//!
//! // An untagged frame from the access port is in VLAN 10, and a trunk gets it with a tag.
//! let frame = [2; 60];
//! let admitted = admit(&access, &Head::parse(&frame, frame.len())?)?;
//! assert_eq!(admitted.vlan, 10);
//! assert_eq!(deliver(&access, &admitted), Some(TagEdit::Keep));
//! assert!(matches!(
//!     deliver(&guest_trunk, &admitted),
//!     Some(TagEdit::Push(tag)) if tag.tpid == ethertype::TPID_CTAG && tag.vid() == 10
//! ));
//!
//! // A port without VLAN is not in VLAN 10.
//! assert_eq!(deliver(&Policy::External, &admitted), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod admission;
mod id;
mod policy;
mod portgroup;
mod set;
mod text;

pub use admission::{Admitted, Refusal, admit, deliver};
pub use id::{InvalidVlanId, VlanId};
pub use policy::Policy;
pub use portgroup::{InvalidPortgroupVlan, PortgroupVlan};
pub use set::{InvalidVlanSet, VlanSet};
