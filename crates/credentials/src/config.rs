//! Settings of `[auth]`: whose tokens are believed, and where they may be. Files and URLs are named
//! here; whoever reads them hands over their texts.

mod certificate;
mod forward;

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::algorithm::Algorithm;
use crate::identity::Identity;

pub use self::certificate::{ClientCert, KnownCert};
pub use self::forward::Forward;

/// Settings of `[auth]`.
///
/// ```
/// use halfping_credentials::{AuthConfig, Verifier};
///
/// let config: AuthConfig = toml::from_str(
///     r#"
///     cookie = "halfping"
///
///     [[issuer]]
///     issuer = "https://id.example.org/"
///     audience = ["halfping"]
///     jwks = "https://id.example.org/.well-known/jwks.json"
///     algorithms = ["ES256", "EdDSA"]
///     claims = ["sub", "roles"]
///     "#,
/// )?;
/// let verifier = Verifier::new(&config)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Claims of who shows no credential. Left out, there are none.
    pub anonymous: Anonymous,
    /// Path of the profile of an identity, such as `/people/{claims.sub}`: `me` in conditions.
    pub profile: Option<String>,
    /// Path of the revocations.
    pub revoked: Option<String>,
    /// Milliseconds for which a session goes on after its token has expired.
    pub expiry_grace_ms: u64,
    /// Name of a cookie that tokens may be in.
    pub cookie: Option<String>,
    /// True if tokens may be in URLs of streams and handshakes: `?access_token=`.
    pub query_token: bool,
    /// Those who make tokens: `[[auth.issuer]]`.
    pub issuer: Vec<Issuer>,
    /// API keys: `[[auth.key]]`.
    pub key: Vec<ApiKey>,
    /// Service that is asked who sent a request: `[auth.forward]`. Whoever has the settings asks it.
    pub forward: Option<Forward>,
    /// Proxies that say which certificate a client has: `[auth.client_cert]`.
    pub client_cert: Option<ClientCert>,
}

/// Identity of who shows no credential.
#[derive(Clone, PartialEq, Debug)]
pub enum Anonymous {
    /// Somebody with these claims.
    Claims(Map<String, Value>),
    /// Nobody gets in without a credential: `false`.
    Refused,
}

impl Default for Anonymous {
    fn default() -> Anonymous {
        Anonymous::Claims(Map::new())
    }
}

/// One who makes tokens.
#[derive(Clone, PartialEq, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Issuer {
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// The claim `aud` has to have one of these.
    pub audience: Vec<String>,
    /// URL of its keys, as a JWK set.
    pub jwks: Option<String>,
    /// File of its keys, as a JWK set.
    pub file: Option<String>,
    /// File of the secret that it shares with this server.
    pub secret_file: Option<String>,
    /// Algorithms that it may use. There is no default: it has to be said.
    pub algorithms: Vec<Algorithm>,
    /// Claims that are kept of a token. `sub` is always kept.
    pub claims: Vec<String>,
}

/// An API key, of which the configuration has only the hash.
#[derive(Clone, PartialEq, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKey {
    /// SHA-256 of the key, as 64 hexadecimal digits.
    pub sha256: String,
    /// Claims of whoever shows it.
    pub claims: Map<String, Value>,
}

/// Place where the keys of an issuer are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source<'c> {
    /// URL of a JWK set, for [`Refresh`](crate::Refresh).
    Url(&'c str),
    /// File of a JWK set, for [`KeySet::parse`](crate::KeySet::parse).
    File(&'c str),
    /// File of a secret, for [`KeySet::of_secret`](crate::KeySet::of_secret).
    Secret(&'c str),
}

/// Error of a setting, with its name.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{setting}: {why}")]
pub struct AuthConfigError {
    /// The setting, such as `[[auth.issuer]] 2: algorithms`.
    pub setting: String,
    /// The reason.
    pub why: String,
}

impl AuthConfigError {
    pub(crate) fn new(setting: impl Into<String>, why: impl Into<String>) -> AuthConfigError {
        AuthConfigError { setting: setting.into(), why: why.into() }
    }
}

impl AuthConfig {
    /// Checks all but API keys.
    pub(crate) fn check(&self) -> Result<(), AuthConfigError> {
        let error =
            |name: &str, why: &str| Err(AuthConfigError::new(format!("[auth] {name}"), why));
        for (name, path) in [("profile", &self.profile), ("revoked", &self.revoked)] {
            if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                return error(name, "a path begins with '/'");
            }
        }
        if self.cookie.as_ref().is_some_and(|name| !is_cookie_name(name)) {
            return error("cookie", "the name of a cookie is letters, digits, '-', '_' and '.'");
        }
        if let Anonymous::Claims(claims) = &self.anonymous
            && let Err(long) = Identity::new(claims.clone())
        {
            return error("anonymous", &long.to_string());
        }
        if let Some(forward) = &self.forward {
            let fault = |(name, why)| AuthConfigError::new(format!("[auth.forward] {name}"), why);
            forward.check().map_err(fault)?;
        }
        if let Some(certificate) = &self.client_cert {
            certificate.check().map_err(|(name, why)| match name.starts_with('[') {
                true => AuthConfigError::new(name, why),
                false => AuthConfigError::new(format!("[auth.client_cert] {name}"), why),
            })?;
        }
        for (place, issuer) in self.issuer.iter().enumerate() {
            let fault = |(name, why): (&str, String)| {
                AuthConfigError::new(format!("[[auth.issuer]] {}: {name}", place + 1), why)
            };
            issuer.check().map_err(fault)?;
            if self.issuer[..place].iter().any(|other| other.issuer == issuer.issuer) {
                return Err(fault(("issuer", format!("{:?} is there already", issuer.issuer))));
            }
        }
        Ok(())
    }
}

impl Issuer {
    /// The place where its keys are. `None` unless exactly one is named.
    pub fn source(&self) -> Option<Source<'_>> {
        match (&self.jwks, &self.file, &self.secret_file) {
            (Some(url), None, None) => Some(Source::Url(url)),
            (None, Some(file), None) => Some(Source::File(file)),
            (None, None, Some(file)) => Some(Source::Secret(file)),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.issuer.is_empty() {
            return Err(("issuer", "say which 'iss' its tokens have".to_owned()));
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            let why = "say which 'aud' tokens for this server have, such as [\"halfping\"]";
            return Err(("audience", why.to_owned()));
        }
        let Some(source) = self.source() else {
            return Err(("jwks", "name one of 'jwks', 'file' and 'secret_file'".to_owned()));
        };
        if let Source::Url(url) = source {
            check_url(url).map_err(|why| ("jwks", why))?;
        }
        if self.algorithms.is_empty() {
            return Err(("algorithms", "say which it uses, such as [\"ES256\"]".to_owned()));
        }
        for algorithm in &self.algorithms {
            let is_secret = algorithm.secret_bytes_min().is_some();
            let why = match source {
                Source::Url(_) if is_secret => "wants a secret, which nobody publishes at a URL",
                Source::Secret(_) if !is_secret => "wants a public key: name 'jwks' or 'file'",
                _ => continue,
            };
            return Err(("algorithms", format!("{algorithm} {why}")));
        }
        Ok(())
    }
}

/// Checks a URL of keys: nobody on the way may change what comes from there.
fn check_url(url: &str) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err("a URL of keys has no user and no password".to_owned());
    }
    let is_loopback = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback => Ok(()),
        _ => Err(format!("{url:?} has to begin with https://, unless it is on this machine")),
    }
}

fn is_cookie_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(is_letter)
}

impl<'de> Deserialize<'de> for Anonymous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Anonymous, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(false) => Ok(Anonymous::Refused),
            Value::Object(claims) => Ok(Anonymous::Claims(claims)),
            _ => Err(D::Error::custom("it is false, or a table of claims such as {}")),
        }
    }
}
