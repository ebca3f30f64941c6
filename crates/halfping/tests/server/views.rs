//! Views: what `where` and `select` show, by every way to read, and their limits. Orders and
//! numbers are in `ordered_views.rs`.

use std::collections::BTreeMap;

use crate::common::raw::Next;
use crate::common::session::Session;
use crate::common::{self, Running, serve, serve_limited};
use halfping::{Error, NamedView, NamedViews};
use serde_json::{Value, json};

const FLEET: &str = concat!(
    r#"PUT /v {"a":{"line":"U4","speed":60,"driver":{"name":"Ada","age":36}},"#,
    r#""b":{"line":"U6","speed":20},"c":{"line":"U4","speed":5e1},"d":7,"e":null}"#,
);

/// A target with a view: its condition and selection are percent-encoded, a `-` is none.
fn target(path: &str, condition: &str, selection: &str) -> String {
    let mut target = path.to_owned();
    for (name, text) in [("where", condition), ("select", selection)] {
        if text != "-" {
            let mark = if target.contains('?') { '&' } else { '?' };
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            target.push_str(&format!("{mark}{name}={encoded}"));
        }
    }
    target
}

#[track_caller]
fn get(server: &Running, target: &str) -> Value {
    let answer = server.talk().ask(&format!("GET {target}"));
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.json()
}

#[test]
fn a_plain_get_shows_the_members_that_fulfil_a_condition() {
    // PROTOCOL Q1, Q2, Q3, Q4
    let server = serve();
    server.write(&[FLEET]);
    for (condition, selection, shown) in [
        ("speed > 50", "line", r#"{"a":{"line":"U4"}}"#),
        ("speed >= 50.0", "speed", r#"{"a":{"speed":60},"c":{"speed":5e1}}"#),
        ("!(speed > 50)", "speed", r#"{"b":{"speed":20},"c":{"speed":5e1}}"#),
        ("line == 'U4' && speed < 55", "line", r#"{"c":{"line":"U4"}}"#),
        ("speed > 50 || line == \"U6\"", "line", r#"{"a":{"line":"U4"},"b":{"line":"U6"}}"#),
        ("driver.name.startsWith('A')", "driver(age)", r#"{"a":{"driver":{"age":36}}}"#),
        ("driver.age in [1, 36.0]", "driver.name", r#"{"a":{"driver":{"name":"Ada"}}}"#),
        ("key() in ['d', 'e']", "-", r#"{"d":7,"e":null}"#),
        ("has(driver)", "nothing", r#"{"a":{}}"#),
        ("key() == \"d\"", "nothing", r#"{"d":7}"#),
        ("`line`.size() > 9", "-", "{}"),
        ("sped > 50", "-", "{}"),
        (
            "true",
            "line",
            r#"{"a":{"line":"U4"},"b":{"line":"U6"},"c":{"line":"U4"},"d":7,"e":null}"#,
        ),
        ("false", "-", "{}"),
        ("-", "/b/speed,/d", r#"{"b":{"speed":20},"d":7}"#),
        ("-", "/%64", r#"{"d":7}"#),
    ] {
        let target = target("/v", condition, selection);
        let answer = server.talk().ask(&format!("GET {target}"));
        assert_eq!((answer.status, answer.text()), (200, shown), "{condition} {selection}");
        // The same in a session, and with a cut after it.
        let mut session = Session::open(server.address, "/");
        let mut command = json!({ "get": "/v", "depth": 2 });
        for (name, text) in [("where", condition), ("select", selection)] {
            if text != "-" {
                command[name] = text.into();
            }
        }
        let cut: Value = serde_json::from_str(&shown.replace(r#"{"age":36}"#, "{}")).unwrap();
        let cut = match selection {
            "driver.name" => json!({ "a": { "driver": {} } }),
            _ => cut,
        };
        assert_eq!(session.ask(command)["value"], cut, "{condition} {selection}");
    }
    for (path, shown) in [("/v/d", "{}"), ("/v/e", "{}"), ("/v/a/line", "{}")] {
        let answer = server.talk().ask(&format!("GET {}", target(path, "true", "-")));
        assert_eq!((answer.status, answer.text()), (200, shown), "{path}");
    }
    server.talk().check(&format!("GET {}", target("/v/none", "true", "-")), "404 not-found");
}

#[test]
fn an_empty_condition_or_selection_is_none() {
    // PROTOCOL Q9
    let server = serve();
    server.write(&[FLEET]);
    let all = get(&server, "/v");
    let mut talk = server.talk();
    for query in
        ["where=", "select=", "order=", "where=&select=&order=", "where", "select=&depth=9"]
    {
        let answer = talk.check(&format!("GET /v?{query}"), "200");
        assert_eq!(answer.json(), all, "{query}");
    }
    // PROTOCOL R1: it tells the length, as for all that is no view.
    let head = talk.check("HEAD /v?where=&select=", "200");
    assert!(head.header("content-length").is_some());
    // The other of the two stands, also one that would not go with a condition.
    assert_eq!(get(&server, "/v?where=&select=/d"), json!({ "d": 7 }));
    assert_eq!(get(&server, "/v?select=&where=key()=='d'"), json!({ "d": 7 }));
    for query in ["where=+", "select=%20", "order=+&limit=1", "where=&&select=line"] {
        talk.check(&format!("GET /v?{query}"), "400 bad-view");
    }

    let mut session = Session::open(server.address, "/");
    let answer = session.ask(json!({ "get": "/v", "where": "", "select": "" }));
    assert_eq!(answer["value"], all);
    session.ask(json!({ "watch": 1, "path": "/v", "where": "", "select": "/d" }));
    assert_eq!(session.state()["set"], json!([[1, "snapshot", { "d": 7 }]]));

    let view = server.api.view("/v").filter("").unwrap().select("").unwrap();
    assert_eq!(view.get::<Value>().unwrap(), Some(all));
}

#[test]
fn a_condition_sees_what_is_not_shown() {
    // PROTOCOL Q1, Q3
    let server = serve();
    server.write(&[FLEET]);
    let target = target("/v?depth=1", "driver.name == 'Ada'", "driver");
    assert_eq!(get(&server, &target), json!({ "a": {} }));
}

#[test]
fn a_view_has_the_cursor_of_its_resource() {
    // PROTOCOL Q1, Q6
    let server = serve();
    let cursor = server.write(&[FLEET])[0].cursor();
    let view = target("/v", "speed > 50", "line");
    let mut talk = server.talk();
    for view in [&view, "/v?select=/b"] {
        let head = talk
            .check(&format!("HEAD {view}"), "200\nContent-Type: application/json\n!Content-Length");
        assert_eq!(head.cursor(), cursor);
        talk.check(&format!("GET {view}\nIf-None-Match: \"{cursor}\""), "304");
    }
    let hidden = server.write(&["PUT /v/b/speed 21"])[0].cursor();
    let answer = talk.check(&format!("GET {view}\nIf-None-Match: \"{cursor}\""), "200");
    assert_eq!(answer.cursor(), hidden);
    assert_eq!(answer.json(), json!({ "a": { "line": "U4" } }));
    // A long poll of a view waits for a change of the resource.
    let poll = format!("GET {view}\nIf-None-Match: \"{hidden}\"\nPrefer: wait=60");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.talk().ask(&poll));
        server.until_links(1);
        server.write(&["PUT /v/a/line \"U1\""]);
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!({ "a": { "line": "U1" } })));
    });
}

#[test]
fn what_is_no_view_is_refused_with_its_place() {
    // PROTOCOL Q9, Q10
    let server = serve();
    server.write(&[FLEET]);
    let mut talk = server.talk();
    let long = format!("line == '{}'", "x".repeat(1024));
    let many = format!("n in [{}]", vec!["1"; 257].join(","));
    let parts = vec!["a"; 65].join("||");
    let deep = format!("{}a{}", "(".repeat(40), ")".repeat(40));
    for (condition, selection, says) in [
        ("speed > ", "-", "'where', column 9: expected"),
        ("speed ~ 5", "-", "'where', column 7"),
        ("speed = 5", "-", "`==`"),
        (" ", "-", "'where', column 2"),
        ("speed + 1 > 5", "-", "'where', column 7"),
        ("xs.all(x, x > 1)", "-", "'where'"),
        ("line.matches('U.*')", "-", "'where'"),
        ("'unended", "-", "'where'"),
        ("\u{1F600} == 1", "-", "'where', column 1"),
        ("-", "a b", "'select', column 3"),
        ("-", "a(", "'select', column 3"),
        ("-", "a,/b", "'select', column 3"),
        ("-", " ", "'select', column 2"),
        ("true", "/a", "'select' with slashes"),
        (&long, "-", "\"limit\":\"view_text_bytes\",\"max\":1024"),
        (&many, "-", "256"),
        (&parts, "-", "64"),
        (&deep, "-", "16"),
    ] {
        for path in ["/v", "/v?watch", "/_streams?path=/v"] {
            talk.check(
                &format!("GET {}", target(path, condition, selection)),
                &format!("400 bad-view\n\n{says}"),
            );
        }
    }
    let unescaped = "400 bad-view\n\nhint\n%26%26";
    talk.check("GET /v?where=speed%3E5&&line=='U4'", unescaped);
    talk.check("GET /v?where=speed%3E5&line=='U4'", "400 unknown-parameter\n\n%26%26");
    talk.check("GET /v?where=true&where=true", "400 bad-parameter");
    talk.check("GET /_health?where=true", "400 unknown-parameter");
    talk.check("PUT /v?where=true\n\n1", "400 unknown-parameter");
}

#[test]
fn a_stream_tells_who_comes_and_who_leaves() {
    // PROTOCOL Q5
    let server = serve();
    server.write(&[FLEET]);
    // What is always shown, so that a change is shorter than the whole.
    let z = format!(r#"{{"line":"{}","speed":99}}"#, "x".repeat(100));
    server.write(&[&format!("PUT /v/z {z}")]);
    let view = target("/v", "speed > 50", "line,speed");
    let whole = target("/v?delta=false", "speed > 50", "line,speed");
    let mut sse = server.sse(&view);
    let mut ndjson = server.ndjson(&view);
    let mut plain = server.ndjson(&whole);
    let first = format!(r#"snapshot {{"a":{{"line":"U4","speed":60}},"z":{z}}}"#);
    for stream in [&mut sse, &mut ndjson, &mut plain] {
        stream.expect(&[&first, "synced"]);
    }
    for (write, merge, shown) in [
        ("PUT /v/a/line \"U5\"", r#"{"a":{"line":"U5"}}"#, r#""a":{"line":"U5","speed":60},"#),
        (
            "PUT /v/b/speed 90",
            r#"{"b":{"line":"U6","speed":90}}"#,
            r#""a":{"line":"U5","speed":60},"b":{"line":"U6","speed":90},"#,
        ),
        ("PUT /v/a/speed 1", r#"{"a":null}"#, r#""b":{"line":"U6","speed":90},"#),
        ("DELETE /v/b", r#"{"b":null}"#, ""),
    ] {
        // Nobody is told of this.
        server.write(&["PUT /v/c/speed 3", "PUT /v/c/speed 4", "PUT /v/z/driver 1", write]);
        for stream in [&mut sse, &mut ndjson] {
            stream.expect(&[&format!("merge {merge}")]);
        }
        plain.expect(&[&format!("snapshot {{{shown}\"z\":{z}}}")]);
        server.write(&["DELETE /v/z/driver"]);
    }
    server.write(&["DELETE /v"]);
    for stream in [&mut sse, &mut ndjson, &mut plain] {
        stream.expect(&["gone"]);
    }
}

#[test]
fn a_view_resumes_with_what_changed_in_it() {
    // PROTOCOL Q6, Q7
    let server = serve();
    let long = "x".repeat(400);
    let member = |line: &str| json!({ "line": line, "n": 1, "long": long }).to_string();
    let (u4, u6) = (member("U4"), member("U6"));
    server.write(&[&format!("PUT /v {{\"a\":{u4},\"b\":{u4},\"c\":{u6},\"d\":{u4}}}")]);
    let view = target("/v", "line == 'U4'", "-");
    let mut stream = server.ndjson(&view);
    let first = stream.next();
    let cursor = stream.next().rev.unwrap();
    // With another reader in the view meanwhile, and without.
    for is_alone in [false, true] {
        let other = (!is_alone).then(|| server.ndjson(&view));
        drop(std::mem::replace(&mut stream, server.ndjson("/none")));
        server.write(&["PUT /v/b/n 2"]);
        if !is_alone {
            server.write(&["PUT /v/a/line \"U6\"", "PUT /v/c/line \"U4\""]);
        }
        let mut again = server.ndjson(&format!("{view}&since={cursor}"));
        let frame = again.next();
        let value: Value = serde_json::from_str(&frame.value.unwrap()).unwrap();
        let expect = match is_alone {
            false => {
                json!({ "a": null, "b": { "n": 2 }, "c": { "line": "U4", "n": 1, "long": long } })
            }
            // Whether the server can still tell depends on what it remembers.
            true => value.clone(),
        };
        match &*frame.kind {
            "merge" => assert_eq!(value, expect),
            kind => assert_eq!((kind, is_alone), ("snapshot", true)),
        }
        drop(other);
    }
    assert_eq!(first.kind, "snapshot");
}

#[test]
fn conditions_that_mean_the_same_share_one_place() {
    // PROTOCOL Q8
    let server = serve();
    server.write(&[FLEET]);
    assert_eq!(server.metric("halfping_views"), 0);
    let mut streams: Vec<_> = [
        ("speed > 50 && line == 'U4'", "line,speed"),
        ("line == \"U4\" && 50.0 < speed", "speed,line"),
        ("!(speed <= 5e1 || line != 'U4')", "speed , line,line"),
    ]
    .map(|(condition, selection)| server.ndjson(&target("/v", condition, selection)))
    .into();
    for stream in &mut streams {
        stream.expect(&[r#"snapshot {"a":{"line":"U4","speed":60}}"#, "synced"]);
    }
    assert_eq!(server.metric("halfping_views"), 1);
    assert_eq!(server.metric("halfping_views_unindexed"), 0);
    let before = server.metric("halfping_frames_shared_total");
    server.write(&["PUT /v/a/speed 61"]);
    for stream in &mut streams {
        stream.expect(&[r#"snapshot {"a":{"line":"U4","speed":61}}"#]);
    }
    assert_eq!(server.metric("halfping_frames_shared_total") - before, 2);
    let another = server.ndjson(&target("/v", "speed > 50", "-"));
    assert_eq!(server.metric("halfping_views"), 2);
    assert_eq!(server.metric("halfping_views_unindexed"), 1);
    drop((streams, another));
    while server.metric("halfping_views") > 0 {
        std::thread::yield_now();
    }
    assert_eq!(server.metric("halfping_watched_places_bytes"), 0);
}

#[test]
fn many_paths_on_one_stream_have_one_shape() {
    // PROTOCOL M1, Q1
    let server = serve();
    server.write(&[r#"PUT / {"x":{"a":{"n":1},"b":{"n":9}},"y":{"c":{"n":2,"m":1}}}"#]);
    let mut many = server.ndjson(&target("/_streams?path=/x&path=/y", "n < 5", "n"));
    many.expect(&[r#"/x snapshot {"a":{"n":1}}"#, r#"/y snapshot {"c":{"n":2}}"#, "synced"]);
    server.write(&["PUT /y/c/m 2", "PUT /x/b/n 8", "PUT /y/c/n 3"]);
    many.expect(&[r#"/y snapshot {"c":{"n":3}}"#]);
}

#[test]
fn a_session_may_begin_with_a_view_in_its_url() {
    // PROTOCOL L1, Q1
    let server = serve();
    server.write(&[FLEET]);
    let mut session = Session::open(server.address, &target("/v?watch", "speed > 50", "line"));
    assert_eq!(session.next()["set"], json!([[0, "snapshot", { "a": { "line": "U4" } }]]));
}

#[test]
fn the_servers_own_state_has_views_and_shows_those_of_links() {
    // PROTOCOL O5, Q1, Q8
    let server = common::serve_with(halfping::Options {
        console: halfping::Console::On,
        ..halfping::Options::default()
    });
    server.write(&[FLEET]);
    let mut stream = server.ndjson(&target("/v", "'U4' == line", "speed,line"));
    assert_eq!(stream.until_synced().len(), 2);
    let sessions = get(&server, &target("/_server/sessions", "transport == 'ndjson'", "links"));
    let sessions: BTreeMap<String, Value> = serde_json::from_value(sessions).unwrap();
    let links: Vec<&Value> = sessions.values().map(|session| &session["links"]["0"]).collect();
    assert_eq!(links.len(), 1, "{sessions:?}");
    assert_eq!(links[0]["view"], r#"select=line,speed&where=line == "U4""#);
    assert_eq!(links[0]["path"], "/v");
}

#[test]
fn the_servers_own_state_has_the_named_views() {
    // PROTOCOL O5i
    let fast = NamedView {
        path: "/fast".to_owned(),
        from: "/v".to_owned(),
        order: Some("-speed".to_owned()),
        limit: Some(1),
        condition: Some("50 < speed".to_owned()),
        ..NamedView::default()
    };
    let all = NamedView { path: "/a b".to_owned(), from: "/w".to_owned(), ..NamedView::default() };
    let server = common::serve_with(halfping::Options {
        console: halfping::Console::On,
        views: NamedViews::new(&[fast, all], &halfping::Limits::default()).unwrap(),
        ..halfping::Options::default()
    });
    assert_eq!(
        get(&server, "/_server/views"),
        json!({
            "/fast": "/v?limit=1&order=-speed&where=speed > 50",
            "/a%20b": "/w",
        })
    );
}

#[test]
fn limits_of_views_are_kept_for_each_connection_and_for_all() {
    // PROTOCOL Q10
    let server = serve_limited(|limits| {
        (limits.views, limits.views_per_connection, limits.unindexed_lenses) = (3, 2, 1);
    });
    server.write(&[FLEET]);
    let refused = |target: &str, limit: &str| {
        let says = format!("\"limit\":\"{limit}\"");
        server.talk().check(&format!("GET {target}"), &format!("429 too-many-views\n\n{says}"));
    };
    // What one connection may have, it may have at once or not at all.
    refused(&target("/_streams?path=/v&path=/w&path=/x", "n == 1", "-"), "views_per_connection");
    let first = server.ndjson(&target("/v?watch", "speed > 50", "-"));
    refused(&target("/v?watch", "speed > 51", "-"), "unindexed_lenses");
    // Elsewhere there are none yet, and what requires an equality is found without being asked.
    let second = server.ndjson(&target("/w?watch", "speed > 51", "-"));
    let third = server.ndjson(&target("/v?watch", "speed > 51 && line == 'U4'", "-"));
    refused(&target("/v?watch", "line == 'U5'", "-"), "views");
    refused(&target("/v?watch", "-", "line"), "views");
    // The same again, in other words, needs no room; and reading once needs none.
    let again = server.ndjson(&target("/v?watch", "50 < speed", "-"));
    assert_eq!(
        get(&server, &target("/v", "line == 'U6'", "speed")),
        json!({ "b": { "speed": 20 } })
    );
    assert_eq!(server.metric("halfping_views"), 3);
    drop((first, second, third, again));
    while server.metric("halfping_views") > 0 {
        std::thread::yield_now();
    }
    drop(server.ndjson(&target("/v?watch", "speed > 51", "-")));
}

#[test]
fn the_account_of_a_connection_is_even_when_its_views_have_ended() {
    // PROTOCOL Q10, O4: what links are charged when they are opened is given back when they end.
    let server = serve_limited(|limits| {
        limits.views_per_connection = 4;
        // Room for four links that look through a view, and no fifth.
        limits.places_bytes_per_connection = 4 * (512 + 8 * 50 + 201);
    });
    server.write(&[FLEET]);
    let mut session = Session::open(server.address, "/");
    let watch = |id: u32| {
        let condition = format!("speed > {id} && line == 'U4'");
        json!({ "watch": id, "path": "/v", "where": condition })
    };
    for round in 0..50 {
        for id in 10..14 {
            assert_eq!(session.ask(watch(id))["status"], 200, "round {round}");
        }
        assert_eq!(session.ask(watch(14))["limit"], "views_per_connection", "round {round}");
        assert_eq!(session.ask(json!({ "unwatch": [10, 11] }))["status"], 200);
        // The number is taken: the charge for the second is given back.
        let again = session.ask(watch(12));
        assert!(again["type"].as_str().unwrap().ends_with("link-in-use"), "{again}");
        assert_eq!(session.ask(json!({ "unwatch": [12, 13] }))["status"], 200);
    }
    drop(session);
    while server.metric("halfping_watched_places_bytes") > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_program_reads_and_watches_views() {
    let server = serve();
    let api = &server.api;
    server.write(&[FLEET]);
    let view = api.view("/v").filter("speed > 10").unwrap().filter("line == 'U4'").unwrap();
    let view = view.select("speed").unwrap();
    let read = view.read::<Value>().unwrap();
    assert_eq!(read.value, Some(json!({ "a": { "speed": 60 }, "c": { "speed": 50.0 } })));
    assert_eq!(read.cursor, api.read::<Value>("/v").unwrap().cursor);
    assert_eq!(api.view("/none").filter("true").unwrap().get::<Value>().unwrap(), None);
    let Err(Error::View(why)) = api.view("/v").filter("speed >") else { panic!("it is no view") };
    assert!(why.contains("column 8"), "{why}");
    let both = api.view("/v").select("/a").unwrap().filter("true").unwrap().get::<Value>();
    assert!(matches!(both, Err(Error::View(_))));

    common::runtime().block_on(async {
        let mut watch = view.watch::<Value>().unwrap();
        assert_eq!(watch.next().await.unwrap(), read.value);
        api.put("/v/a/speed", &1).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), Some(json!({ "c": { "speed": 50.0 } })));
    });
    let limited = serve_limited(|limits| limits.views = 0);
    let refused = limited.api.view("/v").filter("true").unwrap().watch::<Value>();
    assert!(matches!(refused, Err(Error::TooManyViews(_))));
}

#[test]
fn a_view_of_a_large_collection_is_read_and_streamed_in_parts() {
    let server = serve();
    let members: Vec<String> = (0..20_000)
        .map(|n| format!("\"{n}\":{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(20)))
        .collect();
    for part in members.chunks(4000) {
        server.write(&[&format!("MERGE /v {{{}}}", part.join(","))]);
    }
    let expect: Value = (0..10_000).map(|n| (n.to_string(), json!({ "n": n }))).collect();
    let view = target("/v", "n < 10000", "n");
    assert_eq!(get(&server, &view), expect);
    let mut stream = server.ndjson(&view);
    let mut seen = BTreeMap::new();
    loop {
        let Next::Frame(frame) = stream.next_within(common::raw::DEADLINE) else {
            panic!("no frame")
        };
        if frame.kind == "synced" {
            break;
        }
        let part: BTreeMap<String, Value> = serde_json::from_str(&frame.value.unwrap()).unwrap();
        seen.extend(part);
    }
    assert_eq!(serde_json::to_value(seen).unwrap(), expect);
    assert_eq!(server.metric("halfping_views"), 1);
}
