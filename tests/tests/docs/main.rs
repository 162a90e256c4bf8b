//! Every command that the documents and the examples show works, and prints what they show.
#![forbid(unsafe_code)]

mod presumed;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use presumed::{ENDLESS, IN_A_GUEST, NOT_RUN, ONLINE, OUTPUTS, SETUPS};
use weft_datapath::DropReason;
use weft_tests::{
    Answer, Block, Document, Machine, Step, eventually, matches, normalised, root, weft,
};

/// How long one command may take, in seconds. Debian is installed and boots in one each.
const PATIENCE: &str = "300";

#[test]
fn every_command_of_the_documents_works() {
    let documents = documents();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let followed = documents
            .iter()
            .map(|document| scope.spawn(|| Session::new(&document.name).follow(document)));
        let followed: Vec<_> = followed.collect();
        let ends = followed
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ends.flatten().collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_example_does_what_its_comment_says() {
    for (name, commands) in examples() {
        let shows = |command: &str| commands.iter().any(|step| bare(&step.command) == command);
        let is_lab = shows(&format!("weft lab up {name}"));
        assert!(is_lab || shows(&format!("weft apply -f {name}")), "{name}");
        let mut session = Session::new(&name);
        session.setup("");
        for step in &commands {
            session.step(step);
        }
        let failures = session.failures.join("\n\n");
        assert!(failures.is_empty(), "{failures}");
        if is_lab {
            assert!(shows("weft lab down"), "{name}");
            assert_eq!(session.machine.leftovers(), [""; 0], "{name}");
        }
    }
}

#[test]
fn commands_within_sentences_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    for document in documents() {
        let name = &document.name;
        for span in &document.spans {
            if let Some(target) = span.strip_prefix("make ") {
                let rule = format!("\n{target}: ");
                assert!(makefile.contains(&rule), "{name}: `{span}`");
            }
            if let Some(words) = span.strip_prefix("weft ") {
                exists(words)
                    .unwrap_or_else(|help| panic!("{name}: `{span}` does not exist: {help}"));
            }
        }
    }
}

/// Whether there is such a subcommand with these flags. If not, returns what `weft` says.
fn exists(words: &str) -> Result<(), String> {
    let words = words.split_ascii_whitespace();
    let words = words.map(|word| word.trim_matches(['[', ']']));
    let words: Vec<&str> = words.take_while(|word| *word != "--").collect();
    let lower = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut command = Command::new(weft());
    command.args(words.iter().take_while(lower));
    if words != ["help"] {
        command.arg("--help");
    }
    let help = Answer::of(&mut command);
    let known = |flag: &&str| {
        help.stdout
            .split([' ', ',', '\n'])
            .any(|word| word == *flag)
    };
    let mut flags = words.iter().filter(|word| word.starts_with('-'));
    if help.code == Some(0) && flags.all(known) {
        Ok(())
    } else {
        Err(help.stdout + &help.stderr)
    }
}

#[test]
fn every_drop_reason_has_its_row_in_the_order_of_the_list() {
    let page = fs::read_to_string(root().join("docs/drop-reasons.md")).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let reasons: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(rows, reasons);
}

#[test]
fn all_commands_are_in_blocks_that_are_run() {
    for document in documents() {
        let name = &document.name;
        for line in &document.indented {
            let word = line.split_ascii_whitespace().next().unwrap_or_default();
            let programs = [
                "make", "weft", "ip", "ethtool", "cargo", "curl", "ping", "sysctl", "tcpdump", "#",
                "$",
            ];
            assert!(
                !programs.contains(&word),
                "{name}: fence this command with ```sh: {line}"
            );
        }
        for block in &document.blocks {
            let known = ["sh", "console", "mermaid"].contains(&block.language.as_str());
            let output = OUTPUTS
                .iter()
                .any(|(of, language, _)| name == of && block.language == *language);
            assert!(
                known || output,
                "{name}:{}: who checks a block of {:?}?",
                block.line,
                block.language
            );
        }
    }
}

#[test]
fn the_tables_of_this_test_have_no_entry_too_many() {
    let documents = documents();
    let of_documents = documents.iter().map(|document| {
        let steps = document.blocks.iter().flat_map(Block::steps);
        (document.name.clone(), steps.collect())
    });
    let shown: Vec<(String, Vec<Step>)> = of_documents.chain(examples()).collect();
    let lines = |steps: &[Step], command: &str| {
        let mut lines = steps.iter().flat_map(|step| step.command.lines());
        lines.any(|line| bare(line) == command)
    };
    let entries = NOT_RUN.iter().map(|(name, command, _)| (*name, *command));
    let setups = SETUPS.iter().map(|setup| (setup.document, setup.before));
    for (name, command) in entries.chain(setups) {
        let steps = shown.iter().find(|(document, _)| document == name);
        let (_, steps) = steps.unwrap_or_else(|| panic!("{name} no longer exists"));
        let there = command.is_empty() || lines(steps, command);
        assert!(there, "{name} no longer shows {command:?}");
    }
    for words in ONLINE {
        let mut steps = shown.iter().flat_map(|(_, steps)| steps);
        let there = steps.any(|step| step.command.starts_with(words));
        assert!(there, "{words:?} is no longer shown");
    }
    for command in IN_A_GUEST.iter().chain(ENDLESS) {
        let there = shown.iter().any(|(_, steps)| lines(steps, command));
        assert!(there, "{command:?} is no longer shown");
    }
    for (name, language, _) in OUTPUTS {
        let mut all = documents.iter().filter(|document| document.name == *name);
        let there = all.any(|document| {
            document
                .blocks
                .iter()
                .any(|block| block.language == *language)
        });
        assert!(there, "{name} no longer has a block of {language:?}");
    }
}

#[test]
fn what_stops_working_is_found() {
    let working =
        "```console\n# seq 3\n1\n...\n# echo 2 >&2\n2\n# echo error: 3; exit 3\nerror: 3\n```\n";
    let failures = |text: &str| Session::new("").follow(&Document::parse("made-up.md", text));
    assert_eq!(failures(working), [""; 0]);
    for (shown, broken) in [
        ("seq", "no-such-command"),
        ("exit 3", "exit 0"),
        ("echo 2", "echo 2; exit 1"),
        ("\n1\n", "\n0\n"),
        ("\n2\n", "\n2\n2\n"),
        ("\n2\n", "\n"),
        ("...\n", ""),
        ("\nerror: 3", "\n3"),
    ] {
        let text = working.replacen(shown, broken, 1);
        assert_eq!(failures(&text).len(), 1, "{text}");
    }
    assert_eq!(failures("```sh\nfalse\ntrue\n```\n").len(), 1);
}

/// The documents, from the root of the repository.
fn documents() -> Vec<Document> {
    let mut names = names("docs", &["md"]);
    names.extend(["README.md", "CONTRIBUTING.md"].map(str::to_owned));
    names
        .iter()
        .map(|name| Document::read(&root(), name))
        .collect()
}

/// The examples, with the commands in the comment at their beginning.
fn examples() -> impl Iterator<Item = (String, Vec<Step>)> {
    names("examples", &["yaml", "json"])
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(root().join(&name)).expect("it was listed");
            let steps = (1..).zip(text.lines()).filter_map(|(line, text)| {
                let command = text.strip_prefix("#   ")?.to_owned();
                Some(Step {
                    line,
                    command,
                    shown: None,
                })
            });
            let steps = steps.collect();
            (name, steps)
        })
}

/// The files of a directory that end so.
fn names(directory: &str, ends: &[&str]) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(directory)).expect("the directory exists");
    let names = entries.map(|entry| entry.expect("it is readable").file_name());
    let names = names.map(|name| name.into_string().expect("a name in UTF-8"));
    let ends = |name: &String| ends.contains(&name.rsplit('.').next().unwrap_or_default());
    names
        .filter(ends)
        .map(|name| format!("{directory}/{name}"))
        .collect()
}

/// A line of a script without its comment.
fn bare(line: &str) -> &str {
    line.split(" # ").next().unwrap_or_default().trim()
}

/// Somebody who does what a document says, on a machine of their own.
struct Session {
    document: String,
    machine: Machine,
    /// What looks like the root of the repository, with `bin/weft`, and `background/` for what runs there.
    directory: tempfile::TempDir,
    started: usize,
    failures: Vec<String>,
}

impl Session {
    fn new(document: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        for entry in fs::read_dir(root()).expect("the root of the repository") {
            let entry = entry.expect("it is readable");
            symlink(entry.path(), path.join(entry.file_name())).expect("a link");
        }
        fs::create_dir_all(path.join("bin")).expect("a directory");
        fs::create_dir_all(path.join("background")).expect("a directory");
        symlink(weft(), path.join("bin/weft")).expect("a link");
        let machine = Machine::new();
        // Here is the state directory of an agent.
        let own = machine.runs(&["mount", "--no-mtab", "-t", "tmpfs", "tmpfs", "/var/lib"]);
        own.succeeds();
        Self {
            document: document.to_owned(),
            machine,
            directory,
            started: 0,
            failures: Vec::new(),
        }
    }

    /// Runs everything that the document shows, and returns what was wrong.
    fn follow(mut self, document: &Document) -> Vec<String> {
        self.setup("");
        for block in &document.blocks {
            for step in block.steps() {
                self.step(&step);
            }
            let output = OUTPUTS
                .iter()
                .find(|(name, language, _)| *name == self.document && *language == block.language);
            if let Some((_, _, command)) = output {
                self.step(&Step {
                    line: block.line,
                    command: (*command).to_owned(),
                    shown: Some(block.lines.clone()),
                });
            }
        }
        self.failures
    }

    /// Does what is presumed before a command.
    fn setup(&mut self, before: &str) {
        for setup in SETUPS {
            if setup.document == self.document && setup.before == before {
                let (code, said) = self.shell(&format!("set -ex\n{}", setup.script));
                if code != Some(0) {
                    self.fails(
                        0,
                        &format!("set-up before {before:?}"),
                        &format!("{code:?}\n{said}"),
                    );
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let not_run = |line: &&str| {
            let listed = |(name, command, _): &(&str, &str, _)| {
                *name == self.document && *command == bare(line)
            };
            !NOT_RUN.iter().any(listed)
        };
        let mut command = step
            .command
            .lines()
            .filter(not_run)
            .collect::<Vec<_>>()
            .join("\n");
        if command.is_empty() {
            return;
        }
        self.setup(step.command.lines().next().unwrap_or_default());
        if IN_A_GUEST.contains(&command.as_str()) {
            command = format!("ip netns exec vm1 {command}");
        }
        let error = step.shown.as_ref().and_then(|shown| shown.first());
        let error = error.is_some_and(|line| line.starts_with("error:"));
        let background = command.strip_suffix('&');
        let endless = ENDLESS.contains(&command.as_str()) && !error;
        let (code, said) = if endless || background.is_some() {
            self.starts(background.unwrap_or(&command))
        } else if ONLINE.iter().any(|words| command.starts_with(words)) {
            self.online(&command)
        } else {
            self.shell(&format!("set -e\n{command}"))
        };
        if (code == Some(0)) == error {
            self.fails(step.line, &command, &format!("exit code {code:?}\n{said}"));
        } else if let Some(shown) = &step.shown
            && !self.prints(&command, shown, &said)
        {
            let (shown, background) = (shown.join("\n"), self.background());
            let why =
                format!("shown:\n{shown}\nprinted:\n{said}\nin the background:\n{background}");
            self.fails(step.line, &command, &why);
        }
    }

    /// Whether lines are those shown, apart from shown ones that commands in the background print. Waits for these.
    fn prints(&self, command: &str, shown: &[String], said: &str) -> bool {
        let mut shown = normalised(shown.iter().map(String::as_str));
        let mut said = normalised(said.lines());
        if command.starts_with("weft fdb list") {
            // Sorted by addresses that differ.
            shown.sort();
            said.sort();
        }
        let last =
            |lines: &mut Vec<String>| while lines.pop_if(|line| line.is_empty()).is_some() {};
        last(&mut shown);
        last(&mut said);
        let look = || {
            let background = normalised(self.background().lines());
            let rest = shown
                .iter()
                .filter(|line| said.contains(line) || !background.contains(line));
            let rest: Vec<String> = rest.cloned().collect();
            matches(&rest, &said).then_some(())
        };
        eventually(Duration::from_secs(3), look).is_some()
    }

    /// What commands in the background have printed.
    fn background(&self) -> String {
        let files = fs::read_dir(self.directory.path().join("background"));
        let files = files.expect("the directory was made").flatten();
        files
            .map(|file| fs::read_to_string(file.path()).unwrap_or_default())
            .collect()
    }

    /// Starts a command in the background, and waits until an agent answers, or another has said something.
    fn starts(&mut self, command: &str) -> (Option<i32>, String) {
        self.started += 1;
        let log = format!("background/{}", self.started);
        let ready = if command == "weft agent" {
            "weft status >status.log 2>&1"
        } else {
            &format!("test -s {log}")
        };
        let (code, said) = self.shell(&format!(
            "{command} >{log} 2>&1 &\nuntil {ready}; do kill -0 $! || exit 1; sleep 0.05; done"
        ));
        match code {
            Some(0) => (code, String::new()),
            _ => (code, said + &self.background()),
        }
    }

    /// Runs a script, and returns its exit code and all that it printed.
    fn shell(&self, script: &str) -> (Option<i32>, String) {
        let directory = self.directory.path().display();
        // The host of the documents is called vm.
        let script = format!(
            "exec 2>&1
            echo vm >/proc/sys/kernel/hostname
            cd {directory}
            PATH=$PWD/bin:$PATH
            # A driver of libvirt that stands for a daemon.
            export LIBVIRT_DEFAULT_URI=test:///default
            start_agent() {{
                weft agent >background/agent.$$ 2>&1 &
                until weft status; do sleep 0.05; done
            }}
            {script}"
        );
        // A collector that was killed leaves shared memory behind, by which the next one takes it for alive.
        let answer = self.machine.runs(&[
            "unshare", "--uts", "--ipc", "timeout", PATIENCE, "bash", "-c", &script,
        ]);
        (answer.code, answer.stdout + &answer.stderr)
    }

    /// Runs a script that needs the internet outside the machine, which has none, and returns its exit code and all that it
    /// printed.
    fn online(&self, script: &str) -> (Option<i32>, String) {
        let mut command = Command::new("timeout");
        command.args([PATIENCE, "bash", "-e", "-c", script]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        let answer = Answer::of(command.current_dir(self.directory.path()));
        (answer.code, answer.stdout + &answer.stderr)
    }

    fn fails(&mut self, line: usize, command: &str, why: &str) {
        let document = &self.document;
        self.failures
            .push(format!("{document}:{line}: {command}\n{why}"));
    }
}
