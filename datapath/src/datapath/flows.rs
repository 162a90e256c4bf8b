//! Meters of flows, as the control side has them: made, asked, emptied and taken back.

use std::collections::{HashMap, LinkedList};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use weft_netflow::Ended;

use super::control::Control;
use super::{Datapath, Stalled};
use crate::config::{PortId, SwitchId};
use crate::meter::{Inquiry, MeterCounters, MeterId, Metering, Outlet, ThreadMeter, meter};
use crate::poll::Command;

/// Meters that wait to be freed.
const RETIRED: usize = 64;

/// How long flows that end are waited for between two looks at their records.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the flows of a thread are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where records of flows come out.
pub(super) struct Flows {
    outlets: Vec<Outlet>,
    /// Whose records are taken first.
    first: usize,
    /// What meters have done that are not there any more.
    past: HashMap<SwitchId, MeterStatus>,
    /// Meters that poll threads need no more.
    retired: (
        Sender<LinkedList<ThreadMeter>>,
        Receiver<LinkedList<ThreadMeter>>,
    ),
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            outlets: Vec::new(),
            first: 0,
            past: HashMap::new(),
            retired: bounded(RETIRED),
        }
    }
}

impl Flows {
    pub(super) fn retired(&self) -> Sender<LinkedList<ThreadMeter>> {
        self.retired.0.clone()
    }

    /// Frees what is needed no more.
    fn tidy(&mut self) {
        for meter in self.retired.1.try_iter() {
            drop(meter);
        }
        let is_over =
            |outlet: &mut Outlet| outlet.records.is_abandoned() && outlet.records.is_empty();
        let mut are_fewer = false;
        for outlet in self.outlets.extract_if(.., is_over) {
            let past = self.past.entry(outlet.switch).or_default();
            past.add(&outlet.counters);
            are_fewer = true;
        }
        if are_fewer {
            self.line_up();
        }
    }

    fn add(&mut self, outlet: Outlet) {
        self.outlets.push(outlet);
        self.line_up();
    }

    /// Has the meters of a switch wait for those that it had before.
    fn line_up(&mut self) {
        let mut first = HashMap::new();
        // They are as they were made.
        for outlet in &mut self.outlets {
            outlet.waits = *first.entry(outlet.switch).or_insert(outlet.id) != outlet.id;
        }
    }

    fn status(&self, switch: SwitchId) -> Option<MeterStatus> {
        let past = self.past.get(&switch).copied();
        let mut status = past.unwrap_or_default();
        let mut outlets = self
            .outlets
            .iter()
            .filter(|outlet| outlet.switch == switch)
            .peekable();
        if past.is_none() {
            outlets.peek()?;
        }
        for outlet in outlets {
            status.add(&outlet.counters);
            status.in_use += outlet.counters.in_use.value();
            status.room += outlet.room as u64;
        }
        Some(status)
    }
}

/// What the meters of a switch have done, on all poll threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterStatus {
    /// Flows that go on.
    pub in_use: u64,
    /// Flows that there is room for.
    pub room: u64,
    /// Packets that were counted.
    pub packets: u64,
    /// Flows that began.
    pub flows: u64,
    /// Flows that ended because there was no room.
    pub evicted: u64,
    /// Records that were lost, since nobody took them in time.
    pub lost_records: u64,
    /// The packets in them.
    pub lost_packets: u64,
    /// The octets in them.
    pub lost_octets: u64,
}

/// Where records come from that are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowOrigin {
    /// The switch.
    pub switch: SwitchId,
    /// One in so many packets was counted; 0 and 1: each.
    pub sampling: u32,
}

impl MeterStatus {
    /// Adds what a meter has done so far.
    fn add(&mut self, counters: &MeterCounters) {
        self.packets += counters.packets.value();
        self.flows += counters.flows.value();
        self.evicted += counters.evicted.value();
        self.lost_records += counters.lost_records.value();
        self.lost_packets += counters.lost_packets.value();
        self.lost_octets += counters.lost_octets.value();
    }
}

impl Datapath {
    /// Has a meter of the right size on every thread for every switch that counts flows, and for no other.
    pub(super) fn renew_meters(&self, control: &mut Control) -> Result<(), Stalled> {
        let Control {
            config,
            meters,
            last_meter,
            ..
        } = control;
        let mut flows = self.flows.lock();
        flows.tidy();
        // Who gets the number of a switch that is gone has counted nothing.
        let is_there = |id: &SwitchId| config.switches.iter().any(|switch| switch.id == *id);
        flows.past.retain(|id, _| is_there(id));
        let made = |flows: &Flows, id: MeterId| {
            let outlet = flows.outlets.iter().find(|outlet| outlet.id == id);
            outlet.map(|outlet| (outlet.room, outlet.sampling))
        };
        meters.retain(|id, meter| {
            let switch = config.switches.iter().find(|switch| switch.id == *id);
            let wanted = switch.and_then(|switch| switch.meter);
            // One of another size, or that takes another share, is another one; what it has counted is told first.
            wanted
                .is_some_and(|wanted| made(&flows, *meter) == Some((wanted.flows, wanted.sampling)))
        });
        drop(flows);
        let mut waits = Vec::new();
        for switch in &config.switches {
            let Some(wanted) = switch.meter.filter(|_| !meters.contains_key(&switch.id)) else {
                continue;
            };
            last_meter.0 += 1;
            let id = *last_meter;
            meters.insert(switch.id, id);
            let timing = Metering::new(id, &wanted).timing;
            for thread in 0..self.threads.len() {
                // Meters that draw alike would sample alike.
                let number = u64::from(id.0) << 32 | thread as u64;
                let seed = self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                // It takes a while, in which the records of others are taken.
                let (meter, outlet) = meter(id, switch.id, wanted.flows, timing, seed);
                self.flows.lock().add(outlet);
                let (done, wait) = bounded(1);
                self.command(thread, Command::Meter { meter, done });
                waits.push((thread, wait));
            }
        }
        self.wait_for(waits)
    }

    /// Hands out the records of flows that ended, or of parts of them, of those switches that are asked for; at most so many. Of a
    /// switch, those of one meter come after all of the meter before it, which had another size or sampling.
    pub fn take_flows(
        &self,
        most: usize,
        is_asked_for: impl Fn(SwitchId) -> bool,
        mut take: impl FnMut(FlowOrigin, &Ended),
    ) -> usize {
        let mut flows = self.flows.lock();
        flows.tidy();
        let Flows { outlets, first, .. } = &mut *flows;
        // Each time another one comes first, so that where all have more than is taken, each has its turn.
        *first = (*first + 1) % outlets.len().max(1);
        let (later, sooner) = outlets.split_at_mut(*first);
        let mut taken = 0;
        for outlet in sooner.iter_mut().chain(later) {
            if outlet.waits || !is_asked_for(outlet.switch) {
                continue;
            }
            let origin = FlowOrigin {
                switch: outlet.switch,
                sampling: outlet.sampling,
            };
            while taken < most
                && let Ok(ended) = outlet.records.pop()
            {
                take(origin, &ended);
                taken += 1;
            }
        }
        taken
    }

    /// The sampling of the meter of a switch whose records are handed out; `None` where none will come any more.
    pub fn flow_sampling(&self, switch: SwitchId) -> Option<u32> {
        let mut flows = self.flows.lock();
        flows.tidy();
        let mut outlets = flows.outlets.iter();
        let first = outlets.find(|outlet| outlet.switch == switch)?;
        Some(first.sampling)
    }

    /// What the meters of a switch have done; `None` where there is none.
    pub fn meter_status(&self, switch: SwitchId) -> Option<MeterStatus> {
        let mut flows = self.flows.lock();
        flows.tidy();
        flows.status(switch)
    }

    /// The flows that go on, with their switch, of one port or all; of each thread and switch those `most` with the most octets. The packets and
    /// octets of each are those since it was last told of.
    pub fn flows(&self, port: Option<PortId>, most: usize) -> Vec<(SwitchId, Ended)> {
        let meters: Vec<_> = {
            let control = self.control.lock();
            control
                .meters
                .iter()
                .map(|(id, meter)| (*id, *meter))
                .collect()
        };
        let mut all = Vec::new();
        for (switch, id) in meters {
            let asked: Vec<_> = (0..self.threads.len())
                .map(|thread| {
                    let (answer, flows) = bounded(1);
                    let inquiry = Inquiry {
                        id,
                        flows: Vec::with_capacity(2 * most.max(1)),
                        most,
                        port,
                        next: Some(0),
                        answer,
                    };
                    self.command(thread, Command::Flows(LinkedList::from([inquiry])));
                    flows
                })
                .collect();
            let until = Instant::now() + PATIENCE;
            for flows in asked {
                // What a thread that is stalled counts is not known.
                let told = flows.recv_deadline(until).unwrap_or_default();
                let flows = told.into_iter().flat_map(|inquiry| inquiry.flows);
                all.extend(flows.map(|flow| (switch, flow)));
            }
        }
        all
    }

    /// Ends every flow that goes on, so that what was counted is told before the data path ends; for as long as `patience` lets it.
    /// Meanwhile `take` is to take records, of which more may come than wait at once. What is left is in those that are taken after that.
    pub fn end_flows(&self, patience: Duration, mut take: impl FnMut()) {
        let mut control = self.control.lock();
        for switch in &mut control.config.switches {
            switch.meter = None;
        }
        if self.renew_meters(&mut control).is_err() || self.publish(&mut control).is_err() {
            return;
        }
        drop(control);
        let until = Instant::now() + patience;
        let retired = self.flows.lock().retired.1.clone();
        loop {
            let mut flows = self.flows.lock();
            flows.tidy();
            let mut outlets = flows.outlets.iter();
            if outlets.all(|outlet| outlet.records.is_abandoned()) {
                return;
            }
            drop(flows);
            take();
            let now = Instant::now();
            if now >= until {
                return;
            }
            let _ = retired.recv_deadline(until.min(now + PAUSE));
        }
    }
}
