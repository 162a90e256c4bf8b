//! `weft uplink`: the interfaces through which switches reach the world.

use clap::Subcommand;
use weft_api::{Uplink, UplinkState};
use weft_model::{InterfaceName, VswitchName, nearest};

use crate::Context;
use crate::change::{EditFlags, report};
use crate::failure::Failure;
use crate::output::{Style, or_dash};
use crate::port::describe;

/// Uplinks: the interfaces through which switches reach the world
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft uplink list
  weft uplink add vSwitch0 eth1
  weft uplink del vSwitch0 eth1")]
pub(crate) enum Command {
    /// List all uplinks
    #[command(after_help = "Examples:\n  weft uplink list\n  weft uplink list -o json")]
    List,
    /// Show one uplink
    #[command(after_help = "Examples:\n  weft uplink show eth1")]
    Show {
        /// The interface
        interface: InterfaceName,
    },
    /// Make an interface an uplink of a switch
    #[command(after_help = "\
Examples:
  weft uplink add vSwitch0 eth1
  weft uplink add vSwitch0 eth0 --yes        although eth0 has addresses")]
    Add {
        /// The switch
        vswitch: VswitchName,
        /// The interface
        interface: InterfaceName,
        /// Take it even if it carries addresses or your own connection
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        change: EditFlags,
    },
    /// Take an uplink from a switch and release the interface
    #[command(after_help = "Examples:\n  weft uplink del vSwitch0 eth1")]
    Del {
        /// The switch
        vswitch: VswitchName,
        /// The interface
        interface: InterfaceName,
        #[command(flatten)]
        change: EditFlags,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Context { client, output } = context;
    match command {
        Command::List => {
            let uplinks = client.uplinks().await?;
            if uplinks.is_empty() && output.is_for_people() {
                output.note("no uplinks; add one with 'weft uplink add SWITCH DEV'");
                return Ok(());
            }
            output.print(&uplinks, |style| table(style, &uplinks))
        }
        Command::Show { interface } => {
            let uplinks = client.uplinks().await?;
            let uplink = uplinks.iter().find(|uplink| uplink.interface == interface);
            let uplink = uplink.ok_or_else(|| unknown(&interface, &uplinks))?;
            output.print(uplink, |style| fields(style, uplink))
        }
        Command::Add {
            vswitch,
            interface,
            yes,
            change,
        } => report(
            context,
            &client
                .add_uplink(&vswitch, &interface, change.options_with(yes))
                .await?,
            None,
        ),
        Command::Del {
            vswitch,
            interface,
            change,
        } => report(
            context,
            &client
                .del_uplink(&vswitch, &interface, change.options())
                .await?,
            None,
        ),
    }
}

fn unknown(interface: &InterfaceName, uplinks: &[Uplink]) -> Failure {
    let near = nearest(
        interface.as_str(),
        uplinks.iter().map(|uplink| uplink.interface.as_str()),
    );
    let hint = near.map_or_else(
        || "see 'weft uplink list'".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Failure::of_kind(
        weft_api::ProblemKind::NotFound,
        format!("uplink {interface} does not exist"),
    )
    .with_hint(hint)
}

fn state(uplink: &Uplink) -> String {
    match uplink.state {
        UplinkState::Up => "up",
        UplinkState::Down => "down",
    }
    .to_owned()
}

fn link(uplink: &Uplink) -> String {
    or_dash(
        uplink
            .link
            .map(|carrier| if carrier { "carrier" } else { "no carrier" }),
    )
}

fn speed(uplink: &Uplink) -> String {
    or_dash(uplink.speed_mbps.map(|speed| format!("{speed} Mbit/s")))
}

fn engine(uplink: &Uplink) -> String {
    or_dash(
        uplink
            .engine
            .as_ref()
            .map(|engine| describe(engine).join(",")),
    )
}

fn table(style: Style, uplinks: &[Uplink]) -> String {
    let mut headings = vec!["UPLINK", "STATE", "SWITCH", "LINK", "SPEED"];
    if style.wide {
        headings.push("ENGINE");
    }
    headings.push("REASON");
    let rows = uplinks.iter().map(|uplink| {
        let name = uplink.interface.to_string();
        let mut row = vec![
            name,
            state(uplink),
            uplink.vswitch.to_string(),
            link(uplink),
            speed(uplink),
        ];
        if style.wide {
            row.push(engine(uplink));
        }
        row.push(uplink.reason.clone().unwrap_or_default());
        row
    });
    style.table(&headings, rows)
}

fn fields(style: Style, uplink: &Uplink) -> String {
    let warnings = uplink.engine.iter().flat_map(|engine| &engine.warnings);
    let fields = [
        ("uplink", uplink.interface.to_string()),
        ("state", state(uplink)),
        ("reason", uplink.reason.clone().unwrap_or_default()),
        ("switch", uplink.vswitch.to_string()),
        ("link", link(uplink)),
        ("speed", speed(uplink)),
        ("engine", engine(uplink)),
    ];
    style.fields(
        fields
            .into_iter()
            .chain(warnings.map(|warning| ("warning", warning.clone()))),
    )
}
