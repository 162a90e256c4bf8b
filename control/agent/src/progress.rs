//! Which poll threads stand still.

use std::time::{Duration, Instant};

/// A poll thread makes a pass at least once a second, also when it sleeps. One that made none for this long is stalled: on a
/// host that is so busy, its ports would be as badly off.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// What a time between two looks counts at most. A machine that was stopped as a whole, such as a VM that was moved, wakes up
/// with a long time behind it in which nobody could have done anything.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// The passes of each thread, looked at again and again.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    last_look: Option<Instant>,
    threads: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    passes: u64,
    /// For how long there was no pass.
    still: Duration,
    /// How often it stalled.
    stalls: u64,
}

/// Something that has just happened to a thread.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It stands still.
    Stalled(usize),
    /// It goes on, after this time.
    GoesOn(usize, Duration),
}

/// How a thread stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// For how long it has been standing still, if it is stalled.
    pub(crate) stalled: Option<Duration>,
    /// How often it stalled.
    pub(crate) stalls: u64,
}

impl Progress {
    /// Takes note of the passes that each thread has made so far.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        passes: impl IntoIterator<Item = u64>,
    ) -> Vec<News> {
        let elapsed = self.last_look.map_or(Duration::ZERO, |last| {
            now.saturating_duration_since(last).min(LONGEST_LOOK)
        });
        self.last_look = Some(now);
        let mut news = Vec::new();
        for (thread, passes) in passes.into_iter().enumerate() {
            let Some(seen) = self.threads.get_mut(thread) else {
                self.threads.push(Seen {
                    passes,
                    still: Duration::ZERO,
                    stalls: 0,
                });
                continue;
            };
            let was_stalled = seen.still >= STALLED_AFTER;
            if passes != seen.passes {
                if was_stalled {
                    news.push(News::GoesOn(thread, seen.still));
                }
                seen.passes = passes;
                seen.still = Duration::ZERO;
                continue;
            }
            seen.still += elapsed;
            if !was_stalled && seen.still >= STALLED_AFTER {
                seen.stalls += 1;
                news.push(News::Stalled(thread));
            }
        }
        news
    }

    /// How a thread stands.
    pub(crate) fn of(&self, thread: usize) -> Standing {
        self.threads
            .get(thread)
            .map_or_else(Standing::default, |seen| Standing {
                stalled: Some(seen.still).filter(|still| *still >= STALLED_AFTER),
                stalls: seen.stalls,
            })
    }

    /// The threads that stand still, and for how long.
    pub(crate) fn stalled(&self) -> Vec<(usize, Duration)> {
        let threads = 0..self.threads.len();
        threads
            .filter_map(|thread| Some((thread, self.of(thread).stalled?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_thread_that_makes_no_pass_is_told_once_and_again_when_it_goes_on() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        for second in 0..5 {
            let news = progress.look(start + SECOND * second, [7, u64::from(second)]);
            assert_eq!(news, []);
        }
        assert_eq!(progress.stalled(), []);
        let news = progress.look(start + SECOND * 5, [7, 5]);
        assert_eq!(news, [News::Stalled(0)]);
        assert_eq!(progress.look(start + SECOND * 6, [7, 6]), []);
        assert_eq!(progress.stalled(), [(0, SECOND * 6)]);
        let news = progress.look(start + SECOND * 7, [8, 7]);
        assert_eq!(news, [News::GoesOn(0, SECOND * 6)]);
        assert_eq!(progress.stalled(), []);
        assert_eq!(progress.of(0).stalls, 1);
        assert_eq!(progress.of(1), Standing::default());
    }

    #[test]
    fn a_machine_that_stood_still_as_a_whole_has_no_stalled_thread() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        progress.look(start, [1]);
        assert_eq!(progress.look(start + SECOND * 3600, [1]), []);
        assert_eq!(progress.look(start + SECOND * 3601, [2]), []);
    }
}
