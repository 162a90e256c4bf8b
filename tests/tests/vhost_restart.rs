//! Guests on vhost-user sockets, whose agent is killed and starts again: measured at their rings.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weft_datapath::afxdp::{AfXdpPort, Options};
use weft_datapath::testing::{Guest, GuestOptions};
use weft_tests::{Host, rounds, until};

/// Between the start of the agent and the first frame.
const GOAL: Duration = Duration::from_millis(200);

/// Where nothing moves at all, no longer than this is waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// Frames that an agent takes at a time.
const BURST: usize = 32;

/// Most frames on their way: should a burst of them come again, there is room for all in the receiver's ring of 64.
const OUTSTANDING: usize = 64 - BURST;

const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// A frame from the first guest to the second, with a number.
fn frame(number: u64) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [
        &addresses[..],
        &[0x88, 0xb5],
        &number.to_be_bytes(),
        &[7; 40],
    ]
    .concat()
}

/// What was sent and what came of it, by number.
#[derive(Default)]
struct Traffic {
    sent: u64,
    received: BTreeMap<u64, u32>,
}

impl Traffic {
    /// Frames on their way, if none is lost.
    fn outstanding(&self) -> usize {
        self.sent as usize - self.received.len()
    }

    /// Sends a frame unless enough are on their way, and takes what arrived. Returns whether something did.
    fn pump(&mut self, from: &mut Guest, to: &mut Guest) -> bool {
        if self.outstanding() < OUTSTANDING {
            from.send([0; 12], &frame(self.sent));
            self.sent += 1;
        }
        self.take(to)
    }

    /// Takes what arrived. Returns whether something did.
    fn take(&mut self, to: &mut Guest) -> bool {
        let mut any = false;
        while let Some((_, got)) = to.receive() {
            let number = got[14..22].try_into().map(u64::from_be_bytes);
            let number = number.expect("eight octets");
            assert!(got == frame(number), "{number} of {}", self.sent);
            *self.received.entry(number).or_default() += 1;
            any = true;
        }
        any
    }
}

/// A host with two guests, whose listening sockets are in a directory.
struct Lab {
    host: Host,
    listeners: [UnixListener; 2],
    guests: [Guest; 2],
    _directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let host = Host::with_switch();
        host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
        let directory = tempfile::tempdir().expect("a directory");
        let listeners = [0, 1].map(|n| {
            let socket = directory.path().join(format!("{n}.sock"));
            let listener = UnixListener::bind(&socket).expect("a socket");
            let (mac, socket) = (MACS[n], socket.display());
            host.does(&format!(
                "port add vm{n} --portgroup Lab --vhost-user {socket} --mac {mac}"
            ));
            listener
        });
        let accept = |listener: &UnixListener| listener.accept().expect("the agent").0;
        let guests = [0, 1].map(|n| Guest::new(accept(&listeners[n]), GuestOptions::default()));
        Self {
            host,
            listeners,
            guests,
            _directory: directory,
        }
    }

    fn pump(&mut self, traffic: &mut Traffic) -> bool {
        let [one, two] = &mut self.guests;
        traffic.pump(one, two)
    }

    /// Starts the agent, and waits until a frame is through. Returns how long that took.
    fn restart(&mut self, traffic: &mut Traffic) -> Duration {
        let start = Instant::now();
        self.host.spawn();
        // The receiver first, so that what waits in the sender's ring finds it.
        for n in [1, 0] {
            let (stream, _) = self.listeners[n].accept().expect("the agent");
            self.guests[n].reconnect(stream);
        }
        while !self.pump(traffic) {
            assert!(start.elapsed() < LIMIT, "nothing moves");
        }
        start.elapsed()
    }
}

#[test]
fn rings_move_within_200_ms_of_a_restart() {
    let mut lab = Lab::new();
    let mut traffic = Traffic::default();
    let mut took = Vec::new();
    let mut may_repeat = 0;
    for _ in 0..rounds(5) {
        for _ in 0..500 {
            lab.pump(&mut traffic);
        }
        // In the middle of it the agent is gone.
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                lab.host.kill();
                killed.store(true, Ordering::Relaxed);
            });
            let [one, two] = &mut lab.guests;
            while !killed.load(Ordering::Relaxed) {
                traffic.pump(one, two);
            }
        });
        lab.pump(&mut traffic);
        took.push(lab.restart(&mut traffic));
        // What the sender had waiting: of these a burst can come twice.
        let queues = &lab.host.shows("port show vm0")["status"]["engine"]["guest"]["queues"];
        assert_eq!(queues[1]["name"], "transmitq1");
        may_repeat += queues[1]["found"]
            .as_u64()
            .expect("a number")
            .min(BURST as u64) as usize;
    }
    for _ in 0..100_000 {
        lab.pump(&mut traffic);
    }
    let since = Instant::now();
    while traffic.outstanding() > 0 {
        traffic.take(&mut lab.guests[1]);
        let lost = traffic.outstanding();
        assert!(
            since.elapsed() < LIMIT,
            "{lost} of {} were lost",
            traffic.sent
        );
    }
    println!("from the start of the agent to the first frame: {took:?}");
    assert!(took.iter().all(|took| *took < GOAL), "{took:?}");

    let often = traffic.received.values().max().expect("frames");
    assert!(*often <= 2, "a frame came {often} times");
    let repeated = traffic
        .received
        .values()
        .filter(|&&count| count > 1)
        .count();
    let sent = traffic.sent;
    println!("of {sent} frames {repeated} came twice, of {may_repeat} that could");
    assert!(repeated <= may_repeat, "{repeated} of {may_repeat}");
}

/// An interface whose last holder dies slowly is waited for, and nobody else waits with it.
#[test]
fn rings_move_within_200_ms_beside_a_port_that_waits_for_its_interface() {
    let mut lab = Lab::new();
    let mut traffic = Traffic::default();
    let waiting = lab.host.vm("waiting", "Lab");
    lab.pump(&mut traffic);
    lab.host.kill();
    let open = || AfXdpPort::open(&waiting.interface, Options::default());
    let holder = lab.host.namespace().run(open).expect("the agent is gone");
    let took = lab.restart(&mut traffic);
    let ready = lab.host.log().matches("the agent is ready").count();
    drop(holder);
    println!("from the start of the agent to the first frame: {took:?}");
    assert!(took < GOAL, "{took:?}");
    assert_eq!(ready, 1, "the second agent did not wait");
    until("the port is up", || lab.host.port("waiting").0 == "up");
}
