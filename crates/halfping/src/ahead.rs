//! Streams over HTTP/2, where one connection has many. A stream makes a message when its client
//! takes bytes, but a client may take a single one: the rest of the message is held, and has room
//! for as long (invariant A9). A connection of HTTP/1.1 has one stream and needs none of this.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame};

use crate::connection::Connection;
use crate::hub::Shared;
use crate::room::Room;

/// Bytes that are handed over at once, as a copy: what is below keeps a piece until the client
/// takes it, and would keep all of the message with it.
const PIECE_BYTES: usize = 16 << 10;

/// A stream of which nothing is held without room beyond a piece. Without room it ends, and its
/// client comes back with its cursor.
struct Ahead {
    stream: Body,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    /// What is left of the piece of the stream that is being handed over.
    rest: Bytes,
    /// Of that, and of what the stream has made and still holds.
    room: Option<Room>,
    ended: bool,
}

/// Bounds what a stream over HTTP/2 holds.
pub(crate) fn bounded(shared: &Arc<Shared>, connection: &Arc<Connection>, stream: Body) -> Body {
    Body::new(Ahead {
        stream,
        shared: shared.clone(),
        connection: connection.clone(),
        rest: Bytes::new(),
        room: None,
        ended: false,
    })
}

impl Ahead {
    /// Bytes that are made, and not handed over.
    fn held(&self) -> usize {
        self.rest.len() + self.stream.size_hint().lower() as usize
    }

    /// Has room for what is held. False if there is none.
    fn has_room(&mut self) -> bool {
        let held = self.held();
        if held <= PIECE_BYTES {
            self.room = None;
            return true;
        }
        let (shared, connection) = (&self.shared, &self.connection);
        let reserved = Room::try_hold(&mut self.room, shared, connection, held, held);
        // Much of it may have been handed over since.
        self.room.iter_mut().for_each(|room| room.shrink(held));
        reserved.inspect_err(|problem| shared.metrics.refused(problem)).is_ok()
    }
}

impl http_body::Body for Ahead {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.stream).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.ended = true,
            }
        }
        if self.rest.is_empty() {
            self.room = None;
            return Poll::Ready(None);
        }
        let piece = match self.rest.len() > PIECE_BYTES {
            true => Bytes::copy_from_slice(&self.rest.split_to(PIECE_BYTES)),
            false => std::mem::take(&mut self.rest),
        };
        if !self.has_room() {
            (self.rest, self.room, self.ended) = (Bytes::new(), None, true);
            self.stream = Body::empty();
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && (self.ended || self.stream.is_end_stream())
    }
}
