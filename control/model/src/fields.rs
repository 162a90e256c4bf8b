//! What differs between two versions of an object, field by field.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::{NetflowSpec, PortSpec, PortgroupSpec, Shaping, VmkSpec, VswitchSpec};

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
        let Self {
            field,
            before,
            after,
        } = self;
        let shown = |value| shown(value, unset(field));
        write!(f, "{field} {} -> {}", shown(before), shown(after))
    }
}

/// What a field that is not set means, in the words of the command line.
fn unset(field: &str) -> &'static str {
    match field {
        "link" => "up",
        "block" => "no",
        "engine" => "af-xdp",
        "mtu" => "as its switch",
        "domain" => "auto",
        leaf if POLICIES.iter().any(|policy| leaf.starts_with(policy)) => "inherit",
        _ => "none",
    }
}

/// Of a port group: what it does not set is left to its switch. A switch has every leaf of these.
const POLICIES: [&str; 6] = [
    "security.",
    "teaming.",
    "shaping.",
    "macLearning.",
    "bpduFilter",
    "netflow",
];

/// Fields that are one value, whatever they consist of.
const WHOLE: [&str; 2] = ["shaping.in", "shaping.out"];

/// A value in the words of the command line.
fn shown(value: &Value, unset: &str) -> String {
    match value {
        Value::Null => unset.to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let items = items.iter().map(|item| shown(item, unset));
            items.collect::<Vec<_>>().join(",")
        }
        other => match serde_json::from_value::<Shaping>(other.clone()) {
            Ok(shaping) => shaping.to_string(),
            Err(_) => other.to_string(),
        },
    }
}

/// A spec of which two versions are compared.
pub(crate) trait Compared: Serialize {
    /// Its fields, those with a default of their own included.
    fn in_full(&self) -> Value {
        serde_json::to_value(self).expect("specs have text keys and no fallible serializer")
    }
}

impl Compared for PortgroupSpec {}

impl Compared for NetflowSpec {}

/// The fields of the host's own interface stand side by side, as its administrator sets them.
impl Compared for PortSpec {
    fn in_full(&self) -> Value {
        let fields = match VmkSpec::of(self) {
            Some(vmk) => serde_json::to_value(vmk),
            None => serde_json::to_value(self),
        };
        fields.expect("specs have text keys and no fallible serializer")
    }
}

impl Compared for VswitchSpec {
    fn in_full(&self) -> Value {
        let fields = serde_json::to_value(self);
        let mut fields = fields.expect("specs have text keys and no fallible serializer");
        fields["teaming"] = self.teaming.in_full();
        fields["shaping"] = self.shaping.in_full();
        fields["macLearning"] = self.mac_learning.in_full();
        fields["bpduFilter"] = self.bpdu_filter.to_string().into();
        fields["netflow"] = self.netflow.to_string().into();
        fields
    }
}

/// The fields in which two specs differ, in the order of their names.
pub(crate) fn differing<S: Compared>(before: &S, after: &S) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", &before.in_full(), &after.in_full(), &mut changes);
    changes
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let empty = serde_json::Map::new();
    let (left, right) = match (before, after) {
        _ if WHOLE.contains(&path) => {
            return changes.push(FieldChange {
                field: path.to_owned(),
                before: before.clone(),
                after: after.clone(),
            });
        }
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
    use crate::spec::{Inheritable, LinkSetting, PortSpec, PortgroupSpec};

    #[test]
    fn a_leaf_that_was_inherited_shows_as_one_field() {
        let before = PortgroupSpec::new("Lab".parse().unwrap(), "vSwitch1".parse().unwrap());
        let mut after = before.clone();
        after.security.promiscuous = Inheritable::Accept;
        let changes = differing(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!(
            changes[0].to_string(),
            "security.promiscuous inherit -> accept"
        );
        assert!(differing(&before, &before).is_empty());
    }

    #[test]
    fn what_is_not_set_shows_as_the_command_line_says_it() {
        let name = |text: &str| text.parse().unwrap();
        let before = PortSpec::veth(name("MyVM1"), "Lab".parse().unwrap(), "p".parse().unwrap());
        let mut after = before.clone();
        after.mac = Some("02:00:00:00:00:01".parse().unwrap());
        after.link = LinkSetting::Down;
        after.block = true;
        let shown = |one, other| -> Vec<String> {
            let changes: Vec<FieldChange> = differing(one, other);
            changes.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            shown(&before, &after),
            [
                "block no -> yes",
                "link up -> down",
                "mac none -> 02:00:00:00:00:01"
            ]
        );
        assert_eq!(
            shown(&after, &before),
            [
                "block yes -> no",
                "link down -> up",
                "mac 02:00:00:00:00:01 -> none"
            ]
        );
    }
}
