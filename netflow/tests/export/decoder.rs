//! A collector that forgives nothing, written from RFC 7011 (IPFIX) and RFC 3954 (version 9) and from what other collectors
//! are known to refuse. It shares no code with the encoders.

use std::collections::BTreeMap;

/// What stands in a message, in order.
#[derive(Debug)]
pub(crate) enum Item {
    Template(u16),
    OptionsTemplate(u16),
    Flow(Fields),
    Options(Fields),
}

/// A message whose form is right.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The seconds of its header.
    pub(crate) seconds: u32,
    /// The uptime of its header; none in IPFIX.
    pub(crate) uptime: Option<u32>,
    pub(crate) items: Vec<Item>,
}

/// The values of a record by the names that IANA gives to its elements.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<&'static str, Vec<u8>>);

impl Fields {
    pub(crate) fn octets(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// An unsigned number, or 0 where the record does not have it.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let octets = self.octets(name).unwrap_or_default();
        assert!(octets.len() <= 8, "{name} is no number");
        octets.iter().fold(0, |n, &octet| n << 8 | u64::from(octet))
    }

    /// Text up to the zeros that fill its field.
    pub(crate) fn text(&self, name: &str) -> &str {
        let octets = self.octets(name).expect("the text is there");
        let end = octets.iter().position(|&octet| octet == 0);
        let (text, rest) = octets.split_at(end.expect("text ends in a zero"));
        assert!(rest.iter().all(|&octet| octet == 0), "zeros fill the field");
        str::from_utf8(text).expect("text is UTF-8")
    }
}

/// What collectors keep of one exporter.
pub(crate) struct Decoder {
    version: u16,
    domain: u32,
    /// With the time at which each was last sent.
    templates: BTreeMap<u16, (Template, u32)>,
    sequence: u32,
    /// When the message was sent that is read.
    seconds: u32,
}

#[derive(PartialEq, Eq)]
struct Template {
    /// How many of the fields are scopes; none in a template of flows.
    scopes: usize,
    fields: Vec<(&'static str, usize)>,
}

impl Template {
    fn length(&self) -> usize {
        self.fields.iter().map(|&(_, length)| length).sum()
    }
}

type Result<T> = std::result::Result<T, String>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}

impl Decoder {
    /// For the messages of one exporter from its first one on. `version` is 10 or 9.
    pub(crate) fn new(version: u16, domain: u32) -> Self {
        Self {
            version,
            domain,
            templates: BTreeMap::new(),
            sequence: 0,
            seconds: 0,
        }
    }

    pub(crate) fn decode(&mut self, message: &[u8]) -> Result<Decoded> {
        let mut reader = Reader(message);
        let version = reader.u16()?;
        ensure!(version == self.version, "version {version}");
        let second = reader.u16()?;
        let uptime = (version == 9).then(|| reader.u32()).transpose()?;
        let seconds = reader.u32()?;
        let sequence = reader.u32()?;
        let domain = reader.u32()?;
        ensure!(domain == self.domain, "domain {domain}");
        ensure!(
            sequence == self.sequence,
            "sequence {sequence} in place of {}",
            self.sequence
        );
        self.seconds = seconds;
        if version == 10 {
            ensure!(
                usize::from(second) == message.len(),
                "length {second} of {} octets",
                message.len()
            );
        }
        ensure!(!reader.0.is_empty(), "a message without a set");
        let mut items = Vec::new();
        while !reader.0.is_empty() {
            let id = reader.u16()?;
            let length = usize::from(reader.u16()?);
            ensure!(length > 4, "set {id} is empty");
            ensure!(length.is_multiple_of(4), "set {id} is not padded to 4");
            let set = Reader(reader.take(length - 4)?);
            self.set(id, set, &mut items)?;
        }
        let data = items
            .iter()
            .filter(|item| matches!(item, Item::Flow(_) | Item::Options(_)))
            .count();
        if version == 9 {
            ensure!(
                usize::from(second) == items.len(),
                "count {second} of {} records",
                items.len()
            );
            self.sequence = self.sequence.wrapping_add(1);
        } else {
            self.sequence = self.sequence.wrapping_add(data as u32);
        }
        Ok(Decoded {
            seconds,
            uptime,
            items,
        })
    }

    fn set(&mut self, id: u16, mut set: Reader<'_>, items: &mut Vec<Item>) -> Result<()> {
        let shortest = match (self.version, id) {
            (10, 2) | (9, 0) => {
                // An id and a count, and one field at least.
                while set.0.len() >= 8 {
                    let (id, template) = self.template(&mut set)?;
                    self.learn(id, template)?;
                    items.push(Item::Template(id));
                }
                8
            }
            (10, 3) | (9, 1) => {
                let (id, template) = self.options_template(&mut set)?;
                self.learn(id, template)?;
                items.push(Item::OptionsTemplate(id));
                // nfdump reads no second one, so one that follows counts as padding that is too long.
                10
            }
            (_, 256..) => {
                let template = self.templates.get(&id);
                let (template, seconds) =
                    template.ok_or_else(|| format!("data {id} before its template"))?;
                // RFC 7011 §8.2.
                ensure!(
                    *seconds <= self.seconds,
                    "data {id} is older than its template"
                );
                let length = template.length();
                let mut records = 0;
                while set.0.len() >= length {
                    let mut fields = Fields::default();
                    for &(name, length) in &template.fields {
                        fields.0.insert(name, set.take(length)?.to_vec());
                    }
                    // nfdump reads one sampler from a set of them, and 1.7.1 one name of an interface.
                    ensure!(template.scopes == 0 || records == 0, "two options in a set");
                    records += 1;
                    items.push(if template.scopes > 0 {
                        Item::Options(fields)
                    } else {
                        Item::Flow(fields)
                    });
                }
                length
            }
            _ => return Err(format!("set {id} is reserved")),
        };
        let padding = set.0;
        ensure!(
            padding.len() < shortest.min(4),
            "padding of {} octets in set {id}",
            padding.len()
        );
        // pmacct drops the whole set.
        ensure!(
            padding.iter().all(|&octet| octet == 0),
            "padding is not zero in set {id}"
        );
        Ok(())
    }

    fn template(&self, set: &mut Reader<'_>) -> Result<(u16, Template)> {
        let id = set.u16()?;
        let count = set.u16()?;
        ensure!(count > 0, "template {id} is withdrawn, which UDP forbids");
        let template = Template {
            scopes: 0,
            fields: self.fields(set, 0, count.into())?,
        };
        Ok((id, template))
    }

    fn options_template(&self, set: &mut Reader<'_>) -> Result<(u16, Template)> {
        let id = set.u16()?;
        let first = usize::from(set.u16()?);
        let second = usize::from(set.u16()?);
        let (count, scopes) = if self.version == 10 {
            (first, second)
        } else {
            ensure!(
                first.is_multiple_of(4) && second.is_multiple_of(4),
                "options template {id}: {first} and {second} octets"
            );
            ((first + second) / 4, first / 4)
        };
        ensure!(
            scopes > 0 && count > scopes,
            "options template {id}: {scopes} scopes of {count} fields"
        );
        let template = Template {
            scopes,
            fields: self.fields(set, scopes, count)?,
        };
        Ok((id, template))
    }

    fn fields(
        &self,
        set: &mut Reader<'_>,
        scopes: usize,
        count: usize,
    ) -> Result<Vec<(&'static str, usize)>> {
        let mut fields = Vec::new();
        for n in 0..count {
            let id = set.u16()?;
            let length = usize::from(set.u16()?);
            ensure!(id & 0x8000 == 0, "an enterprise's element {}", id & 0x7fff);
            let (name, kind, most) = if self.version == 9 && n < scopes {
                scope_of_v9(id)?
            } else {
                element(id)?
            };
            ensure!(length != 65_535, "{name} has a variable length");
            // RFC 7011 §6.2: only integers may be shorter than their type.
            let fits = match kind {
                Kind::Unsigned => (1..=most).contains(&length),
                Kind::Fixed => length == most,
                Kind::Text => length > 0,
            };
            ensure!(fits, "{name} of {length} octets");
            let twice = fields.iter().any(|&(other, _)| other == name);
            ensure!(!twice, "{name} twice in a template");
            fields.push((name, length));
        }
        Ok(fields)
    }

    /// Over UDP a template stays what it is (RFC 7011 §8.4).
    fn learn(&mut self, id: u16, template: Template) -> Result<()> {
        ensure!(id >= 256, "template {id} has a reserved id");
        if let Some((known, _)) = self.templates.get(&id) {
            ensure!(*known == template, "template {id} is another");
        }
        self.templates.insert(id, (template, self.seconds));
        Ok(())
    }
}

enum Kind {
    Unsigned,
    Fixed,
    Text,
}

/// Name, type and octets of elements (IANA "IPFIX Information Elements").
fn element(id: u16) -> Result<(&'static str, Kind, usize)> {
    use Kind::{Fixed, Text, Unsigned};
    Ok(match id {
        1 => ("octetDeltaCount", Unsigned, 8),
        2 => ("packetDeltaCount", Unsigned, 8),
        4 => ("protocolIdentifier", Unsigned, 1),
        5 => ("ipClassOfService", Unsigned, 1),
        6 => ("tcpControlBits", Unsigned, 2),
        7 => ("sourceTransportPort", Unsigned, 2),
        8 => ("sourceIPv4Address", Fixed, 4),
        10 => ("ingressInterface", Unsigned, 4),
        11 => ("destinationTransportPort", Unsigned, 2),
        12 => ("destinationIPv4Address", Fixed, 4),
        14 => ("egressInterface", Unsigned, 4),
        21 => ("flowEndSysUpTime", Unsigned, 4),
        22 => ("flowStartSysUpTime", Unsigned, 4),
        27 => ("sourceIPv6Address", Fixed, 16),
        28 => ("destinationIPv6Address", Fixed, 16),
        32 => ("icmpTypeCodeIPv4", Unsigned, 2),
        34 => ("samplingInterval", Unsigned, 4),
        35 => ("samplingAlgorithm", Unsigned, 1),
        36 => ("flowActiveTimeout", Unsigned, 2),
        37 => ("flowIdleTimeout", Unsigned, 2),
        41 => ("exportedMessageTotalCount", Unsigned, 8),
        42 => ("exportedFlowRecordTotalCount", Unsigned, 8),
        52 => ("minimumTTL", Unsigned, 1),
        53 => ("maximumTTL", Unsigned, 1),
        56 => ("sourceMacAddress", Fixed, 6),
        58 => ("vlanId", Unsigned, 2),
        59 => ("postVlanId", Unsigned, 2),
        60 => ("ipVersion", Unsigned, 1),
        61 => ("flowDirection", Unsigned, 1),
        80 => ("destinationMacAddress", Fixed, 6),
        82 => ("interfaceName", Text, 0),
        83 => ("interfaceDescription", Text, 0),
        136 => ("flowEndReason", Unsigned, 1),
        138 => ("observationPointId", Unsigned, 8),
        139 => ("icmpTypeCodeIPv6", Unsigned, 2),
        149 => ("observationDomainId", Unsigned, 4),
        152 => ("flowStartMilliseconds", Fixed, 8),
        153 => ("flowEndMilliseconds", Fixed, 8),
        160 => ("systemInitTimeMilliseconds", Fixed, 8),
        166 => ("notSentFlowTotalCount", Unsigned, 8),
        167 => ("notSentPacketTotalCount", Unsigned, 8),
        168 => ("notSentOctetTotalCount", Unsigned, 8),
        243 => ("dot1qVlanId", Unsigned, 2),
        256 => ("ethernetType", Unsigned, 2),
        352 => ("layer2OctetDeltaCount", Unsigned, 8),
        _ => return Err(format!("element {id} is not among those that are read")),
    })
}

/// Scopes of version 9 (RFC 3954 §6.1).
fn scope_of_v9(id: u16) -> Result<(&'static str, Kind, usize)> {
    match id {
        1 => Ok(("System", Kind::Unsigned, 4)),
        2 => Ok(("Interface", Kind::Unsigned, 4)),
        _ => Err(format!("scope {id}")),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| format!("{length} octets wanted of {}", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16> {
        let octets = self.take(2)?;
        Ok(u16::from_be_bytes([octets[0], octets[1]]))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }
}
