//! Watching over the agent, and what the service manager is told of it (sd_notify(3)).

use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

use crate::host::Host;

/// How often it is looked whether everything moves.
const LOOK: Duration = Duration::from_secs(1);

/// An event loop that has not run a task for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How often the service manager is told how many ports are up.
const STATUS: Duration = Duration::from_secs(10);

/// Tells the service manager, if there is one.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told of the agent's state");
    }
}

/// Watches until its sender is dropped. Must be called within a tokio runtime, which is watched too.
///
/// A thread of its own: the watchdog must not depend on what it watches. It is fed only while the poll threads and the event
/// loop move. What may wait for a disk is left out on purpose: a host whose disk hangs forwards, and a restart would end that.
///
/// # Errors
/// The system refuses a thread.
pub(crate) fn start(host: &Arc<Host>) -> std::io::Result<mpsc::Sender<()>> {
    let (running, stop) = mpsc::channel();
    let watch = Watch {
        host: Arc::downgrade(host),
        runtime: EventLoop::default(),
        watchdog: sd_notify::watchdog_enabled(),
        fed: Instant::now(),
        status_told: None,
        telling: None,
    };
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("weft-watch".to_owned())
        .spawn(move || watch.run(&runtime, &stop))?;
    Ok(running)
}

struct Watch {
    host: Weak<Host>,
    runtime: EventLoop,
    /// The service manager restarts an agent that is silent for this long.
    watchdog: Option<Duration>,
    fed: Instant,
    status_told: Option<Instant>,
    telling: Option<JoinHandle<()>>,
}

impl Watch {
    fn run(mut self, runtime: &tokio::runtime::Handle, stop: &mpsc::Receiver<()>) {
        let pause = self
            .watchdog
            .map_or(LOOK, |watchdog| LOOK.min(watchdog / 4));
        while stop.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            let loops = self.runtime.runs(runtime, pause);
            let Some(host) = self.host.upgrade() else {
                return;
            };
            let now = Instant::now();
            let stalled = host.look_at_threads(now);
            if stalled.is_empty() && loops {
                self.feed(now, pause);
            }
            self.tell_status(now, runtime, host, &stalled);
        }
    }

    /// Feeds the watchdog at half of its patience.
    fn feed(&mut self, now: Instant, pause: Duration) {
        if let Some(watchdog) = self.watchdog
            && now + pause > self.fed + watchdog / 2
        {
            notify(&[NotifyState::Watchdog]);
            self.fed = now;
        }
    }

    /// The number of ports that are up is asked for by another thread: it takes locks, which a change that waits for a stalled poll
    /// thread may hold.
    fn tell_status(
        &mut self,
        now: Instant,
        runtime: &tokio::runtime::Handle,
        host: Arc<Host>,
        stalled: &[usize],
    ) {
        if let Some(thread) = stalled.first() {
            let status = format!("poll thread {thread} is stalled");
            notify(&[NotifyState::Status(&status)]);
            // The end of a stall is told at once.
            self.status_told = None;
            return;
        }
        let is_due = self.status_told.is_none_or(|told| now >= told + STATUS);
        let is_told = self.telling.as_ref().is_none_or(JoinHandle::is_finished);
        if is_due && is_told {
            let tell = move || notify(&[NotifyState::Status(&host.in_a_line())]);
            self.telling = Some(runtime.spawn_blocking(tell));
            self.status_told = Some(now);
        }
    }
}

/// Whether the event loop still runs what it is given.
#[derive(Default)]
struct EventLoop {
    /// A task that has not answered yet, and since when.
    asked: Option<(mpsc::Receiver<()>, Instant)>,
    is_told: bool,
}

impl EventLoop {
    fn runs(&mut self, runtime: &tokio::runtime::Handle, patience: Duration) -> bool {
        let (answer, since) = self.asked.take().unwrap_or_else(|| {
            let (done, answer) = mpsc::channel();
            runtime.spawn(async move { done.send(()) });
            (answer, Instant::now())
        });
        if answer.recv_timeout(patience).is_ok() {
            if std::mem::take(&mut self.is_told) {
                tracing::info!("the event loop goes on");
            }
            return true;
        }
        let is_stuck = since.elapsed() >= STUCK_AFTER;
        if is_stuck && !self.is_told {
            self.is_told = true;
            tracing::error!("the event loop is stuck: no request is answered");
        }
        self.asked = Some((answer, since));
        !is_stuck
    }
}
