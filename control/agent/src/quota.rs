//! A bound on what guests can have the agent log.
//!
//! A guest decides how often its link changes and which addresses it sends from. Each subject of each object may fill
//! 10 lines at once and one each second after that; what was left out is counted, and told once it is quiet again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines at once.
const BURST: u32 = 10;

/// Time for one more line.
const PERIOD: Duration = Duration::from_secs(1);

/// What a line is about, and of which object.
type Subject = (&'static str, String);

/// How many lines each object has left.
#[derive(Default)]
pub(crate) struct Quota(Mutex<BTreeMap<Subject, Bucket>>);

struct Bucket {
    left: u32,
    /// When `left` was last brought up to date.
    since: Instant,
    left_out: u64,
}

impl Quota {
    /// Whether a line about `subject` of `object` may be logged now; counts it if not.
    pub(crate) fn allows(&self, subject: &'static str, object: &str, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry((subject, object.to_owned()))
            .or_insert(Bucket {
                left: BURST,
                since: now,
                left_out: 0,
            });
        bucket.refill(now);
        if bucket.left == 0 {
            bucket.left_out += 1;
            return false;
        }
        bucket.left -= 1;
        true
    }

    /// What was left out, where a line may be logged again, as subject, object and number of lines. Forgets what is quiet.
    pub(crate) fn left_out(&self, now: Instant) -> Vec<(&'static str, String, u64)> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        buckets.retain(|(subject, object), bucket| {
            bucket.refill(now);
            if bucket.left_out > 0 && bucket.left > 0 {
                bucket.left -= 1;
                told.push((
                    *subject,
                    object.clone(),
                    std::mem::take(&mut bucket.left_out),
                ));
            }
            bucket.left < BURST || bucket.left_out > 0
        });
        told
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_secs() / PERIOD.as_secs();
        let more = u32::try_from(periods).unwrap_or(BURST).min(BURST);
        self.left = (self.left + more).min(BURST);
        self.since = if self.left == BURST {
            now
        } else {
            self.since + PERIOD * more
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_fills_ten_lines_and_then_one_a_second() {
        let (quota, start) = (Quota::default(), Instant::now());
        let allowed = (0..5000u64)
            .filter(|number| quota.allows("link", "MyVM1", start + Duration::from_millis(*number)))
            .count();
        assert_eq!(allowed, 14);
        let now = start + Duration::from_secs(5);
        assert!(quota.allows("link", "MyVM2", now), "another has its own");
        assert!(quota.allows("address", "MyVM1", now));
        assert_eq!(
            quota.left_out(now),
            [("link", "MyVM1".to_owned(), 5000 - 14)]
        );
        assert_eq!(quota.left_out(now + PERIOD), [], "it is told once");
    }

    #[test]
    fn what_is_quiet_takes_no_memory() {
        let (quota, start) = (Quota::default(), Instant::now());
        for number in 0..100 {
            quota.allows("link", &number.to_string(), start);
        }
        quota.left_out(start + PERIOD * BURST);
        assert!(quota.0.lock().unwrap().is_empty());
    }
}
