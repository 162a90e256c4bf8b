//! Dry frames: what would happen to them, who decides, and what would let them pass.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use weft_model::ObjectRef;
use weft_packet::{MacAddr, Tag, ethertype};

/// A frame to be traced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraceRequest {
    /// The port that sends it, or an uplink by its interface.
    pub port: String,
    /// Its destination.
    pub dst: MacAddr,
    /// Its source. Absent: the first address of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<MacAddr>,
    /// The VIDs of its tags, the outer one first; at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<Vid>,
    /// The priority in its outer tag; without `vlans` it is a priority tag's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What follows its tags. Absent: IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ethertype: Option<EtherType>,
    /// Octets of the whole frame without its FCS. Absent: the shortest that Ethernet knows, 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
}

impl TraceRequest {
    /// A small untagged frame from a port's own address.
    pub fn new(port: impl Into<String>, dst: MacAddr) -> Self {
        Self {
            port: port.into(),
            dst,
            src: None,
            vlans: Vec::new(),
            priority: None,
            ethertype: None,
            length: None,
        }
    }
}

/// What would happen to a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceReport {
    /// The port or uplink that sends it.
    pub port: ObjectRef,
    /// The frame.
    pub frame: TraceFrame,
    /// What is decided about it, in order, and then what each destination gets.
    pub steps: Vec<TraceStep>,
    /// Whether a destination gets it. A copy for a promiscuous port does not count.
    pub delivered: bool,
    /// The drop reason, unless it is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What becomes of it, in words.
    pub verdict: String,
    /// What to do about it, unless it is delivered or nothing on this host can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<TraceNext>,
}

/// A traced frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceFrame {
    /// Its destination.
    pub dst: MacAddr,
    /// Its source.
    pub src: MacAddr,
    /// Its tags, the outer one first.
    pub tags: Vec<TraceTag>,
    /// What follows its tags.
    pub ethertype: EtherType,
    /// Octets of the whole frame without its FCS.
    pub length: usize,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceTag {
    /// Its VID; 0 makes it a priority tag.
    pub vlan: u16,
    /// Its priority code point.
    pub priority: u8,
}

impl From<Tag> for TraceTag {
    fn from(tag: Tag) -> Self {
        Self {
            vlan: tag.vid(),
            priority: tag.pcp(),
        }
    }
}

impl fmt::Display for TraceTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { vlan: 0, priority } => write!(f, "priority {priority}"),
            Self { vlan, priority: 0 } => write!(f, "VLAN {vlan}"),
            Self { vlan, priority } => write!(f, "VLAN {vlan} priority {priority}"),
        }
    }
}

/// One decision about a frame, or what one destination gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceStep {
    /// `port`, `parse`, `length`, `vlan`, `source`, `lookUp`, then for each destination `deliver` or `promiscuous`. Later
    /// versions add more.
    pub step: String,
    /// How it ends.
    pub outcome: TraceOutcome,
    /// The drop reason, where it ends so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is decided, in words.
    pub detail: String,
    /// The object that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Its setting that decides, as a path in manifests, such as `security.forgedTransmits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The setting's value, as the command line writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The destination, of a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ObjectRef>,
    /// The tags with which the copy leaves, of one that does; empty: untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<TraceTag>>,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TraceOutcome {
    /// The frame goes on.
    Pass,
    /// The frame, or this copy of it, is dropped.
    Drop,
}

/// What to do about a frame that is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceNext {
    /// The commands to run, in order.
    pub commands: Vec<String>,
    /// Whether the frame is then delivered. That was tried: it was traced again in a copy of the configuration with these
    /// changes. Otherwise the last command only leads on.
    pub delivers: bool,
    /// What comes of it, or what stands in the way.
    pub effect: String,
    /// How many ports the changes concern.
    pub ports: usize,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($number:ty): $most:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($number);

        impl $name {
            /// The number.
            pub const fn number(self) -> $number {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = String;

            fn try_from(number: u64) -> Result<Self, String> {
                match <$number>::try_from(number) {
                    Ok(fits) if fits <= $most => Ok(Self(fits)),
                    _ => Err(format!("{number} is out of range: {}", $what)),
                }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"description": $what, "type": "integer", "minimum": 0, "maximum": $most})
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> Self {
                number.0.into()
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let number: u64 = text.parse().map_err(|_| format!("not a number: expected {}", $what))?;
                number.try_into()
            }
        }
    };
}

number! {
    /// The VID in a tag, 0-4095: also those that name no VLAN, which a frame may carry all the same.
    Vid(u16): 4095, "a VID is 0-4095"
}

number! {
    /// The priority code point in a tag, 0-7.
    Priority(u8): 7, "a priority is 0-7"
}

/// What follows the tags of a frame: an EtherType that announces no further tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct EtherType(u16);

/// Those that have a name on the command line.
const NAMED: [(u16, &str); 4] = [
    (ethertype::IPV4, "ipv4"),
    (ethertype::ARP, "arp"),
    (ethertype::RARP, "rarp"),
    (ethertype::IPV6, "ipv6"),
];

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(ethertype::IPV4);

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u64> for EtherType {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        match u16::try_from(number) {
            Ok(tpid) if Tag::is_tpid(tpid) => Err(format!(
                "EtherType {tpid:#06x} announces a tag: name the tag as a VLAN, and here what follows it"
            )),
            Ok(ethertype) => Ok(Self(ethertype)),
            Err(_) => Err(format!(
                "EtherType {number} is out of range: 0-65535, such as 0x0800"
            )),
        }
    }
}

impl JsonSchema for EtherType {
    fn schema_name() -> Cow<'static, str> {
        "EtherType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What follows the tags of a frame: an EtherType that announces no further tag.",
            "type": "integer",
            "minimum": 0,
            "maximum": u16::MAX,
            "not": {"enum": [ethertype::TPID_CTAG, ethertype::TPID_STAG]},
        })
    }
}

impl From<EtherType> for u64 {
    fn from(ethertype: EtherType) -> Self {
        ethertype.0.into()
    }
}

impl FromStr for EtherType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if let Some((number, _)) = NAMED.iter().find(|(_, name)| *name == lower) {
            return Ok(Self(*number));
        }
        let number = match lower.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => lower.parse().ok(),
        };
        number
            .ok_or_else(|| {
                "not an EtherType: expected a number such as 0x0800, or ipv4, ipv6, arp, rarp"
                    .to_owned()
            })?
            .try_into()
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)?;
        match NAMED.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethertypes_are_numbers_or_names_and_no_tags() {
        let parsed = |text: &str| text.parse().map(EtherType::number);
        for (text, number) in [
            ("0x0806", 0x0806),
            ("ARP", 0x0806),
            ("2048", 0x0800),
            ("ipv6", 0x86dd),
        ] {
            assert_eq!(parsed(text), Ok(number), "{text}");
        }
        for text in ["0x8100", "34984", "0x10000", "65536", "-1", "", "0x", "ip"] {
            assert!(parsed(text).is_err(), "{text}");
        }
        assert!(parsed("0x8100").unwrap_err().contains("announces a tag"));
        assert_eq!(EtherType::IPV4.to_string(), "0x0800 (ipv4)");
    }

    #[test]
    fn a_frame_holds_any_vid_and_nothing_else() {
        let vid = |text: &str| text.parse().map(Vid::number);
        assert_eq!([vid("0"), vid("4095")], [Ok(0), Ok(4095)]);
        assert!(vid("4096").is_err() && vid("x").is_err() && vid("-1").is_err());
        let request = r#"{"port":"a","dst":"02:00:00:00:00:01","vlans":[4096]}"#;
        let error = serde_json::from_str::<TraceRequest>(request).unwrap_err();
        assert!(error.to_string().contains("out of range"), "{error}");
    }

    #[test]
    fn what_is_not_asked_is_not_written() {
        let request = TraceRequest::new("MyVM1", MacAddr::BROADCAST);
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(text, r#"{"port":"MyVM1","dst":"ff:ff:ff:ff:ff:ff"}"#);
        assert_eq!(
            serde_json::from_str::<TraceRequest>(&text).unwrap(),
            request
        );
    }
}
