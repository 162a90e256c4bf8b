//! What differs between two versions of an object, field by field.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field as a path, such as `security.promiscuous`.
    pub field: String,
    /// What it is. `null`: not set.
    pub before: Value,
    /// What it becomes. `null`: not set.
    pub after: Value,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} -> {}",
            self.field,
            shown(&self.before),
            shown(&self.after)
        )
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "default".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The fields in which two specs differ, in the order of their names.
pub(crate) fn differing<S: Serialize>(before: &S, after: &S) -> Vec<FieldChange> {
    let value = |spec: &S| {
        serde_json::to_value(spec).expect("specs have text keys and no fallible serializer")
    };
    let mut changes = Vec::new();
    compare("", &value(before), &value(after), &mut changes);
    changes
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let empty = serde_json::Map::new();
    let (left, right) = match (before, after) {
        (Value::Object(left), Value::Object(right)) => (left, right),
        (Value::Object(left), Value::Null) => (left, &empty),
        (Value::Null, Value::Object(right)) => (&empty, right),
        _ => {
            return changes.push(FieldChange {
                field: path.to_owned(),
                before: before.clone(),
                after: after.clone(),
            });
        }
    };
    let mut names: Vec<_> = left.keys().chain(right.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let inner = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let side = |fields: &serde_json::Map<String, Value>| {
            fields.get(name).cloned().unwrap_or(Value::Null)
        };
        compare(&inner, &side(left), &side(right), changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Inheritable, PortgroupSpec};

    #[test]
    fn a_leaf_that_was_inherited_shows_as_one_field() {
        let before = PortgroupSpec::new("Lab".parse().unwrap(), "vSwitch1".parse().unwrap());
        let mut after = before.clone();
        after.security.promiscuous = Inheritable::Accept;
        let changes = differing(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!(
            changes[0].to_string(),
            "security.promiscuous default -> accept"
        );
        assert!(differing(&before, &before).is_empty());
    }
}
