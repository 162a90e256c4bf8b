//! What grows is told of, and nothing else.

use super::*;

fn port(name: &str) -> PortKey {
    PortKey::Port(name.parse().unwrap())
}

fn uplink(name: &str) -> PortKey {
    PortKey::Uplink(name.parse().unwrap())
}

fn note(at: Instant, drops: &[(PortKey, DropReason, u64)], busy: u64) -> Note {
    let mut note = Note {
        at,
        drops: BTreeMap::new(),
        threads: vec![ThreadNote {
            core: Some(2),
            elapsed: 1000,
            busy,
        }],
    };
    for (key, reason, count) in drops {
        let drops = note
            .drops
            .entry(key.clone())
            .or_insert([0; DropReason::COUNT]);
        drops[*reason as usize] = *count;
    }
    note
}

#[test]
fn drops_count_from_the_note_on_and_the_most_frequent_reason_comes_first() {
    let now = Instant::now();
    let before = [
        (port("a"), DropReason::ForgedTransmit, 1_000_000),
        (port("a"), DropReason::RingFull, 5),
        (port("old"), DropReason::Runt, 100),
    ];
    let after = [
        (port("a"), DropReason::ForgedTransmit, 1_000_003),
        (port("a"), DropReason::RingFull, 15),
        (port("b"), DropReason::RingFull, 30),
        (port("old"), DropReason::Runt, 100),
        (port("once"), DropReason::TooLong, 1),
    ];
    let growth = note(now, &after, 0).growth(&note(now, &before, 0));
    let expected = [
        Growth {
            reason: DropReason::RingFull,
            frames: 40,
            at: port("b"),
            places: 2,
        },
        Growth {
            reason: DropReason::ForgedTransmit,
            frames: 3,
            at: port("a"),
            places: 1,
        },
    ];
    assert_eq!(growth, expected);
}

#[test]
fn how_a_switch_works_is_no_fault() {
    let now = Instant::now();
    let usual = [
        (uplink("eth1"), DropReason::UnknownUnicast, 900),
        (uplink("eth1"), DropReason::VlanNotMember, 900),
        (uplink("eth1"), DropReason::ReversePath, 900),
        (port("a"), DropReason::NoReceiver, 900),
        (port("a"), DropReason::SamePort, 900),
        (port("a"), DropReason::PortDown, 900),
        (port("a"), DropReason::PortBlocked, 900),
    ];
    let before = note(now, &[], 0);
    assert_eq!(note(now, &usual, 0).growth(&before), []);
    let fault = [(port("a"), DropReason::UnknownUnicast, 900)];
    assert_eq!(note(now, &fault, 0).growth(&before).len(), 1);
}

#[test]
fn a_thread_without_time_to_spare_is_told_of() {
    let now = Instant::now();
    let mut after = note(now, &[], 1960);
    after.threads[0].elapsed = 3000;
    assert_eq!(
        after.saturated(&note(now, &[], 0)),
        [(0, Some(2), 0.98)],
        "1960 of 2000 cycles"
    );
    after.threads[0].busy = 1000;
    assert_eq!(after.saturated(&note(now, &[], 0)), []);
}

#[test]
fn notes_are_few_and_only_recent_ones_are_compared_with() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut notes = Notes::default();
    assert!(notes.before(start).is_none());
    for seconds in [0, 2, 4, 6] {
        notes.add(note(after(seconds), &[], 0));
    }
    assert_eq!(notes.0.len(), NOTES);
    assert_eq!(notes.before(after(7)).unwrap().at, after(2));
    assert!(notes.before(after(60)).is_none(), "nobody noted for long");
    let mut first = Notes::default();
    first.add(note(start, &[], 0));
    assert!(first.before(start + Duration::from_millis(100)).is_none());
}

#[test]
fn rates_are_words() {
    let said = [(1, 4.0), (5, 4.0), (4000, 4.0)].map(|(frames, time)| per_second(frames, time));
    assert_eq!(said, ["less than 1 frame", "1 frame", "1000 frames"]);
}
