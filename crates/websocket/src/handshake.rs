//! Handshake: a request becomes a WebSocket (RFC 6455, section 4, and over HTTP/2 RFC 8441).

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use thiserror::Error;
use tungstenite::handshake::derive_accept_key;

/// The only version.
const VERSION: &str = "13";
/// The answer to an offer of compression. Without context takeover, compressors belong to threads
/// and not to connections.
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The answer to a client that asked for a window of this many bits, which is the usual one.
const DEFLATE_WINDOW: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// A request to become a WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// The value of `Sec-WebSocket-Accept`, over HTTP/1.1 only.
    accept: Option<String>,
    /// Subprotocols, in the client's order of preference.
    pub protocols: Vec<String>,
    /// True if the client can read compressed messages.
    pub deflate: bool,
    /// True if the client asked for the usual window: the answer then has to name it (RFC 7692,
    /// section 7.1.2.1).
    names_window: bool,
}

/// Error of a request that asks for a WebSocket and cannot become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A version other than 13.
    #[error("WebSockets of version 13 (RFC 6455) are spoken here")]
    Version,
    /// A header that is missing or has no usable value.
    #[error("the header {0} is missing or has no usable value")]
    Header(&'static str),
    /// A method other than GET.
    #[error("a WebSocket begins with a GET")]
    Method,
    /// A body: its bytes could not be told from frames.
    #[error("the request of a WebSocket has no body")]
    Body,
}

impl Handshake {
    /// Reads the handshake of a request; `None` when it does not ask for a WebSocket.
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
            let key =
                only(headers, header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
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
        if has_body(headers) {
            return Err(HandshakeError::Body);
        }
        let protocols = list(headers, header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect();
        let offer = list(headers, header::SEC_WEBSOCKET_EXTENSIONS).find_map(usable_offer);
        let names_window = offer.is_some_and(|names_window| names_window);
        Ok(Some(Handshake { accept, protocols, deflate: offer.is_some(), names_window }))
    }

    /// True if the WebSocket is one stream of an HTTP/2 connection (RFC 8441).
    pub fn is_over_http2(&self) -> bool {
        self.accept.is_none()
    }

    /// The answer that accepts the handshake.
    pub fn response<B: Default>(&self, protocol: Option<&str>) -> Response<B> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        if let Some(accept) = &self.accept {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.extend(
                HeaderValue::from_str(accept).map(|accept| (header::SEC_WEBSOCKET_ACCEPT, accept)),
            );
        }
        let protocol = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok());
        headers.extend(protocol.map(|protocol| (header::SEC_WEBSOCKET_PROTOCOL, protocol)));
        if self.deflate {
            let agreed = if self.names_window { DEFLATE_WINDOW } else { DEFLATE };
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(agreed));
        }
        *response.status_mut() = match self.accept {
            Some(_) => StatusCode::SWITCHING_PROTOCOLS,
            None => StatusCode::OK,
        };
        response
    }
}

/// The value of a header that may occur once (RFC 6455, section 11.3).
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// The elements of a header that is a list, in any number of lines.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token))
}

/// True if a request announces a body, by the headers of HTTP/1.1 and HTTP/2.
fn has_body(headers: &HeaderMap) -> bool {
    let mut lens = headers.get_all(header::CONTENT_LENGTH).into_iter();
    headers.contains_key(header::TRANSFER_ENCODING) || lens.any(|len| len != "0")
}

/// Reads an offer of compression: `Some` if it can be accepted as it is, with whether it names the
/// window. The server does not compress for a client that cannot read the usual window.
fn usable_offer(offer: &str) -> Option<bool> {
    let mut parts = offer.split(';').map(str::trim);
    let mut seen: Vec<&str> = Vec::new();
    let is_usable = parts.next() == Some("permessage-deflate")
        && parts.all(|part| {
            let (name, value) =
                part.split_once('=').map_or((part, None), |(n, v)| (n.trim(), Some(v.trim())));
            let twice = seen.contains(&name);
            seen.push(name);
            !twice
                && match name {
                    "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                    "client_max_window_bits" => value.is_none_or(|value| bits(value).is_some()),
                    "server_max_window_bits" => value.and_then(bits) == Some(15),
                    _ => false,
                }
        });
    is_usable.then(|| seen.contains(&"server_max_window_bits"))
}

/// The bits of a window: 8 to 15, without leading zeros, perhaps in quotes.
fn bits(value: &str) -> Option<u8> {
    let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let digits = inside.unwrap_or(value);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|bits| is_plain && (8..=15).contains(bits))
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
            ("permessage-deflate; client_max_window_bits=015", false),
            ("permessage-deflate; client_max_window_bits=+15", false),
            ("permessage-deflate; server_max_window_bits=\"15", false),
            ("permessage-deflate; server_max_window_bits", false),
            ("x-webkit-deflate-frame", false),
        ] {
            let headers = [&USUAL[..], &[("sec-websocket-extensions", offers)]].concat();
            assert_eq!(read(&headers).unwrap().unwrap().deflate, agreed, "{offers}");
        }
    }

    #[test]
    fn a_window_that_was_asked_for_is_named_in_the_answer() {
        for (offers, is_named) in [
            ("permessage-deflate", false),
            ("permessage-deflate; client_max_window_bits=15", false),
            ("permessage-deflate; server_max_window_bits=15", true),
            ("permessage-deflate; server_max_window_bits = \"15\"; client_max_window_bits", true),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", false),
            ("permessage-deflate, permessage-deflate; server_max_window_bits=15", false),
        ] {
            let headers = [&USUAL[..], &[("sec-websocket-extensions", offers)]].concat();
            let response: Response<()> = read(&headers).unwrap().unwrap().response(None);
            let agreed = response.headers()["sec-websocket-extensions"].to_str().unwrap();
            assert_eq!(agreed.contains("; server_max_window_bits=15"), is_named, "{offers}");
            assert!(agreed.starts_with(DEFLATE), "{agreed}");
        }
    }

    #[test]
    fn a_request_with_a_body_becomes_no_websocket() {
        for (name, value, has_body) in [
            ("content-length", "0", false),
            ("content-length", "1", true),
            ("content-length", "00", true),
            ("transfer-encoding", "chunked", true),
            ("transfer-encoding", "identity", true),
        ] {
            let refused = read(&[&USUAL[..], &[(name, value)]].concat());
            assert_eq!(refused == Err(HandshakeError::Body), has_body, "{name}: {value}");
        }
    }
}
