//! Addresses behind ports: who gets one, who keeps it, and what becomes of frames to those that nobody has.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_datapath::testing::{self, Rig, access, mac, one_team, set_clock};
use weft_datapath::{
    Admission, Beyond, Config, DropReason, LearningConfig, PortConfig, PortId, StaticAddress,
    SwitchId, TeamPolicy,
};
use weft_packet::MacAddr;
use weft_vlan::Policy;

const A: PortId = PortId(0);
const B: PortId = PortId(1);
const C: PortId = PortId(2);
const UPLINK: PortId = PortId(3);

/// Addresses of nested guests.
const NESTED: MacAddr = MacAddr::new([2, 0, 0, 0, 9, 1]);
const OTHER: MacAddr = MacAddr::new([2, 0, 0, 0, 9, 2]);
/// Nobody's.
const STRANGER: MacAddr = MacAddr::new([2, 0, 0, 0, 9, 9]);

const SECOND: u64 = 1_000_000_000;

fn own(port: PortId) -> MacAddr {
    mac(port.0)
}

fn port(id: PortId, vlan: Policy) -> PortConfig {
    testing::port(id.0, vlan)
}

fn learning() -> LearningConfig {
    LearningConfig {
        limit: 2,
        beyond: Beyond::Allow,
        flood: false,
        age: Duration::from_secs(300),
    }
}

/// A port that learns.
fn learner(id: PortId, vlan: Policy) -> PortConfig {
    PortConfig {
        learning: Some(learning()),
        ..port(id, vlan)
    }
}

/// The ports leave by the uplink, if there is one.
fn config(ports: &[PortConfig]) -> Config {
    one_team(TeamPolicy::SourceId, ports.iter().cloned())
}

fn rig(ports: &[PortConfig]) -> Rig {
    let mut rig = Rig::new().expect("an eventfd");
    for id in [A, B, C, UPLINK] {
        rig.attach(id, 64).expect("an eventfd");
    }
    set_clock(Some(100 * SECOND));
    rig.apply(&config(ports));
    rig
}

fn frame(dst: MacAddr, src: MacAddr) -> Vec<u8> {
    [&dst.octets()[..], &src.octets(), &[0x88, 0xb5], &[0; 46]].concat()
}

fn tagged(vlan: u16, dst: MacAddr, src: MacAddr) -> Vec<u8> {
    let frame = frame(dst, src);
    let [high, low] = vlan.to_be_bytes();
    [&frame[..12], &[0x81, 0, high, low], &frame[12..]].concat()
}

/// Who gets a frame, and how often.
fn receivers(rig: &mut Rig, from: PortId, frame: Vec<u8>) -> BTreeMap<PortId, usize> {
    let got = rig.exchange(from, &[frame]);
    rig.audit();
    got.into_iter().map(|(id, got)| (id, got.len())).collect()
}

fn one_each(ports: &[PortId]) -> BTreeMap<PortId, usize> {
    ports.iter().map(|&port| (port, 1)).collect()
}

/// A port sends from an address, to everybody.
fn says(rig: &mut Rig, from: PortId, src: MacAddr) {
    rig.exchange(from, &[frame(MacAddr::BROADCAST, src)]);
}

/// Behind which port addresses are, by VLAN.
fn behind(rig: &Rig) -> Vec<(u16, MacAddr, PortId)> {
    let learned = rig.datapath.learned_addresses(SwitchId(0));
    learned
        .into_iter()
        .map(|entry| (entry.vlan, entry.mac, entry.port))
        .collect()
}

fn drops(rig: &Rig, port: PortId, reason: DropReason) -> u64 {
    let counters = rig.datapath.counters(port).expect("the port is attached");
    counters.rx_drops[reason as usize]
}

#[test]
fn a_nested_guest_is_found_behind_its_port_and_nowhere_else() {
    let ports = [
        learner(A, access(5)),
        port(B, access(5)),
        port(C, access(6)),
    ];
    let mut rig = rig(&[&ports[..], &[PortConfig::uplink(UPLINK, SwitchId(0))]].concat());
    let to_nested = || frame(NESTED, own(B));
    assert_eq!(receivers(&mut rig, B, to_nested()), one_each(&[UPLINK]));
    says(&mut rig, A, NESTED);
    assert_eq!(behind(&rig), [(5, NESTED, A)]);
    assert_eq!(receivers(&mut rig, B, to_nested()), one_each(&[A]));
    let from_outside = tagged(5, NESTED, STRANGER);
    assert_eq!(receivers(&mut rig, UPLINK, from_outside), one_each(&[A]));
    // Another VLAN is another domain.
    let from_six = frame(NESTED, own(C));
    assert_eq!(receivers(&mut rig, C, from_six), one_each(&[UPLINK]));
    // What is behind the same port does not come back to it.
    let inside = frame(NESTED, own(A));
    assert_eq!(receivers(&mut rig, A, inside), one_each(&[]));
    assert_eq!(drops(&rig, A, DropReason::SamePort), 1);
}

#[test]
fn an_address_that_fails_over_moves_and_one_in_use_does_not() {
    let mut rig = rig(&[
        learner(A, access(5)),
        learner(B, access(5)),
        port(C, access(5)),
    ]);
    says(&mut rig, A, NESTED);
    set_clock(Some(102 * SECOND - 1));
    says(&mut rig, B, NESTED);
    assert_eq!(behind(&rig), [(5, NESTED, A)]);
    says(&mut rig, A, NESTED);
    set_clock(Some(102 * SECOND));
    says(&mut rig, B, NESTED);
    assert_eq!(behind(&rig), [(5, NESTED, A)], "A sent a second before");
    set_clock(Some(103 * SECOND));
    says(&mut rig, B, NESTED);
    assert_eq!(behind(&rig), [(5, NESTED, B)]);
    let to_nested = frame(NESTED, own(C));
    assert_eq!(receivers(&mut rig, C, to_nested), one_each(&[B]));
}

#[test]
fn a_port_without_an_address_takes_the_first_and_learns_the_others() {
    let nameless = PortConfig {
        mac: None,
        ..learner(A, access(5))
    };
    let mut rig = rig(&[nameless, port(B, access(5))]);
    for mac in [NESTED, OTHER, NESTED] {
        says(&mut rig, A, mac);
    }
    assert_eq!(rig.datapath.learned(A), (Some(NESTED), None));
    assert_eq!(behind(&rig), [(5, OTHER, A)]);
}

#[test]
fn what_a_port_has_is_learned_nowhere_else() {
    let mut rig = rig(&[
        learner(A, access(5)),
        port(B, access(5)),
        PortConfig {
            mac: None,
            ..port(C, access(5))
        },
    ]);
    says(&mut rig, C, NESTED);
    rig.datapath.adopt(B, Some(OTHER));
    for mac in [
        own(B),
        NESTED,
        OTHER,
        MacAddr::BROADCAST,
        MacAddr::new([0; 6]),
    ] {
        says(&mut rig, A, mac);
    }
    assert_eq!(behind(&rig), []);
    assert_eq!(rig.datapath.learned(B), (None, Some(OTHER)));
    assert_eq!(rig.datapath.learned(C), (Some(NESTED), None));
}

#[test]
fn neither_a_first_nor_an_adopted_address_displaces_a_living_one() {
    let nameless = PortConfig {
        mac: None,
        ..port(B, access(5))
    };
    let mut rig = rig(&[learner(A, access(5)), nameless, port(C, access(5))]);
    says(&mut rig, A, NESTED);
    says(&mut rig, B, NESTED);
    rig.datapath.adopt(C, Some(NESTED));
    assert_eq!(rig.datapath.learned(B), (None, None));
    assert_eq!(rig.datapath.learned(C), (None, None));
    assert_eq!(behind(&rig), [(5, NESTED, A)]);
    // Once A is silent, the address is free.
    set_clock(Some(102 * SECOND));
    says(&mut rig, B, NESTED);
    assert_eq!(rig.datapath.learned(B), (Some(NESTED), None));
    assert_eq!(behind(&rig), []);
    rig.apply(&config(&[
        learner(A, access(5)),
        port(B, access(5)),
        port(C, access(5)),
    ]));
    says(&mut rig, A, NESTED);
    set_clock(Some(104 * SECOND));
    rig.datapath.adopt(C, Some(NESTED));
    assert_eq!(rig.datapath.learned(C), (None, Some(NESTED)));
    assert_eq!(behind(&rig), []);
}

#[test]
fn a_trunk_displaces_nothing_on_vlans_that_it_did_not_send_on() {
    let nameless = PortConfig {
        mac: None,
        ..port(B, Policy::trunk_all())
    };
    let ports = [learner(A, access(6)), nameless, port(C, access(6))];
    let mut rig = rig(&ports);
    says(&mut rig, A, NESTED);
    rig.exchange(B, &[tagged(5, MacAddr::BROADCAST, NESTED)]);
    assert_eq!(rig.datapath.learned(B), (Some(NESTED), None));
    for _ in 0..2 {
        let to_nested = frame(NESTED, own(C));
        assert_eq!(receivers(&mut rig, C, to_nested), one_each(&[A]));
        rig.apply(&config(&ports));
    }
    // It stays A's as long as it lives there.
    set_clock(Some(350 * SECOND));
    says(&mut rig, A, NESTED);
    set_clock(Some(401 * SECOND));
    rig.datapath.age_learned();
    assert_eq!(behind(&rig), [(6, NESTED, A)]);
}

#[test]
fn a_trunk_learns_by_vlan() {
    let mut rig = rig(&[learner(A, Policy::trunk_all()), port(B, access(5))]);
    rig.exchange(A, &[tagged(5, MacAddr::BROADCAST, NESTED)]);
    rig.exchange(A, &[tagged(6, MacAddr::BROADCAST, NESTED)]);
    assert_eq!(behind(&rig), [(5, NESTED, A), (6, NESTED, A)]);
    assert_eq!(rig.datapath.learned_count(A), 2);
    // A policy that does not admit VLAN 6 has no address there.
    let only = Policy::trunk("5".parse().expect("a valid list"));
    rig.apply(&config(&[learner(A, only), port(B, access(5))]));
    assert_eq!(behind(&rig), [(5, NESTED, A)]);
}

#[test]
fn beyond_the_limit_frames_pass_or_are_dropped_and_known_ones_pass() {
    let mut ports = [learner(A, access(5)), port(B, access(5))];
    let mut rig = rig(&ports);
    let sources = [NESTED, OTHER, STRANGER, NESTED, OTHER, own(A)];
    let reach = |rig: &mut Rig| {
        let frames = sources.map(|src| frame(own(B), src));
        frames.map(|frame| receivers(rig, A, frame) == one_each(&[B]))
    };
    assert_eq!(reach(&mut rig), [true; 6]);
    assert_eq!(rig.datapath.learned_count(A), 2);
    ports[0].learning = Some(LearningConfig {
        beyond: Beyond::Drop,
        ..learning()
    });
    rig.apply(&config(&ports));
    assert_eq!(reach(&mut rig), [true, true, false, true, true, true]);
    assert_eq!(drops(&rig, A, DropReason::LearningLimit), 1);
}

#[test]
fn a_lower_limit_leaves_what_a_port_sent_from_last() {
    let mut ports = [learner(A, access(5)), learner(B, access(5))];
    let mut rig = rig(&ports);
    says(&mut rig, A, NESTED);
    set_clock(Some(101 * SECOND));
    says(&mut rig, A, OTHER);
    says(&mut rig, B, STRANGER);
    ports[0].learning = Some(LearningConfig {
        limit: 1,
        beyond: Beyond::Drop,
        ..learning()
    });
    rig.apply(&config(&ports));
    assert_eq!(behind(&rig), [(5, OTHER, A), (5, STRANGER, B)]);
    assert_eq!(rig.datapath.learned_count(A), 1);
    says(&mut rig, A, NESTED);
    assert_eq!(drops(&rig, A, DropReason::LearningLimit), 1);
    ports[0].learning = None;
    rig.apply(&config(&ports));
    assert_eq!(behind(&rig), [(5, STRANGER, B)]);
    assert_eq!(rig.datapath.learned_count(A), 0);
}

#[test]
fn rejected_forged_transmits_come_first() {
    let ports = [
        PortConfig {
            forged_transmits: false,
            ..learner(A, access(5))
        },
        port(B, access(5)),
    ];
    let mut rig = rig(&ports);
    says(&mut rig, A, NESTED);
    assert_eq!(drops(&rig, A, DropReason::ForgedTransmit), 1);
    assert_eq!(behind(&rig), []);
}

#[test]
fn unknown_unicast_floods_to_those_that_ask_for_it_and_once() {
    let flood = |port: PortConfig| PortConfig {
        learning: Some(LearningConfig {
            flood: true,
            ..learning()
        }),
        ..port
    };
    let promiscuous = |port: PortConfig| PortConfig {
        promiscuous: true,
        ..port
    };
    let uplink = PortConfig::uplink(UPLINK, SwitchId(0));
    let mut ports = vec![
        flood(promiscuous(learner(A, access(5)))),
        promiscuous(port(B, access(5))),
        flood(learner(C, access(5))),
        uplink,
    ];
    let mut rig = rig(&ports);
    let unknown = || frame(STRANGER, NESTED);
    let all = one_each(&[A, B, UPLINK]);
    assert_eq!(receivers(&mut rig, C, unknown()), all);
    let from_outside = || tagged(5, STRANGER, OTHER);
    let all = one_each(&[A, B, C]);
    assert_eq!(receivers(&mut rig, UPLINK, from_outside()), all);
    assert_eq!(drops(&rig, UPLINK, DropReason::UnknownUnicast), 0);
    // A known one does not.
    let known = frame(NESTED, own(A));
    assert_eq!(receivers(&mut rig, A, known), one_each(&[B, C]));
    // Nobody asks for it in the VLAN: the drop stays, whoever watches.
    ports[0].admission = Admission::Blocked;
    ports[2].vlan = access(6);
    rig.apply(&config(&ports));
    let watching = one_each(&[B]);
    assert_eq!(receivers(&mut rig, UPLINK, from_outside()), watching);
    assert_eq!(drops(&rig, UPLINK, DropReason::UnknownUnicast), 1);
}

#[test]
fn what_is_learned_goes_with_what_it_rests_on_and_stays_otherwise() {
    let first = [learner(A, access(5)), learner(B, access(5))];
    let change = |change: &dyn Fn(&mut Config)| {
        let mut rig = rig(&first);
        says(&mut rig, A, NESTED);
        let mut next = config(&first);
        change(&mut next);
        rig.apply(&next);
        let after = behind(&rig);
        assert_eq!(rig.datapath.learned_count(A), after.len());
        after
    };
    let stays = [(5, NESTED, A)];
    assert_eq!(change(&|_| {}), stays);
    assert_eq!(change(&|next| next.ports[1].vlan = access(6)), stays);
    assert_eq!(
        change(&|next| drop(next.ports.pop())),
        stays,
        "another port"
    );
    assert_eq!(change(&|next| next.ports[0].mac = None), stays);
    assert_eq!(change(&|next| next.ports[0].promiscuous = true), stays);
    assert_eq!(change(&|next| drop(next.ports.remove(0))), []);
    assert_eq!(change(&|next| next.ports[0].learning = None), []);
    assert_eq!(change(&|next| next.ports[0].forged_transmits = false), []);
    assert_eq!(change(&|next| next.ports[0].vlan = access(6)), []);
    for closed in [Admission::Down, Admission::Blocked] {
        assert_eq!(change(&|next| next.ports[0].admission = closed), []);
    }
    assert_eq!(change(&|next| next.ports[1].mac = Some(NESTED)), []);
    let entry = StaticAddress {
        vlan: 5,
        mac: NESTED,
        port: B,
    };
    assert_eq!(
        change(&|next| next.switches[0].static_addresses.push(entry)),
        []
    );
    let mut rig = rig(&first);
    says(&mut rig, A, NESTED);
    rig.datapath.detach(A).expect("the poll thread is here");
    assert_eq!(behind(&rig), []);
}
