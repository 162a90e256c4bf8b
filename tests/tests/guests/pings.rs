//! A ping inside a guest that goes on while something happens.

use std::collections::BTreeSet;

use weft_tests::Guest;

/// More than can be on their way at a time.
const ON_THEIR_WAY: usize = 5;

/// Pings of an address every 50 ms, until this is dropped.
pub(crate) struct GuestPings<'a>(&'a Guest);

/// A reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// When it came, in seconds since the guest booted.
    pub(crate) at: f64,
    /// The number of the request.
    pub(crate) number: u64,
}

impl<'a> GuestPings<'a> {
    /// Starts them, and returns at the first reply.
    pub(crate) fn start(from: &'a Guest, ip: &str) -> Self {
        // A test that failed may have left some.
        from.does(&format!(
            "killall ping 2>/dev/null; rm -f /tmp/pings; ping -i 0.05 {ip} | \
             while read -r line; do read -r now idle </proc/uptime; echo $now $line; done >/tmp/pings &"
        ));
        let pings = Self(from);
        pings.go_on();
        pings
    }

    /// Waits for a reply to a request that was sent from now on.
    #[track_caller]
    pub(crate) fn go_on(&self) {
        let replies = self.replies().len() + ON_THEIR_WAY;
        let line = format!("[ $(grep -c seq= /tmp/pings) -ge {replies} ]");
        self.0.until("pings are answered", &line);
    }

    /// All replies so far.
    pub(crate) fn replies(&self) -> Vec<Reply> {
        let lines = self.0.does("cat /tmp/pings");
        lines.lines().filter_map(reply).collect()
    }

    /// Checks that every request was answered, apart from the latest. The order is free: answers of a guest with several queues
    /// may overtake each other.
    #[track_caller]
    pub(crate) fn lost_nothing(&self) {
        self.go_on();
        let replies = self.replies();
        let answered: BTreeSet<_> = replies.iter().map(|reply| reply.number).collect();
        let newest = answered.last().copied().unwrap_or_default();
        let old = 0..newest.saturating_sub(ON_THEIR_WAY as u64);
        let lost: Vec<_> = old.filter(|number| !answered.contains(number)).collect();
        assert!(lost.is_empty(), "{lost:?} of {newest} were not answered");
    }

    /// The longest time between two replies, in seconds.
    pub(crate) fn longest_gap(&self) -> f64 {
        let replies = self.replies();
        let gaps = replies.windows(2).map(|pair| pair[1].at - pair[0].at);
        gaps.fold(0.0, f64::max)
    }
}

impl Drop for GuestPings<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.does("killall ping");
        }
    }
}

/// `12.34 64 bytes from 10.0.0.2: seq=7 ttl=64 time=1.234 ms`
fn reply(line: &str) -> Option<Reply> {
    let (_, behind) = line.split_once(" seq=")?;
    Some(Reply {
        at: line.split(' ').next()?.parse().ok()?,
        number: behind.split(' ').next()?.parse().ok()?,
    })
}
