//! Single reads: plain answers, conditions, long polls, cuts, and refusals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::raw::Answer;
use crate::common::session::Session;
use crate::common::{self, Running, Talk, serve, serve_limited};
use serde_json::{Value, json};

/// Starts a long poll. Returns when the server has it.
fn poll(server: &Running, request: &str) -> thread::JoinHandle<Answer> {
    let links = server.metric("halfping_links");
    let mut talk = server.talk();
    let request = request.to_owned();
    let poll = thread::spawn(move || talk.ask(&request));
    server.until_links(links + 1);
    poll
}

#[test]
fn a_get_has_the_value_and_what_caches_need() {
    // PROTOCOL R1
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n{\"b\":1}", "201");
    let headers = "200
        Content-Type: application/json
        ETag: \"*
        Vary: Accept, Authorization
        Cache-Control: no-cache";
    let body = format!("{headers}\n\n{{\"b\":1}}");
    for accept in [
        "",
        "Accept: application/json",
        "Accept: */*",
        "Accept:",
        "Accept: application/*",
        "Accept: text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8",
        "Accept: application/json, text/event-stream;q=0.9",
        "Accept: text/event-stream;q=0.1, application/json;q=0.2",
    ] {
        talk.check(&format!("GET /a\n{accept}"), &body);
        // PROTOCOL R1: the same without the body
        let head = talk.check(&format!("HEAD /a\n{accept}"), headers);
        assert_eq!((head.header("content-length"), head.body.len()), (Some("7"), 0));
    }
    talk.check("GET /a", &body);
}

#[test]
fn an_absence_has_a_cursor_too() {
    // PROTOCOL R2, R3
    let server = serve();
    let mut talk = server.talk();
    let absent = talk.check(
        "GET /a",
        "404 not-found
        ETag: \"*
        Vary: Accept, Authorization
        Cache-Control: no-cache",
    );
    let absent = absent.cursor();
    let head = talk.check("HEAD /a", "404 not-found\nETag: \"*");
    assert_eq!(head.cursor(), absent);
    talk.check(&format!("GET /a\nIf-None-Match: \"{absent}\""), "304\nETag: \"*");
    talk.check("PUT /a\n\n1", "201");
    talk.check(&format!("GET /a\nIf-None-Match: \"{absent}\""), "200\n\n1");
    let gone = talk.check("DELETE /a", "204").cursor();
    assert_eq!(talk.check("GET /a", "404 not-found").cursor(), gone);
    talk.check(&format!("GET /a\nIf-None-Match: \"{gone}\""), "304");
    talk.check(&format!("GET /a\nIf-None-Match: \"{absent}\""), "404 not-found");
}

#[test]
fn a_current_cursor_is_answered_with_304() {
    // PROTOCOL R3
    let server = serve();
    let mut talk = server.talk();
    let cursor = talk.check("PUT /a\n\n1", "201").cursor();
    for known in [
        format!("\"{cursor}\""),
        cursor.clone(),
        format!("W/\"{cursor}\""),
        format!("\"x\", \"{cursor}\", \"y\""),
        format!("\"x\"\nIf-None-Match: \"{cursor}\""),
        "*".to_owned(),
    ] {
        let answer = talk.check(
            &format!("GET /a\nIf-None-Match: {known}"),
            "304
            Vary: Accept, Authorization
            Cache-Control: no-cache
            !Content-Type",
        );
        assert_eq!(answer.cursor(), cursor);
        talk.check(&format!("HEAD /a\nIf-None-Match: {known}"), "304");
    }
    talk.check("PUT /b\n\n1", "201");
    talk.check(&format!("GET /a\nIf-None-Match: \"{cursor}\""), "304");
    talk.check("PUT /a\n\n2", "200");
    talk.check(&format!("GET /a\nIf-None-Match: \"{cursor}\""), "200\n\n2");
    talk.check("GET /none\nIf-None-Match: *", "404 not-found");
}

#[test]
fn a_long_poll_returns_when_the_resource_changes() {
    // PROTOCOL R4
    let server = serve();
    let cursor = server.write(&["PUT /a {\"b\":{\"c\":1}}", "PUT /x 1"])[0].cursor();
    let waiting = poll(&server, &format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=30"));
    // A change elsewhere does not count, nor does a write that changes nothing.
    server.write(&["PUT /x 2", "PUT /a/b/c 1"]);
    let changed = server.write(&["PUT /a/b/c 2"])[0].cursor();
    let answer = waiting.join().unwrap();
    common::compare(
        "poll",
        &answer,
        "200\nPreference-Applied: wait=30\n\n{\"b\":{\"c\":2}}",
        false,
    );
    assert_eq!(answer.cursor(), changed);
    // A poll that is behind already does not wait.
    let answer =
        server.talk().ask(&format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=30"));
    assert_eq!((answer.status, answer.text()), (200, "{\"b\":{\"c\":2}}"));
}

#[test]
fn a_long_poll_returns_when_the_resource_goes() {
    // PROTOCOL R4
    let server = serve();
    for (path, deletes) in [("/a", "/a"), ("/a/b", "/a")] {
        let cursor = server.write(&["PUT /a {\"b\":1}"]).remove(0);
        let cursor =
            if path == "/a" { cursor.cursor() } else { server.talk().ask("GET /a/b").cursor() };
        let waiting =
            poll(&server, &format!("GET {path}\nIf-None-Match: \"{cursor}\"\nPrefer: wait=30"));
        server.write(&[&format!("DELETE {deletes}")]);
        let answer = waiting.join().unwrap();
        common::compare(
            "poll",
            &answer,
            "404 not-found\nETag: *\nPreference-Applied: wait=30",
            false,
        );
        assert_ne!(answer.cursor(), cursor);
    }
}

#[test]
fn a_long_poll_returns_when_the_resource_comes() {
    // PROTOCOL R4, R2
    let server = serve();
    let mut talk = server.talk();
    for (path, write, body) in [
        ("/a", "PUT /a 1", "1"),
        ("/b/c/d", "MERGE / {\"b\":{\"c\":{\"d\":2}}}", "2"),
        ("/e/f", "PUT /e/f null", "null"),
    ] {
        let absent = talk.check(&format!("GET {path}"), "404 not-found").cursor();
        let waiting =
            poll(&server, &format!("GET {path}\nIf-None-Match: \"{absent}\"\nPrefer: wait=30"));
        server.write(&[write]);
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, answer.text()), (200, body));
    }
}

#[test]
fn a_long_poll_that_sees_nothing_is_answered_with_304() {
    // PROTOCOL R4
    let server = serve_limited(|limits| limits.wait_seconds = 1);
    let mut talk = server.talk();
    let cursor = talk.check("PUT /a\n\n1", "201").cursor();
    for (prefer, applied) in [
        ("wait=0", "wait=0"),
        ("wait=1", "wait=1"),
        ("respond-async, wait=7200", "wait=1"),
        ("Wait=\"1\"", "wait=1"),
    ] {
        let begun = Instant::now();
        let answer = talk.check(
            &format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: {prefer}"),
            &format!("304\nPreference-Applied: {applied}"),
        );
        assert_eq!(answer.cursor(), cursor);
        let least = if applied == "wait=0" { 0 } else { 1 };
        assert!(begun.elapsed() >= Duration::from_secs(least), "{prefer}: {:?}", begun.elapsed());
    }
    // Without a condition there is nothing to wait for.
    talk.check("GET /a\nPrefer: wait=30", "200\n!Preference-Applied\n\n1");
    talk.check(&format!("GET /a\nIf-None-Match: \"{cursor}\""), "304\n!Preference-Applied");
    talk.check(
        &format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=soon"),
        "304\n!Preference-Applied",
    );
}

#[test]
fn the_wait_is_at_most_a_minute_unless_configured() {
    // PROTOCOL R4
    let mut server = serve();
    let cursor = server.write(&["PUT /a 1"])[0].cursor();
    let waiting = poll(&server, &format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=7200"));
    server.begin_stop();
    let answer = waiting.join().unwrap();
    common::compare("poll", &answer, "304\nPreference-Applied: wait=60", false);
}

#[test]
fn a_long_poll_of_a_cut_value_returns_as_soon_as_the_cursor_differs() {
    // PROTOCOL R4, R5: the cursor is the resource's, so a change beneath the cut changes it.
    let server = serve();
    let cursor = server.write(&["PUT /a {\"b\":{\"c\":1}}"])[0].cursor();
    let request = format!("GET /a?depth=1\nIf-None-Match: \"{cursor}\"\nPrefer: wait=2");
    let waiting = poll(&server, &request);
    let changed = server.write(&["PUT /a/b/c 2"])[0].cursor();
    let answer = waiting.join().unwrap();
    // A reader that resumes with the cursor it was given must not be behind at once, again and
    // again.
    assert_eq!((answer.status, answer.cursor()), (200, changed));
}

#[test]
fn depth_cuts_objects() {
    // PROTOCOL R5
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n{\"b\":{\"c\":{\"d\":1},\"e\":[{\"f\":1}]},\"g\":null}", "201");
    for (depth, body) in [
        ("0", "{}"),
        ("1", "{\"b\":{},\"g\":null}"),
        ("2", "{\"b\":{\"c\":{},\"e\":[{\"f\":1}]},\"g\":null}"),
        ("3", "{\"b\":{\"c\":{\"d\":1},\"e\":[{\"f\":1}]},\"g\":null}"),
        ("4000000000", "{\"b\":{\"c\":{\"d\":1},\"e\":[{\"f\":1}]},\"g\":null}"),
    ] {
        talk.check(&format!("GET /a?depth={depth}"), &format!("200\n\n{body}"));
        server
            .ndjson(&format!("/a?depth={depth}"))
            .expect(&[&format!("snapshot {body}"), "synced"]);
        server
            .sse(&format!("/a?delta=false&depth={depth}"))
            .expect(&[&format!("message {body}"), "synced"]);
        server
            .ndjson(&format!("/_streams?path=/a&depth={depth}"))
            .expect(&[&format!("/a snapshot {body}"), "synced"]);
    }
    talk.check("GET /a/g?depth=0", "200\n\nnull");
    talk.check("GET /a/b/e?depth=0", "200\n\n[{\"f\":1}]");
    for depth in ["-1", "x", "", "1.5", "99999999999999999999"] {
        talk.check(&format!("GET /a?depth={depth}"), "400 bad-parameter\n\ndepth");
    }
}

#[test]
fn unknown_parameters_are_refused_and_the_nearest_is_named() {
    // PROTOCOL R6
    let server = serve();
    let mut talk = server.talk();
    for (parameter, near) in [
        ("dept=1", "'depth'"),
        ("Depth=1", "'depth'"),
        ("wacth", "'watch'"),
        ("rates=1", "'rate'"),
        ("delat=false", "'delta'"),
        ("sinze=x", "'since'"),
        ("envelop=true", "'envelope'"),
        ("filter=x", ""),
        ("depth=1&q", ""),
        ("=1", ""),
    ] {
        for target in [format!("GET /a?{parameter}"), format!("HEAD /a?{parameter}")] {
            talk.check(&target, &format!("400 unknown-parameter\n\n{near}"));
        }
        talk.check(
            &format!("GET /a?{parameter}\nAccept: text/event-stream"),
            "400 unknown-parameter",
        );
    }
    talk.check("GET /_streams?path=/a&paht=/b", "400 unknown-parameter\n\n'path'");
    for parameter in ["depth=1&depth=1", "rate=1&rate=2&watch", "watch&watch"] {
        talk.check(&format!("GET /a?{parameter}"), "400 bad-parameter\n\ntwice");
    }
}

#[test]
fn unknown_parameters_are_refused_by_the_servers_own_resources() {
    // PROTOCOL R6
    let server = serve();
    let mut talk = server.talk();
    talk.check("GET /_health?verbose=1", "400 unknown-parameter");
    talk.check("GET /_metrics?verbose=1", "400 unknown-parameter");
}

#[test]
fn writes_take_no_parameters() {
    // PROTOCOL R6: an empty hint is ignored.
    let server = serve();
    let mut talk = server.talk();
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let answer =
            talk.check(&format!("{method} /a?depth=1\n\n1"), "400 unknown-parameter\n\n'depth'");
        assert_ne!(answer.json()["hint"], "known are ");
    }
}

#[test]
fn parameters_of_streams_are_refused_on_a_plain_get() {
    // PROTOCOL R6
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n1", "201");
    for parameter in ["since=x", "rate=1", "delta=false", "envelope=true", "watch=false&rate=1"] {
        talk.check(&format!("GET /a?{parameter}"), "400 not-a-stream");
        talk.check(&format!("HEAD /a?{parameter}"), "400 not-a-stream");
    }
    talk.check("GET /a?watch=false", "200\n\n1");
    for parameter in ["watch=maybe", "watch&delta=2", "watch&envelope=x"] {
        talk.check(&format!("GET /a?{parameter}"), "400 bad-parameter");
    }
    for rate in ["0", "-1", "x", "", "NaN", "inf", "1e999"] {
        talk.check(&format!("GET /a?watch&rate={rate}"), "400 bad-parameter\n\nrate");
    }
}

#[test]
fn an_accept_that_names_nothing_of_ours_is_refused() {
    // PROTOCOL R7
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n1", "201");
    for accept in
        ["text/html", "image/*", "application/xml, text/plain", "application/json;q=0", "nonsense"]
    {
        talk.check(&format!("GET /a\nAccept: {accept}"), "406 not-acceptable");
        talk.check(&format!("GET /none\nAccept: {accept}"), "406 not-acceptable");
        talk.check(&format!("HEAD /a\nAccept: {accept}"), "406 not-acceptable");
        talk.check(&format!("GET /_streams?path=/a\nAccept: {accept}"), "406 not-acceptable");
        talk.check(&format!("POST /_streams\nAccept: {accept}\n\n[]"), "406 not-acceptable");
    }
}

fn methods(talk: &mut Talk, path: &str, allow: &str, refused: &[&str]) {
    let patch = if allow.contains("PATCH") { "Accept-Patch: *" } else { "!Accept-Patch" };
    talk.check(&format!("OPTIONS {path}"), &format!("204\nAllow: {allow}\n{patch}"));
    for method in refused {
        talk.check(&format!("{method} {path}"), &format!("405 method-not-allowed\nAllow: {allow}"));
    }
}

#[test]
fn options_tells_what_is_allowed_and_the_rest_is_refused() {
    // PROTOCOL R8
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n1", "201");
    let all = "GET, HEAD, OPTIONS, PUT, PATCH, POST, DELETE";
    for path in ["/a", "/none", "/none/beneath"] {
        methods(&mut talk, path, all, &["TRACE", "PROPFIND", "LINK"]);
    }
    methods(&mut talk, "/_health", "GET, HEAD, OPTIONS", &["TRACE"]);
    methods(&mut talk, "/_metrics", "GET, HEAD, OPTIONS", &["TRACE"]);
    methods(&mut talk, "/_streams", "GET, HEAD, OPTIONS, POST", &["TRACE"]);
    // The root cannot be removed (PROTOCOL W4), and `Allow` says so.
    talk.check("DELETE /", "405 method-not-allowed\nAllow: *");
    for patch in ["application/merge-patch+json", "application/json-patch+json"] {
        assert!(talk.ask("OPTIONS /a").header("accept-patch").unwrap().contains(patch));
    }
}

#[test]
fn allow_is_the_same_from_options_and_from_405() {
    // PROTOCOL R8, W4: at the root, PUT, PATCH and POST are allowed and DELETE is not.
    let server = serve();
    let mut talk = server.talk();
    let refused = talk.check("DELETE /", "405 method-not-allowed");
    let refused = refused.header("allow").unwrap();
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST"] {
        assert!(
            refused.split(", ").any(|m| m == method),
            "{method} is allowed at /, and Allow says {refused}"
        );
    }
    assert!(!talk.ask("OPTIONS /").header("allow").unwrap().contains("DELETE"));
}

#[test]
fn requests_can_follow_each_other_before_their_answers() {
    // PROTOCOL R1, X2: pipelined on one connection, answered in their order.
    let server = serve();
    let mut talk = server.talk();
    let requests = ["PUT /a\n\n1", "GET /a", "GET /none", "DELETE /a", "GET /a"];
    let bytes: Vec<u8> = requests.iter().flat_map(|short| common::raw::request(short)).collect();
    talk.connection.send(&bytes);
    let statuses: Vec<u16> =
        requests.iter().map(|_| talk.connection.answer(false).status).collect();
    assert_eq!(statuses, [201, 200, 404, 204, 404]);
}

#[test]
fn a_head_reads_no_value() {
    // PROTOCOL R1, R5
    let server = serve_limited(|limits| limits.value_bytes = 20);
    let mut talk = server.talk();
    talk.check("PUT /a\n\n{\"b\":{\"c\":1}}", "201");
    talk.check("PUT /long\n\n{\"a\":{\"x\":1},\"b\":{\"x\":2},\"c\":3}", "201");
    let head = talk.check("HEAD /a", "200\nContent-Type: application/json\nETag: \"*");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("13"), 0));
    // The length is known before anything is read, and a value that is too long is refused alike.
    talk.check("HEAD /long", "413 value-too-large");
    talk.check("GET /long", "413 value-too-large");
    // With a cut, the length is not computed.
    talk.check("GET /long?depth=1", "413 value-too-large");
    for target in ["/a?depth=1", "/long?depth=1", "/long?depth=0"] {
        let head =
            talk.check(&format!("HEAD {target}"), "200\nContent-Type: application/json\nETag: \"*");
        assert_eq!((head.header("content-length"), head.body.len()), (None, 0), "{target}");
    }
    talk.check("GET /a", "200\n\n{\"b\":{\"c\":1}}");
}

#[test]
fn what_is_not_sent_is_not_read() {
    // PROTOCOL R3, R4, W6: a value that is too large to be read does not prevent an answer without
    // it.
    let server = serve_limited(|limits| limits.value_bytes = 20);
    let mut talk = server.talk();
    let long = format!("\"{}\"", "x".repeat(30));
    let cursor = talk.check(&format!("PUT /a\n\n{long}"), "201").cursor();
    talk.check("GET /a", "413 value-too-large");
    for method in ["GET", "HEAD"] {
        let known = talk.check(&format!("{method} /a\nIf-None-Match: \"{cursor}\""), "304");
        assert_eq!(known.cursor(), cursor);
    }
    let waited = talk.check(&format!("GET /a\nIf-None-Match: \"{cursor}\"\nPrefer: wait=0"), "304");
    assert_eq!(waited.header("preference-applied"), Some("wait=0"));
    let refused = talk.check("PUT /a\nIf-None-Match: *\n\n1", "412 precondition-failed\nETag: \"*");
    assert_eq!(refused.cursor(), cursor);
}

#[test]
fn a_large_value_is_one_state_although_it_changes_while_it_is_read() {
    // PROTOCOL R1, L8: it is copied in steps, and yet it is one state of the tree.
    let server = serve();
    let filler = "x".repeat(1000);
    let members = |names: std::ops::Range<usize>| -> Value {
        names.map(|n| (format!("m{n}"), json!(filler))).collect()
    };
    server.write(&[
        "PUT /queue {\"first\":0}",
        &format!("MERGE /queue {}", members(0..2000)),
        "MERGE /queue {\"last\":0}",
    ]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut talk = server.talk();
            for n in 1.. {
                // Each commit adds a member and removes one, and both ends tell the number of
                // commits.
                let commit =
                    json!({ "first": n, (format!("q{n}")): n, (format!("q{}", n - 3)): null, "last": n });
                talk.write(&[&format!("MERGE /queue {commit}")]);
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let check = |queue: &Value, of: &str| {
            let n = queue["last"].as_i64().unwrap();
            assert_eq!(queue["first"], queue["last"], "{of}");
            let here = |n: i64| queue.get(format!("q{n}")).is_some();
            assert!(n == 0 || here(n) && !here(n - 3) && !here(n + 1), "{of} {n}");
            assert_eq!(queue["m1999"], json!(filler), "{of}");
        };
        let (mut talk, mut session) = (server.talk(), Session::open(server.address, "/"));
        for _ in 0..10 {
            check(&talk.ask("GET /queue").json(), "GET");
            check(&talk.ask("GET /?depth=9").json()["queue"], "GET with a cut");
            check(&session.ask(json!({ "get": "/queue" }))["value"], "session");
            check(&server.api.get::<Value>("/queue").unwrap().unwrap(), "program");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.metric("halfping_walk_notes_bytes"), 0);
}
