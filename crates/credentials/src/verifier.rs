//! The owner of a credential: one answer from the configuration and the keys of the moment.

use std::fmt;
use std::sync::Arc;

use crate::api_key::{self, ApiKeys};
use crate::claims::Claims;
use crate::config::{Anonymous, AuthConfig, AuthConfigError, Issuer};
use crate::identity::{Identity, KeyId, TokenTimes};
use crate::jws::Jws;
use crate::key_set::KeySet;
use crate::reason::{Reason, Refusal};
use crate::secret::Digest;

/// Bytes of a token or an API key.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// Verifier of tokens and API keys. It is not changed by verifying, so nothing has to be locked
/// for the time that a signature takes: clones share all, and cost nothing.
///
/// ```
/// use halfping_credentials::{AuthConfig, KeySet, Reason, Verifier};
///
/// let config: AuthConfig = toml::from_str(
///     r#"
///     [[issuer]]
///     issuer = "https://id.example.org/"
///     audience = ["halfping"]
///     file = "jwks.json"
///     algorithms = ["EdDSA"]
///     "#,
/// )?;
/// let mut verifier = Verifier::new(&config)?;
/// let text = r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#; // of jwks.json
/// verifier.set_keys(0, KeySet::parse(&config.issuer[0].issuer, text)?);
/// let refusal = verifier.verify("no token", 1_732_371_000).unwrap_err();
/// assert_eq!(refusal.reason, Reason::Malformed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    issuers: Vec<Trusted>,
    api_keys: Arc<ApiKeys>,
    anonymous: Option<Identity>,
}

/// An issuer, with its keys.
#[derive(Clone)]
struct Trusted {
    config: Arc<Issuer>,
    keys: Arc<KeySet>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers = self.issuers.iter().map(|issuer| (&issuer.config.issuer, &issuer.keys));
        f.debug_map().entries(issuers).finish()
    }
}

impl Verifier {
    /// A verifier for a configuration. No issuer has keys yet.
    pub fn new(config: &AuthConfig) -> Result<Verifier, AuthConfigError> {
        config.check()?;
        let anonymous = match &config.anonymous {
            Anonymous::Claims(claims) => Identity::new(claims.clone()).ok(),
            Anonymous::Refused => None,
        };
        let trusted =
            |issuer: &Issuer| Trusted { config: Arc::new(issuer.clone()), keys: Arc::default() };
        let issuers = config.issuer.iter().map(trusted).collect();
        Ok(Verifier { issuers, api_keys: Arc::new(api_keys(config)?), anonymous })
    }

    /// The identity of who shows nothing. `None` if nobody gets in that way.
    pub fn anonymous(&self) -> Option<&Identity> {
        self.anonymous.as_ref()
    }

    /// Gives the issuer of a place its keys, instead of those that it has, and returns those of
    /// them that are gone. Whom these let in may not stay: end their sessions, and tell
    /// [`Verified::forget`](crate::Verified::forget).
    pub fn set_keys(&mut self, issuer: usize, keys: KeySet) -> Vec<KeyId> {
        let Some(trusted) = self.issuers.get_mut(issuer) else { return Vec::new() };
        let former = std::mem::replace(&mut trusted.keys, Arc::new(keys));
        former.gone(&trusted.keys)
    }

    /// The names of all keys that let somebody in, for a new configuration: whom others let in may
    /// not stay.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        let of_issuers = self.issuers.iter().flat_map(|issuer| issuer.keys.ids());
        of_issuers.chain(self.api_keys.ids())
    }

    /// The place of the issuer of a name, among those of the configuration.
    pub fn place(&self, issuer: &str) -> Option<usize> {
        self.issuers.iter().position(|trusted| trusted.config.issuer == issuer)
    }

    /// True if the issuer of a place has these keys already.
    pub fn has_keys(&self, issuer: usize, keys: &KeySet) -> bool {
        self.issuers.get(issuer).is_some_and(|trusted| trusted.keys.is_same(keys))
    }

    /// Gives the issuer of a name the keys that it had in a former verifier.
    pub fn keep_keys(&mut self, issuer: &str, former: &Verifier) {
        if let (Some(place), Some(former)) = (self.place(issuer), former.trusted(issuer)) {
            self.issuers[place].keys = former.keys.clone();
        }
    }

    /// The identity of somebody whom a verifier of former settings let in, as this one lets them
    /// in. `None` if it might not: their key is gone, or what their issuer may say is another
    /// thing now, so that they have to show their token again.
    pub fn renew(&self, identity: &Identity, former: &Verifier) -> Option<Identity> {
        let Some(key) = identity.key() else { return Some(identity.clone()) };
        if let Some(identity) = self.api_keys.of(key) {
            return Some(identity.clone());
        }
        let has_key = |trusted: &&Trusted| trusted.keys.ids().any(|id| id == key);
        let now = self.issuers.iter().find(has_key)?;
        let before = former.trusted(&now.config.issuer)?;
        let says = |it: &Trusted| {
            let Issuer { audience, algorithms, claims, .. } = &*it.config;
            (audience.clone(), algorithms.clone(), claims.clone())
        };
        (says(now) == says(before)).then(|| identity.clone())
    }

    /// The issuer of a token, and the name that the token gives of its key, if that issuer has no
    /// such key. The signature is not looked at. The name is empty where there is none.
    pub fn unknown_key(&self, credential: &str) -> Option<(&str, Box<str>)> {
        if credential.len() > TOKEN_BYTES_MAX || credential.starts_with(api_key::API_KEY_PREFIX) {
            return None;
        }
        let token = Jws::read(credential).ok()?;
        let claims = Claims::read(&token.payload).ok()?;
        let (trusted, kid) = (self.trusted(claims.issuer()?)?, token.kid.as_deref());
        let may_be_new =
            trusted.config.algorithms.contains(&token.algorithm) && !trusted.keys.has(kid);
        may_be_new.then(|| (&*trusted.config.issuer, kid.unwrap_or_default().into()))
    }

    fn trusted(&self, issuer: &str) -> Option<&Trusted> {
        self.issuers.iter().find(|trusted| trusted.config.issuer == issuer)
    }

    /// The identity of who shows a token or an API key at a time, in seconds since 1970. The caller
    /// checks that it is not [revoked](crate::Revoked).
    pub fn verify(&self, credential: &str, now: u64) -> Result<Identity, Refusal> {
        if credential.len() > TOKEN_BYTES_MAX {
            return Err(Reason::TooLong.into());
        }
        if let Some(identity) = self.api_keys.get(&Digest::of(credential.as_bytes())) {
            return Ok(identity.clone());
        }
        if credential.starts_with(api_key::API_KEY_PREFIX) {
            return Err(Reason::UnknownKey.into());
        }
        let token = Jws::read(credential)?;
        let claims = Claims::read(&token.payload)?;
        let issuer = claims.issuer().ok_or(Reason::Issuer)?;
        let place = self.place(issuer).ok_or(Reason::Issuer)?;
        self.issuers[place].verify(place, &token, claims, now)
    }
}

impl Trusted {
    /// The identity that a token of this issuer speaks of.
    fn verify(
        &self,
        place: usize,
        token: &Jws<'_>,
        claims: Claims,
        now: u64,
    ) -> Result<Identity, Refusal> {
        let refusal = Refusal::by(place);
        if !self.config.algorithms.contains(&token.algorithm) {
            return Err(refusal(Reason::Algorithm));
        }
        let kid = token.kid.as_deref();
        let mut keys = self.keys.fitting(kid, token.algorithm).peekable();
        let is_known = match kid {
            Some(_) => self.keys.has(kid),
            None => keys.peek().is_some(),
        };
        let Some(key) = keys.find(|key| token.is_signed_with(key)) else {
            let reason = if is_known { Reason::Signature } else { Reason::UnknownKey };
            // A key without a name may be new as well.
            let may_be_new = !is_known || kid.is_none();
            let unknown_kid = may_be_new.then(|| kid.unwrap_or_default().into());
            return Err(Refusal { unknown_kid, ..refusal(reason) });
        };
        claims.is_for(&self.config.audience).map_err(&refusal)?;
        claims.is_good_at(now).map_err(&refusal)?;
        let (claims, times) = claims.keep(&self.config.claims);
        Identity::let_in(claims, times, key.id.clone()).map_err(|_| refusal(Reason::TooLong))
    }
}

fn api_keys(config: &AuthConfig) -> Result<ApiKeys, AuthConfigError> {
    let mut keys = ApiKeys::default();
    for (place, key) in (1..).zip(&config.key) {
        let error = |name: &str, why: &str| {
            AuthConfigError::new(format!("[[auth.key]] {place}: {name}"), why)
        };
        let hash = Digest::parse(&key.sha256).ok_or_else(|| {
            error("sha256", "it is the SHA-256 of the key, as 64 hexadecimal digits")
        })?;
        let id = api_key::id(&hash);
        let identity = Identity::let_in(key.claims.clone(), TokenTimes::default(), id)
            .map_err(|long| error("claims", &long.to_string()))?;
        if !keys.add(hash, identity) {
            return Err(error("sha256", "the key is there already"));
        }
    }
    Ok(keys)
}
