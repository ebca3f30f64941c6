//! Bodies and messages that take long to read: their turns, their rate, and their end when the
//! client has left.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::raw::{Connection, DEADLINE, request};
use crate::common::session::{Session, Told};
use crate::common::{Running, serve_limited};
use flate2::write::DeflateEncoder;
use serde_json::json;

/// A body with a name of the maximum length: hundreds of milliseconds of reading until it is
/// refused.
fn slow_body() -> String {
    format!(r#"[{{"op":"add","path":"{}","value":1}}]"#, "/a".repeat(2_000_000))
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Waits until no session is open.
#[track_caller]
fn until_left(server: &Running) {
    let until = Instant::now() + DEADLINE;
    while server.metric("halfping_sessions") > 0 {
        assert!(Instant::now() < until, "a session goes on without its client");
        thread::yield_now();
    }
}

#[test]
fn a_body_does_not_wait_for_all_larger_ones() {
    // PROTOCOL O9
    const LARGE: usize = 6;
    let server = serve_limited(|_| {});
    let answered = Arc::new(AtomicUsize::new(0));
    let sent = Arc::new(AtomicUsize::new(0));
    let body = Arc::new(slow_body());
    let clients: Vec<_> = (0..LARGE)
        .map(|_| {
            let (answered, sent, body, address) =
                (answered.clone(), sent.clone(), body.clone(), server.address);
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                let patch =
                    format!("PATCH /a\nContent-Type: application/json-patch+json\n\n{body}");
                connection.send(&request(&patch));
                sent.fetch_add(1, Ordering::SeqCst);
                assert_eq!(connection.answer(false).status, 414);
                answered.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    let until = Instant::now() + DEADLINE;
    while sent.load(Ordering::SeqCst) < LARGE {
        assert!(Instant::now() < until, "the server does not take the bodies");
        thread::yield_now();
    }
    let before = answered.load(Ordering::SeqCst);
    server.write(&[&format!("PUT /small \"{}\"", "x".repeat(100_000))]);
    let meanwhile = answered.load(Ordering::SeqCst) - before;
    assert!(before < LARGE - 3, "{before} were answered before: the test has come too late");
    assert!(meanwhile <= 2, "{meanwhile} larger ones were answered before it");
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn what_a_client_has_asked_for_is_not_done_when_it_has_left() {
    // PROTOCOL O3
    let server = serve_limited(|_| {});
    let values =
        (0..40).map(|n| json!({ "put": format!("/begun/{n}"), "value": "x".repeat(100_000) }));
    let mut commands: Vec<_> = values.collect();
    commands.push(json!({ "put": "/last", "value": 1 }));
    for _ in 0..3 {
        let mut session = Session::open(server.address, "/");
        session.say(&json!(commands));
        drop(session);
        until_left(&server);
    }
    assert_eq!(server.talk().ask("GET /last").status, 404);
    // A client that closes its session properly is served first.
    let mut session = Session::open(server.address, "/");
    session.say(&json!(commands));
    session.close();
    assert_eq!(server.talk().ask("GET /last").status, 200);
}

/// A session that compresses its messages.
fn compressing(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("permessage-deflate"), "{head}");
    stream
}

/// A message of many spaces and a command, as one compressed frame.
fn spaces(count: usize, command: &str) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&b" ".repeat(count)).unwrap();
    encoder.write_all(command.as_bytes()).unwrap();
    encoder.flush().unwrap();
    let mut payload = encoder.get_ref().clone();
    assert!(payload.ends_with(&[0, 0, 0xff, 0xff]));
    payload.truncate(payload.len() - 4);
    frame(0xc1, &payload)
}

/// Reads a short message of the server that is not compressed.
fn message(stream: &mut TcpStream) -> String {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert!(head[0] == 0x81 && head[1] < 126, "{head:?}");
    let mut payload = vec![0; head[1].into()];
    stream.read_exact(&mut payload).unwrap();
    String::from_utf8(payload).unwrap()
}

#[test]
fn inflated_bytes_are_read_no_faster_than_they_may_come() {
    // PROTOCOL L15
    const SIZE: usize = 1 << 20;
    let server = serve_limited(|limits| limits.message_bytes_per_second = SIZE as u32);
    let mut stream = compressing(server.address);
    let began = Instant::now();
    let messages = (1..=4).map(|n| spaces(SIZE, &format!(r#"{{"ref":{n},"get":"/"}}"#)));
    let bytes: Vec<u8> = messages.flatten().collect();
    assert!(bytes.len() < 16 << 10, "all of them are read at once");
    stream.write_all(&bytes).unwrap();
    for n in 1..=4 {
        assert!(message(&mut stream).starts_with(&format!(r#"{{"ref":{n},"status":200"#)));
    }
    // The allowance of the first second comes at once, and that of the second is used when the
    // third begins.
    assert!(began.elapsed() > Duration::from_millis(1900), "after {:?}", began.elapsed());
}

#[test]
fn who_sends_too_fast_is_told_the_state_meanwhile() {
    // PROTOCOL L15, L11
    let server = serve_limited(|limits| {
        (limits.message_bytes_per_second, limits.silence_ms, limits.ping_ms) = (1000, 500, 100_000);
    });
    let mut session = Session::open(server.address, "/a?watch");
    session.state();
    // Three seconds' allowance; no other message is read meanwhile.
    session.say(&json!({ "ref": 1, "put": "/b", "value": "x".repeat(3000) }));
    session.say(&json!({ "ref": 2, "put": "/b", "value": 1 }));
    assert_eq!(session.next()["ref"], 1);
    server.write(&["PUT /a 7"]);
    assert_eq!(session.next()["set"], json!([[0, "snapshot", 7]]));
    assert!(matches!(session.next_within(Duration::from_millis(800)), Told::Nothing));
    assert_eq!(session.next()["ref"], 2);
}
