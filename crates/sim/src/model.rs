//! The model: the tree as it should be, in plain values, without any of the engine's code.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use halfping_engine::{View, Wanted};
use halfping_shape::{Bounds, Condition, Order, Selected, Selection};
use serde_json::{Map, Value, json};

/// The name beneath which the server's own state is read.
pub(crate) const OWN: &str = "_server";

/// Names from the root.
pub(crate) type Names = Vec<String>;

/// Reason for which the model refuses a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum No {
    NotFound,
    NotAnObject,
    Precondition,
    PatchFailed,
    /// A bound is passed. The model has none, and believes the engine.
    Limit,
    Other,
}

/// Action of a write.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Put(Value),
    Merge(Value),
    Patch(Value),
    Delete,
}

/// True if a path leads to the server's own state.
pub(crate) fn is_own(path: &[String]) -> bool {
    path.first().is_some_and(|name| name == OWN)
}

pub(crate) fn at<'v>(root: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, name| value.as_object()?.get(name))
}

/// All that readers can see: the tree, and the server's own state beside it.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) root: Rc<Value>,
    pub(crate) own: Rc<Value>,
}

impl Seen {
    /// Part of the value at a place that a view shows, `depth` levels of objects deep.
    pub(crate) fn view(&self, path: &[String], depth: u32, view: usize) -> Option<Value> {
        let value = match path.split_first() {
            Some((first, beneath)) if first == OWN => at(&self.own, beneath),
            _ => at(&self.root, path),
        };
        value.map(|value| shown(value, depth, view))
    }
}

/// A view that clients look through. What is empty, or 0, is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    condition: &'static str,
    selection: &'static str,
    order: &'static str,
    limit: usize,
    count: bool,
    list: bool,
}

const fn asked(condition: &'static str, selection: &'static str) -> Asked {
    Asked { condition, selection, order: "", limit: 0, count: false, list: false }
}

const fn window(order: &'static str, limit: usize, of: Asked) -> Asked {
    Asked { order, limit, ..of }
}

/// Everything, as it is.
const ALL: Asked = asked("", "");

/// Views that clients look through. The first shows everything.
pub(crate) const VIEWS: [Asked; 22] = [
    ALL,
    asked("p == 1", ""),
    asked("p in [1, 2] && q > 0", ""),
    asked("p > 1", "p"),
    asked("!(p > 1)", "p,b(p)"),
    asked("has(b.p) || key() == 'b'", ""),
    asked("key() != 'a'", ""),
    asked("", "p,b(p)"),
    asked("", "/a,/b/p"),
    window("p", 1, ALL),
    window("p", 2, ALL),
    window("p", 3, ALL),
    window("-p,q", 2, ALL),
    window("-b.p", 2, asked("", "q")),
    window("", 2, ALL),
    window("", 1, asked("key() != 'a'", "p")),
    window("q,-p", 1, asked("p > 1", "b")),
    window("q,-p", 2, asked("p > 1", "b")),
    window("-q", 1000, asked("p in [1, 2]", "")),
    Asked { count: true, ..ALL },
    Asked { count: true, ..asked("p > 1", "") },
    Asked { list: true, ..window("-p", 3, ALL) },
];

/// A view as the model and the engine know it.
struct Parsed {
    asked: Asked,
    condition: Option<Condition>,
    /// The selection, with the paths of the order.
    selection: Option<Selection>,
    order: Order,
    view: Option<Arc<View>>,
}

impl Parsed {
    fn new(asked: Asked) -> Parsed {
        let bounds = Bounds::default();
        let Asked { condition, selection, order, limit, count, list } = asked;
        let condition = (!condition.is_empty())
            .then(|| Condition::parse(condition, &bounds).expect("a condition"));
        let selection = (!selection.is_empty())
            .then(|| Selection::parse(selection, &bounds).expect("a selection"));
        let order = (!order.is_empty()).then(|| Order::parse(order, &bounds).expect("an order"));
        let view = View::new(Wanted {
            condition: condition.clone(),
            selection: selection.clone(),
            order: order.clone(),
            limit: (limit > 0).then_some(limit),
            count,
            list,
            ..Wanted::default()
        })
        .map(Arc::new);
        let order = order.unwrap_or_else(Order::by_name);
        let selection = selection.map(|selection| order.paths().fold(selection, Selection::with));
        Parsed { asked, condition, selection, order, view }
    }

    /// The members of a value that it shows, in order.
    fn members<'v>(&self, value: &'v Value) -> Vec<(&'v String, &'v Value)> {
        let is_shown = |(name, value): &(&String, &Value)| {
            self.condition.as_ref().is_none_or(|condition| condition.matches(*value, name))
        };
        let mut shown: Vec<_> = value.as_object().into_iter().flatten().filter(is_shown).collect();
        shown.sort_by(|(a, one), (b, other)| self.order.compare((a, *one), (b, *other)));
        if self.asked.limit > 0 {
            shown.truncate(self.asked.limit);
        }
        shown
    }

    fn part(&self, value: &Value, depth: u32) -> Value {
        let selection = self.selection.as_ref();
        cut(&selection.map_or_else(|| value.clone(), |s| select(value, s.top())), depth)
    }
}

fn parsed(view: usize) -> &'static Parsed {
    static PARSED: LazyLock<Vec<Parsed>> =
        LazyLock::new(|| VIEWS.iter().map(|asked| Parsed::new(*asked)).collect());
    &PARSED[view]
}

/// True if a view has a ranking or a number that may be kept for who comes back.
pub(crate) fn is_ranked(view: usize) -> bool {
    let Asked { order, limit, count, list, .. } = VIEWS[view];
    !order.is_empty() || limit > 0 || count || list
}

/// A view for the engine.
pub(crate) fn view_of(view: usize) -> Option<Arc<View>> {
    parsed(view).view.clone()
}

fn shown(value: &Value, depth: u32, view: usize) -> Value {
    let parsed = parsed(view);
    if parsed.view.is_none() {
        return cut(value, depth);
    }
    let is_of_resource = parsed.selection.as_ref().is_some_and(Selection::is_of_resource);
    if is_of_resource && value.is_object() {
        return parsed.part(value, depth);
    }
    let members = parsed.members(value);
    let Some(beneath) = depth.checked_sub(1).filter(|_| !parsed.asked.count) else {
        return match parsed.asked {
            Asked { count: true, .. } => members.len().into(),
            Asked { list: true, .. } => Value::Array(Vec::new()),
            _ => Value::Object(Map::new()),
        };
    };
    let members = members.into_iter().map(|(name, value)| (name, parsed.part(value, beneath)));
    match parsed.asked.list {
        true => members.map(|(name, value)| json!([name, value])).collect(),
        false => Value::Object(members.map(|(name, value)| (name.clone(), value)).collect()),
    }
}

fn select(value: &Value, names: &halfping_shape::Names) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let part = |(name, value): (&String, &Value)| match names.name(name.as_str()) {
        Selected::Nothing => None,
        Selected::Whole => Some((name.clone(), value.clone())),
        Selected::Part(names) => Some((name.clone(), select(value, names))),
    };
    Value::Object(members.iter().filter_map(part).collect())
}

fn cut(value: &Value, depth: u32) -> Value {
    match value {
        Value::Object(_) if depth == 0 => Value::Object(Map::new()),
        Value::Object(_) if depth > 64 => value.clone(),
        Value::Object(members) => {
            members.iter().map(|(k, v)| (k.clone(), cut(v, depth - 1))).collect()
        }
        other => other.clone(),
    }
}

/// Applies an RFC 7396 merge patch.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => drop(members.remove(name)),
            value => merge(members.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

/// Does a write. True if nothing was there before.
pub(crate) fn write(root: &mut Value, path: &[String], act: &Act) -> Result<bool, No> {
    let created = at(root, path).is_none();
    match act {
        Act::Put(value) => *make(root, path)? = value.clone(),
        Act::Merge(patch) => {
            let target = make(root, path)?;
            merge(target, patch);
        }
        Act::Patch(operations) => {
            let Some(target) = at(root, path) else { return Err(No::NotFound) };
            let mut target = target.clone();
            let patch: json_patch::Patch =
                serde_json::from_value(operations.clone()).map_err(|_| No::PatchFailed)?;
            json_patch::patch_unsafe(&mut target, &patch).map_err(|_| No::PatchFailed)?;
            *make(root, path)? = target;
        }
        Act::Delete => {
            let Some((last, above)) = path.split_last() else { return Err(No::Other) };
            if created {
                return Err(No::NotFound);
            }
            if let Some(members) = make(root, above)?.as_object_mut() {
                members.remove(last);
            }
        }
    }
    Ok(created)
}

/// A place to write to, with everything above it. New values are `null`.
fn make<'v>(root: &'v mut Value, path: &[String]) -> Result<&'v mut Value, No> {
    let mut value = root;
    for name in path {
        let Value::Object(members) = value else { return Err(No::NotAnObject) };
        let is_last = std::ptr::eq(name, &path[path.len() - 1]);
        let fresh = if is_last { Value::Null } else { Value::Object(Map::new()) };
        value = members.entry(name.clone()).or_insert(fresh);
    }
    Ok(value)
}

/// Difference between two values.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Diff {
    Keep,
    Remove,
    Set(Value),
    Members(BTreeMap<String, Diff>),
}

pub(crate) fn diff(old: Option<&Value>, new: Option<&Value>) -> Diff {
    match (old, new) {
        (None, None) => Diff::Keep,
        (Some(_), None) => Diff::Remove,
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            let members = names.map(|name| (name.clone(), diff(old.get(name), new.get(name))));
            let members: BTreeMap<String, Diff> =
                members.filter(|(_, diff)| *diff != Diff::Keep).collect();
            if members.is_empty() { Diff::Keep } else { Diff::Members(members) }
        }
        (Some(old), Some(new)) if old == new => Diff::Keep,
        (_, Some(new)) => Diff::Set(new.clone()),
    }
}

impl Diff {
    pub(crate) fn apply(&self, members: &mut Map<String, Value>) {
        let Diff::Members(diffs) = self else { return };
        for (name, diff) in diffs {
            match diff {
                Diff::Keep => {}
                Diff::Remove => drop(members.remove(name)),
                Diff::Set(value) => drop(members.insert(name.clone(), value.clone())),
                Diff::Members(_) => {
                    let member = members.entry(name.clone()).or_insert(Value::Null);
                    if !member.is_object() {
                        *member = Value::Object(Map::new());
                    }
                    if let Value::Object(beneath) = member {
                        diff.apply(beneath);
                    }
                }
            }
        }
    }
}

/// The separator of the names in a key of [`Tree::changed`]; it is in no name.
const SEPARATOR: char = '\u{1}';

/// The tree as somebody sees it, with the revisions at which its parts last changed.
#[derive(Clone)]
pub(crate) struct Tree {
    pub(crate) root: Rc<Value>,
    pub(crate) revision: u64,
    pub(crate) changed: BTreeMap<String, u64>,
}

pub(crate) fn key(path: &[String]) -> String {
    path.iter().fold(String::new(), |key, name| key + &SEPARATOR.to_string() + name)
}

impl Tree {
    pub(crate) fn new() -> Tree {
        let root = Rc::new(Value::Object(Map::new()));
        Tree { root, revision: 1, changed: [(String::new(), 1)].into_iter().collect() }
    }

    pub(crate) fn apply(&mut self, diff: &Diff, at: u64) {
        if *diff == Diff::Keep {
            return;
        }
        if let Value::Object(members) = Rc::make_mut(&mut self.root) {
            diff.apply(members);
        }
        self.note(String::new(), diff, at);
        self.revision = at;
    }

    fn note(&mut self, key: String, diff: &Diff, at: u64) {
        match diff {
            Diff::Keep => return,
            Diff::Members(members) => {
                for (name, diff) in members {
                    self.note(format!("{key}{SEPARATOR}{name}"), diff, at);
                }
            }
            Diff::Remove | Diff::Set(_) => {
                let (from, to) = (format!("{key}{SEPARATOR}"), format!("{key}\u{2}"));
                let beneath: Vec<String> =
                    self.changed.range(from..to).map(|(k, _)| k.clone()).collect();
                self.changed.retain(|k, _| !beneath.contains(k));
                self.changed.remove(&key);
                if let Diff::Set(value) = diff {
                    self.note_all(&key, value, at);
                }
                return;
            }
        }
        self.changed.insert(key, at);
    }

    fn note_all(&mut self, key: &str, value: &Value, at: u64) {
        self.changed.insert(key.to_owned(), at);
        for (name, value) in value.as_object().into_iter().flatten() {
            self.note_all(&format!("{key}{SEPARATOR}{name}"), value, at);
        }
    }

    /// All places where something is.
    pub(crate) fn places(&self) -> Vec<Names> {
        fn collect(value: &Value, path: &mut Names, out: &mut Vec<Names>) {
            out.push(path.clone());
            for (name, value) in value.as_object().into_iter().flatten() {
                path.push(name.clone());
                collect(value, path, out);
                path.pop();
            }
        }
        let mut out = Vec::new();
        collect(&self.root, &mut Vec::new(), &mut out);
        out
    }
}

/// Patterns of ephemeral places; `None` is any name.
pub(crate) type Patterns = Vec<Vec<Option<String>>>;

pub(crate) fn patterns(texts: &[&str]) -> Patterns {
    let pattern =
        |text: &str| text[1..].split('/').map(|n| (n != "*").then(|| n.to_owned())).collect();
    texts.iter().map(|text| pattern(text)).collect()
}

pub(crate) fn holds(patterns: &Patterns, path: &[String]) -> bool {
    patterns.iter().any(|pattern| {
        pattern.len() <= path.len()
            && pattern.iter().zip(path).all(|(p, name)| p.as_ref().is_none_or(|p| p == name))
    })
}

/// True if a write there needs no disk: the object that holds the region, which is durable itself,
/// is there already.
pub(crate) fn is_ephemeral(patterns: &Patterns, path: &[String], tree: &Value) -> bool {
    let fits = |pattern: &&Vec<Option<String>>| {
        pattern.len() <= path.len()
            && pattern.iter().zip(path).all(|(p, name)| p.as_ref().is_none_or(|p| p == name))
    };
    let entered = patterns.iter().filter(fits).map(Vec::len).min();
    entered.is_some_and(|names| at(tree, &path[..names - 1]).is_some_and(Value::is_object))
}

/// The value without everything that is ephemeral.
pub(crate) fn durable(value: &Value, patterns: &Patterns) -> Value {
    fn strip(value: &mut Value, patterns: &[&[Option<String>]]) {
        let Value::Object(members) = value else { return };
        members.retain(|name, value| {
            let fitting = patterns.iter().filter(|p| p[0].as_ref().is_none_or(|p| p == name));
            let beneath: Vec<&[Option<String>]> = fitting.map(|p| &p[1..]).collect();
            if beneath.iter().any(|p| p.is_empty()) {
                return false;
            }
            if beneath.is_empty() {
                return true;
            }
            strip(value, &beneath);
            true
        });
    }
    let mut value = value.clone();
    let patterns: Vec<&[Option<String>]> = patterns.iter().map(Vec::as_slice).collect();
    strip(&mut value, &patterns);
    value
}
