//! `weft portgroup`: port groups of standard switches.

use clap::{Args, Subcommand};
use weft_api::{Portgroup, PortgroupsRequest};
use weft_model::{
    Inheritable, PortgroupName, PortgroupPatch, PortgroupSecurity, PortgroupSpec, VswitchName,
};
use weft_vlan::PortgroupVlan;

use crate::Context;
use crate::apply;
use crate::change::{ChangeFlags, EditFlags, report};
use crate::failure::Failure;
use crate::output::Style;
use crate::policies::{self, GroupPolicies};
use crate::security::{self, GroupFlags};

/// Port groups: VLAN and policies that ports share
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft portgroup add Lab --vswitch vSwitch1 --vlan 4095    the guests tag
  weft portgroup add Web --vswitch vSwitch1 --vlan 10      the switch tags
  weft portgroup set Lab --promiscuous accept              whatever the switch says
  weft portgroup set Lab --promiscuous inherit             what the switch says
  weft portgroup set Lab --active eth2 --standby eth1      its own order of uplinks
  weft portgroup set Lab --mac-learning enabled            nested guests behind a port
  weft portgroup set Lab Web --netflow enabled             two at once")]
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
    /// Change settings of port groups
    #[command(after_help = "\
Examples:
  weft portgroup set Lab --promiscuous accept
  weft portgroup set Lab --vlan 20 --dry-run
  weft portgroup set Lab --teaming explicit --active eth1 --standby eth2
  weft portgroup set Lab --active inherit --standby inherit     the order of the switch
  weft portgroup set Lab --shape-in avg=100mbit,peak=200mbit,burst=100KiB --shape-out off
  weft portgroup set Lab --mac-learning enabled --learning-limit 64 --learning-beyond drop
  weft portgroup set Lab Web Mail --netflow enabled             all of them or none

Who sets --active or --standby sets both: with --active alone none is standby and all others are unused, with --standby alone all \
others are active.")]
    Set(Box<Set>),
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
    policies: GroupPolicies,
    #[command(flatten)]
    change: ChangeFlags,
}

#[derive(Args)]
#[command(override_usage = "weft portgroup set [OPTIONS] <NAME>... <SETTINGS>...")]
#[group(id = "settings", required = true, multiple = true, arg = "vlan", args = security::IDS, args = policies::IDS)]
pub(crate) struct Set {
    /// The port groups; several change together, all of them or none
    #[arg(required = true)]
    name: Vec<PortgroupName>,

    /// 0: no tag; 1-4094: the switch tags; 4095: the guests tag
    #[arg(long, value_name = "N")]
    vlan: Option<PortgroupVlan>,

    #[command(flatten)]
    security: GroupFlags,
    #[command(flatten)]
    policies: GroupPolicies,
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
            policies,
            change,
        }) => {
            let mut spec = PortgroupSpec::new(name, vswitch);
            patch(vlan, &security, policies).apply(&mut spec);
            let detail = format!(" to {}: {}", spec.vswitch, meaning(spec.vlan));
            let result = client.add_portgroup(&spec, change.options()).await?;
            report(context, &result, Some(&detail))
        }
        Command::Set(set) => run_set(*set, context).await,
        Command::Del { name, change } => report(
            context,
            &client.del_portgroup(&name, change.options()).await?,
            None,
        ),
    }
}

async fn run_set(set: Set, context: &Context) -> Result<(), Failure> {
    let Set {
        name: names,
        vlan,
        security,
        policies,
        change,
    } = set;
    let patch = patch(vlan, &security, policies);
    let client = &context.client;
    if let [name] = names.as_slice() {
        let options = change.options();
        return report(
            context,
            &client.set_portgroup(name, &patch, options).await?,
            None,
        );
    }
    let options = change.options_of_many("port group")?;
    let request = PortgroupsRequest {
        portgroups: names,
        set: patch,
    };
    apply::report(context, &client.set_portgroups(&request, options).await?)
}

fn patch(
    vlan: Option<PortgroupVlan>,
    security: &GroupFlags,
    policies: GroupPolicies,
) -> PortgroupPatch {
    PortgroupPatch {
        vlan,
        security: security.patch(),
        ..policies.patch()
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
        headings.extend(security::HEADINGS);
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
    let mut fields = vec![
        ("port group", spec.name.to_string()),
        ("switch", spec.vswitch.to_string()),
        ("VLAN", meaning(spec.vlan)),
        ("ports", format!("{}, {} up", status.ports, status.ports_up)),
        ("promiscuous", promiscuous.to_string()),
        ("MAC changes", mac_changes.to_string()),
        ("forged transmits", forged_transmits.to_string()),
    ];
    fields.extend(spec.leaves());
    fields.push(("version", group.resource_version.0.to_string()));
    style.fields(fields)
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
