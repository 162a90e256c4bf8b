//! What messages of ICMP are called.

/// A message by its name, or by its type and code.
pub(super) fn message(protocol: &str, icmp_type: u8, code: u8) -> String {
    let name = match protocol {
        "icmpv6" => v6(icmp_type, code),
        _ => v4(icmp_type, code),
    };
    name.map_or_else(|| format!("{icmp_type}/{code}"), str::to_owned)
}

/// RFC 792, RFC 1191.
fn v4(icmp_type: u8, code: u8) -> Option<&'static str> {
    Some(match (icmp_type, code) {
        (0, 0) => "echo-reply",
        (3, 0) => "net-unreachable",
        (3, 1) => "host-unreachable",
        (3, 2) => "protocol-unreachable",
        (3, 3) => "port-unreachable",
        (3, 4) => "fragmentation-needed",
        (5, 0..=3) => "redirect",
        (8, 0) => "echo-request",
        (11, 0 | 1) => "time-exceeded",
        _ => return None,
    })
}

/// RFC 4443, RFC 4861, RFC 3810.
fn v6(icmp_type: u8, code: u8) -> Option<&'static str> {
    Some(match (icmp_type, code) {
        (1, 0) => "no-route",
        (1, 3) => "address-unreachable",
        (1, 4) => "port-unreachable",
        (2, 0) => "packet-too-big",
        (3, 0 | 1) => "time-exceeded",
        (128, 0) => "echo-request",
        (129, 0) => "echo-reply",
        (133, 0) => "router-solicitation",
        (134, 0) => "router-advertisement",
        (135, 0) => "neighbor-solicitation",
        (136, 0) => "neighbor-advertisement",
        (137, 0) => "redirect",
        (143, 0) => "listener-report",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_name_of_its_protocol_or_its_numbers() {
        for (protocol, icmp_type, code, shown) in [
            ("icmp", 8, 0, "echo-request"),
            ("icmp", 3, 3, "port-unreachable"),
            ("icmp", 3, 13, "3/13"),
            ("icmp", 128, 0, "128/0"),
            ("icmpv6", 128, 0, "echo-request"),
            ("icmpv6", 135, 0, "neighbor-solicitation"),
            ("icmpv6", 8, 0, "8/0"),
        ] {
            assert_eq!(message(protocol, icmp_type, code), shown);
        }
    }
}
