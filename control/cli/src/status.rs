//! `weft status`: the health of an agent.

use clap::Args;
use weft_api::{FindingGroup, Status};

use crate::Context;
use crate::failure::Failure;
use crate::output::{Style, counted, or_dash};

/// The health of the agent: poll threads, ports, and what is wrong
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft status
  weft status -o json
  weft --agent /run/weft/other.sock status")]
pub(crate) struct Arguments {}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let status = context.client.status().await?;
    context.output.print(&status, |style| text(style, &status))
}

fn text(style: Style, status: &Status) -> String {
    let Status {
        host,
        version,
        pid,
        uptime_seconds,
        threads,
        counts,
        problems,
    } = status;
    let mut text = format!(
        "host {host}: weft {version}, process {pid}, up {}\n\
         {}, {}, {} of {} up, {} of {} up\n\n",
        duration(*uptime_seconds),
        counted(counts.vswitches, "switch"),
        counted(counts.portgroups, "port group"),
        counts.ports_up,
        counted(counts.ports, "port"),
        counts.uplinks_up,
        counted(counts.uplinks, "uplink"),
    );
    let rows = threads.iter().map(|thread| {
        vec![
            thread.index.to_string(),
            or_dash(thread.core),
            thread.queues.to_string(),
            thread.frames_total.to_string(),
            percent(thread.busy_share),
            percent(thread.asleep_share),
            or_dash(thread.cycles_per_frame.map(|cycles| format!("{cycles:.0}"))),
        ]
    });
    let headings = [
        "#THREAD",
        "#CORE",
        "#QUEUES",
        "#FRAMES",
        "#BUSY",
        "#ASLEEP",
        "#CYCLES/FRAME",
    ];
    text += &style.table(&headings, rows);
    text += if problems.is_empty() {
        "\nnothing is wrong\n"
    } else {
        "\nwhat is wrong:\n"
    };
    for group in FindingGroup::of(problems) {
        text += &format!("  {group}\n    next: {}\n", group.next);
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// The two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let shown = [59, 61, 3_720, 90_000].map(duration);
        assert_eq!(shown, ["59 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
    }
}
