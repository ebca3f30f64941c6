//! Refusals of credentials, and of what an identity may not do. None of them repeats a credential.

use halfping_credentials::{REFUSED, Reason, Refusal, ShownError};
use halfping_engine::Path;
use halfping_rules::{Reads, Verb};

use super::authenticate::Unidentified;
use crate::problem::{Kind, Problem};

/// Names that a hint tells.
const NAMES_TOLD: usize = 8;
const SEND: &str = "send Authorization: Bearer TOKEN, or {\"auth\":TOKEN} in a session";

/// The problem of a request whose credentials cannot be told.
pub(super) fn not_told(error: &ShownError) -> Problem {
    let kind = match error {
        ShownError::Scheme(_) | ShownError::Authorization => Kind::Unauthorized,
        ShownError::QueryToken => Kind::BadParameter,
        _ => Kind::BadHeader,
    };
    Problem::new(kind, error.to_string())
}

/// The problem of a credential that is not good. All but two reasons look the same from outside.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    tracing::debug!(
        reason = refusal.reason.name(),
        issuer = refusal.issuer,
        "a credential is not good"
    );
    match refusal.reason {
        Reason::Expired => expired(),
        Reason::Revoked => revoked(),
        _ => not_good(),
    }
}

pub(super) fn not_good() -> Problem {
    Problem::new(Kind::Unauthorized, REFUSED)
        .hint("whoever runs the server finds the reason in its log, at level debug")
}

fn expired() -> Problem {
    Problem::new(Kind::TokenExpired, "the token has expired").hint("get another one, and send that")
}

pub(super) fn revoked() -> Problem {
    Problem::new(Kind::Revoked, "the token has been revoked").hint("sign in again")
}

/// The problem of an identity that is over.
pub(crate) fn reason(why: Kind) -> Problem {
    match why {
        Kind::Revoked => revoked(),
        Kind::Forbidden => changed(),
        _ => expired(),
    }
}

fn changed() -> Problem {
    Problem::new(Kind::Forbidden, "what this identity may do has changed")
        .hint("ask again, to get what may be had now")
}

/// The problem of a request whose sender an authenticator does not name.
pub(super) fn unidentified(why: &Unidentified) -> Problem {
    match why {
        Unidentified::Refused(challenge) => {
            let problem = not_good();
            match challenge {
                Some(challenge) => problem.challenge(challenge.clone()),
                None => problem,
            }
        }
        Unidentified::Forbidden => Problem::new(Kind::Forbidden, "this identity is not let in")
            .hint("whoever knows the identities here decides"),
        Unidentified::Unavailable(why) => {
            tracing::debug!("who sends a request cannot be found out: {why}");
            Problem::new(Kind::IdentityUnavailable, "who this is cannot be found out now")
                .hint("try again; whoever runs the server finds the reason in its log")
        }
    }
}

/// The problem of a request without a credential where one is wanted.
pub(super) fn not_shown() -> Problem {
    Problem::new(Kind::Unauthorized, "nobody gets in here without a credential").hint(SEND)
}

pub(super) fn too_many_tickets() -> Problem {
    Problem::new(Kind::TooManyTickets, "too many tickets are waiting to be used")
}

pub(super) fn too_many_looks() -> Problem {
    Problem::new(Kind::TooManyTickets, "too many are looking as somebody else")
        .hint("each look ends ten minutes after it began, at the latest")
}

/// The problem of who may not look as somebody else.
pub(super) fn no_look() -> Problem {
    Problem::new(Kind::Forbidden, "only who may read everything may look as somebody else")
        .hint("allow read of / to them, by [[rule]], and deny them nothing")
}

/// The problem of claims with which nobody can look.
pub(crate) fn no_claims(why: impl Into<String>) -> Problem {
    Problem::new(Kind::BadBody, why)
        .hint("send claims as a JSON object, such as {\"sub\":\"kim\",\"roles\":[\"support\"]}")
}

/// The problem of anything but reading, of who looks as somebody else.
pub(super) fn only_looks(path: &Path) -> Problem {
    Problem::new(Kind::Forbidden, format!("who looks as somebody else changes nothing at {path}"))
        .hint("show your own token to write")
}

/// The problem of something that rules do not allow: `is_known`: to an identity, not to nobody.
pub(super) fn not_allowed(is_known: bool, verb: Verb, path: &Path, reach: &Reads) -> Problem {
    let part = match reach {
        Reads::Part(part) => Some(part),
        _ => None,
    };
    let detail = match (is_known, part) {
        (true, None) => format!("this identity may not {verb} {path}"),
        (true, Some(_)) => format!("this identity may {verb} only parts of {path}"),
        (false, None) => format!("who may {verb} {path} has to be shown"),
        (false, Some(_)) => format!("without a credential one may {verb} only parts of {path}"),
    };
    let kind = if is_known { Kind::Forbidden } else { Kind::Unauthorized };
    let problem = Problem::new(kind, detail);
    let names: Vec<String> = part.map_or_else(Vec::new, |part| {
        part.names().take(NAMES_TOLD).map(|name| path.child(name).to_string()).collect()
    });
    match (is_known, names.is_empty()) {
        (_, false) => problem.hint(format!("there are {}", names.join(", "))),
        (true, true) => problem.hint("whoever runs the server decides by [[rule]]"),
        (false, true) => problem.hint(SEND),
    }
}

/// The problem of a write that rules do not allow for what it changes.
pub(super) fn not_so(is_known: bool, path: &Path) -> Problem {
    let (kind, who) = match is_known {
        true => (Kind::Forbidden, "this identity may not change"),
        false => (Kind::Unauthorized, "without a credential one may not change"),
    };
    Problem::new(kind, format!("{who} {path} in this way")).hint(
        "rules decide by what is there and by what would be there; `halfping rules try` tells \
         whoever runs the server which",
    )
}
