//! `weft vmk`: the host's own interfaces on port groups.

use clap::{Args, Subcommand};
use weft_api::Vmk;
use weft_model::{IpCidr, Mtu, PortSpec, PortgroupName, VmkName, VmkPatch, VmkSpec};
use weft_packet::MacAddr;

use crate::Context;
use crate::change::{ChangeFlags, EditFlags, OrNone, report};
use crate::failure::Failure;
use crate::output::{Style, or_dash};
use crate::port::{standing, state};

/// The host's own interfaces on port groups
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft vmk add vmk0 --portgroup Mgmt --ip 10.0.0.11/24
  weft vmk list
  weft vmk set vmk0 --ip 10.0.0.12/24
  weft vmk del vmk0

A vmk is a port of its name too: 'weft stats', 'weft trace', 'weft policy show' and 'weft port set --block' take it.")]
pub(crate) enum Command {
    /// List the host's own interfaces
    #[command(after_help = "Examples:\n  weft vmk list\n  weft vmk list -o json")]
    List,
    /// Show one of the host's own interfaces
    #[command(after_help = "Examples:\n  weft vmk show vmk0\n  weft vmk show vmk0 -o json")]
    Show {
        /// The interface
        name: VmkName,
    },
    /// Make an interface of the host's own on a port group
    #[command(after_help = "\
Examples:
  weft vmk add vmk0 --portgroup Mgmt --ip 10.0.0.11/24
  weft vmk add vmk1 --portgroup Storage --ip fd00:20::11/64 --mtu 9000
  weft vmk add vmk2 --portgroup Lab          without an address: give it one by DHCP

The interface stays with its address, its routes and its connections while the agent restarts. Routes are yours: \
'ip route add default via 10.0.0.1 dev vmk0'.")]
    Add(Add),
    /// Change settings of one of the host's own interfaces
    #[command(after_help = "\
Examples:
  weft vmk set vmk0 --ip 10.0.0.12/24
  weft vmk set vmk0 --portgroup Storage --mtu none
  weft vmk set vmk0 --ip 10.0.0.12/24 --yes  although you are connected over it")]
    Set(Set),
    /// Delete one of the host's own interfaces
    #[command(after_help = "Examples:\n  weft vmk del vmk0")]
    Del {
        /// The interface
        name: VmkName,
        #[command(flatten)]
        change: EditFlags,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// The name of the interface, as 'ip link' shows it
    name: VmkName,

    /// The port group to connect it to
    #[arg(long, value_name = "PG")]
    portgroup: PortgroupName,

    /// Its address with prefix length [default: none]
    #[arg(long, value_name = "CIDR")]
    ip: Option<IpCidr>,

    /// Its Ethernet address [default: one that follows from the names of host and interface]
    #[arg(long)]
    mac: Option<MacAddr>,

    /// Largest payload of a frame, in octets [default: the switch's]
    #[arg(long)]
    mtu: Option<Mtu>,

    #[command(flatten)]
    change: ChangeFlags,
}

#[derive(Args)]
#[group(id = "settings", required = true, multiple = true, args = ["portgroup", "ip", "mac", "mtu"])]
pub(crate) struct Set {
    /// The interface
    name: VmkName,

    /// The port group to connect it to
    #[arg(long, value_name = "PG")]
    portgroup: Option<PortgroupName>,

    /// Its address with prefix length, or none
    #[arg(long, value_name = "CIDR|none")]
    ip: Option<OrNone<IpCidr>>,

    /// Its Ethernet address, or none for the one that follows from its name
    #[arg(long, value_name = "MAC|none")]
    mac: Option<OrNone<MacAddr>>,

    /// Largest payload of a frame in octets, or none for the switch's
    #[arg(long, value_name = "MTU|none")]
    mtu: Option<OrNone<Mtu>>,

    #[command(flatten)]
    change: EditFlags,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Context { client, output } = context;
    match command {
        Command::List => {
            let vmks = client.vmks().await?;
            if vmks.is_empty() && output.is_for_people() {
                output.note("no vmks; add one with 'weft vmk add NAME --portgroup PG --ip CIDR'");
                return Ok(());
            }
            output.print(&vmks, |style| table(style, &vmks))
        }
        Command::Show { name } => {
            let vmk = client.vmk(&name).await?;
            output.print(&vmk, |style| fields(style, &vmk))
        }
        Command::Add(add) => run_add(add, context).await,
        Command::Set(Set {
            name,
            portgroup,
            ip,
            mac,
            mtu,
            change,
        }) => {
            let patch = VmkPatch {
                portgroup,
                ip: ip.map(|setting| setting.0),
                mac: mac.map(|setting| setting.0),
                mtu: mtu.map(|setting| setting.0),
            };
            report(
                context,
                &client.set_vmk(&name, &patch, change.options()).await?,
                None,
            )
        }
        Command::Del { name, change } => report(
            context,
            &client.del_vmk(&name, change.options()).await?,
            None,
        ),
    }
}

async fn run_add(add: Add, context: &Context) -> Result<(), Failure> {
    let Add {
        name,
        portgroup,
        ip,
        mac,
        mtu,
        change,
    } = add;
    let spec = VmkSpec {
        ip,
        mac,
        mtu,
        ..VmkSpec::new(name, portgroup)
    };
    let result = context.client.add_vmk(&spec, change.options()).await?;
    let mut detail = format!(" to {}", spec.portgroup);
    if change.is_in_force() && context.output.is_for_people() {
        let Vmk { spec, status, .. } = context.client.vmk(&spec.name).await?;
        detail += &format!(": {}", standing(&PortSpec::from(spec), &status));
    }
    report(context, &result, Some(&detail))
}

fn table(style: Style, vmks: &[Vmk]) -> String {
    let headings = [
        "VMK",
        "STATE",
        "PORT GROUP",
        "SWITCH",
        "IP",
        "MAC",
        "REASON",
    ];
    let rows = vmks.iter().map(|Vmk { spec, status, .. }| {
        vec![
            spec.name.to_string(),
            state(status.state).to_owned(),
            spec.portgroup.to_string(),
            status.vswitch.to_string(),
            or_dash(spec.ip),
            or_dash(status.effective_mac()),
            status.reason.clone().unwrap_or_default(),
        ]
    });
    style.table(&headings, rows)
}

fn fields(style: Style, vmk: &Vmk) -> String {
    let Vmk { spec, status, .. } = vmk;
    let state = match &status.reason {
        Some(reason) => format!("{}: {reason}", state(status.state)),
        None => state(status.state).to_owned(),
    };
    let mac = status.addresses.first();
    let mac = mac.map(|address| format!("{} ({})", address.mac, address.source));
    let mtu = spec.mtu.map(|mtu| mtu.to_string());
    style.fields([
        ("vmk", spec.name.to_string()),
        ("state", state),
        ("port group", spec.portgroup.to_string()),
        ("switch", status.vswitch.to_string()),
        ("ip", or_dash(spec.ip)),
        ("mac", or_dash(mac)),
        ("mtu", mtu.unwrap_or_else(|| "the switch's".to_owned())),
        ("admin link", spec.link.to_string()),
        ("blocked", if spec.block { "yes" } else { "no" }.to_owned()),
        ("version", vmk.resource_version.0.to_string()),
    ])
}
