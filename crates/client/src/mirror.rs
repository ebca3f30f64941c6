//! The current value of one watched resource.

use json_patch::{AddOperation, PatchOperation};
use serde_json::Value;

use crate::frame::{Cursor, Frame, Kind};

/// Mirror of a resource: applies the frames of one stream.
///
/// Numbers become those of `serde_json::Value`; read the frames to keep them digit for digit.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    value: Option<Value>,
    cursor: Option<Cursor>,
    complete: bool,
}

/// A frame that cannot be applied. The mirror may hold part of it: start again from a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// The frame's body does not fit its kind, or is missing.
    #[error("a {kind:?} frame without a body that can be read: {why}")]
    BadBody {
        /// The frame's kind.
        kind: Kind,
        /// The parser's message.
        why: String,
    },
    /// An operation of a patch refers to a place that does not exist in the value.
    #[error("the patch does not fit the value: {0}")]
    DoesNotFit(#[from] json_patch::PatchError),
}

impl Mirror {
    /// A mirror that has no frame yet.
    pub fn new() -> Mirror {
        Mirror::default()
    }

    /// The current value; `None` when nothing is there, or before the first frame.
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// The cursor of the last whole state.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// True if the value is a state that the resource really had. It is not before the first frame,
    /// nor between the parts of a large change (S5).
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Applies the next frame of the stream.
    pub fn apply(&mut self, frame: &Frame) -> Result<(), MirrorError> {
        match frame.kind {
            Kind::Snapshot => self.value = Some(body(frame)?),
            Kind::Merge => json_patch::merge(self.value.get_or_insert_default(), &body(frame)?),
            Kind::Patch => {
                let value = self.value.get_or_insert_default();
                for operation in body::<Vec<PatchOperation>>(frame)? {
                    apply_leniently(value, operation)?;
                }
            }
            Kind::Gone => self.value = None,
            Kind::Synced => {}
            Kind::Error => return Ok(()), // An error says nothing about the value.
        }
        self.complete = frame.rev.is_some();
        if let Some(rev) = &frame.rev {
            self.cursor = Some(rev.clone());
        }
        Ok(())
    }
}

/// Applies an operation to a value that may be ahead of the state that the patch starts from (S7).
/// The target of a `remove` may be gone already, and that of a `replace` may be gone for now.
fn apply_leniently(value: &mut Value, operation: PatchOperation) -> Result<(), MirrorError> {
    let Err(error) = json_patch::patch(value, std::slice::from_ref(&operation)) else {
        return Ok(());
    };
    match operation {
        PatchOperation::Remove(_) => Ok(()),
        PatchOperation::Replace(replace) => {
            let add = AddOperation { path: replace.path, value: replace.value };
            Ok(json_patch::patch(value, &[PatchOperation::Add(add)])?)
        }
        _ => Err(error.into()),
    }
}

fn body<T: serde::de::DeserializeOwned>(frame: &Frame) -> Result<T, MirrorError> {
    let text = frame.value.as_ref().map_or("", |value| value.get());
    serde_json::from_str(text)
        .map_err(|error| MirrorError::BadBody { kind: frame.kind, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies frames (kind, cursor or "", body or "") and compares the value ("absent", or JSON),
    /// marked `partial` when it is not complete. An error ends the run with its text.
    #[track_caller]
    fn check(frames: &[(&str, &str, &str)], expect: &str) {
        let mut mirror = Mirror::new();
        for (kind, rev, value) in frames {
            let mut line = format!("{{\"kind\":\"{kind}\"");
            if !rev.is_empty() {
                line.push_str(&format!(",\"rev\":\"{rev}\""));
            }
            if !value.is_empty() {
                line.push_str(&format!(",\"value\":{value}"));
            }
            line.push('}');
            if let Err(error) = mirror.apply(&serde_json::from_str(&line).unwrap()) {
                assert_eq!(error.to_string(), expect);
                return;
            }
        }
        let value = mirror.value().map_or("absent".into(), Value::to_string);
        let mark = if mirror.is_complete() { "" } else { "partial " };
        assert_eq!(format!("{mark}{value}"), expect);
    }

    #[test]
    fn every_kind_leads_to_its_state() {
        check(&[], "partial absent");
        check(&[("gone", "e.1", ""), ("synced", "e.1", "")], "absent");
        check(&[("snapshot", "e.1", "null")], "null");
        check(
            &[
                ("snapshot", "e.1", "{\"a\":1,\"b\":2}"),
                ("merge", "e.2", "{\"a\":null,\"c\":{\"d\":3}}"),
            ],
            "{\"b\":2,\"c\":{\"d\":3}}",
        );
        check(
            &[("snapshot", "e.1", "{\"a\":1}"), ("gone", "e.2", ""), ("snapshot", "e.3", "7")],
            "7",
        );
        check(&[("gone", "e.1", ""), ("merge", "e.2", "{\"a\":1}")], "{\"a\":1}");
        check(&[("snapshot", "e.1", "[1]"), ("merge", "e.2", "{\"a\":1}")], "{\"a\":1}");
    }

    #[test]
    fn patches_write_nulls_and_replace_objects() {
        let base = ("snapshot", "e.1", "{\"a\":1,\"b\":{\"c\":2}}");
        let patch = "[{\"op\":\"add\",\"path\":\"/a\",\"value\":null},{\"op\":\"replace\",\"path\":\"/b\",\"value\":{}}]";
        check(&[base, ("patch", "e.2", patch)], "{\"a\":null,\"b\":{}}");
        check(&[base, ("patch", "e.2", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[]}]")], "[]");
    }

    #[test]
    fn patches_fit_a_state_that_is_ahead() {
        let base = ("snapshot", "e.2", "{\"keep\":1}");
        check(
            &[base, ("patch", "e.3", "[{\"op\":\"remove\",\"path\":\"/gone/deep\"}]")],
            "{\"keep\":1}",
        );
        check(
            &[base, ("patch", "e.3", "[{\"op\":\"replace\",\"path\":\"/back\",\"value\":2}]")],
            "{\"back\":2,\"keep\":1}",
        );
    }

    #[test]
    fn parts_are_incomplete_until_the_last() {
        let part = ("snapshot", "", "{\"a\":1}");
        check(&[part], "partial {\"a\":1}");
        check(&[part, ("merge", "e.5", "{\"b\":1}")], "{\"a\":1,\"b\":1}");
        let whole = ("snapshot", "e.1", "{}");
        check(&[whole, ("merge", "", "{\"a\":1}")], "partial {\"a\":1}");
    }

    #[test]
    fn the_cursor_is_that_of_the_last_whole_state() {
        let mut mirror = Mirror::new();
        for line in
            [r#"{"kind":"snapshot","rev":"e.1","value":{}}"#, r#"{"kind":"merge","value":{"a":1}}"#]
        {
            mirror.apply(&serde_json::from_str(line).unwrap()).unwrap();
        }
        assert_eq!(mirror.cursor().map(Cursor::as_str), Some("e.1"));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let base = ("snapshot", "e.1", "{}");
        check(
            &[base, ("patch", "e.2", "{}")],
            "a Patch frame without a body that can be read: invalid type: map, expected a sequence at line 1 column 0",
        );
        check(
            &[base, ("patch", "e.2", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]")],
            "the patch does not fit the value: operation '/0' failed at path '/a/b': path is invalid",
        );
    }
}
