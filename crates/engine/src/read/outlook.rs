//! Outlooks: scopes over the tree, as walks ask them of members.
//!
//! Whether a member is in sight now is asked of the member. Whether it has left since a revision is
//! known by the [lens](crate::read::lens) of its collection, where there is one: where all names on
//! the way there are known. Elsewhere an object of which members may have left is told whole.

use std::collections::BTreeMap;

use crate::cursor::Revision;
use crate::mutants;
use crate::read::lens::{Lens, Test};
use crate::read::scope::{Others, Scope, Within};
use crate::tree::key::{KeyId, Keys};
use crate::tree::node::Member;
use crate::tree::sight::{Forgotten, Seen, Sight};
use crate::tree::{Object, Value};

/// A scope, with names and conditions as the tree has them.
pub(crate) enum Outlook {
    All,
    Part(Box<Inside>),
}

/// The members of an object that are in sight.
pub(crate) struct Inside {
    names: BTreeMap<KeyId, Option<Outlook>>,
    others: Rest,
    itself: bool,
    /// The number of its lens among those of the scope, if it has one.
    lens: Option<usize>,
}

enum Rest {
    Hidden,
    Shown(Outlook),
    Where(Vec<(Test, Outlook)>),
}

impl Outlook {
    /// The outlook of a scope. `name` gives a name as the tree has it.
    pub(crate) fn new(scope: &Scope, mut name: impl FnMut(&str) -> KeyId) -> Outlook {
        Outlook::of(scope, &mut name, &mut Some(0))
    }

    /// `lenses`: the number of the next lens; `None` where there are none. They are numbered as
    /// [`Scope::each_gate`] gives them.
    fn of(
        scope: &Scope,
        name: &mut dyn FnMut(&str) -> KeyId,
        lenses: &mut Option<usize>,
    ) -> Outlook {
        let Scope::Part(within) = scope else { return Outlook::All };
        let Within { names, others, itself } = &**within;
        let is_gate = within.is_gate();
        let lens = lenses.filter(|_| is_gate);
        *lenses = lenses.map(|next| next + usize::from(is_gate));
        let mut named = BTreeMap::new();
        for (text, scope) in names {
            let outlook = scope.as_ref().map(|scope| Outlook::of(scope, name, lenses));
            let key = name(text);
            // Nobody has a name that the tree does not know.
            if key != KeyId::NONE {
                named.insert(key, outlook);
            }
        }
        let others = match others {
            Others::Hidden => Rest::Hidden,
            Others::Shown(scope) => Rest::Shown(Outlook::of(scope, name, &mut None)),
            Others::Where(cases) => {
                let case = |(condition, scope): &(halfping_shape::Condition, Scope)| {
                    let bytes = condition.to_string().len();
                    let test = Test::new(Some(condition.map(|text| name(text))), bytes);
                    (test, Outlook::of(scope, name, &mut None))
                };
                Rest::Where(cases.iter().map(case).collect())
            }
        };
        Outlook::Part(Box::new(Inside { names: named, others, itself: *itself, lens }))
    }

    /// Gives back the names that it holds.
    pub(crate) fn release(&self, keys: &mut Keys) {
        let Outlook::Part(inside) = self else { return };
        for (key, outlook) in &inside.names {
            keys.release(*key);
            outlook.iter().for_each(|outlook| outlook.release(keys));
        }
        match &inside.others {
            Rest::Hidden => {}
            Rest::Shown(outlook) => outlook.release(keys),
            Rest::Where(cases) => {
                for (test, outlook) in cases {
                    drop(test.condition().map(|held| held.map(|key| keys.release(*key))));
                    outlook.release(keys);
                }
            }
        }
    }
}

/// The part of a value that is in sight: at first of the resource, then of what is beneath.
#[derive(Clone, Copy)]
pub(crate) struct InScope<'v> {
    outlook: &'v Outlook,
    /// The lenses of the scope; none for who has nothing yet.
    lenses: &'v [Option<&'v Lens>],
    /// The revision before which the object may have had members that it has forgotten.
    floor: Revision,
}

fn floor_of(value: &Value) -> Revision {
    match value {
        Value::Object(object) => object.floor,
        _ => Revision::NONE,
    }
}

impl<'v> InScope<'v> {
    /// The part of a value that an outlook shows.
    pub(crate) fn new(
        outlook: &'v Outlook,
        value: &Value,
        lenses: &'v [Option<&'v Lens>],
    ) -> InScope<'v> {
        InScope { outlook, lenses, floor: floor_of(value) }
    }

    fn inside(self) -> Option<&'v Inside> {
        match self.outlook {
            Outlook::All => None,
            Outlook::Part(inside) => Some(inside),
        }
    }

    fn lens(self) -> Option<&'v Lens> {
        *self.lenses.get(self.inside()?.lens?)?
    }
}

impl Inside {
    /// Names of members that are in sight whatever is in them.
    fn shown(&self) -> impl Iterator<Item = KeyId> {
        self.names.iter().filter(|(_, outlook)| outlook.is_some()).map(|(key, _)| *key)
    }

    /// True if members are in sight only by their names.
    fn is_by_name(&self) -> bool {
        matches!(self.others, Rest::Hidden)
    }

    /// The part of a member without a name that is in sight.
    fn case(&self, keys: &Keys, member: &Member) -> Option<&Outlook> {
        match &self.others {
            Rest::Hidden => None,
            Rest::Shown(outlook) => Some(outlook),
            Rest::Where(cases) => {
                cases.iter().find(|(test, _)| test.is_met(keys, member)).map(|(_, outlook)| outlook)
            }
        }
    }

    /// The last revision at which it may have come about that a member is in sight as it is.
    fn changed(&self, member: &Member) -> Revision {
        let Rest::Where(cases) = &self.others else { return Revision::NONE };
        let changed = cases.iter().map(|(test, _)| test.changed(member));
        changed.max().unwrap_or(Revision::NONE)
    }

    /// True if a member that has been in sight may have been so in another way, or may have had
    /// more in sight.
    fn may_have_shown_more(&self, outlook: &Outlook) -> bool {
        let is_one = matches!(&self.others, Rest::Where(cases) if cases.len() == 1);
        !is_one || !matches!(outlook, Outlook::All)
    }
}

impl Sight for InScope<'_> {
    const IS_ALL: bool = false;

    fn of(self, keys: &Keys, member: &Member, since: Revision) -> Seen<Self> {
        let within = |outlook| InScope { outlook, floor: floor_of(&member.value), ..self };
        let Some(inside) = self.inside() else { return Seen::Shown(within(self.outlook)) };
        let (outlook, came) = match inside.names.get(&member.key) {
            Some(None) => return Seen::Hidden,
            Some(Some(outlook)) => (outlook, Revision::NONE),
            None => match inside.case(keys, member) {
                Some(outlook) => (outlook, inside.changed(member)),
                None => return Seen::Hidden,
            },
        };
        let replaces = inside.may_have_shown_more(outlook);
        Seen::since(since, within(outlook), member, (came, self.floor), replaces)
    }

    fn looks(self, member: &Member) -> usize {
        match self.inside().map(|inside| &inside.others) {
            Some(Rest::Where(cases)) => {
                cases.iter().map(|(test, _)| test.looks(&member.value)).sum()
            }
            _ => 1,
        }
    }

    fn looks_at_all(self, object: &Object) -> usize {
        match self.inside() {
            Some(inside) if inside.is_by_name() => inside.names.len(),
            Some(Inside { others: Rest::Where(cases), .. }) => {
                cases.iter().map(|(test, _)| test.looks_at_all(object)).sum()
            }
            _ => object.slots().len(),
        }
    }

    fn floor(self, keys: &Keys, object: &Object, since: Revision) -> Option<Revision> {
        let inside = self.inside()?;
        match (&inside.others, self.lens()) {
            (Rest::Shown(_), _) => None,
            (_, Some(lens)) if mutants::is("scope-floor-of-object") => {
                Some(lens.left.floor.max(object.floor))
            }
            (_, Some(lens)) => Some(lens.left.floor),
            // Of a name that is forgotten it is told that nothing is there.
            (Rest::Hidden, None) => Some(Revision::NONE),
            (Rest::Where(_), None) => {
                // What is not in sight now may have been.
                let mut changed = object.slots_changed_since(since);
                let may_have_left = changed.any(|(_, slot)| {
                    let Some(member) = slot.map(|slot| object.slot(slot)) else { return false };
                    !inside.names.contains_key(&member.key)
                        && inside.case(keys, member).is_none()
                        && (!member.value.is_live() || inside.changed(member) > since)
                });
                let floor = if may_have_left { Revision::NEVER } else { Revision::NONE };
                Some(floor.max(object.floor))
            }
        }
    }

    fn left_since(self, object: &Object, since: Revision) -> impl Iterator<Item = KeyId> {
        let inside = self.inside().filter(|inside| !matches!(inside.others, Rest::Shown(_)));
        let left = self.lens().into_iter().flat_map(move |lens| lens.left.since(since));
        let left = left.filter(move |key| {
            // What is out of sight by its name was never in sight.
            inside.is_none_or(|inside| !matches!(inside.names.get(key), Some(None)))
        });
        let is_forgetful = object.floor > since && self.lens().is_none();
        let forgotten = inside.filter(move |_| is_forgetful).into_iter().flat_map(Inside::shown);
        left.chain(forgotten.filter(|key| object.find(*key).is_none()))
    }

    fn chosen(self) -> Option<impl Iterator<Item = KeyId>> {
        self.inside().filter(|inside| inside.is_by_name()).map(Inside::shown)
    }

    fn is_list(self) -> bool {
        false
    }

    fn shows_leaf(self, _: bool) -> bool {
        self.inside().is_none_or(|inside| inside.itself)
    }

    fn forgotten_here(self, key: KeyId) -> Forgotten {
        let Some(inside) = self.inside() else { return Forgotten::Seen };
        match (inside.names.get(&key), &inside.others) {
            _ if inside.lens.is_some() => Forgotten::Unseen,
            (Some(None), _) | (None, Rest::Hidden) => Forgotten::Unseen,
            (Some(Some(_)), _) | (None, Rest::Shown(_)) => Forgotten::Seen,
            (None, Rest::Where(_)) => Forgotten::Unknown,
        }
    }
}
