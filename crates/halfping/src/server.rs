//! The accept loop. It is our own because every socket has to be set up so that nothing stale waits in it (invariant A3), and
//! because streams never end by themselves when a server wants to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::{Request, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::Api;
use crate::connection::Connection;
use crate::problem::Problem;
use crate::shared::Shared;
use crate::transports::{SSE, farewell};

/// Bytes that a request's head may have besides its target. What hyper may hold of a head it may also hold of a body on its way out, and what
/// waits there is decided already: so little of it.
const HTTP1_HEADERS: usize = 4 << 10;
/// The least that hyper works with.
const HTTP1_BUFFER_MIN: usize = 8 << 10;
/// The same for one HTTP/2 stream.
const HTTP2_SEND_BUFFER: usize = 16 << 10;
/// Silence after which the kernel asks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Connections beyond the limit that are told so; more are closed at once.
const TURNED_AWAY_AT_ONCE: usize = 64;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Pause after the system had no room for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An [`Api`] on a port: HTTP/1.1 and HTTP/2 (prior knowledge).
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    api: Api,
}

impl Server {
    /// Takes the port. Clients can connect from now on, and are answered once [`Server::run`] is polled.
    pub async fn bind(listen: SocketAddr, api: Api) -> io::Result<Server> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::STREAM, None)?;
        // So that a server can be restarted while connections of its predecessor linger.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Server { address: listener.local_addr()?, listener, api })
    }

    /// Where it listens: the port that the system chose, if it was asked for any.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then drains: no new connections, streams end so that their readers come back, requests in progress
    /// have `limits.drain_ms` to finish.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let shared = self.api.shared().clone();
        let router = self.api.router();
        let room = Arc::new(Semaphore::new(shared.limits.connections));
        let waiting_room = Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE));
        let (drain, draining) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let stream = tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Of this connection, or of the system for now; in neither case of the listener.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            if let Err(error) = set_up(&stream, &shared) {
                tracing::debug!(%error, "a socket could not be set up");
                continue;
            }
            if let Ok(permit) = room.clone().try_acquire_owned() {
                connections.spawn(serve(stream, shared.clone(), router.clone(), draining.clone(), permit));
            } else {
                let problem = too_many(&shared);
                shared.metrics.refused(&problem);
                if let Ok(permit) = waiting_room.clone().try_acquire_owned() {
                    connections.spawn(turn_away(stream, shared.clone(), draining.clone(), permit));
                }
            }
        }
        drop(self.listener);
        shared.drain();
        drop(draining);
        let _ = drain.send(());
        let patience = Duration::from_millis(shared.limits.drain_ms);
        let finished =
            tokio::time::timeout(patience, async { while connections.join_next().await.is_some() {} });
        if finished.await.is_err() {
            tracing::warn!(open = connections.len(), "connections did not finish in time and are cut");
        }
        Ok(())
    }
}

/// Sees to it that nothing stale waits in a socket.
pub(crate) fn set_up(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(shared.limits.unsent_bytes)?;
    Ok(())
}

async fn serve(
    stream: TcpStream,
    shared: Arc<Shared>,
    router: Router,
    draining: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    shared.metrics.connections.inc();
    shared.metrics.connections_total.inc();
    let connection = Arc::new(Connection::new(&shared.limits));
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = asked.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    // hyper's own timeout for headers begins once it knows the protocol, so not for who sends nothing, or a `P`.
    let silent = async {
        tokio::time::sleep(Duration::from_millis(shared.limits.header_timeout_ms)).await;
        if has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = run(stream, &shared, draining, service) => {}
        () = silent => shared.metrics.limit_hit("header_timeout_ms"),
    }
    shared.metrics.connections.dec();
}

/// Answers the first request of a connection that there is no room for, in words that its client understands.
async fn turn_away(
    stream: TcpStream,
    shared: Arc<Shared>,
    draining: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    let problem = too_many(&shared);
    let service = service_fn(move |request: Request<Incoming>| {
        let accept = request.headers().get(header::ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
        let mut response = if accept.contains(SSE) { farewell() } else { problem.clone().into_response() };
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let patience = Duration::from_millis(shared.limits.header_timeout_ms);
    let _ = tokio::time::timeout(patience, run(stream, &shared, draining, service)).await;
}

fn too_many(shared: &Shared) -> Problem {
    Problem::limit("too-many-connections", "connections", shared.limits.connections, "open connections")
}

async fn run<S, F>(stream: TcpStream, shared: &Shared, mut draining: watch::Receiver<()>, service: S)
where
    S: hyper::service::Service<
            Request<Incoming>,
            Response = http::Response<Body>,
            Error = std::convert::Infallible,
            Future = F,
        > + Send
        + 'static,
    F: Future<Output = Result<http::Response<Body>, std::convert::Infallible>> + Send + 'static,
{
    let limits = &shared.limits;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        // A frame is small and comes in three pieces (its length, itself, the end of its chunk): to copy them together costs less
        // than to hand the kernel a list of them.
        .writev(false)
        .max_buf_size(HTTP1_BUFFER_MIN.max(limits.uri_bytes + HTTP1_HEADERS));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_per_connection)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .enable_connect_protocol()
        .keep_alive_interval(KEEP_ALIVE);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // Closed as well as sent to: either way the server stops.
        _ = draining.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout) {
            shared.metrics.limit_hit("header_timeout_ms");
        }
        tracing::debug!(%error, "a connection ended");
    }
}
