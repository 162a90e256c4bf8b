//! `weft agent`: the switch of this host.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tracing_subscriber::EnvFilter;
use weft_agent::{CoreList, Poll, Settings};
use weft_model::HostName;

use crate::Context;
use crate::failure::Failure;

/// Run the agent of this host: its switches, ports and API
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft agent
  weft agent --cores 2,4-6 --poll busy
  weft agent --state /tmp/a --socket /tmp/a.sock      a second agent on the same host

The configuration file is YAML; its fields are the names of the flags. Flags go before the environment (WEFT_STATE, \
WEFT_SOCKET, WEFT_GROUP, WEFT_CORES, WEFT_POLL, WEFT_HOST_NAME, WEFT_METRICS), the environment before the file. \
WEFT_LOG=debug logs more.

The socket speaks HTTP: GET /v1/openapi.json tells what the API takes, GET /metrics has metrics for Prometheus.")]
pub(crate) struct Arguments {
    /// Read settings from this file [default: /etc/weft/agent.yaml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Keep the configuration in this directory [default: /var/lib/weft]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Serve the API on this Unix socket [default: /run/weft/agent.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Let members of this group use the socket too [default: weft, where there is such a group]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Run one poll thread on each of these cores, such as 2,4-6 [default: one thread on any core]
    #[arg(long, value_name = "LIST")]
    cores: Option<CoreList>,

    /// What poll threads do when there is nothing to do: adaptive (sleep) or busy
    #[arg(long, value_name = "HOW")]
    poll: Option<Poll>,

    /// The name of this host [default: what the system says]
    #[arg(long, value_name = "NAME")]
    host_name: Option<HostName>,

    /// Serve metrics for Prometheus on this TCP address too, to anybody who can reach it [default: on the socket only]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
}

pub(crate) fn run(arguments: Arguments, _context: &Context) -> Result<(), Failure> {
    let Arguments {
        config,
        state,
        socket,
        group,
        cores,
        poll,
        host_name,
        metrics,
    } = arguments;
    let file = match config {
        Some(path) => Settings::read(&path)?,
        None => Settings::read_default()?,
    };
    let environment = Settings::from_environment(|name| std::env::var_os(name))?;
    let flags = Settings {
        state,
        socket,
        group,
        cores,
        poll,
        host_name,
        metrics,
    };
    log_to_stderr();
    // Threads inherit what is left, so it comes before the first one.
    weft_agent::confine()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(format!("no event loop: {error}")))?;
    Ok(runtime.block_on(weft_agent::run(flags.or(environment).or(file).options()))?)
}

/// One line per event on standard error, with its fields as `name=value`. `WEFT_LOG` says what to log, as in `WEFT_LOG=debug`.
fn log_to_stderr() {
    let chosen = EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(chosen)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .log_internal_errors(false)
        .init();
}
