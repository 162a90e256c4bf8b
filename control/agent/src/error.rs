//! Why an agent does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use weft_api::{Problem, ProblemKind};
use weft_model::ManifestError;

/// Why an agent does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Capabilities are missing.
    #[error("the agent lacks {missing}, which AF_XDP needs; run it as root")]
    NotPermitted {
        /// Their names.
        missing: String,
    },
    /// Privileges that are not needed cannot be given up.
    #[error("cannot give up privileges: {0}")]
    Privileges(io::Error),
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {source}", .path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration file is not one.
    #[error("configuration file {}: {error}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ManifestError,
    },
    /// A variable of the environment has a value that is none.
    #[error("{name}: {problem}; correct it, or unset it")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Another agent uses the state directory.
    #[error("another agent{holder} uses the state directory {}; stop it, or name another with --state", .path.display())]
    StateInUse {
        /// The directory.
        path: PathBuf,
        /// Which one, where it is known.
        holder: String,
    },
    /// A file of the state directory cannot be read or written.
    #[error("cannot {action} {}: {source}; {remedy}", .path.display())]
    State {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// No generation of the state is readable.
    #[error("no generation of the state in {} is readable; {newest}; restore the directory from a backup, or move it \
             away to start with nothing", .path.display())]
    StateLost {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the newest one.
        newest: String,
    },
    /// A generation of the state is whole, and this version of weft cannot read it.
    #[error("cannot use {}: {problem}; start the version of weft that wrote it, or move the file away to go back to the \
             generation before it", .path.display())]
    StateForeign {
        /// The file.
        path: PathBuf,
        /// What is not known about it.
        problem: String,
    },
    /// Another agent serves the socket.
    #[error("another agent is serving {}; stop it, or name another socket with --socket", .path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be opened.
    #[error("cannot serve on {}: {source}; check the directory, or name another socket with --socket", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The group of operators does not exist.
    #[error(
        "--group: group {group} does not exist; create it with 'groupadd --system {group}', or name another"
    )]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// The address of the metrics cannot be served.
    #[error(
        "cannot serve metrics on {address}: {source}; name another address with --metrics, or leave it out: the socket \
             serves them too"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel's links cannot be watched.
    #[error("cannot watch the network interfaces: {0}")]
    Links(String),
    /// A core to run a poll thread on is not there, or named twice.
    #[error("--cores: {0}; name cores that are there, or leave it out for one thread on any core")]
    Cores(io::Error),
    /// The poll threads cannot be started.
    #[error(
        "cannot start the poll threads: {0}; see 'ulimit -a' for the limits of threads and open files"
    )]
    Threads(io::Error),
}

impl AgentError {
    /// What kind of problem it is, which decides the exit code.
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::NotPermitted { .. } => ProblemKind::NotPermitted,
            Self::ConfigFile { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ProblemKind::NotFound
            }
            Self::NoGroup { .. } => ProblemKind::NotFound,
            Self::Config { .. } | Self::Environment { .. } | Self::Cores(_) => ProblemKind::Invalid,
            Self::StateInUse { .. } | Self::SocketInUse { .. } => ProblemKind::Conflict,
            Self::Metrics { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ProblemKind::Conflict
            }
            Self::ConfigFile { source, .. }
            | Self::Metrics { source, .. }
            | Self::State { source, .. }
            | Self::Socket { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                ProblemKind::NotPermitted
            }
            _ => ProblemKind::Failed,
        }
    }
}

impl From<AgentError> for Problem {
    fn from(error: AgentError) -> Self {
        let (kind, text) = (error.kind(), error.to_string());
        // What to do stands behind the last semicolon.
        match text.rsplit_once("; ") {
            Some((message, remedy)) => Self::new(kind, message).with_remedy(remedy),
            None => Self::new(kind, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::options::Settings;
    use crate::plane::Plane;
    use crate::store::Store;

    #[tokio::test]
    async fn a_core_that_is_not_there_is_a_usage_error_of_its_flag() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            cores: Some("8191".parse().unwrap()),
            state: Some(directory.path().into()),
            ..Settings::default()
        };
        let (events, _) = crossbeam_channel::bounded(1);
        let (store, _) = Store::open(directory.path()).unwrap();
        let started = Plane::start(&settings.options(), store.identity(), &events);
        let error = started.err().unwrap();
        let text = error.to_string();
        assert_eq!(error.kind().exit_code(), 2, "{text}");
        assert!(text.starts_with("--cores: core 8191 is not"), "{text}");
    }
}
