//! The server's own state: a second root, beside the tree.
//!
//! It is read as if it were the member [`OWN`] of the tree, by the same links with the same cursors, and takes its revisions from the same sequence;
//! so one cursor says of both what a reader has. But it is no part of the tree: nobody who reads the root is shown it or woken by it, no write
//! reaches it, and it is in no record, row or account of the tree.
//!
//! Its commits are not written to a journal, and yet their revisions are given out: after a crash they must not stand for anything else. So they are
//! made only as far as the journal has [promised](Engine::lease_own) to go on after them, as it does for ephemeral regions.

use crate::cursor::Revision;
use crate::engine::Engine;
use crate::limits::Limits;
use crate::mutants;
use crate::read::interest;
use crate::times::Timestamp;
use crate::tree::garbage::Garbage;
use crate::tree::key::{KeyId, Keys};
use crate::tree::{Object, Value};
use crate::write::apply::Applying;
use crate::write::base::{Base, effective};
use crate::write::change::{Change, REMOVALS_MAX};
use crate::write::json::Json;

/// The name at the root beneath which it is read.
pub const OWN: &str = "_server";
/// Removed members of it that are remembered. Who comes back after more than these gets the object whole; it is a second old at most.
const TOMBSTONES: usize = 4096;
/// Revisions that are left free before each durable commit for its commits, one a second and a few more when asked: enough for a disk that takes
/// a minute to sync.
pub(crate) const ROOM: u64 = 64;

/// See [the module](self).
pub(crate) struct Own {
    pub(crate) key: KeyId,
    pub(crate) value: Value,
    pub(crate) changed: Revision,
    /// Up to which revision its commits may go.
    lease: Revision,
    pub(crate) tombstones: usize,
    pub(crate) garbage: Garbage,
    limits: Limits,
}

impl Engine {
    /// Begins to keep the server's own state. As long as all is in memory, the sequence is its own to take from; with a journal, it has to be
    /// [leased](Engine::lease_own) first.
    pub fn keep_own(&mut self, has_journal: bool) {
        let limits = Limits { tombstones: TOMBSTONES.min(self.limits.tombstones), ..self.limits.clone() };
        self.own = Some(Box::new(Own {
            key: self.keys.hold(OWN),
            value: Value::Object(Box::new(Object::new(self.revision, 0))),
            changed: self.revision,
            lease: if has_journal { Revision::NONE } else { Revision(u64::MAX) },
            tombstones: 0,
            garbage: Garbage::default(),
            limits,
        }));
    }

    /// The journal goes on after this revision, whatever happens: up to it, commits of the server's own state may be made.
    pub fn lease_own(&mut self, lease: Revision) {
        if let Some(own) = &mut self.own {
            own.lease = own.lease.max(lease);
        }
    }

    /// Writes this over the server's own state, as one commit. False when there is no revision for it: too much waits for the disk, or nothing is
    /// leased. It is not held to the limits of bodies, since it is not a peer's.
    pub fn commit_own(&mut self, change: &Json, now: Timestamp) -> bool {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        self.read_clock(now);
        let at = self.revision.next();
        let is_free = self.has_room();
        let Some(own) = self.own.as_deref_mut().filter(|own| is_free && at <= own.lease) else {
            return false;
        };
        let point = self.interest.child(interest::ROOT, own.key);
        let mut applying = Applying {
            at,
            limits: &own.limits,
            interest: &self.interest,
            touched: &mut self.touched,
            tombstones: &mut own.tombstones,
            // Nothing of it has rows.
            forgotten: &mut Vec::new(),
            notes: (self.walks > 0).then_some(&mut self.notes),
            beneath: &mut self.beneath,
            garbage: &mut own.garbage,
            removals: REMOVALS_MAX,
            names: vec![own.key],
        };
        if applying.apply(&mut self.keys, &mut own.value, change.0.clone(), point) {
            (self.revision, own.changed) = (at, at);
            if mutants::is("own-wakes-root") {
                self.root_changed = at;
                self.touched.push(interest::ROOT);
            }
            self.times.note(at, now);
            self.mark(now);
        }
        self.take_apart_some();
        true
    }

    /// Whether a link stands in the server's own state.
    pub fn is_own_watched(&self) -> bool {
        self.own.as_ref().is_some_and(|own| self.interest.child(interest::ROOT, own.key).is_some())
    }
}

impl Json {
    /// What makes this out of another value: members that are alike are not in it. Written over the other, it leads to this. `None`: they are
    /// the same.
    pub fn over(self, other: &Json) -> Option<Json> {
        let nothing = Value::Absent { existed_since: Revision::NONE };
        match effective(&Keys::default(), self.0, Base::new(&nothing, &other.0)) {
            Change::Keep => None,
            change => Some(Json(change)),
        }
    }
}
