//! A text from a URL of somebody else's server, such as the keys that an issuer publishes. It has
//! nothing to do with Halfping's protocol, and shares the client's TLS and its bounds.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap, LOCATION};

use crate::client::http;
use crate::error::{BaseError, NetworkFault};

/// A text, and how long it is fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The body.
    pub text: String,
    /// Seconds for which it is fresh, if the answer says so: `max-age` of `Cache-Control`. 0 if it
    /// says that it is not to be kept.
    pub max_age: Option<u64>,
}

/// Error of a fetch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be used, or there is no TLS.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The network failed, or the server took too long.
    #[error(transparent)]
    Network(#[from] NetworkFault),
    /// The server answered with another status than 200.
    #[error("it answers {0}")]
    Status(u16),
    /// The server redirects, which is not followed.
    #[error("it redirects ({status}) to {location}; name that URL, if it is to be trusted")]
    Redirect {
        /// The status.
        status: u16,
        /// The `Location`.
        location: String,
    },
    /// The body is too long.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    /// The body is not UTF-8.
    #[error("its answer is no text")]
    NotText,
}

/// Fetches a text of JSON from a URL of `http` or `https`, of so many bytes at most, within a time.
/// Redirects are not followed.
pub async fn fetch(url: &str, bytes_max: usize, wait: Duration) -> Result<Fetched, FetchError> {
    let url = Url::parse(url)
        .map_err(|error| BaseError::NotAUrl { base: url.to_owned(), why: error.to_string() })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BaseError::NotHttp { base: url.into() }.into());
    }
    let request = http(&url, HeaderMap::new())?.get(url).timeout(wait);
    let request = request.header(ACCEPT, "application/json, application/jwk-set+json");
    let mut answer = request.send().await.map_err(NetworkFault::from)?;
    let status = answer.status();
    if status.is_redirection() {
        let location = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let location = location.unwrap_or("nowhere").to_owned();
        return Err(FetchError::Redirect { status: status.as_u16(), location });
    }
    if status != reqwest::StatusCode::OK {
        return Err(FetchError::Status(status.as_u16()));
    }
    let max_age = max_age(answer.headers());
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(NetworkFault::from)? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(FetchError::TooLong(bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(bytes).map_err(|_| FetchError::NotText)?;
    Ok(Fetched { text, max_age })
}

/// The seconds for which an answer is fresh (RFC 9111, 5.2.2).
fn max_age(headers: &HeaderMap) -> Option<u64> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let directives: Vec<String> = fields
        .flat_map(|field| field.split(','))
        .map(|it| it.trim().to_ascii_lowercase())
        .collect();
    if directives.iter().any(|it| it == "no-store" || it.starts_with("no-cache")) {
        return Some(0);
    }
    directives.iter().find_map(|it| it.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_read_as_http_has_it() {
        for (field, expect) in [
            ("", None),
            ("public", None),
            ("max-age=300", Some(300)),
            ("public, Max-Age=\"60\", must-revalidate", Some(60)),
            ("max-age=-1", None),
            ("max-age=300, no-store", Some(0)),
            ("no-cache", Some(0)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, field.parse().unwrap());
            assert_eq!(max_age(&headers), expect, "{field}");
        }
    }
}
