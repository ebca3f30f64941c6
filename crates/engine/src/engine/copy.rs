//! Copies of large values, made in steps, none of which takes long.
//!
//! A copy goes through the slots of an object once. Then it goes on with the changes since, which
//! are fewer each time, until one step brings it up to date. It keeps the text of each member with
//! the revision of that text, so that only changed members are written again. It learns of members
//! that are forgotten meanwhile from the [notes](crate::notes), as readers of slices do.

use std::sync::Arc;

use bytes::Bytes;

use crate::cursor::{Epoch, Revision};
use crate::engine::roots::Root;
use crate::engine::{Engine, Found, Reading};
use crate::path::Path;
use crate::read::delta::LOOKS_MAX;
use crate::read::interest::PointId;
use crate::read::link::Watch;
use crate::read::once::Once;
use crate::read::view::View;
use crate::read::views::Shows;
use crate::refusal::Refusal;
use crate::times::Timestamp;
use crate::tree::key::{KeyId, Keys};
use crate::tree::notes::{Bookmark, Note, Step};
use crate::tree::sight::{All, Sight};
use crate::tree::{Member, Object, Value};

/// Approximate bytes of text that one step writes: a fraction of a millisecond.
const STEP_BYTES: usize = 256 << 10;
/// Cost of a member in a step besides its text, in bytes.
const MEMBER_COST: usize = 64;
/// Cost of a slot that is only looked at, in bytes.
const LOOK_COST: usize = 4;
/// Steps after which the size of a step doubles, if the value is written faster than copied; and
/// the number of doublings.
const STEPS_OF_A_SIZE: u32 = 64;
const DOUBLINGS: u32 = 4;

/// Result of a read: the value, or a copy that has to be made in steps.
#[derive(Debug)]
pub enum Read {
    /// The value, which was small enough.
    Now(Reading),
    /// A copy that [`Engine::copy_on`] makes.
    InSteps(Copying),
}

/// A copy of a large value on its way. [`Engine::end_copy`] ends it, whole or not.
#[derive(Debug)]
pub struct Copying {
    path: Path,
    depth: u32,
    view: Option<Arc<View>>,
    /// The place of its view, if that has to learn of all members before it can be shown.
    place: Option<PointId>,
    step_bytes: usize,
    read: Bookmark,
    root: Option<Copy>,
    /// Bytes of text that it holds.
    bytes: usize,
    /// Steps since the whole value was copied once.
    late_steps: u32,
}

/// A whole copy: the value in one state.
#[derive(Debug)]
pub struct Copied(Whole);

#[derive(Debug)]
enum Whole {
    /// The value, which is no longer large.
    Reading(Reading),
    Object {
        root: Copy,
        revision: Revision,
        epoch: Epoch,
        time: Timestamp,
        bytes: usize,
    },
}

/// The copy of an object.
#[derive(Debug)]
struct Copy {
    born: Revision,
    layout: u32,
    /// The first slot that has not been copied once.
    next: usize,
    /// The revision up to which the copy has all changes of the slots that have been copied.
    good: Revision,
    /// The copied members, by slot.
    parts: Vec<Part>,
}

#[derive(Debug, Default)]
struct Part {
    /// The revision of the member's last change before it was copied.
    changed: Revision,
    body: Body,
}

#[derive(Debug, Default)]
enum Body {
    #[default]
    Nothing,
    /// Name and value.
    Text(Box<[u8]>),
    /// A large object: its name, and itself.
    Object(Box<(Box<[u8]>, Copy)>),
}

impl Engine {
    /// Reads the value at a path, `depth` levels of objects deep, if it is small; else begins a
    /// copy of it.
    pub fn read_in_steps(
        &mut self,
        path: &Path,
        depth: u32,
        view: Option<&Arc<View>>,
    ) -> Result<Read, Refusal> {
        self.read_in_steps_of(path, depth, view, STEP_BYTES)
    }

    /// Reads a value in smaller steps, for tests.
    #[doc(hidden)]
    pub fn read_in_steps_of(
        &mut self,
        path: &Path,
        depth: u32,
        view: Option<&Arc<View>>,
        step_bytes: usize,
    ) -> Result<Read, Refusal> {
        let small = match view {
            Some(view) => self.read_small_view(path, depth, view, step_bytes)?,
            None => self.read_small(path, depth, step_bytes)?,
        };
        if let Some(reading) = small {
            return Ok(Read::Now(reading));
        }
        let view_of_all = view.filter(|view| view.is_of_all());
        let place = view_of_all.map(|view| self.place_view(path, view)).transpose()?;
        self.walks += 1;
        let read = self.notes.end();
        Ok(Read::InSteps(Copying {
            path: path.clone(),
            depth,
            view: view.cloned(),
            place,
            step_bytes,
            read,
            root: None,
            bytes: 0,
            late_steps: 0,
        }))
    }

    /// Reads a value, if it is small enough for one step.
    fn read_small(
        &self,
        path: &Path,
        depth: u32,
        step_bytes: usize,
    ) -> Result<Option<Reading>, Refusal> {
        let (found, max) = (self.find(path), self.limits.value_bytes);
        match found.value {
            Some(Value::Object(object)) if depth == u32::MAX => {
                let len = object.json_len();
                if len > max {
                    return Err(Refusal::value_too_large(&self.limits));
                }
                if len > step_bytes {
                    return Ok(None);
                }
            }
            // With a cut its length is not known before it is written.
            Some(value @ Value::Object(_)) => {
                let mut out = Vec::new();
                let fits = value.write_up_to(step_bytes.min(max), &self.keys, depth, &mut out);
                return match fits {
                    Some(_) => Ok(Some(found.reading(Some(out.into())))),
                    None if max <= step_bytes => Err(Refusal::value_too_large(&self.limits)),
                    None => Ok(None),
                };
            }
            _ => {}
        }
        self.read(path, depth).map(Some)
    }

    /// The value that a view is of.
    fn find_once(&self, path: &Path, once: &Once) -> Found<'_> {
        let found = self.find(path);
        let (value, changed) = once.found(&self.keys, found.value, found.changed);
        Found { value, changed, ..found }
    }

    /// Reads a view, if that is little enough for one step.
    fn read_small_view(
        &self,
        path: &Path,
        depth: u32,
        view: &View,
        step_bytes: usize,
    ) -> Result<Option<Reading>, Refusal> {
        let once = Once::new(view, &self.keys);
        let found = self.find_once(path, &once);
        let is_of_all = view.is_of_all();
        let max = match is_of_all {
            true => self.limits.whole_frame_bytes,
            false => step_bytes.min(self.limits.value_bytes),
        };
        let body = match found.value {
            None => None,
            // At the cut an object has no members, whatever is in it.
            Some(Value::Object(_)) if depth == 0 && !view.is_count() => {
                Some(once.nothing().to_vec())
            }
            Some(Value::Object(object)) if once.looks(object) > LOOKS_MAX => return Ok(None),
            Some(value) => match once.write(max, &self.keys, value, depth) {
                None if is_of_all => return Err(self.too_large_at_once()),
                None => return Ok(None),
                body => body,
            },
        };
        Ok(Some(found.reading(body.map(Bytes::from))))
    }

    /// Does one step of a copy. `None` while it is not complete.
    pub fn copy_on(&mut self, copying: &mut Copying) -> Result<Option<Copied>, Refusal> {
        if let Some(place) = copying.place {
            let reading = self.read_view(copying, place)?;
            return Ok(reading.map(|reading| Copied(Whole::Reading(reading))));
        }
        let once = copying.view.as_ref().map(|view| Once::new(view, &self.keys));
        let found = match &once {
            Some(once) => self.find_once(&copying.path, once),
            None => self.find(&copying.path),
        };
        let Found { changed, root: Root { epoch, revision: now, .. }, .. } = found;
        let (epoch, now, time) = (*epoch, *now, found.time());
        let Some(value @ Value::Object(object)) = found.value else {
            // Another value is in its place now, or none.
            if let Some(once) = &once {
                let max = self.limits.value_bytes;
                let body =
                    found.value.map(|value| once.write(max, &self.keys, value, copying.depth));
                let too_large = || Refusal::value_too_large(&self.limits);
                let body = body.map(|body| body.ok_or_else(too_large)).transpose()?;
                return Ok(Some(Copied(Whole::Reading(found.reading(body.map(Bytes::from))))));
            }
            let value = found.value.map(|value| self.write(value, copying.depth)).transpose()?;
            return Ok(Some(Copied(Whole::Reading(found.reading(value.map(Bytes::from))))));
        };
        let is_same = copying.root.as_ref().is_some_and(|root| root.born == object.born);
        if !is_same || !self.notes.reaches_back_to(copying.read) {
            (copying.root, copying.bytes) = (None, 0);
            copying.read = self.notes.end();
        }
        let root = copying.root.get_or_insert_with(|| Copy::of(object, now));
        let beneath = copying.view.iter().flat_map(|view| view.of());
        let names = copying.path.segments().iter().chain(beneath);
        let names: Vec<_> = names.filter_map(|name| self.keys.find(name)).collect();
        let mut looks = LOOKS_MAX;
        while let Some(note) = self.notes.at(copying.read) {
            if looks == 0 {
                return Ok(None);
            }
            looks = looks.saturating_sub(1 + note.steps.len());
            if let Some(path) = note.object.strip_prefix(&*names) {
                copying.bytes -= root.heed(object, path, note);
            }
            copying.read.next_note();
        }
        let mut step = CopyStep {
            keys: &self.keys,
            now,
            budget: copying.step_bytes << (copying.late_steps / STEPS_OF_A_SIZE).min(DOUBLINGS),
            large: copying.step_bytes / 4,
            bytes: copying.bytes,
            scratch: Vec::new(),
        };
        let is_whole = match (&once, once.as_ref().and_then(|once| once.in_scope(value))) {
            (_, Some(sight)) => step.copy(object, root, copying.depth, sight),
            (Some(once), None) if !once.is_of_another() => {
                step.copy(object, root, copying.depth, once.part())
            }
            _ => step.copy(object, root, copying.depth, All),
        };
        copying.bytes = step.bytes;
        copying.late_steps += u32::from(root.next >= object.slots().len());
        if copying.bytes > self.limits.value_bytes {
            return Err(Refusal::value_too_large(&self.limits));
        }
        let root = copying.root.take_if(|_| is_whole);
        let bytes = copying.bytes;
        Ok(root.map(|root| Copied(Whole::Object { root, revision: changed, epoch, time, bytes })))
    }

    /// Ends a copy, complete or not. Drop the result without holding the engine: that may take
    /// long.
    #[must_use = "it is dropped once nobody waits for the engine"]
    pub fn end_copy(&mut self, mut copying: Copying) -> Copying {
        copying.place.take().into_iter().for_each(|place| self.leave(place));
        self.walks -= 1;
        self.forget_notes();
        copying
    }
}

impl Engine {
    /// Places a view for who reads it once.
    fn place_view(&mut self, path: &Path, view: &Arc<View>) -> Result<PointId, Refusal> {
        let watch = Watch { view: Some(view.clone()), ..Watch::new(path.clone()) };
        if let Err((limit, max)) = self.make_room_for(&watch) {
            let what = "the members of the view have to be put in order first".into();
            return Err(Refusal::Limit { limit, max, what });
        }
        Ok(self.stand_in(view, path, None))
    }

    /// Reads the view at a place, if it has learned all that it has to know of its members.
    fn read_view(&mut self, copying: &Copying, place: PointId) -> Result<Option<Reading>, Refusal> {
        self.looked.set(0);
        let mut names = std::mem::take(&mut self.names);
        let is_known = self.learn(place, &mut names);
        self.names = names;
        self.looked.set(0);
        if !is_known {
            return Ok(None);
        }
        let found = self.find(&copying.path);
        let state = found.value.map(|value| (value, found.changed));
        let shows = state.and_then(|state| self.views.shows(&self.keys, place, state));
        let body = match (found.value, shows) {
            (_, Some(Shows::TooLarge)) => return Err(self.too_many_rows()),
            (_, Some(Shows::Number(number, _))) => Some(self.write(number, copying.depth)?),
            (Some(Value::Leaf(_)), Some(Shows::Part(_))) => {
                let view = copying.view.as_ref().map(|view| Once::new(view, &self.keys));
                view.map(|once| once.nothing().to_vec())
            }
            (Some(value), Some(Shows::Part(part))) => {
                let max = self.limits.whole_frame_bytes;
                let body = self.write_seen(max, value, copying.depth, part);
                Some(body.ok_or_else(|| self.too_large_at_once())?)
            }
            _ => None,
        };
        Ok(Some(found.reading(body.map(Bytes::from))))
    }
}

impl Copied {
    /// Approximate bytes of the value.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Whole::Reading(reading) => reading.value.as_ref().map_or(0, Bytes::len),
            Whole::Object { bytes, .. } => *bytes,
        }
    }

    /// The value, as if it had been read at once. The time that this takes grows with its size; it
    /// needs no engine.
    pub fn into_reading(self) -> Reading {
        match self.0 {
            Whole::Reading(reading) => reading,
            Whole::Object { root, revision, epoch, time, bytes } => {
                let mut out = Vec::with_capacity(bytes + bytes / 8 + 2);
                root.write(&mut out);
                Reading { value: Some(out.into()), revision, epoch, time }
            }
        }
    }
}

impl Copy {
    fn of(object: &Object, now: Revision) -> Copy {
        let parts = Vec::with_capacity(object.slots().len());
        Copy { born: object.born, layout: object.layout, next: 0, good: now, parts }
    }

    /// Forgets what the object has forgotten. Returns the bytes that were freed.
    fn heed(&mut self, object: &Object, path: &[KeyId], note: &Note) -> usize {
        // Slots that have been renumbered are copied anew.
        if (self.born, self.layout) != (object.born, object.layout) {
            return 0;
        }
        let Some((key, rest)) = path.split_first() else {
            if object.born != note.born {
                return 0;
            }
            let forgotten = note.steps.iter().filter_map(|step| match step {
                Step::Forgotten { slot, .. } => Some(*slot as usize),
                Step::Renumbered(_) => None,
            });
            return forgotten.map(|slot| self.parts.get_mut(slot).map_or(0, Part::clear)).sum();
        };
        let Some(slot) = object.find(*key) else { return 0 };
        match (&object.slot(slot).value, self.parts.get_mut(slot).map(|part| &mut part.body)) {
            (Value::Object(child), Some(Body::Object(copy))) => copy.1.heed(child, rest, note),
            _ => 0,
        }
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    fn write(self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut is_first = true;
        for part in self.parts.into_iter().filter(|part| !matches!(part.body, Body::Nothing)) {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            match part.body {
                Body::Nothing => {}
                Body::Text(text) => out.extend_from_slice(&text),
                Body::Object(object) => {
                    out.extend_from_slice(&object.0);
                    object.1.write(out);
                }
            }
        }
        out.push(b'}');
    }
}

impl Part {
    fn bytes(&self) -> usize {
        match &self.body {
            Body::Nothing => 0,
            Body::Text(text) => text.len(),
            Body::Object(object) => object.0.len() + object.1.bytes(),
        }
    }

    fn clear(&mut self) -> usize {
        let bytes = self.bytes();
        self.body = Body::Nothing;
        bytes
    }
}

/// One step of a copy.
struct CopyStep<'e> {
    keys: &'e Keys,
    now: Revision,
    /// Bytes that it may still write.
    budget: usize,
    /// Bytes from which on an object is copied member by member.
    large: usize,
    /// Bytes of text that the copy holds.
    bytes: usize,
    scratch: Vec<u8>,
}

impl CopyStep<'_> {
    /// Copies what is missing. True if nothing is left.
    fn copy<S: Sight>(&mut self, object: &Object, copy: &mut Copy, depth: u32, sight: S) -> bool {
        if (copy.born, copy.layout) != (object.born, object.layout) {
            self.bytes -= copy.bytes();
            *copy = Copy::of(object, self.now);
        }
        // Slots that have not been copied yet.
        while copy.next < object.slots().len() {
            if self.budget == 0 {
                return false;
            }
            if copy.parts.len() == copy.next {
                copy.parts.push(Part::default());
            }
            if !self.copy_slot(object, copy, copy.next, depth, sight) {
                return false;
            }
            copy.next += 1;
        }
        // Slots that have changed since they were copied.
        for (changed, slot) in object.slots_changed_since(copy.good) {
            // A large object gives them in order of change, so those before this one are done, and
            // are not looked at again.
            if object.is_indexed() {
                copy.good = copy.good.max(changed.previous());
            }
            if self.budget == 0 {
                return false;
            }
            match slot {
                Some(slot) if !self.copy_slot(object, copy, slot, depth, sight) => return false,
                Some(_) => {}
                None => self.budget = self.budget.saturating_sub(LOOK_COST),
            }
        }
        copy.good = self.now;
        true
    }

    /// Brings the copy of a slot up to date. False when the budget does not suffice.
    fn copy_slot<S: Sight>(
        &mut self,
        object: &Object,
        copy: &mut Copy,
        slot: usize,
        depth: u32,
        sight: S,
    ) -> bool {
        self.budget = self.budget.saturating_sub(LOOK_COST);
        let member = object.slot(slot);
        let part = &mut copy.parts[slot];
        let is_known = part.changed == member.changed;
        if member.key == KeyId::NONE {
            return true; // cleared when it was forgotten
        }
        // What is shown of a member depends on nothing but the member.
        if is_known && !matches!(part.body, Body::Object(_)) {
            return true;
        }
        let looks = if S::IS_ALL { 0 } else { sight.looks(member) };
        self.budget = self.budget.saturating_sub(LOOK_COST * looks);
        let Some(sight) = sight.of(self.keys, member, Revision::NONE).part() else {
            self.bytes -= part.clear();
            part.changed = member.changed;
            return true;
        };
        match &member.value {
            Value::Object(child)
                if depth > 1 && (child.json_len() > self.large || is_object(part, child)) =>
            {
                if !is_object(part, child) {
                    self.bytes -= part.clear();
                    let name = self.name(member);
                    part.body = Body::Object(Box::new((name, Copy::of(child, self.now))));
                }
                let Body::Object(object) = &mut part.body else { return false };
                if !is_known
                    || object.1.good < member.changed
                    || object.1.next < child.slots().len()
                {
                    if !self.copy(child, &mut object.1, depth - 1, sight) {
                        return false;
                    }
                    part.changed = member.changed;
                }
            }
            value => {
                self.bytes -= part.clear();
                if value.is_live() {
                    self.scratch.clear();
                    self.keys.write(member.key, &mut self.scratch);
                    self.scratch.push(b':');
                    value.write_seen(usize::MAX, self.keys, depth - 1, sight, &mut self.scratch);
                    part.body = Body::Text(self.scratch.as_slice().into());
                    self.bytes += self.scratch.len();
                    self.budget = self.budget.saturating_sub(MEMBER_COST + self.scratch.len());
                }
                part.changed = member.changed;
            }
        }
        true
    }

    fn name(&mut self, member: &Member) -> Box<[u8]> {
        self.scratch.clear();
        self.keys.write(member.key, &mut self.scratch);
        self.scratch.push(b':');
        self.bytes += self.scratch.len();
        self.scratch.as_slice().into()
    }
}

/// True if a part is the copy of this very object.
fn is_object(part: &Part, child: &Object) -> bool {
    matches!(&part.body, Body::Object(copy) if copy.1.born == child.born)
}
