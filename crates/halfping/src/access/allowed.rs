//! Paths, links and writes that an [`Access`] has allowed. The hub reads, follows and writes
//! nothing else.

use std::ops::Deref;

use halfping_engine::{Action, Condition, Path, Watch, Write};

use super::Access;
use crate::problem::Problem;
use crate::shape::Shape;

/// A path to read at, a link to be opened, or a write, which is allowed to whoever asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Allowed<T>(T);

impl<T> Allowed<T> {
    pub(super) fn new(allowed: T) -> Allowed<T> {
        Allowed(allowed)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Allowed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A client that may follow. Subscriptions are made for nobody else.
#[derive(Clone, Debug)]
pub(crate) struct Follower(Access);

impl Follower {
    pub(super) fn new(access: Access) -> Follower {
        Follower(access)
    }

    /// A link to be opened.
    pub(crate) fn watch(&self, path: Path, shape: &Shape) -> Result<Allowed<Watch>, Problem> {
        self.0.watch(path, shape)
    }

    /// A link that hears of changes of what may be read, and is told no state.
    pub(crate) fn hear(&self, path: &Allowed<Path>) -> Allowed<Watch> {
        Allowed(Watch { from_now: true, ..Watch::new(Path::clone(path)) })
    }
}

impl Deref for Follower {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.0
    }
}

/// A path to write at. A client that may write a resource may write all that is beneath it.
#[derive(Clone, Debug)]
pub(crate) struct Writable(Path);

impl Writable {
    pub(super) fn new(path: Path) -> Writable {
        Writable(path)
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_root()
    }

    pub(crate) fn child(&self, name: &str) -> Writable {
        Writable(self.0.child(name))
    }

    pub(crate) fn write(self, action: Action, condition: Condition) -> Allowed<Write> {
        Allowed(Write { path: self.0, action, condition })
    }
}
