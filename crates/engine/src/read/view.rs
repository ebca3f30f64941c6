//! Views: the shapes in which readers ask for a value.

use std::hash::{Hash, Hasher};

use halfping_shape::{Condition, Order, Selection};

use crate::read::lens::Test;
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
        let Wanted { condition, selection, order, limit, count, list } = &wanted;
        let parts = [
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

    /// True if it selects parts of the resource itself, not of each of its members.
    pub(crate) fn is_of_resource(&self) -> bool {
        self.wanted.selection.as_ref().is_some_and(Selection::is_of_resource)
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
