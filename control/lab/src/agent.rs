//! The agents of a lab's hosts: the weft executable in the host's namespace, with all its files in the lab's directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Child;
use weft_api::Client;

use crate::LabError;
use crate::command::program;
use crate::name::LabName;
use crate::plan::Host;
use crate::process::ProcessId;
use crate::record::HostPaths;

/// How long an agent may take from its start to its first answer.
const AGENT_START: Duration = Duration::from_secs(10);

/// An agent that was started and may not be ready.
pub(crate) struct StartedAgent {
    process: Child,
    client: Client,
    log: PathBuf,
}

impl StartedAgent {
    /// Starts the agent of a host.
    pub(crate) fn new(lab: &LabName, host: &Host, weft: &Path) -> Result<Self, LabError> {
        let paths = HostPaths::new(lab, host);
        let object = || format!("host {}: agent", host.name);
        let start = || -> std::io::Result<Child> {
            std::fs::create_dir_all(paths.directory())?;
            let log = std::fs::File::create(paths.log())?;
            let mut ip = program("ip");
            // What is said about the agent of this machine is not meant for those of a lab.
            let settings = std::env::vars_os().map(|(name, _)| name);
            for name in settings.filter(|name| name != "WEFT_LOG") {
                if name.as_encoded_bytes().starts_with(b"WEFT_") {
                    ip.env_remove(name);
                }
            }
            ip.args(["netns", "exec", &host.namespace])
                .arg(weft)
                .arg("agent")
                .args([
                    "--config",
                    "/dev/null",
                    "--poll",
                    "adaptive",
                    "--host-name",
                    &host.name,
                ])
                .arg("--state")
                .arg(paths.state())
                .arg("--socket")
                .arg(paths.socket())
                .current_dir("/")
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(false)
                .spawn()
        };
        let process = start().map_err(|error| LabError::io(object(), &error))?;
        if let Some(agent) = process.id().and_then(ProcessId::of) {
            paths
                .write_agent(agent)
                .map_err(|error| LabError::io(object(), &error))?;
        }
        Ok(Self {
            process,
            client: Client::new(paths.socket()),
            log: paths.log(),
        })
    }

    /// Waits until the agent answers.
    pub(crate) async fn ready(mut self, host: &Host) -> Result<Client, LabError> {
        let started = Instant::now();
        loop {
            let Err(problem) = self.client.status().await else {
                return Ok(self.client);
            };
            let ended = self.process.try_wait().ok().flatten();
            if ended.is_none() && started.elapsed() < AGENT_START {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last = said.trim_end().lines().rev().take(5).collect::<Vec<_>>();
            let last: Vec<&str> = last.into_iter().rev().collect();
            let problem = match ended {
                Some(status) => format!(
                    "its agent ended with {status} and said: {}",
                    last.join(" / ")
                ),
                None => format!(
                    "its agent does not answer ({}) and said: {}",
                    problem.message,
                    last.join(" / ")
                ),
            };
            return Err(LabError::failed(format!("host {}", host.name), problem));
        }
    }
}
