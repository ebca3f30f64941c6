//! Streams over one HTTP response: frames written as server-sent events or as lines, at the pace of the connection.

mod body;
mod ndjson;
pub(crate) mod session;
mod sse;

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::task::Context;

use axum::response::{IntoResponse, Response};
use halfping_engine::{Cursor, Frame, Revision, Tick, Update};
use http::header;

use crate::delivery::Deliver;
use crate::hub::{Shared, Subscription};
use crate::problem::Problem;
use crate::seen::Transport;

pub(crate) use body::Stream;
use body::{Chunk, Source};
use ndjson::CONTENT_TYPE as NDJSON;
pub(crate) use sse::CONTENT_TYPE as SSE;

/// The answer to a request for a stream, with a body that ends.
pub(crate) fn response(format: Format, body: axum::body::Body) -> Response {
    let content_type = match format {
        Format::Sse => SSE,
        Format::Ndjson => NDJSON,
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), content_type),
        (header::CACHE_CONTROL.as_str(), "no-store, no-transform"),
        (header::VARY.as_str(), "Accept, Authorization"),
        ("x-accel-buffering", "no"),
        ("incremental", "?1"),
    ];
    (headers, body).into_response()
}

/// A stream, as an answer.
pub(crate) fn streaming<S: Source>(stream: Stream<S>) -> Response {
    let endless = stream.endless();
    let mut response = response(stream.format(), axum::body::Body::new(stream));
    if let Some(endless) = endless {
        response.extensions_mut().insert(endless);
    }
    response
}

/// A stream of server-sent events that ends at once and tells its reader to come back: anything but 200 would stop a browser's
/// `EventSource` for good (PROTOCOL E5).
pub(crate) fn farewell() -> Response {
    let mut farewell = Vec::new();
    sse::farewell(&mut farewell);
    response(Format::Sse, farewell.into())
}

/// How the frames of one stream are written.
pub(crate) struct Style {
    pub(crate) format: Format,
    /// Whole values only: server-sent events without names (PROTOCOL E2).
    pub(crate) whole: bool,
    /// Server-sent events carry the NDJSON frame (PROTOCOL E3).
    pub(crate) envelope: bool,
    /// The paths of a stream of many, by link, as the client spelled them (PROTOCOL M1).
    pub(crate) paths: Option<Box<[Box<str>]>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Sse,
    Ndjson,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        self.transport().name()
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Format::Sse => Transport::Sse,
            Format::Ndjson => Transport::Ndjson,
        }
    }
}

/// The members around a frame's value, where they do not go without saying.
struct Envelope<'a> {
    kind: &'a str,
    path: Option<&'a str>,
    cursor: Option<Cursor>,
    /// A cursor for all paths of the stream.
    resume: Option<Cursor>,
}

impl Style {
    /// Which of a frame's shared encodings this style uses; `None` when it is the reader's own. Sessions use 4 to 7.
    fn shared_encoding(&self) -> Option<usize> {
        match (self.format, self.envelope, self.whole) {
            _ if self.paths.is_some() => None,
            (Format::Sse, false, false) => Some(0),
            (Format::Sse, false, true) => Some(1),
            (Format::Sse, true, false) => Some(2),
            (Format::Sse, true, true) => None,
            (Format::Ndjson, ..) => Some(3),
        }
    }

    fn path(&self, tag: u32) -> Option<&str> {
        self.paths.as_ref().map(|paths| &*paths[tag as usize])
    }
}

/// What the reader of one resource is told, or of several on one stream.
pub(crate) struct Frames {
    subscription: Subscription,
    style: Style,
    /// What the reader has, for frames that only repeat it; of revision 0 while that has no cursor.
    last: Cursor,
    /// The first state is on its way.
    syncing: bool,
    /// All that was due has been said, and news will wake who asked.
    at_rest: bool,
    due: Option<Tick>,
}

// Every stream has one in a box, of which an allocator makes 160 bytes, and 192 of the next more.
const _: () = assert!(std::mem::size_of::<Stream<Frames>>() <= 160);

impl Stream<Frames> {
    /// A stream of frames.
    pub(crate) fn of_frames(subscription: Subscription, style: Style, since: Option<Cursor>) -> Self {
        let format = style.format;
        subscription.shared().metrics.streams.get_or_create(&[("transport", format.name())]).inc();
        let last = since.unwrap_or(subscription.shared().cursor(Revision::NONE));
        let frames = Frames { subscription, style, last, syncing: true, at_rest: false, due: None };
        Stream::new(frames, format)
    }
}

impl Source for Frames {
    fn shared(&self) -> &Arc<Shared> {
        self.subscription.shared()
    }

    fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.subscription.deliver_to(reader);
    }

    fn due(&self) -> Option<Tick> {
        self.due
    }

    fn look_again(&mut self) {
        (self.at_rest, self.due) = (false, None);
    }

    fn repeat_synced(&mut self, _: &mut Context<'_>, chunk: &mut Chunk) {
        let shared = self.subscription.shared();
        let at = match self.last.revision {
            Revision::NONE => shared.with_engine(|engine| engine.cursor(engine.revision())),
            _ => self.last,
        };
        write_synced(shared, &self.style, chunk.buffer(), at);
    }

    fn fill(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> ControlFlow<()> {
        if self.at_rest && !self.subscription.has_news() {
            return ControlFlow::Continue(());
        }
        let Frames { subscription, style, last, syncing, .. } = self;
        let shared = subscription.shared().clone();
        // One update is held back until it is known whether it is the last: that one says so (PROTOCOL M2).
        let mut held: Option<(Arc<Frame>, u32)> = None;
        let mut refusal = None;
        let mut now = None;
        let first_state = *syncing;
        let pulled = subscription.pull(cx.waker(), |Update { tag, frame, .. }| match frame {
            Ok(frame) => {
                shared.metrics.frames.of(frame.kind.name()).inc();
                if !first_state {
                    let now = now.get_or_insert_with(|| shared.clock.now());
                    let age_ms = now.0.saturating_sub(frame.time.0);
                    shared.metrics.frame_age.observe(age_ms);
                }
                *last = frame.cursor().unwrap_or(*last);
                let room = chunk.len() + frame.body.len() < shared.limits.ahead_bytes;
                if let Some((frame, tag)) = held.replace((frame, tag)) {
                    write_frame(style, chunk, &frame, tag, None);
                }
                room
            }
            Err(why) => {
                refusal = Some((why, tag));
                false
            }
        });
        let synced = pulled.synced.map(|revision| shared.cursor(revision));
        if style.paths.is_some() {
            *last = synced.unwrap_or(shared.cursor(Revision::NONE));
        }
        if let Some((frame, tag)) = held {
            write_frame(style, chunk, &frame, tag, synced);
        }
        let mut flow = ControlFlow::Continue(());
        if let Some((why, tag)) = refusal {
            let problem = Problem::from(why).to_json_in_stream(true);
            match style.format {
                Format::Sse => sse::error(style, style.path(tag), &problem, chunk.buffer()),
                Format::Ndjson => ndjson::error(style.path(tag), &problem, chunk.buffer()),
            }
            flow = ControlFlow::Break(());
        } else if let (Some(resume), true) = (synced, *syncing) {
            *syncing = false;
            let at = if last.revision == Revision::NONE { resume } else { *last };
            write_synced(&shared, style, chunk.buffer(), at);
        }
        self.subscription.count_bytes(chunk.len());
        (self.at_rest, self.due) = (pulled.synced.is_some(), pulled.due);
        flow
    }
}

fn write_frame(style: &Style, chunk: &mut Chunk, frame: &Frame, tag: u32, resume: Option<Cursor>) {
    let encode = |out: &mut Vec<u8>| match style.format {
        Format::Sse => sse::frame(style, style.path(tag), frame, resume, out),
        Format::Ndjson => {
            let resume = resume.filter(|_| style.paths.is_some());
            ndjson::frame(style.path(tag), frame, resume, out);
        }
    };
    match style.shared_encoding() {
        Some(which) => chunk.push(frame.encoded(which, 0, |_| {
            let mut out = Vec::with_capacity(frame.body.len() + 96);
            encode(&mut out);
            out.into()
        })),
        None => encode(chunk.buffer()),
    }
}

fn write_synced(shared: &Shared, style: &Style, out: &mut Vec<u8>, at: Cursor) {
    let time = shared.with_engine(|engine| engine.time_of(at));
    match style.format {
        Format::Sse => sse::synced(style, at, time, out),
        Format::Ndjson => ndjson::synced(at, time, out),
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let metrics = &self.subscription.shared().metrics;
        metrics.streams.get_or_create(&[("transport", self.style.format.name())]).dec();
    }
}
