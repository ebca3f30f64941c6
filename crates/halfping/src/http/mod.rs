//! HTTP: the meaning of each request.

mod front;
mod identity;
mod in_sight;
pub(crate) mod negotiate;
mod read;
pub(crate) mod write;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use halfping_engine::{Path, PathError};
use halfping_rules::Verb;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use self::negotiate::{Query, Target};
use crate::access::{self, Access, OWN};
use crate::answer;
use crate::connection::Connection;
use crate::hub::Shared;
use crate::metrics::in_plain_text;
use crate::patience::Patience;
use crate::problem::{Kind, Problem};
use crate::process::Process;
use crate::room::Room;
use crate::transports::session;

pub(crate) use front::{Beside, Front};

/// Methods of a resource.
const ALLOW: &str = "GET, HEAD, OPTIONS, PUT, PATCH, POST, DELETE";
/// Methods of the root, which cannot be removed.
const ALLOW_ROOT: &str = "GET, HEAD, OPTIONS, PUT, PATCH, POST";
/// Methods of the server's own resources, and of all where nothing can be written.
const ALLOW_READ: &str = "GET, HEAD, OPTIONS";
/// Methods of `/_streams`.
const ALLOW_STREAMS: &str = "GET, HEAD, OPTIONS, POST";
/// Methods of `/_auth/ticket` and `/_auth/look`.
const ALLOW_TICKET: &str = "OPTIONS, POST";
/// Types that `PATCH` takes.
const ACCEPT_PATCH: &str = "application/merge-patch+json, application/json-patch+json";

type Answer = Result<Response, Problem>;

/// Answers one request, as far as its sender may be answered.
async fn answer(
    shared: &Arc<Shared>,
    access: Result<Access, Problem>,
    connection: Option<&Arc<Connection>>,
    request: Request<Body>,
) -> Response {
    shared.metrics.requests.of(request.method().as_str()).inc();
    let (mut request, body) = request.into_parts();
    match dispatch(shared, access, connection, &mut request, body).await {
        Ok(response) => response,
        Err(problem) => {
            shared.metrics.refused(&problem);
            tracing::debug!(problem = problem.kind().name(), "refused");
            problem.into_response()
        }
    }
}

async fn dispatch(
    shared: &Arc<Shared>,
    access: Result<Access, Problem>,
    connection: Option<&Arc<Connection>>,
    request: &mut Parts,
    mut body: Body,
) -> Answer {
    let upgrade = request.extensions.remove::<OnUpgrade>();
    let answer = match access.and_then(|access| transfer_coding(&request.headers).map(|()| access))
    {
        Ok(access) => route(shared, &access, connection, request, &mut body, upgrade).await,
        Err(problem) => Err(problem),
    };
    if answer.is_err() && !body.is_end_stream() {
        // In parallel with the answer: a client may be waiting for it before it sends its body.
        tokio::spawn(write::discard(Patience::for_body(&shared.limits), body));
    }
    answer
}

/// Answers a request of somebody who may ask. Whatever is not a write is boxed: the task of a
/// connection has room for the largest of its parts.
async fn route(
    shared: &Arc<Shared>,
    access: &Access,
    own_connection: Option<&Arc<Connection>>,
    request: &mut Parts,
    body: &mut Body,
    upgrade: Option<OnUpgrade>,
) -> Answer {
    let uri = &request.uri;
    let target_len = uri.path_and_query().map_or(0, |t| t.as_str().len());
    if target_len > shared.limits.uri_bytes {
        let max = shared.limits.uri_bytes;
        return Err(Problem::limit(
            Kind::PathTooLong,
            "uri_bytes",
            max,
            "too many bytes of path and query",
        ));
    }
    let connection = own_connection.unwrap_or(&shared.foreign);
    if request.method == Method::OPTIONS && uri.path() == "*" {
        return Ok(options(if access.is_read_only() { ALLOW_STREAMS } else { ALLOW }));
    }
    let path = Path::parse(uri.path(), &shared.limits)?;
    mounted_whole(request)?;
    let own = access::own_name(&path);
    let made = identity::made_at(&path).filter(|_| access.rights().is_some());
    let allow = match own {
        Some("_streams") if path.segments().len() == 1 => ALLOW_STREAMS,
        Some("_auth") if made.is_some() => ALLOW_TICKET,
        Some(_) => ALLOW_READ,
        None if access.is_only_read(&path) => ALLOW_READ,
        None if path.is_root() => ALLOW_ROOT,
        None => ALLOW,
    };
    let allow_header =
        |problem: Problem| problem.header(header::ALLOW, HeaderValue::from_static(allow));
    if let Some(handshake) = session::handshake(request)? {
        if let Some(name) = own.filter(|name| *name != OWN) {
            return Err(Problem::new(
                Kind::ReservedPath,
                format!("there is no session at /{name}"),
            )
            .hint("connect to /"));
        }
        let connection = own_connection.cloned();
        let session = read::session(shared, access, connection, request, path, &handshake, upgrade);
        return Box::pin(session).await;
    }
    match (&request.method, own) {
        (&Method::GET | &Method::HEAD, Some("_health")) if path.segments().len() == 1 => {
            Query::parse(uri.query(), &shared.limits, Target::Nothing)?;
            Ok(health(shared))
        }
        (&Method::GET | &Method::HEAD, Some("_metrics")) if path.segments().len() == 1 => {
            Query::parse(uri.query(), &shared.limits, Target::Nothing)?;
            access.is_not_by_query()?;
            access.may(Verb::Read, &path)?;
            Box::pin(metrics(shared, connection, request)).await
        }
        (&Method::GET | &Method::HEAD, Some("_streams")) if path.segments().len() == 1 => {
            Box::pin(read::many(shared, access, connection, request)).await
        }
        (&Method::POST, Some("_streams")) if path.segments().len() == 1 => {
            Box::pin(read::once(shared, access, connection, request, body)).await
        }
        (&Method::GET | &Method::HEAD, None | Some(OWN)) => {
            Box::pin(read::one(shared, access, connection, request, path)).await
        }
        (&Method::GET | &Method::HEAD, Some(name)) => {
            if name == "_console" {
                // The server of the page asked whether it may be shown, and did not show it.
                access.may_show_console()?;
            }
            Err(Problem::new(
                Kind::NotFound,
                format!("the server has nothing of its own at {path}"),
            )
            .hint(instead_of(name)))
        }
        (&Method::OPTIONS, _) => Ok(options(allow)),
        (&Method::POST, Some("_auth")) if made.is_some() => {
            Query::parse(uri.query(), &shared.limits, Target::Nothing)?;
            match made {
                Some(identity::Made::Look) => {
                    Box::pin(identity::look(shared, access, connection, request, body)).await
                }
                _ => identity::ticket(access),
            }
        }
        (&Method::POST, _) => {
            let parent = access.create(path).map_err(allow_header)?;
            write::post(shared, connection, request, body, &parent).await
        }
        (&Method::PUT | &Method::PATCH | &Method::DELETE, _) => {
            let is_delete = request.method == Method::DELETE;
            let path = if is_delete { access.delete(path) } else { access.write(path) };
            let path = path.map_err(allow_header)?;
            if is_delete && path.is_root() {
                return Err(not_allowed(&request.method, allow).hint("PUT {} empties the tree"));
            }
            write::one(shared, connection, request, body, path).await
        }
        _ => Err(not_allowed(&request.method, allow)),
    }
}

/// A hint where to look instead, for a name of the server's own under which it has nothing.
fn instead_of(name: &str) -> &'static str {
    match name {
        "_demo" => "`halfping demo` has it",
        "_console" => {
            "the binary has it; a program that has the library serves it with halfping-pages"
        }
        _ => "it has /_health, /_metrics, /_streams and /_server, and the binary /_console/ too",
    }
}

/// Refuses a body in other transfer codings than `chunked`: it would be taken for what it is not
/// (RFC 9112, section 6.1).
fn transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    for line in headers.get_all(header::TRANSFER_ENCODING) {
        let mut codings = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"chunked")) {
            let detail =
                format!("a body with Transfer-Encoding: {}", line.as_bytes().escape_ascii());
            return Err(
                Problem::new(Kind::UnsupportedTransferCoding, detail).hint("send it uncompressed")
            );
        }
    }
    Ok(())
}

/// Refuses empty segments. Below a prefix, an empty first segment is lost together with the prefix:
/// only the request's own target shows it.
fn mounted_whole(request: &Parts) -> Result<(), Problem> {
    let target = request.extensions.get::<OriginalUri>().map_or(&request.uri, |o| &o.0).path();
    match target.contains("//") {
        true => Err(PathError::Empty(1).into()),
        false => Ok(()),
    }
}

/// An answer with the headers of a resource. `applied`: the seconds that the client may have
/// waited.
fn told(mut response: Response, tag: HeaderValue, applied: Option<u64>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(seconds) = applied {
        let text = HeaderValue::from_str(&format!("wait={seconds}"));
        headers.insert("preference-applied", text.expect("digits are visible ASCII"));
    }
    response
}

fn options(allow: &'static str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    if allow.contains("PATCH") {
        response.headers_mut().insert("accept-patch", HeaderValue::from_static(ACCEPT_PATCH));
    }
    response
}

fn not_allowed(method: &Method, allow: &'static str) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{method} is not allowed here"))
        .hint(format!("allowed are {allow}"))
        .header(header::ALLOW, HeaderValue::from_static(allow))
}

fn health(shared: &Shared) -> Response {
    let (word, storage) = shared.health();
    // Reading goes on while storage fails: taking the server out of service would end that too.
    let status =
        if shared.is_draining() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let json = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, json, format!("{{\"status\":\"{word}\",\"storage\":{storage}}}")).into_response()
}

async fn metrics(shared: &Arc<Shared>, connection: &Arc<Connection>, request: &Parts) -> Answer {
    // This reads files: nobody else has to wait for them.
    let process = tokio::task::spawn_blocking(Process::now).await.unwrap_or_default();
    let stats = shared.with_engine(halfping_engine::Engine::stats);
    shared.metrics.buffered_bytes.set(shared.held() as i64);
    let metrics = shared.metrics.text(&stats, shared.storage_fault().is_none(), &process);
    let (content_type, metrics) = match negotiate::prefers_plain_metrics(&request.headers)? {
        true => ("text/plain; version=0.0.4; charset=utf-8", in_plain_text(&metrics)),
        false => ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics),
    };
    let room = Room::try_reserve(shared, connection, metrics.len(), metrics.len())?;
    let body = answer::body(shared, connection, request.version, metrics.into(), room);
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
    ];
    Ok((headers, body).into_response())
}
