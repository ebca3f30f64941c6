//! Revocations: a resource of the tree that says who is not believed any more.

use std::sync::Arc;
use std::time::Duration;

use halfping_credentials::Revoked;
use halfping_engine::Path;
use serde_json::Value;

use super::Shared;
use crate::auth::Auth;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

impl Shared {
    /// Learns of revocations that have changed, and has those who are in already looked at again.
    pub(crate) fn learn_of_revoked(&self, auth: &Auth) {
        let Some(path) = auth.revoked_at() else { return };
        let now = self.with_engine(|engine| engine.metadata(path));
        if auth.knows_revoked(now.cursor()) {
            return;
        }
        let (revoked, faults) = Revoked::read(self.document(path).as_ref());
        for fault in faults {
            tracing::warn!("what is revoked, at {path}: {fault}");
        }
        // Another change since then is seen at the next look.
        auth.set_revoked(revoked, now.cursor());
        self.wake_all();
    }

    /// The document at a path. One that cannot be read is `false`, so that everybody is revoked.
    fn document(&self, path: &Path) -> Option<Value> {
        match self.with_engine(|engine| engine.read(path, u32::MAX)) {
            Ok(reading) => reading
                .value
                .map(|value| serde_json::from_slice(&value).unwrap_or(Value::Bool(false))),
            Err(_) => Some(Value::Bool(false)),
        }
    }

    /// Learns of them from now on also while nobody asks for anything.
    pub(crate) fn follow_revoked(self: &Arc<Shared>, auth: Auth) {
        if auth.revoked_at().is_none() {
            return;
        }
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let Some(shared) = shared.upgrade() else { return };
                shared.learn_of_revoked(&auth);
            }
        });
    }
}
