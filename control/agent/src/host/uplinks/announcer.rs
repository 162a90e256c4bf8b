//! When ports are announced: at once, and again and again for a minute, in case a frame is lost or a switch is not ready.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use weft_datapath::{Announcement, PortId};

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

/// Addresses that are announced in one go (vSphere's `NetMaxRarpsPerInterval`), so that thousands that fail over flood nobody.
const AT_ONCE: usize = 128;

/// How long it pauses then.
const PAUSE: Duration = Duration::from_millis(10);

/// What is to be announced.
#[derive(Default)]
pub(super) struct Announcer {
    /// Ports by the time when they are next due.
    due: BTreeSet<(Instant, PortId)>,
    /// When each began, how many rounds there were, and when the next is due.
    ports: HashMap<PortId, (Instant, usize, Instant)>,
    /// Addresses whose time it is: those of earlier rounds come first, in the order in which they were noted.
    waiting: BTreeMap<(usize, u64), Announcement>,
    /// Where each of them waits.
    places: HashMap<Announcement, (usize, u64)>,
    noted: u64,
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

    /// The ports whose time it is: what there is to announce of them is to be [noted](Self::note).
    pub(super) fn take(&mut self, now: Instant) -> Vec<PortId> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        let due: Vec<_> = due.copied().collect();
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

    /// Notes what is to be announced. What waits already is not announced twice, but by its earlier round.
    pub(super) fn note(&mut self, announcements: Vec<Announcement>) {
        for announcement in announcements {
            let round = self.ports.get(&announcement.port);
            let round = round.map_or(ROUNDS.len(), |(_, round, _)| *round);
            if let Some(place) = self.places.get(&announcement).copied() {
                if place.0 <= round {
                    continue;
                }
                self.waiting.remove(&place);
            }
            self.noted += 1;
            let place = (round, self.noted);
            self.waiting.insert(place, announcement);
            self.places.insert(announcement, place);
        }
    }

    /// What is to be announced at this time.
    pub(super) fn next(&mut self, now: Instant) -> Vec<Announcement> {
        if self.pause.is_some_and(|pause| now < pause) {
            return Vec::new();
        }
        let mut next = Vec::new();
        while next.len() < AT_ONCE
            && let Some((_, announcement)) = self.waiting.pop_first()
        {
            self.places.remove(&announcement);
            next.push(announcement);
        }
        self.pause = (next.len() == AT_ONCE).then(|| now + PAUSE);
        next
    }

    /// When there is something to announce next.
    pub(super) fn due(&self) -> Option<Instant> {
        let port = self.due.first().map(|(due, _)| *due);
        let address = self.pause.filter(|_| !self.waiting.is_empty());
        port.into_iter().chain(address).min()
    }
}

#[cfg(test)]
mod tests {
    use weft_packet::MacAddr;

    use super::*;

    fn announcement(port: PortId, number: u16) -> Announcement {
        let [high, low] = number.to_be_bytes();
        let mac = MacAddr::new([2, 0, 0, 0, high, low]);
        Announcement { port, vlan: 0, mac }
    }

    impl Announcer {
        /// What is announced at a time, where each port has so many addresses.
        fn go(&mut self, now: Instant, addresses: u16) -> Vec<Announcement> {
            let ports = self.take(now);
            let all = ports
                .iter()
                .flat_map(|port| (0..addresses).map(|number| announcement(*port, number)));
            self.note(all.collect());
            self.next(now)
        }
    }

    #[test]
    fn a_port_is_announced_at_once_and_for_a_minute() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.begin(PortId(7), start);
        let mut times = Vec::new();
        while let Some(due) = announcer.due() {
            assert_eq!(announcer.go(due, 1), [announcement(PortId(7), 0)]);
            times.push(due - start);
        }
        assert_eq!(times, ROUNDS);
        announcer.begin(PortId(7), start);
        announcer.go(start, 1);
        // It moved again meanwhile.
        announcer.begin(PortId(7), start + Duration::from_secs(2));
        assert_eq!(announcer.due(), Some(start + Duration::from_secs(2)));
        assert_eq!(announcer.due.len(), 1);
    }

    /// However many ports or addresses there are, so many go at once, and one that begins waits for no other's later rounds.
    #[test]
    fn thousands_are_paced() {
        for (ports, addresses) in [(4000, 1), (4, 1000)] {
            let start = Instant::now();
            let mut announcer = Announcer::default();
            for port in 0..ports {
                announcer.begin(PortId(port), start);
            }
            let mut heard = BTreeSet::new();
            let mut now = start;
            while heard.len() < 4000 {
                let next = announcer.go(now, addresses);
                assert!(next.len() <= AT_ONCE);
                heard.extend(next);
                now = announcer.due().unwrap().max(now);
            }
            let took = now - start;
            // The first round of all is over within half a second.
            assert!(
                took >= PAUSE * (4000 / AT_ONCE) as u32 && took < Duration::from_millis(500),
                "{took:?}"
            );
            let late = PortId(4000);
            announcer.begin(late, now);
            now = now.max(announcer.pause.unwrap_or(now));
            assert_eq!(announcer.go(now, 1)[0].port, late);
            // No round adds to what waits of an earlier one.
            assert!(announcer.waiting.len() <= 4000);
            assert_eq!(announcer.waiting.len(), announcer.places.len());
        }
    }
}
