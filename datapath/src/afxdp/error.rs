//! Why a port could not be opened.

use std::io;

use rustix::io::Errno;

/// Why an interface could not be opened as an AF_XDP port. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no interface of that name here.
    #[error(
        "interface {interface} does not exist in this network namespace; `ip link` lists those that do"
    )]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// Somebody else's program or socket is there, and stayed for as long as was waited.
    #[error(
        "interface {interface} is held by another XDP program or AF_XDP socket ({step}); \
         `ip -details link show {interface}` names the program, stop its owner first"
    )]
    Busy {
        /// The interface.
        interface: String,
        /// What could not be done.
        step: &'static str,
    },
    /// The kernel was built without AF_XDP.
    #[error("interface {interface}: the kernel offers no AF_XDP sockets (CONFIG_XDP_SOCKETS)")]
    Unsupported {
        /// The interface.
        interface: String,
    },
    /// A capability is missing.
    #[error(
        "interface {interface}: {step} is not permitted; run as root or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"
    )]
    NotPermitted {
        /// The interface.
        interface: String,
        /// What could not be done.
        step: &'static str,
    },
    /// Frames of the MTU asked for do not fit.
    #[error("MTU {mtu} does not fit interface {interface}: {reason}")]
    Mtu {
        /// The interface.
        interface: String,
        /// What was asked for.
        mtu: u16,
        /// What limits it, and the remedy.
        reason: String,
    },
    /// Anything else that the kernel refused.
    #[error("interface {interface}: {step}: {source}")]
    System {
        /// The interface.
        interface: String,
        /// What could not be done.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A step that failed, before it is known whose fault it is.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: &'static str,
    pub(super) source: io::Error,
}

impl Failure {
    /// Whether the kernel answered with one of `errors`.
    pub(super) fn is(&self, errors: &[Errno]) -> bool {
        let code = self.source.raw_os_error();
        code.is_some_and(|code| errors.contains(&Errno::from_raw_os_error(code)))
    }

    /// Whether somebody else holds what the step needs.
    pub(super) fn is_busy(&self) -> bool {
        self.is(&[Errno::BUSY, Errno::EXIST])
    }

    /// The error that a caller sees.
    pub(super) fn at(self, interface: &str) -> OpenError {
        let interface = interface.to_owned();
        if self.is(&[Errno::NODEV, Errno::NXIO]) {
            OpenError::NoInterface { interface }
        } else if self.is_busy() {
            OpenError::Busy {
                interface,
                step: self.step,
            }
        } else if self.is(&[Errno::AFNOSUPPORT]) {
            OpenError::Unsupported { interface }
        } else if self.is(&[Errno::PERM, Errno::ACCESS]) {
            OpenError::NotPermitted {
                interface,
                step: self.step,
            }
        } else {
            OpenError::System {
                interface,
                step: self.step,
                source: self.source,
            }
        }
    }
}

/// Names the step that an error comes from.
pub(super) trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|source| Failure {
            step,
            source: source.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_names_the_interface_the_step_and_what_to_do() {
        let text = |error: Errno| {
            Err::<(), _>(error)
                .step("the step")
                .unwrap_err()
                .at("eth7")
                .to_string()
        };
        let cases = [
            (
                Errno::NODEV,
                "interface eth7 does not exist in this network namespace",
            ),
            (
                Errno::BUSY,
                "interface eth7 is held by another XDP program or AF_XDP socket (the step)",
            ),
            (Errno::EXIST, "stop its owner first"),
            (
                Errno::AFNOSUPPORT,
                "eth7: the kernel offers no AF_XDP sockets (CONFIG_XDP_SOCKETS)",
            ),
            (
                Errno::PERM,
                "eth7: the step is not permitted; run as root or with CAP_NET_ADMIN",
            ),
            (Errno::NOMEM, "interface eth7: the step: "),
        ];
        for (error, expected) in cases {
            assert!(text(error).contains(expected), "{}", text(error));
        }
    }
}
