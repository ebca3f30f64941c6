//! Every problem that a client can cause: its answer, an unchanged tree, and a connection that goes
//! on.

use std::io::Write;

use crate::common::{Talk, compare, raw, serve, serve_limited};

const MERGE: &str = "Content-Type: application/merge-patch+json";
const PATCH: &str = "Content-Type: application/json-patch+json";

#[test]
fn every_problem_of_the_table_is_reached() {
    // PROTOCOL X1, X2, X3. Elsewhere: body-timeout, draining and too-many-connections. `internal`
    // would be a bug.
    let server = serve_limited(|limits| {
        limits.json_depth = 4;
        limits.members_per_object = 5;
        limits.key_bytes = 10;
        limits.path_depth = 4;
        limits.value_bytes = 200;
        limits.body_bytes = 300;
        limits.uri_bytes = 100;
        limits.links_per_connection = 2;
        limits.patch_work_bytes = 2000;
    });
    let mut talk = server.talk();
    talk.check("PUT /o\n\n{\"leaf\":1}", "201");
    let long = "x".repeat(150);
    let in_lists = "[[[[[1]]]]]";
    let work = "{\"op\":\"copy\",\"from\":\"/l\",\"path\":\"/m\"},".repeat(6);
    let cases: Vec<(String, &str)> = vec![
        ("GET /a//b".into(), "400 bad-path\n\nhint"),
        ("PUT /a\n\n{".into(), "400 bad-json\n\nline 1\ncolumn 1"),
        ("PUT /a\n\n{\"x\":1,\"x\":2}".into(), "400 duplicate-member\n\nline 1"),
        (format!("PATCH /o\n{PATCH}\n\n[{{\"op\":\"x\"}}]"), "400 bad-patch\n\noperation 0"),
        ("GET /o?depth=x".into(), "400 bad-parameter\n\ndepth"),
        ("GET /o?deep=1".into(), "400 unknown-parameter\n\ndid you mean 'depth'?"),
        ("GET /o?rate=1".into(), "400 not-a-stream\n\nhint"),
        ("POST /o\nIf-Match: *\n\n1".into(), "400 bad-header"),
        ("PUT /_x\n\n1".into(), "403 reserved-path"),
        ("GET /none".into(), "404 not-found"),
        ("GET /_x".into(), "404 not-found\n\n/_server, and the binary /_console/"),
        ("GET /_demo/".into(), "404 not-found\n\n`halfping demo` has it"),
        ("DELETE /none".into(), "404 not-found"),
        ("BREW /o".into(), "405 method-not-allowed\nAllow: *"),
        ("GET /o\nAccept: text/html".into(), "406 not-acceptable\n\nhint"),
        ("PUT /o/leaf/x\n\n1".into(), "409 not-an-object\n\nhint"),
        ("PUT /\n\n1".into(), "409 not-an-object"),
        (
            format!("PATCH /o\n{PATCH}\n\n[{{\"op\":\"remove\",\"path\":\"/x\"}}]"),
            "409 patch-failed\n\n0",
        ),
        ("PUT /o\nIf-None-Match: *\n\n1".into(), "412 precondition-failed\nETag: *\n\nhint"),
        (
            format!("PUT /o\n\n\"{}\"", "x".repeat(300)),
            "413 body-too-large\n\n\"limit\":\"body_bytes\"\n\"max\":300",
        ),
        (format!("PUT /o\n\n{in_lists}"), "413 too-deep\n\n\"limit\":\"json_depth\"\n\"max\":4"),
        (
            "PUT /o\n\n{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}".into(),
            "413 too-deep\n\n\"limit\":\"json_depth\"",
        ),
        (
            "PUT /o\n\n{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1}".into(),
            "413 too-many-members\n\n\"limit\":\"members_per_object\"\n\"max\":5",
        ),
        (
            format!("PATCH /o\n{MERGE}\n\n{{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1}}"),
            "413 too-many-members\n\n\"limit\":\"members_per_object\"",
        ),
        (
            "PUT /o\n\n{\"eleven_char\":1}".into(),
            "413 key-too-long\n\n\"limit\":\"key_bytes\"\n\"max\":10",
        ),
        ("PUT /eleven_char\n\n1".into(), "413 key-too-long\n\n\"limit\":\"key_bytes\""),
        ("GET /eleven_char".into(), "413 key-too-long\n\n\"limit\":\"key_bytes\""),
        ("PUT /a/b/c/d/e\n\n1".into(), "414 path-too-deep\n\n\"limit\":\"path_depth\"\n\"max\":4"),
        (
            format!("GET /o?{}", "x".repeat(100)),
            "414 path-too-long\n\n\"limit\":\"uri_bytes\"\n\"max\":100",
        ),
        ("PUT /o\nContent-Type: text/plain\n\n1".into(), "415 unsupported-media-type\n\nhint"),
        ("PATCH /o\n\n1".into(), "415 unsupported-media-type\nAccept-Patch: *\n\nhint"),
        ("PUT /o\n\n1e400".into(), "422 number-out-of-range\n\nline 1"),
        (
            "GET /_streams?path=/a&path=/b&path=/c".into(),
            "429 too-many-links\nRetry-After: *\n\n\"limit\":\"links_per_connection\"\n\"max\":2",
        ),
    ];
    for (request, expect) in &cases {
        talk.check(request, expect);
    }
    talk.check("GET /o", "200\n\n{\"leaf\":1}");
    talk.write(&[&format!("PUT /o/l \"{long}\""), &format!("PUT /o/n \"{long}\"")]);
    talk.check("GET /o", "413 value-too-large\n\n\"limit\":\"value_bytes\"\n\"max\":200\nhint");
    talk.check("GET /o?depth=0", "200\n\n{}");
    let patch = format!("[{}]", work.trim_end_matches(','));
    talk.check(
        &format!("PATCH /o\n{PATCH}\n\n{patch}"),
        "413 value-too-large\n\n\"limit\":\"patch_work_bytes\"",
    );
    // A value exactly at a limit is allowed.
    talk.check("PUT /a/b/c/d\n\n1", "201");
    talk.check("PUT /ten_chars_\n\n{\"a\":[[[1]]],\"b\":1,\"c\":1,\"d\":1,\"e\":1}", "201");
}

#[test]
fn metrics_that_the_page_on_operating_names_are_there() {
    // PROTOCOL O2. Metrics with labels show a line once something was counted.
    let page = include_str!("../../../../docs/guides/operating.md");
    let server = serve_limited(|limits| limits.body_bytes = 10);
    let mut talk = server.talk();
    talk.check("PUT /o\n\n\"longer than that\"", "413 body-too-large");
    let metrics = talk.ask("GET /_metrics");
    assert!(metrics.text().contains("\nhalfping_limits_hit_total{limit=\"body_bytes\"} 1\n"));
    let words = page.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let is_metric = |word: &&str| word.starts_with("halfping_") || word.starts_with("process_");
    let named: Vec<&str> = words.filter(is_metric).filter(|word| !word.ends_with('_')).collect();
    assert!(named.len() > 10, "the page names metrics: {named:?}");
    for name in named {
        // Process metrics are present where the system tells them.
        let is_there = metrics.text().lines().any(|line| line.starts_with(name));
        assert!(is_there || name.starts_with("process_") && !cfg!(target_os = "linux"), "{name}");
    }
}

#[test]
fn limits_in_a_patch_document_are_the_settings() {
    // PROTOCOL X1: `max` is the setting's value, wherever the limit is met.
    let server = serve_limited(|limits| limits.json_depth = 4);
    let mut talk = server.talk();
    talk.check("PUT /o\n\n{}", "201");
    talk.check(
        &format!("PATCH /o\n{PATCH}\n\n[{{\"op\":\"add\",\"path\":\"/a\",\"value\":[[[[[1]]]]]}}]"),
        "413 too-deep\n\n\"limit\":\"json_depth\"\n\"max\":4",
    );
}

#[test]
fn a_name_in_a_pointer_is_held_to_the_limit_of_names() {
    // PROTOCOL X1, W3
    let server = serve_limited(|limits| limits.key_bytes = 10);
    let mut talk = server.talk();
    talk.check("PUT /o\n\n{}", "201");
    talk.check(
        &format!("PATCH /o\n{PATCH}\n\n[{{\"op\":\"add\",\"path\":\"/eleven_char\",\"value\":1}}]"),
        "413 key-too-long\n\n\"limit\":\"key_bytes\"\n\"max\":10",
    );
}

#[test]
fn headers_that_are_no_text_are_refused() {
    // PROTOCOL X1, X2
    let server = serve();
    let mut talk = server.talk();
    for header in ["Accept", "If-None-Match", "Content-Type", "If-Match"] {
        for method in ["GET", "PUT"] {
            let reads = matches!(header, "Accept" | "If-None-Match");
            if reads != (method == "GET") {
                continue;
            }
            let mut request =
                format!("{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n{header}: ")
                    .into_bytes();
            request.extend_from_slice(b"\xff\xfe\r\n\r\n");
            talk.check_bytes(&request, method, "400 bad-header");
        }
    }
}

#[test]
fn a_connection_writes_so_fast_and_no_faster() {
    // PROTOCOL X1, X3
    let server = serve_limited(|limits| limits.writes_per_second = 5);
    let mut talk = server.talk();
    let mut refused = 0;
    for n in 0..12 {
        let answer = talk.ask(&format!("PUT /n\n\n{n}"));
        if answer.status == 429 {
            compare(
                "PUT",
                &answer,
                "429 write-rate\nRetry-After: *\n\n\"limit\":\"writes_per_second\"\n\"max\":5",
                false,
            );
            refused += 1;
        }
    }
    assert!((4..=7).contains(&refused), "{refused} of 12 were refused");
    // Another connection has its own allowance.
    server.talk().check("PUT /n\n\n1", "200");
    talk.check("GET /n", "200\n\n1");
}

#[test]
fn links_are_counted_per_connection_and_given_back() {
    // PROTOCOL X1, X3
    let server = serve_limited(|limits| limits.links_per_connection = 3);
    for _ in 0..20 {
        server
            .ndjson("/_streams?path=/a&path=/b&path=/c")
            .expect(&["/a gone", "/b gone", "/c gone", "synced"]);
        server.talk().check("GET /_streams?path=/a&path=/b&path=/c&path=/d", "429 too-many-links");
        server.talk().check(
            "GET /_streams?path=/a&path=/b&path=/c&path=/d\nAccept: text/event-stream",
            "429 too-many-links",
        );
    }
}

/// Sends a head, reads the answer, then sends the body that the answer did not wait for.
#[track_caller]
fn answered_before_the_body(talk: &mut Talk, head: &str, body: &[u8], expect: &str) {
    let request = format!("{head}\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    talk.connection.send(request.as_bytes());
    let answer = talk.connection.answer(false);
    compare(head, &answer, expect, false);
    let sent = talk.connection.try_send(body);
    assert!(sent.is_ok(), "{head}: the connection does not take the body: {sent:?}");
    let asked = talk.connection.try_send(&raw::request("GET /"));
    let (status, _) = talk
        .connection
        .try_head()
        .unwrap_or_else(|| panic!("{head}: the connection is gone: {asked:?}"));
    assert_eq!(status, 200, "{head}");
}

#[test]
fn a_connection_stays_usable_when_a_short_body_comes_after_its_refusal() {
    // PROTOCOL X2
    let server = serve();
    for (head, expect) in [
        ("PUT /a HTTP/1.1\r\nContent-Type: text/plain", "415 unsupported-media-type"),
        ("PUT /a//b HTTP/1.1", "400 bad-path"),
        ("PUT /a?x=1 HTTP/1.1", "400 unknown-parameter"),
        ("BREW /a HTTP/1.1", "405 method-not-allowed"),
        ("DELETE / HTTP/1.1", "405 method-not-allowed"),
    ] {
        answered_before_the_body(&mut server.talk(), head, b"{\"a\":1}", expect);
    }
}

#[test]
fn a_connection_stays_usable_after_a_body_that_was_too_large() {
    // PROTOCOL X2, X1
    let server = serve_limited(|limits| limits.body_bytes = 100_000);
    let mut talk = server.talk();
    let body = format!("\"{}\"", "x".repeat(300_000));
    talk.check(
        &format!("PUT /a\n\n{body}"),
        "413 body-too-large\n\n\"limit\":\"body_bytes\"\n\"max\":100000",
    );
}

#[test]
fn a_connection_stays_usable_after_a_body_of_unknown_length_that_was_too_large() {
    // PROTOCOL X2, X1
    let server = serve_limited(|limits| limits.body_bytes = 100_000);
    let mut talk = server.talk();
    let mut request =
        b"PUT /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..30 {
        write!(request, "{:x}\r\n", 10_000).unwrap();
        request.extend_from_slice(&[b' '; 10_000]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    talk.check_bytes(&request, "PUT /a", "413 body-too-large");
}

#[test]
fn a_request_target_that_is_too_long_is_refused() {
    // PROTOCOL X1, section 7: `path-too-long`, and 431 beyond the limit of a head
    let server = serve();
    for (length, expect) in [
        (9_000, "414 path-too-long\n\nuri_bytes"),
        (11_000, "414 path-too-long\n\nuri_bytes"),
        (60_000, "431"),
    ] {
        let mut talk = server.talk();
        let path = "/x".repeat(length / 2);
        talk.connection.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        let answer = talk.connection.answer(false);
        compare(&format!("a target of {length} bytes"), &answer, expect, false);
    }
}

#[test]
fn a_body_that_ends_early_changes_nothing() {
    // PROTOCOL C1, X2
    let server = serve();
    let mut talk = server.talk();
    talk.connection.send(b"PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n1");
    talk.connection.socket().shutdown(std::net::Shutdown::Write).unwrap();
    let said = talk.connection.closed();
    assert!(!said.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&said));
    server.talk().check("GET /a", "404 not-found");
}

#[test]
fn a_full_tree_takes_no_more_and_can_be_emptied() {
    // PROTOCOL X1: `tree-full`
    let server = serve_limited(|limits| limits.tree_bytes = 1000);
    let mut talk = server.talk();
    let body = "x".repeat(600);
    talk.check(&format!("PUT /a\n\n\"{body}\""), "201");
    talk.check(
        &format!("PUT /b\n\n\"{body}\""),
        "507 tree-full\n\n\"limit\":\"tree_bytes\"\n\"max\":1000",
    );
    talk.check("DELETE /a", "204");
    talk.check(&format!("PUT /b\n\n\"{body}\""), "201");
}

#[test]
fn a_commit_of_too_many_members_is_to_be_sent_in_parts() {
    // PROTOCOL W15
    let server = serve_limited(|limits| limits.members_per_commit = 5);
    let mut talk = server.talk();
    let refused = "413 too-many-members\n\n\"limit\":\"members_per_commit\"\n\"max\":5\nin parts";
    talk.check("PUT /a\n\n{\"a\":{\"a\":1,\"b\":2},\"b\":[{\"c\":1}]}", "201");
    talk.check("PUT /a\n\n{\"a\":{\"a\":1,\"b\":2},\"b\":{\"c\":1}}", refused);
    talk.check(
        &format!("PATCH /a\n{MERGE}\n\n{{\"c\":1,\"d\":null,\"e\":1,\"f\":1,\"g\":1}}"),
        refused,
    );
    let tests = "{\"op\":\"test\",\"path\":\"/a/a\",\"value\":1},".repeat(5);
    talk.check(&format!("PATCH /a\n{PATCH}\n\n[{}]", tests.trim_end_matches(',')), refused);
    let tests = "{\"op\":\"test\",\"path\":\"/a/a\",\"value\":1},".repeat(4);
    talk.check(&format!("PATCH /a\n{PATCH}\n\n[{}]", tests.trim_end_matches(',')), "200");
}

#[test]
fn the_tree_is_nested_no_deeper_than_parsers_go() {
    // PROTOCOL W15: neither pointers nor paths lead deeper than bodies may.
    let server = serve();
    let mut talk = server.talk();
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let names = |levels: usize| "/n".repeat(levels);
    // The deepest value that a path and a body make together.
    talk.check(&format!("PUT {}\n\n{}", names(32), deep(64)), "201");
    let patch = |at: &str, pointer: &str, value: &str| {
        let add = format!("{{\"op\":\"add\",\"path\":\"{pointer}\",\"value\":{value}}}");
        format!("PATCH {at}\n{PATCH}\n\n[{add}]")
    };
    let objects =
        |levels: usize| format!("{}{{}}{}", "{\"o\":".repeat(levels - 1), "}".repeat(levels - 1));
    let refused = "413 too-deep\n\n\"limit\":\"tree_depth\"\n\"max\":96";
    talk.check(&format!("PUT {}\n\n{}", "/o".repeat(32), objects(64)), "201");
    let pointer = "/o".repeat(32);
    // 32 + 32 + 64 would be deeper, whether of objects or arrays.
    for value in [deep(64), objects(64), deep(33), objects(33)] {
        talk.check(&patch(&"/o".repeat(32), &pointer, &value), refused);
    }
    talk.check(&patch(&"/o".repeat(32), &pointer, &deep(32)), "200");
    talk.check(&patch(&"/o".repeat(32), &pointer, &objects(32)), "200");
    let root = talk.check("GET /", "200").body;
    serde_json::from_slice::<serde_json::Value>(&root).expect("common parsers read it");
}
