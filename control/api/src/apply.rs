//! Changes that are made together, and the generations of a configuration that they make.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::{InterfaceName, ObjectRef, Outcome, PortName};

use crate::object::Wait;

/// How to make changes together: query parameters of `/v1/apply` and `/v1/rollback`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApplyOptions {
    /// Only say what would change.
    pub dry_run: bool,
    /// How far to wait.
    pub wait: Wait,
    /// Take interfaces even if they carry addresses or the operator's connection.
    pub yes: bool,
    /// Refuse unless the configuration is still this generation, such as the one that a dry run was told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Take the changes back after as many seconds, 1-86400, unless they are confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u64>,
}

impl ApplyOptions {
    /// The longest time to confirm changes, in seconds.
    pub const LONGEST_CONFIRM: u64 = 86_400;
}

/// Where to go back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RollbackRequest {
    /// The generation; the one before the current one if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// What changes did that were made together, or with `dryRun` would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyResult {
    /// Whether it was only asked what would change.
    pub dry_run: bool,
    /// The generation that the configuration is now. With `dryRun`: the one that it is.
    pub generation: u64,
    /// What changes, object by object. Empty: the configuration is so already.
    pub changes: Vec<ObjectChange>,
    /// Ports that stay and whose settings in force change.
    pub ports: Vec<PortName>,
    /// Ports and uplinks that stay and whose traffic pauses, because they are opened anew.
    pub interrupted: Vec<ObjectRef>,
    /// Interfaces that are taken or released.
    pub interfaces: Vec<InterfaceName>,
    /// What the operator should know, each a full sentence.
    pub warnings: Vec<String>,
    /// The changes are taken back after as many seconds unless they are confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_seconds: Option<u64>,
}

/// What becomes of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// The object.
    pub object: ObjectRef,
    /// `created`, `changed` with `fields`, or `deleted`.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Where a created object belongs, such as `to Lab on p-MyVM1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// One generation of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// Its number, ascending; 0 is the empty configuration before the first change.
    pub generation: u64,
    /// Whether it is the one that is asked for now.
    pub current: bool,
    /// When it was written, by the host's clock (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_at: Option<String>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What changed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// It is taken back after as many seconds unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_seconds: Option<u64>,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a confirmation confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confirmed {
    /// The generation that stays.
    pub generation: u64,
    /// Whether it waited for that; `false`: nothing waits for a confirmation.
    pub waited: bool,
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, waited } = self;
        if *waited {
            write!(f, "generation {generation} is confirmed")
        } else {
            write!(
                f,
                "nothing waits for a confirmation: generation {generation} stays anyway"
            )
        }
    }
}
