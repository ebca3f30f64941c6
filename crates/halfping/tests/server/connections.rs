//! Connections: HTTP/1.1 and HTTP/2 on one port, their limits, and how a server ends them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::common::raw::{self, Connection, DEADLINE, Stream};
use crate::common::{Running, compare, runtime, serve, serve_limited};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

type Http2 = http2::SendRequest<Full<Bytes>>;

/// Connects with HTTP/2 by prior knowledge.
async fn http2(address: SocketAddr) -> Http2 {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_reset_streams(20_000)
        .initial_max_send_streams(20_000)
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    requests
}

fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> http::Request<Full<Bytes>> {
    let mut request =
        http::Request::builder().method(method).uri(format!("http://{address}{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

/// Reads a body until it contains this text.
async fn read_until(body: &mut hyper::body::Incoming, text: &mut String, wanted: &str) {
    while !text.contains(wanted) {
        let frame = in_time(body.frame()).await.expect("the stream goes on").expect("no error");
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
}

#[test]
fn the_server_tells_how_it_is() {
    // PROTOCOL O1, O2
    let server = serve();
    let mut talk = server.talk();
    talk.check(
        "GET /_health",
        "200\nContent-Type: application/json\n\n{\"status\":\"ok\",\"storage\":{\"status\":\"none\"}}",
    );
    talk.check("HEAD /_health", "200\nContent-Length: 43");
    talk.check("PUT /a\n\n1", "201");
    let _stream = server.sse("/a");
    let metrics = talk.check("GET /_metrics", "200\nContent-Type: *");
    let lines: Vec<&str> = metrics.text().lines().collect();
    for line in [
        "halfping_commits_total 1",
        "halfping_revision 2",
        "halfping_links 1",
        "halfping_streams{transport=\"sse\"} 1",
    ] {
        assert!(lines.contains(&line), "{line} in {}", metrics.text());
    }
    // The text format: comments, and lines of a name, perhaps labels, and a number; each family
    // once.
    let mut families = std::collections::HashSet::new();
    for line in lines {
        if let Some(comment) = line.strip_prefix("# ") {
            let known =
                ["HELP ", "TYPE ", "UNIT ", "EOF"].iter().any(|word| comment.starts_with(word));
            assert!(known, "{line}");
            if let Some(family) = comment.strip_prefix("TYPE ") {
                assert!(families.insert(family.to_owned()), "{family} stands twice");
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let is_ours = name.starts_with("halfping_") || name.starts_with("process_");
        assert!(is_ours && value.parse::<f64>().is_ok(), "{line:?}");
    }
    #[cfg(target_os = "linux")]
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(metrics.text().contains(&format!("\n{name} ")), "{name} in {}", metrics.text());
    }
    // A scrape of the text format (version 0.0.4) or of OpenMetrics; the answer has to name its
    // format.
    assert!(
        ["text/plain; version=0.0.4", "application/openmetrics-text"]
            .iter()
            .any(|t| metrics.header("content-type").unwrap().starts_with(t))
    );
}

#[test]
fn metrics_are_in_the_format_that_is_asked_for() {
    // PROTOCOL O2
    let server = serve();
    let mut talk = server.talk();
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    for (accept, expect) in [
        ("*/*", openmetrics),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", openmetrics),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            openmetrics,
        ),
        ("text/plain;version=0.0.4", plain),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", plain),
        ("text/*", plain),
        ("application/openmetrics-text;q=0.2, text/plain", plain),
    ] {
        let answer = talk.ask(&format!("GET /_metrics\nAccept: {accept}"));
        assert_eq!(answer.header("content-type"), Some(expect), "{accept}");
    }
    let answer = talk.ask("GET /_metrics\nAccept: text/plain");
    let mut counters = 0;
    for line in answer.text().lines() {
        assert!(line != "# EOF", "{}", answer.text());
        // In this format a family has the name of its lines.
        if let Some(family) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter"))
        {
            assert!(family.ends_with("_total"), "{line}");
            assert!(answer.text().contains(&format!("# HELP {family} ")), "{line}");
            let is_of = |line: &str| {
                line.starts_with(&format!("{family} ")) || line.starts_with(&format!("{family}{{"))
            };
            counters += usize::from(answer.text().lines().any(is_of));
        }
    }
    assert!(counters >= 8, "{}", answer.text());
}

#[test]
fn a_draining_server_says_so() {
    // PROTOCOL O1, E5, N3, X3
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n1", "201");
    let mut sse = server.sse("/a");
    let mut ndjson = server.ndjson("/a");
    sse.expect(&["snapshot 1", "synced"]);
    ndjson.expect(&["snapshot 1", "synced"]);
    // The API drains while the server still takes requests, as within another program's server.
    server.api.drain();
    sse.expect_end();
    assert!(sse.ended_well() && sse.retries.len() == 2, "{:?}", sse.retries);
    ndjson.expect_end();
    assert!(ndjson.ended_well());
    talk.check(
        "GET /_health",
        "503\nContent-Type: application/json\n\n{\"status\":\"draining\",\"storage\":{\"status\":\"none\"}}",
    );
    talk.check("GET /a", "200\n\n1");
    talk.check("GET /a?watch", "503 draining\nRetry-After: *");
    let mut turned_away = server.sse("/a");
    turned_away.expect_end();
    assert_eq!((turned_away.status, turned_away.retries.len()), (200, 1));
    let cursor = talk.ask("GET /a").cursor();
    let poll = format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=30");
    talk.check(&poll, "304");
    talk.check("PUT /a\n\n2", "200");
}

#[test]
fn retries_of_a_drain_are_spread() {
    // PROTOCOL E5: "with jitter"
    let server = serve();
    server.api.drain();
    let retries: std::collections::HashSet<u64> = (0..50)
        .map(|_| {
            let mut stream = server.sse("/a");
            stream.expect_end();
            stream.retries[0]
        })
        .collect();
    assert!(retries.len() > 10, "{retries:?}");
}

#[test]
fn a_stream_that_is_turned_away_has_the_headers_of_one() {
    // PROTOCOL E6, E5
    let has_them = |stream: &Stream| {
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
            ("incremental", "?1"),
        ] {
            assert_eq!(stream.header(name), Some(value), "{name} in {:?}", stream.headers);
        }
    };
    let server = serve();
    server.api.drain();
    has_them(&server.sse("/a"));
    let server = serve_limited(|limits| limits.connections = 1);
    let mut talk = server.talk();
    talk.check("GET /", "200");
    has_them(&server.sse("/a"));
}

#[test]
fn a_server_that_stops_ends_its_streams_and_returns() {
    // PROTOCOL E5, N3
    let server = serve_limited(|limits| limits.drain_ms = 2000);
    let mut talk = server.talk();
    talk.check("PUT /a\n\n1", "201");
    let mut sse =
        [server.sse("/a"), server.sse("/_streams?path=/a&path=/b"), server.sse("/a?delta=false")];
    let mut ndjson = server.ndjson("/a");
    sse.iter_mut().for_each(|stream| drop(stream.until_synced()));
    ndjson.until_synced();
    // One that does not read, one that has sent half a request, one that has sent nothing, one that
    // waits.
    let stuck = server.ndjson("/big");
    runtime().block_on(async {
        for n in 0..100 {
            server.api.put("/big", &vec![n; 50_000]).await.unwrap();
        }
    });
    let mut half = Connection::open(server.address);
    half.send(b"GET /a HTT");
    let silent = Connection::open(server.address);
    let cursor = talk.ask("GET /a").cursor();
    let links = server.metric("halfping_links");
    talk.connection
        .send(&raw::request(&format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=60")));
    server.until_links(links + 1);
    let took = server.stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
    for stream in &mut sse {
        stream.expect_end();
        assert!(stream.ended_well(), "the body is cut");
        assert_eq!(stream.retries.len(), 2);
        assert!(stream.retries[1] >= 1000);
    }
    ndjson.expect_end();
    assert!(ndjson.ended_well());
    assert_eq!(talk.connection.answer(false).status, 304);
    drop((stuck, half, silent));
}

#[test]
fn a_server_without_requests_in_progress_stops_at_once() {
    // PROTOCOL E5: a connection that holds nothing up must not take the time of a drain.
    let server = serve();
    let mut idle = server.talk();
    idle.check("GET /", "200");
    let _silent = Connection::open(server.address);
    let mut sse = server.sse("/a");
    sse.until_synced();
    let took = server.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    sse.expect_end();
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    // PROTOCOL E5, X1, X3
    let server = serve_limited(|limits| limits.connections = 2);
    let mut talk = server.talk();
    talk.check("PUT /a\n\n1", "201");
    let mut stream = server.ndjson("/a");
    stream.until_synced();
    let mut third = server.talk();
    let answer = third.ask("GET /a");
    compare(
        "GET",
        &answer,
        "503 too-many-connections\nRetry-After: *\n\n\"limit\":\"connections\"\n\"max\":2",
        false,
    );
    let mut sse = server.sse("/a");
    sse.expect_end();
    assert_eq!((sse.status, sse.retries.len()), (200, 1));
    let mut ndjson = server.talk();
    compare("watch", &ndjson.ask("GET /a?watch"), "503 too-many-connections", false);
    // Health is answered all the same (PROTOCOL O1), also with many silent connections.
    let _silent: Vec<Connection> = (0..200).map(|_| Connection::open(server.address)).collect();
    for short in ["GET /_health", "HEAD /_health"] {
        compare(
            short,
            &server.talk().ask(short),
            "200\nConnection: close",
            short.starts_with("HEAD"),
        );
    }
    compare("DELETE", &server.talk().ask("DELETE /_health"), "503 too-many-connections", false);
    compare("metrics", &server.talk().ask("GET /_metrics"), "503 too-many-connections", false);
    // Connections with a place keep it, and a place that is given up can be taken.
    talk.check("PUT /a\n\n2", "200");
    stream.expect(&["snapshot 2"]);
    drop(stream);
    let until = Instant::now() + DEADLINE;
    while server.talk().ask("GET /a").status != 200 {
        assert!(Instant::now() < until, "the place is not given back");
    }
}

/// The time for which the server keeps a connection on which these bytes were sent.
fn kept(server: &Running, sent: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut connection = Connection::open(server.address);
    connection.send(sent);
    connection.closed();
    begun.elapsed()
}

#[test]
fn a_header_has_to_arrive_in_time() {
    let server = serve_limited(|limits| limits.header_timeout_ms = 300);
    for sent in
        [&b"G"[..], b"GET /a HTTP/1.1\r\nHost: te", b"GET /a HTTP/1.1\r\nHost: test\r\nX: y\r\n"]
    {
        let kept = kept(&server, sent);
        assert!(kept >= Duration::from_millis(300), "{kept:?}");
    }
    // A stream is not a header: it stays.
    server.write(&["PUT /a 1"]);
    let mut stream = server.sse("/a");
    stream.until_synced();
    kept(&server, b"G");
    server.write(&["PUT /a 2"]);
    stream.expect(&["snapshot 2"]);
}

#[test]
fn a_connection_that_says_nothing_is_not_kept() {
    // `header_timeout_ms`: a connection takes one of `connections` places, whatever it sends.
    let server = serve_limited(|limits| limits.header_timeout_ms = 300);
    kept(&server, b"");
}

#[test]
fn a_connection_that_begins_like_http2_is_not_kept() {
    // As above: `P` may be the beginning of `PUT` or of HTTP/2's `PRI`.
    let server = serve_limited(|limits| limits.header_timeout_ms = 300);
    kept(&server, b"P");
}

#[test]
fn a_bad_preface_of_http2_is_answered_with_a_goaway() {
    // RFC 9113, section 3.4
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let server = serve();
    for sent in
        [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n and more"[..], b"PRI / HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        let mut connection = Connection::open(server.address);
        connection.send(sent);
        assert_eq!(connection.closed(), [SETTINGS, GOAWAY].concat(), "{}", sent.escape_ascii());
    }
    // In pieces it is the same; and another beginning is HTTP/1.1.
    let mut connection = Connection::open(server.address);
    for piece in [&b"P"[..], b"RI * HTT", b"P/2.1"] {
        connection.send(piece);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(connection.closed(), [SETTINGS, GOAWAY].concat());
    let mut connection = Connection::open(server.address);
    connection.send(b"INVALID CONNECTION PREFACE\r\n\r\n");
    assert!(connection.closed().starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn a_body_has_to_arrive_in_time() {
    // PROTOCOL X1: `body-timeout`
    let server = serve_limited(|limits| limits.body_timeout_ms = 300);
    let mut talk = server.talk();
    let begun = Instant::now();
    talk.connection.send(b"PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n{");
    let answer = talk.connection.answer(false);
    compare(
        "PUT",
        &answer,
        "408 body-timeout\n\n\"limit\":\"body_timeout_ms\"\n\"max\":300",
        false,
    );
    assert!(begun.elapsed() >= Duration::from_millis(300));
    server.talk().check("GET /a", "404 not-found");
    runtime().block_on(async {
        let mut http2 = http2(server.address).await;
        let answer = in_time(http2.send_request(request(server.address, "PUT", "/a", &[], "1")))
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
    });
}

#[test]
fn what_a_reader_had_is_given_back_when_it_goes() {
    // PROTOCOL S1, R4, M1: every client has left, so nothing is left.
    let server = serve();
    let mut talk = server.talk();
    let cursor = talk.check("PUT /a\n\n1", "201").cursor();
    let streams =
        [server.sse("/a"), server.ndjson("/b/c"), server.sse("/_streams?path=/a&path=/d&path=/e")];
    let mut poll = Connection::open(server.address);
    poll.send(&raw::request(&format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=60")));
    server.until_links(6);
    drop((streams, poll));
    let until = Instant::now() + DEADLINE;
    while server.metric("halfping_links") > 0 || server.metric("halfping_sessions") > 0 {
        assert!(Instant::now() < until, "{} links are left", server.metric("halfping_links"));
        std::thread::yield_now();
    }
    let metrics = talk.ask("GET /_metrics");
    assert!(
        metrics.text().contains("halfping_streams{transport=\"sse\"} 0\n"),
        "{}",
        metrics.text()
    );
    assert_eq!(server.metric("halfping_watched_places"), 0);
}

#[test]
fn http2_is_spoken_on_the_same_port() {
    // PROTOCOL O3, R1, X1, S1, E4
    let server = serve();
    let address = server.address;
    runtime().block_on(async {
        let mut http2 = http2(address).await;
        let put = in_time(http2.send_request(request(address, "PUT", "/a", &[], "{\"n\":1}")))
            .await
            .unwrap();
        assert_eq!(put.status(), 201);
        let get =
            in_time(http2.send_request(request(address, "GET", "/a", &[], ""))).await.unwrap();
        assert_eq!(
            (get.status().as_u16(), get.headers().get("etag")),
            (200, put.headers().get("etag"))
        );
        assert_eq!(in_time(get.into_body().collect()).await.unwrap().to_bytes(), "{\"n\":1}");
        let none =
            in_time(http2.send_request(request(address, "GET", "/none", &[], ""))).await.unwrap();
        assert_eq!(none.status(), 404);
        assert_eq!(none.headers()["content-type"], "application/problem+json");
        let accept = [("accept", "text/event-stream")];
        let stream =
            in_time(http2.send_request(request(address, "GET", "/a", &accept, ""))).await.unwrap();
        assert_eq!(
            (stream.status().as_u16(), &stream.headers()["incremental"]),
            (200, &"?1".parse().unwrap())
        );
        let (mut body, mut text) = (stream.into_body(), String::new());
        read_until(&mut body, &mut text, "event: synced").await;
        assert!(text.starts_with("retry: "), "{text}");
        in_time(http2.send_request(request(address, "PUT", "/a/n", &[], "2"))).await.unwrap();
        read_until(&mut body, &mut text, "{\"n\":2}").await;
        // A refusal in the middle of it changes nothing for the other streams (PROTOCOL X2).
        let refused =
            in_time(http2.send_request(request(address, "PUT", "/a", &[], "{"))).await.unwrap();
        assert_eq!(refused.status(), 400);
        in_time(http2.send_request(request(address, "DELETE", "/a", &[], ""))).await.unwrap();
        read_until(&mut body, &mut text, "event: gone").await;
    });
    // HTTP/1.1 still works.
    server.talk().check("GET /", "200\n\n{}");
}

#[test]
fn ten_thousand_streams_fit_one_http2_connection() {
    // PROTOCOL O3, S1, S6
    let count = 10_000;
    let server = serve_limited(|limits| limits.http2_streams_per_connection = 16_384);
    let address = server.address;
    runtime().block_on(async {
        let all: std::collections::BTreeMap<String, usize> =
            (0..count).map(|n| (format!("r{n}"), n)).collect();
        server.api.put("/r", &all).await.unwrap();
        let http2 = http2(address).await;
        let mut readers = tokio::task::JoinSet::new();
        let (synced, mut all_synced) = tokio::sync::mpsc::channel(count);
        for n in 0..count {
            let mut http2 = http2.clone();
            let synced = synced.clone();
            readers.spawn(async move {
                let accept = [("accept", "text/event-stream")];
                http2.ready().await.unwrap();
                let answer = http2
                    .send_request(request(address, "GET", &format!("/r/r{n}"), &accept, ""))
                    .await
                    .unwrap();
                assert_eq!(answer.status(), 200);
                let (mut body, mut text) = (answer.into_body(), String::new());
                // No deadline for each: it would also limit its wait for ten thousand others. One
                // deadline is for all.
                while !text.contains("event: synced") || !text.ends_with("\n\n") {
                    let frame = body.frame().await.expect("the stream goes on").expect("no error");
                    text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                }
                assert!(text.contains(&format!("data: {n}\n")), "{text}");
                synced.send(()).await.unwrap();
                let mut news = String::new();
                while !news.contains(&format!("data: {}\n", n + count)) {
                    let frame = body.frame().await.expect("the stream goes on").expect("no error");
                    news.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                }
            });
        }
        let whole = async {
            for _ in 0..count {
                tokio::select! {
                    synced = all_synced.recv() => synced.unwrap(),
                    // None ends before all are there: an early end is a failure, and this gives its
                    // reason.
                    Some(early) = readers.join_next() => early.unwrap(),
                }
            }
            let metrics = server.talk().ask("GET /_metrics");
            assert!(
                metrics
                    .text()
                    .contains(&format!("halfping_streams{{transport=\"sse\"}} {count}\n"))
            );
            // One commit, and each reader is sent its own part.
            let news: std::collections::BTreeMap<String, usize> =
                (0..count).map(|n| (format!("r{n}"), n + count)).collect();
            server.api.put("/r", &news).await.unwrap();
            while let Some(reader) = readers.join_next().await {
                reader.unwrap();
            }
        };
        tokio::time::timeout(3 * DEADLINE, whole).await.expect("all of them in time");
    });
}

#[test]
fn http2_streams_end_when_the_server_stops() {
    // PROTOCOL E5, O3
    let mut server = serve();
    let address = server.address;
    runtime().block_on(async {
        let mut http2 = http2(address).await;
        let accept = [("accept", "text/event-stream")];
        let answer =
            in_time(http2.send_request(request(address, "GET", "/a", &accept, ""))).await.unwrap();
        let (mut body, mut text) = (answer.into_body(), String::new());
        read_until(&mut body, &mut text, "event: synced").await;
        server.begin_stop();
        let rest =
            in_time(body.collect()).await.expect("a body that ends as HTTP/2 says").to_bytes();
        assert!(rest.starts_with(b"retry: "), "{rest:?}");
    });
    let took = server.stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn the_handshake_of_a_websocket_has_no_body() {
    // PROTOCOL O3
    let server = serve();
    let handshake = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for (body, status) in [
        ("\r\n", 101),
        ("Content-Length: 0\r\n\r\n", 101),
        ("Content-Length: 2\r\n\r\nab", 400),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ] {
        let mut connection = Connection::open(server.address);
        connection.send(format!("{handshake}{body}").as_bytes());
        let (answered, headers) = connection.head();
        assert_eq!(answered, status, "{body:?}");
        if status == 400 {
            let problem = connection.body(answered, headers, false);
            assert!(problem.text().contains("bad-header"), "{problem:?}");
            // PROTOCOL X2: the connection goes on.
            assert_eq!(connection.ask("GET /").status, 200);
        }
    }
}

#[test]
fn transfer_codings_other_than_chunked_are_refused() {
    // PROTOCOL O3, X1: `unsupported-transfer-coding`
    let server = serve();
    for (codings, status) in [
        ("chunked", 201),
        ("Chunked", 200),
        ("gzip, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("identity, chunked", 501),
        ("x-unknown,chunked", 501),
    ] {
        let mut connection = Connection::open(server.address);
        let head =
            format!("PUT /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {codings}\r\n\r\n");
        connection.send(format!("{head}1\r\n1\r\n0\r\n\r\n").as_bytes());
        let answer = connection.answer(false);
        assert_eq!(answer.status, status, "{codings}: {answer:?}");
        if status == 501 {
            assert!(answer.text().contains("unsupported-transfer-coding"), "{answer:?}");
            assert_eq!(connection.ask("GET /a").text(), "1");
        }
    }
    // The last coding is not `chunked`, so the end of such a body is unknown.
    for codings in ["gzip", "chunked, gzip", "chunked;q=1"] {
        let mut connection = Connection::open(server.address);
        let head =
            format!("PUT /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {codings}\r\n\r\n");
        connection.send(format!("{head}1\r\n2\r\n0\r\n\r\n").as_bytes());
        assert_eq!(connection.head().0, 400, "{codings}");
    }
    server.talk().check("GET /a", "200\n\n1");
}

#[test]
fn a_connection_that_is_turned_away_over_http2_has_one_answer_and_ends() {
    // PROTOCOL O1
    let server = serve_limited(|limits| {
        limits.connections = 1;
        limits.header_timeout_ms = 60_000;
    });
    let mut first = server.talk();
    first.check("PUT /a\n\n1", "201");
    let runtime = runtime();
    let mut requests = runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
        // A client that does not take the answers.
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(0)
            .initial_max_send_streams(1000)
            .handshake(TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        requests
    });
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let request = request(server.address, "GET", "/a", &[], "");
            runtime.spawn(requests.send_request(request))
        })
        .collect();
    let answers: Vec<_> = asked
        .into_iter()
        .filter_map(|answer| runtime.block_on(in_time(answer)).unwrap().ok())
        .collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [503]);
    let until = Instant::now() + DEADLINE;
    while !requests.is_closed() {
        assert!(Instant::now() < until, "it keeps its connection");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Health is answered all the same.
    let health = || {
        let mut last = runtime.block_on(http2(server.address));
        let request = request(server.address, "GET", "/_health", &[], "");
        runtime.block_on(in_time(last.send_request(request))).ok()
    };
    // A connection that is turned away has two seconds for its request, which a busy machine may
    // need longer for.
    let healthy = health().or_else(health).or_else(health);
    assert_eq!(healthy.map(|answer| answer.status().as_u16()), Some(200));
    first.check("GET /a", "200\n\n1");
}
