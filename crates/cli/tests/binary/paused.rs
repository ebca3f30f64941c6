//! A server that is stopped for a while, as on a laptop that sleeps.

#![cfg(unix)]

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::disk::{self, Durable, Start};
use crate::raw::Connection;
use crate::session::{Session, Told};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const PING_MS: u64 = 100;
const SILENCE_MS: u64 = 2000;
/// The time that a client has to send or take something.
const TIMEOUT_MS: u64 = 3000;
/// Longer than any of these times.
const PAUSE: Duration = Duration::from_millis(2 * SILENCE_MS);
/// A short part of them: before a pause, until the server has read what was sent; after it, until
/// the server has read its clocks.
const A_WHILE: Duration = Duration::from_millis(200);

fn serve(test: &str, limits: &str) -> Durable {
    let at = disk::directory(test);
    let config = at.join("config.toml");
    std::fs::write(&config, format!("[limits]\n{limits}")).unwrap();
    let mut start = Start::new(&at.join("data"), disk::address());
    start.config = Some(config);
    start.serve()
}

/// Stops the server for a while.
fn pause(server: &Durable) {
    let process = Pid::from_child(&server.child);
    kill_process(process, Signal::STOP).unwrap();
    thread::sleep(PAUSE);
    kill_process(process, Signal::CONT).unwrap();
}

#[test]
fn a_server_that_slept_does_not_take_that_for_its_clients_silence() {
    // PROTOCOL L11
    let server = serve("paused", &format!("ping_ms = {PING_MS}\nsilence_ms = {SILENCE_MS}\n"));
    let mut session = Session::open(server.address, "/");
    assert_eq!(session.ask(json!({ "put": "/a", "value": 1 }))["status"], 201);

    pause(&server);

    // The test sends nothing itself. Reading answers pings.
    let told = session.next_within(Duration::from_millis(SILENCE_MS / 2));
    assert!(matches!(told, Told::Nothing), "{told:?}");
    assert_eq!(session.ask(json!({ "get": "/a" }))["status"], 200);
    assert!(server.stop().success());
}

#[test]
fn a_server_that_slept_waits_for_bodies_and_messages_that_were_on_their_way() {
    // PROTOCOL O16
    let server = serve("paused-bodies", &format!("body_timeout_ms = {TIMEOUT_MS}\n"));
    let mut session = Session::open(server.address, "/");
    let text = br#"{"ref":1,"put":"/b","value":1}"#;
    // The mask is zeros.
    let message = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], &text[..]].concat();
    session.stream().write_all(&message[..10]).unwrap();
    let mut connection = Connection::open(server.address);
    connection.send(b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n1");
    thread::sleep(A_WHILE);

    pause(&server);

    thread::sleep(A_WHILE);
    connection.send(b"23");
    assert_eq!(connection.answer(false).status, 201);
    session.stream().write_all(&message[10..]).unwrap();
    assert_eq!(session.next()["status"], 201);
    assert!(server.stop().success());
}

#[test]
fn a_server_that_slept_gives_up_no_answer_that_was_being_taken() {
    // PROTOCOL O16
    const BYTES: usize = 32 << 20;
    let limits = format!(
        "answer_timeout_ms = {TIMEOUT_MS}\nanswer_idle_ms = {TIMEOUT_MS}\nbody_bytes = {}\n",
        BYTES + 1000
    );
    let server = serve("paused-answers", &limits);
    let mut connection = Connection::open(server.address);
    let value = format!("\"{}\"", "x".repeat(BYTES));
    assert_eq!(connection.ask(&format!("PUT /a\n\n{value}")).status, 201);
    connection.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (status, headers) = connection.head();

    pause(&server);

    thread::sleep(A_WHILE);
    let answer = connection.body(status, headers, false);
    assert_eq!((answer.status, answer.body.len()), (200, BYTES + 2));
    assert!(server.stop().success());
}
