//! The flows of one poll thread, by their keys, in memory of a fixed size.
//!
//! A flow lies in one of two sets of eight, one cache line a flow (those of IPv6 have part of their key in another). An index has 15
//! bits of the hash of each: it is small enough to stay in the processor's cache, so that a look-up waits for the flow alone.

use super::flow::{AGAIN, Flow, ONCE, Time};
use super::set::{Set, WAYS, Ways};
use crate::EndReason;
use crate::key::{Key, LONG, Secret};

/// Those that could give way to another one, of which so many are looked at.
const CANDIDATES: usize = 8;

/// No place.
const NOWHERE: u32 = u32::MAX;

/// Most sets of a table.
const MOST_SETS: usize = NOWHERE as usize / WAYS;

// A million flows take less than 256 MiB, where seven places in ten are used: each a line, the rest of its key and its tag, and
// the time of its set.
const _: () = {
    let flow = size_of::<Flow>() + size_of::<[u64; LONG]>() + size_of::<u16>() + 1;
    assert!(size_of::<Flow>() == 64 && size_of::<Set>() == 16);
    assert!(1_000_000 * flow * 10 / 7 < 256 << 20);
};

/// Where a key may lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    hash: u64,
    /// Where its flow was likely to lie when it was looked up.
    place: u32,
}

impl Spot {
    #[inline(always)]
    const fn tag(&self) -> u16 {
        let tag = self.hash as u16;
        if tag == 0 { 1 } else { tag }
    }

    /// Who is asked first to give way to it.
    const fn turn(&self) -> usize {
        (self.hash >> 16) as usize % WAYS
    }
}

pub(super) struct Table {
    sets: Box<[Set]>,
    flows: Box<[Flow]>,
    /// Before this time no record is to be made of a flow of the set, but for its ports; of one without flows it says nothing.
    due: Box<[Time]>,
    /// The rest of the keys, by place.
    long: Box<[[u64; LONG]]>,
    /// Flows that there are, and that there may be.
    len: usize,
    most: usize,
    secret: Secret,
}

/// A key's flow.
pub(super) enum Found<'a> {
    /// It is there.
    Known(&'a mut Flow),
    /// It is there from now on, with nothing counted yet.
    New(&'a mut Flow),
    /// The same, and another one had to go.
    Instead(&'a mut Flow, Key, Flow),
}

/// Memory that is written here, so that the first packets do not wait for the kernel to find it.
fn filled<T: Copy>(len: usize, value: T, prepare: impl Fn(*const u8, usize)) -> Box<[T]> {
    let mut all = Vec::<T>::with_capacity(len);
    prepare(all.as_ptr().cast(), len * size_of::<T>());
    all.resize(len, value);
    all.into()
}

impl Table {
    /// A table with room for `flows`. `prepare` is told of memory, by address and octets, before it is first written.
    pub(super) fn new(flows: usize, seed: u64, prepare: impl Fn(*const u8, usize)) -> Self {
        let most = flows.max(1);
        // With two choices hardly any set is full while seven places in ten are used.
        let sets = (most.saturating_mul(10) / 7)
            .div_ceil(WAYS)
            .clamp(2, MOST_SETS);
        Self {
            sets: filled(sets, Set::default(), &prepare),
            flows: filled(sets * WAYS, Flow::default(), &prepare),
            due: filled(sets, Time::default(), &prepare),
            long: filled(sets * WAYS, [0; LONG], &prepare),
            len: 0,
            most,
            secret: Secret::new(seed),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn sets(&self) -> usize {
        self.sets.len()
    }

    #[inline(always)]
    pub(super) fn spot(&self, key: &Key) -> Spot {
        Spot {
            hash: key.hash(&self.secret),
            place: NOWHERE,
        }
    }

    /// The set that the upper half of a hash stands for.
    #[inline(always)]
    fn set_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.sets.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn first_set(&self, spot: &Spot) -> usize {
        self.set_of(spot.hash)
    }

    #[inline(always)]
    fn other_set(&self, spot: &Spot) -> usize {
        self.set_of(spot.hash.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// What is read first of a key.
    #[inline(always)]
    pub(super) fn set_at(&self, spot: &Spot) -> *const u8 {
        (&raw const self.sets[self.first_set(spot)]).cast()
    }

    /// Notes where the flow of a key is likely to lie. Returns what is read there, or written where it is a new one.
    #[inline(always)]
    pub(super) fn look_up(&self, spot: &mut Spot) -> Option<*const u8> {
        let place = self
            .likely(self.first_set(spot), spot)
            .or_else(|| self.likely(self.other_set(spot), spot));
        let place = match place {
            Some(place) => {
                spot.place = place as u32;
                place
            }
            None => self.place_for(spot),
        };
        let flow = self.flows.get(place)?;
        Some(std::ptr::from_ref(flow).cast())
    }

    /// Where a new flow is likely to be put.
    #[inline(never)]
    fn place_for(&self, spot: &Spot) -> usize {
        let (set, free) = self.set_for(spot);
        let way = if free == Ways::NONE || self.len >= self.most {
            spot.turn() % WAYS
        } else {
            free.first()
        };
        set * WAYS + way
    }

    /// The set that a new flow is put in, and what is free there.
    #[inline(always)]
    fn set_for(&self, spot: &Spot) -> (usize, Ways) {
        let (first_set, other_set) = (self.first_set(spot), self.other_set(spot));
        let first = self.sets[first_set].matching(0);
        if first.count() > 1 {
            return (first_set, first);
        }
        // The other set is read later, so it has those for whom the first gets full: one in fourteen while seven places in ten are
        // used. Fewer than one in a thousand finds both full.
        let other = self.sets[other_set].matching(0);
        if other.count() > first.count() {
            (other_set, other)
        } else {
            (first_set, first)
        }
    }

    /// The first place in a set that has the tag.
    #[inline(always)]
    fn likely(&self, set: usize, spot: &Spot) -> Option<usize> {
        let matching = self.sets[set].matching(spot.tag());
        (matching != Ways::NONE).then(|| set * WAYS + matching.first())
    }

    /// The place of a key in a set.
    #[inline]
    fn find(&self, set: usize, spot: &Spot, key: &Key) -> Option<usize> {
        let mut matching = self.sets[set].matching(spot.tag());
        while matching != Ways::NONE {
            let place = set * WAYS + matching.first();
            if key.has_short(&self.flows[place].short)
                && (!key.is_long() || self.long[place] == key.long)
            {
                return Some(place);
            }
            matching = matching.without_first();
        }
        None
    }

    /// The place of a key's flow, if it is that where it was looked up. Since then, none has ended.
    #[inline(always)]
    pub(super) fn known(&self, spot: &Spot, key: &Key) -> Option<usize> {
        let place = spot.place as usize;
        let flow = self.flows.get(place)?;
        (key.has_short(&flow.short) && !key.is_long()).then_some(place)
    }

    /// A flow that is there, which was seen again.
    #[inline(always)]
    pub(super) fn flow_at(&mut self, place: usize) -> &mut Flow {
        let flow = &mut self.flows[place];
        flow.seen = AGAIN;
        flow
    }

    /// The flow of a key, which is made if there is none: before `due` no record of it is to be made.
    #[inline(never)]
    pub(super) fn flow(&mut self, spot: &Spot, key: &Key, due: Time) -> Found<'_> {
        let place = self.find(self.first_set(spot), spot, key);
        match place.or_else(|| self.find(self.other_set(spot), spot, key)) {
            Some(place) => Found::Known(self.flow_at(place)),
            None => self.make(spot, key, due),
        }
    }

    fn make(&mut self, spot: &Spot, key: &Key, due: Time) -> Found<'_> {
        let (set, free) = self.set_for(spot);
        if free != Ways::NONE && self.len < self.most {
            self.len += 1;
            return Found::New(self.put(set * WAYS + free.first(), spot, key, due));
        }
        let Some(place) = self.victim(set, spot) else {
            // Beyond the room that was asked for, where neither set has a flow that could go.
            self.len += 1;
            return Found::New(self.put(set * WAYS, spot, key, due));
        };
        let (gone, before) = (self.key(place), self.flows[place]);
        Found::Instead(self.put(place, spot, key, due), gone, before)
    }

    /// Has a flow lie at a place, with nothing counted yet.
    fn put(&mut self, place: usize, spot: &Spot, key: &Key, due: Time) -> &mut Flow {
        let set = place / WAYS;
        self.due[set] = if self.sets[set].is_empty() {
            due
        } else {
            self.due[set].or_earlier(due)
        };
        self.sets[set].set_tag(place % WAYS, spot.tag());
        if key.is_long() {
            self.long[place] = key.long;
        }
        let flow = &mut self.flows[place];
        *flow = Flow {
            short: key.short,
            seen: ONCE,
            ..Flow::default()
        };
        flow
    }

    /// Who has to give way: one that was seen once, among the first that are asked, or the last of them. First asked is where
    /// [`Self::place_for`] has told of it.
    fn victim(&self, set: usize, spot: &Spot) -> Option<usize> {
        let (first, other) = (self.first_set(spot), self.other_set(spot));
        let sets = if set == first {
            [first, other]
        } else {
            [other, first]
        };
        let mut asked = 0;
        let mut last = None;
        for (set, way) in sets
            .into_iter()
            .flat_map(|set| (0..WAYS).map(move |way| (set, way)))
        {
            let way = (spot.turn() + way) % WAYS;
            if self.sets[set].tag(way) == 0 {
                continue;
            }
            let place = set * WAYS + way;
            last = Some(place);
            asked += 1;
            if self.flows[place].seen == ONCE || asked == CANDIDATES {
                break;
            }
        }
        last
    }

    /// The key of a place that is in use.
    fn key(&self, place: usize) -> Key {
        let mut key = Key {
            short: self.flows[place].short,
            long: [0; LONG],
        };
        if key.is_long() {
            key.long = self.long[place];
        }
        key
    }

    /// The places of a set that are in use.
    fn used(&self, set: usize) -> impl Iterator<Item = usize> + use<> {
        let tags = self.sets.get(set).copied().unwrap_or_default();
        let ways = (0..WAYS).filter(move |&way| tags.tag(way) != 0);
        ways.map(move |way| set * WAYS + way)
    }

    /// Has a record of the flow of a key be made at this time, if it is to be made.
    #[cold]
    pub(super) fn hasten(&mut self, spot: &Spot, due: Time) {
        for set in [self.first_set(spot), self.other_set(spot)] {
            self.due[set] = self.due[set].or_earlier(due);
        }
    }

    /// Looks at the flows of a set, if something is due or is to be for another reason: `decide` tells why a record of one is to be
    /// made, or until when none is, and `end` makes it.
    #[inline]
    pub(super) fn look(
        &mut self,
        set: usize,
        now: Time,
        is_urgent: bool,
        decide: impl Fn(&Key, &Flow) -> Result<EndReason, Time>,
        mut end: impl FnMut(Key, &Flow, EndReason),
    ) {
        if !is_urgent && now.is_before(self.due[set]) {
            return;
        }
        let mut next = None::<Time>;
        for place in self.used(set) {
            let flow = &mut self.flows[place];
            // Which ports it passes stands in the part that every key has.
            let key = Key {
                short: flow.short,
                long: [0; LONG],
            };
            flow.seen = ONCE;
            let mut decision = decide(&key, flow);
            if let Ok(reason) = decision {
                if flow.packets > 0 {
                    end(self.key(place), &self.flows[place], reason);
                }
                if reason == EndReason::Active {
                    // One that goes on is likely to go on further.
                    let flow = &mut self.flows[place];
                    flow.forget();
                    decision = decide(&key, flow);
                }
            }
            match decision {
                Err(due) => next = Some(next.map_or(due, |next| next.or_earlier(due))),
                Ok(_) => {
                    self.sets[set].set_tag(place % WAYS, 0);
                    self.len -= 1;
                }
            }
        }
        if let Some(next) = next {
            self.due[set] = next;
        }
    }

    /// Shows the flows of a set.
    pub(super) fn show(&self, set: usize, mut show: impl FnMut(Key, &Flow)) {
        for place in self.used(set) {
            show(self.key(place), &self.flows[place]);
        }
    }
}
