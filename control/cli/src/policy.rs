//! `weft policy`: what applies to a port after inheritance.

use clap::Subcommand;
use weft_model::PortName;

use crate::Context;
use crate::failure::Failure;

/// What applies to a port after inheritance
#[derive(Subcommand)]
#[command(after_help = "Examples:\n  weft policy show MyVM1")]
pub(crate) enum Command {
    /// Show the policy in force on a port, each setting with the object that it comes from
    #[command(after_help = "Examples:\n  weft policy show MyVM1\n  weft policy show MyVM1 -o json")]
    Show {
        /// The port
        port: PortName,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Command::Show { port } = command;
    let policy = context.client.policy(&port).await?;
    context.output.print(&policy, |style| {
        let rows = policy
            .leaves
            .iter()
            .map(|leaf| vec![leaf.leaf.clone(), leaf.value.clone(), leaf.from.to_string()]);
        style.table(&["SETTING", "IN FORCE", "FROM"], rows)
    })
}
