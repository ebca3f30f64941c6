//! Identity: who shows a credential.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

/// Bytes of the claims of one identity, as JSON.
pub const CLAIMS_BYTES_MAX: usize = 16 * 1024;

/// Name of the key that let an identity in: of a key of an issuer, or of an API key. When the key
/// is gone, so are those whom it let in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyId(Arc<str>);

impl KeyId {
    pub(crate) fn new(text: String) -> KeyId {
        KeyId(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identity of who shows a credential. Clones are the same identity, and cost nothing.
///
/// ```
/// use halfping_credentials::Identity;
/// use serde_json::json;
///
/// let claims = json!({ "sub": "u1", "roles": ["writer"] });
/// let identity = Identity::new(claims.as_object().unwrap().clone())?;
/// assert_eq!(identity.subject(), Some("u1"));
/// assert_eq!(identity.claims()["roles"][0], "writer");
/// assert_eq!(identity.expires(), None);
/// # Ok::<(), halfping_credentials::ClaimsTooLong>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Identity(Arc<Parts>);

#[derive(Clone, PartialEq, Debug, Default)]
struct Parts {
    claims: Map<String, Value>,
    token: TokenTimes,
    key: Option<KeyId>,
}

/// That of a token which is no claim of its bearer: its times, in seconds since 1970, and its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TokenTimes {
    pub(crate) expires: Option<u64>,
    pub(crate) issued_at: Option<u64>,
    pub(crate) jti: Option<String>,
}

/// Error of claims that are longer than [`CLAIMS_BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the claims are longer than {CLAIMS_BYTES_MAX} bytes")]
pub struct ClaimsTooLong;

impl Identity {
    /// An identity that no token speaks of, such as that of who shows nothing.
    pub fn new(claims: Map<String, Value>) -> Result<Identity, ClaimsTooLong> {
        Identity::of(Parts { claims, ..Parts::default() })
    }

    /// An identity of claims that somebody else vouches for. `exp`, `iat` and `jti` among them are
    /// not kept as claims: they are the times and the name of what it was told by, as of a token.
    ///
    /// ```
    /// use halfping_credentials::Identity;
    /// use serde_json::json;
    ///
    /// let claims = json!({ "sub": "u1", "exp": 1732371000 });
    /// let identity = Identity::vouched(claims.as_object().unwrap().clone())?;
    /// assert_eq!(identity.expires(), Some(1732371000));
    /// assert_eq!(identity.claims().len(), 1);
    /// # Ok::<(), halfping_credentials::ClaimsTooLong>(())
    /// ```
    pub fn vouched(mut claims: Map<String, Value>) -> Result<Identity, ClaimsTooLong> {
        let mut seconds = |name| {
            let time = claims.remove(name)?;
            // A time that cannot be read is over.
            Some(time.as_u64().or_else(|| time.as_f64().map(|time| time as u64)).unwrap_or(0))
        };
        let (expires, issued_at) = (seconds("exp"), seconds("iat"));
        let jti = claims.remove("jti").and_then(|jti| Some(jti.as_str()?.to_owned()));
        claims.remove("nbf");
        let token = TokenTimes { expires, issued_at, jti };
        Identity::of(Parts { claims, token, key: None })
    }

    /// The identity of whom a key let in.
    pub(crate) fn let_in(
        claims: Map<String, Value>,
        token: TokenTimes,
        key: KeyId,
    ) -> Result<Identity, ClaimsTooLong> {
        Identity::of(Parts { claims, token, key: Some(key) })
    }

    fn of(parts: Parts) -> Result<Identity, ClaimsTooLong> {
        let is_long = serde_json::to_vec(&parts.claims).is_ok_and(|it| it.len() > CLAIMS_BYTES_MAX);
        if is_long { Err(ClaimsTooLong) } else { Ok(Identity(Arc::new(parts))) }
    }

    /// The claims that the configuration keeps.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.0.claims
    }

    /// The claim `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.0.claims.get("sub").and_then(Value::as_str)
    }

    /// Seconds since 1970 at which its token expires.
    pub fn expires(&self) -> Option<u64> {
        self.0.token.expires
    }

    /// Seconds since 1970 at which its token was issued.
    pub fn issued_at(&self) -> Option<u64> {
        self.0.token.issued_at
    }

    /// The name of its token: `jti`.
    pub fn jti(&self) -> Option<&str> {
        self.0.token.jti.as_deref()
    }

    /// The key that let it in.
    pub fn key(&self) -> Option<&KeyId> {
        self.0.key.as_ref()
    }
}
