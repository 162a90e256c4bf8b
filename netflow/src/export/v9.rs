//! NetFlow version 9 (RFC 3954).

use super::sets::{Format, Header, Options, Templates};
use super::template::{
    ALGORITHM, COUNTED, ETHERNET, EXPORTED, Field, ICMP, ICMPV6, INTERFACE, IP, IPV4, IPV6,
    OfExporter, OfFlow, OfInterface, PATH, SAMPLING, TCP, TIMEOUTS, Template, field,
};

pub(super) static FORMAT: Format = Format {
    header_length: 20,
    put_header,
    template_set: 0,
    options_template_set: 1,
    // Octets of the scopes' and of the options' definitions, 4 each (§6.1).
    options_counts: |scopes, options| [4 * scopes, 4 * options],
    // Messages (§5.1).
    sequence_step: |_| 1,
    templates: Templates {
        ipv4: Template {
            id: 256,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, ETHERNET, IPV4, IP, TCP],
        },
        ipv6: Template {
            id: 257,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, ETHERNET, IPV6, IP, TCP],
        },
        icmp: Template {
            id: 258,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, ETHERNET, IPV4, IP, ICMP],
        },
        icmpv6: Template {
            id: 259,
            scopes: &[],
            // nfdump 1.7.1 reads type and code of ICMPv6 where those of ICMP are.
            groups: &[TIMES, COUNTED, PATH, ETHERNET, IPV6, IP, ICMP, ICMPV6],
        },
        layer2: Template {
            id: 260,
            scopes: &[],
            groups: &[TIMES, COUNTED, PATH, ETHERNET],
        },
    },
    options: Options {
        exporter: &[
            // The interval goes out twice: nfdump 1.7.1 sees it only without the algorithm, 1.7.2 only with it.
            Template {
                id: 261,
                scopes: SYSTEM,
                groups: &[SAMPLING],
            },
            Template {
                id: 262,
                scopes: SYSTEM,
                groups: &[SAMPLING, ALGORITHM],
            },
            Template {
                id: 263,
                scopes: SYSTEM,
                groups: &[TIMEOUTS],
            },
            Template {
                id: 264,
                scopes: SYSTEM,
                groups: &[EXPORTED],
            },
        ],
        // nfdump and pmacct do not read a scope "Interface".
        interfaces: Template {
            id: 265,
            scopes: &[field(SCOPE_SYSTEM, 4, OfInterface::Domain)],
            groups: &[INTERFACE],
        },
    },
};

/// Packet header (RFC 3954 §5.1).
fn put_header(message: &mut [u8], header: &Header) {
    let uptime = header.clock.uptime(header.clock.now.monotonic_ms);
    message[0..2].copy_from_slice(&9u16.to_be_bytes());
    message[2..4].copy_from_slice(&header.records.to_be_bytes());
    message[4..8].copy_from_slice(&uptime.to_be_bytes());
    message[8..12].copy_from_slice(&header.clock.seconds().to_be_bytes());
    message[12..16].copy_from_slice(&header.sequence.to_be_bytes());
    message[16..20].copy_from_slice(&header.domain.to_be_bytes());
}

/// The exporter as a whole (RFC 3954 §6.1).
const SCOPE_SYSTEM: u16 = 1;

const SYSTEM: &[Field<OfExporter>] = &[field(SCOPE_SYSTEM, 4, |exporting| {
    exporting.settings.domain.into()
})];

/// FIRST_SWITCHED, LAST_SWITCHED.
const TIMES: &[Field<OfFlow>] = &[
    field(22, 4, |record, clock| {
        clock.uptime(record.counts.first).into()
    }),
    field(21, 4, |record, clock| {
        clock.uptime(record.counts.last).into()
    }),
];
