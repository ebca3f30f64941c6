//! Auth, as it is made from its settings.

use std::io;
use std::sync::Arc;

use halfping_credentials::{AuthConfig, AuthConfigError, Issuer, KeySet, Source, Verifier};
use halfping_engine::{Limits, Path};
use halfping_rules::Rules;
use thiserror::Error;

use super::certificate::Certificates;
use super::grants::Grants;
use super::profiles::ProfilePath;
use super::settings::Settings;
use super::sources::{Sources, warn_of_left_out};
use super::{Auth, Inner};

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
    pub(super) fn new(setting: impl Into<String>, why: impl Into<String>) -> AuthError {
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
    /// no rules, everybody who gets in may do everything. Keys that issuers publish at URLs are not
    /// fetched here: see [`Api::keys_wanted`](crate::Api::keys_wanted). Who the settings of
    /// `[auth.forward]` ask has to be given to [`Auth::asking`].
    ///
    /// # Errors
    /// Names the setting, or the rule.
    pub fn new(
        config: &AuthConfig,
        rules: Rules,
        read: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Auth, AuthError> {
        let mut verifier = Verifier::new(config)?;
        for (place, issuer) in config.issuer.iter().enumerate() {
            let keys = keys(issuer, &read).map_err(|(setting, why)| {
                AuthError::new(format!("[[auth.issuer]] {}: {setting}", place + 1), why)
            })?;
            let Some(keys) = keys else { continue };
            warn_of_left_out(&issuer.issuer, &keys);
            verifier.set_keys(place, keys);
        }
        let at = |text: &String| Path::parse(text, &Limits::default());
        let revoked_at = config.revoked.as_ref().map(at).transpose();
        let revoked_at =
            revoked_at.map_err(|error| AuthError::new("[auth] revoked", error.to_string()))?;
        let profile = profile(config, &rules)?;
        let grants = (!rules.is_empty()).then(|| Arc::new(Grants::new(rules)));
        let certificates = config.client_cert.as_ref().map(|config| {
            let certificates = Certificates::new(config);
            certificates.map_err(|why| AuthError::new("[auth.client_cert] trusted", why))
        });
        let settings = Settings {
            cookie: config.cookie.clone(),
            query_token: config.query_token,
            expiry_grace_ms: config.expiry_grace_ms,
            revoked_at,
            revoked: Arc::default(),
            profile,
            forward: config.forward.clone(),
            certificates: certificates.transpose()?.map(Arc::new),
            grants,
            ..Settings::of(verifier)
        };
        Ok(Auth(Some(Arc::new(Inner::new(settings, Sources::of(&config.issuer))))))
    }
}

impl Settings {
    /// Settings that tell apart whom a verifier knows, and allow them everything.
    pub(super) fn of(verifier: Verifier) -> Settings {
        Settings {
            generation: 0,
            refuses_anonymous: verifier.anonymous().is_none(),
            verifier,
            cookie: None,
            query_token: false,
            expiry_grace_ms: 0,
            revoked_at: None,
            revoked: Arc::default(),
            profile: None,
            asked: None,
            forward: None,
            certificates: None,
            grants: None,
        }
    }
}

/// The keys of an issuer, but for those at a URL. The error names the setting.
fn keys(
    issuer: &Issuer,
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Option<KeySet>, (&'static str, String)> {
    let read = |setting, name| {
        read(name).map_err(|error| (setting, format!("{name} cannot be read: {error}")))
    };
    match issuer.source() {
        Some(Source::File(name)) => {
            let text = String::from_utf8(read("file", name)?)
                .map_err(|_| ("file", format!("{name} is not UTF-8")))?;
            let keys = KeySet::parse(&issuer.issuer, &text);
            keys.map(Some).map_err(|error| ("file", format!("{name}: {error}")))
        }
        Some(Source::Secret(name)) => {
            let secret = read("secret_file", name)?;
            let keys = KeySet::of_secret(&issuer.issuer, &secret, &issuer.algorithms);
            keys.map(Some).map_err(|error| ("secret_file", format!("{name}: {error}")))
        }
        Some(Source::Url(_)) | None => Ok(None),
    }
}

/// The path of profiles, if rules speak of them.
fn profile(config: &AuthConfig, rules: &Rules) -> Result<Option<ProfilePath>, AuthError> {
    let path = config.profile.as_ref().map(|text| ProfilePath::parse(text));
    let path = path.transpose().map_err(|why| AuthError::new("[auth] profile", why))?;
    match (rules.speaks_of(&["me"]), path) {
        (None, _) => Ok(None),
        (Some(_), Some(path)) => Ok(Some(path)),
        (Some(number), None) => {
            let why = "`me` is the profile of whoever asks, and nothing says where profiles are: \
                       [auth] profile = \"/people/{claims.sub}\"";
            Err(AuthError::new(format!("[[rule]] {number}"), why))
        }
    }
}
