//! The plain model: a tree is a `serde_json::Value`, writes are done the slow way, patches by the
//! crate `json-patch`.

use halfping_shape::{Bounds, Condition, Names, Order, Selected, Selection};
use serde_json::{Value, json};

/// A write, as its client means it.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Value),
    Merge(Value),
    Patch(Value),
    Delete,
}

/// Applies a write to a tree. `None`: it is refused, and the tree is undefined.
pub(crate) fn apply(root: &mut Value, path: &[&str], change: &Change) -> Option<()> {
    let is_there = at(root, path).is_some();
    match change {
        Change::Put(value) => *make(root, path)? = value.clone(),
        Change::Merge(patch) => json_patch::merge(make(root, path)?, patch),
        Change::Patch(operations) => {
            let operations = operations.as_array()?;
            let starts_afresh =
                operations.first().is_some_and(|o| o["op"] == "add" && o["path"] == "");
            if !is_there && !starts_afresh {
                return None;
            }
            // Operations are applied to a member of an object that always exists, as they may also
            // be about the whole document.
            let mut around = match is_there {
                true => json!({ "document": make(root, path)?.take() }),
                false => json!({}),
            };
            for operation in operations {
                let mut operation = operation.clone();
                for name in ["path", "from"] {
                    if let Some(pointer) = operation[name].as_str() {
                        operation[name] = format!("/document{pointer}").into();
                    }
                }
                let operation =
                    serde_json::from_value::<json_patch::PatchOperation>(operation).ok()?;
                json_patch::patch(&mut around, &[operation]).ok()?;
            }
            *make(root, path)? = around.get_mut("document")?.take();
        }
        Change::Delete => {
            let (name, above) = path.split_last()?;
            let above = above.iter().try_fold(&mut *root, |value, name| value.get_mut(*name))?;
            above.as_object_mut()?.remove(*name)?;
        }
    }
    root.is_object().then_some(())
}

/// The value at a path (PROTOCOL P5: only objects are descended).
pub(crate) fn at<'v>(root: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, name| value.as_object()?.get(*name))
}

/// The place of a path; missing objects above it are made.
fn make<'v>(root: &'v mut Value, path: &[&str]) -> Option<&'v mut Value> {
    let mut value = root;
    for name in path {
        value = value.as_object_mut()?.entry(*name).or_insert(json!({}));
    }
    // A new place holds nothing, which a merge treats like an empty object.
    Some(value)
}

/// A reader's view of a path, `depth` levels deep.
pub(crate) fn view(root: &Value, path: &[&str], depth: u32) -> Option<Value> {
    at(root, path).map(|value| cut(value, depth))
}

fn cut(value: &Value, depth: u32) -> Value {
    match value {
        Value::Object(_) if depth == 0 => json!({}),
        Value::Object(members) => {
            members.iter().map(|(k, v)| (k.clone(), cut(v, depth - 1))).collect()
        }
        other => other.clone(),
    }
}

/// Part of a path that a command asks for (PROTOCOL Q1, R5).
pub(crate) struct Shape {
    depth: u32,
    /// `None` for all, as it is.
    members: Option<Members>,
}

/// Members that a view shows.
struct Members {
    condition: Option<Condition>,
    /// The selection, with the paths of the order.
    selection: Option<Selection>,
    order: Order,
    limit: usize,
    form: Form,
}

/// Form of a view's value.
#[derive(PartialEq)]
enum Form {
    Object,
    List,
    Count,
}

impl Shape {
    pub(crate) const ALL: Shape = Shape { depth: u32::MAX, members: None };

    /// The shape in the members of a command that was not refused.
    pub(crate) fn of(said: &Value) -> Shape {
        let bounds = Bounds::default();
        // PROTOCOL Q9c
        let text = |name: &str| said[name].as_str().filter(|text| !text.is_empty());
        let condition = text("where");
        let condition = condition.map(|text| Condition::parse(text, &bounds).expect("PROTOCOL Q9"));
        let order = text("order").map(|text| Order::parse(text, &bounds).expect("PROTOCOL Q9"));
        let selection = text("select");
        let selection = selection.map(|text| Selection::parse(text, &bounds).expect("PROTOCOL Q9"));
        let limit = said["limit"].as_u64();
        let form = match (said["count"] == true, text("as")) {
            (true, _) => Form::Count,
            (_, Some("list")) => Form::List,
            _ => Form::Object,
        };
        let is_all = condition.is_none() && selection.is_none() && order.is_none();
        let is_all = is_all && limit.is_none() && form == Form::Object;
        let order = order.unwrap_or_else(Order::by_name);
        let selection = selection.map(|selection| order.paths().fold(selection, Selection::with));
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let members = Members { condition, selection, order, limit, form };
        Shape {
            depth: said["depth"].as_u64().map_or(u32::MAX, |depth| depth as u32),
            members: (!is_all).then_some(members),
        }
    }

    /// Part of a path that it shows.
    pub(crate) fn view(&self, root: &Value, path: &[&str]) -> Option<Value> {
        match &self.members {
            None => view(root, path, self.depth),
            Some(members) => Some(members.of(at(root, path)?, self.depth)),
        }
    }
}

impl Members {
    fn of(&self, value: &Value, depth: u32) -> Value {
        let Members { condition, selection, order, limit, form } = self;
        let of_resource = selection.as_ref().filter(|selection| selection.is_of_resource());
        if let (Some(selection), Value::Object(_)) = (of_resource, value) {
            return cut(&select(value.clone(), selection.top()), depth);
        }
        let is_met = |(name, member): &(&String, &Value)| {
            condition.as_ref().is_none_or(|condition| condition.matches(*member, name))
        };
        let mut members: Vec<_> = value.as_object().into_iter().flatten().filter(is_met).collect();
        members.sort_by(|(a, one), (b, other)| order.compare((a, *one), (b, *other)));
        members.truncate(*limit);
        let part = |member: &Value| match selection {
            Some(selection) => select(member.clone(), selection.top()),
            None => member.clone(),
        };
        let members = members.into_iter();
        match (form, depth.checked_sub(1)) {
            (Form::Count, _) => members.len().into(),
            (Form::List, None) => json!([]),
            (Form::Object, None) => json!({}),
            (Form::List, Some(depth)) => {
                members.map(|(name, member)| json!([name, cut(&part(member), depth)])).collect()
            }
            (Form::Object, Some(depth)) => Value::Object(
                members.map(|(name, member)| (name.clone(), cut(&part(member), depth))).collect(),
            ),
        }
    }
}

/// The selected members of a value.
fn select(value: Value, names: &Names) -> Value {
    let Value::Object(members) = value else { return value };
    let shown = members.into_iter().filter_map(|(name, member)| {
        let member = match names.name(name.as_str()) {
            Selected::Nothing => return None,
            Selected::Whole => member,
            Selected::Part(names) => select(member, names),
        };
        Some((name, member))
    });
    Value::Object(shown.collect())
}

/// Applies a frame as PROTOCOL S2 says, strictly.
pub(crate) fn show(state: &mut Option<Value>, kind: &str, body: Value) {
    match kind {
        "snapshot" => *state = Some(body),
        "gone" => *state = None,
        "merge" => {
            json_patch::merge(state.as_mut().expect("a merge has something to merge into"), &body)
        }
        "patch" => {
            let patch: json_patch::Patch = serde_json::from_value(body).expect("a patch is one");
            let only = |o: &json_patch::PatchOperation| {
                matches!(
                    o,
                    json_patch::PatchOperation::Add(_) | json_patch::PatchOperation::Remove(_)
                )
            };
            assert!(patch.0.iter().all(only), "PROTOCOL S2: only add and remove: {patch}");
            let state = state.as_mut().expect("a patch has something to apply to");
            json_patch::patch(state, &patch.0)
                .unwrap_or_else(|error| panic!("{error}: {patch} on {state}"));
        }
        other => panic!("a frame of the kind {other:?}"),
    }
}
