//! The engine: commits in, frames out.

mod checkpoint;
mod condition;
pub(crate) mod copy;
mod links;
mod mark;
pub(crate) mod restore;
pub(crate) mod roots;
mod serve;
pub(crate) mod standing;
pub(crate) mod submit;

use std::cell::Cell;

use bytes::Bytes;

use crate::cursor::{Cursor, Epoch, Revision};
use crate::engine::mark::{Marking, Pace};
use crate::engine::roots::{Beside, Root, root_beside};
use crate::limits::Limits;
use crate::path::Path;
use crate::read::interest::{self, Interest, PointId};
use crate::read::link::Links;
use crate::read::session::{News, Session, SessionId};
use crate::read::sharing::{Quiet, Sharing};
use crate::read::views::Views;
use crate::refusal::Refusal;
use crate::rows::Stored;
use crate::times::Timestamp;
use crate::tree::Value;
use crate::tree::key::{KeyId, Keys};
use crate::tree::notes::Notes;
use crate::tree::sight::Sight;
use crate::write::action::{Action, Write, Written, check};
use crate::write::apply::Applying;
use crate::write::base::Base;
use crate::write::change::{Change, REMOVALS_MAX};
use crate::write::judge::Effect;
use crate::write::overlay::Overlay;
use crate::write::pending::Pending;
use crate::write::region::Regions;

/// Result of reading a path.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The value as compact JSON; `None` when nothing is there.
    pub value: Option<Bytes>,
    /// The revision at which it, or anything beneath it, last changed (or was removed).
    pub revision: Revision,
    /// The history that the revision belongs to.
    pub epoch: Epoch,
    /// The time of that revision, by the clock.
    pub time: Timestamp,
}

/// Metadata of a path, known without reading the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Bytes of the whole value as compact JSON; `None` when nothing is there.
    pub len: Option<usize>,
    /// The revision at which it, or anything beneath it, last changed (or was removed).
    pub revision: Revision,
    /// The history that the revision belongs to.
    pub epoch: Epoch,
}

impl Reading {
    /// The cursor of the state that was read, for clients.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, revision: self.revision }
    }
}

impl Metadata {
    /// The cursor of that state, for clients.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, revision: self.revision }
    }
}

/// Numbers of a running engine, for its operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The newest revision of the tree.
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
    /// Bytes that these places take.
    pub places_bytes: usize,
    /// Distinct views that links look through.
    pub views: usize,
    /// Conditions among these of which every member of their collection has to be asked, and
    /// orders into which each has to be put.
    pub unindexed_lenses: usize,
    /// Rows of the orders of views: one for each member that fulfils the condition.
    pub view_rows: usize,
    /// Frames that were taken.
    pub frames: u64,
    /// Frames among these that had been made for another reader already.
    pub frames_shared: u64,
    /// Updates that were never sent because something newer was there.
    pub conflated: u64,
}

/// The tree, its revisions and its readers.
///
/// # The law of use
/// Every call that can give a session something to send ([`Engine::commit`], [`Engine::watch`]) is
/// followed by [`Engine::take_woken`], and each session in it is pulled with [`Engine::next`] when
/// its connection can take bytes, until it returns `None`; that is followed by
/// [`Engine::take_woken`] as well. Several calls under one exclusive borrow see one state.
///
/// No call takes long. Longer work is left to [`Engine::work`], which is called (and followed by
/// [`Engine::take_woken`]) while [`Engine::has_work`] is true, with room for other calls in
/// between.
///
/// Commits that have to be durable are [submitted](Engine::submit) instead. The journal's writer
/// [takes](Engine::take_batch) the submitted commits, writes them, and has them
/// [applied](Engine::settle), or [forgotten](Engine::abandon) if that failed.
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) keys: Keys,
    pub(crate) tree: Root,
    /// Roots beside the tree, by their numbers.
    pub(crate) beside: Vec<Beside>,
    pub(crate) interest: Interest,
    pub(crate) links: Links,
    /// Views that links look through.
    pub(crate) views: Views,
    pub(crate) sharing: Sharing,
    pub(crate) quiet: Option<Quiet>,
    pub(crate) sessions: Vec<Option<Session>>,
    free_sessions: Vec<SessionId>,
    pub(crate) woken: Vec<SessionId>,
    /// Links that are still to be marked.
    pub(crate) marking: Marking,
    pub(crate) pace: Pace,
    pub(crate) pending: Pending,
    pub(crate) regions: Regions,
    pub(crate) stored: Stored,
    pub(crate) stats: Stats,
    /// Number of links that are in the middle of a walk, and the notes for them.
    pub(crate) walks: usize,
    pub(crate) notes: Notes,
    /// Revisions left free before each durable one: see [`EPHEMERAL_ROOM`].
    pub(crate) room: u64,
    /// Looks of the current turn (see [`Engine::next`]).
    pub(crate) looked: Cell<usize>,
    /// Scratch: places that the last commit touched, and the names on the way to a place.
    pub(crate) touched: Vec<PointId>,
    /// Scratch: places beneath which the last commit changed everything.
    pub(crate) beneath: Vec<PointId>,
    pub(crate) names: Vec<KeyId>,
}

/// The value that a path leads to.
pub(crate) struct Found<'t> {
    pub(crate) value: Option<&'t Value>,
    pub(crate) changed: Revision,
    /// The root that the path descends from.
    pub(crate) root: &'t Root,
}

impl Found<'_> {
    pub(crate) fn time(&self) -> Timestamp {
        self.root.times.of(self.changed)
    }

    /// A reading of it, with this value.
    fn reading(&self, value: Option<Bytes>) -> Reading {
        let (revision, epoch) = (self.changed, self.root.epoch);
        Reading { value, revision, epoch, time: self.time() }
    }

    fn cursor(&self) -> Cursor {
        Cursor { epoch: self.root.epoch, revision: self.changed }
    }
}

/// The value that names lead to, in the root that they descend from.
pub(crate) fn follow<'t>(
    tree: &'t Root,
    beside: &'t [Beside],
    names: impl Iterator<Item = Option<KeyId>>,
) -> Found<'t> {
    let mut names = names.peekable();
    let beside = root_beside(beside, names.peek().copied().flatten());
    let root = beside.unwrap_or(tree);
    let (mut value, mut changed) = (&root.value, root.changed);
    for key in names.skip(usize::from(beside.is_some())) {
        let Value::Object(object) = value else {
            // A value has taken the place of whatever there was.
            return Found { value: None, changed, root };
        };
        let Some(slot) = key.and_then(|key| object.find(key)) else {
            // It was never there, or so long ago that it is forgotten.
            return Found { value: None, changed: object.born.max(object.floor), root };
        };
        let member = object.slot(slot);
        changed = member.changed;
        value = &member.value;
        if !value.is_live() {
            return Found { value: None, changed, root };
        }
    }
    Found { value: Some(value), changed, root }
}

impl Engine {
    /// An empty tree. Its root is the first commit of the epoch.
    pub fn new(limits: Limits, epoch: Epoch, now: Timestamp) -> Engine {
        Engine {
            keys: Keys::default(),
            tree: Root::new(epoch, now),
            beside: Vec::new(),
            interest: Interest::new(),
            links: Links::default(),
            views: Views::new(&limits),
            sharing: Sharing::new(limits.shared_encoding_bytes),
            quiet: None,
            sessions: Vec::new(),
            free_sessions: Vec::new(),
            woken: Vec::new(),
            marking: Marking::default(),
            pace: Pace::default(),
            pending: Pending::default(),
            regions: Regions::default(),
            stored: Stored::default(),
            stats: Stats::default(),
            walks: 0,
            notes: Notes::new(limits.walk_notes_bytes),
            limits,
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

    /// The newest revision of the tree.
    pub fn revision(&self) -> Revision {
        self.tree.revision
    }

    /// The cursor of a state of the tree, for clients.
    pub fn cursor(&self, revision: Revision) -> Cursor {
        Cursor { epoch: self.tree.epoch, revision }
    }

    /// Applies all writes as one commit, or none of them. A commit that changes nothing takes no
    /// revision. `now`: the clock's reading, which may be less than before.
    pub fn commit(&mut self, writes: &[Write], now: Timestamp) -> Result<Vec<Written>, Refusal> {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        self.read_clock(now);
        self.begin_to_change();
        let worked_out = self.work_out(writes, &Change::Keep)?;
        Ok(self.carry_out(writes, worked_out, now))
    }

    /// Begins a call that changes the state: lenses may take so much of its time.
    pub(crate) fn begin_to_change(&mut self) {
        self.views.begin(self.pace.looks.saturating_mul(2));
    }

    /// Notes the clock's reading. If the clock was set back, nobody is told a later time any more.
    pub(crate) fn read_clock(&mut self, now: Timestamp) {
        let mut is_back = false;
        self.roots_mut().for_each(|root| is_back |= root.times.read(now));
        if is_back {
            let frames = std::mem::replace(
                &mut self.sharing,
                Sharing::new(self.limits.shared_encoding_bytes),
            );
            self.tree.garbage.add_husk(frames);
        }
    }

    /// Applies writes that were worked out over the tree as it is.
    pub(crate) fn carry_out(
        &mut self,
        writes: &[Write],
        (change, created): (Change, Vec<bool>),
        now: Timestamp,
    ) -> Vec<Written> {
        self.apply(change, self.tree.revision.next(), now);
        writes.iter().zip(created).map(|(w, created)| self.written(&w.path, created)).collect()
    }

    pub(crate) fn written(&self, path: &Path, created: bool) -> Written {
        Written { created, revision: self.find(path).changed }
    }

    /// Works out writes, or refuses them: the change that they make, and for each whether it
    /// creates something. `over`: the pending changes over the tree, which come before.
    pub(crate) fn work_out(
        &self,
        writes: &[Write],
        over: &Change,
    ) -> Result<(Change, Vec<bool>), Refusal> {
        check(writes, &self.limits)?;
        let base = Base::new(&self.tree.value, over);
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
        overlay.check(self.tree.value.json_len() + self.pending.laid.added_bytes)?;
        let judged = writes.iter().filter_map(|w| Some((&w.path, w.condition.judge.as_ref()?)));
        for (path, judge) in judged {
            judge.judge(&Effect::new(path, &overlay.change, base, &self.keys, &self.limits))?;
        }
        Ok((overlay.change, created))
    }

    /// Applies a change and marks the links that have to be told. A change that makes no difference
    /// takes no revision.
    pub(crate) fn apply(&mut self, change: Change, at: Revision, now: Timestamp) {
        let mut applying = Applying {
            at,
            limits: &self.limits,
            interest: &self.interest,
            touched: &mut self.touched,
            tombstones: &mut self.tree.tombstones,
            forgotten: &mut self.stored.forgotten,
            notes: (self.walks > 0).then_some(&mut self.notes),
            beneath: &mut self.beneath,
            garbage: &mut self.tree.garbage,
            removals: REMOVALS_MAX,
            views: (!self.views.is_empty()).then_some(&mut self.views),
            names: Vec::new(),
        };
        if applying.apply(&mut self.keys, &mut self.tree.value, change, Some(interest::ROOT)) {
            (self.tree.revision, self.tree.changed) = (at, at);
            self.tree.times.note(at, now);
            self.mark(News { at, time: now, is_of_tree: true });
        }
        self.end_lingering(false);
        self.take_apart_some();
    }

    /// Takes the sessions that have got something to send since the last call.
    pub fn take_woken(&mut self) -> Vec<SessionId> {
        let woken = std::mem::take(&mut self.woken);
        for id in &woken {
            if let Some(session) = &mut self.sessions[id.0 as usize] {
                session.woken = false;
            }
        }
        woken
    }

    /// Length and revision of the value at a path. It costs the same whatever is there.
    pub fn metadata(&self, path: &Path) -> Metadata {
        let Found { value, changed, root } = self.find(path);
        Metadata { len: value.map(Value::json_len), revision: changed, epoch: root.epoch }
    }

    /// Reads the value at a path, `depth` levels of objects deep.
    pub fn read(&self, path: &Path, depth: u32) -> Result<Reading, Refusal> {
        let found = self.find(path);
        let value = found.value.map(|value| self.write(value, depth)).transpose()?;
        Ok(found.reading(value.map(Bytes::from)))
    }

    /// Bytes of the whole value at a path.
    pub fn value_bytes(&self, path: &Path) -> usize {
        self.find(path).value.map_or(0, Value::json_len)
    }

    /// Writes a value in one piece, if that is not too large.
    pub(crate) fn write(&self, value: &Value, depth: u32) -> Result<Vec<u8>, Refusal> {
        let max = self.limits.value_bytes;
        self.write_up_to(max, value, depth).ok_or_else(|| Refusal::value_too_large(&self.limits))
    }

    /// Writes what a sight shows of a value in one piece; `None` if it has more than `max` bytes.
    pub(crate) fn write_seen<S: Sight>(
        &self,
        max: usize,
        value: &Value,
        depth: u32,
        sight: S,
    ) -> Option<Vec<u8>> {
        if S::IS_ALL {
            return self.write_up_to(max, value, depth);
        }
        let mut out = Vec::new();
        value.write_seen(max, &self.keys, depth, sight, &mut out).map(|_| out)
    }

    /// Writes a value in one piece; `None` if it has more than `max` bytes.
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
        follow(&self.tree, &self.beside, names)
    }

    /// The time of the commit that led to a state.
    pub fn time_of(&self, state: Cursor) -> Timestamp {
        self.root_with(state.epoch).map_or(Timestamp(0), |root| root.times.of(state.revision))
    }

    /// Numbers for the operator.
    pub fn stats(&self) -> Stats {
        Stats {
            revision: self.tree.revision,
            tree_bytes: self.tree.value.json_len(),
            tombstones: self.tree.tombstones,
            tombstone_bytes: self.keys.buried_bytes(),
            names: self.keys.len(),
            walk_notes_bytes: self.notes.bytes(),
            garbage: self.tree.garbage.slots(),
            sessions: self.sessions.len() - self.free_sessions.len(),
            links: self.links.len(),
            places: self.interest.len(),
            places_bytes: self.interest.bytes(),
            views: self.views.len(),
            unindexed_lenses: self.views.unindexed(),
            view_rows: self.views.rows(),
            ..self.stats
        }
    }

    /// Checks what must hold between calls.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        Base::new(&self.tree.value, &self.pending.laid.over).check(&self.keys);
        for root in self.roots() {
            let Value::Object(value) = &root.value else { panic!("a root is an object") };
            value.check(&self.keys);
            assert_eq!(value.tombstones_beneath() + root.garbage.tombstones(), root.tombstones);
        }
    }
}
