//! MAC learning: addresses behind a port, as of a nested hypervisor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use super::leaves::leaves;
use super::number::{Number, YesNo};
use super::quantity::Time;
use super::setting::Setting;
use super::words::words;
use crate::intent::ObjectRef;
use crate::policy::Leaf;

leaves! {
    /// Whether and how addresses behind a port are learned.
    "macLearning": SwitchLearning, PortgroupLearning, SwitchLearningPatch, LearningPatch, EffectiveLearning {
        /// Whether the port is also reached under the addresses that it sends from.
        enabled = "enabled": YesNo<false>,
        /// Addresses that may be learned behind one port, its own not counted.
        limit = "limit": LearningLimit,
        /// What becomes of frames from addresses beyond the limit.
        beyond = "beyond": BeyondLimit,
        /// Whether the port gets unicast frames to addresses that nobody has.
        flood = "flood": YesNo<true>,
        /// How long an address stays that sends nothing.
        age = "age": LearningAge,
    }
}

/// Addresses that may be learned behind one port: 1-4096, the most unless set, as in vSphere.
pub type LearningLimit = Number<1, 4096, 4096>;

/// How long an address stays that sends nothing: 1s-1h, 5m unless set (IEEE 802.1Q-2018 §8.8.3).
pub type LearningAge = Time<1_000, 3_600_000, 300_000>;

/// What becomes of frames from addresses beyond the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BeyondLimit {
    /// They are forwarded, and their source is not learned.
    #[default]
    Allow,
    /// They are dropped.
    Drop,
}

words!(BeyondLimit { Allow = "allow", Drop = "drop" });
