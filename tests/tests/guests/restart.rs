//! Agents and guests that are killed or reset, and come back.

use std::time::Instant;

use weft_tests::{Guest, until};

use crate::lab::Lab;
use crate::pings::GuestPings;

/// Numbers that are sent over one connection, 20 ms apart, while the agent is killed.
const NUMBERS: usize = 400;

#[test]
fn guests_do_not_notice_more_than_a_pause_when_the_agent_is_killed() {
    Lab::runs(|lab| {
        let [one, two, three] = &lab.guests;
        let boots =
            || [one, two, three].map(|guest| guest.does("cat /proc/sys/kernel/random/boot_id"));
        let before = boots();
        two.does("nc -l -p 7000 -e /bin/sh -c 'cat >/tmp/numbers' >/dev/null 2>&1 &");
        two.until("nc listens", "netstat -ltn | grep -q ':7000 '");
        one.does(&format!(
            "n=0; while [ $n -lt {NUMBERS} ]; do echo $n; n=$((n + 1)); usleep 20000; done | \
             nc {} 7000 >/dev/null 2>&1 &",
            two.ip
        ));
        let numbers = |count| format!("[ $(wc -l </tmp/numbers) -ge {count} ]");
        two.until("numbers arrive", &numbers(10));
        let pauses = [(); 3].map(|()| pause(lab));
        println!("without a reply for so many seconds: {pauses:?}");
        // Where much else runs, the guests too have to wait for a processor.
        let shortest = pauses.into_iter().fold(f64::MAX, f64::min);
        assert!(shortest < 1.0, "{pauses:?} seconds without a reply");
        two.until("the connection goes on", &numbers(NUMBERS));
        let received = two.does("cat /tmp/numbers");
        let sent: String = (0..NUMBERS).map(|number| format!("{number}\n")).collect();
        assert_eq!(received, sent);
        assert_eq!(boots(), before, "a guest was reset");
    });
}

/// How many seconds a guest gets no reply from another while the agent is killed and started, from the start on.
fn pause(lab: &Lab) -> f64 {
    let [one, _, three] = &lab.guests;
    // The switch connects to these two at once; QEMU, where the switch listens, once a second.
    let pings = GuestPings::start(three, &one.ip);
    lab.host.audit();
    let killed = Instant::now();
    lab.host.kill();
    let dead = killed.elapsed();
    lab.host.start();
    pings.go_on();
    pings.longest_gap() - dead.as_secs_f64()
}

#[test]
fn a_guest_that_is_reset_comes_back() {
    Lab::runs(|lab| {
        let [one, two, three] = &lab.guests;
        let pings = GuestPings::start(three, &two.ip);
        one.reset();
        is_down(lab, one, "the guest's driver does not use the adapter yet");
        one.is_ready();
        is_up(lab, one);
        assert!(one.reaches(&two.ip));
        pings.lost_nothing();
    });
}

#[test]
fn a_guest_that_is_killed_disturbs_nobody() {
    Lab::runs(|lab| {
        let [one, two, three] = &lab.guests;
        let socket = one.socket();
        let nobody = format!("nobody listens on {}; start the VM", socket.display());
        let closed = "the front-end closed the connection; it comes back when the VM starts";
        for (killed, other, reason) in [(one, two, nobody.as_str()), (two, one, closed)] {
            let pings = GuestPings::start(three, &other.ip);
            killed.kill();
            is_down(lab, killed, reason);
            let status = lab.host.does("status");
            let problem = format!("port {}: {reason}", killed.name);
            assert!(status.contains(&problem), "{status}");
            killed.start();
            killed.is_ready();
            is_up(lab, killed);
            assert!(killed.reaches(&other.ip));
            pings.lost_nothing();
        }
    });
}

#[track_caller]
fn is_down(lab: &Lab, guest: &Guest, reason: &str) {
    let expected = ("down".to_owned(), reason.to_owned());
    until(reason, || lab.host.port(&guest.name) == expected);
}

#[track_caller]
fn is_up(lab: &Lab, guest: &Guest) {
    until("the port is up", || lab.host.port(&guest.name).0 == "up");
}
