//! Ports on real interfaces: what one end of a veth pair sends, the other receives.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::testing::{Namespace, RawSocket, TagPusher, VethPair};
use super::*;

/// Long enough for a loaded machine; every wait ends as soon as what it waits for is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to believe that nothing comes.
const SILENCE: Duration = Duration::from_millis(50);
const QUICK: Options = Options {
    mtu: 1500,
    uplink: false,
    ring_size: 2048,
    frames: 4096,
    busy_wait: Duration::from_millis(100),
};

fn open(pair: &VethPair, options: Options) -> AfXdpPort {
    pair.near
        .run(|| AfXdpPort::open(VethPair::NEAR, options))
        .unwrap()
}

fn far_end(pair: &VethPair) -> RawSocket {
    pair.far.run(|| RawSocket::open(VethPair::FAR))
}

/// A frame of `len` bytes that differs from others in every byte: addresses, a local experimental EtherType, noise.
fn frame(len: usize, seed: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, seed, 0x88, 0xb5];
    let noise = |at: usize| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed;
    frame.extend((14..len).map(noise));
    frame
}

/// Waits until something can be received. `false` when patience ends.
fn wait(rx: &RxQueue, patience: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut ready = [PollFd::from_borrowed_fd(rx.fd(), PollFlags::IN)];
    poll(&mut ready, Some(&timeout)).unwrap() > 0
}

/// Receives frames until there are `count`, and recycles them.
fn receive(rx: &mut RxQueue, count: usize) -> Vec<Vec<u8>> {
    let (mut frames, mut descs, mut continues) =
        (Vec::<Vec<u8>>::new(), [Desc::default(); 64], false);
    while frames.len() < count {
        assert!(
            wait(rx, PATIENCE),
            "{} of {count} frames arrived",
            frames.len()
        );
        let received = rx.receive(&mut descs);
        assert!(!continues, "the queue hands out whole frames");
        for desc in &descs[..received] {
            match frames.last_mut().filter(|_| continues) {
                Some(frame) => frame.extend(rx.data(desc)),
                None => frames.push(rx.data(desc).to_vec()),
            }
            continues = desc.continues();
        }
        rx.recycle(&descs[..received]);
    }
    frames
}

fn transmit(tx: &mut TxQueue, frame: &[u8]) -> Result<(), Refused> {
    tx.transmit(frame.len(), |offset, bytes| {
        bytes.copy_from_slice(&frame[offset..offset + bytes.len()]);
    })
}

/// Everything transmitted comes back.
fn drain(tx: &mut TxQueue) {
    let deadline = Instant::now() + PATIENCE;
    while tx.outstanding() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} frames never completed",
            tx.outstanding()
        );
        tx.flush();
        std::thread::yield_now();
    }
}

/// Checks both directions with frames of these lengths, all under way at once.
fn exchange(port: &mut AfXdpPort, far: &mut RawSocket, frames: &[Vec<u8>]) {
    for frame in frames {
        far.send(frame);
    }
    assert_eq!(receive(&mut port.rx[0], frames.len()), frames);
    for frame in frames {
        transmit(&mut port.tx[0], frame).unwrap();
    }
    assert_eq!(port.tx[0].flush(), Flushed::Done);
    for frame in frames {
        assert_eq!(far.receive(PATIENCE).as_ref(), Some(frame));
    }
    drain(&mut port.tx[0]);
    assert_eq!(port.rx[0].invalid(), 0);
}

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

/// A frame with a tag, protocol and TCI, behind its addresses.
fn tagged(frame: &[u8], tag: [u8; 4]) -> Vec<u8> {
    [&frame[..12], &tag, &frame[12..]].concat()
}

#[test]
fn an_offloaded_tag_is_put_back() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(&pair, QUICK);
    assert!(port.info.vlan_tag_restored, "{:?}", port.info);
    assert!(port.info.warnings.is_empty(), "{:?}", port.info);
    let far = far_end(&pair);
    // Priority 5, drop eligible, VLAN 100.
    for (protocol, tag) in [
        (0x8100, [0x81, 0x00, 0xb0, 0x64]),
        (0x88a8, [0x88, 0xa8, 0xb0, 0x64]),
    ] {
        let pusher = pair
            .far
            .run(|| TagPusher::attach(VethPair::FAR, protocol, 0xb064));
        for len in [14, 60, 1514] {
            far.send(&frame(len, 7));
            assert_eq!(receive(&mut port.rx[0], 1), [tagged(&frame(len, 7), tag)]);
        }
        // A frame that has a tag already gets the offloaded one in front of it.
        let inner = tagged(&frame(60, 8), [0x81, 0x00, 0x00, 0x05]);
        far.send(&inner);
        assert_eq!(receive(&mut port.rx[0], 1), [tagged(&inner, tag)]);
        drop(pusher);
        far.send(&frame(60, 9));
        assert_eq!(receive(&mut port.rx[0], 1), [frame(60, 9)]);
    }
}

#[test]
fn an_offloaded_tag_is_put_back_in_front_of_several_buffers() {
    let pair = VethPair::new(9000, 1);
    let mut port = open(&pair, Options { mtu: 9000, ..QUICK });
    assert!(port.info.vlan_tag_restored, "{:?}", port.info);
    let far = far_end(&pair);
    let _pusher = pair
        .far
        .run(|| TagPusher::attach(VethPair::FAR, 0x8100, 4094));
    far.send(&frame(9014, 3));
    let expected = tagged(&frame(9014, 3), [0x81, 0x00, 0x0f, 0xfe]);
    assert_eq!(receive(&mut port.rx[0], 1), [expected]);
}

#[test]
fn transmitted_tags_reach_the_peer() {
    let pair = VethPair::new(1500, 1);
    let mut port = open(&pair, QUICK);
    let mut far = far_end(&pair);
    let tagged = tagged(&frame(1514, 3), [0x81, 0x00, 0x20, 0x0a]);
    transmit(&mut port.tx[0], &tagged).unwrap();
    assert_eq!(port.tx[0].flush(), Flushed::Done);
    assert_eq!(far.receive(PATIENCE), Some(tagged));
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

#[test]
fn an_interface_has_one_owner() {
    let pair = VethPair::new(1500, 1);
    let first = open(&pair, QUICK);
    let started = Instant::now();
    let second = pair.near.run(|| AfXdpPort::open(VethPair::NEAR, QUICK));
    let error = second.unwrap_err();
    assert!(
        matches!(&error, OpenError::Busy { interface, .. } if interface == VethPair::NEAR),
        "{error}"
    );
    assert!(started.elapsed() >= QUICK.busy_wait);
    // The failed attempt has not disturbed the owner, and who waits gets the interface when the owner lets go.
    let waiting = Options {
        busy_wait: PATIENCE,
        ..QUICK
    };
    let mut third = std::thread::scope(|scope| {
        let third = scope.spawn(|| open(&pair, waiting));
        drop(first);
        third.join().unwrap()
    });
    exchange(&mut third, &mut far_end(&pair), &[frame(60, 1)]);
}

#[test]
fn an_interface_can_be_opened_again_at_once() {
    let pair = VethPair::new(1500, 1);
    let mut far = far_end(&pair);
    for seed in 0..5 {
        let mut port = open(
            &pair,
            Options {
                busy_wait: PATIENCE,
                ..QUICK
            },
        );
        exchange(&mut port, &mut far, &[frame(60, seed)]);
    }
}

/// The test starts itself a second time inside the namespace, to have a process that it can kill.
#[test]
fn an_interface_is_free_when_its_owner_was_killed() {
    const ROLE: &str = "WEFT_TEST_HOLDS_AN_INTERFACE";
    if std::env::var_os(ROLE).is_some() {
        let _port = AfXdpPort::open(VethPair::NEAR, QUICK).unwrap();
        println!("\nholding");
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let pair = VethPair::new(1500, 1);
    let mut owner = Command::new("ip")
        .args(["netns", "exec", pair.near.name()])
        .arg(std::env::current_exe().unwrap())
        .args([
            "an_interface_is_free_when_its_owner_was_killed",
            "--nocapture",
        ])
        .env(ROLE, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "holding"),
        "the owner opened the interface"
    );
    let error = pair
        .near
        .run(|| AfXdpPort::open(VethPair::NEAR, QUICK))
        .unwrap_err();
    assert!(matches!(error, OpenError::Busy { .. }), "{error}");
    owner.kill().unwrap();
    // Not waited for: the kernel is still taking the process apart.
    let mut port = open(&pair, Options::default());
    exchange(&mut port, &mut far_end(&pair), &[frame(60, 1)]);
    owner.wait().unwrap();
}

#[test]
fn refusals_name_the_interface_and_the_remedy() {
    let pair = VethPair::new(1500, 1);
    let refused = |interface: &str, options: Options| {
        pair.near
            .run(|| AfXdpPort::open(interface, options))
            .unwrap_err()
    };
    for name in ["absent0", "", "a-name-of-sixteen", "a\0b"] {
        assert!(
            matches!(refused(name, QUICK), OpenError::NoInterface { .. }),
            "{name:?}"
        );
    }
    let error = refused(VethPair::NEAR, Options { mtu: 9000, ..QUICK });
    assert!(matches!(error, OpenError::Mtu { mtu: 9000, .. }));
    assert!(error.to_string().contains("mtu 9000"), "{error}");
    for options in [
        Options {
            ring_size: 100,
            ..QUICK
        },
        Options { frames: 0, ..QUICK },
    ] {
        assert!(matches!(
            refused(VethPair::NEAR, options),
            OpenError::System { .. }
        ));
    }
    // Nothing of all that is left behind.
    open(&pair, QUICK);
}

#[test]
fn an_uplink_is_promiscuous_and_gets_its_offloads_back() {
    let pair = VethPair::new(1500, 1);
    let read = |file: &str| {
        let path = format!("/sys/class/net/{}/{file}", VethPair::NEAR);
        // `ip netns exec` shows the namespace's own /sys.
        let arguments = ["netns", "exec", pair.near.name(), "cat", &path];
        let output = Command::new("ip").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let promiscuous = || {
        let output = Command::new("ip")
            .args([
                "-n",
                pair.near.name(),
                "-details",
                "link",
                "show",
                VethPair::NEAR,
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("promiscuity 1")
    };
    let strips = || {
        let device = pair
            .near
            .run(|| device::Device::find(VethPair::NEAR))
            .unwrap();
        offloads::strips_tags(&device)
    };
    assert!(strips() && !promiscuous());
    let port = open(
        &pair,
        Options {
            uplink: true,
            ..QUICK
        },
    );
    assert_eq!(
        read("ifindex"),
        pair.near
            .run(|| device::Device::find(VethPair::NEAR))
            .unwrap()
            .index()
            .to_string()
    );
    assert!(!strips() && promiscuous());
    let changed = port.info.changed_features.clone();
    assert!(
        changed.contains(&"rx-vlan-hw-parse".to_owned()),
        "{changed:?}"
    );
    drop(port);
    assert!(strips() && !promiscuous());

    // After a crash nobody is left to restore: the list is enough.
    let port = open(
        &pair,
        Options {
            uplink: true,
            ..QUICK
        },
    );
    std::mem::forget(port.guard);
    assert!(!strips());
    pair.near.run(|| restore(VethPair::NEAR, &changed)).unwrap();
    assert!(strips());
}

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
