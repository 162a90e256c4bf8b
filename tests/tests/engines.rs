//! Ports on the stacks of kernels: AF_XDP, AF_PACKET and TAP, each towards each.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use weft_datapath::afxdp::testing::{TagPopper, TagPusher};
use weft_datapath::testing::{Guest, GuestOptions};
use weft_packet::{MacAddr, TPID_CTAG};
use weft_tests::{Engine, Frame, Host, Vm, Wire, until};

const ENGINES: [Engine; 3] = [Engine::AfXdp, Engine::Packet, Engine::Tap];

/// A VM for each engine, in one port group.
fn lab() -> (Host, [Vm; 3]) {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let vms = ENGINES.map(|engine| host.vm_by(engine, &format!("{engine:?}"), "Lab"));
    for vm in &vms {
        gets_ipv6(vm);
        until("the port is up", || host.port(&vm.name).0 == "up");
    }
    (host, vms)
}

fn gets_ipv6(vm: &Vm) {
    vm.namespace().run(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0").unwrap();
    });
    vm.does(&format!("ip -6 addr add {} dev eth0 nodad", ipv6(vm)));
}

fn ipv6(vm: &Vm) -> String {
    format!("fd00::{}/64", vm.ip.replace('.', ":"))
}

/// The address to connect to, of either family.
fn addresses(vm: &Vm) -> [String; 2] {
    let ipv6 = ipv6(vm);
    [
        vm.ip.clone(),
        ipv6.strip_suffix("/64").unwrap_or(&ipv6).to_owned(),
    ]
}

/// A VM whose stack has all its traffic on VLAN 10, and tags it by itself.
struct Tagging {
    vm: Vm,
    _programs: (TagPusher, TagPopper),
}

/// For each engine a VM that tags its frames, and one of the same VLAN that does not.
fn tagged_lab() -> (Host, [Tagging; 3], [Vm; 3]) {
    let host = Host::with_switch();
    host.does("portgroup add Trunk --vswitch vSwitch1 --vlan 4095");
    host.does("portgroup add Ten --vswitch vSwitch1 --vlan 10");
    let tagging = ENGINES.map(|engine| {
        let vm = host.vm_by(engine, &format!("tags{engine:?}"), "Trunk");
        let programs = vm.namespace().run(|| {
            (
                TagPusher::attach("eth0", TPID_CTAG, 10),
                TagPopper::attach("eth0"),
            )
        });
        Tagging {
            vm,
            _programs: programs,
        }
    });
    let plain = ENGINES.map(|engine| host.vm_by(engine, &format!("is{engine:?}"), "Ten"));
    for vm in tagging.iter().map(|tagging| &tagging.vm).chain(&plain) {
        gets_ipv6(vm);
        until("the port is up", || host.port(&vm.name).0 == "up");
    }
    (host, tagging, plain)
}

/// Sends octets from one VM to another, which sends them back, and compares.
fn echoes(from: &Vm, to: &Vm, address: &str) {
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let address = (address, 7000);
    let listener = to.namespace().run(|| TcpListener::bind(address).unwrap());
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(&received).unwrap();
    });
    let mut stream = from
        .namespace()
        .run(|| TcpStream::connect(address).unwrap());
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(&content).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let (from, to) = (&from.name, &to.name);
    assert!(
        answer == content,
        "{from} to {to} at {address:?}: {}",
        answer.len()
    );
    echo.join().unwrap();
}

#[test]
fn tcp_passes_whole_between_all_engines() {
    let (host, vms) = lab();
    for from in &vms {
        for to in vms.iter().filter(|to| to.name != from.name) {
            for address in addresses(to) {
                echoes(from, to, &address);
            }
        }
    }
    let stats = host.stats();
    let [xdp, packet, tap] = vms.each_ref().map(|vm| &stats[&vm.name]);
    assert!(xdp.count("segmented") > 0, "{xdp:?}");
    assert!(
        xdp.count("segments") > 2 * xdp.count("segmented"),
        "{xdp:?}"
    );
    for whole in [packet, tap] {
        assert_eq!(whole.count("segmented"), 0, "{whole:?}");
        let longest_frame = 1514;
        let average = whole.count("rxBytes") / whole.count("rxFrames");
        assert!(
            average > longest_frame,
            "{average} octets a frame: {whole:?}"
        );
    }
}

#[test]
fn tagged_tcp_passes_whole_between_all_engines() {
    let (host, tagging, plain) = tagged_lab();
    let tagging = tagging.each_ref().map(|tagging| &tagging.vm);
    for from in tagging {
        let others = tagging.into_iter().filter(|to| to.name != from.name);
        for to in others.chain(&plain) {
            for address in addresses(to) {
                echoes(from, to, &address);
            }
        }
    }
    let stats = host.stats();
    for [_, packet, tap] in [tagging, plain.each_ref()] {
        for whole in [packet, tap].map(|vm| &stats[&vm.name]) {
            assert_eq!(whole.count("segmented"), 0, "{whole:?}");
            let longest_frame = 1518;
            let average = whole.count("rxBytes") / whole.count("rxFrames");
            assert!(
                average > longest_frame,
                "{average} octets a frame: {whole:?}"
            );
        }
    }
}

#[test]
fn a_train_of_datagrams_passes_between_all_engines() {
    let (host, vms) = lab();
    for from in &vms {
        for to in vms.iter().filter(|to| to.name != from.name) {
            for (address, family) in addresses(to).iter().zip(["INET", "INET6"]) {
                let far = to
                    .namespace()
                    .run(|| UdpSocket::bind((address.as_str(), 0)).unwrap());
                let port = far.local_addr().unwrap().port();
                far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let before = host.stats();
                perl(
                    from,
                    &format!(
                        r#"
                    use Socket qw(:all);
                    socket(my $socket, AF_{family}, SOCK_DGRAM, 0) or die $!;
                    setsockopt($socket, IPPROTO_UDP, {UDP_SEGMENT}, pack("i", {SEGMENT})) or die $!;
                    my $to = pack_sockaddr_in{six}({port}, inet_pton(AF_{family}, "{address}"));
                    my $train = join("", map {{ chr($_ % 251) }} 0..{TRAIN} - 1);
                    send($socket, $train, 0, $to) == {TRAIN} or die $!;
                    "#,
                        six = family.strip_prefix("INET").unwrap_or_default(),
                    ),
                );
                let mut received = Vec::new();
                let mut buffer = [0; 9000];
                while received.len() < TRAIN {
                    let length = far.recv(&mut buffer).unwrap();
                    assert!(length <= SEGMENT, "{length}");
                    received.extend_from_slice(&buffer[..length]);
                }
                let sent: Vec<u8> = (0..TRAIN).map(|n| (n % 251) as u8).collect();
                let (sender, receiver) = (&from.name, &to.name);
                assert!(received == sent, "{sender} to {receiver}: octets differ");
                let after = host.stats();
                let cut = |name| after[name].count("segmented") - before[name].count("segmented");
                let xdp = &vms[0].name;
                assert_eq!(cut(receiver), u64::from(receiver == xdp && sender != xdp));
            }
        }
    }
}

/// An option of UDP sockets (linux/udp.h), of which Perl does not know: cuts what is sent at once into datagrams of a length.
const UDP_SEGMENT: u32 = 103;
const SEGMENT: usize = 1400;
const TRAIN: usize = 20 * SEGMENT + 100;

#[test]
fn datagrams_pass_whole_between_all_engines() {
    let (_host, vms) = lab();
    for from in &vms {
        for to in vms.iter().filter(|to| to.name != from.name) {
            for address in addresses(to) {
                let open = |vm: &Vm, address: &str| {
                    vm.namespace()
                        .run(|| UdpSocket::bind((address, 0)).unwrap())
                };
                let far = open(to, &address);
                let near = open(
                    from,
                    if address.contains(':') {
                        "::"
                    } else {
                        "0.0.0.0"
                    },
                );
                far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut buffer = [0; 9000];
                // The last ones are cut by IP.
                for length in [0, 1, 17, 100, 1471, 1472, 5000, 8192] {
                    let datagram: Vec<u8> = (0..length).map(|n| n as u8).collect();
                    near.send_to(&datagram, far.local_addr().unwrap()).unwrap();
                    let (received, _) = far.recv_from(&mut buffer).unwrap();
                    assert_eq!(buffer[..received], datagram, "{} to {}", from.name, to.name);
                }
            }
        }
    }
}

#[test]
fn a_port_without_offloads_gets_frames_that_are_finished() {
    let (_host, [xdp, packet, tap]) = lab();
    for from in [&packet, &tap] {
        for address in addresses(&xdp) {
            gets_finished_frames(&xdp, &address, from);
        }
    }
}

#[test]
fn a_tagged_port_without_offloads_gets_frames_that_are_finished() {
    let (_host, tagging, [_, packet, tap]) = tagged_lab();
    let xdp = &tagging[0].vm;
    for from in [&packet, &tap] {
        for address in addresses(xdp) {
            let shown = gets_finished_frames(xdp, &address, from);
            let frames = shown.matches("ethertype ").count();
            assert_eq!(shown.matches("vlan 10, ").count() * 2, frames, "{shown}");
        }
    }
}

/// Sends from one VM to an address of another, and has tcpdump look there at every checksum and length. Returns what it says.
fn gets_finished_frames(to: &Vm, address: &str, from: &Vm) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("capture");
    let filter = format!("dst host {address} or vlan and dst host {address}");
    let capture = Running::start(
        to,
        &format!("tcpdump -i eth0 -U -Z root -w {} {filter}", file.display()),
        "listening on",
    );
    for protocol in ["", " -u -b 0 -l 1400"] {
        let server = Running::start(to, "iperf3 -s -1 --forceflush", "listening");
        from.does(&format!("iperf3 -c {address} -n 4M{protocol}"));
        assert!(server.ends(), "the server answered");
    }
    // What waits to be written is lost when tcpdump is interrupted.
    let written = || std::fs::metadata(&file).unwrap().len();
    until("tcpdump has written everything", || {
        let before = written();
        std::thread::sleep(Duration::from_millis(200));
        written() == before
    });
    capture.interrupt();
    let shown = shown(to, &file);
    let count = |what: &str| shown.matches(what).count();
    assert!(count("(correct)") > 1000, "{} of TCP", count("(correct)"));
    assert!(count("udp sum ok") > 1000, "{} of UDP", count("udp sum ok"));
    let wrong = count("incorrect") + count("bad udp cksum");
    assert_eq!(wrong, 0, "{}", from.name);
    // That of the frame comes first, with its Ethernet header and tag.
    let longest = shown.split("length ").filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    });
    assert!(
        longest.max() <= Some(1518),
        "a frame is longer than the MTU"
    );
    shown
}

/// What tcpdump says of a capture.
fn shown(vm: &Vm, file: &Path) -> String {
    vm.does(&format!("tcpdump -n -e -vv -r {}", file.display()))
}

/// Runs a script in a VM, which succeeds.
fn perl(vm: &Vm, script: &str) {
    let status = vm.command("perl -e").arg(script).status().unwrap();
    assert!(status.success(), "{}: {status}", vm.name);
}

/// A program that runs in a VM until it is told to end.
struct Running(Child);

impl Running {
    /// Returns when the program says that it is ready.
    fn start(vm: &Vm, line: &str, ready: &str) -> Self {
        // Both streams are one, so that one of them can be waited for.
        let mut child = vm
            .command("sh -c")
            .arg(format!("exec {line} 2>&1"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(
            lines
                .by_ref()
                .map_while(Result::ok)
                .any(|said| said.contains(ready)),
            "{line} ended"
        );
        std::thread::spawn(move || lines.count());
        Self(child)
    }

    fn interrupt(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        assert!(self.0.wait().unwrap().success());
    }

    fn ends(mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_tap_device_comes_and_goes_with_its_port() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let exists = || host.runs("ip -br link").contains("weft0");
    host.does("port add host0 --portgroup Lab --tap weft0");
    assert!(exists());
    let (state, reason) = host.port("host0");
    assert_eq!(
        (state.as_str(), reason.as_str()),
        ("down", "interface weft0 is set down")
    );
    host.runs("ip link set weft0 up");
    until("the port is up", || host.port("host0").0 == "up");
    // Deleted under the port, it is made again.
    host.runs("ip link del weft0");
    until("the device is back", exists);
    host.runs("ip link set weft0 up");
    until("the port is up again", || host.port("host0").0 == "up");
    host.does("port del host0");
    assert!(!exists());
}

/// A device that an administrator made, with its addresses, outlives the agent and the port.
#[test]
fn a_persistent_tap_device_stays() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    host.runs("ip tuntap add weft0 mode tap multi_queue");
    host.runs("ip addr add 10.0.99.1/16 dev weft0");
    host.runs("ip link set weft0 up");
    host.does("port add host0 --portgroup Lab --tap weft0");
    let vm = host.vm_by(Engine::Packet, "vm", "Lab");
    vm.does("ip addr add 10.0.99.2/16 dev eth0");
    until("the port is up", || host.port("host0").0 == "up");
    let reaches = || {
        host.runs("ping -n -c 3 -i 0.1 -W 1 10.0.99.2")
            .contains(" 3 received")
    };
    assert!(reaches());
    host.kill();
    assert!(host.runs("ip addr show weft0").contains("10.0.99.1"));
    host.start();
    until("the port is up", || host.port("host0").0 == "up");
    assert!(reaches());
    host.does("port del host0");
    assert!(host.runs("ip addr show weft0").contains("10.0.99.1"));
}

#[test]
fn what_cannot_be_attached_is_refused_with_its_reason() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    host.runs("ip link add p-vm type veth peer name far");
    let refused = |flags: &str, code, words: &[&str]| {
        let answer = host.weft(&format!("port add vm --portgroup Lab {flags}"));
        answer.refused(code, &[&["port vm: "], words].concat());
    };
    refused("--tap p-vm", 4, &["tap: interface p-vm is no TAP device"]);
    refused(
        "--veth tap0 --engine packet",
        3,
        &["veth: interface tap0 does not exist"],
    );
    refused(
        "--vhost-user /nowhere/vm.sock --role server",
        3,
        &["vhostUser: socket /nowhere/vm.sock: No such file", "folder"],
    );
    // A socket that somebody listens on, and a file that is no socket.
    let directory = tempfile::tempdir().expect("a directory");
    let taken = directory.path().join("vm.sock");
    let _listener = UnixListener::bind(&taken).expect("a socket");
    let file = directory.path().join("file");
    std::fs::write(&file, "kept").expect("a file");
    for place in [&taken, &file] {
        let place = place.display();
        refused(
            &format!("--vhost-user {place} --role server"),
            4,
            &[
                &format!("vhostUser: socket {place}: address in use"),
                "ss -xlp",
            ],
        );
    }
    assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), Some("kept"));
    host.does("port add one --portgroup Lab --vhost-user /nowhere/vm.sock");
    refused(
        "--vhost-user /nowhere/vm.sock",
        4,
        &["socket /nowhere/vm.sock is used by port one"],
    );
    let (state, reason) = host.port("one");
    assert_eq!(state, "down");
    assert_eq!(
        reason,
        "there is no socket /nowhere/vm.sock yet; start the VM"
    );
    host.does("port add two --portgroup Lab --tap tap0");
    refused(
        "--tap tap0",
        4,
        &["tap: interface tap0 is used by port two"],
    );
    assert_eq!(host.shows("port list").as_array().map(Vec::len), Some(2));
}

#[test]
fn the_log_says_once_that_a_vm_came_or_left_and_why() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("vm.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    host.does(&format!(
        "port add vm --portgroup Lab --vhost-user {}",
        socket.display()
    ));
    let accept = || listener.accept().expect("the agent").0;
    let lines = |words: &str| host.log().matches(words).count();
    for round in 1..3 {
        let guest = Guest::new(accept(), GuestOptions::default());
        until("the log says that it came", || {
            lines("port vm is up") == round
        });
        drop(guest);
        until("the log says that it left", || {
            lines("port vm is down") == round
        });
    }
    accept().write_all(&[0xff; 64]).expect("the agent reads");
    until("the log says that it failed", || {
        lines("the front-end sent what the protocol does not allow") == 1
    });
    assert_eq!(lines("port vm is up"), 2, "{}", host.log());
    assert_eq!(lines("port vm is down"), 3, "{}", host.log());
}

#[test]
fn what_is_for_a_vm_that_is_not_there_is_counted_at_its_port() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let one = host.vm("one", "Lab");
    host.does(
        "port add away --portgroup Lab --vhost-user /nowhere/vm.sock --mac 02:00:00:00:00:77",
    );
    let mut wire = Wire::new(&host, [&one]);
    for (count, to) in [
        (1, MacAddr::new([2, 0, 0, 0, 0, 0x77])),
        (2, MacAddr::BROADCAST),
    ] {
        wire.send("one", &Frame::new(one.mac, to).octets());
        let stats = &host.stats()["away"];
        assert_eq!(stats.tx_drops("PortDown"), count, "{to}");
        assert!(stats.balances());
    }
}
