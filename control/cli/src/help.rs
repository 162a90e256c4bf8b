//! `weft help`: what there is, by what somebody wants to do, and where to start.

use clap::Command;

/// Below the list of commands: for somebody who has nothing else.
pub(crate) const FIRST_STEPS: &str = "\
Try it on this machine, without hardware and without touching its network:
  weft lab demo                                  promiscuous mode, step by step
  weft lab up examples/mirror.yaml               hosts and VMs to play with
  weft lab exec esxi01 -- weft status

On a host:
  weft agent                                     the switch itself, as root
  weft vswitch add vSwitch1                      a switch; --uplink DEV lets it reach the world
  weft portgroup add Lab --vswitch vSwitch1 --vlan 10
  weft port add MyVM1 --portgroup Lab --veth p-MyVM1
  weft port list                                 what is up, and why something is not

When something does not work:
  weft status                                    what is wrong, and the command to run next
  weft drops                                     why frames are dropped
  weft policy show MyVM1                         what applies to a port, and which object decides
  weft trace --port MyVM1 --dst 02:00:00:00:00:02
                                                 what would happen to a frame, and who decides
  weft events                                    what happened before
  weft top                                       what moves at this moment

For programs:
  weft port list -o json                         every command that shows something, also as YAML
  curl --unix-socket /run/weft/agent.sock http://localhost/v1/openapi.json
                                                 the API of the agent, which tells what it takes
  curl --unix-socket /run/weft/agent.sock http://localhost/metrics
                                                 metrics for Prometheus

'weft COMMAND --help' shows flags and examples, 'weft completion --help' how TAB completes names.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict or already exists, 5 unreachable, 6 partly applied, \
7 timed out, 8 not permitted.";

/// Commands by what they are for. Those that are in none are listed last.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Look",
        &[
            "status", "top", "stats", "drops", "trace", "events", "fdb", "policy", "flows",
            "capture",
        ],
    ),
    (
        "Build and change",
        &[
            "vswitch",
            "portgroup",
            "port",
            "uplink",
            "vmk",
            "mirror",
            "netflow",
        ],
    ),
    (
        "All at once",
        &["apply", "diff", "confirm", "history", "rollback", "export"],
    ),
    ("Run", &["agent", "lab"]),
    ("Help", &["completion", "man", "help"]),
];

/// The same command line, whose help lists commands in groups.
pub(crate) fn in_groups(mut command: Command) -> Command {
    command.build();
    let known: Vec<(String, String)> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| {
            let about = command.get_about().map(ToString::to_string);
            (command.get_name().to_owned(), about.unwrap_or_default())
        })
        .collect();
    let width = known.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let list = |heading: &str, names: &[&str]| {
        let lines: String = names
            .iter()
            .filter_map(|name| known.iter().find(|(known, _)| known == name))
            .map(|(name, about)| format!("  {name:width$}  {about}\n"))
            .collect();
        if lines.is_empty() {
            lines
        } else {
            format!("{heading}:\n{lines}\n")
        }
    };
    let grouped: String = GROUPS
        .iter()
        .map(|(heading, names)| list(heading, names))
        .collect();
    let is_in_a_group = |name: &&str| GROUPS.iter().any(|(_, names)| names.contains(name));
    let others: Vec<&str> = known
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !is_in_a_group(name))
        .collect();
    let others = list("More", &others);
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{grouped}{others}Global options:\n{{options}}{{after-help}}\n"
    ))
}

/// The commands that a help text shows as examples.
#[cfg(test)]
fn examples(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
    lines
        .filter(|line| line.starts_with("weft ") || line.contains("<(weft "))
        .map(|line| {
            // What follows wide space, or goes to another program or a file, is not of the command.
            let line = line.split("  ").next().unwrap_or_default();
            let line = line.split(" > ").next().unwrap_or_default();
            let line = line.split(" | ").next().unwrap_or_default();
            let inner = line
                .split_once("<(")
                .map(|(_, inner)| inner.trim_end_matches(')'));
            inner.unwrap_or(line).trim().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command below this one, with its words.
    fn all(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
        for command in command.get_subcommands() {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string);
            found.push((path.clone(), help.unwrap_or_default()));
            all(command, &path, found);
        }
    }

    fn commands() -> Vec<(String, String)> {
        let mut found = Vec::new();
        all(
            &<crate::Cli as clap::CommandFactory>::command(),
            "weft",
            &mut found,
        );
        found
    }

    #[test]
    fn every_command_has_examples() {
        let without: Vec<_> = commands()
            .into_iter()
            .filter(|(_, help)| !help.starts_with("Examples:\n  "))
            .map(|(path, _)| path)
            .collect();
        assert_eq!(
            without, [""; 0],
            "these have no 'Examples:' below their help"
        );
    }

    #[test]
    fn every_example_is_of_its_command_and_parses() {
        let root = ("weft".to_owned(), FIRST_STEPS.to_owned());
        for (path, help) in commands().into_iter().chain([root]) {
            let examples = examples(&help);
            assert!(!examples.is_empty(), "{path}: no example of weft");
            for example in examples {
                let words = shell_words(&example);
                if let Err(error) = crate::parse(words.iter().map(Into::into)) {
                    panic!("{path}: {example}: {error}");
                }
            }
        }
    }

    /// A line as a shell splits it.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for char in line.chars() {
            match char {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                char => words.last_mut().unwrap().push(char),
            }
        }
        words
    }

    #[test]
    fn help_lists_every_command_once_in_its_group() {
        let help = crate::command().render_help().to_string();
        for (path, _) in commands() {
            let mut words = path.split(' ').skip(1);
            if let (Some(name), None) = (words.next(), words.next()) {
                let lines = help
                    .lines()
                    .filter(|line| line.starts_with(&format!("  {name} ")));
                let hidden = matches!(name, "complete" | "package-files");
                assert_eq!(lines.count(), usize::from(!hidden), "{name}: {help}");
            }
        }
        assert!(help.contains("\nLook:\n"), "{help}");
        assert!(help.contains("--agent <SOCKET>"), "{help}");
        for part in [
            "weft lab demo",
            "weft trace --port",
            "weft events",
            "openapi.json",
            "/metrics",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}
