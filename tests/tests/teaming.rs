//! Links of a team fail and return, and those who talk notice nothing but the moment.
#![forbid(unsafe_code)]

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use weft_tests::{Fabric, Host, Vm, until};

/// Most echoes, one a millisecond, that may be lost at one event on a busy machine. The move itself takes a few milliseconds;
/// that a bridge notices a pulled cable takes its own time.
const LOST_AT_MOST: u64 = 150;

/// Datagrams that are on their way at one moment.
const BURST: u64 = 8;

const STATION: &str = "10.9.0.1";
const UPLINKS: [&str; 3] = ["eth1", "eth2", "eth3"];

/// A VM on a switch with three uplinks, which lead to one bridge.
struct Team {
    host: Host,
    vm: Vm,
    fabric: Fabric,
}

impl Team {
    fn new(settings: &str) -> Self {
        let host = Host::new();
        let fabric = Fabric::new(&host, &UPLINKS, &format!("{STATION}/24"));
        host.does("vswitch add vSwitch1 --uplink eth1 --uplink eth2 --uplink eth3");
        host.does("portgroup add Lab --vswitch vSwitch1");
        if !settings.is_empty() {
            host.does(&format!("portgroup set Lab {settings}"));
        }
        let vm = host.vm("one", "Lab");
        vm.does("ip addr add 10.9.0.2/24 dev eth0");
        Self { host, vm, fabric }
    }

    /// The uplink that the VM leaves by, as `weft uplink list` says.
    fn uplink(&self) -> Option<String> {
        let uplinks = self.host.shows("uplink list");
        let uplinks = uplinks.as_array().expect("a list");
        let uses = |uplink: &&Value| {
            let teams = uplink["teams"].as_array().expect("teams");
            teams.iter().any(|team| {
                let ports = team["ports"].as_array().expect("ports");
                ports.iter().any(|port| port == "one")
            })
        };
        let uplink = uplinks.iter().find(uses)?;
        Some(uplink["interface"].as_str().expect("a name").to_owned())
    }

    /// Waits until the VM leaves by this uplink.
    #[track_caller]
    fn goes_by(&self, uplink: &str) {
        until(&format!("the VM leaves by {uplink}"), || {
            self.uplink().as_deref() == Some(uplink)
        });
    }

    /// Pulls or plugs in a cable, and waits until the host has seen it.
    fn set(&self, uplink: &str, up: bool) {
        self.fabric.set(uplink, up);
        let state = if up { "up" } else { "down" };
        until(&format!("{uplink} is {state}"), || {
            let uplinks = self.host.shows("uplink list");
            let uplinks = uplinks.as_array().expect("a list");
            uplinks
                .iter()
                .any(|one| one["interface"] == uplink && one["state"] == state)
        });
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.host.shows("events");
        let events = events.as_array().expect("a list");
        let of_kind = events.iter().filter(|event| event["kind"] == kind);
        of_kind.cloned().collect()
    }
}

/// What a ping that ended says of its echoes.
struct Echoes {
    sent: u64,
    answered: u64,
    duplicates: usize,
    /// How many that follow each other were lost at most.
    gap: u64,
}

impl Echoes {
    fn of(text: &str) -> Self {
        let line = text.lines().find(|line| line.contains("transmitted"));
        let line = line.unwrap_or_else(|| panic!("ping sums up: {text}"));
        let sent = line.split(' ').next().and_then(|word| word.parse().ok());
        let replies = text.lines().filter(|line| line.contains("bytes from"));
        let (again, first): (Vec<_>, Vec<_>) = replies.partition(|line| line.contains("(DUP!)"));
        let mut last = 0;
        let mut gap = 0;
        for line in &first {
            let number = line.split("icmp_seq=").nth(1).expect("its number");
            let number = number.split(' ').next().expect("a word");
            let number: u16 = number.parse().expect("a number");
            // It has 16 bits. One that came late ends no gap.
            let ahead = number.wrapping_sub(last);
            if ahead < 1 << 15 {
                gap = gap.max(u64::from(ahead.saturating_sub(1)));
                last = number;
            }
        }
        Self {
            sent: sent.expect("a number"),
            answered: first.len() as u64,
            duplicates: again.len(),
            gap,
        }
    }
}

/// A stream of datagrams from the VM to the station, 2.5 a millisecond, until it is stopped.
struct Stream {
    client: Child,
    server: Child,
}

impl Stream {
    fn start(team: &Team) -> Self {
        let server = team.fabric.starts("iperf3 -s -1 -J");
        until("the server listens", || {
            team.fabric.does("ss -ltn").contains(":5201")
        });
        let line = format!("iperf3 -c {STATION} -u -b 20M -l 1000 -t 600");
        let mut client = team.vm.command(&line);
        client.stdin(Stdio::null()).stdout(Stdio::null());
        let client = client.spawn().expect("running ip (install iproute2)");
        let stream = Self { client, server };
        stream.flows(team);
        stream
    }

    /// Waits until more of it has passed the switch.
    fn flows(&self, team: &Team) {
        let sent = || team.host.stats()["one"].count("rxFrames");
        let before = sent();
        until("the stream flows", || sent() > before + 500);
    }

    /// What the receiver says: datagrams that it expected, that were lost, and that came late or twice.
    fn stop(mut self) -> (u64, u64, u64) {
        kill_process(Pid::from_child(&self.client), Signal::INT).expect("it runs");
        self.client.wait().expect("the client ends");
        let report = self.server.wait_with_output().expect("the server ends");
        let report: Value = serde_json::from_slice(&report.stdout).expect("JSON");
        let of_stream = &report["end"]["streams"][0]["udp"];
        assert_eq!(of_stream["sender"], false, "{report}");
        let count = |field: &str| {
            let count = of_stream[field].as_u64();
            count.unwrap_or_else(|| panic!("{field}: {of_stream}"))
        };
        (
            count("packets"),
            count("lost_packets"),
            count("out_of_order"),
        )
    }
}

/// Every order in which two of three links fail, and both orders in which they return.
fn orders() -> impl Iterator<Item = ([&'static str; 3], [&'static str; 2])> {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    orders.into_iter().flat_map(|order| {
        let [a, b, c] = order.map(|at| UPLINKS[at]);
        [[a, b], [b, a]].map(|back| ([a, b, c], back))
    })
}

#[test]
fn links_fail_and_return_in_every_order() {
    let team = Team::new("--teaming explicit --active eth1,eth2,eth3");
    team.goes_by("eth1");
    let mut ping = team.vm.command(&format!("ping -n -i 0.001 {STATION}"));
    ping.stdin(Stdio::null()).stdout(Stdio::piped());
    let ping = ping.spawn().expect("running ip (install iproute2)");
    let ping_id = Pid::from_child(&ping);
    // Its pipe holds less than it says.
    let ping = std::thread::spawn(move || ping.wait_with_output());
    let mac = team.vm.mac.to_string();
    until("the bridge knows the VM", || {
        team.fabric.knows(&mac).is_some()
    });
    let stream = Stream::start(&team);
    for ([a, b, c], back) in orders() {
        team.set(a, false);
        team.set(b, false);
        team.goes_by(c);
        stream.flows(&team);
        for uplink in back {
            team.set(uplink, true);
        }
        team.goes_by("eth1");
        stream.flows(&team);
    }
    let (expected, lost, late) = stream.stop();
    kill_process(ping_id, Signal::INT).expect("it runs");
    let ping = ping.join().expect("no panic").expect("the ping ends");
    let ping = String::from_utf8_lossy(&ping.stdout).into_owned();
    let echoes = Echoes::of(&ping);
    assert_eq!(echoes.duplicates, 0);
    // Two links fail in each order, of which the VM uses one or both, and it returns by one or two moves.
    let moves = 12 * 4;
    let missing = echoes.sent - echoes.answered;
    println!(
        "lost {missing} of {} echoes, {} in a row; {lost} of {expected} datagrams lost, {late} late",
        echoes.sent, echoes.gap
    );
    assert!(echoes.gap <= LOST_AT_MOST, "{} in a row", echoes.gap);
    assert!(missing <= moves * LOST_AT_MOST, "{missing}");
    assert!(lost <= moves * LOST_AT_MOST * 5 / 2, "{lost}");
    // At the moment of a move a datagram may overtake those of its burst that left by the uplink before; none comes twice.
    assert!(late <= moves * BURST, "{late} came late or twice");
    let moved = team.events("portsMoved");
    let texts: Vec<_> = moved
        .iter()
        .map(|event| event["text"].to_string())
        .collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains("1 port goes by eth2 instead of eth1")),
        "{texts:?}"
    );
}

#[test]
fn a_silent_vm_is_announced_where_it_moved_to_and_back() {
    let team = Team::new("--teaming explicit --active eth2 --standby eth3");
    team.goes_by("eth2");
    let mac = team.vm.mac.to_string();
    // Nothing that the VM sends could tell the bridge where it is.
    team.vm.does("ip link set eth0 arp off");
    let tcpdump = team.fabric.starts("tcpdump -l -n -e -c 1 -i eth3 rarp");
    team.set("eth2", false);
    let known_at = |port: &str| {
        until(&format!("the bridge knows the VM behind {port}"), || {
            team.fabric.knows(&mac).as_deref() == Some(port)
        });
    };
    known_at("eth3");
    team.set("eth2", true);
    team.goes_by("eth2");
    known_at("eth2");
    let seen = tcpdump.wait_with_output().expect("tcpdump ends");
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    for word in [&*mac, "ff:ff:ff:ff:ff:ff", "Reverse Request"] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
}

#[test]
fn without_notification_nothing_is_announced() {
    let team = Team::new("--teaming explicit --active eth2 --standby eth3 --notify no");
    team.goes_by("eth2");
    let before = team.host.stats()["eth3"].count("txFrames");
    team.vm.does("ip link set eth0 arp off");
    team.set("eth2", false);
    team.goes_by("eth3");
    team.host.does("portgroup set Lab --notify yes");
    let mac = team.vm.mac.to_string();
    // The first word about it comes after that.
    until("the bridge knows the VM", || {
        team.fabric.knows(&mac).is_some()
    });
    assert!(team.host.stats()["eth3"].count("txFrames") > before);
}

#[test]
fn without_failback_a_link_that_returns_waits() {
    let team = Team::new("--teaming explicit --active eth1 --standby eth2,eth3 --failback no");
    team.goes_by("eth1");
    team.set("eth1", false);
    team.goes_by("eth2");
    team.set("eth1", true);
    let shown = team.host.does("uplink show eth1");
    assert!(shown.contains("active (explicit), no port"), "{shown}");
    team.goes_by("eth2");
    team.set("eth2", false);
    team.goes_by("eth1");
}

#[test]
fn a_team_without_a_usable_uplink_says_so_and_recovers_by_itself() {
    let team = Team::new("--teaming explicit --active eth1 --standby eth2");
    team.goes_by("eth1");
    team.set("eth1", false);
    team.set("eth2", false);
    until("the VM has no uplink", || team.uplink().is_none());
    // The third one leads there too, and is not used.
    let answered = team
        .vm
        .runs(&format!("ping -n -q -c 2 -i 0.01 -W 1 {STATION}"));
    assert!(
        answered.stdout.contains(" 0 received"),
        "{}",
        answered.stdout
    );
    assert!(team.host.drops("NoUplink") > 0);
    until("it is told", || !team.events("noUplink").is_empty());
    let status = team.host.does("status");
    assert!(status.contains("eth1"), "{status}");
    team.set("eth2", true);
    team.goes_by("eth2");
    let answered = team
        .vm
        .runs(&format!("ping -n -q -c 3 -i 0.01 -W 2 {STATION}"));
    assert!(
        answered.stdout.contains(" 3 received"),
        "{}",
        answered.stdout
    );
    until("it is told", || !team.events("uplinkFound").is_empty());
}

#[test]
fn a_stream_by_port_number_is_whole_but_for_the_moves() {
    let team = Team::new("--teaming srcid");
    until("the VM has an uplink", || team.uplink().is_some());
    let first = team.uplink().expect("it has");
    let stream = Stream::start(&team);
    team.set(&first, false);
    until("the stream moved", || {
        team.uplink().is_some_and(|uplink| uplink != first)
    });
    stream.flows(&team);
    team.set(&first, true);
    team.goes_by(&first);
    stream.flows(&team);
    let (expected, lost, late) = stream.stop();
    println!("{lost} of {expected} datagrams lost, {late} late");
    // 2.5 datagrams a millisecond, two moves.
    assert!(lost <= 5 * LOST_AT_MOST, "{lost}");
    assert!(late <= 2 * BURST, "{late} came late or twice");
}
