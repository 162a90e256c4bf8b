//! `weft history`, `weft rollback` and `weft confirm`: generations of the configuration.

use clap::Args;
use weft_api::{ApplyOptions, Generation};

use crate::Context;
use crate::apply::{ApplyFlags, make};
use crate::failure::Failure;
use crate::output::{Style, or_dash};
use crate::progress::Progress;

/// List the generations of the configuration that are kept, newest first
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft history
  weft export --generation 7             the configuration as it was then
  weft rollback 7 --dry-run              what going back to it would change
  weft rollback 7")]
pub(crate) struct History {}

/// Go back to an earlier generation of the configuration
///
/// That is a change as any other: it makes a generation of its own, and can be gone back from.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft rollback                          to the generation before this one
  weft rollback 7 --dry-run
  weft rollback 7
  weft rollback 0                        to the empty configuration before the first change")]
pub(crate) struct Rollback {
    /// The generation; the one before the current one if none is named
    #[arg(value_name = "N")]
    to: Option<u64>,

    #[command(flatten)]
    flags: ApplyFlags,
}

/// Keep changes that were made with --confirm
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft apply -f host.yaml --confirm 60s
  weft confirm")]
pub(crate) struct Confirm {}

pub(crate) async fn history(context: &Context) -> Result<(), Failure> {
    let generations = context.client.history().await?;
    if generations.is_empty() && context.output.is_for_people() {
        context.output.note("nothing was changed yet");
        return Ok(());
    }
    context
        .output
        .print(&generations, |style| table(style, &generations))
}

pub(crate) async fn rollback(arguments: Rollback, context: &Context) -> Result<(), Failure> {
    let Rollback { to, flags } = arguments;
    let change = async |options: ApplyOptions| {
        let _progress = Progress::of("going back");
        Ok(context.client.rollback(to, options).await?)
    };
    make(context, flags.options(), change).await
}

pub(crate) async fn confirm(context: &Context) -> Result<(), Failure> {
    let confirmed = context.client.confirm().await?;
    context.output.print(&confirmed, |_| confirmed.to_string())
}

fn table(style: Style, generations: &[Generation]) -> String {
    let rows = generations.iter().map(|generation| {
        let state = match (&generation.problem, generation.confirm_within_seconds) {
            (Some(_), _) => "damaged".to_owned(),
            (None, Some(seconds)) => format!("unconfirmed, {seconds} s left"),
            (None, None) if generation.current => "current".to_owned(),
            (None, None) => String::new(),
        };
        let what = generation.problem.as_ref().or(generation.change.as_ref());
        vec![
            generation.generation.to_string(),
            or_dash(generation.written_at.as_ref()),
            or_dash(generation.by.as_ref()),
            state,
            what.cloned().unwrap_or_default(),
        ]
    });
    style.table(&["#GENERATION", "WRITTEN AT", "BY", "STATE", "WHAT"], rows)
}
