//! Late decision: a link's news, worked out at the moment when it can be sent.

use std::sync::Arc;

use crate::cursor::Revision;
use crate::engine::mark::{LINK_LOOKS, PROMOTED_AT_ONCE};
use crate::engine::{Engine, Found, follow};
use crate::mutants;
use crate::read::beneath::Beneath;
use crate::read::delta::{Form, LOOKS_MAX, Reader, delta, removal};
use crate::read::frame::{Frame, Kind, Update};
use crate::read::interest::PointId;
use crate::read::link::{LinkId, State};
use crate::read::outlook::{InScope, Outlook};
use crate::read::session::SessionId;
use crate::read::sharing::{Quiet, Wish};
use crate::read::views::Shows;
use crate::read::walk::Walk;
use crate::refusal::Refusal;
use crate::times::Tick;
use crate::tree::key::KeyId;
use crate::tree::notes::Gone;
use crate::tree::sight::{All, Sight};
use crate::tree::{Object, Value};

/// Looks that a view may cost for it to be tried whether a snapshot is shorter than a delta.
const LOOKS_COMPARED: usize = 256;

/// Result of a link's turn.
enum Served {
    Update(Update),
    /// There is nothing to be told.
    Nothing,
    /// Its view has more to learn of the members before it can be shown.
    NotYet,
}

/// News for a link.
enum Telling {
    /// No change that it can see.
    Nothing,
    Frame(Kind, Vec<u8>),
    /// More than one frame. `anew`: from nothing, since a delta is not possible or not shorter.
    Slices {
        anew: bool,
    },
    Refused(Refusal),
}

impl Engine {
    /// Makes the next frame of a session now. `None` if it has been told everything that is due;
    /// also if its turn is over, since the search took long: then it is woken at once to go on.
    pub fn next(&mut self, session: SessionId, now: Tick) -> Option<Update> {
        loop {
            let owner = self.sessions[session.0 as usize].as_mut()?;
            let promoted = owner.promote(&mut self.links, now, PROMOTED_AT_ONCE);
            self.looked.update(|looks| looks + promoted * LINK_LOOKS);
            if self.looked.get() >= self.pace.looks && !owner.is_quiet() {
                self.looked.set(0);
                if !mutants::is("turn-forgotten") {
                    self.wake(session);
                }
                return None;
            }
            let Some(id) = owner.give_turn(&mut self.links) else {
                self.looked.set(0);
                return None;
            };
            self.looked.update(|looks| looks + LINK_LOOKS);
            let mut names = std::mem::take(&mut self.names);
            let served = self.serve(id, &mut names);
            self.names = names;
            let made = match served {
                Served::Update(update) => Some(update),
                Served::Nothing => None,
                Served::NotYet => {
                    let owner = self.sessions[session.0 as usize].as_mut()?;
                    owner.line_up(&mut self.links, id);
                    continue;
                }
            };
            self.rest(session, id, now, made.is_some());
            if let Some(update) = made {
                let conflated = u64::from(update.conflated);
                self.stats.frames += 1;
                self.stats.conflated += conflated;
                let owner = self.sessions[session.0 as usize].as_mut()?;
                owner.frames += 1;
                owner.conflated += conflated;
                return Some(update);
            }
        }
    }

    /// Ends a link's turn: it goes back in line if it has more to tell, else it is idle.
    fn rest(&mut self, session: SessionId, id: LinkId, now: Tick, served: bool) {
        let link = &mut self.links[id];
        let owner = self.sessions[session.0 as usize].as_mut().expect("its link was just served");
        if link.walk.is_some() {
            owner.line_up(&mut self.links, id);
            return;
        }
        if let (true, Some(rate)) = (served, &mut link.rate) {
            rate.due = Tick(now.0 + rate.interval_ms);
        }
        link.state = State::Idle;
        let point = link.point;
        self.links.push_front(self.interest.idle(point), id);
    }

    /// Makes the next frame of a link, and moves its cursor.
    fn serve(&mut self, id: LinkId, names: &mut Vec<KeyId>) -> Served {
        let link = &mut self.links[id];
        let touches = self.interest.touches(link.point);
        let conflated = touches.wrapping_sub(link.touches).saturating_sub(1);
        link.touches = touches;
        let wish = Wish {
            point: link.point,
            depth: link.depth().unwrap_or(u32::MAX),
            whole: link.whole,
            from: link.cursor,
        };
        let (tag, plain) = (link.tag, link.walk.is_none() && !link.resumed);
        let touched = self.interest.touched(wish.point);
        // While places are still to be touched, a place does not tell whether a frame is still
        // valid.
        let shared = plain && self.interest.links(wish.point) > 1 && !self.marking.is_touching();
        if shared && let Some((frame, to)) = self.sharing.find(&wish, touched) {
            (self.links[id].cursor, self.links[id].gone) = (to, frame.kind == Kind::Gone);
            self.stats.frames_shared += 1;
            return Served::Update(Update { tag, frame: Ok(frame), conflated });
        }
        if let (true, Some(quiet)) = (shared, self.quiet)
            && (quiet.wish, quiet.touched) == (wish, touched)
        {
            self.links[id].cursor = quiet.to;
            return Served::Nothing;
        }
        if !self.views.is_empty() && !self.learn(wish.point, names) {
            return Served::NotYet;
        }
        let made = self.make(id, names);
        if shared && made.is_none() && !self.links[id].gone {
            self.quiet = Some(Quiet { wish, touched, to: self.links[id].cursor });
        }
        self.links[id].resumed = false;
        let frame = match made {
            None => return Served::Nothing,
            Some(Ok(frame)) => frame,
            Some(Err(refusal)) => {
                return Served::Update(Update { tag, frame: Err(refusal), conflated });
            }
        };
        self.links[id].gone = frame.kind == Kind::Gone;
        if shared && frame.revision.is_some() {
            let gone = self.sharing.keep(&wish, touched, &frame, self.links[id].cursor);
            gone.into_iter().for_each(|frames| self.tree.garbage.add_husk(frames));
        }
        // A reader's first frame stands for its state, not for updates that it missed.
        let conflated = if wish.from == Revision::NONE { 0 } else { conflated };
        Served::Update(Update { tag, frame: Ok(frame), conflated })
    }

    fn make(&mut self, id: LinkId, names: &mut Vec<KeyId>) -> Option<Result<Arc<Frame>, Refusal>> {
        let mut walk = self.links[id].walk.take();
        let was_walking = walk.is_some();
        let point = self.links[id].point;
        let found = self.find_point(point, names);
        let shows = match found.value.filter(|_| self.interest.is_view(point)) {
            Some(value) => self.views.shows(&self.keys, point, (value, found.changed)),
            None => None,
        };
        let (cursor, made) = match shows {
            None => self.make_on(id, &mut walk, names, found, All, Revision::NONE),
            Some(Shows::Part(part)) => {
                self.make_on(id, &mut walk, names, found, part, Revision::NONE)
            }
            Some(Shows::Scope(outlook)) => {
                self.make_in_scope(id, &mut walk, names, found, (outlook, Revision::NONE))
            }
            Some(Shows::Beneath(outlook, of, Beneath { value, changed, came })) => {
                names.extend(of);
                let found = Found { value, changed, ..found };
                self.make_in_scope(id, &mut walk, names, found, (outlook, came))
            }
            Some(Shows::Number(number, changed)) => {
                let found = Found { value: Some(number), changed, ..found };
                self.make_on(id, &mut walk, names, found, All, Revision::NONE)
            }
            Some(Shows::TooLarge) => (Some(found.changed), Some(Err(self.too_many_rows()))),
        };
        if let Some(cursor) = cursor {
            self.links[id].cursor = cursor;
        }
        self.walks = self.walks + usize::from(walk.is_some()) - usize::from(was_walking);
        self.links[id].walk = walk;
        self.forget_notes();
        made
    }

    /// Drops the notes if no link is in a walk.
    pub(crate) fn forget_notes(&mut self) {
        if self.walks == 0 {
            self.notes.clear(&mut self.keys);
        }
    }

    /// The same for what a reader may see of a value, which may have come in sight at `came`.
    fn make_in_scope(
        &self,
        id: LinkId,
        walking: &mut Option<Box<Walk>>,
        names: &[KeyId],
        found: Found<'_>,
        (outlook, came): (&Outlook, Revision),
    ) -> (Option<Revision>, Option<Result<Arc<Frame>, Refusal>>) {
        let (Some(value), Outlook::Part(_)) = (found.value, outlook) else {
            return self.make_on(id, walking, names, found, All, came);
        };
        let lenses = self.views.lenses(self.links[id].point);
        let sight = InScope::new(outlook, value, &lenses);
        self.make_on(id, walking, names, found, sight, came)
    }

    /// Makes the next frame of a link. Returns its new cursor, if it has one, and the frame.
    /// `came`: the last revision at which the value may have come in sight.
    fn make_on<S: Sight>(
        &self,
        id: LinkId,
        walking: &mut Option<Box<Walk>>,
        names: &[KeyId],
        found: Found<'_>,
        sight: S,
        came: Revision,
    ) -> (Option<Revision>, Option<Result<Arc<Frame>, Refusal>>) {
        let link = &self.links[id];
        let was_walking = walking.is_some();
        let depth = link.depth().unwrap_or(u32::MAX);
        let time = found.time();
        let Found { value, changed, root } = found;
        let (epoch, now) = (root.epoch, root.revision);
        let budget = self.limits.slice_bytes;
        // If another value stands here now, the slices of the old one are no part of it.
        let continues = |walk: &mut Box<Walk>| {
            came <= walk.begun() && walk.continues(value, &self.notes, &self.keys, sight)
        };
        let lost = walking.take_if(|walk| !continues(walk)).is_some();
        // What has come in sight since is told from nothing.
        let is_new = lost || link.cursor < came;
        let since = if is_new { Revision::NONE } else { link.cursor };
        if walking.as_ref().is_none_or(|walk| walk.position.is_none()) {
            let reader = match walking {
                Some(walk) => walk.reader(depth),
                None => {
                    let exact = !was_walking && !link.resumed;
                    Reader { since, exact, told: false, walks: false, depth }
                }
            };
            let gone = match (&mut *walking, value) {
                (Some(walk), Some(Value::Object(object))) => {
                    let reader = (depth, sight);
                    walk.gone(&self.notes, &self.keys, object, names, reader, budget)
                }
                _ => Gone::default(),
            };
            self.looked.update(|looks| looks + gone.looks);
            let removal = || {
                let body = removal(&self.keys, &gone.members);
                (None, Some(Ok(Frame::new(Kind::Merge, body, epoch, None, time))))
            };
            if let (Some(walk), true) = (&mut *walking, gone.is_full) {
                walk.tell_apart(&gone);
                return removal();
            }
            let max = walking.as_ref().map_or(budget, |walk| walk.delta_bytes(budget));
            match (self.tell(value, changed, reader, &gone, max, link.whole, sight), &mut *walking)
            {
                (Telling::Slices { anew: false }, Some(walk)) => {
                    if !walk.begin_round(&gone, now, &self.notes) {
                        return removal();
                    }
                }
                (Telling::Slices { anew }, _) => {
                    let base = if anew { Revision::NONE } else { since };
                    *walking = Some(Box::new(Walk::new(base, now, &self.notes)));
                }
                (telling, _) => {
                    *walking = None;
                    let made = match telling {
                        Telling::Frame(kind, body) => Some(Ok((kind, body))),
                        // The last slice was no longer the newest state, but the changes since
                        // cannot be seen.
                        Telling::Nothing if was_walking => Some(Ok((Kind::Merge, b"{}".to_vec()))),
                        Telling::Refused(refusal) => Some(Err(refusal)),
                        _ => None,
                    };
                    // Beneath a value that has no members, an absence may look as if it had
                    // changed.
                    if value.is_none() && link.gone {
                        return (Some(changed), None);
                    }
                    let frame = |(kind, body)| Frame::new(kind, body, epoch, Some(changed), time);
                    return (Some(changed), made.map(|made| made.map(frame)));
                }
            }
        }
        let (Some(walk), Some(Value::Object(object))) = (walking.as_mut(), value) else {
            return (None, None);
        };
        walk.heed(&self.notes, names);
        let is_value = walk.first && walk.base == Revision::NONE;
        let (form, body, done) =
            walk.next_slice(&self.keys, object, depth, budget, sight, &self.looked);
        let kind = match form {
            Form::Merge if is_value => Kind::Snapshot,
            Form::Merge => Kind::Merge,
            Form::Patch => Kind::Patch,
        };
        let complete = done && changed <= walk.start;
        if complete {
            *walking = None;
        } else if done {
            let start = walk.start.min(changed);
            walk.end_round(if mutants::is("walk-ends-late") { changed } else { start });
        }
        let cursor = complete.then_some(changed);
        (cursor, Some(Ok(Frame::new(kind, body, epoch, cursor, time))))
    }

    #[expect(clippy::too_many_arguments, reason = "a reader, its state and its shape")]
    fn tell<S: Sight>(
        &self,
        value: Option<&Value>,
        changed: Revision,
        reader: Reader,
        gone: &Gone,
        max: usize,
        whole: bool,
        sight: S,
    ) -> Telling {
        let Reader { since, depth, .. } = reader;
        if since >= changed {
            return Telling::Nothing;
        }
        let Some(value) = value else { return Telling::Frame(Kind::Gone, b"null".to_vec()) };
        let Value::Object(object) = value else {
            // What has no members shows none.
            if !sight.shows_leaf(true) && !mutants::is("view-leaf-shown") {
                let nothing = if sight.is_list() { b"[]" } else { b"{}" };
                return Telling::Frame(Kind::Snapshot, nothing.to_vec());
            }
            return match self.write(value, depth) {
                Ok(body) => Telling::Frame(Kind::Snapshot, body),
                Err(refusal) => Telling::Refused(refusal),
            };
        };
        let has_left_unseen = reader.may_see_more_of(&self.keys, object, sight);
        let unknown = since == Revision::NONE || since < object.born || has_left_unseen;
        if whole {
            // A change below the cut is no change for this reader.
            // In a list, members may have changed their places because of one.
            let cuts = (depth != u32::MAX || !S::IS_ALL) && !(sight.is_list() && depth != u32::MAX);
            let hidden = !unknown && cuts && is_hidden(self, object, reader, sight);
            return match hidden {
                true => Telling::Nothing,
                false => self.whole_frame(value, depth, sight),
            };
        }
        // With a cut or a view, the value's length is not known before it is written.
        let fits = |max: usize, looks: usize| {
            let mut body = Vec::new();
            let is_short = match S::IS_ALL {
                true => depth < u32::MAX || value.json_len() <= max,
                false => sight.looks_at_all(object) <= looks,
            };
            let fits =
                is_short && value.write_seen(max, &self.keys, depth, sight, &mut body).is_some();
            fits.then_some(body)
        };
        if unknown {
            return match fits(max, LOOKS_MAX) {
                Some(body) => Telling::Frame(Kind::Snapshot, body),
                None => Telling::Slices { anew: true },
            };
        }
        let (form, body) = match delta(
            &self.keys,
            object,
            reader,
            Some(&gone.members),
            max,
            sight,
            &self.looked,
        ) {
            Some((_, body)) if body.is_empty() => return Telling::Nothing,
            Some(delta) => delta,
            None => {
                return match fits(max, LOOKS_MAX) {
                    Some(body) => Telling::Frame(Kind::Snapshot, body),
                    None => Telling::Slices { anew: false },
                };
            }
        };
        match (fits(body.len(), LOOKS_COMPARED), form) {
            (Some(snapshot), _) => Telling::Frame(Kind::Snapshot, snapshot),
            (None, Form::Merge) => Telling::Frame(Kind::Merge, body),
            (None, Form::Patch) => Telling::Frame(Kind::Patch, body),
        }
    }
}

impl Engine {
    /// Goes on learning what the view at a place has to know, within the session's turn. True if it
    /// can be shown.
    pub(crate) fn learn(&mut self, point: PointId, names: &mut Vec<KeyId>) -> bool {
        if !self.interest.is_view(point) {
            return true;
        }
        for lens in 0..self.views.lenses_of(point).len() {
            let lens = self.views.lenses_of(point)[lens];
            if !self.learn(lens, names) {
                return false;
            }
        }
        self.interest.names(point, names);
        let found = follow(&self.tree, &self.beside, names.iter().map(|key| Some(*key)));
        let looks = self.pace.looks.saturating_sub(self.looked.get()).max(1);
        let state = (found.value, found.changed);
        let (left, is_known) = self.views.learn(&mut self.keys, point, state, looks);
        self.looked.update(|looked| looked + (looks - left));
        self.end_lingering(false);
        is_known
    }

    /// The refusal of a view that would need more rows than there is room for.
    pub(crate) fn too_many_rows(&self) -> Refusal {
        let max = self.limits.view_rows;
        let what = "the order of a view has too many members, with those of all others".into();
        Refusal::Limit { limit: "view_rows", max, what }
    }

    /// An object for a reader without deltas.
    fn whole_frame(&self, value: &Value, depth: u32, sight: impl Sight) -> Telling {
        let max = self.limits.whole_frame_bytes;
        match self.write_seen(max, value, depth, sight) {
            Some(body) => Telling::Frame(Kind::Snapshot, body),
            None => Telling::Refused(self.too_large_at_once()),
        }
    }

    /// The refusal of a value that is too long to be written at once.
    pub(crate) fn too_large_at_once(&self) -> Refusal {
        Refusal::Limit {
            limit: "whole_frame_bytes",
            max: self.limits.whole_frame_bytes,
            what: "the value is too large to be sent whole with each change".into(),
        }
    }
}

fn is_hidden(engine: &Engine, object: &Object, reader: Reader, sight: impl Sight) -> bool {
    delta(&engine.keys, object, reader, None, engine.limits.slice_bytes, sight, &engine.looked)
        .is_some_and(|(_, body)| body.is_empty())
}
