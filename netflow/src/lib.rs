//! Flows: who talks to whom, counted on the packet path and told to collectors.
//!
//! A [`Record`] is what is known of a flow when it ends, or when its time is up. Nothing here has a socket or a clock: times
//! are handed in, and messages are handed out.
#![forbid(unsafe_code)]

mod record;

pub use record::{Addresses, Counts, Direction, EndReason, Flow, Interface, Record};
