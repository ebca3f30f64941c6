//! Readers: their places, their turns, and the frames that they are given.

pub(crate) mod delta;
pub(crate) mod frame;
pub(crate) mod interest;
pub(crate) mod link;
pub(crate) mod session;
pub(crate) mod sharing;
pub(crate) mod walk;
