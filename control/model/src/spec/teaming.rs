//! Teaming: by which of its switch's uplinks a port reaches the world.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::is_default;
use super::leaves::leaves;
use super::number::{Number, YesNo};
use super::quantity::Time;
use super::setting::Setting;
use super::words::words;
use crate::intent::ObjectRef;
use crate::name::InterfaceName;
use crate::policy::Leaf;

leaves! {
    /// By which of its switch's uplinks a port reaches the world.
    "teaming": SwitchTeaming, PortgroupTeaming, SwitchTeamingPatch, TeamingPatch, EffectiveTeaming {
        /// How an uplink is chosen among those in use.
        policy = "policy": TeamingPolicy,
        /// Uplinks in use while they are usable, in order. An uplink that is neither active nor standby is not used. A port group that sets `active` or `standby` sets both.
        active = "active": ActiveUplinks,
        /// Uplinks that stand in for active ones, in order.
        standby = "standby": Uplinks,
        /// Whether an uplink that recovers displaces its stand-in at once; otherwise it waits until that one fails.
        failback = "failback": YesNo<true>,
        /// Whether switches beyond an uplink are told which addresses are reached through it from now on.
        notify = "notify": YesNo<true>,
        /// How long a link has to be up before it is used again.
        up_delay = "upDelay": UpDelay,
        /// With `lbt`: how often loads are compared.
        lbt_period = "lbtPeriod": LbtPeriod,
        /// With `lbt`: the share of its speed above which an uplink is overloaded, in percent.
        lbt_threshold = "lbtThreshold": LbtThreshold,
    }
}

/// How long a link has to be up before it is used again: 0-30m, 100ms unless set (vSphere's `TeamPolicyUpDelay`).
pub type UpDelay = Time<0, 1_800_000, 100>;

/// How often loads are compared: 1s-10m, 30s unless set (vSphere's interval).
pub type LbtPeriod = Time<1_000, 600_000, 30_000>;

/// The share of its speed above which an uplink is overloaded, in percent: 75 unless set, as in vSphere.
pub type LbtThreshold = Number<1, 100, 75>;

/// How an uplink is chosen among those in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TeamingPolicy {
    /// By the port, once.
    #[default]
    SrcId,
    /// By the source address.
    SrcMac,
    /// By source and destination address of each IP packet; other frames by their source address.
    IpHash,
    /// The first usable one.
    Explicit,
    /// By the port at first; later the busiest port of an overloaded uplink moves.
    Lbt,
}

words!(TeamingPolicy {
    SrcId = "srcid",
    SrcMac = "srcmac",
    IpHash = "iphash",
    Explicit = "explicit",
    Lbt = "lbt"
});

/// Uplinks in order; on the command line with commas between them, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Uplinks(pub Vec<InterfaceName>);

impl fmt::Display for Uplinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<_> = self.0.iter().map(InterfaceName::as_str).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Uplinks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::default());
        }
        let names: Result<_, _> = text.split(',').map(str::parse).collect();
        let expected = "name uplinks with commas between them, or none";
        names
            .map(Self)
            .map_err(|problem| format!("{problem}; {expected}"))
    }
}

/// The word for [`ActiveUplinks::All`]. No interface has this name: the kernel has its settings for all of them there.
const ALL: &str = "all";

/// Uplinks in use while they are usable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ActiveUplinks {
    /// All of the switch that are not standby, in the switch's order.
    #[default]
    All,
    /// These.
    These(Uplinks),
}

impl ActiveUplinks {
    /// Those that are named.
    pub fn named(&self) -> &[InterfaceName] {
        match self {
            Self::All => &[],
            Self::These(uplinks) => &uplinks.0,
        }
    }
}

impl fmt::Display for ActiveUplinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ALL),
            Self::These(uplinks) => uplinks.fmt(f),
        }
    }
}

impl FromStr for ActiveUplinks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == ALL {
            return Ok(Self::All);
        }
        let these = text.parse().map(Self::These);
        these.map_err(|problem| format!("{problem}, or {ALL}"))
    }
}

impl Serialize for ActiveUplinks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str(ALL),
            Self::These(uplinks) => uplinks.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ActiveUplinks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrList;

        impl<'de> Visitor<'de> for WordOrList {
            type Value = ActiveUplinks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of uplinks or {ALL}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ActiveUplinks, E> {
                if text == ALL {
                    return Ok(ActiveUplinks::All);
                }
                Err(E::custom(format!(
                    "{text:?} is not a list of uplinks; write [{text}], or {ALL}"
                )))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<ActiveUplinks, A::Error> {
                let uplinks = Uplinks::deserialize(SeqAccessDeserializer::new(names));
                uplinks.map(ActiveUplinks::These)
            }
        }

        deserializer.deserialize_any(WordOrList)
    }
}

impl JsonSchema for ActiveUplinks {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ActiveUplinks".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<Uplinks>(), {"const": ALL}]})
    }
}

impl SwitchTeamingPatch {
    /// Takes what only one of both lists was set to out of the other.
    pub(crate) fn make_room(&self, teaming: &mut SwitchTeaming) {
        match (&self.active, &self.standby) {
            (Some(active), None) => teaming.standby.give_up(active.named()),
            (None, Some(standby)) => teaming.active.give_up(&standby.0),
            _ => {}
        }
    }
}

impl TeamingPatch {
    /// As that of a switch; what the port group inherits stays the switch's.
    pub(crate) fn make_room(&self, teaming: &mut PortgroupTeaming) {
        let PortgroupTeaming {
            active, standby, ..
        } = teaming;
        match (&self.active, &self.standby, active, standby) {
            (Some(Setting::Own(active)), None, _, Setting::Own(standby)) => {
                standby.give_up(active.named());
            }
            (None, Some(Setting::Own(standby)), Setting::Own(active), _) => {
                active.give_up(&standby.0);
            }
            _ => {}
        }
    }
}

impl Uplinks {
    fn give_up(&mut self, others: &[InterfaceName]) {
        self.0.retain(|uplink| !others.contains(uplink));
    }
}

impl ActiveUplinks {
    fn give_up(&mut self, others: &[InterfaceName]) {
        if let Self::These(uplinks) = self {
            uplinks.give_up(others);
        }
    }
}

impl PortgroupTeaming {
    /// Whether the port group has an order of uplinks of its own. It is inherited as a whole, as in vSphere.
    pub(crate) fn orders(&self) -> bool {
        self.active.own().is_some() || self.standby.own().is_some()
    }
}

impl EffectiveTeaming {
    /// What is in force on ports of a port group, with the uplinks that are active and standby by name.
    pub(crate) fn on(
        uplinks: &[InterfaceName],
        (portgroup, own): (&PortgroupTeaming, &ObjectRef),
        (switch, default): (&SwitchTeaming, &ObjectRef),
    ) -> Self {
        let mut teaming = Self::inherited((portgroup, own), (switch, default));
        if portgroup.orders() {
            let active = portgroup.active.own().cloned().unwrap_or_default();
            let standby = portgroup.standby.own().cloned().unwrap_or_default();
            teaming.active = Leaf {
                value: active,
                from: own.clone(),
            };
            teaming.standby = Leaf {
                value: standby,
                from: own.clone(),
            };
        }
        if teaming.active.value == ActiveUplinks::All {
            let standby = &teaming.standby.value.0;
            let others = uplinks.iter().filter(|uplink| !standby.contains(uplink));
            teaming.active.value = ActiveUplinks::These(Uplinks(others.cloned().collect()));
        }
        teaming
    }
}
