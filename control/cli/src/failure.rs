//! Errors as the operator sees them: what it is about, what is wrong, what to do, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use weft_agent::AgentError;
use weft_api::{Problem, ProblemKind};
use weft_lab::LabError;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something is wrong.
    Wrong {
        /// The exit code.
        code: u8,
        /// What, with the object and the field.
        text: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Nobody reads the output any more, as behind `| head`. That is not an error.
    NoReader,
}

impl Failure {
    /// A failure without a more telling code.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::of_kind(ProblemKind::Failed, text)
    }

    pub(crate) fn of_kind(kind: ProblemKind, text: impl Into<String>) -> Self {
        Self::Wrong {
            code: kind.exit_code(),
            text: text.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(self, words: impl Into<String>) -> Self {
        match self {
            Self::Wrong { code, text, .. } => Self::Wrong {
                code,
                text,
                hint: Some(words.into()),
            },
            Self::NoReader => self,
        }
    }

    /// Writing standard output failed.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NoReader,
            _ => Self::new(format!("standard output: {error}")),
        }
    }

    /// Prints it to standard error and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::NoReader => ExitCode::SUCCESS,
            Self::Wrong { code, text, hint } => {
                let hint = hint
                    .map(|hint| format!("  hint: {hint}\n"))
                    .unwrap_or_default();
                // There is nobody left to tell if this fails.
                let _ = io::stderr().write_all(format!("error: {text}\n{hint}").as_bytes());
                ExitCode::from(code)
            }
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Wrong {
            code: problem.kind.exit_code(),
            text: text_of(&problem),
            hint: problem.remedy,
        }
    }
}

/// `OBJECT: FIELD: what is wrong`, where the message is `OBJECT: what is wrong`. One in which the object is the subject of a
/// sentence stays as it is.
fn text_of(problem: &Problem) -> String {
    let (Some(object), Some(field)) = (&problem.object, &problem.field) else {
        return problem.message.clone();
    };
    let start = format!("{object}: ");
    match problem.message.strip_prefix(&start) {
        // Where several fields are wrong, the message lists them.
        Some(rest) if !rest.starts_with(&format!("{field}: ")) => format!("{start}{field}: {rest}"),
        _ => problem.message.clone(),
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        // What to do stands behind the last semicolon.
        let text = error.to_string();
        let failure = |text: &str| Self::of_kind(error.kind(), text);
        match text.rsplit_once("; ") {
            Some((text, hint)) => failure(text).with_hint(hint),
            None => failure(&text),
        }
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self::Wrong {
            code: error.kind.exit_code(),
            text: error.to_string(),
            hint: error.hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{ObjectKind, ObjectRef};

    use super::*;

    #[test]
    fn a_problem_names_object_field_and_remedy() {
        let problem = Problem::new(
            ProblemKind::NotFound,
            "port MyVM1: port group Labb does not exist",
        )
        .about(ObjectRef::new(ObjectKind::Port, "MyVM1"))
        .in_field("portgroup")
        .with_remedy("did you mean Lab?");
        let Failure::Wrong { code, text, hint } = problem.into() else {
            panic!("not an error")
        };
        assert_eq!(code, 3);
        assert_eq!(
            text,
            "port MyVM1: portgroup: port group Labb does not exist"
        );
        assert_eq!(hint.as_deref(), Some("did you mean Lab?"));
    }

    #[test]
    fn a_sentence_about_the_object_keeps_its_subject() {
        let message = "standard switch vSwitch1 has changed since it was read";
        let problem = Problem::new(ProblemKind::Conflict, message)
            .about(ObjectRef::new(ObjectKind::Vswitch, "vSwitch1"))
            .in_field("resourceVersion");
        let Failure::Wrong { text, .. } = problem.into() else {
            panic!("not an error")
        };
        assert_eq!(text, message);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        assert!(matches!(
            Failure::of_output(&io::ErrorKind::BrokenPipe.into()),
            Failure::NoReader
        ));
    }
}
