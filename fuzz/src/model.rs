//! The plain model: a tree is a `serde_json::Value`, writes are done the slow way, patches by the
//! crate `json-patch`.

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
    fn cut(value: &Value, depth: u32) -> Value {
        match value {
            Value::Object(_) if depth == 0 => json!({}),
            Value::Object(members) => {
                members.iter().map(|(k, v)| (k.clone(), cut(v, depth - 1))).collect()
            }
            other => other.clone(),
        }
    }
    at(root, path).map(|value| cut(value, depth))
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
