//! Judges of writes: whether one may be made, decided by what it changes, together with it.

use std::fmt;

use crate::limits::Limits;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::tree::key::Keys;
use crate::write::base::{Base, View};
use crate::write::change::Change;
use crate::write::seen::{Seen, Work};

/// Decides whether a write may be made, by what it changes. No other commit comes between.
///
/// A [`Condition`](crate::Condition) has it. The engine does nothing else meanwhile.
pub trait Judge: fmt::Debug + Send + Sync {
    /// Refuses a write that may not be made.
    fn judge(&self, effect: &Effect<'_>) -> Result<(), Refusal>;
}

/// The effect of a write: what it changes at its path and beneath.
pub struct Effect<'c> {
    path: &'c Path,
    change: &'c Change,
    base: Base<'c>,
    keys: &'c Keys,
    limits: &'c Limits,
}

/// One of the two states of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Before the commit.
    Before,
    /// After the whole commit.
    After,
}

/// A value of one of the two states.
#[derive(Clone, Copy)]
pub enum Held<'c> {
    /// Nothing is there.
    Nothing,
    /// A value without members, as JSON.
    Leaf(&'c str),
    /// An object. [`Effect::text`] has all of it.
    Object,
}

/// Called with the names of a value, from the root, and whether it changes.
type Look<'l> = dyn FnMut(&[&str], bool) -> Result<(), Refusal> + 'l;

impl<'c> Effect<'c> {
    /// The effect of a commit's change, over what was there before, at the path of a write.
    pub(crate) fn new(
        path: &'c Path,
        change: &'c Change,
        base: Base<'c>,
        keys: &'c Keys,
        limits: &'c Limits,
    ) -> Effect<'c> {
        Effect { path, change, base, keys, limits }
    }

    /// The path of the write.
    pub fn path(&self) -> &'c Path {
        self.path
    }

    /// The value at the end of these names, from the root.
    pub fn at<S: AsRef<str>>(&self, state: State, names: &[S]) -> Held<'c> {
        let seen = self.seen(state, names);
        match seen.leaf() {
            Some(text) => Held::Leaf(text.as_str()),
            None if seen.exists() => Held::Object,
            None => Held::Nothing,
        }
    }

    /// The value at the end of these names as JSON. `None` if nothing is there, or if it takes more
    /// work than a patch may (`patch_work_bytes`).
    pub fn text<S: AsRef<str>>(&self, state: State, names: &[S]) -> Option<String> {
        let seen = self.seen(state, names);
        if !seen.exists() {
            return None;
        }
        let copy = seen.copy(self.keys, &mut Work::new(self.limits)).ok()?;
        let mut text = Vec::new();
        copy.write(&mut text);
        String::from_utf8(text).ok()
    }

    /// Calls `look` with the names, from the root, of each value at the path and beneath that the
    /// write changes: that comes, goes or becomes another, and of all that is in one which comes or
    /// goes; and, with `false`, of each that the write names and leaves as it is. Ends with the
    /// first refusal.
    ///
    /// # Errors
    /// Those of `look`, and a limit: these may be as many as one commit may write
    /// (`members_per_commit`).
    pub fn each(&self, look: &mut Look<'_>) -> Result<(), Refusal> {
        let (mut change, mut base) = (self.change, self.base);
        let mut names = Vec::new();
        for name in self.path.segments() {
            names.push(&**name);
            base = base.child(self.keys, name);
            change = match change {
                Change::Object { members, anew, .. } => match members.get(name) {
                    Some(member) => member,
                    None if *anew => &Change::Remove,
                    None => &Change::Keep,
                },
                Change::Keep => &Change::Keep,
                Change::Leaf(_) | Change::Remove => &Change::Remove,
            };
        }
        let (keys, max) = (self.keys, self.limits.members_per_commit);
        Walk { keys, names, look, max, room: max }.changed(change, base)
    }

    fn seen<S: AsRef<str>>(&self, state: State, names: &[S]) -> Seen<'c> {
        let change = if state == State::Before { &Change::Keep } else { self.change };
        let root = Seen::new(change, self.base);
        names.iter().fold(root, |seen, name| seen.child(self.keys, name.as_ref()))
    }
}

/// A walk over what a write changes.
struct Walk<'c, 'l> {
    keys: &'c Keys,
    /// Names from the root to where it is.
    names: Vec<&'c str>,
    look: &'l mut Look<'l>,
    max: usize,
    /// Values that may still be looked at.
    room: usize,
}

impl<'c> Walk<'c, '_> {
    fn changed(&mut self, change: &'c Change, base: Base<'c>) -> Result<(), Refusal> {
        match (change, base.view()) {
            (Change::Keep, _) | (Change::Remove, View::Nothing) => self.look(false),
            (Change::Leaf(new), View::Leaf(old)) if new == old => self.look(false),
            (Change::Object { anew, members, .. }, View::Object) => {
                if members.is_empty() {
                    // Even that an object is there may not be told.
                    self.look(false)?;
                }
                let stays = |member: &Change| !matches!(member, Change::Keep | Change::Remove);
                for (name, member) in members.iter().filter(|(_, m)| !*anew || stays(m)) {
                    self.member(name, base, |walk, base| walk.changed(member, base))?;
                }
                match anew {
                    true => self.members_go(base, |name| !members.get(name).is_some_and(stays)),
                    false => Ok(()),
                }
            }
            _ => self.goes(base).and_then(|()| self.comes(change)),
        }
    }

    /// Looks at a value that goes, and at all that is in it.
    fn goes(&mut self, base: Base<'c>) -> Result<(), Refusal> {
        if !base.exists() {
            return Ok(());
        }
        self.look(true)?;
        self.members_go(base, |_| true)
    }

    fn members_go(&mut self, base: Base<'c>, go: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        // Their names are not even collected if they are too many to be looked at.
        if base.members_at_most() > self.room {
            return Err(self.too_many());
        }
        let mut going = base.names(self.keys).into_iter().filter(|name| go(name));
        going.try_for_each(|name| self.member(name, base, Walk::goes))
    }

    /// Looks at a value that comes, and at all that is in it.
    fn comes(&mut self, change: &'c Change) -> Result<(), Refusal> {
        match change {
            Change::Keep | Change::Remove => Ok(()),
            Change::Leaf(_) => self.look(true),
            Change::Object { members, .. } => {
                self.look(true)?;
                let base = Base::NOTHING;
                members.iter().try_for_each(|(name, member)| {
                    self.member(name, base, |walk, _| walk.comes(member))
                })
            }
        }
    }

    fn member(
        &mut self,
        name: &'c str,
        base: Base<'c>,
        see: impl FnOnce(&mut Self, Base<'c>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.names.push(name);
        let seen = see(self, base.child(self.keys, name));
        self.names.pop();
        seen
    }

    fn look(&mut self, changes: bool) -> Result<(), Refusal> {
        self.room = self.room.checked_sub(1).ok_or_else(|| self.too_many())?;
        (self.look)(&self.names, changes)
    }

    fn too_many(&self) -> Refusal {
        let what = "the write changes too much to be judged; send it in parts".into();
        Refusal::Limit { limit: "members_per_commit", max: self.max, what }
    }
}

impl fmt::Debug for Effect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effect").field("path", self.path).finish_non_exhaustive()
    }
}
