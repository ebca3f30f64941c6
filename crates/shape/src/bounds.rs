//! Bounds of what a reader may ask for.

/// Bounds of one text: a condition, a selection or an order. All are "at most".
///
/// ```
/// use halfping_shape::{Bounds, Condition};
///
/// let bounds = Bounds { elements: 2, ..Bounds::default() };
/// let error = Condition::parse("line in ['U1', 'U2', 'U3']", &bounds).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "column 22: the lists of the condition have more than 2 elements"
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes of the text. In the server it is `view_text_bytes`.
    pub text_bytes: usize,
    /// Parts of a condition: members, literals, calls and operators. Constant elements of lists
    /// count as elements.
    pub nodes: usize,
    /// Levels of nesting: parentheses, operators, calls and lists in a condition; names of a path.
    pub depth: usize,
    /// Elements of all lists of a condition together.
    pub elements: usize,
    /// Paths of an order.
    pub order_paths: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { text_bytes: 1024, nodes: 64, depth: 16, elements: 256, order_paths: 4 }
    }
}

/// Work of one evaluation: a unit for each part of the condition and each value that is looked at,
/// and one for each byte of text that is gone through. A condition that would take more has no
/// value there. It is some tenths of a millisecond.
pub(crate) const WORK_MAX: usize = 1 << 18;

/// Parts of a template that is filled in, where it is not worked out: constants of lists count, so
/// this bounds the list that a condition takes from a thing.
pub(crate) const FILLED_PARTS_MAX: usize = 4096;
