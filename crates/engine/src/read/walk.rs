//! Walks: a state too large for one frame, on its way in slices.
//!
//! Members go out in order of slots, each as it is when its turn comes. A walk covers the slots
//! that there were when it began, so it ends. Then the reader has everything as of its start, and
//! what changed since then comes as an ordinary delta, or as another round if that is large.
//!
//! Members that were forgotten meanwhile are told from the [notes](crate::notes) between two
//! rounds, or with the delta that completes the state. A name may have been used again since it was
//! forgotten: then its member has changed since the start of the round, so the next one brings it
//! after that.

use std::cell::Cell;

use crate::cursor::Revision;
use crate::mutants;
use crate::read::delta::{Changes, Form, Has, LOOKS_MAX, Merge, Patch, Reader, Writer};
use crate::tree::key::{KeyId, Keys};
use crate::tree::notes::{Bookmark, Gone, Note, Notes, Step};
use crate::tree::sight::{Forgotten, Seen, Sight};
use crate::tree::{Object, Value};

/// Number of times that the delta that completes a state may double: to sixteen slices in the end.
const DOUBLINGS: u32 = 4;

/// A walk of one link.
pub(crate) struct Walk {
    /// The revision that the reader has, apart from what this round has sent.
    pub(crate) base: Revision,
    /// The tree's revision when this round began.
    pub(crate) start: Revision,
    /// The position in this round; `None` between two rounds.
    pub(crate) position: Option<Position>,
    /// True while nothing of it has been sent.
    pub(crate) first: bool,
    /// The tree's revision when notes began to be taken for it.
    notes_since: Revision,
    /// End of the notes that the position heeds.
    heeded: Bookmark,
    /// End of the notes that the reader has been told.
    told: Bookmark,
    /// Rounds after the first.
    rounds: u32,
    /// The revision up to which it was told all notes just now, between two rounds.
    told_at: Option<Revision>,
}

/// A place in a walk: one entry for each object entered.
#[derive(Debug, Default)]
pub(crate) struct Position(Vec<Spot>);

#[derive(Clone, Copy, Debug)]
struct Spot {
    /// The object: its name in the one above, and its birth. Another object there is walked from
    /// its start.
    key: KeyId,
    born: Revision,
    /// The numbering of slots that it refers to.
    layout: u32,
    /// The next slot.
    slot: usize,
    /// The slot where the walk of this object ends: slots behind it came later.
    end: usize,
    /// The revision that the reader has of it, apart from what this walk has sent.
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
            heeded: notes.end(),
            told: notes.end(),
            rounds: 0,
            told_at: None,
        }
    }

    /// The revision of which the reader has everything that it was told of, or nothing yet.
    pub(crate) fn begun(&self) -> Revision {
        if self.base == Revision::NONE { self.start } else { self.base }
    }

    /// Bytes of the delta that completes the state. After some rounds it may be longer than a
    /// slice: where as much changes as the connection carries, no round would be the last.
    pub(crate) fn delta_bytes(&self, slice_bytes: usize) -> usize {
        slice_bytes << self.rounds.min(DOUBLINGS)
    }

    /// True if it can go on: the value is the one that it began with, and it has missed no note.
    pub(crate) fn continues(
        &self,
        value: Option<&Value>,
        notes: &Notes,
        keys: &Keys,
        sight: impl Sight,
    ) -> bool {
        let Some(Value::Object(object)) = value else { return false };
        let since = self.begun();
        let is_spoilt = mutants::is("walk-begins-anew") && object.floor > since;
        let floor = sight.floor(keys, object, since);
        let is_seen = floor.is_none_or(|floor| floor <= since);
        object.born <= since && notes.reaches_back_to(self.told) && !is_spoilt && is_seen
    }

    /// The reader, as a delta sees it.
    pub(crate) fn reader(&self, depth: u32) -> Reader {
        let told = self.base >= self.notes_since;
        Reader { since: self.base, exact: false, told, walks: true, depth }
    }

    /// Ends a round: the reader has everything as of its start.
    pub(crate) fn end_round(&mut self, start: Revision) {
        (self.base, self.position) = (start, None);
    }

    /// Begins another round, if that can be now. Otherwise `gone` has to be told first, and is
    /// noted as told.
    pub(crate) fn begin_round(&mut self, gone: &Gone, now: Revision, notes: &Notes) -> bool {
        let start = self.told_at.take().or(gone.is_empty().then_some(now));
        match start {
            Some(start) => {
                (self.start, self.position) = (start, Some(Position::default()));
                self.rounds += 1;
                self.heeded = notes.end();
            }
            None => {
                self.told = gone.read_to;
                self.told_at = Some(now);
            }
        }
        start.is_some()
    }

    /// Notes as told the members in `gone`, which are so many that they get a frame of their own.
    pub(crate) fn tell_apart(&mut self, gone: &Gone) {
        self.told = gone.read_to;
    }

    /// Members that are gone and that the reader has not been told of, about `budget` bytes of
    /// them.
    pub(crate) fn gone(
        &self,
        notes: &Notes,
        keys: &Keys,
        object: &Object,
        point: &[KeyId],
        reader: (u32, impl Sight),
        budget: usize,
    ) -> Gone {
        let (depth, sight) = reader;
        let mut gone = Gone { read_to: self.told, ..Gone::default() };
        while let Some(note) = notes.at(gone.read_to) {
            gone.looks += 1;
            if gone.looks > LOOKS_MAX {
                gone.is_full = true;
                return gone;
            }
            let path = note.object.strip_prefix(point).filter(|path| path.len() < depth as usize);
            let path = path.filter(|path| is_same(object, path, note.born));
            while let (Some(path), Some(step)) = (path, note.steps.get(gone.read_to.steps())) {
                gone.read_to.next_step();
                let Step::Forgotten { key, .. } = step else { continue };
                let forgotten = match mutants::is("notes-not-told") {
                    true => Forgotten::Unseen,
                    false => sight.forgotten(keys, object, path, *key),
                };
                // Where its name may not be told, its object is told whole.
                let (path, key) = match (forgotten, path.split_last()) {
                    (Forgotten::Seen, _) => (path, key),
                    (Forgotten::Unknown, Some((object, above))) => (above, object),
                    _ => continue,
                };
                gone.bytes += keys.json_len(*key) + ":null,".len();
                gone.members.add(path, *key);
                if gone.bytes >= budget {
                    gone.is_full = true;
                    return gone;
                }
            }
            gone.read_to.next_note();
        }
        gone
    }

    /// Moves the position along with slots that were renumbered.
    pub(crate) fn heed(&mut self, notes: &Notes, point: &[KeyId]) {
        let Some(position) = &mut self.position else { return };
        while let Some(note) = notes.at(self.heeded) {
            if let Some(path) = note.object.strip_prefix(point)
                && !mutants::is("notes-not-heeded")
            {
                for step in &note.steps {
                    if let Step::Renumbered(slots) = step {
                        position.renumber(path, note, slots);
                    }
                }
            }
            self.heeded.next_note();
        }
    }

    /// Writes the next slice, about `budget` bytes of it. The result tells whether that was the
    /// rest. `looked`: looks are counted there.
    pub(crate) fn next_slice(
        &mut self,
        keys: &Keys,
        object: &Object,
        depth: u32,
        budget: usize,
        sight: impl Sight,
        looked: &Cell<usize>,
    ) -> (Form, Vec<u8>, bool) {
        let reader = self.reader(depth);
        // A reader that has nothing yet is sent the first slice as the value that it leads to.
        let is_value = self.first && self.base == Revision::NONE;
        self.first = false;
        let position = self.position.get_or_insert_default();
        let start = position.0.clone();
        let mut merge = Merge::new(is_value);
        let done =
            Slice::new(keys, reader, budget, position, &mut merge).write(object, sight, looked);
        if !merge.failed() {
            return (Form::Merge, merge.finish(), done);
        }
        position.0 = start;
        // Members that are removed here may have been removed before.
        let mut patch = Patch::new(false, usize::MAX);
        let done =
            Slice::new(keys, reader, budget, position, &mut patch).write(object, sight, looked);
        (Form::Patch, patch.finish(), done)
    }
}

/// True if a path still leads to the object of that birth.
fn is_same(mut object: &Object, path: &[KeyId], born: Revision) -> bool {
    for key in path {
        let member = object.find(*key).map(|slot| &object.slot(slot).value);
        let Some(Value::Object(child)) = member else { return false };
        object = child;
    }
    object.born == born
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

    /// Walks on from the position, or from the start. False when the writer has `budget` bytes
    /// before the end.
    fn write(mut self, object: &Object, sight: impl Sight, looked: &Cell<usize>) -> bool {
        let here = self.position.0.first();
        let since = self.changes.reader.since;
        if here.is_none() && since != Revision::NONE && !mutants::is("view-slices-keep") {
            for key in sight.left_since(object, since) {
                self.changes.writer.remove(self.changes.keys, key, false);
            }
        }
        if here.is_none_or(|s| s.born != object.born) {
            self.enter(object, KeyId::NONE, 0, since);
        }
        let done = self.of(object, self.changes.reader.depth, 0, sight);
        looked.update(|looks| looks + LOOKS_MAX - self.looks);
        done
    }

    /// Walks on in an object that has been entered at this level, in order of slots.
    fn of<S: Sight>(&mut self, object: &Object, depth: u32, level: usize, sight: S) -> bool {
        if depth == 0 {
            return true;
        }
        let Spot { slot: begin, end, since, layout, .. } = self.position.0[level];
        let is_known = layout == object.layout || mutants::is("notes-not-heeded");
        let moves = sight.chosen().is_some();
        debug_assert!(is_known, "the notes of an object that is walked are heeded");
        for slot in begin..end.min(object.slots().len()) {
            let member = object.slot(slot);
            // A position deeper down is of the object that was entered at the last slot.
            let large = matches!(&member.value, Value::Object(child)
                if depth > 1 && child.json_len() > self.budget);
            if slot > begin || !large {
                self.position.0.truncate(level + 1);
            }
            self.position.0[level].slot = slot;
            self.looks = self.looks.saturating_sub(sight.looks(member));
            if self.looks == 0 {
                return false;
            }
            let stays = member.changed <= since;
            if member.key == KeyId::NONE || (stays && !moves) {
                continue;
            }
            let seen = sight.of(self.changes.keys, member, since);
            if matches!(seen, Seen::Hidden) || (stays && !matches!(seen, Seen::Anew { .. })) {
                self.position.0.truncate(level + 1);
                continue;
            }
            match &member.value {
                // Too large for one slice: its members go out like those of this object.
                Value::Object(child) if large => {
                    if !self.large(child, member.key, depth - 1, level + 1, since, seen) {
                        return false;
                    }
                    self.position.0.truncate(level + 1);
                }
                _ => {
                    let reader = self.changes.reader;
                    self.changes.reader = Reader { since, ..reader };
                    self.changes.member(member, depth - 1, None, seen);
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

    /// Walks on in an object that is too large for one slice. `since`: the revision that the reader
    /// has of the one above.
    fn large<S: Sight>(
        &mut self,
        child: &Object,
        key: KeyId,
        depth: u32,
        level: usize,
        since: Revision,
        seen: Seen<S>,
    ) -> bool {
        let is_anew = matches!(seen, Seen::Anew { .. });
        let Some(sight) = seen.part() else { return true };
        let inside = self.position.0.get(level).filter(|s| s.key == key && s.born == child.born);
        let is_begun = inside.is_none();
        let reader_has = match inside {
            Some(_) => Has::This,
            None => {
                let reader = Reader { since, ..self.changes.reader };
                let keys = self.changes.keys;
                let may_differ = is_anew || reader.may_see_more_of(keys, child, sight);
                let replaces = since != Revision::NONE && may_differ;
                self.enter(child, key, level, if replaces { Revision::NONE } else { since });
                match replaces {
                    true => Has::Another,
                    false if since < child.born => Has::Nothing,
                    false => Has::This,
                }
            }
        };
        self.changes.writer.enter(self.changes.keys, key, reader_has);
        if is_begun && reader_has != Has::Another && since != Revision::NONE {
            for key in sight.left_since(child, since) {
                self.changes.writer.remove(self.changes.keys, key, false);
            }
        }
        let done = self.of(child, depth, level, sight);
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
