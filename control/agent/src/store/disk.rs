//! Whether a state directory can take another generation.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};

/// A block of a directory that grows, and some for files beside it.
const BESIDE: u64 = 16 * 1024;

/// Why no generation of this size could be written at this moment; `None`: nothing is known to stand in the way.
pub(super) fn obstacle(directory: &Path, size: u64) -> Option<String> {
    if let Err(error) = access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        let error = std::io::Error::from(error);
        return Some(format!("{} is not writable: {error}", directory.display()));
    }
    // What does not tell its room has to be tried.
    let room = statvfs(directory).ok()?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    (free < size + BESIDE).then(|| format!("the disk of {} is full", directory.display()))
}
