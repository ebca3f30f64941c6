//! Sessions: any number of links on one WebSocket (PROTOCOL L1 to L14), or on one answer of HTTP
//! (M4).

mod close;
mod command;
mod credit;
mod desk;
mod driver;
mod message;
mod once;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use halfping_engine::Watch;
use halfping_websocket::{Handshake, HandshakeError, Socket};
use http::request::Parts;
use http::{HeaderValue, Method, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(crate) use self::command::Commands;
use self::desk::Desk;
use self::driver::Driver;
pub(crate) use self::once::once;
use crate::access::{Allowed, Follower};
use crate::ahead::Pieces;
use crate::connection::Connection;
use crate::delivery::Reader;
use crate::hub::{Shared, Subscription};
use crate::problem::{Kind, Problem};
use crate::seen::Transport;
use crate::socket::set_up;

/// The subprotocol.
const PROTOCOL: &str = "halfping.v1";

/// The handshake of a request to open a session; `None` for any other request.
pub(crate) fn handshake(request: &Parts) -> Result<Option<Handshake>, Problem> {
    // RFC 8441: a CONNECT that names its protocol.
    let over_http2 = request.version == Version::HTTP_2
        && request.method == Method::CONNECT
        && request
            .extensions
            .get::<hyper::ext::Protocol>()
            .is_some_and(|p| p.as_str() == "websocket");
    let handshake = Handshake::read(request, over_http2);
    if request.version < Version::HTTP_11 && !matches!(handshake, Ok(None)) {
        return Err(Problem::new(Kind::BadHeader, "a WebSocket needs HTTP/1.1 or newer")
            .hint("behind nginx: proxy_http_version 1.1"));
    }
    handshake.map_err(|error| match error {
        HandshakeError::Version => Problem::new(Kind::WebsocketVersion, error.to_string())
            .header(http::header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        _ => {
            Problem::new(Kind::BadHeader, format!("the request asks for a WebSocket, but {error}"))
        }
    })
}

/// Turns the request's connection into a session, with a link 0 if one is given.
pub(crate) fn open(
    shared: &Arc<Shared>,
    follower: Follower,
    connection: Option<Arc<Connection>>,
    upgrade: Option<OnUpgrade>,
    handshake: &Handshake,
    watch: Option<&Allowed<Watch>>,
) -> Result<Response, Problem> {
    if shared.is_draining() {
        return Err(Problem::new(Kind::Draining, "the server is about to stop"));
    }
    let offered = &handshake.protocols;
    let protocol = offered.iter().any(|offer| offer == PROTOCOL).then_some(PROTOCOL);
    if protocol.is_none() && !offered.is_empty() {
        return Err(Problem::new(
            Kind::BadHeader,
            "none of the subprotocols in Sec-WebSocket-Protocol is spoken here",
        )
        .hint(format!("offer {PROTOCOL}")));
    }
    let Some(upgrade) = upgrade else {
        let problem = Problem::new(
            Kind::Internal,
            "the HTTP server around this API cannot upgrade connections",
        );
        return Err(problem.hint("serve the router with HTTP upgrades, as axum::serve does"));
    };
    // A foreign server's connections are not known, but a session is one. Its socket is not set up
    // yet.
    let is_foreign = connection.is_none();
    let connection = connection.unwrap_or_else(|| Arc::new(Connection::new(&shared.limits)));
    let mut subscription =
        Subscription::new(shared, &follower, &connection, Transport::WebSocket, &[])?;
    if let Some(watch) = watch {
        subscription.watch(0, watch)?;
    }
    let mut desk = Desk::new(subscription, watch.is_some(), follower);
    let over_http2 = handshake.is_over_http2();
    if over_http2 {
        desk.hold_room_for_state();
    }
    let (message_bytes, deflate) = (shared.limits.message_bytes, handshake.deflate);
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a session did not begin"),
        };
        // A task of its own for each, so that no session is as large as the larger of the two.
        match into_tcp(upgraded) {
            Ok((stream, already)) => {
                if is_foreign && let Err(error) = set_up(&stream, &desk.shared().limits) {
                    tracing::debug!(%error, "a socket could not be set up");
                }
                let socket = Socket::new(stream, &already, message_bytes, deflate);
                tokio::spawn(reader(Driver::new(socket, desk)));
            }
            Err(upgraded) if over_http2 => {
                let stream = Pieces::new(TokioIo::new(upgraded));
                let socket = Socket::new(stream, &[], message_bytes, deflate);
                tokio::spawn(reader(Driver::new(socket, desk)));
            }
            Err(upgraded) => {
                let socket = Socket::new(TokioIo::new(upgraded), &[], message_bytes, deflate);
                tokio::spawn(reader(Driver::new(socket, desk)));
            }
        }
    });
    Ok(handshake.response::<Body>(protocol))
}

fn reader<I>(driver: Driver<I>) -> Reader<Driver<I>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Reader::new(driver, |driver, reader| driver.deliver_to(reader))
}

/// The TCP connection itself, if the session has it for itself, and the bytes read from it already.
fn into_tcp(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    // Our own server hands out the connection as it is, others (axum's among them) inside a wrapper
    // of hyper-util's.
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => {
            let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
            Ok((parts.io.into_inner(), parts.read_buf))
        }
    }
}
