//! Sessions that are heard only once: the parts of `POST /_streams` (PROTOCOL M4) that the lines of
//! a conversation cannot express.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use crate::common::raw::{Connection, DEADLINE, Stream, request};
use crate::common::{Running, runtime, serve, serve_limited};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

/// Opens a session with these commands.
#[track_caller]
fn open(server: &Running, accept: &str, commands: &Value) -> Stream {
    server.stream(&format!("POST /_streams\nAccept: {accept}\n\n{commands}"))
}

const FORMATS: [&str; 2] = ["text/event-stream", "application/x-ndjson"];

/// The bytes of a connection, as they come.
struct Plain {
    socket: TcpStream,
    got: String,
}

impl Plain {
    fn ask(address: SocketAddr, request: &str) -> Plain {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        Plain { socket, got: String::new() }
    }

    /// HTTP/1.0 as nginx uses it to servers by default.
    fn post(address: SocketAddr, body: &str) -> Plain {
        let head = "POST /_streams HTTP/1.0\r\nHost: upstream\r\nConnection: close\r\nAccept: */*";
        let length = body.len();
        Plain::ask(address, &format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    /// False at the end of the connection.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.socket.read(&mut bytes).expect("bytes in time");
        self.got.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        count > 0
    }

    #[track_caller]
    fn until(&mut self, wanted: &str) {
        while !self.got.contains(wanted) {
            assert!(self.more(), "it ended before {wanted:?}: {}", self.got);
        }
    }
}

/// Waits until all links are closed.
#[track_caller]
fn until_no_links(server: &Running) {
    let until = Instant::now() + DEADLINE;
    while server.metric("halfping_links") > 0 {
        assert!(Instant::now() < until, "links are left of a client that has gone");
        std::thread::yield_now();
    }
}

#[test]
fn messages_are_written_as_the_protocol_has_them() {
    // PROTOCOL M4, E1, E4, E6
    let server = serve();
    let cursor = server.write(&["PUT /a 1"])[0].cursor();
    let commands = json!([{"watch": [[7, "/a"], [8, "/b"]], "ref": 1}, {"watch": 7, "path": "/c"}]);
    let mut events = open(&server, FORMATS[0], &commands);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(events.header(name), Some(value), "{name} in {:?}", events.headers);
    }
    assert_eq!(events.next().raw, r#"data: {"ref":1,"status":200}"#);
    let in_use = events.next().raw;
    assert!(
        in_use.starts_with(r#"data: {"error":{"type":"urn:halfping:problem:link-in-use","#),
        "{in_use}"
    );
    assert!(in_use.ends_with(r#","ends":false},"link":7}"#), "{in_use}");
    let state = events.next().raw;
    assert!(state.starts_with(&format!("data: {{\"rev\":\"{cursor}\",\"t\":")), "{state}");
    let rest = r#""set":[[7,"snapshot",1],[8,"gone"]],"synced":true}"#;
    assert!(state.ends_with(&format!("{rest}\nid: {cursor}")), "{state}");
    assert_eq!(events.retries, [1000]);
    let mut lines = open(&server, FORMATS[1], &commands);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.next().raw, r#"{"ref":1,"status":200}"#);
    lines.next();
    assert!(lines.next().raw.ends_with(rest));
    // Events are the default format.
    for accept in ["*/*", "application/json"] {
        assert_eq!(
            open(&server, accept, &commands).header("content-type"),
            Some("text/event-stream")
        );
    }
}

#[test]
fn http_1_0_gets_bytes_at_once_and_its_body_ends_with_the_connection() {
    // PROTOCOL M4, S1, O3
    let mut server = serve();
    server.write(&["PUT /a 1"]);
    let get = "GET /a HTTP/1.0\r\nHost: upstream\r\nConnection: close\r\nAccept: text/event-stream\r\n\r\n";
    let mut streams = [
        Plain::ask(server.address, get),
        Plain::post(server.address, r#"{"watch":1,"path":"/a"}"#),
    ];
    for (stream, first) in streams.iter_mut().zip(["event: synced", r#""synced":true}"#]) {
        stream.until(first);
        let head = stream.got.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.0 200 "), "{head}");
        assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    }
    server.write(&["PUT /a \"second\""]);
    streams.iter_mut().for_each(|stream| stream.until("second"));
    server.begin_stop();
    for stream in &mut streams {
        let before = stream.got.len();
        while stream.more() {}
        assert!(stream.got[before..].starts_with("retry: "), "{}", stream.got);
    }
}

#[test]
fn when_the_client_goes_its_links_go() {
    // PROTOCOL M4, O3
    let server = serve();
    let watch = r#"{"watch":[[1,"/a"],[2,"/b"]]}"#;
    for accept in FORMATS {
        let mut stream = server.stream(&format!("POST /_streams\nAccept: {accept}\n\n{watch}"));
        stream.synced();
        assert_eq!(server.metric("halfping_links"), 2);
        drop(stream);
        until_no_links(&server);
    }
    let mut old = Plain::post(server.address, watch);
    old.until("synced");
    drop(old);
    until_no_links(&server);
    // A client that closes its own direction is taken to have left.
    let mut stream = server.stream(&format!("POST /_streams\n\n{watch}"));
    stream.synced();
    stream.connection().socket().shutdown(Shutdown::Write).unwrap();
    until_no_links(&server);
    let metrics = server.talk().ask("GET /_metrics");
    assert!(
        metrics.text().contains("halfping_streams{transport=\"events\"} 0\n"),
        "{}",
        metrics.text()
    );
}

#[test]
fn a_draining_server_ends_them_well() {
    // PROTOCOL M4, E5, N3
    let server = serve();
    let watch = json!({"watch": 1, "path": "/a"});
    let mut streams = FORMATS.map(|accept| open(&server, accept, &watch));
    streams.iter_mut().for_each(|stream| drop(stream.synced()));
    server.api.drain();
    for (stream, retries) in streams.iter_mut().zip([2, 0]) {
        stream.expect_end();
        assert!(stream.ended_well());
        assert_eq!(stream.retries.len(), retries);
    }
    // New sessions are refused once their request was read: a mistake in it would be one on any
    // server.
    let mut late = open(&server, FORMATS[0], &watch);
    late.expect_end();
    assert_eq!((late.status, late.retries.len()), (200, 1));
    let mut talk = server.talk();
    let post = format!("POST /_streams\nAccept: {}\n\n", FORMATS[1]);
    talk.check(&format!("{post}{watch}"), "503 draining\nRetry-After: *");
    talk.check(&format!("{post}nonsense"), "400 bad-json");
}

#[test]
fn bodies_are_bounded_and_refused_before_the_stream_begins() {
    // PROTOCOL M4, W8, X1, X2
    let server = serve_limited(|limits| (limits.body_bytes, limits.body_timeout_ms) = (1000, 100));
    let mut talk = server.talk();
    for (short, expect) in [
        ("\n\n", "400 bad-json"),
        ("\n\n[{\"watch\":1", "400 bad-json\n\nline 1"),
        ("\n\n[]\u{1}", "400 bad-json"),
        ("\nContent-Type: text/plain\n\n[]", "415 unsupported-media-type"),
        ("\nContent-Encoding: gzip\n\n[]", "415 unsupported-media-type"),
    ] {
        talk.check(&format!("POST /_streams{short}"), expect);
    }
    talk.check("POST /_streams?path=/a\n\n[]", "400 unknown-parameter\n\nthere are none here");
    let long = format!("POST /_streams\n\n[{}]", " ".repeat(1000));
    talk.check(&long, "413 body-too-large\n\nbody_bytes\n1000");
    let mut bytes = request("POST /_streams\n\n[??]");
    let place = bytes.len() - 3;
    bytes[place..place + 2].copy_from_slice(&[0xc3, 0x28]);
    talk.check_bytes(&bytes, "POST", "400 bad-json\n\nUTF-8");
    let mut slow = Connection::open(server.address);
    slow.send(b"POST /_streams HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n[");
    assert_eq!(slow.answer(false).status, 408);
}

#[test]
fn more_commands_than_allowed_end_it() {
    // PROTOCOL L13, M4
    let server = serve_limited(|limits| limits.commands_per_second = 100);
    let links: Vec<Value> = (0..1000).map(|id| json!([id, "/a"])).collect();
    for accept in FORMATS {
        let mut stream = open(&server, accept, &json!({"watch": links}));
        let problem = stream.message()["error"].clone();
        assert_eq!(problem["type"], "urn:halfping:problem:command-rate");
        assert_eq!(problem["limit"], "commands_per_second");
        stream.expect_end();
        assert!(stream.ended_well());
    }
    until_no_links(&server);
}

#[test]
fn without_a_link_there_is_nothing_to_wait_for() {
    // PROTOCOL M4: it ends, well, after everything was sent.
    let server = serve_limited(|limits| limits.whole_frame_bytes = 1000);
    server.write(&["MERGE / {\"a\":\"1\"}"]);
    let too_large: serde_json::Map<String, Value> =
        (0..100).map(|n| (n.to_string(), json!("x".repeat(20)))).collect();
    server.write(&[&format!("PUT /large {}", Value::Object(too_large))]);
    for (commands, messages) in [
        (json!([]), 0),
        (json!({"auth": null, "ref": 1}), 1),
        (json!([{"put": "/a", "value": 1}, {"watch": 1, "path": "/_x"}]), 2),
        (json!({"watch": 1, "path": "/large", "delta": false}), 1),
    ] {
        for accept in FORMATS {
            let mut stream = open(&server, accept, &commands);
            (0..messages).for_each(|_| drop(stream.message()));
            stream.expect_end();
            assert!(stream.ended_well(), "{commands}");
        }
    }
    server.talk().check("GET /a", "200\n\n\"1\"");
}

#[test]
fn thousands_of_links_come_in_whole_messages() {
    // PROTOCOL M4, L5, L6. A body of that size is read aside, and handled in turns.
    const LINKS: u32 = 15_000;
    let server = serve();
    let tree: serde_json::Map<String, Value> =
        (0..LINKS).map(|n| (format!("n{n}"), json!(n))).collect();
    let put = format!("PUT /all {}", Value::Object(tree));
    let links: Vec<Value> = (0..LINKS).map(|n| json!([n, format!("/all/n{n}")])).collect();
    for accept in FORMATS {
        server.write(&[&put]);
        let mut stream = open(&server, accept, &json!([{"watch": links, "ref": 1}]));
        assert_eq!(stream.message(), json!({"ref": 1, "status": 200}));
        let mut shown = vec![false; LINKS as usize];
        loop {
            let message = stream.message();
            for told in message["set"].as_array().unwrap() {
                assert_eq!((&told[1], &told[2]), (&json!("snapshot"), &told[0]));
                shown[told[0].as_u64().unwrap() as usize] = true;
            }
            if message["synced"] == true {
                break;
            }
        }
        assert!(shown.iter().all(|shown| *shown));
        server.write(&["MERGE /all {\"n1\":\"x\",\"n2\":\"y\"}"]);
        let message = stream.message();
        assert_eq!(
            (message["set"].as_array().unwrap().len(), &message["synced"]),
            (2, &json!(true))
        );
        // More links than a commit marks by itself: nothing is called synced before all are marked.
        server.write(&["DELETE /all"]);
        let mut gone = 0;
        loop {
            let message = stream.message();
            gone += message["set"].as_array().map_or(0, Vec::len);
            if message["synced"] == true {
                break;
            }
        }
        assert_eq!(gone, LINKS as usize);
    }
}

#[test]
fn a_first_state_in_parts_ends_the_use_of_the_cursor_before() {
    // PROTOCOL M4, L6, S5, E1
    let server = serve();
    let (mut before, member) = (String::new(), "x".repeat(50_000));
    for n in 0..10 {
        before = server.write(&[&format!("PUT /large/n{n} \"{member}\"")])[0].cursor();
    }
    let mut stream = open(&server, FORMATS[0], &json!({"watch": 1, "path": "/large"}));
    let first = stream.next();
    assert!(
        first.forgets && first.id.is_none() && first.raw.contains("\"more\""),
        "{:.200}",
        first.raw
    );
    let mut last = stream.next();
    while last.id.is_none() {
        assert!(!last.forgets, "once is enough");
        last = stream.next();
    }
    assert_eq!(last.id, Some(before));
}

#[test]
fn the_last_event_id_is_where_all_links_resume() {
    // PROTOCOL M4, S8: the header takes precedence over the body, which a client sends again
    // unchanged.
    let server = serve();
    let long = "x".repeat(100);
    server.write(&[
        &format!("PUT /a {{\"n\":1,\"long\":\"{long}\"}}"),
        &format!("PUT /b {{\"n\":1,\"long\":\"{long}\"}}"),
    ]);
    let commands = json!([{"watch": 1, "path": "/a", "since": "nonsense"}, {"watch": [[2, "/b"]]}]);
    let cursor = open(&server, FORMATS[0], &commands).synced()["rev"].as_str().unwrap().to_owned();
    server.write(&["PUT /a/n 2"]);
    for accept in FORMATS {
        let post =
            format!("POST /_streams\nAccept: {accept}\nLast-Event-ID: {cursor}\n\n{commands}");
        let message = server.stream(&post).message();
        assert_eq!(
            (&message["set"], &message["synced"]),
            (&json!([[1, "merge", {"n": 2}]]), &json!(true))
        );
    }
}

#[test]
fn a_client_that_does_not_read_is_owed_nothing_but_the_newest_state() {
    // PROTOCOL M4, S3, S12
    let server = serve();
    let mut stream = open(&server, FORMATS[0], &json!({"watch": 1, "path": "/a"}));
    stream.synced();
    let before = server.metric("halfping_stream_bytes_total");
    let text = "x".repeat(4000);
    let runtime = runtime();
    let commits = 4000;
    for n in 1..=commits {
        runtime.block_on(server.api.put("/a", &json!([n, text])).into_future()).unwrap();
    }
    // The kernel's buffers are bounded too; all that was written would be 16 MB.
    let sent = server.metric("halfping_stream_bytes_total") - before;
    assert!(sent < 4 << 20, "{sent} bytes were made for a reader that does not read");
    let mut messages = 1;
    while stream.message()["set"][0][2][0] != commits {
        messages += 1;
    }
    assert!(messages < commits / 2, "{messages} messages of {commits} commits");
}

#[test]
fn those_of_one_connection_share_its_links() {
    // PROTOCOL M4, O4
    let server = serve_limited(|limits| limits.links_per_connection = 3);
    server.write(&["PUT /a 1"]);
    runtime().block_on(async {
        let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut requests, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let mut open = async |links: Value| {
            let body = Full::new(Bytes::from(json!({"watch": links, "ref": 1}).to_string()));
            let uri = format!("http://{}/_streams", server.address);
            let request = http::Request::post(uri).header("accept", FORMATS[1]).body(body).unwrap();
            let mut body = requests.send_request(request).await.unwrap().into_body();
            let mut text = String::new();
            while !text.contains("\"synced\"") {
                let frame = tokio::time::timeout(DEADLINE, body.frame()).await.expect("in time");
                text.push_str(
                    std::str::from_utf8(frame.unwrap().unwrap().data_ref().unwrap()).unwrap(),
                );
            }
            (body, text)
        };
        let (first, _) = open(json!([[1, "/a"], [2, "/b"]])).await;
        // A `watch` beyond the limit is refused, and those within it are opened all the same.
        let (second, text) = open(json!([[1, "/a"], [2, "/b"]])).await;
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let refused = lines.next().unwrap();
        assert_eq!(refused["type"], "urn:halfping:problem:too-many-links");
        assert_eq!((&refused["ref"], &refused["link"]), (&json!(1), &json!(2)));
        assert_eq!(lines.next().unwrap()["set"], json!([[1, "snapshot", 1]]));
        drop((first, second));
        until_no_links(&server);
        let (_all, text) = open(json!([[1, "/a"], [2, "/a"], [3, "/a"]])).await;
        assert!(text.contains("[3,\"snapshot\",1]"), "{text}");
    });
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let server = serve();
    let body = "{\"watch\":1,\"path\":\"/a\"}";
    let head = "POST /_streams HTTP/1.1\r\nHost: test\r\nExpect: 100-continue";
    let length = body.len();
    let mut plain =
        Plain::ask(server.address, &format!("{head}\r\nContent-Length: {length}\r\n\r\n"));
    plain.until("HTTP/1.1 100 Continue\r\n\r\n");
    plain.socket.write_all(body.as_bytes()).unwrap();
    plain.until("\"synced\":true}");
}
