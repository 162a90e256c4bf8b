//! What stands on a real terminal: `weft top`, and signs of life.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use weft_tests::{Answer, Host, Pings, Terminal, Vm, eventually, weft};

/// A host with two VMs between which a ping runs.
fn busy_host() -> (Host, Vm, Vm) {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    assert!(one.reaches(&two));
    (host, one, two)
}

/// A shell at its prompt, with something above it.
fn shell(host: &Host) -> Terminal {
    let terminal = Terminal::running("bash --norc --noprofile -i", &host.socket());
    terminal.types("PS1='$ '; clear; echo before");
    terminal.presses("Enter");
    terminal.is("the prompt", |screen| screen.starts_with("before\n$"));
    terminal
}

/// The first number behind the name of a port.
fn rate(screen: &str, port: &str) -> Option<f64> {
    let row = screen.lines().find(|line| line.starts_with(port))?;
    row.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[test]
fn top_shows_what_moves() {
    let (host, one, two) = busy_host();
    let pings = Pings::start(&one, &two);
    let terminal = shell(&host);
    terminal.types("weft top -d 0.3");
    terminal.presses("Enter");
    terminal.is("traffic", |screen| {
        rate(screen, "one").is_some_and(|rate| rate > 1.0)
    });
    let screen = terminal.screen();
    for part in [
        "host esxi01",
        "frames/s",
        "thread 0",
        "busy",
        "cycles/frame",
        "PORT",
        "q quit",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    // Sorted, filtered, paused, and at another size.
    terminal.types("/two");
    terminal.presses("Enter");
    terminal.is("only one port", |screen| {
        rate(screen, "two").is_some() && rate(screen, "one").is_none()
    });
    terminal.presses("Escape");
    terminal.shows("\none ");
    terminal.presses("Space");
    terminal.shows("paused");
    terminal.resizes(50, 8);
    terminal.is("the smaller screen", |screen| {
        screen.lines().count() == 8
            && screen
                .lines()
                .last()
                .is_some_and(|line| line.starts_with("q quit"))
    });
    assert!(terminal.attributes().contains('\x1b'));
    terminal.types("q");
    terminal.shows("before");
    drop(pings);
}

#[test]
fn top_gives_the_terminal_back_however_it_ends() {
    let (host, ..) = busy_host();
    let terminal = shell(&host);
    let ends: [(&str, &dyn Fn()); 5] = [
        ("q", &|| terminal.types("q")),
        ("Ctrl-C", &|| terminal.presses("C-c")),
        ("SIGTERM", &|| terminal.signals(Signal::TERM)),
        ("SIGINT", &|| terminal.signals(Signal::INT)),
        ("SIGHUP", &|| terminal.signals(Signal::HUP)),
    ];
    for (name, end) in ends {
        terminal.types("weft top -d 0.2");
        terminal.presses("Enter");
        terminal.shows("PORT");
        assert_eq!(
            terminal.fact("#{alternate_on} #{cursor_flag}"),
            "1 0",
            "{name}"
        );
        end();
        terminal.shows("before");
        terminal.types("echo $?; stty -a | grep -o ' echo '; echo '.'");
        terminal.presses("Enter");
        terminal.shows("0\n echo\n.");
        assert_eq!(
            terminal.fact("#{alternate_on} #{cursor_flag}"),
            "0 1",
            "{name}"
        );
        terminal.types("clear; echo before");
        terminal.presses("Enter");
        terminal.is("the prompt", |screen| screen.starts_with("before\n$"));
    }
}

#[test]
fn top_waits_for_an_agent_that_goes_away() {
    let (host, one, two) = busy_host();
    let terminal = shell(&host);
    terminal.types("NO_COLOR=1 weft top -d 0.2");
    terminal.presses("Enter");
    terminal.shows("PORT");
    host.kill();
    terminal.shows("trying again");
    assert!(!terminal.attributes().contains("[31m") && !terminal.attributes().contains("38;5"));
    host.start();
    let pings = Pings::start(&one, &two);
    terminal.is("traffic", |screen| {
        !screen.contains("trying again") && rate(screen, "one").is_some_and(|rate| rate > 1.0)
    });
    drop(pings);
}

#[test]
fn top_without_a_terminal_prints_a_table_or_lines() {
    let (host, one, two) = busy_host();
    let pings = Pings::start(&one, &two);
    let text = host.does("top -d 0.5");
    assert_eq!(text.matches("PORT").count(), 1, "{text}");
    assert!(rate(&text, "one").is_some_and(|rate| rate > 1.0), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(host.does("top -n 3 -d 0.1").matches("PORT").count(), 3);
    let lines = host.does("top -n 3 -d 0.2 -o json");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[2]["total"]["rxFramesPerSecond"].as_f64() > Some(1.0));
    assert_eq!(lines[2]["ports"][0]["name"], "one");
    let mut away = Command::new(weft());
    away.args(["--agent", "/nowhere.sock", "top"]);
    Answer::of(&mut away).refused(5, &["/nowhere.sock"]);
    drop(pings);
}

#[test]
fn a_command_that_waits_says_so_on_a_terminal_and_clears_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("slow.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let terminal = Terminal::running("bash --norc --noprofile -i", &socket);
    terminal.types("PS1='$ '; clear; weft port list; echo ended");
    terminal.presses("Enter");
    // Whichever second this sees first, a later one follows.
    let waited = |screen: &str| -> Option<u64> {
        let (_, rest) = screen.split_once("waiting for the agent (")?;
        rest.split_once(" s)")?.0.parse().ok()
    };
    terminal.shows("waiting for the agent (");
    let first = eventually(Duration::from_secs(15), || waited(&terminal.screen()));
    let first = first.expect("it says for how long");
    terminal.is("a later second", |screen| {
        waited(screen).is_some_and(|seconds| seconds > first)
    });
    drop(listener.accept().expect("it connected"));
    terminal.shows("\nended");
    let screen = terminal.screen();
    assert!(!screen.contains("waiting"), "{screen}");
    assert!(
        screen.contains("error: the connection to the agent"),
        "{screen}"
    );

    // Where standard error is no terminal, nobody needs a sign: none comes within a time in which there would be one.
    terminal.types("clear; weft port list 2>~/errors; echo ended; cat ~/errors");
    terminal.presses("Enter");
    let (stream, _) = listener.accept().expect("it connected");
    std::thread::sleep(Duration::from_millis(1500));
    drop(stream);
    terminal.shows("ended\nerror: the connection");
    assert!(
        !terminal.screen().contains("waiting for"),
        "{}",
        terminal.screen()
    );
}
