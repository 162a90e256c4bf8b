//! TAB in real shells completes commands, flags and the names of what exists.
#![forbid(unsafe_code)]

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use weft_tests::{Answer, Host, Terminal, weft};

/// A host with a port group whose name has a space, and ports in it.
fn host() -> Host {
    let host = Host::with_switch();
    let words = ["portgroup", "add", "VM Network", "--vswitch", "vSwitch1"];
    host.weft_words(words).succeeds();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    for uplink in ["eth1", "eth2"] {
        host.world(uplink);
        host.does(&format!("uplink add vSwitch1 {uplink}"));
    }
    for name in ["MyVM1", "MyVM2", "Other one"] {
        let tap = format!("t-{}", name.replace(' ', ""));
        let words = ["port", "add", name, "--portgroup", "Lab", "--tap", &tap];
        host.weft_words(words).succeeds();
    }
    host
}

/// A shell that has read the script, at its prompt.
fn shell(start: &str, setup: &[&str], agent: &Path) -> Terminal {
    let terminal = Terminal::running(start, agent);
    for line in setup {
        terminal.types(line);
        terminal.presses("Enter");
    }
    terminal.types("clear; echo rea''dy");
    terminal.presses("Enter");
    terminal.is("ready", |screen| screen.lines().any(|line| line == "ready"));
    terminal
}

/// Types a line and TAB until it is completed; then clears the line.
#[track_caller]
fn completes(terminal: &Terminal, typed: &str, whole: &str) {
    assert!(!typed.contains(whole), "{whole} says nothing");
    terminal.types(typed);
    terminal.presses("Tab");
    terminal.shows(whole);
    terminal.presses("C-u");
    terminal.types("clear");
    terminal.presses("Enter");
    terminal.is("cleared", |screen| !screen.contains(typed));
}

fn in_every_way(terminal: &Terminal) {
    completes(terminal, "weft portg", "weft portgroup");
    completes(terminal, "weft port set a --bl", "weft port set a --block");
    completes(terminal, "weft port show M", "weft port show MyVM");
    completes(terminal, "weft portgroup set L", "weft portgroup set Lab");
    completes(
        terminal,
        "weft portgroup set Lab --promiscuous acc",
        "--promiscuous accept",
    );
    completes(
        terminal,
        "weft portgroup set Lab --active eth1,e",
        "--active eth1,eth2",
    );
    completes(terminal, "weft fdb list --vswitch vS", "--vswitch vSwitch1");
    completes(
        terminal,
        "weft lab up ~/some-f",
        "weft lab up ~/some-file.yaml",
    );
    completes(
        terminal,
        "weft lab up ~/another-f",
        "weft lab up ~/another-file\\ of\\ mine.yaml",
    );
    // What has two names shows both.
    terminal.types("weft port show MyVM");
    terminal.presses("Tab");
    terminal.presses("Tab");
    terminal.is("both ports", |screen| {
        screen.contains("MyVM1") && screen.contains("MyVM2")
    });
    terminal.presses("C-u");
    terminal.types("clear");
    terminal.presses("Enter");
    terminal.is("cleared", |screen| !screen.contains("MyVM2"));
    // A name with a space is one word when the line runs.
    terminal.types("weft portgroup show V");
    terminal.presses("Tab");
    terminal.shows("Network");
    terminal.presses("Enter");
    terminal.is("the port group", |screen| {
        screen
            .lines()
            .any(|line| line.starts_with("port group:") && line.ends_with("VM Network"))
    });
    terminal.types("clear");
    terminal.presses("Enter");
    // Within a quote that is open.
    terminal.types("weft port show 'Oth");
    terminal.presses("Tab");
    terminal.shows("'Other one");
    terminal.presses("C-u");
}

fn with_files(terminal: &Terminal) {
    for name in ["some-file.yaml", "another-file of mine.yaml"] {
        std::fs::write(terminal.home().join(name), "").expect("the file is written");
    }
}

#[test]
fn bash_completes() {
    let host = host();
    let setup = ["PS1='$ '", "source <(weft completion bash)"];
    let terminal = shell("bash --norc --noprofile -i", &setup, &host.socket());
    with_files(&terminal);
    in_every_way(&terminal);
}

#[test]
fn zsh_completes() {
    let host = host();
    let setup = [
        "PS1='$ '",
        "autoload -U compinit && compinit -u -D",
        "source <(weft completion zsh)",
    ];
    let terminal = shell("zsh -f -i", &setup, &host.socket());
    with_files(&terminal);
    in_every_way(&terminal);
}

#[test]
fn fish_completes() {
    let host = host();
    let setup = [
        "function fish_prompt; echo '$ '; end",
        "weft completion fish | source",
    ];
    let terminal = shell("fish --no-config -i", &setup, &host.socket());
    with_files(&terminal);
    in_every_way(&terminal);
}

fn offered(line: &str, agent: Option<&Path>) -> String {
    let mut command = Command::new(weft());
    command.env_remove("WEFT_AGENT");
    if let Some(agent) = agent {
        command.env("WEFT_AGENT", agent);
    }
    let answer = Answer::of(command.args(["complete", "fish", line]));
    assert_eq!(answer.stderr, "", "{line}");
    answer.succeeds()
}

#[test]
fn the_agent_of_the_line_is_asked() {
    let host = host();
    let socket = host.socket();
    let nowhere = Path::new("/nowhere.sock");
    let names = "MyVM1\tLab on t-MyVM1\nMyVM2\tLab on t-MyVM2\n";
    assert_eq!(offered("weft port show My", Some(&socket)), names);
    let line = format!("weft --agent {} port show My", socket.display());
    assert_eq!(offered(&line, Some(nowhere)), names);
    let line = format!("WEFT_AGENT={} weft port show My", socket.display());
    assert_eq!(offered(&line, Some(nowhere)), names);
    for line in ["weft rollback ", "weft export --generation "] {
        let offered = offered(line, Some(&socket));
        let numbers = offered
            .lines()
            .filter_map(|line| line.split('\t').next()?.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        let newest_first = numbers.is_sorted_by(|one, next| one > next);
        assert!(numbers.len() > 2 && newest_first, "{line}: {offered}");
        assert!(offered.contains("port MyVM2 created"), "{line}: {offered}");
    }
}

#[test]
fn an_agent_that_is_away_or_hangs_costs_nothing_but_its_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let away = directory.path().join("away.sock");
    assert_eq!(offered("weft port show My", Some(&away)), "");

    let hanging = directory.path().join("hanging.sock");
    let listener = UnixListener::bind(&hanging).expect("a socket");
    let started = Instant::now();
    assert_eq!(offered("weft port show My", Some(&hanging)), "");
    // As long as the agent is waited for, and what a loaded machine may need.
    assert!(started.elapsed() < Duration::from_secs(5));
    let (mut asked, _) = listener.accept().expect("it was asked");
    let mut request = String::new();
    asked.read_to_string(&mut request).expect("the request");
    assert_eq!(request.matches("GET ").count(), 1, "once: {request}");
}
