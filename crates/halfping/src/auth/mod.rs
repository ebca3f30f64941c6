//! Identity: who shows a credential, and what the rules allow them.
//!
//! [`Auth`] is made from the configuration. The door asks it for the [`Rights`] of each request's
//! sender; sessions ask again when a client names itself. Signatures are verified here, outside of
//! any lock, and what was verified is remembered.

mod asked;
mod authenticate;
mod bearer;
mod certificate;
mod grants;
mod judge;
mod keys;
mod looks;
mod problems;
mod profiles;
mod rights;
mod seal;
mod sender;
mod settings;
mod setup;
mod sight;
mod sources;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::OriginalUri;
use halfping_credentials::{
    Forward, Identity, Places, Revoked, Secret, Shown, ShownError, Tickets, Verified,
};
use halfping_engine::{Cursor, Path};
use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

pub(crate) use self::asked::{Asked, LOOK_MAX};
pub use self::authenticate::{AskTerms, Authenticate, Question, Unidentified};
use self::bearer::Bearer;
pub(crate) use self::keys::Took;
pub use self::keys::{KeysFetched, KeysWanted};
use self::looks::{Look, Looks};
pub(crate) use self::problems::{no_claims, reason};
use self::profiles::Me;
pub(crate) use self::profiles::{Profile, Profiles};
pub(crate) use self::rights::{Bound, Found, Only, Rights, Standing};
use self::seal::Seal;
use self::settings::{Revocations, Settings};
pub use self::setup::AuthError;
pub(crate) use self::sight::Sight;
use self::sources::Sources;
use crate::problem::{Kind, Problem};

/// Settings of who is told apart, and who may do what. The default tells nobody apart, and allows everybody
/// everything.
///
/// ```
/// use halfping::{Api, ApiKey, Auth, AuthConfig, Options, Rules, new_api_key};
///
/// let (key, hash) = new_api_key(&[7; 32]); // of a generator for secrets, not of sevens
/// let claims = serde_json::json!({ "sub": "importer" }).as_object().cloned();
/// let importer = ApiKey { sha256: hash.hex(), claims: claims.unwrap_or_default() };
/// let config = AuthConfig { key: vec![importer], ..AuthConfig::default() };
/// let rules = Rules::parse(
///     r#"
///     [[rule]]
///     allow = ["read"]
///     path = "/"
///
///     [[rule]]
///     allow = ["write"]
///     path = "/imports"
///     when = "claims.sub == 'importer'"
///     "#,
/// )?;
/// let auth = Auth::new(&config, rules, |file| std::fs::read(file))?;
/// let api = Api::new(Options { auth, ..Options::default() });
/// # drop((api, key));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Auth(Option<Arc<Inner>>);

pub(crate) struct Inner {
    settings: RwLock<Arc<Settings>>,
    /// That of the settings, for a look without a lock.
    generation: AtomicU64,
    verified: Mutex<Verified>,
    tickets: Mutex<Tickets<Bearer>>,
    looks: Mutex<Looks>,
    seal: OnceLock<Seal>,
    /// The reader of profiles.
    profiles: OnceLock<Arc<dyn Profiles>>,
    /// Locked before all others, these from the top down.
    sources: Mutex<Sources>,
    /// Told when keys may have to be fetched earlier than was known.
    wanted: Notify,
    /// Told when a fetch has ended, well or not.
    fetched: Notify,
    /// Places of those who wait for that.
    waiters: Arc<Semaphore>,
}

/// The beginning of what a credential is shown for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    Request,
    /// A session, whose client may name itself in its first message: browsers can send no header
    /// with a WebSocket.
    Session,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(inner) = &self.0 else { return f.write_str("Auth(nobody)") };
        let settings = inner.settings();
        f.debug_struct("Auth").field("verifier", &settings.verifier).finish_non_exhaustive()
    }
}

impl Auth {
    /// True if somebody may be told apart, or rules say who may do what.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// True if cookies may tell who sends a request.
    pub fn has_cookie(&self) -> bool {
        self.is_so(|settings| {
            settings.cookie.is_some()
                || settings.forward.as_ref().is_some_and(Forward::takes_cookies)
                || settings.asks_about(&COOKIE)
        })
    }

    /// True if rules say who may do what.
    pub fn has_rules(&self) -> bool {
        self.is_so(|settings| settings.grants.is_some())
    }

    /// True if there is something that not everybody may do.
    pub fn refuses_anybody(&self) -> bool {
        self.is_so(|settings| settings.refuses_anonymous || settings.grants.is_some())
    }

    fn is_so(&self, is_so: impl FnOnce(&Settings) -> bool) -> bool {
        self.0.as_ref().is_some_and(|inner| is_so(&inner.settings.read()))
    }

    /// Takes other settings, rules and keys, from one moment to the next. What is not a setting
    /// stays: tickets, and the key that seals cursors.
    ///
    /// # Errors
    /// Whether anybody is told apart at all cannot change.
    pub(crate) fn replace(&self, new: &Auth) -> Result<(), AuthError> {
        match (&self.0, &new.0) {
            (Some(inner), Some(new)) if Arc::ptr_eq(inner, new) => Ok(()),
            (Some(inner), Some(new)) => {
                inner.take_settings(new);
                Ok(())
            }
            (None, None) => Ok(()),
            (None, Some(_)) => Err(AuthError::new(
                "[auth]",
                "the server was started without [auth] and [[rule]]; restart it to tell clients apart",
            )),
            (Some(_), None) => Err(AuthError::new(
                "[auth]",
                "there is neither [auth] nor [[rule]] any more; restart the server to let everybody in",
            )),
        }
    }

    /// Takes the credential out of a request's head. A query is left without it, so that nothing
    /// else ever sees it, not even an error.
    pub(crate) fn take<B>(&self, request: &mut Request<B>) -> Result<Option<Shown>, Problem> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let settings = inner.settings();
        let (cookie, query_token) = (settings.cookie.as_deref(), settings.query_token);
        let places = Places { cookie, query_token };
        let query = request.uri().query();
        let found = match Shown::find(request.headers(), query, places) {
            // It may be one that somebody else knows.
            Err(ShownError::Scheme(_)) if settings.asks_about(&AUTHORIZATION) => {
                let without = without_authorization(request.headers());
                Shown::find(&without, query, places)
            }
            found => found,
        };
        let (shown, rest) = match found {
            Ok((shown, rest)) => (Ok(shown), rest.map(Cow::into_owned)),
            Err(error) => (Err(problems::not_told(&error)), None),
        };
        if request.uri().query() != rest.as_deref() {
            set_query(request.uri_mut(), rest.as_deref());
            if let Some(OriginalUri(uri)) = request.extensions_mut().get_mut() {
                set_query(uri, rest.as_deref());
            }
        }
        shown
    }

    /// Rights to nothing, for requests that are for everybody.
    pub(crate) fn nobody(&self) -> Option<Rights> {
        self.0.as_ref().map(Rights::to_nothing)
    }

    /// Seals cursors with a key that lasts. Without one, it is good for this run only.
    pub(crate) fn seal_with(&self, key: [u8; 16]) {
        if let Some(inner) = &self.0 {
            inner.seal.get_or_init(|| Seal::new(key));
        }
    }

    /// Has profiles read by the reader that `make` makes, from now on.
    pub(crate) fn read_profiles_by(&self, make: impl FnOnce() -> Arc<dyn Profiles>) {
        if let Some(inner) = &self.0 {
            inner.profiles.get_or_init(make);
        }
    }

    /// The path of the revocations in the tree.
    pub(crate) fn revoked_at(&self) -> Option<Path> {
        self.0.as_ref()?.settings.read().revoked_at.clone()
    }

    /// True if the revocations at a path are known as they are in the state that a cursor names.
    pub(crate) fn knows_revoked(&self, path: &Path, at: Cursor) -> bool {
        !self.is_so(|settings| {
            settings.revoked_at.as_ref() == Some(path) && settings.revoked.read().read != Some(at)
        })
    }

    /// Takes the revocations at a path as they are in that state.
    pub(crate) fn set_revoked(&self, path: &Path, revoked: Revoked, at: Cursor) {
        let Some(inner) = &self.0 else { return };
        let settings = inner.settings();
        if settings.revoked_at.as_ref() == Some(path) {
            *settings.revoked.write() = Revocations { revoked, read: Some(at) };
        }
    }
}

impl Inner {
    fn new(settings: Settings, sources: Sources) -> Inner {
        Inner {
            generation: AtomicU64::new(settings.generation),
            settings: RwLock::new(Arc::new(settings)),
            verified: Mutex::default(),
            tickets: Mutex::default(),
            looks: Mutex::default(),
            seal: OnceLock::new(),
            profiles: OnceLock::new(),
            sources: Mutex::new(sources),
            wanted: Notify::new(),
            fetched: Notify::new(),
            waiters: Arc::new(Semaphore::new(keys::WAITERS_MAX)),
        }
    }

    /// A profile, as it is now. `None` where nobody reads profiles.
    fn me(&self, path: &Path) -> Option<Me> {
        Some(Me::new(self.profiles.get()?.clone().profile(path)))
    }

    fn seal(&self) -> &Seal {
        self.seal.get_or_init(|| Seal::new(new_key()))
    }

    /// A token to look as somebody with these claims, and the look.
    fn look(
        &self,
        settings: &Arc<Settings>,
        by: Bearer,
        claims: Identity,
    ) -> Result<(Secret, Look), Problem> {
        let random = random()?;
        let now = now_ms() / 1000;
        let look = self.looks.lock().begin(&random, settings, by, claims, now);
        look.ok_or_else(problems::too_many_looks)
    }

    /// A ticket for the URL of a stream or session, of an identity that was let in by these
    /// settings.
    fn ticket(&self, by: &Settings, bearer: &Bearer) -> Result<Secret, Problem> {
        let random = random()?;
        let mut tickets = self.tickets.lock();
        let bearer = self.settings().renew(bearer, by).map_err(reason)?;
        let ticket = tickets.issue(&random, bearer, now_ms() / 1000);
        ticket.ok_or_else(problems::too_many_tickets)
    }
}

/// Random bytes, of which somebody's secret is made.
fn random() -> Result<[u8; 32], Problem> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    Ok(random)
}

/// A random key.
///
/// # Panics
/// Panics if the operating system has no random numbers: without them, cursors could be read.
pub(crate) fn new_key() -> [u8; 16] {
    let mut key = [0; 16];
    getrandom::fill(&mut key).expect("the operating system gives random numbers");
    key
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The fields without `Authorization`.
fn without_authorization(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(AUTHORIZATION);
    headers
}

/// Gives a target another query.
fn set_query(uri: &mut Uri, query: Option<&str>) {
    let target = match query {
        Some(query) => format!("{}?{query}", uri.path()),
        None => uri.path().to_owned(),
    };
    let mut parts = std::mem::take(uri).into_parts();
    // A part of a query is one as well.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_gets_another_query_and_keeps_all_else() {
        for (before, query, after) in [
            ("/a?x=1", None, "/a"),
            ("/a?x=1&y", Some("y"), "/a?y"),
            ("http://h:1/a%20b?x", Some("z=%26"), "http://h:1/a%20b?z=%26"),
            ("/?x", None, "/"),
        ] {
            let mut uri = Uri::from_static(before);
            set_query(&mut uri, query);
            assert_eq!(uri.to_string(), after);
        }
    }
}
