//! The lock of a state directory: one agent at a time, and none after a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::AgentError;
use crate::patience::once_its_holder_died;

/// Held until it is dropped or its process ends.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks a state directory.
    ///
    /// # Errors
    /// [`AgentError::StateInUse`] if another process has it.
    pub(super) fn take(directory: &Path) -> Result<Self, AgentError> {
        let path = directory.join("lock");
        let failed = |source| AgentError::State {
            action: "lock",
            path: path.clone(),
            source,
            remedy: "make the directory writable, or name another with --state",
        };
        let mut file = open(&path).map_err(failed)?;
        let lock = || match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => None,
            other => Some(other),
        };
        match once_its_holder_died(lock).unwrap_or(Err(rustix::io::Errno::WOULDBLOCK)) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let process = holder
                    .trim()
                    .parse::<u32>()
                    .map(|pid| format!(" (process {pid})"));
                return Err(AgentError::StateInUse {
                    path: directory.into(),
                    holder: process.unwrap_or_default(),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // Only to name the holder; on a full or read-only disk the lock holds without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Opens the file of a lock, creating it if need be. On a disk that is read-only the one that is there can be locked as well.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let writable = options.read(true).write(true).create(true).truncate(false);
    writable.open(path).or_else(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => File::open(path),
        _ => Err(error),
    })
}
