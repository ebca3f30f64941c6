//! Sights: the part of a value that a reader is shown, and its text.

use crate::cursor::Revision;
use crate::tree::key::{KeyId, Keys};
use crate::tree::node::{Member, Object, Value};

/// A reader's view of one member.
#[derive(Clone, Copy)]
pub(crate) enum Seen<S> {
    /// The reader is not shown it, nor told that it is there.
    Hidden,
    /// The reader is shown this part of it, and was before, as far as it was there.
    Shown(S),
    /// The reader is shown this part of it, and may not have been shown it at its cursor.
    Anew {
        part: S,
        /// True if the reader may have another object there, which this one takes the place of.
        replaces: bool,
    },
}

/// A member that its object has forgotten, as a reader may have been shown it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// It was not shown, or what left is known otherwise.
    Unseen,
    /// It was shown, if it was there.
    Seen,
    /// It may have been shown, and its name may not be told if it was not.
    Unknown,
}

/// The part of an object that a reader is shown. A sight that shows all costs nothing.
pub(crate) trait Sight: Copy {
    /// True if it shows everything.
    const IS_ALL: bool;

    /// The part of a member that is shown to a reader that has the state of `since`.
    fn of(self, keys: &Keys, member: &Member, since: Revision) -> Seen<Self>;

    /// Looks that it costs to see whether a member is shown.
    fn looks(self, member: &Member) -> usize;

    /// Looks that it costs to see which members of an object are shown.
    fn looks_at_all(self, object: &Object) -> usize;

    /// The revision before which members of an object may have left unseen by a reader that has the
    /// state of `since`, where it is not the object's floor.
    fn floor(self, keys: &Keys, object: &Object, since: Revision) -> Option<Revision>;

    /// The members of an object that are no longer shown, and were at some time after a revision,
    /// apart from those whose tombstones are shown.
    fn left_since(self, object: &Object, since: Revision) -> impl Iterator<Item = KeyId>;

    /// Knowledge of a member that an object has forgotten. `path` leads to that object.
    fn forgotten(self, keys: &Keys, object: &Object, path: &[KeyId], key: KeyId) -> Forgotten {
        let Some((name, rest)) = path.split_first() else { return self.forgotten_here(key) };
        let Some(slot) = object.find(*name) else { return Forgotten::Unseen };
        let member = object.slot(slot);
        match (self.of(keys, member, Revision::NONE).part(), &member.value) {
            (Some(part), Value::Object(object)) => part.forgotten(keys, object, rest, key),
            _ => Forgotten::Unseen,
        }
    }

    /// The same of a member of the object itself.
    fn forgotten_here(self, key: KeyId) -> Forgotten;

    /// The members that are shown, in order, where that is known without asking each. Then members
    /// may come into sight that have not changed.
    fn chosen(self) -> Option<impl Iterator<Item = KeyId>>;

    /// True if an object is told as an array of names and members.
    fn is_list(self) -> bool;

    /// True if a value that has no members is shown as it is, and not as an object without any.
    /// `is_top`: it is the resource itself.
    fn shows_leaf(self, is_top: bool) -> bool;
}

impl<S> Seen<S> {
    /// The part of a member that is shown to a reader that has the state of `since`. `came`: the
    /// last revision at which it may have come into sight; `floor`: that before which its object
    /// may have had members that it has forgotten; `replaces`: the reader may have been shown more
    /// of it before it came.
    pub(crate) fn since(
        since: Revision,
        part: S,
        member: &Member,
        (came, floor): (Revision, Revision),
        replaces: bool,
    ) -> Seen<S> {
        // What came into a new slot may have another object before it, where the tombstone that
        // would tell is forgotten.
        let is_new = matches!(&member.value, Value::Object(object) if object.born > since);
        match since {
            Revision::NONE => Seen::Shown(part),
            _ if is_new && floor > since => Seen::Anew { part, replaces: true },
            _ if came > since => Seen::Anew { part, replaces },
            _ => Seen::Shown(part),
        }
    }

    /// The part that is shown; `None` if there is none.
    pub(crate) fn part(self) -> Option<S> {
        match self {
            Seen::Hidden => None,
            Seen::Shown(part) | Seen::Anew { part, .. } => Some(part),
        }
    }
}

/// The sight of a reader that is shown everything.
#[derive(Clone, Copy)]
pub(crate) struct All;

impl Sight for All {
    const IS_ALL: bool = true;

    #[inline(always)]
    fn of(self, _: &Keys, _: &Member, _: Revision) -> Seen<All> {
        Seen::Shown(All)
    }

    #[inline(always)]
    fn looks(self, _: &Member) -> usize {
        1
    }

    #[inline(always)]
    fn looks_at_all(self, object: &Object) -> usize {
        object.slots().len()
    }

    #[inline(always)]
    fn floor(self, _: &Keys, _: &Object, _: Revision) -> Option<Revision> {
        None
    }

    #[inline(always)]
    fn left_since(self, _: &Object, _: Revision) -> impl Iterator<Item = KeyId> {
        std::iter::empty()
    }

    #[inline(always)]
    fn chosen(self) -> Option<impl Iterator<Item = KeyId>> {
        None::<std::iter::Empty<KeyId>>
    }

    #[inline(always)]
    fn is_list(self) -> bool {
        false
    }

    #[inline(always)]
    fn shows_leaf(self, _: bool) -> bool {
        true
    }

    #[inline(always)]
    fn forgotten(self, _: &Keys, _: &Object, _: &[KeyId], _: KeyId) -> Forgotten {
        Forgotten::Seen
    }

    #[inline(always)]
    fn forgotten_here(self, _: KeyId) -> Forgotten {
        Forgotten::Seen
    }
}

impl Value {
    /// Writes the value as [`write`](Value::write) does, but gives up as soon as there are more
    /// than `max` bytes: then `None`.
    pub(crate) fn write_up_to(
        &self,
        max: usize,
        keys: &Keys,
        depth: u32,
        out: &mut Vec<u8>,
    ) -> Option<bool> {
        self.write_seen(max, keys, depth, All, out)
    }

    /// Writes what a sight shows of the value, and gives up likewise.
    pub(crate) fn write_seen<S: Sight>(
        &self,
        max: usize,
        keys: &Keys,
        depth: u32,
        sight: S,
        out: &mut Vec<u8>,
    ) -> Option<bool> {
        let mut nulls = false;
        match self {
            Value::Absent { .. } => {}
            Value::Leaf(_) if !sight.shows_leaf(false) => out.extend_from_slice(b"{}"),
            Value::Leaf(text) => {
                out.extend_from_slice(text.as_bytes());
                nulls = text.is_null();
            }
            Value::Object(object) => {
                let is_list = sight.is_list();
                out.push(if is_list { b'[' } else { b'{' });
                let mut first = true;
                let write = |member: &Member| {
                    let Some(sight) = sight.of(keys, member, Revision::NONE).part() else {
                        return Some(());
                    };
                    if !std::mem::take(&mut first) {
                        out.push(b',');
                    }
                    out.extend(is_list.then_some(b'['));
                    keys.write(member.key, out);
                    out.push(if is_list { b',' } else { b':' });
                    nulls |= member.value.write_seen(max, keys, depth - 1, sight, out)?;
                    out.extend(is_list.then_some(b']'));
                    Some(())
                };
                match sight.chosen() {
                    _ if depth == 0 => {}
                    Some(names) => {
                        let slots = names.filter_map(|name| object.find(name));
                        let members = slots.map(|slot| object.slot(slot));
                        members.filter(|member| member.value.is_live()).try_for_each(write)?;
                    }
                    None => {
                        let mut live = object.slots().iter().filter(|m| m.value.is_live());
                        live.try_for_each(write)?;
                    }
                }
                out.push(if is_list { b']' } else { b'}' });
            }
        }
        (out.len() <= max).then_some(nulls)
    }
}
