//! The limits of the server that is attacked, as it says itself: another binary may have others.

use std::io;

use halfping::Limits;
use serde_json::{Map, Value};

use crate::commands::bench::plain::Plain;

/// Fallbacks for limits that an older server does not have.
const ANSWERS_BYTES: u64 = 256 << 20;
const BODIES_BYTES: u64 = 256 << 20;
const PLACES_BYTES: u64 = 256 << 20;
const NAMES_BYTES: u64 = 64 << 20;
const LINKS: u64 = 1_000_000;

#[derive(Clone)]
pub(super) struct Terms {
    own: Map<String, Value>,
    /// What this program would use.
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

    /// A limit; where the server has none of that name, that of this program, or else 0.
    fn of(&self, name: &str) -> u64 {
        let value = self.own.get(name).or_else(|| self.known.get(name));
        value.and_then(Value::as_u64).unwrap_or_default()
    }

    /// A limit that older servers do not have. What bounds such a server is then a guess.
    fn of_new(&self, names: &[&str], fallback: u64) -> u64 {
        let found = names.iter().find_map(|name| self.own.get(*name).and_then(Value::as_u64));
        found.unwrap_or(fallback)
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

    /// What all answers in progress may hold.
    pub(super) fn answers_bytes(&self) -> u64 {
        self.of_new(&["answers_bytes"], ANSWERS_BYTES)
    }

    /// What all bodies in progress may hold.
    pub(super) fn bodies_bytes(&self) -> u64 {
        self.of_new(&["bodies_bytes"], BODIES_BYTES)
    }

    /// What the names of places may hold where links stand.
    pub(super) fn places_bytes(&self) -> u64 {
        self.of_new(&["places_bytes"], PLACES_BYTES)
    }

    /// What the names of removed members may hold.
    pub(super) fn tombstones_bytes(&self) -> u64 {
        self.of_new(&["tombstones_bytes", "tombstone_bytes"], NAMES_BYTES)
    }

    /// Links of all sessions and streams.
    pub(super) fn links(&self) -> u64 {
        self.of_new(&["links"], LINKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_goes_before_what_is_known_here() {
        let own = serde_json::json!({ "body_bytes": 7, "places_bytes": 9 });
        let terms = Terms { own: own.as_object().cloned().unwrap_or_default(), ..Terms::default() };
        assert_eq!((terms.body_bytes(), terms.places_bytes()), (7, 9));
        assert_eq!(terms.slice_bytes(), Limits::default().slice_bytes as u64);
        assert_eq!(terms.links(), LINKS);
    }
}
