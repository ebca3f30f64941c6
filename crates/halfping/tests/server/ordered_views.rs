//! Views with an order, a number of members, or as a list: by every way to read.

use std::collections::BTreeMap;

use crate::common::session::Session;
use crate::common::{self, Running, serve, serve_limited};
use halfping::Error;
use serde_json::{Value, json};

/// By speed: c, a, b, d (which has none). What is said of each is long, so that a change is shorter
/// than the whole.
fn fleet() -> String {
    let long = "x".repeat(100);
    let vehicle =
        |line: &str, speed: &str| format!(r#"{{"line":"{line}","text":"{long}"{speed}}}"#);
    format!(
        r#"PUT /v {{"a":{},"b":{},"c":{},"d":{}}}"#,
        vehicle("U4", r#","speed":60"#),
        vehicle("U6", r#","speed":20"#),
        vehicle("U4", r#","speed":7e1"#),
        vehicle("U6", ""),
    )
}

fn running() -> Running {
    let server = serve();
    server.write(&[&fleet()]);
    server
}

#[track_caller]
fn get(server: &Running, target: &str) -> Value {
    let answer = server.talk().ask(&format!("GET {target}"));
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.json()
}

/// The names of an object's members, in their own order.
fn names(object: &Value) -> Vec<&String> {
    object.as_object().expect("an object").keys().collect()
}

#[test]
fn a_plain_get_shows_the_first_in_order() {
    // PROTOCOL Q11 to Q14
    let server = running();
    for (query, shown) in [
        ("order=-speed&limit=2", "a c"),
        ("limit=2&order=-speed", "a c"),
        ("order=speed&limit=2", "b d"),
        ("order=-line,speed&limit=3", "a b d"),
        ("limit=2", "a b"),
        ("limit=1000", "a b c d"),
        ("order=-speed&limit=1&where=line%20==%20'U6'", "b"),
        ("order=nothing&limit=2", "a b"),
    ] {
        let value = get(&server, &format!("/v?{query}"));
        assert_eq!(names(&value), shown.split(' ').collect::<Vec<_>>(), "{query}");
    }
    // Who orders by a member is shown it.
    let value = get(&server, "/v?order=-speed&limit=1&select=line");
    assert_eq!(value, json!({ "c": { "line": "U4", "speed": 7e1 } }));
    for (query, shown) in [
        ("count", json!(4)),
        ("count=true&where=speed%20%3E%2050", json!(2)),
        ("where=speed%20%3E%20500&count=1", json!(0)),
        (
            "as=list&order=-speed&select=speed",
            json!([["c", { "speed": 7e1 }], ["a", { "speed": 60 }], ["b", { "speed": 20 }], ["d", {}]]),
        ),
        ("as=list&select=speed&limit=2", json!([["a", { "speed": 60 }], ["b", { "speed": 20 }]])),
        ("as=list&where=false", json!([])),
    ] {
        assert_eq!(get(&server, &format!("/v?{query}")), shown, "{query}");
        // The same in a session.
        let mut command = json!({ "get": "/v" });
        for pair in query.split('&') {
            let (name, text) = pair.split_once('=').unwrap_or((pair, "true"));
            let text = text.replace("%20", " ").replace("%3E", ">");
            command[name] = match name {
                "limit" => json!(text.parse::<u64>().unwrap()),
                "count" => json!(true),
                _ => json!(text),
            };
        }
        let mut session = Session::open(server.address, "/");
        assert_eq!(session.ask(command)["value"], shown, "{query}");
    }
    // What is no object has no members.
    for (path, query, shown) in [
        ("/v/a/line", "limit=2", json!({})),
        ("/v/a/line", "count", json!(0)),
        ("/v/a/line", "as=list", json!([])),
    ] {
        assert_eq!(get(&server, &format!("{path}?{query}")), shown, "{path} {query}");
    }
    for query in ["limit=2", "count", "as=list"] {
        server.talk().check(&format!("GET /none?{query}"), "404 not-found");
        server.talk().check(&format!("HEAD /v?{query}"), "200\n!Content-Length");
    }
}

#[test]
fn a_view_that_makes_no_sense_is_refused_in_whatever_order_it_is_said() {
    // PROTOCOL Q11, Q13 to Q15
    let server = running();
    let mut talk = server.talk();
    for (query, says) in [
        ("order=speed", "limit=20"),
        ("order=-&limit=2", "'order', column 2"),
        ("limit=0", "at least 1"),
        ("limit=1001", "\"limit\":\"window_members\",\"max\":1000"),
        ("as=array", "'as' is list"),
        ("count&limit=2", "leave out 'limit'"),
        ("order=a&limit=2&select=/a", "'order' is about members"),
        ("select=/a&count", "'count' is about members"),
    ] {
        let turned: Vec<&str> = query.rsplit('&').collect();
        for query in [query, &turned.join("&")] {
            let watch = format!("/v?watch&delta=false&{query}");
            let many = format!("/_streams?path=/v&delta=false&{query}");
            for target in [&format!("/v?{query}"), &watch, &many] {
                talk.check(&format!("GET {target}"), &format!("400 bad-view\n\n{says}"));
            }
        }
    }
    talk.check("GET /v?limit=two", "400 bad-parameter\n\n'limit' is a number of members");
    talk.check("GET /v?count=two", "400 bad-parameter\n\n'count' is true or false");
    let deltas = "400 bad-view\n\nadd delta=false";
    talk.check("GET /v?as=list\nAccept: text/event-stream", deltas);
    talk.check("GET /v?watch&as=list", deltas);
    talk.check("GET /v?watch&as=list&delta=true", deltas);
    talk.check("GET /_streams?path=/v&as=list", deltas);

    let mut session = Session::open(server.address, "/");
    for (command, name, says) in [
        (json!({ "watch": 1, "path": "/v", "as": "list" }), "bad-view", "add delta=false"),
        (json!({ "as": "list", "watch": [[1, "/v"], [2, "/w"]] }), "bad-view", "add delta=false"),
        (json!({ "watch": [[1, "/v"]], "order": "a" }), "bad-view", "limit=20"),
        (json!({ "get": "/v", "order": "a" }), "bad-view", "limit=20"),
        (json!({ "get": "/v", "limit": 0 }), "bad-view", "at least 1"),
        (json!({ "get": "/v", "limit": "2" }), "bad-command", "'limit' is a number"),
        (json!({ "get": "/v", "count": 1 }), "bad-command", "'count' is true or false"),
        (json!({ "put": "/v", "value": 1, "limit": 2 }), "bad-command", "has no 'limit'"),
    ] {
        let answer = session.ask(command.clone());
        let kind = answer["type"].as_str().unwrap();
        assert!(kind.ends_with(name) && answer.to_string().contains(says), "{command}: {answer}");
    }
    assert_eq!(session.ask(json!({ "get": "/v", "count": true }))["value"], 4);
    assert_eq!(server.metric("halfping_links"), 0);
}

#[test]
fn a_stream_tells_who_comes_into_the_window_and_who_leaves() {
    // PROTOCOL Q5, Q11, Q12
    let server = running();
    let query = "order=-speed&limit=2&select=line";
    let mut sse = server.sse(&format!("/v?{query}"));
    let mut ndjson = server.ndjson(&format!("/v?{query}"));
    let mut whole = server.ndjson(&format!("/v?{query}&delta=false"));
    let mut list = server.ndjson(&format!("/v?{query}&delta=false&as=list"));
    let line = |line: &str, speed: &str| format!(r#"{{"line":"{line}","speed":{speed}}}"#);
    // Members of an object come in no particular order.
    let value = |frame: common::raw::Frame| -> Value {
        assert_eq!(frame.kind, "snapshot");
        serde_json::from_str(&frame.value.unwrap()).unwrap()
    };
    let two = json!({ "c": { "line": "U4", "speed": 7e1 }, "a": { "line": "U4", "speed": 60 } });
    for stream in [&mut sse, &mut ndjson, &mut whole] {
        assert_eq!(value(stream.next()), two);
        stream.expect(&["synced"]);
    }
    let first = format!(r#"[["c",{}],["a",{}]]"#, line("U4", "7e1"), line("U4", "60"));
    list.expect(&[&format!("snapshot {first}"), "synced"]);
    let mut shown: BTreeMap<String, Value> = serde_json::from_value(two).unwrap();
    let mut expect = |write: &str, change: Value, order: &str| {
        // Nobody is told of these.
        server.write(&["PUT /v/d/text 1", "PUT /v/c/text 2", write]);
        for stream in [&mut sse, &mut ndjson] {
            let frame = stream.next();
            let value: Value = serde_json::from_str(frame.value.as_deref().unwrap()).unwrap();
            match &*frame.kind {
                "merge" => assert_eq!(value, change, "{write}"),
                // Where that is shorter.
                kind => assert_eq!(kind, "snapshot", "{write}"),
            }
        }
        for (name, member) in change.as_object().unwrap() {
            match member {
                Value::Null => drop(shown.remove(name)),
                member => {
                    let before = shown.entry(name.clone()).or_insert(json!({}));
                    for (name, value) in member.as_object().unwrap() {
                        before[name] = value.clone();
                    }
                }
            }
        }
        assert_eq!(value(whole.next()), json!(shown), "{write}");
        let in_order: Vec<Value> =
            order.split(' ').map(|name| json!([name, shown[name]])).collect();
        assert_eq!(value(list.next()), json!(in_order), "{write}");
    };
    // One comes, and another leaves for it.
    expect("PUT /v/b/speed 65", json!({ "a": null, "b": { "line": "U6", "speed": 65 } }), "c b");
    // Two change places, and nobody comes or leaves.
    expect("PUT /v/b/speed 90", json!({ "b": { "speed": 90 } }), "b c");
    // Who leaves makes room for the next.
    expect("DELETE /v/b", json!({ "b": null, "a": { "line": "U4", "speed": 60 } }), "c a");
    // Something else of a member that is shown.
    expect("PUT /v/a/line 5", json!({ "a": { "line": 5 } }), "c a");
    server.write(&["PUT /v/d/speed 1", "DELETE /v"]);
    for stream in [&mut sse, &mut ndjson, &mut whole, &mut list] {
        stream.expect(&["gone"]);
    }
}

#[test]
fn a_count_is_a_number_that_changes_when_it_changes() {
    // PROTOCOL Q14
    let server = running();
    let mut stream = server.ndjson("/v?watch&count&where=speed%3E50");
    stream.expect(&["snapshot 2", "synced"]);
    server.write(&[
        "PUT /v/a/speed 61",
        "PUT /v/b/speed 21",
        "PUT /v/c/line 1",
        "PUT /v/b/speed 51",
    ]);
    stream.expect(&["snapshot 3"]);
    server.write(&["MERGE /v {\"a\":null,\"b\":null,\"c\":null}"]);
    stream.expect(&["snapshot 0"]);
    server.write(&["DELETE /v"]);
    stream.expect(&["gone"]);
    server.write(&["PUT /v 5"]);
    stream.expect(&["snapshot 0"]);
    server.write(&[&fleet()]);
    stream.expect(&["snapshot 2"]);
    let mut many = server.ndjson("/_streams?path=/v&path=/w&count");
    many.expect(&["/v snapshot 4", "/w gone", "synced"]);
}

#[test]
fn a_long_poll_and_an_etag_of_a_window_are_those_of_the_resource() {
    // PROTOCOL Q6
    let server = running();
    let view = "/v?order=-speed&limit=1&select=speed";
    let answer = server.talk().ask(&format!("GET {view}"));
    let cursor = answer.cursor();
    assert_eq!(cursor, server.talk().ask("GET /v").cursor());
    server.talk().check(&format!("GET {view}\nIf-None-Match: \"{cursor}\""), "304");
    let poll = format!("GET {view}&as=list\nIf-None-Match: \"{cursor}\"\nPrefer: wait=60");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.talk().ask(&poll));
        server.until_links(1);
        server.write(&["PUT /v/d/speed 99"]);
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!([["d", { "speed": 99 }]])));
    });
}

#[test]
fn a_window_resumes_with_what_changed_in_it() {
    // PROTOCOL Q7
    let server = running();
    let target = "/v?watch&order=-speed&limit=2";
    let mut stream = server.ndjson(target);
    let cursor = stream.until_synced().pop().unwrap().rev.unwrap();
    // Another keeps the view.
    let other = server.ndjson(target);
    drop(stream);
    server.write(&["PUT /v/d/text \"y\"", "PUT /v/b/speed 65"]);
    let mut again = server.ndjson(&format!("{target}&since={cursor}"));
    let frames = again.until_synced();
    let change: Value = serde_json::from_str(frames[0].value.as_deref().unwrap()).unwrap();
    let kept = get(&server, "/v/b");
    match &*frames[0].kind {
        "merge" => assert_eq!(change, json!({ "a": null, "b": kept })),
        kind => panic!("{kind} {change}"),
    }
    assert_eq!(frames.len(), 2);
    drop(other);
}

#[test]
fn a_session_begins_with_a_window_and_opens_many_alike() {
    // PROTOCOL L1b, L3, Q1
    let server = running();
    server.write(&[r#"PUT /w {"x":{"speed":1},"y":{"speed":2}}"#]);
    let mut session = Session::open(server.address, "/v?watch&limit=1&order=speed&select=speed");
    assert_eq!(session.next()["set"], json!([[0, "snapshot", { "d": {} }]]));
    let watch = json!({
        "watch": [[1, "/v"], [2, "/w"]], "select": "speed", "limit": 1, "order": "-speed"
    });
    assert_eq!(session.ask(watch)["status"], 200);
    let mut set: Vec<Value> = session.next()["set"].as_array().unwrap().clone();
    set.sort_by_key(|update| update[0].as_u64());
    let shown = json!([
        [1, "snapshot", { "c": { "speed": 7e1 } }],
        [2, "snapshot", { "y": { "speed": 2 } }]
    ]);
    assert_eq!(json!(set), shown);
}

#[test]
fn a_program_reads_and_watches_windows_counts_and_lists() {
    let server = running();
    let api = &server.api;
    let first = api.view("/v").order("-speed").unwrap().select("line").unwrap().limit(2).unwrap();
    type Vehicles = BTreeMap<String, Value>;
    let names = |vehicles: Option<Vehicles>| vehicles.unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(names(first.get().unwrap()), ["a", "c"]);
    let list: Vec<(String, Value)> = first.clone().list().get().unwrap().unwrap();
    assert_eq!(list[0], ("c".to_owned(), json!({ "line": "U4", "speed": 7e1 })));
    let count = api.view("/v").filter("line == 'U6'").unwrap().count();
    assert_eq!(count.get::<u64>().unwrap(), Some(2));
    assert_eq!(api.view("/none").count().get::<u64>().unwrap(), None);
    common::runtime().block_on(async {
        let mut first_now = first.watch::<Vehicles>().unwrap();
        let mut list = first.clone().list().watch::<Vec<(String, Value)>>().unwrap();
        let mut count = count.watch::<u64>().unwrap();
        assert_eq!(names(first_now.next().await.unwrap()), ["a", "c"]);
        assert_eq!(list.next().await.unwrap().unwrap()[1].0, "a");
        assert_eq!(count.next().await.unwrap(), Some(2));
        api.put("/v/b/speed", &80).await.unwrap();
        assert_eq!(names(first_now.next().await.unwrap()), ["b", "c"]);
        assert_eq!(list.next().await.unwrap().unwrap()[0].0, "b");
        api.put("/v/b/line", "U4").await.unwrap();
        assert_eq!(count.next().await.unwrap(), Some(1));
    });
    for wrong in [
        api.view("/v").order("-speed").unwrap().get::<Value>().err(),
        api.view("/v").order("-speed").unwrap().watch::<Value>().err(),
        api.view("/v").limit(2).unwrap().count().get::<Value>().err(),
        api.view("/v").limit(0).err(),
        api.view("/v").limit(1001).err(),
        api.view("/v").order("-").err(),
    ] {
        assert!(matches!(wrong, Some(Error::View(_))), "{wrong:?}");
    }
}

#[test]
fn an_order_that_needs_too_many_rows_harms_nobody_else() {
    // PROTOCOL Q10b
    let server = serve_limited(|limits| limits.view_rows = 3);
    server.write(&[&fleet()]);
    let mut other = server.ndjson("/v?watch&limit=2&order=-speed&where=speed%3E50&select=speed");
    assert_eq!(other.until_synced().len(), 2);
    get(&server, "/v?order=-speed&limit=3");
    assert_eq!(server.metric("halfping_view_rows"), 2);
    let mut refused = server.ndjson("/v?watch&order=-speed&limit=1");
    let frame = refused.next();
    assert_eq!(frame.kind, "error", "{}", frame.raw);
    let problem = frame.problem.unwrap().to_string();
    assert!(problem.contains("too-many-views") && problem.contains("view_rows"), "{problem}");
    drop(refused);
    server.write(&["PUT /v/a/speed 61"]);
    let value: Value = serde_json::from_str(other.next().value.as_deref().unwrap()).unwrap();
    assert_eq!(value["a"]["speed"], 61);
}
