//! Everything that `weft status` finds wrong: the words, the command to run next, and the order.

use std::io::Write as _;
use std::os::unix::net::UnixListener;

use weft_api::{Cause, Finding, FindingGroup};
use weft_datapath::testing::{Guest, GuestOptions};
use weft_model::{Change, PortPatch};

use super::{Bench, LAB, add_port, eventually};
use crate::links::{Link, LinkEvent};

impl Bench {
    fn findings(&self) -> Vec<Finding> {
        self.host().status().problems
    }

    /// Checks that one thing is wrong.
    #[track_caller]
    fn finds(&self, object: &str, cause: Cause, reason: &str, next: &str) {
        let findings = self.findings();
        let [finding] = findings.as_slice() else {
            panic!("not one: {findings:#?}")
        };
        let found = (finding.object.to_string(), finding.cause);
        assert_eq!(found, (object.to_owned(), cause));
        assert!(finding.reason.contains(reason), "{finding:#?}");
        assert_eq!(finding.next, next);
    }

    fn tell(&self, event: LinkEvent) {
        self.host().links_changed(vec![event]);
    }

    fn set_port(&self, name: &str, patch: &str) {
        let patch: PortPatch = weft_model::from_text(patch).unwrap();
        let change = Change::SetPort(name.parse().unwrap(), patch);
        self.change(&change).unwrap();
    }
}

#[test]
fn of_interfaces() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    assert_eq!(bench.findings(), []);
    bench.memory.remove("p-MyVM1");
    bench.tell(LinkEvent::Gone("p-MyVM1".parse().unwrap()));
    bench.finds(
        "port MyVM1",
        Cause::NoInterface,
        "interface p-MyVM1 does not exist",
        "ip -brief link",
    );
    let (name, link) = bench.memory.add("p-MyVM1");
    let down = Link { up: false, ..link };
    bench.tell(LinkEvent::Present(name.clone(), down));
    bench.finds(
        "port MyVM1",
        Cause::InterfaceDown,
        "interface p-MyVM1 is set down",
        "ip link set p-MyVM1 up",
    );
    let alone = Link {
        carrier: false,
        ..link
    };
    bench.tell(LinkEvent::Present(name.clone(), alone));
    bench.finds(
        "port MyVM1",
        Cause::NoCarrier,
        "its other end is down or unplugged",
        "ip -details link show p-MyVM1",
    );
    bench.tell(LinkEvent::Present(name, link));
    assert_eq!(bench.findings(), []);
}

#[test]
fn of_what_cannot_be_attached() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.kill();
    bench.memory.hold("p-MyVM1");
    bench.start();
    bench.finds(
        "port MyVM1",
        Cause::NotAttached,
        "p-MyVM1",
        "ip -details link show p-MyVM1",
    );
}

#[test]
fn of_what_the_administrator_did() {
    let bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.set_port("MyVM1", "{block: true}");
    let reason = "blocked by its administrator";
    let next = "weft port set MyVM1 --block no";
    bench.finds("port MyVM1", Cause::Blocked, reason, next);
    bench.set_port("MyVM1", "{block: false, link: down}");
    let reason = "its administrator set the link down";
    let next = "weft port set MyVM1 --link up";
    bench.finds("port MyVM1", Cause::LinkSetDown, reason, next);
}

#[test]
fn of_guests() {
    let bench = Bench::new(&[]);
    bench.add("vswitches: [{name: vSwitch1, portgroups: [{name: Lab}]}]");
    let socket = bench.directory.path().join("My VM1.sock");
    let port = format!(
        "{{name: My VM1, portgroup: Lab, vhostUser: {{socket: '{}'}}}}",
        socket.display()
    );
    bench.change(&add_port(&port)).unwrap();
    let next = format!("ls -l '{}'", socket.display());
    eventually("the agent has looked for the socket", || {
        bench.findings()[0].reason.contains("there is no socket")
    });
    bench.finds("port My VM1", Cause::NoGuest, "start the VM", &next);

    let listener = UnixListener::bind(&socket).unwrap();
    let waiting = listener.accept().unwrap().0;
    let show = "weft port show 'My VM1'";
    eventually("somebody is connected", || {
        bench.findings()[0].cause == Cause::GuestNotReady
    });
    bench.finds("port My VM1", Cause::GuestNotReady, "", show);
    let guest = Guest::new(waiting, GuestOptions::default());
    eventually("the guest runs", || bench.findings().is_empty());
    drop(guest);
    listener.accept().unwrap().0.write_all(&[0xff; 64]).unwrap();
    eventually("the guest failed", || {
        bench.findings()[0].cause == Cause::GuestFailed
    });
    let reason = "the front-end sent what the protocol does not allow";
    bench.finds("port My VM1", Cause::GuestFailed, reason, show);
}

#[test]
fn of_a_damaged_state() {
    let mut bench = Bench::new(&["p-MyVM1", "p-MyVM2"]);
    bench.add(LAB);
    bench.kill();
    let files = std::fs::read_dir(bench.state_dir()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let generations = files.filter(|file| file.to_string_lossy().contains("generation-"));
    let newest = generations.max().unwrap();
    std::fs::write(&newest, "{").unwrap();
    bench.start();
    let name = newest.file_name().unwrap().to_str().unwrap();
    bench.finds("host esxi01", Cause::State, name, "weft history");
}

#[test]
fn the_worst_comes_first_and_many_of_a_kind_are_one_line() {
    let names: Vec<_> = (0..300).map(|number| format!("p-{number}")).collect();
    let mut interfaces: Vec<&str> = names.iter().map(String::as_str).collect();
    interfaces.push("eth1");
    let bench = Bench::new(&interfaces);
    let ports: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(number, name)| format!("  - {{name: vm{number:03}, portgroup: Lab, veth: {name}}}"))
        .collect();
    bench.add(&format!(
        "vswitches: [{{name: vSwitch1, uplinks: [eth1], portgroups: [{{name: Lab}}]}}]\nports:\n{}",
        ports.join("\n")
    ));
    bench.set_port("vm000", "{block: true}");
    for name in names.iter().skip(1).map(String::as_str).chain(["eth1"]) {
        bench.memory.remove(name);
    }
    let gone = names.iter().skip(1).map(String::as_str).chain(["eth1"]);
    let gone = gone.map(|name| LinkEvent::Gone(name.parse().unwrap()));
    bench.host().links_changed(gone.collect());
    let findings = bench.findings();
    assert_eq!(findings.len(), 301, "programs are told of each");
    let lines: Vec<_> = FindingGroup::of(&findings)
        .iter()
        .map(|group| format!("{group}; next: {}", group.next))
        .collect();
    let expected = [
        "uplink eth1: interface eth1 does not exist; next: ip -brief link",
        "299 ports (vm001, vm002, vm003, ...): their interfaces do not exist; next: ip -brief link",
        "port vm000: blocked by its administrator; next: weft port set vm000 --block no",
    ];
    assert_eq!(lines, expected);
}
