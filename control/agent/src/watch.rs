//! Watching over the agent, and what the service manager is told of it (sd_notify(3)).

use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

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
            self.tell_status(now, &host, &stalled);
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

    fn tell_status(&mut self, now: Instant, host: &Host, stalled: &[usize]) {
        let status = match stalled.first() {
            Some(thread) => format!("poll thread {thread} is stalled"),
            None if self.status_told.is_some_and(|told| now < told + STATUS) => return,
            None => host.in_a_line(),
        };
        notify(&[NotifyState::Status(&status)]);
        // The end of a stall is told at once.
        self.status_told = stalled.is_empty().then_some(now);
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
