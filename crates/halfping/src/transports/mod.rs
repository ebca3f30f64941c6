//! Streams over one HTTP response: frames written as server-sent events or as lines, at the pace of
//! the connection.

mod body;
mod encoding;
mod frames;
mod ndjson;
mod pulls;
pub(crate) mod session;
mod sse;
mod until;

use axum::response::{IntoResponse, Response};
use http::header;

use body::Source;
pub(crate) use body::Stream;
pub(crate) use encoding::{Format, Style};

/// The answer to a request for a stream, with a body that ends.
pub(crate) fn response(format: Format, body: axum::body::Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), format.content_type()),
        (header::CACHE_CONTROL.as_str(), "no-store, no-transform"),
        (header::VARY.as_str(), "Accept, Authorization"),
        ("x-accel-buffering", "no"),
        ("incremental", "?1"),
    ];
    (headers, body).into_response()
}

/// A stream, as an answer.
pub(crate) fn streaming<S: Source>(stream: Stream<S>) -> Response {
    let endless = stream.endless();
    let mut response = response(stream.format(), axum::body::Body::new(stream));
    if let Some(endless) = endless {
        response.extensions_mut().insert(endless);
    }
    response
}

/// A stream of server-sent events that ends at once and tells its reader to come back: anything but
/// 200 would stop a browser's `EventSource` for good (PROTOCOL E5).
pub(crate) fn farewell() -> Response {
    let mut farewell = Vec::new();
    sse::farewell(&mut farewell);
    response(Format::Sse, farewell.into())
}
