//! Streams over one HTTP response: frames written as server-sent events or as lines, at the pace of the connection.

mod ndjson;
pub(crate) mod session;
mod sse;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use halfping_engine::{Frame, Revision, Update};
use http::header;
use http_body::Body;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::direct::{Endless, SHARED_FROM};
use crate::own::Transport;
use crate::problem::Problem;
use crate::shared::{Shared, Subscription};

use ndjson::CONTENT_TYPE as NDJSON;
pub(crate) use sse::CONTENT_TYPE as SSE;

/// Milliseconds beyond which a pause makes no difference: a year.
const INTERVAL_MS_MAX: f64 = 365.0 * 24.0 * 3_600_000.0;
/// Updates a second above which a limit makes no difference: clocks here count milliseconds.
const RATE_MAX: f64 = 1000.0;

/// The least time between two frames of a link that is to have at most `rate` a second.
pub(crate) fn interval_ms(rate: f64) -> u64 {
    (1000.0 / rate.min(RATE_MAX)).round().min(INTERVAL_MS_MAX) as u64
}

/// Silence after which a stream says that it is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

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
pub(crate) fn streaming(stream: Stream) -> Response {
    let endless = stream.endless.clone();
    let mut response = response(stream.style.format, axum::body::Body::new(stream));
    response.extensions_mut().insert(endless);
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
    revision: Option<Revision>,
    /// A cursor for all paths of the stream.
    resume: Option<Revision>,
}

impl Style {
    /// Which of a frame's shared encodings this style uses; `None` when it is the reader's own. Sessions use 4 and 5.
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

/// The body of a streaming answer. It makes nothing before it is asked for bytes (invariant A3): the HTTP layer below asks when the
/// connection has room.
pub(crate) struct Stream {
    subscription: Subscription,
    style: Style,
    endless: Endless,
    /// Made together with what was sent last, and to be sent before anything else.
    rest: std::vec::IntoIter<Bytes>,
    /// Fires at the next heartbeat, or earlier when a link with a rate is due.
    timer: Pin<Box<Sleep>>,
    heartbeat: Instant,
    /// What the reader has, for frames that only repeat it.
    last: Option<Revision>,
    state: State,
    /// Who is woken by news, if all that there was to say has been taken. The HTTP layer asks again after each chunk, and in vain
    /// after most.
    waits: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was sent.
    Opening,
    /// The first state is on its way.
    Syncing,
    Live,
    Ended,
}

impl Stream {
    pub(crate) fn new(subscription: Subscription, style: Style, since: Option<Revision>) -> Stream {
        let heartbeat = Instant::now() + HEARTBEAT;
        subscription.shared().metrics.streams.get_or_create(&[("transport", style.format.name())]).inc();
        let timer = Box::pin(sleep_until(heartbeat));
        let endless = Endless::default();
        Stream {
            subscription,
            style,
            endless,
            rest: Vec::new().into_iter(),
            timer,
            heartbeat,
            last: since,
            state: State::Opening,
            waits: None,
        }
    }

    /// Whether a look at the engine would be in vain, and the waker that it would leave there is there already.
    fn has_nothing_to_say(&self, cx: &Context<'_>) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.will_wake(cx.waker())) && !self.subscription.has_news()
    }

    /// Writes what there is to say now, at most about `ahead_bytes` of it.
    fn fill(&mut self, cx: &mut Context<'_>) -> Chunk {
        let Stream { subscription, style, endless, last, state, timer, heartbeat, waits, .. } = self;
        let shared = subscription.shared().clone();
        let mut chunk = Chunk::default();
        if *state == State::Opening {
            *state = State::Syncing;
            if let Some(reader) = endless.reader() {
                subscription.deliver_to(reader);
            }
            if style.format == Format::Sse {
                sse::opening(chunk.buffer());
            }
        }
        // One update is held back until it is known whether it is the last: that one says so (PROTOCOL M2).
        let mut held: Option<(Arc<Frame>, u32)> = None;
        let mut refusal = None;
        let mut now = None;
        let first_state = *state == State::Syncing;
        let pulled = subscription.pull(cx.waker(), |Update { tag, frame, .. }| match frame {
            Ok(frame) => {
                shared.metrics.frames.of(frame.kind.name()).inc();
                if !first_state {
                    let now = now.get_or_insert_with(|| shared.clock.now());
                    let age_ms = now.0.saturating_sub(frame.time.0);
                    shared.metrics.frame_age.observe(age_ms);
                }
                *last = frame.revision.or(*last);
                let room = chunk.len() + frame.body.len() < shared.limits.ahead_bytes;
                if let Some((frame, tag)) = held.replace((frame, tag)) {
                    write_frame(&shared, style, &mut chunk, &frame, tag, None);
                }
                room
            }
            Err(why) => {
                refusal = Some((why, tag));
                false
            }
        });
        if style.paths.is_some() {
            *last = pulled.synced;
        }
        if let Some((frame, tag)) = held {
            write_frame(&shared, style, &mut chunk, &frame, tag, pulled.synced);
        }
        if let Some((why, tag)) = refusal {
            let problem = Problem::from(why).to_json_in_stream(true);
            match style.format {
                Format::Sse => sse::error(&shared, style, style.path(tag), &problem, chunk.buffer()),
                Format::Ndjson => ndjson::error(style.path(tag), &problem, chunk.buffer()),
            }
            *state = State::Ended;
        } else if let (Some(resume), State::Syncing) = (pulled.synced, *state) {
            *state = State::Live;
            write_synced(&shared, style, chunk.buffer(), last.unwrap_or(resume));
        }
        match waits {
            _ if pulled.synced.is_none() => *waits = None,
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waits = Some(cx.waker().clone()),
        }
        if chunk.len() > 0 {
            *heartbeat = Instant::now() + HEARTBEAT;
        }
        let due = pulled.due.map(|tick| Instant::from_std(shared.clock.instant(tick)));
        let deadline = due.map_or(*heartbeat, |due| due.min(*heartbeat));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        chunk
    }
}

fn write_frame(
    shared: &Shared,
    style: &Style,
    chunk: &mut Chunk,
    frame: &Frame,
    tag: u32,
    resume: Option<Revision>,
) {
    let encode = |out: &mut Vec<u8>| match style.format {
        Format::Sse => sse::frame(shared, style, style.path(tag), frame, resume, out),
        Format::Ndjson => {
            let resume = resume.filter(|_| style.paths.is_some());
            ndjson::frame(shared, style.path(tag), frame, resume, out);
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

fn write_synced(shared: &Shared, style: &Style, out: &mut Vec<u8>, at: Revision) {
    let time = shared.with_engine(|engine| engine.time_of(at));
    match style.format {
        Format::Sse => sse::synced(shared, style, at, time, out),
        Format::Ndjson => ndjson::synced(shared, at, time, out),
    }
}

/// Bytes of one poll. Large encodings stay as they are, so that slow readers hold no copies of them; so does a small one that is alone;
/// the rest is put together.
#[derive(Default)]
struct Chunk {
    pieces: Vec<Bytes>,
    whole: Option<Bytes>,
    buffer: Vec<u8>,
}

impl Chunk {
    fn push(&mut self, bytes: Bytes) {
        if bytes.len() >= SHARED_FROM {
            self.seal();
            self.pieces.push(bytes);
        } else if self.len() == 0 {
            self.whole = Some(bytes);
        } else {
            self.buffer().extend_from_slice(&bytes);
        }
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        if let Some(whole) = self.whole.take() {
            self.buffer.extend_from_slice(&whole);
        }
        &mut self.buffer
    }

    fn len(&self) -> usize {
        let pieces = self.pieces.iter().chain(&self.whole).map(Bytes::len);
        pieces.sum::<usize>() + self.buffer.len()
    }

    fn seal(&mut self) {
        let rest = self.whole.take().unwrap_or_else(|| std::mem::take(&mut self.buffer).into());
        self.pieces.extend((!rest.is_empty()).then_some(rest));
    }

    /// The first piece, and those that follow.
    fn finish(mut self) -> (Bytes, Vec<Bytes>) {
        if self.pieces.is_empty() {
            return (self.whole.unwrap_or_else(|| self.buffer.into()), Vec::new());
        }
        self.seal();
        (self.pieces.remove(0), self.pieces)
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if let Some(piece) = self.rest.next() {
            return Poll::Ready(Some(Ok(http_body::Frame::data(piece))));
        }
        loop {
            if self.state == State::Ended {
                return Poll::Ready(None);
            }
            let shared = self.subscription.shared().clone();
            let chunk = match shared.is_draining() {
                true => {
                    let mut chunk = Chunk::default();
                    if self.style.format == Format::Sse {
                        sse::farewell(chunk.buffer());
                    }
                    self.state = State::Ended;
                    chunk
                }
                false if self.has_nothing_to_say(cx) => Chunk::default(),
                false => self.fill(cx),
            };
            if chunk.len() > 0 {
                self.subscription.count_bytes(chunk.len());
                let (first, rest) = chunk.finish();
                self.rest = rest.into_iter();
                return Poll::Ready(Some(Ok(http_body::Frame::data(first))));
            }
            if self.state == State::Ended {
                return Poll::Ready(None);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() < self.heartbeat {
                self.waits = None;
                continue; // a link with a rate is due
            }
            let mut beat = Vec::new();
            match self.style.format {
                Format::Sse => sse::heartbeat(&mut beat),
                Format::Ndjson => {
                    let at =
                        self.last.unwrap_or_else(|| shared.with_engine(halfping_engine::Engine::revision));
                    write_synced(&shared, &self.style, &mut beat, at);
                }
            }
            self.heartbeat = Instant::now() + HEARTBEAT;
            return Poll::Ready(Some(Ok(http_body::Frame::data(beat.into()))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended && self.rest.len() == 0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let metrics = &self.subscription.shared().metrics;
        metrics.streams.get_or_create(&[("transport", self.style.format.name())]).dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_frame_is_not_copied_for_each_of_its_readers() {
        let large: Bytes = vec![b'x'; SHARED_FROM].into();
        let mut chunk = Chunk::default();
        chunk.buffer().extend_from_slice(b"before");
        chunk.push(large.clone());
        chunk.push(Bytes::from_static(b"after"));
        chunk.buffer().push(b'!');
        assert_eq!(chunk.len(), 6 + SHARED_FROM + 6);
        let (first, rest) = chunk.finish();
        assert_eq!((&first[..], rest.len()), (&b"before"[..], 2));
        assert_eq!((rest[0].as_ptr(), &rest[1][..]), (large.as_ptr(), &b"after!"[..]));
    }

    #[test]
    fn small_frames_go_together() {
        let small = Bytes::from_static(b"small");
        let mut chunk = Chunk::default();
        chunk.push(small.clone());
        let (alone, rest) = chunk.finish();
        assert_eq!((alone.as_ptr(), rest.len()), (small.as_ptr(), 0));
        let mut chunk = Chunk::default();
        chunk.push(small.clone());
        chunk.push(small);
        assert_eq!(chunk.finish(), (Bytes::from_static(b"smallsmall"), Vec::new()));
    }
}
