//! The host's own interface on a port group.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use weft_packet::MacAddr;

use super::{Attachment, LinkSetting, Mtu, PortSpec, is_default};
use crate::name::{HostName, InterfaceName, PortgroupName, VmkName};

/// What the host's own interface on a port group has. Its port and its device in the kernel have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmk {
    /// The device in the host's kernel, made with the port.
    pub device: InterfaceName,
    /// Its address. `None`: weft gives it none.
    pub ip: Option<IpCidr>,
    /// Largest payload of a frame. `None`: its switch's.
    pub mtu: Option<Mtu>,
}

/// The host's own interface on a port group: a port whose other side is the host's kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmkSpec {
    /// Its name, that of its port and of its device in the host's kernel.
    pub name: VmkName,
    /// The port group that it is connected to.
    pub portgroup: PortgroupName,
    /// Its address with prefix length, such as `10.0.0.11/24`. Absent: weft gives it none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpCidr>,
    /// The adapter's address. Absent: one that follows from the names of host and interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Largest payload of a frame, in octets. Absent: its switch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Whether its administrator wants it connected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub link: LinkSetting,
    /// Whether its administrator blocked it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub block: bool,
}

impl VmkSpec {
    /// A connected interface without an address.
    pub fn new(name: VmkName, portgroup: PortgroupName) -> Self {
        Self {
            name,
            portgroup,
            ip: None,
            mac: None,
            mtu: None,
            link: LinkSetting::Up,
            block: false,
        }
    }

    /// The same of a port, if it is such an interface.
    pub fn of(port: &PortSpec) -> Option<Self> {
        let Attachment::Vmk(Vmk { ip, mtu, .. }) = &port.attachment else {
            return None;
        };
        Some(Self {
            name: port.name.as_str().parse().ok()?,
            portgroup: port.portgroup.clone(),
            ip: *ip,
            mac: port.mac,
            mtu: *mtu,
            link: port.link,
            block: port.block,
        })
    }
}

impl From<VmkSpec> for PortSpec {
    fn from(spec: VmkSpec) -> Self {
        let VmkSpec {
            name,
            portgroup,
            ip,
            mac,
            mtu,
            link,
            block,
        } = spec;
        let device = InterfaceName::from(&name);
        Self {
            mac,
            link,
            block,
            ..Self::new(
                (&name).into(),
                portgroup,
                Attachment::Vmk(Vmk { device, ip, mtu }),
            )
        }
    }
}

impl PortSpec {
    /// The address of its adapter, where it is known without a frame of it: the one that is set, or that of the host's own
    /// interface.
    pub fn adapter_mac(&self, host: &HostName) -> Option<MacAddr> {
        let generated = || vmk_mac(host.as_str(), self.name.as_str());
        (self.mac).or_else(|| self.is_vmk().then(generated))
    }
}

/// The address of an adapter for which none is set: locally administered, and the same whenever a host of this name has an
/// interface of this name, so that neighbours and DHCP servers know it again after the host was installed anew.
pub fn vmk_mac(host: &str, vmk: &str) -> MacAddr {
    // FNV-1a, 64 bits (draft-eastlake-fnv §2.3): it must not change, and is no secret.
    let octets = host.bytes().chain([0]).chain(vmk.bytes());
    let hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let [a, b, c, d, e, f, g, h] = hash.to_be_bytes();
    // IEEE 802-2014 §8.4: locally administered, individual.
    MacAddr::new([(a ^ g) & 0xfc | 0x02, b ^ h, c, d, e, f])
}

/// An address that an interface can have, with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpCidr {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {problem}; {remedy}")]
pub struct IpCidrError {
    text: String,
    problem: &'static str,
    remedy: &'static str,
}

impl IpCidr {
    /// The address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the prefix, in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Why no interface of a host has this address.
    fn problem(self) -> Option<&'static str> {
        let address = self.address;
        if address.is_loopback() {
            return Some("is a loopback address");
        }
        if address.is_multicast() {
            return Some("is a multicast address");
        }
        match address {
            IpAddr::V4(address) => self.problem_of_v4(address),
            IpAddr::V6(address) if address.is_unspecified() => Some("is the unspecified address"),
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                Some("is link-local, of which the kernel gives one to every interface")
            }
            // RFC 4291 §2.5.5.2: it stands for a host that has no IPv6.
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                Some("is an IPv4 address in the form of IPv6")
            }
            IpAddr::V6(_) => None,
        }
    }

    fn problem_of_v4(self, address: Ipv4Addr) -> Option<&'static str> {
        // RFC 3021: of a network of two addresses, both are of hosts.
        let hosts = (self.prefix < 31).then(|| u32::MAX >> self.prefix);
        let host = hosts.map(|hosts| (u32::from(address) & hosts, hosts));
        match (address.octets()[0], host) {
            // RFC 1122 §3.2.1.3.
            (0, _) => Some("is in 0.0.0.0/8, of which no interface has an address"),
            _ if address.is_broadcast() => Some("is the broadcast address"),
            // RFC 1112 §4.
            (240.., _) => Some("is in 240.0.0.0/4, which is reserved"),
            (_, Some((0, _))) => Some("is the address of the network itself"),
            (_, Some((host, hosts))) if host == hosts => {
                Some("is the broadcast address of its network")
            }
            _ => None,
        }
    }
}

impl FromStr for IpCidr {
    type Err = IpCidrError;

    fn from_str(text: &str) -> Result<Self, IpCidrError> {
        let refused = |problem, remedy| {
            Err(IpCidrError {
                text: text.chars().take(100).collect(),
                problem,
                remedy,
            })
        };
        let refuse = |problem| {
            let remedy = "use an address of the host with its prefix length, such as 10.0.0.11/24";
            refused(problem, remedy)
        };
        if text.eq_ignore_ascii_case("dhcp") {
            let remedy = "leave ip out, and run a DHCP client on the interface";
            return refused("is no address", remedy);
        }
        let Some((address, prefix)) = text.split_once('/') else {
            return refuse("has no prefix length");
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return refuse("holds no IP address");
        };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let is_number = (1..=3).contains(&prefix.len())
            && prefix.bytes().all(|octet| octet.is_ascii_digit())
            && !prefix.starts_with('0');
        let prefix = prefix.parse::<u8>().ok();
        let Some(prefix) = prefix.filter(|prefix| is_number && (1..=longest).contains(prefix))
        else {
            return refuse("has a prefix length that is out of range");
        };
        let cidr = Self { address, prefix };
        match cidr.problem() {
            Some(problem) => refuse(problem),
            None => Ok(cidr),
        }
    }
}

impl TryFrom<String> for IpCidr {
    type Error = IpCidrError;

    fn try_from(text: String) -> Result<Self, IpCidrError> {
        text.parse()
    }
}

impl From<IpCidr> for String {
    fn from(cidr: IpCidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for IpCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl JsonSchema for IpCidr {
    fn schema_name() -> Cow<'static, str> {
        "IpCidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An IPv4 or IPv6 address of an interface with the length of its network's prefix.",
            "type": "string",
            "pattern": "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)/[1-9][0-9]{0,2}$",
            "examples": ["10.0.0.11/24"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_an_interface_can_have_have_one_spelling() {
        for (text, shown) in [
            ("10.0.0.11/24", "10.0.0.11/24"),
            ("10.0.0.0/31", "10.0.0.0/31"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("FD00:0::1/64", "fd00::1/64"),
        ] {
            assert_eq!(text.parse::<IpCidr>().unwrap().to_string(), shown);
        }
        for text in [
            "10.0.0.11",
            "10.0.0.11/0",
            "10.0.0.11/33",
            "10.0.0.11/024",
            "10.0.0.11/+4",
            "10.0.0/24",
            "fd00::1/129",
            "vmk0/24",
            "",
        ] {
            assert!(text.parse::<IpCidr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_that_no_interface_has_is_refused_with_its_reason() {
        for (text, problem) in [
            ("10.0.0.0/24", "address of the network itself"),
            ("10.0.10.255/24", "broadcast address of its network"),
            ("255.255.255.255/32", "broadcast address"),
            ("0.0.0.0/8", "0.0.0.0/8"),
            ("0.1.2.3/32", "0.0.0.0/8"),
            ("240.0.0.1/24", "reserved"),
            ("127.0.0.1/8", "loopback"),
            ("224.0.0.1/4", "multicast"),
            ("::/64", "unspecified"),
            ("::1/128", "loopback"),
            ("ff02::1/64", "multicast"),
            ("fe80::1/64", "link-local"),
            ("::ffff:10.0.0.11/120", "in the form of IPv6"),
            ("dhcp", "run a DHCP client"),
        ] {
            let error = text.parse::<IpCidr>().expect_err(text).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn an_adapter_has_the_same_address_whenever_it_comes_and_another_than_others() {
        let mac = vmk_mac("esxi01", "vmk0");
        assert_eq!(mac.to_string(), "c2:26:55:40:5a:ed");
        assert!(mac.is_unicast_source());
        assert_ne!(mac, vmk_mac("esxi01", "vmk1"));
        assert_ne!(mac, vmk_mac("esxi02", "vmk0"));
        assert_ne!(vmk_mac("a", "bc"), vmk_mac("ab", "c"));
    }
}
