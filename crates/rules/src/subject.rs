//! Subjects: who asks.

use serde_json::{Map, Value as Json};

/// The one who asks: all that is known of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The claims of their credential; those of who shows none, if they show none.
    pub claims: Json,
    /// Their document in the tree; `null` if there is none.
    pub me: Json,
}

impl Default for Subject {
    /// Somebody without claims.
    fn default() -> Subject {
        Subject { claims: Json::Object(Map::new()), me: Json::Null }
    }
}

impl Subject {
    /// Both, as things of a condition.
    pub(crate) fn things(&self) -> [(&str, &Json); 2] {
        [("claims", &self.claims), ("me", &self.me)]
    }
}
