//! The security policy as flags, the same for switches and port groups.

use clap::Args;
use weft_model::{Decision, Inheritable, SecurityPatch, SwitchSecurityPatch};

/// What clap calls the flags.
pub(crate) const IDS: [&str; 3] = ["promiscuous", "mac_changes", "forged_transmits"];

/// Headings of a table that has the policy.
pub(crate) const HEADINGS: [&str; 3] = ["PROMISCUOUS", "MAC CHANGES", "FORGED TRANSMITS"];

/// The policy of a switch.
#[derive(Args)]
pub(crate) struct SwitchFlags {
    /// Whether ports receive every frame of the switch that their VLAN admits: accept or reject
    #[arg(long, value_name = "P")]
    promiscuous: Option<Decision>,

    /// Whether a port is reachable under an address that its guest chose: accept or reject
    #[arg(long, value_name = "P")]
    mac_changes: Option<Decision>,

    /// Whether a port may send from an address that is not its own: accept or reject
    #[arg(long, value_name = "P")]
    forged_transmits: Option<Decision>,
}

impl SwitchFlags {
    /// What to change on a switch.
    pub(crate) fn patch(&self) -> SwitchSecurityPatch {
        SwitchSecurityPatch {
            promiscuous: self.promiscuous,
            mac_changes: self.mac_changes,
            forged_transmits: self.forged_transmits,
        }
    }
}

/// The policy of a port group.
#[derive(Args)]
pub(crate) struct GroupFlags {
    /// Whether ports receive every frame of the switch that their VLAN admits: accept, reject or inherit
    #[arg(long, value_name = "P")]
    promiscuous: Option<Inheritable>,

    /// Whether a port is reachable under an address that its guest chose: accept, reject or inherit
    #[arg(long, value_name = "P")]
    mac_changes: Option<Inheritable>,

    /// Whether a port may send from an address that is not its own: accept, reject or inherit
    #[arg(long, value_name = "P")]
    forged_transmits: Option<Inheritable>,
}

impl GroupFlags {
    /// What to change on a port group; a new one inherits what no flag sets.
    pub(crate) fn patch(&self) -> SecurityPatch {
        SecurityPatch {
            promiscuous: self.promiscuous,
            mac_changes: self.mac_changes,
            forged_transmits: self.forged_transmits,
        }
    }
}
