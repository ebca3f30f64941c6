//! The base of a commit: the tree, with the changes of commits that are not durable yet written
//! over it.

use crate::tree::Value;
use crate::tree::key::Keys;
use crate::tree::text::Text;
use crate::write::change::{Change, Members, REMOVALS_MAX};

/// A node as it will be before a commit.
#[derive(Clone, Copy)]
pub(crate) struct Base<'t> {
    /// The value that the tree has here.
    value: Option<&'t Value>,
    /// The change that is written over it. Never `Keep`.
    over: Option<&'t Change>,
}

/// The value that is there.
#[derive(Clone, Copy)]
pub(crate) enum View<'t> {
    Nothing,
    Leaf(&'t Text),
    Object,
}

impl<'t> Base<'t> {
    pub(crate) const NOTHING: Base<'static> = Base { value: None, over: None };

    pub(crate) fn new(value: &'t Value, over: &'t Change) -> Base<'t> {
        Base { value: Some(value), over: Some(over).filter(|c| !matches!(c, Change::Keep)) }
    }

    pub(crate) fn view(self) -> View<'t> {
        match (self.over, self.value) {
            (Some(Change::Leaf(text)), _) => View::Leaf(text),
            (Some(Change::Object { .. }), _) => View::Object,
            (Some(_), _) => View::Nothing,
            (None, Some(Value::Leaf(text))) => View::Leaf(text),
            (None, Some(Value::Object(_))) => View::Object,
            (None, _) => View::Nothing,
        }
    }

    pub(crate) fn exists(self) -> bool {
        !matches!(self.view(), View::Nothing)
    }

    pub(crate) fn is_object(self) -> bool {
        matches!(self.view(), View::Object)
    }

    /// The kind of this value, in words that an error can use.
    pub(crate) fn kind(self) -> &'static str {
        match self.view() {
            View::Nothing => "nothing",
            View::Leaf(text) => text.kind(),
            View::Object => "an object",
        }
    }

    /// True if commits that are not durable yet write here, or beneath.
    pub(crate) fn is_written_over(self) -> bool {
        self.over.is_some()
    }

    pub(crate) fn child(self, keys: &Keys, name: &str) -> Base<'t> {
        let (over, anew) = match self.over {
            Some(Change::Object { anew, members, .. }) => (members.get(name), *anew),
            Some(_) => return Base::NOTHING,
            None => (None, false),
        };
        let value = match self.value {
            Some(Value::Object(object)) if !anew => object.value(keys, name),
            _ => None,
        };
        Base { value, over: over.filter(|c| !matches!(c, Change::Keep)) }
    }

    /// Number of members of the object that is here. They are not looked at, since a change over
    /// the tree knows by how many it makes the object larger.
    pub(crate) fn members(self) -> usize {
        let live = if let Some(Value::Object(object)) = self.value { object.live() } else { 0 };
        match self.over {
            None => live,
            Some(Change::Object { anew, growth, members }) => {
                let without = if *anew { members.len() } else { live };
                without.saturating_add_signed(*growth)
            }
            Some(_) => 0,
        }
    }

    /// Upper bound of the members of the object that is here, found without looking at them.
    pub(crate) fn members_at_most(self) -> usize {
        let live = match (self.value, self.over) {
            (_, Some(Change::Object { anew: true, .. })) => 0,
            (Some(Value::Object(object)), _) => object.live(),
            _ => 0,
        };
        live + self.overlaid()
    }

    /// Members that are written over by commits that are not durable yet.
    pub(crate) fn overlaid(self) -> usize {
        if let Some(Change::Object { members, .. }) = self.over { members.len() } else { 0 }
    }

    /// Names of the members of the object that is here, in their order.
    pub(crate) fn names(self, keys: &'t Keys) -> Vec<&'t str> {
        let (over, anew) = match self.over {
            Some(Change::Object { anew, members, .. }) => (Some(members), *anew),
            Some(_) => return Vec::new(),
            None => (None, false),
        };
        let below = match self.value {
            Some(Value::Object(object)) if !anew => Some(object),
            _ => None,
        };
        let slots = below.map_or(&[][..], |object| object.slots());
        let live = slots.iter().enumerate().filter(|(_, member)| member.value.is_live());
        let mut names: Vec<_> = live.map(|(slot, member)| (slot, keys.name(member.key))).collect();
        if let Some(members) = over {
            // A tombstone keeps the slot of its name, and what has none follows in the order in
            // which it was written: the order that the object has once this is applied.
            let slot_of = |name: &str| below.and_then(|object| object.find(keys.find(name)?));
            let written = members.names().map(|name| (slot_of(name), name));
            let is_new = |slot: Option<usize>| slot.is_none_or(|slot| !slots[slot].value.is_live());
            let new = written.filter(|(slot, _)| is_new(*slot));
            names.extend(new.map(|(slot, name)| (slot.unwrap_or(slots.len()), name)));
            names.sort_by_key(|(slot, _)| *slot);
            names.retain(|(_, name)| self.child(keys, name).exists());
        }
        names.into_iter().map(|(_, name)| name).collect()
    }
}

/// The part of a change that makes a difference: the least change that has the same outcome. Where
/// an object loses very many members, that is a new object (see [`REMOVALS_MAX`]).
pub(crate) fn effective(keys: &Keys, change: Change, base: Base<'_>) -> Change {
    let mut removals = REMOVALS_MAX;
    effective_within(keys, change, base, &mut removals)
}

fn effective_within(keys: &Keys, change: Change, base: Base<'_>, removals: &mut usize) -> Change {
    match (change, base.view()) {
        (Change::Remove, View::Nothing) => Change::Keep,
        (Change::Leaf(new), View::Leaf(old)) if new == *old => Change::Keep,
        (Change::Object { anew, members, .. }, View::Object)
            if !anew || base.members() <= members.len() + *removals =>
        {
            let mut kept = Members::default();
            let mut growth = 0;
            if anew {
                let stays = |change: &Change| !matches!(change, Change::Keep | Change::Remove);
                for name in base.names(keys) {
                    if !members.get(name).is_some_and(stays) {
                        kept.insert(name.into(), Change::Remove);
                        growth -= 1;
                        *removals = removals.saturating_sub(1);
                    }
                }
            }
            for (name, member) in members {
                if anew && matches!(member, Change::Keep | Change::Remove) {
                    continue;
                }
                let beneath = base.child(keys, &name);
                match effective_within(keys, member, beneath, removals) {
                    Change::Keep => {}
                    member => {
                        growth += match (beneath.exists(), &member) {
                            (true, Change::Remove) => -1,
                            (false, Change::Leaf(_) | Change::Object { .. }) => 1,
                            _ => 0,
                        };
                        kept.insert(name, member);
                    }
                }
            }
            match kept.is_empty() {
                true => Change::Keep,
                false => Change::Object { anew: false, growth, members: kept },
            }
        }
        (Change::Object { anew, mut members, .. }, _) => {
            members.retain(|member| {
                let made = std::mem::take(member);
                *member = effective_within(keys, made, Base::NOTHING, removals);
                !matches!(member, Change::Keep | Change::Remove)
            });
            let growth = if anew { 0 } else { members.len() as isize };
            Change::Object { anew, growth, members }
        }
        (change, _) => change,
    }
}

#[cfg(test)]
impl Base<'_> {
    /// Counts the members of each object that is written over, and checks its own count.
    pub(crate) fn check(self, keys: &Keys) {
        let Some(Change::Object { members, .. }) = self.over else { return };
        assert_eq!(self.members(), self.names(keys).len(), "{:?}", self.over);
        members.names().for_each(|name| self.child(keys, name).check(keys));
    }
}
