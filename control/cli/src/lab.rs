//! `weft lab`: hosts and VMs out of network namespaces.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;
use weft_lab::{LabName, LabReport, LabState, UpOutcome, Wish};

use crate::failure::Failure;
use crate::output::{Style, or_dash};
use crate::progress::{self, Progress};
use crate::{Context, wait_for};

/// Labs: hosts and VMs out of network namespaces, on this machine
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  weft lab demo                                        promiscuous mode, step by step
  weft lab up examples/mirror.yaml
  weft lab ls
  weft lab exec MyVM1 -- ping -c 3 192.168.10.3        in a VM
  weft lab exec esxi01 -- weft status                  on a host
  weft lab down")]
pub(crate) enum Command {
    /// Make the lab that a file describes
    #[command(after_help = "\
Examples:
  weft lab up examples/mirror.yaml                     the lab 'mirror'
  weft lab up examples/mirror.yaml --name second       a second one beside it

A lab file is a manifest with 'hosts:' and 'vms:'. Each host is a network namespace with its own agent, each VM a namespace \
with one interface, and uplinks meet on a bridge in a namespace of their own.")]
    Up {
        /// The lab file
        file: PathBuf,
        /// The name of the lab [default: that of the file]
        #[arg(long)]
        name: Option<LabName>,
        /// Only check that the lab could be made
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a lab and all that belongs to it, also after a crash
    #[command(
        after_help = "Examples:\n  weft lab down               the only lab\n  weft lab down mirror"
    )]
    Down {
        /// The lab [default: the only one]
        lab: Option<LabName>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// List all labs with their hosts and VMs
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  weft lab ls\n  weft lab ls -o json"
    )]
    Ls,
    /// Run a command in a VM or on a host, and end with its exit code
    #[command(after_help = "\
Examples:
  weft lab exec MyVM1 -- ip addr
  weft lab exec MyVM2 -- tcpdump -n -i eth0 icmp
  weft lab exec esxi01 -- weft vswitch set vSwitch1 --promiscuous accept
  weft lab exec second/MyVM1 -- ping -c 1 192.168.10.3
  weft lab exec fabric -- tcpdump -n -e -i br0         between the hosts")]
    Exec {
        /// The VM or host, as NAME or LAB/NAME
        name: String,
        /// The command
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Show on real interfaces what promiscuous mode does, and leave nothing behind
    #[command(after_help = "Examples:\n  weft lab demo")]
    Demo,
}

pub(crate) fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let Context { output, .. } = context;
    match command {
        Command::Up {
            file,
            name,
            dry_run,
        } => {
            let weft = executable()?;
            wait_for(async {
                let wish = Wish::read(&file, name)?;
                let lab = &wish.lab;
                let progress = Progress::of(format!("making lab {lab}"));
                let outcome = weft_lab::up(&wish, &weft, dry_run).await;
                drop(progress);
                let line = match outcome? {
                    UpOutcome::Unchanged => format!("lab {lab}: unchanged\n"),
                    UpOutcome::Made if dry_run => format!("lab {lab} would be made\n"),
                    UpOutcome::Made => format!("lab {lab} is up; 'weft lab ls' shows it\n"),
                };
                output.text(&line)
            })
        }
        Command::Down { lab, dry_run } => wait_for(async {
            let progress = Progress::of("removing the lab");
            let removed = weft_lab::down(lab.as_ref(), dry_run).await;
            drop(progress);
            let line = match removed? {
                None => "no lab is up: nothing to remove\n".to_owned(),
                Some(lab) if dry_run => format!("lab {lab} would be removed\n"),
                Some(lab) => format!("lab {lab} removed\n"),
            };
            output.text(&line)
        }),
        Command::Ls => {
            let labs = weft_lab::list()?;
            if labs.is_empty() && output.is_for_people() {
                output.note("no lab is up; start one with 'weft lab up FILE'");
                return Ok(());
            }
            output.print(&labs, |style| table(style, &labs))
        }
        Command::Exec { name, command } => {
            Err(weft_lab::exec(&name, &command, &executable()?).into())
        }
        Command::Demo => run_demo(),
    }
}

fn run_demo() -> Result<(), Failure> {
    let weft = executable()?;
    let mut unheard = None;
    let progress = Progress::of("preparing the demo");
    let mut say = |text: &str| {
        progress::pause();
        progress::step("working");
        let mut stdout = io::stdout().lock();
        let said = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        said.inspect_err(|error| unheard = Some(Failure::of_output(error)))
    };
    let result = wait_for(async { Ok(weft_lab::demo(&weft, &mut say).await?) });
    drop(progress);
    unheard.map_or(result, Err)
}

/// The file that runs as the agents of a lab's hosts: this one.
fn executable() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(format!("weft cannot find its own executable: {error}")))
}

fn table(style: Style, labs: &[LabReport]) -> String {
    let mut headings = vec!["LAB", "STATE", "MEMBER", "KIND", "HOST", "IP", "#AGENT"];
    if style.wide {
        headings.extend(["MAC", "INTERFACE", "NAMESPACE"]);
    }
    headings.push("PROBLEM");
    let rows = labs.iter().flat_map(|lab| {
        lab.members.iter().map(move |member| {
            let mut row = vec![
                lab.name.clone(),
                state(lab.state).to_owned(),
                member.name.clone(),
                member.kind.to_owned(),
                or_dash(member.host.as_ref()),
                or_dash(member.ip.as_ref()),
                or_dash(member.agent_pid),
            ];
            if style.wide {
                row.extend([
                    or_dash(member.mac),
                    or_dash(member.interface.as_ref()),
                    member.namespace.clone(),
                ]);
            }
            row.push(member.problem.unwrap_or_default().to_owned());
            row
        })
    });
    style.table(&headings, rows)
}

fn state(state: LabState) -> &'static str {
    match state {
        LabState::Up => "up",
        LabState::Starting => "starting",
        LabState::Broken => "broken",
    }
}
