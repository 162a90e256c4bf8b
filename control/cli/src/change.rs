//! Making a change and saying what it did, in one line.

use std::fmt::Display;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use weft_api::{ApplyOptions, ChangeOptions, ChangeResult, ProblemKind, Wait};
use weft_model::{Outcome, ResourceVersion};

use crate::Context;
use crate::failure::Failure;
use crate::output::counted;

/// The flags of every changing verb.
#[derive(Args)]
pub(crate) struct ChangeFlags {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,

    /// How far to wait: applied (until it is in force on the poll threads) or none
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    wait: WaitFlag,
}

/// The same, of verbs that change or delete an object which exists.
#[derive(Args)]
pub(crate) struct EditFlags {
    #[command(flatten)]
    change: ChangeFlags,

    /// Refuse unless the object is still at this version, as 'show' tells it; of an uplink it is its switch's
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,

    /// Do so even if it cuts your own connection, or takes an interface that the host uses
    #[arg(long)]
    yes: bool,
}

/// A value, or the word that takes it away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrNone<T>(pub(crate) Option<T>);

impl<T: FromStr<Err: Display>> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|value| Self(Some(value)))
                .map_err(|error| format!("{error}")),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum WaitFlag {
    /// Until it is in force
    #[default]
    Applied,
    /// Until it is stored
    None,
}

impl ChangeFlags {
    pub(crate) fn options(&self) -> ChangeOptions {
        let wait = match self.wait {
            WaitFlag::Applied => Wait::Applied,
            WaitFlag::None => Wait::None,
        };
        ChangeOptions {
            dry_run: self.dry_run,
            wait,
            ..ChangeOptions::default()
        }
    }

    /// The same, and whether to take an interface that the operator may be connected through.
    pub(crate) fn options_with(&self, yes: bool) -> ChangeOptions {
        ChangeOptions {
            yes,
            ..self.options()
        }
    }

    /// Whether what changed can be looked at now.
    pub(crate) fn is_in_force(&self) -> bool {
        !self.dry_run && self.wait == WaitFlag::Applied
    }
}

impl EditFlags {
    pub(crate) fn options(&self) -> ChangeOptions {
        ChangeOptions {
            resource_version: self.if_version.map(ResourceVersion),
            yes: self.yes,
            ..self.change.options()
        }
    }

    /// The same for changes of several objects together, which have no version in common.
    ///
    /// # Errors
    /// A version is named.
    pub(crate) fn options_of_many(&self, noun: &str) -> Result<ApplyOptions, Failure> {
        if self.if_version.is_some() {
            let text =
                format!("--if-version: it is the version of one {noun}, and several are named");
            return Err(Failure::of_kind(ProblemKind::Invalid, text)
                .with_hint("leave it out, or change them one by one"));
        }
        let ChangeOptions {
            dry_run, wait, yes, ..
        } = self.options();
        Ok(ApplyOptions {
            dry_run,
            wait,
            yes,
            ..ApplyOptions::default()
        })
    }

    /// Whether what changed can be looked at now.
    pub(crate) fn is_in_force(&self) -> bool {
        self.change.is_in_force()
    }
}

/// Prints what a change did. `detail` is added for an object that is new or changed.
pub(crate) fn report(
    context: &Context,
    result: &ChangeResult,
    detail: Option<&str>,
) -> Result<(), Failure> {
    for warning in &result.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    context.output.print(result, |_| line(result, detail))
}

fn line(result: &ChangeResult, detail: Option<&str>) -> String {
    let ChangeResult {
        object, dry_run, ..
    } = result;
    let would = if *dry_run { "would be " } else { "" };
    let detail = detail.unwrap_or_default();
    match &result.outcome {
        Outcome::Created => format!("{object} {would}added{detail}"),
        Outcome::Deleted => format!("{object} {would}deleted"),
        Outcome::Unchanged => format!("{object}: unchanged"),
        Outcome::Changed { fields } => {
            let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
            let affected = match result.ports.len() {
                0 => String::new(),
                ports => format!(" ({})", counted(ports, "port")),
            };
            format!(
                "{object}{}: {}{affected}{detail}",
                if *dry_run { " would change" } else { "" },
                fields.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use weft_model::{FieldChange, ObjectKind, ObjectRef};

    use super::*;

    fn result(outcome: Outcome, dry_run: bool) -> ChangeResult {
        ChangeResult {
            object: ObjectRef::new(ObjectKind::Port, "MyVM1"),
            outcome,
            dry_run,
            ports: vec!["MyVM1".parse().unwrap()],
            interrupted: Vec::new(),
            interfaces: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn one_line_says_what_happened() {
        let field = FieldChange {
            field: "block".to_owned(),
            before: Value::Null,
            after: true.into(),
        };
        let changed = || Outcome::Changed {
            fields: vec![field.clone()],
        };
        let added = " to Lab: up on p-MyVM1 (af-xdp, native, copy)";
        assert_eq!(
            line(&result(Outcome::Created, false), Some(added)),
            "port MyVM1 added to Lab: up on p-MyVM1 (af-xdp, native, copy)"
        );
        assert_eq!(
            line(&result(Outcome::Created, true), Some(" to Lab")),
            "port MyVM1 would be added to Lab"
        );
        assert_eq!(
            line(&result(Outcome::Unchanged, false), Some(added)),
            "port MyVM1: unchanged"
        );
        assert_eq!(
            line(&result(changed(), false), None),
            "port MyVM1: block no -> yes (1 port)"
        );
        assert_eq!(
            line(&result(changed(), false), Some(": up on eth1")),
            "port MyVM1: block no -> yes (1 port): up on eth1"
        );
        assert_eq!(
            line(&result(changed(), true), None),
            "port MyVM1 would change: block no -> yes (1 port)"
        );
        assert_eq!(
            line(&result(Outcome::Deleted, false), None),
            "port MyVM1 deleted"
        );
    }
}
