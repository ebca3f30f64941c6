//! Cursors of those who may not see all: sealed, exact, and silent about what is hidden (PROTOCOL
//! I27, I28).

use crate::common::identity::{admin, ask, auth, bearer, check, put, serve_auth, token, token_for};
use crate::common::{self, Running, runtime, serve_api};
use halfping::{Api, Hosts, Options};
use serde_json::{Value, json};

/// Own orders without their margin, what is public, and all for administrators.
const RULES: &str = r#"
    [[rule]]
    allow = ["read"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub"

    [[rule]]
    deny = ["read"]
    path = "/orders/{order}/margin"
    unless = "'admin' in claims.roles"

    [[rule]]
    allow = ["read", "write"]
    path = "/public"

    [[rule]]
    allow = ["read", "write"]
    path = "/"
    when = "'admin' in claims.roles"

    [[rule]]
    allow = ["read"]
    path = "/_metrics"
"#;

/// A text by which a whole state is longer than a change.
const LONG: &str = "a long text, so that a change is shorter than all of it, whatever else has \
                    changed: a reader is sent whichever of the two is shorter, and this is about \
                    changes, so it would not be seen whether they are told";

fn fill(server: &Running) {
    let orders = json!({
        "1": { "owner": "u1", "total": 1, "margin": 1 },
        "2": { "owner": "u2", "total": 2, "margin": 2 },
        "3": { "owner": "u1", "total": 3, "margin": 3 },
        "5": { "owner": "u1", "note": LONG },
    });
    put(server, "/orders", &orders);
    put(server, "/public", &json!({ "a": 1, "note": LONG }));
}

fn serve() -> Running {
    let server = serve_auth("", RULES);
    fill(&server);
    server
}

fn u1() -> String {
    bearer(&token("u1"))
}

/// Commits that u1 may not see.
fn hide(server: &Running) {
    put(server, "/orders/2/total", &json!(20));
    put(server, "/orders/1/margin", &json!(10));
    put(server, "/orders/4", &json!({ "owner": "u2" }));
    put(server, "/orders/4", &json!(null));
    put(server, "/secret", &json!(1));
}

/// Puts the settings back that [`hide`] changes, so that it can be used again.
fn unhide(server: &Running) {
    put(server, "/orders/2/total", &json!(2));
    put(server, "/orders/1/margin", &json!(1));
    put(server, "/secret", &json!(0));
}

#[track_caller]
fn is_sealed(cursor: &str) {
    let (epoch, block) = cursor.split_once('.').unwrap();
    assert_eq!((epoch.len(), block.len()), (12, 22), "{cursor}");
}

fn etag(server: &Running, path: &str, header: &str) -> String {
    let answer = ask(server, &format!("GET {path}"), header);
    answer.header("etag").unwrap().trim_matches('"').to_owned()
}

#[test]
fn a_stream_resumes_with_what_changed_in_its_part() {
    // PROTOCOL I27, S8
    let server = serve();
    let mut stream = server.stream(&format!("GET /orders?watch\n{}", u1()));
    let cursor = stream.next().cursor().unwrap().to_owned();
    is_sealed(&cursor);
    hide(&server);
    let mut back = server.stream(&format!("GET /orders?watch&since={cursor}\n{}", u1()));
    let synced = back.expect(&["synced"]).remove(0);
    assert_eq!(synced.cursor(), Some(&*cursor), "what is hidden changes nothing");
    put(&server, "/orders/1/total", &json!(11));
    put(&server, "/orders/3/owner", &json!("u2"));
    put(&server, "/orders/2/owner", &json!("u1"));
    for request in [
        format!("GET /orders?watch&since={cursor}\n{}", u1()),
        format!("GET /orders\nAccept: text/event-stream\nLast-Event-ID: {cursor}\n{}", u1()),
        format!("GET /_streams?path=/orders&since={cursor}\n{}", u1()),
    ] {
        let mut back = server.stream(&request);
        let frames = back.until_synced();
        let last = frames.last().unwrap();
        let resume = last.id.as_deref().or(last.rev.as_deref()).unwrap();
        is_sealed(resume);
        let shown: String = frames.iter().map(common::raw::Frame::show).collect();
        assert!(!shown.contains("snapshot") && shown.contains("11"), "{request}: {shown}");
        assert!(shown.contains("/2") && shown.contains("/3"), "{request}: {shown}");
        assert!(!shown.contains("margin"), "{request}: {shown}");
    }
}

#[test]
fn a_session_resumes_all_its_links() {
    // PROTOCOL I27, L6a
    let server = serve();
    let watch = |since: Option<&str>| {
        let mut session = server.session("/");
        session.ask(json!({ "auth": token("u1") }));
        let mut command = json!({ "watch": [[1, "/orders"], [2, "/public"], [3, "/orders/2"]] });
        if let Some(since) = since {
            command["since"] = since.into();
        }
        session.ask(command);
        session
    };
    let mut session = watch(None);
    let state = session.state();
    assert_eq!(state["synced"], true, "{state}");
    let rev = state["rev"].as_str().unwrap().to_owned();
    is_sealed(&rev);
    hide(&server);
    // A link that is opened again has no news, and the cursor stays as it was.
    session.ask(json!({ "unwatch": 2 }));
    session.ask(json!({ "watch": 2, "path": "/public", "since": rev }));
    let again = session.state();
    assert_eq!((&again["rev"], &again["synced"]), (&json!(rev), &json!(true)), "{again}");
    assert!(again.get("set").is_none(), "{again}");
    let again = watch(Some(&rev)).state();
    assert_eq!(again["rev"], json!(rev), "{again}");
    put(&server, "/public/a", &json!(2));
    let state = watch(Some(&rev)).state();
    assert_eq!(state["set"][0], json!([2, "merge", { "a": 2 }]), "{state}");
    assert_ne!(state["rev"], json!(rev));
    // Writes are answered with sealed cursors, and compare them.
    let mut session = watch(None);
    let answer = session.ask(json!({ "put": "/public/b", "value": 1 }));
    let rev = answer["rev"].as_str().unwrap();
    is_sealed(rev);
    hide(&server);
    let next = session.ask(json!({ "put": "/public/b", "value": 2, "if": rev }));
    assert_eq!(next["status"], 200, "{next}");
    let stale = session.ask(json!({ "put": "/public/b", "value": 3, "if": rev }));
    assert_eq!(stale["status"], 412, "{stale}");
    assert_eq!(stale["rev"].as_str().unwrap(), next["rev"].as_str().unwrap());
}

#[test]
fn a_cursor_of_other_rights_a_forged_one_and_an_open_one_are_none() {
    // PROTOCOL I27, C4
    let server = serve();
    let own = server.stream(&format!("GET /orders?watch\n{}", u1())).next();
    let own = own.cursor().unwrap().to_owned();
    let others = server.stream(&format!("GET /orders?watch\n{}", bearer(&token("u2")))).next();
    let others = others.cursor().unwrap().to_owned();
    let all = server.stream(&format!("GET /orders?watch\n{}", admin())).next();
    let all = all.cursor().unwrap().to_owned();
    assert!(all.len() < own.len(), "who sees all has the cursor itself: {all}");
    assert_ne!(own, others, "the same state, and other rights");
    let changed = |place: usize| {
        let mut forged = own.clone().into_bytes();
        forged[place] = if forged[place] == b'B' { b'C' } else { b'B' };
        String::from_utf8(forged).unwrap()
    };
    for cursor in [&others, &all, &changed(13), &changed(20), "x", &own[..30]] {
        let target = format!("GET /orders?watch&since={cursor}\n{}", u1());
        assert_eq!(server.stream(&target).next().kind, "snapshot", "{cursor}");
        let tagged = format!("GET /orders\nIf-None-Match: \"{cursor}\"");
        check(&server, &tagged, &u1(), "200");
    }
    for cursor in [&own, &others] {
        let target = format!("GET /orders?watch&since={cursor}\n{}", admin());
        assert_eq!(server.stream(&target).next().kind, "snapshot", "{cursor}");
    }
    // Claims that no rule speaks of change no rights.
    let same = bearer(&token_for("u1", 300, json!({ "teams": ["red"] })));
    let mut back = server.stream(&format!("GET /orders?watch&since={own}\n{same}"));
    back.expect(&["synced"]);
}

#[test]
fn a_tag_changes_exactly_when_what_is_shown_does() {
    // PROTOCOL I28, R3
    let server = serve();
    let paths =
        ["/orders", "/", "/orders/1", "/orders/2", "/orders/9", "/public", "/orders?depth=1"];
    let tags = || paths.map(|path| etag(&server, path, &u1()));
    let before = tags();
    before.iter().for_each(|tag| is_sealed(tag));
    hide(&server);
    assert_eq!(before, tags());
    put(&server, "/orders/1/total", &json!(11));
    let after = tags();
    let differs: Vec<&str> = (0..paths.len())
        .filter(|place| before[*place] != after[*place])
        .map(|place| paths[place])
        .collect();
    assert_eq!(differs, ["/orders", "/", "/orders/1"]);
    unhide(&server);
    let tag = &after[0];
    check(&server, &format!("GET /orders\nIf-None-Match: \"{tag}\""), &u1(), "304");
    check(&server, &format!("HEAD /orders\nIf-None-Match: W/\"{tag}-gzip\""), &u1(), "304");
    check(&server, &format!("GET /orders\nIf-None-Match: \"x\", \"{tag}\""), &u1(), "304");
    check(&server, &format!("GET /orders\nIf-None-Match: \"{}\"", before[0]), &u1(), "200");
    let absent = &after[3];
    check(&server, &format!("GET /orders/2\nIf-None-Match: \"{absent}\""), &u1(), "304");
    put(&server, "/orders/2/owner", &json!("u1"));
    check(&server, &format!("GET /orders/2\nIf-None-Match: \"{absent}\""), &u1(), "200");
    // A session's `get` says the same.
    let mut session = server.session("/");
    session.ask(json!({ "auth": token("u1") }));
    for path in ["/orders", "/public", "/orders/9"] {
        let got = session.ask(json!({ "get": path }));
        assert_eq!(got["rev"].as_str().unwrap(), etag(&server, path, &u1()), "{got}");
    }
}

#[test]
fn a_cursor_of_a_stream_matches_as_long_as_the_part_is_the_same() {
    // PROTOCOL I27, I28, R4
    let server = serve();
    let mut stream = server.stream(&format!("GET /orders?watch\n{}", u1()));
    let first = stream.next();
    let cursor = first.cursor().unwrap();
    hide(&server);
    let tagged = format!("GET /orders\nIf-None-Match: \"{cursor}\"");
    check(&server, &tagged, &u1(), "304");
    let [short, long] = [1, 60].map(|seconds| format!("{tagged}\nPrefer: wait={seconds}"));
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| ask(&server, &short, &u1()).status);
        server.until_links(2);
        unhide(&server);
        assert_eq!(answer.join().unwrap(), 304);
        let answer = scope.spawn(|| ask(&server, &long, &u1()));
        server.until_links(2);
        put(&server, "/orders/1/total", &json!(11));
        assert_eq!(answer.join().unwrap().json()["1"]["total"], 11);
    });
    check(&server, &tagged, &u1(), "200");
}

#[test]
fn equal_states_have_equal_cursors_and_distances_tell_nothing() {
    // PROTOCOL I28
    let server = serve();
    let first = |path: &str| {
        let mut stream = server.stream(&format!("GET {path}?watch\n{}", u1()));
        stream.next().cursor().unwrap().to_owned()
    };
    assert_eq!(first("/orders"), first("/orders"));
    let before = first("/public");
    put(&server, "/public/a", &json!(2));
    let after = first("/public");
    assert_ne!(before, after);
    assert_ne!(before[13..20], after[13..20], "all of it is another");
    // Several on one stream: what is hidden does not change the cursor of all.
    let mut stream = server.stream(&format!("GET /_streams?path=/public&path=/orders\n{}", u1()));
    let synced = stream.until_synced().pop().unwrap();
    put(&server, "/orders/1/total", &json!(11));
    let told = stream.next();
    assert_ne!(told.resume, synced.rev);
    assert_eq!(told.resume, told.rev, "nothing else was told since");
}

#[test]
fn cursors_are_good_after_a_restart_with_the_same_store() {
    // PROTOCOL I27, W9
    let folder = std::env::temp_dir().join(format!("halfping-sealed-{}", std::process::id()));
    let runtime = runtime();
    let open = || {
        let options = Options { auth: auth("", RULES), hosts: Hosts::Any, ..Options::default() };
        let (api, _) = runtime.block_on(async { Api::open(&folder, options, |_| {}) }).unwrap();
        serve_api(api)
    };
    let close = |server: Running| {
        let api = server.api.clone();
        server.stop();
        runtime.block_on(api.close());
    };
    let server = open();
    fill(&server);
    let tag = etag(&server, "/orders", &u1());
    let mut stream = server.stream(&format!("GET /orders?watch\n{}", u1()));
    let cursor = stream.next().cursor().unwrap().to_owned();
    put(&server, "/orders/1/total", &json!(11));
    drop(stream);
    close(server);
    let server = open();
    let mut back = server.stream(&format!("GET /orders?watch&since={cursor}\n{}", u1()));
    back.expect(&[r#"merge {"1":{"total":11}}"#, "synced"]);
    drop(back);
    put(&server, "/orders/1/total", &json!(1));
    assert_eq!(etag(&server, "/orders", &u1()), tag, "it is as it was");
    close(server);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn who_may_see_all_has_cursors_as_where_there_are_no_rules() {
    // PROTOCOL I27, C2
    let server = serve();
    let answer = ask(&server, "GET /orders", &admin());
    let cursor = answer.header("etag").unwrap().trim_matches('"').to_owned();
    let (_, revision) = cursor.split_once('.').unwrap();
    assert!(revision.parse::<u64>().is_ok(), "{cursor}");
    let value: Value = answer.json();
    assert_eq!(value["2"]["margin"], 2);
    put(&server, "/orders/2/margin", &json!(3));
    let mut back = server.stream(&format!("GET /orders?watch&since={cursor}\n{}", admin()));
    back.expect(&[r#"merge {"2":{"margin":3}}"#, "synced"]);
}
