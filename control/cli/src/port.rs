//! `weft port`: where VMs and interfaces are attached.

use clap::{ArgGroup, Args, Subcommand};
use weft_api::{EngineStatus, GuestQueue, GuestStatus, Port, PortLearning, PortState, PortStatus};
use weft_model::{
    Attachment, InterfaceName, LinkSetting, PortName, PortPatch, PortSpec, PortgroupName,
    SocketPath, SocketRole, VethEngine, VhostUser,
};
use weft_packet::MacAddr;

use crate::Context;
use crate::change::{ChangeFlags, EditFlags, OrNone, report};
use crate::failure::Failure;
use crate::output::{Style, or_dash};

/// Ports: where VMs and interfaces are attached
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft port add MyVM1 --portgroup Lab --vhost-user /run/vms/MyVM1.sock
  weft port add MyVM2 --portgroup Lab --veth p-MyVM2
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
    /// Attach a VM or an interface to a port group
    #[command(after_help = "\
Examples:
  weft port add MyVM1 --portgroup Lab --vhost-user /run/vms/MyVM1.sock
  weft port add MyVM2 --portgroup Lab --veth p-MyVM2 --mac 02:00:00:00:00:02
  weft port add web --portgroup Lab --veth p-web --engine packet
  weft port add host0 --portgroup Lab --tap weft0

--vhost-user: the adapter of a VM. In the role client the hypervisor listens on the socket, and the port waits for it; \
in the role server the switch listens.
--veth: the host's end of a veth pair, or any other Ethernet interface. The engine af-xdp is the faster one for short \
frames, and packet for TCP between namespaces, which keep their offloads.
--tap: a TAP device, made with the port and removed with it unless it was there before.")]
    Add(Add),
    /// Change settings of a port
    #[command(after_help = "\
Examples:
  weft port set MyVM1 --portgroup Web        connect it elsewhere
  weft port set MyVM1 --link down            pull its cable
  weft port set MyVM1 --block yes
  weft port set MyVM1 --mac none             take the address that the guest sends first")]
    Set(Set),
    /// Delete a port and release what it is attached to
    #[command(after_help = "Examples:\n  weft port del MyVM1")]
    Del {
        /// The port
        name: PortName,
        #[command(flatten)]
        change: EditFlags,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// The name of the port
    name: PortName,

    /// The port group to connect it to
    #[arg(long, value_name = "PG")]
    portgroup: PortgroupName,

    #[command(flatten)]
    attachment: AttachmentFlags,

    /// The address of the guest's adapter [default: the first that the guest sends from]
    #[arg(long)]
    mac: Option<MacAddr>,

    /// Take the interface although the host itself uses it: it carries addresses or a route
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    change: ChangeFlags,
}

/// What the port is attached to.
#[derive(Args)]
#[group(skip)]
#[command(group(ArgGroup::new("attachment").required(true).args(["veth", "vhost_user", "tap"])))]
struct AttachmentFlags {
    /// An Ethernet interface, such as the host's end of a veth pair
    #[arg(long, value_name = "DEV")]
    veth: Option<InterfaceName>,

    /// What moves the frames of --veth: af-xdp or packet [default: af-xdp]
    #[arg(long, value_name = "ENGINE", conflicts_with_all = ["vhost_user", "tap"])]
    engine: Option<VethEngine>,

    /// The vhost-user socket of a VM's adapter, as an absolute path
    #[arg(long, value_name = "SOCKET")]
    vhost_user: Option<SocketPath>,

    /// The switch's end of --vhost-user: client connects, server listens [default: client]
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["veth", "tap"])]
    role: Option<SocketRole>,

    /// A TAP device
    #[arg(long, value_name = "DEV")]
    tap: Option<InterfaceName>,
}

impl From<AttachmentFlags> for Option<Attachment> {
    fn from(flags: AttachmentFlags) -> Self {
        let AttachmentFlags {
            veth,
            engine,
            vhost_user,
            role,
            tap,
        } = flags;
        let veth = veth.map(|interface| Attachment::Veth {
            interface,
            engine: engine.unwrap_or_default(),
        });
        let vhost_user = vhost_user.map(|socket| {
            Attachment::VhostUser(VhostUser {
                socket,
                role: role.unwrap_or_default(),
            })
        });
        veth.or(vhost_user)
            .or_else(|| tap.map(|device| Attachment::Tap { device }))
    }
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
    mac: Option<OrNone<MacAddr>>,

    /// Plug its cable in or pull it: up or down
    #[arg(long, value_name = "up|down")]
    link: Option<LinkSetting>,

    /// Drop all its frames: yes or no
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    block: Option<bool>,

    #[command(flatten)]
    change: EditFlags,
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
        attachment,
        mac,
        yes,
        change,
    } = add;
    let attachment = Option::<Attachment>::from(attachment);
    let attachment = attachment.expect("the command line requires one of the group");
    let mut spec = PortSpec::new(name, portgroup, attachment);
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
pub(crate) fn standing(spec: &PortSpec, status: &PortStatus) -> String {
    let state = format!("{} on {}", state(status.state), spec.attachment);
    match (&status.reason, &status.engine) {
        (Some(reason), _) => format!("{state}: {reason}"),
        (None, Some(engine)) => format!("{state} ({})", describe(engine).join(", ")),
        (None, None) => state,
    }
}

pub(crate) fn state(state: PortState) -> &'static str {
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
    let mut headings = vec![
        "PORT",
        "STATE",
        "PORT GROUP",
        "SWITCH",
        "ATTACHED TO",
        "MAC",
    ];
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
            spec.attachment.to_string(),
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

fn fields(style: Style, port: &Port) -> String {
    let Port { spec, status, .. } = port;
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
        attached_to(&spec.attachment),
        (
            "addresses",
            if addresses.is_empty() {
                "none yet".to_owned()
            } else {
                addresses.join(", ")
            },
        ),
        ("admin link", spec.link.to_string()),
        ("blocked", if spec.block { "yes" } else { "no" }.to_owned()),
        ("version", port.resource_version.0.to_string()),
    ];
    if let Some(PortLearning { addresses, limit }) = status.learning {
        fields.push(("learned", format!("{addresses} of at most {limit}")));
    }
    if let Some(engine) = &status.engine {
        fields.extend(engine_fields(engine));
    }
    if let Attachment::VhostUser(VhostUser { role, .. }) = &spec.attachment {
        fields.push((
            "role",
            match role {
                SocketRole::Client => "client: the hypervisor listens on the socket",
                SocketRole::Server => "server: the switch listens on the socket",
            }
            .to_owned(),
        ));
    }
    if let Some(guest) = status
        .engine
        .as_ref()
        .and_then(|engine| engine.guest.as_ref())
    {
        fields.extend(guest_fields(guest));
    }
    style.fields(fields)
}

fn attached_to(attachment: &Attachment) -> (&'static str, String) {
    let heading = match attachment {
        Attachment::Veth { .. } => "interface",
        Attachment::VhostUser(_) => "socket",
        Attachment::Tap { .. } => "TAP device",
        Attachment::Vmk(_) => "vmk",
    };
    (heading, attachment.to_string())
}

fn engine_fields(engine: &EngineStatus) -> Vec<(&'static str, String)> {
    let pages = engine
        .huge_pages
        .map(|huge| if huge { "huge pages" } else { "ordinary pages" });
    let queues = engine.queues.map(|queues| queues.to_string());
    let mut fields = vec![
        ("engine", describe(engine).join(", ")),
        ("queues", queues.unwrap_or_default()),
        ("driver", engine.driver.clone().unwrap_or_default()),
        ("memory", pages.unwrap_or_default().to_owned()),
    ];
    let warnings = engine.warnings.iter();
    fields.extend(warnings.map(|warning| ("warning", warning.clone())));
    fields
}

/// How the VM is connected.
fn guest_fields(guest: &GuestStatus) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("guest", guest.state.clone()),
        ("connections", guest.connections.to_string()),
        ("features", guest.features.join(", ")),
    ];
    fields.extend(guest.queues.iter().map(|queue| ("queue", use_of(queue))));
    fields
}

/// `receiveq1: 255 of 256 buffers free`.
fn use_of(queue: &GuestQueue) -> String {
    let GuestQueue {
        name,
        size,
        available,
        found,
    } = queue;
    if name.starts_with("receiveq") {
        return format!("{name}: {available} of {size} buffers free for frames");
    }
    let now = format!("{name}: {available} of {size} buffers hold frames that wait");
    match found {
        0 => now,
        found => format!("{now}, {found} did when it started"),
    }
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
            guest: None,
            warnings: Vec::new(),
        };
        let mut status = PortStatus {
            vswitch: "vSwitch1".parse().unwrap(),
            state: PortState::Up,
            reason: None,
            engine: Some(engine),
            addresses: Vec::new(),
            learning: None,
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
