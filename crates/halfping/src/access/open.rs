//! Requests that are for everybody, whoever asks.

use http::{Method, Request};

/// True if a request asks for the server's health, which load balancers do by its address (PROTOCOL
/// O15).
pub(super) fn asks_for_health<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == "/_health"
}

/// True if a request asks for a page that may stand beside the API, or a part of one. Browsers show
/// no token when they open one, and who has to log in there has none yet (PROTOCOL I13b).
pub(super) fn asks_for_page<B>(request: &Request<B>) -> bool {
    let name = request.uri().path().get(1..).and_then(|path| path.split('/').next());
    matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(name, Some("_console" | "_demo" | "_assets"))
}
