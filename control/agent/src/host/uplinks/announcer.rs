//! When ports are announced: at once, and again and again for a minute, in case a frame is lost or a switch is not ready.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use weft_datapath::PortId;

/// How long after a port came or moved it is announced: at once, and repeated during 60 s as vSphere does.
const ROUNDS: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Ports that are announced in one go (vSphere's `NetMaxRarpsPerInterval`), so that thousands that fail over do not flood anybody.
const AT_ONCE: usize = 128;

/// How long it pauses then.
const PAUSE: Duration = Duration::from_millis(10);

/// The ports that are to be announced.
#[derive(Default)]
pub(super) struct Announcer {
    /// By the time when it is next due.
    due: BTreeSet<(Instant, PortId)>,
    /// When it began, and how many rounds there were.
    ports: HashMap<PortId, (Instant, usize, Instant)>,
    /// Not before this time.
    pause: Option<Instant>,
}

impl Announcer {
    /// Has a port announced, from the first round on.
    pub(super) fn begin(&mut self, port: PortId, now: Instant) {
        if let Some((_, _, due)) = self.ports.insert(port, (now, 0, now)) {
            self.due.remove(&(due, port));
        }
        self.due.insert((now, port));
    }

    /// The ports whose time it is, so many as may be announced in one go.
    pub(super) fn take(&mut self, now: Instant) -> Vec<PortId> {
        if self.pause.is_some_and(|pause| now < pause) {
            return Vec::new();
        }
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        let due: Vec<_> = due.take(AT_ONCE).copied().collect();
        self.pause = (due.len() == AT_ONCE).then(|| now + PAUSE);
        for &(at, port) in &due {
            self.due.remove(&(at, port));
            let Some((began, round, next)) = self.ports.get_mut(&port) else {
                continue;
            };
            *round += 1;
            match ROUNDS.get(*round) {
                Some(after) => {
                    // One that is late is not made up for by several at once.
                    *next = (*began + *after).max(now + (*after - ROUNDS[*round - 1]) / 2);
                    self.due.insert((*next, port));
                }
                None => drop(self.ports.remove(&port)),
            }
        }
        due.into_iter().map(|(_, port)| port).collect()
    }

    /// When the next port is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, _) = self.due.first()?;
        Some(self.pause.map_or(*first, |pause| pause.max(*first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_announced_at_once_and_for_a_minute() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.begin(PortId(7), start);
        let mut times = Vec::new();
        while let Some(due) = announcer.due() {
            assert_eq!(announcer.take(due), [PortId(7)]);
            times.push(due - start);
        }
        assert_eq!(times, ROUNDS);
        announcer.begin(PortId(7), start);
        announcer.take(start);
        // It moved again meanwhile.
        announcer.begin(PortId(7), start + Duration::from_secs(2));
        assert_eq!(announcer.due(), Some(start + Duration::from_secs(2)));
        assert_eq!(announcer.due.len(), 1);
    }

    #[test]
    fn thousands_are_paced() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        for port in 0..4000 {
            announcer.begin(PortId(port), start);
        }
        let mut heard = BTreeSet::new();
        let mut goes = 0;
        let mut now = start;
        while heard.len() < 4000 {
            let ports = announcer.take(now);
            assert!(ports.len() <= AT_ONCE);
            heard.extend(ports);
            goes += 1;
            now = announcer.due().unwrap();
        }
        assert!(goes >= 4000 / AT_ONCE);
        // The first round of all is over within half a second.
        assert!(
            now - start < Duration::from_millis(500),
            "{:?}",
            now - start
        );
    }
}
