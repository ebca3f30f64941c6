//! Which pages of other origins may use the API.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_core::future::BoxFuture;
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, header};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::{Any, CorsLayer};

use super::answer;
use crate::problem::Problem;
use crate::shared::Shared;

const PREFERENCE_APPLIED: header::HeaderName = header::HeaderName::from_static("preference-applied");

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
            .allow_headers(Any)
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

/// The API as an axum router, with what CORS asks for around it.
pub(crate) fn layered(shared: Arc<Shared>) -> Router {
    let layer = shared.cors.layer();
    let api = service_fn(move |request: Request<Body>| {
        let shared = shared.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(shared, request).await) }
    });
    match layer {
        None => Router::new().fallback_service(api),
        Some(layer) => Router::new().fallback_service(Preflight { cors: layer.layer(api.clone()), api }),
    }
}

/// The CORS layer takes every `OPTIONS` for a preflight; one without `Access-Control-Request-Method` is the API's.
#[derive(Clone)]
struct Preflight<C, A> {
    cors: C,
    api: A,
}

impl<C, A> Service<Request<Body>> for Preflight<C, A>
where
    C: Service<Request<Body>, Response = Response, Error = std::convert::Infallible> + Clone + Send + 'static,
    C::Future: Send,
    A: Service<Request<Body>, Response = Response, Error = std::convert::Infallible> + Clone + Send + 'static,
    A::Future: Send,
{
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let preflight = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        match *request.method() == Method::OPTIONS && !preflight {
            true => Box::pin(self.api.clone().oneshot(request)),
            false => Box::pin(self.cors.clone().oneshot(request)),
        }
    }
}
