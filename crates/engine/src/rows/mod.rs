//! The tree on disk: one row for each member of a large object, in which smaller values are kept whole.
//!
//! A checkpoint is what a reader would be told whose cursor is at the last one: only rows of what changed since are written. So the journal
//! behind it can be short, and opening a store takes time by what there is, not by what there was.
//!
//! An object gets rows for its members when it has grown too large for one row, and keeps them from then on. All objects above one with rows
//! have rows themselves, since they are larger.

use crate::codec::{Corrupt, corrupt, put_bytes, put_number, put_revision};
use crate::cursor::Revision;
use crate::engine::Engine;
use crate::key::{KeyId, Keys};
use crate::mutants;
use crate::region::Place;
use crate::tree::{Member, Value};

/// Bytes of JSON up to which an object is kept in one row. A write to any part of it writes the row again; a page of the store holds as much.
const ROW_BYTES: usize = 4096;
/// Entries of the table of commit times that are kept: recent ones densely, old ones sparsely.
const TIMES_STEP_AFTER: usize = 32;

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

    /// Each name ends with a zero; a zero in a name is followed by 255, which is in no text (after FoundationDB's tuples).
    fn push(&mut self, name: &str) {
        for byte in name.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.push(0);
    }

    /// The key as the store has it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What is greater than the key of anything beneath this, and not greater than that of anything else.
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
    /// Where it belongs.
    pub key: Key,
    /// If its members have rows of their own: which object it is. Under another object's rows nothing of this one's is left standing.
    pub object: Option<Revision>,
    /// What is there.
    pub body: Vec<u8>,
}

/// What takes the rows of one state to those of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The state that they lead to.
    pub through: Revision,
    /// Rows that go.
    pub forgotten: Vec<Key>,
    /// Rows that come, or come in place of others. Of one object in the order of its members.
    pub rows: Vec<Row>,
    /// When revisions were committed.
    pub times: Vec<u8>,
}

/// What the engine knows of its rows.
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

impl Engine {
    /// The state that the last completed checkpoint has.
    pub fn stored(&self) -> Revision {
        self.stored.through
    }

    /// Makes the rows of all that changed since the last completed checkpoint. If the store takes them, that is to be told by
    /// [`Engine::complete_checkpoint`]; if not, the next one will have them too.
    pub fn checkpoint(&mut self) -> Checkpoint {
        self.stored.made = self.stored.made.saturating_add(1);
        let (made, done, since) = (self.stored.made, self.stored.done, self.stored.through);
        let mut times = Vec::new();
        let sample = self.times.sample(TIMES_STEP_AFTER);
        put_number(sample.len() as u64, &mut times);
        for (revision, at) in sample {
            put_number(revision.0, &mut times);
            put_number(at.0, &mut times);
        }
        let Engine { regions, keys, root, root_changed, .. } = self;
        let mut walk = Walk { keys, since, made, done, rows: Vec::new() };
        walk.row(&Key::default(), *root_changed, root, &regions.root());
        let mut forgotten = self.stored.forgotten.clone();
        if mutants::is("forgotten-not-told") {
            forgotten.clear();
        }
        if mutants::is("checkpoint-marks-all") {
            self.stored.through = self.revision;
        }
        Checkpoint { through: self.revision, forgotten, rows: walk.rows, times }
    }

    /// The store has the last checkpoint that was made.
    pub fn complete_checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.stored.through = checkpoint.through;
        self.stored.done = self.stored.made;
        self.stored.forgotten.drain(..checkpoint.forgotten.len());
    }
}

struct Walk<'a> {
    keys: &'a Keys,
    since: Revision,
    made: u32,
    done: u32,
    rows: Vec<Row>,
}

impl Walk<'_> {
    /// Writes the row of a value, and those beneath it.
    fn row(&mut self, key: &Key, changed: Revision, value: &mut Value, place: &Place<'_>) {
        let mut body = Vec::new();
        put_number(changed.0, &mut body);
        let object = match value {
            Value::Object(object)
                if object.has_rows() || key.0.is_empty() || object.json_len() > ROW_BYTES =>
            {
                object
            }
            value => {
                put_value(self.keys, changed, value, place, &mut body);
                self.rows.push(Row { key: key.clone(), object: None, body });
                return;
            }
        };
        body.push(ROWS);
        put_revision(object.born, changed, &mut body);
        put_revision(object.floor, changed, &mut body);
        self.rows.push(Row { key: key.clone(), object: Some(object.born), body });
        // Of an object whose rows the store may not have, all are written.
        let is_known =
            object.has_rows() && (object.has_rows_since <= self.done || mutants::is("split-too-early"));
        if !is_known {
            object.has_rows_since = self.made;
        }
        let since = if is_known { self.since } else { Revision::NONE };
        let mut slots: Vec<usize> = object.slots_changed_since(since).filter_map(|(_, slot)| slot).collect();
        slots.sort_unstable();
        for slot in slots {
            let member = object.slot_mut(slot);
            let Some(place) = place.child(self.keys.name(member.key)) else { continue };
            let mut key = key.clone();
            key.push(self.keys.name(member.key));
            self.row(&key, member.changed, &mut member.value, &place);
        }
    }
}

fn put_value(keys: &Keys, changed: Revision, value: &Value, place: &Place<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Absent { existed_since } => {
            out.push(ABSENT);
            put_revision(*existed_since, changed, out);
        }
        Value::Leaf(text) => {
            out.push(LEAF);
            put_bytes(text.as_bytes(), out);
        }
        Value::Object(object) => {
            out.push(OBJECT);
            put_revision(object.born, changed, out);
            put_revision(object.floor, changed, out);
            let members = object.slots().iter().filter(|m| m.key != KeyId::NONE);
            let kept = members.filter_map(|m| match place.is_durable() {
                true => Some((m, place.clone())),
                false => Some((m, place.child(keys.name(m.key))?)),
            });
            let kept: Vec<(&Member, Place<'_>)> = kept.collect();
            put_number(kept.len() as u64, out);
            for (member, place) in kept {
                put_bytes(keys.name(member.key).as_bytes(), out);
                put_revision(member.changed, changed, out);
                put_value(keys, member.changed, &member.value, &place, out);
            }
        }
    }
}
