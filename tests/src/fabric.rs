//! The network beyond a host: a bridge that all its uplinks lead to, which is a station itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use weft_datapath::afxdp::testing::Namespace;

use crate::{Answer, Host};

/// A namespace with a bridge into which uplinks of a host are plugged.
#[derive(Debug)]
pub struct Fabric {
    namespace: Namespace,
}

impl Fabric {
    /// Plugs these uplinks of a host, which it makes, into a bridge. The bridge itself is the station `ip`, a CIDR, without a VLAN.
    pub fn new(host: &Host, uplinks: &[&str], ip: &str) -> Self {
        let fabric = Self {
            namespace: Namespace::new(),
        };
        fabric.does("ip link add br0 type bridge stp_state 0 mcast_snooping 0");
        fabric.does("ip link set br0 up");
        for uplink in uplinks {
            fabric.plug(host, uplink);
        }
        fabric.does(&format!("ip addr add {ip} dev br0"));
        fabric
    }

    /// Plugs one more uplink of a host into the bridge.
    pub fn plug(&self, host: &Host, uplink: &str) {
        let netns = self.namespace.name();
        host.namespace().ip(&[
            "link", "add", uplink, "type", "veth", "peer", "name", uplink, "netns", netns,
        ]);
        host.namespace().ip(&["link", "set", uplink, "up"]);
        host.runs(&format!("ethtool -K {uplink} tx off txvlan off"));
        self.does(&format!("ethtool -K {uplink} tx off txvlan off"));
        self.does(&format!("ip link set {uplink} master br0"));
        self.does(&format!("ip link set {uplink} up"));
    }

    /// Pulls the cable of an uplink, or plugs it in again.
    pub fn set(&self, uplink: &str, up: bool) {
        let state = if up { "up" } else { "down" };
        self.does(&format!("ip link set {uplink} {state}"));
    }

    /// The port of the bridge behind which it knows an address.
    pub fn knows(&self, mac: &str) -> Option<String> {
        let entries = self.does("bridge fdb show br br0");
        let entry = entries.lines().find(|line| line.starts_with(mac))?;
        let mut words = entry.split_ascii_whitespace();
        words.find(|word| *word == "dev")?;
        words.next().map(str::to_owned)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A command line, as words, to be run inside.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace.name()]);
        command.args(line.split_ascii_whitespace());
        command
    }

    /// Runs a command line inside, which succeeds.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        Answer::of(&mut self.command(line)).succeeds()
    }

    /// Starts a command line inside.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn starts(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("running ip (install iproute2)")
    }

    /// Starts a server inside, and returns when it says that it is ready.
    ///
    /// # Panics
    /// If it ends before.
    pub fn serves(&self, line: &str, ready: &str) -> Server {
        // Both streams are one, so that one of them can be waited for.
        let mut command = self.command("sh -c");
        command.arg(format!("exec {line} 2>&1"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("running ip (install iproute2)");
        let output = child.stdout.take().expect("its output is a pipe");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        assert!(lines.any(|said| said.contains(ready)), "{line} ended");
        std::thread::spawn(move || lines.count());
        Server(child)
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Fails for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
