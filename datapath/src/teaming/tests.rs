mod balance;

use super::*;
use crate::config::{SwitchId, TeamId};

const A: PortId = PortId(1);
const B: PortId = PortId(2);
const C: PortId = PortId(3);

/// Seconds as the clock counts.
const S: u64 = 1_000_000_000;

fn team(policy: TeamPolicy, active: &[PortId], standby: &[PortId]) -> TeamConfig {
    TeamConfig {
        switch: SwitchId(0),
        policy,
        active: active.to_vec(),
        standby: standby.to_vec(),
        failback: true,
        notify: true,
        up_delay: Duration::from_millis(100),
    }
}

/// Uplinks 1 to 3, and VM ports 10 to 15.
fn config(team: TeamConfig) -> Config {
    let switch = team.switch;
    let uplinks = [A, B, C].map(|id| PortConfig::uplink(id, switch));
    let vms = (10..16).map(|id| PortConfig {
        team: Some(TeamId(0)),
        mac: Some(MacAddr::new([2, 0, 0, 0, 0, id as u8])),
        ..PortConfig::vm(PortId(id), switch, weft_vlan::Policy::External)
    });
    Config {
        switches: Vec::new(),
        teams: vec![team],
        ports: uplinks.into_iter().chain(vms).collect(),
    }
}

struct Bench {
    teams: Teams,
    config: Config,
    now: u64,
}

impl Bench {
    fn new(team: TeamConfig) -> Self {
        let mut bench = Self {
            teams: Teams::default(),
            config: config(team),
            now: S,
        };
        for uplink in [A, B, C] {
            bench.teams.note_link(uplink, true, 0);
        }
        bench
    }

    /// The uplink of each VM port, and the ports that moved.
    fn decide(&mut self) -> (Vec<Option<PortId>>, Vec<PortId>) {
        self.teams.configure(&self.config, self.now);
        let decision = self.teams.decide(&self.config, |_| true, self.now);
        let uplink = |id| {
            let way = &decision.ways[&PortId(id)];
            way.uplink(|| MacAddr::new([2, 0, 0, 0, 0, id as u8]), || None)
        };
        let moved = decision.moves.iter().map(|moved| moved.port);
        ((10..16).map(uplink).collect(), moved.collect())
    }

    fn uplinks(&mut self) -> Vec<Option<PortId>> {
        self.decide().0
    }

    fn set(&mut self, uplink: PortId, up: bool) {
        self.teams.note_link(uplink, up, self.now);
    }

    /// As long as an uplink waits.
    fn wait(&mut self) {
        self.now += S / 10;
    }
}

fn all(uplink: PortId) -> Vec<Option<PortId>> {
    vec![Some(uplink); 6]
}

#[test]
fn ports_spread_by_their_number_and_only_those_of_a_failed_uplink_move() {
    let mut bench = Bench::new(team(TeamPolicy::SourceId, &[A, B, C], &[]));
    let spread = [B, C, A, B, C, A].map(Some).to_vec();
    assert_eq!(bench.uplinks(), spread);
    bench.set(B, false);
    let (uplinks, moved) = bench.decide();
    // Ports 10 and 13 had B; 10 / 3 and 13 / 3 are odd and even.
    assert_eq!(uplinks, [C, C, A, A, C, A].map(Some));
    assert_eq!(moved, [PortId(10), PortId(13)]);
    bench.set(B, true);
    assert_eq!(bench.decide().1, []);
    bench.wait();
    assert_eq!(bench.uplinks(), spread);
}

#[test]
fn a_standby_uplink_sits_where_an_active_one_failed() {
    let mut bench = Bench::new(team(TeamPolicy::SourceId, &[A, B], &[C]));
    assert_eq!(bench.uplinks(), [A, B, A, B, A, B].map(Some));
    bench.set(A, false);
    assert_eq!(bench.uplinks(), [C, B, C, B, C, B].map(Some));
    bench.set(C, false);
    assert_eq!(bench.uplinks(), all(B));
    bench.set(B, false);
    assert_eq!(bench.uplinks(), [None; 6]);
}

#[test]
fn explicit_takes_the_first_usable_one() {
    let mut bench = Bench::new(team(TeamPolicy::Explicit, &[B, A], &[C]));
    assert_eq!(bench.uplinks(), all(B));
    bench.set(B, false);
    assert_eq!(bench.uplinks(), all(A));
    bench.set(A, false);
    assert_eq!(bench.uplinks(), all(C));
    bench.set(B, true);
    bench.wait();
    assert_eq!(bench.uplinks(), all(B));
}

#[test]
fn without_failback_an_uplink_waits_until_another_one_fails() {
    let mut bench = Bench::new(TeamConfig {
        failback: false,
        ..team(TeamPolicy::Explicit, &[A], &[B, C])
    });
    assert_eq!(bench.uplinks(), all(A));
    bench.set(A, false);
    assert_eq!(bench.uplinks(), all(B));
    bench.set(A, true);
    bench.wait();
    assert_eq!(bench.uplinks(), all(B));
    bench.set(B, false);
    assert_eq!(bench.uplinks(), all(A));

    let mut bench = Bench::new(TeamConfig {
        failback: false,
        ..team(TeamPolicy::SourceId, &[A, B], &[])
    });
    bench.uplinks();
    bench.set(A, false);
    assert_eq!(bench.uplinks(), all(B));
    bench.set(A, true);
    bench.wait();
    assert_eq!(bench.uplinks(), all(B));
    bench.set(B, false);
    assert_eq!(bench.uplinks(), all(A));
    bench.set(A, false);
    assert_eq!(bench.uplinks(), [None; 6]);
    bench.set(B, true);
    bench.wait();
    assert_eq!(bench.uplinks(), all(B));
}

#[test]
fn a_link_counts_when_it_has_been_up_for_long_enough() {
    let mut bench = Bench::new(team(TeamPolicy::Explicit, &[A, B], &[]));
    bench.set(A, false);
    bench.uplinks();
    bench.set(A, true);
    let decision = bench.teams.decide(&bench.config, |_| true, bench.now);
    assert_eq!(decision.again, Some(bench.now + S / 10));
    bench.now += S / 10 - 1;
    assert_eq!(bench.uplinks(), all(B));
    bench.now += 1;
    assert_eq!(bench.uplinks(), all(A));
}

/// Otherwise raising the delay would take a host off a network that works.
#[test]
fn a_link_that_is_used_does_not_wait_for_a_longer_delay() {
    let mut bench = Bench::new(team(TeamPolicy::Explicit, &[A], &[]));
    bench.set(A, false);
    assert_eq!(bench.uplinks(), [None; 6]);
    bench.set(A, true);
    bench.wait();
    assert_eq!(bench.uplinks(), all(A));
    bench.config.teams[0].up_delay = Duration::from_secs(300);
    assert_eq!(bench.decide().1, []);
    // Nor where another team waits as long already.
    bench.config.teams[0].up_delay = Duration::from_millis(100);
    bench.uplinks();
    let patient = TeamConfig {
        up_delay: Duration::from_secs(30),
        ..team(TeamPolicy::Explicit, &[A], &[])
    };
    bench.config.teams.push(patient);
    bench.config.ports.last_mut().unwrap().team = Some(TeamId(1));
    bench.set(A, false);
    bench.set(A, true);
    bench.wait();
    let (mut uplinks, _) = bench.decide();
    assert_eq!(uplinks.pop(), Some(None), "it waits");
    assert_eq!(uplinks, [Some(A); 5]);
    for port in &mut bench.config.ports {
        port.team = port.team.map(|_| TeamId(1));
    }
    assert_eq!(bench.uplinks(), all(A));
    // Once it was down it does.
    bench.set(A, false);
    bench.set(A, true);
    bench.wait();
    assert_eq!(bench.uplinks(), [None; 6]);
}

#[test]
fn a_link_that_nobody_used_yet_waits_for_the_delay_in_force() {
    let mut bench = Bench::new(team(TeamPolicy::Explicit, &[A], &[]));
    bench.uplinks();
    bench.set(A, false);
    bench.set(A, true);
    assert_eq!(bench.uplinks(), [None; 6]);
    bench.config.teams[0].up_delay = Duration::from_secs(1);
    bench.wait();
    assert_eq!(bench.uplinks(), [None; 6]);
    bench.config.teams[0].up_delay = Duration::from_millis(200);
    bench.wait();
    assert_eq!(bench.uplinks(), all(A));
}

#[test]
fn a_link_that_goes_down_too_often_is_not_used_for_a_while() {
    let mut bench = Bench::new(team(TeamPolicy::Explicit, &[A, B], &[]));
    let first = bench.now;
    for _ in 0..60 {
        bench.set(A, false);
        bench.set(A, true);
        bench.wait();
    }
    // Sixty times within a minute are allowed.
    assert_eq!(bench.uplinks(), all(A));
    bench.set(A, false);
    bench.set(A, true);
    bench.wait();
    assert_eq!(bench.uplinks(), all(B));
    let until = first + 60 * S;
    assert_eq!(
        bench.teams.link(A, Duration::ZERO, bench.now),
        LinkState::Unstable { until }
    );
    bench.now = until;
    assert_eq!(bench.uplinks(), all(A));
}

#[test]
fn unicast_by_the_uplink_before_is_accepted_for_a_while() {
    let mut bench = Bench::new(team(TeamPolicy::Explicit, &[A, B], &[]));
    bench.uplinks();
    bench.set(A, false);
    bench.uplinks();
    let own = MacAddr::new([2, 0, 0, 0, 0, 10]);
    let way = bench.teams.way(PortId(10)).unwrap();
    let ends = bench.now + GRACE.as_nanos() as u64;
    assert!(way.accepts(B, own, bench.now));
    assert!(way.accepts(A, own, ends - 1));
    assert!(!way.accepts(A, own, ends));
    assert!(!way.accepts(C, own, bench.now));
    assert!(!way.leads_by(A, own));
}

#[test]
fn nobody_knows_where_a_silent_new_port_is() {
    let mut bench = Bench::new(TeamConfig {
        notify: false,
        ..team(TeamPolicy::Explicit, &[A], &[B])
    });
    bench.uplinks();
    let own = MacAddr::new([2, 0, 0, 0, 0, 10]);
    let way = bench.teams.way(PortId(10)).unwrap();
    assert!(way.accepts(B, own, bench.now));
    assert!(!way.accepts(C, own, bench.now), "it is unused");
    assert!(!way.accepts(B, own, bench.now + SILENT_GRACE.as_nanos() as u64));
}

#[test]
fn a_team_of_one_policy_forgets_nothing_when_another_changes() {
    let mut bench = Bench::new(TeamConfig {
        failback: false,
        ..team(TeamPolicy::Explicit, &[A], &[B])
    });
    bench.uplinks();
    bench.set(A, false);
    bench.uplinks();
    bench.set(A, true);
    bench.wait();
    bench
        .config
        .teams
        .push(team(TeamPolicy::SourceId, &[C], &[]));
    assert_eq!(bench.uplinks(), all(B));
    // Nor when others of its settings do, but for the one that it waits for.
    bench.config.teams[0].notify = false;
    assert_eq!(bench.uplinks(), all(B));
    bench.config.teams[0].failback = true;
    assert_eq!(bench.uplinks(), all(A));
}

#[test]
fn without_failback_an_uplink_that_comes_late_has_its_own_seat() {
    let mut bench = Bench::new(TeamConfig {
        failback: false,
        ..team(TeamPolicy::SourceId, &[A, B], &[])
    });
    bench.set(A, false);
    assert_eq!(bench.uplinks(), all(B));
    bench.set(A, true);
    bench.wait();
    assert_eq!(bench.uplinks(), [A, B, A, B, A, B].map(Some));
    // Afterwards it is one that failed and returned.
    bench.set(A, false);
    bench.uplinks();
    bench.set(A, true);
    bench.wait();
    assert_eq!(bench.uplinks(), all(B));
}

#[test]
fn a_channel_sends_by_any_member_whatever_is_waited_for_here() {
    let mut bench = Bench::new(TeamConfig {
        failback: false,
        ..team(TeamPolicy::IpHash, &[A, B], &[])
    });
    bench.set(A, false);
    bench.uplinks();
    bench.set(A, true);
    let own = MacAddr::new([2, 0, 0, 0, 0, 10]);
    for waits in [true, false] {
        bench.uplinks();
        let way = bench.teams.way(PortId(10)).unwrap();
        assert_eq!(
            way.uplink(|| own, || Some(0)),
            Some(if waits { B } else { A })
        );
        assert!(way.leads_by(A, own) && way.leads_by(B, own) && !way.leads_by(C, own));
        bench.wait();
    }
}

#[test]
fn by_source_address_each_address_has_its_uplink() {
    let mut bench = Bench::new(team(TeamPolicy::SourceMac, &[A, B, C], &[]));
    let mut expected = Vec::new();
    for id in 10..16u64 {
        let bits = MacAddr::new([2, 0, 0, 0, 0, id as u8]).to_bits();
        expected.push(Some([A, B, C][(bits % 3) as usize]));
    }
    assert_eq!(bench.uplinks(), expected);
}

#[test]
fn a_port_some_of_whose_addresses_move_is_one_that_moved() {
    let mut bench = Bench::new(team(TeamPolicy::SourceMac, &[A, B], &[]));
    bench.uplinks();
    // Addresses behind the ports of A went by B.
    bench.set(B, false);
    let (_, moved) = bench.decide();
    assert_eq!(moved, (10..16).map(PortId).collect::<Vec<_>>());
    bench.set(A, false);
    bench.decide();
    bench.set(A, true);
    bench.wait();
    bench.decide();
    assert_eq!(bench.decide().1, [], "nothing changed");
}
