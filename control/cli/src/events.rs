//! `weft events`: what happened on this host.

use std::ops::ControlFlow;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::Args;
use weft_api::{Event, EventKind, ProblemKind};

use crate::Context;
use crate::failure::Failure;
use crate::output::Format;

/// What happened: ports and links up and down, guests, changes and who made them
///
/// The agent keeps the newest 4096 since its start.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft events
  weft events --since 10m
  weft events --watch
  weft events --since 120 --watch -o json        one JSON object a line")]
pub(crate) struct Arguments {
    /// Go on with what happens, until Ctrl-C
    #[arg(long)]
    watch: bool,

    /// Only those of a time such as 10m, or after the event of this number
    #[arg(long, value_name = "TIME|N")]
    since: Option<Since>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Number(u64),
    Ago(Duration),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        let ago = humantime::parse_duration(text);
        ago.map(Self::Ago)
            .map_err(|_| format!("{text:?} is neither a time such as 90s, 10m or 2h, nor a number"))
    }
}

impl Since {
    /// The number to ask for.
    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Ago(_) => 0,
        }
    }

    /// The earliest time.
    fn start(self) -> Option<SystemTime> {
        match self {
            Self::Number(_) => None,
            Self::Ago(ago) => SystemTime::now().checked_sub(ago),
        }
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments { watch, since } = arguments;
    let Context { client, output } = context;
    let start = since.and_then(Since::start);
    let number = since
        .filter(|_| start.is_none() || watch)
        .map(Since::number);
    let is_asked_for = |event: &Event| match (start, humantime::parse_rfc3339(&event.time)) {
        // What is not kept any more was before that.
        (Some(_), _) if event.kind == EventKind::EventsMissed => false,
        (Some(start), Ok(time)) => time >= start,
        _ => true,
    };
    if !watch {
        let mut events = client.events(number).await?;
        events.retain(is_asked_for);
        if events.is_empty() && output.is_for_people() {
            output.note("nothing happened");
            return Ok(());
        }
        return output.print(&events, |_| {
            HEADING.to_owned() + &events.iter().map(line).collect::<String>()
        });
    }
    if output.is_for_people() {
        output.text(HEADING)?;
    }
    let mut failed = None;
    let watched = client.watch_events(number, |event| {
        if !is_asked_for(&event) {
            return ControlFlow::Continue(());
        }
        match output.text(&shown(output.format(), &event)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    });
    tokio::select! {
        result = watched => result?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
    }
    Err(failed.unwrap_or_else(|| {
        Failure::of_kind(ProblemKind::Unreachable, "the agent has ended")
            .with_hint("start it, and watch again")
    }))
}

const HEADING: &str = "TIME                      SEVERITY  EVENT                 WHAT\n";

/// Of fixed widths: what comes next is not known.
fn line(event: &Event) -> String {
    let Event {
        time,
        severity,
        kind,
        text,
        ..
    } = event;
    format!("{time:24}  {severity:8}  {kind:20}  {text}\n")
}

/// One event of several that come one by one.
fn shown(format: Format, event: &Event) -> String {
    match format {
        Format::Table | Format::Wide => line(event),
        Format::Json => serde_json::to_string(event)
            .map(|json| json + "\n")
            .unwrap_or_default(),
        Format::Yaml => serde_saphyr::to_string(event)
            .map(|yaml| "---\n".to_owned() + &yaml)
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use weft_api::{EventDetails, Severity};

    use super::*;

    #[test]
    fn every_event_stands_under_its_heading() {
        let columns = |line: &str| -> Vec<usize> {
            let line = line.trim_end().as_bytes();
            let begins =
                |at: &usize| *at == 0 || (line[*at] != b' ' && line[at - 2..*at] == *b"  ");
            (0..line.len())
                .filter(|at| *at != 1)
                .filter(begins)
                .collect()
        };
        for kind in EventKind::ALL {
            for severity in [Severity::Info, Severity::Warning, Severity::Error] {
                let event = Event {
                    sequence: 1,
                    time: "2026-11-25T19:00:00.000Z".to_owned(),
                    severity,
                    kind: *kind,
                    object: None,
                    text: "text".to_owned(),
                    details: EventDetails::default(),
                };
                assert_eq!(columns(&line(&event)), columns(HEADING), "{}", line(&event));
            }
        }
    }

    #[test]
    fn a_beginning_is_a_number_or_a_time() {
        assert_eq!("120".parse(), Ok(Since::Number(120)));
        assert_eq!("10m".parse(), Ok(Since::Ago(Duration::from_secs(600))));
        assert!("yesterday".parse::<Since>().unwrap_err().contains("10m"));
    }
}
