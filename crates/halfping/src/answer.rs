//! Plain answers on their way: handed over in pieces, as the client takes them, and given up when
//! it takes too little while others wait for their room, or nothing for long.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use halfping_engine::Limits;
use http::Version;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::answers::Untaken;
use crate::connection::Connection;
use crate::hub::Shared;
use crate::patience::{LOOKS, Taking};
use crate::room::{Room, Wanted};

/// Bytes that are handed over at once, as a copy: the HTTP layer keeps a piece until the connection
/// has room for it, and would keep all of the answer with it.
const PIECE_BYTES: usize = 16 << 10;
/// Answers of a connection that may have been given up and not be closed yet. HTTP/2 cannot close
/// them while the client lets nothing through, and each may keep a piece.
const GIVEN_UP_MAX: usize = 64;

/// The rest of an answer.
#[derive(Debug)]
struct Rest {
    bytes: Bytes,
    room: Room,
}

/// An answer that is not taken yet, for as long as anybody has a part of it.
#[derive(Debug)]
struct Answer {
    connection: Arc<Connection>,
    number: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The rest of it; `None` when all was handed over, or it was given up.
    rest: Option<Rest>,
    taking: Taking,
    is_small: bool,
    is_given_up: bool,
}

/// The body of an answer.
struct Handing {
    answer: Arc<Answer>,
    left: usize,
}

/// A part of an answer, with the room that it has.
struct Piece {
    bytes: Bytes,
    _room: Option<Room>,
    _answer: Arc<Answer>,
}

/// The answer was not taken in time.
#[derive(Debug, thiserror::Error)]
#[error("nobody took the answer in time")]
pub(crate) struct GivenUp;

/// A body of bytes that have room.
pub(crate) fn body(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    version: Version,
    bytes: Bytes,
    room: Room,
) -> Body {
    let left = bytes.len();
    let number = connection.answers().next();
    let (taking, is_small) = (Taking::new(&shared.limits), room.is_small());
    let rest = Some(Rest { bytes, room });
    let state = Mutex::new(State { rest, taking, is_small, is_given_up: false });
    let answer = Arc::new(Answer { connection: connection.clone(), number, state });
    let untaken: Weak<Answer> = Arc::downgrade(&answer);
    watch(shared, connection, version, number, untaken);
    Body::new(Handing { answer, left })
}

/// Has an answer given up when it is taken too slowly, as long as it has this number among those
/// that its connection has not taken.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    version: Version,
    number: usize,
    answer: Weak<dyn Untaken>,
) {
    if connection.answers().add(number, answer) {
        // HTTP/1 can send no other answer behind it.
        let given_up_max = if version < Version::HTTP_2 { 0 } else { GIVEN_UP_MAX };
        let (shared, connection) = (Arc::downgrade(shared), Arc::downgrade(connection));
        tokio::spawn(watch_all(shared, connection, given_up_max));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.answers().remove(self.number);
    }
}

impl Untaken for Answer {
    fn look(&self, limits: &Limits, is_wanted: [bool; 2]) -> Option<&'static str> {
        let mut state = self.state.lock();
        if state.is_given_up {
            return None;
        }
        let is_wanted = is_wanted[usize::from(state.is_small)];
        let limit = state.taking.ended_by(limits, is_wanted)?;
        (state.is_given_up, state.rest) = (true, None);
        Some(limit)
    }

    fn is_given_up(&self) -> bool {
        self.state.lock().is_given_up
    }
}

/// Watches a connection's answers until there are none. If more than `given_up_max` were given up,
/// the connection ends.
async fn watch_all(shared: Weak<Shared>, connection: Weak<Connection>, given_up_max: usize) {
    let mut wanted = Wanted::default();
    let Some(patience) = shared.upgrade().map(|shared| shared.limits.answer_timeout_ms) else {
        return;
    };
    let pause = Duration::from_millis(patience) / LOOKS;
    loop {
        tokio::time::sleep(pause).await;
        let (Some(shared), Some(connection)) = (shared.upgrade(), connection.upgrade()) else {
            return;
        };
        let Some(open) = connection.answers().open() else { return };
        let is_wanted = wanted.look(&shared, &connection);
        let mut given_up = 0;
        for answer in &open {
            if let Some(limit) = answer.look(&shared.limits, is_wanted) {
                shared.metrics.limit_hit(limit);
            }
            given_up += usize::from(answer.is_given_up());
        }
        if given_up > given_up_max {
            connection.cut();
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for Handing {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut state = self.answer.state.lock();
        let Some(mut rest) = state.rest.take() else { return Poll::Ready(Some(Err(GivenUp))) };
        let (bytes, room) = match rest.bytes.len() > PIECE_BYTES {
            false => (rest.bytes, Some(rest.room)),
            true => {
                let bytes = Bytes::copy_from_slice(&rest.bytes.split_to(PIECE_BYTES));
                let room = rest.room.split(PIECE_BYTES);
                state.rest = Some(rest);
                (bytes, room)
            }
        };
        state.taking.took(bytes.len());
        drop(state);
        self.left -= bytes.len();
        let piece = Piece { bytes, _room: room, _answer: self.answer.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
