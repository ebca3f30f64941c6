//! The reader of profiles: it has a link at each that somebody has rights by, so that a commit that
//! changes one reaches just those, and costs no other commit anything.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use halfping_engine::{Path, SessionId};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use super::Shared;
use crate::auth::{Auth, Profile, Profiles};
use crate::delivery::Deliver;

/// The longest profile, as JSON. Of a longer one nothing is known: it is as if it were not there.
const PROFILE_BYTES_MAX: usize = 64 * 1024;
/// Profiles from which on those are looked for that nobody has rights by any more.
const SWEPT_FROM: usize = 64;

pub(super) struct ProfileReader {
    shared: Weak<Shared>,
    /// Locked before the engine.
    followed: Mutex<Followed>,
}

struct Followed {
    session: Option<SessionId>,
    /// The numbers of the links.
    tags: HashMap<Path, u32>,
    profiles: HashMap<u32, Weak<Profile>>,
    next_tag: u32,
    /// The number of profiles at which those that are not needed any more are looked for again.
    sweep_at: usize,
}

impl Shared {
    /// Has profiles read and followed here.
    pub(crate) fn follow_profiles(&self, auth: &Auth) {
        let followed = Followed {
            session: None,
            tags: HashMap::new(),
            profiles: HashMap::new(),
            next_tag: 0,
            sweep_at: SWEPT_FROM,
        };
        let (shared, followed) = (self.me.clone(), Mutex::new(followed));
        auth.read_profiles_by(|| Arc::new(ProfileReader { shared, followed }));
    }

    /// Reads a profile again, if it is in another state. Returns those who have rights by it, if it
    /// is another one now.
    fn read_profile(&self, profile: &Profile) -> Vec<SessionId> {
        let at = self.state_of(&profile.path);
        if profile.is_known_at(at) {
            return Vec::new();
        }
        let read = self.with_engine(|engine| engine.read(&profile.path, u32::MAX));
        let value = read.ok().and_then(|reading| reading.value);
        let value = value.filter(|value| {
            let fits = value.len() <= PROFILE_BYTES_MAX;
            if !fits {
                let path = &profile.path;
                tracing::warn!("the profile at {path} is longer than {PROFILE_BYTES_MAX} bytes, and not looked at");
            }
            fits
        });
        let value = value.and_then(|value| serde_json::from_slice(&value).ok());
        profile.set(value.unwrap_or(Value::Null), at)
    }
}

impl Profiles for ProfileReader {
    fn profile(self: Arc<Self>, path: &Path) -> Arc<Profile> {
        let Some(shared) = self.shared.upgrade() else {
            return Arc::new(Profile::new(path.clone()));
        };
        let mut followed = self.followed.lock();
        let tag = followed.tags.get(path).copied();
        let known = tag.and_then(|tag| followed.profiles.get(&tag)?.upgrade());
        if let Some(profile) = known {
            // It may have changed since it was told of a change.
            let concerned = shared.read_profile(&profile);
            drop(followed);
            shared.wake_sessions(&concerned);
            return profile;
        }
        followed.sweep(&shared);
        let profile = followed.follow(&shared, &self, path);
        shared.read_profile(&profile);
        self.hear(&shared, followed);
        profile
    }
}

impl Followed {
    fn follow(
        &mut self,
        shared: &Shared,
        reader: &Arc<ProfileReader>,
        path: &Path,
    ) -> Arc<Profile> {
        let profile = Arc::new(Profile::new(path.clone()));
        let mut state = shared.state.lock();
        let session = *self.session.get_or_insert_with(|| {
            let reader: Weak<ProfileReader> = Arc::downgrade(reader);
            state.open_unseen(reader)
        });
        let tag = match self.tags.get(path) {
            // Its link is there still.
            Some(tag) => *tag,
            None => {
                self.next_tag = self.next_tag.wrapping_add(1);
                state.listen(session, self.next_tag, path);
                self.tags.insert(path.clone(), self.next_tag);
                self.next_tag
            }
        };
        self.profiles.insert(tag, Arc::downgrade(&profile));
        profile
    }

    /// Lets go of profiles that nobody has rights by any more, once they may be half of all.
    fn sweep(&mut self, shared: &Shared) {
        let Some(session) = self.session.filter(|_| self.profiles.len() >= self.sweep_at) else {
            return;
        };
        let mut state = shared.state.lock();
        self.tags.retain(|_, tag| {
            let is_used = self.profiles.get(tag).is_some_and(|profile| profile.strong_count() > 0);
            if !is_used {
                self.profiles.remove(tag);
                state.engine.unwatch(session, *tag);
            }
            is_used
        });
        self.sweep_at = (2 * self.profiles.len()).max(SWEPT_FROM);
    }
}

impl ProfileReader {
    /// Hears of changes, and has those woken who have rights by a profile that is another one now.
    fn hear(&self, shared: &Shared, followed: MutexGuard<'_, Followed>) {
        let Some(session) = followed.session else { return };
        let mut told = Vec::new();
        let woken = {
            let mut state = shared.state.lock();
            let now = shared.clock.tick();
            while let Some(update) = state.engine.next(session, now) {
                let profile = followed.profiles.get(&update.tag).and_then(Weak::upgrade);
                if let (Err(_), Some(profile)) = (&update.frame, &profile) {
                    state.engine.unwatch(session, update.tag);
                    state.listen(session, update.tag, &profile.path);
                }
                told.extend(profile);
            }
            state.take_woken()
        };
        let concerned = told.iter().flat_map(|profile| shared.read_profile(profile));
        let concerned: Vec<SessionId> = concerned.collect();
        drop(followed);
        woken.wake();
        shared.wake_sessions(&concerned);
    }
}

impl Deliver for ProfileReader {
    fn deliver(&self) {
        if let Some(shared) = self.shared.upgrade() {
            self.hear(&shared, self.followed.lock());
        }
    }

    fn wake(&self) {
        self.deliver();
    }
}
