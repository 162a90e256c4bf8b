//! The durable state: numbered generations of the whole configuration, one file each.
//!
//! A generation is written to a temporary file, flushed, renamed and made part of its directory before anybody is told
//! that a change is made. Its second line holds the CRC-32 of the first, so that a torn or damaged one is noticed; the
//! one before it is then used. A whole one that this version cannot read is not passed over: that would undo changes.

mod lock;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use weft_model::Intent;

use crate::error::AgentError;
use lock::Lock;

/// Generations that are kept.
const KEPT: usize = 16;

/// The state directory, locked by this agent.
pub(crate) struct Store {
    directory: PathBuf,
    newest: u64,
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

/// One generation. The file's name holds its number.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Generation {
    /// Of this layout.
    format: u32,
    /// Seconds since 1970, by the host's clock.
    written_at: u64,
    /// What changed, in words.
    change: String,
    intent: Intent,
}

/// The second line of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    /// CRC-32 (IEEE 802.3) of the first line without its line end.
    crc32: String,
}

const FORMAT: u32 = 1;

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
        let unreadable = |source| AgentError::State {
            action: "read",
            path: directory.into(),
            source,
            remedy: "check the directory's owner, or name another with --state",
        };
        let numbers = generations(directory).map_err(unreadable)?;
        let newest = numbers.last().copied().unwrap_or(0);
        let store = Self {
            directory: directory.into(),
            newest,
            sync_directory,
            _lock: lock,
        };
        let mut damaged = Vec::new();
        for number in numbers.iter().rev() {
            match read(&store.path(*number)) {
                Ok(intent) => return Ok((store, Loaded { intent, damaged })),
                Err(Unreadable::Foreign(problem)) => {
                    return Err(AgentError::StateForeign {
                        path: store.path(*number),
                        problem,
                    });
                }
                Err(Unreadable::Damaged(problem)) => {
                    damaged.push(format!("{}: {problem}", store.path(*number).display()));
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

    /// Makes a configuration durable as a new generation.
    ///
    /// # Errors
    /// The file that could not be written; the generation before it is then still the newest.
    pub(crate) fn save(&mut self, intent: &Intent, change: &str) -> Result<(), AgentError> {
        let number = self.newest + 1;
        let path = self.path(number);
        let failed = |source| AgentError::State {
            action: "write",
            path: path.clone(),
            source,
            remedy: "nothing was changed; make room or make the directory writable, then repeat the change",
        };
        let written_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let generation = Generation {
            format: FORMAT,
            written_at,
            change: change.to_owned(),
            intent: intent.clone(),
        };
        replace(&path, &encode(&generation)).map_err(failed)?;
        if let Err(error) = (self.sync_directory)(&self.directory) {
            // Refused, so it must not be there at the next start either.
            if let Err(error) = fs::remove_file(&path) {
                tracing::error!(path = %path.display(), %error, "a refused generation cannot be removed; the next start may load it");
            }
            let _ = (self.sync_directory)(&self.directory);
            return Err(failed(error));
        }
        self.newest = number;
        self.prune();
        Ok(())
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("generation-{number:010}.json"))
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
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn encode(generation: &Generation) -> Vec<u8> {
    let line = |value: serde_json::Result<String>| {
        value.expect("state has text keys and no fallible serializer")
    };
    let body = line(serde_json::to_string(generation));
    let trailer = Trailer {
        crc32: format!("{:08x}", crc32fast::hash(body.as_bytes())),
    };
    format!("{body}\n{}\n", line(serde_json::to_string(&trailer))).into_bytes()
}

/// Why a generation cannot be loaded.
#[derive(Debug)]
enum Unreadable {
    /// Torn or changed since it was written.
    Damaged(String),
    /// As it was written, by a version that knows more or other things.
    Foreign(String),
}

fn read(path: &Path) -> Result<Intent, Unreadable> {
    let content = fs::read(path).map_err(|error| Unreadable::Damaged(error.to_string()))?;
    understand(undamaged(&content).map_err(Unreadable::Damaged)?).map_err(Unreadable::Foreign)
}

/// The first line, if it is what was written.
fn undamaged(content: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(content).map_err(|_| "damaged: not UTF-8")?;
    let (body, rest) = text.split_once('\n').ok_or("truncated")?;
    let trailer = rest.strip_suffix('\n').ok_or("truncated")?;
    let trailer: Trailer = serde_json::from_str(trailer).map_err(|_| "damaged: no checksum")?;
    let sum = format!("{:08x}", crc32fast::hash(body.as_bytes()));
    if trailer.crc32 != sum {
        return Err(format!(
            "damaged: its checksum is {sum}, and it says {}",
            trailer.crc32
        ));
    }
    Ok(body)
}

/// The configuration in a first line.
fn understand(body: &str) -> Result<Intent, String> {
    /// The only field that every format has.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let of_another = |what: String| format!("written by another version of weft: {what}");
    let Format { format } =
        serde_json::from_str(body).map_err(|error| of_another(error.to_string()))?;
    if format != FORMAT {
        return Err(of_another(format!("format {format}, not {FORMAT}")));
    }
    let generation: Generation = serde_json::from_str(body)
        .map_err(|error| of_another(format!("format {format}: {error}")))?;
    generation
        .intent
        .check()
        .map_err(|error| format!("inconsistent: {error}"))?;
    Ok(generation.intent)
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
