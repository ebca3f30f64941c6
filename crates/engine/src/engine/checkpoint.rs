//! Checkpoints: the rows of all changes since the checkpoint before.

use crate::cursor::Revision;
use crate::engine::Engine;
use crate::mutants;
use crate::rows::codec::{put_bytes, put_number, put_revision};
use crate::rows::{ABSENT, Checkpoint, Key, LEAF, OBJECT, ROWS, Row};
use crate::tree::key::{KeyId, Keys};
use crate::tree::{Member, Value};
use crate::write::region::Place;

/// Bytes of JSON up to which an object is kept in one row. A write to any part of it writes the row
/// again; a page of the store holds as much.
const ROW_BYTES: usize = 4096;
/// Entries of the table of commit times that are kept: recent ones densely, old ones sparsely.
const TIMES_STEP_AFTER: usize = 32;

impl Engine {
    /// The revision that the last completed checkpoint has.
    pub fn stored(&self) -> Revision {
        self.stored.through
    }

    /// Makes the rows of all changes since the last completed checkpoint. Once the store has them,
    /// call [`Engine::complete_checkpoint`]; otherwise the next checkpoint has them too.
    pub fn checkpoint(&mut self) -> Checkpoint {
        self.stored.made = self.stored.made.saturating_add(1);
        let (made, done, since) = (self.stored.made, self.stored.done, self.stored.through);
        let mut times = Vec::new();
        let sample = self.tree.times.sample(TIMES_STEP_AFTER);
        put_number(sample.len() as u64, &mut times);
        for (revision, at) in sample {
            put_number(revision.0, &mut times);
            put_number(at.0, &mut times);
        }
        let Engine { regions, keys, tree, .. } = self;
        let mut walk = Walk { keys, since, made, done, rows: Vec::new() };
        walk.row(&Key::default(), tree.changed, &mut tree.value, &regions.root());
        let mut forgotten = self.stored.forgotten.clone();
        if mutants::is("forgotten-not-told") {
            forgotten.clear();
        }
        if mutants::is("checkpoint-marks-all") {
            self.stored.through = self.tree.revision;
        }
        Checkpoint { since, through: self.tree.revision, forgotten, rows: walk.rows, times }
    }

    /// Notes that the store has the last checkpoint that was made.
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
                if object.has_rows() || key.is_root() || object.json_len() > ROW_BYTES =>
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
        // If the store may not have an object's rows, all of them are written.
        let is_known = object.has_rows()
            && (object.has_rows_since <= self.done || mutants::is("split-too-early"));
        if !is_known {
            object.has_rows_since = self.made;
        }
        let since = if is_known { self.since } else { Revision::NONE };
        let mut slots: Vec<usize> =
            object.slots_changed_since(since).filter_map(|(_, slot)| slot).collect();
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
