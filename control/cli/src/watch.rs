//! Showing something again every second.

use std::future::Future;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::Context;
use crate::failure::Failure;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Moves the cursor to the top left and clears what is below it (ECMA-48 CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints what `render` returns once, or with `again` every second until Ctrl-C: in place on a terminal, otherwise one
/// after the other.
pub(crate) async fn show<F>(
    context: &Context,
    again: bool,
    render: impl Fn() -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<String, Failure>>,
{
    if !again {
        return context.output.text(&render().await?);
    }
    let clear = if context.output.is_terminal() && context.output.is_for_people() {
        CLEAR
    } else {
        ""
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let repeat = async {
        loop {
            ticks.tick().await;
            let text = render().await?;
            context.output.text(&format!("{clear}{text}"))?;
        }
    };
    tokio::select! {
        result = repeat => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
