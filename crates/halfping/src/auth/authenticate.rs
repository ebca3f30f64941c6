//! Authenticators: whoever knows the senders of requests that this server cannot tell apart itself.

use std::fmt;

use futures_core::future::BoxFuture;
use halfping_credentials::{Digest, Identity, Secret};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// Authenticator: it says who sends a request, such as the log-in of a web application.
///
/// It is asked about requests that have at least one of the [fields](Authenticate::fields) that it
/// names, and whose credential, if they show one, is not good here by itself: no API key of the
/// configuration, and no token of an issuer there. Equal fields share one question, and its answer
/// for as long as the [`AskTerms`] say. It is asked again while somebody whom it let in has a
/// stream or a session, which ends when it says so.
///
/// ```
/// use futures_core::future::BoxFuture;
/// use halfping::{Auth, AskTerms, Authenticate, Identity, Question, Unidentified};
/// use http::{HeaderName, header::COOKIE};
///
/// struct Login;
///
/// impl Authenticate for Login {
///     fn fields(&self) -> &[HeaderName] {
///         &[COOKIE]
///     }
///
///     fn authenticate<'q>(
///         &'q self,
///         question: &'q Question,
///     ) -> BoxFuture<'q, Result<Identity, Unidentified>> {
///         Box::pin(async move {
///             let cookie = question.headers().get(COOKIE).and_then(|cookie| cookie.to_str().ok());
///             // A real one looks for the session in its database.
///             let Some("session=of-kim") = cookie else { return Err(Unidentified::refused()) };
///             let claims = serde_json::json!({ "sub": "kim" });
///             Identity::new(claims.as_object().cloned().unwrap_or_default())
///                 .map_err(|error| Unidentified::Unavailable(error.to_string()))
///         })
///     }
/// }
///
/// let auth = Auth::default().asking(Login, AskTerms::default());
/// assert!(auth.is_on());
/// ```
pub trait Authenticate: Send + Sync + 'static {
    /// Fields of requests by which it knows who sends them, such as `cookie`. It is shown no other.
    fn fields(&self) -> &[HeaderName];

    /// The sender of a request.
    fn authenticate<'q>(
        &'q self,
        question: &'q Question,
    ) -> BoxFuture<'q, Result<Identity, Unidentified>>;
}

/// Question of who sends a request.
#[derive(Clone)]
pub struct Question {
    method: Method,
    target: Uri,
    host: Option<String>,
    headers: HeaderMap,
}

/// Reason why an authenticator names nobody.
#[derive(Clone, Debug)]
pub enum Unidentified {
    /// The credential is no good: 401, with the challenge as `WWW-Authenticate`, if there is one.
    Refused(Option<HeaderValue>),
    /// It knows the sender, who is not let in: 403.
    Forbidden,
    /// It cannot tell now, for this reason, which the log has: 503.
    Unavailable(String),
}

/// Terms of asking an authenticator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AskTerms {
    /// Milliseconds that an answer may take.
    pub timeout_ms: u64,
    /// Milliseconds for which an answer is good for requests with equal fields.
    pub cache_ms: u64,
    /// Milliseconds for which streams and sessions go on while it cannot tell.
    pub stale_ms: u64,
}

impl Default for AskTerms {
    fn default() -> AskTerms {
        AskTerms { timeout_ms: 2_000, cache_ms: 10_000, stale_ms: 600_000 }
    }
}

impl Unidentified {
    /// The refusal of a credential, without a challenge of its own.
    pub fn refused() -> Unidentified {
        Unidentified::Refused(None)
    }
}

impl fmt::Debug for Question {
    /// Without the fields, which are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("method", &self.method)
            .field("path", &self.target.path())
            .finish_non_exhaustive()
    }
}

impl Question {
    /// The question about a request, if it has one of these fields. A credential that stood in its
    /// URL is asked about like one in a field.
    pub(super) fn of<'f>(
        (method, target, host): (Method, Uri, Option<String>),
        from: &HeaderMap,
        fields: impl Iterator<Item = &'f HeaderName>,
        by_query: Option<&Secret>,
    ) -> Option<Question> {
        let mut headers = HeaderMap::new();
        let mut takes_tokens = false;
        for name in fields {
            takes_tokens |= *name == AUTHORIZATION;
            for value in from.get_all(name) {
                let mut value = value.clone();
                value.set_sensitive(true);
                headers.append(name.clone(), value);
            }
        }
        if let Some(token) = by_query
            && takes_tokens
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        (!headers.is_empty()).then_some(Question { method, target, host, headers })
    }

    /// The question about somebody who shows a token in a session.
    pub(super) fn of_token<'f>(
        token: &Secret,
        fields: impl Iterator<Item = &'f HeaderName>,
    ) -> Option<Question> {
        let request = (Method::GET, Uri::from_static("/"), None);
        Question::of(request, &HeaderMap::new(), fields, Some(token))
    }

    /// The method of the request. Equal fields share the first question: its answer says who they
    /// are, and not what they may do.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query of the request, without credentials.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// The host that was asked for.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The fields that the authenticator named, as far as the request has them.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The hash of the fields, by which an answer is remembered.
    pub(super) fn digest(&self) -> Digest {
        let mut names: Vec<&HeaderName> = self.headers.keys().collect();
        names.sort_by_key(|name| name.as_str());
        let mut bytes = Vec::new();
        for name in names {
            for value in self.headers.get_all(name) {
                for part in [name.as_str().as_bytes(), value.as_bytes()] {
                    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(part);
                }
            }
        }
        Digest::of(&bytes)
    }

    /// Approximate bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let around = self.target.to_string().len() + self.host.as_ref().map_or(0, String::len);
        fields.sum::<usize>() + around + 512
    }
}
