//! What the agent is allowed to do: what it needs, and nothing else.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::descriptors;
use crate::error::AgentError;

/// What the agent keeps, if it has it. What each is for is in `docs/agent.md`.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::CHOWN);

/// Raises the limit of open files, and gives up every capability that the agent does not need, for good: they leave all sets of this thread, its bounding set
/// included, and no program that it may ever run gets them back. Threads that are made later inherit that, so it is called
/// before any is made.
///
/// # Errors
/// [`AgentError::NotPermitted`] with capabilities that are missing, and [`AgentError::Privileges`].
pub fn confine() -> Result<(), AgentError> {
    // It takes CAP_SYS_RESOURCE, which then goes.
    descriptors::raise_limit();
    let present = capabilities(None).map_err(privileges)?;
    check(present.effective)?;
    let kept = kept(present.permitted);
    // First, for it takes CAP_SETPCAP.
    if present.effective.contains(CapabilitySet::SETPCAP) {
        for capability in known() {
            if !kept.contains(capability) {
                remove_capability_from_bounding_set(capability).map_err(privileges)?;
            }
        }
    }
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(privileges)?;
    set_no_new_privs(true).map_err(privileges)
}

fn privileges(error: Errno) -> AgentError {
    AgentError::Privileges(error.into())
}

/// The capabilities that this kernel knows.
fn known() -> impl Iterator<Item = CapabilitySet> {
    let every = (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
    every.take_while(|capability| capability_is_in_bounding_set(*capability).is_ok())
}

/// Of these, what stays. Where CAP_BPF is not there, CAP_SYS_ADMIN holds what it stands for.
fn kept(permitted: CapabilitySet) -> CapabilitySet {
    let stands_in = if permitted.contains(CapabilitySet::BPF) {
        CapabilitySet::empty()
    } else {
        CapabilitySet::SYS_ADMIN
    };
    permitted & (KEPT | stands_in)
}

/// Checks that what no agent can do without is there.
fn check(effective: CapabilitySet) -> Result<(), AgentError> {
    let missing = missing(effective);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(AgentError::NotPermitted {
            missing: missing.join(" and "),
        })
    }
}

fn missing(effective: CapabilitySet) -> Vec<&'static str> {
    [
        ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
        ("CAP_NET_RAW", CapabilitySet::NET_RAW),
        ("CAP_BPF", CapabilitySet::BPF | CapabilitySet::SYS_ADMIN),
    ]
    .into_iter()
    .filter(|(_, any)| !effective.intersects(*any))
    .map(|(name, _)| name)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

    #[test]
    fn what_is_missing_is_named() {
        let none = CapabilitySet::empty();
        assert_eq!(missing(none), ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]);
        assert_eq!(missing(NET), ["CAP_BPF"]);
        assert!(missing(NET | CapabilitySet::SYS_ADMIN).is_empty());
    }

    #[test]
    fn only_what_is_needed_stays() {
        let root = CapabilitySet::from_bits_retain(u64::MAX);
        assert_eq!(kept(root), KEPT);
        assert_eq!(kept(NET | CapabilitySet::SYS_TIME), NET);
        let old = NET | CapabilitySet::SYS_ADMIN;
        assert_eq!(kept(old), old);
    }

    /// Of a thread, so this costs only the one that runs the test.
    #[test]
    fn what_is_given_up_is_gone_for_good() {
        confine().expect("tests run as root");
        let CapabilitySets {
            effective,
            permitted,
            inheritable,
        } = capabilities(None).unwrap();
        assert_eq!((effective, permitted), (KEPT, KEPT));
        assert_eq!(inheritable, CapabilitySet::empty());
        for capability in known() {
            let is_bound = !capability_is_in_bounding_set(capability).unwrap();
            assert_eq!(is_bound, !KEPT.contains(capability), "{capability:?}");
        }
        assert!(rustix::thread::no_new_privs().unwrap());
        confine().expect("twice is as good as once");
    }
}
