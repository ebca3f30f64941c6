//! Reasons why a credential is refused: for logs and metrics. Who showed it is told none of them.

use std::fmt;

/// The text that everybody is told whose credential is refused, whatever the reason is.
pub const REFUSED: &str = "the credential is not valid here";

/// Reason why a credential is refused.
///
/// ```
/// use halfping_credentials::Reason;
///
/// assert_eq!(Reason::NotYet.name(), "not-yet");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Its time is over.
    Expired,
    /// No key that fits verifies its signature.
    Signature,
    /// Nobody of that name is trusted here.
    Issuer,
    /// It was made for somebody else.
    Audience,
    /// Its algorithm is not one of those that its issuer may use.
    Algorithm,
    /// It is no token, or one that says something twice, or in a wrong form.
    Malformed,
    /// Its time has not come.
    NotYet,
    /// No key of its issuer has the name that it gives, or it is an API key that is unknown.
    UnknownKey,
    /// It is longer than [`TOKEN_BYTES_MAX`](crate::TOKEN_BYTES_MAX).
    TooLong,
    /// It was revoked.
    Revoked,
}

impl Reason {
    /// The name of the reason, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Expired => "expired",
            Reason::Signature => "signature",
            Reason::Issuer => "issuer",
            Reason::Audience => "audience",
            Reason::Algorithm => "algorithm",
            Reason::Malformed => "malformed",
            Reason::NotYet => "not-yet",
            Reason::UnknownKey => "unknown-key",
            Reason::TooLong => "too-long",
            Reason::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Refusal of a credential. Its [`Display`](fmt::Display) is [`REFUSED`], so that nobody is told
/// more by accident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The place of the issuer among those of the configuration, from 0, once it is known.
    pub issuer: Option<usize>,
    /// The name of a key that its issuer may have made since the keys were fetched: a case for
    /// [`Refresh::unknown`](crate::Refresh::unknown). It is empty where the token names none.
    pub unknown_kid: Option<Box<str>>,
}

impl Refusal {
    pub(crate) fn by(issuer: usize) -> impl Fn(Reason) -> Refusal {
        move |reason| Refusal { issuer: Some(issuer), ..Refusal::from(reason) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal { reason, issuer: None, unknown_kid: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REFUSED)
    }
}

impl std::error::Error for Refusal {}
