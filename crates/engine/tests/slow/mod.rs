//! Views done the slow way, on `serde_json` values: members are filtered one by one, sorted by a
//! comparison of its own, counted, and copied.

use std::cmp::Ordering;
use std::sync::Arc;

use halfping_engine::{Path, View, Wanted};
use halfping_shape::{Bounds, Condition, Names, Order, Selected, Selection};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::reader::cut;
use crate::world::Model;

/// Conditions and selections.
pub(crate) const VIEWS: [(Option<&str>, Option<&str>); 13] = [
    (Some("owner == 'a'"), None),
    (Some("owner in ['a', 'b'] && x > 2"), None),
    (Some("x > 2"), None),
    (Some("!(x > 2)"), Some("x,y")),
    (Some("has(deep.e) || key() == 'k1'"), None),
    (Some("deep.e == 1"), Some("deep(e),owner")),
    (Some("owner == 'a' || owner == 'c'"), Some("y")),
    (Some("'a' in list"), Some("list,x")),
    (Some("key() != 'k2'"), None),
    (None, Some("x,deep(e)")),
    (None, Some("/k1,/k2/x")),
    (Some("x == 99"), None),
    (None, None),
];

/// Paths with their directions; true for descending.
type Columns = &'static [(&'static [&'static str], bool)];

/// Orders; the first is that by name.
const ORDERS: [Columns; 8] = [
    &[],
    &[(&["x"], false)],
    &[(&["x"], true)],
    &[(&["owner"], false), (&["x"], true)],
    &[(&["deep", "e"], true)],
    &[(&["deep"], false), (&["y"], false)],
    &[(&["list"], true), (&["owner"], true)],
    &[(&["y"], false), (&["x"], false), (&["owner"], true), (&["deep", "f"], false)],
];

/// Form of a view's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Form {
    Members,
    Count,
    List,
}

/// A view in numbers, as it is generated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// One of [`VIEWS`].
    pub(crate) view: usize,
    /// One of [`ORDERS`].
    pub(crate) order: usize,
    pub(crate) limit: Option<usize>,
    pub(crate) form: Form,
}

impl Asked {
    pub(crate) fn plain(view: usize) -> Asked {
        Asked { view, order: 0, limit: None, form: Form::Members }
    }
}

pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    let limit = || prop_oneof![6 => (1usize..5).boxed(), 1 => Just(1000).boxed()];
    let view = || 0..VIEWS.len();
    // Most windows are of what nothing else narrows, where most happens.
    let wide = || prop_oneof![1 => Just(VIEWS.len() - 1).boxed(), 1 => view().boxed()];
    let order = || 0..ORDERS.len();
    prop_oneof![
        4 => view().prop_map(Asked::plain),
        6 => (wide(), order(), limit()).prop_map(|(view, order, limit)| {
            Asked { view, order, limit: Some(limit), form: Form::Members }
        }),
        1 => view().prop_map(|view| Asked { form: Form::Count, ..Asked::plain(view) }),
        2 => (wide(), order(), proptest::option::of(limit())).prop_map(|(view, order, limit)| {
            Asked { view, order, limit, form: Form::List }
        }),
    ]
}

/// A view, for the engine and done the slow way.
pub(crate) struct Spec {
    condition: Option<Condition>,
    /// The selection, with the paths of the order.
    selection: Option<Selection>,
    columns: Columns,
    limit: Option<usize>,
    form: Form,
    /// `None` if it shows everything as it is.
    pub(crate) view: Option<Arc<View>>,
    pub(crate) depth: u32,
}

impl Spec {
    pub(crate) fn new(asked: Asked, depth: u32) -> Spec {
        let bounds = Bounds::default();
        let (condition, selection) = VIEWS[asked.view];
        let condition = condition.map(|text| Condition::parse(text, &bounds).unwrap());
        let select = |text: &str| Selection::parse(text, &bounds).unwrap();
        // Parts of the resource itself are not members that could be sorted or counted.
        let is_of_resource = selection.is_some_and(|text| text.starts_with('/'));
        let Asked { order, limit, form, .. } = match is_of_resource {
            true => Asked::plain(asked.view),
            false => asked,
        };
        let columns = ORDERS[order];
        let paths: Vec<String> = columns.iter().map(|(path, _)| path.join(".")).collect();
        let sign = |(path, (_, descending)): (&String, &(_, bool))| match descending {
            true => format!("-{path}"),
            false => path.clone(),
        };
        let order = paths.iter().zip(columns).map(sign).collect::<Vec<_>>().join(",");
        let order = (!order.is_empty()).then(|| Order::parse(&order, &bounds).unwrap());
        let view = View::new(Wanted {
            condition: condition.clone(),
            selection: selection.map(select),
            order,
            limit,
            count: form == Form::Count,
            list: form == Form::List,
            ..Wanted::default()
        });
        let with_order = |text: &str| [&[text.to_owned()], &paths[..]].concat().join(",");
        let selection = selection.map(|text| select(&with_order(text)));
        Spec { condition, selection, columns, limit, form, view: view.map(Arc::new), depth }
    }

    fn members<'v>(&self, value: &'v Value) -> Vec<(&'v String, &'v Value)> {
        let is_shown = |(key, value): &(&String, &Value)| {
            self.condition.as_ref().is_none_or(|condition| condition.matches(*value, key))
        };
        let mut shown: Vec<_> = value.as_object().into_iter().flatten().filter(is_shown).collect();
        shown.sort_by(|(one, a), (other, b)| compare(self.columns, a, b).then(one.cmp(other)));
        shown.truncate(self.limit.unwrap_or(usize::MAX));
        shown
    }
}

impl Model for Spec {
    fn path(&self) -> Path {
        Path::ROOT.child("c")
    }

    fn view(&self) -> Option<Arc<View>> {
        self.view.clone()
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn text(&self) -> String {
        self.view.as_ref().map_or("everything", |view| view.text()).to_owned()
    }

    fn has_members(&self) -> bool {
        let is_of_resource = self.selection.as_ref().is_some_and(Selection::is_of_resource);
        self.form == Form::Members && self.view.is_some() && !is_of_resource
    }

    fn is_ordered(&self) -> bool {
        self.form == Form::Members && self.limit.is_some()
    }

    fn of(&self, root: &Value) -> Option<Value> {
        let value = root.get("c")?;
        let of_resource = self.selection.as_ref().filter(|s| s.is_of_resource());
        if let (Some(selection), Value::Object(_)) = (of_resource, value) {
            return Some(cut(&select(value, selection.top()), self.depth));
        }
        let part = |value: &Value, depth: u32| {
            let selection = self.selection.as_ref();
            cut(&selection.map_or(value.clone(), |s| select(value, s.top())), depth)
        };
        let members = || self.members(value).into_iter();
        Some(match self.form {
            _ if self.view.is_none() => cut(value, self.depth),
            Form::Count => json!(members().count()),
            _ if self.depth == 0 && self.form == Form::List => json!([]),
            Form::List => {
                members().map(|(name, value)| json!([name, part(value, self.depth - 1)])).collect()
            }
            Form::Members if self.depth == 0 => json!({}),
            Form::Members => Value::Object(
                members()
                    .map(|(name, value)| (name.clone(), part(value, self.depth - 1)))
                    .collect::<Map<String, Value>>(),
            ),
        })
    }

    fn names(&self, root: &Value) -> Vec<String> {
        let value = root.get("c").filter(|_| self.depth > 0);
        let members = value.map(|value| self.members(value)).unwrap_or_default();
        members.into_iter().map(|(name, _)| name.clone()).collect()
    }
}

/// The order of ADR 9, but for names.
fn compare(columns: Columns, a: &Value, b: &Value) -> Ordering {
    for (path, descending) in columns {
        let at = |value| path.iter().try_fold(value, |value: &Value, name| value.get(name));
        let (a, b) = (at(a), at(b));
        let ordering = kind(a).cmp(&kind(b)).then_with(|| match (a, b) {
            (Some(Value::Number(a)), Some(Value::Number(b))) => {
                a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()).unwrap()
            }
            (Some(Value::String(a)), Some(Value::String(b))) => {
                a.chars().take(256).cmp(b.chars().take(256))
            }
            _ => Ordering::Equal,
        });
        match (ordering, descending) {
            (Ordering::Equal, _) => {}
            (ordering, false) => return ordering,
            (ordering, true) => return ordering.reverse(),
        }
    }
    Ordering::Equal
}

fn kind(value: Option<&Value>) -> u8 {
    match value {
        None => 0,
        Some(Value::Null) => 1,
        Some(Value::Bool(false)) => 2,
        Some(Value::Bool(true)) => 3,
        Some(Value::Number(_)) => 4,
        Some(Value::String(_)) => 5,
        Some(Value::Array(_)) => 6,
        Some(Value::Object(_)) => 7,
    }
}

fn select(value: &Value, names: &Names) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let shown = members.iter().filter_map(|(name, value)| {
        let value = match names.name(name.as_str()) {
            Selected::Nothing => return None,
            Selected::Whole => value.clone(),
            Selected::Part(names) => select(value, names),
        };
        Some((name.clone(), value))
    });
    Value::Object(shown.collect())
}
