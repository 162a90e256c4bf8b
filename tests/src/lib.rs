//! What the whole-system tests share. They run the real `weft`, as root, with real namespaces, veth pairs and AF_XDP.
//!
//! A [`Host`] is a network namespace with an agent of its own, a [`Vm`] a namespace whose `eth0` is one end of a veth pair,
//! the other end being a port of the host. Everything goes when the host is dropped, also when a test panics; a test that
//! did not panic is then [audited](Host::audit): no frame may be unaccounted for.
//!
//! ```no_run
//! # use weft_tests::Host;
//! let host = Host::new();
//! host.does("vswitch add vSwitch1");
//! host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
//! let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
//! assert!(one.reaches(&two));
//! ```
//!
//! A [`Guest`] is a VM too, but a real one: Linux under an emulating QEMU, on a vhost-user socket.
//!
//! [`Wire`] sends crafted frames and tells who received what, [`Capture`] records what an interface receives, [`Collectors`] are other
//! people's collectors of flows, [`Machine`] is a place where labs of `weft lab` can be made
//! without meeting those of this machine.
#![forbid(unsafe_code)]

mod answer;
mod binary;
mod capture;
mod collector;
mod debian;
mod docs;
mod fabric;
mod frame;
mod guest;
mod host;
mod machine;
mod ping;
mod process;
mod random;
mod shown;
mod terminal;
mod time;
mod vm;
mod wire;

pub use answer::Answer;
pub use binary::{root, weft};
pub use capture::{Capture, dissected, fields};
pub use collector::{Collectors, Export, Nfacctd, Nfcapd};
pub use debian::Debian;
pub use docs::{Block, Document, Step};
pub use fabric::{Fabric, Server};
pub use frame::Frame;
pub use guest::{GUEST_VLAN, Guest};
pub use host::{Host, Stats};
pub use machine::{Machine, Running};
pub use ping::Pings;
pub use random::{Random, rounds};
pub use shown::{matches, normalised};
pub use terminal::Terminal;
pub use time::{eventually, until};
pub use vm::{Engine, Vm};
pub use wire::{Received, Wire};
