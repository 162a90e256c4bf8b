//! Policies: what a switch says, what a port group says otherwise, changes of both, and what is in force.

/// Defines a policy by its leaves, in the five forms that it has. Each type has the default of its leaf.
macro_rules! leaves {
    (
        $(#[$doc:meta])*
        $policy:literal: $switch:ident, $portgroup:ident, $switch_patch:ident, $portgroup_patch:ident, $effective:ident {
            $($(#[$leaf:meta])* $name:ident = $field:literal: $type:ty,)*
        }
    ) => {
        $(#[$doc])*
        ///
        /// Of a switch: what its port groups inherit.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $switch {
            $(
                $(#[$leaf])*
                #[serde(rename = $field, skip_serializing_if = "is_default")]
                pub $name: $type,
            )*
        }

        $(#[$doc])*
        ///
        /// Of a port group: each leaf set or left to its switch.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $portgroup {
            $(
                $(#[$leaf])*
                #[serde(rename = $field, skip_serializing_if = "is_default")]
                pub $name: Setting<$type>,
            )*
        }

        $(#[$doc])*
        ///
        /// What to change of a switch's; what is absent stays.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $switch_patch {
            $(
                $(#[$leaf])*
                #[serde(rename = $field, skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
        }

        $(#[$doc])*
        ///
        /// What to change of a port group's; what is absent stays, and `inherit` gives a leaf back to the switch.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $portgroup_patch {
            $(
                $(#[$leaf])*
                #[serde(rename = $field, skip_serializing_if = "Option::is_none")]
                pub $name: Option<Setting<$type>>,
            )*
        }

        $(#[$doc])*
        ///
        /// In force on a port, each leaf with the object that it comes from.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $effective {
            $(
                $(#[$leaf])*
                #[serde(rename = $field)]
                pub $name: Leaf<$type>,
            )*
        }

        impl $switch {
            /// The leaves that are not as weft has them by default, by the names that they have in manifests.
            pub fn leaves(&self) -> Vec<(&'static str, String)> {
                let leaves = [$((
                    concat!($policy, ".", $field),
                    (!is_default(&self.$name)).then(|| self.$name.to_string()),
                )),*];
                leaves.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            }

            /// Every leaf, defaults included, as in a manifest.
            pub(crate) fn in_full(&self) -> serde_json::Value {
                serde_json::json!({$($field: self.$name),*})
            }
        }

        impl $portgroup {
            /// The leaves that are set, by the names that they have in manifests.
            pub fn leaves(&self) -> Vec<(&'static str, String)> {
                let leaves = [$((
                    concat!($policy, ".", $field),
                    self.$name.own().map(ToString::to_string),
                )),*];
                leaves.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            }
        }

        impl $switch_patch {
            /// Makes the change.
            pub fn apply(&self, policy: &mut $switch) {
                $(if let Some(value) = &self.$name {
                    policy.$name = value.clone();
                })*
            }
        }

        impl $portgroup_patch {
            /// Makes the change.
            pub fn apply(&self, policy: &mut $portgroup) {
                $(if let Some(value) = &self.$name {
                    policy.$name = value.clone();
                })*
            }
        }

        impl $effective {
            /// Leaf by leaf, that of the port group or else that of the switch.
            pub(crate) fn inherited(
                (portgroup, own): (&$portgroup, &ObjectRef),
                (switch, default): (&$switch, &ObjectRef),
            ) -> Self {
                Self {
                    $($name: match portgroup.$name.own() {
                        Some(value) => Leaf { value: value.clone(), from: own.clone() },
                        None => Leaf { value: switch.$name.clone(), from: default.clone() },
                    },)*
                }
            }

            /// Every leaf by the name that it has in manifests, its value as text.
            pub(crate) fn leaves(&self) -> Vec<(&'static str, Leaf<String>)> {
                vec![$((concat!($policy, ".", $field), self.$name.as_text())),*]
            }
        }
    };
}

pub(crate) use leaves;
