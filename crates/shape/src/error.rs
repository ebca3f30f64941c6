//! Errors of texts that are no condition, selection or order.

use thiserror::Error;

/// Refusal of a text: the reason, and the place.
///
/// ```
/// use halfping_shape::{Bounds, Condition, ShapeErrorKind};
///
/// let error = Condition::parse("speed > 50 line", &Bounds::default()).unwrap_err();
/// assert_eq!(error.column, 12);
/// assert!(matches!(error.kind, ShapeErrorKind::Expected { .. }));
/// assert_eq!(
///     error.to_string(),
///     "column 12: expected `&&`, `||`, a comparison, `in` or the end, found `line`"
/// );
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("column {column}: {kind}")]
pub struct ShapeError {
    /// Column in characters, from 1.
    pub column: usize,
    /// The fault.
    pub kind: ShapeErrorKind,
}

/// Faults of a text.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ShapeErrorKind {
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// That which may stand here, with a remedy where one is known.
        expected: String,
        /// That which stands here.
        found: String,
    },
    /// A literal of CEL that means nothing, such as a string with an escape that does not exist.
    #[error("{0}")]
    Literal(String),
    /// CEL has it, conditions do not.
    #[error("{0}")]
    Unsupported(String),
    /// [`Bounds::text_bytes`](crate::Bounds::text_bytes).
    #[error("the text is longer than {0} bytes")]
    TooLong(usize),
    /// [`Bounds::depth`](crate::Bounds::depth).
    #[error("nested more than {0} levels deep")]
    TooDeep(usize),
    /// [`Bounds::nodes`](crate::Bounds::nodes).
    #[error("the condition has more than {0} parts")]
    TooManyNodes(usize),
    /// [`Bounds::elements`](crate::Bounds::elements).
    #[error("the lists of the condition have more than {0} elements")]
    TooManyElements(usize),
    /// [`Bounds::order_paths`](crate::Bounds::order_paths).
    #[error("an order has at most {0} paths")]
    TooManyPaths(usize),
}

impl ShapeError {
    /// An error at a byte of the text.
    pub(crate) fn at(text: &str, byte: usize, kind: ShapeErrorKind) -> ShapeError {
        let before = text.get(..byte).unwrap_or(text);
        ShapeError { column: before.chars().count() + 1, kind }
    }

    /// An error where something else should stand.
    pub(crate) fn at_expected(text: &str, byte: usize, expected: &str) -> ShapeError {
        let found = match text.get(byte..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("{c:?}"),
            None => "the end".to_owned(),
        };
        let kind = ShapeErrorKind::Expected { expected: expected.to_owned(), found };
        ShapeError::at(text, byte, kind)
    }
}
