//! `weft portgroup`: port groups of standard switches.

use clap::{Args, Subcommand};
use weft_api::Portgroup;
use weft_model::{
    Inheritable, PortgroupName, PortgroupPatch, PortgroupSecurity, PortgroupSpec, VswitchName,
};
use weft_vlan::PortgroupVlan;

use crate::Context;
use crate::change::{ChangeFlags, EditFlags, report};
use crate::failure::Failure;
use crate::output::Style;
use crate::security::GroupFlags;

/// Port groups: VLAN and policies that ports share
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft portgroup add Lab --vswitch vSwitch1 --vlan 4095    the guests tag
  weft portgroup add Web --vswitch vSwitch1 --vlan 10      the switch tags
  weft portgroup set Lab --promiscuous accept              whatever the switch says
  weft portgroup set Lab --promiscuous inherit             what the switch says")]
pub(crate) enum Command {
    /// List all port groups
    #[command(after_help = "Examples:\n  weft portgroup list\n  weft portgroup list -o json")]
    List,
    /// Show one port group
    #[command(after_help = "Examples:\n  weft portgroup show Lab")]
    Show {
        /// The port group
        name: PortgroupName,
    },
    /// Add a port group to a switch
    #[command(after_help = "\
Examples:
  weft portgroup add Lab --vswitch vSwitch1
  weft portgroup add Web --vswitch vSwitch1 --vlan 10 --forged-transmits reject

Unless flags say otherwise: VLAN 0, which is no tag, and the policy that the switch has at any time (inherit).")]
    Add(Add),
    /// Change settings of a port group
    #[command(after_help = "\
Examples:
  weft portgroup set Lab --promiscuous accept
  weft portgroup set Lab --vlan 20 --dry-run")]
    Set(Set),
    /// Delete a port group that has no ports
    #[command(after_help = "Examples:\n  weft portgroup del Lab")]
    Del {
        /// The port group
        name: PortgroupName,
        #[command(flatten)]
        change: EditFlags,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// The name of the port group
    name: PortgroupName,

    /// The switch that it belongs to
    #[arg(long, value_name = "SWITCH")]
    vswitch: VswitchName,

    /// 0: no tag; 1-4094: the switch tags; 4095: the guests tag
    #[arg(long, value_name = "N")]
    vlan: Option<PortgroupVlan>,

    #[command(flatten)]
    security: GroupFlags,
    #[command(flatten)]
    change: ChangeFlags,
}

#[derive(Args)]
#[group(id = "settings", required = true, multiple = true, args = ["vlan", "promiscuous", "mac_changes", "forged_transmits"])]
pub(crate) struct Set {
    /// The port group
    name: PortgroupName,

    /// 0: no tag; 1-4094: the switch tags; 4095: the guests tag
    #[arg(long, value_name = "N")]
    vlan: Option<PortgroupVlan>,

    #[command(flatten)]
    security: GroupFlags,
    #[command(flatten)]
    change: EditFlags,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Context { client, output } = context;
    match command {
        Command::List => {
            let groups = client.portgroups().await?;
            if groups.is_empty() && output.is_for_people() {
                output
                    .note("no port groups; add one with 'weft portgroup add Lab --vswitch SWITCH'");
                return Ok(());
            }
            output.print(&groups, |style| table(style, &groups))
        }
        Command::Show { name } => {
            let group = client.portgroup(&name).await?;
            output.print(&group, |style| fields(style, &group))
        }
        Command::Add(Add {
            name,
            vswitch,
            vlan,
            security,
            change,
        }) => {
            let leaves = security.patch();
            let security = PortgroupSecurity {
                promiscuous: leaves.promiscuous.unwrap_or_default(),
                mac_changes: leaves.mac_changes.unwrap_or_default(),
                forged_transmits: leaves.forged_transmits.unwrap_or_default(),
            };
            let spec = PortgroupSpec {
                vlan: vlan.unwrap_or_default(),
                security,
                ..PortgroupSpec::new(name, vswitch)
            };
            let detail = format!(" to {}: {}", spec.vswitch, meaning(spec.vlan));
            let result = client.add_portgroup(&spec, change.options()).await?;
            report(context, &result, Some(&detail))
        }
        Command::Set(Set {
            name,
            vlan,
            security,
            change,
        }) => {
            let patch = PortgroupPatch {
                vlan,
                security: security.patch(),
                ..PortgroupPatch::default()
            };
            report(
                context,
                &client
                    .set_portgroup(&name, &patch, change.options())
                    .await?,
                None,
            )
        }
        Command::Del { name, change } => report(
            context,
            &client.del_portgroup(&name, change.options()).await?,
            None,
        ),
    }
}

/// What a VLAN number does on a port group.
fn meaning(vlan: PortgroupVlan) -> String {
    match vlan.number() {
        0 => "no VLAN".to_owned(),
        4095 => "VLAN 4095, the guests tag".to_owned(),
        number => format!("VLAN {number}"),
    }
}

fn table(style: Style, groups: &[Portgroup]) -> String {
    let mut headings = vec!["PORT GROUP", "SWITCH", "#VLAN", "#PORTS", "#UP"];
    if style.wide {
        headings.extend(["PROMISCUOUS", "MAC CHANGES", "FORGED TRANSMITS"]);
    }
    let rows = groups.iter().map(|Portgroup { spec, status, .. }| {
        let mut row = vec![
            spec.name.to_string(),
            spec.vswitch.to_string(),
            spec.vlan.to_string(),
            status.ports.to_string(),
            status.ports_up.to_string(),
        ];
        if style.wide {
            row.extend(leaves(&spec.security).map(|leaf| leaf.to_string()));
        }
        row
    });
    style.table(&headings, rows)
}

fn fields(style: Style, group: &Portgroup) -> String {
    let Portgroup { spec, status, .. } = group;
    let [promiscuous, mac_changes, forged_transmits] = leaves(&spec.security);
    style.fields([
        ("port group", spec.name.to_string()),
        ("switch", spec.vswitch.to_string()),
        ("VLAN", meaning(spec.vlan)),
        ("ports", format!("{}, {} up", status.ports, status.ports_up)),
        ("promiscuous", promiscuous.to_string()),
        ("MAC changes", mac_changes.to_string()),
        ("forged transmits", forged_transmits.to_string()),
        ("version", group.resource_version.0.to_string()),
    ])
}

fn leaves(security: &PortgroupSecurity) -> [Inheritable; 3] {
    [
        security.promiscuous,
        security.mac_changes,
        security.forged_transmits,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_tells_the_defaults() {
        let command = crate::command();
        let add = command.find_subcommand("portgroup").unwrap();
        let help = add.find_subcommand("add").unwrap().get_after_help();
        let help = help.unwrap().to_string();
        let spec = PortgroupSpec::new("Lab".parse().unwrap(), "vSwitch1".parse().unwrap());
        assert!(
            help.contains(&format!("VLAN {}, which is no tag", spec.vlan)),
            "{help}"
        );
        for leaf in leaves(&spec.security) {
            assert!(help.contains(&format!("({leaf})")), "{help}");
        }
    }
}
