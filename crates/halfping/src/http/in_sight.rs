//! `GET` and `HEAD` of what a client may see only in part, once or as a long poll.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use halfping_engine::{Path, Reading, States};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use super::negotiate::{condition, shown, wait};
use super::{Answer, told};
use crate::access::{Access, Allowed};
use crate::answer;
use crate::connection::Connection;
use crate::hub::writing::etag;
use crate::hub::{Shared, Subscription};
use crate::problem::{Kind, Problem};
use crate::room::{self, HeadRoom};
use crate::seen::Transport;
use crate::shape::Extent;

/// Answers a plain `GET` or `HEAD` of the part of something that the client may see. What is out of
/// sight makes no difference: whether something is there, and is known, is seen by reading.
pub(super) async fn read(
    shared: &Arc<Shared>,
    access: &Access,
    connection: &Arc<Connection>,
    request: &mut Parts,
    path: Allowed<Path>,
    extent: &Extent,
) -> Answer {
    let known = condition(&request.headers)?;
    let shown = shown(&request.headers, &header::IF_NONE_MATCH);
    // A state that the client knows. If none of several is the newest, none before it is.
    let since = match &known.is_not {
        Some(States::These(cursors)) => cursors.iter().max_by_key(|cursor| cursor.revision),
        _ => None,
    };
    let asked = wait(&request.headers).map(|seconds| seconds.min(shared.limits.wait_seconds));
    // It hears of what comes since that state, or from here on, so nothing is missed between two
    // readings.
    let is_followed = since.is_some() || asked.is_some() && !shared.is_draining();
    let change = is_followed.then(|| {
        let follower = access.follow()?;
        let watch = follower.hear_part(&path, extent, since.copied());
        let heard = Subscription::new(shared, &follower, connection, Transport::Poll, &[watch])?;
        Ok::<_, Problem>((follower, heard))
    });
    let change = change.transpose()?;
    let is_same = since.is_some()
        && change
            .as_ref()
            .is_some_and(|(_, heard)| heard.has_news_to_tell(Waker::noop()) == Some(false));
    let (mut reading, mut room) = room::read(shared, connection, &path, extent, None).await?;
    let tag = |reading: &Reading| {
        access.give_shown(&path, extent, reading.cursor(), reading.value.as_deref())
    };
    let is_shown = |reading: &Reading| match &known.is_not {
        Some(States::These(_)) => shown.contains(&tag(reading)),
        Some(States::Any) => reading.value.is_some(),
        None => false,
    };
    let (mut applied, head) = (None, request.method == Method::HEAD);
    let mut is_known = is_same || is_shown(&reading);
    if let (true, Some((follower, subscription)), Some(seconds)) = (is_known, change, asked) {
        applied = Some(seconds);
        drop(room);
        HeadRoom::drop_headers(request);
        let mut is_told = false;
        let may_wait = || follower.may_wait(&path, shared.limits.auth_timeout_ms);
        let news = poll_fn(|cx| {
            is_told |= subscription.has_news_to_tell(cx.waker()) == Some(true);
            if is_told || shared.is_draining() || may_wait().is_err() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let patience = Duration::from_secs(seconds);
        let patience = follower.lasts().map_or(patience, |left| patience.min(left));
        let _ = tokio::time::timeout(patience, news).await;
        may_wait()?;
        (reading, room) = room::read(shared, connection, &path, extent, None).await?;
        is_known = is_same && !is_told || is_shown(&reading);
    }
    let tag = etag(tag(&reading));
    let json = HeaderValue::from_static("application/json");
    let response = match reading.value {
        _ if is_known => StatusCode::NOT_MODIFIED.into_response(),
        None => {
            let asked = extent.asked(&path);
            let problem = Problem::new(Kind::NotFound, format!("there is nothing at {asked}"));
            shared.metrics.refused(&problem);
            problem.into_response()
        }
        Some(_) if head => ([(header::CONTENT_TYPE, json)], Body::empty()).into_response(),
        Some(value) => {
            let body = answer::body(shared, connection, request.version, value, room);
            ([(header::CONTENT_TYPE, json)], body).into_response()
        }
    };
    Ok(told(response, tag, applied))
}
