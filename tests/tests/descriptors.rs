//! An agent that is started with a small soft limit of open files, as most shells and service managers give it.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixListener;
use std::process::{Child, Command};

use weft_datapath::testing::{Guest, GuestOptions};
use weft_tests::{Host, until};

const PORTS: usize = 20;

/// Fewer than half of the ports can have their descriptors.
const SOFT_LIMIT: usize = 256;

/// An agent that is killed when the test is over.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_with_small_limit(host: &Host) -> Agent {
    let command = host.agent_command(host.state(), &host.socket());
    let mut shell = Command::new("sh");
    shell.arg("-c");
    shell.arg(format!("ulimit -Sn {SOFT_LIMIT}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args());
    let agent = Agent(shell.spawn().expect("a shell"));
    until("the agent answers", || host.weft("status").code == Some(0));
    agent
}

#[test]
fn a_small_soft_limit_of_open_files_does_not_bound_the_ports() {
    let host = Host::asleep(None);
    let agent = start_with_small_limit(&host);
    host.does("vswitch add vSwitch1");
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let directory = tempfile::tempdir().expect("a directory");
    let _guests: Vec<Guest> = (0..PORTS)
        .map(|number| {
            let socket = directory.path().join(number.to_string());
            let listener = UnixListener::bind(&socket).expect("a socket");
            let socket = socket.display();
            host.does(&format!(
                "port add vm{number} --portgroup Lab --vhost-user {socket}"
            ));
            let (stream, _) = listener.accept().expect("the agent");
            Guest::new(stream, GuestOptions::default())
        })
        .collect();
    until("all guests run", || {
        let ports = host.shows("port list");
        let ports = ports.as_array().expect("ports are a list").iter();
        ports.filter(|port| port["status"]["state"] == "up").count() == PORTS
    });
    let directory = format!("/proc/{}/fd", agent.0.id());
    let open = std::fs::read_dir(directory)
        .expect("the agent runs")
        .count();
    assert!(open > SOFT_LIMIT, "{open} would have been allowed");
}
