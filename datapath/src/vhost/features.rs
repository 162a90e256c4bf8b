//! The virtio features that are offered, the same to every guest and after every restart: a guest that was running keeps what
//! it negotiated (virtio 1.2 §6, §5.1.3).

use crate::Offloads;

pub(crate) const CSUM: u64 = 1 << 0;
pub(crate) const GUEST_CSUM: u64 = 1 << 1;
pub(crate) const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
pub(crate) const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
pub(crate) const MRG_RXBUF: u64 = 1 << 15;
const MQ: u64 = 1 << 22;
const INDIRECT_DESC: u64 = 1 << 28;
pub(crate) const EVENT_IDX: u64 = 1 << 29;
/// VHOST_USER_F_PROTOCOL_FEATURES, which no guest sees.
pub(crate) const PROTOCOL: u64 = 1 << 30;
pub(crate) const VERSION_1: u64 = 1 << 32;
const IN_ORDER: u64 = 1 << 35;

/// By these a guest may leave work to the switch.
pub(crate) const FROM_GUEST: u64 = CSUM | HOST_TSO4 | HOST_TSO6 | HOST_ECN;

/// Features with their names in the virtio specification.
const NAMES: [(u64, &str); 14] = [
    (CSUM, "CSUM"),
    (GUEST_CSUM, "GUEST_CSUM"),
    (GUEST_TSO4, "GUEST_TSO4"),
    (GUEST_TSO6, "GUEST_TSO6"),
    (GUEST_ECN, "GUEST_ECN"),
    (HOST_TSO4, "HOST_TSO4"),
    (HOST_TSO6, "HOST_TSO6"),
    (HOST_ECN, "HOST_ECN"),
    (MRG_RXBUF, "MRG_RXBUF"),
    (MQ, "MQ"),
    (INDIRECT_DESC, "INDIRECT_DESC"),
    (EVENT_IDX, "EVENT_IDX"),
    (VERSION_1, "VERSION_1"),
    (IN_ORDER, "IN_ORDER"),
];

/// All that is offered.
pub(crate) const OFFERED: u64 = {
    let (mut all, mut n) = (PROTOCOL, 0);
    while n < NAMES.len() {
        all |= NAMES[n].0;
        n += 1;
    }
    all
};

/// Names of a set.
pub(super) fn names(features: u64) -> Vec<&'static str> {
    let chosen = NAMES.iter().filter(|(bit, _)| features & bit != 0);
    chosen.map(|(_, name)| *name).collect()
}

/// What a guest with these features takes.
pub(super) fn taken(features: u64) -> Offloads {
    let has = |bit| features & bit != 0;
    Offloads::NONE
        .with_if(has(GUEST_CSUM), Offloads::CHECKSUM)
        .with_if(has(GUEST_TSO4), Offloads::TCP_V4)
        .with_if(has(GUEST_TSO6), Offloads::TCP_V6)
        .with_if(has(GUEST_ECN), Offloads::ECN)
}
