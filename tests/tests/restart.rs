//! Agents that are killed and start again, and interfaces that vanish and come back.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use weft_tests::{Host, Pings, Random, rounds, until};

/// Tests that measure do not run beside each other.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn frames_flow_within_a_second_of_a_restart() {
    let _alone = ALONE.lock();
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10 --promiscuous accept");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    // Addresses that the switch learned are there again as well.
    host.does("port set two --mac none");
    assert!(two.reaches(&one));
    let before = host.export();
    let addresses = host.shows("fdb list");
    let pings = Pings::start(&one, &two);
    let mut took = Vec::new();
    for _ in 0..rounds(5) {
        host.kill();
        let start = Instant::now();
        host.start();
        took.push(pings.reply_after(start));
        assert_eq!(host.export(), before);
        assert_eq!(host.shows("fdb list"), addresses);
    }
    let (sent, received) = pings.stop();
    assert!(received < sent, "nothing was lost, so nothing was killed");
    println!("from the start of the agent to the first frame: {took:?}");
    let longest = took.iter().max().expect("there were rounds");
    assert!(*longest < Duration::from_secs(1), "{took:?}");
}

/// Whoever was told that a change is made finds it made, whenever the agent is killed.
#[test]
fn no_acknowledged_change_is_lost() {
    let _alone = ALONE.lock();
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    let mut random = Random::new();
    let mut vlans = BTreeMap::from([("Lab".to_owned(), 0)]);
    for round in 0..rounds(20) {
        let life = Duration::from_millis(random.below(100) as u64);
        // What was being changed when the agent died: the change may be made or not, but not half.
        let cut_short = std::thread::scope(|scope| {
            let changes =
                scope.spawn(|| change_until_refused(&host, round, &mut random, &mut vlans));
            std::thread::sleep(life);
            host.kill();
            changes.join().expect("changes do not panic")
        });
        host.start();
        let found = portgroups(&host);
        let mut with_last = vlans.clone();
        with_last.extend([cut_short]);
        assert!(
            found == vlans || found == with_last,
            "{found:?}\n{vlans:?}\n{with_last:?}"
        );
        vlans = found;
        assert!(one.reaches(&two), "after round {round}");
    }
    println!("{} port groups were added", vlans.len() - 1);
}

/// Changes and adds port groups, notes what was acknowledged, and returns what was not.
fn change_until_refused(
    host: &Host,
    round: usize,
    random: &mut Random,
    vlans: &mut BTreeMap<String, u64>,
) -> (String, u64) {
    for number in 0.. {
        let vlan = random.below(4096);
        let (verb, name) = match random.below(3) {
            0 => (
                "portgroup add --vswitch vSwitch1".to_owned(),
                format!("pg-{round}-{number}"),
            ),
            _ => {
                let names: Vec<_> = vlans.keys().cloned().collect();
                (
                    "portgroup set".to_owned(),
                    names[random.below(names.len())].clone(),
                )
            }
        };
        let answer = host.weft(&format!("{verb} --vlan {vlan} {name}"));
        if answer.code != Some(0) {
            assert_eq!(answer.code, Some(5), "{answer:#?}");
            return (name, vlan as u64);
        }
        vlans.insert(name, vlan as u64);
    }
    unreachable!("the agent is killed")
}

fn portgroups(host: &Host) -> BTreeMap<String, u64> {
    let groups = host.shows("portgroup list");
    let groups = groups.as_array().expect("port groups are a list").iter();
    let name = |spec: &serde_json::Value| spec["name"].as_str().expect("a name").to_owned();
    groups
        .map(|group| &group["spec"])
        .map(|spec| (name(spec), spec["vlan"].as_u64().expect("a number")))
        .collect()
}

#[test]
fn an_agent_that_is_asked_to_end_lets_go_of_everything() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    assert!(one.reaches(&two));
    let before = host.export();
    host.end();
    assert!(!host.socket().exists());
    let links = host.runs("ip -details link show type veth");
    assert!(!links.contains("xdp"), "{links}");
    assert!(!one.reaches(&two));
    host.start();
    assert!(one.reaches(&two));
    assert_eq!(host.export(), before);
}

#[test]
fn a_vanished_interface_leaves_its_port_down_until_it_returns() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    let (one, two, three) = (
        host.vm("one", "Lab"),
        host.vm("two", "Lab"),
        host.vm("three", "Lab"),
    );
    let pings = Pings::start(&one, &three);
    for _ in 0..2 {
        assert!(one.reaches(&two));
        two.does("ip link delete eth0");
        // It is set down before it is gone, and news of one interface come together.
        until("the port is down and says why", || {
            host.port("two").1 == "interface p-two does not exist"
        });
        assert_eq!(host.port("two").0, "down");
        let status = host.does("status");
        assert!(
            status.contains("port two: interface p-two does not exist"),
            "{status}"
        );
        assert!(!one.reaches(&two));
        host.replug(&two);
        until("the port is up again", || host.port("two").0 == "up");
        assert!(one.reaches(&two));
    }
    let (sent, received) = pings.stop();
    assert!(
        sent - received <= 1,
        "the others lost {} of {sent}",
        sent - received
    );
}

#[test]
fn an_interface_that_vanished_while_the_agent_was_dead_keeps_nobody_waiting() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two, three) = (
        host.vm("one", "Lab"),
        host.vm("two", "Lab"),
        host.vm("three", "Lab"),
    );
    host.kill();
    two.does("ip link delete eth0");
    host.start();
    assert_eq!(host.port("two").1, "interface p-two does not exist");
    assert!(one.reaches(&three));
    host.replug(&two);
    until("the port is up", || host.port("two").0 == "up");
    assert!(one.reaches(&two));
}

#[test]
fn a_port_whose_link_goes_down_and_up_says_so() {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    two.does("ip link set eth0 down");
    until("the port is down", || host.port("two").0 == "down");
    let (_, reason) = host.port("two");
    assert!(reason.contains("no carrier"), "{reason}");
    two.does("ip link set eth0 up");
    until("the port is up", || host.port("two").0 == "up");
    assert!(one.reaches(&two));
}
