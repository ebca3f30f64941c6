//! A list and a table that grow one part at a time, so that no insertion waits until all elements
//! have been moved; and lists of few elements.

use std::hash::{BuildHasher, Hash};
use std::ops::{Index, IndexMut};

use hashbrown::{DefaultHashBuilder, HashTable};

/// Elements of one part of a list.
const PART: usize = 4096;
/// Parts of a table that has more than [`PART`] entries. With a million entries, one part is moved
/// in a fifth of a millisecond.
const PARTS: usize = 256;

/// Adds an element to a list that mostly has one, for which it then has just the room.
pub(crate) fn push_to_few<T>(list: &mut Vec<T>, element: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(element);
}

/// A list whose elements are never moved, except for the first few.
#[derive(Debug)]
pub(crate) struct List<T> {
    /// Parts, all full except the last.
    parts: Vec<Vec<T>>,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { parts: Vec::new() }
    }
}

impl<T> List<T> {
    pub(crate) fn len(&self) -> usize {
        self.parts.last().map_or(0, |last| (self.parts.len() - 1) * PART + last.len())
    }

    pub(crate) fn push(&mut self, element: T) {
        match self.parts.last_mut() {
            Some(last) if last.len() < PART => last.push(element),
            // A short list has only the room that its elements need, as any other list.
            None => self.parts.push(vec![element]),
            Some(_) => {
                let mut part = Vec::with_capacity(PART);
                part.push(element);
                self.parts.push(part);
            }
        }
    }
}

impl<T> Index<usize> for List<T> {
    type Output = T;
    fn index(&self, at: usize) -> &T {
        &self.parts[at / PART][at % PART]
    }
}

impl<T> IndexMut<usize> for List<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.parts[at / PART][at % PART]
    }
}

/// A table of numbers by their keys. It holds no keys: `key_of` gives the key of a number, which
/// stays the same while the table has that number. Beyond [`PART`] entries it has many parts, chosen
/// by a part of the hash; each part grows by itself.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    parts: Vec<HashTable<u32>>,
    len: usize,
    /// The hasher, seeded per process, since clients choose the keys.
    hasher: DefaultHashBuilder,
}

impl Default for Table {
    fn default() -> Table {
        Table::with_capacity(0)
    }
}

impl Table {
    /// An empty table with room for `entries` entries.
    pub(crate) fn with_capacity(entries: usize) -> Table {
        let hasher = DefaultHashBuilder::default();
        let parts = if entries > PART { PARTS } else { 1 };
        let part = |_| HashTable::with_capacity(entries.div_ceil(parts));
        Table { parts: (0..parts).map(part).collect(), len: 0, hasher }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number of the part for a key of this hash. The parts' own tables use the ends of the
    /// hash.
    fn part_of(&self, hash: u64) -> usize {
        (hash >> 32) as usize % self.parts.len()
    }

    pub(crate) fn get<K: Eq + Hash>(&self, key: K, key_of: impl Fn(u32) -> K) -> Option<u32> {
        let hash = self.hasher.hash_one(&key);
        self.parts[self.part_of(hash)].find(hash, |number| key_of(*number) == key).copied()
    }

    /// Adds a number whose key the table does not have.
    pub(crate) fn insert<K: Hash>(&mut self, number: u32, key_of: impl Fn(u32) -> K) {
        if self.len == PART && self.parts.len() == 1 {
            self.split(&key_of);
        }
        self.len += 1;
        self.put(number, &key_of);
    }

    fn put<K: Hash>(&mut self, number: u32, key_of: &impl Fn(u32) -> K) {
        let hash = self.hasher.hash_one(key_of(number));
        let part = self.part_of(hash);
        let Table { parts, hasher, .. } = self;
        parts[part].insert_unique(hash, number, |other| hasher.hash_one(key_of(*other)));
    }

    fn split<K: Hash>(&mut self, key_of: &impl Fn(u32) -> K) {
        let room = 2 * PART / PARTS;
        let parts = (0..PARTS).map(|_| HashTable::with_capacity(room)).collect();
        for number in std::mem::replace(&mut self.parts, parts).into_iter().flatten() {
            self.put(number, key_of);
        }
    }

    /// Removes a number, if it is there.
    pub(crate) fn remove<K: Hash>(&mut self, number: u32, key_of: impl Fn(u32) -> K) {
        let hash = self.hasher.hash_one(key_of(number));
        let part = self.part_of(hash);
        if let Ok(found) = self.parts[part].find_entry(hash, |other| *other == number) {
            found.remove();
            self.len -= 1;
        }
    }

    /// Entries of the fullest part: the number that is moved when it grows.
    #[cfg(test)]
    fn most(&self) -> usize {
        self.parts.iter().map(HashTable::len).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_list_stays_where_it_is_when_more_is_added() {
        let mut list = List::default();
        (0..PART).for_each(|number| list.push(number));
        let first: *const usize = &list[0];
        (PART..10 * PART + 1).for_each(|number| list.push(number));
        assert_eq!((list.len(), std::ptr::from_ref(&list[0])), (10 * PART + 1, first));
        list[PART] += 1;
        assert!((0..list.len()).all(|at| list[at] == at + usize::from(at == PART)));
        assert_eq!(List::<u8>::default().len(), 0);
    }

    #[test]
    fn a_table_has_what_was_added_and_not_removed_at_any_size() {
        for capacity in [0, 3 * PART] {
            let mut table = Table::with_capacity(capacity);
            let key_of = |number: u32| number.wrapping_sub(1);
            for key in 0..3 * PART as u32 {
                table.insert(key + 1, key_of);
                if key % 3 == 1 {
                    table.remove(key + 1, key_of);
                }
            }
            table.remove(u32::MAX, key_of);
            assert_eq!(table.len(), 2 * PART);
            for key in 0..3 * PART as u32 {
                assert_eq!(table.get(key, key_of), (key % 3 != 1).then_some(key + 1));
            }
        }
    }

    #[test]
    fn no_part_of_a_large_table_is_large() {
        let mut table = Table::with_capacity(0);
        (0..100 * PART as u32).for_each(|number| table.insert(number, |number| number));
        assert!(table.most() < PART, "{} entries would be moved at once", table.most());
    }
}
