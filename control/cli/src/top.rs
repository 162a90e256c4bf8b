//! `weft top`: what moves at this moment, as a live view of a terminal or as lines.

mod rates;
mod terminal;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use weft_api::{Activity, Client, Problem};

use crate::Context;
use crate::failure::Failure;
use crate::output::Format;
use rates::Rates;
use terminal::{Input, Terminal};
use view::{After, View};

/// What moves at this moment: rates and drops of ports, load of poll threads
///
/// On a terminal a live view, otherwise a table after one interval. rx is what the switch receives from the port (the VM
/// sends), tx what it delivers to it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft top
  weft top -d 5                      every five seconds
  weft top -n 1                      one table, as in a script
  weft top -n 10 -o json             ten lines of JSON, one every second

Keys: q quits, < and > choose the column to sort by, r reverses the order, / shows only what holds a text, space pauses, \
arrows and page keys scroll.")]
pub(crate) struct Arguments {
    /// Print so many tables or lines and end [default: 1 where there is no terminal]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Seconds from one to the next, 0.1-3600
    #[arg(short = 'd', long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    delay: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number of seconds"))?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("it must be 0.1-3600".to_owned())
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments { count, delay } = arguments;
    let output = &context.output;
    let is_live = count.is_none()
        && output.is_for_people()
        && output.is_terminal()
        && io::stdin().is_terminal()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    if is_live {
        live(context, delay).await
    } else {
        tokio::select! {
            result = lines(context, delay, count.unwrap_or(1)) => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }
}

/// Prints what moved, interval after interval.
async fn lines(context: &Context, delay: Duration, count: u64) -> Result<(), Failure> {
    let mut ticks = interval(delay);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = context.client.activity().await?;
    let mut printed = 0;
    while printed < count {
        ticks.tick().await;
        let after = context.client.activity().await?;
        if let Some(rates) = Rates::between(&before, &after) {
            print(context, &rates)?;
            printed += 1;
        } else {
            context.output.note("another agent answers; counting anew");
        }
        before = after;
    }
    Ok(())
}

fn print(context: &Context, rates: &Rates) -> Result<(), Failure> {
    let output = &context.output;
    let text = match output.format() {
        Format::Table | Format::Wide => view::text(rates) + "\n",
        Format::Json => {
            let line = serde_json::to_string(rates);
            line.map_err(|error| Failure::new(format!("rates cannot be written as JSON: {error}")))?
                + "\n"
        }
        Format::Yaml => format!("---\n{}", output.render(rates, |_| String::new())?),
    };
    output.text(&text)
}

/// An answer of the agent, or why there is none.
type Answer = Result<Activity, Problem>;

/// Asks the agent again and again while nobody pauses it; an answer that is late delays the next question.
async fn ask(
    client: Client,
    delay: Duration,
    paused: watch::Receiver<bool>,
    answers: mpsc::Sender<Answer>,
) {
    /// Longer than a loaded agent takes for its largest answer.
    const PATIENCE: Duration = Duration::from_secs(5);
    let client = client.with_timeout(PATIENCE.max(delay));
    let mut paused = paused;
    // Somebody has asked just now.
    let mut ticks = interval_at(Instant::now() + delay, delay);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if paused.wait_for(|paused| !paused).await.is_err()
            || answers.send(client.activity().await).await.is_err()
        {
            break;
        }
    }
}

/// The live view, until the operator leaves or the program is asked to end.
async fn live(context: &Context, delay: Duration) -> Result<(), Failure> {
    // Who is not there at the start is not waited for.
    let mut before = Some(context.client.activity().await?);
    let failed = |error: io::Error| Failure::new(format!("the terminal: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminal = Terminal::take(context.output.has_colour()).map_err(failed)?;
    let mut inputs = terminal::inputs().map_err(failed)?;
    let (pause, paused) = watch::channel(false);
    let (sender, mut answers) = mpsc::channel(1);
    tokio::spawn(ask(context.client.clone(), delay, paused, sender));
    let mut view = View::new();
    loop {
        let (width, height) = terminal.size().map_err(failed)?;
        let lines = view.screen(width, height);
        terminal.draw((width, height), lines).map_err(failed)?;
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = hang_up.recv() => break,
            _ = interrupt.recv() => break,
            input = inputs.recv() => match input {
                None | Some(Input::Interrupt) => break,
                Some(Input::Resized) => {}
                Some(Input::Key(key)) => {
                    if view.press(key) == After::Quit {
                        break;
                    }
                    pause.send_replace(view.is_paused());
                }
            },
            answer = answers.recv() => match answer {
                None => break,
                // What was asked before the pause does not move the picture.
                Some(_) if view.is_paused() => {}
                Some(Ok(after)) => {
                    match before.as_ref().and_then(|before| Rates::between(before, &after)) {
                        Some(rates) => view.show(rates),
                        None => view.is_back(),
                    }
                    before = Some(after);
                }
                Some(Err(problem)) => view.lost(problem.message),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_bounds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "inf", "1e9", "soon", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
