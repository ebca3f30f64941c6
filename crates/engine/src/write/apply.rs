//! Applying a worked-out change. Nothing here can fail: everything that can fail was checked
//! before.

use crate::cursor::Revision;
use crate::limits::Limits;
use crate::mutants;
use crate::read::interest::{Interest, PointId};
use crate::read::views::Views;
use crate::rows::Key;
use crate::tree::garbage::Garbage;
use crate::tree::key::{KeyId, Keys};
use crate::tree::notes::Notes;
use crate::tree::{Member, Object, Value};
use crate::write::change::{Change, Members};

/// Context of applying a commit: what it reads besides the value, and what it leaves behind.
pub(crate) struct Applying<'a> {
    pub(crate) at: Revision,
    pub(crate) limits: &'a Limits,
    pub(crate) interest: &'a Interest,
    /// Places whose state changed.
    pub(crate) touched: &'a mut Vec<PointId>,
    /// Places beneath which everything changed.
    pub(crate) beneath: &'a mut Vec<PointId>,
    /// Objects that are no part of the state any more.
    pub(crate) garbage: &'a mut Garbage,
    /// Members that may still be removed one by one where an object is replaced. See
    /// [`REMOVALS_MAX`].
    pub(crate) removals: usize,
    /// Tombstones of the whole tree.
    pub(crate) tombstones: &'a mut usize,
    /// Rows of tombstones that are not remembered any more.
    pub(crate) forgotten: &'a mut Vec<Key>,
    /// Notes for readers in the middle of a walk, if there are any.
    pub(crate) notes: Option<&'a mut Notes>,
    /// Views of what is changed, if there are any.
    pub(crate) views: Option<&'a mut Views>,
    /// The names on the way to the current place.
    pub(crate) names: Vec<KeyId>,
}

impl Applying<'_> {
    /// Applies a change to a value. `point` is its place, if anybody watches there or beneath. True
    /// if anything changed.
    pub(crate) fn apply(
        &mut self,
        keys: &mut Keys,
        value: &mut Value,
        change: Change,
        point: Option<PointId>,
    ) -> bool {
        match (&mut *value, change) {
            (_, Change::Keep) => return false,
            (Value::Absent { .. }, Change::Remove) => return false,
            (Value::Leaf(old), Change::Leaf(new)) if *old == new => return false,
            (Value::Object(object), Change::Object { anew, members, .. })
                if !anew || object.live() <= members.len() + self.removals =>
            {
                if !self.apply_to_members(keys, object, anew, members, point) {
                    return false;
                }
                self.touch_plain(point);
            }
            (Value::Leaf(old), Change::Leaf(new)) => {
                *old = new;
                self.touch_plain(point);
            }
            (old, change) => {
                // A leaf does not remember when it came; the slot knows that it was there before
                // this revision.
                let existed_since =
                    if let Value::Object(object) = &*old { object.born } else { Revision::NONE };
                let new = match change {
                    Change::Remove => Value::Absent { existed_since },
                    change => self.build(keys, change, self.at),
                };
                if let Value::Object(object) = std::mem::replace(old, new) {
                    self.garbage.add(*object);
                }
                if let Some(point) = point.filter(|_| !mutants::is("beneath-not-marked")) {
                    self.beneath.push(point);
                }
            }
        }
        self.touched.extend(point);
        true
    }

    /// Touches the views of parts of what stands at a place.
    fn touch_plain(&mut self, point: Option<PointId>) {
        if let (Some(views), Some(point)) = (&self.views, point)
            && !mutants::is("view-plain-untouched")
        {
            views.touch_plain(point, self.touched);
        }
    }

    fn apply_to_members(
        &mut self,
        keys: &mut Keys,
        object: &mut Object,
        anew: bool,
        members: Members,
        point: Option<PointId>,
    ) -> bool {
        let mut changed = false;
        if anew {
            for slot in 0..object.slots().len() {
                let member = object.slot(slot);
                let stays = |change: &Change| !matches!(change, Change::Keep | Change::Remove);
                if member.value.is_live() && !members.get(keys.name(member.key)).is_some_and(stays)
                {
                    self.removals = self.removals.saturating_sub(1);
                    changed |= self.apply_to_slot(keys, object, slot, Change::Remove, point);
                }
            }
        }
        for (name, change) in members {
            let slot = keys.find(&name).and_then(|key| object.find(key));
            match (slot, change) {
                (_, Change::Keep) | (None, Change::Remove) => {}
                (Some(slot), change) => {
                    changed |= self.apply_to_slot(keys, object, slot, change, point);
                }
                (None, change) => {
                    let key = keys.hold(&name);
                    let value = self.build(keys, change, Revision::NONE);
                    object.push(keys, key, value, self.at);
                    if let (Some(views), Some(point)) = (&mut self.views, point) {
                        views.come(point, keys, object, self.at, self.touched);
                    }
                    if let Some(point) = point.and_then(|p| self.interest.child(p, key)) {
                        self.touched.push(point);
                        self.beneath.push(point);
                    }
                    changed = true;
                }
            }
        }
        if !changed {
            // The floor must not change either: nobody would be told.
            return false;
        }
        let elsewhere = *self.tombstones - object.tombstones();
        let room = self.limits.tombstones.saturating_sub(elsewhere);
        let max = self.limits.tombstones_per_object.min(room);
        let has_rows = object.has_rows();
        let (forgotten, names) = (&mut *self.forgotten, &self.names);
        let bytes_max = self.limits.tombstone_bytes;
        let mut steps = self.notes.is_some().then(Vec::new);
        *self.tombstones -=
            object.forget_tombstones(keys, max, bytes_max, steps.as_mut(), |keys, name| {
                if has_rows {
                    forgotten
                        .push(Key::of(names.iter().chain([&name]).map(|name| keys.name(*name))));
                }
            });
        if let (Some(notes), Some(steps)) =
            (&mut self.notes, steps.filter(|steps| !steps.is_empty()))
        {
            notes.push(keys, names, object.born, steps);
        }
        true
    }

    fn apply_to_slot(
        &mut self,
        keys: &mut Keys,
        object: &mut Object,
        slot: usize,
        change: Change,
        point: Option<PointId>,
    ) -> bool {
        let member = object.slot(slot);
        let (key, last_changed) = (member.key, member.changed);
        let was_leaf = matches!(member.value, Value::Leaf(_));
        let views = self.views.as_deref_mut().zip(point);
        let collection =
            views.and_then(|(views, point)| views.before(point, keys, (&*object, slot), self.at));
        let point = point.and_then(|p| self.interest.child(p, key));
        let before = object.tombstones();
        self.names.push(key);
        let changed = object.edit(keys, slot, self.at, |keys, value| {
            let changed = self.apply(keys, value, change, point);
            if let (true, Value::Absent { existed_since }) = (was_leaf, value) {
                *existed_since = last_changed;
            }
            changed
        });
        self.names.pop();
        if let (Some(views), Some(collection), true) = (&mut self.views, collection, changed) {
            views.after(collection, keys, (object, slot), self.at, self.touched);
        }
        *self.tombstones = *self.tombstones + object.tombstones() - before;
        changed
    }

    /// Builds a new value. `floor` tells an object that takes the place of something else apart
    /// from what stood there.
    fn build(&self, keys: &mut Keys, change: Change, floor: Revision) -> Value {
        match change {
            Change::Leaf(text) => Value::Leaf(text),
            Change::Object { members, .. } => {
                let floor = if mutants::is("replaced-as-same") { Revision::NONE } else { floor };
                let mut built = Vec::with_capacity(members.len());
                for (name, change) in members {
                    if !matches!(change, Change::Keep | Change::Remove) {
                        let key = keys.hold(&name);
                        let value = self.build(keys, change, Revision::NONE);
                        built.push(Member { key, changed: self.at, value });
                    }
                }
                Value::Object(Box::new(Object::restored(keys, self.at, floor, built)))
            }
            Change::Keep | Change::Remove => Value::Absent { existed_since: Revision::NONE },
        }
    }
}
