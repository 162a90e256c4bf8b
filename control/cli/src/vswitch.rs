//! `weft vswitch`: standard switches.

use clap::{Args, Subcommand};
use weft_api::Vswitch;
use weft_model::{InterfaceName, Mtu, VswitchName, VswitchPatch, VswitchSpec};

use crate::Context;
use crate::change::{ChangeFlags, EditFlags, report};
use crate::failure::Failure;
use crate::output::Style;
use crate::policies::{self, SwitchPolicies};
use crate::security::{self, SwitchFlags};
use crate::uplink;

/// Standard switches
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft vswitch add vSwitch1                            an isolated switch
  weft vswitch add vSwitch0 --uplink eth1 --mtu 9000
  weft vswitch set vSwitch1 --promiscuous accept       what its port groups inherit
  weft vswitch set vSwitch0 --active eth1 --standby eth2")]
pub(crate) enum Command {
    /// List all switches
    #[command(after_help = "Examples:\n  weft vswitch list\n  weft vswitch list -o json")]
    List,
    /// Show one switch
    #[command(
        after_help = "Examples:\n  weft vswitch show vSwitch1\n  weft vswitch show vSwitch1 -o yaml"
    )]
    Show {
        /// The switch
        name: VswitchName,
    },
    /// Add a switch
    #[command(after_help = "\
Examples:
  weft vswitch add vSwitch1                            isolated: its VMs reach each other only
  weft vswitch add vSwitch0 --uplink eth1 --uplink eth2
  weft vswitch add vSwitch2 --promiscuous accept --dry-run

Unless flags say otherwise: no uplink, MTU 1500, promiscuous reject, MAC changes accept, forged transmits accept, teaming srcid with all \
uplinks active, failback and notify yes, shaping off, MAC learning, BPDU filter and NetFlow disabled.")]
    Add(Add),
    /// Change settings of a switch
    #[command(after_help = "\
Examples:
  weft vswitch set vSwitch1 --promiscuous accept
  weft vswitch set vSwitch1 --mtu 9000 --dry-run
  weft vswitch set vSwitch0 --teaming lbt --lbt-period 60s --lbt-threshold 80
  weft vswitch set vSwitch0 --active eth1 --standby eth2 --failback no
  weft vswitch set vSwitch0 --shape-out avg=1gbit

What its port groups inherit, each setting unless they have their own. Who sets --active or --standby sets both on a port group; on a \
switch each stays as it is.")]
    Set(Set),
    /// Delete a switch that has no port groups
    #[command(after_help = "Examples:\n  weft vswitch del vSwitch1")]
    Del {
        /// The switch
        name: VswitchName,
        #[command(flatten)]
        change: EditFlags,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// The name of the switch
    name: VswitchName,

    /// An interface through which it reaches the world
    #[arg(long = "uplink", value_name = "DEV")]
    uplinks: Vec<InterfaceName>,

    /// Largest payload of a frame in octets, 1280-9000
    #[arg(long, value_name = "N")]
    mtu: Option<Mtu>,

    /// Take an uplink even if it carries addresses or your own connection
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    security: SwitchFlags,
    #[command(flatten)]
    policies: SwitchPolicies,
    #[command(flatten)]
    change: ChangeFlags,
}

#[derive(Args)]
#[command(override_usage = "weft vswitch set [OPTIONS] <NAME> <SETTINGS>...")]
#[group(id = "settings", required = true, multiple = true, arg = "mtu", args = security::IDS, args = policies::IDS)]
pub(crate) struct Set {
    /// The switch
    name: VswitchName,

    /// Largest payload of a frame in octets, 1280-9000
    #[arg(long, value_name = "N")]
    mtu: Option<Mtu>,

    #[command(flatten)]
    security: SwitchFlags,
    #[command(flatten)]
    policies: SwitchPolicies,
    #[command(flatten)]
    change: EditFlags,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Context { client, output } = context;
    match command {
        Command::List => {
            let switches = client.vswitches().await?;
            if switches.is_empty() && output.is_for_people() {
                output.note("no switches; add one with 'weft vswitch add vSwitch1'");
                return Ok(());
            }
            output.print(&switches, |style| table(style, &switches))
        }
        Command::Show { name } => {
            let switch = client.vswitch(&name).await?;
            output.print(&switch, |style| fields(style, &switch))
        }
        Command::Add(Add {
            name,
            uplinks,
            mtu,
            yes,
            security,
            policies,
            change,
        }) => {
            let mut spec = VswitchSpec {
                uplinks,
                ..VswitchSpec::new(name)
            };
            patch(mtu, &security, policies).apply(&mut spec);
            let result = client.add_vswitch(&spec, change.options_with(yes)).await?;
            let detail = if change.is_in_force() {
                uplink::detail(context, &spec.uplinks).await?
            } else {
                None
            };
            report(context, &result, detail.as_deref())
        }
        Command::Set(Set {
            name,
            mtu,
            security,
            policies,
            change,
        }) => {
            let patch = patch(mtu, &security, policies);
            report(
                context,
                &client.set_vswitch(&name, &patch, change.options()).await?,
                None,
            )
        }
        Command::Del { name, change } => report(
            context,
            &client.del_vswitch(&name, change.options()).await?,
            None,
        ),
    }
}

fn patch(mtu: Option<Mtu>, security: &SwitchFlags, policies: SwitchPolicies) -> VswitchPatch {
    VswitchPatch {
        mtu,
        security: security.patch(),
        ..policies.patch()
    }
}

fn table(style: Style, switches: &[Vswitch]) -> String {
    let mut headings = vec!["SWITCH", "#MTU", "UPLINKS", "#GROUPS", "#PORTS", "#UP"];
    if style.wide {
        headings.extend(security::HEADINGS);
    }
    let rows = switches.iter().map(|Vswitch { spec, status, .. }| {
        let mut row = vec![
            spec.name.to_string(),
            spec.mtu.to_string(),
            uplinks(spec),
            status.portgroups.len().to_string(),
            status.ports.to_string(),
            status.ports_up.to_string(),
        ];
        if style.wide {
            let policy = &spec.security;
            row.extend(
                [
                    policy.promiscuous,
                    policy.mac_changes,
                    policy.forged_transmits,
                ]
                .map(|leaf| leaf.to_string()),
            );
        }
        row
    });
    style.table(&headings, rows)
}

fn fields(style: Style, switch: &Vswitch) -> String {
    let Vswitch { spec, status, .. } = switch;
    let groups: Vec<&str> = status
        .portgroups
        .iter()
        .map(|group| group.as_str())
        .collect();
    let mut fields = vec![
        ("switch", spec.name.to_string()),
        ("mtu", spec.mtu.to_string()),
        ("uplinks", uplinks(spec)),
        ("port groups", groups.join(", ")),
        ("ports", format!("{}, {} up", status.ports, status.ports_up)),
        ("promiscuous", spec.security.promiscuous.to_string()),
        ("MAC changes", spec.security.mac_changes.to_string()),
        (
            "forged transmits",
            spec.security.forged_transmits.to_string(),
        ),
    ];
    fields.extend(spec.leaves());
    fields.push(("version", switch.resource_version.0.to_string()));
    style.fields(fields)
}

fn uplinks(spec: &VswitchSpec) -> String {
    if spec.uplinks.is_empty() {
        return "none".to_owned();
    }
    spec.uplinks
        .iter()
        .map(|uplink| uplink.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_tells_the_defaults() {
        let command = crate::command();
        let add = command.find_subcommand("vswitch").unwrap();
        let help = add.find_subcommand("add").unwrap().get_after_help();
        let VswitchSpec {
            uplinks,
            mtu,
            security,
            teaming,
            shaping,
            mac_learning,
            bpdu_filter,
            netflow,
            ..
        } = VswitchSpec::new("vSwitch1".parse().unwrap());
        assert!(uplinks.is_empty());
        let defaults = format!(
            "no uplink, MTU {mtu}, promiscuous {}, MAC changes {}, forged transmits {}, teaming {} with {} uplinks active, \
             failback and notify {}, shaping {}, MAC learning, BPDU filter and NetFlow {}.",
            security.promiscuous,
            security.mac_changes,
            security.forged_transmits,
            teaming.policy,
            teaming.active,
            teaming.failback,
            shaping.ingress,
            bpdu_filter
        );
        assert_eq!(teaming.failback, teaming.notify);
        assert_eq!(shaping.ingress, shaping.egress);
        assert_eq!(bpdu_filter, netflow);
        assert!(!mac_learning.enabled.0);
        let help = help.unwrap().to_string();
        assert!(help.ends_with(&defaults), "{help}");
    }
}
