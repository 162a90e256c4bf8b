//! Full rings, frames that are kept, and interfaces that go away.

use super::*;

#[test]
fn a_full_ring_refuses_and_recovers() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(
        &pair,
        Options {
            ring_size: 64,
            frames: 256,
            ..QUICK
        },
    );
    let mut far = far_end(&pair);
    let tx = &mut port.tx[0];
    assert_eq!(transmit(tx, &[0; 13]), Err(Refused::Length));
    assert_eq!(transmit(tx, &[0; 2049]), Err(Refused::Length));
    for round in 0..50 {
        for _ in 0..64 {
            transmit(tx, &frame(60, round)).unwrap();
        }
        assert_eq!(transmit(tx, &frame(60, round)), Err(Refused::Full));
        assert_eq!(tx.flush(), Flushed::Done);
        for _ in 0..64 {
            assert_eq!(far.receive(PATIENCE), Some(frame(60, round)));
        }
    }
    drain(tx);
    assert!(
        (50..=200).contains(&tx.wakeups()),
        "{} system calls",
        tx.wakeups()
    );
}

#[test]
fn a_receiver_that_recycles_nothing_loses_frames_and_recovers() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(
        &pair,
        Options {
            ring_size: 64,
            frames: 128,
            ..QUICK
        },
    );
    let far = far_end(&pair);
    let rx = &mut port.rx[0];
    let mut held = Vec::new();
    for seed in 0..64 {
        far.send(&frame(60, seed));
        assert!(wait(rx, PATIENCE));
        let mut desc = [Desc::default()];
        assert_eq!(rx.receive(&mut desc), 1);
        held.extend(desc);
    }
    far.send(&frame(60, 99));
    assert!(!wait(rx, SILENCE) && rx.is_empty());
    let statistics = rx.statistics().unwrap();
    assert!(
        statistics.rx_dropped + statistics.rx_fill_ring_empty_descs.unwrap() > 0,
        "{statistics:?}"
    );
    for (seed, desc) in (0..).zip(&held) {
        assert_eq!(rx.data(desc), frame(60, seed));
    }
    // A descriptor that was recycled reaches nothing, and recycling it again does nothing.
    rx.recycle(&held);
    rx.recycle(&held);
    assert!(held.iter().all(|desc| rx.data(desc).is_empty()));
    for desc in &held {
        assert!(rx.data_mut(desc).is_empty());
    }
    for seed in 0..200 {
        far.send(&frame(60, seed));
        assert_eq!(receive(rx, 1), [frame(60, seed)]);
    }
}

#[test]
fn an_interface_that_is_down_is_opened_and_serves_when_it_is_up() {
    let pair = VethPair::new(1500, 1);
    pair.near.ip(&["link", "set", VethPair::NEAR, "down"]);
    let mut port = open(&pair, QUICK);
    pair.near.ip(&["link", "set", VethPair::NEAR, "up"]);
    exchange(&mut port, &mut far_end(&pair), &[frame(60, 1)]);
}

#[test]
fn an_interface_that_goes_down_says_so_and_comes_back() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(&pair, QUICK);
    pair.near.ip(&["link", "set", VethPair::NEAR, "down"]);
    transmit(&mut port.tx[0], &frame(60, 1)).unwrap();
    assert_eq!(port.tx[0].flush(), Flushed::Down);
    pair.near.ip(&["link", "set", VethPair::NEAR, "up"]);
    let mut far = far_end(&pair);
    assert_eq!(port.tx[0].flush(), Flushed::Done);
    assert_eq!(far.receive(PATIENCE), Some(frame(60, 1)));
    exchange(&mut port, &mut far, &[frame(60, 2)]);
    pair.near.ip(&["link", "delete", VethPair::NEAR]);
    transmit(&mut port.tx[0], &frame(60, 3)).unwrap();
    assert_eq!(port.tx[0].flush(), Flushed::Down);
    assert_eq!(port.rx[0].receive(&mut [Desc::default(); 64]), 0);
}
