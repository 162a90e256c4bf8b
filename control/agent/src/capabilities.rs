//! What the agent needs to be allowed to do.

use crate::error::AgentError;

/// Bits of `linux/capability.h`.
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;
const BPF: u64 = 1 << 39;

/// Checks the effective capabilities of this process.
///
/// # Errors
/// [`AgentError::NotPermitted`] with those that are missing.
pub(crate) fn check() -> Result<(), AgentError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Without procfs nothing is known, and the kernel will say it.
    let effective = effective(&status).unwrap_or(u64::MAX);
    let missing = missing(effective);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(AgentError::NotPermitted {
            missing: missing.join(" and "),
        })
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64) -> Vec<&'static str> {
    [
        ("CAP_NET_ADMIN", NET_ADMIN),
        ("CAP_NET_RAW", NET_RAW),
        ("CAP_BPF", BPF | SYS_ADMIN),
    ]
    .into_iter()
    .filter(|(_, bits)| effective & bits == 0)
    .map(|(name, _)| name)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(0), ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]);
        assert_eq!(missing(NET_ADMIN | NET_RAW), ["CAP_BPF"]);
        assert!(missing(NET_ADMIN | NET_RAW | SYS_ADMIN).is_empty());
        assert_eq!(
            effective("Name:\tx\nCapEff:\t0000000000001000\n"),
            Some(NET_ADMIN)
        );
    }
}
