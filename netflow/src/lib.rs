//! Flows: who talks to whom, counted on the packet path and told to collectors.
//!
//! A [`Record`] is what is known of a flow when it ends, or when its time is up. Nothing here has a socket or a clock: times
//! are handed in, and messages are handed out.
#![forbid(unsafe_code)]

pub mod export;
mod key;
mod meter;
mod packet;
mod plain;
mod record;
mod usual;

pub use key::{End, Place};
pub use meter::{BATCH, Ended, Ends, LOOKED_AT_ONCE, Meter, Notes, Tally, Timing};
pub use packet::{SCTP, has_ports};
pub use plain::Plain;
pub use record::{Addresses, Counts, Direction, EndReason, Flow, Interface, Record};
