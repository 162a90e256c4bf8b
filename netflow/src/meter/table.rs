//! The flows of one poll thread, by their keys, in memory of a fixed size.
//!
//! A flow is in one of two sets of eight places; a set's tags, 15 bits of the hash each, stand side by side in a quarter of a
//! cache line, so that a look-up reads that and, as a rule, the one place that it asks for.

use crate::key::Key;

/// Places of one set.
pub(super) const WAYS: usize = 8;

/// The flow was seen again since it was last looked at.
const SEEN_AGAIN: u16 = 0x8000;

/// What is counted of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) packets: u64,
    pub(super) octets: u64,
    pub(super) layer2_octets: u64,
    /// Monotonic, ms.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) tcp_flags: u8,
    pub(super) min_ttl: u8,
    pub(super) max_ttl: u8,
}

/// A place of the table: two cache lines.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Place {
    pub(super) key: Key,
    pub(super) state: State,
}

/// By place, the tag of the flow that is there; 0 for none.
#[derive(Clone, Copy, Default)]
#[repr(align(16))]
struct Tags([u16; WAYS]);

impl Tags {
    /// The places that hold a tag, as bits.
    #[inline]
    fn matching(&self, tag: u16) -> u8 {
        self.bits(|other| other & !SEEN_AGAIN == tag)
    }

    #[inline]
    fn bits(&self, holds: impl Fn(u16) -> bool) -> u8 {
        (0..WAYS).fold(0, |bits, way| bits | u8::from(holds(self.0[way])) << way)
    }
}

/// Where a key may be, and by which tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    set: u32,
    other: u32,
    tag: u16,
}

pub(super) struct Table {
    tags: Box<[Tags]>,
    places: Box<[Place]>,
    used: usize,
    /// Decides who gives way; any number will do.
    turn: u32,
}

/// A key's place.
pub(super) enum Found<'a> {
    /// It is there.
    Known(&'a mut Place),
    /// It is there from now on, with nothing counted yet.
    New(&'a mut Place),
    /// The same, and what was there before had to go.
    Instead(&'a mut Place, Place),
}

impl Table {
    /// A table with room for `flows`. Of so many, one in some thousands may find both its sets full.
    pub(super) fn new(flows: usize) -> Self {
        // Two choices leave hardly any set full up to seven places in ten.
        let sets = (flows.saturating_mul(10) / 7)
            .div_ceil(WAYS)
            .clamp(2, u32::MAX as usize / WAYS);
        Self {
            tags: vec![Tags::default(); sets].into(),
            places: vec![Place::default(); sets * WAYS].into(),
            used: 0,
            turn: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn sets(&self) -> usize {
        self.tags.len()
    }

    #[inline]
    pub(super) fn spot(&self, hash: u64) -> Spot {
        let sets = self.tags.len() as u64;
        let of = |number: u64| (((number >> 32) * sets) >> 32) as u32;
        Spot {
            set: of(hash),
            other: of(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            tag: (hash as u16 & !SEEN_AGAIN).max(1),
        }
    }

    /// What is read first of a key's place.
    #[inline]
    pub(super) fn tags_at(&self, spot: &Spot) -> *const u8 {
        (&raw const self.tags[spot.set as usize]).cast()
    }

    /// What is read next, where the key is likely to be.
    #[inline]
    pub(super) fn place_at(&self, spot: &Spot) -> Option<*const u8> {
        let matching = self.tags[spot.set as usize].matching(spot.tag);
        if matching == 0 {
            return None;
        }
        let place = spot.set as usize * WAYS + matching.trailing_zeros() as usize;
        Some((&raw const self.places[place]).cast())
    }

    #[inline]
    fn find(&self, set: u32, spot: &Spot, key: &Key) -> Option<usize> {
        let mut matching = self.tags[set as usize].matching(spot.tag);
        while matching != 0 {
            let place = set as usize * WAYS + matching.trailing_zeros() as usize;
            if self.places[place].key == *key {
                return Some(place);
            }
            matching &= matching - 1;
        }
        None
    }

    /// The place of a key, which is made if there is none.
    #[inline]
    pub(super) fn place(&mut self, spot: &Spot, key: &Key) -> Found<'_> {
        let place = self.find(spot.set, spot, key);
        let place = place.or_else(|| self.find(spot.other, spot, key));
        match place {
            Some(place) => {
                let tag = &mut self.tags[place / WAYS].0[place % WAYS];
                // Most are marked already: their line stays clean.
                if *tag & SEEN_AGAIN == 0 {
                    *tag |= SEEN_AGAIN;
                }
                Found::Known(&mut self.places[place])
            }
            None => self.make(spot, key),
        }
    }

    #[inline(never)]
    fn make(&mut self, spot: &Spot, key: &Key) -> Found<'_> {
        let free = |set: u32| self.tags[set as usize].matching(0);
        // The other set is asked later, so it takes those for whom the first gets full.
        let (first, second) = (free(spot.set), free(spot.other));
        let is_full =
            first.count_ones() < WAYS as u32 / 2 && second.count_ones() > first.count_ones();
        let (set, free) = if is_full {
            (spot.other, second)
        } else {
            (spot.set, first)
        };
        if free != 0 {
            let place = self.put(set, free.trailing_zeros() as usize, spot, key);
            self.used += 1;
            return Found::New(&mut self.places[place]);
        }
        // Who was seen once goes before who was seen again, and nobody goes always.
        self.turn = self.turn.wrapping_mul(0x915f_77f5).wrapping_add(1);
        let turn = self.turn >> 16;
        let sets = if turn & 8 == 0 {
            [spot.set, spot.other]
        } else {
            [spot.other, spot.set]
        };
        let once = |set: u32| self.tags[set as usize].bits(|tag| tag & SEEN_AGAIN == 0);
        let (set, candidates) = match sets.map(once) {
            [0, 0] => (sets[0], u8::MAX),
            [0, candidates] => (sets[1], candidates),
            [candidates, _] => (sets[0], candidates),
        };
        let way = nth_from(candidates, turn & 7);
        let before = self.places[set as usize * WAYS + way];
        let place = self.put(set, way, spot, key);
        Found::Instead(&mut self.places[place], before)
    }

    fn put(&mut self, set: u32, way: usize, spot: &Spot, key: &Key) -> usize {
        let place = set as usize * WAYS + way;
        self.tags[set as usize].0[way] = spot.tag;
        self.places[place] = Place {
            key: *key,
            state: State::default(),
        };
        place
    }

    /// Shows every flow of a set.
    pub(super) fn show(&self, set: usize, mut show: impl FnMut(&Place)) {
        let used = !self.tags[set].matching(0);
        for way in (0..WAYS).filter(|way| used >> way & 1 != 0) {
            show(&self.places[set * WAYS + way]);
        }
    }

    /// Looks at every flow of a set: `stays` tells whether it does.
    pub(super) fn sweep(&mut self, set: usize, mut stays: impl FnMut(&mut Place) -> bool) {
        let tags = &mut self.tags[set];
        let used = !tags.matching(0);
        if used == 0 {
            return;
        }
        for way in (0..WAYS).filter(|way| used >> way & 1 != 0) {
            if stays(&mut self.places[set * WAYS + way]) {
                tags.0[way] &= !SEEN_AGAIN;
            } else {
                tags.0[way] = 0;
                self.used -= 1;
            }
        }
    }
}

/// The first bit that is set from this one on, around the corner.
fn nth_from(bits: u8, first: u32) -> usize {
    ((bits.rotate_right(first).trailing_zeros() + first) % u8::BITS) as usize
}
