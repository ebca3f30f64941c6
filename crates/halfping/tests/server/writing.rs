//! Writes: the effect of each method, its refusals, and that no write is lost.

use std::thread;

use crate::common::serve;
use serde_json::json;

const MERGE: &str = "Content-Type: application/merge-patch+json";
const PATCH: &str = "Content-Type: application/json-patch+json";

#[test]
fn put_makes_the_resource_exactly_the_body() {
    // PROTOCOL W1, W7
    let server = serve();
    let mut talk = server.talk();
    let created = talk.check(
        "PUT /a/b/c\n\n{\"x\":1,\"y\":2}",
        "201\nETag: \"*\nContent-Length: 0\n!Content-Type\n\n",
    );
    assert_eq!(talk.ask("GET /a/b/c").cursor(), created.cursor());
    talk.check("GET /", "200\n\n{\"a\":{\"b\":{\"c\":{\"x\":1,\"y\":2}}}}");
    let mut of_x = server.ndjson("/a/b/c/x");
    let mut of_c = server.ndjson("/a/b/c");
    of_x.expect(&["snapshot 1", "synced"]);
    of_c.expect(&["snapshot {\"x\":1,\"y\":2}", "synced"]);
    // Only the members that differ change.
    let x = talk.ask("GET /a/b/c/x").cursor();
    let changed =
        talk.check("PUT /a/b/c\n\n{\"x\":1,\"z\":3}", "200\nContent-Length: 0\n\n").cursor();
    assert_eq!(talk.ask("GET /a/b/c/x").cursor(), x);
    assert_eq!(talk.ask("GET /a/b/c").cursor(), changed);
    talk.check("PUT /a/b/c/x\n\n7", "200");
    of_x.expect(&["snapshot 7"]);
    talk.check("PUT /a/b/c\n\n5", "200");
    of_x.expect(&["gone"]);
    talk.check("PUT /a/b/c\n\n{}", "200");
    talk.check("GET /a/b/c", "200\n\n{}");
    talk.check("PUT /\n\n{\"only\":{}}", "200\nETag: *");
    talk.check("GET /", "200\n\n{\"only\":{}}");
}

#[test]
fn merge_patch_is_rfc_7396() {
    // PROTOCOL W2, W7: the table of the RFC's appendix A, at a path and (where that is possible) at
    // the root.
    let server = serve();
    let mut talk = server.talk();
    for (original, patch, result) in [
        ("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"),
        ("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"),
        ("{\"a\":\"b\"}", "{\"a\":null}", "{}"),
        ("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"),
        ("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"),
        ("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"),
        ("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"),
        ("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"),
        ("[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"),
        ("{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"),
        ("{\"a\":\"foo\"}", "null", "null"),
        ("{\"a\":\"foo\"}", "\"bar\"", "\"bar\""),
        ("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"),
        ("[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"),
        ("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"),
    ] {
        talk.ask(&format!("PUT /r\n\n{original}"));
        talk.check(&format!("PATCH /r\n{MERGE}\n\n{patch}"), "200\nETag: *\nContent-Length: 0\n\n");
        talk.check("GET /r", &format!("200\n\n{result}"));
        if original.starts_with('{') && patch.starts_with('{') {
            talk.ask(&format!("PUT /\n\n{original}"));
            talk.check(&format!("PATCH /\n{MERGE}\n\n{patch}"), "200");
            // Not compared as text: an older member keeps its place (PROTOCOL V4).
            assert_eq!(
                talk.ask("GET /").json(),
                serde_json::from_str::<serde_json::Value>(result).unwrap()
            );
        }
    }
    talk.check(&format!("PATCH /new/here\n{MERGE}\n\n{{\"a\":1,\"b\":null}}"), "201\nETag: *");
    talk.check("GET /new", "200\n\n{\"here\":{\"a\":1}}");
    talk.check(&format!("PATCH /\n{MERGE}\n\n5"), "409 not-an-object");
    talk.check(&format!("PATCH /\n{MERGE}\n\nnull"), "409 not-an-object");
}

#[test]
fn json_patch_is_rfc_6902() {
    // PROTOCOL W3
    let server = serve();
    let mut talk = server.talk();
    for (original, patch, result) in [
        (
            "{\"foo\":\"bar\"}",
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            "{\"foo\":\"bar\",\"baz\":\"qux\"}",
        ),
        (
            "{\"foo\":[\"bar\",\"baz\"]}",
            json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
            "{\"foo\":[\"bar\",\"qux\",\"baz\"]}",
        ),
        (
            "{\"baz\":\"qux\",\"foo\":\"bar\"}",
            json!([{"op": "remove", "path": "/baz"}]),
            "{\"foo\":\"bar\"}",
        ),
        (
            "{\"foo\":[\"bar\",\"qux\"]}",
            json!([{"op": "remove", "path": "/foo/1"}]),
            "{\"foo\":[\"bar\"]}",
        ),
        (
            "{\"baz\":\"qux\"}",
            json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
            "{\"baz\":\"boo\"}",
        ),
        (
            "{\"a\":{\"b\":1},\"c\":{}}",
            json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
            "{\"a\":{},\"c\":{\"d\":1}}",
        ),
        (
            "{\"a\":[1,2,3]}",
            json!([{"op": "move", "from": "/a/0", "path": "/a/2"}]),
            "{\"a\":[2,3,1]}",
        ),
        (
            "{\"a\":{\"b\":[1]}}",
            json!([{"op": "copy", "from": "/a", "path": "/c"}]),
            "{\"a\":{\"b\":[1]},\"c\":{\"b\":[1]}}",
        ),
        ("{\"a\":[]}", json!([{"op": "add", "path": "/a/-", "value": null}]), "{\"a\":[null]}"),
        (
            "{\"/\":1,\"~1\":2}",
            json!([{"op": "test", "path": "/~01", "value": 2}, {"op": "remove", "path": "/~1"}]),
            "{\"~1\":2}",
        ),
        ("{\"a\":1}", json!([{"op": "replace", "path": "", "value": [1]}]), "[1]"),
        ("[{\"b\":1}]", json!([{"op": "add", "path": "/0/c", "value": 2}]), "[{\"b\":1,\"c\":2}]"),
        (
            "5",
            json!([{"op": "test", "path": "", "value": 5.0}, {"op": "replace", "path": "", "value": 6}]),
            "6",
        ),
    ] {
        talk.ask(&format!("PUT /r\n\n{original}"));
        talk.check(&format!("PATCH /r\n{PATCH}\n\n{patch}"), "200\nETag: *\nContent-Length: 0\n\n");
        talk.check("GET /r", &format!("200\n\n{result}"));
    }
}

#[test]
fn a_json_patch_that_fails_names_its_operation_and_does_nothing() {
    // PROTOCOL W3, X2
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /r\n\n{\"a\":[1],\"o\":{}}", "201");
    for operation in [
        json!({"op": "test", "path": "/a/0", "value": 2}),
        json!({"op": "remove", "path": "/none"}),
        json!({"op": "replace", "path": "/none", "value": 1}),
        json!({"op": "add", "path": "/none/beneath", "value": 1}),
        json!({"op": "add", "path": "/a/3", "value": 1}),
        json!({"op": "add", "path": "/a/01", "value": 1}),
        json!({"op": "add", "path": "/a/x", "value": 1}),
        json!({"op": "remove", "path": "/a/-"}),
        json!({"op": "move", "from": "/none", "path": "/x"}),
        json!({"op": "copy", "from": "/a/1", "path": "/x"}),
        json!({"op": "move", "from": "/o", "path": "/o/x"}),
    ] {
        let patch = json!([{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/b"}, operation]);
        talk.check(&format!("PATCH /r\n{PATCH}\n\n{patch}"), "409 patch-failed\n\n2");
        talk.check("GET /r", "200\n\n{\"a\":[1],\"o\":{}}");
    }
    for (patch, index) in [
        ("{}", ""),
        ("5", ""),
        ("[5]", "operation 0"),
        ("[{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"add\",\"path\":\"/a\"}]", "operation 1"),
        ("[{\"path\":\"/a\"}]", "operation 0"),
        ("[{\"op\":\"become\",\"path\":\"/a\"}]", "operation 0"),
        ("[{\"op\":\"remove\",\"path\":\"a\"}]", "operation 0"),
        ("[{\"op\":\"remove\",\"path\":\"/~2\"}]", "operation 0"),
        ("[{\"op\":\"move\",\"path\":\"/a\"}]", "operation 0"),
    ] {
        talk.check(&format!("PATCH /r\n{PATCH}\n\n{patch}"), &format!("400 bad-patch\n\n{index}"));
    }
    talk.check(
        &format!("PATCH /r\n{PATCH}\n\n[{{\"op\":\"add\",\"path\":\"/x\",\"value\":1e400}}]"),
        "422 number-out-of-range",
    );
    talk.check(&format!("PATCH /r\n{PATCH}\n\n[{{\"op\":"), "400 bad-json");
}

#[test]
fn a_json_patch_needs_something_to_apply_to_or_makes_all_of_it() {
    // PROTOCOL W3
    let server = serve();
    let mut talk = server.talk();
    talk.check(
        &format!("PATCH /none\n{PATCH}\n\n[{{\"op\":\"add\",\"path\":\"/a\",\"value\":1}}]"),
        "404 not-found",
    );
    talk.check(&format!("PATCH /none\n{PATCH}\n\n[]"), "404 not-found");
    let replace = "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"a\":1}}]";
    talk.check(&format!("PATCH /none\n{PATCH}\n\n{replace}"), "404 not-found");
    let add = "[{\"op\":\"add\",\"path\":\"\",\"value\":{}},{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]";
    talk.check(&format!("PATCH /new/one\n{PATCH}\n\n{add}"), "201\nETag: *");
    talk.check("GET /new", "200\n\n{\"one\":{\"a\":1}}");
}

#[test]
fn delete_removes() {
    // PROTOCOL W4, W7
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n{\"b\":1,\"c\":2}", "201");
    let gone = talk.check("DELETE /a/b", "204\nETag: \"*\n\n").cursor();
    assert_eq!(talk.check("GET /a/b", "404 not-found").cursor(), gone);
    talk.check("GET /a", "200\n\n{\"c\":2}");
    talk.check("DELETE /a/b", "404 not-found");
    talk.check("DELETE /none/beneath", "404 not-found");
    talk.check("DELETE /a", "204");
    talk.check("GET /a/c", "404 not-found");
    talk.check("DELETE /", "405 method-not-allowed\nAllow: *");
    talk.check("GET /", "200\n\n{}");
}

#[test]
fn post_makes_members_whose_names_sort_by_time() {
    // PROTOCOL W5, W7
    let server = serve();
    let mut talk = server.talk();
    let mut names = Vec::new();
    for n in 0..50 {
        let answer = talk.check(
            &format!("POST /list%20of/things/\n\n{{\"n\":{n}}}"),
            "201\nLocation: /list%20of/things/*\nContent-Length: 0\n\n",
        );
        let location = answer.header("location").unwrap().to_owned();
        let made = talk.check(&format!("GET {location}"), &format!("200\n\n{{\"n\":{n}}}"));
        assert_eq!(made.cursor(), answer.cursor());
        names.push(location.rsplit('/').next().unwrap().to_owned());
    }
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    assert_eq!(talk.ask("GET /list%20of/things").json().as_object().unwrap().len(), 50);
    let root = talk.check("POST /\n\n1", "201\nLocation: /*");
    talk.check(&format!("GET {}", root.header("location").unwrap()), "200\n\n1");
    talk.check("PUT /leaf\n\n1", "201");
    talk.check("POST /leaf\n\n1", "409 not-an-object");
    let mut seen = std::collections::HashSet::new();
    let many: Vec<_> = (0..8)
        .map(|_| {
            let mut talk = server.talk();
            thread::spawn(move || {
                (0..50)
                    .map(|_| talk.ask("POST /many\n\n1").header("location").unwrap().to_owned())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    many.into_iter().for_each(|made| seen.extend(made.join().unwrap()));
    assert_eq!(seen.len(), 400);
}

#[test]
fn conditions_are_compared_first() {
    // PROTOCOL W6
    let server = serve();
    let mut talk = server.talk();
    let one = talk.check("PUT /a\nIf-None-Match: *\n\n1", "201").cursor();
    let refused = |cursor: &str| format!("412 precondition-failed\nETag: \"{cursor}\"");
    talk.check("PUT /a\nIf-None-Match: *\n\n2", &refused(&one));
    talk.check(&format!("PUT /a\nIf-Match: \"{one}\"\n\n2"), "200");
    let two = talk.ask("GET /a").cursor();
    let requests = [
        "PUT /a\nIf-Match: {}\n\n3".to_owned(),
        format!("PATCH /a\nIf-Match: {{}}\n{MERGE}\n\n3"),
        format!(
            "PATCH /a\nIf-Match: {{}}\n{PATCH}\n\n[{{\"op\":\"replace\",\"path\":\"\",\"value\":3}}]"
        ),
        "DELETE /a\nIf-Match: {}".to_owned(),
        // The condition fails first, although the patch would fail too.
        format!("PATCH /a\nIf-Match: {{}}\n{PATCH}\n\n[{{\"op\":\"remove\",\"path\":\"/x\"}}]"),
    ];
    for request in &requests {
        for stale in [format!("\"{one}\""), "\"x\"".to_owned(), format!("\"{one}\", \"y\"")] {
            talk.check(&request.replace("{}", &stale), &refused(&two));
        }
    }
    talk.check("GET /a", "200\n\n2");
    talk.check(&format!("PUT /a\nIf-Match: \"x\", \"{two}\"\n\n3"), "200");
    talk.check("PUT /a\nIf-Match: *\n\n4", "200");
    // Nothing matches an absent resource, not even the cursor of the absence.
    let absent = talk.check("GET /none", "404 not-found").cursor();
    talk.check("PUT /none\nIf-Match: *\n\n1", &refused(&absent));
    talk.check(&format!("PUT /none\nIf-Match: \"{absent}\"\n\n1"), &refused(&absent));
    talk.check("DELETE /none\nIf-Match: *", &refused(&absent));
    talk.check(&format!("PATCH /none\nIf-None-Match: *\n{MERGE}\n\n{{}}"), "201");
    // The root is compared like any other.
    let root = talk.ask("GET /").cursor();
    talk.check(&format!("PATCH /\nIf-Match: \"{root}\"\n{MERGE}\n\n{{\"a\":5}}"), "200");
    talk.check(
        &format!("PATCH /\nIf-Match: \"{root}\"\n{MERGE}\n\n{{\"a\":6}}"),
        "412 precondition-failed",
    );
}

#[test]
fn of_fifty_increments_at_once_none_is_lost() {
    // PROTOCOL W6
    let server = serve();
    server.write(&["PUT /counter {\"n\":0}"]);
    let increments: Vec<_> = (0..50)
        .map(|_| {
            let mut talk = server.talk();
            thread::spawn(move || {
                for _ in 0..10_000 {
                    let now = talk.ask("GET /counter");
                    let next = now.json()["n"].as_u64().unwrap() + 1;
                    let cursor = now.cursor();
                    match talk
                        .ask(&format!("PUT /counter\nIf-Match: \"{cursor}\"\n\n{{\"n\":{next}}}"))
                        .status
                    {
                        200 => return,
                        412 => {}
                        other => panic!("{other}"),
                    }
                }
                panic!("never succeeded");
            })
        })
        .collect();
    increments.into_iter().for_each(|increment| increment.join().unwrap());
    server.talk().check("GET /counter", "200\n\n{\"n\":50}");
}

#[test]
fn the_type_of_a_body_is_looked_at() {
    // PROTOCOL W8
    let server = serve();
    let mut talk = server.talk();
    for accepted in [
        "",
        "Content-Type: application/json",
        "Content-Type: Application/JSON; charset=utf-8",
        "Content-Type: application/vnd.example+json",
        "Content-Type: application/json\nContent-Encoding: identity",
    ] {
        talk.ask("DELETE /a");
        talk.check(&format!("PUT /a\n{accepted}\n\n1"), "201");
        talk.check(&format!("POST /list\n{accepted}\n\n1"), "201");
    }
    for refused in [
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: application/jsonx",
        "Content-Type: application/json\nContent-Encoding: gzip",
        "Content-Encoding: br",
    ] {
        talk.check(&format!("PUT /a\n{refused}\n\n2"), "415 unsupported-media-type");
        talk.check(&format!("POST /list\n{refused}\n\n2"), "415 unsupported-media-type");
    }
    for refused in ["", "Content-Type: application/json", "Content-Type: text/plain"] {
        let answer =
            talk.check(&format!("PATCH /a\n{refused}\n\n{{}}"), "415 unsupported-media-type");
        let accepted = answer.header("accept-patch").expect("Accept-Patch");
        assert!(
            accepted.contains("application/merge-patch+json")
                && accepted.contains("application/json-patch+json")
        );
    }
    talk.check(&format!("PATCH /a\n{MERGE}; charset=utf-8\n\n2"), "200");
    talk.check(
        &format!("PATCH /a\n{MERGE}\nContent-Encoding: gzip\n\n2"),
        "415 unsupported-media-type",
    );
    talk.check("GET /a", "200\n\n2");
}

#[test]
fn a_body_may_come_in_chunks_and_after_100_continue() {
    // PROTOCOL W1, O3
    let server = serve();
    let mut talk = server.talk();
    let chunked = "PUT /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"x\r\n4\r\n\":1}\r\n0\r\n\r\n";
    talk.connection.send(chunked.as_bytes());
    assert_eq!(talk.connection.answer(false).status, 201);
    talk.check("GET /a", "200\n\n{\"x\":1}");
    talk.connection.send(
        b"PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(talk.connection.answer(false).status, 100);
    talk.connection.send(b"2");
    assert_eq!(talk.connection.answer(false).status, 200);
    talk.check("GET /a", "200\n\n2");
}
