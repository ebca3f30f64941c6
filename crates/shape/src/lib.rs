//! Shapes of views: which members of a collection a reader wants ([`Condition`]), what of them
//! ([`Selection`]) and in which order ([`Order`]).
//!
//! A [`Template`] is a condition that speaks of other things besides, and becomes one when these
//! are known.
//!
//! Each is read from the text that a reader wrote, has bounds, and a normal form: texts that mean
//! the same are equal. Conditions and orders are asked of values where they lie, through [`Node`]:
//! nothing is copied, and no JSON is made. Nothing here does IO, and nothing depends on the engine.

mod bindings;
mod bounds;
mod condition;
mod equality;
mod error;
mod evaluate;
mod expr;
mod fill;
mod names;
mod node;
mod normal;
mod number;
mod order;
mod parse;
mod scan;
mod selection;
mod splitter;
mod string;
mod template;
mod things;
mod write;

pub use bindings::Binding;
pub use bounds::Bounds;
pub use condition::Condition;
pub use equality::{Equality, Subject};
pub use error::{ShapeError, ShapeErrorKind};
pub use expr::{Path, Scalar};
pub use fill::{Filled, Thing, TooManyParts};
pub use node::{JsonText, Node, Value};
pub use number::Number;
pub use order::{Order, SortKey};
pub use selection::{Names, Selected, Selection};
pub use splitter::Splitter;
pub use string::Str;
pub use template::Template;
pub use things::Things;

#[cfg(test)]
mod tests;
