//! Identity: who shows a credential, and what the rules allow them.
//!
//! [`Auth`] is made from the configuration. The door asks it for the [`Rights`] of each request's
//! sender; sessions ask again when a client names itself. Signatures are verified here, outside of
//! any lock, and what was verified is remembered.

mod grants;
mod judge;
mod looks;
mod problems;
mod rights;
mod seal;
mod setup;
mod sight;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::OriginalUri;
use halfping_credentials::{Identity, Places, Revoked, Secret, Shown, Tickets, Verified, Verifier};
use halfping_engine::{Cursor, Path};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use parking_lot::{Mutex, RwLock};

use self::grants::Grants;
use self::looks::{Look, Looks};
pub(crate) use self::problems::{no_claims, reason};
use self::problems::{not_good, not_shown, revoked};
pub(crate) use self::rights::{Bound, Only, Rights};
use self::seal::Seal;
pub use self::setup::AuthError;
pub(crate) use self::sight::Sight;
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
    verifier: Verifier,
    /// True if nobody gets in without a credential.
    refuses_anonymous: bool,
    cookie: Option<String>,
    query_token: bool,
    expiry_grace_ms: u64,
    /// The path of the revocations.
    revoked_at: Option<Path>,
    revoked: RwLock<Revocations>,
    verified: Mutex<Verified>,
    tickets: Mutex<Tickets>,
    looks: Mutex<Looks>,
    /// Grants by the rules; `None` where there are no rules.
    grants: Option<Grants>,
    seal: OnceLock<Seal>,
}

/// Revocations, as they were read from the tree in the state that a cursor names.
#[derive(Default)]
struct Revocations {
    revoked: Revoked,
    read: Option<Cursor>,
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
        f.debug_struct("Auth").field("verifier", &inner.verifier).finish_non_exhaustive()
    }
}

impl Auth {
    /// True if somebody may be told apart, or rules say who may do what.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// True if tokens may be in a cookie.
    pub fn has_cookie(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.cookie.is_some())
    }

    /// True if rules say who may do what.
    pub fn has_rules(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.grants.is_some())
    }

    /// True if there is something that not everybody may do.
    pub fn refuses_anybody(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.refuses_anonymous || inner.grants.is_some())
    }

    /// Takes the credential out of a request's head. A query is left without it, so that nothing
    /// else ever sees it, not even an error.
    pub(crate) fn take<B>(&self, request: &mut Request<B>) -> Result<Option<Shown>, Problem> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let places = Places { cookie: inner.cookie.as_deref(), query_token: inner.query_token };
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
        shown: Option<Shown>,
        begin: Begin,
        timeout_ms: u64,
    ) -> Result<Option<Rights>, Problem> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let rights = match shown {
            None if inner.refuses_anonymous && begin == Begin::Request => return Err(not_shown()),
            None => inner.rights_of_nobody(timeout_ms),
            Some(Shown::Ticket(ticket)) => {
                let identity = inner.tickets.lock().redeem(ticket.reveal(), now_ms() / 1000);
                Rights::of(inner, inner.not_revoked(identity.ok_or_else(not_good)?)?)
            }
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

    /// The path of the revocations in the tree.
    pub(crate) fn revoked_at(&self) -> Option<&Path> {
        self.0.as_ref()?.revoked_at.as_ref()
    }

    /// True if the revocations are known as they are in the state that a cursor names.
    pub(crate) fn knows_revoked(&self, at: Cursor) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.revoked.read().read == Some(at))
    }

    /// Takes the revocations as they are in that state.
    pub(crate) fn set_revoked(&self, revoked: Revoked, at: Cursor) {
        if let Some(inner) = &self.0 {
            *inner.revoked.write() = Revocations { revoked, read: Some(at) };
        }
    }
}

impl Inner {
    /// The rights of whoever shows this, as a session names itself; of nobody, if it is none.
    fn rights_by(
        self: &Arc<Self>,
        token: Option<&Secret>,
        timeout_ms: u64,
    ) -> Result<Rights, Problem> {
        match token {
            Some(token) => self.rights_of(token),
            None => Ok(self.rights_of_nobody(timeout_ms)),
        }
    }

    fn rights_of(self: &Arc<Self>, credential: &Secret) -> Result<Rights, Problem> {
        if !looks::is_look(credential.reveal()) {
            return Ok(Rights::of(self, self.verify(credential)?));
        }
        let look = self.looks.lock().get(credential.reveal(), now_ms() / 1000);
        let look = look.ok_or_else(not_good)?;
        // Who looks still has to be somebody who may.
        Rights::of(self, self.not_revoked(look.by.clone())?).may_look()?;
        Ok(Rights::of_look(self, look))
    }

    fn rights_of_nobody(self: &Arc<Self>, timeout_ms: u64) -> Rights {
        match self.verifier.anonymous() {
            Some(anonymous) => Rights::of_anonymous(self, anonymous),
            None => Rights::to_nothing_until(self, now_ms().saturating_add(timeout_ms)),
        }
    }

    fn verify(&self, credential: &Secret) -> Result<Identity, Problem> {
        let now = now_ms() / 1000;
        let known = self.verified.lock().get(credential.reveal(), now);
        let identity = match known {
            Ok(identity) => identity,
            Err(miss) => {
                let verified = self.verifier.verify(credential.reveal(), now);
                let identity = verified.map_err(|refusal| problems::refused(&refusal))?;
                self.verified.lock().insert(miss, identity.clone());
                identity
            }
        };
        self.not_revoked(identity)
    }

    fn not_revoked(&self, identity: Identity) -> Result<Identity, Problem> {
        if self.is_revoked(&identity) { Err(revoked()) } else { Ok(identity) }
    }

    fn is_revoked(&self, identity: &Identity) -> bool {
        self.revoked_at.is_some() && self.revoked.read().revoked.has(identity)
    }

    fn seal(&self) -> &Seal {
        self.seal.get_or_init(|| Seal::new(new_key()))
    }

    /// A token to look as somebody with these claims, and the look.
    fn look(&self, by: Identity, claims: Identity) -> Result<(Secret, Look), Problem> {
        let look = self.looks.lock().begin(&random()?, by, claims, now_ms() / 1000);
        look.ok_or_else(problems::too_many_looks)
    }

    /// A ticket for the URL of a stream or session.
    fn ticket(&self, identity: Identity) -> Result<Secret, Problem> {
        let random = random()?;
        let ticket = self.tickets.lock().issue(&random, identity, now_ms() / 1000);
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
