//! Views over the tree as it is, for who reads once.

use std::cmp::Ordering;

use halfping_shape::{Order, Selection};

use crate::cursor::Revision;
use crate::read::asked::Asked;
use crate::read::beneath::Beneath;
use crate::read::lens::Test;
use crate::read::outlook::{InScope, Outlook};
use crate::read::part::Part;
use crate::read::rows::Row;
use crate::read::view::View;
use crate::tree::key::{KeyId, Keys};
use crate::tree::{Object, Value};

/// A view that is read once.
pub(crate) struct Once {
    /// The test of members; `None` for parts of the resource itself.
    test: Option<Test>,
    selection: Option<Selection<KeyId>>,
    /// The order of members, and the number that is shown.
    first: Option<(Order<KeyId>, usize)>,
    is_count: bool,
    is_list: bool,
    /// The part that the reader may see, if that is not all.
    outlook: Option<Outlook>,
    /// The names that lead to what is read.
    of: Vec<KeyId>,
}

impl Once {
    pub(crate) fn new(view: &View, keys: &Keys) -> Once {
        let known = |name: &str| keys.known(name);
        Once {
            test: (!view.is_of_resource()).then(|| view.test(known)),
            selection: view.selection(known),
            first: view.limit().map(|limit| (view.order(known), limit)),
            is_count: view.is_count(),
            is_list: view.is_list(),
            outlook: view.scope().map(|scope| Outlook::new(scope, known)),
            of: view.of().iter().map(|name| known(name)).collect(),
        }
    }

    /// The value that is read of a resource, if it is there and in sight, and the revision at which
    /// it, or that it is in sight, changed.
    pub(crate) fn found<'t>(
        &self,
        keys: &Keys,
        value: Option<&'t Value>,
        changed: Revision,
    ) -> (Option<&'t Value>, Revision) {
        let Some(test) = self.test.as_ref().filter(|_| !self.of.is_empty()) else {
            return (value, changed);
        };
        let Some(Value::Object(object)) = value else { return (None, changed) };
        let Beneath { value, changed, .. } =
            Beneath::find(keys, object, &self.of, test, || changed);
        (value, changed)
    }

    /// The part that its reader may see, if that is not all.
    pub(crate) fn in_scope(&self, value: &Value) -> Option<InScope<'_>> {
        self.outlook.as_ref().map(|outlook| InScope::new(outlook, value, &[]))
    }

    /// True if it is not the resource itself that is read.
    pub(crate) fn is_of_another(&self) -> bool {
        !self.of.is_empty()
    }

    /// True if it is what a reader may see of something, with nothing else asked for.
    fn is_scope(&self) -> bool {
        self.outlook.is_some() || !self.of.is_empty()
    }

    /// The part that it shows, if that depends on nothing but each member.
    pub(crate) fn part(&self) -> Part<'_> {
        let names = self.selection.as_ref().map(Selection::top);
        match &self.test {
            Some(test) => Part::of_members(test, names),
            None => Part::of_resource(names),
        }
    }

    /// Looks that it costs to write an object at once.
    pub(crate) fn looks(&self, object: &Object) -> usize {
        match &self.test {
            Some(test) if self.of.is_empty() => test.looks_at_all(object),
            _ => object.slots().len(),
        }
    }

    /// Its value of what has no members, or none that are shown.
    pub(crate) fn nothing(&self) -> &'static [u8] {
        match (self.is_count, self.is_list) {
            (true, _) => b"0",
            (false, true) => b"[]",
            (false, false) => b"{}",
        }
    }

    /// Writes its value of a value; `None` if it has more than `max` bytes.
    pub(crate) fn write(
        &self,
        max: usize,
        keys: &Keys,
        value: &Value,
        depth: u32,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if self.is_scope() {
            let sight = self.in_scope(value);
            match sight {
                Some(sight) => value.write_seen(max, keys, depth, sight, &mut out)?,
                None => value.write_up_to(max, keys, depth, &mut out)?,
            };
            return Some(out);
        }
        let Value::Object(object) = value else { return Some(self.nothing().to_vec()) };
        match (&self.test, &self.first) {
            (Some(test), _) if self.is_count => {
                let met = object.slots().iter().filter(|member| test.is_met(keys, member));
                out.extend_from_slice(met.count().to_string().as_bytes());
            }
            (Some(test), Some((order, limit))) => {
                let chosen = first(keys, object, test, order, *limit);
                let names = self.selection.as_ref().map(Selection::top);
                let part = Part::of_chosen(&chosen, names, self.is_list);
                value.write_seen(max, keys, depth, part, &mut out)?;
            }
            _ => {
                value.write_seen(max, keys, depth, self.part(), &mut out)?;
            }
        }
        Some(out)
    }
}

/// The first members that fulfil a test, in order.
fn first(
    keys: &Keys,
    object: &Object,
    test: &Test,
    order: &Order<KeyId>,
    limit: usize,
) -> Vec<KeyId> {
    let met = object.slots().iter().filter(|member| test.is_met(keys, member));
    let row = |name, value| Row::new(keys, order.key(Asked::new(keys, value)), name);
    let mut rows: Vec<Row> = met.map(|member| row(member.key, &member.value)).collect();
    let compare = |one: &Row, other: &Row| -> Ordering { one.compare(other, keys) };
    if limit < rows.len() {
        rows.select_nth_unstable_by(limit, compare);
        rows.truncate(limit);
    }
    rows.sort_unstable_by(compare);
    rows.into_iter().map(|row| row.name).collect()
}
