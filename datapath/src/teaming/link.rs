//! The link of one uplink over time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A link that goes down more often than this within a minute is not used (vSphere's `LinkFlappingThreshold`).
const MOST_DOWNS: usize = 60;

const MINUTE_NS: u64 = 60_000_000_000;

/// How a link is, for a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Up for long enough.
    Usable,
    /// Down.
    Down,
    /// Up, and used again when it has been for long enough.
    Waiting {
        /// When (monotonic time, ns).
        until: u64,
    },
    /// Up, and not used: it went down too often within a minute.
    Unstable {
        /// When it is used again if it stays up (monotonic time, ns).
        until: u64,
    },
}

/// What is known of a link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    up: bool,
    /// When it last came up; `None` for one that was up when it was first seen.
    up_since: Option<u64>,
    /// When it went down, the latest times, oldest first.
    downs: VecDeque<u64>,
    /// The delays in force that are over since it came up: to those who have it, it is usable.
    over: BTreeSet<Duration>,
}

impl Link {
    /// A link that is seen for the first time.
    pub(super) fn first(up: bool) -> Self {
        Self {
            up,
            up_since: None,
            downs: VecDeque::new(),
            over: BTreeSet::new(),
        }
    }

    /// Notes how it is. Returns whether that is news.
    pub(super) fn note(&mut self, up: bool, now: u64) -> bool {
        if up == self.up {
            return false;
        }
        self.up = up;
        if up {
            self.up_since = Some(now);
        } else {
            self.over.clear();
            self.downs.push_back(now);
            if self.downs.len() > MOST_DOWNS + 1 {
                self.downs.pop_front();
            }
        }
        true
    }

    pub(super) fn state(&self, up_delay: Duration, now: u64) -> LinkState {
        if !self.up {
            return LinkState::Down;
        }
        if self.downs.len() > MOST_DOWNS {
            // The oldest of one too many: when it is a minute old, the others are few enough.
            let until = self.downs[0] + MINUTE_NS;
            if now < until {
                return LinkState::Unstable { until };
            }
        }
        match self.waits_until(up_delay).filter(|&until| now < until) {
            Some(until) if !self.over.contains(&up_delay) => LinkState::Waiting { until },
            _ => LinkState::Usable,
        }
    }

    fn waits_until(&self, up_delay: Duration) -> Option<u64> {
        let since = self.up_since?;
        Some(since + up_delay.as_nanos() as u64)
    }

    /// Notes the delays in force. Those who had one that was over do not wait again: `changes` are such, with what they have
    /// instead.
    pub(super) fn note_delays(
        &mut self,
        delays: &BTreeSet<Duration>,
        changes: &BTreeSet<(Duration, Duration)>,
        now: u64,
    ) {
        if !self.up {
            return;
        }
        let is_over = |link: &Self, delay: &Duration| {
            let until = link.waits_until(*delay);
            link.over.contains(delay) || until.is_none_or(|until| until <= now)
        };
        let spared = changes.iter().filter(|(old, _)| self.over.contains(old));
        let spared: BTreeSet<_> = spared.map(|(_, delay)| *delay).collect();
        let over = delays
            .iter()
            .filter(|delay| spared.contains(delay) || is_over(self, delay));
        self.over = over.copied().collect();
    }
}
