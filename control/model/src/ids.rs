//! Numbers for things that have names: dense, and stable for as long as they are held.

use std::collections::{BTreeMap, VecDeque};

/// So many numbers are given back, while there are others, before the first of them is given to somebody else: what still speaks of
/// who held it, as records of flows do, is not taken for the next one's.
const SPARE: usize = 1024;

/// Gives each key a number: the next one, or one that was given back long ago.
#[derive(Clone, Debug)]
pub struct IdPool<K> {
    held: BTreeMap<K, u16>,
    /// The holder of each number.
    holders: Vec<Option<K>>,
    /// Numbers that were given back, the latest last.
    free: VecDeque<u16>,
    limit: usize,
}

impl<K: Ord + Clone> IdPool<K> {
    /// A pool of the numbers below `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            holders: Vec::new(),
            free: VecDeque::new(),
            limit: limit.min(usize::from(u16::MAX) + 1),
        }
    }

    /// The key's number, which it keeps until [`IdPool::release`]. `None`: all numbers are held.
    pub fn hold(&mut self, key: K) -> Option<u16> {
        if let Some(&id) = self.held.get(&key) {
            return Some(id);
        }
        let is_full = self.holders.len() >= self.limit;
        let id = if is_full || self.free.len() > SPARE {
            self.free.pop_front()?
        } else {
            self.holders.push(None);
            u16::try_from(self.holders.len() - 1).expect("the limit is at most 65536")
        };
        self.holders[usize::from(id)] = Some(key.clone());
        self.held.insert(key, id);
        Some(id)
    }

    /// The key's number, if it holds one.
    pub fn of(&self, key: &K) -> Option<u16> {
        self.held.get(key).copied()
    }

    /// Who holds a number.
    pub fn holder(&self, id: u16) -> Option<&K> {
        self.holders.get(usize::from(id))?.as_ref()
    }

    /// Gives the key's number back, and returns it.
    pub fn release(&mut self, key: &K) -> Option<u16> {
        let id = self.held.remove(key)?;
        self.holders[usize::from(id)] = None;
        self.free.push_back(id);
        Some(id)
    }

    /// Every key that holds a number.
    pub fn iter(&self) -> impl Iterator<Item = (&K, u16)> {
        self.held.iter().map(|(key, id)| (key, *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_stable() {
        let mut pool = IdPool::new(3);
        assert_eq!(
            [pool.hold("a"), pool.hold("b"), pool.hold("c")],
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(pool.hold("d"), None);
        assert_eq!(pool.release(&"b"), Some(1));
        assert_eq!(pool.release(&"b"), None);
        assert_eq!(
            (pool.hold("d"), pool.hold("a"), pool.of(&"b")),
            (Some(1), Some(0), None)
        );
        assert_eq!((pool.holder(1), pool.holder(3)), (Some(&"d"), None));
    }

    #[test]
    fn a_number_is_not_given_to_another_at_once() {
        let mut pool = IdPool::new(8192);
        assert_eq!(pool.hold(0), Some(0));
        // Whoever comes and goes leaves as many free as are spared, and no more.
        let given: Vec<_> = (1..5000)
            .map(|key| {
                pool.release(&(key - 1));
                pool.hold(key).unwrap()
            })
            .collect();
        let most = u16::try_from(SPARE).unwrap();
        assert_eq!(given[..usize::from(most)], *(1..=most).collect::<Vec<_>>());
        assert_eq!(
            given[usize::from(most)],
            0,
            "the one that was given back first"
        );
        assert_eq!(given.iter().max(), Some(&most));
    }
}
