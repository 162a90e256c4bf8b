//! Teaming, shaping, MAC learning, the BPDU filter and NetFlow as flags, the same for switches and port groups.

use clap::Args;
use weft_model::{
    ActiveUplinks, BeyondLimit, LbtPeriod, LbtThreshold, LearningAge, LearningLimit, LearningPatch,
    PortgroupPatch, Setting, Shaping, ShapingPatch, SwitchLearningPatch, SwitchShapingPatch,
    SwitchTeamingPatch, TeamingPatch, TeamingPolicy, Toggle, UpDelay, Uplinks, VswitchPatch, YesNo,
};

/// What clap calls the flags.
pub(crate) const IDS: [&str; 17] = [
    "teaming",
    "active",
    "standby",
    "failback",
    "notify",
    "up_delay",
    "lbt_period",
    "lbt_threshold",
    "shape_in",
    "shape_out",
    "mac_learning",
    "learning_limit",
    "learning_beyond",
    "learning_flood",
    "learning_age",
    "bpdu_filter",
    "netflow",
];

/// The value of a switch's leaf, which inherits from nobody.
type Plain<T> = T;

/// Defines the flags once: `$value` of what a flag sets, the word that it also takes, and the patch that comes of them.
macro_rules! flags {
    ($name:ident, $value:ident, $or:literal, $patch:ident {$teaming:ident, $shaping:ident, $learning:ident, $enabled:expr}) => {
        #[derive(Args)]
        pub(crate) struct $name {
            /// How an uplink is chosen among those in use
            #[arg(long, value_name = concat!("srcid|srcmac|iphash|explicit|lbt", $or), help_heading = "Teaming")]
            teaming: Option<$value<TeamingPolicy>>,

            /// Uplinks in use while they are usable, in order; such are not standby any more. all: those that are not standby
            #[arg(long, value_name = concat!("DEV,..|all|none", $or), help_heading = "Teaming")]
            active: Option<$value<ActiveUplinks>>,

            /// Uplinks that stand in for active ones, in order; such are not active any more
            #[arg(long, value_name = concat!("DEV,..|none", $or), help_heading = "Teaming")]
            standby: Option<$value<Uplinks>>,

            /// Whether an uplink that recovers displaces its stand-in at once
            #[arg(long, value_name = concat!("yes|no", $or), help_heading = "Teaming")]
            failback: Option<$value<YesNo<true>>>,

            /// Whether switches beyond an uplink are told which addresses are reached through it
            #[arg(long, value_name = concat!("yes|no", $or), help_heading = "Teaming")]
            notify: Option<$value<YesNo<true>>>,

            /// How long a link has to be up before it is used again, 0ms-30m
            #[arg(long, value_name = concat!("TIME", $or), help_heading = "Teaming")]
            up_delay: Option<$value<UpDelay>>,

            /// With lbt: how often loads are compared, 1s-10m
            #[arg(long, value_name = concat!("TIME", $or), help_heading = "Teaming")]
            lbt_period: Option<$value<LbtPeriod>>,

            /// With lbt: the percentage of its speed above which an uplink is overloaded, 1-100
            #[arg(long, value_name = concat!("PERCENT", $or), help_heading = "Teaming")]
            lbt_threshold: Option<$value<LbtThreshold>>,

            /// The limit on what the switch receives from each port; peak and burst may be left out
            #[arg(long, value_name = concat!("avg=R,peak=R,burst=S|off", $or), help_heading = "Shaping")]
            shape_in: Option<$value<Shaping>>,

            /// The limit on what it delivers to each port
            #[arg(long, value_name = concat!("avg=R,peak=R,burst=S|off", $or), help_heading = "Shaping")]
            shape_out: Option<$value<Shaping>>,

            /// Whether a port is also reached under the addresses that it sends from
            #[arg(long, value_name = concat!("enabled|disabled", $or), help_heading = "MAC learning")]
            mac_learning: Option<$value<Toggle>>,

            /// Addresses that may be learned behind one port, 1-4096
            #[arg(long, value_name = concat!("N", $or), help_heading = "MAC learning")]
            learning_limit: Option<$value<LearningLimit>>,

            /// What becomes of frames from addresses beyond the limit
            #[arg(long, value_name = concat!("allow|drop", $or), help_heading = "MAC learning")]
            learning_beyond: Option<$value<BeyondLimit>>,

            /// Whether a port that learns gets unicast frames to addresses that nobody has
            #[arg(long, value_name = concat!("yes|no", $or), help_heading = "MAC learning")]
            learning_flood: Option<$value<YesNo<true>>>,

            /// How long an address stays that sends nothing, 1s-1h
            #[arg(long, value_name = concat!("TIME", $or), help_heading = "MAC learning")]
            learning_age: Option<$value<LearningAge>>,

            /// Whether spanning tree frames that a guest sends are dropped
            #[arg(long, value_name = concat!("enabled|disabled", $or))]
            bpdu_filter: Option<$value<Toggle>>,

            /// Whether flows are counted and told to the collectors of the switch
            #[arg(long, value_name = concat!("enabled|disabled", $or))]
            netflow: Option<$value<Toggle>>,
        }

        impl $name {
            /// What to change.
            pub(crate) fn patch(self) -> $patch {
                $patch {
                    teaming: $teaming {
                        policy: self.teaming,
                        active: self.active,
                        standby: self.standby,
                        failback: self.failback,
                        notify: self.notify,
                        up_delay: self.up_delay,
                        lbt_period: self.lbt_period,
                        lbt_threshold: self.lbt_threshold,
                    },
                    shaping: $shaping {
                        ingress: self.shape_in,
                        egress: self.shape_out,
                    },
                    mac_learning: $learning {
                        enabled: self.mac_learning.map($enabled),
                        limit: self.learning_limit,
                        beyond: self.learning_beyond,
                        flood: self.learning_flood,
                        age: self.learning_age,
                    },
                    bpdu_filter: self.bpdu_filter,
                    netflow: self.netflow,
                    ..$patch::default()
                }
            }
        }
    };
}

flags!(
    SwitchPolicies,
    Plain,
    "",
    VswitchPatch {
        SwitchTeamingPatch,
        SwitchShapingPatch,
        SwitchLearningPatch,
        is_enabled
    }
);
flags!(GroupPolicies, Setting, "|inherit", PortgroupPatch {
    TeamingPatch, ShapingPatch, LearningPatch, |leaf| leaf.map(is_enabled)
});

fn is_enabled(toggle: Toggle) -> YesNo<false> {
    YesNo(toggle == Toggle::Enabled)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory, Parser};
    use weft_model::{Intent, Manifest, PortgroupSpec, VswitchSpec};

    use super::*;

    #[derive(Parser)]
    struct OfSwitch {
        #[command(flatten)]
        policies: SwitchPolicies,
    }

    #[derive(Parser)]
    struct OfGroup {
        #[command(flatten)]
        policies: GroupPolicies,
    }

    /// Every flag with a value that is no default, its leaf, and the leaf's value.
    const FLAGS: [(&str, &str, &str, &str); 17] = [
        ("teaming", "iphash", "teaming.policy", "iphash"),
        ("active", "eth2,eth1", "teaming.active", "eth2,eth1"),
        ("standby", "eth3", "teaming.standby", "eth3"),
        ("failback", "no", "teaming.failback", "no"),
        ("notify", "no", "teaming.notify", "no"),
        ("up-delay", "1000ms", "teaming.upDelay", "1s"),
        ("lbt-period", "1m", "teaming.lbtPeriod", "1m"),
        ("lbt-threshold", "80", "teaming.lbtThreshold", "80"),
        (
            "shape-in",
            "avg=1mbit",
            "shaping.in",
            "avg=1mbit,peak=1mbit,burst=100MiB",
        ),
        (
            "shape-out",
            "avg=100mbit,peak=200mbit,burst=100KiB",
            "shaping.out",
            "avg=100mbit,peak=200mbit,burst=100KiB",
        ),
        ("mac-learning", "enabled", "macLearning.enabled", "yes"),
        ("learning-limit", "16", "macLearning.limit", "16"),
        ("learning-beyond", "drop", "macLearning.beyond", "drop"),
        ("learning-flood", "no", "macLearning.flood", "no"),
        ("learning-age", "60s", "macLearning.age", "1m"),
        ("bpdu-filter", "enabled", "bpduFilter", "enabled"),
        ("netflow", "enabled", "netflow", "enabled"),
    ];

    #[test]
    fn every_flag_sets_its_leaf() {
        let command = OfSwitch::command();
        let ids: Vec<_> = command.get_arguments().map(Arg::get_id).collect();
        assert_eq!(ids, IDS);
        assert_eq!(FLAGS.map(|(flag, ..)| flag.replace('-', "_")), IDS);
        let name = || "A".parse().unwrap();
        for (flag, value, leaf, shown) in FLAGS {
            let words = ["weft".to_owned(), format!("--{flag}={value}")];
            let mut switch = VswitchSpec::new("S".parse().unwrap());
            let flags = OfSwitch::try_parse_from(&words).unwrap();
            flags.policies.patch().apply(&mut switch);
            assert_eq!(switch.leaves(), [(leaf, shown.to_owned())], "{flag}");

            let mut group = PortgroupSpec::new(name(), "S".parse().unwrap());
            let flags = OfGroup::try_parse_from(&words).unwrap();
            flags.policies.patch().apply(&mut group);
            assert_eq!(group.leaves(), [(leaf, shown.to_owned())], "{flag}");

            let inherit = ["weft".to_owned(), format!("--{flag}=inherit")];
            assert!(
                flag == "active"
                    || flag == "standby"
                    || OfSwitch::try_parse_from(&inherit).is_err()
            );
            let flags = OfGroup::try_parse_from(&inherit).unwrap();
            flags.policies.patch().apply(&mut group);
            assert_eq!(group, PortgroupSpec::new(name(), "S".parse().unwrap()));
        }
    }

    /// The row of each flag names its leaf, its default and every word that it takes.
    #[test]
    fn every_flag_has_its_row_in_the_documentation() {
        let page = include_str!("../../../docs/policies.md");
        let manifest = "{vswitches: [{name: S, uplinks: [e], portgroups: [{name: G}]}], ports: [{name: P, portgroup: G, veth: p}]}";
        let changes = Manifest::parse(manifest).unwrap().changes();
        let host = Intent::default().transact(&changes).unwrap().0;
        let defaults = host
            .effective_policy(&"P".parse().unwrap())
            .unwrap()
            .leaves();
        let command = OfSwitch::command();
        for (flag, _, leaf, _) in FLAGS {
            let cell = format!("| `--{flag}` |");
            let row = page.lines().find(|line| line.contains(&cell));
            let row = row.unwrap_or_else(|| panic!("{flag} has no row"));
            assert!(row.contains(&format!("| `{leaf}` |")), "{leaf}: {row}");
            let (_, default) = defaults.iter().find(|(name, _)| *name == leaf).unwrap();
            let default = match (leaf, default.value.as_str()) {
                ("teaming.active", "e") => "all",
                ("macLearning.enabled", "no") => "disabled",
                (_, value) => value,
            };
            let plain = row.replace('`', "");
            assert!(
                plain.contains(&format!("| {default} |")),
                "{default}: {row}"
            );
            let argument = command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(flag));
            let name = &argument.unwrap().get_value_names().unwrap()[0];
            for word in name
                .split('|')
                .filter(|word| !["N", "TIME", "PERCENT"].contains(word))
            {
                assert!(row.contains(&format!("`{word}`")), "{word}: {row}");
            }
        }
    }
}
