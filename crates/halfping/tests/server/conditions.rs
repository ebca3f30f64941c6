//! Cursors that match a resource: those of all states since its last change, also when a value
//! comes back.

use crate::common::raw::request;
use crate::common::session::Session;
use crate::common::{Talk, serve};
use serde_json::json;

/// Checks whether a cursor matches the resource at a path, by every way to compare the two.
#[track_caller]
fn matches(talk: &mut Talk, path: &str, cursor: &str) -> bool {
    let value = talk.ask(&format!("GET {path}"));
    let known = talk.ask(&format!("GET {path}\nIf-None-Match: \"{cursor}\"")).status == 304;
    let cut = talk.ask(&format!("GET {path}?depth=0\nIf-None-Match: \"{cursor}\"")).status == 304;
    let head = talk.ask(&format!("HEAD {path}\nIf-None-Match: \"{cursor}\"")).status == 304;
    assert_eq!((known, known), (cut, head), "{path} {cursor}");
    if value.status == 200 {
        // The write repeats the value, so it changes nothing.
        let put = |talk: &mut Talk, condition: &str| {
            let answer =
                talk.ask(&format!("PUT {path}\n{condition}: \"{cursor}\"\n\n{}", value.text()));
            answer.status == 200
        };
        assert_eq!(put(talk, "If-Match"), known, "If-Match {path} {cursor}");
        assert_eq!(put(talk, "If-None-Match"), !known, "If-None-Match {path} {cursor}");
    }
    known
}

#[test]
fn a_cursor_matches_what_has_not_changed_since() {
    // PROTOCOL C5
    let server = serve();
    let mut talk = server.talk();
    let of_doc = talk.ask("PUT /doc\n\n{\"a\":{\"b\":1}}").cursor();
    let of_other = talk.ask("PUT /other\n\n1").cursor();
    for path in ["/doc", "/doc/a", "/doc/a/b"] {
        assert!(matches(&mut talk, path, &of_doc) && matches(&mut talk, path, &of_other), "{path}");
    }
    assert!(matches(&mut talk, "/other", &of_other) && !matches(&mut talk, "/other", &of_doc));
    assert!(matches(&mut talk, "/", &of_other) && !matches(&mut talk, "/", &of_doc));
    // The later cursor is as good for a write that does change something.
    talk.check(&format!("PUT /doc/a/b\nIf-Match: \"{of_other}\"\n\n2"), "200");
    talk.check(&format!("PUT /doc/a/b\nIf-Match: \"{of_other}\"\n\n3"), "412 precondition-failed");
    assert!(!matches(&mut talk, "/doc", &of_other));
}

#[test]
fn what_was_brought_back_is_not_what_was_there() {
    // PROTOCOL C5
    let server = serve();
    let mut talk = server.talk();
    talk.write(&["PUT /doc 1"]);
    let before = talk.ask("PUT /other\n\n1").cursor();
    talk.write(&["PUT /doc 2", "PUT /doc 1"]);
    assert!(!matches(&mut talk, "/doc", &before));
    let removed = talk.ask("DELETE /doc").cursor();
    assert!(!matches(&mut talk, "/doc", &before));
    talk.write(&["PUT /doc 1"]);
    assert!(!matches(&mut talk, "/doc", &removed) && !matches(&mut talk, "/doc", &before));
    // A removal that was undone, where the object above was replaced meanwhile.
    talk.write(&["PUT /o {\"x\":1}"]);
    let before = talk.ask("GET /").cursor();
    talk.write(&["PUT /o 5", "PUT /o {\"x\":1}"]);
    assert!(!matches(&mut talk, "/o/x", &before) && !matches(&mut talk, "/o", &before));
}

#[test]
fn an_absence_matches_readers_and_no_writer() {
    // PROTOCOL C5, R4, W6
    let server = serve();
    let mut talk = server.talk();
    let absent = talk.ask("GET /doc/x").cursor();
    let later = talk.ask("PUT /other\n\n1").cursor();
    for cursor in [&absent, &later] {
        talk.check(&format!("GET /doc/x\nIf-None-Match: \"{cursor}\""), "304");
        talk.check(&format!("PUT /doc/x\nIf-Match: \"{cursor}\"\n\n1"), "412 precondition-failed");
        talk.check(&format!("DELETE /doc/x\nIf-Match: \"{cursor}\""), "412 precondition-failed");
    }
    talk.check(&format!("PUT /doc/x\nIf-None-Match: \"{later}\"\n\n1"), "201");
    assert!(!matches(&mut talk, "/doc/x", &later));
}

#[test]
fn a_cursor_of_no_state_matches_nothing() {
    // PROTOCOL C4, C5
    let server = serve();
    let mut talk = server.talk();
    let cursor = talk.ask("PUT /doc\n\n1").cursor();
    let (epoch, revision) = cursor.split_once('.').unwrap();
    let revision: u64 = revision.parse().unwrap();
    let other = format!("{:012x}", u64::from_str_radix(epoch, 16).unwrap() ^ 1);
    for wrong in [
        format!("{epoch}.{}", revision + 1),
        format!("{epoch}.{}", u64::MAX),
        format!("{epoch}.{}", revision - 1),
        format!("{other}.{revision}"),
        format!("{other}.{}", revision + 1),
        "x".to_owned(),
    ] {
        assert!(!matches(&mut talk, "/doc", &wrong), "{wrong}");
    }
}

#[test]
fn the_rev_of_a_synced_message_is_a_condition_for_each_link() {
    // PROTOCOL C5, L8
    let server = serve();
    server.write(&["PUT /a 1", "PUT /b 1"]);
    let mut session = Session::open(server.address, "/");
    session.say(&json!({ "watch": [[1, "/a"], [2, "/b"]] }));
    let rev = loop {
        let message = session.next();
        if message["synced"] == true {
            break message["rev"].as_str().unwrap().to_owned();
        }
    };
    let mut put = |path: &str, value: u64| {
        session.ask(json!({ "put": path, "value": value, "if": rev }))["status"].clone()
    };
    assert_eq!((put("/a", 2), put("/a", 3), put("/b", 2)), (json!(200), json!(412), json!(200)));
}

#[test]
fn who_compares_with_what_is_gone_is_told_how_to_create_it_in_the_words_of_the_way_that_is_used() {
    // PROTOCOL W6, L8b
    let server = serve();
    let (mut talk, mut session) = (server.talk(), Session::open(server.address, "/"));
    let cursor = talk.ask("PUT /doc\n\n1").cursor();
    talk.ask("DELETE /doc");
    let refused = talk.ask(&format!("PUT /doc\nIf-Match: \"{cursor}\"\n\n2")).json();
    assert_eq!(refused["hint"], "nothing is there; to create it, send If-None-Match: *");
    let refused = session.ask(json!({ "put": "/doc", "value": 2, "if": cursor }));
    assert_eq!(refused["status"], 412);
    assert_eq!(refused["hint"], "nothing is there; to create it, send \"if\": null");
    // Both forms work.
    assert_eq!(session.ask(json!({ "put": "/doc", "value": 2, "if": null }))["status"], 201);
    talk.ask("DELETE /doc");
    talk.check("PUT /doc\nIf-None-Match: *\n\n2", "201");
}

#[test]
fn a_tag_that_a_proxy_has_added_to_is_known_by_every_way_back() {
    // PROTOCOL C6
    let server = serve();
    let mut talk = server.talk();
    let cursor = talk.ask("PUT /doc\n\n1").cursor();
    let mut session = Session::open(server.address, "/");
    for tag in
        ["W/\"{}\"", "\"{}-gzip\"", "W/\"{}-br\"", "\"{};gzip\"", "\"{}--gzip\"", "\"{}\"-gzip"]
    {
        let tag = tag.replace("{}", &cursor);
        talk.check(&format!("GET /doc\nIf-None-Match: {tag}"), "304");
        talk.check(&format!("GET /doc\nIf-None-Match: {tag}\nPrefer: wait=0"), "304");
        talk.check(&format!("PUT /doc\nIf-Match: \"x\", {tag}\n\n1"), "200");
        server.stream(&format!("GET /doc?watch\nLast-Event-ID: {tag}")).expect(&["synced"]);
        let escaped = tag.replace('"', "%22").replace(';', "%3B");
        server.ndjson(&format!("/doc?since={escaped}")).expect(&["synced"]);
        let put = session.ask(json!({ "put": "/doc", "value": 1, "if": tag }));
        assert_eq!(put["status"], 200, "{tag}");
    }
    for tag in ["\"{}-identity\"", "\"{}-gzip-gzip\"", "\"{}gzip\"", "\"x{}-gzip\""] {
        let tag = tag.replace("{}", &cursor);
        talk.check(&format!("GET /doc\nIf-None-Match: {tag}"), "200");
        talk.check(&format!("PUT /doc\nIf-Match: {tag}\n\n1"), "412 precondition-failed");
    }
}

#[test]
fn a_long_poll_begins_with_any_cursor_that_matches_and_any_number_of_seconds() {
    // PROTOCOL R4, C5
    let server = serve();
    let mut talk = server.talk();
    talk.write(&["PUT /doc 1"]);
    let later = talk.ask("PUT /other\n\n1").cursor();
    let ask = |wait: &str| format!("GET /doc\nIf-None-Match: \"{later}\"\nPrefer: {wait}");
    talk.check(&ask("wait = 0"), "304\nPreference-Applied: wait=0");
    for ignored in ["wait=-1", "wait=1.5", "wait=1e20", "wait=soon", "a=\", wait=30\""] {
        talk.check(&ask(ignored), "304\n!Preference-Applied");
    }
    // It waits: it answers with what is written meanwhile.
    let mut waiting = server.talk();
    waiting.connection.send(&request(&ask("wait=30")));
    server.until_links(1);
    talk.write(&["PUT /doc 2"]);
    let answer = waiting.connection.answer(false);
    assert_eq!((answer.status, answer.text()), (200, "2"));
}
