//! Auth, as it is made from its settings.

use std::io;
use std::sync::{Arc, OnceLock};

use halfping_credentials::{
    Anonymous, AuthConfig, AuthConfigError, Issuer, KeySet, Source, Verifier,
};
use halfping_engine::{Limits, Path};
use halfping_rules::Rules;
use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use super::grants::Grants;
use super::{Auth, Inner, Revocations};

/// Error of settings that [`Auth`] cannot be made from.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{setting}: {why}")]
pub struct AuthError {
    /// The setting that is wrong, such as `[[auth.issuer]] 2: algorithms`, or `[[rule]] 3`.
    pub setting: String,
    /// The reason.
    pub why: String,
}

impl AuthError {
    fn new(setting: impl Into<String>, why: impl Into<String>) -> AuthError {
        AuthError { setting: setting.into(), why: why.into() }
    }
}

impl From<AuthConfigError> for AuthError {
    fn from(error: AuthConfigError) -> AuthError {
        AuthError::new(error.setting, error.why)
    }
}

impl Auth {
    /// Checks settings and rules. `read` reads the files that the settings name. Where there are
    /// no rules, everybody who gets in may do everything.
    ///
    /// # Errors
    /// Names the setting, or the rule. Some settings are not in this version: keys from a URL, and
    /// profiles.
    pub fn new(
        config: &AuthConfig,
        rules: Rules,
        read: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Auth, AuthError> {
        let mut verifier = Verifier::new(config)?;
        if config.profile.is_some() {
            let why = "profiles are not read by this version; put what rules need into claims";
            return Err(AuthError::new("[auth] profile", why));
        }
        for (place, issuer) in config.issuer.iter().enumerate() {
            let keys = keys(issuer, &read).map_err(|(setting, why)| {
                AuthError::new(format!("[[auth.issuer]] {}: {setting}", place + 1), why)
            })?;
            for left_out in keys.left_out() {
                let (issuer, why) = (&issuer.issuer, &left_out.why);
                tracing::warn!(issuer, place = left_out.place, "a key is left out: {why}");
            }
            verifier.set_keys(place, keys);
        }
        let at = |text: &String| Path::parse(text, &Limits::default());
        let revoked_at = config.revoked.as_ref().map(at).transpose();
        let revoked_at =
            revoked_at.map_err(|error| AuthError::new("[auth] revoked", error.to_string()))?;
        kept(&rules)?;
        let grants = (!rules.is_empty()).then(|| Grants::new(rules));
        Ok(Auth(Some(Arc::new(Inner {
            verifier,
            refuses_anonymous: config.anonymous == Anonymous::Refused,
            cookie: config.cookie.clone(),
            query_token: config.query_token,
            expiry_grace_ms: config.expiry_grace_ms,
            revoked_at,
            revoked: RwLock::new(Revocations::default()),
            verified: Mutex::default(),
            tickets: Mutex::default(),
            looks: Mutex::default(),
            grants,
            seal: OnceLock::new(),
        }))))
    }
}

/// The keys of an issuer. The error names the setting.
fn keys(
    issuer: &Issuer,
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<KeySet, (&'static str, String)> {
    let read = |setting, name| {
        read(name).map_err(|error| (setting, format!("{name} cannot be read: {error}")))
    };
    match issuer.source() {
        Some(Source::File(name)) => {
            let text = String::from_utf8(read("file", name)?)
                .map_err(|_| ("file", format!("{name} is not UTF-8")))?;
            let keys = KeySet::parse(&issuer.issuer, &text);
            keys.map_err(|error| ("file", format!("{name}: {error}")))
        }
        Some(Source::Secret(name)) => {
            let secret = read("secret_file", name)?;
            let keys = KeySet::of_secret(&issuer.issuer, &secret, &issuer.algorithms);
            keys.map_err(|error| ("secret_file", format!("{name}: {error}")))
        }
        _ => Err((
            "jwks",
            "keys are not fetched by this version; save them, and name the file: file = \"jwks.json\""
                .to_owned(),
        )),
    }
}

/// Checks that rules decide by nothing that is not looked at here.
fn kept(rules: &Rules) -> Result<(), AuthError> {
    let Some(number) = rules.speaks_of(&["me"]) else { return Ok(()) };
    let why = "profiles (me) are not read by this version; put what rules need into claims";
    Err(AuthError::new(format!("[[rule]] {number}"), why))
}
