//! The machine: commits in, frames out.

use std::cell::Cell;

use bytes::Bytes;

use crate::apply::{Applying, REMOVALS_MAX};
use crate::base::Base;
use crate::change::Change;
use crate::cursor::{Cursor, Epoch, Revision};
use crate::garbage::Garbage;
use crate::interest::{self, Interest, NIL, PointId};
use crate::key::{KeyId, Keys};
use crate::limits::Limits;
use crate::link::{Link, LinkId, Links, Priority, Rate, State};
use crate::mark::{Marking, Pace};
use crate::mutants;
use crate::notes::Notes;
use crate::overlay::Overlay;
use crate::own::Own;
use crate::path::Path;
use crate::pending::Pending;
use crate::refusal::Refusal;
use crate::region::Regions;
use crate::session::{Session, SessionId};
use crate::sharing::{Quiet, Sharing};
use crate::stored::Stored;
use crate::times::{Tick, Times, Timestamp};
use crate::tree::{Object, Value};
use crate::write::{self, Action, Write, Written};

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

/// What a new link is to show, and from where on.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Which resource.
    pub path: Path,
    /// What the reader has. A cursor that cannot be used is as good as none.
    pub since: Option<Cursor>,
    /// Levels of objects to show beneath the resource.
    pub depth: u32,
    /// Whole values only.
    pub whole: bool,
    /// At most one frame in so many milliseconds; 0 for as many as there are.
    pub interval_ms: u64,
    /// Before which other links of its session it is served.
    pub priority: Priority,
}

/// What is known of a path without reading what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Bytes of the whole value as compact JSON; `None` when nothing is there.
    pub len: Option<usize>,
    /// When it, or anything beneath it, last changed (or went away).
    pub revision: Revision,
}

impl Watch {
    /// Everything at a path, from the start.
    pub fn new(path: Path) -> Watch {
        let priority = Priority::default();
        Watch { path, since: None, depth: u32::MAX, whole: false, interval_ms: 0, priority }
    }
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
        let mut times = Times::default();
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
            room: crate::submit::EPHEMERAL_ROOM,
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

    /// Applies all writes as one commit, or none of them. A commit that changes nothing takes no revision.
    pub fn commit(&mut self, writes: &[Write], now: Timestamp) -> Result<Vec<Written>, Refusal> {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        let worked_out = self.work_out(writes, &Change::Keep)?;
        Ok(self.carry_out(writes, worked_out, now))
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
        write::check(writes, &self.limits)?;
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

    /// Opens a session without links.
    pub fn open(&mut self) -> SessionId {
        let id = self.free_sessions.pop().unwrap_or_else(|| {
            self.sessions.push(None);
            SessionId(self.sessions.len() as u32 - 1)
        });
        self.sessions[id.0 as usize] = Some(Session::new());
        id
    }

    /// Ends some links of a session that is to be closed. Says whether that were all.
    pub fn end_links(&mut self, id: SessionId, max: usize) -> bool {
        let Some(Some(session)) = self.sessions.get(id.0 as usize) else { return true };
        let ids: Vec<LinkId> = session.links.values().take(max).copied().collect();
        let are_all = ids.len() == session.links.len();
        ids.into_iter().for_each(|link| self.end(link));
        are_all
    }

    /// Closes a session and ends all its links. If it has very many, they are better [ended](Engine::end_links) in portions before.
    pub fn close(&mut self, id: SessionId) {
        if self.sessions[id.0 as usize].is_none() {
            return;
        }
        self.end_links(id, usize::MAX);
        self.sessions[id.0 as usize] = None;
        self.free_sessions.push(id);
        self.woken.retain(|woken| *woken != id);
    }

    /// Adds a link to a session. `tag` is the owner's number for it; false when that is taken.
    pub fn watch(&mut self, session: SessionId, tag: u32, watch: &Watch) -> bool {
        if self.session(session).links.contains_key(&tag) {
            return false;
        }
        let usable = watch.since.filter(|c| c.epoch == self.epoch && c.revision <= self.revision);
        let point = self.interest.stand(&mut self.keys, &watch.path);
        let interval_ms = watch.interval_ms;
        let link = Link {
            session: session.0,
            point,
            tag,
            previous: NIL,
            next: NIL,
            state: State::Pending,
            priority: watch.priority,
            whole: watch.whole,
            resumed: usable.is_some(),
            gone: false,
            depth: watch.depth.try_into().unwrap_or(u16::MAX),
            waits_since: 0,
            cursor: usable.map_or(Revision::NONE, |c| c.revision),
            touches: self.interest.touches(point),
            round: 0,
            rate: (interval_ms > 0)
                .then(|| Box::new(Rate { interval_ms, due: Tick(0), known: Revision::NONE })),
            walk: None,
        };
        let id = self.links.add(link);
        let owner = self.sessions[session.0 as usize].as_mut().expect("checked above");
        owner.links.insert(tag, id);
        owner.line_up(&mut self.links, id);
        if !std::mem::replace(&mut owner.woken, true) {
            self.woken.push(session);
        }
        true
    }

    /// Whether there is room for one more link; else the limit that is in its way, and how much that is.
    pub fn has_room_for(&self, path: &Path) -> Result<(), (&'static str, usize)> {
        let Limits { links, places_bytes, .. } = self.limits;
        if self.links.len() >= links {
            return Err(("links", links));
        }
        match self.interest.bytes() + self.interest.missing_bytes(&self.keys, path) > places_bytes {
            true => Err(("places_bytes", places_bytes)),
            false => Ok(()),
        }
    }

    /// Bytes that a link is charged for where it stands: for all the way there, whoever else needs it.
    pub fn link_bytes(path: &Path) -> usize {
        interest::way_bytes(path)
    }

    /// The same of a link that there is; 0 if there is none of that number.
    pub fn bytes_of_link(&self, session: SessionId, tag: u32) -> usize {
        let Some(id) = self.session(session).links.get(&tag) else { return 0 };
        self.interest.way_bytes_to(&self.keys, self.links[*id].point)
    }

    /// Ends a link. False when the session has none of that number.
    pub fn unwatch(&mut self, session: SessionId, tag: u32) -> bool {
        let id = self.session(session).links.get(&tag).copied();
        id.map(|id| self.end(id)).is_some()
    }

    fn end(&mut self, id: LinkId) {
        let Link { session, point, tag, state, .. } = self.links[id];
        let owner = self.sessions[session as usize].as_mut().expect("a link's session is open");
        owner.links.remove(&tag);
        match state {
            State::Idle => self.leave_idle(point, id),
            State::Pending => owner.leave_line(&mut self.links, id),
            State::Waiting => owner.stop_waiting(&self.links, id),
        }
        if self.links.remove(id) {
            self.walks -= 1;
            self.forget_notes();
        }
        self.interest.leave(&mut self.keys, point);
        if self.interest.links(point) < 2 {
            self.sharing.forget(point);
            self.quiet = None;
        }
    }

    /// Takes an idle link out of its list: of those that stay idle, or of those that are being put in line.
    fn leave_idle(&mut self, point: PointId, id: LinkId) {
        let (_, next) = self.links.unlink(id);
        if *self.interest.idle(point) == id {
            *self.interest.idle(point) = next;
        } else if self.interest.due(point) == Some(id) {
            self.interest.set_due(point, next);
        }
    }

    /// The cursor that resumes all links of a synced session: everything up to it has been shown. It does not go back.
    pub fn resume_point(&self, session: SessionId) -> Revision {
        let known = self.session(session).known().filter(|_| !mutants::is("resume-too-new"));
        known.unwrap_or(self.revision)
    }

    /// When the session will have something to say without another commit: a link that waits for its rate.
    pub fn due(&self, session: SessionId) -> Option<Tick> {
        self.session(session).due()
    }

    /// When a revision was committed.
    pub fn time_of(&self, revision: Revision) -> Timestamp {
        self.times.of(revision)
    }

    fn session(&self, id: SessionId) -> &Session {
        self.sessions[id.0 as usize].as_ref().expect("the session is open")
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
        if let Some(own) = &self.own {
            let Value::Object(value) = &own.value else { panic!("the server's own state is an object") };
            value.check(&self.keys);
            assert_eq!(value.tombstones_beneath() + own.garbage.tombstones(), own.tombstones);
        }
    }
}
