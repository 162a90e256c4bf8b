//! Loads that are balanced. An uplink carries 1,000 octets a second.

use super::*;

const LOAD: TeamPolicy = TeamPolicy::Load {
    period: Duration::from_secs(30),
    threshold: 75,
};

struct Scale {
    bench: Bench,
    carried: BTreeMap<PortId, u64>,
}

impl Scale {
    fn new(mut bench: Bench) -> Self {
        bench.uplinks();
        Self {
            bench,
            carried: BTreeMap::new(),
        }
    }

    /// Carries octets a second for half a minute and looks. Returns whether a port is to move.
    fn look(&mut self, rates: &[(PortId, u64)]) -> bool {
        self.carry(30, rates);
        self.balance()
    }

    fn carry(&mut self, seconds: u64, rates: &[(PortId, u64)]) {
        for (port, octets) in rates {
            *self.carried.entry(*port).or_insert(0) += octets * seconds;
        }
        self.bench.now += seconds * S;
    }

    fn balance(&mut self) -> bool {
        let Self { bench, carried } = self;
        let load = Load {
            octets: &|port| carried.get(&port).copied().unwrap_or_default(),
            speed: &|uplink| [A, B].contains(&uplink).then_some(8_000),
        };
        bench.teams.balance(&bench.config, &load, bench.now)
    }

    /// The same with what each port sends, which its uplink carries.
    fn carry_by_ways(&mut self, seconds: u64, ports: &[(PortId, u64)]) {
        let mut rates = ports.to_vec();
        for (port, octets) in ports {
            let uplinks = self.bench.teams.way(*port).unwrap().exit.uplinks();
            rates.push((uplinks[0], *octets));
        }
        self.carry(seconds, &rates);
    }
}

#[test]
fn a_busy_port_leaves_an_overloaded_uplink() {
    let mut scale = Scale::new(Bench::new(team(LOAD, &[A, B], &[])));
    assert_eq!(scale.bench.uplinks(), [A, B, A, B, A, B].map(Some));
    assert!(!scale.look(&[]));
    assert!(!scale.look(&[(A, 740), (PortId(10), 700)]));
    let busy = [
        (A, 900),
        (PortId(10), 300),
        (PortId(12), 500),
        (B, 100),
        (PortId(13), 100),
    ];
    assert!(scale.look(&busy));
    assert_eq!(scale.bench.decide().1, [PortId(12)]);
    assert_eq!(scale.bench.uplinks(), [A, B, B, B, A, B].map(Some));
    // The other would be no less overloaded.
    assert!(!scale.look(&[(A, 900), (PortId(10), 890), (B, 200)]));
    // Where the busiest port helps nobody, a smaller one may.
    let busy = [(A, 990), (PortId(10), 890), (PortId(14), 100), (B, 200)];
    assert!(scale.look(&busy));
    assert_eq!(scale.bench.decide().1, [PortId(14)]);
    // It goes where it can while its uplink is down, and by its number afterwards.
    scale.bench.set(B, false);
    assert_eq!(scale.bench.uplinks(), all(A));
    scale.bench.set(B, true);
    scale.bench.wait();
    assert_eq!(scale.bench.uplinks(), [A, B, A, B, A, B].map(Some));
}

/// Two teams on the same uplinks; ports 10 and 12 go by the first uplink, and belong to one each.
fn two_teams() -> Scale {
    let mut bench = Bench::new(team(LOAD, &[A, B], &[]));
    bench.config.teams.push(TeamConfig {
        notify: false,
        ..team(LOAD, &[A, B], &[])
    });
    for port in &mut bench.config.ports {
        let second = port.id.0 >= 12;
        port.team = port.team.map(|_| TeamId(u16::from(second)));
    }
    Scale::new(bench)
}

const BOTH: [(PortId, u64); 2] = [(PortId(10), 450), (PortId(12), 450)];

#[test]
fn of_two_teams_only_one_gives_a_port_of_an_uplink_away() {
    let mut scale = two_teams();
    scale.balance();
    for round in 0..5 {
        scale.carry_by_ways(30, &BOTH);
        assert_eq!(scale.balance(), round == 0, "round {round}");
        let (uplinks, _) = scale.bench.decide();
        assert_eq!([uplinks[0], uplinks[2]], [Some(B), Some(A)]);
    }
}

/// What a team saw before another one's port moved says nothing of what an uplink carries since.
#[test]
fn nor_does_it_a_moment_later() {
    let mut scale = two_teams();
    let second = scale.bench.config.teams.pop();
    scale.balance();
    scale.carry_by_ways(5, &BOTH);
    scale.bench.config.teams.extend(second);
    assert!(!scale.balance(), "the first look at the second team");
    scale.carry_by_ways(25, &BOTH);
    assert!(scale.balance(), "the first moves a port");
    scale.bench.decide();
    for _ in 0..8 {
        for seconds in [5, 25] {
            scale.carry_by_ways(seconds, &BOTH);
            assert!(!scale.balance());
        }
        let (uplinks, _) = scale.bench.decide();
        assert_eq!([uplinks[0], uplinks[2]], [Some(B), Some(A)]);
    }
}

#[test]
fn another_policy_forgets_what_moved() {
    let mut scale = Scale::new(Bench::new(team(LOAD, &[A, B], &[])));
    scale.balance();
    scale.carry_by_ways(30, &BOTH);
    assert!(scale.balance());
    let numbers = [A, B, A, B, A, B].map(Some);
    assert_ne!(scale.bench.uplinks(), numbers);
    for policy in [TeamPolicy::SourceId, LOAD] {
        scale.bench.config.teams[0].policy = policy;
        assert_eq!(scale.bench.uplinks(), numbers);
    }
}
