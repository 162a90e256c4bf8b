use std::time::Duration;

use weft_vlan::VlanId;

use super::*;
use crate::config::{Beyond, LearningConfig};
use crate::mac_table::key;

const A: PortId = PortId(1);
const B: PortId = PortId(2);

/// In ns.
const SECOND: u64 = 1_000_000_000;

fn mac(n: u64) -> MacAddr {
    MacAddr::from_bits(0x02_00_00_00_00_00 | n)
}

fn learning(limit: u16) -> Learning {
    let vlan = Policy::Access(VlanId::new(5).expect("a VLAN"));
    let config = LearningConfig {
        limit,
        beyond: Beyond::Drop,
        flood: true,
        age: Duration::from_secs(300),
    };
    let port = |id| PortConfig {
        learning: Some(config),
        ..PortConfig::vm(id, SwitchId(0), vlan.clone())
    };
    let (a, b) = (port(A), port(B));
    let table = || Arc::new(LearningTable::new(7));
    Learning::build(SwitchId(0), &[&a, &b], table).expect("the ports learn")
}

/// Whether an address that is heard from an uplink is not behind its port any more, which loses it.
fn moved_away(learning: &Learning, key: u64, now: u64) -> bool {
    let left = learning.has_left(key, now, true);
    if left {
        learning.forget(key, now, true);
    }
    left && learning.find(key).is_none()
}

#[test]
fn an_address_moves_only_after_silence() {
    let learning = learning(10);
    let address = key(5, mac(1));
    let learn = |port, second| learning.learn(address, port, second, || false);
    learn(A, 100);
    for second in [100, 101] {
        learn(B, second);
        assert_eq!(learning.find(address), Some(A));
    }
    assert!(learning.table.refresh(address, A, 101));
    learn(B, 102);
    assert_eq!(learning.find(address), Some(A), "it sent a second ago");
    learn(B, 103);
    assert_eq!(learning.find(address), Some(B));
    assert!(!learning.table.refresh(address, A, 103));
    assert_eq!((learning.table.count(A), learning.table.count(B)), (0, 1));
}

#[test]
fn a_port_learns_up_to_its_limit() {
    let learning = learning(3);
    for n in 0..10 {
        learning.learn(key(5, mac(n)), A, 1, || false);
    }
    assert_eq!(learning.table.count(A), 3);
    assert!(learning.is_beyond(key(5, mac(9)), A));
    // Another port has a limit of its own.
    learning.learn(key(5, mac(9)), B, 1, || false);
    assert_eq!(learning.find(key(5, mac(9))), Some(B));
    learning.age(400);
    assert_eq!(learning.table.count(A), 0);
    assert!(learning.table.is_empty());
}

#[test]
fn a_port_with_more_than_its_limit_keeps_what_it_sent_from_last() {
    let before = learning(4);
    for (n, second) in [(1, 13), (2, 11), (3, 12), (4, 12)] {
        before.learn(key(5, mac(n)), A, second, || false);
        before.learn(key(5, mac(10 + n)), B, second, || false);
    }
    let behind = |learning: &Learning, port| {
        let list = learning.list(13).into_iter();
        let own = list.filter(|address| address.port == port);
        own.map(|address| address.mac).collect::<Vec<_>>()
    };
    let after = Learning {
        table: Arc::clone(&before.table),
        ..learning(2)
    };
    after.settle(|key, port| port == A || key != self::key(5, mac(11)));
    assert_eq!(behind(&after, A), [mac(1), mac(3)]);
    assert_eq!(behind(&after, B), [mac(13), mac(14)]);
    assert_eq!((after.table.count(A), after.table.count(B)), (2, 2));
}

#[test]
fn what_became_an_address_of_a_port_meanwhile_is_not_learned() {
    let learning = learning(3);
    learning.learn(key(5, mac(1)), A, 1, || true);
    assert!(learning.table.is_empty());
}

#[test]
fn while_another_thread_writes_nothing_is_learned_and_nobody_waits() {
    let learning = learning(3);
    let address = key(5, mac(1));
    let writer = learning.table.write();
    learning.learn(address, A, 1, || false);
    drop(writer);
    assert!(learning.table.is_empty());
    learning.learn(address, A, 1, || false);
    let writer = learning.table.write();
    assert_eq!(learning.find(address), Some(A));
    assert!(
        learning.table.refresh(address, A, 9),
        "noting that it was seen takes no lock"
    );
    drop(writer);
    assert_eq!(learning.list(9)[0].age, Duration::ZERO);
    let writer = learning.table.write();
    assert!(!moved_away(&learning, address, 20 * SECOND));
    drop(writer);
    assert!(moved_away(&learning, address, 20 * SECOND));
}

#[test]
fn an_address_that_comes_in_by_an_uplink_has_moved_away_after_silence() {
    let learning = learning(3);
    let address = key(5, mac(1));
    assert!(moved_away(&learning, address, 10 * SECOND), "nobody has it");
    learning.learn(address, A, 10, || false);
    assert!(
        !moved_away(&learning, address, 15 * SECOND - 1),
        "a reflection"
    );
    assert_eq!(learning.find(address), Some(A));
    assert!(moved_away(&learning, address, 15 * SECOND));
    assert_eq!(learning.find(address), None);
    assert_eq!(learning.table.count(A), 0);
}

#[test]
fn an_address_ages_from_when_it_was_last_seen() {
    let learning = learning(3);
    for n in 0..2 {
        learning.learn(key(5, mac(n)), A, 10, || false);
    }
    assert!(learning.table.refresh(key(5, mac(1)), A, 200));
    learning.age(310);
    assert_eq!(learning.list(310).len(), 2);
    learning.age(311);
    let left = learning.list(311);
    let expected = LearnedAddress {
        vlan: 5,
        mac: mac(1),
        port: A,
        age: Duration::from_secs(111),
    };
    assert_eq!(left, [expected]);
    assert_eq!(learning.table.count(A), 1);
}

#[test]
fn nothing_is_found_behind_a_port_that_does_not_carry_the_vlan() {
    let learning = learning(3);
    learning.learn(key(6, mac(1)), A, 10, || false);
    let stranger = Holder {
        port: PortId(3),
        seen: 10,
    };
    learning.table.write().put(key(5, mac(2)), stranger);
    assert_eq!(learning.find(key(6, mac(1))), None);
    assert_eq!(learning.find(key(5, mac(2))), None);
    assert!(learning.list(10).is_empty());
    learning.settle(|_, _| true);
    assert!(learning.table.is_empty());
}

#[test]
fn a_full_window_is_beyond_the_limit_and_the_rest_goes_on() {
    let learning = learning(u16::MAX);
    let mut held = 0;
    for n in 0..200_000 {
        let address = key(5, mac(n));
        let fits = !learning.is_beyond(address, A);
        learning.learn(address, A, 1, || false);
        assert_eq!(learning.find(address).is_some(), fits);
        held += u32::from(fits);
    }
    // Almost every one fits before the port's limit ends it: 65,535 of 131,072 slots, eight to a window.
    assert_eq!(held, learning.table.count(A));
    assert!(held > 60_000, "{held}");
    assert!(learning.is_beyond(key(5, mac(1 << 30)), A));
}

#[test]
fn a_copy_has_the_entries_and_goes_its_own_way() {
    let learning = learning(3);
    learning.learn(key(5, mac(1)), A, 10, || false);
    let copy = learning.table.copy();
    assert_eq!(
        copy.find(key(5, mac(1))),
        learning.table.find(key(5, mac(1)))
    );
    assert_eq!(copy.count(A), 1);
    copy.write().release(key(5, mac(1)));
    assert_eq!(learning.find(key(5, mac(1))), Some(A));
}

/// Several threads send, others move and age, and one reads: what is read was true at some time, and at the end the counts
/// are those of the entries.
#[test]
fn threads_that_learn_at_once_agree() {
    let learning = learning(64);
    let learning = &learning;
    std::thread::scope(|scope| {
        for port in [A, B] {
            scope.spawn(move || {
                for round in 0..20_000u32 {
                    // Half of the addresses are the port's, half are both ports'.
                    let n = u64::from(round % 32);
                    let n = if n < 16 {
                        n + 100 * u64::from(port.0)
                    } else {
                        n
                    };
                    let (address, second) = (key(5, mac(n)), round / 100);
                    if !learning.table.refresh(address, port, second) {
                        learning.learn(address, port, second, || false);
                    }
                }
            });
        }
        scope.spawn(move || {
            for second in 0..200 {
                learning.age(second + 250);
                moved_away(learning, key(5, mac(20)), u64::from(second) * SECOND);
            }
        });
        scope.spawn(move || {
            for round in 0..200_000u64 {
                let n = round % 32;
                assert_ne!(learning.find(key(5, mac(100 + n % 16))), Some(B));
                assert_ne!(learning.find(key(5, mac(200 + n % 16))), Some(A));
            }
        });
    });
    let listed = learning.list(300);
    for port in [A, B] {
        let behind = listed.iter().filter(|entry| entry.port == port).count();
        assert_eq!(behind, learning.table.count(port) as usize);
    }
    learning.age(10_000);
    assert!(learning.table.is_empty());
    assert_eq!((learning.table.count(A), learning.table.count(B)), (0, 0));
}
