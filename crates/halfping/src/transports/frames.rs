//! A stream of frames: one resource, or several (PROTOCOL M1).

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::task::Context;

use halfping_engine::{Cursor, Frame, Revision, Tick, Update};

use super::body::{Chunk, Source, Stream};
use super::encoding::{Format, Style};
use super::ndjson::Told;
use super::pulls::Pulls;
use super::{ndjson, sse};
use crate::access::Follower;
use crate::auth::Rights;
use crate::delivery::Deliver;
use crate::hub::{Shared, Subscription};
use crate::problem::Problem;
use crate::tag::Given;

/// Bytes around a frame, without its path, about.
const AROUND_FRAME: usize = 96;

/// The frames for the reader of one resource, or of several on one stream.
pub(crate) struct Frames {
    pulls: Pulls,
    style: Style,
    /// The cursor that the reader has, for frames that only repeat it; of revision 0 while it has
    /// none.
    last: Cursor,
}

// Every stream has one in a box, of which an allocator makes 160 bytes, and 192 of the next more.
const _: () = assert!(std::mem::size_of::<Stream<Frames>>() <= 160);

impl Stream<Frames> {
    /// A stream of frames.
    pub(crate) fn of_frames(
        subscription: Subscription,
        style: Style,
        since: Option<Cursor>,
    ) -> Self {
        let format = style.format;
        Stream::new(Frames::new(subscription, style, since, None), format)
    }
}

impl Source for Frames {
    fn shared(&self) -> &Arc<Shared> {
        self.pulls.shared()
    }

    fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.pulls.deliver_to(reader);
    }

    fn due(&self) -> Option<Tick> {
        self.pulls.due()
    }

    fn look_again(&mut self) {
        self.pulls.look_again();
    }

    fn repeat_synced(&mut self, _: &mut Context<'_>, chunk: &mut Chunk) {
        let at = match self.last.revision {
            Revision::NONE => self.shared().cursor(self.pulls.newest()),
            _ => self.last,
        };
        self.write_synced(at, chunk);
    }

    fn fill(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> ControlFlow<()> {
        let Frames { pulls, style, last } = self;
        let bytes_max = pulls.shared().limits.ahead_bytes;
        let around = |link| AROUND_FRAME + style.path(link).map_or(0, str::len);
        let Some(pull) = pulls.pull(cx.waker(), bytes_max, around) else {
            return ControlFlow::Continue(());
        };
        // A stream ends with the first of its links that cannot be served.
        let refusal =
            pull.updates().find_map(|Update { tag, frame, .. }| Some((tag, frame.as_ref().err()?)));
        let shared = pulls.shared();
        let synced =
            pull.synced.filter(|_| refusal.is_none()).map(|revision| shared.cursor(revision));
        let mut updates = pull.updates().peekable();
        while let Some(Update { tag, frame: Ok(frame), .. }) = updates.next() {
            *last = frame.cursor().unwrap_or(*last);
            // The last one says that there is nothing more (PROTOCOL M2).
            let resume = synced.filter(|_| updates.peek().is_none());
            let give = |cursor| pulls.give(cursor);
            let told = Told { cursor: frame.cursor().map(give), resume: resume.map(give) };
            write_frame(style, chunk, frame, *tag, told);
        }
        if style.paths.is_some() {
            *last = synced.unwrap_or(shared.cursor(Revision::NONE));
        }
        let mut flow = ControlFlow::Continue(());
        if let Some((link, why)) = refusal {
            let (link, problem) = (*link, Problem::from(why.clone()));
            self.refuse(link, &problem, chunk);
            flow = ControlFlow::Break(());
        } else if let (Some(resume), true) = (synced, pull.tells_synced) {
            let at = if last.revision == Revision::NONE { resume } else { *last };
            self.write_synced(at, chunk);
        }
        self.pulls.subscription.count_bytes(chunk.len());
        flow
    }
}

impl Frames {
    pub(super) fn new(
        subscription: Subscription,
        style: Style,
        since: Option<Cursor>,
        partial: Option<Rights>,
    ) -> Frames {
        let last = since.unwrap_or(subscription.shared().cursor(Revision::NONE));
        let mut pulls = Pulls::new(subscription, true);
        pulls.take_rights(partial);
        pulls.note(last.revision);
        Frames { pulls, style, last }
    }

    /// Takes the rights of its reader.
    pub(super) fn take_rights(&mut self, follower: &Follower) {
        self.pulls.subscription.is_of(follower);
        self.pulls.take_rights(follower.partial());
    }

    /// Writes the problem with which the stream ends, because of one of its links.
    pub(super) fn refuse(&self, link: u32, problem: &Problem, chunk: &mut Chunk) {
        let (style, problem) = (&self.style, problem.to_json_in_stream(true));
        match style.format {
            Format::Sse => sse::error(style, style.path(link), &problem, chunk.buffer()),
            Format::Ndjson => ndjson::error(style.path(link), &problem, chunk.buffer()),
        }
    }

    fn write_synced(&self, at: Cursor, chunk: &mut Chunk) {
        let time = self.shared().with_engine(|engine| engine.time_of(at));
        let at = self.pulls.give(at);
        match self.style.format {
            Format::Sse => sse::synced(&self.style, at, time, chunk.buffer()),
            Format::Ndjson => ndjson::synced(at, time, chunk.buffer()),
        }
    }
}

fn write_frame(style: &Style, chunk: &mut Chunk, frame: &Frame, link: u32, told: Told) {
    let path = style.path(link);
    let write = |out: &mut Vec<u8>| match style.format {
        Format::Sse => sse::frame(style, path, frame, told, out),
        Format::Ndjson => {
            let resume = told.resume.filter(|_| path.is_some());
            ndjson::frame(path, frame, Told { resume, ..told }, out);
        }
    };
    let key = told.cursor.map_or(0, Given::key);
    match style.encoding() {
        Some(encoding) => chunk.push(encoding.of(frame, key, || {
            let mut out = Vec::with_capacity(frame.body.len() + AROUND_FRAME);
            write(&mut out);
            out
        })),
        None => write(chunk.buffer()),
    }
}
