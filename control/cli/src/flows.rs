//! `weft flows`: the flows that go on.

mod icmp;

use std::net::IpAddr;

use clap::Args;
use weft_api::{EtherType, FlowEntry};
use weft_model::Number;

use crate::Context;
use crate::failure::Failure;
use crate::output::{Style, or_dash};
use crate::watch;

/// The flows that go on at this moment, with the most octets first
///
/// Of ports whose port group has NetFlow enabled. A flow that ended is told to collectors, and no longer here.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft flows
  weft flows --port MyVM1 --watch
  weft flows --limit 10 -o wide      with Ethernet addresses, type of service and TCP flags
  weft flows -o json")]
pub(crate) struct Arguments {
    /// Only those that this port, or uplink by its interface, sends or receives
    #[arg(long, value_name = "PORT")]
    port: Option<String>,

    /// At most so many, 1-10000 [default: 1000]
    #[arg(long, value_name = "N")]
    limit: Option<Number<1, 10_000, 1_000>>,

    /// Show them again every second
    #[arg(long)]
    watch: bool,
}

/// What there is to say where there are no flows, of this port if one is asked for, and so many ports have theirs counted.
fn none(port: Option<&str>, ports: usize) -> String {
    if ports == 0 {
        return "no flows; they are counted where a port group has them: 'weft portgroup set NAME --netflow enabled'"
            .to_owned();
    }
    let counted = if ports == 1 {
        "1 port"
    } else {
        &format!("{ports} ports")
    };
    let of_port = port.map(|port| format!(" of {port}")).unwrap_or_default();
    format!("no flows{of_port} go on; those of {counted} are counted, see 'weft netflow list'")
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments { port, limit, watch } = arguments;
    let port = port.as_deref();
    let limit = limit.map(Number::number);
    watch::show(context, watch, || async move {
        let Context { client, output } = context;
        let flows = client.flows(port, limit).await?;
        // Once a second it would be too much of it.
        if flows.is_empty() && output.is_for_people() && !watch {
            let netflows = client.netflows().await?;
            let ports: usize = netflows.iter().map(|netflow| netflow.status.ports).sum();
            output.note(&none(port, ports));
            return Ok(String::new());
        }
        output.render(&flows, |style| table(style, &flows))
    })
    .await
}

fn table(style: Style, flows: &[FlowEntry]) -> String {
    let mut headings = vec![
        "IN",
        "OUT",
        "#VLAN",
        "PROTOCOL",
        "SOURCE",
        "DESTINATION",
        "#PACKETS",
        "#OCTETS",
        "#DURATION",
        "#AGE",
    ];
    if style.wide {
        headings.extend([
            "DIRECTION",
            "SOURCE MAC",
            "DESTINATION MAC",
            "#TOS",
            "FLAGS",
            "SWITCH",
        ]);
    }
    let rows = flows.iter().map(|flow| {
        let mut row = vec![
            flow.in_port.clone(),
            or_dash(flow.out_port.as_ref()),
            flow.vlan.to_string(),
            protocol(flow),
            end(flow.src_ip, flow.src_port, flow.src_mac),
            end(flow.dst_ip, flow.dst_port, flow.dst_mac),
            flow.packets.to_string(),
            flow.octets.to_string(),
            seconds(flow.duration_ms),
            seconds(flow.age_ms),
        ];
        if style.wide {
            row.extend([
                flow.direction.to_string(),
                flow.src_mac.to_string(),
                flow.dst_mac.to_string(),
                flow.tos.to_string(),
                or_dash(Some(&flow.tcp_flags).filter(|flags| !flags.is_empty())),
                flow.vswitch.to_string(),
            ]);
        }
        row
    });
    style.table(&headings, rows)
}

/// The IP protocol, of ICMP with its message, or what the frames carry instead of IP.
fn protocol(flow: &FlowEntry) -> String {
    if let (Some(protocol), Some(icmp_type), Some(code)) =
        (&flow.protocol, flow.icmp_type, flow.icmp_code)
    {
        return format!("{protocol} {}", icmp::message(protocol, icmp_type, code));
    }
    flow.protocol.clone().unwrap_or_else(|| {
        let named = EtherType::try_from(u64::from(flow.ethertype));
        named.map_or_else(
            |_| format!("0x{:04x}", flow.ethertype),
            |ethertype| ethertype.to_string(),
        )
    })
}

/// One end of a flow: by its IP address where it has one.
fn end(ip: Option<IpAddr>, port: Option<u16>, mac: weft_packet::MacAddr) -> String {
    match (ip, port) {
        (Some(IpAddr::V6(ip)), Some(port)) => format!("[{ip}]:{port}"),
        (Some(ip), Some(port)) => format!("{ip}:{port}"),
        (Some(ip), None) => ip.to_string(),
        (None, _) => mac.to_string(),
    }
}

/// A time in seconds, to a tenth.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use weft_model::FlowDirection;

    use super::*;

    fn flow() -> FlowEntry {
        FlowEntry {
            vswitch: "vSwitch1".parse().unwrap(),
            in_port: "MyVM1".to_owned(),
            out_port: Some("MyVM2".to_owned()),
            direction: FlowDirection::In,
            vlan: 10,
            src_mac: "02:00:00:00:00:01".parse().unwrap(),
            dst_mac: "02:00:00:00:00:02".parse().unwrap(),
            ethertype: 0x0800,
            src_ip: Some("10.0.0.1".parse().unwrap()),
            dst_ip: Some("10.0.0.2".parse().unwrap()),
            protocol: Some("tcp".to_owned()),
            tos: 0,
            src_port: Some(40_000),
            dst_port: Some(80),
            icmp_type: None,
            icmp_code: None,
            packets: 12,
            octets: 3_456,
            first: "2026-11-26T03:00:00.000Z".to_owned(),
            last: "2026-11-26T03:01:01.250Z".to_owned(),
            duration_ms: 61_250,
            age_ms: 90,
            tcp_flags: "APS".to_owned(),
        }
    }

    #[test]
    fn no_flows_are_explained() {
        let enable = "'weft portgroup set NAME --netflow enabled'";
        let nobody = none(None, 0);
        assert!(nobody.ends_with(enable), "{nobody}");
        let one = "no flows go on; those of 1 port are counted, see 'weft netflow list'";
        assert_eq!(none(None, 1), one);
        let of_port =
            "no flows of MyVM1 go on; those of 3 ports are counted, see 'weft netflow list'";
        assert_eq!(none(Some("MyVM1"), 3), of_port);
    }

    #[test]
    fn a_flow_is_shown_by_its_ends() {
        let six = FlowEntry {
            out_port: None,
            src_ip: Some("fd00::1".parse().unwrap()),
            dst_ip: Some("ff02::fb".parse().unwrap()),
            src_port: Some(5353),
            dst_port: Some(5353),
            protocol: Some("udp".to_owned()),
            ..flow()
        };
        let arp = FlowEntry {
            in_port: "eth1".to_owned(),
            vlan: 0,
            ethertype: 0x0806,
            src_ip: None,
            dst_ip: None,
            protocol: None,
            src_port: None,
            dst_port: None,
            tcp_flags: String::new(),
            ..flow()
        };
        let ping = FlowEntry {
            protocol: Some("icmp".to_owned()),
            src_port: None,
            dst_port: None,
            icmp_type: Some(8),
            icmp_code: Some(0),
            ..flow()
        };
        let tagged = FlowEntry {
            ethertype: 0x8100,
            ..arp.clone()
        };
        assert_eq!(
            table(Style::PLAIN, &[flow(), six, arp, ping, tagged]),
            "\
IN     OUT    VLAN  PROTOCOL           SOURCE             DESTINATION        PACKETS  OCTETS  DURATION    AGE
MyVM1  MyVM2    10  tcp                10.0.0.1:40000     10.0.0.2:80             12    3456    61.2 s  0.0 s
MyVM1  -        10  udp                [fd00::1]:5353     [ff02::fb]:5353         12    3456    61.2 s  0.0 s
eth1   MyVM2     0  0x0806 (arp)       02:00:00:00:00:01  02:00:00:00:00:02       12    3456    61.2 s  0.0 s
MyVM1  MyVM2    10  icmp echo-request  10.0.0.1           10.0.0.2                12    3456    61.2 s  0.0 s
eth1   MyVM2     0  0x8100             02:00:00:00:00:01  02:00:00:00:00:02       12    3456    61.2 s  0.0 s
"
        );
        let mut wide = Style::PLAIN;
        wide.wide = true;
        let shown = table(wide, &[flow()]);
        assert!(
            shown.contains("in         02:00:00:00:00:01  02:00:00:00:00:02    0  APS    vSwitch1"),
            "{shown}"
        );
    }
}
