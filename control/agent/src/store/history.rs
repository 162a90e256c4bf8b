//! Reading generations that are not asked for any more.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use weft_api::{self as api, Problem, ProblemKind};
use weft_model::Intent;

use super::generation::{read, read_note};
use super::{Store, generations, path};

impl Store {
    /// All generations that a directory holds, newest first. One that cannot be read says why.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn history(directory: &Path, current: u64) -> Result<Vec<api::Generation>, Problem> {
        let numbers = generations(directory).map_err(|error| unreadable(directory, &error))?;
        let describe = |&number: &u64| {
            let path = path(directory, number);
            let bare = api::Generation {
                generation: number,
                current: number == current,
                written_at: None,
                by: None,
                change: None,
                confirm_within_seconds: None,
                problem: None,
            };
            let told = match read_note(&path) {
                Ok(note) => api::Generation {
                    written_at: Some(rfc3339(note.written_at)),
                    by: note.by,
                    change: Some(note.change),
                    confirm_within_seconds: note
                        .unconfirmed
                        .filter(|_| number == current)
                        .map(|unconfirmed| unconfirmed.remaining().unwrap_or_default().as_secs()),
                    ..bare
                },
                // It was removed since the directory was read.
                Err(_) if !path.exists() => return None,
                Err(problem) => api::Generation {
                    problem: Some(problem),
                    ..bare
                },
            };
            Some(told)
        };
        Ok(numbers.iter().rev().filter_map(describe).collect())
    }

    /// The configuration of an earlier generation.
    ///
    /// # Errors
    /// `notFound`: it is not kept. `failed`: it cannot be read.
    pub(crate) fn load(directory: &Path, number: u64) -> Result<Intent, Problem> {
        if number == 0 {
            return Ok(Intent::default());
        }
        let numbers = generations(directory).map_err(|error| unreadable(directory, &error))?;
        if !numbers.contains(&number) {
            let kept = match (numbers.first(), numbers.last()) {
                (Some(first), Some(last)) => format!("generations {first} to {last} are kept"),
                _ => "nothing was changed yet".to_owned(),
            };
            let message = format!("generation {number} does not exist; {kept}");
            return Err(
                Problem::new(ProblemKind::NotFound, message).with_remedy("see 'weft history'")
            );
        }
        let generation = read(&path(directory, number)).map_err(|unreadable| {
            let message = format!(
                "generation {number} cannot be read: {}",
                unreadable.problem()
            );
            Problem::new(ProblemKind::Failed, message)
                .with_remedy("choose another; see 'weft history'")
        })?;
        Ok(generation.intent)
    }

    /// The generation before this one; 0: the empty configuration before the first change.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn before(directory: &Path, current: u64) -> Result<u64, Problem> {
        let numbers = generations(directory).map_err(|error| unreadable(directory, &error))?;
        Ok(numbers
            .into_iter()
            .rev()
            .find(|number| *number < current)
            .unwrap_or(0))
    }
}

fn unreadable(directory: &Path, error: &std::io::Error) -> Problem {
    let message = format!("cannot read {}: {error}", directory.display());
    Problem::new(ProblemKind::Failed, message).with_remedy("check the directory's owner")
}

/// Seconds since 1970 as RFC 3339 has them. What a clock gone astray wrote beyond the year 9999 stands at its end.
fn rfc3339(seconds: u64) -> String {
    const END: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(END));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_gone_astray_is_told_as_far_as_it_can_be() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
