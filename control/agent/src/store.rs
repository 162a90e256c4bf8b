//! The durable state: numbered generations of the whole configuration, one file each.
//!
//! A generation is written to a temporary file, flushed, renamed and made part of its directory before anybody is told
//! that a change is made. Its second line holds the CRC-32 of the first, so that a torn or damaged one is noticed; the
//! one before it is then used. A whole one that this version cannot read is not passed over: that would undo changes.

mod disk;
mod generation;
mod history;
mod identity;
mod lock;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weft_model::Intent;

use crate::error::AgentError;
pub(crate) use generation::Unconfirmed;
use generation::{Generation, Unreadable, encode, read};
pub(crate) use identity::Identity;
use lock::Lock;

/// Generations that are kept: of 4,000 ports, some 40 MB.
const KEPT: usize = 50;

/// The state directory, locked by this agent.
pub(crate) struct Store {
    directory: PathBuf,
    identity: Identity,
    /// The highest number of a generation, readable or not.
    newest: u64,
    /// The number of the generation that is asked for; 0: there is none yet.
    current: u64,
    unconfirmed: Option<Unconfirmed>,
    /// Makes renamed files part of their directory.
    sync_directory: fn(&Path) -> io::Result<()>,
    _lock: Lock,
}

/// What was found at the start.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) intent: Intent,
    /// Newer generations that are not readable, and why.
    pub(crate) damaged: Vec<String>,
}

/// A generation that is on the disk under another name. It goes with this value unless it is committed.
pub(crate) struct Staged {
    number: u64,
    unconfirmed: Option<Unconfirmed>,
    temporary: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone where it was committed.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn refused(path: &Path, source: io::Error) -> AgentError {
    AgentError::State {
        action: "write",
        path: path.into(),
        source,
        remedy: "nothing was changed; make room or make the directory writable, then repeat the change",
    }
}

/// What a generation says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// Who asked for it.
    pub(crate) by: String,
    /// What changed, in words.
    pub(crate) change: String,
    /// It is taken back after this time unless it is confirmed.
    pub(crate) confirm: Option<Duration>,
}

impl Store {
    /// Opens a state directory, creating it if need be, and loads the newest readable generation.
    ///
    /// # Errors
    /// Another agent holds it, it cannot be read, the newest whole generation is of another version, or there are
    /// generations but none is readable.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Loaded), AgentError> {
        fs::create_dir_all(directory).map_err(|source| AgentError::State {
            action: "create",
            path: directory.into(),
            source,
            remedy: "check the directory's owner, or name another with --state",
        })?;
        let lock = Lock::take(directory)?;
        generation::note_boot();
        let unreadable = |source| AgentError::State {
            action: "read",
            path: directory.into(),
            source,
            remedy: "check the directory's owner, or name another with --state",
        };
        let numbers = generations(directory).map_err(unreadable)?;
        let identity = Identity::of(directory).map_err(unreadable)?;
        let mut store = Self {
            directory: directory.into(),
            identity,
            newest: numbers.last().copied().unwrap_or(0),
            current: 0,
            unconfirmed: None,
            sync_directory,
            _lock: lock,
        };
        let mut damaged = Vec::new();
        for &number in numbers.iter().rev() {
            match read(&store.path(number)) {
                Ok(Generation {
                    intent,
                    unconfirmed,
                    ..
                }) => {
                    store.current = number;
                    store.unconfirmed = unconfirmed;
                    return Ok((store, Loaded { intent, damaged }));
                }
                Err(Unreadable::Foreign(problem)) => {
                    return Err(AgentError::StateForeign {
                        path: store.path(number),
                        problem,
                    });
                }
                Err(Unreadable::Damaged(problem)) => {
                    damaged.push(format!("{}: {problem}", store.path(number).display()));
                }
            }
        }
        match damaged.into_iter().next() {
            None => Ok((
                store,
                Loaded {
                    intent: Intent::default(),
                    damaged: Vec::new(),
                },
            )),
            Some(newest) => Err(AgentError::StateLost {
                path: directory.into(),
                newest,
            }),
        }
    }

    /// Writes a configuration to the disk, where it takes effect only when it is [committed](Self::commit): whatever may fail for
    /// lack of room fails here.
    ///
    /// # Errors
    /// The file that could not be written; nothing has changed.
    pub(crate) fn stage(&self, intent: &Intent, note: Note) -> Result<Staged, AgentError> {
        let number = self.newest + 1;
        let path = self.path(number);
        // What the generation leaves in the kernel is marked with it.
        (self.identity.keep(&self.directory)).map_err(|error| refused(&self.directory, error))?;
        let written_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut generation = Generation::new(written_at, note.by, note.change, intent);
        // What is itself not confirmed is nothing to go back to.
        let revert_to = self
            .unconfirmed
            .as_ref()
            .map_or(self.current, |unconfirmed| unconfirmed.revert_to);
        generation.unconfirmed = note
            .confirm
            .map(|time| Unconfirmed::within(time, revert_to));
        let temporary =
            write_temporary(&path, &encode(&generation)).map_err(|error| refused(&path, error))?;
        Ok(Staged {
            number,
            unconfirmed: generation.unconfirmed,
            temporary,
        })
    }

    /// Makes a staged configuration the newest generation, durably.
    ///
    /// # Errors
    /// What the system said; the generation before it is then still the newest.
    pub(crate) fn commit(&mut self, staged: Staged) -> Result<(), AgentError> {
        let path = self.path(staged.number);
        fs::rename(&staged.temporary, &path).map_err(|error| refused(&path, error))?;
        if let Err(error) = (self.sync_directory)(&self.directory) {
            // Refused, so it must not be there at the next start either.
            if let Err(error) = fs::remove_file(&path) {
                tracing::error!(path = %path.display(), %error, "a refused generation cannot be removed; the next start may load it");
            }
            let _ = (self.sync_directory)(&self.directory);
            return Err(refused(&path, error));
        }
        self.newest = staged.number;
        self.current = staged.number;
        self.unconfirmed.clone_from(&staged.unconfirmed);
        self.prune();
        Ok(())
    }

    /// Has the current generation stay.
    ///
    /// # Errors
    /// The file that could not be written; the generation is then still taken back in time.
    pub(crate) fn confirm(&mut self) -> Result<(), AgentError> {
        let path = self.path(self.current);
        let failed = |source| AgentError::State {
            action: "write",
            path: path.clone(),
            source,
            remedy: "the change is not confirmed; make room or make the directory writable, then repeat 'weft confirm'",
        };
        let mut generation =
            read(&path).map_err(|unreadable| failed(io::Error::other(unreadable.problem())))?;
        generation.unconfirmed = None;
        replace(&path, &encode(&generation)).map_err(failed)?;
        (self.sync_directory)(&self.directory).map_err(failed)?;
        self.unconfirmed = None;
        Ok(())
    }

    /// Why a change of a configuration of this generation could not be made durable at this moment, as far as the disk tells.
    pub(crate) fn obstacle(directory: &Path, current: u64) -> Option<String> {
        let size = fs::metadata(path(directory, current)).map_or(0, |file| file.len());
        disk::obstacle(directory, size)
    }

    /// The number of the generation that is asked for; 0: there is none yet.
    pub(crate) fn current(&self) -> u64 {
        self.current
    }

    /// What the current generation waits for.
    pub(crate) fn unconfirmed(&self) -> Option<&Unconfirmed> {
        self.unconfirmed.as_ref()
    }

    /// The directory, which [`history`](Self::history) and [`load`](Self::load) read without holding the store.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// By what this state is told from others.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    fn path(&self, number: u64) -> PathBuf {
        path(&self.directory, number)
    }

    /// Removes what is older than the generations that are kept. What cannot be removed is harmless.
    fn prune(&self) {
        let numbers = generations(&self.directory).unwrap_or_default();
        for number in numbers.iter().rev().skip(KEPT) {
            let _ = fs::remove_file(self.path(*number));
        }
    }
}

/// Replaces a file by this content, durably: when it returns, the content survives a loss of power.
///
/// # Errors
/// What the system said; the file is then as it was, or new and perhaps not durable.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, content)?;
    sync_directory(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// Replaces a file at once: at any time it has its content from before or this one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, content)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Writes what is to replace a file beside it, durably but for its name, and returns where.
fn write_temporary(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(temporary)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The file of a generation.
fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("generation-{number:010}.json"))
}

/// The numbers of the generations in a directory, ascending.
fn generations(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("generation-")?.strip_suffix(".json"));
        numbers.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
