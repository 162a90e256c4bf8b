//! IPFIX (RFC 7011), version 10.

use super::sets::{Format, Header, Options, Templates};
use super::template::{
    ALGORITHM, COUNTED, ETHERNET, EXPORTED, Field, ICMP, ICMPV6, INTERFACE, IP, IPV4, IPV6,
    OfExporter, OfFlow, OfInterface, PATH, SAMPLING, TCP, TIMEOUTS, Template, field,
};
use crate::record::Direction;

pub(super) static FORMAT: Format = Format {
    header_length: 16,
    put_header,
    template_set: 2,
    options_template_set: 3,
    // Total and scope field count (§3.4.2.2).
    options_counts: |scopes, options| [scopes + options, scopes],
    // Data records, those of options too (§3.1).
    sequence_step: |message| message.data_records,
    templates: Templates {
        ipv4: Template {
            id: 256,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, POINT, ETHERNET, TAG, IPV4, IP, TCP],
        },
        ipv6: Template {
            id: 257,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, POINT, ETHERNET, TAG, IPV6, IP, TCP],
        },
        icmp: Template {
            id: 258,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, POINT, ETHERNET, TAG, IPV4, IP, ICMP],
        },
        icmpv6: Template {
            id: 259,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, POINT, ETHERNET, TAG, IPV6, IP, ICMPV6],
        },
        layer2: Template {
            id: 260,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, POINT, ETHERNET, TAG],
        },
    },
    options: Options {
        exporter: &[
            // The interval stands alone: nfdump 1.7.1 does not see it beside the algorithm.
            Template {
                id: 261,
                scopes: DOMAIN,
                groups: &[SAMPLING],
            },
            Template {
                id: 262,
                scopes: DOMAIN,
                groups: &[ALGORITHM, TIMEOUTS, INITIALISED],
            },
            Template {
                id: 263,
                scopes: DOMAIN,
                groups: &[EXPORTED, NOT_SENT],
            },
        ],
        interfaces: Template {
            id: 264,
            scopes: &[field(149, 4, OfInterface::Domain)],
            groups: &[INTERFACE],
        },
    },
};

/// Message header (RFC 7011 §3.1).
fn put_header(message: &mut [u8], header: &Header) {
    message[0..2].copy_from_slice(&10u16.to_be_bytes());
    message[2..4].copy_from_slice(&header.length.to_be_bytes());
    message[4..8].copy_from_slice(&header.clock.seconds().to_be_bytes());
    message[8..12].copy_from_slice(&header.sequence.to_be_bytes());
    message[12..16].copy_from_slice(&header.domain.to_be_bytes());
}

/// flowStartMilliseconds, flowEndMilliseconds: of all times that IPFIX has those that every collector reads.
const TIMES: &[Field<OfFlow>] = &[
    field(152, 8, |record, clock| {
        clock.unix(record.counts.first).into()
    }),
    field(153, 8, |record, clock| {
        clock.unix(record.counts.last).into()
    }),
];

/// observationPointId: the port that has the flow metered.
const POINT: &[Field<OfFlow>] = &[field(138, 4, |record, _| {
    let interface = match record.flow.direction {
        Direction::Ingress => record.flow.ingress,
        Direction::Egress => record.flow.egress,
    };
    interface.0.into()
})];

/// dot1qVlanId. goflow2 reads only the older vlanId, and new collectors only this.
const TAG: &[Field<OfFlow>] = &[field(243, 2, |record, _| record.flow.vlan.into())];

/// observationDomainId.
const DOMAIN: &[Field<OfExporter>] = &[field(149, 4, |exporting| exporting.settings.domain.into())];

/// systemInitTimeMilliseconds.
const INITIALISED: &[Field<OfExporter>] = &[field(160, 8, |exporting| {
    exporting.clock.unix(exporting.clock.started).into()
})];

/// notSentFlowTotalCount, notSentPacketTotalCount, notSentOctetTotalCount.
const NOT_SENT: &[Field<OfExporter>] = &[
    field(166, 8, |exporting| {
        exporting.statistics.not_sent.flows.into()
    }),
    field(167, 8, |exporting| {
        exporting.statistics.not_sent.packets.into()
    }),
    field(168, 8, |exporting| {
        exporting.statistics.not_sent.octets.into()
    }),
];
