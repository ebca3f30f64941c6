//! Tests of conditions, selections and orders.

mod conformance;
mod errors;
mod generated;
mod language;
mod normal;
mod order;
mod selection;
mod splitter;
mod template;

use crate::Bounds;

/// Bounds that nothing in a test of something else reaches.
const WIDE: Bounds =
    Bounds { text_bytes: 1 << 20, nodes: 10_000, depth: 64, elements: 10_000, order_paths: 4 };
