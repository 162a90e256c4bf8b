//! Why something about a lab did not work.

use std::io;

use weft_api::{Problem, ProblemKind};

/// Why something about a lab did not work: what it is about, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct LabError {
    /// What kind of failure it is, as agents tell them apart too.
    pub kind: ProblemKind,
    /// What it is about: a lab, a VM, a file, a command.
    pub object: String,
    /// What is wrong.
    pub problem: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

impl LabError {
    pub(crate) fn new(
        kind: ProblemKind,
        object: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            object: object.into(),
            problem: problem.into(),
            hint: None,
        }
    }

    pub(crate) fn failed(object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(ProblemKind::Failed, object, problem)
    }

    pub(crate) fn invalid(object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(ProblemKind::Invalid, object, problem)
    }

    pub(crate) fn not_found(object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, object, problem)
    }

    pub(crate) fn conflict(object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(ProblemKind::Conflict, object, problem)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the operating system about `object`.
    pub(crate) fn io(object: impl std::fmt::Display, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ProblemKind::NotFound,
            io::ErrorKind::PermissionDenied => ProblemKind::NotPermitted,
            _ => ProblemKind::Failed,
        };
        Self::new(kind, object.to_string(), error.to_string())
    }

    /// What the agent of a host said.
    pub(crate) fn of_agent(host: &str, problem: Problem) -> Self {
        Self {
            kind: problem.kind,
            object: format!("host {host}"),
            problem: problem.message,
            hint: problem.remedy,
        }
    }
}
