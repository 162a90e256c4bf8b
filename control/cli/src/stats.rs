//! `weft stats`: counters of ports.

use std::collections::BTreeMap;

use clap::Args;
use weft_api::PortStats;

use crate::Context;
use crate::failure::Failure;
use crate::output::Style;
use crate::watch;

/// Counters of ports and uplinks
///
/// rx is what the switch receives from the port (the VM sends), tx what it delivers to it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft stats
  weft stats MyVM1 MyVM2 --watch
  weft stats -o wide                 where received frames and copies went
  weft stats -o json")]
pub(crate) struct Arguments {
    /// Only these ports
    #[arg(value_name = "PORT")]
    ports: Vec<String>,

    /// Show them again every second
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments { ports, watch } = arguments;
    let ports = &ports;
    watch::show(context, watch, || async move {
        let stats = context.client.stats(ports).await?;
        if stats.is_empty() && context.output.is_for_people() {
            context.output.note("no ports");
        }
        context.output.render(&stats, |style| table(style, &stats))
    })
    .await
}

fn table(style: Style, stats: &[PortStats]) -> String {
    if stats.is_empty() {
        return String::new();
    }
    let mut headings = vec!["PORT", "#RX FRAMES", "#RX BYTES", "#TX FRAMES", "#TX BYTES"];
    if style.wide {
        headings.extend([
            "#RX DELIVERED",
            "#RX UNDELIVERED",
            "#TX ATTEMPTS",
            "#CHECKSUMS",
            "#SEGMENTED",
            "#SEGMENTS",
            "KERNEL DROPS",
        ]);
    }
    headings.push("DROPS");
    let rows = stats.iter().map(|port| {
        let name = if port.uplink {
            format!("{} (uplink)", port.name)
        } else {
            port.name.clone()
        };
        let numbers = [port.rx_frames, port.rx_bytes, port.tx_frames, port.tx_bytes];
        let mut row: Vec<String> = std::iter::once(name)
            .chain(numbers.map(|number| number.to_string()))
            .collect();
        if style.wide {
            let more = [
                port.rx_delivered,
                port.rx_undelivered,
                port.tx_attempts,
                port.checksums_completed,
                port.segmented,
                port.segments,
            ];
            row.extend(more.map(|number| number.to_string()));
            row.push(counted(&port.kernel_drops));
        }
        row.push(counted(&port.drops));
        row
    });
    style.table(&headings, rows)
}

/// `12: ForgedTransmit 10, Runt 2`, the most frequent first.
fn counted(drops: &BTreeMap<String, u64>) -> String {
    let mut present: Vec<(&String, &u64)> = drops.iter().filter(|(_, count)| **count > 0).collect();
    present.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let total: u64 = present.iter().map(|(_, count)| **count).sum();
    match present.as_slice() {
        [] => "0".to_owned(),
        [(reason, count)] => format!("{reason} {count}"),
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|(reason, count)| format!("{reason} {count}"))
                .collect();
            format!("{total}: {}", list.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_listed_most_frequent_first() {
        let drops = |list: &[(&str, u64)]| {
            list.iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        assert_eq!(counted(&drops(&[])), "0");
        assert_eq!(counted(&drops(&[("Runt", 2), ("TooLong", 0)])), "Runt 2");
        assert_eq!(
            counted(&drops(&[("Runt", 2), ("ForgedTransmit", 10)])),
            "12: ForgedTransmit 10, Runt 2"
        );
    }
}
