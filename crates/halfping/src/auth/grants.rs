//! Grants: what rules allow an identity, worked out once for all who have the same claims.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use halfping_credentials::{Digest, Identity};
use halfping_rules::{Grant, Reads, Rules, Subject};
use parking_lot::Mutex;
use serde_json::Value;

/// Grants that are remembered, and the places that they speak of: some 32 MB for each verb.
const GRANTS_MAX: usize = 4096;
const PLACES_MAX: usize = 1 << 17;

pub(super) struct Grants {
    rules: Rules,
    /// By the hashes of claims and profiles, which may be long.
    known: Mutex<Known>,
}

/// A grant, with its mark.
#[derive(Clone, PartialEq)]
pub(super) struct Granted {
    pub(super) grant: Arc<Grant>,
    /// A hash of what may be read, if that is not all: equal for equal grants.
    pub(super) mark: Option<u64>,
}

#[derive(Default)]
struct Known {
    grants: HashMap<Digest, Granted>,
    /// The places that they speak of, together.
    places: usize,
}

impl Grants {
    pub(super) fn new(rules: Rules) -> Grants {
        Grants { rules, known: Mutex::default() }
    }

    /// True if others would be the same: then these, which are worked out, can stay.
    pub(super) fn are_by_rules_of(&self, other: &Grants) -> bool {
        self.rules.say_the_same(&other.rules)
    }

    /// The grant of an identity whose profile this is.
    pub(super) fn of(&self, identity: &Identity, me: &Value) -> Granted {
        let claims = Value::Object(identity.claims().clone());
        let mut text = claims.to_string();
        if !me.is_null() {
            text.push_str(&me.to_string());
        }
        let hash = Digest::of(text.as_bytes());
        if let Some(grant) = self.known.lock().grants.get(&hash) {
            return grant.clone();
        }
        let grant = Arc::new(self.rules.grant(&Subject { claims, me: me.clone() }));
        for fault in grant.faults() {
            tracing::warn!("of an identity that may do less than the rules say: {fault}");
        }
        let mut hasher = DefaultHasher::new();
        grant.hash(&mut hasher);
        let sees_all = matches!(grant.read_at::<&str>(&[]), Reads::All);
        let granted = Granted { mark: (!sees_all).then(|| hasher.finish()), grant };
        let places = granted.grant.scope().size();
        let mut known = self.known.lock();
        if known.grants.len() >= GRANTS_MAX || known.places + places > PLACES_MAX {
            // Those that are in use are soon there again.
            *known = Known::default();
        }
        known.places += places;
        known.grants.insert(hash, granted.clone());
        granted
    }
}
