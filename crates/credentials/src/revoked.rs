//! Revocations: a JSON document of whom and which tokens are not believed any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use thiserror::Error;

use crate::identity::Identity;

/// Revocations, as `{"sub":{"u1":1732371000},"jti":{"x":1732371000}}` has them: the tokens of `u1`
/// that were issued up to that second, and the token `x`, whatever stands there for it.
///
/// What cannot be read revokes all that it could be about: an entry, all of its `sub`; a part that
/// is no object, everybody whom such a part can name. A token that does not say when it was issued
/// counts as old; so does an API key, of which only another `sub`, or no entry, makes a good one.
///
/// ```
/// use halfping_credentials::{Identity, Revoked};
/// use serde_json::json;
///
/// let (revoked, faults) = Revoked::read(Some(&json!({ "sub": { "u1": 1732371000 } })));
/// assert!(faults.is_empty());
/// let identity = Identity::new(json!({ "sub": "u1" }).as_object().unwrap().clone())?;
/// assert!(revoked.has(&identity));
/// # Ok::<(), halfping_credentials::ClaimsTooLong>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Revoked {
    /// Each `sub`, with the time of the last token that is revoked.
    subjects: Part<BTreeMap<String, f64>>,
    tokens: Part<BTreeSet<String>>,
}

/// A part of the document.
#[derive(Clone, PartialEq, Debug)]
enum Part<T> {
    Listed(T),
    /// Nobody can tell who is meant, so everybody is.
    Unreadable,
}

impl<T: Default> Default for Part<T> {
    fn default() -> Part<T> {
        Part::Listed(T::default())
    }
}

/// Fault of the document: something to warn of.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{place}: {why}")]
pub struct RevokedFault {
    /// The place, as a JSON Pointer (RFC 6901).
    pub place: String,
    /// The reason, and what follows from it.
    pub why: String,
}

impl Revoked {
    /// Reads the document. Nobody is revoked if there is none.
    pub fn read(document: Option<&Value>) -> (Revoked, Vec<RevokedFault>) {
        let mut faults = Vec::new();
        let mut fault = |place: &str, why: &str| {
            faults.push(RevokedFault { place: place.to_owned(), why: why.to_owned() });
        };
        let members = match document {
            None | Some(Value::Null) => return (Revoked::default(), faults),
            Some(Value::Object(members)) => members,
            Some(_) => {
                fault("", "it is no object of 'sub' and 'jti', so everybody is revoked");
                let (subjects, tokens) = (Part::Unreadable, Part::Unreadable);
                return (Revoked { subjects, tokens }, faults);
            }
        };
        for name in members.keys().filter(|name| *name != "sub" && *name != "jti") {
            fault(&pointer(&[name]), "it means nothing: there are 'sub' and 'jti'");
        }
        let subjects = match members.get("sub") {
            None => Part::default(),
            Some(Value::Object(entries)) => {
                let upto = |(sub, time): (&String, &Value)| {
                    let seconds = time.as_f64();
                    if seconds.is_none() {
                        let why = "it is no number of seconds since 1970, so all tokens of this \
                                   'sub' are revoked";
                        fault(&pointer(&["sub", sub]), why);
                    }
                    (sub.clone(), seconds.unwrap_or(f64::INFINITY))
                };
                Part::Listed(entries.iter().map(upto).collect())
            }
            Some(_) => {
                fault("/sub", "it is no object, so everybody who has a 'sub' is revoked");
                Part::Unreadable
            }
        };
        let tokens = match members.get("jti") {
            None => Part::default(),
            Some(Value::Object(entries)) => Part::Listed(entries.keys().cloned().collect()),
            Some(_) => {
                fault("/jti", "it is no object, so all tokens that have a 'jti' are revoked");
                Part::Unreadable
            }
        };
        (Revoked { subjects, tokens }, faults)
    }

    /// True if an identity is revoked.
    pub fn has(&self, identity: &Identity) -> bool {
        let is_old = |upto: &f64| identity.issued_at().is_none_or(|at| at as f64 <= *upto);
        let by_subject = identity.subject().is_some_and(|sub| match &self.subjects {
            Part::Listed(subjects) => subjects.get(sub).is_some_and(is_old),
            Part::Unreadable => true,
        });
        by_subject
            || identity.jti().is_some_and(|jti| match &self.tokens {
                Part::Listed(tokens) => tokens.contains(jti),
                Part::Unreadable => true,
            })
    }
}

fn pointer(names: &[&str]) -> String {
    names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}
