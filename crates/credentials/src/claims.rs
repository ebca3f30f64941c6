//! The claims of a token that say whether it is good: who made it, for whom, and when (RFC 7519,
//! 4.1).

use serde_json::{Map, Value};

use crate::encoding;
use crate::identity::TokenTimes;
use crate::reason::Reason;

/// Seconds by which the clocks of an issuer and of this server may differ.
pub const LEEWAY_SECONDS: u64 = 30;

/// The last second of the year 9999. A later time is a mistake, or milliseconds.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// The claims of a token.
pub(crate) struct Claims {
    all: Map<String, Value>,
    pub(crate) times: TokenTimes,
    not_before: Option<u64>,
}

impl Claims {
    /// Reads claims, and the form of those that are looked at here.
    pub(crate) fn read(payload: &[u8]) -> Result<Claims, Reason> {
        let all = encoding::object(payload).map_err(|_| Reason::Malformed)?;
        let time = |name| all.get(name).map(seconds).transpose();
        let text = |name| match all.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Reason::Malformed),
        };
        text("sub")?;
        let (expires, issued_at, not_before) = (time("exp")?, time("iat")?, time("nbf")?);
        let times = TokenTimes { expires, issued_at, jti: text("jti")? };
        Ok(Claims { all, times, not_before })
    }

    /// Issuer of the token, as it says.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.all.get("iss").and_then(Value::as_str)
    }

    /// Checks that the token was made for one of these.
    pub(crate) fn is_for(&self, audience: &[String]) -> Result<(), Reason> {
        let wanted =
            |name: &Value| name.as_str().is_some_and(|it| audience.iter().any(|a| a == it));
        let is_wanted = match self.all.get("aud") {
            None => false,
            Some(name @ Value::String(_)) => wanted(name),
            Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
                names.iter().any(wanted)
            }
            Some(_) => return Err(Reason::Malformed),
        };
        if is_wanted { Ok(()) } else { Err(Reason::Audience) }
    }

    /// Checks that the token is good at a time. One that never expires is not.
    pub(crate) fn is_good_at(&self, now: u64) -> Result<(), Reason> {
        let expires = self.times.expires.ok_or(Reason::Malformed)?;
        if now >= expires.saturating_add(LEEWAY_SECONDS) {
            return Err(Reason::Expired);
        }
        // One that is issued in the future would outlive every revocation until then.
        let begins = self.not_before.max(self.times.issued_at);
        match begins.is_some_and(|begins| begins > now.saturating_add(LEEWAY_SECONDS)) {
            true => Err(Reason::NotYet),
            false => Ok(()),
        }
    }

    /// The claims of these names, and `sub`, which names whom a revocation is about.
    pub(crate) fn keep(mut self, names: &[String]) -> (Map<String, Value>, TokenTimes) {
        self.all.retain(|name, _| name == "sub" || names.contains(name));
        (self.all, self.times)
    }
}

/// A NumericDate of RFC 7519: seconds since 1970, perhaps with a fraction, which is left out.
fn seconds(value: &Value) -> Result<u64, Reason> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    seconds.map(|seconds| seconds as u64).ok_or(Reason::Malformed)
}
