//! The one shape of every refusal and failure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::{ModelError, NameError, ObjectKind, ObjectRef};

/// What kind of problem it is; each has an exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProblemKind {
    /// It could not be done.
    Failed,
    /// A value that cannot be meant, or a request that cannot be read.
    Invalid,
    /// An object, interface or file that does not exist.
    NotFound,
    /// It exists already, is in use, or was changed meanwhile.
    Conflict,
    /// The agent does not answer.
    Unreachable,
    /// The answer did not come in time.
    TimedOut,
    /// The caller, or the agent itself, may not.
    NotPermitted,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Unreachable,
        Self::TimedOut,
        Self::NotPermitted,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::NotFound => "notFound",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timedOut",
            Self::NotPermitted => "notPermitted",
        }
    }

    /// What it means, as a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "It could not be done.",
            Self::Invalid => "A value that cannot be meant, or a request that cannot be read.",
            Self::NotFound => "An object, interface or file that does not exist.",
            Self::Conflict => "It exists already, is in use, or was changed meanwhile.",
            Self::Unreachable => "The agent does not answer.",
            Self::TimedOut => "The answer did not come in time.",
            Self::NotPermitted => "The caller, or the agent itself, may not.",
        }
    }

    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unreachable => 5,
            Self::TimedOut => 7,
            Self::NotPermitted => 8,
        }
    }

    /// The HTTP status that carries it.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Failed => 500,
            Self::Invalid => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Unreachable => 503,
            Self::TimedOut => 504,
            Self::NotPermitted => 403,
        }
    }
}

/// What went wrong, with what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// What is wrong, with the name of the object.
    pub message: String,
    /// The object that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<ObjectRef>>,
    /// The field that it is about, as a manifest names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The nearest existing name, for one that does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            object: None,
            field: None,
            remedy: None,
            suggestion: None,
        }
    }

    /// The same, about this object.
    #[must_use]
    pub fn about(self, object: impl Into<ObjectRef>) -> Self {
        Self {
            object: Some(Box::new(object.into())),
            ..self
        }
    }

    /// The same, about a network interface.
    #[must_use]
    pub fn about_interface(self, interface: impl fmt::Display) -> Self {
        self.about(ObjectRef::new(ObjectKind::Interface, interface))
    }

    /// The same, about this field.
    #[must_use]
    pub fn in_field(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(ProblemKind::Invalid, error.problem()).with_remedy(error.remedy())
    }
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        let kind = match &error {
            ModelError::Unknown { .. }
            | ModelError::NothingToDelete { .. }
            | ModelError::UnknownTarget { .. }
            | ModelError::NotAnUplink { .. }
            | ModelError::NoSuchUplink { .. } => ProblemKind::NotFound,
            ModelError::AlreadyExists { .. }
            | ModelError::InUse { .. }
            | ModelError::InterfaceTaken { .. }
            | ModelError::SocketTaken { .. }
            | ModelError::StandbyWithIpHash { .. }
            | ModelError::UplinkInTeam { .. }
            | ModelError::MacTaken { .. }
            | ModelError::IpTaken { .. }
            | ModelError::NameTaken { .. }
            | ModelError::IsVmk { .. }
            | ModelError::NoCollector { .. }
            | ModelError::NetflowInUse { .. }
            | ModelError::DomainTaken { .. }
            | ModelError::Stale { .. } => ProblemKind::Conflict,
            ModelError::TwiceInTeam { .. }
            | ModelError::BadMac { .. }
            | ModelError::MtuBeyondSwitch { .. }
            | ModelError::MtuBelowVmk { .. }
            | ModelError::SamplingBeyondVersion { .. }
            | ModelError::SourceOfOtherFamily { .. }
            | ModelError::Inconsistent { .. } => ProblemKind::Invalid,
        };
        Self {
            kind,
            message: error.to_string(),
            object: Some(Box::new(error.object().clone())),
            field: error.field(),
            remedy: Some(error.remedy()),
            suggestion: error.suggestion().map(str::to_owned),
        }
    }
}
