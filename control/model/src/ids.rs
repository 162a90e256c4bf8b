//! Numbers for things that have names: dense, and stable for as long as they are held.

use std::collections::BTreeMap;

/// Gives each key the lowest free number.
#[derive(Clone, Debug)]
pub struct IdPool<K> {
    held: BTreeMap<K, u16>,
    /// The holder of each number.
    holders: Vec<Option<K>>,
    limit: usize,
}

impl<K: Ord + Clone> IdPool<K> {
    /// A pool of the numbers below `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            holders: Vec::new(),
            limit: limit.min(usize::from(u16::MAX) + 1),
        }
    }

    /// The key's number, which it keeps until [`IdPool::release`]. `None`: all numbers are held.
    pub fn hold(&mut self, key: K) -> Option<u16> {
        if let Some(&id) = self.held.get(&key) {
            return Some(id);
        }
        let free = self
            .holders
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.holders.len());
        if free >= self.limit {
            return None;
        }
        if free == self.holders.len() {
            self.holders.push(None);
        }
        self.holders[free] = Some(key.clone());
        let id = u16::try_from(free).expect("the limit is at most 65536");
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
    fn numbers_are_lowest_free_and_stable() {
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
    }
}
