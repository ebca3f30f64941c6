//! Rows: the members of a ranking, in its order.
//!
//! They stand in blocks, each sorted, one after the other. A row is found by two binary searches,
//! and put in or taken out by moving the rest of its block. Members that are equal in the order
//! come by name, which only the table of names knows; so this is no `BTreeSet`.

use std::cmp::Ordering;

use halfping_shape::SortKey;

use crate::tree::key::{KeyId, Keys};

/// Rows beyond which a block is cut into two.
const BLOCK_MAX: usize = 128;
/// Rows up to which two neighbours become one block.
const JOINED_MAX: usize = BLOCK_MAX / 2;

/// A member's place in the order.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) key: SortKey,
    pub(crate) name: KeyId,
    /// The first bytes of the name, which tell most names apart.
    head: u32,
}

const _: () = assert!(std::mem::size_of::<Row>() == 32);

/// Rows in order.
#[derive(Default)]
pub(crate) struct Rows {
    /// None of them is empty.
    blocks: Vec<Block>,
    len: usize,
}

/// Some rows in order.
struct Block {
    /// The last of them, which a search for a block looks at.
    last: Row,
    rows: Vec<Row>,
}

impl Block {
    /// A block of these; `None` if there are none.
    fn new(rows: Vec<Row>) -> Option<Block> {
        Some(Block { last: rows.last()?.clone(), rows })
    }

    /// Changes its rows. False if none are left.
    fn edit(&mut self, edit: impl FnOnce(&mut Vec<Row>)) -> bool {
        edit(&mut self.rows);
        self.rows.last().map(|last| self.last = last.clone()).is_some()
    }
}

impl Row {
    pub(crate) fn new(keys: &Keys, key: SortKey, name: KeyId) -> Row {
        let mut head = [0; 4];
        head.iter_mut().zip(keys.bytes(name)).for_each(|(to, byte)| *to = *byte);
        Row { key, name, head: u32::from_be_bytes(head) }
    }

    #[inline]
    pub(crate) fn compare(&self, other: &Row, keys: &Keys) -> Ordering {
        match self.key.cmp(&other.key) {
            Ordering::Equal => self.compare_names(other, keys),
            unequal => unequal,
        }
    }

    /// Not inlined: most rows differ before it comes to that.
    #[inline(never)]
    fn compare_names(&self, other: &Row, keys: &Keys) -> Ordering {
        let by_name = || match self.name == other.name {
            true => Ordering::Equal,
            false => keys.bytes(self.name).cmp(keys.bytes(other.name)),
        };
        self.head.cmp(&other.head).then_with(by_name)
    }
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts a row in that is not there.
    pub(crate) fn insert(&mut self, keys: &Keys, row: Row) {
        self.len += 1;
        let (mut at, mut place) = self.place(keys, &row, Ordering::Less);
        if at == self.blocks.len() {
            // Behind all others it goes into the last block.
            let Some(last) = self.blocks.last() else {
                self.blocks.extend(Block::new(vec![row]));
                return;
            };
            (at, place) = (at - 1, last.rows.len());
        }
        let block = &mut self.blocks[at];
        block.edit(|rows| rows.insert(place, row));
        if block.rows.len() > BLOCK_MAX {
            let mut rest = Vec::new();
            block.edit(|rows| {
                rest = rows.split_off(BLOCK_MAX / 2);
                rows.shrink_to_fit();
            });
            let at = at + 1;
            self.blocks.splice(at..at, Block::new(rest));
        }
    }

    /// Takes a row out. False if it is not there.
    pub(crate) fn remove(&mut self, keys: &Keys, row: &Row) -> bool {
        let (at, place) = self.place(keys, row, Ordering::Less);
        let found = self.blocks.get(at).and_then(|block| block.rows.get(place));
        if found.is_none_or(|found| found.compare(row, keys) != Ordering::Equal) {
            return false;
        }
        let is_left = self.blocks[at].edit(|rows| drop(rows.remove(place)));
        self.len -= 1;
        let len_of = |at: usize| self.blocks.get(at).map_or(BLOCK_MAX, |block| block.rows.len());
        let len = len_of(at);
        if len + len_of(at + 1) <= JOINED_MAX {
            self.join(at);
        } else if at > 0 && len + len_of(at - 1) <= JOINED_MAX {
            self.join(at - 1);
        } else if !is_left {
            self.blocks.remove(at);
        }
        true
    }

    /// Makes one block of two neighbours.
    fn join(&mut self, at: usize) {
        let next = self.blocks.remove(at + 1);
        self.blocks[at].edit(|rows| rows.extend(next.rows));
    }

    /// The first row behind a place, whether or not anything stands there.
    pub(crate) fn after(&self, keys: &Keys, row: &Row) -> Option<&Row> {
        let (at, place) = self.place(keys, row, Ordering::Equal);
        self.blocks.get(at)?.rows.get(place)
    }

    /// The last row at a place or before it.
    pub(crate) fn up_to(&self, keys: &Keys, row: &Row) -> Option<&Row> {
        self.last_before(self.place(keys, row, Ordering::Equal))
    }

    /// The last row before a place.
    pub(crate) fn before(&self, keys: &Keys, row: &Row) -> Option<&Row> {
        self.last_before(self.place(keys, row, Ordering::Less))
    }

    fn last_before(&self, (at, place): (usize, usize)) -> Option<&Row> {
        match place.checked_sub(1) {
            Some(place) => self.blocks[at].rows.get(place),
            None => Some(&self.blocks[..at].last()?.last),
        }
    }

    /// The last row.
    pub(crate) fn last(&self) -> Option<&Row> {
        Some(&self.blocks.last()?.last)
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> + Clone {
        self.blocks.iter().flat_map(|block| &block.rows)
    }

    /// The place of the first row that compares to `row` as greater than `most` says: its block,
    /// and its place in that.
    fn place(&self, keys: &Keys, row: &Row, most: Ordering) -> (usize, usize) {
        let is_before = |other: &Row| other.compare(row, keys) <= most;
        let at = self.blocks.partition_point(|block| is_before(&block.last));
        let place = self.blocks.get(at).map_or(0, |block| block.rows.partition_point(is_before));
        (at, place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use halfping_shape::{Bounds, JsonText, Order};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

        /// Rows are a sorted set by order and name, through any changes.
        #[test]
        fn rows_are_a_sorted_set(
            changes in proptest::collection::vec((0..600_u32, 0..40_u32, any::<bool>()), 1..3000),
            grows in 0..2_u32,
        ) {
            let mut keys = Keys::default();
            let order = Order::parse("x", &Bounds::default()).unwrap();
            // Numbers of names that are not in their order.
            let names: Vec<KeyId> =
                (0..600_u32).map(|n| keys.hold(&format!("{}", n * 7919 % 600))).collect();
            let (mut rows, mut model) = (Rows::default(), BTreeSet::new());
            for (name, value, removes) in changes {
                let text = format!("{{\"x\":{value}}}");
                let row = Row::new(&keys, order.key(JsonText(&text)), names[name as usize]);
                let known = (value, keys.name(row.name).to_owned());
                match removes && (grows == 0 || name % 4 == 0) {
                    true => prop_assert_eq!(rows.remove(&keys, &row), model.remove(&known)),
                    false if model.insert(known.clone()) => rows.insert(&keys, row.clone()),
                    false => {}
                }
                let known_of = |row: Option<&Row>| row.map(|row| keys.name(row.name).to_owned());
                let after = model.range((std::ops::Bound::Excluded(known.clone()), std::ops::Bound::Unbounded)).next();
                prop_assert_eq!(known_of(rows.after(&keys, &row)), after.map(|(_, name)| name.clone()));
                let up_to = model.range(..=known).next_back();
                prop_assert_eq!(known_of(rows.up_to(&keys, &row)), up_to.map(|(_, name)| name.clone()));
            }
            prop_assert_eq!(rows.len(), model.len());
            let in_order: Vec<&str> = rows.iter().map(|row| keys.name(row.name)).collect();
            let expected: Vec<&str> = model.iter().map(|(_, name)| name.as_str()).collect();
            prop_assert_eq!(in_order, expected);
            prop_assert_eq!(rows.last().map(|row| keys.name(row.name)), model.last().map(|(_, name)| name.as_str()));
            let pairs = rows.blocks.windows(2);
            prop_assert!(pairs.into_iter().all(|pair| pair[0].rows.len() + pair[1].rows.len() > JOINED_MAX));
        }
    }
}
