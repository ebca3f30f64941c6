//! The reader of the oracles: it applies frames by the crate `json-patch`, not by our own code.

use halfping_engine::{Frame, Kind};
use serde_json::Value;

/// A reader that applies frames as PROTOCOL S7 allows, or strictly.
pub(crate) fn apply(state: &mut Option<Value>, frame: &Frame, strict: bool) {
    let body: Value = serde_json::from_slice(&frame.body).unwrap();
    match frame.kind {
        Kind::Snapshot => *state = Some(body),
        Kind::Gone => *state = None,
        Kind::Merge => {
            json_patch::merge(state.as_mut().expect("a merge has something to merge into"), &body);
        }
        Kind::Patch => {
            let patch: json_patch::Patch = serde_json::from_value(body).unwrap();
            for operation in patch.0 {
                let lenient = !strict && matches!(operation, json_patch::PatchOperation::Remove(_));
                let done =
                    json_patch::patch(state.as_mut().unwrap(), std::slice::from_ref(&operation));
                assert!(done.is_ok() || lenient, "{operation}: {done:?} on {state:?}");
            }
        }
    }
}

/// The value, `depth` levels of objects deep: the cut, done the slow way.
pub(crate) fn cut(value: &Value, depth: u32) -> Value {
    match value {
        Value::Object(_) if depth == 0 => serde_json::json!({}),
        Value::Object(members) => {
            members.iter().map(|(k, v)| (k.clone(), cut(v, depth - 1))).collect()
        }
        other => other.clone(),
    }
}
