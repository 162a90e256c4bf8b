//! How fast link events are followed.
//!
//! The first event of a quiet interface is dealt with at once. What follows is collected, and only the latest of each
//! interface counts: for 50 ms at first, and for longer where the interface keeps changing. So a guest that flaps its
//! link costs a few reconciliations a second, and the state is right less than a second after it has settled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weft_model::InterfaceName;

use crate::links::LinkEvent;

/// How long events are collected, of all interfaces and of one that does not flap.
const SHORTEST: Duration = Duration::from_millis(50);

/// How long events of an interface are collected that does.
const LONGEST: Duration = Duration::from_millis(800);

/// Link events that wait.
#[derive(Default)]
pub(crate) struct Pace {
    interfaces: BTreeMap<InterfaceName, Flow>,
    /// Replaces all that came before it.
    all: Option<LinkEvent>,
    handled: Option<Instant>,
}

/// The events of one interface.
#[derive(Default)]
struct Flow {
    latest: Option<LinkEvent>,
    handled: Option<Instant>,
    pause: Duration,
}

impl Pace {
    /// Takes an event in.
    pub(crate) fn push(&mut self, event: LinkEvent) {
        match &event {
            LinkEvent::Present(name, _) | LinkEvent::Gone(name) => {
                let name = name.clone();
                self.interfaces.entry(name).or_default().latest = Some(event);
            }
            // Any event of an interface has its addresses looked at.
            LinkEvent::Readdressed(name) => {
                let flow = self.interfaces.entry(name.clone()).or_default();
                flow.latest.get_or_insert(event);
            }
            LinkEvent::All(_) => {
                for flow in self.interfaces.values_mut() {
                    flow.latest = None;
                }
                self.all = Some(event);
            }
        }
    }

    /// When there is something to deal with next; `None`: not before another event.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let waiting = self
            .interfaces
            .values()
            .filter(|flow| flow.latest.is_some());
        let first = (waiting.map(|flow| flow.due(now)))
            .chain(self.all.is_some().then_some(now))
            .min()?;
        let earliest = self.handled.map_or(now, |handled| handled + SHORTEST);
        Some(first.max(earliest))
    }

    /// Hands out what is to be dealt with now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<LinkEvent> {
        let mut events: Vec<_> = self.all.take().into_iter().collect();
        self.interfaces.retain(|_, flow| {
            if flow.latest.is_some() && flow.due(now) <= now {
                events.extend(flow.latest.take());
                flow.pause = match flow.handled {
                    Some(handled) if now < handled + 2 * flow.pause => {
                        (flow.pause * 2).min(LONGEST)
                    }
                    _ => SHORTEST,
                };
                flow.handled = Some(now);
            }
            // Interfaces that were quiet for long are as new ones.
            flow.latest.is_some() || flow.handled.is_some_and(|at| now < at + 2 * LONGEST)
        });
        if !events.is_empty() {
            self.handled = Some(now);
        }
        events
    }
}

impl Flow {
    fn due(&self, now: Instant) -> Instant {
        self.handled.map_or(now, |handled| handled + self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Link;

    fn event(name: &str, up: bool) -> LinkEvent {
        let link = Link {
            index: 1,
            up,
            carrier: up,
            mtu: 1500,
        };
        LinkEvent::Present(name.parse().unwrap(), link)
    }

    #[test]
    fn a_flapping_interface_is_followed_a_few_times_a_second_and_ends_right() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut taken = Vec::new();
        for number in 0..5000u64 {
            let now = start + Duration::from_millis(number);
            pace.push(event("eth0", number % 2 == 0));
            if pace.due(now).unwrap() <= now {
                taken.push(number);
                assert_eq!(pace.take(now).len(), 1);
            }
        }
        assert_eq!(taken[..3], [0, 50, 150], "the first one at once");
        assert!(taken.len() < 15, "{taken:?}");
        pace.push(event("eth0", true));
        let due = pace.due(start + Duration::from_secs(5)).unwrap();
        assert!(due <= start + Duration::from_secs(6));
        let last = pace.take(due);
        assert!(matches!(&last[..], [LinkEvent::Present(_, link)] if link.up));
        assert_eq!(pace.due(due), None);

        let quiet = due + 2 * LONGEST;
        pace.push(event("eth0", false));
        assert!(pace.due(quiet) <= Some(quiet), "the next one at once again");
    }

    #[test]
    fn a_flapping_interface_holds_up_no_other() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut now = start;
        for _ in 0..10 {
            pace.push(event("eth0", true));
            now = pace.due(now).unwrap().max(now);
            pace.take(now);
        }
        pace.push(event("eth0", false));
        pace.push(event("eth1", false));
        let due = pace.due(now).unwrap();
        assert!(due <= now + SHORTEST);
        let taken = pace.take(due);
        assert!(
            matches!(&taken[..], [LinkEvent::Present(name, _)] if name.as_str() == "eth1"),
            "{taken:?}"
        );
    }

    #[test]
    fn reading_all_replaces_what_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.push(event("eth0", true));
        pace.push(LinkEvent::All(BTreeMap::new()));
        pace.push(LinkEvent::Gone("eth1".parse().unwrap()));
        let taken = pace.take(now);
        assert!(matches!(
            &taken[..],
            [LinkEvent::All(_), LinkEvent::Gone(_)]
        ));
    }
}
