//! Single requests: read and write one resource.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, LOCATION,
    RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::error::{
    BaseError, NetworkFault, NoAnswer, PathError, PeerFault, Refusal, RequestError,
};
use crate::frame::{Cursor, Problem};
use crate::tls;
use crate::token::{self, Tokens};

/// The longest body that [`Client::get`] accepts.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The longest text of metrics that is accepted: a server has some hundred lines.
const METRICS_BYTES_MAX: usize = 1024 * 1024;
/// The longest problem document that is read; nobody would read a longer one.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// The longest wait for a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest time for a request, from first to last byte.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(60);

/// Client of one Halfping API. Clones share their connections and cost nothing.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    /// Where tokens are asked for, if one may be followed by another.
    tokens: Option<Arc<Tokens>>,
}

/// Result of [`Client::get`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The value as JSON text, numbers digit for digit as they were written.
    pub json: String,
    /// The cursor of the state that was read.
    pub cursor: Option<Cursor>,
}

/// Result of a write that the server has made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// True if the write created the resource.
    pub created: bool,
    /// The resource's cursor after the write.
    pub cursor: Option<Cursor>,
}

impl Client {
    /// Makes a client of the API at `base`, such as `http://127.0.0.1:7070`; it may be mounted
    /// below a path. No connection is made yet.
    pub fn new(base: &str) -> Result<Client, BaseError> {
        Client::with_headers(base, HeaderMap::new())
    }

    /// The same, for somebody who shows a token or an API key with each request, as
    /// `Authorization: Bearer TOKEN` (RFC 6750).
    pub fn with_token(base: &str, token: &str) -> Result<Client, BaseError> {
        let value = token::bearer(token).ok_or(BaseError::BadToken)?;
        Client::with_headers(base, HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    /// The same, for tokens that end: `ask` gives one. It is asked at the first request, and again
    /// when the server refuses the last one (401) or ends a stream since it has expired. All clones
    /// and their watches share what it gave. It has 8 s.
    ///
    /// ```no_run
    /// # async fn of_the_issuer() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use halfping_client::{Client, WatchOptions};
    ///
    /// let client = Client::with_tokens("https://api.example.org", || async {
    ///     of_the_issuer().await
    /// })?;
    /// let orders = client.watch("/orders", WatchOptions::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_tokens<F, T, E>(base: &str, ask: F) -> Result<Client, BaseError>
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let client = Client::new(base)?;
        Ok(Client { tokens: Some(Arc::new(Tokens::new(ask))), ..client })
    }

    fn with_headers(base: &str, headers: HeaderMap) -> Result<Client, BaseError> {
        let url = Url::parse(base).map_err(|error| BaseError::NotAUrl {
            base: base.to_owned(),
            why: error.to_string(),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseError::NotHttp { base: base.to_owned() });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseError::HasQuery { base: base.to_owned() });
        }
        Ok(Client { http: http(&url, headers)?, base: url, tokens: None })
    }

    /// Reads the resource at `path`, which is written as in a URL and may have a query
    /// (`/fleet?depth=1`).
    pub async fn get(&self, path: &str) -> Result<Reading, RequestError> {
        let request = self
            .http
            .get(self.url(path)?)
            .header(ACCEPT, "application/json")
            .timeout(REQUEST_WAIT_MAX);
        let answer = self.send(request).await?;
        let content_type = content_type(answer.headers());
        if content_type != "application/json" {
            return Err(PeerFault::NotJson { content_type: content_type.to_owned() }.into());
        }
        let cursor = cursor(answer.headers());
        let json = String::from_utf8(body(answer, BODY_BYTES_MAX).await?)
            .map_err(|_| PeerFault::NotText)?;
        Ok(Reading { json, cursor })
    }

    /// Reads the server's metrics, in a text format of Prometheus (O2). Proxies often hide them.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = halfping_client::Client::new("http://127.0.0.1:7070")?;
    /// let text = client.metrics().await?;
    /// let links = text.lines().find_map(|line| line.strip_prefix("halfping_links "));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn metrics(&self) -> Result<String, RequestError> {
        let request = self.http.get(self.url("/_metrics")?).timeout(REQUEST_WAIT_MAX);
        let text = body(self.send(request).await?, METRICS_BYTES_MAX).await?;
        Ok(String::from_utf8(text).map_err(|_| PeerFault::NotText)?)
    }

    /// Makes `json` the whole value of the resource. It is sent as it is.
    pub async fn put(&self, path: &str, json: impl Into<Bytes>) -> Result<Written, RequestError> {
        self.write(self.request(Method::PUT, path)?, Some(("application/json", json.into()))).await
    }

    /// Merges `json` into the resource (RFC 7396): members that are `null` are removed, the others
    /// written.
    pub async fn merge(&self, path: &str, json: impl Into<Bytes>) -> Result<Written, RequestError> {
        let body = ("application/merge-patch+json", json.into());
        self.write(self.request(Method::PATCH, path)?, Some(body)).await
    }

    /// Removes the resource.
    pub async fn delete(&self, path: &str) -> Result<Written, RequestError> {
        self.write(self.request(Method::DELETE, path)?, None).await
    }

    /// Removes the resource if it has not changed since the state of `cursor`. Else the server
    /// refuses with `precondition-failed`.
    pub async fn delete_if_match(
        &self,
        path: &str,
        cursor: &Cursor,
    ) -> Result<Written, RequestError> {
        let condition = format!("\"{cursor}\"");
        self.write(self.request(Method::DELETE, path)?.header(IF_MATCH, condition), None).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, PathError> {
        Ok(self.http.request(method, self.url(path)?).timeout(REQUEST_WAIT_MAX))
    }

    async fn write(
        &self,
        mut request: RequestBuilder,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Written, RequestError> {
        if let Some((content_type, bytes)) = body {
            request = request.header(CONTENT_TYPE, content_type).body(bytes);
        }
        let answer = self.send(request).await?;
        let written = Written {
            created: answer.status() == StatusCode::CREATED,
            cursor: cursor(answer.headers()),
        };
        let is_ours = written.cursor.is_some();
        // A connection returns to the pool once its answer was read to the end and its own task has
        // run. Without that, the next write may find no idle connection and open another.
        self::body(answer, PROBLEM_BYTES_MAX).await?;
        tokio::task::yield_now().await;
        if is_ours { Ok(written) } else { Err(PeerFault::NoCursor.into()) }
    }

    /// The URL of `path` below the base.
    pub(crate) fn url(&self, path: &str) -> Result<Url, PathError> {
        if !path.starts_with('/') {
            return Err(PathError::NotAbsolute { path: path.to_owned() });
        }
        if path.contains('#') {
            return Err(PathError::Fragment { path: path.to_owned() });
        }
        let (segments, query) = match path.split_once('?') {
            Some((segments, query)) => (segments, Some(query)),
            None => (path, None),
        };
        if segments.split('/').any(is_dots) {
            return Err(PathError::DotSegment { path: path.to_owned() });
        }
        let mut url = self.base.clone();
        let mut whole = self.base.path().trim_end_matches('/').to_owned();
        for c in segments.chars() {
            match c {
                // `set_path` would take a backslash for a slash, and leave out tabs and line ends.
                '\\' | '\0'..=' ' => whole.push_str(&format!("%{:02X}", u32::from(c))),
                _ => whole.push(c),
            }
        }
        url.set_path(&whole);
        url.set_query(query);
        Ok(url)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// True if there may be another token when one has ended.
    pub(crate) fn renews(&self) -> bool {
        self.tokens.is_some()
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, NoAnswer> {
        self.send_showing(request, &mut None).await
    }

    /// Sends a request, with a token if one was promised. A refused token is replaced once: nothing
    /// was done for it. `token` is one that is known to have ended, and becomes the one that was
    /// shown.
    pub(crate) async fn send_showing(
        &self,
        request: RequestBuilder,
        token: &mut Option<HeaderValue>,
    ) -> Result<Response, NoAnswer> {
        let Some(tokens) = &self.tokens else { return answer(request).await };
        let again = request.try_clone();
        let first = tokens.header(token.as_ref()).await?;
        *token = Some(first.clone());
        match (answer(request.header(AUTHORIZATION, first)).await, again) {
            (Err(NoAnswer::Refused(refusal)), Some(again)) if refusal.status == 401 => {
                let second = tokens.header(token.as_ref()).await?;
                *token = Some(second.clone());
                answer(again.header(AUTHORIZATION, second)).await
            }
            (answer, _) => answer,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// A client for the HTTP of one server. It follows no redirects.
#[doc(hidden)]
pub fn http(url: &Url, headers: HeaderMap) -> Result<reqwest::Client, BaseError> {
    let tls = |error: &dyn Error| BaseError::Tls { why: error.to_string() };
    let mut http = reqwest::Client::builder();
    if is_loopback(url) {
        // A proxy would connect to the loopback of another machine.
        http = http.no_proxy();
    }
    http.tls_backend_preconfigured(tls::config(url.scheme()).map_err(|error| tls(&error))?)
        .default_headers(headers)
        .user_agent(concat!("halfping-client/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_WAIT_MAX)
        .redirect(Policy::none())
        // An update is one small segment: it must not wait for the acknowledgement of the one
        // before.
        .tcp_nodelay(true)
        .build()
        .map_err(|error| tls(&error))
}

/// True if a URL leads to this machine; then proxies from the environment are not used.
#[doc(hidden)]
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// True if a segment is `.` or `..`, also percent-encoded: `set_path` would resolve it, and the
/// server would never see it.
fn is_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// Sends a request as it is. Returns a successful answer, or the reason why there is none.
async fn answer(request: RequestBuilder) -> Result<Response, NoAnswer> {
    let answer = request.send().await.map_err(|error| NoAnswer::Network(error.into()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    if status.is_redirection() {
        let location = header(LOCATION).unwrap_or("nowhere").to_owned();
        return Err(NoAnswer::PeerFault(PeerFault::Redirect { status: status.as_u16(), location }));
    }
    // `Retry-After` can also be a date. This client has no calendar, so it then asks for no wait.
    let retry_after = header(RETRY_AFTER)
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(Duration::from_secs);
    // The status is the answer, also when the body cannot be read.
    let problem = body(answer, PROBLEM_BYTES_MAX).await.ok();
    let problem =
        problem.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_else(|| Problem {
            title: status.canonical_reason().map(str::to_owned),
            ..Problem::default()
        });
    Err(NoAnswer::Refused(Refusal { status: status.as_u16(), problem, retry_after }))
}

async fn body(mut answer: Response, max: usize) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(NetworkFault::from)? {
        if bytes.len() + chunk.len() > max {
            return Err(PeerFault::TooLong { max }.into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The media type, without its parameters.
fn content_type(headers: &HeaderMap) -> &str {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("nothing that it names");
    text.split(';').next().unwrap_or_default().trim()
}

fn cursor(headers: &HeaderMap) -> Option<Cursor> {
    headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(Cursor::from_etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_to_the_base() {
        let check = |base: &str, path: &str, expect: &str| {
            let url = Client::new(base).unwrap().url(path).map(String::from);
            assert_eq!(url.unwrap_or_else(|error| error.to_string()), expect);
        };
        check("http://h:1", "/", "http://h:1/");
        check("http://h:1/", "/a/b", "http://h:1/a/b");
        check("http://h:1/api/", "/a?depth=1", "http://h:1/api/a?depth=1");
        check("http://h:1", "/a%2Fb/ü c", "http://h:1/a%2Fb/%C3%BC%20c");
        check("http://h:1", "/a//b/", "http://h:1/a//b/");
        check("http://h:1", "/a\\b", "http://h:1/a%5Cb");
        check("http://h:1", "/a\\..\\b", "http://h:1/a%5C..%5Cb");
        check("http://h:1", "/a\tb\r\n", "http://h:1/a%09b%0D%0A");
        check("http://h:1", "/a/.\t./b", "http://h:1/a/.%09./b");
        check("http://h:1", "a", "the path `a` does not begin with `/`");
        check("http://h:1", "/a/%2E./b", "the path `/a/%2E./b` has a `.` or `..` segment");
        check(
            "http://h:1",
            "/a#b",
            "the path `/a#b` has a `#`; as part of a name it is written %23",
        );
    }

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        for (base, expect) in [
            ("http://localhost:1", true),
            ("http://LOCALHOST.", true),
            ("http://a.localhost", true),
            ("http://127.1.2.3", true),
            ("http://[::1]:1", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://localhost.example", false),
            ("http://128.0.0.1", false),
            ("http://[::2]", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(base).unwrap()), expect, "{base}");
        }
    }

    #[test]
    fn a_base_is_an_http_url_without_a_query() {
        let refused = |base: &str| Client::new(base).unwrap_err().to_string();
        assert_eq!(refused("127.0.0.1"), "`127.0.0.1` is not a URL: relative URL without a base");
        assert_eq!(refused("ftp://h"), "`ftp://h` does not begin with http:// or https://");
        assert_eq!(
            refused("http://h/?a"),
            "`http://h/?a` has a query or a fragment, so that no path can follow it"
        );
    }
}
