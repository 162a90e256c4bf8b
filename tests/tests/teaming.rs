//! Links of a team fail and return, and those who talk notice nothing but the moment.
#![forbid(unsafe_code)]

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use weft_tests::{Answer, Fabric, Host, Vm, until};

/// Most echoes, one a millisecond, that may be lost at one event on a busy machine. The move itself takes a few milliseconds;
/// that a bridge notices a pulled cable takes its own time.
const LOST_AT_MOST: u64 = 150;

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

/// What a ping that ended says: sent, answered, answered twice.
fn summary(text: &str) -> (u64, u64, u64) {
    let line = text.lines().find(|line| line.contains("transmitted"));
    let line = line.unwrap_or_else(|| panic!("ping sums up: {text}"));
    let number = |what: &str| {
        let part = line.split(", ").find(|part| part.contains(what));
        let number = part.and_then(|part| part.trim_start_matches('+').split(' ').next());
        number.map_or(0, |number| number.parse().expect("a number"))
    };
    (
        number("packets transmitted"),
        number("received"),
        number("duplicates"),
    )
}

#[test]
fn links_fail_and_return_in_every_order() {
    let team = Team::new("--teaming explicit --active eth1,eth2,eth3");
    team.goes_by("eth1");
    let mut ping = team.vm.command(&format!("ping -n -q -i 0.001 {STATION}"));
    ping.stdin(Stdio::null()).stdout(Stdio::piped());
    let ping = ping.spawn().expect("running ip (install iproute2)");
    let mac = team.vm.mac.to_string();
    until("the bridge knows the VM", || {
        team.fabric.knows(&mac).is_some()
    });
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let [a, b, c] = order.map(|at| UPLINKS[at]);
        team.set(a, false);
        team.set(b, false);
        team.goes_by(c);
        team.set(a, true);
        team.set(b, true);
        team.goes_by("eth1");
    }
    kill_process(Pid::from_child(&ping), Signal::INT).expect("it runs");
    let ping = ping.wait_with_output().expect("the ping ends");
    let ping = String::from_utf8_lossy(&ping.stdout).into_owned();
    let (sent, answered, duplicates) = summary(&ping);
    assert_eq!(duplicates, 0, "{ping}");
    // Two links fail in each order, of which the VM uses one or both, and it returns.
    let moves = 6 * 3;
    println!(
        "lost {} of {sent} in at most {moves} moves",
        sent - answered
    );
    assert!(sent - answered <= moves * LOST_AT_MOST, "{ping}");
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
fn a_stream_of_datagrams_is_whole_but_for_the_moves() {
    let team = Team::new("--teaming srcid");
    let first = {
        until("the VM has an uplink", || team.uplink().is_some());
        team.uplink().expect("it has")
    };
    let _server = team.fabric.serves("iperf3 -s -1 --forceflush", "listening");
    let report = std::thread::scope(|scope| {
        let line = format!("iperf3 -c {STATION} -u -b 20M -l 1000 -t 6 -J --get-server-output");
        let mut command = team.vm.command(&line);
        let stream = scope.spawn(move || Answer::of(&mut command));
        let sent = || team.host.stats()["one"].count("rxFrames");
        let begun = sent();
        until("the stream flows", || sent() > begun + 1000);
        team.set(&first, false);
        until("the stream moved", || {
            team.uplink().is_some_and(|uplink| uplink != first)
        });
        let moved = sent();
        until("the stream flows", || sent() > moved + 1000);
        team.set(&first, true);
        team.goes_by(&first);
        stream.join().expect("the stream ends")
    });
    let report: Value = serde_json::from_str(&report.succeeds()).expect("JSON");
    let sum = &report["end"]["sum"];
    let count = |field: &str| {
        sum[field]
            .as_u64()
            .unwrap_or_else(|| panic!("{field}: {sum}"))
    };
    println!(
        "{} of {} datagrams lost",
        count("lost_packets"),
        count("packets")
    );
    // 2.5 datagrams a millisecond, two moves.
    assert!(count("lost_packets") <= 5 * LOST_AT_MOST, "{sum}");
    let streams = &report["end"]["streams"][0]["udp"];
    let reordered = streams["out_of_order"].as_u64().unwrap_or_default();
    assert_eq!(
        reordered, 0,
        "nothing overtakes, nothing comes twice: {streams}"
    );
}
