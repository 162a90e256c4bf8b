//! A VM: a network namespace with one interface.

use std::process::Command;
use std::sync::Arc;

use weft_datapath::afxdp::testing::{Namespace, RawSocket};
use weft_packet::MacAddr;

use crate::Answer;

/// A namespace whose `eth0` is the far end of a port, or of an uplink.
#[derive(Debug)]
pub struct Vm {
    /// The name of its port.
    pub name: String,
    /// The host's end of its veth pair.
    pub interface: String,
    /// The address of `eth0`, and the configured one of its port.
    pub mac: MacAddr,
    /// The IP address of `eth0`.
    pub ip: String,
    namespace: Arc<Namespace>,
}

/// What moves the frames of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A veth pair without offloads.
    AfXdp,
    /// A veth pair with offloads.
    Packet,
    /// A TAP device.
    Tap,
}

impl Vm {
    /// A VM behind `interface` in the namespace `host`. Its addresses follow from the numbers of the host and of the VM.
    pub(crate) fn new(host: &Namespace, name: &str, interface: &str, numbers: (u8, u8)) -> Self {
        let vm = Self::unplugged(name, interface, numbers);
        vm.plug_into(host);
        vm
    }

    /// A VM without an interface.
    pub(crate) fn unplugged(name: &str, interface: &str, (of_host, number): (u8, u8)) -> Self {
        Self {
            name: name.to_owned(),
            interface: interface.to_owned(),
            mac: MacAddr::new([2, 0, 0, 1, of_host, number]),
            ip: format!("10.0.{of_host}.{number}"),
            namespace: Arc::new(Namespace::new()),
        }
    }

    /// Makes its veth pair and brings both ends up, offloads off.
    pub(crate) fn plug_into(&self, host: &Namespace) {
        self.plug_with_offloads(host);
        self.does("ethtool -K eth0 tx off txvlan off tx-vlan-stag-hw-insert off");
    }

    /// Makes its veth pair and brings both ends up, with the offloads that the kernel gives it.
    pub(crate) fn plug_with_offloads(&self, host: &Namespace) {
        let (near, mac) = (self.interface.as_str(), self.mac.to_string());
        let netns = self.namespace.name();
        host.ip(&[
            "link", "add", near, "type", "veth", "peer", "name", "eth0", "address", &mac, "netns",
            netns,
        ]);
        host.ip(&["link", "set", near, "up"]);
        self.bring_up();
    }

    /// Takes a TAP device of the host as its interface.
    pub(crate) fn take(&self, host: &Namespace) {
        let (device, mac) = (self.interface.as_str(), self.mac.to_string());
        let netns = self.namespace.name();
        host.ip(&["link", "set", device, "address", &mac]);
        host.ip(&["link", "set", device, "netns", netns, "name", "eth0"]);
        self.bring_up();
    }

    fn bring_up(&self) {
        self.does(&format!("ip addr add {}/16 dev eth0", self.ip));
        self.does("ip link set lo up");
        self.does("ip link set eth0 up");
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Keeps its namespace until the result is dropped.
    pub(crate) fn keep(&self) -> Arc<Namespace> {
        Arc::clone(&self.namespace)
    }

    /// A command line, as words, to be run inside.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace.name()]);
        command.args(line.split_ascii_whitespace());
        command
    }

    /// Runs a command line inside.
    pub fn runs(&self, line: &str) -> Answer {
        Answer::of(&mut self.command(line))
    }

    /// Runs a command line inside, which succeeds.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        self.runs(line).succeeds()
    }

    /// Whether three pings of another VM are answered, each within a second.
    pub fn reaches(&self, other: &Self) -> bool {
        let line = format!("ping -n -q -c 3 -i 0.05 -W 1 {}", other.ip);
        self.runs(&line).stdout.contains(" 3 received")
    }

    /// A socket for whole frames at `eth0`.
    pub fn socket(&self) -> RawSocket {
        self.namespace.run(|| RawSocket::open("eth0"))
    }
}
