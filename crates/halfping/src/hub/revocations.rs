//! Revocations: a resource of the tree that says who is not believed any more.

use std::sync::{Arc, Weak};

use halfping_credentials::Revoked;
use halfping_engine::{Cursor, Path, SessionId};
use parking_lot::Mutex;
use serde_json::Value;

use super::Shared;
use crate::auth::Auth;
use crate::delivery::Deliver;

/// The number of the one link.
const TAG: u32 = 0;

/// The reader of the revocations. It has a link in the tree, so it is told of each commit that
/// changes them, and costs no other commit anything.
pub(super) struct RevokedReader {
    shared: Weak<Shared>,
    auth: Auth,
    /// The session of the link, and the path, once there is one. Held while revocations are read:
    /// older ones must not come after newer ones.
    link: Mutex<Option<(SessionId, Option<Path>)>>,
}

impl Shared {
    /// Learns of revocations that have changed, and has those who are in already looked at again.
    pub(crate) fn learn_of_revoked(&self, auth: &Auth) {
        let Some(path) = auth.revoked_at() else { return };
        if auth.knows_revoked(&path, self.state_of(&path)) {
            return;
        }
        let turn = self.revoked_reader.get().map(|reader| reader.link.lock());
        let have_changed = self.read_revoked(auth, &path);
        drop(turn);
        if have_changed {
            self.wake_all();
        }
    }

    /// Learns of revocations of settings that nobody uses yet.
    pub(crate) fn learn_before(&self, auth: &Auth) {
        if let Some(path) = auth.revoked_at() {
            self.read_revoked(auth, &path);
        }
    }

    /// Reads them. False if they are known.
    fn read_revoked(&self, auth: &Auth, path: &Path) -> bool {
        // Another change since then is told by itself.
        let at = self.state_of(path);
        if auth.knows_revoked(path, at) {
            return false;
        }
        let (revoked, faults) = Revoked::read(self.document(path).as_ref());
        for fault in faults {
            tracing::warn!("what is revoked, at {path}: {fault}");
        }
        auth.set_revoked(path, revoked, at);
        true
    }

    pub(super) fn state_of(&self, path: &Path) -> Cursor {
        self.with_engine(|engine| engine.metadata(path)).cursor()
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

    /// Learns of revocations from now on as soon as they are made, at the path of the settings of
    /// this moment.
    pub(crate) fn follow_revoked(&self, auth: &Auth) {
        let path = auth.revoked_at();
        if path.is_none() && self.revoked_reader.get().is_none() {
            return;
        }
        let reader = self.revoked_reader.get_or_init(|| {
            let (shared, auth) = (self.me.clone(), auth.clone());
            Arc::new(RevokedReader { shared, auth, link: Mutex::default() })
        });
        reader.stand_at(self, path);
        reader.deliver();
    }
}

impl RevokedReader {
    /// Has its link at another path, or none.
    fn stand_at(self: &Arc<Self>, shared: &Shared, path: Option<Path>) {
        let mut link = self.link.lock();
        let mut state = shared.state.lock();
        let (session, at) = link.get_or_insert_with(|| {
            let reader: Weak<RevokedReader> = Arc::downgrade(self);
            (state.open_unseen(reader), None)
        });
        if *at != path {
            state.engine.unwatch(*session, TAG);
            if let Some(path) = &path {
                state.listen(*session, TAG, path);
            }
            *at = path;
        }
        state.engine.take_woken();
    }
}

impl Deliver for RevokedReader {
    fn deliver(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let link = self.link.lock();
        let Some((session, Some(path))) = &*link else { return };
        let woken = {
            let mut state = shared.state.lock();
            let now = shared.clock.tick();
            while let Some(update) = state.engine.next(*session, now) {
                if update.frame.is_err() {
                    state.engine.unwatch(*session, TAG);
                    state.listen(*session, TAG, path);
                }
            }
            state.take_woken()
        };
        let have_changed = shared.read_revoked(&self.auth, path);
        drop(link);
        woken.wake();
        if have_changed {
            shared.wake_all();
        }
    }

    fn wake(&self) {
        self.deliver();
    }
}
