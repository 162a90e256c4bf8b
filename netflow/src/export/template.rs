//! What records are made of: the fields of IPFIX and NetFlow v9, which share their numbers (IANA "IPFIX Information
//! Elements"; 1 to 127 are those of RFC 3954).
//!
//! Only elements of fixed length without an enterprise number: some collectors refuse a template for one that they do not
//! know how to skip, and with it all of its data.

use super::clock::Clock;
use super::{NamedInterface, Settings, Statistics};
use crate::record::{Addresses, Direction, Record};

/// One field of a template.
pub(super) struct Field<V> {
    /// Its information element, or the type of a scope of NetFlow v9.
    pub(super) id: u16,
    /// In octets.
    pub(super) length: u16,
    /// Where its value comes from.
    pub(super) value: V,
}

/// The layout of a record. One with scopes is that of options.
pub(super) struct Template<V: 'static> {
    /// Stands for it in the sets of its records, 256 or more.
    pub(super) id: u16,
    /// What the options are true of.
    pub(super) scopes: &'static [Field<V>],
    /// The fields behind the scopes, in groups that templates share.
    pub(super) groups: &'static [&'static [Field<V>]],
}

impl<V> Template<V> {
    /// The fields behind the scopes.
    pub(super) fn options(&self) -> impl Iterator<Item = &'static Field<V>> + use<V> {
        self.groups.iter().copied().flatten()
    }

    /// All fields, scopes first.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static Field<V>> + use<V> {
        self.scopes.iter().chain(self.options())
    }

    /// Octets of a record.
    pub(super) fn record_length(&self) -> usize {
        self.fields().map(|field| usize::from(field.length)).sum()
    }
}

/// A value that is a number, an address being one too.
pub(super) type OfFlow = fn(&Record, &Clock) -> u128;

/// A value that the exporter has for itself.
pub(super) type OfExporter = fn(&Exporting<'_>) -> u128;

/// What options of the exporter are about.
pub(super) struct Exporting<'a> {
    pub(super) settings: &'a Settings,
    pub(super) statistics: &'a Statistics,
    pub(super) clock: Clock,
}

/// A value of an interface.
#[derive(Clone, Copy)]
pub(super) enum OfInterface {
    /// The exporter that it belongs to.
    Domain,
    Number,
    Name,
    Description,
}

/// Appends the lowest `length` octets of a number.
pub(super) fn put_number(message: &mut Vec<u8>, length: u16, number: u128) {
    let octets = number.to_be_bytes();
    message.extend_from_slice(&octets[octets.len() - usize::from(length)..]);
}

/// Appends text in a field of `length` octets. What does not fit is cut off between two characters, and at least one
/// zero ends it: nfdump overwrites the last octet, and refuses what is no UTF-8 then.
pub(super) fn put_text(message: &mut Vec<u8>, length: u16, text: &str) {
    let end = message.len() + usize::from(length);
    let kept = text.floor_char_boundary(usize::from(length) - 1);
    message.extend_from_slice(&text.as_bytes()[..kept]);
    message.resize(end, 0);
}

/// Appends the value of a field.
pub(super) fn put_interface(
    message: &mut Vec<u8>,
    field: &Field<OfInterface>,
    domain: u32,
    interface: &NamedInterface,
) {
    match field.value {
        OfInterface::Domain => put_number(message, field.length, domain.into()),
        OfInterface::Number => put_number(message, field.length, interface.number.0.into()),
        OfInterface::Name => put_text(message, field.length, &interface.name),
        OfInterface::Description => put_text(message, field.length, &interface.description),
    }
}

/// A field, shorter to write in tables.
pub(super) const fn field<V>(id: u16, length: u16, value: V) -> Field<V> {
    Field { id, length, value }
}

/// Octets of texts.
const TEXT: u16 = 64;

/// octetDeltaCount, packetDeltaCount, layer2OctetDeltaCount.
pub(super) const COUNTED: &[Field<OfFlow>] = &[
    field(1, 8, |record, _| record.counts.octets.into()),
    field(2, 8, |record, _| record.counts.packets.into()),
    field(352, 8, |record, _| record.counts.layer2_octets.into()),
];

/// ingressInterface, egressInterface, flowDirection, flowEndReason.
pub(super) const PATH: &[Field<OfFlow>] = &[
    field(10, 4, |record, _| record.flow.ingress.0.into()),
    field(14, 4, |record, _| record.flow.egress.0.into()),
    field(61, 1, |record, _| match record.flow.direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }),
    field(136, 1, |record, _| record.reason as u128),
];

/// sourceMacAddress, destinationMacAddress, ethernetType, vlanId, postVlanId. The VLAN is told twice: of what leaves a
/// switch, pmacct reads the latter.
pub(super) const ETHERNET: &[Field<OfFlow>] = &[
    field(56, 6, |record, _| record.flow.src_mac.to_bits().into()),
    field(80, 6, |record, _| record.flow.dst_mac.to_bits().into()),
    field(256, 2, |record, _| record.flow.ethertype.into()),
    field(58, 2, |record, _| record.flow.vlan.into()),
    field(59, 2, |record, _| record.flow.vlan.into()),
];

/// sourceIPv4Address, destinationIPv4Address.
pub(super) const IPV4: &[Field<OfFlow>] = &[
    field(8, 4, |record, _| source(record)),
    field(12, 4, |record, _| destination(record)),
];

/// sourceIPv6Address, destinationIPv6Address.
pub(super) const IPV6: &[Field<OfFlow>] = &[
    field(27, 16, |record, _| source(record)),
    field(28, 16, |record, _| destination(record)),
];

/// ipVersion, protocolIdentifier, ipClassOfService, minimumTTL, maximumTTL, sourceTransportPort,
/// destinationTransportPort. The ports are there for ICMP too: several collectors read its type and code from the latter
/// alone.
pub(super) const IP: &[Field<OfFlow>] = &[
    field(60, 1, |record, _| match record.flow.addresses {
        Addresses::None => 0,
        Addresses::V4(..) => 4,
        Addresses::V6(..) => 6,
    }),
    field(4, 1, |record, _| record.flow.protocol.into()),
    field(5, 1, |record, _| record.flow.tos.into()),
    field(52, 1, |record, _| record.counts.min_ttl.into()),
    field(53, 1, |record, _| record.counts.max_ttl.into()),
    field(7, 2, |record, _| record.flow.src_port.into()),
    field(11, 2, |record, _| record.flow.dst_port.into()),
];

/// tcpControlBits, the lower eight: pmacct 1.7.7 reads no longer ones (RFC 7011 §6.2 allows shorter numbers).
pub(super) const TCP: &[Field<OfFlow>] = &[field(6, 1, |record, _| {
    (record.counts.tcp_flags & 0xff).into()
})];

/// icmpTypeCodeIPv4.
pub(super) const ICMP: &[Field<OfFlow>] = &[field(32, 2, |record, _| record.flow.dst_port.into())];

/// icmpTypeCodeIPv6.
pub(super) const ICMPV6: &[Field<OfFlow>] =
    &[field(139, 2, |record, _| record.flow.dst_port.into())];

/// samplingInterval. Of 4 octets and never 0, or pmacct does not see it and nfdump complains.
pub(super) const SAMPLING: &[Field<OfExporter>] = &[field(34, 4, |exporting| {
    exporting.settings.interval().into()
})];

/// samplingAlgorithm: 1 is "deterministic", which one of one is; 2 "random".
pub(super) const ALGORITHM: &[Field<OfExporter>] = &[field(35, 1, |exporting| {
    if exporting.settings.interval() == 1 {
        1
    } else {
        2
    }
})];

/// flowActiveTimeout, flowIdleTimeout (s).
pub(super) const TIMEOUTS: &[Field<OfExporter>] = &[
    field(36, 2, |exporting| exporting.settings.active.into()),
    field(37, 2, |exporting| exporting.settings.idle.into()),
];

/// exportedMessageTotalCount, exportedFlowRecordTotalCount.
pub(super) const EXPORTED: &[Field<OfExporter>] = &[
    field(41, 8, |exporting| exporting.statistics.messages.into()),
    field(42, 8, |exporting| exporting.statistics.flows.into()),
];

/// ingressInterface, interfaceName, interfaceDescription. The number is no scope, where nfdump 1.7.1 does not look for it.
pub(super) const INTERFACE: &[Field<OfInterface>] = &[
    field(10, 4, OfInterface::Number),
    field(82, TEXT, OfInterface::Name),
    field(83, TEXT, OfInterface::Description),
];

fn source(record: &Record) -> u128 {
    match record.flow.addresses {
        Addresses::None => 0,
        Addresses::V4(source, _) => source.to_bits().into(),
        Addresses::V6(source, _) => source.to_bits(),
    }
}

fn destination(record: &Record) -> u128 {
    match record.flow.addresses {
        Addresses::None => 0,
        Addresses::V4(_, destination) => destination.to_bits().into(),
        Addresses::V6(_, destination) => destination.to_bits(),
    }
}
