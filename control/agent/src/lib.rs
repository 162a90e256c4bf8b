//! The agent of one host: its API, its durable state, its network interfaces, and the data path that it drives.
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! weft_agent::confine()?;
//! # Ok(())
//! # }
//! # async fn serve() -> Result<(), weft_agent::AgentError> {
//! let settings = weft_agent::Settings { socket: Some("/tmp/agent.sock".into()), ..Default::default() };
//! weft_agent::run(settings.options()).await
//! # }
//! ```
//!
//! A change goes through [`weft_model`] (is it allowed?), opens the engines that it needs, is written to the state
//! directory, and is then put in force; what fails on the way leaves everything as it was. Interfaces that vanish and
//! return, and addresses that guests change, go the same way without being asked for.
#![forbid(unsafe_code)]

mod adapters;
mod addresses;
mod capabilities;
mod descriptors;
mod error;
mod events;
mod host;
mod links;
mod metrics;
mod offloads;
mod operator;
mod options;
mod pace;
mod patience;
mod plane;
mod progress;
mod quota;
mod server;
mod state;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod wanted;
mod watch;

use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use weft_api::EventKind;
use weft_datapath::Event;

pub use capabilities::confine;
pub use error::AgentError;
pub use options::{
    CoreList, DEFAULT_CONFIG, DEFAULT_GROUP, DEFAULT_STATE_DIR, Options, Poll, Settings,
};

use events::News;
use host::Host;
use pace::Pace;
use plane::Plane;
use server::{Exporter, Socket, service};
use store::Store;

/// Events of the data path that can wait for the control side; more are dropped, and come again.
const EVENTS: usize = 4096;

/// How long until interfaces are watched again, where the kernel ended it.
const WATCH_AGAIN: Duration = Duration::from_secs(2);

/// How often the host looks for what is to be tried again.
const TICK: Duration = Duration::from_secs(1);

/// How long a shutdown waits for requests.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Runs an agent until SIGTERM or SIGINT: restores the host, then serves its API. The socket answers as soon as
/// everything that can be attached is in force, and a service manager is told then.
///
/// Call [`confine`] first, before any thread is made.
///
/// # Errors
/// Why the agent does not start. A port that cannot be attached is none: it is down and says why.
pub async fn run(options: Options) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Threads)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Threads)?;
    let (store, loaded) = Store::open(&options.state_dir)?;
    let mut socket = Socket::bind(
        &options.socket,
        server::operators(options.group.as_deref())?,
    )?;
    let exporter = match options.metrics {
        Some(address) => Some(Exporter::bind(address).await?),
        None => None,
    };
    let (events, seen) = crossbeam_channel::bounded(EVENTS);
    let plane = Plane::start(&options, store.identity(), &events)?;
    drop(events);
    let (addresses_changed, changed) = mpsc::sync_channel(1);
    let ports = loaded.intent.ports.len();
    watch::notify(&[NotifyState::Status(&format!("restoring {ports} ports"))]);
    let name = options.host_name.clone();
    let restore = move || Host::restore(name, store, loaded, plane, addresses_changed);
    let host = Arc::new(
        tokio::task::spawn_blocking(restore)
            .await
            .map_err(|error| panicked(&error))??,
    );
    follow_events(&host, seen).map_err(AgentError::Threads)?;
    follow_addresses(&host, changed, &options.state_dir).map_err(AgentError::Threads)?;
    host::uplinks::follow(&host).map_err(AgentError::Threads)?;
    host::netflow::exporter::export(&host).map_err(AgentError::Threads)?;
    let links = tokio::spawn(follow_links(Arc::downgrade(&host)));
    let exporting = exporter.map(|exporter| tokio::spawn(exporter.serve(Arc::clone(&host))));
    let listener = socket.listener().expect("the listener is taken here only");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, service(Arc::clone(&host))).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let mut serving = tokio::spawn(serving.into_future());
    host.events().push(News::info(
        EventKind::AgentStarted,
        format!("the agent of {} is ready", options.host_name),
    ));
    let watching = watch::start(&host).map_err(AgentError::Threads)?;
    watch::notify(&[NotifyState::Ready, NotifyState::Status(&host.in_a_line())]);
    tracing::info!(host = %options.host_name, socket = %options.socket.display(), "the agent is ready");
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        ended = &mut serving => {
            tracing::error!(?ended, "the API ended");
            "the end of the API"
        }
    };
    tracing::info!(signal, "the agent ends");
    let stopping = News::info(
        EventKind::AgentStopping,
        format!("the agent ends: {signal}"),
    );
    host.events().push(stopping);
    host.events().end();
    watch::notify(&[NotifyState::Stopping, NotifyState::Status("ending")]);
    drop(watching);
    let _ = stop.send(());
    let _ = tokio::time::timeout(LAST_REQUESTS, &mut serving).await;
    serving.abort();
    links.abort();
    if let Some(exporting) = exporting {
        exporting.abort();
    }
    drop(socket);
    let directory = options.state_dir;
    let end = move || {
        host.end_flows();
        host.keep_addresses(&directory);
        close(host);
    };
    tokio::task::spawn_blocking(end)
        .await
        .map_err(|error| panicked(&error))
}

fn panicked(error: &tokio::task::JoinError) -> AgentError {
    AgentError::Threads(std::io::Error::other(error.to_string()))
}

/// Closes all engines, which gives interfaces their settings back. Waits for whoever still uses the host.
fn close(mut host: Arc<Host>) {
    for _ in 0..200 {
        match Arc::try_unwrap(host) {
            Ok(host) => return drop(host),
            Err(shared) => host = shared,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    tracing::warn!("a request is still running, so engines are closed by the kernel");
}

/// Deals with what poll threads see, until they end.
fn follow_events(
    host: &Arc<Host>,
    seen: crossbeam_channel::Receiver<Event>,
) -> std::io::Result<()> {
    let host = Arc::downgrade(host);
    let follow = move || {
        for event in &seen {
            let Some(host) = host.upgrade() else { break };
            host.event(&event);
        }
    };
    std::thread::Builder::new()
        .name("weft-addresses".to_owned())
        .spawn(follow)
        .map(drop)
}

/// Writes learned addresses soon after they change, and at most once a second.
fn follow_addresses(
    host: &Arc<Host>,
    changed: mpsc::Receiver<()>,
    directory: &Path,
) -> std::io::Result<()> {
    const SOON: Duration = Duration::from_millis(50);
    const PAUSE: Duration = Duration::from_millis(950);
    let (host, directory) = (Arc::downgrade(host), directory.to_owned());
    let follow = move || {
        while changed.recv().is_ok() {
            std::thread::sleep(SOON);
            // What came in between is written with it.
            let _ = changed.try_recv();
            match host.upgrade() {
                Some(host) => host.keep_addresses(&directory),
                None => break,
            }
            std::thread::sleep(PAUSE);
        }
    };
    std::thread::Builder::new()
        .name("weft-keep".to_owned())
        .spawn(follow)
        .map(drop)
}

/// Deals with interfaces and guests that come and go, and tries again what could not be attached.
async fn follow_links(host: Weak<Host>) {
    const MOST_WAITING: usize = 1024;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(MOST_WAITING);
    let watcher = tokio::spawn(async move {
        loop {
            match links::watch(sender.clone()).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(error, "network interfaces are not watched; trying again");
                }
            }
            tokio::time::sleep(WATCH_AGAIN).await;
        }
    });
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pace = Pace::default();
    loop {
        let due = pace.due(Instant::now());
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut received = Vec::new();
        let events = tokio::select! {
            biased;
            () = wait => pace.take(Instant::now()),
            count = receiver.recv_many(&mut received, MOST_WAITING) => {
                if count == 0 {
                    break;
                }
                let Some(host) = host.upgrade() else { break };
                received.iter().for_each(|event| host.link_event(event));
                received.into_iter().for_each(|event| pace.push(event));
                continue;
            }
            _ = tick.tick() => Vec::new(),
        };
        let Some(host) = host.upgrade() else { break };
        let follow = move || {
            host.take_back_unconfirmed();
            host.links_changed(events);
            host.follow_guests();
            host.age_learned();
            host.note_counters(Instant::now());
        };
        if let Err(error) = tokio::task::spawn_blocking(follow).await {
            tracing::error!(%error, "a change of interfaces or guests was not followed");
        }
    }
    watcher.abort();
}
