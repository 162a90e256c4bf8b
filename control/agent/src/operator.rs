//! Who asks for changes, and by which of the host's addresses.

use std::net::IpAddr;

use weft_api::{Caller, connection_of};

/// Who asks for changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operator {
    /// Who it is.
    pub(crate) name: String,
    /// The host's address that the operator is connected to from elsewhere, where that is known.
    pub(crate) connected_to: Option<IpAddr>,
}

impl From<&str> for Operator {
    fn from(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            connected_to: None,
        }
    }
}

impl From<&Caller> for Operator {
    fn from(caller: &Caller) -> Self {
        Self {
            name: caller.to_string(),
            // An agent with few privileges may not read the environment of a process with many, which tells it by itself.
            connected_to: (caller.connected_to).or_else(|| caller.pid.and_then(connection_of)),
        }
    }
}
