//! Roots: the tree, and others beside it.
//!
//! A root beside the tree is read beneath a name of its own, as if it were a member of the tree, by
//! the same links. But it is no part of the tree: no reader of `/` is shown it or woken by it, no
//! write reaches it, and it is in no record, row or account of the tree.
//!
//! Each root is a history of its own: it has its own epoch, revisions and times. So a commit to one
//! leaves the revisions of all others alone, and a cursor of one is none of another. A root beside
//! the tree lives as long as the engine and is in no journal, so its links do not resume: a reader
//! that comes back is sent it whole.

use crate::cursor::{Cursor, Epoch, Revision};
use crate::engine::Engine;
use crate::limits::Limits;
use crate::mutants;
use crate::path::Path;
use crate::read::interest;
use crate::read::session::News;
use crate::times::{Times, Timestamp};
use crate::tree::garbage::Garbage;
use crate::tree::key::{KeyId, Keys};
use crate::tree::{Object, Value};
use crate::write::apply::Applying;
use crate::write::base::{Base, effective};
use crate::write::change::{Change, REMOVALS_MAX};
use crate::write::json::Json;

/// Removed members of a root beside the tree that are remembered. A link that is further behind
/// than these gets the object whole.
const TOMBSTONES: usize = 4096;

/// The number of a root beside the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootId(usize);

/// A value and its history.
pub(crate) struct Root {
    pub(crate) epoch: Epoch,
    /// The newest revision.
    pub(crate) revision: Revision,
    pub(crate) times: Times,
    pub(crate) value: Value,
    /// The revision that last changed the value.
    pub(crate) changed: Revision,
    /// Removed members that are remembered.
    pub(crate) tombstones: usize,
    /// Removed objects that are still to be taken apart.
    pub(crate) garbage: Garbage,
}

/// A root beside the tree.
pub(crate) struct Beside {
    /// The first name of all paths that descend from it.
    name: KeyId,
    pub(crate) root: Root,
    limits: Limits,
}

impl Root {
    /// An empty object, which is the first commit of the epoch.
    pub(crate) fn new(epoch: Epoch, now: Timestamp) -> Root {
        let first = Revision(1);
        let mut times = Times::new(now);
        times.note(first, now);
        Root {
            epoch,
            revision: first,
            times,
            value: Value::Object(Box::new(Object::new(first, 0))),
            changed: first,
            tombstones: 0,
            garbage: Garbage::default(),
        }
    }

    /// True if a cursor names a state of this root. One that is ahead names no state yet.
    pub(crate) fn knows(&self, cursor: &Cursor) -> bool {
        cursor.epoch == self.epoch && cursor.revision <= self.revision
    }

    /// Takes apart up to `slots` slots of removed objects.
    pub(crate) fn take_apart(&mut self, keys: &mut Keys, slots: usize) {
        self.garbage.take_apart(keys, &mut self.tombstones, slots);
    }
}

impl Engine {
    /// Adds a root that is read beneath a name, which nothing in the tree may have. Its cursors
    /// carry `epoch`. No epoch may be used for two roots, nor again after a restart, since
    /// revisions begin anew.
    pub fn add_root(&mut self, name: &str, epoch: Epoch, now: Timestamp) -> RootId {
        let limits =
            Limits { tombstones: TOMBSTONES.min(self.limits.tombstones), ..self.limits.clone() };
        let root = Root::new(epoch, now);
        self.beside.push(Beside { name: self.keys.hold(name), root, limits });
        RootId(self.beside.len() - 1)
    }

    /// Writes a change over a root beside the tree, as one commit. The limits of bodies do not
    /// apply, since no client sent it.
    pub fn commit_to(&mut self, id: RootId, change: &Json, now: Timestamp) {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        self.read_clock(now);
        self.begin_to_change();
        let Beside { name, root, limits } = &mut self.beside[id.0];
        let at = root.revision.next();
        let point = self.interest.child(interest::ROOT, *name);
        let mut applying = Applying {
            at,
            limits,
            interest: &self.interest,
            touched: &mut self.touched,
            tombstones: &mut root.tombstones,
            // A root beside the tree has no rows.
            forgotten: &mut Vec::new(),
            notes: (self.walks > 0).then_some(&mut self.notes),
            beneath: &mut self.beneath,
            garbage: &mut root.garbage,
            removals: REMOVALS_MAX,
            views: (!self.views.is_empty()).then_some(&mut self.views),
            names: vec![*name],
        };
        if applying.apply(&mut self.keys, &mut root.value, change.0.clone(), point) {
            (root.revision, root.changed) = (at, at);
            root.times.note(at, now);
            if mutants::is("own-wakes-root") {
                self.touched.push(interest::ROOT);
            }
            if mutants::is("own-moves-tree") {
                self.tree.revision = self.tree.revision.next();
            }
            self.mark(News { at, time: now, is_of_tree: mutants::is("own-holds-rev") });
        }
        self.take_apart_some();
    }

    /// True if a link stands at or beneath a root beside the tree.
    pub fn is_root_watched(&self, id: RootId) -> bool {
        self.interest.child(interest::ROOT, self.beside[id.0].name).is_some()
    }

    /// The root beside the tree from which paths of this first name descend.
    pub(crate) fn beside(&self, first: Option<KeyId>) -> Option<&Root> {
        root_beside(&self.beside, first)
    }

    /// The root that a path descends from.
    pub(crate) fn root_of(&self, path: &Path) -> &Root {
        let first = path.segments().first().filter(|_| !self.beside.is_empty());
        self.beside(first.and_then(|name| self.keys.find(name))).unwrap_or(&self.tree)
    }

    /// The root whose cursors carry an epoch.
    pub(crate) fn root_with(&self, epoch: Epoch) -> Option<&Root> {
        self.roots().find(|root| root.epoch == epoch)
    }

    /// All roots, the tree first.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.tree).chain(self.beside.iter().map(|beside| &beside.root))
    }

    /// All roots, the tree first, to be changed.
    pub(crate) fn roots_mut(&mut self) -> impl Iterator<Item = &mut Root> {
        let beside = self.beside.iter_mut().map(|beside| &mut beside.root);
        std::iter::once(&mut self.tree).chain(beside)
    }
}

/// The root, among these, from which paths of this first name descend.
pub(crate) fn root_beside(beside: &[Beside], first: Option<KeyId>) -> Option<&Root> {
    let beside = beside.iter().find(|beside| Some(beside.name) == first)?;
    Some(&beside.root)
}

impl Json {
    /// The difference from another value: members that are alike are not in it. Written over the
    /// other, it leads to this. `None` if they are the same.
    pub fn over(self, other: &Json) -> Option<Json> {
        let nothing = Value::Absent { existed_since: Revision::NONE };
        match effective(&Keys::default(), self.0, Base::new(&nothing, &other.0)) {
            Change::Keep => None,
            change => Some(Json(change)),
        }
    }
}
