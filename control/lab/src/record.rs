//! What a lab leaves on disk while it is up: enough to find and remove every part of it, whatever became of the command
//! that made it.
//!
//! ```text
//! /run/weft/lab/LAB/lab.json          what was to be made; written before anything is
//! /run/weft/lab/LAB/HOST/agent.sock   the API of the host's agent
//! /run/weft/lab/LAB/HOST/agent.pid    its process
//! /run/weft/lab/LAB/HOST/agent.log    what it says
//! /run/weft/lab/LAB/HOST/state/       its configuration
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weft_model::{Manifest, nearest};

use crate::LabError;
use crate::name::LabName;
use crate::plan::{Host, Plan};
use crate::process::ProcessId;
use weft_api::ProblemKind;

/// Where labs are recorded.
const LABS: &str = "/run/weft/lab";
const RECORD: &str = "lab.json";
/// The agent's API socket in the directory of its host.
pub(crate) const SOCKET: &str = "agent.sock";
const PID: &str = "agent.pid";
const LOG: &str = "agent.log";
const STATE: &str = "state";

/// One lab as it is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The command that makes it, or made it.
    pub(crate) maker: ProcessId,
    /// Whether it is gone with its maker: nobody else uses it.
    pub(crate) temporary: bool,
    /// Whether it was finished.
    pub(crate) complete: bool,
    /// The file that it was made from.
    pub(crate) manifest: Manifest,
    /// What it consists of.
    pub(crate) plan: Plan,
}

/// The directory of a lab.
pub(crate) fn directory(lab: &LabName) -> PathBuf {
    Path::new(LABS).join(lab.as_str())
}

/// The paths of a host of a lab.
pub(crate) struct HostPaths(PathBuf);

impl HostPaths {
    pub(crate) fn new(lab: &LabName, host: &Host) -> Self {
        Self(directory(lab).join(&host.name))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join(STATE)
    }

    /// Remembers the host's agent.
    pub(crate) fn write_agent(&self, agent: ProcessId) -> io::Result<()> {
        fs::write(self.0.join(PID), serde_json::to_vec(&agent)?)
    }

    /// The host's agent, if it ever started.
    pub(crate) fn agent(&self) -> Option<ProcessId> {
        serde_json::from_slice(&fs::read(self.0.join(PID)).ok()?).ok()
    }
}

impl Record {
    /// Claims the lab's name and writes the record. Either the whole directory exists afterwards, or nothing of it.
    ///
    /// # Errors
    /// [`ProblemKind::Conflict`] when the name is taken.
    pub(crate) fn claim(&self) -> Result<(), LabError> {
        let lab = &self.plan.lab;
        // No lab's name starts with a dot, so that nobody takes the draft for a lab.
        let draft = Path::new(LABS).join(format!(".{lab}.{}", self.maker.pid));
        let attempt = || -> io::Result<()> {
            fs::create_dir_all(&draft)?;
            self.write_into(&draft)?;
            fs::rename(&draft, directory(lab))
        };
        // A lab that is being removed takes the parent directories with it when it is the last.
        let result = std::iter::repeat_with(attempt)
            .take(5)
            .find(|result| !matches!(result, Err(error) if error.kind() == ErrorKind::NotFound))
            .unwrap_or_else(|| Err(ErrorKind::NotFound.into()));
        result.map_err(|error| {
            let _ = fs::remove_dir_all(&draft);
            if matches!(
                error.kind(),
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
            ) {
                return LabError::new(
                    ProblemKind::Conflict,
                    format!("lab {lab}"),
                    "exists already",
                )
                .hint(format!(
                    "choose another --name, or run 'weft lab down {lab}' first"
                ));
            }
            LabError::io(draft.display().to_string(), &error)
        })
    }

    /// Whether it should have gone with its maker, and the maker is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.temporary && !self.maker.is_running()
    }

    /// Notes that the lab is finished.
    pub(crate) fn finish(&mut self) -> Result<(), LabError> {
        self.complete = true;
        let directory = directory(&self.plan.lab);
        self.write_into(&directory)
            .map_err(|error| LabError::io(directory.display().to_string(), &error))
    }

    fn write_into(&self, directory: &Path) -> io::Result<()> {
        let draft = directory.join(".lab.json");
        fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        fs::rename(draft, directory.join(RECORD))
    }

    /// The lab of this name. `None`: there is none.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub(crate) fn load(lab: &LabName) -> Result<Option<Self>, LabError> {
        let file = directory(lab).join(RECORD);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LabError::io(file.display().to_string(), &error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            LabError::failed(
                file.display().to_string(),
                format!("is not the record of a lab: {error}"),
            )
            .hint("remove the lab with the version of weft that made it")
        })
    }

    /// The lab of this name.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`] with the nearest name, which is only told: the lab may be looked for to be removed.
    pub(crate) fn find(lab: &LabName) -> Result<Self, LabError> {
        Self::load(lab)?.ok_or_else(|| {
            let known = Self::load_all().unwrap_or_default();
            let near = nearest(
                lab.as_str(),
                known.iter().map(|record| record.plan.lab.as_str()),
            );
            let hint = near.map_or_else(
                || "see 'weft lab ls'".to_owned(),
                |near| format!("the nearest existing name is {near}"),
            );
            LabError::not_found(format!("lab {lab}"), "does not exist").hint(hint)
        })
    }

    /// Every lab of this machine, by name.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub(crate) fn load_all() -> Result<Vec<Self>, LabError> {
        let entries = match fs::read_dir(LABS) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LabError::io(LABS, &error)),
        };
        let mut names: Vec<LabName> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        names
            .iter()
            .filter_map(|name| Self::load(name).transpose())
            .collect()
    }

    /// Removes the lab's files, and the parent directories if they are empty then.
    pub(crate) fn erase(lab: &LabName) -> Result<(), LabError> {
        let directory = directory(lab);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LabError::io(directory.display().to_string(), &error));
            }
            _ => {}
        }
        erase_drafts();
        for parent in directory.ancestors().skip(1).take(2) {
            // Refused while other labs or an agent have files there.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// Removes what commands left that were killed while they claimed a name.
fn erase_drafts() {
    for entry in fs::read_dir(LABS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.rsplit_once('.')?.1.parse().ok());
        if maker.is_some_and(|pid| ProcessId::of(pid).is_none()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
