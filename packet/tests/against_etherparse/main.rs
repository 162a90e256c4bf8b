//! The crate against another implementation of the same formats, on captured, generated and arbitrary octets.

mod captured;
mod checksum;
mod head;
mod large;
mod segment;
mod views;
mod vnet;
