//! Names of objects, and the nearest known name for one that is not known.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} {problem}; {remedy}")]
pub struct NameError {
    what: &'static str,
    name: String,
    problem: &'static str,
    remedy: String,
}

impl NameError {
    /// What is wrong, without what to do.
    pub fn problem(&self) -> String {
        format!("{} {:?} {}", self.what, self.name, self.problem)
    }

    /// What to do.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

macro_rules! names {
    ($($(#[doc = $doc:literal])* $type:ident: $what:literal, $check:expr, $schema:expr;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
            #[serde(try_from = "String", into = "String")]
            pub struct $type(String);

            impl $type {
                /// The name as text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl FromStr for $type {
                type Err = NameError;

                fn from_str(text: &str) -> Result<Self, NameError> {
                    $check($what, text).map(|()| Self(text.to_owned()))
                }
            }

            impl TryFrom<String> for $type {
                type Error = NameError;

                fn try_from(text: String) -> Result<Self, NameError> {
                    text.parse()
                }
            }

            impl From<$type> for String {
                fn from(name: $type) -> Self {
                    name.0
                }
            }

            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($type).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    let mut schema: Schema = $schema;
                    schema.insert("description".to_owned(), concat!($($doc),*).trim().into());
                    schema
                }
            }

            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )*
    };
}

names! {
    /// The name of a standard switch: up to 32 characters, as in vSphere.
    VswitchName: "switch name", object_name::<32>, object_name_schema::<32>();
    /// The name of a port group: up to 80 characters, as in vSphere. Unique on the host.
    PortgroupName: "port group name", object_name::<80>, object_name_schema::<80>();
    /// The name of a port: up to 80 characters. Unique on the host.
    PortName: "port name", object_name::<80>, object_name_schema::<80>();
    /// The name of a host's own interface, which is that of its port and of its device in the kernel: up to 15 characters.
    VmkName: "vmk name", vmk_name, vmk_name_schema();
    /// The name of a host: up to 63 characters, as a DNS label.
    HostName: "host name", object_name::<63>, object_name_schema::<63>();
    /// The name of a network interface in the kernel: 1-15 octets.
    InterfaceName: "interface name", interface_name, interface_name_schema();
    /// The path of a Unix socket: absolute, up to 107 octets, each spelling of a place the only one.
    SocketPath: "socket path", socket_path, socket_path_schema();
}

/// ASCII letters, digits, `-`, `_`, `.` and inner single spaces; a letter, digit or `_` first. So a name never looks
/// like a flag, a path or a list on the command line (`DSwitch/DPG`, `A,B`, `PORT:in`).
fn object_name<const LONGEST: usize>(what: &'static str, name: &str) -> Result<(), NameError> {
    let refuse = |problem| {
        Err(NameError {
            what,
            name: shortened(name),
            problem,
            remedy: format!(
                "use 1-{LONGEST} letters, digits, '-', '_', '.' or single spaces, with a letter, digit or '_' first"
            ),
        })
    };
    let Some(first) = name.chars().next() else {
        return refuse("is empty");
    };
    if name.len() > LONGEST {
        return refuse("is too long");
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
    {
        return refuse("holds a character that names cannot have");
    }
    if !(first.is_ascii_alphanumeric() || first == '_') {
        return refuse("starts with a character that names cannot start with");
    }
    if name.ends_with(' ') || name.contains("  ") {
        return refuse("holds spaces that cannot be seen");
    }
    Ok(())
}

fn object_name_schema<const LONGEST: usize>() -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*( [A-Za-z0-9_.-]+)*$",
        "maxLength": LONGEST,
    })
}

impl From<&VmkName> for PortName {
    fn from(name: &VmkName) -> Self {
        Self(name.0.clone())
    }
}

impl From<&VmkName> for InterfaceName {
    fn from(name: &VmkName) -> Self {
        Self(name.0.clone())
    }
}

/// What is both the name of a port and that of an interface. `all` and `default` are folders among the kernel's settings of interfaces.
fn vmk_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let refuse = |problem| {
        Err(NameError {
            what,
            name: shortened(name),
            problem,
            remedy: "the kernel's interface has this name: use 1-15 letters, digits, '-', '_' or '.', with a letter, digit or '_' first, such as vmk0".to_owned(),
        })
    };
    if matches!(name, "all" | "default" | "lo") {
        return refuse("means something else to the kernel");
    }
    match (object_name::<15>(what, name), interface_name(what, name)) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(NameError { problem, .. }), _) | (_, Err(NameError { problem, .. })) => {
            refuse(problem)
        }
    }
}

fn vmk_name_schema() -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$",
        "not": {"enum": ["all", "default", "lo"]},
    })
}

/// What Linux accepts (`dev_valid_name`), and only visible ASCII.
fn interface_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let refuse = |problem| {
        let remedy = "use a name that 'ip link' shows: 1-15 characters without '/', ':' or spaces"
            .to_owned();
        Err(NameError {
            what,
            name: shortened(name),
            problem,
            remedy,
        })
    };
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.len() > 15 {
        return refuse("is too long");
    }
    if name == "."
        || name == ".."
        || !name
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':'))
    {
        return refuse("holds a character that interface names cannot have");
    }
    Ok(())
}

fn interface_name_schema() -> Schema {
    json_schema!({
        "type": "string",
        // ASCII from '!' to '~' without '/' and ':'.
        "pattern": "^[!-.0-9;-~]{1,15}$",
        "not": {"enum": [".", ".."]},
    })
}

/// What fits `sun_path` (unix(7)) with its final zero. Two spellings of one path would be two ports on one socket.
fn socket_path(what: &'static str, path: &str) -> Result<(), NameError> {
    let refuse = |problem| {
        Err(NameError {
            what,
            name: shortened(path),
            problem,
            remedy: "use an absolute path such as /run/vms/MyVM1.sock, up to 107 octets".to_owned(),
        })
    };
    let Some(below) = path.strip_prefix('/') else {
        return refuse("is not absolute");
    };
    if path.len() > 107 {
        return refuse("is too long");
    }
    if path.contains(char::is_control) {
        return refuse("holds a character that cannot be shown");
    }
    if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refuse("holds '//', '.' or '..', or ends with '/'");
    }
    Ok(())
}

/// A schema counts characters, not octets.
fn socket_path_schema() -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^/",
        "not": {"pattern": "/\\.{0,2}(/|$)|[\\u0000-\\u001f\\u007f-\\u009f]"},
        "maxLength": 107,
        "examples": ["/run/vms/MyVM1.sock"],
    })
}

/// A refused name may be of any length; its error is not.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 100;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

/// The known name that `unknown` was most likely meant to be, if any is near enough.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = unknown.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wanted, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= (unknown.len().max(name.len()) / 3).max(1))
        // Letters are swapped more often than one is forgotten.
        .min_by_key(|(distance, name)| (*distance, name.len().abs_diff(unknown.len()), *name))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_administrators_use_are_accepted() {
        for name in [
            "vSwitch1",
            "VM Network",
            "10",
            "_internal",
            "web-01.example",
        ] {
            assert_eq!(name.parse::<PortgroupName>().unwrap().as_str(), name);
        }
        assert!("a".repeat(32).parse::<VswitchName>().is_ok());
    }

    #[test]
    fn names_that_the_command_line_could_misread_are_refused() {
        for name in [
            "", "-x", ".hidden", " a", "a ", "a  b", "a/b", "a,b", "a:in", "a\nb", "é",
        ] {
            assert!(name.parse::<PortName>().is_err(), "{name:?}");
        }
        let error = "a"
            .repeat(33)
            .parse::<VswitchName>()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is too long") && error.contains("1-32"),
            "{error}"
        );
    }

    #[test]
    fn interface_names_are_those_of_linux() {
        for name in ["eth0", "p-MyVM1", "enp0s31f6", "veth@x", "a23456789012345"] {
            assert!(name.parse::<InterfaceName>().is_ok(), "{name:?}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "eth0:1",
            "a234567890123456",
            "a\0b",
        ] {
            assert!(name.parse::<InterfaceName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn socket_paths_fit_the_kernel_and_have_one_spelling() {
        let longest = format!("/{}", "a".repeat(106));
        for path in ["/run/vms/MyVM1.sock", "/tmp/a b", &longest] {
            assert!(path.parse::<SocketPath>().is_ok(), "{path:?}");
        }
        let too_long = format!("{longest}a");
        for path in [
            "", "a.sock", "/", "/a/", "//a", "/a//b", "/./a", "/a/../b", "/a\0b", "/a\nb",
            &too_long,
        ] {
            assert!(path.parse::<SocketPath>().is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_refused_name_is_quoted_up_to_a_bound() {
        assert!(
            "x".repeat(1 << 20)
                .parse::<PortName>()
                .unwrap_err()
                .to_string()
                .len()
                < 300
        );
    }

    #[test]
    fn the_nearest_name_forgives_case_and_a_slip() {
        let known = ["Lab", "Management", "vMotion"];
        assert_eq!(nearest("lab", known), Some("Lab"));
        assert_eq!(nearest("Labb", known), Some("Lab"));
        assert_eq!(nearest("Managment", known), Some("Management"));
        assert_eq!(nearest("Storage", known), None);
        let alike = ["stats", "status"];
        assert_eq!(nearest("stauts", alike), Some("status"), "as long as that");
    }
}
