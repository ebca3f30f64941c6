//! Whole requests to the router of the library.
//!
//! The bytes are requests as HTTP/1.1 writes them, one after the other, with a line `---` between
//! two. `$etag` in a head stands for the last `ETag` of an answer, which nobody could guess.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use halfping::{Api, Cors, Limits, Options};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use crate::protocol::check_problem;

/// The origin whose pages may use the API.
const KNOWN: &str = "https://known.example";
const REQUESTS_MAX: usize = 8;
const FRAMES_MAX: usize = 64;

type Router =
    tower::util::BoxCloneSyncService<Request<Full<bytes::Bytes>>, Answer, std::convert::Infallible>;
type Body = Pin<Box<dyn hyper::body::Body<Data = bytes::Bytes, Error = String> + Send>>;
type Answer = Response<Body>;

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

pub fn request(data: &[u8]) {
    RUNTIME.with_borrow_mut(|runtime| runtime.block_on(requests(data)));
}

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.json_depth = 8;
        limits.members_per_object = 6;
        limits.key_bytes = 20;
        limits.path_depth = 5;
        limits.tombstones_per_object = 2;
        limits.tree_bytes = 600;
        limits.patch_work_bytes = 4000;
        limits.value_bytes = 300;
        limits.body_bytes = 400;
        limits.uri_bytes = 200;
        limits.links_per_connection = 3;
        // A long poll never waits.
        limits.wait_seconds = 0;
    })
}

async fn requests(data: &[u8]) {
    let cors = Cors::Origins(vec![KNOWN.to_owned()]);
    let api = Api::new(Options { limits: limits(), cors, ..Options::default() });
    let start = json!({ "a": { "b": 1, "list": [1, { "x": null }] }, "text": "ä" });
    api.put("/", &start).await.expect("the tree of the start fits");
    let router =
        tower::ServiceExt::<Request<Full<bytes::Bytes>>>::map_response(api.router(), |answer| {
            answer.map(|body| Box::pin(boxed(body)) as Body)
        });
    let router = Router::new(router);
    let mut etag = "\"000000000000.1\"".to_owned();
    // Streams stay open while others write.
    let mut streams = Vec::new();
    for text in split(data, b"\n---\n").into_iter().take(REQUESTS_MAX) {
        let Some(request) = read(text, &etag) else { continue };
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let is_upgrade =
            request.headers().contains_key(header::UPGRADE) || method == Method::CONNECT;
        let said = format!("{request:?}");
        let site = request.headers().get("sec-fetch-site").cloned();
        let is_known = request.headers().get(header::ORIGIN).is_some_and(|origin| origin == KNOWN);
        let body = request
            .body()
            .clone()
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let media = request.headers().get(header::CONTENT_TYPE).cloned();
        let before = tree(&api);
        let now = call(&router, get(&uri)).await;
        let holds = holds(
            request.headers(),
            now.status() == StatusCode::OK,
            now.headers().get(header::ETAG),
        );
        let answer = call(&router, request).await;
        if let Some(tag) = answer.headers().get(header::ETAG) {
            etag = tag.to_str().expect("a cursor is ASCII").to_owned();
        }
        let status = answer.status();
        let answer = check(answer, &method, is_upgrade, &said);
        let after = tree(&api);
        match (&method, holds) {
            // `POST` makes a new resource: there is nothing to compare with.
            (&Method::POST, _) | (_, None) => {}
            (&Method::PUT | &Method::PATCH | &Method::DELETE, Some(false)) => {
                assert!(!status.is_success(), "PROTOCOL W6: {status}: {said}");
            }
            (_, Some(false)) => {}
            (_, Some(true)) => {
                assert_ne!(status, StatusCode::PRECONDITION_FAILED, "PROTOCOL W6: {said}")
            }
        }
        match method {
            Method::PUT | Method::PATCH | Method::POST | Method::DELETE if status.is_success() => {
                let is_elsewhere = site.is_some_and(|site| site != "same-origin" && site != "none");
                assert!(is_known || !is_elsewhere, "PROTOCOL W13: {status}: {said}");
                check_write(&router, &method, &uri, media.as_ref(), &body, status, &said).await;
            }
            // PROTOCOL X2: a refusal changes nothing, nor does a read.
            _ => assert_eq!(before, after, "{status}: {said}"),
        }
        streams.extend(answer);
        streams.iter_mut().for_each(|stream| take(stream, &said));
    }
    drop(streams);
    // The task that reads and discards a body beside its answer gets a turn.
    tokio::task::yield_now().await;
}

fn get(uri: &Uri) -> Request<Full<bytes::Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri.clone();
    request.headers_mut().insert(header::HOST, host(uri));
    request
}

/// The `Host` of a target: a target that names a server has to name the same one.
fn host(uri: &Uri) -> HeaderValue {
    let named =
        uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    named.unwrap_or(HeaderValue::from_static("example.org"))
}

/// True if a request's conditions hold for a resource; `None` when this model does not read them.
fn holds(
    headers: &header::HeaderMap,
    is_there: bool,
    current: Option<&HeaderValue>,
) -> Option<bool> {
    let matches = |name: &header::HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Some(None),
            (Some(value), None) if value == "*" => Some(Some(is_there)),
            (Some(value), None) => {
                let cursor = value.to_str().ok()?.strip_prefix('"')?.strip_suffix('"')?;
                let is_one =
                    cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
                if is_there && current != Some(value) && since(cursor, current?) {
                    return None; // of a later state (PROTOCOL C5), or of one to come
                }
                is_one.then_some(Some(is_there && current == Some(value)))
            }
            _ => None,
        }
    };
    let (is, is_not) = (matches(&header::IF_MATCH)?, matches(&header::IF_NONE_MATCH)?);
    Some(is.unwrap_or(true) && !is_not.unwrap_or(false))
}

/// True if a cursor is later than another of its epoch.
fn since(cursor: &str, other: &HeaderValue) -> bool {
    let parts = |text: &str| {
        let (epoch, revision) = text.trim_matches('"').split_once('.')?;
        Some((epoch.to_owned(), revision.parse::<u64>().ok()?))
    };
    let (cursor, other) = (parts(cursor), other.to_str().ok().and_then(parts));
    cursor.zip(other).is_some_and(|(a, b)| a.0 == b.0 && a.1 > b.1)
}

/// Any body as one of a type that can be named.
fn boxed<B>(body: B) -> impl hyper::body::Body<Data = bytes::Bytes, Error = String> + Send
where
    B: hyper::body::Body<Data = bytes::Bytes> + Send,
    B::Error: ToString,
{
    body.map_err(|error| error.to_string())
}

fn tree(api: &Api) -> Option<Value> {
    // The tree is larger than `value_bytes`: its parts are still compared by the answer to each
    // write.
    api.get::<Value>("/").ok().flatten()
}

async fn call(router: &Router, request: Request<Full<bytes::Bytes>>) -> Answer {
    match router.clone().oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

fn split<'d>(data: &'d [u8], separator: &[u8]) -> Vec<&'d [u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(separator.len()).position(|window| window == separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

/// A request, if an HTTP server would have passed it on.
fn read(text: &[u8], etag: &str) -> Option<Request<Full<bytes::Bytes>>> {
    let parts = split(text, b"\n\n");
    let (head, body) = (parts[0], &text[(parts[0].len() + 2).min(text.len())..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = std::str::from_utf8(lines.next()?).ok()?.split(' ');
    let method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
    let target = words.next()?.replace("$etag", etag.trim_matches('"'));
    let version = match words.next() {
        None | Some("HTTP/1.1") => Version::HTTP_11,
        Some("HTTP/1.0") => Version::HTTP_10,
        Some("HTTP/2") => Version::HTTP_2,
        Some(_) => return None,
    };
    let uri: Uri = target.parse().ok()?;
    let mut request = Request::new(Full::new(bytes::Bytes::copy_from_slice(body)));
    (*request.method_mut(), *request.uri_mut(), *request.version_mut()) = (method, uri, version);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = header::HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
        let value = line[colon + 1..].trim_ascii();
        let value = match std::str::from_utf8(value) {
            Ok(text) => HeaderValue::from_str(&text.replace("$etag", etag)).ok()?,
            Err(_) => HeaderValue::from_bytes(value).ok()?,
        };
        request.headers_mut().append(name, value);
    }
    if !request.headers().contains_key(header::HOST) {
        let host = host(request.uri());
        request.headers_mut().insert(header::HOST, host);
    }
    Some(request)
}

/// Checks an answer. Returns its body when it goes on.
fn check(answer: Answer, method: &Method, is_upgrade: bool, said: &str) -> Option<Body> {
    let (parts, mut body) = answer.into_parts();
    let status = parts.status;
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().expect("ASCII"));
    let mut bytes = Vec::new();
    let ends = loop {
        match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => {
                bytes.extend(frame.expect("no body breaks").into_data().unwrap_or_default());
            }
            Poll::Ready(None) => break true,
            Poll::Pending => break false,
        }
        assert!(bytes.len() < 100_000, "no end: {said}");
    };
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(kind, Some("application/problem+json"), "{status}: {said}");
        assert!(ends, "{said}");
        if *method == Method::HEAD && bytes.is_empty() {
            return None;
        }
        let document = serde_json::from_slice::<Value>(&bytes);
        let document = document.unwrap_or_else(|error| panic!("{error} in a problem: {said}"));
        if is_upgrade && document["type"] == "urn:halfping:problem:internal" {
            // There is no connection here that could be upgraded; such a router is not served by
            // `axum::serve`.
            assert!(
                document["hint"].as_str().is_some_and(|hint| hint.contains("axum::serve")),
                "{document}"
            );
            return None;
        }
        let (name, of_document) = check_problem(&document);
        assert_eq!(of_document, u64::from(status.as_u16()), "{document}");
        let must_have = match (name, status.as_u16()) {
            (_, 429 | 503) => Some(header::RETRY_AFTER),
            ("not-found" | "precondition-failed", _)
                if *method == Method::GET || name != "not-found" =>
            {
                Some(header::ETAG)
            }
            ("method-not-allowed", _) => Some(header::ALLOW),
            _ => None,
        };
        // Reserved paths have no cursors.
        let is_own = said.contains("/_");
        assert!(
            is_own || must_have.is_none_or(|name| parts.headers.contains_key(name)),
            "{document}: {said}"
        );
        return None;
    }
    let is_allowed = matches!(status.as_u16(), 200 | 201 | 204 | 304);
    assert!(is_allowed, "{status} is in no rule of PROTOCOL.md: {said}");
    match (kind, status) {
        (Some("application/json"), StatusCode::OK) if *method == Method::GET => {
            serde_json::from_slice::<Value>(&bytes)
                .unwrap_or_else(|error| panic!("{error}: {said}"));
        }
        (Some("application/x-ndjson"), _) => check_lines(&bytes, said),
        (Some("text/event-stream"), _) => check_events(&bytes, said),
        _ => {}
    }
    (!ends).then_some(body)
}

/// PROTOCOL N1: one object a line.
fn check_lines(bytes: &[u8], said: &str) {
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "half a line: {said}");
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let frame =
            serde_json::from_slice::<Value>(line).unwrap_or_else(|error| panic!("{error}: {said}"));
        let kind = frame["kind"].as_str().unwrap_or_default();
        assert!(
            ["snapshot", "merge", "patch", "gone", "synced", "error"].contains(&kind),
            "{frame}: {said}"
        );
        if kind == "error" {
            check_problem(&frame["problem"]);
        }
    }
}

/// PROTOCOL E1 to E4: fields in lines, JSON in one line.
fn check_events(bytes: &[u8], said: &str) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{error}: {said}"));
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        assert!(["event", "data", "id", "retry"].contains(&field), "{line}: {said}");
        if field == "data" {
            serde_json::from_str::<Value>(value)
                .unwrap_or_else(|error| panic!("{error}: {line}: {said}"));
        }
    }
}

/// Takes the part of a stream that has come.
fn take(stream: &mut Body, said: &str) {
    for _ in 0..FRAMES_MAX {
        match stream.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => drop(frame.expect("no body breaks")),
            Poll::Ready(None) | Poll::Pending => return,
        }
    }
    panic!("a stream without an end: {said}");
}

/// Reads again what was written.
async fn check_write(
    router: &Router,
    method: &Method,
    uri: &Uri,
    media: Option<&HeaderValue>,
    body: &[u8],
    status: StatusCode,
    said: &str,
) {
    let mut answer = call(router, get(uri)).await;
    let mut bytes = Vec::new();
    while let Some(frame) = answer.body_mut().frame().await {
        bytes.extend(frame.expect("no body breaks").into_data().unwrap_or_default());
    }
    let value = serde_json::from_slice::<Value>(&bytes).expect("JSON, or a problem");
    match (method.as_str(), answer.status()) {
        // The value is too large to be read whole.
        (_, StatusCode::PAYLOAD_TOO_LARGE) => {}
        ("DELETE", now) => {
            assert_eq!((status, now), (StatusCode::NO_CONTENT, StatusCode::NOT_FOUND), "{said}");
        }
        ("PUT", now) => {
            let sent = serde_json::from_slice::<Value>(body).expect("what is kept is JSON");
            assert_eq!((now, value), (StatusCode::OK, sent), "{said}");
            assert!(matches!(status.as_u16(), 200 | 201), "{said}");
        }
        ("POST", now) => assert_eq!((status, now), (StatusCode::CREATED, StatusCode::OK), "{said}"),
        (_, now) => {
            assert_eq!(now, StatusCode::OK, "{said}");
            let media = media.and_then(|media| media.to_str().ok()).unwrap_or_default();
            assert!(media.to_ascii_lowercase().contains("patch+json"), "{said}");
        }
    }
}
