//! Frames as bytes: what stands where in a frame, and how a frame changes on its way through the switch.
//!
//! Four kinds of things live here, none of which does I/O, allocates or panics on any input:
//!
//! * **Views** ([`ethernet`], [`arp`], [`ipv4`], [`ipv6`], [`tcp`], [`udp`]) lay names over bytes. A view is made
//!   by `new_checked`, which proves once that the fixed header is there; accessors read without failing.
//! * **The hot path**: [`Head`] is all that forwarding needs to know of a frame, parsed in one step, and
//!   [`TagEdit`] is a change of the outer VLAN tag, made while the frame is copied to its destination.
//! * **Checksums**: [`checksum::Sum`] and [`PartialChecksum`], for frames whose sender left the checksum to hardware.
//! * **Offload**: [`Offload`] is all that a sender may leave to hardware, [`vnet`] reads and writes it as virtio-net
//!   does, and [`Segmenter`] cuts a frame where its destination cannot.
//!
//! ```
//! use weft_packet::{Head, Tag, TagEdit, ethertype};
//!
//! // An ARP request as a guest sends it: to broadcast, untagged.
//! let mut frame = [0; 42];
//! frame[..6].fill(0xff);
//! frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
//! frame[12..14].copy_from_slice(&ethertype::ARP.to_be_bytes());
//!
//! let head = Head::parse(&frame, frame.len())?;
//! assert!(head.dst.is_broadcast());
//! assert_eq!(head.src.to_string(), "02:00:00:00:00:01");
//! assert_eq!(head.outer, None);
//!
//! // On its way to a trunk it gets the tag of VLAN 10.
//! let edit = TagEdit::Push(Tag::new(ethertype::TPID_CTAG, 10, 0));
//! let mut out = [0; 64];
//! let len = edit.apply(&frame, &mut out);
//! assert_eq!(len, 46);
//! let tagged = Head::parse(&out, len)?;
//! assert_eq!(tagged.outer.map(Tag::vid), Some(10));
//! assert_eq!(tagged.ethertype, ethertype::ARP);
//! # Ok::<(), weft_packet::Runt>(())
//! ```
#![forbid(unsafe_code)]

pub mod arp;
pub mod checksum;
mod edit;
pub mod ethernet;
pub mod ethertype;
mod head;
mod headers;
pub mod ip_protocol;
pub mod ipv4;
pub mod ipv6;
mod mac;
mod offload;
mod partial;
mod segment;
mod spread;
pub mod tcp;
pub mod udp;
mod vlan_tag;
pub mod vnet;
mod wire;

pub use edit::TagEdit;
pub use head::{Head, MAX_TAGS, Runt};
pub use mac::{InvalidMac, MacAddr};
pub use offload::{MAX_HEADERS, MAX_SEGMENTS, Offload, SegmentKind, Segmentation};
pub use partial::{PartialChecksum, complete, recognise};
pub use segment::Segmenter;
pub use spread::ip_spread;
pub use vlan_tag::{TPID_CTAG, TPID_STAG, Tag};

/// The bytes are too few for the header that they should hold, or the header contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the header is truncated or contradicts itself")]
pub struct Malformed;
