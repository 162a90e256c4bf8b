//! The flows of one poll thread, by their keys, in memory of a fixed size.
//!
//! Flows stand side by side in a pool, one cache line each (those of IPv6 have part of their key in another), and an index
//! finds them: a flow is named in one of two sets of eight, by 15 bits of its hash. A set is one cache line. So a look-up reads
//! that line and, as a rule, the one of the flow.

use crate::EndReason;
use crate::key::{Key, LONG, SHORT};

/// Flows that one set names.
const WAYS: usize = 8;

/// Those that could give way to another one, of which so many are looked at.
const CANDIDATES: usize = 8;

/// Nobody's place.
const NOBODY: u32 = u32::MAX;

/// What is known of how often a flow was seen, for who has to give way.
const UNUSED: u8 = 0;
const ONCE: u8 = 1;
const AGAIN: u8 = 2;

/// A flow: the part of its key that every flow has, and what is counted of it since it was last told of.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Flow {
    short: [u64; SHORT],
    pub(super) packets: u32,
    pub(super) octets: u32,
    pub(super) layer2_octets: u32,
    /// Low bits of the time in ms.
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) tcp_flags: u8,
    pub(super) min_ttl: u8,
    pub(super) max_ttl: u8,
    seen: u8,
}

// A million flows take less than 256 MiB: each a line and the rest of its key, its share of the index, which is used to seven tenths,
// and its place among the free ones.
const _: () = {
    let flow = size_of::<Flow>() + size_of::<[u64; LONG]>() + size_of::<u32>();
    assert!(size_of::<Flow>() == 64 && size_of::<Set>() == 64);
    assert!(1_000_000 * (flow + size_of::<Set>() * 10 / 7 / WAYS) < 256 << 20);
};

impl Flow {
    /// Has nothing counted any more.
    pub(super) fn forget(&mut self) {
        *self = Self {
            short: self.short,
            seen: self.seen,
            last: self.last,
            ..Self::default()
        };
    }
}

/// Flows whose hashes have one number, by tag; one that is not used has the tag 0.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Set {
    tags: [u16; WAYS],
    places: [u32; WAYS],
}

impl Set {
    const EMPTY: Self = Self {
        tags: [0; WAYS],
        places: [NOBODY; WAYS],
    };

    /// The ways that have a tag, as bits.
    #[inline]
    fn matching(&self, tag: u16) -> u8 {
        (0..WAYS).fold(0, |bits, way| bits | u8::from(self.tags[way] == tag) << way)
    }
}

/// Where a key may be named, and by which tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    set: u32,
    other: u32,
    tag: u16,
}

pub(super) struct Table {
    sets: Box<[Set]>,
    flows: Box<[Flow]>,
    /// The rest of the keys, by place.
    long: Box<[[u64; LONG]]>,
    /// Places that nobody has.
    free: Vec<u32>,
    /// Places from here on were never used, or are not any more.
    top: usize,
    /// Who is asked first to give way; any number will do.
    turn: u32,
    seed: u64,
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

impl Table {
    /// A table with room for `flows`.
    pub(super) fn new(flows: usize, seed: u64) -> Self {
        let flows = flows.clamp(WAYS, NOBODY as usize);
        // With two choices hardly any set is full up to seven names in ten.
        let sets = (flows * 10 / 7).div_ceil(WAYS).max(2);
        Self {
            sets: vec![Set::EMPTY; sets].into(),
            flows: vec![Flow::default(); flows].into(),
            long: vec![[0; LONG]; flows].into(),
            // The last one goes first.
            free: (0..flows as u32).rev().collect(),
            top: 0,
            turn: 0,
            seed,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// Places that may be used.
    pub(super) fn top(&self) -> usize {
        self.top
    }

    #[inline]
    pub(super) fn spot(&self, key: &Key) -> Spot {
        let hash = key.hash(self.seed);
        let sets = self.sets.len() as u64;
        let of = |number: u64| (((number >> 32) * sets) >> 32) as u32;
        Spot {
            set: of(hash),
            other: of(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            tag: (hash as u16).max(1),
        }
    }

    /// What is read first of a key.
    #[inline]
    pub(super) fn set_at(&self, spot: &Spot) -> *const u8 {
        (&raw const self.sets[spot.set as usize]).cast()
    }

    /// What is read next, where the key is likely to be.
    #[inline]
    pub(super) fn flow_at(&self, spot: &Spot) -> Option<*const u8> {
        let set = &self.sets[spot.set as usize];
        let matching = set.matching(spot.tag);
        if matching == 0 {
            return None;
        }
        let place = set.places[matching.trailing_zeros() as usize & (WAYS - 1)];
        Some((&raw const self.flows[place as usize]).cast())
    }

    /// The place of a key that is named in a set.
    #[inline]
    fn find(&self, set: u32, spot: &Spot, key: &Key) -> Option<u32> {
        let set = &self.sets[set as usize];
        let mut matching = set.matching(spot.tag);
        while matching != 0 {
            let place = set.places[matching.trailing_zeros() as usize & (WAYS - 1)];
            if key.has_short(&self.flows[place as usize].short)
                && (!key.is_long() || self.long[place as usize] == key.long)
            {
                return Some(place);
            }
            matching &= matching - 1;
        }
        None
    }

    /// The flow of a key, which is made if there is none.
    #[inline]
    pub(super) fn flow(&mut self, spot: &Spot, key: &Key) -> Found<'_> {
        let place = self.find(spot.set, spot, key);
        match place.or_else(|| self.find(spot.other, spot, key)) {
            Some(place) => {
                let flow = &mut self.flows[place as usize];
                flow.seen = AGAIN;
                Found::Known(flow)
            }
            None => self.make(spot, key),
        }
    }

    #[inline(never)]
    fn make(&mut self, spot: &Spot, key: &Key) -> Found<'_> {
        let free = |set: u32| self.sets[set as usize].matching(0);
        // The other set is asked later, so it takes those for whom the first gets full.
        let (first, second) = (free(spot.set), free(spot.other));
        let is_full =
            first.count_ones() < WAYS as u32 / 2 && second.count_ones() > first.count_ones();
        let (set, ways) = if is_full {
            (spot.other, second)
        } else {
            (spot.set, first)
        };
        if ways != 0
            && let Some(place) = self.free.pop()
        {
            self.name(set, ways.trailing_zeros() as usize, place, spot, key);
            self.top = self.top.max(place as usize + 1);
            return Found::New(&mut self.flows[place as usize]);
        }
        let (set, way) = self.victim(spot);
        let place = self.sets[set as usize].places[way];
        let (gone, before) = (self.key(place), self.flows[place as usize]);
        // Where there is a way to spare, it is another's that is freed.
        if ways != 0 {
            self.sets[set as usize].tags[way] = 0;
            self.name(
                if is_full { spot.other } else { spot.set },
                ways.trailing_zeros() as usize,
                place,
                spot,
                key,
            );
        } else {
            self.name(set, way, place, spot, key);
        }
        Found::Instead(&mut self.flows[place as usize], gone, before)
    }

    /// Who has to give way: one that was seen once, among the first that are asked, or the last of them.
    fn victim(&mut self, spot: &Spot) -> (u32, usize) {
        self.turn = self.turn.wrapping_mul(0x915f_77f5).wrapping_add(1);
        let turn = (self.turn >> 16) as usize;
        let mut asked = 0;
        let mut last = None;
        for number in 0..2 * WAYS {
            let number = (turn + number) % (2 * WAYS);
            let (set, way) = ([spot.set, spot.other][number / WAYS], number % WAYS);
            let names = &self.sets[set as usize];
            if names.tags[way] == 0 {
                continue;
            }
            last = Some((set, way));
            asked += 1;
            if self.flows[names.places[way] as usize].seen == ONCE || asked == CANDIDATES {
                break;
            }
        }
        last.unwrap_or_else(|| self.anybody(turn))
    }

    /// Somebody of the pool, where neither set of a key names anybody.
    #[cold]
    fn anybody(&self, turn: usize) -> (u32, usize) {
        // All places are in use.
        let place = (turn * 7919 % self.flows.len()) as u32;
        self.named(place).unwrap_or((0, 0))
    }

    /// Where a place that is in use is named.
    fn named(&self, place: u32) -> Option<(u32, usize)> {
        let spot = self.spot(&self.key(place));
        [spot.set, spot.other].into_iter().find_map(|set| {
            let names = &self.sets[set as usize];
            let is_it = |way: &usize| names.tags[*way] != 0 && names.places[*way] == place;
            (0..WAYS).find(is_it).map(|way| (set, way))
        })
    }

    /// The key of a place that is in use.
    fn key(&self, place: u32) -> Key {
        let mut key = Key {
            short: self.flows[place as usize].short,
            long: [0; LONG],
        };
        if key.is_long() {
            key.long = self.long[place as usize];
        }
        key
    }

    /// Has a set name a place, which has nothing counted yet.
    fn name(&mut self, set: u32, way: usize, place: u32, spot: &Spot, key: &Key) {
        let names = &mut self.sets[set as usize];
        names.tags[way] = spot.tag;
        names.places[way] = place;
        self.flows[place as usize] = Flow {
            short: key.short,
            seen: ONCE,
            ..Flow::default()
        };
        if key.is_long() {
            self.long[place as usize] = key.long;
        }
    }

    /// Looks at the flow of a place, if there is one: `decide` tells why a record of it is to be made, and `end` makes it.
    #[inline]
    pub(super) fn look(
        &mut self,
        place: usize,
        decide: impl FnOnce(&Key, &Flow) -> Option<EndReason>,
        end: impl FnOnce(Key, &Flow, EndReason),
    ) {
        let Some(flow) = self.flows.get_mut(place).filter(|flow| flow.seen != UNUSED) else {
            return;
        };
        // Which ports it passes stands in the part that every key has.
        let key = Key {
            short: flow.short,
            long: [0; LONG],
        };
        match decide(&key, flow) {
            None => flow.seen = ONCE,
            Some(reason) => self.end(place, reason, end),
        }
    }

    fn end(&mut self, place: usize, reason: EndReason, end: impl FnOnce(Key, &Flow, EndReason)) {
        let flow = &self.flows[place];
        if flow.packets > 0 {
            end(self.key(place as u32), flow, reason);
        }
        if reason == EndReason::Active {
            // One that goes on is likely to go on further.
            self.flows[place].forget();
            return;
        }
        if let Some((set, way)) = self.named(place as u32) {
            self.sets[set as usize].tags[way] = 0;
        }
        self.flows[place].seen = UNUSED;
        self.free.push(place as u32);
        while self.top > 0 && self.flows[self.top - 1].seen == UNUSED {
            self.top -= 1;
        }
    }

    /// Shows the flow of a place, if there is one.
    pub(super) fn show(&self, place: usize, show: impl FnOnce(Key, &Flow)) {
        if let Some(flow) = self.flows.get(place).filter(|flow| flow.seen != UNUSED) {
            show(self.key(place as u32), flow);
        }
    }
}
