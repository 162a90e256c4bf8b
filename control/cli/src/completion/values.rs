//! What values may be: the names of objects that exist, interfaces, files, and words.
//!
//! Which is meant follows from how the command line calls a value, so that commands need not say it again.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::{Arg, Command, ValueHint};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use weft_api::{Client, Generation, Problem};
use weft_model::{Attachment, Manifest, VswitchSection};

/// An agent that takes longer has other cares, and somebody waits in the middle of a line.
const PATIENCE: Duration = Duration::from_millis(200);

/// What stands for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Ports,
    /// The host's own interfaces.
    Vmks,
    /// Ports, and uplinks by their interface.
    PortsAndUplinks,
    Portgroups,
    Vswitches,
    /// Switches whose flows are told to somebody.
    Netflow,
    Uplinks,
    /// Uplinks of the switch that the line is about with commas between them, or one of these words.
    UplinkList(Vec<String>),
    /// Generations that are kept, newest first.
    Generations,
    /// The kernel's interfaces.
    Interfaces,
    Labs,
    /// VMs and hosts of labs.
    LabMembers,
    Words(Vec<String>),
    File,
    Directory,
    /// A command and its arguments.
    Command,
    /// Somebody makes it up.
    Free,
}

/// The line so far, and the configuration of an agent, asked for once and only if it is needed.
#[derive(Clone)]
struct Known {
    words: Arc<Vec<String>>,
    agent: Arc<PathBuf>,
    manifest: Arc<OnceLock<Option<Manifest>>>,
}

/// The command line with candidates for every value.
pub(super) fn with_candidates(command: Command, words: &[String], agent: PathBuf) -> Command {
    let known = Known {
        words: Arc::new(words.to_vec()),
        agent: Arc::new(agent),
        manifest: Arc::default(),
    };
    equipped(command, &Rc::from([]), &known)
}

fn equipped(mut command: Command, path: &Rc<[String]>, known: &Known) -> Command {
    let at = Rc::clone(path);
    command = command.mut_args(|arg| equip(arg, &at, known));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    for name in names {
        let below: Rc<[String]> = path.iter().cloned().chain([name.clone()]).collect();
        command = command.mut_subcommand(name, |command| equipped(command, &below, known));
    }
    command
}

fn equip(arg: Arg, path: &[String], known: &Known) -> Arg {
    if !arg.get_possible_values().is_empty() {
        return arg;
    }
    let source = source(&arg, path);
    match source {
        Source::File => arg.value_hint(ValueHint::FilePath),
        Source::Directory => arg.value_hint(ValueHint::DirPath),
        Source::Command => arg.value_hint(ValueHint::CommandWithArguments),
        Source::Free => arg.value_hint(ValueHint::Other),
        Source::UplinkList(words) => {
            let known = known.clone();
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
                known.lists(&typed.to_string_lossy(), &words)
            }))
        }
        source => {
            let known = known.clone();
            arg.add(ArgValueCandidates::new(move || known.candidates(&source)))
        }
    }
}

/// What a value of an argument is, by what help calls it and by the command that takes it.
fn source(arg: &Arg, path: &[String]) -> Source {
    let words =
        |words: &[&str]| Source::Words(words.iter().map(|word| (*word).to_owned()).collect());
    let shown = arg.get_value_names().and_then(|names| names.first());
    let shown = shown.map_or_else(
        || arg.get_id().as_str().to_uppercase(),
        |name| name.as_str().to_owned(),
    );
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (path.as_slice(), shown.as_str()) {
        ([noun, "show" | "set" | "del"], "NAME") => match *noun {
            "port" => Source::Ports,
            "vmk" => Source::Vmks,
            "portgroup" => Source::Portgroups,
            "vswitch" => Source::Vswitches,
            _ => Source::Free,
        },
        (["uplink", "show" | "del"], "DEV" | "INTERFACE") => Source::Uplinks,
        (["lab", "down"], "LAB") => Source::Labs,
        (["lab", "exec"], "NAME") => Source::LabMembers,
        (["rollback" | "export"], "N") => Source::Generations,
        (["stats" | "trace" | "flows"], "PORT") => Source::PortsAndUplinks,
        (["netflow", "show" | "del"], "SWITCH") => Source::Netflow,
        (_, "PORT") => Source::Ports,
        (_, "PG" | "PORTGROUP") => Source::Portgroups,
        (_, "SWITCH" | "VSWITCH") => Source::Vswitches,
        (_, "DEV" | "INTERFACE") => Source::Interfaces,
        (_, "FILE" | "PATH" | "SOCKET") => Source::File,
        (_, "DIR") => Source::Directory,
        (_, "CMD") => Source::Command,
        (["vswitch", _], "P") => words(&["accept", "reject"]),
        (_, "P") => words(&["accept", "reject", "inherit"]),
        (_, "ENGINE") => words(&["af-xdp", "packet"]),
        (_, "ROLE") => words(&["client", "server"]),
        (["agent"], "HOW") => words(&["adaptive", "busy"]),
        // A choice that is written out, as in up|down.
        (_, choice) if choice.contains('|') => {
            let is_of_word = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
            let is_word = |word: &&str| word.chars().all(is_of_word);
            let words = choice
                .split('|')
                .filter(is_word)
                .map(str::to_owned)
                .collect();
            if choice.starts_with("DEV,") {
                Source::UplinkList(words)
            } else {
                Source::Words(words)
            }
        }
        _ => Source::Free,
    }
}

impl Known {
    fn candidates(&self, source: &Source) -> Vec<CompletionCandidate> {
        let names: Vec<(String, String)> = match source {
            Source::Interfaces => interfaces(),
            Source::Labs => labs(|lab| vec![(lab.name.clone(), "lab".to_owned())]),
            Source::LabMembers => labs(|lab| {
                let members = lab.members.iter();
                members
                    .map(|member| {
                        (
                            member.name.clone(),
                            format!("{} of {}", member.kind, lab.name),
                        )
                    })
                    .collect()
            }),
            Source::Generations => {
                let history = ask(&self.agent, Client::history);
                generations(history.unwrap_or_default())
            }
            Source::Words(words) => words
                .iter()
                .map(|word| (word.clone(), String::new()))
                .collect(),
            Source::Ports
            | Source::Vmks
            | Source::PortsAndUplinks
            | Source::Portgroups
            | Source::Vswitches
            | Source::Netflow
            | Source::Uplinks => self.objects(source),
            Source::File
            | Source::Directory
            | Source::Command
            | Source::UplinkList(_)
            | Source::Free => Vec::new(),
        };
        let candidate = |(position, (name, help)): (usize, (String, String))| {
            let help = Some(help).filter(|help| !help.is_empty());
            CompletionCandidate::new(name)
                .help(help.map(Into::into))
                .display_order(Some(position))
        };
        names.into_iter().enumerate().map(candidate).collect()
    }

    /// What a list of uplinks may be that begins as somebody typed it.
    fn lists(&self, typed: &str, words: &[String]) -> Vec<CompletionCandidate> {
        let (before, _) = typed.rsplit_once(',').unwrap_or_default();
        let named: Vec<&str> = before.split(',').collect();
        let is_other = |(uplink, _): &(String, String)| !named.contains(&uplink.as_str());
        let uplinks = self.uplinks_of_the_line().into_iter().filter(is_other);
        let lists = uplinks.map(|(uplink, help)| {
            let list = if before.is_empty() {
                uplink
            } else {
                format!("{before},{uplink}")
            };
            CompletionCandidate::new(list).help(Some(help.into()))
        });
        let words = words.iter().filter(|_| before.is_empty());
        let words = words.map(CompletionCandidate::new);
        let all = lists.chain(words).enumerate();
        all.filter(|(_, candidate)| candidate.get_value().to_string_lossy().starts_with(typed))
            .map(|(position, candidate)| candidate.display_order(Some(position)))
            .collect()
    }

    /// Uplinks of the switches that the line names, itself or by a port group; of all if it names none.
    fn uplinks_of_the_line(&self) -> Vec<(String, String)> {
        let Some(manifest) = self.manifest() else {
            return Vec::new();
        };
        let says = |name: &str| self.words.iter().any(|word| word == name);
        let switches = || manifest.vswitches.iter().flatten();
        let named = |switch: &&VswitchSection| {
            let mut groups = switch.portgroups.iter();
            says(switch.name.as_str()) || groups.any(|group| says(group.name.as_str()))
        };
        let mut meant: Vec<_> = switches().filter(named).collect();
        if meant.is_empty() {
            meant = switches().collect();
        }
        meant.into_iter().flat_map(uplinks).collect()
    }

    fn manifest(&self) -> Option<&Manifest> {
        let manifest = self
            .manifest
            .get_or_init(|| ask(&self.agent, Client::export));
        manifest.as_ref()
    }

    /// Names of objects, and a word about each.
    fn objects(&self, source: &Source) -> Vec<(String, String)> {
        let Some(manifest) = self.manifest() else {
            return Vec::new();
        };
        let uplinks = || manifest.vswitches.iter().flatten().flat_map(uplinks);
        let ports = || {
            manifest.ports.iter().flatten().map(|port| {
                let on = match &port.attachment {
                    Attachment::VhostUser(_) => "a VM".to_owned(),
                    attachment => attachment.to_string(),
                };
                (port.name.to_string(), format!("{} on {on}", port.portgroup))
            })
        };
        let vmks = || {
            manifest.vmks().iter().map(|vmk| {
                let ip = vmk.ip.map(|ip| format!(" with {ip}")).unwrap_or_default();
                (vmk.name.to_string(), format!("{}{ip}", vmk.portgroup))
            })
        };
        let ports = || ports().chain(vmks());
        match source {
            Source::Ports => ports().collect(),
            Source::Vmks => vmks().collect(),
            Source::PortsAndUplinks => ports().chain(uplinks()).collect(),
            Source::Uplinks => uplinks().collect(),
            Source::Vswitches => manifest
                .vswitches
                .iter()
                .flatten()
                .map(|switch| (switch.name.to_string(), "switch".to_owned()))
                .collect(),
            Source::Netflow => manifest
                .netflow()
                .iter()
                .map(|netflow| {
                    let told = format!("{} to {}", netflow.version, netflow.collectors);
                    (netflow.vswitch.to_string(), told)
                })
                .collect(),
            Source::Portgroups => manifest
                .vswitches
                .iter()
                .flatten()
                .flat_map(|switch| {
                    let groups = switch.portgroups.iter();
                    groups.map(|group| {
                        let of = format!("VLAN {} of {}", group.vlan, switch.name);
                        (group.name.to_string(), of)
                    })
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The uplinks of a switch, and a word about each.
fn uplinks(switch: &VswitchSection) -> impl Iterator<Item = (String, String)> {
    let of = format!("uplink of {}", switch.name);
    let uplinks = switch.uplinks.iter();
    uplinks.map(move |uplink| (uplink.to_string(), of.clone()))
}

/// What an agent answers; nothing if it does not at once.
fn ask<T>(agent: &Path, question: impl AsyncFnOnce(&Client) -> Result<T, Problem>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let client = Client::new(agent).with_timeout(PATIENCE);
    runtime.block_on(question(&client)).ok()
}

/// The numbers of generations that can be read, and what each changed.
fn generations(history: Vec<Generation>) -> Vec<(String, String)> {
    let readable = history
        .into_iter()
        .filter(|generation| generation.problem.is_none());
    readable
        .map(|generation| {
            let what = generation.change.unwrap_or_default();
            // One line of a list.
            let what = what.chars().take(80).collect();
            (generation.generation.to_string(), what)
        })
        .collect()
}

fn interfaces() -> Vec<(String, String)> {
    let entries = std::fs::read_dir("/sys/class/net");
    let mut names: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let state = std::fs::read_to_string(entry.path().join("operstate")).ok()?;
            Some((name, state.trim().to_owned()))
        })
        .filter(|(name, _)| name != "lo")
        .collect();
    names.sort();
    names
}

fn labs(of: impl Fn(&weft_lab::LabReport) -> Vec<(String, String)>) -> Vec<(String, String)> {
    let labs = weft_lab::list().unwrap_or_default();
    labs.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value of every command, as `COMMAND VALUE`, and what stands for it.
    fn sources(command: &Command, path: &[String], found: &mut Vec<(String, Source)>) {
        for arg in command.get_arguments() {
            if arg.get_action().takes_values() && arg.get_possible_values().is_empty() {
                let name = format!("{} {}", path.join(" "), arg.get_id());
                found.push((name, source(arg, path)));
            }
        }
        for command in command.get_subcommands() {
            let below = [path, &[command.get_name().to_owned()]].concat();
            sources(command, &below, found);
        }
    }

    #[test]
    fn values_are_what_help_calls_them() {
        let mut found = Vec::new();
        sources(&crate::command(), &[], &mut found);
        let of = |name: &str| {
            let found = found.iter().find(|(known, _)| known == name);
            &found
                .unwrap_or_else(|| panic!("{name} is no value: {found:?}"))
                .1
        };
        for (name, source) in [
            (" agent", Source::File),
            ("port set name", Source::Ports),
            ("port add name", Source::Free),
            ("vmk set name", Source::Vmks),
            ("vmk add name", Source::Free),
            ("port add portgroup", Source::Portgroups),
            ("port add veth", Source::Interfaces),
            ("port add tap", Source::Interfaces),
            ("port add vhost_user", Source::File),
            ("portgroup del name", Source::Portgroups),
            ("portgroup add vswitch", Source::Vswitches),
            ("vswitch add uplinks", Source::Interfaces),
            ("uplink add vswitch", Source::Vswitches),
            ("uplink add interface", Source::Interfaces),
            ("uplink del interface", Source::Uplinks),
            ("policy show port", Source::Ports),
            ("stats ports", Source::PortsAndUplinks),
            ("lab up file", Source::File),
            ("lab down lab", Source::Labs),
            ("lab exec name", Source::LabMembers),
            ("agent state", Source::Directory),
            ("rollback to", Source::Generations),
            ("export generation", Source::Generations),
            ("vswitch add mtu", Source::Free),
            ("portgroup set name", Source::Portgroups),
            ("netflow set vswitch", Source::Vswitches),
            ("netflow del vswitch", Source::Netflow),
            ("netflow set collectors", Source::Free),
            ("flows port", Source::PortsAndUplinks),
        ] {
            assert_eq!(*of(name), source, "{name}");
        }
        let words = |list: &[&str]| Source::Words(list.iter().map(|word| (*word).into()).collect());
        assert_eq!(*of("port set mac"), words(&["none"]));
        assert_eq!(*of("netflow set version"), words(&["ipfix", "9", "5"]));
        assert_eq!(*of("netflow set domain"), words(&["auto"]));
        assert_eq!(*of("netflow set source_ip"), words(&["none"]));
        assert_eq!(*of("port set block"), words(&["yes", "no"]));
        assert_eq!(*of("agent poll"), words(&["adaptive", "busy"]));
        assert_eq!(
            *of("vswitch set teaming"),
            words(&["srcid", "srcmac", "iphash", "explicit", "lbt"])
        );
        assert_eq!(
            *of("portgroup set failback"),
            words(&["yes", "no", "inherit"])
        );
        assert_eq!(*of("vswitch add shape_in"), words(&["off"]));
        assert_eq!(*of("portgroup set up_delay"), words(&["inherit"]));
        assert_eq!(*of("vswitch set up_delay"), Source::Free);
        let uplinks =
            |list: &[&str]| Source::UplinkList(list.iter().map(|word| (*word).into()).collect());
        assert_eq!(*of("vswitch set active"), uplinks(&["all", "none"]));
        assert_eq!(*of("portgroup set standby"), uplinks(&["none", "inherit"]));
    }

    #[test]
    fn a_list_of_uplinks_is_of_the_switch_that_the_line_names() {
        let manifest = "
vswitches:
  - {name: A, uplinks: [eth1, eth2, wan0], portgroups: [{name: Lab}]}
  - {name: B, uplinks: [eth3]}
";
        let offered = |line: &str, typed: &str| {
            let known = Known {
                words: Arc::new(line.split(' ').map(str::to_owned).collect()),
                agent: Arc::default(),
                manifest: Arc::new(OnceLock::from(Some(Manifest::parse(manifest).unwrap()))),
            };
            let lists = known.lists(typed, &["none".to_owned()]);
            let lists = lists
                .iter()
                .map(|list| list.get_value().to_string_lossy().into_owned());
            lists.collect::<Vec<_>>()
        };
        let set = "weft portgroup set Lab --active";
        assert_eq!(offered(set, ""), ["eth1", "eth2", "wan0", "none"]);
        assert_eq!(offered(set, "eth1,"), ["eth1,eth2", "eth1,wan0"]);
        assert_eq!(offered(set, "eth2,wan0,e"), ["eth2,wan0,eth1"]);
        assert_eq!(offered("weft vswitch set B --active", "e"), ["eth3"]);
        assert_eq!(offered("weft vswitch set C --active", "eth").len(), 3);
    }

    #[test]
    fn generations_that_can_be_read_are_offered_newest_first() {
        let generation = |number, change: &str, problem: Option<&str>| Generation {
            generation: number,
            current: false,
            written_at: None,
            by: None,
            change: Some(change.to_owned()),
            confirm_within_seconds: None,
            problem: problem.map(str::to_owned),
        };
        let history = vec![
            generation(12, "port vm1 created", None),
            generation(11, "", Some("damaged")),
            generation(9, &"x".repeat(200), None),
        ];
        let offered = generations(history);
        assert_eq!(offered[0], ("12".to_owned(), "port vm1 created".to_owned()));
        assert_eq!(offered[1], ("9".to_owned(), "x".repeat(80)));
        assert_eq!(offered.len(), 2);
    }
}
