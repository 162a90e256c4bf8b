//! NetFlow: who is told of a switch's flows, and how they are counted.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::number::{Number, YesNo};
use super::quantity::Seconds;
use super::words::words;
use crate::name::VswitchName;

/// Who is told of the flows of a switch, and how they are counted. Which port groups have theirs counted, they say themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetflowSpec {
    /// The switch.
    pub vswitch: VswitchName,
    /// Who is told.
    pub collectors: Collectors,
    /// In which format.
    #[serde(default)]
    pub version: NetflowVersion,
    /// A flow that goes on is told after so long.
    #[serde(default)]
    pub active: ActiveTimeout,
    /// A flow is over when no packet of it came for so long.
    #[serde(default)]
    pub idle: IdleTimeout,
    /// One packet in so many is counted, at random; 0 and 1: every one. With version 5 at most 16383.
    #[serde(default)]
    pub sampling: Sampling,
    /// The observation domain. Absent: one that follows from the names of host and switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<u32>,
    /// The address that messages come from, of the family of each collector. Absent: that of the way to the collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<SourceIp>,
    /// Whether only frames between ports of the host are counted.
    #[serde(default)]
    pub internal_only: YesNo<false>,
    /// Which frames of a port are counted: those that its VM sends, those that it receives, or both.
    #[serde(default)]
    pub direction: FlowDirection,
    /// Flows that each poll thread has room for.
    #[serde(default)]
    pub flows: FlowRoom,
}

/// A flow that goes on is told after so long: 1s-1h, 1m unless set, as in vSphere. Whole seconds, as collectors are told it.
pub type ActiveTimeout = Seconds<1, 3_600, 60>;

/// A flow is over when no packet of it came for so long: 1s-10m, 15s unless set, as in vSphere.
pub type IdleTimeout = Seconds<1, 600, 15>;

/// One packet in so many is counted; every one unless set.
pub type Sampling = Number<0, 16_384, 0>;

/// Flows that each poll thread has room for.
pub type FlowRoom = Number<1_000, 1_000_000, 65_536>;

impl NetflowSpec {
    /// What tells the flows of a switch to these collectors, with defaults for everything else.
    pub fn new(vswitch: VswitchName, collectors: Collectors) -> Self {
        Self {
            vswitch,
            collectors,
            version: NetflowVersion::default(),
            active: ActiveTimeout::default(),
            idle: IdleTimeout::default(),
            sampling: Sampling::default(),
            domain: None,
            source_ip: None,
            internal_only: YesNo::default(),
            direction: FlowDirection::default(),
            flows: FlowRoom::default(),
        }
    }
}

/// The formats of flow records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NetflowVersion {
    /// RFC 7011.
    #[default]
    Ipfix,
    /// RFC 3954.
    V9,
    /// Cisco's of 1996: IPv4 only, 16 bits for a port's number.
    V5,
}

impl NetflowVersion {
    /// The most that [`Sampling`] can be: version 5 has 14 bits for it.
    pub fn most_sampling(self) -> u32 {
        match self {
            Self::Ipfix | Self::V9 => 16_384,
            Self::V5 => 16_383,
        }
    }
}

impl NetflowVersion {
    /// What of a domain is told: version 5 has 8 bits for it.
    pub(crate) fn told_domain(self, domain: u32) -> u32 {
        match self {
            Self::Ipfix | Self::V9 => domain,
            Self::V5 => domain & 0xff,
        }
    }

    /// What there is to say of a domain that is told.
    pub(crate) fn domain_hint(self) -> &'static str {
        match self {
            Self::Ipfix | Self::V9 => "",
            Self::V5 => ", which is what version 5 tells of it,",
        }
    }
}

impl fmt::Display for NetflowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipfix => IPFIX,
            Self::V9 => "9",
            Self::V5 => "5",
        })
    }
}

const IPFIX: &str = "ipfix";

impl FromStr for NetflowVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            IPFIX => Ok(Self::Ipfix),
            "9" => Ok(Self::V9),
            "5" => Ok(Self::V5),
            _ => Err(format!("{text:?} is not one of: {IPFIX}, 9, 5")),
        }
    }
}

/// A number where it is one.
impl Serialize for NetflowVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ipfix => serializer.serialize_str(IPFIX),
            Self::V9 => serializer.serialize_u8(9),
            Self::V5 => serializer.serialize_u8(5),
        }
    }
}

impl<'de> Deserialize<'de> for NetflowVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrNumber;

        impl Visitor<'_> for WordOrNumber {
            type Value = NetflowVersion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{IPFIX}, 9 or 5")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<NetflowVersion, E> {
                text.parse()
                    .map_err(|_| E::unknown_variant(text, &[IPFIX, "9", "5"]))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<NetflowVersion, E> {
                // No number is nearer to one of them than another.
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<NetflowVersion, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(WordOrNumber)
    }
}

impl JsonSchema for NetflowVersion {
    fn schema_name() -> Cow<'static, str> {
        "NetflowVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The format of flow records.",
            "enum": [IPFIX, 9, 5, "9", "5"],
        })
    }
}

/// Which frames of a port are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FlowDirection {
    /// Those that its VM sends.
    In,
    /// Those that its VM receives.
    Out,
    /// Both.
    #[default]
    Both,
}

words!(FlowDirection { In = "in", Out = "out", Both = "both" });

impl FlowDirection {
    /// Whether what the VM sends is.
    pub fn is_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    /// Whether what the VM receives is.
    pub fn is_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }
}

/// Collectors of a switch's flows, 1-8, each once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Collector>", into = "Vec<Collector>")]
pub struct Collectors(Vec<Collector>);

impl Collectors {
    const MOST: usize = 8;

    /// These collectors.
    ///
    /// # Errors
    /// None, too many, or one that stands twice.
    pub fn new(collectors: Vec<Collector>) -> Result<Self, String> {
        let count = collectors.len();
        if !(1..=Self::MOST).contains(&count) {
            return Err(format!(
                "{count} collectors are out of range; name 1-{}",
                Self::MOST
            ));
        }
        for (index, collector) in collectors.iter().enumerate() {
            if collectors[..index].contains(collector) {
                return Err(format!(
                    "collector {collector} is named twice; name each once"
                ));
            }
        }
        Ok(Self(collectors))
    }

    /// All of them, in the order in which they were named.
    pub fn all(&self) -> &[Collector] {
        &self.0
    }
}

impl TryFrom<Vec<Collector>> for Collectors {
    type Error = String;

    fn try_from(collectors: Vec<Collector>) -> Result<Self, String> {
        Self::new(collectors)
    }
}

impl From<Collectors> for Vec<Collector> {
    fn from(collectors: Collectors) -> Self {
        collectors.0
    }
}

impl fmt::Display for Collectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl JsonSchema for Collectors {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Collectors".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": generator.subschema_for::<Collector>(),
            "minItems": 1,
            "maxItems": Self::MOST,
            "uniqueItems": true,
        })
    }
}

/// Where a collector listens: an address and a UDP port, as `10.8.0.9:2055` or `[fd00::9]:2055`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Collector(SocketAddr);

impl Collector {
    /// Its address and port.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

/// How a collector is written.
const AS_A_COLLECTOR: &str =
    "write an address and a UDP port, such as 10.8.0.9:2055 or [fd00::9]:2055";

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |problem: &str| {
            let text: String = text.chars().take(100).collect();
            Err(format!("{text:?} {problem}; {AS_A_COLLECTOR}"))
        };
        // Also what std takes beyond addresses and ports: zones, of which only link-local addresses have one.
        let Some(address) = text
            .parse::<SocketAddr>()
            .ok()
            .filter(|_| !text.contains('%'))
        else {
            return refuse("is no collector");
        };
        let (_, port) = text.rsplit_once(':').unwrap_or_default();
        if address.port() == 0 || port.starts_with('0') {
            return refuse("has no UDP port of 1-65535");
        }
        if let Some(problem) = no_station(address.ip()) {
            return refuse(problem);
        }
        Ok(Self(address))
    }
}

/// Why an address is not one of a single station that others can reach.
fn no_station(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("is the address of nobody"),
        _ if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("is the broadcast address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Some("is link-local, and says nothing of the interface that leads there")
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Some("is an IPv4 address in the form of IPv6")
        }
        _ => None,
    }
}

impl TryFrom<String> for Collector {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Collector> for String {
    fn from(collector: Collector) -> Self {
        collector.to_string()
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Collector {
    fn schema_name() -> Cow<'static, str> {
        "Collector".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a collector listens: an address and a UDP port.",
            "type": "string",
            "pattern": "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\\]):[1-9][0-9]{0,4}$",
            "examples": ["10.8.0.9:2055", "[fd00::9]:2055"],
        })
    }
}

/// The address that messages to collectors come from; it need not be the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceIp(IpAddr);

impl SourceIp {
    /// The address.
    pub fn address(self) -> IpAddr {
        self.0
    }
}

impl FromStr for SourceIp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |problem: &str| {
            let text: String = text.chars().take(100).collect();
            Err(format!(
                "{text:?} {problem}; use the address of an exporter, such as 10.8.0.1"
            ))
        };
        let Ok(address) = text.parse::<IpAddr>() else {
            return refuse("is no IP address");
        };
        match no_station(address) {
            Some(problem) => refuse(problem),
            None => Ok(Self(address)),
        }
    }
}

impl TryFrom<String> for SourceIp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SourceIp> for String {
    fn from(source: SourceIp) -> Self {
        source.to_string()
    }
}

impl fmt::Display for SourceIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for SourceIp {
    fn schema_name() -> Cow<'static, str> {
        "SourceIp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The address that messages to collectors come from.",
            "type": "string",
            "pattern": "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
            "examples": ["10.8.0.1"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_one_station_with_a_port() {
        for (text, shown) in [
            ("10.8.0.9:2055", "10.8.0.9:2055"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[FD00:0::9]:65535", "[fd00::9]:65535"),
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), shown);
        }
        for text in [
            "10.8.0.9",
            "10.8.0.9:",
            "10.8.0.9:0",
            "10.8.0.9:02055",
            "10.8.0.9:65536",
            "10.8.0:2055",
            "fd00::9:2055",
            "[fd00::9%1]:2055",
            "[fe80::9]:2055",
            "[::ffff:10.8.0.9]:2055",
            "[::]:2055",
            "[ff02::1]:2055",
            "0.0.0.0:2055",
            "224.0.0.1:2055",
            "255.255.255.255:2055",
            "collector:2055",
            "",
        ] {
            let problem = text.parse::<Collector>().unwrap_err();
            assert!(problem.contains("10.8.0.9:2055"), "{text}: {problem}");
        }
    }

    #[test]
    fn collectors_are_up_to_eight_and_each_is_one() {
        let of = |ports: std::ops::RangeInclusive<u16>| {
            let named = ports.map(|port| format!("10.8.0.9:{port}").parse().unwrap());
            Collectors::new(named.collect())
        };
        assert_eq!(of(1..=8).unwrap().all().len(), 8);
        assert_eq!(
            of(1..=9).unwrap_err(),
            "9 collectors are out of range; name 1-8"
        );
        assert!(Collectors::new(vec![]).is_err());
        let twice = ["[fd00::9]:1", "[fd00:0::9]:1"].map(|text| text.parse().unwrap());
        assert_eq!(
            Collectors::new(twice.to_vec()).unwrap_err(),
            "collector [fd00::9]:1 is named twice; name each once"
        );
    }

    #[test]
    fn a_source_is_one_station() {
        for text in ["10.8.0.1", "fd00::1"] {
            assert_eq!(text.parse::<SourceIp>().unwrap().to_string(), text);
        }
        for text in ["0.0.0.0", "::", "ff02::1", "10.8.0.1/24", "fe80::1", "auto"] {
            let problem = text.parse::<SourceIp>().unwrap_err();
            assert!(problem.contains("such as 10.8.0.1"), "{text}: {problem}");
        }
    }
}
