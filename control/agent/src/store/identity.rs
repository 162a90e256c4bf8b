//! By what a state directory is told from others: what the agent leaves in the kernel belongs to one.

use std::fs;
use std::io;
use std::path::Path;

/// A name that no other state directory has, made at random once. It is durable with the first generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity(String);

impl Identity {
    /// That of a state directory, or another one where it has none.
    ///
    /// # Errors
    /// The kernel gives no random number.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let known = fs::read_to_string(directory.join(FILE)).unwrap_or_default();
        if let Some(known) = parsed(&known) {
            return Ok(known);
        }
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        parsed(&random).ok_or_else(|| io::Error::other("no UUID in /proc/sys/kernel/random/uuid"))
    }

    /// Has the directory have it from now on, durably.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn keep(&self, directory: &Path) -> io::Result<()> {
        if Self::of(directory)? == *self {
            return Ok(());
        }
        super::write_durably(&directory.join(FILE), format!("{self}\n").as_bytes())
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

const FILE: &str = "id";

/// A UUID, as the kernel writes it (RFC 9562 §4).
fn parsed(text: &str) -> Option<Identity> {
    let text = text.trim();
    let is_part = |octet: u8| octet.is_ascii_hexdigit() || octet == b'-';
    (text.len() == 36 && text.bytes().all(is_part)).then(|| Identity(text.to_owned()))
}
