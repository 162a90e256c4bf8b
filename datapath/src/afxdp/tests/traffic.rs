//! Frames of all kinds, both ways, in every mode.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

#[test]
fn frames_of_every_length_pass_both_ways() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(&pair, QUICK);
    assert!(
        port.info.native && !port.info.zero_copy && !port.info.multi_buffer,
        "{:?}",
        port.info
    );
    assert_eq!((port.info.queues, port.info.driver.as_str()), (1, "veth"));
    let mut far = far_end(&pair);
    for chunk in (14..=1514).collect::<Vec<_>>().chunks(150) {
        let frames: Vec<_> = chunk.iter().map(|len| frame(*len, *len as u8)).collect();
        exchange(&mut port, &mut far, &frames);
    }
}

#[test]
fn random_frames_pass_both_ways() {
    let pair = VethPair::new(1500, 1);
    let ends = RefCell::new((open(&pair, QUICK), far_end(&pair)));
    // The EtherType is kept from being a tag's, which the far kernel would take out of the frame.
    let random = prop::collection::vec(any::<u8>(), 14..=1514).prop_map(|mut frame| {
        frame[12] = 0x88;
        frame[13] = 0xb5;
        frame
    });
    let bursts = prop::collection::vec(random, 1..80);
    let config = Config {
        cases: 50,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&bursts, |burst| {
            let (port, far) = &mut *ends.borrow_mut();
            exchange(port, far, &burst);
            Ok(())
        })
        .unwrap();
}

#[test]
fn jumbo_frames_take_several_buffers() {
    let pair = VethPair::new(9000, 1);
    let mut port = open(&pair, Options { mtu: 9000, ..QUICK });
    assert!(
        port.info.native && port.info.multi_buffer,
        "{:?}",
        port.info
    );
    let mut far = far_end(&pair);
    let lengths = [
        14, 60, 1514, 3839, 3840, 3841, 4096, 4097, 7680, 7681, 8192, 8193, 9014,
    ];
    let frames: Vec<_> = lengths.iter().map(|len| frame(*len, *len as u8)).collect();
    for _ in 0..20 {
        exchange(&mut port, &mut far, &frames);
    }
    assert_eq!(port.rx[0].statistics().unwrap().rx_dropped, 0);
}

#[test]
fn a_whole_burst_of_jumbo_frames_is_never_cut() {
    let pair = VethPair::new(9000, 1);
    let mut port = open(&pair, Options { mtu: 9000, ..QUICK });
    let far = far_end(&pair);
    let frames: Vec<_> = (0..100).map(|seed| frame(9014, seed)).collect();
    for frame in &frames {
        far.send(frame);
    }
    // `receive` asserts that none continues from one call to the next; 64 is not a multiple of three buffers.
    assert_eq!(receive(&mut port.rx[0], frames.len()), frames);
}

#[test]
fn a_peer_with_a_larger_mtu_is_faced_with_several_buffers() {
    let pair = VethPair::new(1500, 1);
    pair.far.ip(&["link", "set", VethPair::FAR, "mtu", "9000"]);
    let mut port = open(&pair, QUICK);
    assert!(
        port.info.native && port.info.multi_buffer,
        "{:?}",
        port.info
    );
    exchange(&mut port, &mut far_end(&pair), &[frame(1514, 1)]);
}

#[test]
fn no_frame_is_taken_that_begins_beyond_a_limit() {
    let namespace = Namespace::new();
    namespace.ip(&["link", "set", "lo", "up", "mtu", "9000"]);
    let options = Options { mtu: 9000, ..QUICK };
    let mut port = namespace.run(|| AfXdpPort::open("lo", options)).unwrap();
    let sender = namespace.run(|| RawSocket::open("lo"));
    for seed in 0..12 {
        sender.send(&frame(9014, seed));
    }
    let mut descs = [Desc::default(); 64];
    for (octets, frames) in [(1, 1), (9014, 1), (9015, 2), (4 * 9014, 4), (100_000, 4)] {
        assert!(wait(&port.rx[0], PATIENCE));
        let count = port.rx[0].receive_within(&mut descs, octets);
        let whole = descs[..count].iter().filter(|desc| !desc.continues());
        assert_eq!(whole.count(), frames, "{octets} octets");
        assert!(!descs[count - 1].continues(), "frames are taken whole");
        port.rx[0].recycle(&descs[..count]);
    }
}

#[test]
fn every_queue_is_served() {
    let pair = VethPair::new(1500, 4);
    let mut port = open(&pair, QUICK);
    assert_eq!((port.info.queues, port.rx.len(), port.tx.len()), (4, 4, 4));
    let mut far = far_end(&pair);
    for (queue, tx) in port.tx.iter_mut().enumerate() {
        let frame = frame(100, queue as u8);
        transmit(tx, &frame).unwrap();
        assert_eq!(tx.flush(), Flushed::Done);
        assert_eq!(far.receive(PATIENCE), Some(frame));
    }
    // Which queue the kernel picks is its own business; none may keep a frame.
    for seed in 0..64 {
        far.send(&frame(100, seed));
    }
    let (mut received, mut descs) = (0, [Desc::default(); 64]);
    let deadline = Instant::now() + PATIENCE;
    while received < 64 {
        assert!(Instant::now() < deadline, "{received} of 64 frames arrived");
        for rx in &mut port.rx {
            let count = rx.receive(&mut descs);
            received += count;
            rx.recycle(&descs[..count]);
        }
    }
}

#[test]
fn both_sides_of_a_queue_work_on_different_threads() {
    let pair = VethPair::new(1500, 1);
    let AfXdpPort {
        mut rx,
        mut tx,
        guard: _guard,
        ..
    } = open(&pair, QUICK);
    let mut far = far_end(&pair);
    let frames: Vec<_> = (0..200).map(|seed| frame(300, seed)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for frame in &frames {
                transmit(&mut tx[0], frame).unwrap();
                assert_eq!(tx[0].flush(), Flushed::Done);
            }
        });
        scope.spawn(|| assert_eq!(receive(&mut rx[0], frames.len()), frames));
        for frame in &frames {
            far.send(frame);
        }
        for frame in &frames {
            assert_eq!(far.receive(PATIENCE).as_ref(), Some(frame));
        }
    });
}

#[test]
fn a_device_without_native_xdp_runs_in_generic_mode() {
    let namespace = Namespace::new();
    namespace.ip(&["link", "set", "lo", "up", "mtu", "1500"]);
    let mut port = namespace.run(|| AfXdpPort::open("lo", QUICK)).unwrap();
    assert!(!port.info.native && !port.info.zero_copy && !port.info.vlan_tag_restored);
    assert_eq!(port.info.warnings.len(), 1, "{:?}", port.info);
    let sender = namespace.run(|| RawSocket::open("lo"));
    sender.send(&frame(200, 1));
    assert_eq!(receive(&mut port.rx[0], 1), [frame(200, 1)]);
}

#[test]
fn jumbo_frames_pass_in_generic_mode() {
    let namespace = Namespace::new();
    namespace.ip(&["link", "set", "lo", "up", "mtu", "9000"]);
    let options = Options { mtu: 9000, ..QUICK };
    let mut port = namespace.run(|| AfXdpPort::open("lo", options)).unwrap();
    assert!(!port.info.native && port.info.multi_buffer);
    let sender = namespace.run(|| RawSocket::open("lo"));
    for len in [14, 3840, 3841, 9014] {
        sender.send(&frame(len, 1));
        assert_eq!(receive(&mut port.rx[0], 1), [frame(len, 1)]);
    }
}
