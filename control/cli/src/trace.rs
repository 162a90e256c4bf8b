//! `weft trace`: what would happen to a frame, and which object decides.

use clap::Args;
use weft_api::{
    EtherType, Priority, TraceFrame, TraceOutcome, TraceReport, TraceRequest, TraceStep, Vid,
};
use weft_packet::MacAddr;

use crate::Context;
use crate::failure::Failure;
use crate::output::{Style, counted};

/// What would happen to a frame: each step, who decides, and what would let it pass. Nothing is sent, and nothing changes
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft trace --port MyVM1 --dst 02:00:00:00:00:02
  weft trace --port MyVM1 --dst ff:ff:ff:ff:ff:ff --ethertype arp
  weft trace --port MyVM1 --dst 02:00:00:00:00:02 --src 02:00:00:00:00:99      from an address that is not the port's
  weft trace --port eth1 --dst 02:00:00:00:00:01 --vlan 10                     a frame from the uplink
  weft trace --port MyVM1 --dst 02:00:00:00:00:02 --length 9014 -o json

The exit code is 0 also for a frame that would be dropped.")]
pub(crate) struct Arguments {
    /// The port that sends the frame, or an uplink by its interface
    #[arg(long, value_name = "PORT")]
    port: String,

    /// Its destination
    #[arg(long, value_name = "MAC")]
    dst: MacAddr,

    /// Its source; the port's first address unless named
    #[arg(long, value_name = "MAC")]
    src: Option<MacAddr>,

    /// A VLAN tag with this VID, 0-4095; twice for a tag in a tag, the outer one first
    #[arg(long, value_name = "N")]
    vlan: Vec<Vid>,

    /// The priority in the outer tag, 0-7; without --vlan in a priority tag
    #[arg(long, value_name = "N")]
    priority: Option<Priority>,

    /// What follows the tags: a number such as 0x0800, or ipv4, ipv6, arp, rarp; ipv4 unless said
    #[arg(long, value_name = "TYPE")]
    ethertype: Option<EtherType>,

    /// Octets of the whole frame without its FCS; 60 unless said
    #[arg(long, value_name = "OCTETS")]
    length: Option<u16>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments {
        port,
        dst,
        src,
        vlan,
        priority,
        ethertype,
        length,
    } = arguments;
    let request = TraceRequest {
        port,
        dst,
        src,
        vlans: vlan,
        priority,
        ethertype,
        length,
    };
    let report = context.client.trace(&request).await?;
    context.output.print(&report, |style| text(style, &report))
}

/// Copies that a table shows; `wide` shows all.
const COPIES: usize = 8;

fn text(style: Style, report: &TraceReport) -> String {
    let mut text = format!("{}: {}\n\n", report.port, described(&report.frame));
    let is_copy = |step: &&TraceStep| step.to.is_some();
    let decisions = report.steps.iter().filter(|step| !is_copy(step)).count();
    let shown = if style.wide {
        report.steps.len()
    } else {
        decisions + COPIES
    };
    let rows = report.steps.iter().take(shown).enumerate();
    text += &style.table(
        &["#", "STEP", "OUTCOME", "DECIDED BY", "SETTING", "WHAT"],
        rows.map(|(at, step)| row(at + 1, step)),
    );
    let hidden = report.steps.len().saturating_sub(shown);
    if hidden > 0 {
        text += &format!("   and {hidden} more destinations; -o wide shows all\n");
    }
    text += &format!("\n{}\n", report.verdict);
    let Some(next) = &report.next else {
        return text;
    };
    for (at, command) in next.commands.iter().enumerate() {
        let label = if at == 0 { "next:" } else { "" };
        text += &format!("{label:6}{command}\n");
    }
    let effect = &next.effect;
    text += &if next.delivers {
        format!(
            "{:6}tried: {effect}; {} touched\n",
            "",
            counted(next.ports, "port")
        )
    } else {
        format!("{:6}{effect}\n", "")
    };
    text
}

fn row(number: usize, step: &TraceStep) -> Vec<String> {
    let outcome = match (&step.outcome, &step.reason) {
        (TraceOutcome::Pass, _) => "pass".to_owned(),
        (TraceOutcome::Drop, Some(reason)) => reason.clone(),
        (TraceOutcome::Drop, None) => "drop".to_owned(),
    };
    let setting = match (&step.setting, &step.value) {
        (Some(setting), Some(value)) => format!("{setting}={value}"),
        (Some(setting), None) => setting.clone(),
        _ => String::new(),
    };
    let name = match step.step.as_str() {
        "lookUp" => "look up",
        name => name,
    };
    vec![
        number.to_string(),
        name.to_owned(),
        outcome,
        step.object
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string),
        setting,
        step.detail.clone(),
    ]
}

/// The frame on one line.
fn described(frame: &TraceFrame) -> String {
    let TraceFrame {
        dst,
        src,
        tags,
        ethertype,
        length,
    } = frame;
    let tags: Vec<_> = tags.iter().map(|tag| format!(", {tag}")).collect();
    format!(
        "{src} -> {dst}{}, EtherType {ethertype}, {length} octets",
        tags.concat()
    )
}

#[cfg(test)]
mod tests {
    use weft_api::{TraceNext, TraceTag};
    use weft_model::{ObjectKind, ObjectRef};

    use super::*;
    use crate::output::{Format, Output};

    fn report(steps: Vec<TraceStep>, next: Option<TraceNext>) -> TraceReport {
        TraceReport {
            port: ObjectRef::new(ObjectKind::Port, "MyVM1"),
            frame: TraceFrame {
                dst: MacAddr::BROADCAST,
                src: MacAddr::new([2, 0, 0, 0, 0, 1]),
                tags: vec![TraceTag {
                    vlan: 10,
                    priority: 5,
                }],
                ethertype: EtherType::IPV4,
                length: 60,
            },
            steps,
            delivered: next.is_none(),
            reason: None,
            verdict: "a verdict".to_owned(),
            next,
        }
    }

    fn step(name: &str, to: Option<&str>) -> TraceStep {
        TraceStep {
            step: name.to_owned(),
            outcome: TraceOutcome::Pass,
            reason: None,
            detail: "what".to_owned(),
            object: Some(ObjectRef::new(ObjectKind::Portgroup, "Lab")),
            setting: Some("vlan".to_owned()),
            value: Some("10".to_owned()),
            to: to.map(|name| ObjectRef::new(ObjectKind::Port, name)),
            tags: None,
        }
    }

    fn shown(format: Format, report: &TraceReport) -> String {
        let output = Output::new(format);
        output.render(report, |style| text(style, report)).unwrap()
    }

    #[test]
    fn steps_stand_under_each_other_and_the_verdict_and_the_way_out_below() {
        let dropped = TraceStep {
            outcome: TraceOutcome::Drop,
            reason: Some("PortBlocked".to_owned()),
            ..step("deliver", Some("MyVM2"))
        };
        let next = TraceNext {
            commands: vec!["weft one".to_owned(), "weft two".to_owned()],
            delivers: true,
            effect: "delivered to port MyVM2".to_owned(),
            ports: 2,
        };
        let report = report(vec![step("lookUp", None), dropped], Some(next));
        assert_eq!(
            shown(Format::Table, &report),
            "\
port MyVM1: 02:00:00:00:00:01 -> ff:ff:ff:ff:ff:ff, VLAN 10 priority 5, EtherType 0x0800 (ipv4), 60 octets

   STEP     OUTCOME      DECIDED BY      SETTING  WHAT
1  look up  pass         port group Lab  vlan=10  what
2  deliver  PortBlocked  port group Lab  vlan=10  what

a verdict
next: weft one
      weft two
      tried: delivered to port MyVM2; 2 ports touched
"
        );
    }

    #[test]
    fn a_flood_is_cut_short_unless_all_is_asked_for() {
        let copies = (0..4000).map(|_| step("deliver", Some("MyVM2")));
        let steps = std::iter::once(step("lookUp", None)).chain(copies);
        let report = report(steps.collect(), None);
        let table = shown(Format::Table, &report);
        assert_eq!(table.lines().count(), 15, "{table}");
        assert!(
            table.contains("and 3992 more destinations; -o wide shows all"),
            "{table}"
        );
        assert!(shown(Format::Wide, &report).lines().count() > 4000);
    }
}
