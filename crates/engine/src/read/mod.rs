//! Readers: their places, their turns, and the frames that they are given.

pub(crate) mod asked;
pub(crate) mod beneath;
pub(crate) mod collection;
pub(crate) mod count;
pub(crate) mod delta;
pub(crate) mod frame;
pub(crate) mod interest;
pub(crate) mod leavers;
pub(crate) mod lens;
pub(crate) mod link;
pub(crate) mod once;
pub(crate) mod outlook;
pub(crate) mod part;
pub(crate) mod pass;
pub(crate) mod ranking;
pub(crate) mod rows;
pub(crate) mod scope;
pub(crate) mod session;
pub(crate) mod shared;
pub(crate) mod sharing;
pub(crate) mod view;
pub(crate) mod views;
pub(crate) mod walk;
