//! The API as one HTTP service, and what browsers are told of the pages that may use it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_core::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use parking_lot::Mutex;
use tower::Service;

use super::{answer, identity};
use crate::access::{Access, Cors, Door, Rules};
use crate::connection::Connection;
use crate::hub::Shared;
use crate::problem::{Kind, Problem};

/// Methods that pages of other origins may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");
/// Methods that they may use where nothing is written: `POST` is for `/_streams`.
const METHODS_READ: HeaderValue = HeaderValue::from_static("GET,HEAD,POST");
/// Headers that they may send. The first stands for any, except that to browsers it does not stand
/// for `Authorization`, and to old browsers for nothing.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "*,authorization,content-type,if-match,if-none-match,last-event-id,prefer",
);
/// Headers that they may read.
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("etag,location,retry-after,allow,preference-applied,halfping-subject");
/// Seconds for which a browser may keep these answers.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// Origins of pages that the log names; of more, nothing is said.
const NAMED_MAX: usize = 16;
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// Keeps an answer from pages of other origins that ask for it without CORS, as an image or a
/// script: they could not read it, but learn whether it is there.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    rules: Rules,
    beside: Option<Beside>,
    /// Pages that were turned away and that the log has named.
    named: Mutex<Vec<Box<str>>>,
}

/// A handler that a server has beside the API: it is asked first about each request.
pub(crate) type Beside = Box<dyn Fn(&Request<Body>) -> Option<Response> + Send + Sync>;

impl Front {
    pub(crate) fn new(shared: Arc<Shared>, rules: Rules, beside: Option<Beside>) -> Front {
        Front(Arc::new(Inner { shared, rules, beside, named: Mutex::default() }))
    }

    /// Answers a request. `connection`: the one that it came on, if it is our own server's.
    pub(crate) async fn answer(
        &self,
        mut request: Request<Body>,
        connection: Option<&Arc<Connection>>,
    ) -> Response {
        let Inner { shared, rules, beside, .. } = &*self.0;
        shared.learn_of_revoked(&rules.auth);
        let access = {
            let shown = rules.auth.take(&mut request);
            let peer = connection.and_then(|connection| Some(connection.remote?.ip()));
            let door = Access::of(rules, &shared.limits, &request, &shown, peer);
            let is_no_good = |problem: &Problem| problem.kind() == Kind::Unauthorized;
            let token = shown.as_ref().ok().and_then(|shown| Some(shown.as_ref()?.secret()));
            let token = token.filter(|_| door.as_ref().is_err_and(is_no_good));
            let door = match token.and_then(|token| rules.auth.key_to_wait_for(token)) {
                None => door,
                Some(key) => {
                    key.await;
                    Access::of(rules, &shared.limits, &request, &shown, peer)
                }
            };
            match door {
                Ok(Door::Open(access)) => Ok(access),
                Ok(Door::Waits(waits)) => {
                    shared.follow_asked(&rules.auth);
                    // Boxed, as it is rarely needed.
                    Box::pin(waits.ask(&rules.auth)).await
                }
                Err(problem) => Err(problem),
            }
        };
        if let Some(origin) = access.as_ref().ok().and_then(Access::stranger) {
            self.name(origin);
        }
        let told = identity::Told::of(&rules.auth, access.as_ref().ok());
        identity::open_cursors(access.as_ref().ok(), request.headers_mut());
        let beside = beside.as_ref().filter(|_| access.is_ok());
        if let Some(response) = beside.and_then(|beside| beside(&request)) {
            shared.metrics.requests.of(request.method().as_str()).inc();
            return response;
        }
        let headers = request.headers();
        let allowed = headers.get(header::ORIGIN).filter(|origin| {
            access.is_ok() && origin.to_str().is_ok_and(|origin| rules.cors.allows(origin))
        });
        let allowed = allowed.cloned();
        let is_friend = access.as_ref().is_ok_and(|access| access.stranger().is_none());
        let is_preflight = *request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let mut response = match &allowed {
            Some(_) if is_preflight => {
                shared.metrics.requests.of(Method::OPTIONS.as_str()).inc();
                preflight(rules.read_only)
            }
            _ => answer(shared, access, connection, request).await,
        };
        told.tell(response.headers_mut());
        let_in(rules, allowed, is_friend, response.headers_mut());
        response
    }

    /// Names a page of another origin in the log, once: its browser does not tell it why it was
    /// turned away.
    fn name(&self, origin: &str) {
        let mut named = self.0.named.lock();
        if named.len() < NAMED_MAX && !named.iter().any(|known| **known == *origin) {
            named.push(origin.into());
            tracing::warn!(
                origin,
                "a page of another origin asks and may not use the API; --cors ORIGIN, or [cors] origins, lets it in"
            );
        }
    }
}

/// The answer to a browser that asks before it sends a page's request.
fn preflight(read_only: bool) -> Response {
    let methods = if read_only { METHODS_READ } else { METHODS };
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    (StatusCode::OK, headers).into_response()
}

/// Sets the headers by which a page may read an answer: that of the `allowed` origin, if one asked.
/// `is_friend`: its request was done.
fn let_in(
    Rules { cors, auth, .. }: &Rules,
    allowed: Option<HeaderValue>,
    mut is_friend: bool,
    headers: &mut HeaderMap,
) {
    if *cors == Cors::Any {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        return;
    }
    if *cors != Cors::None {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    match allowed {
        Some(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
            // Only pages that somebody named may have a browser add its cookies.
            if auth.has_cookie() && matches!(cors, Cors::Origins(_)) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            }
        }
        None => is_friend = false,
    }
    if !is_friend {
        headers.insert(RESOURCE_POLICY, SAME_ORIGIN);
    }
}

impl Service<Request<Body>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request, None).await) })
    }
}
