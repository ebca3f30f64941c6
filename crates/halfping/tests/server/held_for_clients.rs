//! Memory held for clients that do not take their answers, or do not finish their requests:
//! bounded, for each connection and in all, and not held for ever (PROTOCOL O11).

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::common::raw::{self, Connection, DEADLINE};
use crate::common::session::Session;
use crate::common::{Running, runtime, serve_limited};
use http_body_util::Empty;
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::task::JoinHandle;

const MB: usize = 1 << 20;

/// A server with a value of this many bytes at `/a`.
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

/// The next answer of a session.
fn answer(session: &mut Session) -> serde_json::Value {
    loop {
        let message = session.next();
        if message.get("ref").is_some() {
            return message;
        }
    }
}

#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A body that never sends anything.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        Poll::Pending
    }
}

/// An HTTP/2 connection whose answers nobody reads: its windows are closed.
async fn closed_windows<B>(address: SocketAddr) -> http2::SendRequest<B>
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .initial_max_send_streams(10_000)
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
                // The body is kept, as by a client that is going to read it.
                let answer = answer.await.unwrap();
                (answer.status().as_u16(), answer)
            })
        })
        .collect();
    let mut most = 0;
    until("all are answered", || {
        most = most.max(held(&server));
        // Other clients do not wait behind them.
        assert_eq!(server.talk().ask("GET /a").status, 200);
        asked.iter().all(tokio::task::JoinHandle::is_finished)
    });
    assert!(most > own / 2, "{most} bytes were held at most");
    assert!(most <= own + 4 * MB, "{most} bytes were held, with those of whoever looked");
    let answers: Vec<_> =
        asked.into_iter().map(|answer| runtime.block_on(answer).unwrap()).collect();
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, _)| *status == 200);
    assert!(taken.len() >= 3 && !refused.is_empty(), "{} and {}", taken.len(), refused.len());
    assert!(
        refused
            .iter()
            .all(|(status, answer)| *status == 503 && answer.headers().contains_key("retry-after"))
    );
    // An answer in progress is given up when its room is needed, although the connection goes on.
    until("no more than a piece of each is held", || {
        let request = http::Request::get(format!("http://{}/a", server.address));
        runtime.spawn(requests.send_request(request.body(Empty::new()).unwrap()));
        hits(&server, "answer_timeout_ms") >= 3
    });
    assert!(hits(&server, "buffered_bytes_per_connection") >= 1);
    assert!(requests.is_ready());
}

/// Sends a request over HTTP/2, and takes nothing of the answer.
fn asks(
    requests: &mut http2::SendRequest<Empty<Bytes>>,
    target: String,
) -> impl Future<Output = Option<u16>> + use<> {
    let request = http::Request::get(target).body(Empty::new()).unwrap();
    let answer = requests.send_request(request);
    async move {
        // The body is kept.
        let answer = answer.await.ok()?;
        let status = answer.status().as_u16();
        std::mem::forget(answer);
        Some(status)
    }
}

/// The number of requests with this method so far.
fn asked(server: &Running, method: &str) -> usize {
    server.metric(&format!("halfping_requests_total{{method=\"{method}\"}}")) as usize
}

#[test]
fn bodies_that_are_announced_and_do_not_come_hold_no_room() {
    // PROTOCOL O11
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (MB, 2 * MB);
    });
    let runtime = runtime();
    let kept: Vec<_> = (0..3)
        .map(|_| {
            let mut requests = runtime.block_on(closed_windows(server.address));
            for number in 0..100 {
                // Small answers and large ones.
                let length = if number % 2 == 0 { 16 << 10 } else { 64 << 10 };
                let request = http::Request::put(format!("http://{}/b", server.address))
                    .header("content-type", "application/json")
                    .header("content-length", length);
                runtime.spawn(requests.send_request(request.body(Never).unwrap()));
            }
            requests
        })
        .collect();
    until("all were asked", || asked(&server, "PUT") >= 300);
    assert!(held(&server) < 64 << 10, "{} bytes are held", held(&server));
    let large = format!("\"{}\"", "x".repeat(500_000));
    server.write(&["PUT /a 1", &format!("PUT /c {large}")]);
    assert_eq!(server.talk().ask("GET /a").status, 200);
    assert_eq!(server.talk().ask("GET /c").status, 200);
    drop(kept);
}

#[test]
fn small_answers_that_nobody_takes_keep_no_room_from_connections_that_hold_little() {
    // PROTOCOL O11
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (8 * MB, 8 * MB);
    });
    server.write(&[&format!("PUT /a \"{}\"", "x".repeat(16_000))]);
    let runtime = runtime();
    let target = format!("http://{}/a", server.address);
    // Half a megabyte for one connection, and as much for all.
    let kept: Vec<_> = (0..3)
        .map(|_| {
            let mut requests = runtime.block_on(closed_windows(server.address));
            for _ in 0..200 {
                runtime.spawn(asks(&mut requests, target.clone()));
            }
            requests
        })
        .collect();
    until("all were asked, and all of the room is taken", || {
        asked(&server, "GET") >= 600 && held(&server) >= 500 << 10
    });
    assert!(held(&server) <= (512 + 5 * 64) << 10, "{} bytes are held", held(&server));
    // Each of them would wait for half a minute.
    for _ in 0..3 {
        assert_eq!(server.talk().ask("GET /a").status, 200);
        server.write(&["PUT /b \"little\""]);
    }
    assert_eq!(hits(&server, "answer_timeout_ms"), 0);
    drop(kept);
}

#[test]
fn who_waits_for_room_waits_behind_one_answer_of_each_other_connection() {
    // PROTOCOL O11
    let (server, reader) = with_room_for_one(|limits| limits.answer_timeout_ms = 4000);
    let members: Vec<String> =
        (0..256).map(|i| format!("\"m{i}\":\"{}\"", "x".repeat(4087))).collect();
    server.write(&[&format!("PUT /b {{{}}}", members.join(","))]);
    let runtime = runtime();
    let mut many = runtime.block_on(closed_windows(server.address));
    let before = asked(&server, "GET");
    for _ in 0..40 {
        runtime.spawn(asks(&mut many, format!("http://{}/b", server.address)));
    }
    until("many wait", || asked(&server, "GET") >= before + 40);
    let address = server.address;
    let other = std::thread::spawn(move || raw::Connection::open(address).ask("GET /b").status);
    let before = asked(&server, "GET");
    until("another waits", || asked(&server, "GET") > before + 1 || other.is_finished());
    std::thread::sleep(Duration::from_millis(200));
    // There is room for some of the many now, and they keep it.
    drop(reader);
    assert_eq!(other.join().unwrap(), 200);
    drop(many);
}

#[test]
fn a_body_that_stalls_gives_way_when_its_room_is_wanted() {
    // PROTOCOL O13
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (MB, MB);
        // A quarter of this time is shorter than a deadline of these tests, and all of it is
        // longer.
        limits.body_timeout_ms = 12_000;
    });
    let put = |length: usize, part: usize| {
        let mut connection = Connection::open(server.address);
        let head = format!("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n\"");
        connection.send(head.as_bytes());
        connection.send(&vec![b'x'; part]);
        connection
    };
    // It began before, but its room is not needed.
    let mut small = put(1000, 497);
    let mut stalled = put(900 << 10, 600 << 10);
    until("it is held", || held(&server) >= 600 << 10);
    until("another has its room", || {
        // The server may close a refused connection before all is sent.
        let mut other = Connection::open(server.address);
        let text = format!("\"{}\"", "y".repeat(600_000));
        let head =
            format!("PUT /b HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", text.len());
        other.send(head.as_bytes());
        let _ = (&mut other.socket()).write_all(text.as_bytes());
        let (status, _) = other.head();
        assert!([201, 503].contains(&status), "{status}");
        status == 201
    });
    assert_eq!(stalled.answer(false).status, 408);
    small.send(&[b'x'; 501]);
    small.send(b"\"");
    assert_eq!(small.answer(false).status, 201);
    assert_eq!(hits(&server, "body_timeout_ms"), 1);
}

#[test]
fn a_connection_on_which_many_answers_are_given_up_ends() {
    let server =
        with_value(1024, |limits| (limits.answer_timeout_ms, limits.answer_idle_ms) = (100, 200));
    let runtime = runtime();
    let mut requests = runtime.block_on(closed_windows(server.address));
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let request = http::Request::get(format!("http://{}/a", server.address));
            runtime.spawn(requests.send_request(request.body(Empty::new()).unwrap()))
        })
        .collect();
    let answers: Vec<_> =
        asked.into_iter().map(|answer| runtime.block_on(answer).unwrap()).collect();
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
        // In all, this takes longer than the time in which something has to be taken.
        std::thread::sleep(Duration::from_millis(100));
        let count = slow.socket().read(&mut bytes).unwrap();
        assert!(count > 0, "the connection ended after {} bytes", read.len());
        read.extend_from_slice(&bytes[..count]);
    }
    assert!(read.ends_with(&value));
    until("nothing is held", || held(&server) < 64 << 10);
}

#[test]
fn a_reader_that_pauses_keeps_its_answer_while_nobody_wants_its_room() {
    // PROTOCOL O12
    let server = with_value(15 * MB, |limits| limits.answer_timeout_ms = 50);
    let value = server.talk().ask("GET /a").body;
    let (mut paused, mut session) =
        (Connection::open(server.address), Session::open(server.address, "/"));
    paused.send(&raw::request("GET /a"));
    session.say(&json!({ "get": "/a", "ref": 1 }));
    until("both are held", || held(&server) >= 12 * MB);
    // Many times as long as it would be allowed if others needed its room; these find some.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(server.talk().ask("GET /a/m1").status, 200);
    }
    let mut read = Vec::new();
    let mut bytes = vec![0; 256 << 10];
    while read.len() < value.len() || !read.ends_with(&value) {
        let count = paused.socket().read(&mut bytes).unwrap();
        assert!(count > 0, "the connection ended after {} bytes", read.len());
        read.extend_from_slice(&bytes[..count]);
    }
    assert_eq!(answer(&mut session)["value"].as_object().unwrap().len(), 15 * MB / 4096);
    assert_eq!(hits(&server, "answer_timeout_ms"), 0);
}

/// A server with room for one of its values at a time, and a reader that takes a part of one.
fn with_room_for_one(limits: impl FnOnce(&mut halfping::Limits)) -> (Running, Connection) {
    let server = with_value(16 * MB, |own| {
        (own.buffered_bytes_per_connection, own.buffered_bytes) = (20 * MB, 20 * MB);
        limits(own);
    });
    let mut reader = Connection::open(server.address);
    reader.send(&raw::request("GET /a"));
    until("it is held", || held(&server) >= 10 * MB);
    (server, reader)
}

#[test]
fn a_reader_that_takes_nothing_is_given_up_when_its_room_is_wanted() {
    // PROTOCOL O12
    let (server, mut idle) = with_room_for_one(|limits| limits.answer_timeout_ms = 400);
    // The other waits as long as the reader may take nothing, so it may have to try again.
    until("another has its room", || server.talk().ask("GET /a").status == 200);
    assert_eq!(hits(&server, "answer_timeout_ms"), 1);
    assert!(idle.closed().len() < 16 * MB);
}

#[test]
fn a_trickle_does_not_keep_room_that_is_wanted() {
    // PROTOCOL O12
    let (server, slow) = with_room_for_one(|limits| {
        (limits.answer_timeout_ms, limits.answer_bytes_per_second) = (400, 64 * MB);
    });
    let trickle = std::thread::spawn(move || {
        let (mut bytes, mut read) = ([0; 16 << 10], 0);
        loop {
            std::thread::sleep(Duration::from_millis(5));
            match slow.socket().read(&mut bytes) {
                Ok(0) | Err(_) => return read,
                Ok(count) => read += count,
            }
        }
    });
    until("another has its room", || server.talk().ask("GET /a").status == 200);
    assert_eq!(hits(&server, "answer_timeout_ms"), 1);
    assert!(trickle.join().unwrap() < 16 * MB);
}

#[test]
fn a_reader_that_is_fast_enough_keeps_room_that_is_wanted() {
    // PROTOCOL O12
    let (server, steady) = with_room_for_one(|limits| limits.answer_timeout_ms = 1000);
    let (mut bytes, mut read, address) = (vec![0; 256 << 10], 0, server.address);
    let others = std::thread::spawn(move || raw::Connection::open(address).ask("GET /a").status);
    while read < 16 * MB {
        // In all, it takes several times as long as it may take nothing.
        std::thread::sleep(Duration::from_millis(50));
        let count = steady.socket().read(&mut bytes).unwrap();
        assert!(count > 0, "the connection ended after {read} bytes");
        read += count;
    }
    assert!([200, 503].contains(&others.join().unwrap()));
    assert_eq!(hits(&server, "answer_timeout_ms"), 0);
}

#[test]
fn a_body_that_comes_steadily_may_take_longer_than_the_timeout() {
    // PROTOCOL O13
    const TIMEOUT: Duration = Duration::from_secs(2);
    let server = serve_limited(|limits| limits.body_timeout_ms = TIMEOUT.as_millis() as u64);
    let text = format!("\"{}\"", "x".repeat(40 << 10));
    let mut slow = Connection::open(server.address);
    slow.send(
        format!("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", text.len())
            .as_bytes(),
    );
    let mut session = Session::open(server.address, "/");
    let message = json!({ "ref": 1, "put": "/b", "value": "x".repeat(40 << 10) }).to_string();
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0x81, 0x80 | 126][..], &len, &[0; 4], message.as_bytes()].concat();
    for (body, message) in text.as_bytes().chunks(2 << 10).zip(frame.chunks(2 << 10)) {
        // In all, it takes longer than the longest time without a byte; each part takes much less.
        std::thread::sleep(TIMEOUT / 14);
        slow.send(body);
        session.stream().write_all(message).unwrap();
    }
    assert_eq!(slow.answer(false).status, 201);
    assert_eq!(answer(&mut session)["status"], 201);
}

#[test]
fn a_trickle_of_a_body_is_refused() {
    // PROTOCOL O13
    let server = serve_limited(|limits| limits.body_timeout_ms = 300);
    let mut slow = Connection::open(server.address);
    slow.send(b"PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
    let until_refused = Instant::now() + DEADLINE;
    while hits(&server, "body_timeout_ms") == 0 {
        assert!(Instant::now() < until_refused, "a byte a millisecond is enough");
        let _ = (&mut slow.socket()).write_all(b" ");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(slow.answer(false).status, 408);
    until("nothing is held", || held(&server) < 64 << 10);
}

#[test]
fn a_connection_that_takes_nothing_of_its_answer_ends() {
    let server = with_value(16 * MB, |limits| {
        (limits.answer_timeout_ms, limits.answer_idle_ms) = (100, 300);
        limits.buffered_bytes_per_connection = 64 * MB;
    });
    let mut idle = Connection::open(server.address);
    idle.send(&raw::request("GET /a"));
    until("it is held", || held(&server) >= 8 * MB);
    until("it is given up", || held(&server) < 64 << 10);
    assert_eq!(hits(&server, "answer_idle_ms"), 1);
    assert!(idle.closed().len() < 16 * MB);
}

#[test]
fn a_session_that_takes_nothing_of_a_large_answer_ends() {
    let server = with_value(8 * MB, |limits| {
        (limits.answer_timeout_ms, limits.answer_idle_ms) = (100, 300);
        limits.ping_ms = 50;
    });
    let mut session = Session::open(server.address, "/");
    session.say(&json!({ "get": "/a", "ref": 1 }));
    until("it is held", || held(&server) >= 4 * MB);
    until("it is given up", || held(&server) < 64 << 10 && server.metric("halfping_sessions") == 0);
    assert_eq!(hits(&server, "answer_idle_ms"), 1);
    // A client that takes its answer gets it.
    let mut other = Session::open(server.address, "/");
    assert_eq!(other.ask(json!({ "get": "/a" }))["status"], 200);
}

#[test]
fn bodies_in_progress_are_bounded() {
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (MB, MB);
    });
    // Half a megabyte fills half of the room; the other half is not enough for the bytes after it.
    let begun = |bytes: usize| {
        let mut connection = Connection::open(server.address);
        connection.send(b"PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n");
        let part = vec![b' '; bytes];
        // The server may close a refused connection before all is sent.
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
    assert_eq!(
        (&refused["status"], &refused["limit"]),
        (&json!(429), &json!("places_bytes_per_connection"))
    );
    assert_eq!(server.metric("halfping_watched_places_bytes"), 1200 + 201);
    assert_eq!(watch(4, format!("/{}", name("a")))["status"], 200);
    // Another connection has a share of its own, but not more than what is left.
    let mut other = server.talk();
    let long = format!("/{}/{}/{}", name("d"), name("e"), name("f"));
    other.check(&format!("GET {long}?watch"), "429 too-many-links\nRetry-After: *\n\nat most 5000");
    assert_eq!(server.metric("halfping_watched_places_bytes"), 1200 + 201);
    // A link gives back the bytes that it was charged.
    assert_eq!(session.ask(json!({ "unwatch": [1, 2, 4] }))["status"], 200);
    assert_eq!(server.metric("halfping_watched_places_bytes"), 0);
    assert_eq!(
        session.ask(json!({ "watch": 5, "path": format!("/{}/{}", name("b"), name("c")) }))["status"],
        200
    );
    session.close();
    until("all is given back", || server.metric("halfping_watched_places_bytes") == 0);
    assert_eq!(server.metric("halfping_member_names"), 0);
    // Links without long names count too.
    let _six: Vec<_> = (0..6).map(|i| server.sse(&format!("/n{i}"))).collect();
    server.until_links(6);
    other.check("GET /n?watch", "429 too-many-links\nRetry-After: *\n\nat most 6");
}

/// A request over HTTP/2 whose head takes more than 6 KiB: 2 KiB, and the entries of forty headers.
fn large_head(server: &Running, method: &str) -> http::request::Builder {
    let request =
        http::Request::builder().method(method).uri(format!("http://{}/a", server.address));
    (0..40).fold(request, |request, number| request.header(format!("x-{number}"), "y"))
}

type Answered = JoinHandle<hyper::Result<http::Response<hyper::body::Incoming>>>;

#[test]
fn heads_of_requests_that_wait_are_bounded() {
    // PROTOCOL O14
    let (own, all) = (256 << 10, 256 << 10);
    let server = serve_limited(|limits| {
        (limits.heads_bytes_per_connection, limits.heads_bytes) = (own, all);
    });
    let runtime = runtime();
    let ask = |requests: &mut http2::SendRequest<Never>| -> Answered {
        let request = large_head(&server, "PUT").body(Never).unwrap();
        runtime.spawn(requests.send_request(request))
    };
    let mut first = runtime.block_on(closed_windows(server.address));
    let asked_first: Vec<_> = (0..60).map(|_| ask(&mut first)).collect();
    let refused =
        |answers: &[Answered]| answers.iter().filter(|answer| answer.is_finished()).count();
    until("its share is taken", || {
        asked(&server, "PUT") + refused(&asked_first) == asked_first.len()
    });
    let waiting = asked_first.len() - refused(&asked_first);
    assert!((10..=own / (6 << 10)).contains(&waiting), "{waiting} wait");
    assert!(hits(&server, "heads_bytes_per_connection") as usize == refused(&asked_first));
    // Other connections have the rest of the total, and each its reserve.
    let mut second = runtime.block_on(closed_windows(server.address));
    let asked_second: Vec<_> = (0..60).map(|_| ask(&mut second)).collect();
    until("all is taken", || hits(&server, "heads_bytes") > 0);
    let mut third = runtime.block_on(closed_windows(server.address));
    let asked_third: Vec<_> = (0..60).map(|_| ask(&mut third)).collect();
    until("all are there", || {
        asked(&server, "PUT")
            + [&asked_first, &asked_second, &asked_third].map(|a| refused(a)).iter().sum::<usize>()
            == 180
    });
    let waiting_third = asked_third.len() - refused(&asked_third);
    assert!((5..=10).contains(&waiting_third), "{waiting_third} wait");
    let mut left = Vec::new();
    for answer in [asked_first, asked_second, asked_third].into_iter().flatten() {
        if answer.is_finished() {
            let answer = runtime.block_on(answer).unwrap().unwrap();
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("retry-after"));
        } else {
            left.push(answer);
        }
    }
    // They do not block a connection that holds nothing.
    let mut fresh = runtime.block_on(closed_windows(server.address));
    let answer = runtime.block_on(asks(&mut fresh, format!("http://{}/_health", server.address)));
    assert_eq!(answer, Some(200));
    // Once they have left, there is room again.
    left.iter().for_each(Answered::abort);
    let mut last = runtime.block_on(closed_windows(server.address));
    until("there is room", || {
        let answers: Vec<Answered> = (0..15).map(|_| ask(&mut last)).collect();
        std::thread::sleep(Duration::from_millis(100));
        let is_room = refused(&answers) == 0;
        answers.iter().for_each(Answered::abort);
        is_room
    });
}

#[test]
fn long_polls_keep_no_heads() {
    // PROTOCOL O14
    let server = serve_limited(|limits| {
        (limits.heads_bytes_per_connection, limits.heads_bytes) = (256 << 10, 256 << 10);
    });
    let cursor = server.talk().check("PUT /a\n\n1", "201").cursor();
    let runtime = runtime();
    let mut requests = runtime.block_on(closed_windows(server.address));
    // With their heads they would take half as much again as there is room for.
    let polls: Vec<_> = (0..60)
        .map(|number| {
            let request = large_head(&server, "GET")
                .header("if-none-match", format!("\"{cursor}\""))
                .header("prefer", "wait=60");
            let poll =
                runtime.spawn(requests.send_request(request.body(Empty::<Bytes>::new()).unwrap()));
            // A request holds its head until it waits for a change.
            server.until_links(number + 1);
            poll
        })
        .collect();
    server.write(&["PUT /a 2"]);
    for poll in polls {
        assert_eq!(runtime.block_on(poll).unwrap().unwrap().status(), 200);
    }
    assert_eq!(hits(&server, "heads_bytes_per_connection"), 0);
}

#[test]
fn streams_over_http2_hold_no_more_than_their_connection_has_room_for() {
    // PROTOCOL O11d
    let value = 2 * MB;
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (5 * MB, 50 * MB);
    });
    server.write(&[&format!("PUT /a \"{}\"", "x".repeat(value))]);
    runtime().block_on(async {
        let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(8 << 10)
            .initial_connection_window_size(64 << 20)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        let open = |requests: &mut http2::SendRequest<Empty<Bytes>>, accept: &str| {
            let request = hyper::Request::get(format!("http://{}/a", server.address));
            requests.send_request(request.header("accept", accept).body(Empty::new()).unwrap())
        };
        // Each takes a little, and has the rest of the value made.
        let mut streams = Vec::new();
        for number in 0..6 {
            let accept = ["text/event-stream", "application/x-ndjson"][number % 2];
            streams.push(open(&mut requests, accept).await.unwrap().into_body());
        }
        until("four streams have no room", || hits(&server, "buffered_bytes_per_connection") >= 4);
        assert!((3 * MB..=5 * MB).contains(&held(&server)), "{} bytes are held", held(&server));
        // Two go on to the end of the value, the others end.
        let mut whole = 0;
        for mut stream in streams {
            let mut taken = 0;
            while taken < value
                && let Some(frame) = frame(&mut stream).await
            {
                taken += frame.into_data().unwrap().len();
            }
            whole += usize::from(taken >= value);
        }
        assert_eq!(whole, 2, "streams that brought all of the value");
        until("all room is free", || held(&server) == 0);
        let mut again = open(&mut requests, "application/x-ndjson").await.unwrap().into_body();
        let mut taken = 0;
        while taken < value {
            taken += frame(&mut again).await.expect("it goes on").into_data().unwrap().len();
        }
    });
}

/// The next frame of a body, in time.
async fn frame(body: &mut hyper::body::Incoming) -> Option<Frame<Bytes>> {
    use http_body_util::BodyExt;
    let next = tokio::time::timeout(DEADLINE, body.frame()).await.expect("in time");
    next.map(|frame| frame.expect("no error"))
}

/// Opens a session at `target` over HTTP/2 (RFC 8441).
async fn session_over_http2(
    requests: &mut http2::SendRequest<Empty<Bytes>>,
    server: &Running,
    target: &str,
) -> TokioIo<hyper::upgrade::Upgraded> {
    let request = hyper::Request::connect(format!("http://{}{target}", server.address))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(Empty::new())
        .unwrap();
    let response = requests.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

/// The next message of a session that is not compressed: its opcode and its payload.
async fn message(session: &mut TokioIo<hyper::upgrade::Upgraded>) -> (u8, Vec<u8>) {
    use tokio::io::AsyncReadExt;
    let read = async {
        let mut head = [0; 2];
        session.read_exact(&mut head).await.unwrap();
        let length = match head[1] {
            126 => u64::from(session.read_u16().await.unwrap()),
            127 => session.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; length as usize];
        session.read_exact(&mut payload).await.unwrap();
        (head[0] & 0x0f, payload)
    };
    tokio::time::timeout(DEADLINE, read).await.expect("in time")
}

/// A connection of HTTP/2 that lets each of its streams send a little at once. The server has said
/// already that it takes sessions on it.
async fn small_windows(server: &Running) -> http2::SendRequest<Empty<Bytes>> {
    let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(8 << 10)
        .initial_connection_window_size(64 << 20)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{}/_health", server.address));
    let answered = requests.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(answered.status(), 200);
    requests
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

#[test]
fn sessions_over_http2_hold_no_more_than_their_connection_has_room_for() {
    // PROTOCOL O11d
    let value = 2 * MB;
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (5 * MB, 50 * MB);
    });
    server.write(&[&format!("PUT /a \"{}\"", "x".repeat(value))]);
    runtime().block_on(async {
        let mut requests = small_windows(&server).await;
        // Each takes a little, and the server has the rest of its message made.
        let mut sessions = Vec::new();
        for _ in 0..6 {
            sessions.push(session_over_http2(&mut requests, &server, "/a?watch").await);
        }
        until("four sessions have no room", || hits(&server, "buffered_bytes_per_connection") >= 4);
        assert!((3 * MB..=5 * MB).contains(&held(&server)), "{} bytes are held", held(&server));
        // Two go on to the end of the value, the others are closed before any of it.
        let mut closed = 0;
        for session in &mut sessions {
            match message(session).await {
                (TEXT, text) => assert!(text.len() > value, "{} bytes", text.len()),
                (CLOSE, payload) => {
                    assert_eq!(payload[..2], 4102u16.to_be_bytes());
                    closed += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(closed, 4, "sessions that were closed");
        until("all room is free", || held(&server) == 0);
        // One that was closed comes back, and a change is told as well.
        let mut again = session_over_http2(&mut requests, &server, "/a?watch").await;
        assert!(message(&mut again).await.1.len() > value);
        until("its room is free", || held(&server) == 0);
        server.write(&["PUT /a 2"]);
        let (_, text) = message(&mut again).await;
        assert!(text.len() < 1000, "{}", String::from_utf8_lossy(&text));
    });
}

#[test]
fn an_answer_in_a_session_over_http2_keeps_its_room_until_it_is_taken() {
    // PROTOCOL O11
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let value = 2 * MB;
    let server = with_value(value, |limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (5 * MB, 50 * MB);
    });
    runtime().block_on(async {
        let mut requests = small_windows(&server).await;
        let mut session = session_over_http2(&mut requests, &server, "/").await;
        let command = br#"{"ref":1,"get":"/a"}"#;
        let mut frame = vec![0x81, 0x80 | command.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(command);
        session.write_all(&frame).await.unwrap();
        until("the answer has room", || held(&server) > MB);
        // A part of it was taken, so all that is below the session was full.
        let mut taken = vec![0; 64 << 10];
        session.read_exact(&mut taken).await.unwrap();
        assert!(held(&server) > MB, "{} bytes are held", held(&server));
        let mut rest = vec![0; value - taken.len()];
        session.read_exact(&mut rest).await.unwrap();
        until("its room is free", || held(&server) == 0);
    });
}

#[test]
fn a_reader_over_http2_that_takes_nothing_ends_when_its_room_is_wanted() {
    // PROTOCOL O11d, O12
    let value = 2 * MB;
    for is_session in [true, false] {
        let server = serve_limited(|limits| {
            (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (3 * MB, 3 * MB);
            limits.answer_timeout_ms = 300;
        });
        server.write(&[&format!("PUT /a \"{}\"", "x".repeat(value))]);
        runtime().block_on(async {
            let mut requests = small_windows(&server).await;
            let _untaken: Box<dyn std::any::Any> = if is_session {
                Box::new(session_over_http2(&mut requests, &server, "/a?watch").await)
            } else {
                let request = hyper::Request::get(format!("http://{}/a", server.address))
                    .header("accept", "text/event-stream");
                let request = request.body(Empty::new()).unwrap();
                Box::new(requests.send_request(request).await.unwrap())
            };
            until("its message has room", || held(&server) > MB);
            // One that asks waits no longer than the reader may take.
            until("another has its answer", || {
                Connection::open(server.address).ask("GET /a").status == 200
            });
            assert!(hits(&server, "answer_timeout_ms") >= 1);
        });
    }
}

#[test]
fn messages_that_are_not_whole_have_no_more_than_the_room_of_all() {
    // PROTOCOL L13, O11: of several clients, so that no share of one is in the way.
    let server = serve_limited(|limits| {
        (limits.buffered_bytes_per_connection, limits.buffered_bytes) = (4 * MB, 4 * MB);
    });
    // Text of 2 MB, without a mask that changes it, of which one byte does not come.
    let mut message = vec![0x81, 0xff];
    message.extend((2 * MB as u64).to_be_bytes());
    message.extend([0; 4]);
    message.extend(vec![b' '; 2 * MB - 1]);
    let mut begun = Vec::new();
    for _ in 0..2 {
        let session = Session::open(server.address, "/");
        let mut stream = session.stream();
        stream.write_all(&message).unwrap();
        begun.push(session);
    }
    until("two messages have all the room", || held(&server) > 4 * MB - 4096);
    let mut third = Session::open(server.address, "/");
    let mut stream = third.stream();
    // It is closed before all of it is sent.
    let _ = stream.write_all(&message);
    assert_eq!(third.closed(), 4102);
    assert!(hits(&server, "buffered_bytes") >= 1);
    let mut first = begun.remove(0);
    let mut stream = first.stream();
    stream.write_all(b" ").unwrap();
    let refused = first.next();
    assert_eq!(refused["error"]["type"], "urn:halfping:problem:bad-json", "{refused}");
    drop((first, begun));
    until("all room is free", || held(&server) == 0);
}
