//! Sessions and their links: opening, ending, and progress of their readers.

use crate::cursor::Revision;
use crate::engine::{Engine, follow};
use crate::limits::Limits;
use crate::mutants;
use crate::path::Path;
use crate::read::interest::{self, NIL, PointId};
use crate::read::link::{Charge, Link, LinkId, Rate, State, Watch};
use crate::read::session::{Session, SessionId};
use crate::read::view::{View, Wanted};
use crate::times::Tick;

impl Engine {
    /// Opens a session without links.
    pub fn open(&mut self) -> SessionId {
        let id = self.free_sessions.pop().unwrap_or_else(|| {
            self.sessions.push(None);
            SessionId(self.sessions.len() as u32 - 1)
        });
        self.sessions[id.0 as usize] = Some(Session::new());
        id
    }

    /// Ends up to `max` links of a session that is to be closed. True if those were all.
    pub fn end_links(&mut self, id: SessionId, max: usize) -> bool {
        let Some(Some(session)) = self.sessions.get(id.0 as usize) else { return true };
        let ids: Vec<LinkId> = session.links.values().take(max).copied().collect();
        let are_all = ids.len() == session.links.len();
        ids.into_iter().for_each(|link| self.end(link));
        are_all
    }

    /// Closes a session and ends all its links. A session with very many links should
    /// [end](Engine::end_links) them in portions before.
    pub fn close(&mut self, id: SessionId) {
        if self.sessions[id.0 as usize].is_none() {
            return;
        }
        self.end_links(id, usize::MAX);
        self.sessions[id.0 as usize] = None;
        self.free_sessions.push(id);
        self.woken.retain(|woken| *woken != id);
    }

    /// True if a session has a link of this number.
    pub fn has_link(&self, session: SessionId, tag: u32) -> bool {
        self.session(session).links.contains_key(&tag)
    }

    /// Adds a link to a session. `tag` is the owner's number for it; false when that is taken.
    pub fn watch(&mut self, session: SessionId, tag: u32, watch: &Watch) -> bool {
        if self.has_link(session, tag) {
            return false;
        }
        let from = self.from(watch);
        let point = match &watch.view {
            None => self.interest.stand(&mut self.keys, &watch.path),
            Some(view) => self.stand_in(view, &watch.path, from),
        };
        let interval_ms = watch.interval_ms;
        let link = Link {
            session: session.0,
            point,
            tag,
            previous: NIL,
            next: NIL,
            state: State::Pending,
            priority: watch.priority,
            whole: watch.whole || watch.view.as_ref().is_some_and(|view| view.is_list()),
            resumed: from.is_some(),
            gone: false,
            depth: watch.depth.try_into().unwrap_or(u16::MAX),
            waits_since: 0,
            cursor: from.unwrap_or(Revision::NONE),
            touches: self.interest.touches(point),
            round: 0,
            rate: (interval_ms > 0)
                .then(|| Box::new(Rate { interval_ms, due: Tick(0), known: None })),
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

    /// Puts a link on the place of a view, which is made if need be.
    pub(crate) fn stand_in(&mut self, view: &View, path: &Path, from: Option<Revision>) -> PointId {
        let base = self.interest.place(&mut self.keys, path);
        if let Some(place) = self.views.find(base, view) {
            self.views.join(&mut self.keys, place);
            return if self.views.resume(place) { place } else { self.interest.join(place) };
        }
        let place = self.interest.add_view(base, view.text());
        let lenses = self.stand_in_gates(view, path, from);
        let names: Vec<_> = path.segments().iter().map(|name| self.keys.find(name)).collect();
        let Engine { views, keys, tree, beside, .. } = self;
        let found = follow(tree, beside, names.into_iter());
        let since = from.unwrap_or(Revision::NONE);
        views.add(keys, (base, place), view, (found.value, found.changed), since);
        views.give_lenses(place, lenses);
        self.interest.join(place)
    }

    /// Takes the places of views of the members that a scope shows by conditions, whose lenses know
    /// what left.
    fn stand_in_gates(&mut self, view: &View, path: &Path, from: Option<Revision>) -> Vec<PointId> {
        let gates = gates(view, path);
        gates.iter().map(|(path, gate)| self.stand_in(gate, path, from)).collect()
    }

    /// The revision that the reader of a new link has, if known. A root beside the tree is sent
    /// whole.
    fn from(&self, watch: &Watch) -> Option<Revision> {
        if watch.from_now {
            return Some(self.find(&watch.path).changed);
        }
        let root = self.root_of(&watch.path);
        let is_of_tree = root.epoch == self.tree.epoch || mutants::is("own-resumed");
        watch.since.filter(|cursor| is_of_tree && self.tree.knows(cursor)).map(|c| c.revision)
    }

    /// Makes room for one more link; the error is the limit in its way, and its value.
    pub fn make_room_for(&mut self, watch: &Watch) -> Result<(), (&'static str, usize)> {
        match self.has_room_for(watch) {
            Err(_) if self.views.lingering() > 0 => {
                self.end_lingering(true);
                self.has_room_for(watch)
            }
            room => room,
        }
    }

    fn has_room_for(&self, watch: &Watch) -> Result<(), (&'static str, usize)> {
        let Limits { links, places_bytes, views, unindexed_lenses, .. } = self.limits;
        if self.links.len() >= links {
            return Err(("links", links));
        }
        let mut missing = self.interest.missing_bytes(&self.keys, &watch.path);
        if let Some(view) = &watch.view {
            let base = self.interest.find(&self.keys, &watch.path);
            if base.and_then(|base| self.views.find(base, view)).is_none() {
                missing += interest::view_bytes(view.text());
                if self.views.len() >= views {
                    return Err(("views", views));
                }
                let is_too_much = |base, view: &View| {
                    self.views.is_too_much(&self.keys, base, view, unindexed_lenses)
                };
                let is_gate_too_much = |(path, gate): &(Path, View)| {
                    is_too_much(self.interest.find(&self.keys, path), gate)
                };
                if is_too_much(base, view) || gates(view, &watch.path).iter().any(is_gate_too_much)
                {
                    return Err(("unindexed_lenses", unindexed_lenses));
                }
            }
        }
        match self.interest.bytes() + missing > places_bytes {
            true => Err(("places_bytes", places_bytes)),
            false => Ok(()),
        }
    }

    /// The charge for a new link.
    pub fn charge(watch: &Watch) -> Charge {
        let way_bytes = interest::way_bytes(&watch.path);
        Charge::of_link(way_bytes, watch.view.as_ref().map(|view| view.text()))
    }

    /// The charge for an open link; none if no link has this number.
    pub fn charge_of_link(&self, session: SessionId, tag: u32) -> Charge {
        let Some(id) = self.session(session).links.get(&tag) else { return Charge::default() };
        let point = self.links[*id].point;
        let way_bytes = self.interest.way_bytes_to(&self.keys, point);
        Charge::of_link(way_bytes, self.views.text(point))
    }

    /// Ends a link. False if the session has no link of this number.
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
        self.leave(point);
        if self.interest.links(point) < 2 {
            self.sharing.forget(point);
            self.quiet = None;
        }
    }

    /// Takes a link off a place, and with the last one the view that stands there.
    pub(crate) fn leave(&mut self, point: PointId) {
        if self.interest.is_view(point) && self.interest.links(point) == 1 {
            if self.views.linger(point) {
                return; // its place stays taken
            }
            self.remove_view(point);
        }
        self.interest.leave(&mut self.keys, point);
        self.set_husks_aside();
    }

    /// Removes the view at a place, and leaves the views that it used.
    fn remove_view(&mut self, point: PointId) {
        let Some((text, used)) = self.views.remove(&mut self.keys, point) else { return };
        self.interest.forget_view(&text);
        used.into_iter().for_each(|point| self.leave(point));
    }

    /// Sets the memory of rankings aside that are no longer needed.
    fn set_husks_aside(&mut self) {
        let husks = self.views.take_husks();
        husks.into_iter().for_each(|rows| self.tree.garbage.add_husk(rows));
    }

    /// Ends views that have been kept long enough for who comes back, or `all` of these.
    pub(crate) fn end_lingering(&mut self, all: bool) {
        for point in self.views.overdue(all) {
            self.views.resume(point);
            self.remove_view(point);
            self.interest.leave(&mut self.keys, point);
        }
        self.set_husks_aside();
    }

    /// Ends all views that are kept for who comes back, for tests that want to see all given back.
    #[doc(hidden)]
    pub fn end_kept_views(&mut self) {
        self.end_lingering(true);
    }

    /// Takes an idle link out of its list: that of links that stay idle, or that of links being put
    /// in line.
    fn leave_idle(&mut self, point: PointId, id: LinkId) {
        let (_, next) = self.links.unlink(id);
        if *self.interest.idle(point) == id {
            *self.interest.idle(point) = next;
        } else if self.interest.due(point) == Some(id) {
            self.interest.set_due(point, next);
        }
    }

    /// The revision of the tree that resumes all links of a synced session into it: everything up
    /// to it has been shown. It does not go back.
    pub fn resume_point(&self, session: SessionId) -> Revision {
        let known = self.session(session).known().filter(|_| !mutants::is("resume-too-new"));
        known.unwrap_or(self.tree.revision)
    }

    /// Time at which the session has something to send without another commit: a link that waits
    /// for its rate is due.
    pub fn due(&self, session: SessionId) -> Option<Tick> {
        self.session(session).due()
    }

    fn session(&self, id: SessionId) -> &Session {
        self.sessions[id.0 as usize].as_ref().expect("the session is open")
    }
}

/// The views of the members that the scope of a view shows by conditions, with their paths, but for
/// those that it shows itself.
fn gates(view: &View, path: &Path) -> Vec<(Path, View)> {
    let mut gates = Vec::new();
    let Some(scope) = view.scope() else { return gates };
    let top = view.of().iter().fold(path.clone(), |path, name| path.child(name));
    let has_own = view.of().is_empty() && scope.gate().is_some();
    scope.each_gate(&mut |names, condition| {
        if names.is_empty() && has_own {
            return;
        }
        let path = names.iter().fold(top.clone(), |path, name| path.child(name));
        let wanted = Wanted { condition: Some(condition), ..Wanted::default() };
        gates.extend(View::new(wanted).map(|view| (path, view)));
    });
    gates
}
