//! What operators get wrong: each refusal names the object, the field and the remedy, has its exit code, and changes
//! nothing.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use weft_tests::{Answer, Host, Machine, Pings, Vm, until, weft};

/// A host with two VMs, a port group without ports, and free interfaces: `free0`, and `used0` with an IP address.
struct Office {
    host: Host,
    one: Vm,
    two: Vm,
}

impl Office {
    fn new() -> Self {
        let host = Host::with_switch();
        host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
        host.does("portgroup add Empty --vswitch vSwitch1");
        let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
        host.runs("ip link add free0 type veth peer name free1");
        host.runs("ip link add used0 type veth peer name used1");
        host.runs("ip addr add 10.9.9.9/24 dev used0");
        Self { host, one, two }
    }

    /// Checks that a command is refused with this exit code and these words, and changes nothing.
    #[track_caller]
    fn refuses(&self, line: &str, code: i32, words: &[&str]) {
        let before = self.host.export();
        self.host.weft(line).refused(code, words);
        assert_eq!(self.host.export(), before, "{line}");
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.one.reaches(&self.two), "the VMs are unharmed");
        }
    }
}

#[test]
fn names_that_do_not_exist_are_not_found_and_the_nearest_is_suggested() {
    let office = Office::new();
    for (line, words) in [
        (
            "port add new --portgroup Labb --veth free0",
            &["port new", "portgroup", "Labb", "did you mean Lab?"][..],
        ),
        (
            "port set one --portgroup Empti",
            &["port one", "portgroup", "Empti", "did you mean Empty?"],
        ),
        (
            "port set tow --block yes",
            &["port tow", "did you mean two?"],
        ),
        ("port show on", &["port on", "did you mean one?"]),
        ("port del nonsense", &["port nonsense", "weft port list"]),
        ("policy show twoo", &["port twoo", "did you mean two?"]),
        ("stats twoo", &["twoo", "did you mean two?"]),
        (
            "portgroup add New --vswitch vSwitch2",
            &["port group New", "vSwitch2", "did you mean vSwitch1?"],
        ),
        (
            "portgroup set Lap --vlan 1",
            &["port group Lap", "did you mean Lab?"],
        ),
        // What is about to delete leads nobody to delete something else.
        (
            "portgroup del Lap",
            &["port group Lap", "the nearest existing name is Lab"],
        ),
        (
            "vswitch set vswitch1 --mtu 9000",
            &["vswitch1", "did you mean vSwitch1?"],
        ),
        (
            "vswitch del vSwitch",
            &["vSwitch", "the nearest existing name is vSwitch1"],
        ),
        (
            "fdb list --vswitch vSwitchl",
            &["vSwitchl", "did you mean vSwitch1?"],
        ),
        (
            "uplink add vSwitch2 free0",
            &["vSwitch2", "did you mean vSwitch1?"],
        ),
        (
            "uplink del vSwitch1 free0",
            &["vSwitch1", "free0", "weft uplink list"],
        ),
        ("uplink show eth1", &["eth1", "weft uplink list"]),
        (
            "vswitch show vSwithc1",
            &["vSwithc1", "did you mean vSwitch1?"],
        ),
        (
            "portgroup show Lba",
            &["port group Lba", "did you mean Lab?"],
        ),
        (
            "portgroup del Empyt",
            &["port group Empyt", "the nearest existing name is Empty"],
        ),
        (
            "port del oen",
            &["port oen", "the nearest existing name is one"],
        ),
        ("stats one tow", &["tow", "did you mean two?"]),
    ] {
        office.refuses(line, 3, words);
    }
}

#[test]
fn interfaces_that_do_not_exist_are_not_found() {
    let office = Office::new();
    // A new interface is known for suggestions as soon as its news have come.
    until("free0 is known", || {
        let answer = office.host.weft("port add new --portgroup Lab --veth fre0");
        answer.stderr.contains("free0?")
    });
    office.refuses(
        "port add new --portgroup Lab --veth fre0",
        3,
        &[
            "port new",
            "veth",
            "fre0",
            "does not exist",
            "did you mean free0?",
        ],
    );
    office.refuses(
        "uplink add vSwitch1 nonsense",
        3,
        &[
            "vSwitch1",
            "uplinks",
            "nonsense",
            "does not exist",
            "ip link",
        ],
    );
    office.refuses(
        "vswitch add vSwitch2 --uplink nonsense",
        3,
        &["vSwitch2", "uplinks", "nonsense"],
    );
}

#[test]
fn values_that_cannot_be_meant_are_usage_errors() {
    let office = Office::new();
    for (line, words) in [
        (
            "portgroup add New --vswitch vSwitch1 --vlan 4096",
            &["4096", "--vlan", "4095"][..],
        ),
        ("portgroup set Lab --vlan 4096", &["4096", "--vlan", "4095"]),
        ("portgroup set Lab --vlan ten", &["ten", "--vlan"]),
        (
            "portgroup set Lab --promiscuous maybe",
            &["maybe", "--promiscuous", "accept"],
        ),
        (
            "vswitch set vSwitch1 --promiscuous inherit",
            &["inherit", "accept, reject"],
        ),
        ("vswitch set vSwitch1 --mtu 100000", &["100000", "--mtu"]),
        ("vswitch add vSwitch2 --mtu 64", &["64", "--mtu"]),
        (
            "port add new --portgroup Lab --veth free0 --mac zz",
            &["zz", "--mac"],
        ),
        (
            "port add new --portgroup Lab --veth free0 --mac 02:00:00:00:01",
            &["02:00:00:00:01", "--mac"],
        ),
        (
            "port set one --mac 02:00:00:00:00:0g",
            &["02:00:00:00:00:0g", "--mac"],
        ),
        // Of a form that addresses have, and still not an adapter's.
        (
            "port set one --mac 01:00:5e:00:00:01",
            &["port one", "mac", "01:00:5e:00:00:01", "unicast"],
        ),
        (
            "port set one --mac ff:ff:ff:ff:ff:ff",
            &["port one", "mac", "unicast"],
        ),
        (
            "port set one --mac 00:00:00:00:00:00",
            &["port one", "mac", "unicast"],
        ),
        (
            "port set one --link sideways",
            &["sideways", "--link", "up"],
        ),
        (
            "port set one --block perhaps",
            &["perhaps", "--block", "yes"],
        ),
        (
            "port add new --portgroup Lab --veth free0 --engine warp",
            &["warp", "--engine"],
        ),
        (
            "port add new --portgroup Lab --veth an-interface-name-too-long",
            &["--veth"],
        ),
        ("port add new --portgroup Lab", &["--veth"]),
        ("portgroup set Lab --vlam 10", &["--vlam", "--vlan"]),
        ("portgruop list", &["portgruop", "portgroup"]),
        ("port set one", &["--portgroup"]),
        ("stats -o xml", &["xml", "json"]),
    ] {
        office.refuses(line, 2, words);
    }
}

#[test]
fn a_name_twice_is_a_conflict_unless_nothing_differs() {
    let office = Office::new();
    let (host, mac) = (&office.host, office.one.mac);
    let before = host.export();
    for line in [
        "vswitch add vSwitch1".to_owned(),
        "portgroup add Lab --vswitch vSwitch1 --vlan 10".to_owned(),
        format!("port add one --portgroup Lab --veth p-one --mac {mac}"),
        "portgroup set Lab --vlan 10".to_owned(),
        "port set one --block no".to_owned(),
    ] {
        let said = host.does(&line);
        assert!(said.contains("unchanged"), "{line}: {said}");
        assert_eq!(host.export(), before, "{line}");
    }
    office.refuses(
        "vswitch add vSwitch1 --mtu 9000",
        4,
        &["vSwitch1", "mtu", "weft vswitch set vSwitch1"],
    );
    office.refuses(
        "portgroup add Lab --vswitch vSwitch1 --vlan 11",
        4,
        &["port group Lab", "vlan", "11", "weft portgroup set Lab"],
    );
    office.refuses(
        "port add one --portgroup Empty --veth p-one",
        4,
        &["port one", "portgroup", "weft port set one"],
    );
}

#[test]
fn interfaces_of_others_are_conflicts() {
    let office = Office::new();
    for (line, words) in [
        (
            "port add new --portgroup Lab --veth p-one",
            &["port new", "veth", "p-one", "port one", "another interface"][..],
        ),
        (
            "uplink add vSwitch1 p-one",
            &["vSwitch1", "uplinks", "p-one", "port one"],
        ),
        (
            "port add new --portgroup Lab --veth used0",
            &["port new", "veth", "used0", "10.9.9.9", "--yes"],
        ),
        (
            "uplink add vSwitch1 used0",
            &["vSwitch1", "uplinks", "used0", "10.9.9.9", "--yes"],
        ),
        (
            "vswitch add vSwitch2 --uplink used0",
            &["vSwitch2", "uplinks", "used0", "10.9.9.9", "--yes"],
        ),
    ] {
        office.refuses(line, 4, words);
    }
    let host = &office.host;
    host.does("uplink add vSwitch1 used0 --yes");
    office.refuses(
        "vswitch add vSwitch2 --uplink used0 --yes",
        4,
        &[
            "vSwitch2",
            "uplinks",
            "used0 is used by standard switch vSwitch1",
        ],
    );
    office.refuses(
        "port add new --portgroup Lab --veth used0 --yes",
        4,
        &["port new", "veth", "used0"],
    );
    host.does("uplink del vSwitch1 used0");
    host.does("port add new --portgroup Lab --veth used0 --yes");
    host.does("port del new");
}

#[test]
fn addresses_of_others_are_conflicts() {
    let office = Office::new();
    let (host, mac) = (&office.host, office.one.mac);
    let line = format!("port set two --mac {mac}");
    let words = ["port two", "mac", "port one", &mac.to_string()];
    office.refuses(&line, 4, &words);
    // In another VLAN it is nobody else's.
    host.does(&format!(
        "port add new --portgroup Empty --veth free0 --mac {mac}"
    ));
    office.refuses(
        "port set new --portgroup Lab",
        4,
        &["port new", "mac", "port one"],
    );
    host.does("port del new");
}

#[test]
fn what_is_in_use_stays() {
    let office = Office::new();
    office.refuses(
        "portgroup del Lab",
        4,
        &["port group Lab", "port one", "port two"],
    );
    office.refuses("vswitch del vSwitch1", 4, &["vSwitch1", "port group Lab"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let office = Office::new();
    let host = &office.host;
    let before = (host.export(), host.runs("ip -details link"));
    for line in [
        "vswitch add vSwitch2 --uplink free0",
        "vswitch set vSwitch1 --promiscuous accept",
        "portgroup add New --vswitch vSwitch1 --vlan 20",
        "portgroup set Lab --vlan 20",
        "portgroup del Empty",
        "port add new --portgroup Lab --veth free0",
        "port set one --block yes",
        "port del one",
        "uplink add vSwitch1 free0",
    ] {
        let said = host.does(&format!("{line} --dry-run"));
        assert!(said.contains("would"), "{line}: {said}");
        let after = (host.export(), host.runs("ip -details link"));
        assert_eq!(after, before, "{line}");
    }
    // What would be refused is refused.
    office.refuses("portgroup del Lab --dry-run", 4, &["port group Lab"]);
    office.refuses(
        "port add new --portgroup Labb --veth free0 --dry-run",
        3,
        &["Lab?"],
    );
}

#[test]
fn an_agent_that_does_not_run_is_unreachable() {
    let host = Host::asleep(None);
    let socket = host.socket();
    let words = [
        "no agent answers",
        socket.to_str().unwrap(),
        "weft agent",
        "--agent",
    ];
    for line in ["status", "export", "port list", "vswitch add vSwitch1"] {
        host.weft(line).refused(5, &words);
    }
    // A socket that a killed agent left behind.
    host.start();
    host.kill();
    assert!(host.socket().exists());
    host.weft("status").refused(5, &words);
}

#[test]
fn a_second_agent_is_refused() {
    let office = Office::new();
    let host = &office.host;
    let directory = tempfile::tempdir().unwrap();
    let other = |name: &str| directory.path().join(name);
    let agent = |state: &Path, socket: &Path| Answer::of(&mut host.agent_command(state, socket));
    agent(&other("state"), &host.socket()).refused(
        4,
        &["another agent", host.socket().to_str().unwrap(), "--socket"],
    );
    agent(host.state(), &other("socket")).refused(
        4,
        &["another agent", host.state().to_str().unwrap(), "--state"],
    );
    host.agent_pid();
}

/// An interface that another agent serves is not taken from it.
#[test]
fn an_interface_that_another_agent_has_is_refused() {
    let office = Office::new();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let mut agent = office
        .host
        .agent_command(&directory.path().join("state"), &socket)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let other = |line: &str| {
        let mut command = Command::new(weft());
        Answer::of(command.arg("--agent").arg(&socket).args(line.split(' ')))
    };
    until("the other agent answers", || {
        other("status").code == Some(0)
    });
    other("vswitch add vSwitch1").succeeds();
    other("portgroup add Lab --vswitch vSwitch1").succeeds();
    let before = other("export").succeeds();
    let answer = other("port add one --portgroup Lab --veth p-one");
    let after = other("export").succeeds();
    agent.kill().unwrap();
    agent.wait().unwrap();
    answer.refused(4, &["p-one", "another", "stop the program"]);
    assert_eq!(after, before);
}

#[test]
fn a_lab_file_with_an_unknown_field_is_refused_where_it_stands() {
    let machine = Machine::new();
    let directory = tempfile::tempdir().unwrap();
    let up = |text: &str| {
        let file = directory.path().join("lab.yaml");
        fs::write(&file, text).unwrap();
        machine.weft(&format!("lab up {}", file.display()))
    };
    up("hosts:\n  - {name: esxi01}\nvswitches:\n  - name: vSwitch1\n    host: esxi01\n    portgruops: []\n")
        .refused(2, &["lab.yaml", "portgruops", "line 6", "column 5", "portgroups"]);
    up("hosts:\n  - {name: esxi01}\nvm: []\n").refused(2, &["vm", "line 3", "column 1", "vms"]);
    up("hosts: [{name: esxi01}\n").refused(2, &["lab.yaml", "line"]);
    up("hosts:\n  - {name: esxi01}\nvswitches:\n  - {name: vSwitch1, host: esxi01, portgroups: [{name: Lab, vlan: 4096}]}\n")
        .refused(2, &["4096", "line 4", "4095"]);
    up("hosts:\n  - {name: esxi01}\nvms:\n  - {name: one, host: esxi02, portgroup: Lab}\n")
        .refused(3, &["one", "esxi02", "did you mean esxi01?"]);
    up("hosts:\n  - {name: esxi01}\nvms:\n  - {name: one, host: esxi01, portgroup: Lap}\nvswitches:\n  - {name: vSwitch1, host: esxi01, portgroups: [{name: Lab}]}\n")
        .refused(3, &["one", "Lap", "did you mean Lab?"]);
    machine
        .weft("lab up /nowhere/lab.yaml")
        .refused(3, &["/nowhere/lab.yaml"]);
    machine
        .weft("lab down nowhere")
        .refused(3, &["lab nowhere"]);
    machine
        .weft("lab exec nobody -- true")
        .refused(3, &["nobody"]);
    machine.is_clean("after the lab");
}

/// A small file system, so that it can be full.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]);
        Answer::of(mount.arg(directory.path())).succeeds();
        Self(directory)
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    fn fill(&self) {
        let written = fs::write(self.filler(), vec![0; 1 << 20]);
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _ = umount.arg("--lazy").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_refuses_changes_and_stops_no_frames() {
    let disk = TinyDisk::new();
    let host = Host::asleep(Some(disk.0.path().join("state")));
    host.start();
    host.does("vswitch add vSwitch1");
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    host.runs("ip link add free0 type veth peer name free1");
    let (before, links) = (host.export(), host.runs("ip -details link"));
    let pings = Pings::start(&one, &two);
    disk.fill();
    for line in [
        "portgroup set Lab --vlan 20",
        "portgroup add New --vswitch vSwitch1",
        "port add new --portgroup Lab --veth free0",
        "port del one",
        "uplink add vSwitch1 free0",
        "vswitch set vSwitch1 --promiscuous accept",
    ] {
        let state = host.state().to_str().unwrap().to_owned();
        let words = [state.as_str(), "nothing was changed", "make room"];
        host.weft(line).refused(1, &words);
        assert_eq!(host.export(), before, "{line}");
        assert_eq!(host.runs("ip -details link"), links, "{line}");
    }
    let (sent, received) = pings.stop();
    assert!(
        sent - received <= 1,
        "{received} of {sent} pings were answered"
    );
    // A restart needs no room either.
    host.kill();
    host.start();
    assert_eq!(host.export(), before);
    assert!(one.reaches(&two));
    disk.free();
    host.does("port add new --portgroup Lab --veth free0");
    host.does("portgroup set Lab --vlan 20");
    let after = host.export();
    host.kill();
    host.start();
    assert_eq!(host.export(), after);
    assert!(one.reaches(&two));
}

#[test]
fn who_is_not_root_is_told_so() {
    let office = Office::new();
    let directory = tempfile::tempdir().unwrap();
    // Where anybody can run it.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("weft");
    fs::copy(weft(), &copy).unwrap();
    let nobody = |line: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(&copy).env("WEFT_AGENT", office.host.socket());
        Answer::of(command.args(line.split(' ')))
    };
    nobody("status").refused(8, &["not permitted", "root"]);
    nobody("port del one").refused(8, &["not permitted", "root"]);
    nobody("agent --state /tmp/never --socket /tmp/never.sock").refused(8, &["CAP_", "root"]);
    nobody("lab demo").refused(8, &["root", "sudo"]);
    assert!(!Path::new("/tmp/never").exists());
    nobody("--help").succeeds();
}
