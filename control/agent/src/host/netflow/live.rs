//! The flows that go on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use weft_api::{FlowEntry, Problem};
use weft_datapath::PortId;
use weft_model::{FlowDirection, PortKey, VswitchName};
use weft_netflow::export::Now;
use weft_netflow::{Addresses, Counts, Direction, Interface, Record, SCTP, has_ports};
use weft_packet::ip_protocol;

use super::exporter::now;
use crate::host::Host;
use crate::host::counters::{name, unknown};
use crate::state::State;

/// TCP's flags as letters, from the lowest bit.
const TCP_FLAGS: [char; 8] = ['F', 'S', 'R', 'P', 'A', 'U', 'E', 'C'];

impl Host {
    /// The flows that go on, with the most octets first: at most so many, of one port or uplink if one is named.
    ///
    /// # Errors
    /// `notFound` for a port that does not exist.
    pub(crate) fn flows(
        &self,
        port: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FlowEntry>, Problem> {
        let state = self.state();
        let mut of_port = None;
        if let Some(asked) = port {
            let wanted = state.wanted();
            let key = wanted.keys().find(|key| name(key) == asked);
            let key = key.ok_or_else(|| unknown(asked, wanted.keys().map(name)))?;
            of_port = state.id(key);
        }
        let flows = self.plane.datapath().flows(of_port, limit);
        let now = now();
        let exports = state.netflow_exports().into_iter();
        let names: HashMap<_, _> = exports.map(|one| (one.id, one.vswitch)).collect();
        let mut entries: Vec<_> = flows
            .iter()
            .filter_map(|(switch, ended)| entry(&state, names.get(switch)?, &ended.record(), now))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.octets));
        entries.truncate(limit);
        Ok(entries)
    }
}

fn entry(state: &State, vswitch: &VswitchName, record: &Record, now: Now) -> Option<FlowEntry> {
    let Record { flow, counts, .. } = record;
    let port = |interface: Interface| {
        let number = u16::try_from(interface.0.checked_sub(1)?).ok()?;
        Some(match state.key(PortId(number))? {
            PortKey::Port(name) => name.to_string(),
            PortKey::Uplink(interface) => interface.to_string(),
        })
    };
    let (src_ip, dst_ip): (Option<IpAddr>, Option<IpAddr>) = match flow.addresses {
        Addresses::None => (None, None),
        Addresses::V4(src, dst) => (Some(src.into()), Some(dst.into())),
        Addresses::V6(src, dst) => (Some(src.into()), Some(dst.into())),
    };
    let is_ip = src_ip.is_some();
    let ports = |port: u16| (is_ip && has_ports(flow.protocol)).then_some(port);
    let icmp = (is_ip && is_icmp(flow.protocol)).then(|| flow.dst_port.to_be_bytes());
    let Counts {
        packets,
        octets,
        first,
        last,
        tcp_flags,
        ..
    } = *counts;
    Some(FlowEntry {
        vswitch: vswitch.clone(),
        in_port: port(flow.ingress)?,
        out_port: port(flow.egress),
        direction: match flow.direction {
            Direction::Ingress => FlowDirection::In,
            Direction::Egress => FlowDirection::Out,
        },
        vlan: flow.vlan,
        src_mac: flow.src_mac,
        dst_mac: flow.dst_mac,
        ethertype: flow.ethertype,
        src_ip,
        dst_ip,
        protocol: is_ip.then(|| protocol(flow.protocol)),
        tos: flow.tos,
        src_port: ports(flow.src_port),
        dst_port: ports(flow.dst_port),
        icmp_type: icmp.map(|[icmp_type, _]| icmp_type),
        icmp_code: icmp.map(|[_, code]| code),
        packets,
        octets,
        first: clock_time(first, now),
        last: clock_time(last, now),
        duration_ms: last.saturating_sub(first),
        age_ms: now.monotonic_ms.saturating_sub(last),
        tcp_flags: (0..8)
            .rev()
            .filter(|bit| tcp_flags >> bit & 1 != 0)
            .map(|bit| TCP_FLAGS[bit])
            .collect(),
    })
}

fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, ip_protocol::ICMP | ip_protocol::ICMPV6)
}

fn protocol(number: u8) -> String {
    match number {
        ip_protocol::TCP => "tcp".to_owned(),
        ip_protocol::UDP => "udp".to_owned(),
        ip_protocol::ICMP => "icmp".to_owned(),
        ip_protocol::ICMPV6 => "icmpv6".to_owned(),
        SCTP => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// A monotonic time (ms) by the host's clock.
fn clock_time(time: u64, now: Now) -> String {
    let past = now.monotonic_ms.saturating_sub(time);
    let since_1970 = Duration::from_millis(now.unix_ms.saturating_sub(past));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since_1970).to_string()
}
