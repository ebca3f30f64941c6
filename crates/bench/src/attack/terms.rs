//! The limits of the attacked server, as it reports them: another binary may have others.

use std::io;

use halfping_engine::Limits;
use serde_json::{Map, Value};

use crate::plain::Plain;

/// Bytes of removed members' names where no limit bounds them: what a tree of a few kilobytes may
/// take beside itself.
const TOMBSTONES_BYTES: u64 = 64 << 20;

#[derive(Clone)]
pub(super) struct Terms {
    own: Map<String, Value>,
    /// The limits of this program.
    known: Map<String, Value>,
}

impl Default for Terms {
    fn default() -> Terms {
        let known = serde_json::to_value(Limits::default()).unwrap_or_default();
        let known = known.as_object().cloned().unwrap_or_default();
        Terms { own: Map::new(), known }
    }
}

impl Terms {
    /// Asks a server for its limits (PROTOCOL O5).
    pub(super) fn ask(plain: &mut Plain) -> io::Result<Terms> {
        let answer = plain.get("/_server/limits")?;
        let own = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok(Terms { own, ..Terms::default() })
    }

    /// A limit. If an older server has none of that name, that of this program, or else 0.
    fn of(&self, name: &str) -> u64 {
        let value = self.own.get(name).or_else(|| self.known.get(name));
        value.and_then(Value::as_u64).unwrap_or_default()
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.of("body_bytes")
    }

    pub(super) fn message_bytes(&self) -> u64 {
        self.of("message_bytes")
    }

    /// Bytes of a body or message that the server reads as a whole.
    pub(super) fn whole_bytes(&self) -> usize {
        self.body_bytes().min(self.message_bytes()) as usize
    }

    pub(super) fn patch_work_bytes(&self) -> u64 {
        self.of("patch_work_bytes")
    }

    pub(super) fn shared_encoding_bytes(&self) -> u64 {
        self.of("shared_encoding_bytes")
    }

    pub(super) fn slice_bytes(&self) -> u64 {
        self.of("slice_bytes")
    }

    pub(super) fn ahead_bytes(&self) -> u64 {
        self.of("ahead_bytes")
    }

    pub(super) fn links_per_connection(&self) -> u64 {
        self.of("links_per_connection")
    }

    pub(super) fn body_timeout_ms(&self) -> u64 {
        self.of("body_timeout_ms")
    }

    pub(super) fn json_depth(&self) -> u64 {
        self.of("json_depth")
    }

    pub(super) fn path_depth(&self) -> u64 {
        self.of("path_depth")
    }

    pub(super) fn key_bytes(&self) -> u64 {
        self.of("key_bytes")
    }

    /// Bytes of a connection's head: its target has a limit, the rest 4 KiB, as in the server.
    pub(super) fn head_bytes(&self) -> u64 {
        (self.of("uri_bytes") + (4 << 10)).max(8 << 10)
    }

    /// Memory for the answers and bodies of one connection.
    pub(super) fn buffered_bytes_per_connection(&self) -> u64 {
        self.of("buffered_bytes_per_connection")
    }

    /// Memory for the answers and bodies of all connections.
    pub(super) fn buffered_bytes(&self) -> u64 {
        self.of("buffered_bytes")
    }

    /// Memory for the places of one connection's links.
    pub(super) fn places_bytes_per_connection(&self) -> u64 {
        self.of("places_bytes_per_connection")
    }

    /// Memory of all walks for members that were removed meanwhile.
    pub(super) fn walk_notes_bytes(&self) -> u64 {
        self.of("walk_notes_bytes")
    }

    /// Memory for the names of removed members.
    pub(super) fn tombstones_bytes(&self) -> u64 {
        Some(self.of("tombstones_bytes")).filter(|bytes| *bytes > 0).unwrap_or(TOMBSTONES_BYTES)
    }

    /// Streams of one connection over HTTP/2.
    pub(super) fn http2_streams_per_connection(&self) -> u64 {
        self.of("http2_streams_per_connection")
    }

    /// Links of one connection that look through a view.
    pub(super) fn views_per_connection(&self) -> u64 {
        self.of("views_per_connection")
    }

    /// Conditions and orders of one resource that every member has to be asked for.
    pub(super) fn unindexed_lenses(&self) -> u64 {
        self.of("unindexed_lenses")
    }

    /// Links of all sessions and streams.
    pub(super) fn links(&self) -> u64 {
        self.of("links")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_goes_before_what_is_known_here() {
        let own = serde_json::json!({ "body_bytes": 7, "links": 9 });
        let terms = Terms { own: own.as_object().cloned().unwrap_or_default(), ..Terms::default() };
        assert_eq!((terms.body_bytes(), terms.links()), (7, 9));
        assert_eq!(terms.slice_bytes(), Limits::default().slice_bytes as u64);
        assert_eq!(terms.tombstones_bytes(), TOMBSTONES_BYTES);
    }
}
