//! The accept loop. It is not a library's, because every socket has to be set up so that nothing
//! stale waits in it (invariant A3), and because streams never end by themselves when a server
//! wants to stop.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::IntoResponse;
use http::{Method, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::Api;
use crate::connection::{Connection, Place};
use crate::delivery::Reader;
use crate::direct::{Direct, Endless};
use crate::http::{Beside, Front};
use crate::hub::Shared;
use crate::preface::{self, Speaks};
use crate::problem::{Kind, Problem};
use crate::room::HeadRoom;
use crate::socket::{InTurns, KEEP_ALIVE, set_up};
use crate::transports::{Format, farewell};

/// Bytes that a request's head may have besides its target. hyper may hold as much of a body on its
/// way out, whose content is decided already: so the bound is small.
const HTTP1_HEADERS: usize = 4 << 10;
/// The smallest buffer that hyper works with.
const HTTP1_BUFFER_MIN: usize = 8 << 10;
/// Bytes of a body on its way out that hyper may hold for one HTTP/2 stream.
const HTTP2_SEND_BUFFER: usize = 16 << 10;
/// Bytes of bodies that an HTTP/2 client may send before any of them are read: of one stream, and
/// of all of its connection.
const HTTP2_WINDOW: u32 = 1 << 20;
/// Bytes of bodies that a client may send on a connection that is turned away, whose one request is
/// to be answered and no more.
const TURNED_AWAY_WINDOW: u32 = 64 << 10;
/// Time that this may take.
const TURNED_AWAY_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes that a request's head may have over HTTP/2 besides its target, each header counted with 32
/// more.
const HTTP2_HEADERS: usize = 8 << 10;
/// Streams of a connection that were reset before they were looked at; and those that the client
/// broke. More of either end the connection.
const HTTP2_RESETS_MAX: usize = 20;
const HTTP2_ERRORS_MAX: usize = 1024;
/// A request that took longer than this is the last that its connection's turn begins.
const TURN: Duration = Duration::from_millis(1);
/// Connections beyond the limit that are told so, and may ask for `/_health`. Where there are more,
/// the one that has waited longest is closed: a client that asks at once is answered, whatever the
/// others do.
const TURNED_AWAY_AT_ONCE: usize = 64;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// More connections than a process can have anywhere.
const PLACES_MAX: usize = 1 << 28;
/// Pause after the system had no room for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An [`Api`] on a port: HTTP/1.1 and HTTP/2 (prior knowledge).
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    api: Api,
    beside: Option<Beside>,
}

impl Server {
    /// Takes the port. Clients can connect from now on, and are answered once [`Server::run`] is
    /// polled.
    pub async fn bind(listen: SocketAddr, api: Api) -> io::Result<Server> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(listen),
            socket2::Type::STREAM,
            None,
        )?;
        // With this a server can be restarted while connections of its predecessor linger.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Server { address: listener.local_addr()?, listener, api, beside: None })
    }

    /// Asks `beside` first about each request for this server: its answers are not the API's, nor
    /// subject to its CORS. For pages, say, at names that no resource can have: those that begin
    /// with `_`.
    #[must_use]
    pub fn beside(
        mut self,
        beside: impl Fn(&Request<Body>) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Server {
        self.beside = Some(Box::new(beside));
        self
    }

    /// The address at which it listens, with the port that the system chose if it was asked for
    /// any.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then drains: no new connections, streams end so that their readers come
    /// back, requests in progress have `limits.drain_ms` to finish.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let shared = self.api.shared().clone();
        let front = Front::new(shared.clone(), self.api.rules().at(self.address), self.beside);
        let places = shared.limits.connections.min(PLACES_MAX);
        let room = Arc::new(Semaphore::new(places));
        let mut turned_away: VecDeque<AbortHandle> = VecDeque::new();
        let (drain, draining) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let (stream, remote) = tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // The error is of this connection, or of the system for now, but not of the
                        // listener.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            if let Err(error) = set_up(&stream, &shared.limits) {
                tracing::debug!(%error, "a socket could not be set up");
                continue;
            }
            if let Ok(permit) = room.clone().try_acquire_owned() {
                let place = Place::new(permit, &shared.metrics);
                let connection = Arc::new(Connection::at(place, remote, &shared.limits));
                connections.spawn(serve(
                    stream,
                    shared.clone(),
                    front.clone(),
                    draining.clone(),
                    connection,
                ));
            } else {
                let problem = too_many(&shared);
                shared.metrics.refused(&problem);
                turned_away.retain(|task| !task.is_finished());
                if turned_away.len() >= TURNED_AWAY_AT_ONCE
                    && let Some(longest) = turned_away.pop_front()
                {
                    longest.abort();
                }
                let task = turn_away(stream, shared.clone(), front.clone(), draining.clone());
                turned_away.push_back(connections.spawn(task));
            }
        }
        drop(self.listener);
        shared.drain();
        drop(draining);
        let _ = drain.send(());
        let patience = Duration::from_millis(shared.limits.drain_ms);
        let finished = tokio::time::timeout(patience, async {
            while connections.join_next().await.is_some() {}
            // Sessions have tasks of their own, but places like all others.
            let _ = room.acquire_many(places as u32).await;
        });
        if finished.await.is_err() {
            let open = places - room.available_permits();
            tracing::warn!(open, "connections did not finish in time and are cut");
        }
        Ok(())
    }
}

/// Serves a connection until it ends. Serving HTTP is boxed, so that the task is no larger than
/// what it is left with in the end.
fn serve(
    stream: TcpStream,
    shared: Arc<Shared>,
    front: Front,
    draining: watch::Receiver<()>,
    connection: Arc<Connection>,
) -> impl Future<Output = ()> {
    let http = Box::pin(serve_http(stream, shared, front, draining, connection));
    async move {
        let taken = http.await;
        if let Some(reader) = taken {
            reader.await;
        }
    }
}

/// Serves HTTP until the connection ends, or until it has an answer that does not.
async fn serve_http(
    stream: TcpStream,
    shared: Arc<Shared>,
    front: Front,
    draining: watch::Receiver<()>,
    connection: Arc<Connection>,
) -> Option<Reader<Direct>> {
    let (served, cut) = (connection.clone(), connection.begin_requests());
    let requests = Arc::new(AtomicUsize::new(0));
    let (asked, endless) = (requests.clone(), Arc::new(Mutex::new(None)));
    // This turn of the connection has had a request that took long.
    let was_long = Arc::new(AtomicBool::new(false));
    let turn = was_long.clone();
    let (found, counted) = (endless.clone(), shared.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        // An earlier answer may still be in hyper's buffer, so only the first answer of a
        // connection can be taken from it.
        let is_first = requests.fetch_add(1, Ordering::Relaxed) == 0;
        let can_be_taken = is_first && request.version() == Version::HTTP_11;
        // HTTP/1 has one request at a time.
        let head = (request.version() == Version::HTTP_2)
            .then(|| HeadRoom::try_reserve(&counted, &connection, &request))
            .transpose()
            .inspect_err(|problem| counted.metrics.refused(problem));
        // A request without room is not kept until its turn.
        let admitted = head.map(|head| {
            head.map(|head| request.extensions_mut().insert(head));
            request
        });
        let (front, found, connection) = (front.clone(), found.clone(), connection.clone());
        let was_long = was_long.clone();
        // Boxed, as it would be moved about otherwise.
        Box::pin(async move {
            // A client may send the next requests without waiting. hyper would go on with them at
            // once, and others would wait for all. The answer before is on its way by now: its
            // client does not wait for others.
            if was_long.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            let begun = Instant::now();
            let response = match admitted {
                Ok(request) => front.answer(request.map(Body::new), Some(&connection)).await,
                Err(problem) => problem.into_response(),
            };
            if begun.elapsed() > TURN {
                was_long.store(true, Ordering::Relaxed);
            }
            if can_be_taken && response.extensions().get::<Endless>().is_some() {
                *found.lock() = Some((response, connection));
                std::future::pending::<()>().await;
                unreachable!("the connection is taken from hyper before it asks again");
            }
            Ok(response)
        })
    });
    let streams = shared.limits.http2_streams_per_connection;
    let http2 = Http2 { streams, window: HTTP2_WINDOW };
    // hyper's own timeout for headers begins once it knows the protocol, so not for a client that
    // sends nothing, or a `P`.
    let silent = async {
        tokio::time::sleep(Duration::from_millis(shared.limits.header_timeout_ms)).await;
        if asked.load(Ordering::Relaxed) > 0 {
            std::future::pending::<()>().await;
        }
    };
    let turn_begins = poll_fn(|_| {
        turn.store(false, Ordering::Relaxed);
        Poll::<Infallible>::Pending
    });
    let taken = tokio::select! {
        // Requests are served before anything else is looked at.
        biased;
        never = turn_begins => match never {},
        stream = run(stream, &shared, http2, draining, service, || endless.lock().is_some()) => {
            let taken = endless.lock().take();
            taken.and_then(|(response, connection)| Some(Direct::reader(stream?, response, connection)))
        }
        () = silent => {
            shared.metrics.limit_hit("header_timeout_ms");
            None
        }
        () = cut.notified() => None,
    };
    served.end_requests();
    taken
}

/// Answers the first request of a connection that there is no room for, in the HTTP that its client
/// speaks. The server's health is told all the same: a supervisor that is not told restarts the
/// server.
async fn turn_away(
    stream: TcpStream,
    shared: Arc<Shared>,
    front: Front,
    mut draining: watch::Receiver<()>,
) {
    let problem = too_many(&shared);
    let (close, closing) = watch::channel(());
    let answered = Arc::new(close);
    let close = answered.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, problem, answered) = (front.clone(), problem.clone(), answered.clone());
        // Boxed, so that it can be moved about.
        Box::pin(async move {
            let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
            let accept = request.headers().get(header::ACCEPT).and_then(|a| a.to_str().ok());
            let mut response = if is_read && request.uri().path() == "/_health" {
                front.answer(request.map(Body::new), None).await
            } else if accept.is_some_and(|accept| accept.contains(Format::Sse.content_type())) {
                farewell()
            } else {
                problem.into_response()
            };
            response
                .headers_mut()
                .insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            let _ = answered.send(());
            Ok::<_, Infallible>(response)
        })
    });
    let drained = async {
        let _ = draining.changed().await;
        let _ = close.send(());
        std::future::pending::<()>().await;
    };
    let http2 = Http2 { streams: 1, window: TURNED_AWAY_WINDOW };
    let patience = Duration::from_millis(shared.limits.header_timeout_ms).min(TURNED_AWAY_PATIENCE);
    tokio::select! {
        _ = run(stream, &shared, http2, closing, service, || false) => {}
        () = drained => {}
        () = tokio::time::sleep(patience) => {}
    }
}

fn too_many(shared: &Shared) -> Problem {
    Problem::limit(
        Kind::TooManyConnections,
        "connections",
        shared.limits.connections,
        "too many open connections",
    )
}

/// Bounds of one connection of HTTP/2.
struct Http2 {
    /// Requests that are not answered.
    streams: u32,
    /// Bytes of bodies that are not read: of one stream, and of all.
    window: u32,
}

/// Serves HTTP on a connection until it ends or drains, or until it is `taken`: then its socket is
/// returned.
async fn run<S, F>(
    stream: TcpStream,
    shared: &Shared,
    http2: Http2,
    mut draining: watch::Receiver<()>,
    service: S,
    taken: impl Fn() -> bool,
) -> Option<TcpStream>
where
    S: hyper::service::Service<
            Request<Incoming>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future = F,
        > + Send
        + Unpin
        + 'static,
    F: Future<Output = Result<http::Response<Body>, Infallible>> + Send + 'static,
{
    let limits = &shared.limits;
    let speaks = tokio::select! {
        speaks = Speaks::on(&stream) => speaks.ok()?,
        // Nothing was asked.
        _ = draining.changed() => return None,
    };
    if speaks == Speaks::Neither {
        tokio::select! {
            _ = preface::refuse(stream) => {}
            _ = draining.changed() => {}
        }
        return None;
    }
    if speaks == Speaks::Http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(http2.streams)
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .initial_connection_window_size(http2.window)
            .initial_stream_window_size(http2.window)
            .max_header_list_size(
                u32::try_from(limits.uri_bytes + HTTP2_HEADERS).unwrap_or(u32::MAX),
            )
            .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
            .max_local_error_reset_streams(HTTP2_ERRORS_MAX)
            .enable_connect_protocol()
            .keep_alive_interval(KEEP_ALIVE);
        let stream = TokioIo::new(InTurns::new(stream));
        let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            // The channel may be closed instead of sent to: either way the server stops.
            _ = draining.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        log_end(shared, ended);
        return None;
    }
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        // A frame is small and comes in three pieces (its length, itself, the end of its chunk):
        // copying them together costs less than handing the kernel a list of them.
        .writev(false)
        .max_buf_size(HTTP1_BUFFER_MIN.max(limits.uri_bytes + HTTP1_HEADERS));
    let mut connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut drained = std::pin::pin!(draining.changed());
    let mut stops = false;
    let ended = poll_fn(|cx| {
        // Requests are answered before anything else is looked at.
        let mut ended = Pin::new(&mut connection).poll(cx);
        if ended.is_pending() && !stops && drained.as_mut().poll(cx).is_ready() {
            stops = true;
            Pin::new(&mut connection).graceful_shutdown();
            ended = Pin::new(&mut connection).poll(cx);
        }
        match ended {
            Poll::Pending if taken() => Poll::Ready(None),
            ended => ended.map(Some),
        }
    });
    match ended.await {
        Some(ended) => {
            log_end(shared, ended);
            None
        }
        None => Some(connection.into_parts()?.io.into_inner()),
    }
}

fn log_end(shared: &Shared, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        if error.is_timeout() {
            shared.metrics.limit_hit("header_timeout_ms");
        }
        tracing::debug!(%error, "a connection ended");
    }
}
