//! Numbers, ports and networks as they are written in a filter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// An address, or the first octets of one of IPv4, and how many bits it is if nothing else says so.
pub(super) fn network(text: &str) -> Option<(IpAddr, u32)> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some((address.into(), 128));
    }
    let given: Vec<u8> = text
        .split('.')
        .map(|octet| octet.parse().ok())
        .collect::<Option<_>>()?;
    let mut octets = [0; 4];
    octets.get_mut(..given.len())?.copy_from_slice(&given);
    Some((Ipv4Addr::from(octets).into(), 8 * given.len() as u32))
}

pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

pub(super) fn ports(text: &str, is_range: bool) -> Option<RangeInclusive<u16>> {
    if !is_range {
        let port = port(text)?;
        return Some(port..=port);
    }
    let (first, last) = text.split_once('-')?;
    let (first, last) = (port(first)?, port(last)?);
    Some(first.min(last)..=first.max(last))
}

/// A port by its number, or by the name of a usual one (IANA "Service Names").
fn port(text: &str) -> Option<u16> {
    Some(match text {
        "ssh" => 22,
        "telnet" => 23,
        "smtp" => 25,
        "domain" => 53,
        "bootps" => 67,
        "bootpc" => 68,
        "http" => 80,
        "ntp" => 123,
        "snmp" => 161,
        "bgp" => 179,
        "https" => 443,
        "syslog" => 514,
        _ => return u16::try_from(number(text)?).ok(),
    })
}
