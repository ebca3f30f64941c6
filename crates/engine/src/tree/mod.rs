//! The tree: values, the names of their members, and tombstones of members that are gone.

pub(crate) mod garbage;
pub(crate) mod key;
pub(crate) mod node;
pub(crate) mod notes;
pub(crate) mod order;
pub(crate) mod sight;
pub(crate) mod text;

pub(crate) use node::{Member, Object, Value};
