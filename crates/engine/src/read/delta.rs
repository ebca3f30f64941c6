//! Deltas, which take a reader from its cursor to now: a snapshot, a merge patch, a JSON Patch, or
//! a note that nothing is there.
//!
//! One walk over what changed feeds one of two writers. A merge patch (RFC 7396) is short, but
//! cannot say that a `null` was written or that an object was replaced by a new one; then the same
//! walk is written as a JSON Patch (RFC 6902). Its operations are chosen to apply without fault to
//! the state at the cursor, and by lenient readers to any state since. A state too large for one
//! frame goes out in slices: see [`walk`](crate::walk).

use std::cell::Cell;

use crate::cursor::Revision;
use crate::tree::key::{KeyId, Keys};
use crate::tree::notes::Left;
use crate::tree::sight::{Seen, Sight};
use crate::tree::{Member, Object, Value};

/// Members that one frame may look at without finding news, and stale entries of their order: this
/// bounds how long the lock is held.
pub(crate) const LOOKS_MAX: usize = 1 << 15;

/// The object that a reader has where an object is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Has {
    /// The same object, as it was.
    This,
    Nothing,
    /// An object that stood there before.
    Another,
}

/// A writer of a walk over changes.
pub(crate) trait Writer {
    /// Enters an object: its changes follow, up to [`Writer::leave`].
    fn enter(&mut self, keys: &Keys, key: KeyId, reader_has: Has);
    fn leave(&mut self);
    /// Writes a member that is a new object. The reader has nothing there, or an earlier state of
    /// it, from which members may have gone since. False if nothing follows; else its members,
    /// present and gone, follow, up to [`Writer::leave`].
    fn grow<S: Sight>(
        &mut self,
        keys: &Keys,
        key: KeyId,
        value: &Value,
        depth: u32,
        sight: S,
    ) -> bool;
    /// Writes a member's new value. The reader has no object there, or none that matters.
    fn set<S: Sight>(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32, sight: S);
    /// Writes a member's new value where the reader may have another object.
    fn replace<S: Sight>(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32, sight: S);
    /// Writes that a member is gone. `sure`: it was there at the cursor.
    fn remove(&mut self, keys: &Keys, key: KeyId, sure: bool);
    fn len(&self) -> usize;
    /// True if this form cannot express a change that it was given.
    fn failed(&self) -> bool;
}

/// State of a reader, as far as a delta depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    /// The revision up to which it has everything.
    pub(crate) since: Revision,
    /// True if it has exactly that state, and nothing newer.
    pub(crate) exact: bool,
    /// True if it has been told of all members that were forgotten since (see
    /// [`notes`](crate::notes)).
    pub(crate) told: bool,
    /// True if it is in the middle of a [walk](crate::read::walk). Then it may hold an older state
    /// of a member that its view did not show when that member's turn came, and shows again.
    pub(crate) walks: bool,
    /// Levels of objects that it is shown.
    pub(crate) depth: u32,
}

impl Reader {
    /// True if it may hold members of this object that the object does not remember.
    pub(crate) fn may_hold_more_of(&self, object: &Object) -> bool {
        self.since < object.floor && (self.since < object.born || !self.told)
    }

    /// The same of the members that a sight shows.
    pub(crate) fn may_see_more_of(&self, keys: &Keys, object: &Object, sight: impl Sight) -> bool {
        match sight.floor(keys, object, self.since) {
            None => self.may_hold_more_of(object),
            Some(floor) => self.since < floor,
        }
    }
}

/// Writes all that changed in an object since a revision, as a merge patch or else as a JSON Patch.
/// `None` when that is longer than `max`; an empty body when nothing that can be seen at this depth
/// has changed. `left`: members that are forgotten, which the reader may have. `looked`: looks are
/// counted there.
pub(crate) fn delta(
    keys: &Keys,
    object: &Object,
    reader: Reader,
    left: Option<&Left>,
    max: usize,
    sight: impl Sight,
    looked: &Cell<usize>,
) -> Option<(Form, Vec<u8>)> {
    let mut merge = Merge::new(false);
    if Changes::new(keys, reader, max, &mut merge).all(object, left, sight, looked) {
        let body = merge.finish();
        return Some((Form::Merge, if body.len() == 2 { Vec::new() } else { body }));
    }
    if !merge.failed() {
        return None;
    }
    let mut patch = Patch::new(reader.exact, max);
    let complete = Changes::new(keys, reader, max, &mut patch).all(object, left, sight, looked);
    complete.then(|| (Form::Patch, patch.finish()))
}

/// Form of a delta.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Merge,
    Patch,
}

/// A merge patch that removes these.
pub(crate) fn removal(keys: &Keys, left: &Left) -> Vec<u8> {
    fn write(keys: &Keys, left: &Left, merge: &mut Merge) {
        for (key, beneath) in left.names() {
            if beneath.is_gone() {
                merge.remove(keys, key, true);
            } else {
                merge.enter(keys, key, Has::Nothing);
                write(keys, beneath, merge);
                merge.leave();
            }
        }
    }
    let mut merge = Merge::new(false);
    write(keys, left, &mut merge);
    merge.finish()
}

/// A walk over what changed since a revision.
pub(crate) struct Changes<'a, W> {
    pub(crate) keys: &'a Keys,
    pub(crate) reader: Reader,
    pub(crate) max: usize,
    /// Members that may still be looked at.
    pub(crate) looks: usize,
    pub(crate) writer: &'a mut W,
}

impl<'a, W: Writer> Changes<'a, W> {
    fn new(keys: &'a Keys, reader: Reader, max: usize, writer: &'a mut W) -> Changes<'a, W> {
        Changes { keys, reader, max, looks: LOOKS_MAX, writer }
    }

    /// Walks the changes. False if the writer failed or has more than `max` bytes, or if it takes
    /// too long.
    fn all(
        mut self,
        object: &Object,
        left: Option<&Left>,
        sight: impl Sight,
        looked: &Cell<usize>,
    ) -> bool {
        let complete = self.of(object, self.reader.depth, left, sight);
        looked.update(|looks| looks + LOOKS_MAX - self.looks);
        complete
    }

    fn of<S: Sight>(&mut self, object: &Object, depth: u32, left: Option<&Left>, sight: S) -> bool {
        if depth == 0 {
            return true;
        }
        let since = self.reader.since;
        let changed = match sight.chosen() {
            None => object.slots_changed_since(since).all(|(_, slot)| {
                let member = slot.map(|slot| object.slot(slot));
                let looks = self.looks.checked_sub(member.map_or(1, |member| sight.looks(member)));
                self.looks = looks.unwrap_or_default();
                let Some(member) = member else { return looks.is_some() };
                let left = left.and_then(|left| left.beneath(member.key));
                let seen = sight.of(self.keys, member, since);
                let goes_on = looks.is_some() && self.member(member, depth - 1, left, seen);
                goes_on && self.writer.len() <= self.max && !self.writer.failed()
            }),
            Some(mut names) => names.all(|name| {
                self.looks = self.looks.saturating_sub(1);
                let Some(slot) = object.find(name) else { return true };
                let member = object.slot(slot);
                let seen = sight.of(self.keys, member, since);
                if member.changed <= since && !matches!(seen, Seen::Anew { .. }) {
                    return true;
                }
                let left = left.and_then(|left| left.beneath(member.key));
                let goes_on = self.looks > 0 && self.member(member, depth - 1, left, seen);
                goes_on && self.writer.len() <= self.max && !self.writer.failed()
            }),
        };
        let gone = left.into_iter().flat_map(Left::names).filter(|(_, left)| left.is_gone());
        for (key, _) in gone.filter(|(key, _)| changed && object.find(*key).is_none()) {
            self.writer.remove(self.keys, key, false);
        }
        for key in sight.left_since(object, since).filter(|_| changed) {
            self.writer.remove(self.keys, key, false);
        }
        changed
    }

    /// Writes down one member, as far as it is shown. False when the walk beneath it was given up.
    pub(crate) fn member<S: Sight>(
        &mut self,
        member: &Member,
        depth: u32,
        left: Option<&Left>,
        seen: Seen<S>,
    ) -> bool {
        let Changes { keys, reader, ref mut writer, .. } = *self;
        let (since, nothing_yet) = (reader.since, reader.since == Revision::NONE);
        let sight = match seen {
            Seen::Hidden => return true,
            Seen::Anew { part, replaces } if !nothing_yet => {
                return self.anew(member, depth, part, replaces);
            }
            Seen::Shown(part) | Seen::Anew { part, .. } => part,
        };
        match &member.value {
            Value::Absent { .. } if nothing_yet => {}
            Value::Absent { existed_since } => {
                writer.remove(keys, member.key, *existed_since <= since);
            }
            // It may have taken the place of an object.
            Value::Leaf(_) if !nothing_yet && !sight.shows_leaf(false) => {
                writer.replace(keys, member.key, &member.value, depth, sight);
            }
            Value::Leaf(_) => writer.set(keys, member.key, &member.value, depth, sight),
            // At the cut an object reads as `{}`, whatever happens inside it.
            Value::Object(object) if depth == 0 => {
                if since < object.born {
                    writer.set(keys, member.key, &member.value, depth, sight);
                }
            }
            Value::Object(_) if nothing_yet => {
                writer.set(keys, member.key, &member.value, depth, sight);
            }
            Value::Object(object)
                if reader.may_see_more_of(keys, object, sight)
                    || left.is_some_and(Left::was_another) =>
            {
                writer.replace(keys, member.key, &member.value, depth, sight);
            }
            Value::Object(object) => {
                if since >= object.born {
                    writer.enter(keys, member.key, Has::This);
                } else if !writer.grow(keys, member.key, &member.value, depth, sight) {
                    return true;
                }
                let complete = self.of(object, depth, left, sight);
                self.writer.leave();
                return complete;
            }
        }
        true
    }

    /// Writes down all of a member that the reader may not have been shown at its cursor: it may
    /// have nothing there, or any state since. `replaces`: or another object, as in a walk.
    fn anew<S: Sight>(&mut self, member: &Member, depth: u32, sight: S, replaces: bool) -> bool {
        let Changes { keys, reader, ref mut writer, .. } = *self;
        match &member.value {
            Value::Absent { .. } if member.changed <= reader.since => {}
            Value::Absent { .. } => writer.remove(keys, member.key, false),
            Value::Leaf(_) if !sight.shows_leaf(false) => {
                writer.replace(keys, member.key, &member.value, depth, sight);
            }
            Value::Object(object) if depth > 0 => {
                if replaces || reader.walks || reader.may_hold_more_of(object) {
                    writer.replace(keys, member.key, &member.value, depth, sight);
                } else if writer.grow(keys, member.key, &member.value, depth, sight) {
                    let complete = object.slots().iter().all(|member| {
                        self.looks = self.looks.saturating_sub(1);
                        let is_vacant = member.key == KeyId::NONE;
                        let seen = sight.of(keys, member, Revision::NONE);
                        let part = seen.part().filter(|_| !is_vacant);
                        let goes_on =
                            part.is_none_or(|part| self.anew(member, depth - 1, part, false));
                        let goes_on = goes_on && self.looks > 0;
                        goes_on && self.writer.len() <= self.max && !self.writer.failed()
                    });
                    self.writer.leave();
                    return complete;
                }
            }
            value => writer.set(keys, member.key, value, depth, sight),
        }
        true
    }
}

/// Writer of RFC 7396 merge patches, or (for the first slice of a snapshot) of the value that a
/// merge into nothing gives.
pub(crate) struct Merge {
    out: Vec<u8>,
    /// Start of each open object, to take it back if nothing was written into it; `None` for one
    /// that is itself the news.
    open: Vec<Option<usize>>,
    /// True if nulls are values here, not removals.
    into_nothing: bool,
    failed: bool,
}

impl Merge {
    pub(crate) fn new(into_nothing: bool) -> Merge {
        Merge { out: vec![b'{'], open: Vec::new(), into_nothing, failed: false }
    }

    fn key(&mut self, keys: &Keys, key: KeyId) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        keys.write(key, &mut self.out);
        self.out.push(b':');
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

impl Writer for Merge {
    fn enter(&mut self, keys: &Keys, key: KeyId, reader_has: Has) {
        self.failed |= reader_has == Has::Another;
        self.open.push((reader_has == Has::This && !self.into_nothing).then_some(self.out.len()));
        self.key(keys, key);
        self.out.push(b'{');
    }

    fn leave(&mut self) {
        match self.open.pop().flatten() {
            Some(start) if self.out.last() == Some(&b'{') => self.out.truncate(start),
            _ => self.out.push(b'}'),
        }
    }

    fn grow<S: Sight>(&mut self, keys: &Keys, key: KeyId, _: &Value, _: u32, _: S) -> bool {
        self.enter(keys, key, Has::Nothing);
        true
    }

    fn set<S: Sight>(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32, sight: S) {
        self.key(keys, key);
        let nulls = value.write_seen(usize::MAX, keys, depth, sight, &mut self.out) == Some(true);
        self.failed |= nulls && !self.into_nothing;
    }

    fn replace<S: Sight>(&mut self, _: &Keys, _: KeyId, _: &Value, _: u32, _: S) {
        self.failed = true;
    }

    fn remove(&mut self, keys: &Keys, key: KeyId, _: bool) {
        self.key(keys, key);
        self.out.extend_from_slice(b"null");
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn failed(&self) -> bool {
        self.failed
    }
}

/// Writer of RFC 6902 JSON Patches, without `test`, `move` and `copy`.
pub(crate) struct Patch {
    out: Vec<u8>,
    /// The JSON Pointer of the open object, already escaped for a JSON string.
    pointer: Vec<u8>,
    open: Vec<usize>,
    /// True if all that was there at the cursor is still there.
    exact: bool,
    /// Bytes beyond which the patch is of no use.
    max: usize,
}

impl Patch {
    pub(crate) fn new(exact: bool, max: usize) -> Patch {
        Patch { out: vec![b'['], pointer: Vec::new(), open: Vec::new(), exact, max }
    }

    fn push(&mut self, keys: &Keys, key: KeyId) {
        self.pointer.push(b'/');
        let name = keys.name(key);
        let mut text = Vec::with_capacity(name.len() + 2);
        if name.contains(['~', '/']) {
            crate::tree::key::write_json_string(
                &name.replace('~', "~0").replace('/', "~1"),
                &mut text,
            );
        } else {
            keys.write(key, &mut text);
        }
        self.pointer.extend_from_slice(&text[1..text.len() - 1]);
    }

    fn operation(&mut self, keys: &Keys, op: &str, key: KeyId, value: impl FnOnce(&mut Vec<u8>)) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        let end = self.pointer.len();
        self.push(keys, key);
        self.out.extend_from_slice(b"{\"op\":\"");
        self.out.extend_from_slice(op.as_bytes());
        self.out.extend_from_slice(b"\",\"path\":\"");
        self.out.extend_from_slice(&self.pointer);
        self.out.push(b'"');
        value(&mut self.out);
        self.out.push(b'}');
        self.pointer.truncate(end);
    }

    fn add(&mut self, keys: &Keys, key: KeyId, value: impl FnOnce(&mut Vec<u8>)) {
        // `add`, not `replace`: on a member of an object it does both, so it applies whatever the
        // reader has there.
        self.operation(keys, "add", key, |out| {
            out.extend_from_slice(b",\"value\":");
            value(out);
        });
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b']');
        self.out
    }
}

impl Writer for Patch {
    fn enter(&mut self, keys: &Keys, key: KeyId, reader_has: Has) {
        if reader_has != Has::This {
            self.add(keys, key, |out| out.extend_from_slice(b"{}"));
        }
        self.open.push(self.pointer.len());
        self.push(keys, key);
    }

    fn leave(&mut self) {
        let end = self.open.pop().unwrap_or(0);
        self.pointer.truncate(end);
    }

    fn grow<S: Sight>(
        &mut self,
        keys: &Keys,
        key: KeyId,
        value: &Value,
        depth: u32,
        sight: S,
    ) -> bool {
        self.set(keys, key, value, depth, sight);
        false
    }

    fn set<S: Sight>(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32, sight: S) {
        let max = self.max;
        self.add(keys, key, |out| {
            // If it is given up, the patch is longer than `max`.
            let _ = value.write_seen(max, keys, depth, sight, out);
        });
    }

    fn replace<S: Sight>(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32, sight: S) {
        self.set(keys, key, value, depth, sight);
    }

    fn remove(&mut self, keys: &Keys, key: KeyId, sure: bool) {
        if !sure || !self.exact {
            // The member may have come and gone since the cursor. In RFC 6902, removing an absent
            // member is an error, so it is added first.
            self.add(keys, key, |out| out.extend_from_slice(b"null"));
        }
        self.operation(keys, "remove", key, |_| {});
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn failed(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::sight::All;
    use crate::tree::text::Text;

    #[test]
    fn a_patch_that_is_of_no_use_is_not_written_to_its_end() {
        let mut keys = Keys::default();
        let mut object = Object::new(Revision(1), 0);
        for i in 0..10_000 {
            let key = keys.hold(&format!("k{i}"));
            object.push(&keys, key, Value::Leaf(Text::new("1")), Revision(1));
        }
        let value = Value::Object(Box::new(object));
        let key = keys.hold("f");
        for max in [100, 1 << 20] {
            let mut patch = Patch::new(true, max);
            patch.replace(&keys, key, &value, u32::MAX, All);
            assert_eq!(patch.len() > max, max == 100, "whether it is of use");
            assert!(patch.len() < max + 100, "{}", patch.len());
        }
    }
}
