//! What the data path is told of teams, limits and learning.

use std::time::Duration;

use weft_datapath::{
    Beyond, Config, LearningConfig, PortId, ShapeConfig, SwitchId, TeamConfig, TeamId, TeamPolicy,
};
use weft_model::{Intent, Manifest, PortKey, Realisation, Realised, compile};

const HOST: &str = "
vswitches:
  - name: S
    uplinks: [eth1, eth2, eth3]
    teaming: {policy: lbt, standby: [eth3], upDelay: 2s, lbtPeriod: 10s, lbtThreshold: 90}
    shaping: {in: {average: 10mbit}}
    portgroups:
      - {name: Inherits}
      - {name: Same, teaming: {policy: lbt, active: [eth1, eth2], standby: [eth3]}, shaping: {in: off}}
      - name: Own
        teaming: {policy: explicit, active: [eth2], failback: false, notify: false, upDelay: 0ms}
        shaping: {out: {average: 8kbit, peak: 1gbit, burst: 64KiB}}
        macLearning: {enabled: true, limit: 7, beyond: drop, flood: false, age: 60s}
        bpduFilter: enabled
      - {name: Nowhere, teaming: {active: []}}
      - {name: Unused, teaming: {active: [eth3]}}
  - {name: Isolated, portgroups: [{name: Alone, macLearning: {enabled: true}}]}
ports:
  - {name: a, portgroup: Own, veth: a}
  - {name: b, portgroup: Inherits, veth: b}
  - {name: c, portgroup: Same, veth: c}
  - {name: d, portgroup: Nowhere, veth: d}
  - {name: e, portgroup: Alone, veth: e}
";

/// Ports 0-4 are a to e, 11-13 the uplinks that are there.
fn compiled(uplinks: &[u16]) -> Config {
    let changes = Manifest::parse(HOST).unwrap().changes();
    let (intent, _) = Intent::default().transact(&changes).unwrap();
    let switches = ["S", "Isolated"].iter().zip(0..);
    let ports = ["a", "b", "c", "d", "e"].iter().zip(0..);
    let ports = ports.map(|(name, id)| (PortKey::Port(name.parse().unwrap()), id));
    let uplinks = uplinks.iter().map(|number| {
        let uplink = format!("eth{number}").parse().unwrap();
        (PortKey::Uplink(uplink), 10 + number)
    });
    let realised = |(key, id)| {
        let realised = Realised {
            id: PortId(id),
            up: true,
            taken: None,
        };
        (key, realised)
    };
    let realisation = Realisation {
        switches: switches
            .map(|(name, id)| (name.parse().unwrap(), SwitchId(id)))
            .collect(),
        ports: ports.chain(uplinks).map(realised).collect(),
    };
    compile(&intent, &realisation)
}

fn team(policy: TeamPolicy, active: &[u16], standby: &[u16]) -> TeamConfig {
    let ports = |numbers: &[u16]| numbers.iter().copied().map(PortId).collect();
    TeamConfig {
        switch: SwitchId(0),
        policy,
        active: ports(active),
        standby: ports(standby),
        failback: true,
        notify: true,
        up_delay: Duration::from_secs(2),
    }
}

const LOAD: TeamPolicy = TeamPolicy::Load {
    period: Duration::from_secs(10),
    threshold: 90,
};

#[test]
fn ports_with_equal_teams_share_one() {
    let config = compiled(&[1, 2, 3]);
    let teams = [
        team(LOAD, &[11, 12], &[13]),
        team(LOAD, &[], &[]),
        TeamConfig {
            failback: false,
            notify: false,
            up_delay: Duration::ZERO,
            ..team(TeamPolicy::Explicit, &[12], &[])
        },
    ];
    assert_eq!(config.teams, teams, "in the order of port groups by name");
    let of = |port: usize| config.ports[port].team;
    assert_eq!(
        [of(0), of(1), of(2), of(3)],
        [2, 0, 0, 1].map(|index| Some(TeamId(index)))
    );
    assert_eq!(of(4), None, "there is no way out");
    let uplinks = &config.ports[5..];
    assert!(uplinks.len() == 3 && uplinks.iter().all(|uplink| uplink.team.is_none()));
}

#[test]
fn an_uplink_without_a_number_is_in_no_team() {
    let config = compiled(&[3]);
    assert_eq!(config.teams[0], team(LOAD, &[], &[13]));
    assert_eq!(
        config.ports[0]
            .team
            .map(|TeamId(index)| config.teams[usize::from(index)].active.len()),
        Some(0),
        "a port whose uplinks are away has a team"
    );
}

#[test]
fn limits_learning_and_the_filter_are_those_in_force() {
    let config = compiled(&[]);
    let [a, b, c, _, e] = &config.ports[..] else {
        panic!("five ports: {config:?}");
    };
    let limit = |average, peak, burst| ShapeConfig {
        average,
        peak,
        burst,
    };
    let inherited = Some(limit(10_000_000, 10_000_000, 100 << 20));
    assert_eq!(
        (a.shape_in, b.shape_in, c.shape_in),
        (inherited, inherited, None)
    );
    assert_eq!(a.shape_out, Some(limit(8_000, 1_000_000_000, 64 << 10)));
    assert_eq!((b.shape_out, c.shape_out), (None, None));
    let learning = LearningConfig {
        limit: 7,
        beyond: Beyond::Drop,
        flood: false,
        age: Duration::from_secs(60),
    };
    assert_eq!((a.learning, b.learning), (Some(learning), None));
    let by_default = LearningConfig {
        limit: 4096,
        beyond: Beyond::Allow,
        flood: true,
        age: Duration::from_secs(300),
    };
    assert_eq!(e.learning, Some(by_default));
    assert_eq!((a.bpdu_filter, b.bpdu_filter), (true, false));
}
