//! What the host tells Prometheus.

use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use prometheus_client::registry::Unit;
use weft_datapath::DropReason;
use weft_model::PortKey;

use super::Host;
use super::counters::name;
use crate::metrics::{Family, Labels, Scrape};
use crate::state::State;

impl Host {
    /// Everything that is measured. Works on a copy of the state, and has the data path to itself for one port at a time: a
    /// change waits for no scrape.
    pub(crate) fn scrape(&self) -> Scrape {
        let state = self.state();
        let mut families = self.of_the_agent(&state);
        families.extend(self.of_threads());
        families.extend(self.of_ports(&state, "port"));
        families.extend(self.of_ports(&state, "uplink"));
        families.extend(self.of_netflow());
        let started = self.started_at.duration_since(UNIX_EPOCH);
        Scrape {
            host: self.name.clone(),
            started: started.unwrap_or_default().as_secs_f64(),
            families,
        }
    }

    fn of_the_agent(&self, state: &State) -> Vec<Family> {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        let mut generation = Family::gauge(
            "agent_generation",
            "The newest configuration that is durable (desired), and the one that the poll threads forward by (applied)",
        );
        for (kind, number) in [
            ("desired", &self.durable_generation),
            ("applied", &self.applied_generation),
        ] {
            let number = number.load(Ordering::Relaxed);
            generation.add(vec![("kind", kind.to_owned())], number as f64);
        }
        let mut objects = Family::gauge("agent_objects", "How many objects are configured");
        for (kind, count) in [
            ("vswitch", state.intent.vswitches.len()),
            ("portgroup", state.intent.portgroups.len()),
            ("port", state.intent.ports.len()),
            ("uplink", state.intent.uplinks().count()),
        ] {
            objects.add(vec![("kind", kind.to_owned())], count as f64);
        }
        vec![
            Family::info("build", "The version of the agent", version),
            generation,
            objects,
        ]
    }

    fn of_threads(&self) -> Vec<Family> {
        let seconds = || Some(Unit::Seconds);
        let mut busy = Family::counter(
            "poll_busy",
            seconds(),
            "Time spent in passes that moved frames",
        );
        let mut asleep = Family::counter("poll_asleep", seconds(), "Time asleep");
        let mut frames =
            Family::counter("poll_packets", None, "Frames received by the poll thread");
        let mut passes = Family::counter(
            "poll_passes",
            None,
            "Passes over its ports; at least one a second, also asleep",
        );
        let mut queues = Family::gauge("poll_queues", "Receive queues that the poll thread owns");
        let mut stalled = Family::gauge("poll_stalled", "Whether the poll thread stands still");
        let mut stalls =
            Family::counter("poll_stalls", None, "How often the poll thread stood still");
        let progress = self.progress();
        for thread in self.plane.datapath().threads() {
            let labels = || vec![("thread", thread.index.to_string())];
            busy.add(labels(), thread.busy_time.as_secs_f64());
            asleep.add(labels(), thread.asleep_time.as_secs_f64());
            frames.add(labels(), thread.frames as f64);
            passes.add(labels(), thread.passes as f64);
            queues.add(labels(), thread.queues as f64);
            let standing = progress.of(thread.index);
            stalled.add(labels(), f64::from(standing.stalled.is_some()));
            stalls.add(labels(), standing.stalls as f64);
        }
        vec![busy, asleep, frames, passes, queues, stalled, stalls]
    }

    /// Of all ports or of all uplinks, each under names and with a label of its kind: they share no namespace, and a sum over
    /// both would count what passes an uplink twice.
    fn of_ports(&self, state: &State, kind: &'static str) -> Vec<Family> {
        let counter =
            |name: &str, unit, help| Family::counter(format!("{kind}_{name}"), unit, help);
        let bytes = || Some(Unit::Bytes);
        let mut rx_frames = counter(
            "receive_packets",
            None,
            "Frames that the switch received from it",
        );
        let mut rx_bytes = counter("receive", bytes(), "Octets of these");
        let mut tx_frames = counter(
            "transmit_packets",
            None,
            "Frames that the switch delivered to it",
        );
        let mut tx_bytes = counter("transmit", bytes(), "Octets of these");
        let mut drops = counter(
            "drops",
            None,
            "Frames that were dropped: received from it (in), or copies meant for it (out). Only reasons that occurred",
        );
        let mut kernel = counter(
            "kernel_drops",
            None,
            "Frames that the kernel dropped before the switch could see them. Only reasons that occurred",
        );
        let mut learned = Family::gauge(
            format!("{kind}_learned_addresses"),
            "Addresses learned behind it. Only where its port group learns",
        );
        let mut up = Family::gauge(format!("{kind}_up"), "Whether it takes part in forwarding");
        for (key, switch, is_up) in self.standing(state, kind) {
            let name = name(&key).to_owned();
            let labels = || -> Labels { vec![("switch", switch.clone()), (kind, name.clone())] };
            let with = |more: &[(&'static str, &str)]| -> Labels {
                let more = more
                    .iter()
                    .map(|(label, value)| (*label, (*value).to_owned()));
                labels().into_iter().chain(more).collect()
            };
            up.add(labels(), f64::from(is_up));
            let (counters, rings) = self.counters(state, &key);
            rx_frames.add(labels(), counters.rx_frames as f64);
            rx_bytes.add(labels(), counters.rx_bytes as f64);
            tx_frames.add(labels(), counters.tx_frames as f64);
            tx_bytes.add(labels(), counters.tx_bytes as f64);
            for (direction, counts) in [("in", &counters.rx_drops), ("out", &counters.tx_drops)] {
                for &reason in DropReason::ALL {
                    let count = counts[reason as usize];
                    if count > 0 {
                        let labels = with(&[("reason", reason.name()), ("direction", direction)]);
                        drops.add(labels, count as f64);
                    }
                }
            }
            if let PortKey::Port(port) = &key
                && let Some(learning) = self.learning(state, port)
            {
                learned.add(labels(), learning.addresses as f64);
            }
            for (reason, count) in rings.kernel_drops {
                if count > 0 {
                    kernel.add(with(&[("reason", reason)]), count as f64);
                }
            }
        }
        let mut families = vec![up, rx_frames, rx_bytes, tx_frames, tx_bytes, drops, kernel];
        if kind == "port" {
            families.push(learned);
        }
        families
    }

    fn of_netflow(&self) -> Vec<Family> {
        let counter = |name, help| Family::counter(format!("netflow_{name}"), None, help);
        let gauge = |name, help| Family::gauge(format!("netflow_{name}"), help);
        let mut flows = gauge("flows", "Flows that are counted at this moment");
        let mut room = gauge("room_flows", "Flows that there is room for");
        let mut evicted = counter(
            "evicted_flows",
            "Flows that were told early because there was no room",
        );
        let mut packets = counter("metered_packets", "Packets that were counted");
        let mut lost = counter(
            "lost_records",
            "Records that were lost to all collectors: they came faster than they could be taken",
        );
        let mut failing = gauge(
            "collector_failing",
            "Whether messages to the collector do not arrive, as far as the network says",
        );
        let mut messages = counter("collector_messages", "Messages that were sent to it");
        let mut records = counter("collector_records", "Flow records in these");
        let mut lost_records = counter(
            "collector_lost_records",
            "Flow records that the network did not take to it, or that nobody took there",
        );
        let mut unsaid = counter(
            "collector_unsaid_records",
            "Flow records that the version has no place for",
        );
        for netflow in self.netflows() {
            let labels = || -> Labels { vec![("switch", netflow.name.clone())] };
            let status = &netflow.status;
            flows.add(labels(), status.flows as f64);
            room.add(labels(), status.room as f64);
            evicted.add(labels(), status.evicted as f64);
            packets.add(labels(), status.packets as f64);
            lost.add(labels(), status.lost_records as f64);
            for one in &status.collectors {
                let labels = || -> Labels {
                    let collector = ("collector", one.collector.to_string());
                    labels().into_iter().chain([collector]).collect()
                };
                failing.add(labels(), f64::from(one.last_error.is_some()));
                messages.add(labels(), one.messages as f64);
                records.add(labels(), one.records as f64);
                lost_records.add(labels(), one.lost_records as f64);
                unsaid.add(labels(), one.unsaid as f64);
            }
        }
        vec![
            flows,
            room,
            evicted,
            packets,
            lost,
            failing,
            messages,
            records,
            lost_records,
            unsaid,
        ]
    }

    /// Every port or every uplink with its switch, and whether it is up.
    fn standing(&self, state: &State, kind: &str) -> Vec<(PortKey, String, bool)> {
        let intent = &state.intent;
        if kind == "uplink" {
            let uplinks = intent.uplinks().map(|(switch, interface)| {
                let key = PortKey::Uplink(interface.clone());
                let is_up = state.link_obstacle(&key).is_none();
                (key, switch.to_string(), is_up)
            });
            return uplinks.collect();
        }
        let ports = intent.ports.values().filter_map(|object| {
            let port = &object.spec;
            let group = intent.portgroups.get(&port.portgroup)?;
            let key = PortKey::Port(port.name.clone());
            let is_up = self.obstacle(state, port).is_none();
            Some((key, group.spec.vswitch.to_string(), is_up))
        });
        ports.collect()
    }
}
