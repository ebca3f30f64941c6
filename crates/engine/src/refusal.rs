//! Refusals: expected errors of the engine, after which nothing has changed.

use thiserror::Error;

use crate::limits::Limits;
use crate::path::Path;

/// A commit that was refused. The tree is as it was.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing at the path, and the write needs something.
    #[error("there is nothing at {0}")]
    NotFound(Path),
    /// The path leads through a value that has no members, or the root would not be an object.
    #[error("{path} holds {kind}, which has no members")]
    NotAnObject {
        /// The value in the way.
        path: Path,
        /// The kind of that value, with its article.
        kind: &'static str,
    },
    /// The root was to be removed or replaced by something that is not an object.
    #[error("the root is always an object; it cannot become {kind}")]
    Root {
        /// The kind of value that it was to become.
        kind: &'static str,
    },
    /// A name that begins with `_` at the root.
    #[error("names that begin with '_' at the root are the server's own: {0:?}")]
    Reserved(String),
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("{0} is not in the state that the request names")]
    Precondition(Path),
    /// The judge of the write does not agree (see [`Judge`](crate::Judge)).
    #[error("the write to {0} changes what its client may not change so")]
    Forbidden(Path),
    /// An operation of a JSON Patch could not be applied.
    #[error("operation {index} of the patch failed: {why}")]
    PatchFailed {
        /// Index of the operation, from 0.
        index: usize,
        /// The reason, as a part of a sentence.
        why: String,
    },
    /// A bound of [`Limits`](crate::Limits) would be passed.
    #[error("{what}: at most {max} ({limit})")]
    Limit {
        /// The member of [`Limits`](crate::Limits).
        limit: &'static str,
        /// The value of that limit.
        max: usize,
        /// The thing that would have passed it.
        what: String,
    },
}

impl Refusal {
    /// The refusal of a value that is longer than `value_bytes`.
    pub fn value_too_large(limits: &Limits) -> Refusal {
        let what = "the value is too large to be sent in one piece".into();
        Refusal::Limit { limit: "value_bytes", max: limits.value_bytes, what }
    }
}
