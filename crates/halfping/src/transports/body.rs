//! The body of a stream: pulled by the connection, with heartbeats and an end. Its content comes
//! from a [`Source`].

use std::future::Future as _;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use halfping_engine::Tick;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::encoding::Format;
use super::sse;
use crate::delivery::Deliver;
use crate::direct::{Endless, SHARED_FROM};
use crate::hub::Shared;

/// Silence after which a stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The content of a stream, apart from its timing.
pub(crate) trait Source: Send + Unpin + 'static {
    fn shared(&self) -> &Arc<Shared>;

    /// Has news delivered to this reader.
    fn deliver_to(&self, reader: Weak<dyn Deliver>);

    /// Writes what there is to send now, at most about `ahead_bytes` of it. `Break` when nothing
    /// comes after it.
    fn fill(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> ControlFlow<()>;

    /// Time at which there will be more to send even without news.
    fn due(&self) -> Option<Tick>;

    /// Forgets that there was nothing to send: another task asks than before, or a link's time has
    /// come.
    fn look_again(&mut self);

    /// Repeats the state up to which the reader has everything: this shows that a stream of lines
    /// is alive (PROTOCOL N2).
    fn repeat_synced(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk);
}

/// The body of a streaming answer. It makes nothing before it is asked for bytes (invariant A3):
/// the HTTP layer below asks when the connection has room.
pub(crate) struct Stream<S> {
    source: S,
    format: Format,
    /// The place where the receiver of its news is set; `None` once it is open.
    endless: Option<Endless>,
    /// Pieces made together with the one sent last, to be sent before anything else.
    rest: Option<Box<std::vec::IntoIter<Bytes>>>,
    /// Fires at the next heartbeat, or earlier if the source has more to send before.
    timer: Pin<Box<Sleep>>,
    heartbeat: Instant,
    /// The task that asked last. The HTTP layer asks again after each chunk, and in vain after
    /// most; a source that has sent all need not look then.
    waker: Option<Waker>,
    ended: bool,
}

impl<S: Source> Stream<S> {
    pub(super) fn new(source: S, format: Format) -> Stream<S> {
        let heartbeat = Instant::now() + HEARTBEAT;
        Stream {
            source,
            format,
            endless: Some(Endless::default()),
            rest: None,
            timer: Box::pin(sleep_until(heartbeat)),
            heartbeat,
            waker: None,
            ended: false,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn endless(&self) -> Option<Endless> {
        self.endless.clone()
    }

    /// Writes what there is to send now.
    fn fill(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) {
        if self.source.shared().is_draining() {
            if self.format == Format::Sse {
                sse::farewell(chunk.buffer());
            }
            self.ended = true;
            return;
        }
        if let Some(endless) = self.endless.take() {
            if let Some(reader) = endless.reader() {
                self.source.deliver_to(reader);
            }
            if self.format == Format::Sse {
                sse::opening(chunk.buffer());
            }
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.source.look_again();
        }
        self.ended = self.source.fill(cx, chunk).is_break();
    }

    /// Waits for a time: that of a link that is due, or of the heartbeat, which is written.
    fn poll_time(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> Poll<()> {
        let shared = self.source.shared();
        let due = self.source.due().map(|tick| Instant::from_std(shared.clock.instant(tick)));
        let deadline = due.map_or(self.heartbeat, |due| due.min(self.heartbeat));
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(cx));
        if Instant::now() < self.heartbeat {
            self.source.look_again();
            return Poll::Ready(());
        }
        self.heartbeat = Instant::now() + HEARTBEAT;
        match self.format {
            Format::Sse => sse::heartbeat(chunk.buffer()),
            Format::Ndjson => self.source.repeat_synced(cx, chunk),
        }
        Poll::Ready(())
    }
}

impl<S: Source> Body for Stream<S> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(piece) = self.rest.as_mut().and_then(Iterator::next) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.rest = None;
        let mut chunk = Chunk::default();
        while !self.ended {
            self.fill(cx, &mut chunk);
            if chunk.len() == 0 && !self.ended {
                ready!(self.poll_time(cx, &mut chunk));
            }
            if chunk.len() > 0 {
                self.heartbeat = Instant::now() + HEARTBEAT;
                let (first, rest) = chunk.finish();
                self.rest = (!rest.is_empty()).then(|| Box::new(rest.into_iter()));
                return Poll::Ready(Some(Ok(Frame::data(first))));
            }
        }
        Poll::Ready(None)
    }

    /// At least what is made already.
    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.iter().flat_map(|rest| rest.as_slice()).map(Bytes::len);
        let mut hint = SizeHint::default();
        hint.set_lower(rest.sum::<usize>() as u64);
        hint
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.rest.as_ref().is_none_or(|rest| rest.len() == 0)
    }
}

/// Bytes of one poll. Large encodings stay as they are, so that slow readers hold no copies of
/// them; so does a small one that is alone; the rest is put together.
#[derive(Default)]
pub(crate) struct Chunk {
    pieces: Vec<Bytes>,
    whole: Option<Bytes>,
    buffer: Vec<u8>,
}

impl Chunk {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.len() >= SHARED_FROM {
            self.seal();
            self.pieces.push(bytes);
        } else if self.len() == 0 {
            self.whole = Some(bytes);
        } else {
            self.buffer().extend_from_slice(&bytes);
        }
    }

    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if let Some(whole) = self.whole.take() {
            self.buffer.extend_from_slice(&whole);
        }
        &mut self.buffer
    }

    pub(super) fn len(&self) -> usize {
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
