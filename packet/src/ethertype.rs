//! EtherTypes that the switch tells apart (IEEE 802 numbers, as IANA lists them).

pub use crate::vlan_tag::{TPID_CTAG, TPID_STAG};

/// IPv4 (RFC 894).
pub const IPV4: u16 = 0x0800;
/// ARP (RFC 826).
pub const ARP: u16 = 0x0806;
/// Reverse ARP (RFC 903). Hypervisors announce a moved VM with it, since it needs no IP address.
pub const RARP: u16 = 0x8035;
/// IPv6 (RFC 2464 §3).
pub const IPV6: u16 = 0x86dd;
/// IEEE Std 802 local experimental EtherType 1, for tests.
pub const EXPERIMENTAL: u16 = 0x88b5;
