//! Names that a lab gives: itself, its namespaces, interfaces and addresses. All follow from the lab file, so that the
//! same file makes the same lab and a crashed lab can be found again.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weft_packet::MacAddr;

use crate::LabError;

/// The longest name that the kernel gives an interface (`IFNAMSIZ` with its final zero is 16).
const LONGEST_INTERFACE: usize = 15;

/// The name of a lab: 1-32 letters, digits, `-`, `_` or `.`, a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

impl LabName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a lab whose file is `file`: `examples/mirror.yaml` makes the lab `mirror`.
    ///
    /// # Errors
    /// When the file's name cannot be made a lab's.
    pub fn of_file(file: &Path) -> Result<Self, LabError> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let name: String = stem
            .chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .take(32)
            .collect();
        name.parse()
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

impl FromStr for LabName {
    type Err = LabError;

    fn from_str(name: &str) -> Result<Self, LabError> {
        let sound = (1..=32).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(allowed);
        if sound {
            return Ok(Self(name.to_owned()));
        }
        Err(LabError::invalid(format!("lab name {name:?}"), "is not a name for a lab").hint(
            "use --name with 1-32 letters, digits, '-', '_' or '.', a letter or digit first, such as --name mirror",
        ))
    }
}

impl TryFrom<String> for LabName {
    type Error = LabError;

    fn try_from(name: String) -> Result<Self, LabError> {
        name.parse()
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The namespace of a VM, of a host or of the fabric.
pub(crate) fn namespace(lab: &LabName, member: &str) -> String {
    format!("weft-{lab}-{member}")
}

/// An interface name that starts with `prefix` and tells `name`: as it is where it fits, otherwise cut, with four hex digits
/// that follow from the whole. The result is added to `taken`.
pub(crate) fn interface(prefix: &str, name: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = format!("{prefix}{name}");
    if plain.len() <= LONGEST_INTERFACE && name.chars().all(allowed) && taken.insert(plain.clone())
    {
        return plain;
    }
    let readable: String = plain
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(LONGEST_INTERFACE - 5)
        .collect();
    for attempt in 0u32.. {
        let candidate = format!("{readable}-{:04x}", hash(name, attempt) & 0xffff);
        if taken.insert(candidate.clone()) {
            return candidate;
        }
    }
    unreachable!("a lab has fewer interfaces than there are attempts")
}

/// A locally administered unicast address for a VM that names none. The result is added to `taken`.
pub(crate) fn mac(vm: &str, taken: &mut BTreeSet<MacAddr>) -> MacAddr {
    for attempt in 0u32.. {
        let [.., a, b, c, d, e] = hash(vm, attempt).to_be_bytes();
        let candidate = MacAddr::new([0x02, a, b, c, d, e]);
        if taken.insert(candidate) {
            return candidate;
        }
    }
    unreachable!("a lab has fewer VMs than there are attempts")
}

/// FNV-1a of 64 bits: the same on every machine and in every version, which the standard library's hasher does not promise.
fn hash(text: &str, attempt: u32) -> u64 {
    let bytes = text.bytes().chain(attempt.to_be_bytes());
    let folded = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of FNV-1a mix badly for short texts.
    folded ^ (folded >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_is_named_after_its_file() {
        assert_eq!(
            LabName::of_file(Path::new("examples/mirror.yaml"))
                .unwrap()
                .as_str(),
            "mirror"
        );
        assert_eq!(
            LabName::of_file(Path::new("two hosts.yml"))
                .unwrap()
                .as_str(),
            "two-hosts"
        );
        assert!(LabName::of_file(Path::new("/")).is_err());
    }

    #[test]
    fn lab_names_cannot_leave_their_directory() {
        for name in ["", ".", "..", "../x", "a/b", "-x", "a b", &"a".repeat(33)] {
            assert!(name.parse::<LabName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn short_interface_names_stay_as_they_are() {
        let mut taken = BTreeSet::new();
        assert_eq!(interface("p-", "MyVM1", &mut taken), "p-MyVM1");
        assert_eq!(
            interface("p-", "a234567890123", &mut taken),
            "p-a234567890123"
        );
    }

    #[test]
    fn long_interface_names_are_cut_and_stay_apart() {
        let mut taken = BTreeSet::new();
        let names: Vec<String> = (0..500)
            .map(|n| interface("p-", &format!("production-database-{n}"), &mut taken))
            .collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 500);
        assert!(
            names
                .iter()
                .all(|name| name.len() <= LONGEST_INTERFACE && name.starts_with("p-producti-"))
        );
        assert_eq!(
            interface("p-", "production-database-0", &mut BTreeSet::new()),
            names[0]
        );
    }

    #[test]
    fn interface_names_hold_no_spaces() {
        let name = interface("p-", "VM 1", &mut BTreeSet::new());
        assert!(name.starts_with("p-VM-1-"), "{name}");
    }

    #[test]
    fn generated_addresses_are_local_unicast_and_repeatable() {
        let mut taken = BTreeSet::new();
        let first = mac("MyVM1", &mut taken);
        assert!(first.to_string().starts_with("02:"), "{first}");
        assert_ne!(mac("MyVM1", &mut taken), first);
        assert_eq!(mac("MyVM1", &mut BTreeSet::new()), first);
    }
}
