//! `weft port`: where VMs and interfaces are attached.

use std::str::FromStr;

use clap::{Args, Subcommand};
use weft_api::{EngineStatus, Port, PortState, PortStatus};
use weft_model::{
    Attachment, InterfaceName, LinkSetting, PortName, PortPatch, PortSpec, PortgroupName,
    VethEngine,
};
use weft_packet::MacAddr;

use crate::Context;
use crate::change::{ChangeFlags, report};
use crate::failure::Failure;
use crate::output::{Style, or_dash};

/// Ports: where VMs and interfaces are attached
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft port add MyVM1 --portgroup Lab --veth p-MyVM1
  weft port list -o wide
  weft port show MyVM1                       why it is down, what its guest should know
  weft port set MyVM1 --block yes")]
pub(crate) enum Command {
    /// List all ports
    #[command(after_help = "Examples:\n  weft port list\n  weft port list -o json")]
    List,
    /// Show one port: its state with the reason, engine, addresses and warnings
    #[command(after_help = "Examples:\n  weft port show MyVM1\n  weft port show MyVM1 -o json")]
    Show {
        /// The port
        name: PortName,
    },
    /// Attach an interface to a port group
    #[command(after_help = "\
Examples:
  weft port add MyVM1 --portgroup Lab --veth p-MyVM1
  weft port add MyVM1 --portgroup Lab --veth p-MyVM1 --mac 02:00:00:00:00:01

The interface is the host's end of a veth pair, or any other Ethernet interface. Ports on vhost-user sockets and \
TAPs are not supported yet.")]
    Add(Add),
    /// Change settings of a port
    #[command(after_help = "\
Examples:
  weft port set MyVM1 --portgroup Web        connect it elsewhere
  weft port set MyVM1 --link down            pull its cable
  weft port set MyVM1 --block yes
  weft port set MyVM1 --mac none             take the address that the guest sends first")]
    Set(Set),
    /// Delete a port and release its interface
    #[command(after_help = "Examples:\n  weft port del MyVM1")]
    Del {
        /// The port
        name: PortName,
        #[command(flatten)]
        change: ChangeFlags,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// The name of the port
    name: PortName,

    /// The port group to connect it to
    #[arg(long, value_name = "PG")]
    portgroup: PortgroupName,

    /// The interface to attach
    #[arg(long, value_name = "DEV")]
    veth: InterfaceName,

    /// What moves its frames: af-xdp
    #[arg(long, value_name = "ENGINE")]
    engine: Option<VethEngine>,

    /// The address of the guest's adapter [default: the first that the guest sends from]
    #[arg(long)]
    mac: Option<MacAddr>,

    /// Take the interface although the host itself uses it: it carries addresses or a route
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    change: ChangeFlags,
}

#[derive(Args)]
#[group(id = "settings", required = true, multiple = true, args = ["portgroup", "mac", "link", "block"])]
pub(crate) struct Set {
    /// The port
    name: PortName,

    /// The port group to connect it to
    #[arg(long, value_name = "PG")]
    portgroup: Option<PortgroupName>,

    /// The address of the guest's adapter, or none
    #[arg(long, value_name = "MAC|none")]
    mac: Option<MacSetting>,

    /// Plug its cable in or pull it: up or down
    #[arg(long, value_name = "up|down")]
    link: Option<LinkSetting>,

    /// Drop all its frames: yes or no
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    block: Option<bool>,

    #[command(flatten)]
    change: ChangeFlags,
}

/// An address, or the word that takes it away.
#[derive(Clone, Copy, Debug)]
struct MacSetting(Option<MacAddr>);

impl FromStr for MacSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|mac| Self(Some(mac)))
                .map_err(|error| format!("{error}")),
        }
    }
}

fn yes_or_no(word: &str) -> Result<bool, String> {
    match word {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{word:?} is not one of: yes, no")),
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Context { client, output } = context;
    match command {
        Command::List => {
            let ports = client.ports().await?;
            if ports.is_empty() && output.is_for_people() {
                output
                    .note("no ports; add one with 'weft port add NAME --portgroup PG --veth DEV'");
                return Ok(());
            }
            output.print(&ports, |style| table(style, &ports))
        }
        Command::Show { name } => {
            let port = client.port(&name).await?;
            output.print(&port, |style| fields(style, &port))
        }
        Command::Add(add) => run_add(add, context).await,
        Command::Set(Set {
            name,
            portgroup,
            mac,
            link,
            block,
            change,
        }) => {
            let patch = PortPatch {
                portgroup,
                mac: mac.map(|setting| setting.0),
                link,
                block,
            };
            report(
                context,
                &client.set_port(&name, &patch, change.options()).await?,
                None,
            )
        }
        Command::Del { name, change } => report(
            context,
            &client.del_port(&name, change.options()).await?,
            None,
        ),
    }
}

async fn run_add(add: Add, context: &Context) -> Result<(), Failure> {
    let Add {
        name,
        portgroup,
        veth,
        engine,
        mac,
        yes,
        change,
    } = add;
    let mut spec = PortSpec::veth(name, portgroup, veth.clone());
    spec.attachment = Attachment::Veth {
        interface: veth,
        engine: engine.unwrap_or_default(),
    };
    spec.mac = mac;
    let result = context
        .client
        .add_port(&spec, change.options_with(yes))
        .await?;
    let mut detail = format!(" to {}", spec.portgroup);
    if change.is_in_force() && context.output.is_for_people() {
        let Port { spec, status, .. } = context.client.port(&spec.name).await?;
        detail += &format!(": {}", standing(&spec, &status));
    }
    report(context, &result, Some(&detail))
}

/// `up on p-MyVM1 (af-xdp, native, copy)`, or `down: ` and the reason.
fn standing(spec: &PortSpec, status: &PortStatus) -> String {
    let on = spec
        .attachment
        .interface()
        .map(|interface| format!(" on {interface}"))
        .unwrap_or_default();
    let state = format!("{}{on}", state(status.state));
    match (&status.reason, &status.engine) {
        (Some(reason), _) => format!("{state}: {reason}"),
        (None, Some(engine)) => format!("{state} ({})", describe(engine).join(", ")),
        (None, None) => state,
    }
}

fn state(state: PortState) -> &'static str {
    match state {
        PortState::Up => "up",
        PortState::Down => "down",
        PortState::Blocked => "blocked",
    }
}

/// Engine, XDP mode and copy mode, as far as they are known.
pub(crate) fn describe(engine: &EngineStatus) -> Vec<&str> {
    let modes = [engine.xdp_mode.as_deref(), engine.copy_mode.as_deref()];
    std::iter::once(engine.kind.as_str())
        .chain(modes.into_iter().flatten())
        .collect()
}

fn table(style: Style, ports: &[Port]) -> String {
    let mut headings = vec!["PORT", "STATE", "PORT GROUP", "SWITCH", "INTERFACE", "MAC"];
    if style.wide {
        headings.push("ENGINE");
    }
    headings.push("REASON");
    let rows = ports.iter().map(|Port { spec, status, .. }| {
        let mut row = vec![
            spec.name.to_string(),
            state(status.state).to_owned(),
            spec.portgroup.to_string(),
            status.vswitch.to_string(),
            or_dash(spec.attachment.interface()),
            or_dash(status.effective_mac()),
        ];
        if style.wide {
            row.push(or_dash(
                status
                    .engine
                    .as_ref()
                    .map(|engine| describe(engine).join(",")),
            ));
        }
        row.push(status.reason.clone().unwrap_or_default());
        row
    });
    style.table(&headings, rows)
}

fn fields(style: Style, Port { spec, status, .. }: &Port) -> String {
    let addresses: Vec<String> = status
        .addresses
        .iter()
        .map(|address| format!("{} ({})", address.mac, address.source))
        .collect();
    let state = match &status.reason {
        Some(reason) => format!("{}: {reason}", state(status.state)),
        None => state(status.state).to_owned(),
    };
    let mut fields = vec![
        ("port", spec.name.to_string()),
        ("state", state),
        ("port group", spec.portgroup.to_string()),
        ("switch", status.vswitch.to_string()),
        ("interface", or_dash(spec.attachment.interface())),
        (
            "addresses",
            if addresses.is_empty() {
                "none yet".to_owned()
            } else {
                addresses.join(", ")
            },
        ),
        ("link", spec.link.to_string()),
        ("blocked", if spec.block { "yes" } else { "no" }.to_owned()),
    ];
    if let Some(engine) = &status.engine {
        fields.push(("engine", describe(engine).join(", ")));
        fields.push((
            "queues",
            engine
                .queues
                .map(|queues| queues.to_string())
                .unwrap_or_default(),
        ));
        fields.push(("driver", engine.driver.clone().unwrap_or_default()));
        let pages = engine
            .huge_pages
            .map(|huge| if huge { "huge pages" } else { "ordinary pages" });
        fields.push(("memory", pages.unwrap_or_default().to_owned()));
        fields.extend(
            engine
                .warnings
                .iter()
                .map(|warning| ("warning", warning.clone())),
        );
    }
    style.fields(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_port_says_how_it_stands() {
        let spec = PortSpec::veth(
            "MyVM1".parse().unwrap(),
            "Lab".parse().unwrap(),
            "p-MyVM1".parse().unwrap(),
        );
        let engine = EngineStatus {
            kind: "af-xdp".to_owned(),
            xdp_mode: Some("native".to_owned()),
            copy_mode: Some("copy".to_owned()),
            queues: None,
            driver: None,
            huge_pages: None,
            warnings: Vec::new(),
        };
        let mut status = PortStatus {
            vswitch: "vSwitch1".parse().unwrap(),
            state: PortState::Up,
            reason: None,
            engine: Some(engine),
            addresses: Vec::new(),
        };
        assert_eq!(
            standing(&spec, &status),
            "up on p-MyVM1 (af-xdp, native, copy)"
        );
        status.state = PortState::Down;
        status.reason = Some("interface p-MyVM1 does not exist".to_owned());
        assert_eq!(
            standing(&spec, &status),
            "down on p-MyVM1: interface p-MyVM1 does not exist"
        );
    }
}
