//! What takes a reader from its cursor to now: a snapshot, a merge patch, a JSON Patch, or word that nothing is there.
//!
//! One walk over what changed feeds one of two writers. A merge patch (RFC 7396) is short, but cannot say that a `null` was
//! written or that an object was replaced by a new one; then the same walk is written as a JSON Patch (RFC 6902). Its
//! operations are chosen to apply without fault to the state at the cursor, and by lenient readers to any state since.

use crate::cursor::Revision;
use crate::key::{KeyId, Keys};
use crate::mutants;
use crate::tree::{Member, Object, Value};

/// A place in a walk that goes out in slices: one entry for each object entered.
#[derive(Debug, Default)]
pub(crate) struct Position(Vec<Spot>);

#[derive(Debug)]
struct Spot {
    slot: usize,
    /// Of which object, in which numbering of slots: if it differs now, the object is walked from its start again.
    born: Revision,
    layout: u32,
    /// Tombstones that were known: if some have been forgotten since, they may be such as the reader has not been told of.
    floor: Revision,
}

/// What a reader has where an object is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    /// The same object, as it was.
    This,
    Nothing,
    /// An object that stood there before.
    Another,
}

/// Something that writes down a walk.
trait Writer {
    /// What changed in an object follows, up to [`Writer::leave`].
    fn enter(&mut self, keys: &Keys, key: KeyId, reader_has: Has);
    fn leave(&mut self);
    /// The member is a new object. The reader has nothing there, or an earlier state of it, from which members may have gone since.
    /// False when that is all there is to say; else what it has and had follows, up to [`Writer::leave`].
    fn grow(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32) -> bool;
    /// The member has this value now. What the reader may have there is no object, or none that matters.
    fn set(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32);
    /// The member has this value now, and the reader may have another object there.
    fn replace(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32);
    /// The member is gone. `sure`: it was there at the cursor.
    fn remove(&mut self, keys: &Keys, key: KeyId, sure: bool);
    fn len(&self) -> usize;
    /// The form cannot say what it was told.
    fn failed(&self) -> bool;
}

/// Writes all that changed in an object since a revision, as a merge patch or else as a JSON Patch. `None` when that is longer than
/// `max`; an empty body when nothing that can be seen at this depth has changed.
///
/// `exact`: the reader has just the state at that revision, and nothing newer.
pub(crate) fn delta(
    keys: &Keys,
    object: &Object,
    since: Revision,
    depth: u32,
    max: usize,
    exact: bool,
) -> Option<(Form, Vec<u8>)> {
    let mut merge = Merge::new(false);
    if changes(keys, object, since, depth, max, &mut merge) {
        let body = merge.finish();
        return Some((Form::Merge, if body.len() == 2 { Vec::new() } else { body }));
    }
    if !merge.failed() {
        return None;
    }
    let mut patch = Patch::new(exact);
    changes(keys, object, since, depth, max, &mut patch).then(|| (Form::Patch, patch.finish()))
}

/// Writes the next slice of all that changed since a revision, about `budget` bytes of it. Returns whether that was the rest.
///
/// Readers of the first slice of a snapshot (`first`) have nothing: it can be written as the value it leads to.
pub(crate) fn next_slice(
    keys: &Keys,
    object: &Object,
    since: Revision,
    depth: u32,
    position: &mut Position,
    budget: usize,
    first: bool,
) -> (Form, Vec<u8>, bool) {
    let start: Vec<Spot> = position.0.iter().map(|s| Spot { ..*s }).collect();
    let mut merge = Merge::new(first);
    let done = slice(keys, object, since, depth, position, 0, budget, &mut merge);
    if !merge.failed() {
        return (Form::Merge, merge.finish(), done);
    }
    position.0 = start;
    // An object whose slots were renumbered is walked again: what is removed may have been removed before.
    let mut patch = Patch::new(false);
    let done = slice(keys, object, since, depth, position, 0, budget, &mut patch);
    (Form::Patch, patch.finish(), done)
}

/// How a delta is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Merge,
    Patch,
}

/// Walks what changed. False when the writer failed or has more than `max` bytes.
fn changes(
    keys: &Keys,
    object: &Object,
    since: Revision,
    depth: u32,
    max: usize,
    writer: &mut impl Writer,
) -> bool {
    if depth == 0 {
        return true;
    }
    object.changed_since(since).all(|member| {
        change(keys, member, since, depth - 1, max, writer) && writer.len() <= max && !writer.failed()
    })
}

/// Writes down one member. False when the walk beneath it was given up.
fn change(
    keys: &Keys,
    member: &Member,
    since: Revision,
    depth: u32,
    max: usize,
    writer: &mut impl Writer,
) -> bool {
    let nothing_yet = since == Revision::NONE;
    match &member.value {
        Value::Absent { .. } if nothing_yet => {}
        Value::Absent { existed_since } => writer.remove(keys, member.key, *existed_since <= since),
        Value::Leaf(_) => writer.set(keys, member.key, &member.value, depth),
        // At the cut an object reads as `{}`, whatever happens inside it.
        Value::Object(object) if depth == 0 => {
            if since < object.born {
                writer.set(keys, member.key, &member.value, depth);
            }
        }
        Value::Object(object) if since < object.floor && !nothing_yet => {
            writer.replace(keys, member.key, &member.value, depth);
        }
        Value::Object(_) if nothing_yet => writer.set(keys, member.key, &member.value, depth),
        Value::Object(object) => {
            if since >= object.born {
                writer.enter(keys, member.key, Has::This);
            } else if !writer.grow(keys, member.key, &member.value, depth) {
                return true;
            }
            let complete = changes(keys, object, since, depth, max, writer);
            writer.leave();
            return complete;
        }
    }
    true
}

/// Walks on from a position, in order of slots, until the writer has `budget` bytes.
#[expect(clippy::too_many_arguments, reason = "one recursion, and nothing of it outlives the call")]
fn slice(
    keys: &Keys,
    object: &Object,
    since: Revision,
    depth: u32,
    position: &mut Position,
    level: usize,
    budget: usize,
    writer: &mut impl Writer,
) -> bool {
    if depth == 0 {
        return true;
    }
    let begun = position.0.get(level).is_some_and(|s| s.born == object.born && s.layout == object.layout);
    if !begun {
        position.0.truncate(level);
        position.0.push(Spot { slot: 0, born: object.born, layout: object.layout, floor: object.floor });
    }
    let begin = position.0[level].slot;
    for slot in begin..object.slots().len() {
        let member = object.slot(slot);
        // A position deeper down speaks of the object that was entered at the slot where we left off.
        let large = matches!(&member.value, Value::Object(child) if depth > 1 && child.json_len() > budget);
        if slot > begin || !large {
            position.0.truncate(level + 1);
        }
        position.0[level].slot = slot;
        if member.key == KeyId::NONE || member.changed <= since {
            continue;
        }
        match &member.value {
            // Too large for one slice: its members go out as if they were ours.
            Value::Object(child) if large => {
                let replaces = since < child.floor && since != Revision::NONE;
                let from = if replaces { Revision::NONE } else { since };
                let spot = position.0.get(level + 1);
                let inside = spot.is_some_and(|s| s.born == child.born && s.floor == child.floor);
                if !inside {
                    position.0.truncate(level + 1);
                }
                let reader_has = match (inside, replaces) {
                    (true, _) => Has::This,
                    (_, true) => Has::Another,
                    _ if since < child.born => Has::Nothing,
                    _ => Has::This,
                };
                writer.enter(keys, member.key, reader_has);
                let done = slice(keys, child, from, depth - 1, position, level + 1, budget, writer);
                writer.leave();
                if !done {
                    return false;
                }
                position.0.truncate(level + 1);
            }
            _ => {
                change(keys, member, since, depth - 1, usize::MAX, writer);
            }
        }
        if writer.len() >= budget {
            position.0[level].slot = slot + 1 + usize::from(mutants::is("slice-misordered"));
            return false;
        }
    }
    true
}

/// RFC 7396, or (for the first slice of a snapshot) the value that a merge into nothing gives.
struct Merge {
    out: Vec<u8>,
    /// Where each open object began, to take it back if nothing was written into it; `None` for one that is itself the news.
    open: Vec<Option<usize>>,
    /// Nulls are values here, not removals.
    into_nothing: bool,
    failed: bool,
}

impl Merge {
    fn new(into_nothing: bool) -> Merge {
        Merge { out: vec![b'{'], open: Vec::new(), into_nothing, failed: false }
    }

    fn key(&mut self, keys: &Keys, key: KeyId) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        keys.write(key, &mut self.out);
        self.out.push(b':');
    }

    fn finish(mut self) -> Vec<u8> {
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

    fn grow(&mut self, keys: &Keys, key: KeyId, _: &Value, _: u32) -> bool {
        self.enter(keys, key, Has::Nothing);
        true
    }

    fn set(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32) {
        self.key(keys, key);
        let nulls = value.write(keys, depth, &mut self.out);
        self.failed |= nulls && !self.into_nothing;
    }

    fn replace(&mut self, _: &Keys, _: KeyId, _: &Value, _: u32) {
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

/// RFC 6902, without `test`, `move` and `copy`.
struct Patch {
    out: Vec<u8>,
    /// The JSON Pointer of the open object, already escaped for a JSON string.
    pointer: Vec<u8>,
    open: Vec<usize>,
    /// What was there at the cursor is there still.
    exact: bool,
}

impl Patch {
    fn new(exact: bool) -> Patch {
        Patch { out: vec![b'['], pointer: Vec::new(), open: Vec::new(), exact }
    }

    fn push(&mut self, keys: &Keys, key: KeyId) {
        self.pointer.push(b'/');
        let name = keys.name(key);
        let mut text = Vec::with_capacity(name.len() + 2);
        if name.contains(['~', '/']) {
            crate::key::write_json_string(&name.replace('~', "~0").replace('/', "~1"), &mut text);
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
        // `add`, not `replace`: on a member of an object it does both, so it applies whatever the reader has there.
        self.operation(keys, "add", key, |out| {
            out.extend_from_slice(b",\"value\":");
            value(out);
        });
    }

    fn finish(mut self) -> Vec<u8> {
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

    fn grow(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32) -> bool {
        self.set(keys, key, value, depth);
        false
    }

    fn set(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32) {
        self.add(keys, key, |out| {
            value.write(keys, depth, out);
        });
    }

    fn replace(&mut self, keys: &Keys, key: KeyId, value: &Value, depth: u32) {
        self.set(keys, key, value, depth);
    }

    fn remove(&mut self, keys: &Keys, key: KeyId, sure: bool) {
        if !sure || !self.exact {
            // It may have come and gone since the cursor. RFC 6902 makes an error of removing what is not there, so it is there first.
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
