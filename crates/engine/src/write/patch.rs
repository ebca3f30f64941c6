//! JSON Patch documents (RFC 6902) and JSON Pointers (RFC 6901), as they come in.

use thiserror::Error;

use crate::limits::Limits;
use crate::write::change::Change;
use crate::write::json::{Json, JsonError, JsonErrorKind, elements};

/// A JSON Patch that was read.
#[derive(Clone, Debug)]
pub struct Patch(pub(crate) Vec<Operation>);

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) path: Vec<String>,
    pub(crate) action: Action,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Add(Change),
    Remove,
    Replace(Change),
    Move { from: Vec<String> },
    Copy { from: Vec<String> },
    Test(Change),
}

/// Error of a body that is not a JSON Patch document.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PatchError {
    /// It is not JSON that is accepted here.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is JSON, but not a list of operations.
    #[error("a JSON Patch is an array of operations, not {0}")]
    NotAList(&'static str),
    /// One of the operations is malformed.
    #[error("operation {index} of the patch: {why}")]
    Operation {
        /// Index of the operation, from 0.
        index: usize,
        /// The fault of the operation.
        why: String,
    },
    /// One of the operations passes a bound of [`Limits`](crate::Limits).
    #[error("operation {index} of the patch: more than {max} ({limit})")]
    Limit {
        /// Index of the operation, from 0.
        index: usize,
        /// The member of [`Limits`](crate::Limits).
        limit: &'static str,
        /// The value of that limit.
        max: usize,
    },
}

impl Patch {
    /// True if its outcome tells, or keeps elsewhere, what is there: if it tests, copies or moves.
    pub fn reads(&self) -> bool {
        let reads = |operation: &Operation| {
            matches!(operation.action, Action::Test(_) | Action::Copy { .. } | Action::Move { .. })
        };
        self.0.iter().any(reads)
    }

    /// Reads a patch document.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Patch, PatchError> {
        // The document is an array of objects around the values; these two levels are not the
        // tree's.
        let wider = Limits { json_depth: limits.json_depth + 2, ..limits.clone() };
        let document = Json::parse(body, &wider).map_err(|mut error| {
            if let JsonErrorKind::TooDeep(max) = &mut error.kind {
                *max = limits.json_depth;
            }
            error
        })?;
        let document = match document.0 {
            Change::Leaf(text) if text.is_array() => text,
            other => return Err(PatchError::NotAList(other.kind())),
        };
        let operations =
            elements(document.as_str()).into_iter().enumerate().map(|(index, text)| {
                operation(text, &wider).map_err(|wrong| wrong.of_operation(index))
            });
        operations.collect::<Result<_, _>>().map(Patch)
    }

    /// Operations and the members of their values; counted up to a few more than `max`.
    pub(crate) fn members_up_to(&self, max: usize) -> usize {
        let mut count = self.0.len();
        for operation in &self.0 {
            if count > max {
                break;
            }
            if let Action::Add(value) | Action::Replace(value) | Action::Test(value) =
                &operation.action
            {
                count += value.members_up_to(max - count);
            }
        }
        count
    }

    /// True if the patch can make something out of nothing: its first operation sets the whole
    /// document.
    pub fn starts_afresh(&self) -> bool {
        self.0.first().is_some_and(|o| o.path.is_empty() && matches!(o.action, Action::Add(_)))
    }
}

/// Fault of an operation.
enum Wrong {
    Malformed(String),
    Limit(&'static str, usize),
}

impl Wrong {
    fn of_operation(self, index: usize) -> PatchError {
        match self {
            Wrong::Malformed(why) => PatchError::Operation { index, why },
            Wrong::Limit(limit, max) => PatchError::Limit { index, limit, max },
        }
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Wrong {
        Wrong::Malformed(why)
    }
}

fn operation(text: &str, limits: &Limits) -> Result<Operation, Wrong> {
    let Ok(Json(Change::Object { members, .. })) = Json::known_good(text, limits) else {
        return Err(Wrong::Malformed("is not an object".into()));
    };
    let text_of = |name: &str| match members.get(name) {
        Some(Change::Leaf(text)) => serde_json::from_str::<String>(text.as_str())
            .map_err(|_| format!("\"{name}\" is {}, not a string", text.kind())),
        Some(other) => Err(format!("\"{name}\" is {}, not a string", other.kind())),
        None => Err(format!("\"{name}\" is missing")),
    };
    let pointer_of = |name: &str| {
        pointer(&text_of(name)?, limits).map_err(|wrong| match wrong {
            Wrong::Malformed(why) => Wrong::Malformed(format!("\"{name}\" {why}")),
            limit => limit,
        })
    };
    let value = || members.get("value").cloned().ok_or_else(|| "\"value\" is missing".to_owned());
    let op = text_of("op")?;
    let action = match op.as_str() {
        "add" => Action::Add(value()?),
        "remove" => Action::Remove,
        "replace" => Action::Replace(value()?),
        "move" => Action::Move { from: pointer_of("from")? },
        "copy" => Action::Copy { from: pointer_of("from")? },
        "test" => Action::Test(value()?),
        other => {
            let why =
                format!("\"op\" is {other:?}; it can be add, remove, replace, move, copy or test");
            return Err(why.into());
        }
    };
    Ok(Operation { path: pointer_of("path")?, action })
}

fn pointer(text: &str, limits: &Limits) -> Result<Vec<String>, Wrong> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Some(tokens) = text.strip_prefix('/') else {
        return Err(
            format!("{text:?} is no JSON Pointer: it must be empty or begin with '/'").into()
        );
    };
    // This is checked before the pointer is split: the parts of a long one take many times its
    // bytes.
    if tokens.split('/').nth(limits.path_depth).is_some() {
        return Err(Wrong::Limit("path_depth", limits.path_depth));
    }
    let tokens: Vec<String> = tokens.split('/').map(unescape).collect::<Result<_, _>>()?;
    match tokens.iter().find(|t| t.len() > limits.key_bytes) {
        Some(_) => Err(Wrong::Limit("key_bytes", limits.key_bytes)),
        None => Ok(tokens),
    }
}

fn unescape(token: &str) -> Result<String, String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        match (c, c == '~') {
            (c, false) => out.push(c),
            _ => match chars.next() {
                Some('0') => out.push('~'),
                Some('1') => out.push('/'),
                _ => return Err(format!("has '~' without 0 or 1 after it in {token:?}")),
            },
        }
    }
    Ok(out)
}

/// A pointer as an error writes it.
pub(crate) fn display(pointer: &[String]) -> String {
    pointer.iter().map(|t| format!("/{}", t.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_document_names_its_operation() {
        for (text, why) in [
            ("{}", "a JSON Patch is an array of operations, not an object"),
            (r#"[{"op":"remove","path":"/a"},5]"#, "operation 1 of the patch: is not an object"),
            (r#"[{"op":"add","path":"/a"}]"#, r#"operation 0 of the patch: "value" is missing"#),
            (r#"[{"path":"/a"}]"#, r#"operation 0 of the patch: "op" is missing"#),
            (
                r#"[{"op":"add","path":7,"value":1}]"#,
                r#"operation 0 of the patch: "path" is a number, not a string"#,
            ),
            (
                r#"[{"op":"remove","path":"a"}]"#,
                r#"operation 0 of the patch: "path" "a" is no JSON Pointer: it must be empty or begin with '/'"#,
            ),
            (
                r#"[{"op":"remove","path":"/~2"}]"#,
                r#"operation 0 of the patch: "path" has '~' without 0 or 1 after it in "~2""#,
            ),
        ] {
            assert_eq!(
                Patch::parse(text.as_bytes(), &Limits::default()).unwrap_err().to_string(),
                why
            );
        }
    }

    #[test]
    fn pointers_are_unescaped_in_one_pass() {
        assert_eq!(pointer("/~01/a~1b/", &Limits::default()).ok().unwrap(), ["~1", "a/b", ""]);
        assert_eq!(display(&["~1".into(), "a/b".into(), String::new()]), "/~01/a~1b/");
    }
}
