//! Walks: a state too large for one frame, on its way in slices.
//!
//! Members go out in order of slots, each as it is when its turn comes. A walk covers the slots that there were when it began, so it
//! ends. At its end the reader has everything as of its start, and what changed since then comes as an ordinary delta, or as another
//! walk if that is large. Members that were forgotten meanwhile are told from the [notes](crate::notes), before anything else of a
//! turn: a name that is used again was gone in between.

use crate::cursor::Revision;
use crate::delta::{Changes, Form, Has, LOOKS_MAX, Merge, Patch, Reader, Writer};
use crate::key::{KeyId, Keys};
use crate::mutants;
use crate::notes::{Bookmark, Note, Notes, Step};
use crate::tree::{Object, Value};

/// A walk of one link.
pub(crate) struct Walk {
    /// What the reader has, apart from what this walk has sent.
    pub(crate) base: Revision,
    /// Where the tree was when the walk, or this round of it, began.
    pub(crate) start: Revision,
    /// None between two rounds.
    pub(crate) position: Option<Position>,
    /// Nothing of it has been sent.
    pub(crate) first: bool,
    /// Where the tree was when the notes began to be read for it.
    notes_since: Revision,
    /// The notes that have been read.
    read: Bookmark,
}

/// A place in a walk: one entry for each object entered.
#[derive(Debug, Default)]
pub(crate) struct Position(Vec<Spot>);

#[derive(Clone, Copy, Debug)]
struct Spot {
    /// Of which object: its name in the one above, and its birth. Another object there is walked from its start.
    key: KeyId,
    born: Revision,
    /// In which numbering of slots.
    layout: u32,
    /// The next slot.
    slot: usize,
    /// Where the walk of this object ends: what is behind that came later.
    end: usize,
    /// What the reader has of it, apart from what this walk has sent.
    since: Revision,
}

impl Walk {
    /// A walk that begins now, from what the reader has.
    pub(crate) fn new(base: Revision, now: Revision, notes: &Notes) -> Walk {
        Walk {
            base,
            start: now,
            position: Some(Position::default()),
            first: true,
            notes_since: now,
            read: notes.end(),
        }
    }

    /// Begins the next round: everything since the start of the one before.
    pub(crate) fn go_round(&mut self, now: Revision) {
        (self.start, self.position) = (now, Some(Position::default()));
    }

    /// Whether it can go on: what stands there is what it began with, and it has missed no note.
    pub(crate) fn continues(&self, value: Option<&Value>, notes: &Notes) -> bool {
        let Some(Value::Object(object)) = value else { return false };
        let since = if self.base == Revision::NONE { self.start } else { self.base };
        object.born <= since && notes.reaches_back_to(self.read)
    }

    /// The reader, as a delta from the start of the last round sees it.
    pub(crate) fn reader(&self, depth: u32) -> Reader {
        let told = self.base >= self.notes_since;
        Reader { since: self.base, exact: false, told, depth }
    }

    /// Reads the notes, and writes a merge patch of the members that are gone, about `budget` bytes of it. `None` when all notes have
    /// been read and there is nothing to be told. `point`: the names that lead to the object that is walked.
    pub(crate) fn read_notes(
        &mut self,
        notes: &Notes,
        keys: &Keys,
        object: &Object,
        point: &[KeyId],
        depth: u32,
        budget: usize,
    ) -> Option<Vec<u8>> {
        let mut gone: Vec<Vec<KeyId>> = Vec::new();
        let mut bytes = 0;
        while let Some(note) = notes.at(self.read) {
            let beneath = note.object.strip_prefix(point);
            let is_here = beneath.is_some_and(|path| is_same(object, path, note.born));
            let Some(path) = beneath else {
                self.read.next_note();
                continue;
            };
            while let Some(step) = note.steps.get(self.read.steps()) {
                if bytes >= budget {
                    return Some(write_gone(keys, gone));
                }
                self.read.next_step();
                match step {
                    Step::Renumbered(slots) => {
                        if let Some(position) = &mut self.position {
                            position.renumber(path, note, slots);
                        }
                    }
                    Step::Forgotten { key, slot } => {
                        let is_seen = path.len() < depth as usize;
                        if is_here && is_seen && !self.has_to_come_to(path, note, *slot) {
                            bytes += keys.json_len(*key) + ":null,".len();
                            gone.push(path.iter().chain([key]).copied().collect());
                        }
                    }
                }
            }
            self.read.next_note();
        }
        let is_told = !gone.is_empty() && !mutants::is("notes-not-told");
        is_told.then(|| write_gone(keys, gone))
    }

    /// Whether nothing of a slot has been sent yet to a reader that had nothing.
    fn has_to_come_to(&self, path: &[KeyId], note: &Note, slot: u32) -> bool {
        let position = self.position.as_ref().filter(|_| self.base == Revision::NONE);
        position.is_some_and(|position| position.has_to_come_to(path, note, slot as usize))
    }

    /// Writes the next slice, about `budget` bytes of it. Returns whether that was the rest.
    pub(crate) fn next_slice(
        &mut self,
        keys: &Keys,
        object: &Object,
        depth: u32,
        budget: usize,
    ) -> (Form, Vec<u8>, bool) {
        let reader = self.reader(depth);
        // Who has nothing yet is sent the first slice as the value that it leads to.
        let is_value = self.first && self.base == Revision::NONE;
        self.first = false;
        let position = self.position.get_or_insert_default();
        let start = position.0.clone();
        let mut merge = Merge::new(is_value);
        let done = Slice::new(keys, reader, budget, position, &mut merge).write(object);
        if !merge.failed() {
            return (Form::Merge, merge.finish(), done);
        }
        position.0 = start;
        // What is removed may have been removed before.
        let mut patch = Patch::new(false);
        let done = Slice::new(keys, reader, budget, position, &mut patch).write(object);
        (Form::Patch, patch.finish(), done)
    }
}

/// Whether a path still leads to the object of that birth.
fn is_same(mut object: &Object, path: &[KeyId], born: Revision) -> bool {
    for key in path {
        let member = object.find(*key).map(|slot| &object.slot(slot).value);
        let Some(Value::Object(child)) = member else { return false };
        object = child;
    }
    object.born == born
}

/// A merge patch that removes these.
fn write_gone(keys: &Keys, mut gone: Vec<Vec<KeyId>>) -> Vec<u8> {
    gone.sort_unstable();
    gone.dedup();
    let mut merge = Merge::new(false);
    let mut open: &[KeyId] = &[];
    for path in &gone {
        let Some((key, above)) = path.split_last() else { continue };
        let common = open.iter().zip(above).take_while(|(a, b)| a == b).count();
        (common..open.len()).for_each(|_| merge.leave());
        above[common..].iter().for_each(|key| merge.enter(keys, *key, Has::Nothing));
        merge.remove(keys, *key, true);
        open = above;
    }
    open.iter().for_each(|_| merge.leave());
    merge.finish()
}

impl Position {
    /// The place in an object, if the walk is in it.
    fn level(&self, path: &[KeyId], born: Revision) -> Option<usize> {
        let names = self.0.get(1..=path.len())?.iter().map(|spot| spot.key);
        (names.eq(path.iter().copied()) && self.0[path.len()].born == born).then_some(path.len())
    }

    fn renumber(&mut self, path: &[KeyId], note: &Note, gone: &[u32]) {
        let Some(level) = self.level(path, note.born) else { return };
        let spot = &mut self.0[level];
        let before = |slot: usize| gone.partition_point(|gone| (*gone as usize) < slot);
        let is_gone = gone.get(before(spot.slot)).is_some_and(|gone| *gone as usize == spot.slot);
        (spot.slot, spot.end) = (spot.slot - before(spot.slot), spot.end - before(spot.end));
        spot.layout = spot.layout.wrapping_add(1);
        if is_gone {
            self.0.truncate(level + 1);
        }
    }

    fn has_to_come_to(&self, path: &[KeyId], note: &Note, slot: usize) -> bool {
        let Some(level) = self.level(path, note.born) else { return false };
        let is_entered = self.0.len() > level + 1;
        slot > self.0[level].slot || slot == self.0[level].slot && !is_entered
    }
}

/// One slice being written.
struct Slice<'a, W> {
    changes: Changes<'a, W>,
    budget: usize,
    /// Slots that may still be looked at.
    looks: usize,
    position: &'a mut Position,
}

impl<'a, W: Writer> Slice<'a, W> {
    fn new(
        keys: &'a Keys,
        reader: Reader,
        budget: usize,
        position: &'a mut Position,
        writer: &'a mut W,
    ) -> Slice<'a, W> {
        let changes = Changes { keys, reader, max: usize::MAX, looks: usize::MAX, writer };
        Slice { changes, budget, looks: LOOKS_MAX, position }
    }

    /// Walks on from the position, or from the start. False when the writer has `budget` bytes before the end.
    fn write(mut self, object: &Object) -> bool {
        let here = self.position.0.first();
        if !here.is_some_and(|s| s.born == object.born) {
            self.enter(object, KeyId::NONE, 0, self.changes.reader.since);
        }
        self.of(object, self.changes.reader.depth, 0)
    }

    /// Walks on in an object that has been entered at this level, in order of slots.
    fn of(&mut self, object: &Object, depth: u32, level: usize) -> bool {
        if depth == 0 {
            return true;
        }
        let Spot { slot: begin, end, since, layout, .. } = self.position.0[level];
        debug_assert_eq!(layout, object.layout, "the notes of an object that is walked are read");
        for slot in begin..end.min(object.slots().len()) {
            let member = object.slot(slot);
            // A position deeper down speaks of the object that was entered at the slot where we left off.
            let large = matches!(&member.value, Value::Object(child)
                if depth > 1 && child.json_len() > self.budget);
            if slot > begin || !large {
                self.position.0.truncate(level + 1);
            }
            self.position.0[level].slot = slot;
            self.looks -= 1;
            if self.looks == 0 {
                return false;
            }
            if member.key == KeyId::NONE || member.changed <= since {
                continue;
            }
            match &member.value {
                // Too large for one slice: its members go out as if they were ours.
                Value::Object(child) if large => {
                    if !self.large(child, member.key, depth - 1, level + 1, since) {
                        return false;
                    }
                    self.position.0.truncate(level + 1);
                }
                _ => {
                    let reader = self.changes.reader;
                    self.changes.reader = Reader { since, ..reader };
                    self.changes.member(member, depth - 1);
                    self.changes.reader = reader;
                }
            }
            if self.changes.writer.len() >= self.budget {
                let misordered = usize::from(mutants::is("slice-misordered"));
                self.position.0[level].slot = slot + 1 + misordered;
                return false;
            }
        }
        true
    }

    /// Walks on in an object that is too large for one slice. `since`: what the reader has of the one above.
    fn large(&mut self, child: &Object, key: KeyId, depth: u32, level: usize, since: Revision) -> bool {
        let inside = self.position.0.get(level).filter(|s| s.key == key && s.born == child.born);
        let reader_has = match inside {
            Some(_) => Has::This,
            None => {
                let reader = Reader { since, ..self.changes.reader };
                let replaces = since != Revision::NONE && reader.may_hold_more_of(child);
                self.enter(child, key, level, if replaces { Revision::NONE } else { since });
                match replaces {
                    true => Has::Another,
                    false if since < child.born => Has::Nothing,
                    false => Has::This,
                }
            }
        };
        self.changes.writer.enter(self.changes.keys, key, reader_has);
        let done = self.of(child, depth, level);
        self.changes.writer.leave();
        done
    }

    fn enter(&mut self, object: &Object, key: KeyId, level: usize, since: Revision) {
        self.position.0.truncate(level);
        self.position.0.push(Spot {
            key,
            born: object.born,
            layout: object.layout,
            slot: 0,
            end: object.slots().len(),
            since,
        });
    }
}
