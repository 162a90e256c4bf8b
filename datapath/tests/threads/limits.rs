//! Ports with limits on poll threads that sleep, wake and share them.

use std::time::Instant;

use weft_datapath::testing::{access, one_switch, port};
use weft_datapath::{DropReason, PollMode, PortConfig, PortId, ShapeConfig};

use crate::{DEADLINE, attach, audit, frame, receive, start, wait_for_sleep};

/// So slow that no test lives to see a second frame.
const NEVER: ShapeConfig = ShapeConfig {
    average: 1,
    peak: 1,
    burst: 1,
};

/// A frame of 1000 octets every 4 ms.
const SLOW: ShapeConfig = ShapeConfig {
    average: 2_000_000,
    peak: 2_000_000,
    burst: 1000,
};

/// A frame of 1000 octets.
fn long_frame(from: u16, to: u16, number: u32) -> Vec<u8> {
    let mut frame = frame(from, to, number);
    frame.resize(1000, 0);
    frame
}

#[test]
fn a_thread_sleeps_while_limits_hold_frames_back_and_wakes_for_others() {
    let datapath = start(vec![], PollMode::Adaptive);
    let ports = attach::<3>(&datapath, 64);
    let mut configured = [0, 1, 2].map(|id| port(id, access(5)));
    configured[0].shape_in = Some(NEVER);
    let apply = |configured: &[PortConfig]| {
        datapath
            .apply(&one_switch(configured.to_vec()))
            .expect("the thread answers");
    };
    apply(&configured);
    for number in 0..20 {
        ports[0].send(&frame(0, 1, number));
    }
    assert_eq!(receive(&ports[1]), frame(0, 1, 0));
    wait_for_sleep(&datapath);
    for number in 0..200 {
        ports[2].send(&frame(2, 1, number));
        assert_eq!(receive(&ports[1]), frame(2, 1, number));
    }
    wait_for_sleep(&datapath);
    assert_eq!(ports[0].waiting(), 19);
    // A limit that goes is enough to wake it.
    configured[0].shape_in = None;
    apply(&configured);
    for number in 1..20 {
        assert_eq!(receive(&ports[1]), frame(0, 1, number));
    }
    audit(&datapath, 3, 220);
}

/// Whichever side the limit is on, a frame every 4 ms takes a few passes and not what a core can do in 4 ms.
#[test]
fn frames_that_limits_let_pass_one_by_one_take_few_passes() {
    for is_in in [true, false] {
        let datapath = start(vec![], PollMode::Adaptive);
        let ports = attach::<2>(&datapath, 64);
        let mut configured = [0, 1].map(|id| port(id, access(5)));
        if is_in {
            configured[0].shape_in = Some(SLOW);
        } else {
            configured[1].shape_out = Some(SLOW);
        }
        datapath
            .apply(&one_switch(configured.clone()))
            .expect("the thread answers");
        // As many as the egress queue has room for.
        for number in 0..12 {
            ports[0].send(&long_frame(0, 1, number));
        }
        // By then the other ports rest, and only the limit keeps the thread busy.
        for number in 0..4 {
            assert_eq!(receive(&ports[1]), long_frame(0, 1, number));
        }
        let before = datapath.threads()[0].passes;
        for number in 4..12 {
            assert_eq!(receive(&ports[1]), long_frame(0, 1, number));
        }
        let passes = datapath.threads()[0].passes - before;
        // A thread that does not sleep makes tens of thousands; one that has to wait for its core spins a little more often.
        assert!(passes < 8 * 200, "{passes} passes for 8 frames");
        audit(&datapath, 2, 12);
    }
}

/// What arrives of two threads that feed one port, and what two threads receive from one port, is what one limit lets pass.
#[test]
fn threads_share_a_limit() {
    let shape = ShapeConfig {
        average: 40_000_000,
        peak: 80_000_000,
        burst: 20_000,
    };
    for is_in in [true, false] {
        let datapath = start(vec![0, 1], PollMode::Adaptive);
        let shared = datapath.attach_shared_memory(PortId(0), 64);
        let attach = |id| datapath.attach_memory(PortId(id), 8192, false);
        let senders = [shared, attach(1)].map(|port| port.expect("an eventfd"));
        let receiver = attach(2).expect("an eventfd");
        let mut configured = [0, 1, 2].map(|id| port(id, access(5)));
        if is_in {
            configured[0].shape_in = Some(shape);
        } else {
            configured[2].shape_out = Some(shape);
        }
        datapath
            .apply(&one_switch(configured.clone()))
            .expect("the threads answer");
        let start = Instant::now();
        let senders = &senders[..if is_in { 1 } else { 2 }];
        let sent = 600 * senders.len() as u64;
        for number in 0..600 {
            for (id, sender) in senders.iter().enumerate() {
                sender.send(&long_frame(id as u16, 2, number));
            }
        }
        let mut octets = 0.0;
        loop {
            let counters = datapath.counters(PortId(2)).expect("the port is attached");
            let dropped = counters.tx_drops[DropReason::ShaperFull as usize];
            octets += receiver.drain().iter().map(Vec::len).sum::<usize>() as f64;
            let passed = shape.average as f64 / 8.0 * start.elapsed().as_secs_f64();
            // Two threads that look at the same moment take what there is twice.
            let twice = if is_in { 21_000.0 } else { 1000.0 };
            assert!(
                octets <= 20_000.0 + passed + twice,
                "{octets} octets in {passed}"
            );
            if octets as u64 / 1000 + dropped == sent {
                assert!(!is_in || dropped == 0);
                break;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "{octets} octets, {dropped} drops"
            );
            std::thread::yield_now();
        }
        audit(&datapath, 3, sent);
    }
}
