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
            change,
        } => {
            let result = client
                .add_uplink(&vswitch, &interface, change.options())
                .await?;
            let detail = if change.is_in_force() {
                detail(context, &[interface]).await?
            } else {
                None
            };
            report(context, &result, detail.as_deref())
        }
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

/// How uplinks stand that are in force, for people: `: up on eth1 (af-xdp, native, copy)`.
pub(crate) async fn detail(
    context: &Context,
    interfaces: &[InterfaceName],
) -> Result<Option<String>, Failure> {
    if interfaces.is_empty() || !context.output.is_for_people() {
        return Ok(None);
    }
    let uplinks = context.client.uplinks().await?;
    let uplinks = uplinks
        .iter()
        .filter(|uplink| interfaces.contains(&uplink.interface));
    let standings: Vec<_> = uplinks.map(standing).collect();
    Ok(Some(format!(": {}", standings.join(", "))))
}

/// `up on eth1 (af-xdp, native, copy)`, or `down on eth1: ` and the reason.
fn standing(uplink: &Uplink) -> String {
    let state = format!("{} on {}", state(uplink), uplink.interface);
    match (&uplink.reason, &uplink.engine) {
        (Some(reason), _) => format!("{state}: {reason}"),
        (None, Some(engine)) => format!("{state} ({})", describe(engine).join(", ")),
        (None, None) => state,
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
        UplinkState::Waiting => "waiting",
        UplinkState::Unstable => "unstable",
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
    let mut headings = vec!["UPLINK", "STATE", "SWITCH", "LINK", "SPEED", "PORTS"];
    if style.wide {
        headings.push("ENGINE");
    }
    headings.push("WHY");
    let rows = uplinks.iter().map(|uplink| {
        let name = uplink.interface.to_string();
        let mut row = vec![
            name,
            state(uplink),
            uplink.vswitch.to_string(),
            link(uplink),
            speed(uplink),
            users(uplink).to_string(),
        ];
        if style.wide {
            row.push(engine(uplink));
        }
        row.push(uplink.reason.clone().unwrap_or_else(|| places(uplink)));
        row
    });
    style.table(&headings, rows)
}

/// How many ports leave by an uplink.
fn users(uplink: &Uplink) -> usize {
    uplink.teams.iter().map(|team| team.ports.len()).sum()
}

/// What an uplink is to the port groups of its switch: `active for Lab,Web (srcid); standby for Mgmt (explicit)`.
fn places(uplink: &Uplink) -> String {
    let mut places: Vec<(String, String, Vec<String>)> = Vec::new();
    for team in &uplink.teams {
        let (place, policy) = (team.place.to_string(), team.policy.to_string());
        let group = team.portgroup.to_string();
        match places
            .iter_mut()
            .find(|(of, by, _)| *of == place && *by == policy)
        {
            Some((.., groups)) => groups.push(group),
            None => places.push((place, policy, vec![group])),
        }
    }
    let place = |(place, policy, groups): &(String, String, Vec<String>)| {
        let named = groups.iter().take(NAMED).map(String::as_str);
        let mut named = named.collect::<Vec<_>>().join(",");
        if groups.len() > NAMED {
            named += &format!(" and {} more", groups.len() - NAMED);
        }
        format!("{place} for {named} ({policy})")
    };
    places.iter().map(place).collect::<Vec<_>>().join("; ")
}

/// Port groups or ports that are named in a line.
const NAMED: usize = 8;

/// A line for each port group of the switch: what the uplink is to it, which of its ports use it, and why.
fn team_lines(uplink: &Uplink) -> impl Iterator<Item = (&'static str, String)> {
    uplink.teams.iter().map(|team| {
        let ports = match team.ports.as_slice() {
            [] => "no port".to_owned(),
            ports if ports.len() > NAMED => {
                let named: Vec<_> = ports.iter().take(NAMED).map(ToString::to_string).collect();
                format!("{} and {} more", named.join(","), ports.len() - NAMED)
            }
            ports => {
                let named: Vec<_> = ports.iter().map(ToString::to_string).collect();
                named.join(",")
            }
        };
        let line = format!(
            "{}: {} ({}), {ports}: {}",
            team.portgroup, team.place, team.policy, team.reason
        );
        ("port group", line)
    })
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
            .chain(team_lines(uplink))
            .chain(warnings.map(|warning| ("warning", warning.clone()))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_says_how_it_stands() {
        let mut uplink = Uplink {
            vswitch: "vSwitch1".parse().unwrap(),
            interface: "eth1".parse().unwrap(),
            state: UplinkState::Up,
            reason: None,
            link: Some(true),
            speed_mbps: None,
            engine: None,
            teams: Vec::new(),
        };
        assert_eq!(standing(&uplink), "up on eth1");
        uplink.state = UplinkState::Down;
        uplink.reason = Some("no carrier".to_owned());
        assert_eq!(standing(&uplink), "down on eth1: no carrier");
    }
}
