//! The host's own interfaces on port groups.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use weft_tests::{Answer, Document, Host, Machine, root, until, weft};

const OF_HOST: &str = "10.77.0.11";
const OF_PEER: &str = "10.77.0.12";

/// A host, and another one beyond its uplink, which has an interface of its own on this VLAN.
fn joined(vlan: u16) -> (Host, Host) {
    let (host, peer) = (Host::new(), Host::new());
    host.join(&peer, "eth1");
    with_group(&peer, vlan);
    peer.does(&format!("vmk add vmk9 --portgroup Mgmt --ip {OF_PEER}/24"));
    (host, peer)
}

/// Has a port group Mgmt on a switch with an uplink.
fn with_group(host: &Host, vlan: u16) {
    host.does("vswitch add vSwitch1 --uplink eth1");
    host.does(&format!(
        "portgroup add Mgmt --vswitch vSwitch1 --vlan {vlan}"
    ));
}

/// The same, where the host has vmk0 on VLAN 10.
fn edge() -> (Host, Host) {
    let (host, peer) = joined(10);
    with_group(&host, 10);
    let said = host.does(&format!(
        "vmk add vmk0 --portgroup Mgmt --ip {OF_HOST}/24 --mtu 1400"
    ));
    assert!(
        said.contains("vmk vmk0 added to Mgmt: up on vmk0 (tap)"),
        "{said}"
    );
    (host, peer)
}

/// What `ip` says of the device.
fn device(host: &Host) -> String {
    host.runs("ip address show dev vmk0")
}

fn has_device(host: &Host) -> bool {
    host.runs("ip -brief link").contains("vmk0")
}

/// A connection from the peer to the host over its interface, and the host's end of it.
fn connection(host: &Host, peer: &Host) -> (TcpStream, TcpStream) {
    let address: SocketAddr = format!("{OF_HOST}:7000").parse().expect("an address");
    let listener = host
        .namespace()
        .run(|| TcpListener::bind(address))
        .expect("the host has the address");
    let far = peer
        .namespace()
        .run(|| TcpStream::connect_timeout(&address, Duration::from_secs(10)))
        .expect("the peer reaches the host");
    let (near, _) = listener.accept().expect("the peer is connected");
    for end in [&far, &near] {
        end.set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time is taken");
    }
    (far, near)
}

/// Sends a megabyte and says whether it arrived whole.
fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    let sent: Vec<u8> = (0..1 << 20).map(|position: u32| position as u8).collect();
    let mut received = vec![0; sent.len()];
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| from.write_all(&sent));
        let read = to.read_exact(&mut received);
        read.is_ok() && sender.join().is_ok_and(|sent| sent.is_ok())
    }) && received == sent
}

#[test]
fn the_host_and_its_peer_reach_each_other_over_an_uplink() {
    let (host, peer) = edge();
    host.runs(&format!("ping -c 1 -w 10 {OF_PEER}"));
    peer.runs(&format!("ping -c 1 -w 10 {OF_HOST}"));
    let (mut far, mut near) = connection(&host, &peer);
    assert!(passes(&mut far, &mut near) && passes(&mut near, &mut far));
    let shown = device(&host);
    assert!(
        shown.contains("mtu 1400") && shown.contains("10.77.0.11/24"),
        "{shown}"
    );
    let addresses = host.shows("vmk show vmk0")["status"]["addresses"].take();
    let mac = addresses[0]["mac"]
        .as_str()
        .expect("it has an address")
        .to_owned();
    assert!(shown.contains(&mac), "{shown}\n{addresses}");
    let again = host.does(&format!(
        "vmk add vmk0 --portgroup Mgmt --ip {OF_HOST}/24 --mtu 1400"
    ));
    assert!(again.contains("unchanged"), "{again}");
    // What changes replaces what was, and nothing else.
    host.runs(&format!("ip route add 10.88.0.0/16 via {OF_PEER} dev vmk0"));
    host.does("vmk set vmk0 --ip 10.77.0.13/24 --mtu none --mac 02:00:00:00:77:01");
    let shown = device(&host);
    assert!(!shown.contains(OF_HOST), "{shown}");
    for expected in ["10.77.0.13/24", "mtu 1500", "02:00:00:00:77:01"] {
        assert!(shown.contains(expected), "{shown}");
    }
    assert!(host.runs("ip route").contains("10.88.0.0/16"));
    host.runs(&format!("ping -c 1 -w 10 {OF_PEER}"));
    assert_eq!(host.weft("port del vmk0").code, Some(4));
    host.does("vmk del vmk0");
    assert!(!has_device(&host));
}

#[test]
fn a_connection_outlives_the_agent() {
    let (host, peer) = edge();
    let (mut far, mut near) = connection(&host, &peer);
    assert!(passes(&mut far, &mut near));
    for end in [Host::kill, Host::end, Host::kill] {
        end(&host);
        assert!(has_device(&host));
        host.start();
        assert!(passes(&mut near, &mut far) && passes(&mut far, &mut near));
        peer.runs(&format!("ping -c 1 -w 10 {OF_HOST}"));
    }
}

#[test]
fn a_device_that_is_deleted_comes_back() {
    let (host, peer) = edge();
    host.runs("ip link del vmk0");
    until("the device is there again", || {
        has_device(&host) && device(&host).contains(OF_HOST)
    });
    until("it is up", || host.port("vmk0").0 == "up");
    peer.runs(&format!("ping -c 1 -w 10 {OF_HOST}"));
    let told = host.does("events");
    assert!(
        told.contains("interface vmk0 was deleted and is made again; routes through it are gone"),
        "{told}"
    );
}

#[test]
fn a_device_that_is_renamed_is_missed() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    host.does("vmk add vmk0 --portgroup Lab --ip 10.79.0.1/24");
    host.runs("ip link set vmk0 down");
    host.runs("ip link set vmk0 name lan");
    until("it is missed", || {
        host.port("vmk0").1.contains("renamed or moved")
    });
    host.runs("ip link set lan name vmk0");
    host.runs("ip link set vmk0 up");
    until("it is up", || host.port("vmk0").0 == "up");
    // Where the agent ends meanwhile, the next one makes another one, to which the address goes.
    host.runs("ip link set vmk0 down");
    host.runs("ip link set vmk0 name lan");
    host.kill();
    host.start();
    assert_eq!(host.port("vmk0").0, "up");
    assert!(device(&host).contains("10.79.0.1/24"));
    assert!(!host.runs("ip -brief link").contains("lan"));
}

#[test]
fn on_an_isolated_switch_it_reaches_the_vms_of_the_host() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 20");
    let vm = host.vm("one", "Lab");
    vm.does("ip address add 10.78.0.1/24 dev eth0");
    host.does("vmk add vmk1 --portgroup Lab --ip 10.78.0.2/24");
    host.runs("ping -c 1 -w 10 10.78.0.1");
    vm.does("ping -c 1 -w 10 10.78.0.2");
    let elsewhere = host.weft("vmk add vmk2 --portgroup Lab --ip 127.0.0.2/8");
    assert_eq!(elsewhere.code, Some(2));
    host.runs("ip address add 10.79.0.1/24 dev lo");
    let elsewhere = host.weft("vmk add vmk2 --portgroup Lab --ip 10.79.0.1/24");
    assert_eq!(elsewhere.code, Some(4));
    assert!(elsewhere.stderr.contains("on lo already"), "{elsewhere:#?}");
    assert!(!host.runs("ip -brief link").contains("vmk2"));
    host.runs("ip link add vmk3 type veth peer name far3");
    let other = host.weft("vmk add vmk3 --portgroup Lab");
    assert_eq!(other.code, Some(4), "{other:#?}");
    assert!(host.runs("ip -brief link").contains("vmk3"));
}

/// A device's mark, addresses and Ethernet address, as far as they are not the port's.
fn identity(host: &Host, device: &str) -> String {
    let shown = host.runs(&format!("ip -details address show dev {device}"));
    let lines = shown.lines().map(str::trim);
    let told = lines.filter(|line| {
        let begins = ["link/ether", "inet", "alias"];
        begins.iter().any(|word| line.starts_with(word))
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_address_moves_to_another_interface_in_one_change() {
    let (host, peer) = edge();
    let (mut far, mut near) = connection(&host, &peer);
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("vmks.yaml");
    let apply = |vmks: &str| {
        std::fs::write(&path, format!("vmks: [{vmks}]")).expect("the file is written");
        host.does(&format!("apply -f {} --yes", path.display()))
    };
    let has = |device: &str, address: &str| {
        let shown = host.runs(&format!("ip -brief address show dev {device}"));
        shown.contains(&format!("{address}/24"))
    };
    apply("{name: vmk1, portgroup: Mgmt, ip: 10.77.0.11/24}");
    assert!(has("vmk1", OF_HOST) && !has_device(&host));
    assert!(passes(&mut far, &mut near) && passes(&mut near, &mut far));
    host.does("rollback --yes");
    assert!(has("vmk0", OF_HOST));
    assert!(passes(&mut far, &mut near) && passes(&mut near, &mut far));
    let both = |one: u8, other: u8| {
        format!(
            "{{name: vmk0, portgroup: Mgmt, ip: 10.77.0.{one}/24}}, {{name: vmk1, portgroup: Mgmt, ip: 10.77.0.{other}/24}}"
        )
    };
    apply(&both(11, 13));
    apply(&both(13, 11));
    assert!(has("vmk0", "10.77.0.13") && has("vmk1", OF_HOST));
    assert!(passes(&mut far, &mut near) && passes(&mut near, &mut far));
    host.runs("ip address add 10.79.0.9/24 dev lo");
    let refused = format!(
        "vmks: [{}, {{name: vmk2, portgroup: Mgmt, ip: 10.79.0.9/24}}]",
        both(11, 13)
    );
    std::fs::write(&path, refused).expect("the file is written");
    let refused = host.weft(&format!("apply -f {} --yes", path.display()));
    refused.refused(4, &["10.79.0.9", "on lo already"]);
    assert!(has("vmk0", "10.77.0.13") && has("vmk1", OF_HOST));
    assert!(passes(&mut far, &mut near) && passes(&mut near, &mut far));
}

#[test]
fn somebody_elses_device_is_left_as_it_is() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    host.runs("ip tuntap add vmk0 mode tap");
    host.runs("ip address add 10.79.0.5/24 dev vmk0");
    host.runs("ip link set vmk0 up");
    let before = identity(&host, "vmk0");
    let refused = host.weft("vmk add vmk0 --portgroup Lab --ip 10.79.0.1/24");
    refused.refused(4, &["vmk0", "weft did not make it", "ip link del vmk0"]);
    assert_eq!(identity(&host, "vmk0"), before);
    assert!(!before.contains("alias"), "{before}");
    host.runs("ip link del vmk0");
    host.does("vmk add vmk0 --portgroup Lab --ip 10.79.0.1/24");
    // Nor where it came while the agent was away.
    host.end();
    host.runs("ip link del vmk0");
    host.runs("ip tuntap add vmk0 mode tap");
    let before = identity(&host, "vmk0");
    host.start();
    let (state, reason) = host.port("vmk0");
    assert_eq!(state, "down");
    assert!(reason.contains("weft did not make it"), "{reason}");
    host.does("vmk del vmk0");
    assert_eq!(identity(&host, "vmk0"), before);
}

#[test]
fn in_a_lab_hosts_reach_each_other_over_their_vmks_and_nothing_is_left() {
    let directory = tempfile::tempdir().expect("a folder");
    let file = directory.path().join("hosts.yaml");
    let text = "
hosts: [{name: esxi01, uplinks: [eth1]}, {name: esxi02, uplinks: [eth1]}]
vswitches:
  - {name: vSwitch0, host: esxi01, uplinks: [eth1], portgroups: [{name: Mgmt01, vlan: 10}]}
  - {name: vSwitch0, host: esxi02, uplinks: [eth1], portgroups: [{name: Mgmt02, vlan: 10}]}
vmks:
  - {name: vmk0, portgroup: Mgmt01, ip: 10.77.0.11/24}
  - {name: vmk1, portgroup: Mgmt02, ip: 10.77.0.12/24}
";
    std::fs::write(&file, text).expect("it can be written");
    let machine = Machine::new();
    let up = format!("lab up {}", file.display());
    machine.weft(&up).succeeds();
    let ping = "lab exec esxi01 -- ping -n -q -c 1 -w 10 10.77.0.12";
    machine.weft(ping).succeeds();
    let again = machine.weft(&up).succeeds();
    assert!(again.contains("unchanged"), "{again}");
    let vmks = machine.weft("lab exec esxi02 -- weft vmk list -o json");
    let vmks = vmks.json();
    assert_eq!(vmks[0]["spec"]["name"], "vmk1", "{vmks}");
    assert_eq!(vmks[1], serde_json::Value::Null, "{vmks}");
    machine.weft("lab down").succeeds();
    machine.is_clean("after the lab");
}

#[test]
fn the_last_path_of_the_operator_needs_a_word_of_consent() {
    let (host, peer) = edge();
    let over_ssh = |line: &str| by_ssh_to(&host, OF_HOST, line);
    for line in [
        "uplink del vSwitch1 eth1",
        "portgroup set Mgmt --vlan 20",
        "port set vmk0 --block yes",
        "vmk set vmk0 --ip none",
        "vmk del vmk0 --dry-run",
        "vmk del vmk0",
    ] {
        let refused = over_ssh(line);
        assert_eq!(refused.code, Some(4), "{refused:#?}");
        for word in ["vmk0", OF_HOST, "--yes"] {
            assert!(refused.stderr.contains(word), "{refused:#?}");
        }
    }
    peer.runs(&format!("ping -c 1 -w 10 {OF_HOST}"));
    over_ssh("vmk del vmk0 --yes").succeeds();
    assert!(!has_device(&host));
}

/// The command of somebody who is connected over the address.
fn by_ssh_to(host: &Host, address: &str, line: &str) -> Answer {
    let mut command = Command::new(weft());
    command.env_remove("WEFT_AGENT");
    command.env("SSH_CONNECTION", format!("{OF_PEER} 50000 {address} 22"));
    command.arg("--agent").arg(host.socket());
    Answer::of(command.args(line.split(' ')))
}

#[test]
fn an_address_that_weft_did_not_give_is_a_path_of_the_operator_too() {
    let (host, _peer) = edge();
    host.does("vmk set vmk0 --ip none");
    // As a DHCP client does.
    host.runs("ip address add 10.77.0.21/24 dev vmk0 valid_lft 3600 preferred_lft 3600");
    let over_ssh = |line: &str| by_ssh_to(&host, "10.77.0.21", line);
    for line in [
        "portgroup set Mgmt --vlan 20",
        "uplink del vSwitch1 eth1",
        "vmk del vmk0",
    ] {
        over_ssh(line).refused(4, &["vmk0", "10.77.0.21", "--yes"]);
    }
    over_ssh("vmk set vmk0 --mtu 1300").succeeds();
    over_ssh("vmk del vmk0 --yes").succeeds();
}

#[test]
fn a_plan_tells_what_it_takes_from_the_operator() {
    let (host, _peer) = edge();
    let directory = tempfile::tempdir().expect("a folder");
    let file = directory.path().join("host.yaml");
    std::fs::write(&file, "vmks: []\n").expect("a file is written");
    let file = file.display();
    let over_ssh = |line: &str| by_ssh_to(&host, OF_HOST, line);
    for line in [
        format!("apply -f {file} --dry-run"),
        "rollback 1 --dry-run".to_owned(),
    ] {
        let refused = over_ssh(&line);
        refused.refused(4, &["remove", "vmk0", OF_HOST, "--yes"]);
    }
    let told = over_ssh(&format!("diff -f {file}"));
    assert_eq!(told.code, Some(0), "{told:#?}");
    assert!(told.stdout.contains("remove"), "{told:#?}");
    for word in ["warning: ", "vmk vmk0", OF_HOST, "--yes"] {
        assert!(told.stderr.contains(word), "{told:#?}");
    }
}

#[test]
fn it_has_an_address_of_either_version() {
    let (host, peer) = edge();
    let refused = host.weft("vmk set vmk0 --ip fd00:77::11/64");
    refused.refused(4, &["vmk0", "IPv6 is switched off", "disable_ipv6=0"]);
    for (host, device) in [(&host, "vmk0"), (&peer, "vmk9")] {
        for which in ["default", device] {
            let setting = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
            let allowed = host.namespace().run(|| std::fs::write(setting, "0"));
            allowed.expect("the namespace may have IPv6");
        }
    }
    host.does("vmk set vmk0 --ip fd00:77::11/64");
    peer.does("vmk set vmk9 --ip fd00:77::12/64");
    // An address is used when nobody else answers for it (RFC 4862 §5.4).
    until("the other end is reached", || {
        let ping = "ping -n -c 1 -w 1 fd00:77::12";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", host.namespace().name()]);
        Answer::of(command.args(ping.split(' '))).code == Some(0)
    });
    let shown = device(&host);
    assert!(
        shown.contains("fd00:77::11/64") && !shown.contains(OF_HOST),
        "{shown}"
    );
}

#[test]
fn an_address_that_is_taken_away_is_given_back() {
    let (host, peer) = edge();
    let (mut far, mut near) = connection(&host, &peer);
    for line in [
        "ip address del 10.77.0.11/24 dev vmk0",
        "ip address flush dev vmk0",
    ] {
        host.runs(line);
        until("it has its address", || device(&host).contains(OF_HOST));
    }
    assert!(passes(&mut far, &mut near));
    let ethernet = || {
        let shown = device(&host);
        let line = shown.lines().find(|line| line.contains("link/ether"));
        line.expect("it has one").to_owned()
    };
    let before = ethernet();
    host.runs("ip link set vmk0 address 02:00:00:00:77:09 mtu 1380");
    until("it has its Ethernet address and MTU", || {
        ethernet() == before && device(&host).contains("mtu 1400")
    });
    peer.runs(&format!("ping -c 1 -w 10 {OF_HOST}"));
    // What is no matter of the vmk stays: its administrator set it down.
    host.runs("ip link set vmk0 down");
    until("the port is down", || host.port("vmk0").0 == "down");
    let is_down = || !device(&host).contains("UP");
    assert!(is_down());
    host.does("vmk set vmk0 --mtu 1300");
    assert!(device(&host).contains("mtu 1300") && is_down());
    host.end();
    host.start();
    assert!(is_down(), "{}", device(&host));
}

/// Where the agent was killed between the change and what comes of it.
#[test]
fn a_device_that_nobody_wants_goes_at_the_next_start() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    host.does("vmk add vmk0 --portgroup Lab");
    host.does("port add tap0 --portgroup Lab --tap tap0");
    let mark = host.runs("ip -details link show dev vmk0");
    let mark = mark
        .lines()
        .find_map(|line| line.trim().strip_prefix("alias "));
    let mark = mark.expect("it is marked").to_owned();
    host.kill();
    for name in ["vmk7", "vmk8"] {
        host.runs(&format!("ip tuntap add {name} mode tap"));
    }
    let mut command = Command::new("ip");
    command.args([
        "-n",
        host.namespace().name(),
        "link",
        "set",
        "vmk7",
        "alias",
    ]);
    Answer::of(command.arg(mark)).succeeds();
    host.start();
    let links = host.runs("ip -brief link");
    assert!(links.contains("vmk0") && !links.contains("vmk7"), "{links}");
    assert!(links.contains("vmk8"), "it is somebody else's: {links}");
    host.does("vmk del vmk0");
    assert!(!has_device(&host));
}

#[test]
fn two_agents_of_one_host_name_leave_each_other_their_interfaces() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    host.does("vmk add vmk0 --portgroup Lab --ip 10.79.0.1/24");
    let directory = tempfile::tempdir().expect("a folder");
    let (state, socket) = (
        directory.path().join("state"),
        directory.path().join("sock"),
    );
    let mut other = host.agent_command(&state, &socket);
    let mut other = other.spawn().expect("an agent starts");
    let line = |line: &str| {
        let mut command = Command::new(weft());
        command.env_remove("WEFT_AGENT");
        command.arg("--agent").arg(&socket);
        Answer::of(command.args(line.split(' ')))
    };
    until("it answers", || line("status").code == Some(0));
    line("vswitch add vSwitch2");
    line("portgroup add Lab2 --vswitch vSwitch2");
    let same = line("vmk add vmk0 --portgroup Lab2");
    other.kill().expect("it is there");
    other.wait().expect("it is there");
    same.refused(4, &["vmk0"]);
    assert!(device(&host).contains("10.79.0.1/24"));
}

/// The script of the documentation, with a shorter time, while somebody is connected over the address that moves.
fn moves_to_its_vmk(host: &Host, directory: &Path) {
    let document = Document::read(&root(), "docs/vmk.md");
    let scripts = document.blocks.iter().map(|block| block.lines.join("\n"));
    let mut scripts = scripts.filter(|script| script.contains("move.sh"));
    let script = scripts.next().expect("the documentation has it");
    let ours = script
        .replace("eth0", "eth1")
        .replace("10.0.0.", "10.77.0.")
        .replace("60s", "5s")
        .replace("sleep 70", "sleep 10")
        .replace("END\nsetsid", "echo ended\nEND\nsetsid");
    for expected in [
        "10.77.0.11/24 dev eth1",
        "--confirm 5s",
        "sleep 10",
        "echo ended",
    ] {
        assert!(ours.contains(expected), "{ours}");
    }
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        host.namespace().name(),
        "sh",
        "-e",
        "-c",
        &ours,
    ]);
    let path = weft().parent().expect("it stands in a folder").to_owned();
    let before = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{before}", path.display()));
    command.env("WEFT_AGENT", host.socket());
    Answer::of(command.current_dir(directory)).succeeds();
}

#[test]
fn a_management_address_moves_with_its_connections() {
    a_management_address_moves(true);
}

#[test]
fn a_management_address_that_is_not_confirmed_moves_back() {
    a_management_address_moves(false);
}

fn a_management_address_moves(confirms: bool) {
    let (host, peer) = joined(0);
    host.runs("ip address add 10.77.0.11/24 dev eth1");
    host.runs("ip route add default via 10.77.0.1 dev eth1");
    let (mut far, mut near) = connection(&host, &peer);
    assert!(passes(&mut far, &mut near));
    let directory = tempfile::tempdir().expect("a folder");
    moves_to_its_vmk(&host, directory.path());
    until("it has moved", || {
        has_device(&host) && device(&host).contains(OF_HOST)
    });
    let routed_by = |device: &str| {
        let routes = host.runs("ip route show default");
        routes.contains(&format!("dev {device}"))
    };
    until("the route has moved", || routed_by("vmk0"));
    assert!(passes(&mut far, &mut near) && passes(&mut near, &mut far));
    if confirms {
        host.does("confirm");
    }
    until("the script has ended", || {
        let log = std::fs::read_to_string(directory.path().join("move.log"));
        log.is_ok_and(|log| log.ends_with("ended\n"))
    });
    let device = if confirms { "vmk0" } else { "eth1" };
    assert!(routed_by(device));
    assert!(passes(&mut far, &mut near) && passes(&mut near, &mut far));
}
