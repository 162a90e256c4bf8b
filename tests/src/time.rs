//! Waiting for what must come, and no longer.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// What `look` finds within `patience`; `None` if it finds nothing.
pub fn eventually<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits for at most 10 s until `holds`.
///
/// # Panics
/// If it does not happen; `what` then says what did not.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = eventually(Duration::from_secs(10), || holds().then_some(()));
    assert!(held.is_some(), "after 10 s, still not: {what}");
}
