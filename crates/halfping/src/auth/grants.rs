//! Grants: what rules allow an identity, worked out once for all who have the same claims.

use std::collections::HashMap;
use std::sync::Arc;

use halfping_credentials::{Digest, Identity};
use halfping_rules::{Grant, Rules, Subject};
use parking_lot::Mutex;
use serde_json::Value;

/// Grants that are remembered.
const GRANTS_MAX: usize = 4096;

pub(super) struct Grants {
    rules: Rules,
    /// By the hashes of the claims, which may be long.
    known: Mutex<HashMap<Digest, Arc<Grant>>>,
}

impl Grants {
    pub(super) fn new(rules: Rules) -> Grants {
        Grants { rules, known: Mutex::default() }
    }

    /// What the rules allow an identity.
    pub(super) fn of(&self, identity: &Identity) -> Arc<Grant> {
        let claims = Value::Object(identity.claims().clone());
        let hash = Digest::of(claims.to_string().as_bytes());
        if let Some(grant) = self.known.lock().get(&hash) {
            return grant.clone();
        }
        let grant = Arc::new(self.rules.grant(&Subject { claims, me: Value::Null }));
        for fault in grant.faults() {
            tracing::warn!("of an identity that may do less than the rules say: {fault}");
        }
        let mut known = self.known.lock();
        if known.len() >= GRANTS_MAX {
            // Those that are in use are soon there again.
            known.clear();
        }
        known.insert(hash, grant.clone());
        grant
    }
}
