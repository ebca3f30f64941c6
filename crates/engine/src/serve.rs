//! Late decision: what one link is told, worked out at the moment when it can be sent.

use std::sync::Arc;

use crate::cursor::Revision;
use crate::delta::{Form, delta, next_slice};
use crate::engine::{Engine, Found};
use crate::frame::{Frame, Kind, Update};
use crate::key::KeyId;
use crate::link::{LinkId, Walk};
use crate::mutants;
use crate::refusal::Refusal;
use crate::sharing::Wish;
use crate::tree::{Object, Value};

/// What a link is to be told.
enum Telling {
    /// Nothing that it can see has changed.
    Nothing,
    Frame(Kind, Vec<u8>),
    /// More than fits one frame. `anew`: from nothing, since a delta is not possible or not shorter.
    Slices {
        anew: bool,
    },
    Refused(Refusal),
}

impl Engine {
    /// Makes the next frame of a link, and moves its cursor. `None` when it has nothing to be told.
    pub(crate) fn serve(&mut self, id: LinkId, names: &mut Vec<KeyId>) -> Option<Update> {
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
        let (tag, plain) = (link.tag, link.walk.is_none() && !link.incomplete && !link.resumed);
        let touched = self.interest.touched(wish.point);
        let shared = plain && self.interest.links(wish.point) > 1;
        if shared && let Some((frame, to)) = self.sharing.find(&wish, touched) {
            (self.links[id].cursor, self.links[id].gone) = (to, frame.kind == Kind::Gone);
            self.stats.frames_shared += 1;
            return Some(Update { tag, frame: Ok(frame), conflated });
        }
        let made = self.make(id, names);
        self.links[id].resumed = false;
        let frame = match made? {
            Ok(frame) => frame,
            Err(refusal) => return Some(Update { tag, frame: Err(refusal), conflated }),
        };
        self.links[id].gone = frame.kind == Kind::Gone;
        if shared && frame.revision.is_some() {
            self.sharing.keep(&wish, touched, &frame, self.links[id].cursor);
        }
        // A reader's first frame stands for its state, not for updates that it missed.
        let conflated = if wish.from == Revision::NONE { 0 } else { conflated };
        Some(Update { tag, frame: Ok(frame), conflated })
    }

    fn make(&mut self, id: LinkId, names: &mut Vec<KeyId>) -> Option<Result<Arc<Frame>, Refusal>> {
        let mut walk = self.links[id].walk.take();
        let link = &self.links[id];
        let (whole, incomplete) = (link.whole, link.incomplete);
        let depth = link.depth().unwrap_or(u32::MAX);
        let Found { value, changed } = self.find_point(link.point, names);
        let mut since = link.cursor;
        if walk.as_ref().is_some_and(|walk| !continues(value, walk)) {
            // Another value stands there now: what was sent of the old one is no part of it.
            (walk, since) = (None, Revision::NONE);
        }
        if walk.is_none() {
            match self.tell(value, changed, since, depth, whole, !incomplete && !link.resumed) {
                Telling::Slices { anew } => {
                    let base = if anew { Revision::NONE } else { since };
                    let position = Default::default();
                    walk = Some(Box::new(Walk { base, start: self.revision, position, first: true }));
                }
                telling => {
                    let made = match telling {
                        Telling::Frame(kind, body) => Some(Ok((kind, body))),
                        // The last slice was not the whole truth any more, but what came since cannot be seen.
                        Telling::Nothing if incomplete => Some(Ok((Kind::Merge, b"{}".to_vec()))),
                        Telling::Refused(refusal) => Some(Err(refusal)),
                        _ => None,
                    };
                    let absent = value.is_none();
                    let time = self.times.of(changed);
                    let link = &mut self.links[id];
                    (link.cursor, link.incomplete) = (changed, false);
                    // Beneath a value that has no members, an absence may look as if it had changed.
                    if absent && link.gone {
                        return None;
                    }
                    return made
                        .map(|made| made.map(|(kind, body)| Frame::new(kind, body, Some(changed), time)));
                }
            }
        }
        let mut walk = walk?;
        let Some(Value::Object(object)) = value else { return None };
        let fresh = walk.first && walk.base == Revision::NONE;
        let (form, body, done) = next_slice(
            &self.keys,
            object,
            walk.base,
            depth,
            &mut walk.position,
            self.limits.slice_bytes,
            fresh,
        );
        walk.first = false;
        let kind = match form {
            Form::Merge if fresh => Kind::Snapshot,
            Form::Merge => Kind::Merge,
            Form::Patch => Kind::Patch,
        };
        let complete = done && changed <= walk.start;
        let time = self.times.of(changed);
        let link = &mut self.links[id];
        link.incomplete = !complete;
        if done {
            link.cursor = if mutants::is("walk-ends-late") { changed } else { walk.start.min(changed) };
        } else {
            link.walk = Some(walk);
        }
        Some(Ok(Frame::new(kind, body, complete.then_some(changed), time)))
    }

    fn tell(
        &self,
        value: Option<&Value>,
        changed: Revision,
        since: Revision,
        depth: u32,
        whole: bool,
        exact: bool,
    ) -> Telling {
        if since >= changed {
            return Telling::Nothing;
        }
        let Some(value) = value else { return Telling::Frame(Kind::Gone, b"null".to_vec()) };
        let max = self.limits.slice_bytes;
        let snapshot = |value| match self.write(value, depth) {
            Ok(body) => Telling::Frame(Kind::Snapshot, body),
            Err(refusal) => Telling::Refused(refusal),
        };
        let Value::Object(object) = value else { return snapshot(value) };
        let unknown = since == Revision::NONE || since < object.born || since < object.floor;
        if whole {
            // A change below the cut is no change for this reader.
            let hidden = !unknown && depth != u32::MAX && is_hidden(self, object, since, depth);
            return if hidden { Telling::Nothing } else { snapshot(value) };
        }
        // With a cut, the value's length is not known before it is written.
        let fits = |max: usize| {
            let mut body = Vec::new();
            let fits = (depth < u32::MAX || value.json_len() <= max)
                && value.write_up_to(max, &self.keys, depth, &mut body).is_some();
            fits.then_some(body)
        };
        if unknown {
            return match fits(max) {
                Some(body) => Telling::Frame(Kind::Snapshot, body),
                None => Telling::Slices { anew: true },
            };
        }
        let (form, body) = match delta(&self.keys, object, since, depth, max, exact) {
            Some((_, body)) if body.is_empty() => return Telling::Nothing,
            Some(delta) => delta,
            None => {
                return match fits(max) {
                    Some(body) => Telling::Frame(Kind::Snapshot, body),
                    None => Telling::Slices { anew: false },
                };
            }
        };
        match (fits(body.len()), form) {
            (Some(snapshot), _) => Telling::Frame(Kind::Snapshot, snapshot),
            (None, Form::Merge) => Telling::Frame(Kind::Merge, body),
            (None, Form::Patch) => Telling::Frame(Kind::Patch, body),
        }
    }
}

/// Whether what stands there is what the walk began with, and everything that went from it since then (or, if the reader had something
/// before, since what it had) is still remembered.
fn continues(value: Option<&Value>, walk: &Walk) -> bool {
    let Some(Value::Object(object)) = value else { return false };
    let since = if walk.base == Revision::NONE { walk.start } else { walk.base };
    object.born <= since && object.floor <= since
}

fn is_hidden(engine: &Engine, object: &Object, since: Revision, depth: u32) -> bool {
    delta(&engine.keys, object, since, depth, engine.limits.slice_bytes, false)
        .is_some_and(|(_, body)| body.is_empty())
}
