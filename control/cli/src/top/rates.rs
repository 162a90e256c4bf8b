//! Rates: the difference of two answers of an agent, over the time that passed for the agent.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use weft_api::{Activity, FindingGroup, PortActivity, PortState, ThreadActivity};

/// What moved on a host in one interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rates {
    /// The host's name.
    pub(crate) host: String,
    /// The agent's process.
    pub(crate) pid: u32,
    /// Since the agent started.
    pub(crate) uptime_seconds: f64,
    /// The interval, by the agent's clock.
    pub(crate) interval_seconds: f64,
    pub(crate) threads: Vec<ThreadRates>,
    /// The sums over all ports and uplinks.
    pub(crate) total: Flow,
    /// Uplinks first.
    pub(crate) ports: Vec<PortRates>,
    pub(crate) problems: Vec<FindingGroup>,
}

/// What a poll thread did.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ThreadRates {
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) core: Option<usize>,
    /// Of the interval, 0-1.
    pub(crate) busy_share: f64,
    pub(crate) asleep_share: f64,
    pub(crate) frames_per_second: f64,
    /// Absent where too few frames moved to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cycles_per_frame: Option<f64>,
}

/// What a port moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortRates {
    pub(crate) name: String,
    pub(crate) uplink: bool,
    pub(crate) state: PortState,
    #[serde(flatten)]
    pub(crate) flow: Flow,
}

/// Rates of one port, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flow {
    pub(crate) rx_frames_per_second: f64,
    pub(crate) rx_bits_per_second: f64,
    pub(crate) tx_frames_per_second: f64,
    pub(crate) tx_bits_per_second: f64,
    pub(crate) drops_per_second: f64,
    /// By reason, only of those that occurred. What the kernel dropped goes by `kernel: ` and its reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) drops: BTreeMap<String, f64>,
}

/// Fewer frames than this in an interval say nothing about what one costs.
const ENOUGH_FRAMES: u64 = 100;

impl Rates {
    /// What moved between two answers; `None` if they are of different agents, or of one moment.
    pub(crate) fn between(before: &Activity, after: &Activity) -> Option<Self> {
        let elapsed = after
            .uptime_nanoseconds
            .checked_sub(before.uptime_nanoseconds)?;
        if before.pid != after.pid || elapsed == 0 {
            return None;
        }
        let seconds = elapsed as f64 / 1e9;
        let old: HashMap<(&str, bool), &PortActivity> = before
            .ports
            .iter()
            .map(|port| ((port.name.as_str(), port.uplink), port))
            .collect();
        let mut total = Flow::default();
        let mut ports: Vec<_> = after
            .ports
            .iter()
            .map(|port| {
                let before = old.get(&(port.name.as_str(), port.uplink)).copied();
                let flow = Flow::between(before, port, seconds);
                total.add(&flow);
                PortRates {
                    name: port.name.clone(),
                    uplink: port.uplink,
                    state: port.state,
                    flow,
                }
            })
            .collect();
        ports.sort_by_key(|port| !port.uplink);
        let threads = after
            .threads
            .iter()
            .zip(&before.threads)
            .map(|(after, before)| ThreadRates::between(before, after, seconds));
        Some(Self {
            host: after.host.to_string(),
            pid: after.pid,
            uptime_seconds: after.uptime_nanoseconds as f64 / 1e9,
            interval_seconds: seconds,
            threads: threads.collect(),
            total,
            ports,
            problems: after.problems.clone(),
        })
    }
}

impl ThreadRates {
    fn between(before: &ThreadActivity, after: &ThreadActivity, seconds: f64) -> Self {
        let frames = after.frames.saturating_sub(before.frames);
        let busy = after.busy_cycles.saturating_sub(before.busy_cycles) as f64;
        let cycles = after.elapsed_cycles.saturating_sub(before.elapsed_cycles);
        let asleep = after
            .asleep_nanoseconds
            .saturating_sub(before.asleep_nanoseconds);
        Self {
            index: after.index,
            core: after.core,
            busy_share: (busy / cycles.max(1) as f64).min(1.0),
            // A sleep is counted at its end, so that one may be longer than the interval.
            asleep_share: (asleep as f64 / 1e9 / seconds).min(1.0),
            frames_per_second: frames as f64 / seconds,
            cycles_per_frame: (frames >= ENOUGH_FRAMES).then(|| busy / frames as f64),
        }
    }
}

impl Flow {
    /// `before`: none, for a port that was added meanwhile.
    fn between(before: Option<&PortActivity>, after: &PortActivity, seconds: f64) -> Self {
        // Counters that go back are those of another port of this name: all of them are of this interval.
        let before = before.filter(|before| {
            before.rx_frames <= after.rx_frames && before.tx_frames <= after.tx_frames
        });
        let rate = |count: fn(&PortActivity) -> u64| {
            let grown = count(after).saturating_sub(before.map_or(0, count));
            grown as f64 / seconds
        };
        let grown = |drops: fn(&PortActivity) -> &BTreeMap<String, u64>, prefix: &str| {
            let old = before.map(drops);
            let grown = drops(after).iter().filter_map(|(reason, count)| {
                let old = old.and_then(|old| old.get(reason)).copied();
                let frames = count.saturating_sub(old.unwrap_or_default());
                (frames > 0).then(|| (format!("{prefix}{reason}"), frames as f64 / seconds))
            });
            grown.collect::<Vec<_>>()
        };
        let mut drops: BTreeMap<_, _> = grown(|port| &port.drops, "").into_iter().collect();
        drops.extend(grown(|port| &port.kernel_drops, "kernel: "));
        Self {
            rx_frames_per_second: rate(|port| port.rx_frames),
            rx_bits_per_second: rate(|port| port.rx_bytes) * 8.0,
            tx_frames_per_second: rate(|port| port.tx_frames),
            tx_bits_per_second: rate(|port| port.tx_bytes) * 8.0,
            // The sum of none of them would be -0.0.
            drops_per_second: drops.values().fold(0.0, |sum, rate| sum + rate),
            drops,
        }
    }

    fn add(&mut self, other: &Self) {
        self.rx_frames_per_second += other.rx_frames_per_second;
        self.rx_bits_per_second += other.rx_bits_per_second;
        self.tx_frames_per_second += other.tx_frames_per_second;
        self.tx_bits_per_second += other.tx_bits_per_second;
        self.drops_per_second += other.drops_per_second;
        for (reason, rate) in &other.drops {
            *self.drops.entry(reason.clone()).or_default() += rate;
        }
    }

    /// The reasons of drops, the most frequent first.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<_> = self.drops.iter().collect();
        reasons.sort_by(|one, other| other.1.total_cmp(one.1).then(one.0.cmp(other.0)));
        reasons
            .into_iter()
            .map(|(reason, _)| reason.as_str())
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::top) fn port(name: &str, frames: u64) -> PortActivity {
        PortActivity {
            name: name.to_owned(),
            uplink: name.starts_with("eth"),
            state: PortState::Up,
            rx_frames: frames,
            rx_bytes: frames * 100,
            tx_frames: frames * 2,
            tx_bytes: frames * 200,
            drops: BTreeMap::new(),
            kernel_drops: BTreeMap::new(),
        }
    }

    pub(in crate::top) fn activity(seconds: f64, ports: Vec<PortActivity>) -> Activity {
        Activity {
            host: "esxi01".parse().unwrap(),
            pid: 7,
            uptime_nanoseconds: (seconds * 1e9) as u64,
            threads: vec![ThreadActivity {
                index: 0,
                core: Some(2),
                frames: (seconds * 1000.0) as u64,
                elapsed_cycles: (seconds * 1e9) as u64,
                busy_cycles: (seconds * 25e7) as u64,
                asleep_nanoseconds: (seconds * 5e8) as u64,
            }],
            ports,
            problems: Vec::new(),
        }
    }

    #[test]
    fn rates_are_differences_over_the_agents_own_time() {
        let mut later = port("a", 500);
        later.drops = [("RingFull".to_owned(), 30), ("Runt".to_owned(), 4)].into();
        later.kernel_drops = [("ring full".to_owned(), 8)].into();
        let mut earlier = port("a", 100);
        earlier.drops = [("RingFull".to_owned(), 10), ("Runt".to_owned(), 4)].into();
        let before = activity(10.0, vec![earlier]);
        let after = activity(12.0, vec![later, port("eth1", 50)]);
        let rates = Rates::between(&before, &after).unwrap();
        assert!(rates.ports[0].uplink, "uplinks come first");
        let flow = &rates.ports[1].flow;
        assert_eq!(
            (flow.rx_frames_per_second, flow.rx_bits_per_second),
            (200.0, 160_000.0)
        );
        assert_eq!(flow.tx_frames_per_second, 400.0);
        assert_eq!(flow.drops_per_second, 14.0);
        assert_eq!(flow.reasons(), ["RingFull", "kernel: ring full"]);
        assert_eq!(
            rates.total.rx_frames_per_second, 225.0,
            "a port that was added counts from nothing"
        );
        let thread = &rates.threads[0];
        assert_eq!((thread.busy_share, thread.asleep_share), (0.25, 0.5));
        assert_eq!(thread.cycles_per_frame, Some(250_000.0));
    }

    #[test]
    fn another_agent_or_another_port_is_not_compared_with() {
        let before = activity(10.0, vec![port("a", 1000)]);
        let mut after = activity(11.0, vec![port("a", 10)]);
        let flow = &Rates::between(&before, &after).unwrap().ports[0].flow;
        assert_eq!(flow.rx_frames_per_second, 10.0, "added again meanwhile");
        after.pid = 8;
        assert_eq!(Rates::between(&before, &after), None);
        let earlier = activity(9.0, Vec::new());
        assert_eq!(Rates::between(&before, &earlier), None);
        assert_eq!(Rates::between(&before, &before), None);
    }
}
