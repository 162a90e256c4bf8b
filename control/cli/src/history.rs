//! `weft history`, `weft rollback` and `weft confirm`: generations of the configuration.

use clap::Args;
use serde::Serialize;
use weft_api::{ApplyOptions, Confirmed, Generation};

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
  weft confirm --dry-run                 what waits, and for how long
  weft confirm")]
pub(crate) struct Confirm {
    /// Only say what would be confirmed
    #[arg(long)]
    dry_run: bool,
}

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

pub(crate) async fn confirm(arguments: Confirm, context: &Context) -> Result<(), Failure> {
    if arguments.dry_run {
        let plan = ConfirmPlan::of(&context.client.history().await?);
        return context.output.print(&plan, |_| plan.text());
    }
    let confirmed = context.client.confirm().await?;
    context.output.print(&confirmed, |_| confirmed.to_string())
}

/// What a confirmation would confirm.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfirmPlan {
    dry_run: bool,
    #[serde(flatten)]
    confirmed: Confirmed,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_within_seconds: Option<u64>,
}

impl ConfirmPlan {
    fn of(history: &[Generation]) -> Self {
        let waits = |generation: &&Generation| generation.confirm_within_seconds.is_some();
        let waiting = history.iter().find(waits);
        let current = history.iter().find(|generation| generation.current);
        Self {
            dry_run: true,
            confirmed: Confirmed {
                // Before the first change there is no history.
                generation: waiting.or(current).map_or(0, |found| found.generation),
                waited: waiting.is_some(),
            },
            confirm_within_seconds: waiting.and_then(|found| found.confirm_within_seconds),
        }
    }

    fn text(&self) -> String {
        match self.confirm_within_seconds {
            Some(seconds) => {
                let generation = self.confirmed.generation;
                format!("generation {generation} would be confirmed, {seconds} s are left")
            }
            None => self.confirmed.to_string(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_confirmation_says_what_waits() {
        let generation = |number, current, confirm_within_seconds| Generation {
            generation: number,
            current,
            written_at: None,
            by: None,
            change: None,
            confirm_within_seconds,
            problem: None,
        };
        let waiting = [generation(6, true, Some(59)), generation(5, false, None)];
        let plan = ConfirmPlan::of(&waiting);
        assert_eq!(
            plan.text(),
            "generation 6 would be confirmed, 59 s are left"
        );
        assert_eq!(
            serde_json::to_value(&plan).unwrap(),
            serde_json::json!({"dryRun": true, "generation": 6, "waited": true, "confirmWithinSeconds": 59})
        );
        let nothing = [generation(6, true, None), generation(5, false, None)];
        assert_eq!(
            ConfirmPlan::of(&nothing).text(),
            "nothing waits for a confirmation: generation 6 stays anyway"
        );
        assert_eq!(ConfirmPlan::of(&[]).confirmed.generation, 0);
    }
}
