//! `weft completion`: what a shell offers behind TAB.
//!
//! A shell hands the line up to the cursor to `weft complete`, and gets what may stand there. The command line itself is
//! walked by clap's engine, so that a new verb is completed as soon as it exists; [`values`] adds the names of objects that
//! exist, and [`line`](mod@line) takes lines apart and quotes names as shells do. The scripts that clap would register quote
//! nothing, and port groups have names with spaces.

mod line;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::engine::complete;

use crate::Context;
use crate::failure::Failure;
use line::{Line, Quote};

/// Print the script that completes weft commands in a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  source <(weft completion bash)                                      in this shell
  weft completion bash > /etc/bash_completion.d/weft
  weft completion zsh > /usr/local/share/zsh/site-functions/_weft
  weft completion fish > ~/.config/fish/completions/weft.fish

Names of ports, port groups, switches and uplinks come from the agent that --agent or WEFT_AGENT on the line names; where none \
answers at once, there are none.")]
pub(crate) struct Arguments {
    /// The shell: bash, zsh or fish
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
    shell: Shell,
}

/// What may stand at the end of a command line
#[derive(Args)]
#[command(after_help = "Examples:\n  weft complete bash 'weft port show '")]
pub(crate) struct Question {
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
    shell: Shell,

    /// The line up to the cursor
    #[arg(value_name = "LINE", allow_hyphen_values = true)]
    line: OsString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// The script that a shell reads.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("completion/weft.bash"),
            Self::Zsh => include_str!("completion/_weft"),
            Self::Fish => include_str!("completion/weft.fish"),
        }
    }
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    context.output.text(arguments.shell.script())
}

/// Answers a shell. Whatever is wrong, it is not told of in the middle of a line that somebody types.
pub(crate) fn answer(question: &Question, context: &Context) -> Result<(), Failure> {
    let Question { shell, line } = question;
    let line = Line::parse(&line.to_string_lossy());
    let text: String = candidates(&line)
        .iter()
        .map(|candidate| candidate.written(*shell, &line) + "\n")
        .collect();
    context.output.text(&text)
}

/// Something that may stand at the end of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    value: String,
    help: String,
}

impl Candidate {
    /// As the shell's script expects it: bash takes the text that replaces what it thinks is the last word, the others do
    /// that themselves, and show the help.
    fn written(&self, shell: Shell, line: &Line) -> String {
        let Self { value, help } = self;
        match shell {
            Shell::Bash => {
                let rest = value.get(line.settled()..).unwrap_or_default();
                match line.quote() {
                    Quote::None => line::escaped(rest),
                    Quote::Single | Quote::Double => rest.to_owned(),
                }
            }
            Shell::Zsh | Shell::Fish => format!("{value}\t{help}"),
        }
    }
}

fn candidates(line: &Line) -> Vec<Candidate> {
    let Some((words, last)) = line.words_of("weft") else {
        return Vec::new();
    };
    let home = std::env::var("HOME").ok();
    // A shell expands the tilde of a word that it runs, and hands it over as it is written.
    let in_home = match (&home, last.strip_prefix("~/")) {
        (Some(home), Some(rest)) => Some(format!("{home}/{rest}")),
        _ => None,
    };
    let asked = in_home.as_deref().unwrap_or(last);
    let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    arguments.push(asked.into());
    let index = arguments.len() - 1;
    let agent = agent_of(line, words);
    let mut command = values::with_candidates(crate::command(), words, agent);
    let here = std::env::current_dir().ok();
    let found = complete(&mut command, arguments, index, here.as_deref()).unwrap_or_default();
    let found = found.iter().filter_map(|candidate| {
        let value = candidate.get_value().to_str()?;
        let value = match (&in_home, &home) {
            (Some(_), Some(home)) => format!("~{}", value.strip_prefix(home.as_str())?),
            _ => value.to_owned(),
        };
        let help = candidate.get_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        // A name with a line break or a tabulator would be two to the script.
        let is_one = !value.contains(['\n', '\t']);
        is_one.then(|| Candidate {
            help: help.lines().next().unwrap_or_default().replace('\t', " "),
            value,
        })
    });
    let mut found: Vec<Candidate> = found.filter(|one| one.value.starts_with(last)).collect();
    // Flags are for those who start one: they would hide the names.
    if !last.starts_with('-') && found.iter().any(|one| !one.value.starts_with('-')) {
        found.retain(|one| !one.value.starts_with('-'));
    }
    found
}

/// The agent that the line names, else that of the environment, else the usual one.
fn agent_of(line: &Line, words: &[String]) -> PathBuf {
    let mut rest = words.iter().take_while(|word| *word != "--");
    let mut named = None;
    while let Some(word) = rest.next() {
        if word == "--agent" {
            named = rest.next().cloned();
        } else if let Some(path) = word.strip_prefix("--agent=") {
            named = Some(path.to_owned());
        }
    }
    named
        .or_else(|| line.assigned("WEFT_AGENT").map(str::to_owned))
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("WEFT_AGENT").map(PathBuf::from))
        .filter(|path| path.as_os_str() != OsStr::new(""))
        .unwrap_or_else(|| Path::new(weft_api::DEFAULT_SOCKET).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(text: &str) -> Vec<String> {
        let found = candidates(&Line::parse(text)).into_iter();
        found.map(|candidate| candidate.value).collect()
    }

    #[test]
    fn commands_flags_and_words_are_offered() {
        assert_eq!(offered("weft portg"), ["portgroup"]);
        assert_eq!(
            offered("weft port "),
            ["list", "show", "add", "set", "del", "help"]
        );
        assert_eq!(offered("weft port set a --li"), ["--link"]);
        assert_eq!(offered("weft port set a --link "), ["up", "down"]);
        assert_eq!(offered("weft port set a --link=d"), ["--link=down"]);
        assert_eq!(
            offered("weft portgroup set a --promiscuous "),
            ["accept", "reject", "inherit"]
        );
        assert_eq!(
            offered("weft vswitch set a --promiscuous "),
            ["accept", "reject"]
        );
        assert_eq!(
            offered("weft -o "),
            ["table", "wide", "json", "yaml"],
            "in their order"
        );
        let mut flags = offered("weft port add ").into_iter();
        assert!(flags.all(|flag| flag.starts_with('-')), "a name to make up");
    }

    #[test]
    fn what_is_no_line_of_weft_has_no_candidates() {
        for text in ["", "   ", "ls ", "weft 'unclosed", "'weft"] {
            let _ = offered(text);
        }
        assert!(offered("ls ").is_empty());
    }

    #[test]
    fn the_agent_is_that_of_the_line() {
        let agent = |text: &str| {
            let line = Line::parse(text);
            let (words, _) = line.words_of("weft").unwrap();
            agent_of(&line, words)
        };
        assert_eq!(agent("weft --agent /a.sock port "), Path::new("/a.sock"));
        assert_eq!(agent("weft port --agent=/b.sock "), Path::new("/b.sock"));
        assert_eq!(
            agent("WEFT_AGENT='/c d.sock' weft port "),
            Path::new("/c d.sock")
        );
        assert_eq!(
            agent("WEFT_AGENT=/c weft lab exec a -- weft --agent /d "),
            Path::new("/c")
        );
    }
}
