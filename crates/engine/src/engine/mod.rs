//! The machine: commits in, frames out.

mod checkpoint;
mod condition;
pub(crate) mod copy;
mod links;
mod mark;
pub(crate) mod own;
pub(crate) mod restore;
mod serve;
pub(crate) mod standing;
pub(crate) mod submit;

use std::cell::Cell;

use bytes::Bytes;

use crate::cursor::{Cursor, Epoch, Revision};
use crate::engine::mark::{Marking, Pace};
use crate::engine::own::Own;
use crate::limits::Limits;
use crate::path::Path;
use crate::read::interest::{self, Interest, PointId};
use crate::read::link::Links;
use crate::read::session::{Session, SessionId};
use crate::read::sharing::{Quiet, Sharing};
use crate::refusal::Refusal;
use crate::rows::Stored;
use crate::times::{Times, Timestamp};
use crate::tree::garbage::Garbage;
use crate::tree::key::{KeyId, Keys};
use crate::tree::notes::Notes;
use crate::tree::{Object, Value};
use crate::write::action::{Action, Write, Written, check};
use crate::write::apply::Applying;
use crate::write::base::Base;
use crate::write::change::{Change, REMOVALS_MAX};
use crate::write::overlay::Overlay;
use crate::write::pending::Pending;
use crate::write::region::Regions;

/// What is at a path.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The value as compact JSON; `None` when nothing is there.
    pub value: Option<Bytes>,
    /// When it, or anything beneath it, last changed (or went away).
    pub revision: Revision,
    /// When that was, by the clock.
    pub time: Timestamp,
}

/// What is known of a path without reading what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Bytes of the whole value as compact JSON; `None` when nothing is there.
    pub len: Option<usize>,
    /// When it, or anything beneath it, last changed (or went away).
    pub revision: Revision,
}

/// Numbers of a running engine, for its operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The newest revision.
    pub revision: Revision,
    /// Bytes of the whole tree as JSON.
    pub tree_bytes: usize,
    /// Removed members that are remembered.
    pub tombstones: usize,
    /// Different member names.
    pub names: usize,
    /// Bytes of notes for readers that are in the middle of a large state.
    pub walk_notes_bytes: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Slots of removed objects whose names and memory are still to be given back.
    pub garbage: usize,
    /// Bytes of the names of removed members that are remembered.
    pub tombstone_bytes: usize,
    /// Links.
    pub links: usize,
    /// Places where links stand, or that lead to them.
    pub places: usize,
    /// Bytes that these take.
    pub places_bytes: usize,
    /// Frames that were taken.
    pub frames: u64,
    /// Of these, such as another reader had made already.
    pub frames_shared: u64,
    /// Updates that were never sent because something newer was there.
    pub conflated: u64,
}

/// The tree, its revisions and its readers.
///
/// # The law of use
/// Every call that can give a session something to say ([`Engine::commit`], [`Engine::watch`]) is followed by
/// [`Engine::take_woken`], and each session in it is pulled with [`Engine::next`] when its connection can take bytes, until it
/// returns `None`; that is followed by [`Engine::take_woken`] as well. Several calls under one exclusive borrow see one state.
///
/// No call takes long. What would is left, and done by [`Engine::work`], to be called (and followed by [`Engine::take_woken`]) as long as
/// [`Engine::has_work`] says so, with room for other calls in between.
///
/// Commits that have to be durable are [submitted](Engine::submit) instead. Whoever writes the journal [takes](Engine::take_batch) what has been
/// submitted, writes it, and has it [applied](Engine::settle), or [forgotten](Engine::abandon) if that failed.
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) epoch: Epoch,
    pub(crate) keys: Keys,
    pub(crate) root: Value,
    pub(crate) revision: Revision,
    pub(crate) root_changed: Revision,
    pub(crate) times: Times,
    pub(crate) interest: Interest,
    pub(crate) links: Links,
    pub(crate) sharing: Sharing,
    pub(crate) quiet: Option<Quiet>,
    pub(crate) sessions: Vec<Option<Session>>,
    free_sessions: Vec<SessionId>,
    pub(crate) woken: Vec<SessionId>,
    pub(crate) tombstones: usize,
    /// Links that are still to be marked.
    pub(crate) marking: Marking,
    /// Removed objects that are still to be taken apart.
    pub(crate) garbage: Garbage,
    pub(crate) pace: Pace,
    pub(crate) pending: Pending,
    pub(crate) regions: Regions,
    pub(crate) stored: Stored,
    pub(crate) stats: Stats,
    /// Links that are in the middle of a walk, and what they have to know of each other's objects.
    pub(crate) walks: usize,
    pub(crate) notes: Notes,
    /// The server's own state, if it is kept.
    pub(crate) own: Option<Box<Own>>,
    /// See [`EPHEMERAL_ROOM`].
    pub(crate) room: u64,
    /// Looks of the turn that is on its way (see [`Engine::next`]).
    pub(crate) looked: Cell<usize>,
    /// Scratch: what the last commit touched, the names on the way to a place.
    pub(crate) touched: Vec<PointId>,
    /// Scratch: places beneath which the last commit changed everything.
    pub(crate) beneath: Vec<PointId>,
    pub(crate) names: Vec<KeyId>,
}

/// What a path leads to.
pub(crate) struct Found<'t> {
    pub(crate) value: Option<&'t Value>,
    pub(crate) changed: Revision,
}

impl Engine {
    /// An empty tree. Its root is the first commit of the epoch.
    pub fn new(limits: Limits, epoch: Epoch, now: Timestamp) -> Engine {
        let first = Revision(1);
        let mut times = Times::new(now);
        times.note(first, now);
        Engine {
            epoch,
            keys: Keys::default(),
            root: Value::Object(Box::new(Object::new(first, 0))),
            revision: first,
            root_changed: first,
            times,
            interest: Interest::new(),
            links: Links::default(),
            sharing: Sharing::new(limits.shared_encoding_bytes),
            quiet: None,
            sessions: Vec::new(),
            free_sessions: Vec::new(),
            woken: Vec::new(),
            tombstones: 0,
            marking: Marking::default(),
            garbage: Garbage::default(),
            pace: Pace::default(),
            pending: Pending::default(),
            regions: Regions::default(),
            stored: Stored::default(),
            stats: Stats::default(),
            walks: 0,
            notes: Notes::new(limits.walk_notes_bytes),
            limits,
            own: None,
            room: crate::engine::submit::EPHEMERAL_ROOM,
            looked: Cell::new(0),
            touched: Vec::new(),
            beneath: Vec::new(),
            names: Vec::new(),
        }
    }

    /// The bounds that this engine holds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The name of a state, to be handed to clients.
    pub fn cursor(&self, revision: Revision) -> Cursor {
        Cursor { epoch: self.epoch, revision }
    }

    /// Applies all writes as one commit, or none of them. A commit that changes nothing takes no
    /// revision. `now`: the clock's reading, which may be less than before.
    pub fn commit(&mut self, writes: &[Write], now: Timestamp) -> Result<Vec<Written>, Refusal> {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        self.read_clock(now);
        let worked_out = self.work_out(writes, &Change::Keep)?;
        Ok(self.carry_out(writes, worked_out, now))
    }

    /// Takes note of what the clock reads. Nobody is told a time any more that it was set back from.
    pub(crate) fn read_clock(&mut self, now: Timestamp) {
        if self.times.read(now) {
            let frames =
                std::mem::replace(&mut self.sharing, Sharing::new(self.limits.shared_encoding_bytes));
            self.garbage.add_husk(frames);
        }
    }

    /// Makes writes true that were worked out over the tree as it is.
    pub(crate) fn carry_out(
        &mut self,
        writes: &[Write],
        (change, created): (Change, Vec<bool>),
        now: Timestamp,
    ) -> Vec<Written> {
        self.apply(change, self.revision.next(), now);
        writes.iter().zip(created).map(|(w, created)| self.written(&w.path, created)).collect()
    }

    pub(crate) fn written(&self, path: &Path, created: bool) -> Written {
        Written { created, revision: self.find(path).changed }
    }

    /// What writes come to, if nothing speaks against them, and of each whether it creates something. `over`: what is written over the tree
    /// before.
    pub(crate) fn work_out(&self, writes: &[Write], over: &Change) -> Result<(Change, Vec<bool>), Refusal> {
        check(writes, &self.limits)?;
        let base = Base::new(&self.root, over);
        let mut overlay = Overlay::new(base, &self.keys, &self.limits);
        let mut created = Vec::with_capacity(writes.len());
        for write in writes {
            if !self.holds(&write.path, &write.condition, base) {
                return Err(Refusal::Precondition(write.path.clone()));
            }
            created.push(!overlay.exists(&write.path));
            match &write.action {
                Action::Put(value) => overlay.put(&write.path, value)?,
                Action::Merge(patch) => overlay.merge(&write.path, patch)?,
                Action::Patch(patch) => overlay.patch(&write.path, patch)?,
                Action::Delete => overlay.delete(&write.path)?,
            }
        }
        overlay.check(self.root.json_len() + self.pending.laid.added_bytes)?;
        Ok((overlay.change, created))
    }

    /// Makes a change true and marks who has to be told. A change that makes no difference takes no revision.
    pub(crate) fn apply(&mut self, change: Change, at: Revision, now: Timestamp) {
        let mut applying = Applying {
            at,
            limits: &self.limits,
            interest: &self.interest,
            touched: &mut self.touched,
            tombstones: &mut self.tombstones,
            forgotten: &mut self.stored.forgotten,
            notes: (self.walks > 0).then_some(&mut self.notes),
            beneath: &mut self.beneath,
            garbage: &mut self.garbage,
            removals: REMOVALS_MAX,
            names: Vec::new(),
        };
        if applying.apply(&mut self.keys, &mut self.root, change, Some(interest::ROOT)) {
            (self.revision, self.root_changed) = (at, at);
            self.times.note(at, now);
            self.mark(now);
        }
        self.take_apart_some();
    }

    /// The sessions that have something to say since the last time this was asked.
    pub fn take_woken(&mut self) -> Vec<SessionId> {
        let woken = std::mem::take(&mut self.woken);
        for id in &woken {
            if let Some(session) = &mut self.sessions[id.0 as usize] {
                session.woken = false;
            }
        }
        woken
    }

    /// Length and revision of what is at a path. It costs the same whatever is there.
    pub fn metadata(&self, path: &Path) -> Metadata {
        let Found { value, changed } = self.find(path);
        Metadata { len: value.map(Value::json_len), revision: changed }
    }

    /// What is at a path, `depth` levels of objects deep.
    pub fn read(&self, path: &Path, depth: u32) -> Result<Reading, Refusal> {
        let Found { value, changed } = self.find(path);
        let value = value.map(|value| self.write(value, depth)).transpose()?;
        Ok(Reading { value: value.map(Bytes::from), revision: changed, time: self.times.of(changed) })
    }

    /// Bytes of the whole value that is at a path.
    pub fn value_bytes(&self, path: &Path) -> usize {
        self.find(path).value.map_or(0, Value::json_len)
    }

    /// A value in one piece, if that is not too large.
    pub(crate) fn write(&self, value: &Value, depth: u32) -> Result<Vec<u8>, Refusal> {
        let max = self.limits.value_bytes;
        self.write_up_to(max, value, depth).ok_or_else(|| Refusal::value_too_large(&self.limits))
    }

    /// A value in one piece; `None` when it has more bytes than that.
    pub(crate) fn write_up_to(&self, max: usize, value: &Value, depth: u32) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let fits = match value.json_len() {
            len if len <= max && depth == u32::MAX => {
                out.reserve_exact(len);
                value.write(&self.keys, depth, &mut out);
                true
            }
            len if depth == u32::MAX => len <= max,
            _ => value.write_up_to(max, &self.keys, depth, &mut out).is_some(),
        };
        fits.then_some(out)
    }

    pub(crate) fn find(&self, path: &Path) -> Found<'_> {
        self.follow(path.segments().iter().map(|name| self.keys.find(name)))
    }

    pub(crate) fn find_point(&self, point: PointId, names: &mut Vec<KeyId>) -> Found<'_> {
        self.interest.names(point, names);
        self.follow(names.iter().map(|key| Some(*key)))
    }

    pub(crate) fn follow(&self, names: impl Iterator<Item = Option<KeyId>>) -> Found<'_> {
        let mut names = names.peekable();
        let own = self.own.as_ref().filter(|own| names.peek() == Some(&Some(own.key)));
        let (mut value, mut changed) = match own {
            Some(own) => (&own.value, own.changed),
            None => (&self.root, self.root_changed),
        };
        for key in names.skip(usize::from(own.is_some())) {
            let Value::Object(object) = value else {
                // A value has taken the place of whatever there was.
                return Found { value: None, changed };
            };
            let Some(slot) = key.and_then(|key| object.find(key)) else {
                // Never there, or so long ago that it is forgotten.
                return Found { value: None, changed: object.born.max(object.floor) };
            };
            let member = object.slot(slot);
            changed = member.changed;
            value = &member.value;
            if !value.is_live() {
                return Found { value: None, changed };
            }
        }
        Found { value: Some(value), changed }
    }

    /// When a revision was committed.
    pub fn time_of(&self, revision: Revision) -> Timestamp {
        self.times.of(revision)
    }

    /// Numbers for the operator.
    pub fn stats(&self) -> Stats {
        Stats {
            revision: self.revision,
            tree_bytes: self.root.json_len(),
            tombstones: self.tombstones,
            tombstone_bytes: self.keys.buried_bytes(),
            names: self.keys.len(),
            walk_notes_bytes: self.notes.bytes(),
            garbage: self.garbage.slots(),
            sessions: self.sessions.len() - self.free_sessions.len(),
            links: self.links.len(),
            places: self.interest.len(),
            places_bytes: self.interest.bytes(),
            ..self.stats
        }
    }

    /// Checks what must hold between calls.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let Value::Object(root) = &self.root else { panic!("the root is an object") };
        root.check(&self.keys);
        assert_eq!(root.tombstones_beneath() + self.garbage.tombstones(), self.tombstones);
        Base::new(&self.root, &self.pending.laid.over).check(&self.keys);
        if let Some(own) = &self.own {
            let Value::Object(value) = &own.value else { panic!("the server's own state is an object") };
            value.check(&self.keys);
            assert_eq!(value.tombstones_beneath() + own.garbage.tombstones(), own.tombstones);
        }
    }
}
