//! Streams and sessions over HTTP/2, where one connection has many. A stream makes a message when
//! its client takes bytes, but a client may take a single one: the rest of the message is held, and
//! has room for as long (invariant A9). So does a session, whose room is its desk's. A connection
//! of HTTP/1.1 has one stream and needs none of this.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use axum::body::Body;
use bytes::Bytes;
use halfping_engine::Limits;
use http::Version;
use http_body::{Body as _, Frame};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::answer::{GivenUp, watch};
use crate::answers::Untaken;
use crate::connection::Connection;
use crate::hub::Shared;
use crate::patience::Taking;
use crate::room::Room;

/// Bytes that are handed over at once, as a copy: what is below keeps a piece until the client
/// takes it, and would keep all of the message with it.
const PIECE_BYTES: usize = 16 << 10;

/// Bytes of a session that are handed over at once: what is below copies up to four of these before
/// it waits for the client.
const SESSION_PIECE_BYTES: usize = PIECE_BYTES / 4;

/// The body of a stream of which nothing is held without room beyond a piece. Without room it ends,
/// and its client comes back with its cursor. It is given up like an answer when others want its
/// room and its client takes too little.
struct Ahead(Arc<Held>);

struct Held {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    state: Mutex<State>,
}

struct State {
    stream: Body,
    /// The rest of the piece of the stream that is being handed over.
    rest: Bytes,
    /// Of that, and of what the stream has made and still holds.
    large: Option<Large>,
    ended: bool,
    is_given_up: bool,
}

/// A message that has room.
struct Large {
    room: Option<Room>,
    taking: Taking,
    /// Its number among the answers that the connection has not taken.
    number: usize,
}

/// Bounds what a stream over HTTP/2 holds.
pub(crate) fn bounded(shared: &Arc<Shared>, connection: &Arc<Connection>, stream: Body) -> Body {
    let (rest, large) = (Bytes::new(), None);
    let state = State { stream, rest, large, ended: false, is_given_up: false };
    Body::new(Ahead(Arc::new(Held {
        shared: shared.clone(),
        connection: connection.clone(),
        state: Mutex::new(state),
    })))
}

impl State {
    /// Bytes that are made, and not handed over.
    fn held(&self) -> usize {
        self.rest.len() + self.stream.size_hint().lower() as usize
    }

    /// Ends the stream and drops what is held.
    fn end(&mut self, connection: &Connection) {
        (self.rest, self.ended, self.stream) = (Bytes::new(), true, Body::empty());
        self.drop_room(connection);
    }

    fn drop_room(&mut self, connection: &Connection) {
        if let Some(large) = self.large.take() {
            connection.answers().remove(large.number);
        }
    }
}

impl Held {
    /// Has room for what is held, after so many bytes were handed over. False if there is none.
    fn has_room(self: &Arc<Held>, state: &mut State, handed: usize) -> bool {
        let (shared, connection) = (&self.shared, &self.connection);
        let held = state.held();
        if held <= PIECE_BYTES {
            state.drop_room(connection);
            return true;
        }
        let large = state.large.get_or_insert_with(|| {
            let number = connection.answers().next();
            let untaken: Weak<Held> = Arc::downgrade(self);
            watch(shared, connection, Version::HTTP_2, number, untaken);
            Large { room: None, taking: Taking::new(&shared.limits), number }
        });
        large.taking.took(handed);
        let reserved = Room::try_hold(&mut large.room, shared, connection, held, held);
        // Much of it may have been handed over since.
        large.room.iter_mut().for_each(|room| room.shrink(held));
        reserved.inspect_err(|problem| shared.metrics.refused(problem)).is_ok()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Untaken for Held {
    fn look(&self, limits: &Limits, is_wanted: [bool; 2]) -> Option<&'static str> {
        let state = &mut *self.state.lock();
        let large = state.large.as_mut().filter(|_| !state.is_given_up)?;
        let [is_large_wanted, _] = is_wanted;
        let limit = large.taking.ended_by(limits, is_large_wanted)?;
        // It stays among the answers until its stream is closed.
        large.room = None;
        (state.rest, state.stream, state.is_given_up) = (Bytes::new(), Body::empty(), true);
        Some(limit)
    }

    fn is_given_up(&self) -> bool {
        self.state.lock().is_given_up
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.state.lock().end(&self.0.connection);
    }
}

impl http_body::Body for Ahead {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let held = &self.0;
        let state = &mut *held.state.lock();
        if state.is_given_up {
            return Poll::Ready(Some(Err(axum::Error::new(GivenUp))));
        }
        if state.rest.is_empty() && !state.ended {
            match ready!(Pin::new(&mut state.stream).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => state.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => state.ended = true,
            }
        }
        if state.rest.is_empty() {
            state.drop_room(&held.connection);
            return Poll::Ready(None);
        }
        let piece = match state.rest.len() > PIECE_BYTES {
            true => Bytes::copy_from_slice(&state.rest.split_to(PIECE_BYTES)),
            false => std::mem::take(&mut state.rest),
        };
        if !held.has_room(state, piece.len()) {
            state.end(&held.connection);
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.state.lock();
        let has_ended = state.ended || state.stream.is_end_stream();
        state.rest.is_empty() && has_ended && !state.is_given_up
    }
}

/// The connection of a session over HTTP/2. What is below takes whatever it is given at once, so it
/// is given pieces, and the rest is held where it has room.
pub(crate) struct Pieces<I>(I);

impl<I> Pieces<I> {
    pub(crate) fn new(io: I) -> Pieces<I> {
        Pieces(io)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Pieces<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Pieces<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(SESSION_PIECE_BYTES)];
        Pin::new(&mut self.0).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
