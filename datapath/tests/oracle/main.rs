//! The packet path against the reference switch: random configurations, changes and frames must give the same copies, byte
//! for byte, the same drops by reason, and balanced counters after every step.

mod strategies;
mod traces;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use weft_datapath::testing::{ReferenceSwitch, Rig};
use weft_datapath::{Admission, Config, DropReason, Event, LearnedAddress, PortId, SwitchId};

use strategies::{Step, config, step};

const PORTS: u16 = 9;

/// Most uplinks: the last ports.
const UPLINKS: usize = 3;

/// A port's receive queue; small enough that floods fill it.
const DEPTH: usize = 12;

/// What the reference expects of one step: frames and drops by port.
#[derive(Default)]
struct Expected {
    copies: BTreeMap<PortId, Vec<Vec<u8>>>,
    rx_drops: BTreeMap<DropReason, u64>,
    tx_drops: BTreeMap<(PortId, DropReason), u64>,
}

fn expect(reference: &mut ReferenceSwitch, port: PortId, frames: &[Vec<u8>]) -> Expected {
    let mut expected = Expected::default();
    for frame in frames {
        let outcome = reference.forward(port, frame);
        for (to, copy) in outcome.copies {
            let queue = expected.copies.entry(to).or_default();
            if queue.len() < DEPTH {
                queue.push(copy);
            } else {
                *expected
                    .tx_drops
                    .entry((to, DropReason::RingFull))
                    .or_default() += 1;
            }
        }
        for (to, reason) in outcome.refused {
            *expected.tx_drops.entry((to, reason)).or_default() += 1;
        }
        if let Some(reason) = outcome.dropped {
            *expected.rx_drops.entry(reason).or_default() += 1;
        }
    }
    expected
}

/// Counts by port and reason.
type Drops = BTreeMap<(PortId, DropReason), u64>;

/// Drops of every port so far: of frames that it sent, and of copies meant for it.
fn drops(rig: &Rig) -> (Drops, Drops) {
    let mut all = (BTreeMap::new(), BTreeMap::new());
    for id in (0..PORTS).map(PortId) {
        let counters = rig.datapath.counters(id).unwrap_or_default();
        for &reason in DropReason::ALL {
            all.0
                .insert((id, reason), counters.rx_drops[reason as usize]);
            all.1
                .insert((id, reason), counters.tx_drops[reason as usize]);
        }
    }
    all
}

/// What every switch learned.
fn learned(rig: &Rig) -> Vec<LearnedAddress> {
    let switches = [SwitchId(0), SwitchId(1)];
    let learned = switches.map(|switch| rig.datapath.learned_addresses(switch));
    learned.concat()
}

/// Whatever a port sends, addresses behind others stay there that those have sent from of late.
fn keeps_the_living(before: &[LearnedAddress], after: &[LearnedAddress], sender: PortId) {
    let lives = |entry: &&LearnedAddress| entry.port != sender && entry.age.as_secs() < 2;
    for entry in before.iter().filter(lives) {
        assert!(after.contains(entry), "{sender} displaced {entry:?}");
    }
}

/// A port sends `frames` behind those that `wait` there already.
fn exchange(
    rig: &mut Rig,
    reference: &mut ReferenceSwitch,
    port: PortId,
    wait: &[Vec<u8>],
    frames: &[Vec<u8>],
) {
    traces::check(rig, reference, port, frames);
    let (before, behind) = (drops(rig), learned(rig));
    let expected = expect(reference, port, &[wait, frames].concat());
    let got = rig.exchange(port, frames);
    assert_eq!(got, expected.copies, "copies of what {port} sent");
    let after = drops(rig);
    for (key, count) in after.0 {
        let wanted = if key.0 == port {
            expected.rx_drops.get(&key.1)
        } else {
            None
        };
        assert_eq!(
            count - before.0[&key],
            wanted.copied().unwrap_or(0),
            "frames dropped: {key:?}"
        );
    }
    for (key, count) in after.1 {
        let wanted = expected.tx_drops.get(&key).copied().unwrap_or(0);
        assert_eq!(count - before.1[&key], wanted, "copies dropped: {key:?}");
    }
    keeps_the_living(&behind, &learned(rig), port);
    rig.audit();
}

/// What was learned is what the reference learned, and each port's count says how much that is.
fn compare_learned(rig: &Rig, reference: &ReferenceSwitch) {
    let mut counts = BTreeMap::new();
    for switch in [SwitchId(0), SwitchId(1)] {
        let learned = rig.datapath.learned_addresses(switch);
        assert_eq!(learned, reference.learned(switch), "learned on {switch:?}");
        for entry in learned {
            *counts.entry(entry.port).or_default() += 1;
        }
    }
    for port in (0..PORTS).map(PortId) {
        let count = counts.get(&port).copied().unwrap_or(0);
        assert_eq!(rig.datapath.learned_count(port), count, "behind {port}");
    }
}

/// Frames of a port that is in no configuration; of one port at a time, since whose come first is nobody's promise.
#[derive(Default)]
struct Waiting {
    port: u16,
    frames: Vec<Vec<u8>>,
}

impl Waiting {
    fn send(&mut self, rig: &mut Rig, port: u16, frames: &[Vec<u8>]) {
        if self.frames.is_empty() {
            self.port = port;
        } else if self.port != port {
            return;
        }
        for frame in frames {
            // A burst may give the port its address, and none of its frames may tell; see `check`.
            let tells = |other: &Vec<u8>| other.get(..6) == frame.get(6..12);
            if self.frames.iter().any(tells) {
                break;
            }
            rig.port(PortId(port)).send(frame);
            self.frames.push(frame.clone());
        }
        rig.worker.pass();
    }
}

fn has(config: &Config, port: u16) -> bool {
    config.ports.iter().any(|other| other.id.0 == port)
}

fn learns(config: &Config, port: u16) -> bool {
    let mut ports = config.ports.iter();
    ports.any(|own| own.id.0 == port && own.effective_learning().is_some())
}

/// What a configuration means where one port has no engine.
fn without(config: &Config, absent: u16) -> Config {
    let mut config = config.clone();
    for port in &mut config.ports {
        if port.id == PortId(absent) && port.admission == Admission::Open {
            port.admission = Admission::Down;
        }
    }
    config
}

/// `absent` is the port that has no engine; any other number means that all have one.
fn check(first: &Config, absent: u16, steps: Vec<Step>) {
    let mut now = 1_000_000_000_000;
    let set_clock = |reference: &mut ReferenceSwitch, now| {
        weft_datapath::testing::set_clock(Some(now));
        reference.set_time(now);
    };
    let mut rig = Rig::new().expect("an eventfd");
    let mut reference = ReferenceSwitch::default();
    set_clock(&mut reference, now);
    for id in (0..PORTS).filter(|&id| id != absent) {
        rig.attach(PortId(id), DEPTH).expect("an eventfd");
    }
    rig.apply(first);
    reference.apply(&without(first, absent));
    let mut config = first.clone();
    let mut waiting = Waiting::default();
    let mut sent = Vec::new();
    for step in steps {
        match step {
            Step::Wait { ms, ages } => {
                now += ms * 1_000_000;
                set_clock(&mut reference, now);
                if ages {
                    rig.datapath.age_learned();
                    reference.age();
                }
            }
            Step::Adopt { port, .. } | Step::Send { port, .. } if port == absent => {}
            Step::Send { port, frames } if !has(&config, port) => {
                waiting.send(&mut rig, port, &frames);
            }
            Step::Apply(next) => {
                config = next;
                let would = traces::of_all(&sent, |port, frame| {
                    let config = without(&config, absent);
                    rig.datapath.trace_in(&config, port, frame)
                });
                rig.apply(&config);
                let does = traces::of_all(&sent, |port, frame| rig.datapath.trace(port, frame));
                assert_eq!(would, does, "what would happen in {config:?}");
                reference.apply(&without(&config, absent));
                if has(&config, waiting.port) {
                    let (port, wait) = (PortId(waiting.port), std::mem::take(&mut waiting.frames));
                    exchange(&mut rig, &mut reference, port, &wait, &[]);
                }
            }
            Step::Links(time, links) => {
                now += time;
                set_clock(&mut reference, now);
                let links: Vec<_> = links.into_iter().map(|(id, up)| (PortId(id), up)).collect();
                // The poll thread is the caller, so nobody has to be waited for.
                let _ = rig.datapath.set_links(&links);
                let _ = rig.datapath.renew_ways();
                reference.set_links(&links);
            }
            Step::Adopt { port, mac } => {
                rig.datapath.adopt(PortId(port), Some(mac));
                reference.adopt(PortId(port), mac);
            }
            Step::Send { port, frames } => {
                sent.extend(frames.first().cloned());
                // The frames of a burst are admitted before the first of them is looked up. Where the burst gives the port
                // its address, or has one learned behind it, a frame to that address would tell: such a port sends one by one.
                let nameless = rig.datapath.learned(PortId(port)).0.is_none();
                let one_by_one = nameless || learns(&config, port);
                for burst in frames.chunks(if one_by_one { 1 } else { frames.len() }) {
                    exchange(&mut rig, &mut reference, PortId(port), &[], burst);
                }
            }
        }
        compare_learned(&rig, &reference);
    }
    for event in rig.events.try_iter() {
        let (Event::SourceSeen { mac, .. }
        | Event::SourceRefused { mac, .. }
        | Event::AddressTaken { mac, .. }) = event;
        assert!(mac.is_unicast_source(), "{mac} is nobody's address");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_packet_path_agrees_with_the_reference(
        first in config(),
        absent in 0..PORTS * 2,
        steps in vec(step(), 1..25),
    ) {
        check(&first, absent, steps);
    }
}
