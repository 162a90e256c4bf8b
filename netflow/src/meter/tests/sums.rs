//! Whatever is sent, and whenever: each packet is in one record, which comes in time.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::frames::{Sent, WAYS, Way, frame, large_frame, usual_frame};
use super::seen::{Sum, seen};
use super::*;

const INTERFACES: u16 = 3;
const DAY: u64 = 86_400_000;

/// A frame of those that there are, with the interfaces that it passes, how, its VLAN, and the shortest way that it may
/// be noted by.
type Pick = (Index, (u16, u16, Direction, u16), Way);

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<Pick>),
    /// As a thread passes that looks once a millisecond.
    Pass(u64),
    /// A thread that does not come to look for so long, and then counts before it does.
    Stall(u64, Vec<Pick>),
    /// An interface goes, and another one has its number.
    Leave(u16),
    /// Other timeouts, in seconds.
    Time(u64, u64),
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    let direction = select(vec![Direction::Ingress, Direction::Egress]);
    let vlan = select(vec![0u16, 10]);
    // No interface is 0.
    let place = (1..=INTERFACES, 0..=INTERFACES, direction, vlan);
    prop::collection::vec((any::<Index>(), place, select(WAYS.to_vec())), 0..70)
}

fn step() -> impl Strategy<Value = Step> {
    // Longer than a flow may wait for its record, and less than times are told apart by their low bits.
    let stall = prop_oneof![ROUND..5_000, 5_000..20 * DAY];
    prop_oneof![
        8 => picks().prop_map(Step::Send),
        4 => (0..2_500u64).prop_map(Step::Pass),
        1 => (stall, picks()).prop_map(|(time, picks)| Step::Stall(time, picks)),
        1 => (1..=INTERFACES).prop_map(Step::Leave),
        1 => (1..5u64, 1..5u64).prop_map(|(active, idle)| Step::Time(active, idle)),
    ]
}

/// When clocks begin: where their low bits are about to begin anew, or to change their sign, and elsewhere.
fn start() -> impl Strategy<Value = u64> {
    let before = |times: u64| (times << 31).saturating_sub(4_000)..(times << 31) + 100;
    prop_oneof![
        0..2_000u64,
        prop_oneof![before(1), before(2), before(3), before(4), before(1000)],
        0..1u64 << 50,
    ]
}

/// What was sent of a flow and is in no record yet.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    sum: Sum,
    first: u64,
    last: u64,
    /// Some of its burst went with a flow that had to give way: which of its flags and times to live did is not known.
    is_rest: bool,
}

/// A flow, and the lives of the interfaces that it passes.
type Id = (Flow, [u8; 2]);

struct Run {
    meter: Meter,
    frames: Vec<Sent>,
    now: u64,
    /// How long flows were not looked at before this time.
    unseen: u64,
    /// When timeouts changed, and an interface that had a number in a life went.
    changed: u64,
    went: HashMap<(u16, u8), u64>,
    lives: [u8; INTERFACES as usize + 1],
    parts: HashMap<Id, Part>,
    packets: u64,
    evicted: u64,
}

impl Run {
    fn new(flows: usize, timing: Timing, now: u64, frames: Vec<Sent>) -> Self {
        Self {
            meter: Meter::new(flows, timing, 0x1234_5678_9abc_def1, now, |_, _| {}),
            frames,
            now,
            unseen: 0,
            changed: now,
            went: HashMap::new(),
            lives: [1; INTERFACES as usize + 1],
            parts: HashMap::new(),
            packets: 0,
            evicted: 0,
        }
    }

    fn send(&mut self, picks: &[Pick]) {
        for burst in picks.chunks(BATCH) {
            let Self {
                meter,
                frames,
                lives,
                ..
            } = self;
            let ends = |place: &(u16, u16, Direction, u16)| {
                [place.0, place.1].map(|interface| End {
                    interface,
                    life: lives[usize::from(interface)],
                })
            };
            meter.note_burst(|notes| {
                for (frame, at, way) in burst {
                    let [ingress, egress] = ends(at);
                    let place = Place::new(ingress, egress, at.2).in_vlan(at.3);
                    frame.get(frames).note(notes, place, *way);
                }
            });
            for (frame, at, _) in burst {
                let (ingress, egress, direction, vlan) = at;
                let (sent, ends) = (frame.get(frames), ends(at));
                let (flow, sum) = seen(sent);
                let flow = Flow {
                    ingress: Interface((*ingress).into()),
                    egress: Interface((*egress).into()),
                    direction: *direction,
                    vlan: *vlan,
                    ..flow
                };
                self.packets += sum.packets;
                let id = (flow, ends.map(|end| end.life));
                let part = self.parts.entry(id).or_insert_with(|| Part {
                    sum: Sum::default(),
                    first: self.now,
                    last: self.now,
                    is_rest: false,
                });
                part.sum.add(&sum);
                part.last = self.now;
            }
            let mut ended = Vec::new();
            self.meter.look_up(|_| {});
            self.meter.count(self.now, |end| ended.push(*end));
            ended.iter().for_each(|end| self.give_way(end));
        }
    }

    /// A flow that had to give way to another one of the burst that was sent last. More of it may have come behind that.
    fn give_way(&mut self, ended: &Ended) {
        let Record {
            flow,
            counts,
            reason,
        } = ended.record();
        assert_eq!(reason, EndReason::NoRoom);
        self.evicted += 1;
        let id = id(flow, ended);
        let part = self.parts.get_mut(&id).expect("packets of the flow");
        assert_eq!(counts.first, part.first, "{flow:?}");
        assert!((counts.first..=part.last).contains(&counts.last));
        let rest = |all: u64, told: u64| all.checked_sub(told).expect("no more than was sent");
        part.sum.packets = rest(part.sum.packets, counts.packets);
        part.sum.octets = rest(part.sum.octets, counts.octets);
        part.sum.layer2_octets = rest(part.sum.layer2_octets, counts.layer2_octets);
        (part.first, part.is_rest) = (self.now, true);
        if part.sum.packets == 0 {
            assert_eq!((part.sum.octets, part.sum.layer2_octets), (0, 0));
            self.parts.remove(&id);
        }
    }

    fn look(&mut self) {
        let (lives, mut ended) = (self.lives, Vec::new());
        let is_there = |end: End| lives[usize::from(end.interface)] == end.life;
        let stays = |ends: &Ends| is_there(ends.ingress) && is_there(ends.egress);
        while self.meter.look(self.now, stays, |end| ended.push(*end)) {}
        ended.iter().for_each(|end| self.end(end));
    }

    /// A record of all that was sent of a flow since its last one, for a reason that there is, and in time.
    fn end(&mut self, ended: &Ended) {
        let record = ended.record();
        let (flow, counts) = (record.flow, record.counts);
        let part = self.parts.remove(&id(flow, ended));
        let part = part.expect("packets of the flow");
        let (first, last, now) = (part.first, part.last, self.now);
        assert_eq!((counts.first, counts.last), (first, last), "{record:?}");
        let told = Sum::of(&record);
        if part.is_rest {
            let Sum { tcp_flags, ttl, .. } = told;
            assert_eq!(
                told,
                Sum {
                    tcp_flags,
                    ttl,
                    ..part.sum
                },
                "{record:?}"
            );
            assert_eq!(tcp_flags & !part.sum.tcp_flags, 0, "{record:?}");
        } else {
            assert_eq!(told, part.sum, "{record:?}");
        }
        let Timing { active, idle, .. } = self.meter.timing();
        let ends = ended.ends();
        let went = [ends.ingress, ends.egress]
            .iter()
            .filter_map(|end| self.went.get(&(end.interface, end.life)).copied())
            .min();
        let is_ending = told.tcp_flags & u16::from(FIN_OR_RST) != 0;
        let is_right = match record.reason {
            EndReason::Idle => now >= last + idle,
            EndReason::Active => now >= first + active,
            EndReason::Ended => is_ending && now >= last + ENDS_AFTER,
            EndReason::Forced => went.is_some(),
            EndReason::NoRoom => false,
        };
        assert!(is_right, "{now}: {record:?}");
        let mut due = (first + active).min(last + idle);
        if is_ending {
            due = due.min(last + ENDS_AFTER);
        }
        // A shorter timeout is known since it was set.
        let due = went.into_iter().fold(due.max(self.changed), u64::min);
        assert!(
            now <= due + ROUND + self.unseen,
            "{now}, due {due}: {record:?}"
        );
    }

    fn pass(&mut self, ms: u64) {
        self.unseen = 1;
        for _ in 0..ms {
            self.now += 1;
            self.look();
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(picks) => self.send(picks),
            Step::Pass(ms) => self.pass(*ms),
            Step::Stall(ms, picks) => {
                self.now += ms;
                self.send(picks);
                self.unseen = *ms;
                self.look();
            }
            Step::Leave(interface) => {
                let life = &mut self.lives[usize::from(*interface)];
                self.went.insert((*interface, *life), self.now);
                *life = life.wrapping_add(1);
                self.meter.look_at_all();
            }
            Step::Time(active, idle) => {
                self.changed = self.now;
                self.meter.set_timing(Timing {
                    active: active * 1000,
                    idle: idle * 1000,
                    ..TIMING
                });
            }
        }
    }
}

fn id(flow: Flow, ended: &Ended) -> Id {
    let ends = ended.ends();
    (flow, [ends.ingress.life, ends.egress.life])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn records_sum_up_to_what_was_sent(
        flows in 1..60usize,
        (active, idle) in (1..5u64, 1..5u64),
        start in start(),
        frames in prop::collection::vec(
            prop_oneof![4 => usual_frame(), 3 => frame(), 1 => large_frame()],
            1..30,
        ),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let timing = Timing { active: active * 1000, idle: idle * 1000, ..TIMING };
        let mut run = Run::new(flows, timing, start, frames);
        steps.iter().for_each(|step| run.step(step));
        // No timeout is longer, so all have come.
        run.pass(5_000 + ROUND);
        prop_assert_eq!(&run.parts, &HashMap::new());
        run.pass(5_000);
        prop_assert!(run.meter.is_empty());
        let tally = run.meter.tally();
        prop_assert_eq!((tally.packets, tally.evicted), (run.packets, run.evicted));
    }
}
