//! Credentials that a request shows, found in its head.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use thiserror::Error;

use crate::secret::Secret;

/// Name of the parameter of a URL that a token is in (RFC 6750, 2.3).
pub const QUERY_TOKEN: &str = "access_token";
/// Name of the parameter of a URL that a ticket is in.
pub const QUERY_TICKET: &str = "ticket";

/// Places where a request may show a credential, beside the field `Authorization` and `?ticket=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Places<'c> {
    /// The name of a cookie.
    pub cookie: Option<&'c str>,
    /// True if `?access_token=` is taken. URLs end in logs, so only requests may have it there
    /// whose clients can do nothing else: streams and handshakes.
    pub query_token: bool,
}

/// A credential, and the place that it was in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// `Authorization: Bearer` (RFC 6750, 2.1): a token or an API key.
    Bearer(Secret),
    /// A cookie. Pages of others make browsers send it too, so the origin has to be looked at.
    Cookie(Secret),
    /// `?access_token=`: a token or an API key.
    Query(Secret),
    /// `?ticket=`.
    Ticket(Secret),
}

/// Error of a request whose credentials cannot be told.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ShownError {
    /// There is more than one. Nobody may choose which of them counts.
    #[error("the request has two credentials: {0}, and {1}; send one of them")]
    Two(&'static str, &'static str),
    /// `Authorization` has another scheme.
    #[error("'Authorization: {0}' is not used here: send 'Authorization: Bearer' and a token")]
    Scheme(String),
    /// `Authorization` cannot be read.
    #[error("'Authorization' cannot be read: it is 'Bearer', a space and a token")]
    Authorization,
    /// The cookie has bytes that no token has.
    #[error("the cookie with the token cannot be read: it is no UTF-8")]
    Cookie,
    /// A token stands in a URL where none is taken.
    #[error(
        "a token in the URL is not taken here: send 'Authorization: Bearer' and the token, or ask \
         for a ticket and send '?ticket='"
    )]
    QueryToken,
}

const IN_HEADER: &str = "'Authorization'";
const IN_COOKIE: &str = "a cookie";
const IN_QUERY: &str = "'access_token' in the URL";
const IN_TICKET: &str = "'ticket' in the URL";

impl Shown {
    /// The credential of a request, if it shows one. The second value is the query without it,
    /// which is all that anything else may see.
    ///
    /// ```
    /// use halfping_credentials::{Places, Secret, Shown};
    /// use http::HeaderMap;
    ///
    /// let places = Places { query_token: true, ..Places::default() };
    /// let query = Some("depth=1&access_token=a.b.c");
    /// let (shown, query) = Shown::find(&HeaderMap::new(), query, places)?;
    /// assert_eq!(shown, Some(Shown::Query(Secret::new("a.b.c"))));
    /// assert_eq!(query.as_deref(), Some("depth=1"));
    /// # Ok::<(), halfping_credentials::ShownError>(())
    /// ```
    pub fn find<'q>(
        headers: &HeaderMap,
        query: Option<&'q str>,
        places: Places<'_>,
    ) -> Result<(Option<Shown>, Option<Cow<'q, str>>), ShownError> {
        let mut shown = bearer(headers)?;
        if let Some(name) = places.cookie
            && let Some(cookie) = cookie(headers, name)?
        {
            set(&mut shown, Shown::Cookie(cookie))?;
        }
        let Some(query) = query else { return Ok((shown, None)) };
        let mut others = Vec::new();
        for part in query.split('&') {
            match parameter(part) {
                None => others.push(part),
                Some(Shown::Query(_)) if !places.query_token => return Err(ShownError::QueryToken),
                Some(found) => set(&mut shown, found)?,
            }
        }
        let is_whole = others.len() == query.split('&').count();
        let query = match is_whole {
            true => Some(Cow::Borrowed(query)),
            false if others.is_empty() => None,
            false => Some(Cow::Owned(others.join("&"))),
        };
        Ok((shown, query))
    }

    /// The credential itself.
    pub fn secret(&self) -> &Secret {
        match self {
            Shown::Bearer(secret)
            | Shown::Cookie(secret)
            | Shown::Query(secret)
            | Shown::Ticket(secret) => secret,
        }
    }

    fn place(&self) -> &'static str {
        match self {
            Shown::Bearer(_) => IN_HEADER,
            Shown::Cookie(_) => IN_COOKIE,
            Shown::Query(_) => IN_QUERY,
            Shown::Ticket(_) => IN_TICKET,
        }
    }
}

fn set(shown: &mut Option<Shown>, found: Shown) -> Result<(), ShownError> {
    match shown {
        Some(first) => Err(ShownError::Two(first.place(), found.place())),
        None => {
            *shown = Some(found);
            Ok(())
        }
    }
}

/// The token of `Authorization`. Any other use of that field is an error: somebody means to show
/// something, and must not be taken for nobody.
fn bearer(headers: &HeaderMap) -> Result<Option<Shown>, ShownError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(ShownError::Two(IN_HEADER, IN_HEADER));
    }
    let text = field.to_str().map_err(|_| ShownError::Authorization)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        let is_name = !scheme.is_empty() && scheme.len() <= 32 && scheme.bytes().all(is_of_name);
        // A token without its scheme must not come back in an error, nor in a log.
        return Err(match is_name && !token.is_empty() {
            true => ShownError::Scheme(scheme.to_owned()),
            false => ShownError::Authorization,
        });
    }
    let token = token.trim_matches(' ');
    match !token.is_empty() && token.bytes().all(is_of_token) {
        true => Ok(Some(Shown::Bearer(Secret::new(token)))),
        false => Err(ShownError::Authorization),
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Letters of `b64token` (RFC 6750, 2.1).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// The value of a cookie (RFC 6265, 4.2.1). HTTP/2 may have several fields of them. Other cookies
/// may have any bytes.
fn cookie(headers: &HeaderMap, name: &str) -> Result<Option<Secret>, ShownError> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|it| it.as_bytes().split(|b| *b == b';'));
    let mut found = None;
    for pair in pairs {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        if parts.next().map(<[u8]>::trim_ascii) != Some(name.as_bytes()) {
            continue;
        }
        let value = std::str::from_utf8(parts.next().unwrap_or_default());
        let value = value.map_err(|_| ShownError::Cookie)?.trim_ascii();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        if found.replace(Secret::new(quoted.unwrap_or(value))).is_some() {
            return Err(ShownError::Two(IN_COOKIE, IN_COOKIE));
        }
    }
    Ok(found)
}

/// The credential in one part of a query, whichever of its letters are percent-encoded.
fn parameter(part: &str) -> Option<Shown> {
    let (name, value) = form_urlencoded::parse(part.as_bytes()).next()?;
    match &*name {
        QUERY_TOKEN => Some(Shown::Query(Secret::new(value))),
        QUERY_TICKET => Some(Shown::Ticket(Secret::new(value))),
        _ => None,
    }
}
