//! `PUT`, `PATCH`, `POST` and `DELETE`.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::response::IntoResponse;
use bytes::{Bytes, BytesMut};
use halfping_engine::{Action, Json, Limits, Patch};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::negotiate::{Query, Target, condition, shown};
use super::{ACCEPT_PATCH, Answer};
use crate::access::{Parent, Writable};
use crate::aside::aside;
use crate::connection::Connection;
use crate::hub::Shared;
use crate::hub::writing::{commit, creation, etag};
use crate::patience::Patience;
use crate::problem::{Kind, Problem};
use crate::room::{Room, Wanted};
use crate::shown::meant;

/// The usual type of a body.
const JSON: &str = "application/json";
/// The condition that nothing is there, as a request spells it.
const CREATES: &str = "If-None-Match: *";

/// Performs the write that a request asks for.
pub(super) async fn one(
    shared: &Arc<Shared>,
    connection: &Connection,
    request: &Parts,
    body: &mut Body,
    path: Writable,
) -> Answer {
    Query::parse(request.uri.query(), &shared.limits, Target::Nothing)?;
    connection.write()?;
    let method = request.method.clone();
    let condition = condition(&request.headers)?;
    let media = media_type(&request.headers)?;
    let (action, _room) = match method {
        Method::DELETE => (Action::Delete, None),
        Method::PATCH => {
            let media = media.unwrap_or_default();
            match &*media {
                "application/merge-patch+json" => {
                    let (patch, room) =
                        read(shared, connection, request, body, Json::parse).await?;
                    (Action::Merge(patch?), room)
                }
                "application/json-patch+json" => {
                    let (patch, room) =
                        read(shared, connection, request, body, Patch::parse).await?;
                    (Action::Patch(patch?), room)
                }
                _ => {
                    let detail =
                        format!("PATCH takes {ACCEPT_PATCH}; this body is {}", named(&media));
                    let problem = Problem::new(Kind::UnsupportedMediaType, detail).hint(
                        "send Content-Type: application/merge-patch+json for members that change, or \
                         application/json-patch+json for an array of operations; PUT writes a value whole",
                    );
                    return Err(problem.header(
                        "accept-patch".parse().expect("a header name"),
                        HeaderValue::from_static(ACCEPT_PATCH),
                    ));
                }
            }
        }
        _ => {
            check_json(media)?;
            let (value, room) = read(shared, connection, request, body, Json::parse).await?;
            (Action::Put(value?), room)
        }
    };
    let tags = shown(&request.headers, &header::IF_MATCH);
    let condition = meant(shared, connection, &path, condition, &tags).await?;
    let write = path.write(action, condition)?;
    let (created, revision) = commit(shared, connection, write, CREATES).await?;
    let status = match (method, created) {
        (Method::DELETE, _) => StatusCode::NO_CONTENT,
        (_, true) => StatusCode::CREATED,
        (_, false) => StatusCode::OK,
    };
    Ok((status, [(header::ETAG, etag(shared.cursor(revision)))]).into_response())
}

/// Creates a member under a new name.
pub(super) async fn post(
    shared: &Arc<Shared>,
    connection: &Connection,
    request: &Parts,
    body: &mut Body,
    parent: &Parent,
) -> Answer {
    Query::parse(request.uri.query(), &shared.limits, Target::Nothing)?;
    connection.write()?;
    let condition = condition(&request.headers)?;
    let (value, _room) = read_json(shared, connection, request, body, Json::parse).await?;
    let value = value?;
    if condition.is.is_some() || condition.is_not.is_some() {
        return Err(Problem::new(
            Kind::BadHeader,
            "POST makes something new: there is nothing to compare with",
        ));
    }
    let (name, write) = creation(shared, parent, value)?;
    let (_, revision) = commit(shared, connection, write, CREATES).await?;
    let mut response =
        (StatusCode::CREATED, [(header::ETAG, etag(shared.cursor(revision)))]).into_response();
    // A server below a prefix has a path of its own; `Location` is about the client's.
    let target = request.extensions.get::<OriginalUri>().map_or(&request.uri, |o| &o.0).path();
    let location = format!("{}/{name}", target.trim_end_matches('/'));
    let location = HeaderValue::from_str(&location)
        .map_err(|e| Problem::new(Kind::Internal, e.to_string()))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Checks that a body is JSON, or does not say what it is.
fn check_json(media: Option<Cow<'_, str>>) -> Result<(), Problem> {
    match media {
        Some(media) if media != JSON && !media.ends_with("+json") => {
            let detail = format!("the body must be JSON; this one is {}", named(&media));
            Err(Problem::new(Kind::UnsupportedMediaType, detail).hint(
                "send Content-Type: application/json (curl: --json, or -H 'Content-Type: application/json')",
            ))
        }
        _ => Ok(()),
    }
}

/// Reads the JSON body of a request. Its room is returned with it, and is held until the request is
/// answered.
pub(super) async fn read_json<T: Send + 'static>(
    shared: &Arc<Shared>,
    connection: &Connection,
    request: &Parts,
    body: &mut Body,
    parse: fn(&[u8], &Limits) -> T,
) -> Result<(T, Option<Room>), Problem> {
    check_json(media_type(&request.headers)?)?;
    read(shared, connection, request, body, parse).await
}

/// The type of the body, in lower case and without parameters.
fn media_type(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Problem> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING)
        && coding != "identity"
    {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            "a body with a Content-Encoding cannot be read here",
        )
        .hint("send it uncompressed"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    if value == JSON {
        return Ok(Some(JSON.into()));
    }
    let text = value
        .to_str()
        .map_err(|_| Problem::new(Kind::BadHeader, "Content-Type is not ASCII text"))?;
    Ok(Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().into()))
}

fn named(media: &str) -> &str {
    if media.is_empty() { "of no type" } else { media }
}

/// Reads the whole body, and returns its room with it.
async fn read<T: Send + 'static>(
    shared: &Arc<Shared>,
    connection: &Connection,
    request: &Parts,
    body: &mut Body,
    parse: fn(&[u8], &Limits) -> T,
) -> Result<(T, Option<Room>), Problem> {
    let (bytes, room) = read_body(shared, connection, request, body).await?;
    let shared = shared.clone();
    let parsed =
        aside(connection.turns(), bytes.len(), move || parse(&bytes, &shared.limits)).await;
    Ok((parsed, room))
}

/// A body on its way.
struct Arriving<'a> {
    /// A part of it that has been taken already.
    first: Option<Frame<Bytes>>,
    body: &'a mut Body,
    patience: Patience,
    wanted: Wanted,
    /// Room for the bytes that have arrived: to announce many costs a client nothing.
    room: Option<Room>,
}

impl Arriving<'_> {
    /// The next part of it, if there is one, and if it arrives fast enough.
    async fn next(
        &mut self,
        shared: &Shared,
        connection: &Connection,
    ) -> Result<Option<Frame<Bytes>>, Problem> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            if let Ok(frame) = timeout_at(self.patience.next_look(), self.body.frame()).await {
                return frame.transpose().map_err(broken_off);
            }
            let wanted = self.wanted.look(shared, connection);
            let is_wanted =
                self.room.as_ref().is_some_and(|room| wanted[usize::from(room.is_small())]);
            if self.patience.is_over(is_wanted) {
                return Err(too_slow(&shared.limits));
            }
        }
    }
}

/// The whole body, if it is not too large, arrives fast enough, and there is room for it.
async fn read_body(
    shared: &Shared,
    connection: &Connection,
    request: &Parts,
    body: &mut Body,
) -> Result<(Bytes, Option<Room>), Problem> {
    let max = shared.limits.body_bytes;
    let declared = request
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|len| len > max) {
        return Err(too_large(max));
    }
    // A small body often comes together with its head: then nobody waits for it, and it is not
    // copied.
    let here = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    let first = match here {
        Poll::Ready(None) => return Ok((Bytes::new(), None)),
        Poll::Ready(Some(frame)) => Some(frame.map_err(broken_off)?),
        Poll::Pending => None,
    };
    if let Some(data) = first.as_ref().and_then(Frame::data_ref)
        && body.is_end_stream()
        && data.len() <= max
    {
        let room = Room::try_reserve(shared, connection, data.len(), data.len())?;
        shared.metrics.bytes_in.inc_by(data.len() as u64);
        return Ok((data.clone(), Some(room)));
    }
    // Boxed: a body that is here needs no room for it.
    Box::pin(arrive(shared, connection, body, first, declared)).await
}

/// A body that is still on its way. `first`: the part of it that has been taken already.
async fn arrive(
    shared: &Shared,
    connection: &Connection,
    body: &mut Body,
    first: Option<Frame<Bytes>>,
    declared: Option<usize>,
) -> Result<(Bytes, Option<Room>), Problem> {
    let max = shared.limits.body_bytes;
    let patience = Patience::for_body(&shared.limits);
    let mut arriving = Arriving { first, body, patience, wanted: Wanted::default(), room: None };
    let mut bytes = BytesMut::new();
    while let Some(frame) = arriving.next(shared, connection).await? {
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > max {
                return Err(too_large(max));
            }
            let before = bytes.capacity();
            bytes.extend_from_slice(data);
            if bytes.capacity() > before {
                let (has, foreseen) = (bytes.capacity(), declared.unwrap_or(0));
                // Waiting for room would mean waiting for other requests, whose bytes may be behind
                // these on the connection.
                Room::try_hold(&mut arriving.room, shared, connection, has, foreseen)?;
            }
            if !arriving.patience.earn(data.len()) {
                return Err(too_slow(&shared.limits));
            }
        }
    }
    shared.metrics.bytes_in.inc_by(bytes.len() as u64);
    Ok((bytes.freeze(), arriving.room))
}

fn too_large(max: usize) -> Problem {
    Problem::limit(Kind::BodyTooLarge, "body_bytes", max, "too many bytes of one body")
}

fn broken_off(error: axum::Error) -> Problem {
    Problem::new(Kind::BadBody, format!("the body broke off: {error}"))
}

fn too_slow(limits: &Limits) -> Problem {
    let max = limits.body_timeout_ms as usize;
    let problem = Problem::limit(
        Kind::BodyTimeout,
        "body_timeout_ms",
        max,
        "milliseconds without enough of a body",
    );
    problem.hint(format!(
        "send at least {} bytes a second (body_bytes_per_second)",
        limits.body_bytes_per_second
    ))
}

/// Bytes of a refused body that are read and thrown away, so that the connection can be used again.
const DISCARDED_MAX: usize = 64 << 20;

/// Reads the rest of the body of a request that was refused.
pub(super) async fn discard(mut patience: Patience, mut body: Body) {
    let mut discarded = 0;
    loop {
        match timeout_at(patience.next_look(), body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                discarded += bytes;
                if !patience.earn(bytes) || discarded > DISCARDED_MAX {
                    return;
                }
            }
            Ok(_) => return,
            Err(_) if patience.is_over(false) => return,
            Err(_) => {}
        }
    }
}
