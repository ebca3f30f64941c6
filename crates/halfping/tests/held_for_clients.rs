//! What the server holds for clients that do not take their answers, or do not finish what they send: bounded, for each connection and in
//! all, and not for ever (PROTOCOL O11).

#![allow(clippy::unwrap_used)] // The helpers here are tests too; clippy sees only functions marked so.

mod common;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::raw::{self, Connection, DEADLINE};
use common::session::Session;
use common::{Running, runtime, serve_limited};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

const MB: usize = 1 << 20;

/// A server with a value of so many bytes at `/a`.
fn with_value(bytes: usize, change: impl FnOnce(&mut halfping::Limits)) -> Running {
    let server = serve_limited(|limits| {
        limits.body_bytes = 2 * bytes;
        change(limits);
    });
    let members: Vec<String> =
        (0..bytes / 4096).map(|i| format!("\"m{i}\":\"{}\"", "x".repeat(4087))).collect();
    server.write(&[&format!("PUT /a {{{}}}", members.join(","))]);
    server
}

fn held(server: &Running) -> usize {
    server.metric("halfping_buffered_bytes") as usize
}

fn hits(server: &Running, limit: &str) -> u64 {
    let metrics = server.talk().ask("GET /_metrics");
    let start = format!("halfping_limits_hit_total{{limit=\"{limit}\"}} ");
    metrics.text().lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
}

#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// HTTP/2 whose answers nobody reads: their windows are closed.
async fn closed_windows(address: SocketAddr) -> http2::SendRequest<Empty<Bytes>> {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .initial_max_send_streams(1000)
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    requests
}

#[test]
fn answers_that_nobody_takes_are_bounded_and_given_up() {
    let (own, all) = (4 * MB, 8 * MB);
    let server = with_value(MB, |limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (own, all);
        limits.answer_timeout_ms = 1000;
    });
    let runtime = runtime();
    let mut requests = runtime.block_on(closed_windows(server.address));
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let request = http::Request::get(format!("http://{}/a", server.address));
            let answer = requests.send_request(request.body(Empty::new()).unwrap());
            runtime.spawn(async move {
                // The body is kept, as a client would that is going to read it.
                let answer = answer.await.unwrap();
                (answer.status().as_u16(), answer)
            })
        })
        .collect();
    let mut most = 0;
    until("all are answered", || {
        most = most.max(held(&server));
        // Others do not wait behind them.
        assert_eq!(server.talk().ask("GET /a").status, 200);
        asked.iter().all(tokio::task::JoinHandle::is_finished)
    });
    assert!(most > own / 2, "{most} bytes were held at most");
    assert!(most <= own + 4 * MB, "{most} bytes were held, with those of whoever looked");
    let answers: Vec<_> = asked.into_iter().map(|answer| runtime.block_on(answer).unwrap()).collect();
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, _)| *status == 200);
    assert!(taken.len() >= 3 && !refused.is_empty(), "{} and {}", taken.len(), refused.len());
    assert!(
        refused.iter().all(|(status, answer)| *status == 503 && answer.headers().contains_key("retry-after"))
    );
    // What was begun is given up although the connection goes on.
    until("no more than a piece of each is held", || held(&server) <= taken.len() * (16 << 10));
    assert!(hits(&server, "answer_timeout_ms") >= 3);
    assert!(hits(&server, "buffered_bytes_per_connection") >= 1);
    assert!(requests.is_ready());
}

#[test]
fn a_connection_on_which_many_answers_are_given_up_ends() {
    let server = with_value(1024, |limits| limits.answer_timeout_ms = 200);
    let runtime = runtime();
    let mut requests = runtime.block_on(closed_windows(server.address));
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let request = http::Request::get(format!("http://{}/a", server.address));
            runtime.spawn(requests.send_request(request.body(Empty::new()).unwrap()))
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|answer| runtime.block_on(answer).unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200));
    until("the connection ends", || requests.is_closed());
    until("nothing is held", || held(&server) == 0);
}

#[test]
fn a_slow_reader_of_a_large_answer_gets_all_of_it_while_it_takes_something() {
    let server = with_value(2 * MB, |limits| limits.answer_timeout_ms = 500);
    let value = server.talk().ask("GET /a").body;
    let mut slow = Connection::open(server.address);
    slow.send(&raw::request("GET /a"));
    let (mut read, mut bytes) = (Vec::new(), vec![0; 256 << 10]);
    while !read.ends_with(b"}") || read.len() < value.len() {
        // Slower than the time in which something has to be taken, in all.
        std::thread::sleep(Duration::from_millis(100));
        let count = slow.socket().read(&mut bytes).unwrap();
        assert!(count > 0, "the connection ended after {} bytes", read.len());
        read.extend_from_slice(&bytes[..count]);
    }
    assert!(read.ends_with(&value));
    until("nothing is held", || held(&server) < 64 << 10);
}

#[test]
fn a_connection_that_takes_nothing_of_its_answer_ends() {
    let server = with_value(16 * MB, |limits| {
        limits.answer_timeout_ms = 300;
        limits.buffered_bytes_per_connection = 64 * MB;
    });
    let mut idle = Connection::open(server.address);
    idle.send(&raw::request("GET /a"));
    until("it is held", || held(&server) >= 8 * MB);
    until("it is given up", || held(&server) < 64 << 10);
    assert_eq!(hits(&server, "answer_timeout_ms"), 1);
    assert!(idle.closed().len() < 16 * MB);
}

#[test]
fn a_session_that_takes_nothing_of_a_large_answer_ends() {
    let server = with_value(8 * MB, |limits| {
        limits.answer_timeout_ms = 300;
        limits.ping_ms = 100;
    });
    let mut session = Session::open(server.address, "/");
    session.say(&json!({ "get": "/a", "ref": 1 }));
    until("it is held", || held(&server) >= 4 * MB);
    until("it is given up", || held(&server) < 64 << 10 && server.metric("halfping_sessions") == 0);
    assert_eq!(hits(&server, "answer_timeout_ms"), 1);
    // One that takes its answer has it.
    let mut other = Session::open(server.address, "/");
    assert_eq!(other.ask(json!({ "get": "/a" }))["status"], 200);
}

#[test]
fn bodies_in_progress_are_bounded() {
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (MB, MB);
    });
    // Half of a megabyte fills half of the room; the other half is not enough for what comes after it.
    let begun = |bytes: usize| {
        let mut connection = Connection::open(server.address);
        connection.send(b"PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n");
        let part = vec![b' '; bytes];
        // A refused one may be closed to more.
        let _ = (&mut connection.socket()).write_all(&part);
        connection
    };
    let first = begun(400 << 10);
    until("it is held", || held(&server) >= 400 << 10);
    let mut second = begun(900 << 10);
    let (status, headers) = second.head();
    assert_eq!(status, 503, "{headers:?}");
    assert!(headers.iter().any(|(name, _)| name == "retry-after"));
    assert!(held(&server) <= MB);
    assert_eq!(hits(&server, "buffered_bytes") + hits(&server, "buffered_bytes_per_connection"), 1);
    drop((first, second));
    until("nothing is held", || held(&server) < 64 << 10);
    server.write(&["PUT /a 1"]);
}

#[test]
fn places_of_links_are_bounded_by_what_their_names_take() {
    let server = serve_limited(|limits| {
        limits.places_bytes_per_connection = 4000;
        limits.places_bytes = 5000;
        limits.links = 6;
    });
    let name = |letter: &str| letter.repeat(1000);
    let mut session = Session::open(server.address, "/");
    let mut watch = |link: u32, path: String| session.ask(json!({ "watch": link, "path": path }));
    assert_eq!(watch(1, format!("/{}", name("a")))["status"], 200);
    assert_eq!(watch(2, format!("/{}/x", name("a")))["status"], 200);
    assert_eq!(server.metric("halfping_watched_places_bytes"), 1200 + 201);
    let refused = watch(3, format!("/{}/{}", name("b"), name("c")));
    assert_eq!((&refused["status"], &refused["limit"]), (&json!(429), &json!("places_bytes_per_connection")));
    assert_eq!(server.metric("halfping_watched_places_bytes"), 1200 + 201);
    assert_eq!(watch(4, format!("/{}", name("a")))["status"], 200);
    // Another connection has a share of its own, but not more than there is.
    let mut other = server.talk();
    let long = format!("/{}/{}/{}", name("d"), name("e"), name("f"));
    other.check(&format!("GET {long}?watch"), "429 too-many-links\nRetry-After: *\n\nat most 5000");
    assert_eq!(server.metric("halfping_watched_places_bytes"), 1200 + 201);
    // What a link was charged, it gives back.
    assert_eq!(session.ask(json!({ "unwatch": [1, 2, 4] }))["status"], 200);
    assert_eq!(server.metric("halfping_watched_places_bytes"), 0);
    assert_eq!(
        session.ask(json!({ "watch": 5, "path": format!("/{}/{}", name("b"), name("c")) }))["status"],
        200
    );
    session.close();
    until("all is given back", || server.metric("halfping_watched_places_bytes") == 0);
    assert_eq!(server.metric("halfping_member_names"), 0);
    // Links without long names are counted.
    let _six: Vec<_> = (0..6).map(|i| server.sse(&format!("/n{i}"))).collect();
    server.until_links(6);
    other.check("GET /n?watch", "429 too-many-links\nRetry-After: *\n\nat most 6");
}
