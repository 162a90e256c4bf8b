//! `weft fdb`: the addresses that switches deliver to.

use clap::Subcommand;
use weft_model::VswitchName;

use crate::Context;
use crate::failure::Failure;
use crate::output::or_dash;

/// The addresses that switches deliver to
#[derive(Subcommand)]
#[command(after_help = "Examples:\n  weft fdb list")]
pub(crate) enum Command {
    /// List every address with its port
    #[command(
        after_help = "Examples:\n  weft fdb list\n  weft fdb list --vswitch vSwitch1 -o json"
    )]
    List {
        /// Of this switch only
        #[arg(long, value_name = "SWITCH")]
        vswitch: Option<VswitchName>,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Command::List { vswitch } = command;
    let entries = context.client.fdb(vswitch.as_ref()).await?;
    if entries.is_empty() && context.output.is_for_people() {
        context
            .output
            .note("no addresses; a port has one as soon as it is configured or its guest sends");
        return Ok(());
    }
    context.output.print(&entries, |style| {
        // Only learned addresses have one.
        let has_ages = entries.iter().any(|entry| entry.age_seconds.is_some());
        let rows = entries.iter().map(|entry| {
            let mut row = vec![
                entry.vswitch.to_string(),
                entry.vlan.to_string(),
                entry.mac.to_string(),
                entry.port.to_string(),
                entry.source.to_string(),
            ];
            if has_ages {
                row.push(or_dash(entry.age_seconds.map(|age| format!("{age} s"))));
            }
            row
        });
        let mut headings = vec!["SWITCH", "#VLAN", "MAC", "PORT", "SOURCE"];
        if has_ages {
            headings.push("#AGE");
        }
        style.table(&headings, rows)
    })
}
