//! The file of one generation: a line of JSON, and a line with its checksum.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use weft_model::Intent;

/// The layout that this version writes and reads.
const FORMAT: u32 = 1;

/// One generation. The file's name holds its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Generation<I = Intent> {
    format: u32,
    /// Seconds since 1970, by the host's clock.
    pub(super) written_at: u64,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    /// What changed, in words.
    pub(super) change: String,
    /// It is taken back unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unconfirmed: Option<Unconfirmed>,
    pub(super) intent: I,
}

impl<I> Generation<I> {
    pub(super) fn new(written_at: u64, by: String, change: String, intent: I) -> Self {
        Self {
            format: FORMAT,
            written_at,
            by: Some(by),
            change,
            unconfirmed: None,
            intent,
        }
    }
}

/// A generation that is taken back unless somebody confirms it in time. Times are those of the clock that counts from the start
/// of the host: a jump of the host's clock changes nothing, and a generation of an earlier life of the host is overdue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Unconfirmed {
    /// The generation to go back to.
    pub(crate) revert_to: u64,
    /// This life of the host.
    boot: String,
    /// Milliseconds since the host started.
    until: u64,
}

impl Unconfirmed {
    /// From now on for this time.
    pub(crate) fn within(time: Duration, revert_to: u64) -> Self {
        Self {
            revert_to,
            boot: BOOT.clone(),
            until: (since_boot() + time).as_millis() as u64,
        }
    }

    /// How long it may still be confirmed; `None`: no longer.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.until);
        let remaining = until.checked_sub(since_boot())?;
        (self.boot == *BOOT && !remaining.is_zero()).then_some(remaining)
    }
}

/// Tells one life of the host from the next. Read once: an agent that has run out of file descriptors has not lived on.
static BOOT: LazyLock<String> = LazyLock::new(|| {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
});

/// Time since the host started, sleep included.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The second line of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    /// CRC-32 (IEEE 802.3) of the first line without its line end.
    crc32: String,
}

pub(super) fn encode<I: Serialize>(generation: &Generation<I>) -> Vec<u8> {
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
pub(super) enum Unreadable {
    /// Torn or changed since it was written.
    Damaged(String),
    /// As it was written, by a version that knows more or other things.
    Foreign(String),
}

impl Unreadable {
    pub(super) fn problem(self) -> String {
        match self {
            Self::Damaged(problem) | Self::Foreign(problem) => problem,
        }
    }
}

/// Learns which life of the host this is, while there are file descriptors.
pub(super) fn note_boot() {
    LazyLock::force(&BOOT);
}

/// Reads a generation whose configuration is to be used.
pub(super) fn read(path: &Path) -> Result<Generation, Unreadable> {
    let content = fs::read(path).map_err(|error| Unreadable::Damaged(error.to_string()))?;
    understand(undamaged(&content).map_err(Unreadable::Damaged)?).map_err(Unreadable::Foreign)
}

/// Reads what a generation says of itself.
pub(super) fn read_note(path: &Path) -> Result<Generation<IgnoredAny>, String> {
    let content = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_str(undamaged(&content)?).map_err(|error| of_another(&error.to_string()))
}

/// The first line, if it is what was written.
pub(super) fn undamaged(content: &[u8]) -> Result<&str, String> {
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

/// The generation in a first line.
pub(super) fn understand(body: &str) -> Result<Generation, String> {
    /// The only field that every format has.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } =
        serde_json::from_str(body).map_err(|error| of_another(&error.to_string()))?;
    if format != FORMAT {
        return Err(of_another(&format!("format {format}, not {FORMAT}")));
    }
    let generation: Generation = serde_json::from_str(body)
        .map_err(|error| of_another(&format!("format {format}: {error}")))?;
    generation
        .intent
        .check()
        .map_err(|error| format!("inconsistent: {error}"))?;
    Ok(generation)
}

fn of_another(what: &str) -> String {
    format!("written by another version of weft: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_life_of_the_host_left_unconfirmed_is_overdue() {
        let unconfirmed = Unconfirmed::within(Duration::from_secs(60), 1);
        assert!(unconfirmed.remaining().is_some());
        let earlier = Unconfirmed {
            boot: "another".to_owned(),
            ..unconfirmed
        };
        assert_eq!(earlier.remaining(), None);
    }

    #[test]
    fn time_runs_out() {
        assert_eq!(Unconfirmed::within(Duration::ZERO, 1).remaining(), None);
    }
}
