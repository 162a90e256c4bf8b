//! Real interfaces for tests: network namespaces, veth pairs, and raw sockets at their far ends. Needs root and `ip`
//! (iproute2); everything panics with the reason where it is not permitted.

mod namespace;
mod raw_socket;
mod tag_pusher;

pub use namespace::{Namespace, VethPair};
pub use raw_socket::RawSocket;
pub use tag_pusher::{TagPopper, TagPusher};
