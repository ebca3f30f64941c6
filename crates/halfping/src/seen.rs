//! Counts of each session, to be shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use halfping_engine::{SessionId, Timestamp};

use crate::connection::Connection;

/// One session as it is seen from outside. Every session has one, shown or not, so it is small.
pub(crate) struct Seen {
    /// Its name: no two sessions of a process have the same.
    pub(crate) number: u64,
    /// Its number in the engine.
    pub(crate) session: SessionId,
    pub(crate) since: Timestamp,
    pub(crate) connection: Arc<Connection>,
    /// Bytes of state that its connection was given.
    bytes: AtomicU64,
    /// Set when the session has something to send since it was last pulled. Reading it needs no
    /// lock.
    pub(crate) news: AtomicBool,
    pub(crate) transport: Transport,
}

// With the two counts around it, 56 bytes.
const _: () = assert!(std::mem::size_of::<Seen>() == 40);

/// The transport of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    WebSocket,
    /// A session that is heard only once.
    Events,
    Sse,
    Ndjson,
    /// An answer that waits for a change (PROTOCOL R4).
    Poll,
    /// A watch of the Rust API.
    Program,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Events => "events",
            Transport::Sse => "sse",
            Transport::Ndjson => "ndjson",
            Transport::Poll => "poll",
            Transport::Program => "program",
        }
    }
}

impl Seen {
    pub(crate) fn new(
        (number, session): (u64, SessionId),
        since: Timestamp,
        connection: Arc<Connection>,
        transport: Transport,
    ) -> Seen {
        let (bytes, news) = (AtomicU64::new(0), AtomicBool::new(true));
        Seen { number, session, since, connection, bytes, news, transport }
    }

    pub(crate) fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
