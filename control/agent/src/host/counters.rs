//! The counters of ports and uplinks.

use std::collections::BTreeMap;

use weft_api::{DropCount, DropsReport, PortDrops, PortStats, Problem, ProblemKind};
use weft_datapath::{DropReason, PortCounters, RingStatistics};
use weft_model::{ObjectKind, ObjectRef, PortKey, nearest};

use super::Host;
use crate::state::State;

impl Host {
    /// The counters of these ports and uplinks, or of all, whether they are attached or not.
    ///
    /// # Errors
    /// `notFound`, with the nearest name.
    pub(crate) fn stats(&self, names: &[String]) -> Result<Vec<PortStats>, Problem> {
        let state = self.view();
        let keys: Vec<_> = state.wanted().into_keys().collect();
        let known: BTreeMap<&str, &PortKey> =
            keys.iter().rev().map(|key| (name(key), key)).collect();
        if names.is_empty() {
            return Ok(keys.iter().map(|key| self.stats_of(&state, key)).collect());
        }
        let found = names.iter().map(|name| {
            let key = known
                .get(name.as_str())
                .ok_or_else(|| unknown(name, known.keys().copied()))?;
            Ok(self.stats_of(&state, key))
        });
        found.collect()
    }

    pub(super) fn stats_of(&self, state: &State, key: &PortKey) -> PortStats {
        let (counters, rings) = self.counters(state, key);
        let occurred = |drops: &[u64; DropReason::COUNT]| -> BTreeMap<String, u64> {
            let named = DropReason::ALL
                .iter()
                .map(|reason| (reason.name().to_owned(), drops[*reason as usize]));
            named.filter(|(_, count)| *count > 0).collect()
        };
        let (rx_drops, tx_drops) = (occurred(&counters.rx_drops), occurred(&counters.tx_drops));
        let mut drops = rx_drops.clone();
        for (reason, count) in &tx_drops {
            *drops.entry(reason.clone()).or_default() += count;
        }
        let kernel = rings
            .kernel_drops
            .into_iter()
            .filter(|(_, count)| *count > 0);
        PortStats {
            name: name(key).to_owned(),
            uplink: matches!(key, PortKey::Uplink(_)),
            rx_frames: counters.rx_frames,
            rx_bytes: counters.rx_bytes,
            tx_frames: counters.tx_frames,
            tx_bytes: counters.tx_bytes,
            rx_delivered: counters.rx_delivered,
            rx_undelivered: counters.rx_undelivered,
            tx_attempts: counters.tx_attempts,
            checksums_completed: counters.tx_checksums_completed,
            segmented: counters.tx_segmented,
            segments: counters.tx_segments,
            tx_queued: counters.tx_queued,
            drops,
            rx_drops,
            tx_drops,
            kernel_drops: kernel
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
        }
    }

    /// Every reason with its count, over all ports and uplinks.
    pub(crate) fn drops(&self) -> DropsReport {
        let state = self.view();
        let keys: Vec<_> = state.wanted().into_keys().collect();
        let counters: Vec<_> = keys
            .iter()
            .map(|key| (name(key), self.counters(&state, key).0))
            .collect();
        let reasons = DropReason::ALL.iter().map(|reason| {
            let at = *reason as usize;
            let mut ports: Vec<_> = counters
                .iter()
                .map(|(name, port)| PortDrops {
                    name: (*name).to_owned(),
                    rx: port.rx_drops[at],
                    tx: port.tx_drops[at],
                })
                .filter(|drops| drops.rx + drops.tx > 0)
                .collect();
            ports.sort_by_key(|drops| std::cmp::Reverse(drops.rx + drops.tx));
            DropCount {
                reason: reason.name().to_owned(),
                count: ports.iter().map(|drops| drops.rx + drops.tx).sum(),
                help: reason.help().to_owned(),
                ports,
            }
        });
        DropsReport {
            reasons: reasons.collect(),
        }
    }

    pub(super) fn counters(&self, state: &State, key: &PortKey) -> (PortCounters, RingStatistics) {
        let id = state.id(key);
        let datapath = self.plane.datapath();
        (
            id.and_then(|id| datapath.counters(id)).unwrap_or_default(),
            id.and_then(|id| datapath.ring_statistics(id))
                .unwrap_or_default(),
        )
    }
}

/// The name by which people know a port or uplink.
pub(super) fn name(key: &PortKey) -> &str {
    match key {
        PortKey::Port(name) => name.as_str(),
        PortKey::Uplink(interface) => interface.as_str(),
    }
}

/// Says that there is no port or uplink of this name.
pub(super) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let shown: String = name.chars().take(80).collect();
    let object = ObjectRef::new(ObjectKind::Port, shown);
    let suggestion = nearest(name, known).map(str::to_owned);
    let remedy = match &suggestion {
        Some(near) => format!("did you mean {near}?"),
        None => "see 'weft port list' and 'weft uplink list'".to_owned(),
    };
    let problem = Problem::new(ProblemKind::NotFound, format!("{object} does not exist"));
    Problem {
        suggestion,
        ..problem.about(object).with_remedy(remedy)
    }
}
