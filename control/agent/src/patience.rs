//! Waiting for an agent that was killed and is not quite gone.

use std::time::{Duration, Instant};

/// How long the kernel may take to clear up after a killed process.
const LONGEST: Duration = Duration::from_secs(2);

/// Tries until there is a result, for at most 2 s. `None`: whoever holds it is alive.
pub(crate) fn once_its_holder_died<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let result = attempt();
        if result.is_some() || started.elapsed() >= LONGEST {
            return result;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
