//! Parts: what a view shows of a value.

use halfping_shape::{Names, Selected};

use crate::cursor::Revision;
use crate::read::leavers::Leavers;
use crate::read::lens::{Lens, Test};
use crate::read::ranking::Shown;
use crate::tree::Object;
use crate::tree::key::{KeyId, Keys};
use crate::tree::node::Member;
use crate::tree::sight::{Forgotten, Seen, Sight};

/// The part of a value that a view shows: at first of the resource, then of what is beneath.
#[derive(Clone, Copy)]
pub(crate) struct Part<'v> {
    gate: Option<Gate<'v>>,
    names: Option<&'v Names<KeyId>>,
}

/// The members of a collection that are shown.
#[derive(Clone, Copy)]
enum Gate<'v> {
    /// Those that fulfil a test.
    Met {
        test: &'v Test,
        /// Knowledge of those that left; `None` for who has nothing yet.
        left: Option<&'v Leavers>,
        /// The revision before which the collection may have had members that it has forgotten.
        floor: Revision,
    },
    /// Those in a window. `floor` as above.
    First { shown: Shown<'v>, floor: Revision, is_list: bool },
    /// These, for who has nothing yet.
    Chosen { names: &'v [KeyId], is_list: bool },
}

impl<'v> Part<'v> {
    /// The members that a lens shows of a collection, and of each these names.
    pub(crate) fn through(
        lens: &'v Lens,
        names: Option<&'v Names<KeyId>>,
        object: &Object,
    ) -> Part<'v> {
        let Lens { test, left } = lens;
        Part { gate: Some(Gate::Met { test, left: Some(left), floor: object.floor }), names }
    }

    /// The members that a window shows of a collection, and of each these names.
    pub(crate) fn first(
        shown: Shown<'v>,
        names: Option<&'v Names<KeyId>>,
        object: &Object,
        is_list: bool,
    ) -> Part<'v> {
        Part { gate: Some(Gate::First { shown, floor: object.floor, is_list }), names }
    }

    /// The members that fulfil a test, and of each these names, for who has nothing yet.
    pub(crate) fn of_members(test: &'v Test, names: Option<&'v Names<KeyId>>) -> Part<'v> {
        Part { gate: Some(Gate::Met { test, left: None, floor: Revision::NONE }), names }
    }

    /// These members in this order, and of each these names, for who has nothing yet.
    pub(crate) fn of_chosen(
        chosen: &'v [KeyId],
        names: Option<&'v Names<KeyId>>,
        is_list: bool,
    ) -> Part<'v> {
        Part { gate: Some(Gate::Chosen { names: chosen, is_list }), names }
    }

    /// These members of the resource.
    pub(crate) fn of_resource(names: Option<&'v Names<KeyId>>) -> Part<'v> {
        Part { gate: None, names }
    }
}

impl Sight for Part<'_> {
    const IS_ALL: bool = false;

    fn of(self, keys: &Keys, member: &Member, since: Revision) -> Seen<Self> {
        let Some(gate) = self.gate else {
            let names = match self.names.map(|names| names.name(&member.key)) {
                None | Some(Selected::Whole) => None,
                Some(Selected::Nothing) => return Seen::Hidden,
                Some(Selected::Part(names)) => Some(names),
            };
            return Seen::Shown(Part { gate: None, names });
        };
        let part = Part { gate: None, names: self.names };
        // The last revision at which it may have come into sight.
        let (came, floor) = match gate {
            Gate::Met { test, floor, .. } => match test.is_met(keys, member) {
                true if since == Revision::NONE => return Seen::Shown(part),
                true => (test.changed(member), floor),
                false => return Seen::Hidden,
            },
            Gate::First { shown, floor, .. } => match shown.entered(member.key) {
                Some(entered) => (entered, floor),
                None => return Seen::Hidden,
            },
            Gate::Chosen { .. } => return Seen::Shown(part),
        };
        Seen::since(since, part, member, (came, floor), false)
    }

    fn looks(self, member: &Member) -> usize {
        match self.gate {
            Some(Gate::Met { test, .. }) => test.looks(&member.value),
            _ => 1,
        }
    }

    fn looks_at_all(self, object: &Object) -> usize {
        match self.gate {
            None => object.slots().len(),
            Some(Gate::Met { test, .. }) => test.looks_at_all(object),
            Some(Gate::First { shown, .. }) => shown.len(),
            Some(Gate::Chosen { names, .. }) => names.len(),
        }
    }

    fn floor(self, _: &Keys, _: &Object, _: Revision) -> Option<Revision> {
        match self.gate? {
            Gate::Met { left, .. } => left.map(|left| left.floor),
            Gate::First { shown, .. } => Some(shown.floor()),
            Gate::Chosen { .. } => None,
        }
    }

    fn left_since(self, _: &Object, since: Revision) -> impl Iterator<Item = KeyId> {
        let (left, shown) = match self.gate {
            Some(Gate::Met { left, .. }) => (left, None),
            Some(Gate::First { shown, .. }) => (None, Some(shown)),
            Some(Gate::Chosen { .. }) | None => (None, None),
        };
        let of_lens = left.into_iter().flat_map(move |left| left.since(since));
        of_lens.chain(shown.into_iter().flat_map(move |shown| shown.left_since(since)))
    }

    fn chosen(self) -> Option<impl Iterator<Item = KeyId>> {
        let (shown, names): (_, &[KeyId]) = match self.gate? {
            Gate::Met { .. } => return None,
            Gate::First { shown, .. } => (Some(shown), &[]),
            Gate::Chosen { names, .. } => (None, names),
        };
        Some(shown.into_iter().flat_map(Shown::names).chain(names.iter().copied()))
    }

    fn is_list(self) -> bool {
        matches!(
            self.gate,
            Some(Gate::First { is_list: true, .. } | Gate::Chosen { is_list: true, .. })
        )
    }

    fn shows_leaf(self, is_top: bool) -> bool {
        !is_top
    }

    fn forgotten_here(self, key: KeyId) -> Forgotten {
        match (&self.gate, self.names.map(|names| names.name(&key))) {
            (Some(_), _) | (None, Some(Selected::Nothing)) => Forgotten::Unseen,
            (None, _) => Forgotten::Seen,
        }
    }
}
