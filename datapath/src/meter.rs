//! Flows that are metered: the meters of a poll thread, and the way of their records to the control side.
//!
//! A poll thread owns its meters, which the control side makes and takes back. What ends leaves by a ring of fixed size that
//! only the two of them use; where it is full, the record is lost and counted, and the poll thread goes on.
//!
//! Meters and inquiries come and go as lists of one. A poll thread has as many as there are and allocates nothing for them.

use std::cmp::Reverse;
use std::collections::LinkedList;
use std::sync::Arc;

use crossbeam_channel::Sender;
use rtrb::{Consumer, Producer, RingBuffer};
use weft_netflow::{Direction, End, Ended, Ends, LOOKED_AT_ONCE, Meter, Timing};

use crate::PortId;
use crate::clock::milliseconds;
use crate::config::{MeterConfig, SwitchId};
use crate::counters::Counter;
use crate::prefetch::prefetch_at;
use crate::snapshot::Snapshot;

/// Records that may wait for the control side, of each thread and switch: what ends of a million flows within 30 ms.
const WAITING: usize = 16_384;

/// The number of a meter, never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MeterId(pub(crate) u32);

/// What a snapshot says of the meter of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metering {
    pub(crate) id: MeterId,
    pub(crate) timing: Timing,
    pub(crate) ingress: bool,
    pub(crate) egress: bool,
    pub(crate) internal_only: bool,
}

impl Metering {
    pub(crate) fn new(id: MeterId, config: &MeterConfig) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            id,
            timing: Timing {
                active: ms(config.active),
                idle: ms(config.idle),
                sampling: config.sampling,
            },
            ingress: config.ingress,
            egress: config.egress,
            internal_only: config.internal_only,
        }
    }
}

/// What a meter tells of itself.
#[derive(Debug, Default)]
pub(crate) struct MeterCounters {
    pub(crate) in_use: Counter,
    pub(crate) packets: Counter,
    pub(crate) flows: Counter,
    pub(crate) evicted: Counter,
    /// What was in records that found no room on their way.
    pub(crate) lost_records: Counter,
    pub(crate) lost_packets: Counter,
    pub(crate) lost_octets: Counter,
}

/// A meter on its poll thread.
pub(crate) struct ThreadMeter {
    id: MeterId,
    pub(crate) meter: Meter,
    out: Producer<Ended>,
    counters: Arc<MeterCounters>,
}

/// The control side's end of a meter's way.
pub(crate) struct Outlet {
    pub(crate) id: MeterId,
    pub(crate) switch: SwitchId,
    pub(crate) room: usize,
    pub(crate) sampling: u32,
    /// Its records wait until those of an earlier meter of its switch are taken.
    pub(crate) waits: bool,
    pub(crate) records: Consumer<Ended>,
    pub(crate) counters: Arc<MeterCounters>,
}

/// A meter with room for `flows`, and where its records come out.
pub(crate) fn meter(
    id: MeterId,
    switch: SwitchId,
    flows: usize,
    timing: Timing,
    seed: u64,
) -> (LinkedList<ThreadMeter>, Outlet) {
    let (out, records) = RingBuffer::new(WAITING);
    let counters = Arc::new(MeterCounters::default());
    let meter = ThreadMeter {
        id,
        meter: Meter::new(
            flows,
            timing,
            seed,
            milliseconds(crate::clock::coarse_nanoseconds()),
            crate::large_pages::ask,
        ),
        out,
        counters: Arc::clone(&counters),
    };
    let outlet = Outlet {
        id,
        switch,
        room: flows,
        sampling: timing.sampling,
        waits: false,
        records,
        counters,
    };
    (LinkedList::from([meter]), outlet)
}

impl ThreadMeter {
    /// Asks for the memory of what was noted.
    #[inline]
    pub(crate) fn look_up(&mut self) {
        self.meter.look_up(prefetch_at);
    }

    /// Counts what was noted. Returns how many flows began.
    #[inline]
    pub(crate) fn count(&mut self, now: u64) -> u64 {
        let Self {
            meter,
            out,
            counters,
            ..
        } = self;
        meter.count(now, |ended| hand_over(out, counters, ended))
    }

    /// Looks at flows whose turn it is. Returns whether others are due already.
    fn look(
        &mut self,
        snapshot: &Snapshot,
        metering: Option<(usize, &Metering)>,
        now: u64,
    ) -> bool {
        let Self {
            meter,
            out,
            counters,
            ..
        } = self;
        if let Some((_, metering)) = metering
            && metering.timing != meter.timing()
        {
            meter.set_timing(metering.timing);
        }
        let stays = |ends: &Ends| {
            metering.is_some_and(|(switch, metering)| stays(snapshot, switch, metering, ends))
        };
        // Flows stay in the table until there is room for their records: only who has to give way is not waited for.
        let more = out.slots() >= LOOKED_AT_ONCE
            && meter.look(now, stays, |ended| hand_over(out, counters, ended));
        let tally = meter.tally();
        counters.in_use.show(meter.len() as u64);
        counters.packets.show(tally.packets);
        counters.flows.show(tally.flows);
        counters.evicted.show(tally.evicted);
        more
    }
}

#[cold]
#[inline(never)]
fn hand_over(out: &mut Producer<Ended>, counters: &MeterCounters, ended: &Ended) {
    if out.push(*ended).is_err() {
        let counts = ended.record().counts;
        counters.lost_records.add(1);
        counters.lost_packets.add(counts.packets);
        counters.lost_octets.add(counts.octets);
    }
}

/// Whether both ports of a flow are still those that they were, and that which has it metered still does.
fn stays(snapshot: &Snapshot, switch: usize, metering: &Metering, ends: &Ends) -> bool {
    let is_there = |end: &End, needs_meter: bool| {
        let Some(number) = end.interface.checked_sub(1) else {
            return true;
        };
        snapshot.port(PortId(number)).is_some_and(|entry| {
            entry.switch == switch && entry.life == end.life && (!needs_meter || entry.metered)
        })
    };
    let (ingress, egress) = match ends.direction {
        Direction::Ingress => (metering.ingress, false),
        Direction::Egress => (false, metering.egress),
    };
    (ingress || egress) && is_there(&ends.ingress, ingress) && is_there(&ends.egress, egress)
}

/// Those who ask for the flows that go on.
pub(crate) struct Inquiry {
    pub(crate) id: MeterId,
    /// Has room for twice as many as it is told in the end: those with the most octets.
    pub(crate) flows: Vec<Ended>,
    pub(crate) most: usize,
    /// The port that they are about, if it is one.
    pub(crate) port: Option<PortId>,
    /// The place to go on with; none once it has been told.
    pub(crate) next: Option<usize>,
    /// It goes back with what it is told.
    pub(crate) answer: Sender<LinkedList<Self>>,
}

/// The meters of a poll thread.
pub(crate) struct Meters {
    meters: LinkedList<ThreadMeter>,
    inquiries: LinkedList<Inquiry>,
    /// Where those go that are not needed any more: memory is not freed on a poll thread.
    retired: Sender<LinkedList<ThreadMeter>>,
}

/// Flows that are shown in one go.
const SHOWN_AT_ONCE: usize = 1024;

impl Meters {
    pub(crate) fn new(retired: Sender<LinkedList<ThreadMeter>>) -> Self {
        Self {
            meters: LinkedList::new(),
            inquiries: LinkedList::new(),
            retired,
        }
    }

    pub(crate) fn add(&mut self, mut meter: LinkedList<ThreadMeter>) {
        self.meters.append(&mut meter);
    }

    pub(crate) fn ask(&mut self, mut inquiry: LinkedList<Inquiry>) {
        self.inquiries.append(&mut inquiry);
    }

    /// Whether there is nothing to look at, and nobody asks.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.meters.is_empty() && self.inquiries.is_empty()
    }

    #[inline]
    pub(crate) fn get(&mut self, id: MeterId) -> Option<&mut ThreadMeter> {
        self.meters.iter_mut().find(|meter| meter.id == id)
    }

    /// Has all flows looked at: their ports may be others.
    pub(crate) fn look_at_all(&mut self) {
        for meter in &mut self.meters {
            meter.meter.look_at_all();
        }
    }

    /// Looks at flows whose turn it is, at the time `now` (ms), and answers who asks.
    pub(crate) fn look(&mut self, snapshot: &Snapshot, now: u64) {
        for meter in &mut self.meters {
            meter.look(snapshot, snapshot.metering(meter.id), now);
        }
        if !self.retired.is_full() {
            self.retire(snapshot);
        }
        let Self {
            meters, inquiries, ..
        } = self;
        for inquiry in inquiries.iter_mut() {
            let meter = meters.iter().find(|meter| meter.id == inquiry.id);
            inquiry.next = meter.and_then(|meter| inquiry.show(&meter.meter, now));
        }
        while let Some(mut told) = take_out(inquiries, |inquiry| inquiry.next.is_none()) {
            if let Some(inquiry) = told.front_mut() {
                keep_largest(&mut inquiry.flows, inquiry.most);
                let answer = inquiry.answer.clone();
                let _ = answer.try_send(told);
            }
        }
    }

    /// Gives back a meter that is not needed any more, if there is one.
    fn retire(&mut self, snapshot: &Snapshot) {
        let is_over = |meter: &ThreadMeter| {
            // One that no snapshot knows yet waits for that.
            meter.id <= snapshot.last_meter
                && snapshot.metering(meter.id).is_none()
                && meter.meter.is_empty()
        };
        // Where another thread was faster, and nothing has room there, it goes another time.
        if let Some(over) = take_out(&mut self.meters, is_over)
            && let Err(error) = self.retired.try_send(over)
        {
            self.meters.append(&mut error.into_inner());
        }
    }

    /// When they are to be looked at next (ms); `None` while there is nothing to look at.
    pub(crate) fn next_look(&self) -> Option<u64> {
        if !self.inquiries.is_empty() {
            return Some(0);
        }
        self.meters
            .iter()
            .filter_map(|meter| meter.meter.next_look())
            .min()
    }
}

impl Inquiry {
    fn show(&mut self, meter: &Meter, now: u64) -> Option<usize> {
        let first = self.next?;
        let Self {
            flows, most, port, ..
        } = self;
        let of_port = |ended: &Ended| {
            port.is_none_or(|port| {
                let ends = ended.ends();
                [ends.ingress, ends.egress]
                    .iter()
                    .any(|end| end.interface == port.0 + 1)
            })
        };
        let most = *most;
        meter.show(first, SHOWN_AT_ONCE, now, |ended| {
            if !of_port(ended) {
                return;
            }
            if flows.len() == flows.capacity() {
                keep_largest(flows, most);
            }
            flows.push(*ended);
        })
    }
}

/// Takes the first of a list for which it holds out of it, as a list of its own.
fn take_out<T>(list: &mut LinkedList<T>, holds: impl FnMut(&T) -> bool) -> Option<LinkedList<T>> {
    let place = list.iter().position(holds)?;
    let mut taken = list.split_off(place);
    list.append(&mut taken.split_off(1));
    Some(taken)
}

/// Leaves those with the most octets.
fn keep_largest(flows: &mut Vec<Ended>, most: usize) {
    if flows.len() > most {
        flows.select_nth_unstable_by_key(most, |ended| Reverse(ended.octets()));
        flows.truncate(most);
    }
}
