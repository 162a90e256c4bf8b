//! Who may use the agent's socket: root, and members of the group of operators.
#![forbid(unsafe_code)]

use std::process::{Child, Command};

use weft_tests::{Answer, Host, until, weft};

/// A user and a group that every Debian has, and that have nothing to do with each other.
const USER: &str = "nobody";
const GROUP: &str = "games";

/// An agent that is killed when the test is over.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host whose agent lets in the members of [`GROUP`], in a directory that others see into.
fn host() -> (Host, Agent) {
    let host = Host::asleep(None);
    let directory = host.socket();
    let directory = directory.parent().expect("a directory");
    Answer::of(Command::new("chmod").arg("755").arg(directory)).succeeds();
    let mut command = host.agent_command(host.state(), &host.socket());
    let agent = Agent(command.args(["--group", GROUP]).spawn().expect("the agent"));
    until("the agent answers", || host.weft("status").code == Some(0));
    (host, agent)
}

/// What `weft` answers to the user, with the group among those of the user or not.
fn asks(host: &Host, is_member: bool, line: &str) -> Answer {
    // Others may not look into the directory that cargo builds in.
    let binary = host.state().with_file_name("weft");
    if !binary.exists() {
        std::fs::copy(weft(), &binary).expect("a copy");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", "nogroup"]);
    if is_member {
        command.args(["--groups", GROUP]);
    } else {
        command.arg("--clear-groups");
    }
    command.arg(binary).arg("--agent").arg(host.socket());
    command.env_remove("WEFT_AGENT").current_dir("/");
    Answer::of(command.args(line.split_ascii_whitespace()))
}

#[test]
fn operators_need_not_be_root_and_are_known_by_name() {
    let (host, _agent) = host();
    asks(&host, true, "vswitch add vSwitch1").succeeds();
    let events = host.shows("events");
    let events = events.as_array().expect("events are a list");
    let change = events
        .iter()
        .find(|event| event["kind"] == "configurationApplied");
    assert_eq!(change.expect("the change")["details"]["by"], USER);
    assert_eq!(host.shows("history")[0]["by"], USER);
}

#[test]
fn others_are_told_how_to_become_operators() {
    let (host, _agent) = host();
    for line in [
        "status",
        "vswitch add vSwitch1",
        "events -o json",
        "export -o yaml",
    ] {
        let answer = asks(&host, false, line);
        answer.refused(
            8,
            &[
                "not permitted",
                "you are not in group games",
                "sudo usermod -aG games nobody",
            ],
        );
    }
    assert_eq!(host.shows("vswitch list"), serde_json::json!([]));
}

#[test]
fn a_group_that_does_not_exist_is_no_operator() {
    let host = Host::asleep(None);
    let mut command = host.agent_command(host.state(), &host.socket());
    let answer = Answer::of(command.args(["--group", "nosuchgroup"]));
    answer.refused(
        3,
        &[
            "--group: group nosuchgroup does not exist",
            "groupadd --system nosuchgroup",
        ],
    );
}
