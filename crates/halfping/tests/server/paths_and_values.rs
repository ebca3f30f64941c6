//! Paths, values and cursors: their names, their bounds, and their promises.

use crate::common::session::Session;
use crate::common::{self, serve, serve_limited};
use serde_json::json;

#[test]
fn a_path_names_a_node_and_the_root_is_an_object() {
    // PROTOCOL P1
    let server = serve();
    let mut talk = server.talk();
    talk.check("GET /", "200\nContent-Type: application/json\n\n{}");
    talk.check("PUT /a/b\n\n{\"c\":1}", "201");
    talk.check("GET /", "200\n\n{\"a\":{\"b\":{\"c\":1}}}");
    talk.check("GET /a/b/c", "200\n\n1");
    for value in ["1", "null", "[]", "\"x\"", "true"] {
        talk.check(&format!("PUT /\n\n{value}"), "409 not-an-object");
    }
    talk.check("PUT /\n\n{\"x\":{}}", "200");
    talk.check("GET /", "200\n\n{\"x\":{}}");
}

#[test]
fn segments_are_decoded_once() {
    // PROTOCOL P2
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a%2Fb\n\n1", "201");
    talk.check("PUT /%2525\n\n2", "201");
    talk.check("PUT /k%C3%A4se\n\n3", "201");
    talk.check("GET /", "200\n\n{\"a/b\":1,\"%25\":2,\"käse\":3}");
    talk.check("GET /a%2fb", "200\n\n1");
    talk.check("GET /a/b", "404 not-found");
    // One trailing slash is ignored, in every place where a path stands.
    talk.check("GET /a%2Fb/", "200\n\n1");
    talk.check("PUT /a%2Fb/\n\n4", "200");
    talk.check("GET /a%2Fb", "200\n\n4");
    talk.check("GET /a%2Fb//", "400 bad-path");
    server.ndjson("/_streams?path=/a%252Fb/").expect(&["/a%2Fb/ snapshot 4", "synced"]);
}

#[test]
fn a_trailing_slash_is_ignored_after_the_servers_own_names_too() {
    // PROTOCOL P2, O1
    let server = serve();
    let mut talk = server.talk();
    talk.check("GET /_health/", "200\n\n{\"status\":\"ok\",\"storage\":{\"status\":\"none\"}}");
}

#[test]
fn tricks_with_paths_are_refused() {
    // PROTOCOL P3
    let server = serve();
    let mut talk = server.talk();
    for path in [
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/%2e/a",
        "/%2E%2e/a",
        "/.%2e",
        "/a%00b",
        "/%ff",
        "/%c3",
        "/%",
        "/%4",
        "/%zz",
        "/a/%2e",
    ] {
        talk.check(&format!("GET {path}"), "400 bad-path");
        talk.check(&format!("PUT {path}\n\n1"), "400 bad-path");
        talk.check(&format!("DELETE {path}"), "400 bad-path");
        talk.check(&format!("GET {path}\nAccept: text/event-stream"), "400 bad-path");
        let encoded = path.replace('%', "%25");
        talk.check(&format!("GET /_streams?path={encoded}"), "400 bad-path");
    }
    talk.check("GET /_streams?path=a", "400 bad-path");
    talk.check("GET /...", "404 not-found");
}

#[test]
fn names_of_the_server_can_be_read_but_not_written() {
    // PROTOCOL P4
    let server = serve();
    let mut talk = server.talk();
    let merge = "Content-Type: application/merge-patch+json";
    let patch = "Content-Type: application/json-patch+json";
    talk.check("GET /_nothing", "404 not-found");
    talk.check("GET /_nothing/beneath", "404 not-found");
    talk.check("GET /%5Fnothing", "404 not-found");
    talk.check("PUT /_x\n\n1", "403 reserved-path");
    talk.check("PUT /%5Fx\n\n1", "403 reserved-path");
    talk.check("PUT /_x/beneath\n\n1", "403 reserved-path");
    talk.check("POST /_x\n\n1", "403 reserved-path");
    talk.check(&format!("PATCH /_x\n{merge}\n\n{{}}"), "403 reserved-path");
    talk.check(&format!("PATCH /\n{merge}\n\n{{\"a\":1,\"_x\":1}}"), "403 reserved-path");
    talk.check(&format!("PATCH /\n{merge}\n\n{{\"_x\":null}}"), "403 reserved-path");
    talk.check(
        &format!("PATCH /\n{patch}\n\n[{{\"op\":\"add\",\"path\":\"/_x\",\"value\":1}}]"),
        "403 reserved-path",
    );
    talk.check("PUT /\n\n{\"_x\":1}", "403 reserved-path");
    // Elsewhere in a path the letter is ordinary.
    talk.check("PUT /a/_x\n\n1", "201");
    talk.check("GET /a/_x", "200\n\n1");
}

#[test]
fn removing_a_name_of_the_server_is_refused_as_every_write_there() {
    // PROTOCOL P4
    let server = serve();
    let mut talk = server.talk();
    talk.check("DELETE /_x", "403 reserved-path");
}

#[test]
fn patching_a_name_of_the_server_is_refused_as_every_write_there() {
    // PROTOCOL P4
    let server = serve();
    let mut talk = server.talk();
    talk.check("PATCH /_x\nContent-Type: application/json-patch+json\n\n[]", "403 reserved-path");
}

#[test]
fn writing_to_a_name_that_the_server_has_is_refused_as_every_write_there() {
    // PROTOCOL P4
    let server = serve();
    let mut talk = server.talk();
    for name in ["_health", "_metrics", "_streams"] {
        talk.check(&format!("PUT /{name}\n\n1"), "403 reserved-path");
    }
}

#[test]
fn who_asks_for_a_stream_beside_the_root_of_the_api_writes_nothing() {
    // PROTOCOL P9
    let server = serve();
    let mut talk = server.talk();
    let before = talk.ask("GET /").cursor();
    let commands = "{\"watch\":1,\"path\":\"/fleet\"}";
    for path in [
        "/live/_streams",
        "/a/b/_streams/",
        "/live/%5Fstreams",
        "/_x/_streams",
        "/_streams/_streams",
    ] {
        for accept in ["text/event-stream", "application/json"] {
            let post = format!("POST {path}\nAccept: {accept}\n\n{commands}");
            let answer = talk.check(&post, "403 reserved-path");
            assert!(answer.text().contains("the URL of its root"), "{path}: {}", answer.text());
        }
    }
    let mut session = Session::open(server.address, "/");
    let answer = session.ask(json!({ "post": "/live/_streams", "value": 1 }));
    assert_eq!(answer["type"], json!("urn:halfping:problem:reserved-path"));
    assert_eq!(talk.ask("GET /").cursor(), before);
    // The name alone is like any other.
    talk.check("PUT /live/_streams\n\n{}", "201");
    talk.check("POST /live/_streams/x\n\n1", "201");
    talk.check("POST /live/streams\n\n1", "201");
}

#[test]
fn nothing_lies_beneath_a_value_without_members() {
    // PROTOCOL P5
    let server = serve();
    let mut talk = server.talk();
    for value in ["[{\"b\":1}]", "\"text\"", "1", "true", "null"] {
        talk.ask(&format!("PUT /a\n\n{value}"));
        talk.check("GET /a/b", "404 not-found");
        talk.check("GET /a/0", "404 not-found");
        talk.check("PUT /a/b\n\n1", "409 not-an-object\n\n/a");
        talk.check("PUT /a/b/c\n\n1", "409 not-an-object\n\n/a");
        talk.check("POST /a\n\n1", "409 not-an-object\n\n/a");
        talk.check(
            "PATCH /a/b\nContent-Type: application/merge-patch+json\n\n{\"x\":1}",
            "409 not-an-object",
        );
    }
    server.ndjson("/a/b").expect(&["gone", "synced"]);
}

#[test]
fn paths_in_frames_are_written_as_in_a_url() {
    // PROTOCOL P7, M1
    let server = serve();
    server.write(&["PUT /a%2Fb 1", "PUT /k%C3%A4se 2", "PUT /a%20b 3"]);
    let mut stream = server.ndjson("/_streams?path=/a%252Fb&path=/k%25C3%25A4se&path=/a%2520b");
    stream.expect(&["/a%2Fb snapshot 1", "/k%C3%A4se snapshot 2", "/a%20b snapshot 3", "synced"]);
}

#[test]
fn numbers_come_back_digit_for_digit_and_white_space_does_not() {
    // PROTOCOL V1
    let server = serve();
    let mut talk = server.talk();
    for (number, back) in [
        ("1.0", "1.0"),
        ("-0", "-0"),
        ("1E+2", "1E+2"),
        ("0.1000", "0.1000"),
        ("123456789012345678901234567890.000000001", "123456789012345678901234567890.000000001"),
        ("1e308", "1e308"),
        ("5e-400", "5e-400"),
        (" [ 1 , { \"a\" : 1.50 } ] ", "[1,{\"a\":1.50}]"),
        ("\"\\u0041\\/\\n\"", "\"A/\\n\""),
        ("\"\\ud83d\\ude00\"", "\"😀\""),
        ("\"\\u0000\\u001f\"", "\"\\u0000\\u001f\""),
        ("{\"\\u0061\":{ }}", "{\"a\":{}}"),
        ("{\"\":1}", "{\"\":1}"),
    ] {
        talk.ask(&format!("PUT /n\n\n{number}"));
        talk.check("GET /n", &format!("200\n\n{back}"));
        let mut stream = server.ndjson("/n");
        assert_eq!(stream.next().value.as_deref(), Some(back));
    }
    talk.check("PUT /a\n\n1.0", "201");
    let as_float = talk.ask("GET /a").cursor();
    talk.check("PUT /a\n\n1.00", "200");
    assert_ne!(talk.check("GET /a", "200\n\n1.00").cursor(), as_float);
}

#[test]
fn what_is_no_json_in_utf8_is_refused() {
    // PROTOCOL V1, V2
    let server = serve();
    let mut talk = server.talk();
    for body in [
        "",
        " ",
        "x",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        "+1",
        "NaN",
        "'a'",
        "1 2",
        "{a:1}",
        "\"\t\"",
        "nul",
    ] {
        talk.check(&format!("PUT /a\n\n{body}"), "400 bad-json\n\nline 1\ncolumn ");
        talk.check(&format!("POST /a\n\n{body}"), "400 bad-json\n\nline 1");
        talk.check(
            &format!("PATCH /a\nContent-Type: application/merge-patch+json\n\n{body}"),
            "400 bad-json\n\nline 1",
        );
    }
    for bytes in
        [&b"\xef\xbb\xbf1"[..], b"\xff\xfe1\0", b"\"\xff\"", b"\"\xc3\"", b"\"\xed\xa0\x80\""]
    {
        let mut request =
            format!("PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", bytes.len())
                .into_bytes();
        request.extend_from_slice(bytes);
        talk.check_bytes(&request, "PUT /a", "400 bad-json");
    }
    talk.check("PUT /a\n\n{\n \"a\": 1,\n x}", "400 bad-json\n\nline 3\ncolumn 2");
    for surrogate in ["\"\\ud800\"", "\"\\udc00\\ud800\"", "{\"\\ud800\":1}", "[[\"a\\ud83d\"]]"] {
        talk.check(&format!("PUT /a\n\n{surrogate}"), "400 bad-json\n\nsurrogate");
    }
    for number in ["1e400", "-1e400", "[1,1e309]", "{\"a\":1e999}"] {
        talk.check(&format!("PUT /a\n\n{number}"), "422 number-out-of-range\n\nline 1");
    }
    talk.check("GET /", "200\n\n{}");
}

#[test]
fn columns_of_errors_are_counted_in_characters() {
    // PROTOCOL X1: `detail` gives the place. The same place must not have two names.
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n[\"ääää\",1e400]", "422 number-out-of-range\n\ncolumn 9");
    talk.check("PUT /a\n\n[\"ääää\",x]", "400 bad-json\n\ncolumn 9");
}

#[test]
fn a_member_that_occurs_twice_is_refused() {
    // PROTOCOL V2
    let server = serve();
    let mut talk = server.talk();
    for body in [
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"x\":{\"a\":1,\"b\":2,\"a\":3}}]",
        "{\"x\":{\"a\":{},\"a\":{}}}",
    ] {
        talk.check(&format!("PUT /r\n\n{body}"), "400 duplicate-member\n\n\\\"a\\\"\nline 1");
        talk.check(
            &format!("PATCH /\nContent-Type: application/merge-patch+json\n\n{body}"),
            "400 duplicate-member",
        );
    }
    talk.check(
        "PATCH /\nContent-Type: application/json-patch+json\n\n[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"op\":\"remove\"}]",
        "400 duplicate-member",
    );
}

#[test]
fn null_is_there_and_absence_is_not() {
    // PROTOCOL V3
    let server = serve();
    let mut talk = server.talk();
    let mut stream = server.ndjson("/n");
    stream.expect(&["gone", "synced"]);
    talk.check("PUT /n\n\nnull", "201");
    stream.expect(&["snapshot null"]);
    talk.check("GET /n", "200\n\nnull");
    talk.check("GET /", "200\n\n{\"n\":null}");
    talk.check("PUT /n\n\nnull", "200");
    talk.check("PUT /n\n\n1", "200");
    stream.expect(&["snapshot 1"]);
    talk.check("PUT /o\n\n{\"a\":null,\"b\":[null]}", "201");
    talk.check("GET /o/a", "200\n\nnull");
    talk.check("DELETE /n", "204");
    stream.expect(&["gone"]);
    talk.check("GET /n", "404 not-found");
}

#[test]
fn members_keep_their_order() {
    // PROTOCOL V4
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /o\n\n{\"z\":1,\"a\":2,\"m\":3}", "201");
    talk.check("PUT /o/a\n\n4", "200");
    talk.check("PUT /o/b\n\n5", "201");
    talk.check("GET /o", "200\n\n{\"z\":1,\"a\":4,\"m\":3,\"b\":5}");
    talk.check("PUT /o\n\n{\"b\":1,\"m\":1,\"a\":1,\"z\":1}", "200");
    talk.check("GET /o", "200\n\n{\"z\":1,\"a\":1,\"m\":1,\"b\":1}");
    server.ndjson("/o").expect(&["snapshot {\"z\":1,\"a\":1,\"m\":1,\"b\":1}", "synced"]);
    // The same with too many names for a scan.
    let many: Vec<String> = (0..100).map(|i| format!("\"k{}\":{i}", (i * 37) % 100)).collect();
    let many = format!("{{{}}}", many.join(","));
    talk.check(&format!("PUT /many\n\n{many}"), "201");
    talk.check("GET /many", &format!("200\n\n{many}"));
}

#[test]
fn writing_what_is_there_takes_no_revision() {
    // PROTOCOL V5, C3
    let server = serve();
    let mut talk = server.talk();
    let cursor =
        talk.check("PUT /o\n\n{\"a\":1.0,\"b\":{\"c\":[1, 2]},\"n\":null}", "201").cursor();
    let root = talk.ask("GET /").cursor();
    let mut stream = server.ndjson("/o");
    stream.until_synced();
    for request in [
        "PUT /o\n\n{ \"a\": 1.0, \"b\": { \"c\": [1,2] }, \"n\": null }",
        "PUT /o\n\n{\"n\":null,\"b\":{\"c\":[1,2]},\"a\":1.0}",
        "PUT /o/b/c\n\n[ 1,2 ]",
        "PATCH /o\nContent-Type: application/merge-patch+json\n\n{\"a\":1.0,\"gone\":null}",
        "PATCH /o\nContent-Type: application/merge-patch+json\n\n{}",
        "PATCH /o\nContent-Type: application/json-patch+json\n\n[{\"op\":\"test\",\"path\":\"/a\",\"value\":1.0}]",
        "PATCH /o\nContent-Type: application/json-patch+json\n\n[]",
        "PATCH /o\nContent-Type: application/json-patch+json\n\n[{\"op\":\"add\",\"path\":\"/x\",\"value\":1},{\"op\":\"remove\",\"path\":\"/x\"}]",
    ] {
        talk.check(request, "200");
        assert_eq!(talk.ask("GET /o").cursor(), cursor, "{request}");
        assert_eq!(talk.ask("GET /").cursor(), root, "{request}");
    }
    // The next frame is of the next change: none of these was one.
    talk.check("PUT /o/a\n\n2", "200");
    stream.expect(&["merge {\"a\":2}"]);
}

#[test]
fn a_commit_takes_the_next_revision_and_one_cursor_names_it_everywhere() {
    // PROTOCOL C1, C2
    let server = serve();
    let mut talk = server.talk();
    let put = talk.check("PUT /a\n\n1", "201").cursor();
    assert!(put.len() <= 128);
    assert!(put.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)), "{put}");
    let (epoch, revision) = put.split_once('.').expect("{epoch}.{revision}");
    let next = talk.check("PUT /b\n\n1", "201").cursor();
    assert_eq!(next, format!("{epoch}.{}", revision.parse::<u64>().unwrap() + 1));
    assert_eq!(talk.ask("GET /a").cursor(), put);
    assert_eq!(talk.ask("GET /").cursor(), next);
    assert_eq!(server.sse("/a").next().id.as_deref(), Some(&*put));
    assert_eq!(server.ndjson("/a").next().rev.as_deref(), Some(&*put));
    assert_eq!(server.ndjson("/_streams?path=/a").next().rev.as_deref(), Some(&*put));
    // Each is accepted wherever a cursor is, also in quotes.
    for cursor in [put.clone(), format!("\"{put}\"")] {
        talk.check(&format!("GET /a\nIf-None-Match: {cursor}"), "304");
        let escaped = cursor.replace('"', "%22");
        server.ndjson(&format!("/a?since={escaped}")).expect(&["synced"]);
        server.stream(&format!("GET /a?watch\nLast-Event-ID: {cursor}")).expect(&["synced"]);
        talk.check(&format!("PUT /a\nIf-Match: {cursor}\n\n1"), "200");
    }
}

#[test]
fn a_commit_is_applied_whole_or_not_at_all() {
    // PROTOCOL C1
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /\n\n{\"a\":1,\"b\":2,\"s\":0}", "200");
    let merge = "PATCH /\nContent-Type: application/merge-patch+json";
    talk.check(&format!("{merge}\n\n{{\"a\":9,\"b\":9,\"_c\":9}}"), "403 reserved-path");
    talk.check(
        "PATCH /\nContent-Type: application/json-patch+json\n\n[{\"op\":\"replace\",\"path\":\"/a\",\"value\":9},{\"op\":\"remove\",\"path\":\"/x\"}]",
        "409 patch-failed",
    );
    talk.check("GET /", "200\n\n{\"a\":1,\"b\":2,\"s\":0}");
    let before = talk.ask("GET /").cursor();
    talk.check(&format!("{merge}\n\n{{\"a\":{{\"x\":1}},\"b\":null,\"c\":3}}"), "200");
    talk.check("GET /", "200\n\n{\"a\":{\"x\":1},\"s\":0,\"c\":3}");
    let after = talk.ask("GET /").cursor();
    let number = |cursor: &str| cursor.split_once('.').unwrap().1.parse::<u64>().unwrap();
    assert_eq!(number(&after), number(&before) + 1);
    for path in ["/a", "/a/x", "/b", "/c"] {
        assert_eq!(talk.ask(&format!("GET {path}")).cursor(), after, "{path}");
    }
}

#[test]
fn a_cursor_changes_exactly_when_its_resource_does() {
    // PROTOCOL C3
    let server = serve();
    let mut talk = server.talk();
    talk.write(&["PUT /a {\"x\":{\"y\":1},\"z\":1}", "PUT /b 1"]);
    let mut cursors = |paths: &[&str]| -> Vec<String> {
        paths.iter().map(|path| talk.ask(&format!("GET {path}")).cursor()).collect()
    };
    let paths = ["/", "/a", "/a/x", "/a/x/y", "/a/z", "/b", "/nothing"];
    let mut was = cursors(&paths);
    for (write, changes) in [
        ("PUT /a/x/y 2", &["/", "/a", "/a/x", "/a/x/y"][..]),
        ("PUT /a/z 2", &["/", "/a", "/a/z"]),
        ("PUT /b 2", &["/", "/b"]),
        ("DELETE /a/z", &["/", "/a", "/a/z"]),
        ("PUT /a/z 2", &["/", "/a", "/a/z"]),
        ("DELETE /a/x", &["/", "/a", "/a/x", "/a/x/y"]),
        ("PUT /nothing 0", &["/", "/nothing"]),
        ("PUT /a/x {\"y\":5}", &["/", "/a", "/a/x", "/a/x/y"]),
    ] {
        server.write(&[write]);
        let is = cursors(&paths);
        for (path, (was, is)) in paths.iter().zip(was.iter().zip(&is)) {
            assert_eq!(
                was != is,
                changes.contains(path),
                "{write}: the cursor of {path}, {was} before, {is} now"
            );
        }
        was = is;
    }
}

#[test]
fn an_absence_beneath_a_value_that_changes_is_told_once() {
    // PROTOCOL C3: the cursor may change with the value, but a reader that knows that nothing is
    // here is not told so again.
    let server = serve();
    let mut talk = server.talk();
    talk.check("PUT /a\n\n1", "201");
    let mut stream = server.ndjson("/a/b");
    stream.expect(&["gone", "synced"]);
    talk.check("PUT /a\n\n2", "200");
    talk.check("PUT /a\n\n{\"b\":1}", "200");
    stream.expect(&["snapshot 1"]);
}

#[test]
fn an_absence_is_told_once_wherever_values_stand_above_it() {
    // PROTOCOL S2, C3: the cursor may change here, and yet nothing is told.
    let server = serve();
    let mut streams = [server.ndjson("/a/b"), server.sse("/a/b"), server.ndjson("/a/b?rate=1000")];
    streams.iter_mut().for_each(|stream| drop(stream.expect(&["gone", "synced"])));
    server.write(&["PUT /a 1", "PUT /a [2]", "DELETE /a", "PUT /a {\"b\":7}"]);
    streams.iter_mut().for_each(|stream| drop(stream.expect(&["snapshot 7"])));
}

#[test]
fn a_cursor_that_says_nothing_gets_a_snapshot() {
    // PROTOCOL C4
    let server = serve();
    let cursor = server.write(&["PUT /a {\"x\":1}", "PUT /a/y 2"])[1].cursor();
    let (epoch, revision) = cursor.split_once('.').unwrap();
    let foreign = if epoch.starts_with('0') {
        epoch.replacen('0', "1", 1)
    } else {
        format!("0{}", &epoch[1..])
    };
    let future = revision.parse::<u64>().unwrap() + 1;
    let garbage = [
        "x".to_owned(),
        ".".to_owned(),
        "%00".to_owned(),
        "-1".to_owned(),
        "W/%22x%22".to_owned(),
        "%F0%9F%98%80".to_owned(),
        "x".repeat(1000),
        format!("{epoch}."),
        format!("{epoch}.0"),
        format!("{epoch}.-1"),
        format!("{epoch}.99999999999999999999999999"),
        format!("{epoch}.{future}"),
        format!("{foreign}.{revision}"),
    ];
    for since in &garbage {
        let whole = "{\"x\":1,\"y\":2}";
        server
            .ndjson(&format!("/a?since={since}"))
            .expect(&[&format!("snapshot {whole}"), "synced"]);
        server.sse(&format!("/a?since={since}")).expect(&[&format!("snapshot {whole}"), "synced"]);
        server.ndjson(&format!("/_streams?path=/a&path=/no&since={since}")).expect(&[
            &format!("/a snapshot {whole}"),
            "/no gone",
            "synced",
        ]);
        server
            .stream(&format!("GET /a\nAccept: text/event-stream\nLast-Event-ID: {since}"))
            .expect(&[&format!("snapshot {whole}"), "synced"]);
        server.ndjson(&format!("/no?since={since}")).expect(&["gone", "synced"]);
        let mut talk = server.talk();
        talk.check(&format!("GET /a\nIf-None-Match: \"{since}\""), &format!("200\n\n{whole}"));
        talk.check(
            &format!("PUT /a\nIf-Match: \"{since}\"\n\n1"),
            "412 precondition-failed\nETag: *",
        );
    }
    // A reader from another state is not told either that it was synced there.
    let frames = server.ndjson(&format!("/no?since={epoch}.{future}")).until_synced();
    assert_ne!(frames.last().unwrap().rev, Some(format!("{epoch}.{future}")));
}

#[test]
fn a_cursor_older_than_what_is_remembered_gets_a_snapshot() {
    // PROTOCOL C4, S8
    let server = serve_limited(|limits| limits.tombstones_per_object = 3);
    let mut talk = server.talk();
    let old = talk.write(&[
        "PUT /o {\"keep\":\"a text that takes its room\",\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1}",
    ])[0]
        .cursor();
    let newer = talk.write(&["DELETE /o/a", "DELETE /o/b", "DELETE /o/c"])[2].cursor();
    server
        .ndjson(&format!("/o?since={old}"))
        .expect(&["merge {\"a\":null,\"b\":null,\"c\":null}", "synced"]);
    talk.write(&["DELETE /o/d", "DELETE /o/e"]);
    server
        .ndjson(&format!("/o?since={old}"))
        .expect(&["snapshot {\"keep\":\"a text that takes its room\"}", "synced"]);
    let frames = server.ndjson(&format!("/o?since={newer}")).until_synced();
    let mut mirror = common::raw::Mirror {
        value: Some(serde_json::json!({"keep": "a text that takes its room", "d": 1, "e": 1})),
    };
    frames.iter().for_each(|frame| mirror.apply(frame));
    assert_eq!(mirror.value, Some(serde_json::json!({"keep": "a text that takes its room"})));
}
