//! Manifests as text.

use serde::de::DeserializeOwned;

use super::Manifest;
use crate::name::nearest;

/// Why a text is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}{}", at(.place), hint(.suggestion))]
pub struct ManifestError {
    /// Line and column, from 1, where they are known.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub problem: String,
    /// The nearest known name, for a field or word that is not known.
    pub suggestion: Option<String>,
}

fn at(place: &Option<(u64, u64)>) -> String {
    place
        .map(|(line, column)| format!("line {line}, column {column}: "))
        .unwrap_or_default()
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}

/// Reads a value from YAML or JSON, of which YAML is a superset.
///
/// # Errors
/// Unknown fields, values out of range and bad syntax, with line and column.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, ManifestError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| describe(&error))
}

impl Manifest {
    /// Reads YAML or JSON, of which YAML is a superset.
    ///
    /// # Errors
    /// Unknown fields, values out of range and bad syntax, with line and column. A text of any size and nesting is
    /// refused or read in bounded memory.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.trim().is_empty() {
            Ok(Self::default())
        } else {
            from_text(text)
        }
    }

    /// The manifest as YAML.
    pub fn to_yaml(&self) -> String {
        let options = serde_saphyr::ser_options! { compact_list_indent: false };
        serde_saphyr::to_string_with_options(self, options)
            .expect("a manifest has text keys and no fallible serializer")
    }

    /// The manifest as indented JSON.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self)
            .expect("a manifest has text keys and no fallible serializer");
        text + "\n"
    }
}

fn describe(error: &serde_saphyr::Error) -> ManifestError {
    let place = error
        .location()
        .map(|place| (place.line(), place.column()))
        .filter(|(line, _)| *line > 0);
    let (problem, suggestion) = match error {
        serde_saphyr::Error::SerdeUnknownField {
            field, expected, ..
        } => unknown("field", field, expected),
        serde_saphyr::Error::SerdeUnknownVariant {
            variant, expected, ..
        } => unknown("value", variant, expected),
        serde_saphyr::Error::SerdeMissingField { field, .. } => {
            (format!("the field {field:?} is missing"), None)
        }
        serde_saphyr::Error::Message { msg, .. } => (msg.clone(), None),
        other => (without_place(&other.to_string()), None),
    };
    ManifestError {
        place,
        problem,
        suggestion,
    }
}

fn unknown(what: &str, name: &str, expected: &[&'static str]) -> (String, Option<String>) {
    let shown: String = name.chars().take(100).collect();
    let mut problem = format!("unknown {what} {shown:?}");
    let near = nearest(name, expected.iter().copied()).map(str::to_owned);
    if near.is_none() {
        problem += &format!("; expected one of {}", expected.join(", "));
    }
    (problem, near)
}

/// The parser repeats the place at the end of its texts.
fn without_place(text: &str) -> String {
    text.split(" at line ").next().unwrap_or(text).to_owned()
}
