//! The arithmetic of one side of a ring, apart from where the ring's memory is.

/// How far one side of a ring has come, and how far it may go.
///
/// Both sides of a ring count entries from its beginning in a `u32` that wraps; the low bits of an index are the
/// slot. The producer may go up to the consumer's index plus the size, the consumer up to the producer's index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// Entries in the ring, a power of two.
    size: u32,
    /// The next entry that this side handles.
    own: u32,
    /// The first entry that it must not handle yet. Cached, so that the other side's index, which lives in a cache
    /// line that the other side writes, is read once per burst and not once per entry.
    limit: u32,
}

impl Cursor {
    /// A cursor at `own`, which may not go further until it is granted room.
    ///
    /// # Panics
    /// If `size` is not a power of two.
    pub(super) fn new(size: u32, own: u32) -> Self {
        assert!(
            size.is_power_of_two(),
            "the size of a ring is a power of two"
        );
        Self {
            size,
            own,
            limit: own,
        }
    }

    /// Entries in the ring.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The next entry's index: what the other side is told when everything before it is done.
    pub(super) fn index(&self) -> u32 {
        self.own
    }

    /// How many entries this side may handle as far as it knows.
    pub(super) fn room(&self) -> u32 {
        self.limit.wrapping_sub(self.own)
    }

    /// Moves the limit. One that no correct other side can set (more than a ring's size ahead) is ignored, so that
    /// the ring comes to a halt instead of handing out entries that were never written.
    pub(super) fn grant(&mut self, limit: u32) {
        if limit.wrapping_sub(self.own) <= self.size {
            self.limit = limit;
        }
    }

    /// The slot of the entry `ahead` of the next one.
    pub(super) fn slot(&self, ahead: u32) -> usize {
        (self.own.wrapping_add(ahead) & (self.size - 1)) as usize
    }

    /// Takes the next `count` entries as handled.
    pub(super) fn advance(&mut self, count: u32) {
        debug_assert!(count <= self.room(), "a cursor never passes its limit");
        self.own = self.own.wrapping_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_across_the_wrap() {
        let mut cursor = Cursor::new(8, u32::MAX - 2);
        assert_eq!(cursor.room(), 0);
        cursor.grant(5);
        assert_eq!(cursor.room(), 8);
        assert_eq!((cursor.slot(0), cursor.slot(3)), (5, 0));
        cursor.advance(3);
        assert_eq!((cursor.index(), cursor.room()), (0, 5));
    }

    #[test]
    fn ignores_a_limit_beyond_the_ring() {
        let mut cursor = Cursor::new(8, 100);
        cursor.grant(109);
        assert_eq!(cursor.room(), 0);
        cursor.grant(99);
        assert_eq!(cursor.room(), 0);
    }
}
