//! What an agent costs that has nothing to do, and how soon it wakes up. The figures are printed; what is asserted only
//! tells working from broken, on any machine.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use weft_datapath::testing::{Guest, GuestOptions};
use weft_packet::MacAddr;
use weft_tests::{Engine, Frame, Host};

const PORTS: usize = 20;
const FRAMES: usize = 500;
const GAP: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_secs(5);

/// Share of a core that an idle agent may use: processor time, which a loaded machine changes little. Heartbeats and looking at
/// guests once a second take two thousandths at most; a thread that wakes up every 100 µs takes more than a hundredth.
const MOST: f64 = 0.01;

#[test]
fn an_idle_agent_costs_little_and_wakes_up_at_once() {
    // One after the other: they would wait for each other's wake-ups.
    for engine in [Engine::AfXdp, Engine::Packet, Engine::Tap] {
        on_kernel_interfaces(engine);
    }
    on_vhost_user_sockets();
}

fn host() -> Host {
    let host = Host::with_switch();
    host.does("portgroup add Lab --vswitch vSwitch1 --vlan 10");
    host
}

fn on_kernel_interfaces(engine: Engine) {
    let host = host();
    let vms: Vec<_> = (0..PORTS)
        .map(|number| host.vm_by(engine, &format!("vm{number}"), "Lab"))
        .collect();
    let (sender, mut receiver) = (vms[0].socket(), vms[1].socket());
    let frame = Frame::new(vms[0].mac, vms[1].mac).octets();
    costs_little_and_wakes_up_at_once(&host, &format!("{engine:?}"), || {
        sender.send(&frame);
        let received = receiver.receive(Duration::from_secs(2));
        assert!(received.is_some_and(|received| received == frame));
    });
}

fn on_vhost_user_sockets() {
    let host = host();
    let directory = tempfile::tempdir().expect("a directory");
    let mac = |number: usize| MacAddr::new([2, 0, 0, 0, 0, number as u8]);
    let mut guests: Vec<_> = (0..PORTS)
        .map(|number| {
            let socket = directory.path().join(number.to_string());
            let listener = UnixListener::bind(&socket).expect("a socket");
            let (mac, socket) = (mac(number), socket.display());
            host.does(&format!(
                "port add vm{number} --portgroup Lab --vhost-user {socket} --mac {mac}"
            ));
            let (stream, _) = listener.accept().expect("the agent");
            Guest::new(stream, GuestOptions::default())
        })
        .collect();
    let frame = Frame::new(mac(0), mac(1)).octets();
    costs_little_and_wakes_up_at_once(&host, "VhostUser", || {
        guests[0].send([0; 12], &frame);
        assert!(guests[1].expect_frame().1 == frame);
    });
}

/// `pass` sends a frame from one port to another and receives it.
fn costs_little_and_wakes_up_at_once(host: &Host, engine: &str, mut pass: impl FnMut()) {
    pass();
    let pid = host.agent_pid();
    let (started, used) = (Instant::now(), processor_time(pid));
    std::thread::sleep(IDLE);
    let share = (processor_time(pid) - used).as_secs_f64() / started.elapsed().as_secs_f64();

    let mut waits = Vec::with_capacity(FRAMES);
    for _ in 0..FRAMES {
        std::thread::sleep(GAP);
        let sent = Instant::now();
        pass();
        waits.push(sent.elapsed());
    }
    waits.sort_unstable();
    let (median, p99) = (waits[FRAMES / 2], waits[FRAMES * 99 / 100]);
    let resident = resident_mebibytes(pid);
    println!(
        "{PORTS} {engine} ports, idle: {:.2} % of a core, {resident} MiB resident; first frame after {GAP:?}: median {median:?}, p99 {p99:?}",
        share * 100.0
    );
    assert!(share < MOST, "an idle agent used {share} of a core");
    assert!(resident < 300, "{resident} MiB");
    assert!(p99 < Duration::from_millis(50), "{waits:?}");
}

/// User and system time of all threads of a process (proc_pid_stat(5), fields 14 and 15).
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the agent runs");
    let (_, behind_name) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks: u64 = behind_name
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Memory of a process that is in RAM.
fn resident_mebibytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let mut words = line.expect("it has memory").split_ascii_whitespace();
    let kibibytes = words.next().and_then(|number| number.parse::<u64>().ok());
    kibibytes.expect("a number of kB") / 1024
}
