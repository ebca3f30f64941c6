//! Views: the shapes in which readers ask for a value.

use std::hash::{Hash, Hasher};

use halfping_shape::{Condition, Order, Selection};

use crate::read::lens::Test;
use crate::read::scope::Scope;
use crate::tree::key::KeyId;

/// The shape that a reader asks for. What is left out shows all.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wanted {
    /// Only members for which this is true.
    pub condition: Option<Condition>,
    /// Only these parts of each member, or of the resource itself.
    pub selection: Option<Selection>,
    /// The order of members. Without one they come by name, where order makes a difference.
    pub order: Option<Order>,
    /// Only so many members, the first in that order.
    pub limit: Option<usize>,
    /// True for the number of members instead of the members.
    pub count: bool,
    /// True for an array of names and members, in order, instead of an object.
    pub list: bool,
    /// The part that the reader may see: of the resource, or of what `of` leads to. One that is not
    /// all goes with nothing else but `of` and a condition.
    pub scope: Option<Scope>,
    /// Instead of the resource, what stands at these names in it, as long as the condition is true
    /// of the member that the first of them names.
    pub of: Vec<Box<str>>,
}

/// A reader's wish of a resource, other than all of it. Views that mean the same are equal, and
/// their readers share what is made for them.
#[derive(Clone, Debug)]
pub struct View {
    wanted: Wanted,
    text: Box<str>,
}

impl View {
    /// The view of these; `None` if it would show everything, as it is.
    pub fn new(mut wanted: Wanted) -> Option<View> {
        // The reader sorts by the members that it asked to order by.
        let paths = wanted.order.iter().flat_map(Order::paths);
        wanted.selection = wanted.selection.map(|selection| paths.fold(selection, Selection::with));
        if let Some(name) = wanted.of.first() {
            let is_it = Condition::of_key(name);
            let both = wanted.condition.take().map(|condition| condition.and(is_it.clone()));
            wanted.condition = Some(both.unwrap_or(is_it));
        }
        if let (Some(scope), true) = (&wanted.scope, wanted.of.is_empty()) {
            // Then nothing else concerns its readers.
            wanted.condition = wanted.condition.or_else(|| scope.gate());
        }
        let Wanted { condition, selection, order, limit, count, list, scope, of } = &wanted;
        let scope = scope.as_ref().filter(|scope| **scope != Scope::All);
        let parts = [
            (!of.is_empty()).then(|| format!("of={of:?}")),
            scope.map(|scope| format!("scope={scope}")),
            count.then(|| "count".to_owned()),
            list.then(|| "as=list".to_owned()),
            limit.map(|limit| format!("limit={limit}")),
            order.as_ref().map(|order| format!("order={order}")),
            selection.as_ref().map(|selection| format!("select={selection}")),
            condition.as_ref().map(|condition| format!("where={condition}")),
        ];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join("&");
        (!text.is_empty()).then(|| View { wanted, text: text.into() })
    }

    /// Its normal form: equal for views that mean the same.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if it has a condition that every member of its collection has to be asked about.
    pub(crate) fn asks_all(&self) -> bool {
        self.wanted.condition.as_ref().is_some_and(|condition| condition.equalities().is_none())
    }

    /// True if every member of its collection has to be put into its order.
    pub(crate) fn asks_all_to_rank(&self) -> bool {
        self.wanted.condition.is_none() || self.asks_all()
    }

    /// True if it shows parts of the resource itself, not of each of its members.
    pub(crate) fn is_of_resource(&self) -> bool {
        let Wanted { selection, condition, .. } = &self.wanted;
        let is_open = self.scope().is_some() && condition.is_none();
        is_open || selection.as_ref().is_some_and(Selection::is_of_resource)
    }

    /// True if it is what a reader may see of something.
    pub fn is_in_sight(&self) -> bool {
        self.wanted.scope.is_some() || !self.wanted.of.is_empty()
    }

    /// The part that its reader may see, where that is not all.
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.wanted.scope.as_ref().filter(|scope| **scope != Scope::All)
    }

    /// The names that lead to what it shows, in the resource.
    pub(crate) fn of(&self) -> &[Box<str>] {
        &self.wanted.of
    }

    /// True if it is the number of members.
    pub(crate) fn is_count(&self) -> bool {
        self.wanted.count
    }

    /// True if it is told as an array: then it is told whole.
    pub fn is_list(&self) -> bool {
        self.wanted.list
    }

    /// The members that it shows, if it shows the first in some order.
    pub(crate) fn limit(&self) -> Option<usize> {
        let Wanted { order, limit, list, .. } = &self.wanted;
        let is_ordered = order.is_some() || *list;
        limit.or(is_ordered.then_some(usize::MAX)).filter(|_| !self.is_count())
    }

    /// True if all members have to be known before it can be shown.
    pub(crate) fn is_of_all(&self) -> bool {
        self.is_count() || self.limit().is_some()
    }

    /// Its order, with names as `name` knows them.
    pub(crate) fn order(&self, mut name: impl FnMut(&str) -> KeyId) -> Order<KeyId> {
        let by_name = Order::by_name();
        self.wanted.order.as_ref().unwrap_or(&by_name).map(|text| name(text))
    }

    /// Its condition, with names as `name` knows them.
    pub(crate) fn condition(
        &self,
        mut name: impl FnMut(&str) -> KeyId,
    ) -> Option<Condition<KeyId>> {
        self.wanted.condition.as_ref().map(|condition| condition.map(|text| name(text)))
    }

    /// The test of its condition, with names as `name` knows them.
    pub(crate) fn test(&self, name: impl FnMut(&str) -> KeyId) -> Test {
        Test::new(self.condition(name), self.text.len())
    }

    /// Its selection, with names as `name` knows them.
    pub(crate) fn selection(
        &self,
        mut name: impl FnMut(&str) -> KeyId,
    ) -> Option<Selection<KeyId>> {
        self.wanted.selection.as_ref().map(|selection| selection.map(|text| name(text)))
    }
}

impl PartialEq for View {
    fn eq(&self, other: &View) -> bool {
        self.text == other.text
    }
}

impl Eq for View {}

impl Hash for View {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
