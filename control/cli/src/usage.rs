//! Command lines that do not parse.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use weft_model::nearest;

/// What weft is to have and has not yet. Somebody who asks for one of these did not mean another one.
const NOT_YET: &[&str] = &[
    "capture",
    "cert",
    "context",
    "controller",
    "dvportgroup",
    "dvs",
    "host",
    "migrate",
    "mirror",
];

/// So many settings are not listed in an error.
const MANY: usize = 8;

/// Flags of which the same holds.
const FLAGS_NOT_YET: [&str; 2] = ["--context", "--join"];

/// What other systems call our nouns.
const NOUNS: [(&str, &[&str]); 11] = [
    (
        "vswitch",
        &[
            "switch",
            "switches",
            "vswitches",
            "vss",
            "bridge",
            "bridges",
            "br",
        ],
    ),
    (
        "portgroup",
        &["pg", "pgs", "portgroups", "port-group", "network"],
    ),
    (
        "port",
        &["ports", "vm", "vms", "vnic", "nic", "interface", "iface"],
    ),
    ("uplink", &["uplinks", "vmnic", "vmnics", "pnic", "pnics"]),
    ("vmk", &["vmks", "vmknic", "vmkernel"]),
    ("fdb", &["mac", "macs", "mac-table", "bridge-table"]),
    ("stats", &["counters", "statistics"]),
    ("policy", &["policies", "security"]),
    (
        "netflow",
        &["ipfix", "sflow", "collector", "collectors", "exporter"],
    ),
    ("flows", &["flow", "conversations"]),
    ("lab", &["labs"]),
];

/// What somebody wants who asks for a command that weft has under no such name.
const TASKS: [(&str, &[&str]); 5] = [
    (
        "use 'weft apply -f FILE' for a manifest, and 'weft agent --config FILE' for the agent's own settings",
        &["config", "configure", "configuration"],
    ),
    ("use 'weft apply -f FILE'", &["import", "load"]),
    ("use 'weft portgroup set NAME --vlan N'", &["vlan", "vlans"]),
    ("use 'weft rollback'", &["undo", "revert"]),
    (
        "use 'weft events'; the log of the agent is in 'journalctl -u weft-agent', or where it was started",
        &["log", "logs", "journal"],
    ),
];

/// And our verbs.
const VERBS: [(&str, &[&str]); 5] = [
    ("list", &["ls", "l"]),
    ("show", &["get", "info", "describe", "view"]),
    ("add", &["create", "new", "insert", "attach"]),
    ("set", &["edit", "update", "modify", "change"]),
    ("del", &["delete", "rm", "remove", "destroy", "detach"]),
];

/// And our flags.
const FLAGS: [(&str, &[&str]); 17] = [
    ("--portgroup", &["--pg", "--port-group", "--network"]),
    ("--vswitch", &["--switch", "--vswitch-name", "--bridge"]),
    (
        "--veth",
        &["--interface", "--dev", "--device", "--nic", "--vnic"],
    ),
    ("--vhost-user", &["--vhost", "--vhostuser"]),
    ("--vlan", &["--vlan-id", "--vid", "--tag"]),
    ("--uplink", &["--vmnic", "--pnic"]),
    ("--mac", &["--mac-address", "--address"]),
    ("--promiscuous", &["--promisc", "--allow-promiscuous"]),
    (
        "--teaming",
        &["--load-balancing", "--policy", "--failover-policy"],
    ),
    (
        "--active",
        &["--active-uplinks", "--active-nics", "--active-timeout"],
    ),
    ("--idle", &["--idle-timeout", "--inactive-timeout"]),
    ("--collector", &["--collectors", "--target", "--targets"]),
    ("--sampling", &["--sampling-rate", "--sample"]),
    (
        "--domain",
        &["--observation-domain", "--domain-id", "--obs-domain-id"],
    ),
    ("--standby", &["--standby-uplinks", "--standby-nics"]),
    ("--notify", &["--notify-switches"]),
    ("-o", &["--json", "--yaml", "--format"]),
];

/// Settings that objects have for life, which no 'set' takes: of which command, the flags, and what to do.
const FOR_LIFE: [(&str, &[&str], &str); 2] = [
    (
        "weft portgroup set ",
        &["--vswitch"],
        "a port group belongs to its switch for life; delete it and add it to the other one, or have 'weft apply' do so",
    ),
    (
        "weft port set ",
        &["--veth", "--vhost-user", "--tap", "--engine", "--role"],
        "what a port is attached to stays; delete the port and add it again, or have 'weft apply' do so",
    ),
];

/// Our word for this one.
fn ours(word: &str, words: &[(&'static str, &'static [&'static str])]) -> Option<&'static str> {
    let known = words
        .iter()
        .find(|(_, theirs)| theirs.contains(&word.to_lowercase().as_str()));
    known.map(|(ours, _)| *ours)
}

/// The error with the word that was most likely meant, and without guesses that lead astray: commands that are not supported
/// yet say so, and a flag that does not exist is no value.
pub(crate) fn explained(mut error: clap::Error, command: &Command) -> clap::Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let asked = error.get(ContextKind::InvalidSubcommand);
            if let Some(ContextValue::String(asked)) = asked
                && let Some(tip) = subcommand_tip(asked, &error, command)
            {
                error.remove(ContextKind::SuggestedSubcommand);
                advise(&mut error, tip);
            }
        }
        ErrorKind::UnknownArgument => {
            error.remove(ContextKind::Suggested);
            if let Some(ContextValue::String(asked)) = error.get(ContextKind::InvalidArg)
                && let Some(tip) = argument_tip(asked, &error)
            {
                error.remove(ContextKind::SuggestedArg);
                advise(&mut error, tip);
            }
        }
        ErrorKind::ValueValidation => {
            if let Some(ContextValue::String(asked)) = error.get(ContextKind::InvalidValue)
                && let Some(near) = nearest_choice(asked, &error.to_string())
            {
                advise(&mut error, format!("did you mean '{near}'?"));
            }
        }
        ErrorKind::MissingRequiredArgument => {
            // What a port is attached to, or the settings that a 'set' takes, as one group.
            if let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg)
                && let Some(group) = missing
                    .iter()
                    .find(|one| one.starts_with("<--") && one.contains('|'))
            {
                let tip = if group.starts_with("<--veth") {
                    "say what to attach: one of --veth, --vhost-user and --tap"
                } else if group.matches("|--").count() < MANY {
                    "say what to change: at least one of these"
                } else {
                    let settings = ContextValue::Strings(vec!["<SETTINGS>...".to_owned()]);
                    error.insert(ContextKind::InvalidArg, settings);
                    "say what to change: at least one of the settings that '--help' lists"
                };
                advise(&mut error, tip.to_owned());
            }
        }
        _ => {}
    }
    error
}

/// What to say of an argument that does not exist; `None` leaves it to clap, which knows similar ones.
fn argument_tip(asked: &str, error: &clap::Error) -> Option<String> {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let is_of = |command: &str| usage.as_ref().is_some_and(|usage| usage.contains(command));
    if !asked.starts_with('-') {
        let takes_file = is_of("weft apply ") || is_of("weft diff ");
        return takes_file.then(|| format!("name the manifest with '-f {asked}'"));
    }
    let asked = asked.split('=').next().unwrap_or_default();
    if FLAGS_NOT_YET.contains(&asked) {
        return Some(format!(
            "'{asked}' is not supported yet; '--help' lists what is"
        ));
    }
    let ours = ours(asked, &FLAGS);
    let flag = ours.unwrap_or(asked);
    let for_life = FOR_LIFE
        .iter()
        .find(|(command, flags, _)| is_of(command) && flags.contains(&flag));
    if let Some((_, _, tip)) = for_life {
        return Some((*tip).to_owned());
    }
    let format = asked.trim_start_matches('-');
    match ours? {
        "-o" if asked != "--format" => Some(format!("for {format} use '-o {format}'")),
        flag => Some(format!("weft calls it '{flag}'")),
    }
}

/// What to say of a command that does not exist; `None` leaves it to clap, which knows similar ones.
fn subcommand_tip(asked: &str, error: &clap::Error, command: &Command) -> Option<String> {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    // The noun that it was asked of, if any, stands in the line of usage.
    let noun = command.get_subcommands().find(|noun| {
        let start = format!("weft {} ", noun.get_name());
        usage.as_ref().is_some_and(|usage| usage.contains(&start))
    });
    let nearest_of = |command: &Command| {
        let names = command.get_subcommands();
        let names = names.filter(|known| !known.is_hide_set());
        let near = nearest(asked, names.map(Command::get_name))?.to_owned();
        Some(format!("did you mean '{near}'?"))
    };
    let Some(noun) = noun else {
        if NOT_YET.contains(&asked) {
            return Some(format!(
                "'{asked}' is not supported yet; 'weft help' lists what is"
            ));
        }
        if let Some(tip) = ours(asked, &TASKS) {
            return Some(tip.to_owned());
        }
        let ours = ours(asked, &NOUNS);
        return ours
            .map(|noun| format!("weft calls it '{noun}': see 'weft {noun} --help'"))
            .or_else(|| nearest_of(command));
    };
    let is_known = |verb: &&str| {
        let mut verbs = noun.get_subcommands();
        verbs.any(|known| known.get_name() == *verb)
    };
    // What a 'set' makes has no 'add'.
    let verb = match ours(asked, &VERBS).unwrap_or(asked) {
        "add" if !is_known(&"add") => Some("set"),
        _ => ours(asked, &VERBS),
    };
    verb.filter(is_known)
        .map(|verb| format!("use 'weft {} {verb}'", noun.get_name()))
        .or_else(|| nearest_of(noun))
}

/// The word nearest to one that is none of the choices which an error lists.
fn nearest_choice(asked: &str, text: &str) -> Option<String> {
    let (_, choices) = text.split_once("is not one of: ")?;
    let choices = choices.lines().next()?.split(", ");
    nearest(asked, choices).map(str::to_owned)
}

fn advise(error: &mut clap::Error, tip: String) {
    error.insert(
        ContextKind::Suggested,
        ContextValue::StyledStrs(vec![tip.into()]),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (String, i32) {
        let words = std::iter::once("weft").chain(line.split(' '));
        let error = crate::parse(words.map(Into::into)).err();
        let error = error.unwrap_or_else(|| panic!("{line} parses"));
        (error.to_string(), error.exit_code())
    }

    #[test]
    fn what_is_not_supported_yet_says_so() {
        for name in NOT_YET {
            let (text, code) = said(name);
            assert_eq!(code, 2, "{text}");
            assert!(
                text.contains(&format!("'{name}' is not supported yet")),
                "{text}"
            );
            assert!(!text.contains("similar"), "{text}");
        }
        assert!(said("portgruop list").0.contains("'portgroup'"));
    }

    #[test]
    fn a_port_is_attached_to_one_thing() {
        let added = |flags: &str| said(&format!("port add A --portgroup Lab{flags}"));
        let (text, code) = added("");
        assert_eq!(code, 2);
        assert!(text.contains("say what to attach: one of --veth"), "{text}");
        for flags in [
            " --veth p --tap t",
            " --tap t --vhost-user /s",
            " --tap t --engine packet",
            " --veth p --role server",
            " --veth p --engine fast",
            " --vhost-user s",
            " --vhost-user /s --role both",
            " --tap averylongdevicename",
        ] {
            let (text, code) = added(flags);
            assert_eq!(code, 2, "{flags}: {text}");
        }
        let (text, _) = added(" --vhost-user s");
        assert!(text.contains("is not absolute"), "{text}");
    }

    #[test]
    fn setting_nothing_says_what_is_missing() {
        let (text, code) = said("port set MyVM1");
        assert_eq!(code, 2);
        assert!(text.contains("say what to change"), "{text}");
        assert!(text.contains("--block"), "{text}");
        let (text, code) = said("portgroup set Lab");
        assert_eq!(code, 2);
        assert!(text.contains("say what to change"), "{text}");
        assert!(!text.contains("--teaming"), "{text}");
        let (text, _) = said("port add MyVM1");
        assert!(!text.contains("say what to change"), "{text}");
    }

    #[test]
    fn values_of_policies_say_what_is_expected() {
        for (flags, expected) in [
            (
                "--teaming rr",
                "not one of: srcid, srcmac, iphash, explicit, lbt",
            ),
            (
                "--active ,",
                "name uplinks with commas between them, or none, or all",
            ),
            (
                "--standby a/b",
                "name uplinks with commas between them, or none",
            ),
            ("--failback true", "is not one of: yes, no"),
            (
                "--up-delay 31m",
                "31m is out of range; use 0ms-30m, such as 60s",
            ),
            ("--up-delay 100", "a whole number and one of ms, s, m, h"),
            ("--lbt-period 0s", "use 1s-10m"),
            ("--lbt-threshold 101", "101 is out of range; use 1-100"),
            (
                "--lbt-threshold most",
                "\"most\" is not a whole number; use 1-100",
            ),
            (
                "--shape-in 100mbit",
                "use avg=RATE,peak=RATE,burst=SIZE, of which avg is needed",
            ),
            ("--shape-in peak=1mbit", "avg is missing"),
            ("--shape-in avg=1mbit,avg=2mbit", "\"avg\" stands twice"),
            ("--shape-in avg=1mbit,rate=2mbit", "\"rate\" is unknown"),
            ("--shape-out avg=1", "avg: \"1\" is not a rate"),
            (
                "--shape-out avg=2mbit,peak=1mbit",
                "the peak 1mbit is below the average 2mbit",
            ),
            (
                "--shape-out avg=2mbit,burst=1KiB",
                "burst: 1KiB is out of range; use 1500B-1GiB",
            ),
            ("--mac-learning yes", "is not one of: enabled, disabled"),
            ("--learning-limit 4097", "4097 is out of range; use 1-4096"),
            ("--learning-beyond reject", "is not one of: allow, drop"),
            ("--learning-age 2h", "use 1s-1h"),
            ("--bpdu-filter on", "is not one of: enabled, disabled"),
            ("--netflow on", "is not one of: enabled, disabled"),
        ] {
            for (noun, inherit) in [("vswitch", false), ("portgroup", true)] {
                let (text, code) = said(&format!("{noun} set a {flags}"));
                assert_eq!(code, 2, "{flags}: {text}");
                assert!(text.contains(expected), "{flags}: {text}");
                let (_, problem) = text.split_once(">': ").unwrap();
                let (problem, _) = problem.split_once('\n').unwrap();
                assert_eq!(problem.ends_with("inherit"), inherit, "{flags}: {text}");
            }
        }
    }

    #[test]
    fn a_flag_that_does_not_exist_is_no_value() {
        let (text, code) = said("agent --join here");
        assert_eq!(code, 2);
        assert!(!text.contains("as a value"), "{text}");
        assert!(text.contains("'--join' is not supported yet"), "{text}");
        assert!(said("portgroup set Lab --vlam 10").0.contains("'--vlan'"));
    }

    #[test]
    fn a_version_is_of_an_object_that_exists() {
        for line in [
            "vswitch add a",
            "portgroup add a --vswitch b",
            "port add a --portgroup b --veth c",
            "apply -f a.yaml",
            "rollback",
            "confirm",
        ] {
            let (text, code) = said(&format!("{line} --if-version 3"));
            assert_eq!(code, 2, "{line}: {text}");
            assert!(text.contains("'--if-version'"), "{line}: {text}");
        }
        for line in [
            "vswitch set a --mtu 9000",
            "vswitch del a",
            "portgroup set a --vlan 3",
            "portgroup del a",
            "port set a --block yes",
            "port del a",
            "uplink add a b",
            "uplink del a b",
        ] {
            let words = format!("weft {line} --if-version 3");
            if let Err(error) = crate::parse(words.split(' ').map(Into::into)) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn words_of_other_systems_lead_to_ours() {
        for (line, tip) in [
            ("ports", "weft calls it 'port'"),
            ("vmnic list", "weft calls it 'uplink'"),
            ("pg list", "weft calls it 'portgroup'"),
            ("switch add a", "weft calls it 'vswitch'"),
            ("port create a", "use 'weft port add'"),
            ("portgroup rm a", "use 'weft portgroup del'"),
            ("uplink remove a b", "use 'weft uplink del'"),
            ("vswitch ls", "use 'weft vswitch list'"),
            ("port add a --pg Lab", "weft calls it '--portgroup'"),
            ("portgroup set a --vlan-id 5", "weft calls it '--vlan'"),
            (
                "portgroup set a --load-balancing iphash",
                "weft calls it '--teaming'",
            ),
            (
                "vswitch set a --active-uplinks=eth1",
                "weft calls it '--active'",
            ),
            ("status --json", "for json use '-o json'"),
            ("port add a --portgroup b --nic=x", "weft calls it '--veth'"),
            ("config show", "use 'weft apply -f FILE' for a manifest"),
            ("config", "'weft agent --config FILE'"),
            ("import base.yaml", "use 'weft apply -f FILE'"),
            ("vlan list", "use 'weft portgroup set NAME --vlan N'"),
            ("undo", "use 'weft rollback'"),
            ("ipfix list", "weft calls it 'netflow'"),
            ("netflow add S", "use 'weft netflow set'"),
            ("netflow rm S", "use 'weft netflow del'"),
            ("flow", "weft calls it 'flows'"),
            (
                "netflow set S --active-timeout 60s",
                "weft calls it '--active'",
            ),
            (
                "netflow set S --target 10.8.0.9:1",
                "weft calls it '--collector'",
            ),
            ("log", "use 'weft events'"),
            ("logs", "use 'weft events'"),
            ("portgroup set a --vswitch b", "to its switch for life"),
            ("portgroup set a --switch=b", "to its switch for life"),
            ("port set a --veth b", "delete the port and add it again"),
            ("port set a --tap=b", "delete the port and add it again"),
            ("apply base.yaml", "with '-f base.yaml'"),
            ("diff base.yaml", "with '-f base.yaml'"),
        ] {
            let (text, code) = said(line);
            assert_eq!(code, 2, "{line}: {text}");
            assert!(text.contains(tip), "{line}: {text}");
            assert!(!text.contains("similar"), "{line}: {text}");
        }
    }

    #[test]
    fn misspelt_words_are_answered_with_the_nearest() {
        for (line, tip) in [
            ("stauts", "'status'"),
            ("tpo", "'top'"),
            ("portgruop list", "'portgroup'"),
            ("port lsit", "'list'"),
            ("port shwo a", "'show'"),
            ("fdb lit", "'list'"),
            ("policy sow a", "'show'"),
            ("lab exce a -- b", "'exec'"),
            ("lab donw", "'down'"),
            ("port set a --blokc yes", "'--block'"),
            ("vswitch add a --promiscous accept", "'--promiscuous'"),
            ("top --dealy 1", "'--delay'"),
            ("status -o jsno", "'json'"),
            ("completion bsah", "'bash'"),
            (
                "vswitch set a --promiscuous acept",
                "did you mean 'accept'?",
            ),
            (
                "portgroup set a --promiscuous inherti",
                "did you mean 'inherit'?",
            ),
            ("port set a --link dwon", "did you mean 'down'?"),
            ("vswitch set a --teaming srcip", "did you mean 'srcid'?"),
            (
                "portgroup set a --failback inherti",
                "did you mean 'inherit'?",
            ),
            (
                "portgroup set a --bpdu-filter enable",
                "did you mean 'enabled'?",
            ),
            ("vswitch set a --mac-learing enabled", "'--mac-learning'"),
            ("port set a --block yse", "did you mean 'yes'?"),
            (
                "port add a --portgroup b --veth c --engine pakcet",
                "did you mean 'packet'?",
            ),
            ("agent --poll adaptve", "did you mean 'adaptive'?"),
            ("port del a --wait noen", "'none'"),
        ] {
            let (text, code) = said(line);
            assert_eq!(code, 2, "{line}: {text}");
            assert!(text.contains(tip), "{line}: {text}");
        }
    }
}
