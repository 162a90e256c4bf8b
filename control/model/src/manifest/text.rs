//! Manifests as text.

use serde::de::DeserializeOwned;

use super::Manifest;
use crate::name::nearest;

/// Sections and fields that manifests are to have and have not yet. Who writes one did not mean another one.
const NOT_YET: [&str; 2] = ["dvswitches", "mirrors"];

/// What numbers may be, for those that do not even fit the type.
const RANGES: [(&str, &str); 7] = [
    ("vlan", "0-4095"),
    ("mtu", "1280-9000"),
    ("lbtThreshold", "1-100"),
    ("limit", "1-4096"),
    ("sampling", "0-16384"),
    ("domain", "0-4294967295"),
    ("flows", "1000-1000000"),
];

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
    serde_saphyr::from_str_with_options(text, options).map_err(|error| describe(&error, text))
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

fn describe(error: &serde_saphyr::Error, text: &str) -> ManifestError {
    use serde_saphyr::Error;
    let place = error
        .location()
        .map(|place| (place.line(), place.column()))
        .filter(|(line, _)| *line > 0);
    let of_field = |problem: String| {
        let field = place.and_then(|place| Spot::at(place, text)?.field());
        let field = field.map(|field| format!("{}: ", shown(field)));
        field.unwrap_or_default() + &problem
    };
    let (problem, suggestion) = match error {
        Error::SerdeUnknownField { field, .. } if NOT_YET.contains(&field.as_str()) => {
            (format!("the field {field:?} is not supported yet"), None)
        }
        Error::SerdeUnknownField {
            field, expected, ..
        } => unknown("field", field, expected),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => unknown("value", variant, expected),
        Error::SerdeMissingField { field, .. } => (format!("the field {field:?} is missing"), None),
        Error::InvalidScalar { ty, .. } => {
            let spot = place.and_then(|place| Spot::at(place, text));
            (of_field(no_scalar(ty, spot)), None)
        }
        Error::Unexpected { expected, .. } => (of_field(no_structure(expected)), None),
        Error::NullIntoString { .. } => {
            let problem = "the value is missing; write one, or leave the field out";
            (of_field(problem.to_owned()), None)
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the field {:?} stands twice", shown(key)), None)
        }
        Error::Message { msg, .. } => (msg.clone(), None),
        other => (syntax(&other.to_string()), None),
    };
    ManifestError {
        place,
        problem,
        suggestion,
    }
}

/// A value that is none of its type.
fn no_scalar(ty: &str, spot: Option<Spot<'_>>) -> String {
    let value = spot.as_ref().map_or("", Spot::value);
    let quoted = format!("{:?}", shown(value));
    if ty.starts_with("bool") {
        return format!("{quoted} is neither true nor false");
    }
    let range = spot.and_then(|spot| {
        let field = spot.field()?;
        RANGES.iter().find(|(known, _)| *known == field)
    });
    let remedy = range.map(|(_, range)| format!("; use {range}"));
    let problem = match value.parse::<i128>() {
        Ok(number) => format!("{number} is out of range"),
        Err(_) => format!("{quoted} is not a whole number"),
    };
    problem + &remedy.unwrap_or_default()
}

/// Fields, a list or a word in the place of another of these, in the words of the file instead of the parser's.
fn no_structure(expected: &str) -> String {
    match expected {
        "mapping start" => {
            "fields are expected, as 'NAME: VALUE' on lines of their own or as {NAME: VALUE, ...}"
        }
        "sequence start" => {
            "a list is expected, as '- ENTRY' on lines of their own or as [ENTRY, ...]"
        }
        "string scalar" => "one word or number is expected, neither a list nor fields",
        other => return format!("expected {other}"),
    }
    .to_owned()
}

fn syntax(text: &str) -> String {
    if text.contains("tabs disallowed") {
        "a tab stands before the text; indent with spaces".to_owned()
    } else {
        without_place(text)
    }
}

/// Where in a text something is wrong.
struct Spot<'a> {
    /// The lines above, nearest first.
    above: std::iter::Rev<std::str::Lines<'a>>,
    before: &'a str,
    after: &'a str,
}

impl<'a> Spot<'a> {
    fn at((line, column): (u64, u64), text: &'a str) -> Option<Self> {
        let above = usize::try_from(line).ok()?.checked_sub(1)?;
        let column = usize::try_from(column).ok()?.checked_sub(1)?;
        let start: usize = text.split_inclusive('\n').take(above).map(str::len).sum();
        let line = text.get(start..)?.lines().next()?;
        let cut = line.char_indices().nth(column);
        let cut = cut.map_or(line.len(), |(position, _)| position);
        let (before, after) = line.split_at(cut);
        Some(Self {
            above: text.get(..start)?.lines().rev(),
            before,
            after,
        })
    }

    /// The field whose value is here, or missing here: a colon ends it, on the same line or on the last one with text above.
    fn field(&self) -> Option<&'a str> {
        let before = self.before.trim_end();
        let key = if self.after.trim() == ":" {
            before
        } else if before.is_empty() {
            let line = self.above.clone().find(|line| !line.trim().is_empty());
            line?.trim_end().strip_suffix(':')?
        } else {
            before.strip_suffix(':')?
        };
        let key = key.rsplit(['{', ',', '[']).next().unwrap_or(key);
        let key = key.trim().trim_start_matches("- ").trim();
        Some(key.trim_matches(['"', '\''])).filter(|key| !key.is_empty())
    }

    /// The value, if it is a word or number.
    fn value(&self) -> &'a str {
        let end = self.after.find([',', '}', ']', '#']);
        let value = self.after.get(..end.unwrap_or(self.after.len()));
        value.unwrap_or_default().trim().trim_matches(['"', '\''])
    }
}

/// As much of a text as is shown.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

fn unknown(what: &str, name: &str, expected: &[&'static str]) -> (String, Option<String>) {
    let mut problem = format!("unknown {what} {:?}", shown(name));
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
