//! Which of the flows that may lie in a set do.

/// Flows of one set.
pub(super) const WAYS: usize = 8;

/// The tags of a set's flows, 16 bits each; that of a place that is free is 0.
#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
pub(super) struct Set([u64; 2]);

impl Set {
    /// The ways that have a tag.
    #[inline(always)]
    pub(super) fn matching(&self, tag: u16) -> Ways {
        const LOW: u64 = 0x7fff_7fff_7fff_7fff;
        // The highest bit of each tag that is this one: adding carries into it from any other bit that differs.
        let [low, high] = self.0.map(|tags| {
            let differs = tags ^ (u64::from(tag) * 0x0001_0001_0001_0001);
            !(((differs & LOW) + LOW) | differs | LOW)
        });
        Ways((low >> 15) | (high >> 7))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0[0] | self.0[1] == 0
    }

    pub(super) fn tag(&self, way: usize) -> u16 {
        (self.0[way / 4] >> (way % 4 * 16)) as u16
    }

    pub(super) fn set_tag(&mut self, way: usize, tag: u16) {
        let (tags, at) = (&mut self.0[way / 4], way % 4 * 16);
        *tags = (*tags & !(0xffff << at)) | (u64::from(tag) << at);
    }
}

/// Ways of a set, as bits: the first four 16 apart, the others 8 behind them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ways(u64);

impl Ways {
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    pub(super) const fn first(self) -> usize {
        let bit = self.0.trailing_zeros() as usize;
        (bit / 16) % 4 + (bit / 8) % 2 * 4
    }

    #[inline(always)]
    pub(super) const fn without_first(self) -> Self {
        Self(self.0 & self.0.wrapping_sub(1))
    }

    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_where_it_is_and_nowhere_else() {
        let mut set = Set::default();
        for (way, tag) in [1, 0x8000, 0xffff, 0x7fff, 1, 0x8001, 0xfffe, 2]
            .into_iter()
            .enumerate()
        {
            set.set_tag(way, tag);
        }
        for tag in 0..=u16::MAX {
            let mut matching = set.matching(tag);
            let mut found = Vec::new();
            while matching != Ways::NONE {
                found.push(matching.first());
                matching = matching.without_first();
            }
            found.sort_unstable();
            let expected: Vec<_> = (0..WAYS).filter(|&way| set.tag(way) == tag).collect();
            assert_eq!(found, expected, "{tag:#x}");
        }
        set.set_tag(5, 0);
        assert_eq!(set.matching(0).first(), 5);
    }
}
