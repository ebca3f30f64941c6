//! Which pages of other origins may use the API.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_core::future::BoxFuture;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, Request, header};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::{Any, CorsLayer};

use super::answer;
use crate::problem::Problem;
use crate::shared::Shared;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// What pages may send. The first stands for any header, except that to browsers it does not stand for `Authorization`, and to old ones for
/// nothing.
const REQUEST_HEADERS: [HeaderName; 7] = [
    HeaderName::from_static("*"),
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
];

/// Pages of which origins may use the API from a browser.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Cors {
    /// Only pages that the same origin served.
    #[default]
    None,
    /// Pages of any origin. For demos and development: it also lets any page that a person has open write.
    Any,
    /// Pages of these origins, such as `https://app.example.org`.
    Origins(Vec<String>),
}

impl Cors {
    fn layer(&self) -> Option<CorsLayer> {
        let layer = CorsLayer::new()
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::PUT,
                Method::PATCH,
                Method::POST,
                Method::DELETE,
            ])
            .allow_headers(REQUEST_HEADERS)
            .expose_headers([
                header::ETAG,
                header::LOCATION,
                header::RETRY_AFTER,
                header::ALLOW,
                PREFERENCE_APPLIED,
            ])
            .max_age(Duration::from_secs(600));
        match self {
            Cors::None => None,
            Cors::Any => Some(layer.allow_origin(Any)),
            Cors::Origins(origins) => {
                let origins: Vec<_> = origins.iter().filter_map(|o| o.parse().ok()).collect();
                Some(layer.allow_origin(origins))
            }
        }
    }
}

/// Refuses a page of another origin that may not use the API. Browsers send `Origin` with the handshake of a WebSocket and then ask nobody: the
/// check is the server's (RFC 6455, section 10.2). What is no page sends none.
pub(super) fn check_origin(cors: &Cors, request: &Parts) -> Result<(), Problem> {
    let Some(origin) = request.headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.uri.authority().map(Authority::as_str));
    let is_own = origin.split_once("://").map(|(_, host)| host).is_some_and(|from| {
        // The port that goes without saying may be said by one of them.
        let plain = |name: &str| name.trim_end_matches(":80").trim_end_matches(":443").to_ascii_lowercase();
        host.is_some_and(|host| plain(host) == plain(from))
    });
    let allowed = match cors {
        Cors::Any => true,
        Cors::Origins(origins) => is_own || origins.iter().any(|known| known == origin),
        Cors::None => is_own,
    };
    match allowed {
        true => Ok(()),
        false => {
            Err(Problem::new("forbidden-origin", format!("pages of {origin} may not open sessions here"))
                .hint("name the origin in the server's [cors] origins"))
        }
    }
}

/// The API as one HTTP service, with what CORS asks for around it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front(Arc<Layered>);

struct Layered {
    shared: Arc<Shared>,
    cors: Option<CorsLayer>,
    /// What the layer adds to answers to requests that are not from pages: always the same, so it need not be asked.
    without_origin: HeaderMap,
    beside: Option<Beside>,
}

/// What a server has beside the API: asked first about each request.
pub(crate) type Beside = Box<dyn Fn(&Request<Body>) -> Option<Response> + Send + Sync>;

impl Front {
    pub(crate) fn new(shared: Arc<Shared>, beside: Option<Beside>) -> Front {
        let cors = shared.cors.layer();
        let mut without_origin = HeaderMap::new();
        if let Some(layer) = &cors {
            let nothing =
                service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::<Body>::default())));
            let asked = std::pin::pin!(layer.layer(nothing).oneshot(Request::default()));
            if let Poll::Ready(Ok(answer)) = asked.poll(&mut Context::from_waker(Waker::noop())) {
                without_origin = answer.into_parts().0.headers;
            }
        }
        Front(Arc::new(Layered { shared, cors, without_origin, beside }))
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        let Layered { shared, cors, without_origin, beside } = &*self.0;
        if let Some(response) = beside.as_ref().and_then(|beside| beside(&request)) {
            shared.metrics.requests.of(request.method().as_str()).inc();
            return response;
        }
        let headers = request.headers();
        let is_preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        // The layer takes every `OPTIONS` for a preflight; one that is none is the API's.
        let is_cross = match *request.method() {
            Method::OPTIONS => is_preflight,
            _ => headers.contains_key(header::ORIGIN),
        };
        if let (true, Some(layer)) = (is_cross, cors) {
            let api =
                service_fn(|request| async { Ok::<_, Infallible>(answer(shared.clone(), request).await) });
            let Ok(response) = Box::pin(layer.layer(api).oneshot(request)).await;
            return response;
        }
        let mut response = answer(shared.clone(), request).await;
        response.headers_mut().extend(without_origin.iter().map(|(n, v)| (n.clone(), v.clone())));
        response
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
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}
