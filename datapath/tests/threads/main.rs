//! Real poll threads over memory ports: frames, changes and ports come and go at once, and nothing is lost, mixed up or
//! miscounted.

mod limits;

use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use weft_datapath::engine::memory::MemoryPort;
use weft_datapath::testing::{access, mac, one_switch, port};
use weft_datapath::{
    Beyond, Datapath, DropReason, LearningConfig, Options, PollMode, PortConfig, PortId, SwitchId,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn frame(from: u16, to: u16, number: u32) -> Vec<u8> {
    [
        &mac(to).octets()[..],
        &mac(from).octets(),
        &[0x88, 0xb5],
        &number.to_be_bytes(),
        &[0; 46],
    ]
    .concat()
}

fn start(cores: Vec<usize>, poll: PollMode) -> Datapath {
    let (events, _) = bounded(16);
    Datapath::start(&Options { cores, poll }, &events).expect("poll threads start")
}

/// Attaches ports, numbered from 0, whose queues hold so many frames.
fn attach<const PORTS: usize>(datapath: &Datapath, depth: usize) -> [MemoryPort; PORTS] {
    std::array::from_fn(|id| {
        let port = datapath.attach_memory(PortId(id as u16), depth, false);
        port.expect("an eventfd")
    })
}

/// The next frame that the switch delivers.
fn receive(port: &MemoryPort) -> Vec<u8> {
    let start = Instant::now();
    loop {
        if let Some(frame) = port.receive() {
            return frame;
        }
        assert!(start.elapsed() < DEADLINE, "no frame arrived");
        std::thread::yield_now();
    }
}

/// Waits until the counters of all ports say that nothing is in flight, and checks that they balance.
fn audit(datapath: &Datapath, ports: u16, sent: u64) {
    let start = Instant::now();
    loop {
        let counters: Vec<_> = (0..ports)
            .filter_map(|id| datapath.counters(PortId(id)))
            .collect();
        let entered: u64 = counters.iter().map(|counters| counters.rx_frames).sum();
        let broken = counters
            .iter()
            .find_map(weft_datapath::PortCounters::imbalance);
        if entered == sent && broken.is_none() {
            return;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "{entered} of {sent} frames entered; {broken:?}"
        );
        std::thread::yield_now();
    }
}

/// Waits until the thread makes no more passes than its heartbeat.
fn wait_for_sleep(datapath: &Datapath) {
    let start = Instant::now();
    let passes = || datapath.threads()[0].passes;
    loop {
        let before = passes();
        std::thread::sleep(Duration::from_millis(50));
        if passes() <= before + 2 {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "the thread does not sleep");
    }
}

fn ping_pong(poll: PollMode, cores: Vec<usize>) {
    let datapath = start(cores, poll);
    let ports = attach::<2>(&datapath, 64);
    datapath
        .apply(&one_switch([port(0, access(5)), port(1, access(5))]))
        .expect("the threads answer");
    for number in 0..2000 {
        let (from, to) = if number % 2 == 0 { (0, 1) } else { (1, 0) };
        ports[usize::from(from)].send(&frame(from, to, number));
        assert_eq!(receive(&ports[usize::from(to)]), frame(from, to, number));
    }
    audit(&datapath, 2, 2000);
}

/// Ports are attached before they are configured, and removed from the configuration before they are detached.
#[test]
fn what_waits_without_a_configuration_keeps_no_thread_awake() {
    let datapath = start(vec![], PollMode::Adaptive);
    let ports = attach::<2>(&datapath, 64);
    let configured = one_switch([port(0, access(5)), port(1, access(5))]);
    for round in 0..3 {
        let numbers = (0..40).map(|n| round * 40 + n);
        for number in numbers.clone() {
            ports[0].send(&frame(0, 1, number));
        }
        wait_for_sleep(&datapath);
        assert_eq!(ports[1].receive(), None);
        datapath.apply(&configured).expect("the thread answers");
        for number in numbers {
            assert_eq!(receive(&ports[1]), frame(0, 1, number));
        }
        audit(&datapath, 2, u64::from(round + 1) * 40);
        datapath.apply(&one_switch([])).expect("the thread answers");
    }
}

#[test]
fn a_sleeping_thread_wakes_for_every_frame() {
    ping_pong(PollMode::Adaptive, vec![]);
    ping_pong(PollMode::Adaptive, vec![0, 1]);
}

#[test]
fn a_busy_thread_needs_no_waking() {
    ping_pong(PollMode::Busy, vec![1]);
}

#[test]
fn changes_on_other_ports_lose_no_frame() {
    let datapath = start(vec![0, 1], PollMode::Adaptive);
    let ports = attach::<2>(&datapath, 8192);
    datapath
        .apply(&one_switch([port(0, access(5)), port(1, access(5))]))
        .expect("the threads answer");
    let mut sent = 0;
    for round in 0..200u32 {
        for _ in 0..16 {
            ports[0].send(&frame(0, 1, sent));
            sent += 1;
        }
        // A third port comes, moves to another VLAN, and goes.
        let third = datapath
            .attach_memory(PortId(2), 8, false)
            .expect("an eventfd");
        datapath
            .apply(&one_switch([
                port(0, access(5)),
                port(1, access(5)),
                port(2, access(5)),
            ]))
            .expect("the threads answer");
        third.send(&frame(2, 1, u32::MAX - round));
        while !third.is_idle() {
            std::thread::yield_now();
        }
        datapath
            .apply(&one_switch([
                port(0, access(5)),
                port(1, access(5)),
                port(2, access(6)),
            ]))
            .expect("the threads answer");
        datapath
            .apply(&one_switch([port(0, access(5)), port(1, access(5))]))
            .expect("the threads answer");
        datapath.detach(PortId(2)).expect("the threads answer");
        assert!(datapath.counters(PortId(2)).is_none());
    }
    let (mut next, mut others) = (0, 0);
    while next < sent || others < 200 {
        let frame = receive(&ports[1]);
        let number = u32::from_be_bytes(frame[14..18].try_into().expect("four octets"));
        if number < sent {
            assert_eq!(number, next, "a frame was lost or overtaken");
            next += 1;
        } else {
            others += 1;
        }
    }
    audit(&datapath, 2, u64::from(sent));
    assert!(ports[0].receive().is_none());
}

/// Two threads learn at once, of which one port sends also from what is behind the other, while the configuration changes and
/// addresses age.
#[test]
fn threads_that_learn_displace_and_lose_nothing() {
    const NESTED: u16 = 40;
    let datapath = start(vec![0, 1], PollMode::Adaptive);
    let ports = attach::<3>(&datapath, 1 << 16);
    let learns = |id| PortConfig {
        learning: Some(LearningConfig {
            limit: 64,
            beyond: Beyond::Allow,
            flood: false,
            age: Duration::from_secs(300),
        }),
        ..port(id, access(5))
    };
    let both = one_switch([learns(0), learns(1), port(2, access(5))]);
    datapath.apply(&both).expect("the threads answer");
    // Behind port 0: 1000 and on, and port 1 sends from these too once they are there.
    let nested = |from: u16, n: u16| frame(1000 * (from + 1) + n, 2, u32::from(n));
    let mut sent = 0;
    let behind = |id: u16| {
        let learned = datapath.learned_addresses(SwitchId(0));
        learned
            .into_iter()
            .filter(|entry| entry.port == PortId(id))
            .map(|entry| entry.mac)
            .collect::<Vec<_>>()
    };
    let expected = |from: u16| {
        let numbers = 0..NESTED;
        numbers
            .map(|n| mac(1000 * (from + 1) + n))
            .collect::<Vec<_>>()
    };
    let deadline = Instant::now() + DEADLINE;
    // What came while somebody looked is learned from the next frame.
    while behind(0) != expected(0) {
        assert!(Instant::now() < deadline, "not all addresses are learned");
        (0..NESTED).for_each(|n| ports[0].send(&nested(0, n)));
        sent += u64::from(NESTED);
        std::thread::yield_now();
    }
    for round in 0..100 {
        for n in 0..NESTED {
            ports[0].send(&nested(0, n));
            ports[1].send(&nested(1, n));
            ports[1].send(&nested(0, n));
            sent += 3;
        }
        datapath.age_learned();
        let mut next = both.clone();
        next.ports[2].promiscuous = round % 2 == 0;
        datapath.apply(&next).expect("the threads answer");
        assert_eq!(behind(0), expected(0), "port 1 displaced an address");
    }
    audit(&datapath, 3, sent);
    let got = std::iter::from_fn(|| ports[2].receive()).count();
    assert_eq!(got as u64, sent);
    while behind(1) != expected(1) {
        assert!(Instant::now() < deadline, "not all addresses are learned");
        (0..NESTED).for_each(|n| ports[1].send(&nested(1, n)));
        std::thread::yield_now();
    }
    for id in 0..2 {
        assert_eq!(datapath.learned_count(PortId(id)), usize::from(NESTED));
    }
    ports[2].send(&frame(2, 1000, 7));
    assert_eq!(receive(&ports[0]), frame(2, 1000, 7));
}

#[test]
fn a_number_that_was_detached_is_free_and_starts_counting_anew() {
    let datapath = start(vec![], PollMode::Adaptive);
    for _ in 0..50 {
        let handle = datapath
            .attach_memory(PortId(3), 8, false)
            .expect("an eventfd");
        datapath
            .apply(&one_switch([port(3, access(1))]))
            .expect("the threads answer");
        handle.send(&frame(3, 4, 0));
        audit(&datapath, 4, 1);
        datapath.apply(&one_switch([])).expect("the threads answer");
        datapath.detach(PortId(3)).expect("the threads answer");
        assert!(datapath.counters(PortId(3)).is_none());
    }
}

#[test]
fn idle_threads_sleep() {
    let datapath = start(vec![], PollMode::Adaptive);
    let _ports = attach::<20>(&datapath, 8);
    let start = Instant::now();
    // Asleep, the thread makes no pass at all.
    let mut before = datapath.threads()[0].passes;
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = datapath.threads()[0].passes;
        if now == before {
            break;
        }
        before = now;
        assert!(start.elapsed() < DEADLINE, "the thread never slept");
    }
}

#[test]
fn a_sleeping_thread_ends_at_once() {
    // It would wake by itself once a second.
    let begin = Instant::now();
    for _ in 0..5 {
        drop(start(vec![], PollMode::Adaptive));
    }
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_port_without_an_engine_keeps_its_place_and_its_counters() {
    let datapath = start(vec![], PollMode::Adaptive);
    let first = datapath
        .attach_memory(PortId(0), 8, false)
        .expect("an eventfd");
    let second = datapath
        .attach_memory(PortId(1), 8, false)
        .expect("an eventfd");
    datapath
        .apply(&one_switch([port(0, access(5)), port(1, access(5))]))
        .expect("the threads answer");
    first.send(&frame(0, 1, 0));
    receive(&second);
    datapath.detach(PortId(1)).expect("the threads answer");
    first.send(&frame(0, 1, 1));
    audit(&datapath, 2, 2);
    let counters = datapath
        .counters(PortId(1))
        .expect("the port is configured");
    assert_eq!((counters.tx_attempts, counters.tx_frames), (2, 1));
    assert_eq!(counters.tx_drops[DropReason::PortDown as usize], 1);
    let second = datapath
        .attach_memory(PortId(1), 8, false)
        .expect("an eventfd");
    datapath
        .apply(&one_switch([port(0, access(5)), port(1, access(5))]))
        .expect("the threads answer");
    first.send(&frame(0, 1, 2));
    assert_eq!(receive(&second), frame(0, 1, 2));
    assert_eq!(
        datapath
            .counters(PortId(1))
            .expect("the port is there")
            .tx_frames,
        2
    );
}

#[test]
fn cores_that_are_not_there_are_refused() {
    let (events, _) = bounded(16);
    for (cores, text) in [
        (vec![0, 5000], "core 5000 is not one"),
        (vec![0, 0], "core 0 is named twice"),
    ] {
        let error = Datapath::start(
            &Options {
                cores,
                poll: PollMode::Adaptive,
            },
            &events,
        );
        assert!(
            error
                .err()
                .expect("it is refused")
                .to_string()
                .contains(text)
        );
    }
}
