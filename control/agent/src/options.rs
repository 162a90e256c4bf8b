//! How to start an agent: flags before environment before file before defaults.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use weft_api::DEFAULT_SOCKET;
use weft_model::HostName;

use crate::error::AgentError;

/// Where an agent keeps its state unless told otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/weft";

/// The group whose members may use the socket unless told otherwise.
pub const DEFAULT_GROUP: &str = "weft";

/// The configuration file that is read where it exists and no other is named.
pub const DEFAULT_CONFIG: &str = "/etc/weft/agent.yaml";

/// How an agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the durable state.
    pub state_dir: PathBuf,
    /// Unix socket of the API.
    pub socket: PathBuf,
    /// The group whose members may use the socket. `None`: [`DEFAULT_GROUP`], where there is one.
    pub group: Option<String>,
    /// Cores of the poll threads; empty: one thread, not pinned.
    pub cores: Vec<usize>,
    /// What poll threads do when there is nothing to do.
    pub poll: Poll,
    /// The host's name.
    pub host_name: HostName,
    /// Where metrics are served beside the socket.
    pub metrics: Option<SocketAddr>,
}

/// What was said about how to run; what was not said is absent. The keys of the configuration file are the names of
/// the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// See [`Options::state_dir`].
    pub state: Option<PathBuf>,
    /// See [`Options::socket`].
    pub socket: Option<PathBuf>,
    /// See [`Options::group`].
    pub group: Option<String>,
    /// See [`Options::cores`].
    pub cores: Option<CoreList>,
    /// See [`Options::poll`].
    pub poll: Option<Poll>,
    /// See [`Options::host_name`].
    pub host_name: Option<HostName>,
    /// See [`Options::metrics`].
    pub metrics: Option<SocketAddr>,
}

impl Settings {
    /// Reads a configuration file (YAML). One that holds only comments says nothing.
    ///
    /// # Errors
    /// The file cannot be read, or holds a field or value that is not known; with line and column.
    pub fn read(path: &Path) -> Result<Self, AgentError> {
        let text = std::fs::read_to_string(path).map_err(|source| AgentError::ConfigFile {
            path: path.into(),
            source,
        })?;
        let says_nothing = |line: &str| {
            let line = line.trim_start();
            line.is_empty() || line.starts_with('#')
        };
        if text.lines().all(says_nothing) {
            return Ok(Self::default());
        }
        weft_model::from_text(&text).map_err(|error| AgentError::Config {
            path: path.into(),
            error,
        })
    }

    /// Reads [`DEFAULT_CONFIG`], if it exists.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn read_default() -> Result<Self, AgentError> {
        match Self::read(Path::new(DEFAULT_CONFIG)) {
            Err(AgentError::ConfigFile { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(Self::default())
            }
            read => read,
        }
    }

    /// What variables of the environment say. `variable` looks one up; an empty one says nothing.
    ///
    /// # Errors
    /// The variable whose value is none.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, AgentError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        Ok(Self {
            state: path("WEFT_STATE"),
            // Where operators say which agent they talk to, they need not say it twice.
            socket: path("WEFT_SOCKET").or_else(|| path("WEFT_AGENT")),
            cores: parsed("WEFT_CORES", variable)?,
            poll: parsed("WEFT_POLL", variable)?,
            host_name: parsed("WEFT_HOST_NAME", variable)?,
            metrics: parsed("WEFT_METRICS", variable)?,
            group: parsed("WEFT_GROUP", variable)?,
        })
    }

    /// These settings, and `others` for what they leave open.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            state: self.state.or(others.state),
            socket: self.socket.or(others.socket),
            group: self.group.or(others.group),
            cores: self.cores.or(others.cores),
            poll: self.poll.or(others.poll),
            host_name: self.host_name.or(others.host_name),
            metrics: self.metrics.or(others.metrics),
        }
    }

    /// How to run, with defaults for what is still open.
    pub fn options(self) -> Options {
        Options {
            state_dir: self.state.unwrap_or_else(|| DEFAULT_STATE_DIR.into()),
            socket: self.socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            group: self.group,
            cores: self.cores.map(|list| list.0).unwrap_or_default(),
            poll: self.poll.unwrap_or_default(),
            host_name: self.host_name.unwrap_or_else(system_name),
            metrics: self.metrics,
        }
    }
}

/// The value of a variable that is set.
fn parsed<T: FromStr<Err: Display>>(
    name: &'static str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<T>, AgentError> {
    let wrong = |problem| AgentError::Environment { name, problem };
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    let value = value
        .into_string()
        .map_err(|_| wrong("the value is not UTF-8".to_owned()))?;
    let value = value
        .parse()
        .map_err(|error: T::Err| wrong(format!("{value:?}: {error}")))?;
    Ok(Some(value))
}

/// What poll threads do when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Poll {
    /// Sleep after a short empty spell.
    #[default]
    Adaptive,
    /// Never sleep.
    Busy,
}

impl FromStr for Poll {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "adaptive" => Ok(Self::Adaptive),
            "busy" => Ok(Self::Busy),
            _ => Err(format!("{word:?} is not one of: adaptive, busy")),
        }
    }
}

/// A list of cores, such as `2,4-6`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CoreList(pub Vec<usize>);

impl FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// The kernel's own bound (CONFIG_NR_CPUS).
        const MOST: usize = 8192;
        let number = |part: &str| {
            let core = part.parse::<usize>().ok().filter(|core| *core < MOST);
            core.ok_or_else(|| format!("{text:?} is not a list of cores; write it as 2,4-6"))
        };
        let mut cores = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range {part} of cores ends before it starts"));
            }
            cores.extend(first..=last);
        }
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = cores.iter().find(|core| !seen.insert(**core)) {
            return Err(format!("core {twice} stands twice in {text:?}"));
        }
        Ok(Self(cores))
    }
}

impl TryFrom<String> for CoreList {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The name that the kernel has for this host.
fn system_name() -> HostName {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    name.parse()
        .unwrap_or_else(|_| "localhost".parse().expect("localhost is a host name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_numbers_and_ranges() {
        assert_eq!("2,4-6".parse::<CoreList>().unwrap().0, [2, 4, 5, 6]);
        for text in ["", "a", "3-1", "1,1", "1-99999999999", "-1"] {
            assert!(text.parse::<CoreList>().is_err(), "{text:?}");
        }
    }

    /// Every setting, in each place where it can be said.
    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.yaml");
        let file = "state: /1\nsocket: /1.sock\ncores: '1'\npoll: busy\nhost-name: h1\nmetrics: '[::]:1'\ngroup: g1\n";
        std::fs::write(&path, file).unwrap();
        let file = Settings::read(&path).unwrap();
        let environment = Settings::from_environment(|name| {
            let value = match name {
                "WEFT_STATE" => "/2",
                "WEFT_SOCKET" => "/2.sock",
                "WEFT_AGENT" => "/3.sock",
                "WEFT_CORES" => "2",
                "WEFT_POLL" => "adaptive",
                "WEFT_HOST_NAME" => "h2",
                "WEFT_METRICS" => "127.0.0.1:2",
                "WEFT_GROUP" => "g2",
                _ => panic!("{name} is not a setting"),
            };
            Some(value.into())
        });
        let environment = environment.unwrap();
        let Options {
            state_dir,
            socket,
            cores,
            poll,
            host_name,
            metrics,
            group,
        } = environment.clone().or(file.clone()).options();
        assert_eq!(state_dir, Path::new("/2"));
        assert_eq!(socket, Path::new("/2.sock"));
        assert_eq!((cores, poll), (vec![2], Poll::Adaptive));
        assert_eq!(host_name.as_str(), "h2");
        assert_eq!(metrics, Some("127.0.0.1:2".parse().unwrap()));
        assert_eq!(group.as_deref(), Some("g2"));
        let flags = Settings {
            host_name: Some("h3".parse().unwrap()),
            ..Settings::default()
        };
        let options = flags.or(environment).or(file.clone()).options();
        assert_eq!(options.host_name.as_str(), "h3");
        let options = Settings::default().or(file).options();
        assert_eq!((options.cores, options.poll), (vec![1], Poll::Busy));
    }

    #[test]
    fn the_environment_may_name_the_agent_as_its_operators_do() {
        let only = |wanted: &'static str, value: &'static str| {
            Settings::from_environment(move |name| (name == wanted).then(|| value.into()))
        };
        let socket = only("WEFT_AGENT", "/a.sock").unwrap().socket;
        assert_eq!(socket.as_deref(), Some(Path::new("/a.sock")));
        assert_eq!(only("WEFT_CORES", "").unwrap(), Settings::default());
        let error = only("WEFT_CORES", "3-1").unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind().exit_code(), 2, "{text}");
        assert!(text.starts_with("WEFT_CORES: \"3-1\": "), "{text}");
    }

    #[test]
    fn the_file_of_the_package_names_every_setting_and_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.yaml");
        let packaged = include_str!("../../../packaging/agent.yaml");
        std::fs::write(&path, packaged).unwrap();
        assert_eq!(Settings::read(&path).unwrap(), Settings::default());
        // A comment has a space behind its sign, a setting that is left out has none.
        let settings = packaged
            .lines()
            .filter(|line| !line.starts_with("# "))
            .map(|line| format!("{}\n", line.trim_start_matches('#')));
        std::fs::write(&path, settings.collect::<String>()).unwrap();
        let Settings {
            state,
            socket,
            cores,
            poll,
            host_name,
            metrics,
            group,
        } = Settings::read(&path).unwrap();
        assert!(state.is_some() && socket.is_some() && cores.is_some() && poll.is_some());
        assert!(host_name.is_some() && metrics.is_some() && group.is_some());
    }

    #[test]
    fn a_file_of_comments_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.yaml");
        for text in ["", "\n", "# cores: '1'\n\n  # poll: busy"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Settings::read(&path).unwrap(), Settings::default());
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_nearest_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.yaml");
        std::fs::write(&path, "socket: /run/a.sock\nhost-nam: h\n").unwrap();
        let error = Settings::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("host-name"),
            "{error}"
        );
    }
}
