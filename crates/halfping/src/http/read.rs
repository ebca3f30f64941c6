//! `GET` and `HEAD`: once, as a long poll, or as a stream; and the sessions that begin with a
//! request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use halfping_engine::{Cursor, Metadata, Path, Refusal, States, Watch};
use halfping_websocket::Handshake;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;

use super::negotiate::{Query, Representation, Target, accept, condition, since, wait};
use super::{Answer, in_sight, told, write};
use crate::access::{Access, Allowed, Follower, is_own};
use crate::ahead;
use crate::answer;
use crate::connection::Connection;
use crate::hub::writing::etag;
use crate::hub::{Shared, Subscription};
use crate::problem::{Kind, Problem};
use crate::room::{self, HeadRoom};
use crate::seen::Transport;
use crate::shape::Extent;
use crate::transports::{Format, Stream, Style, farewell, response, session, streaming};

/// Reads one resource.
pub(super) async fn one(
    shared: &Arc<Shared>,
    access: &Access,
    connection: &Arc<Connection>,
    request: &mut Parts,
    path: Path,
) -> Answer {
    let mut query = Query::parse(request.uri.query(), &shared.limits, Target::Resource)?;
    let representation = match accept(&request.headers)? {
        Representation::Json if query.watch => Representation::Stream(Format::Ndjson),
        representation => representation,
    };
    match representation {
        Representation::Stream(format) => {
            let follower = access.follow()?;
            query.shape.since = since(&request.headers, &query);
            let watches = [follower.watch(path, &query.shape)?];
            let asked = Asked { follower, watches: &watches, paths: None };
            stream(shared, connection, request, query, format, asked).await
        }
        Representation::Json => {
            if let Some(name) = query.of_streams {
                return Err(Problem::new(
                    Kind::NotAStream,
                    format!("'{name}' shapes a stream, and this is a plain GET"),
                )
                .hint("add ?watch, or Accept: text/event-stream"));
            }
            let (path, extent) = access.read(path, &query.shape)?;
            let is_hidden =
                || access.is_partial() && !is_own(&path) && shared.metadata(&path).len.is_none();
            if extent.is_in_sight() || is_hidden() {
                return in_sight::read(shared, access, connection, request, path, &extent).await;
            }
            plain(shared, access, connection, request, path, &extent).await
        }
    }
}

/// Streams many resources at once.
pub(super) async fn many(
    shared: &Arc<Shared>,
    access: &Access,
    connection: &Arc<Connection>,
    request: &Parts,
) -> Answer {
    let follower = access.follow()?;
    let mut query = Query::parse(request.uri.query(), &shared.limits, Target::Many)?;
    let format = match accept(&request.headers)? {
        Representation::Stream(format) => format,
        Representation::Json => Format::Ndjson,
    };
    let spelled = std::mem::take(&mut query.paths);
    if spelled.is_empty() {
        return Err(
            Problem::new(Kind::BadParameter, "no path is given").hint("/_streams?path=/a&path=/b")
        );
    }
    query.shape.since = since(&request.headers, &query);
    let mut paths: Vec<Path> = Vec::with_capacity(spelled.len());
    let mut watches: Vec<Allowed<Watch>> = Vec::with_capacity(spelled.len());
    for text in &spelled {
        let path = Path::parse(text, &shared.limits)
            .map_err(|e| Problem::new(Kind::BadPath, format!("the parameter path={text}: {e}")))?;
        if paths.contains(&path) {
            return Err(Problem::new(
                Kind::BadParameter,
                format!("the path {path} is given twice"),
            ));
        }
        paths.push(path.clone());
        watches.push(follower.watch(path, &query.shape)?);
    }
    let paths = Some(spelled.into_iter().map(Into::into).collect());
    let asked = Asked { follower, watches: &watches, paths };
    stream(shared, connection, request, query, format, asked).await
}

/// Opens a session, with a first link if `?watch` asks for one.
pub(super) async fn session(
    shared: &Arc<Shared>,
    access: &Access,
    connection: Option<Arc<Connection>>,
    request: &Parts,
    path: Path,
    handshake: &Handshake,
    upgrade: Option<OnUpgrade>,
) -> Answer {
    let follower = access.follow()?;
    let mut query = Query::parse(request.uri.query(), &shared.limits, Target::Session)?;
    query.shape.since = since(&request.headers, &query);
    let watch = query.watch.then(|| follower.watch(path.clone(), &query.shape)).transpose()?;
    if watch.is_none() {
        if let Some(name) = query.of_shape {
            return Err(Problem::new(
                Kind::NotAStream,
                format!("'{name}' shapes a link, and none is asked for"),
            )
            .hint("add ?watch, or send it with the command 'watch'"));
        }
        if !path.is_root() {
            return Err(Problem::new(Kind::BadPath, format!("a session begins at /, not at {path}")).hint(
                "connect to / and send {\"watch\":1,\"path\":\"…\"}, or add ?watch to begin with a link here",
            ));
        }
    }
    if let Some(watch) = &watch {
        shared.refresh(&watch.path).await;
    }
    session::open(shared, follower, connection, upgrade, handshake, watch.as_ref())
}

/// Opens a session that is heard only once: its commands are the body, and its messages the answer.
pub(super) async fn once(
    shared: &Arc<Shared>,
    access: &Access,
    connection: &Arc<Connection>,
    request: &Parts,
    body: &mut Body,
) -> Answer {
    let follower = access.follow()?;
    let query = Query::parse(request.uri.query(), &shared.limits, Target::Nothing)?;
    let format = match accept(&request.headers)? {
        Representation::Stream(format) => format,
        Representation::Json => Format::Sse,
    };
    let parse = session::Commands::once;
    let (commands, room) = write::read_json(shared, connection, request, body, parse).await?;
    let commands = commands?;
    if let Some(answer) = sent_away(shared, format) {
        return answer;
    }
    let since = since(&request.headers, &query);
    let messages = session::once(shared, follower, connection, format, (commands, room), since)?;
    Ok(held(shared, connection, request, streaming(messages)))
}

/// The same stream, with a bound on what it holds where its connection has more of them.
fn held(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    request: &Parts,
    stream: Response,
) -> Response {
    match request.version {
        Version::HTTP_2 => stream.map(|body| ahead::bounded(shared, connection, body)),
        _ => stream,
    }
}

/// The answer to a stream that begins when the server is about to stop.
fn sent_away(shared: &Shared, format: Format) -> Option<Answer> {
    shared.is_draining().then(|| match format {
        Format::Sse => Ok(farewell()),
        Format::Ndjson => Err(Problem::new(Kind::Draining, "the server is about to stop")),
    })
}

/// Links that a stream is asked for, and the client.
struct Asked<'a> {
    follower: Follower,
    watches: &'a [Allowed<Watch>],
    /// The paths as the client spells them, where there may be several.
    paths: Option<Box<[Box<str>]>>,
}

async fn stream(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    request: &Parts,
    query: Query,
    format: Format,
    Asked { follower, watches, paths }: Asked<'_>,
) -> Answer {
    if let Some(answer) = sent_away(shared, format) {
        return answer;
    }
    if request.method == Method::HEAD {
        return Ok(response(format, Body::empty()));
    }
    for watch in watches {
        shared.refresh(&watch.path).await;
    }
    let subscription =
        Subscription::new(shared, &follower, connection, format.transport(), watches)?;
    let style = Style { format, whole: query.shape.whole, envelope: query.envelope, paths };
    let since = watches.first().and_then(|watch| watch.since);
    let stream = match follower.rights().is_some() {
        false => streaming(Stream::of_frames(subscription, style, since)),
        true => streaming(Stream::until(subscription, style, since, follower, watches)),
    };
    Ok(held(shared, connection, request, stream))
}

/// Answers a plain `GET` or `HEAD`. A value is read only if it is sent: the engine waits while it
/// is copied.
async fn plain(
    shared: &Arc<Shared>,
    access: &Access,
    connection: &Arc<Connection>,
    request: &mut Parts,
    path: Allowed<Path>,
    extent: &Extent,
) -> Answer {
    let known = condition(&request.headers)?;
    let is_known = |now: &Metadata| match &known.is_not {
        Some(States::These(cursors)) => {
            shared.with_engine(|engine| engine.is_among(cursors, now.cursor()))
        }
        Some(States::Any) => now.len.is_some(),
        None => false,
    };
    shared.refresh(&path).await;
    let mut now = shared.metadata(&path);
    let mut applied = None;
    if is_known(&now)
        && let Some(asked) = wait(&request.headers)
    {
        let follower = access.follow()?;
        let seconds = asked.min(shared.limits.wait_seconds);
        applied = Some(seconds);
        if !shared.is_draining() {
            let patience = Duration::from_secs(seconds);
            let patience = follower.lasts().map_or(patience, |left| patience.min(left));
            HeadRoom::drop_headers(request);
            wait_for_change(shared, &follower, connection, &path, now.cursor(), patience).await?;
            follower.may_wait(&path, shared.limits.auth_timeout_ms)?;
            shared.refresh(&path).await;
            now = shared.metadata(&path);
        }
    }
    let found = if is_known(&now) {
        Some(StatusCode::NOT_MODIFIED.into_response())
    } else if request.method == Method::HEAD {
        without_value(shared, &now, extent)?
    } else {
        let (reading, room) = room::read(shared, connection, &path, extent, now.len).await?;
        // It may have changed since.
        now.revision = reading.revision;
        let json = HeaderValue::from_static("application/json");
        reading.value.map(|value| {
            let body = answer::body(shared, connection, request.version, value, room);
            ([(header::CONTENT_TYPE, json)], body).into_response()
        })
    };
    let response = found.unwrap_or_else(|| {
        let problem = Problem::new(Kind::NotFound, format!("there is nothing at {}", *path));
        shared.metrics.refused(&problem);
        problem.into_response()
    });
    let tag = match now.len {
        None => etag(access.give_shown(&path, extent, now.cursor(), None)),
        Some(_) => etag(access.give(now.cursor())),
    };
    Ok(told(response, tag, applied))
}

/// The answer to a `HEAD`; `None` when nothing is there. The length of a part would have to be
/// worked out, so it is omitted.
fn without_value(
    shared: &Shared,
    now: &Metadata,
    extent: &Extent,
) -> Result<Option<Response>, Refusal> {
    let Some(len) = now.len else { return Ok(None) };
    let json = HeaderValue::from_static("application/json");
    let mut response = ([(header::CONTENT_TYPE, json)], Body::empty()).into_response();
    if extent.is_all() {
        if len > shared.limits.value_bytes {
            return Err(Refusal::value_too_large(&shared.limits));
        }
        response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    }
    Ok(Some(response))
}

/// Waits until the resource is in another state than it was, or the time is over, or the server
/// drains.
async fn wait_for_change(
    shared: &Arc<Shared>,
    follower: &Follower,
    connection: &Arc<Connection>,
    path: &Allowed<Path>,
    known: Cursor,
    patience: Duration,
) -> Result<(), Problem> {
    // Whatever the extent: the cursor changes with what is beyond it as well.
    let watch = follower.hear(path);
    let subscription = Subscription::new(shared, follower, connection, Transport::Poll, &[watch])?;
    let change = poll_fn(|cx| {
        // Draining is looked at last: it wakes those who wait by then.
        let changed = subscription.has_changed(cx.waker(), path, known);
        let may_wait = || follower.may_wait(path, shared.limits.auth_timeout_ms).is_ok();
        match changed || shared.is_draining() || !may_wait() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    });
    // In either case the answer tells what is there now.
    let _ = tokio::time::timeout(patience, change).await;
    Ok(())
}
