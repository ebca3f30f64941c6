//! Settings of `[auth.forward]`: a service that is asked who sent a request.

use std::collections::BTreeMap;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};

/// Most time that an answer may take, and for which it may be believed.
const TIMEOUT_MS_MAX: u64 = 60_000;
const KEPT_MS_MAX: u64 = 86_400_000;
/// Fields that say nothing of who asks, or that belong to the connection between the two.
const NEVER_FORWARDED: &[&str] = &[
    "client-cert",
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Settings of `[auth.forward]`: a service that is asked who sent a request, as `auth_request` of
/// nginx and `forward_auth` of Caddy and Traefik do.
#[derive(Clone, PartialEq, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Forward {
    /// URL that is asked, by `GET`.
    pub url: String,
    /// Fields of the request that are shown to it. A request with none of them is of nobody, and is
    /// not asked about.
    pub headers: Vec<String>,
    /// Milliseconds that an answer may take.
    pub timeout_ms: u64,
    /// Milliseconds for which an answer is good for requests with equal fields.
    pub cache_ms: u64,
    /// Milliseconds for which streams and sessions go on while the service does not answer.
    pub stale_ms: u64,
    /// Claims that are kept of its answer. Left out, all are. `sub` is always kept.
    pub claims: Option<Vec<String>>,
    /// Field of its answer with the claim `sub`, such as `X-Auth-Subject`.
    pub subject: Option<String>,
    /// Claims that are lists, each with the field of its answer that has it: `a, b`.
    pub lists: BTreeMap<String, String>,
}

impl Default for Forward {
    fn default() -> Forward {
        Forward {
            url: String::new(),
            headers: vec![AUTHORIZATION.to_string(), COOKIE.to_string()],
            timeout_ms: 2_000,
            cache_ms: 10_000,
            stale_ms: 600_000,
            claims: None,
            subject: None,
            lists: BTreeMap::new(),
        }
    }
}

impl Forward {
    /// True if cookies are shown to it, which browsers add to what any page sends.
    pub fn takes_cookies(&self) -> bool {
        self.headers.iter().any(|name| name.eq_ignore_ascii_case(COOKIE.as_str()))
    }

    /// Checks all of it. The error has the name of the setting.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        check_url(&self.url).map_err(|why| ("url", why))?;
        if self.headers.is_empty() {
            let why = "say which fields tell who asks, such as [\"authorization\", \"cookie\"]";
            return Err(("headers", why.to_owned()));
        }
        for name in &self.headers {
            check_field(name).map_err(|why| ("headers", why))?;
            if NEVER_FORWARDED.iter().any(|never| name.eq_ignore_ascii_case(never)) {
                return Err(("headers", format!("{name:?} cannot be passed on")));
            }
        }
        if let Some(name) = &self.subject {
            check_field(name).map_err(|why| ("subject", why))?;
        }
        for name in self.lists.values() {
            check_field(name).map_err(|why| ("lists", why))?;
        }
        if !(1..=TIMEOUT_MS_MAX).contains(&self.timeout_ms) {
            return Err(("timeout_ms", format!("it is from 1 to {TIMEOUT_MS_MAX}")));
        }
        for (name, ms) in [("cache_ms", self.cache_ms), ("stale_ms", self.stale_ms)] {
            if ms > KEPT_MS_MAX {
                return Err((name, format!("it is at most {KEPT_MS_MAX}")));
            }
        }
        Ok(())
    }
}

fn check_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("say which URL is asked, such as \"http://127.0.0.1:9000/check\"".to_owned());
    }
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    match uri.scheme_str() {
        Some("http" | "https") if authority.contains('@') => {
            Err("the URL has no user and no password".to_owned())
        }
        Some("http" | "https") => Ok(()),
        _ => Err(format!("{url:?} has to begin with http:// or https://")),
    }
}

fn check_field(name: &str) -> Result<(), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    parsed.map(drop).map_err(|_| format!("{name:?} is no name of a header field"))
}
