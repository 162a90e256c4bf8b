//! Whether the host is alive, for service managers and monitoring.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use weft_api::EventKind;

use super::Host;
use super::status::counts;
use crate::events;
use crate::progress::{News, Progress};

impl Host {
    /// Looks whether every poll thread has moved since the last look, and says what is new. Returns those that stand still.
    pub(crate) fn look_at_threads(&self, now: Instant) -> Vec<usize> {
        let passes = self.plane.datapath().threads();
        let passes = passes.into_iter().map(|thread| thread.passes);
        let (news, stalled) = {
            let mut progress = self.progress();
            (progress.look(now, passes), progress.stalled())
        };
        for news in &news {
            self.events.push(told(news));
        }
        stalled.into_iter().map(|(thread, _)| thread).collect()
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the agent is not alive. Empty: it is.
    pub(crate) fn ailments(&self) -> Vec<String> {
        let stalled = self.progress().stalled();
        let stalled = stalled.into_iter().map(|(thread, still)| {
            format!(
                "poll thread {thread} has not moved for {} s",
                still.as_secs()
            )
        });
        stalled.collect()
    }

    /// Why the agent is not ready. Empty: it forwards by the newest configuration.
    pub(crate) fn arrears(&self) -> Vec<String> {
        let mut arrears = self.ailments();
        let durable = self.durable_generation.load(Ordering::Relaxed);
        let applied = self.applied_generation.load(Ordering::Relaxed);
        if applied < durable {
            arrears.push(format!(
                "generation {durable} is durable, and {applied} in force"
            ));
        }
        arrears
    }

    /// The host's state in a few words.
    pub(crate) fn in_a_line(&self) -> String {
        let state = self.view();
        let counts = counts(&state, &self.faults(&state));
        format!(
            "{} of {} ports up, {} of {} uplinks up",
            counts.ports_up, counts.ports, counts.uplinks_up, counts.uplinks
        )
    }
}

/// Logs that a poll thread stalls or goes on, and says the same as an event.
fn told(news: &News) -> events::News {
    match news {
        News::Stalled(thread) => {
            tracing::error!(thread, "a poll thread is stalled: its ports do not forward");
            let text = format!("poll thread {thread} stands still: its ports do not forward");
            events::News::error(EventKind::ThreadStalled, text)
        }
        News::GoesOn(thread, still) => {
            let seconds = still.as_secs();
            tracing::warn!(thread, seconds, "a poll thread that was stalled goes on");
            let text = format!("poll thread {thread} goes on; it stood still for {seconds} s");
            events::News::warning(EventKind::ThreadResumed, text)
        }
    }
}
