//! What the host cannot bear at this moment: drops that grow, and poll threads without time to spare.
//!
//! Counters alone do not tell: drops of yesterday are not wrong today. So they are noted every few seconds, and what has
//! come since the oldest note is what happens at this moment.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use weft_api::{Cause, Finding};
use weft_datapath::DropReason;
use weft_model::{ObjectKind, ObjectRef, PortKey, PortName};

use super::Host;
use super::status::show;
use crate::state::{State, quoted};

/// Between two notes.
const NOTED_EVERY: Duration = Duration::from_secs(2);

/// Notes that are kept: what is told of happened within the last 6 s.
const NOTES: usize = 3;

/// A shorter time says nothing about a rate.
const SHORTEST: Duration = Duration::from_secs(1);

/// Frames of one reason that make a finding; a single one happens with every change.
const FEWEST: u64 = 2;

/// From this share of its time on, a poll thread has none to spare.
const SATURATED: f64 = 0.95;

type Drops = [u64; DropReason::COUNT];

/// What was counted at some moments.
#[derive(Debug, Default)]
pub(super) struct Notes(VecDeque<Note>);

/// What was counted at one moment.
#[derive(Clone, Debug)]
struct Note {
    at: Instant,
    /// Of ports and uplinks where there were some.
    drops: BTreeMap<PortKey, Drops>,
    threads: Vec<ThreadNote>,
}

#[derive(Clone, Copy, Debug)]
struct ThreadNote {
    core: Option<usize>,
    elapsed: u64,
    busy: u64,
}

/// Drops for one reason.
#[derive(Debug, PartialEq, Eq)]
struct Growth {
    reason: DropReason,
    /// Frames since the note.
    frames: u64,
    /// Where most of them were dropped.
    at: PortKey,
    /// Ports and uplinks where some were dropped.
    places: usize,
}

impl Notes {
    /// The newest moment that something was noted.
    fn newest(&self) -> Option<Instant> {
        self.0.back().map(|note| note.at)
    }

    fn add(&mut self, note: Note) {
        self.0.push_back(note);
        while self.0.len() > NOTES {
            self.0.pop_front();
        }
    }

    /// The note to compare with: the oldest one that is recent.
    fn before(&self, now: Instant) -> Option<&Note> {
        let age = |note: &&Note| now.saturating_duration_since(note.at);
        let longest = NOTED_EVERY * (NOTES as u32 + 1);
        self.0
            .iter()
            .find(|note| age(note) <= longest)
            .filter(|note| age(note) >= SHORTEST)
    }
}

impl Note {
    /// What was dropped after `before`, the most frequent reason first.
    fn growth(&self, before: &Self) -> Vec<Growth> {
        let mut growth: Vec<Growth> = Vec::new();
        for reason in DropReason::ALL.iter().copied() {
            let grown = self.drops.iter().filter_map(|(key, drops)| {
                let at = reason as usize;
                let old = before.drops.get(key).map_or(0, |drops| drops[at]);
                let frames = drops[at].saturating_sub(old);
                (frames > 0 && is_notable(reason, key)).then_some((frames, key))
            });
            let grown: Vec<_> = grown.collect();
            let frames = grown.iter().map(|(frames, _)| frames).sum();
            if let Some((_, at)) = grown.iter().max_by_key(|(frames, _)| frames)
                && frames >= FEWEST
            {
                growth.push(Growth {
                    reason,
                    frames,
                    at: (*at).clone(),
                    places: grown.len(),
                });
            }
        }
        growth.sort_by_key(|growth| std::cmp::Reverse(growth.frames));
        growth
    }

    /// The threads that had no time to spare since `before`, with their core and the share that was used.
    fn saturated(&self, before: &Self) -> Vec<(usize, Option<usize>, f64)> {
        let threads = self.threads.iter().zip(&before.threads).enumerate();
        let shares = threads.map(|(index, (now, then))| {
            let elapsed = now.elapsed.saturating_sub(then.elapsed).max(1);
            let busy = now.busy.saturating_sub(then.busy);
            (index, now.core, busy as f64 / elapsed as f64)
        });
        shares.filter(|(_, _, share)| *share >= SATURATED).collect()
    }
}

/// Whether something is wrong where frames are dropped for this reason. The rest is how a switch works, or follows from
/// what another finding tells.
fn is_notable(reason: DropReason, key: &PortKey) -> bool {
    match reason {
        DropReason::NoReceiver
        | DropReason::SamePort
        | DropReason::BpduFilter
        | DropReason::ControlFrame
        // A limit at work, as it was set.
        | DropReason::ShaperFull
        | DropReason::PortBlocked
        | DropReason::PortDown => false,
        // What a physical network floods is not all meant for this host.
        DropReason::UnknownUnicast | DropReason::VlanNotMember | DropReason::ReversePath => {
            matches!(key, PortKey::Port(_))
        }
        _ => true,
    }
}

impl Host {
    /// Notes what was counted, if the last note is old enough.
    pub(crate) fn note_counters(&self, now: Instant) {
        let due = |newest: Instant| now.saturating_duration_since(newest) >= NOTED_EVERY;
        if self.notes().newest().is_none_or(due) {
            let note = self.note(&self.view(), now);
            self.notes().add(note);
        }
    }

    fn note(&self, state: &State, now: Instant) -> Note {
        let datapath = self.plane.datapath();
        let drops = state.numbered().filter_map(|(key, id)| {
            let counters = datapath.counters(id)?;
            let mut drops = counters.rx_drops;
            for (sum, more) in drops.iter_mut().zip(counters.tx_drops) {
                *sum += more;
            }
            drops
                .iter()
                .any(|count| *count > 0)
                .then(|| (key.clone(), drops))
        });
        let threads = datapath.threads().into_iter().map(|thread| ThreadNote {
            core: thread.core,
            elapsed: thread.elapsed_cycles,
            busy: thread.busy_cycles,
        });
        Note {
            at: now,
            drops: drops.collect(),
            threads: threads.collect(),
        }
    }

    /// The finding with the address that the guest sends from, and the command that tells what would let it pass.
    fn with_source(&self, found: Finding, port: &PortName) -> Finding {
        match self.refused().get(port) {
            None => found,
            Some(mac) => Finding {
                reason: format!("{}; the latest is {mac}", found.reason),
                next: format!(
                    "weft trace --port {} --src {mac} --dst ff:ff:ff:ff:ff:ff",
                    quoted(port)
                ),
                ..found
            },
        }
    }

    /// What is too much at this moment.
    pub(super) fn strains(&self, state: &State, now: Instant) -> Vec<Finding> {
        let notes = self.notes();
        let Some(before) = notes.before(now) else {
            return Vec::new();
        };
        let note = self.note(state, now);
        let seconds = now.saturating_duration_since(before.at).as_secs_f64();
        let threads = note.saturated(before).into_iter();
        let threads = threads.map(|(index, core, share)| {
            let core = core.map(|core| format!(" on core {core}"));
            Finding {
                object: ObjectRef::new(ObjectKind::Host, &self.name),
                cause: Cause::Saturated,
                reason: format!(
                    "poll thread {index}{} is busy {:.0}% of the time, so more traffic would be dropped; \
                     give the agent more cores with --cores",
                    core.unwrap_or_default(),
                    share.min(1.0) * 100.0
                ),
                next: "weft top".to_owned(),
            }
        });
        let drops = note.growth(before).into_iter();
        let drops = drops.map(|growth| {
            let found = finding(state, &growth, seconds);
            match &growth {
                Growth {
                    reason: DropReason::ForgedTransmit,
                    at: PortKey::Port(name),
                    ..
                } => self.with_source(found, name),
                _ => found,
            }
        });
        threads.chain(drops).collect()
    }
}

fn finding(state: &State, growth: &Growth, seconds: f64) -> Finding {
    let Growth {
        reason,
        frames,
        at,
        places,
    } = growth;
    let others = match places {
        1 => String::new(),
        2 => ", also at 1 other".to_owned(),
        places => format!(", also at {} others", places - 1),
    };
    // What follows the semicolon names a command, as `next` does.
    let help = reason.help().split("; ").next().unwrap_or_default();
    Finding {
        object: state.object_of(at),
        cause: Cause::Drops,
        reason: format!(
            "{reason} drops {} a second{others}: {help}",
            per_second(*frames, seconds)
        ),
        next: next(state, *reason, at),
    }
}

/// `less than 1 frame`, `1 frame`, `12 frames`.
fn per_second(frames: u64, seconds: f64) -> String {
    match (frames as f64 / seconds).round() as u64 {
        0 => "less than 1 frame".to_owned(),
        1 => "1 frame".to_owned(),
        rate => format!("{rate} frames"),
    }
}

/// The command that shows what decided.
fn next(state: &State, reason: DropReason, at: &PortKey) -> String {
    let PortKey::Port(name) = at else {
        return show(at);
    };
    match reason {
        DropReason::ForgedTransmit
        | DropReason::VlanTagNotAllowed
        | DropReason::VlanNotMember
        | DropReason::TooLong => format!("weft policy show {}", quoted(name)),
        DropReason::UnknownUnicast => {
            let port = state.intent.ports.get(name);
            let group = port.and_then(|port| state.intent.portgroups.get(&port.spec.portgroup));
            match group {
                Some(group) => format!("weft fdb list --vswitch {}", quoted(&group.spec.vswitch)),
                None => "weft fdb list".to_owned(),
            }
        }
        DropReason::NoUplink => "weft uplink list".to_owned(),
        _ => show(at),
    }
}

#[cfg(test)]
mod tests;
