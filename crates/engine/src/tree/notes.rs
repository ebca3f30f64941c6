//! Notes for readers in the middle of a large state: members that were forgotten meanwhile, and
//! slots that were renumbered.
//!
//! A walk takes as long as its connection needs, and an object remembers only so many members that
//! left it. Members that it forgets while a link is in a walk are noted here, for all walks
//! together; each reads the notes when its turn comes, and tells its reader of the members that
//! left before it goes on. So a walk ends whatever writers do. Notes are bounded in bytes: a walk
//! that did not read one in time starts anew. While no link walks there are none.

use std::collections::{BTreeMap, VecDeque};

use crate::cursor::Revision;
use crate::mutants;
use crate::tree::key::{KeyId, Keys};

/// A note of one commit's effect on one object.
pub(crate) struct Note {
    /// The names that lead to the object.
    pub(crate) object: Box<[KeyId]>,
    pub(crate) born: Revision,
    pub(crate) steps: Box<[Step]>,
    /// Bytes that it takes, with the names that it alone may hold.
    bytes: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// A member that had left is forgotten. Its slot keeps its number.
    Forgotten { key: KeyId, slot: u32 },
    /// Slots that were removed, in ascending order; those behind them have moved up.
    Renumbered(Box<[u32]>),
}

/// A place in the notes: a note's number, and how many steps of it have been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bookmark {
    note: u64,
    steps: usize,
}

pub(crate) struct Notes {
    notes: VecDeque<Note>,
    /// The number of the oldest note.
    first: u64,
    bytes: usize,
    max_bytes: usize,
}

/// Members that have left and are forgotten.
#[derive(Default)]
pub(crate) struct Gone {
    pub(crate) members: Left,
    /// Approximate bytes of the merge patch that tells of them.
    pub(crate) bytes: usize,
    /// True if there are more notes than that.
    pub(crate) is_full: bool,
    /// Notes that were looked at.
    pub(crate) looks: usize,
    pub(crate) read_to: Bookmark,
}

/// Names in one object: those of members that left it, and those that lead to more.
#[derive(Default)]
pub(crate) struct Left {
    names: BTreeMap<KeyId, Left>,
    is_gone: bool,
}

impl Gone {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.names.is_empty()
    }
}

impl Left {
    pub(crate) fn add(&mut self, path: &[KeyId], key: KeyId) {
        let object = path.iter().fold(self, |left, key| left.names.entry(*key).or_default());
        object.names.entry(key).or_default().is_gone = true;
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (KeyId, &Left)> {
        self.names.iter().map(|(key, left)| (*key, left))
    }

    pub(crate) fn beneath(&self, key: KeyId) -> Option<&Left> {
        self.names.get(&key)
    }

    /// True if a member of this name left.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// True if a member of this name left: one that is here now took its place.
    pub(crate) fn was_another(&self) -> bool {
        self.is_gone && !mutants::is("gone-told-last")
    }
}

impl Notes {
    pub(crate) fn new(max_bytes: usize) -> Notes {
        Notes { notes: VecDeque::new(), first: 0, bytes: 0, max_bytes }
    }

    /// Adds a note. The oldest are dropped when there are too many bytes of them.
    pub(crate) fn push(
        &mut self,
        keys: &mut Keys,
        object: &[KeyId],
        born: Revision,
        steps: Vec<Step>,
    ) {
        object.iter().for_each(|key| keys.hold_again(*key));
        let of_steps = steps.iter().map(|step| match step {
            Step::Forgotten { key, .. } => size_of::<Step>() + keys.name(*key).len(),
            Step::Renumbered(slots) => size_of::<Step>() + size_of_val(&**slots),
        });
        let bytes = size_of::<Note>() + size_of_val(object) + of_steps.sum::<usize>();
        let note = Note { object: object.into(), born, steps: steps.into(), bytes };
        self.bytes += bytes;
        self.notes.push_back(note);
        while self.bytes > self.max_bytes {
            self.drop_first(keys);
        }
    }

    /// The end of the notes: a reader that begins there has missed none.
    pub(crate) fn end(&self) -> Bookmark {
        Bookmark { note: self.first + self.notes.len() as u64, steps: 0 }
    }

    /// True if all notes since then are still here.
    pub(crate) fn reaches_back_to(&self, at: Bookmark) -> bool {
        at.note >= self.first
    }

    /// The note at a bookmark; none at the end.
    pub(crate) fn at(&self, at: Bookmark) -> Option<&Note> {
        self.notes.get(at.note.checked_sub(self.first)? as usize)
    }

    /// Drops all notes, since no link is in a walk any more.
    pub(crate) fn clear(&mut self, keys: &mut Keys) {
        while !self.notes.is_empty() {
            self.drop_first(keys);
        }
        self.notes.shrink_to_fit();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn drop_first(&mut self, keys: &mut Keys) {
        let Some(note) = self.notes.pop_front() else { return };
        self.first += 1;
        self.bytes -= note.bytes;
        note.object.iter().for_each(|key| keys.release(*key));
        for step in &note.steps {
            if let Step::Forgotten { key, .. } = step {
                keys.release(*key);
            }
        }
    }
}

impl Bookmark {
    pub(crate) fn steps(self) -> usize {
        self.steps
    }

    pub(crate) fn next_step(&mut self) {
        self.steps += 1;
    }

    pub(crate) fn next_note(&mut self) {
        (self.note, self.steps) = (self.note + 1, 0);
    }
}
