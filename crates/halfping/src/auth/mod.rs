//! Identity: who shows a credential, and what the rules allow them.
//!
//! [`Auth`] is made from the configuration. The door asks it for the [`Rights`] of each request's
//! sender; sessions ask again when a client names itself. Signatures are verified here, outside of
//! any lock, and what was verified is remembered.

mod grants;
mod judge;
mod keys;
mod looks;
mod problems;
mod profiles;
mod rights;
mod seal;
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
use halfping_credentials::{Identity, Places, Revoked, Secret, Shown, Tickets, Verified};
use halfping_engine::{Cursor, Path};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

pub(crate) use self::keys::Took;
pub use self::keys::{KeysFetched, KeysWanted};
use self::looks::{Look, Looks};
pub(crate) use self::problems::{no_claims, reason};
use self::problems::{not_good, not_shown, revoked};
use self::profiles::Me;
pub(crate) use self::profiles::{Profile, Profiles};
pub(crate) use self::rights::{Bound, Only, Rights, Standing};
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
    tickets: Mutex<Tickets>,
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

    /// True if tokens may be in a cookie.
    pub fn has_cookie(&self) -> bool {
        self.is_so(|settings| settings.cookie.is_some())
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
        let (shown, rest) = match Shown::find(request.headers(), query, places) {
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

    /// The rights of who shows this credential, or none. `None` if nobody is told apart here.
    pub(crate) fn rights(
        &self,
        shown: Option<&Shown>,
        begin: Begin,
        timeout_ms: u64,
    ) -> Result<Option<Rights>, Problem> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let rights = match shown {
            None => {
                let settings = inner.settings();
                if settings.refuses_anonymous && begin == Begin::Request {
                    return Err(not_shown());
                }
                inner.rights_of_nobody(&settings, timeout_ms)
            }
            Some(Shown::Ticket(ticket)) => inner.redeem(ticket)?,
            Some(shown) => inner.rights_of(shown.secret())?,
        };
        Ok(Some(rights))
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

    /// The rights of whoever shows this, as a session names itself; of nobody, if it is none.
    fn rights_by(
        self: &Arc<Self>,
        token: Option<&Secret>,
        timeout_ms: u64,
    ) -> Result<Rights, Problem> {
        match token {
            Some(token) => self.rights_of(token),
            None => Ok(self.rights_of_nobody(&self.settings(), timeout_ms)),
        }
    }

    /// The rights of whoever shows this, which may be the token of a look.
    fn rights_of(self: &Arc<Self>, credential: &Secret) -> Result<Rights, Problem> {
        if !looks::is_look(credential.reveal()) {
            return self.verify(credential);
        }
        let look = self.looks.lock().get(credential.reveal(), now_ms() / 1000);
        let look = look.ok_or_else(not_good)?;
        // Who looks still has to be somebody who may, by the settings of this moment.
        let settings = self.settings();
        let by = settings.verifier.renew(&look.by, &look.settings.verifier);
        let by = by.ok_or_else(revoked)?;
        self.let_in(&settings, by.clone())?.may_look()?;
        Ok(Rights::of_look(self, &settings, Look { by, ..look }))
    }

    fn rights_of_nobody(self: &Arc<Self>, settings: &Arc<Settings>, timeout_ms: u64) -> Rights {
        match settings.verifier.anonymous() {
            Some(anonymous) => Rights::of_anonymous(self, settings, anonymous),
            None => Rights::to_nothing_until(self, settings, now_ms().saturating_add(timeout_ms)),
        }
    }

    /// The rights of whom a token or an API key is of, by the settings that it is verified with.
    fn verify(self: &Arc<Self>, credential: &Secret) -> Result<Rights, Problem> {
        let now = now_ms() / 1000;
        let (known, settings) = {
            let mut verified = self.verified.lock();
            (verified.get(credential.reveal(), now), self.settings())
        };
        let identity = match known {
            Ok(identity) => identity,
            Err(miss) => {
                let verified = settings.verifier.verify(credential.reveal(), now);
                let identity = verified.map_err(|refusal| problems::refused(&refusal))?;
                self.verified.lock().insert(miss, identity.clone());
                identity
            }
        };
        self.let_in(&settings, identity)
    }

    /// The rights of whom a ticket is of. It is good no longer.
    fn redeem(self: &Arc<Self>, ticket: &Secret) -> Result<Rights, Problem> {
        let (identity, settings) = {
            let mut tickets = self.tickets.lock();
            (tickets.redeem(ticket.reveal(), now_ms() / 1000), self.settings())
        };
        self.let_in(&settings, identity.ok_or_else(not_good)?)
    }

    /// The rights of an identity, unless it is revoked.
    fn let_in(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        identity: Identity,
    ) -> Result<Rights, Problem> {
        match settings.is_revoked(&identity) {
            true => Err(revoked()),
            false => Ok(Rights::of(self, settings, identity)),
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
        by: Identity,
        claims: Identity,
    ) -> Result<(Secret, Look), Problem> {
        let random = random()?;
        let now = now_ms() / 1000;
        let look = self.looks.lock().begin(&random, settings, by, claims, now);
        look.ok_or_else(problems::too_many_looks)
    }

    /// A ticket for the URL of a stream or session, of an identity that was let in by these
    /// settings.
    fn ticket(&self, by: &Settings, identity: &Identity) -> Result<Secret, Problem> {
        let random = random()?;
        let mut tickets = self.tickets.lock();
        let identity = self.settings().verifier.renew(identity, &by.verifier);
        let ticket = tickets.issue(&random, identity.ok_or_else(revoked)?, now_ms() / 1000);
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
