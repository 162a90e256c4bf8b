//! The `weft` command: the agent of a host, and everything that its operator does.
//!
//! Each noun of the command line is a module here, with its flags, its help and its output. What they share: [`failure`]
//! turns every error into a text and an exit code, [`output`] prints data in the format that was asked for, [`change`] makes
//! a change and says what it did.
#![forbid(unsafe_code)]

mod agent;
mod apply;
mod change;
mod completion;
mod drops;
mod events;
mod export;
mod failure;
mod fdb;
mod flows;
mod help;
mod history;
mod lab;
mod manifest;
mod manual;
mod netflow;
mod output;
mod policies;
mod policy;
mod port;
mod portgroup;
mod progress;
mod security;
mod stats;
mod status;
mod top;
mod trace;
mod uplink;
mod usage;
mod vmk;
mod vswitch;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use weft_api::{Client, DEFAULT_SOCKET};

use failure::Failure;
use output::{Format, Output};

/// A virtual switch for hypervisor hosts
#[derive(Parser)]
#[command(
    name = "weft",
    version,
    arg_required_else_help = true,
    after_help = help::FIRST_STEPS
)]
struct Cli {
    /// How to print data: table, wide, json or yaml
    #[arg(
        short,
        long = "output",
        value_name = "FORMAT",
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    output: Format,

    /// The socket of the agent to talk to
    #[arg(
        long,
        value_name = "SOCKET",
        global = true,
        env = "WEFT_AGENT",
        default_value = DEFAULT_SOCKET,
        help_heading = "Global options"
    )]
    agent: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Agent(agent::Arguments),
    Status(status::Arguments),
    #[command(subcommand)]
    Vswitch(vswitch::Command),
    #[command(subcommand)]
    Portgroup(portgroup::Command),
    #[command(subcommand)]
    Port(port::Command),
    #[command(subcommand)]
    Uplink(uplink::Command),
    #[command(subcommand)]
    Vmk(vmk::Command),
    #[command(subcommand)]
    Netflow(netflow::Command),
    Flows(flows::Arguments),
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(subcommand)]
    Fdb(fdb::Command),
    Stats(stats::Arguments),
    Drops(drops::Arguments),
    Top(top::Arguments),
    Events(events::Arguments),
    Apply(apply::Apply),
    Diff(apply::Diff),
    Trace(trace::Arguments),
    Export(export::Arguments),
    History(history::History),
    Rollback(history::Rollback),
    Confirm(history::Confirm),
    #[command(subcommand)]
    Lab(lab::Command),
    Completion(completion::Arguments),
    Man(manual::Arguments),
    #[command(hide = true)]
    Complete(completion::Question),
    #[command(hide = true)]
    PackageFiles(manual::PackageFiles),
}

/// What every command of an operator works with.
struct Context {
    client: Client,
    output: Output,
}

/// The whole command line.
pub(crate) fn command() -> clap::Command {
    help::in_groups(Cli::command())
}

fn main() -> ExitCode {
    let Cli {
        output,
        agent,
        command,
    } = parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let context = Context {
        client: Client::new(agent),
        output: Output::new(output),
    };
    match run(command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(words);
    matches
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| usage::explained(error, &command))
}

fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Agent(arguments) => agent::run(arguments, context),
        Command::Status(_) => ask(status::run(context)),
        Command::Vswitch(command) => ask(vswitch::run(command, context)),
        Command::Portgroup(command) => ask(portgroup::run(command, context)),
        Command::Port(command) => ask(port::run(command, context)),
        Command::Uplink(command) => ask(uplink::run(command, context)),
        Command::Vmk(command) => ask(vmk::run(command, context)),
        Command::Netflow(command) => ask(netflow::run(command, context)),
        Command::Flows(arguments) => wait_for(flows::run(arguments, context)),
        Command::Policy(command) => ask(policy::run(command, context)),
        Command::Fdb(command) => ask(fdb::run(command, context)),
        Command::Stats(arguments) => wait_for(stats::run(arguments, context)),
        Command::Drops(arguments) => wait_for(drops::run(arguments, context)),
        Command::Trace(arguments) => ask(trace::run(arguments, context)),
        Command::Top(arguments) => wait_for(top::run(arguments, context)),
        Command::Events(arguments) => wait_for(events::run(arguments, context)),
        Command::Apply(arguments) => wait_for(apply::apply(arguments, context)),
        Command::Diff(arguments) => wait_for(apply::diff(arguments, context)),
        Command::Export(arguments) => ask(export::run(arguments, context)),
        Command::History(_) => ask(history::history(context)),
        Command::Rollback(arguments) => wait_for(history::rollback(arguments, context)),
        Command::Confirm(arguments) => ask(history::confirm(arguments, context)),
        Command::Lab(command) => lab::run(command, context),
        Command::Completion(arguments) => completion::run(&arguments, context),
        Command::Man(arguments) => manual::run(&arguments, context),
        Command::Complete(question) => completion::answer(&question, context),
        Command::PackageFiles(arguments) => manual::run_package_files(&arguments),
    }
}

/// The same with the agent, which may take its time.
fn ask(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let _progress = progress::Progress::of("waiting for the agent");
    wait_for(work)
}

/// Runs one conversation; a command has nothing else to do meanwhile.
fn wait_for(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::new(format!("no event loop: {error}")))?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    /// Every form of the contract that this version serves.
    #[test]
    fn the_contract_parses() {
        for line in [
            "agent --config /etc/weft.yaml --state /var/lib/weft --socket /run/a.sock --cores 0,2-3 --poll busy --host-name h",
            "status -o json",
            "vswitch add vSwitch1 --uplink eth1 --uplink eth2 --mtu 9000 --dry-run",
            "vswitch set vSwitch1 --promiscuous accept --mac-changes reject --forged-transmits reject --wait none",
            "portgroup add Lab --vswitch vSwitch1 --vlan 4095",
            "portgroup set Lab --vlan 10 --promiscuous inherit",
            "port add MyVM1 --portgroup Lab --veth p-MyVM1 --engine af-xdp --mac 02:00:00:00:00:01",
            "port add MyVM1 --portgroup Lab --veth p-MyVM1 --engine packet",
            "port add MyVM1 --portgroup Lab --vhost-user /run/MyVM1.sock --role server",
            "port add MyVM1 --portgroup Lab --tap tap0 --mac 02:00:00:00:00:01",
            "port set MyVM1 --portgroup Lab --mac 02:00:00:00:00:01 --link down --block yes",
            "port del MyVM1",
            "vmk add vmk0 --portgroup Mgmt --ip 10.0.0.11/24 --mac 02:00:00:00:00:01 --mtu 1500",
            "vmk set vmk0 --ip none --mac none --mtu none --portgroup Mgmt --yes",
            "vmk show vmk0",
            "vmk list -o json",
            "vmk del vmk0 --yes",
            "netflow set vSwitch1 --collector 10.8.0.9:2055 --collector [fd00::9]:4739 --version ipfix --active 60s --idle 15s --sampling 0 --domain 7 --source-ip 10.8.0.1 --internal-only yes --direction both --flows 1000",
            "netflow set vSwitch1 --version 9 --dry-run",
            "netflow set vSwitch1 --version 5 --domain auto --source-ip none --if-version 3",
            "netflow list -o json",
            "netflow show vSwitch1",
            "netflow del vSwitch1 --dry-run",
            "portgroup set Lab --netflow enabled",
            "portgroup set Lab Web Mail --netflow inherit --vlan 10 --wait none",
            "portgroup add Lab --vswitch vSwitch1 --netflow enabled",
            "vswitch set vSwitch1 --netflow disabled",
            "flows",
            "flows --port MyVM1 --limit 10 --watch -o json",
            "uplink list",
            "uplink add vSwitch1 eth1 --yes",
            "uplink del vSwitch1 eth1",
            "policy show MyVM1 -o yaml",
            "fdb list --vswitch vSwitch1",
            "stats MyVM1 MyVM2 --watch",
            "drops --watch -o wide",
            "top -n 10 -d 0.5 -o json",
            "events",
            "events --watch --since 10m -o json",
            "apply -f host.yaml --dry-run",
            "apply -f - --confirm 60s",
            "confirm --dry-run",
            "diff -f host.yaml",
            "trace --port MyVM1 --dst 02:00:00:00:00:02",
            "trace --port MyVM1 --dst ff:ff:ff:ff:ff:ff --src 02:00:00:00:00:01 --vlan 10 --ethertype 0x0806 -o json",
            "trace --port eth1 --dst 02:00:00:00:00:02 --vlan 20 --vlan 10 --priority 5 --length 1514 --ethertype arp",
            "export",
            "history",
            "rollback",
            "rollback 7",
            "lab up examples/mirror.yaml --name a",
            "lab down",
            "lab ls",
            "lab exec MyVM1 -- ping -c 1 192.168.10.3",
            "lab demo",
            "completion zsh",
            "man /tmp/man",
            "--agent /run/x.sock port list",
        ] {
            let words = std::iter::once("weft").chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_cannot_be_meant_is_a_usage_error() {
        for line in [
            "portgroup add Lab --vswitch vSwitch1 --vlan 4096",
            "port add MyVM1 --portgroup Lab --veth p-MyVM1 --mac zz",
            "port add MyVM1 --portgroup Lab",
            "port add MyVM1 --portgroup Lab --veth a234567890123456",
            "vswitch set vSwitch1 --promiscuous inherit",
            "vswitch set vSwitch1 --mtu 90",
            "vswitch set vSwitch1",
            "portgroup set Lab",
            "port set MyVM1",
            "vmk set vmk0",
            "portgroup set --netflow enabled",
            "portgroup set Lab --netflow on",
            "vswitch set vSwitch1 --netflow inherit",
            "netflow set vSwitch1",
            "netflow set --collector 10.8.0.9:2055",
            "netflow set vSwitch1 --collector 10.8.0.9",
            "netflow set vSwitch1 --collector fd00::9:2055",
            "netflow set vSwitch1 --version 7",
            "netflow set vSwitch1 --active 0s",
            "netflow set vSwitch1 --active 3601s",
            "netflow set vSwitch1 --idle 601s",
            "netflow set vSwitch1 --idle 15",
            "netflow set vSwitch1 --sampling 16385",
            "netflow set vSwitch1 --domain 4294967296",
            "netflow set vSwitch1 --source-ip 224.0.0.1",
            "netflow set vSwitch1 --internal-only maybe",
            "netflow set vSwitch1 --direction ingress",
            "netflow set vSwitch1 --flows 999",
            "flows --limit 0",
            "flows MyVM1",
            "vmk add vmk0 --ip 10.0.0.11/24",
            "vmk add vmk0 --portgroup Mgmt --ip 10.0.0.11",
            "vmk add management-network --portgroup Mgmt",
            "trace --port MyVM1",
            "trace --dst 02:00:00:00:00:02",
            "trace --port MyVM1 --dst 02:00:00:00:00:02 --vlan 4096",
            "trace --port MyVM1 --dst 02:00:00:00:00:02 --priority 8",
            "trace --port MyVM1 --dst 02:00:00:00:00:02 --ethertype 0x8100",
            "trace --port MyVM1 --dst 02:00:00:00:00:02 --length 65536",
            "agent --cores 3-1",
            "lab exec MyVM1",
            "apply",
            "apply -f host.yaml --confirm 60",
            "rollback latest",
            "nonsense",
        ] {
            let words = std::iter::once("weft").chain(line.split(' '));
            let code = Cli::try_parse_from(words)
                .err()
                .map(|error| error.exit_code());
            assert_eq!(code, Some(2), "{line}");
        }
    }
}
