//! How a request becomes a WebSocket: RFC 6455, section 4, and over HTTP/2 RFC 8441.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use thiserror::Error;
use tungstenite::handshake::derive_accept_key;

/// The one version that there is.
const VERSION: &str = "13";
/// Without context takeover, compressors belong to threads and not to connections.
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// A request to become a WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// Over HTTP/1.1, what proves that the request was understood.
    accept: Option<String>,
    /// Subprotocols, in the client's order of preference.
    pub protocols: Vec<String>,
    /// Whether the client can read compressed messages.
    pub deflate: bool,
}

/// Why a request cannot become a WebSocket although it asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Another version than 13.
    #[error("WebSockets of version 13 (RFC 6455) are spoken here")]
    Version,
    /// A header that is missing or has no usable value.
    #[error("the header {0} is missing or has no usable value")]
    Header(&'static str),
    /// Not a GET.
    #[error("a WebSocket begins with a GET")]
    Method,
}

impl Handshake {
    /// What a request asks for; `None` when it does not ask to become a WebSocket.
    pub fn read(request: &Parts, over_http2: bool) -> Result<Option<Handshake>, HandshakeError> {
        let headers = &request.headers;
        let mut accept = None;
        if !over_http2 {
            if !has_token(headers, header::UPGRADE, "websocket") {
                return Ok(None);
            }
            if request.method != Method::GET {
                return Err(HandshakeError::Method);
            }
            if !has_token(headers, header::CONNECTION, "upgrade") {
                return Err(HandshakeError::Header("Connection"));
            }
            let key = only(headers, header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
            // Sixteen bytes in base 64.
            let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
            if key.len() != 24 || !key.ends_with(b"==") || !key[..22].iter().all(is_base64) {
                return Err(HandshakeError::Header("Sec-WebSocket-Key"));
            }
            accept = Some(derive_accept_key(key));
        }
        if only(headers, header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
            return Err(HandshakeError::Version);
        }
        let protocols = list(headers, header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect();
        let deflate = list(headers, header::SEC_WEBSOCKET_EXTENSIONS).any(is_usable_offer);
        Ok(Some(Handshake { accept, protocols, deflate }))
    }

    /// The answer that makes it one.
    pub fn response<B: Default>(&self, protocol: Option<&str>) -> Response<B> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        if let Some(accept) = &self.accept {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers
                .extend(HeaderValue::from_str(accept).map(|accept| (header::SEC_WEBSOCKET_ACCEPT, accept)));
        }
        let protocol = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok());
        headers.extend(protocol.map(|protocol| (header::SEC_WEBSOCKET_PROTOCOL, protocol)));
        if self.deflate {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(DEFLATE));
        }
        *response.status_mut() = match self.accept {
            Some(_) => StatusCode::SWITCHING_PROTOCOLS,
            None => StatusCode::OK,
        };
        response
    }
}

/// The value of a header that may stand there once (RFC 6455, section 11.3).
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// The elements of a header that is a list, in however many lines.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token))
}

/// Whether an offer can be accepted as it is. A client that cannot read the usual window is not compressed for.
fn is_usable_offer(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    let mut seen: Vec<&str> = Vec::new();
    parts.next() == Some("permessage-deflate")
        && parts.all(|part| {
            let (name, value) = part.split_once('=').map_or((part, None), |(n, v)| (n, Some(v)));
            let twice = seen.contains(&name);
            seen.push(name);
            let bits = value.map(|value| value.trim_matches('"').parse::<u8>());
            !twice
                && match name {
                    "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                    "client_max_window_bits" => matches!(bits, None | Some(Ok(8..=15))),
                    "server_max_window_bits" => matches!(bits, Some(Ok(15))),
                    _ => false,
                }
        })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Option<Handshake>, HandshakeError> {
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Handshake::read(&request.body(()).unwrap().into_parts().0, false)
    }

    const USUAL: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_example_of_rfc_6455() {
        let handshake = read(&USUAL).unwrap().unwrap();
        let response: Response<()> = handshake.response(Some("chat"));
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    }

    #[test]
    fn other_requests_are_none() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("upgrade", "h2c")]), Ok(None));
        for (missing, error) in [
            (0, HandshakeError::Header("Connection")),
            (2, HandshakeError::Version),
            (3, HandshakeError::Header("Sec-WebSocket-Key")),
        ] {
            let mut headers = USUAL.to_vec();
            headers.remove(missing);
            assert_eq!(read(&headers), Err(error));
        }
        for twice in [2, 3] {
            assert!(read(&[&USUAL[..], &[USUAL[twice]]].concat()).is_err(), "{}", USUAL[twice].0);
        }
    }

    #[test]
    fn compression_is_agreed_on_when_an_offer_can_be_kept() {
        for (offers, agreed) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", true),
            ("permessage-deflate; who_knows", false),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", false),
            ("x-webkit-deflate-frame", false),
        ] {
            let headers = [&USUAL[..], &[("sec-websocket-extensions", offers)]].concat();
            assert_eq!(read(&headers).unwrap().unwrap().deflate, agreed, "{offers}");
        }
    }
}
