//! `weft drops`: why frames were not delivered.

use clap::Args;
use weft_api::DropsReport;

use crate::Context;
use crate::failure::Failure;
use crate::output::Style;
use crate::watch;

/// Why frames were not delivered: every reason with its count
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft drops
  weft drops --watch
  weft drops -o wide                 with the ports where it happened")]
pub(crate) struct Arguments {
    /// Show them again every second
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    watch::show(context, arguments.watch, || async move {
        let report = context.client.drops().await?;
        context
            .output
            .render(&report, |style| table(style, &report))
    })
    .await
}

fn table(style: Style, report: &DropsReport) -> String {
    let mut headings = vec!["REASON", "#COUNT"];
    if style.wide {
        headings.push("PORTS");
    }
    headings.push("WHAT HAPPENED");
    let rows = report.reasons.iter().map(|reason| {
        let mut row = vec![reason.reason.clone(), reason.count.to_string()];
        if style.wide {
            let ports = reason
                .ports
                .iter()
                .map(|port| format!("{} {}", port.name, port.rx + port.tx));
            let ports = ports.collect::<Vec<_>>().join(", ");
            row.push(if ports.is_empty() {
                "-".to_owned()
            } else {
                ports
            });
        }
        row.push(reason.help.clone());
        row
    });
    style.table(&headings, rows)
}
