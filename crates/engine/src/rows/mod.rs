//! The tree on disk: one row for each member of a large object, in which smaller values are kept
//! whole.
//!
//! A checkpoint is the delta that a reader with a cursor at the last one would get: only rows of
//! changes since then are written. So the journal behind it can be short, and the time to open a
//! store grows with its contents, not with its history.
//!
//! An object gets rows for its members when it has grown too large for one row, and keeps them from
//! then on. All objects above one with rows have rows themselves, since they are larger.

pub(crate) mod codec;

use crate::cursor::Revision;
use crate::rows::codec::{Corrupt, corrupt};

pub(crate) const ABSENT: u8 = 0;
pub(crate) const LEAF: u8 = 1;
/// An object with all its members.
pub(crate) const OBJECT: u8 = 2;
/// An object whose members have rows of their own.
pub(crate) const ROWS: u8 = 3;

/// The key of a row: the names on the way to it. Rows beneath it follow it, up to [`Key::end`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Key(Vec<u8>);

impl Key {
    pub(crate) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Key {
        let mut key = Key::default();
        names.for_each(|name| key.push(name));
        key
    }

    /// Each name ends with a zero; a zero in a name is followed by 255, which is in no text (after
    /// FoundationDB's tuples).
    pub(crate) fn push(&mut self, name: &str) {
        for byte in name.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.push(0);
    }

    /// True if it is the key of the root.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The key as the store has it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The end of a key's range: greater than every key beneath it, and not greater than any key
    /// that follows them.
    pub fn end(key: &[u8]) -> Vec<u8> {
        let mut end = key.to_vec();
        end.push(0xff);
        end
    }

    /// A key as a path, for people.
    pub fn display(key: &[u8]) -> String {
        match Key::names(key) {
            Ok(names) => format!("/{}", names.join("/")),
            Err(_) => format!("{key:02x?}"),
        }
    }

    /// The names of a key.
    pub(crate) fn names(mut key: &[u8]) -> Result<Vec<String>, Corrupt> {
        let mut names = Vec::new();
        let mut name = Vec::new();
        while let Some((byte, rest)) = key.split_first() {
            key = rest;
            match (byte, key.first()) {
                (0, Some(0xff)) => {
                    key = &key[1..];
                    name.push(0);
                }
                (0, _) => {
                    let Ok(text) = String::from_utf8(std::mem::take(&mut name)) else {
                        return corrupt("a row's key is not UTF-8");
                    };
                    names.push(text);
                }
                _ => name.push(*byte),
            }
        }
        if name.is_empty() { Ok(names) } else { corrupt("a row's key breaks off") }
    }
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The key of the row.
    pub key: Key,
    /// The birth of the object, if its members have rows of their own. Rows of another object at
    /// this key are not kept.
    pub object: Option<Revision>,
    /// The bytes of the value.
    pub body: Vec<u8>,
}

impl Row {
    /// The state in which the value of a row was changed last, by the row's bytes.
    pub fn changed(body: &[u8]) -> Option<Revision> {
        codec::Input::new(body).number().ok().map(Revision)
    }
}

/// Changes from the rows of one state to those of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The state that they start from. The store may have a later one: that of a checkpoint whose
    /// failure was reported, and that is there all the same.
    pub since: Revision,
    /// The state that they lead to.
    pub through: Revision,
    /// Rows that are removed.
    pub forgotten: Vec<Key>,
    /// Rows that are added or replaced; those of one object in the order of its members.
    pub rows: Vec<Row>,
    /// Commit times of revisions.
    pub times: Vec<u8>,
}

/// State of the rows on disk, as the engine knows it.
#[derive(Default)]
pub(crate) struct Stored {
    /// The state that the rows have.
    pub(crate) through: Revision,
    /// Rows of tombstones that are not remembered any more, since then.
    pub(crate) forgotten: Vec<Key>,
    /// Checkpoints that were made, and the last of them that the store has.
    pub(crate) made: u32,
    pub(crate) done: u32,
}
