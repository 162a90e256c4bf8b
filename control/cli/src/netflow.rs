//! `weft netflow`: who is told of the flows of switches.

use std::str::FromStr;

use clap::{Args, Subcommand};
use weft_api::{CollectorStatus, Netflow, ProblemKind};
use weft_model::{
    ActiveTimeout, Collector, Collectors, FlowDirection, FlowRoom, IdleTimeout, NetflowPatch,
    NetflowVersion, Outcome, Sampling, SourceIp, VswitchName, YesNo,
};

use crate::Context;
use crate::change::{EditFlags, OrNone, report};
use crate::failure::Failure;
use crate::output::{Style, or_dash};

/// Who is told of the flows of switches: collectors of IPFIX and NetFlow
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft netflow set vSwitch1 --collector 10.8.0.9:2055
  weft portgroup set Lab Web --netflow enabled         whose flows are counted
  weft netflow show vSwitch1                           what each collector was told
  weft flows --watch                                   the flows that go on")]
pub(crate) enum Command {
    /// List the switches whose flows are told to somebody
    #[command(after_help = "Examples:\n  weft netflow list\n  weft netflow list -o json")]
    List,
    /// Show who is told of the flows of a switch, and what became of it
    #[command(
        after_help = "Examples:\n  weft netflow show vSwitch1\n  weft netflow show vSwitch1 -o json"
    )]
    Show {
        /// The switch
        #[arg(value_name = "SWITCH")]
        vswitch: VswitchName,
    },
    /// Have the flows of a switch told to collectors, or change how
    #[command(after_help = "\
Examples:
  weft netflow set vSwitch1 --collector 10.8.0.9:2055
  weft netflow set vSwitch1 --collector 10.8.0.9:2055 --collector '[fd00::9]:4739'
  weft netflow set vSwitch1 --version 9 --active 30s --idle 15s --sampling 100
  weft netflow set vSwitch1 --domain 7 --source-ip 10.8.0.1
  weft netflow set vSwitch1 --internal-only yes --direction in
  weft netflow set vSwitch1 --domain auto --source-ip none

The first --collector makes it. Unless flags say otherwise: version ipfix, active 1m, idle 15s, sampling 0, domain auto, no source \
address, internal only no, direction both, flows 65536. --collector names all of them anew. Which flows are counted, port groups say: \
'weft portgroup set NAME --netflow enabled'.")]
    Set(Box<Set>),
    /// Tell nobody of the flows of a switch any more
    #[command(after_help = "Examples:\n  weft netflow del vSwitch1")]
    Del {
        /// The switch
        #[arg(value_name = "SWITCH")]
        vswitch: VswitchName,
        #[command(flatten)]
        change: EditFlags,
    },
}

#[derive(Args)]
#[command(override_usage = "weft netflow set [OPTIONS] <SWITCH> <SETTINGS>...")]
#[group(id = "settings", required = true, multiple = true, args = IDS)]
pub(crate) struct Set {
    /// The switch
    #[arg(value_name = "SWITCH")]
    vswitch: VswitchName,

    /// Who is told: an address and a UDP port, as 10.8.0.9:2055 or [fd00::9]:2055; up to eight
    #[arg(long = "collector", value_name = "ADDR:PORT")]
    collectors: Vec<Collector>,

    /// In which format
    #[arg(long, value_name = "ipfix|9|5")]
    version: Option<NetflowVersion>,

    /// A flow that goes on is told after so long, 1s-1h
    #[arg(long, value_name = "TIME")]
    active: Option<ActiveTimeout>,

    /// A flow is over when no packet of it came for so long, 1s-10m
    #[arg(long, value_name = "TIME")]
    idle: Option<IdleTimeout>,

    /// One packet in so many is counted, at random, 0-16384 (version 5: 16383); 0 and 1: every one
    #[arg(long, value_name = "N")]
    sampling: Option<Sampling>,

    /// The observation domain, 0-4294967295; auto is one that follows from the names of host and switch
    #[arg(long, value_name = "N|auto")]
    domain: Option<Domain>,

    /// The address that messages come from, also one that is not the host's; none is that of the way to the collector
    #[arg(long, value_name = "ADDR|none")]
    source_ip: Option<OrNone<SourceIp>>,

    /// Whether only frames between ports of the host are counted
    #[arg(long, value_name = "yes|no")]
    internal_only: Option<YesNo<false>>,

    /// Which frames of a port are counted: those that its VM sends, those that it receives, or both
    #[arg(long, value_name = "in|out|both")]
    direction: Option<FlowDirection>,

    /// Flows that each poll thread has room for, 1000-1000000
    #[arg(long, value_name = "N")]
    flows: Option<FlowRoom>,

    #[command(flatten)]
    change: EditFlags,
}

/// What clap calls the flags.
const IDS: [&str; 10] = [
    "collectors",
    "version",
    "active",
    "idle",
    "sampling",
    "domain",
    "source_ip",
    "internal_only",
    "direction",
    "flows",
];

/// An observation domain, or the word for the one that follows from names.
#[derive(Clone, Copy, Debug)]
struct Domain(Option<u32>);

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let domain = text.parse().map(|domain| Self(Some(domain)));
        domain.map_err(|_| format!("{text:?} is no domain; use 0-{}, or auto", u32::MAX))
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Context { client, output } = context;
    match command {
        Command::List => {
            let all = client.netflows().await?;
            if all.is_empty() && output.is_for_people() {
                output.note(
                    "no collectors; name one with 'weft netflow set SWITCH --collector ADDR:PORT'",
                );
                return Ok(());
            }
            output.print(&all, |style| table(style, &all))
        }
        Command::Show { vswitch } => {
            let netflow = client.netflow(&vswitch).await?;
            output.print(&netflow, |style| fields(style, &netflow))
        }
        Command::Set(set) => run_set(*set, context).await,
        Command::Del { vswitch, change } => report(
            context,
            &client.del_netflow(&vswitch, change.options()).await?,
            None,
        ),
    }
}

async fn run_set(set: Set, context: &Context) -> Result<(), Failure> {
    let Context { client, output } = context;
    let (vswitch, options) = (set.vswitch.clone(), set.change.options());
    let is_in_force = set.change.is_in_force();
    let patch = set.patch()?;
    let result = client.set_netflow(&vswitch, &patch, options).await?;
    let detail = match (&result.outcome, &patch.collectors) {
        (Outcome::Created, Some(collectors)) => {
            let version = patch.version.unwrap_or_default();
            Some(format!(": {version} to {collectors}"))
        }
        _ => None,
    };
    report(context, &result, detail.as_deref())?;
    if result.outcome == Outcome::Created
        && is_in_force
        && output.is_for_people()
        && client.netflow(&vswitch).await?.status.ports == 0
    {
        output.note(
            "no port has its flows counted yet; run 'weft portgroup set NAME --netflow enabled'",
        );
    }
    Ok(())
}

impl Set {
    /// What to change.
    ///
    /// # Errors
    /// Collectors that are too many, or named twice.
    fn patch(self) -> Result<NetflowPatch, Failure> {
        let collectors = match self.collectors.as_slice() {
            [] => None,
            some => {
                let refused = |problem| {
                    let text = format!("netflow {}: collectors: {problem}", self.vswitch);
                    Failure::of_kind(ProblemKind::Invalid, text)
                };
                Some(Collectors::new(some.to_vec()).map_err(refused)?)
            }
        };
        Ok(NetflowPatch {
            collectors,
            version: self.version,
            active: self.active,
            idle: self.idle,
            sampling: self.sampling,
            domain: self.domain.map(|domain| domain.0),
            source_ip: self.source_ip.map(|source| source.0),
            internal_only: self.internal_only,
            direction: self.direction,
            flows: self.flows,
        })
    }
}

fn table(style: Style, all: &[Netflow]) -> String {
    let headings = [
        "SWITCH",
        "VERSION",
        "COLLECTORS",
        "#PORTS",
        "#FLOWS",
        "#MESSAGES",
        "#RECORDS",
        "#LOST",
    ];
    let rows = all.iter().map(|Netflow { spec, status, .. }| {
        let sum = |count: &dyn Fn(&CollectorStatus) -> u64| {
            let counts = status.collectors.iter().map(count);
            counts.sum::<u64>().to_string()
        };
        vec![
            spec.vswitch.to_string(),
            spec.version.to_string(),
            spec.collectors.to_string(),
            status.ports.to_string(),
            status.flows.to_string(),
            sum(&|one| one.messages),
            sum(&|one| one.records),
            // What was lost to all is lost to each.
            sum(&|one| one.lost_records + status.lost_records),
        ]
    });
    style.table(&headings, rows)
}

fn fields(style: Style, netflow: &Netflow) -> String {
    let Netflow { spec, status, .. } = netflow;
    let domain = match spec.domain {
        Some(domain) => domain.to_string(),
        None => format!("{} (auto)", status.domain),
    };
    let sampling = match spec.sampling.number() {
        0 | 1 => "every packet".to_owned(),
        some => format!("1 packet in {some}"),
    };
    let flows = format!("{}, room for {}", status.flows, status.room);
    let mut text = style.fields([
        ("switch", spec.vswitch.to_string()),
        ("version", spec.version.to_string()),
        ("active", spec.active.to_string()),
        ("idle", spec.idle.to_string()),
        ("sampling", sampling),
        ("domain", domain),
        ("source ip", or_dash(spec.source_ip)),
        ("internal only", spec.internal_only.to_string()),
        ("direction", spec.direction.to_string()),
        ("flows per thread", spec.flows.to_string()),
        ("ports", status.ports.to_string()),
        ("packets", status.packets.to_string()),
        ("flows", flows),
        ("evicted flows", status.evicted.to_string()),
        ("lost records", status.lost_records.to_string()),
        ("object version", netflow.resource_version.0.to_string()),
    ]);
    let rows = status.collectors.iter().map(|one| {
        vec![
            one.collector.to_string(),
            one.messages.to_string(),
            one.records.to_string(),
            one.lost_records.to_string(),
            one.unsaid.to_string(),
            or_dash(one.last_error.as_ref()),
        ]
    });
    let headings = [
        "COLLECTOR",
        "#MESSAGES",
        "#RECORDS",
        "#LOST",
        "#UNSAID",
        "ERROR",
    ];
    text += "\n";
    text + &style.table(&headings, rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use weft_model::NetflowSpec;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        set: Set,
    }

    fn patch(flags: &str) -> Result<NetflowPatch, Failure> {
        let words = ["weft", "S"].into_iter().chain(flags.split(' '));
        Alone::try_parse_from(words).unwrap().set.patch()
    }

    fn spec(collectors: &str) -> NetflowSpec {
        let collectors = collectors.split(',').map(|one| one.parse().unwrap());
        let collectors = Collectors::new(collectors.collect()).unwrap();
        NetflowSpec::new("S".parse().unwrap(), collectors)
    }

    #[test]
    fn every_flag_sets_its_field() {
        let before = spec("10.8.0.9:1");
        for (flags, field) in [
            (
                "--collector 10.8.0.8:1 --collector [fd00::9]:2",
                "collectors: ['10.8.0.8:1', '[fd00::9]:2']",
            ),
            ("--version 9", "version: 9"),
            ("--version 5", "version: 5"),
            ("--active 30s", "active: 30s"),
            ("--idle 60s", "idle: 60s"),
            ("--sampling 100", "sampling: 100"),
            ("--domain 4294967295", "domain: 4294967295"),
            ("--source-ip 10.8.0.1", "sourceIp: 10.8.0.1"),
            ("--internal-only yes", "internalOnly: true"),
            ("--direction out", "direction: out"),
            ("--flows 1000", "flows: 1000"),
        ] {
            let mut after = before.clone();
            patch(flags).unwrap().apply(&mut after);
            let expected: NetflowPatch = weft_model::from_text(field).unwrap();
            let mut wanted = before.clone();
            expected.apply(&mut wanted);
            assert_ne!(after, before, "{flags}");
            assert_eq!(after, wanted, "{flags}");
        }
        let mut back = spec("10.8.0.9:1");
        patch("--domain 7 --source-ip 10.8.0.1")
            .unwrap()
            .apply(&mut back);
        patch("--domain auto --source-ip none")
            .unwrap()
            .apply(&mut back);
        assert_eq!(back, before);
    }

    #[test]
    fn collectors_that_cannot_be_are_a_usage_error() {
        for (flags, text) in [
            (
                "--collector 10.8.0.9:1 --collector 10.8.0.9:1".to_owned(),
                "netflow S: collectors: collector 10.8.0.9:1 is named twice; name each once",
            ),
            (
                (1..=9)
                    .map(|port| format!("--collector 10.8.0.9:{port}"))
                    .collect::<Vec<_>>()
                    .join(" "),
                "netflow S: collectors: 9 collectors are out of range; name 1-8",
            ),
        ] {
            let Err(Failure::Wrong {
                code, text: said, ..
            }) = patch(&flags)
            else {
                panic!("{flags} is refused");
            };
            assert_eq!((code, said.as_str()), (2, text));
        }
    }

    #[test]
    fn help_tells_the_defaults() {
        let command = crate::command();
        let set = command.find_subcommand("netflow").unwrap();
        let help = set.find_subcommand("set").unwrap().get_after_help();
        let NetflowSpec {
            version,
            active,
            idle,
            sampling,
            internal_only,
            direction,
            flows,
            ..
        } = spec("10.8.0.9:1");
        let defaults = format!(
            "version {version}, active {active}, idle {idle}, sampling {sampling}, domain auto, no source address, \
             internal only {internal_only}, direction {direction}, flows {flows}."
        );
        let help = help.unwrap().to_string();
        assert!(help.contains(&defaults), "{help}");
    }

    #[test]
    fn what_collectors_were_told_stands_below() {
        let netflow = Netflow {
            name: "S".to_owned(),
            uid: weft_model::Uid(3),
            resource_version: weft_model::ResourceVersion(4),
            spec: spec("10.8.0.9:2055,10.8.0.8:1"),
            status: weft_api::NetflowStatus {
                domain: 77,
                ports: 2,
                flows: 10,
                room: 131_072,
                packets: 700,
                evicted: 1,
                lost_records: 5,
                collectors: vec![
                    CollectorStatus {
                        collector: "10.8.0.9:2055".parse().unwrap(),
                        messages: 3,
                        records: 40,
                        lost_records: 0,
                        unsaid: 0,
                        last_error: None,
                    },
                    CollectorStatus {
                        collector: "10.8.0.8:1".parse().unwrap(),
                        messages: 1,
                        records: 2,
                        lost_records: 38,
                        unsaid: 3,
                        last_error: Some("nobody listens there".to_owned()),
                    },
                ],
            },
        };
        assert_eq!(
            fields(Style::PLAIN, &netflow),
            "\
switch:            S
version:           ipfix
active:            1m
idle:              15s
sampling:          every packet
domain:            77 (auto)
source ip:         -
internal only:     no
direction:         both
flows per thread:  65536
ports:             2
packets:           700
flows:             10, room for 131072
evicted flows:     1
lost records:      5
object version:    4

COLLECTOR      MESSAGES  RECORDS  LOST  UNSAID  ERROR
10.8.0.9:2055         3       40     0       0  -
10.8.0.8:1            1        2    38       3  nobody listens there
"
        );
        assert_eq!(
            table(Style::PLAIN, &[netflow]),
            "\
SWITCH  VERSION  COLLECTORS                PORTS  FLOWS  MESSAGES  RECORDS  LOST
S       ipfix    10.8.0.9:2055,10.8.0.8:1      2     10         4       42    48
"
        );
    }
}
