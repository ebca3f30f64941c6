//! Writes: read from bodies, worked out over the tree, journaled, and applied.

pub(crate) mod action;
pub(crate) mod apply;
pub(crate) mod base;
pub(crate) mod by_name;
pub(crate) mod change;
pub(crate) mod claims;
pub(crate) mod json;
pub(crate) mod judge;
pub(crate) mod operate;
pub(crate) mod overlay;
pub(crate) mod patch;
pub(crate) mod pending;
pub(crate) mod record;
pub(crate) mod region;
pub(crate) mod seen;
pub(crate) mod splice;
