//! The keys of an issuer: a JWK set (RFC 7517, 5), or one secret.

use serde_json::Value;
use thiserror::Error;

use crate::algorithm::Algorithm;
use crate::encoding;
use crate::identity::KeyId;
use crate::jwk;
use crate::key::{Key, Material};

/// Bytes of the text of a set.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// Keys of a set.
pub const KEYS_MAX: usize = 100;
/// Keys that one token is tried with, where several fit.
pub const KEYS_TRIED_MAX: usize = 8;

/// The keys of an issuer that can be used, and the others with the reasons.
///
/// ```
/// use halfping_credentials::KeySet;
///
/// let text = r#"{"keys":[
///   {"kty":"OKP","crv":"Ed25519","kid":"new","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///   {"kty":"OKP","crv":"X25519","kid":"other","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}
/// ]}"#;
/// let keys = KeySet::parse("https://id.example.org/", text)?;
/// assert_eq!(keys.ids().count(), 1);
/// assert_eq!(keys.left_out()[0].kid.as_deref(), Some("other"));
/// # Ok::<(), halfping_credentials::KeySetError>(())
/// ```
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    left_out: Vec<LeftOut>,
}

/// Key of a set that cannot be used: something to warn of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// The place of the key in its set, from 1.
    pub place: usize,
    /// The name of the key.
    pub kid: Option<String>,
    /// The reason.
    pub why: String,
}

/// Error of a text that is no set of keys, or of a secret that is none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// [`KEY_SET_BYTES_MAX`].
    #[error("the set of keys is longer than {KEY_SET_BYTES_MAX} bytes")]
    TooLong,
    /// [`KEYS_MAX`].
    #[error("the set has more than {KEYS_MAX} keys")]
    TooMany,
    /// It is no JSON, or a member stands twice.
    #[error("the set of keys cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON of another form.
    #[error("a set of keys is an object with a list: {{\"keys\":[…]}}")]
    Form,
    /// A secret is shorter than an algorithm wants.
    #[error(
        "the secret has {bytes} bytes; {algorithm} wants at least {wanted} random ones, such as \
         those of `openssl rand -hex {wanted}`"
    )]
    Short {
        /// The bytes that it has.
        bytes: usize,
        /// The algorithm.
        algorithm: Algorithm,
        /// The bytes that the algorithm wants.
        wanted: usize,
    },
    /// An algorithm does not work with a secret.
    #[error("{0} wants a public key, not a secret: name 'jwks' or 'file'")]
    NoSecret(Algorithm),
    /// The secret is the text of a key that is no secret.
    #[error("this is a key in PEM or JSON, not a secret; public keys go into 'file', as a JWK set")]
    LooksPublic,
}

impl KeySet {
    /// Reads a JWK set. A key that cannot be used is left out, with the reason.
    pub fn parse(issuer: &str, text: &str) -> Result<KeySet, KeySetError> {
        if text.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let members = encoding::object(text.as_bytes())?;
        let jwks = members.get("keys").and_then(Value::as_array).ok_or(KeySetError::Form)?;
        if jwks.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut set = KeySet::default();
        for (place, jwk) in (1..).zip(jwks) {
            match jwk::read(issuer, jwk) {
                Ok(key) => set.keys.push(key),
                Err(why) => {
                    let kid = jwk::kid(jwk).map(str::to_owned);
                    set.left_out.push(LeftOut { place, kid, why });
                }
            }
        }
        Ok(set)
    }

    /// Makes a set of one secret. A line end behind it, as editors write it, is not part of it. It
    /// has to be long enough for each of the algorithms.
    pub fn of_secret(
        issuer: &str,
        secret: &[u8],
        algorithms: &[Algorithm],
    ) -> Result<KeySet, KeySetError> {
        let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.starts_with(b"-----BEGIN") || secret.starts_with(b"{") {
            return Err(KeySetError::LooksPublic);
        }
        for &algorithm in algorithms {
            let wanted = algorithm.secret_bytes_min().ok_or(KeySetError::NoSecret(algorithm))?;
            if secret.len() < wanted {
                return Err(KeySetError::Short { bytes: secret.len(), algorithm, wanted });
            }
        }
        let key = Key::new(issuer, None, algorithms, Material::Secret(secret.to_vec()));
        Ok(KeySet { keys: key.into_iter().collect(), left_out: Vec::new() })
    }

    /// The keys that cannot be used.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The names of the keys that can be used.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().map(|key| &key.id)
    }

    /// True if another set has the same keys, by the same names and in the same order.
    pub fn is_same(&self, other: &KeySet) -> bool {
        let is_same = |(one, other): (&Key, &Key)| one.is_same(other);
        self.keys.len() == other.keys.len() && self.keys.iter().zip(&other.keys).all(is_same)
    }

    /// The keys that a newer set does not have any more. A key that stands there under another
    /// `kid` is the same key; another key under the same `kid` is not.
    pub fn gone(&self, newer: &KeySet) -> Vec<KeyId> {
        let is_gone = |id: &&KeyId| newer.ids().all(|newer| newer != *id);
        self.ids().filter(is_gone).cloned().collect()
    }

    /// The keys that a token may have been signed with: those of the name that it gives, or else
    /// those without a name; if it gives none, all. Of these, those for its algorithm, and no more
    /// than [`KEYS_TRIED_MAX`].
    pub(crate) fn fitting(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &Key> {
        let named = kid.filter(|_| self.has(kid));
        let fits = move |key: &&Key| match kid {
            None => true,
            Some(_) => key.kid.as_deref() == named,
        };
        let is_for = move |key: &&Key| key.is_for(algorithm);
        self.keys.iter().filter(fits).filter(is_for).take(KEYS_TRIED_MAX)
    }

    /// True if a key has this name.
    pub(crate) fn has(&self, kid: Option<&str>) -> bool {
        kid.is_some() && self.keys.iter().any(|key| key.kid.as_deref() == kid)
    }
}
