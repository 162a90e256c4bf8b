//! What passes a port with a limit, by the clock of the wall.
#![forbid(unsafe_code)]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use weft_tests::{Host, Vm, until};

/// Two VMs in port groups of their own on one VLAN.
fn lab() -> (Host, [Vm; 2]) {
    let host = Host::with_switch();
    for group in ["A", "B"] {
        host.does(&format!(
            "portgroup add {group} --vswitch vSwitch1 --vlan 10"
        ));
    }
    let vms = [host.vm("one", "A"), host.vm("two", "B")];
    assert!(vms[0].reaches(&vms[1]));
    (host, vms)
}

/// A stream of datagrams from one to two that lasts until it is dropped.
struct Stream([Child; 2]);

impl Stream {
    fn start(host: &Host, [one, two]: &[Vm; 2]) -> Self {
        let spawn = |vm: &Vm, line: &str| {
            let mut command = vm.command(line);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().expect("running ip (install iproute2)")
        };
        let server = spawn(two, "iperf3 -s --forceflush");
        until("the server listens", || {
            two.does("ss -H -l -t -n").contains(":5201")
        });
        let line = format!("iperf3 -c {} -u -b 60M -l 1400 -t 60", two.ip);
        let client = spawn(one, &line);
        let stream = Self([client, server]);
        let sent = || host.stats()["one"].count("rxFrames");
        let begun = sent();
        until("the stream flows", || sent() > begun + 500);
        stream
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Fails for one that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Megabits a second that a counter of a port grows by, over three seconds.
fn rate(host: &Host, port: &str, counter: &str) -> f64 {
    let look = || (Instant::now(), host.stats()[port].count(counter));
    let (begun, before) = look();
    let mut now = look();
    until("time goes by", || {
        now = look();
        now.0 - begun >= Duration::from_secs(3)
    });
    let octets = now.1 - before;
    octets as f64 * 8.0 / (now.0 - begun).as_secs_f64() / 1e6
}

fn is_about(rate: f64, expected: f64) {
    println!("{rate:.2} Mbit/s");
    // What a look at the counters takes counts too.
    assert!((rate / expected - 1.0).abs() < 0.05, "{rate} Mbit/s");
}

#[test]
fn limits_hold_in_both_directions() {
    let (host, vms) = lab();
    let _stream = Stream::start(&host, &vms);
    host.does("portgroup set A --shape-in avg=20mbit,burst=20KiB");
    is_about(rate(&host, "one", "rxBytes"), 20.0);
    assert_eq!(host.stats()["one"].rx_drops("ShaperFull"), 0, "it waits");
    host.does("portgroup set A --shape-in off");
    host.does("portgroup set B --shape-out avg=10mbit,burst=20KiB");
    is_about(rate(&host, "two", "txBytes"), 10.0);
    assert!(host.stats()["two"].tx_drops("ShaperFull") > 0);
    let policy = host.does("policy show two");
    assert!(
        policy.contains("avg=10mbit,peak=10mbit,burst=20KiB"),
        "{policy}"
    );
    host.does("portgroup set B --shape-out off");
    until("nothing waits any more", || {
        host.stats()["two"].count("txQueued") == 0
    });
}
