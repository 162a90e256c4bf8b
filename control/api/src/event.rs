//! What happens on a host, as it is told.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::ObjectRef;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number, ascending by one. Begins with 1 when the agent starts.
    pub sequence: u64,
    /// When it happened, by the host's clock (RFC 3339, UTC).
    pub time: String,
    /// How much it matters.
    pub severity: Severity,
    /// What happened.
    pub kind: EventKind,
    /// What it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// The same in words, in one line.
    pub text: String,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "EventDetails::is_empty")]
    pub details: EventDetails,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// All is well.
    Info,
    /// Something does not work, or not as it should.
    Warning,
    /// The agent cannot do its work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal,)*) => {
        /// What can happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub enum EventKind {
            $($(#[doc = $doc])* $kind,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];
        }

        /// Its name in JSON.
        impl fmt::Display for EventKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$kind => $name),* })
            }
        }
    };
}

kinds! {
    /// The agent is ready.
    AgentStarted = "agentStarted",
    /// The agent ends because it was asked to.
    AgentStopping = "agentStopping",
    /// Somebody changed the configuration, and the change is in force.
    ConfigurationApplied = "configurationApplied",
    /// A port is attached and its link is up.
    PortUp = "portUp",
    /// A port is not attached, or its link is down.
    PortDown = "portDown",
    /// An uplink is attached and its link is up.
    LinkUp = "linkUp",
    /// An uplink is not attached, or its link is down.
    LinkDown = "linkDown",
    /// Ports leave the host by another uplink than before.
    PortsMoved = "portsMoved",
    /// Ports cannot leave the host: none of their uplinks is usable.
    NoUplink = "noUplink",
    /// Ports that could not leave the host can again.
    UplinkFound = "uplinkFound",
    /// The link of an uplink went down so often that it is not used for a while.
    LinkUnstable = "linkUnstable",
    /// Somebody changed or deleted the interface of a vmk, which is put right.
    VmkRestored = "vmkRestored",
    /// A VM uses its adapter.
    GuestConnected = "guestConnected",
    /// A VM has left its adapter, or did what cannot be.
    GuestGone = "guestGone",
    /// A guest uses an address that another port has.
    AddressConflict = "addressConflict",
    /// A guest sends from an address that its port does not let through.
    SourceRefused = "sourceRefused",
    /// Flows are told to a collector in vain.
    CollectorLost = "collectorLost",
    /// A collector is told flows again.
    CollectorFound = "collectorFound",
    /// A switch has more flows than it has room for, or than can be told.
    FlowsStrained = "flowsStrained",
    /// The flows of a switch have room again.
    FlowsEased = "flowsEased",
    /// A generation of the state is not readable, and the one before it is used.
    StateDamaged = "stateDamaged",
    /// A poll thread stands still, and its ports do not forward.
    ThreadStalled = "threadStalled",
    /// A poll thread that stood still goes on.
    ThreadResumed = "threadResumed",
    /// Events of one object that came too fast are left out.
    EventsLeftOut = "eventsLeftOut",
    /// Events that the reader was too slow for, or came too late for, are not kept any more.
    EventsMissed = "eventsMissed",
}

/// What else is known of an event; what does not belong to its kind is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventDetails {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The interface or socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Who asked for a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The generation of the configuration that a change made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The objects that a change concerned; of many, the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectRef>,
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The port that has the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// How many: objects of a change, events that are left out or missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl EventDetails {
    /// Whether nothing else is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name() {
        for kind in EventKind::ALL {
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json, kind.to_string());
        }
    }
}
