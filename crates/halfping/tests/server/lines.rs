//! Output in lines: no character in it can be taken for the end of a line.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::session::Session;
use crate::common::{self, Running, serve};
use serde_json::{Value, json};

/// All characters that are escaped (PROTOCOL V6), and their neighbours.
fn breaks() -> String {
    ('\u{7f}'..='\u{9f}').chain(['\u{2028}', '\u{2029}']).collect()
}

const OTHERS: &str = "~\u{a0}\u{2027}\u{202a}ä°…";

/// The bytes of an answer, up to a text in it.
#[track_caller]
fn raw(server: &Running, request: &str, until: &str) -> String {
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(common::raw::DEADLINE)).unwrap();
    socket.write_all(&common::raw::request(request)).unwrap();
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let len = socket.read(&mut part).unwrap();
        assert!(len > 0, "{request} ended without {until}");
        bytes.extend_from_slice(&part[..len]);
        let said = String::from_utf8_lossy(&bytes);
        if said.contains(until) {
            return said.into_owned();
        }
    }
}

#[track_caller]
fn check(said: &str) {
    let found: Vec<char> = said.chars().filter(|c| breaks().contains(*c)).collect();
    assert!(found.is_empty(), "{found:?} in {said}");
}

/// A text in JSON, with each character plain or escaped.
fn written(text: &str, escaped: bool) -> String {
    match escaped {
        true => text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
        false => text.to_owned(),
    }
}

#[test]
fn no_line_event_or_message_has_a_character_that_readers_end_lines_at() {
    // PROTOCOL V6
    let server = serve();
    let (breaks, mut talk) = (breaks(), server.talk());
    for escaped in [false, true] {
        let text = written(&format!("{breaks}{OTHERS}"), escaped);
        // As a name, as a string, in an array, and as names within one.
        let body = format!(
            "{{\"o\":{{\"{text}\":\"{text}\",\"l\":[\"{text}\",{{\"{text}\":\"{text}\"}}]}}}}"
        );
        talk.write(&["PUT /t {}", &format!("PUT /t {body}")]);
        let plain = talk.ask("GET /t");
        check(plain.text());
        let same: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(plain.json(), same);
        assert!(plain.text().contains(OTHERS), "the others stay as they are: {}", plain.text());
        for request in [
            "GET /t?watch",
            "GET /t\nAccept: text/event-stream",
            "GET /t?delta=false\nAccept: text/event-stream",
            "GET /t?envelope=true\nAccept: text/event-stream",
            "GET /_streams?path=/t",
            "POST /_streams\n\n{\"watch\":1,\"path\":\"/t\"}",
        ] {
            check(&raw(&server, request, "synced"));
        }
        // The same text, plain and escaped, is one value.
        let other = written(&format!("{breaks}{OTHERS}"), !escaped);
        let before = plain.cursor();
        talk.write(&[&format!("PUT /t {}", body.replace(&text, &other))]);
        assert_eq!(talk.ask("GET /t").cursor(), before);
    }
}

#[test]
fn paths_patches_and_problems_have_none_either() {
    // PROTOCOL V6
    let server = serve();
    let mut talk = server.talk();
    let key = "%C2%85%E2%80%A8";
    talk.write(&[&format!("PUT /t/{key} {{\"a\":[1]}}"), "PUT /t/b 1"]);
    // The client's path, decoded once.
    let said = raw(&server, &format!("GET /_streams?path=/t/{key}"), "synced");
    check(&said);
    assert!(said.contains("\"path\":\"/t/\\u0085\\u2028\""), "{said}");
    // A patch that names the key.
    let mut stream = server.ndjson("/t");
    stream.until_synced();
    let long = "x".repeat(200);
    talk.write(&[&format!("PUT /t/{key} {{\"{long}\":{{\"y\":1}}}}")]);
    check(&stream.next().show());
    // A problem that repeats the client's text.
    let body = format!("{{\"\u{2028}watch\":1,\"path\":\"\u{85}\",\"x\":\"{}\"}}", breaks());
    check(&raw(&server, &format!("POST /_streams\n\n{body}"), "problem"));
    check(talk.ask(&format!("GET /t?{key}=1")).text());
    // An answer of a session.
    let mut session = Session::open(server.address, "/");
    let got = session.ask(json!({ "get": "/t" }));
    assert_eq!(got["value"]["b"], 1);
}
