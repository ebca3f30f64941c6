//! `GET` and `HEAD` of what a client may see only in part, once or as a long poll.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use halfping_engine::{Path, Reading, States};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use super::negotiate::{condition, wait};
use super::{Answer, told};
use crate::access::{Access, Allowed};
use crate::answer;
use crate::auth::reason;
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
    let is_known = |reading: &Reading| match &known.is_not {
        Some(States::These(cursors)) => {
            shared.with_engine(|engine| engine.is_among(cursors, reading.cursor()))
        }
        Some(States::Any) => reading.value.is_some(),
        None => false,
    };
    let asked = wait(&request.headers).map(|seconds| seconds.min(shared.limits.wait_seconds));
    // It hears of what comes from here on, so nothing is missed between two readings.
    let change = asked.filter(|_| !shared.is_draining()).map(|_| {
        let follower = access.follow()?;
        let watch = follower.hear_part(&path, extent);
        let heard = Subscription::new(shared, &follower, connection, Transport::Poll, &[watch])?;
        Ok::<_, Problem>((follower, heard))
    });
    let change = change.transpose()?;
    let (mut reading, mut room) = room::read(shared, connection, &path, extent, None).await?;
    let (mut applied, head) = (None, request.method == Method::HEAD);
    if let (true, Some((follower, subscription)), Some(seconds)) =
        (is_known(&reading), change, asked)
    {
        applied = Some(seconds);
        drop(room);
        HeadRoom::drop_headers(request);
        let news = poll_fn(|cx| {
            let mut is_told = false;
            subscription.pull(cx.waker(), |_| {
                is_told = true;
                false
            });
            if is_told || shared.is_draining() || follower.ended().is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let patience = Duration::from_secs(seconds);
        let patience = follower.lasts().map_or(patience, |left| patience.min(left));
        let _ = tokio::time::timeout(patience, news).await;
        if let Some(why) = follower.ended() {
            return Err(reason(why));
        }
        (reading, room) = room::read(shared, connection, &path, extent, None).await?;
    }
    let (tag, is_known) = (etag(reading.cursor()), is_known(&reading));
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
