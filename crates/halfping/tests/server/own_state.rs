//! The server's own state, `/_server` (PROTOCOL O5 to O8, O17): read like any other resource, and
//! no part of the tree.

use std::time::{Duration, Instant};

use crate::common::raw::{Connection, DEADLINE};
use crate::common::session::{Mirrors, Phase, Session, Told, revision};
use crate::common::{self, Running, compare, runtime, serve, serve_with};
use halfping::{Api, Console, Limits, Options};
use serde_json::{Value, json};

fn serve_open() -> Running {
    serve_with(Options { console: Console::On, ..Options::default() })
}

/// Sends a request with a `Host` of its own.
fn ask_as(server: &Running, host: &str, short: &str) -> common::raw::Answer {
    let mut connection = Connection::open(server.address);
    connection.send(&common::raw::request(&format!("{short}\nHost: {host}")));
    connection.answer(false)
}

#[test]
fn it_is_read_like_any_other_resource() {
    // PROTOCOL O5, R1, R3, R5
    let server = serve_open();
    let mut talk = server.talk();
    talk.write(&["PUT /orders/1 {\"a\":1}"]);
    let all = talk.ask("GET /_server").json();
    for (name, is) in [
        ("version", Value::is_string as fn(&Value) -> bool),
        ("epoch", Value::is_string),
        ("revision", Value::is_u64),
        ("started", Value::is_u64),
        ("now", Value::is_u64),
        ("status", |v| v == "ok"),
        ("storage", |v| *v == json!({ "status": "none" })),
        ("tree", |v| v["bytes"] == 24 && v["names"].is_u64() && v["tombstones"] == 0),
        ("counts", |v| {
            v["connections"] == 1 && v["sessions"] == 0 && v["links"] == 0 && v["places"] == 0
        }),
        ("age_ms", |v| *v == json!({ "p50": null, "p99": null })),
        ("sessions", |v| *v == json!({})),
    ] {
        assert!(is(&all[name]), "{name} of {all}");
    }
    if cfg!(target_os = "linux") {
        assert!(all["memory_bytes"].as_u64().unwrap() > 1 << 20, "{all}");
    }
    let names = [
        "requests",
        "commands",
        "commits",
        "frames",
        "frames_shared",
        "conflated",
        "bytes_in",
        "bytes_out",
    ];
    for name in names {
        assert!(all["totals"][name].is_u64() && all["rates"][name].is_f64(), "{name} of {all}");
    }
    assert_eq!(all["totals"]["commits"], 1, "its own commits do not count");
    assert_eq!(all["limits"], serde_json::to_value(Limits::default()).unwrap());

    talk.check("GET /_server/totals/commits", "200\nETag: *\nContent-Type: application/json\n\n1");
    talk.check("GET /_server/none", "404 not-found");
    let limits = talk.ask("GET /_server/limits");
    talk.check(&format!("GET /_server/limits\nIf-None-Match: \"{}\"", limits.cursor()), "304");
    let shallow = talk.ask("GET /_server?depth=1").json();
    assert_eq!((&shallow["limits"], &shallow["status"]), (&json!({}), &json!("ok")));
    talk.check("HEAD /_server", "200\nETag: *");
    talk.check("OPTIONS /_server", "204\nAllow: GET, HEAD, OPTIONS");
    assert_eq!(server.api.get::<String>("/_server/status").unwrap().as_deref(), Some("ok"));
}

#[test]
fn it_is_no_part_of_the_tree() {
    // PROTOCOL O6, W5: a reader of the root is not told of it, and does not find it there.
    let server = serve_open();
    let mut root = server.ndjson("/?watch");
    root.expect(&["snapshot {}", "synced"]);
    let before = server.talk().ask("GET /").cursor();
    let mut own = server.ndjson("/_server/now?watch");
    let newest: Vec<u64> = (0..3)
        .map(|_| {
            loop {
                let frame = own.next();
                if let Some(value) = frame.value {
                    break value.parse().unwrap();
                }
            }
        })
        .collect();
    assert!(newest.is_sorted_by(|a, b| a < b), "{newest:?}");
    let answer = server.talk().ask("GET /");
    assert_eq!((answer.text(), answer.cursor()), ("{}", before));
    server.write(&["PUT /a 1"]);
    root.expect(&["snapshot {\"a\":1}"]);
}

#[test]
fn it_cannot_be_written() {
    // PROTOCOL O6, P4
    let server = serve_open();
    let mut talk = server.talk();
    let merge = "Content-Type: application/merge-patch+json";
    for short in [
        "PUT /_server\n\n1".to_owned(),
        "PUT /_server/status\n\n\"better\"".to_owned(),
        "POST /_server/sessions\n\n1".to_owned(),
        "DELETE /_server/sessions".to_owned(),
        format!("PATCH /_server\n{merge}\n\n{{}}"),
        format!("PATCH /\n{merge}\n\n{{\"_server\":{{\"status\":1}}}}"),
        "PUT /\n\n{\"_server\":1}".to_owned(),
    ] {
        talk.check(&short, "403 reserved-path");
    }
    let mut session = Session::open(server.address, "/");
    for command in [
        json!({ "put": "/_server/x", "value": 1 }),
        json!({ "merge": "/_server", "value": {} }),
        json!({ "delete": "/_server" }),
        json!({ "post": "/_server", "value": 1 }),
    ] {
        assert_eq!(session.ask(command.clone())["status"], 403, "{command}");
    }
}

#[test]
fn one_session_watches_both_and_resumes_the_tree() {
    // PROTOCOL O5, O17, L5, L6
    let server = serve_open();
    server.write(&["PUT /orders/1 1"]);
    let mut session = Session::open(server.address, "/");
    let mut mirrors = Mirrors::new(false);
    (1..=3).for_each(|link| mirrors.open(link, Phase::Open));
    session.say(
        &json!({ "watch": [[1, "/orders"], [2, "/_server/counts"], [3, "/_server/revision"]] }),
    );
    while !mirrors.take(&session.state()) {}
    assert_eq!(mirrors.views[&1].value, Some(json!({ "1": 1 })));
    assert_eq!(session.ask(json!({ "get": "/_server/status" }))["value"], "ok");
    // The links of this session are counted a second later.
    let until = Instant::now() + DEADLINE;
    while mirrors.views[&2].value.as_ref().unwrap()["links"] != 3 {
        assert!(Instant::now() < until, "{mirrors:?}");
        mirrors.take(&session.state());
    }
    server.write(&["PUT /orders/2 2"]);
    while mirrors.views[&1].value.as_ref().unwrap()["2"] != 2 {
        mirrors.take(&session.state());
    }
    while !mirrors.take(&session.state()) {}
    let cursor = mirrors.synced.clone().unwrap();
    drop(session);
    mirrors.cut();

    server.write(&["PUT /orders/3 3"]);
    let mut session = Session::open(server.address, "/");
    session.say(&json!({ "watch": [[1, "/orders"], [2, "/_server/counts"], [3, "/_server/revision"]], "since": cursor }));
    let message = session.state();
    let of_orders = message["set"].as_array().unwrap().iter().find(|set| set[0] == 1).unwrap();
    assert_eq!(
        *of_orders,
        json!([1, "merge", { "3": 3 }]),
        "what changed since, and no more: {message}"
    );
    let mut messages = vec![message];
    while !mirrors.take(messages.last().unwrap()) {
        messages.push(session.state());
    }
    assert_eq!(mirrors.views[&1].value, Some(json!({ "1": 1, "2": 2, "3": 3 })));
    let mut sets =
        messages.iter().flat_map(|message| message["set"].as_array().into_iter().flatten());
    for link in [2, 3] {
        let first = sets.clone().find(|set| set[0] == link).unwrap();
        assert_eq!(first[1], "snapshot", "it is sent whole: {first}");
    }
    assert!(sets.all(|set| set[0] != 1 || set[1] == "merge"));
}

#[test]
fn it_is_looked_up_only_while_somebody_looks() {
    // PROTOCOL O7, O17: each look is a commit of the own state, also the one that a `GET` makes.
    // Nothing else takes a revision of it.
    let server = serve_open();
    let mut talk = server.talk();
    let mut looks = || revision(&talk.ask("GET /_server?depth=0").cursor());
    let of_tree = server.metric("halfping_revision");
    let before = looks();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(looks(), before + 1, "nobody looked");
    std::thread::sleep(Duration::from_millis(150));
    let mut own = server.sse("/_server/now");
    let first = revision(own.until_synced()[0].cursor().unwrap());
    assert_eq!(first, before + 2, "the first look is at once");
    own.next();
    drop(own);
    let until = Instant::now() + DEADLINE;
    while server.metric("halfping_links") > 0 {
        assert!(Instant::now() < until, "the stream is not closed");
    }
    std::thread::sleep(Duration::from_millis(1100));
    let after = looks();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(looks(), after + 1, "nobody looks any more");
    // Many requests at once cost as much as a few.
    let began = Instant::now();
    let made = (0..200).map(|_| looks()).last().unwrap() - after;
    assert!((1..=2 + began.elapsed().as_millis() as u64 / 100).contains(&made), "{made} looks");
    assert_eq!(server.metric("halfping_revision"), of_tree);
}

#[test]
fn a_long_poll_waits_for_the_next_look() {
    // PROTOCOL O5, R4
    let server = serve_open();
    let mut talk = server.talk();
    let first = talk.ask("GET /_server/now");
    let next = talk
        .ask(&format!("GET /_server/now\nIf-None-Match: \"{}\"\nPrefer: wait=5", first.cursor()));
    assert_eq!(next.status, 200);
    assert!(next.text().parse::<u64>().unwrap() > first.text().parse::<u64>().unwrap());
}

#[test]
fn many_paths_of_both_kinds_are_one_stream() {
    // PROTOCOL O5, M1
    let server = serve_open();
    let mut stream = server.stream("GET /_streams?path=/a&path=/_server/status");
    stream.expect(&["/a gone", "/_server/status snapshot \"ok\"", "synced"]);
    server.write(&["PUT /a 1"]);
    stream.expect(&["/a snapshot 1"]);
    server.talk().check("GET /_streams?path=/_health", "403 reserved-path");
}

fn epoch(cursor: &str) -> &str {
    cursor.split_once('.').unwrap().0
}

#[test]
fn its_cursors_are_good_for_it_and_as_good_as_none_elsewhere() {
    // PROTOCOL O17, C5, R3, S8, W6
    let server = serve_open();
    let mut talk = server.talk();
    talk.write(&["PUT /a {\"x\":1}"]);
    let version = talk.ask("GET /_server/version");
    let (own, tree) = (version.cursor(), talk.ask("GET /a").cursor());
    assert_ne!(epoch(&own), epoch(&tree));
    assert_eq!(talk.ask("GET /_server/epoch").json(), epoch(&tree), "it tells that of the tree");
    for (at, cursor, status) in [
        ("/_server/version", &own, 304),
        ("/_server/version", &tree, 200),
        ("/_server/none", &talk.ask("GET /_server/none").cursor(), 304),
        ("/a", &own, 200),
        ("/a", &tree, 304),
    ] {
        let answer = talk.ask(&format!("GET {at}\nIf-None-Match: \"{cursor}\""));
        assert_eq!(answer.status, status, "{at} since {cursor}");
    }
    assert_eq!(talk.ask(&format!("PUT /a\nIf-Match: \"{own}\"\n\n2")).status, 412);
    let mut session = Session::open(server.address, "/");
    assert_eq!(session.ask(json!({ "get": "/_server/version" }))["rev"], json!(own));
    assert_eq!(session.ask(json!({ "put": "/a", "value": 2, "if": own }))["status"], 412);
    let sent = |at: &str, since: &str| {
        let frames = server.sse(&format!("{at}?since={since}")).until_synced();
        assert!(frames.iter().all(|frame| frame.id == frames[0].id), "{frames:?}");
        frames.into_iter().map(|frame| (frame.kind, frame.id.unwrap())).collect::<Vec<_>>()
    };
    let first = ("snapshot".to_owned(), own.clone());
    for since in [&own, &tree] {
        assert_eq!(sent("/_server/version", since)[0], first, "since {since}");
    }
    assert_eq!(sent("/a", &own)[0], ("snapshot".to_owned(), tree.clone()));
    assert_eq!(sent("/a", &tree)[0], ("synced".to_owned(), tree.clone()));
}

#[test]
fn a_stream_of_both_kinds_has_one_cursor_which_is_the_trees() {
    // PROTOCOL O17, M2
    let server = serve_open();
    server.write(&["PUT /a {\"x\":1,\"y\":1}"]);
    let streams = "GET /_streams?path=/a&path=/_server/version";
    let frames = server.stream(streams).until_synced();
    let [Some(tree), Some(own), Some(synced)] =
        [0, 1, 2].map(|nth: usize| frames[nth].rev.as_deref())
    else {
        panic!("{frames:?}")
    };
    assert_eq!((epoch(tree), epoch(tree) == epoch(own)), (epoch(synced), false));
    assert_eq!(frames[1].resume.as_deref(), Some(synced));
    let status = frames[1].show();
    server.write(&["PUT /a {\"x\":2,\"y\":1}"]);
    server.stream(&format!("{streams}&since={synced}")).expect(&[
        "/a merge {\"x\":2}",
        &status,
        "synced",
    ]);
    server.stream(&format!("{streams}&since={own}")).expect(&[
        "/a snapshot {\"x\":2,\"y\":1}",
        &status,
        "synced",
    ]);
}

#[test]
fn a_link_into_it_that_waits_for_its_rate_holds_back_no_cursor() {
    // PROTOCOL O17, L6
    let server = serve_open();
    server.write(&["PUT /a 1"]);
    let mut session = Session::open(server.address, "/");
    session
        .say(&json!([{ "watch": 1, "path": "/a" }, { "watch": 2, "path": "/_server/now", "rate": 0.001 }]));
    let first = session.state();
    assert_eq!(first["synced"], true, "{first}");
    let shown = first["set"].as_array().unwrap().iter().find(|set| set[0] == 2).unwrap()[2].clone();
    // It has something to tell, and will not for a quarter of an hour.
    let mut talk = server.talk();
    let until = Instant::now() + DEADLINE;
    while talk.ask("GET /_server/now").json() == shown {
        assert!(Instant::now() < until, "nobody looks");
    }
    let written = server.write(&["PUT /a 2"])[0].cursor();
    let next = session.state();
    assert_eq!((&next["set"], &next["synced"]), (&json!([[1, "snapshot", 2]]), &json!(true)));
    assert_eq!(next["rev"], json!(written), "all of the tree has been told");
}

#[test]
fn cursors_of_a_durable_server_advance_by_one_while_it_is_watched() {
    // PROTOCOL C1, C3, O17
    let folder = std::env::temp_dir().join(format!("halfping-own-{}", std::process::id()));
    runtime().block_on(async {
        let mut last = None;
        for _ in 0..2 {
            let options = Options { console: Console::On, ..Options::default() };
            let (api, restored) = Api::open(&folder, options, |_| {}).unwrap();
            assert!(last.is_none_or(|last| restored.revision == last));
            let mut own = api.watch::<u64>("/_server/now").unwrap();
            for _ in 0..2 {
                // A look, and perhaps more while the disk is at it.
                own.next().await.unwrap().unwrap();
                let written = api.put("/a", &last).await.unwrap();
                let next = revision(&written.cursor);
                assert!(last.is_none_or(|last| next == last + 1), "{next} after {last:?}");
                last = Some(next);
            }
            api.close().await;
        }
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Waits until the state is as expected.
#[track_caller]
fn until(server: &Running, is: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + DEADLINE;
    loop {
        let all = server.talk().ask("GET /_server").json();
        if is(&all) {
            return all;
        }
        assert!(Instant::now() < until, "{all}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn only(sessions: &Value) -> &Value {
    let sessions = sessions.as_object().unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    sessions.values().next().unwrap()
}

#[test]
fn a_session_is_shown_with_its_links() {
    // PROTOCOL O5
    let server = serve_open();
    let mut session = Session::open(server.address, "/");
    session.ask(json!({ "watch": 7, "path": "/a/b c", "depth": 2, "rate": 4, "priority": 1 }));
    session.ask(json!({ "watch": 8, "path": "/a" }));
    server.write(&["PUT /a/x 1"]);
    session.state();
    let all = until(&server, |all| only(&all["sessions"])["frames"] == 3);
    let shown = only(&all["sessions"]);
    assert_eq!(shown["transport"], "websocket");
    assert_eq!(shown["remote"], session.stream().local_addr().unwrap().to_string());
    assert!(shown["since"].as_u64().unwrap() >= all["started"].as_u64().unwrap());
    assert!(shown["bytes"].as_u64().unwrap() > 100, "{shown}");
    assert_eq!(
        (&shown["links_total"], &shown["behind"], &shown["age_ms"]),
        (&json!(2), &json!(false), &json!(0))
    );
    let links = json!({
        "7": { "path": "/a/b%20c", "depth": 2, "rate": 4.0, "priority": 1, "behind": false },
        "8": { "path": "/a", "behind": false },
    });
    assert_eq!(shown["links"], links);
    session.close();
    until(&server, |all| all["sessions"] == json!({}));

    let mut stream = server.ndjson("/a?watch");
    stream.until_synced();
    let all = until(&server, |all| !all["sessions"].as_object().unwrap().is_empty());
    let shown = only(&all["sessions"]);
    assert_eq!(
        (&shown["transport"], &shown["links"]),
        (&json!("ndjson"), &json!({ "0": { "path": "/a", "behind": false } }))
    );
}

#[test]
fn who_is_behind_is_shown_with_how_long_its_oldest_change_waits() {
    // PROTOCOL O5
    let server = serve_open();
    server.write(&["PUT /a 0", "PUT /b 0"]);
    let mut session = Session::open(server.address, "/");
    session.ask(json!({ "watch": [[1, "/a"], [2, "/b"]] }));
    session.state();
    // Less credit than any message needs: nothing more is told until the last message is confirmed,
    // which never happens.
    session.ask(json!({ "credit": 1 }));
    server.write(&["PUT /a 1"]);
    session.state();
    let began = Instant::now();
    server.write(&["PUT /a 2"]);
    std::thread::sleep(Duration::from_millis(300));
    server.write(&["PUT /a 3", "PUT /a 4"]);
    let all = until(&server, |all| only(&all["sessions"])["behind"] == true);
    let shown = only(&all["sessions"]);
    let (age, waited) = (shown["age_ms"].as_u64().unwrap(), began.elapsed().as_millis() as u64);
    assert!(age >= 300 && age <= waited + 1, "{age} ms of {waited}");
    assert_eq!(
        (&shown["links"]["1"]["behind"], &shown["links"]["2"]["behind"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(shown["conflated"], 0);
    session.say(&json!({ "credit": 0 }));
    session.state();
    let all = until(&server, |all| only(&all["sessions"])["behind"] == false);
    let shown = only(&all["sessions"]);
    assert_eq!((&shown["age_ms"], &shown["conflated"]), (&json!(0), &json!(2)));
}

#[test]
fn rates_and_ages_are_those_of_the_last_second() {
    // PROTOCOL O5
    let server = serve_open();
    let mut stream = server.ndjson("/a?watch");
    stream.until_synced();
    let mut own = Session::open(server.address, "/");
    own.say(&json!({ "watch": [[1, "/_server/rates"], [2, "/_server/age_ms"]] }));
    let mut mirrors = Mirrors::new(false);
    (1..=2).for_each(|link| mirrors.open(link, Phase::Open));
    mirrors.take(&own.state());
    let until = Instant::now() + DEADLINE;
    let mut n = 0;
    loop {
        n += 1;
        server.write(&[&format!("PUT /a {n}")]);
        stream.expect(&[&format!("snapshot {n}")]);
        if let Told::Message(message) = own.next_within(Duration::from_millis(20)) {
            mirrors.take(&message);
        }
        let (rates, ages) =
            (mirrors.views[&1].value.clone().unwrap(), mirrors.views[&2].value.clone().unwrap());
        if rates["commits"].as_f64() > Some(5.0) && rates["frames"].as_f64() > Some(5.0) {
            assert!(rates["commits"].as_f64().unwrap() < 60.0, "{rates}");
            assert!(ages["p50"].is_u64() && ages["p99"].as_u64() >= ages["p50"].as_u64(), "{ages}");
            break;
        }
        assert!(Instant::now() < until, "{rates}");
    }
}

#[test]
fn it_is_off_unless_asked_for() {
    // PROTOCOL O8
    let server = serve();
    let mut talk = server.talk();
    let before = server.metric("halfping_revision");
    for short in [
        "GET /_server",
        "GET /_server/rates",
        "GET /_server?watch",
        "HEAD /_server",
        "GET /_streams?path=/_server",
    ] {
        talk.check(short, "404 not-found\n\n--console on");
    }
    talk.check("PUT /_server\n\n1", "403 reserved-path");
    let mut session = Session::open(server.address, "/");
    let refused = session.ask(json!({ "watch": 1, "path": "/_server" }));
    assert_eq!((&refused["status"], &refused["link"]), (&json!(404), &json!(1)));
    assert_eq!(session.ask(json!({ "get": "/_server" }))["status"], 404);
    assert!(Session::try_open(server.address, "/_server?watch").is_err());
    assert_eq!(server.metric("halfping_revision"), before);
}

#[test]
fn on_loopback_it_is_for_those_who_call_this_machine_by_its_own_names() {
    // PROTOCOL O8: a page of another site may make its own name lead here.
    let server = serve_with(Options { console: Console::Loopback, ..Options::default() });
    for host in ["localhost", "127.0.0.1:7070", "[::1]:7070"] {
        assert_eq!(ask_as(&server, host, "GET /_server/status").text(), "\"ok\"", "{host}");
    }
    let evil = ask_as(&server, "evil.example", "GET /_server");
    compare("GET /_server", &evil, "404 not-found\n\nlocalhost", false);
    let page = ask_as(&server, "localhost", "GET /_server\nOrigin: https://evil.example");
    assert_eq!(page.status, 404);
    assert_eq!(ask_as(&server, "evil.example", "GET /").status, 200, "the rest is for everybody");
    assert_eq!(ask_as(&server, "evil.example", "GET /_streams?path=/_server").status, 404);
    // A session keeps the rights that it had when it was opened.
    let stream = |host: &str| {
        let stream = std::net::TcpStream::connect(server.address).unwrap();
        let address = format!("{host}:{}", server.address.port());
        Session::named(stream, &address, "/")
    };
    let watch = json!({ "watch": 1, "path": "/_server/status" });
    assert_eq!(stream("evil.example").ask(watch.clone())["status"], 404);
    assert_eq!(stream("localhost").ask(watch)["status"], 200);
}

#[test]
fn a_stream_of_it_is_told_what_differs() {
    // PROTOCOL O5, O7, S4: a second later, only the changes are told.
    let server = serve_open();
    let mut own = server.sse("/_server");
    let first: Value = serde_json::from_str(&own.next().value.unwrap()).unwrap();
    assert_eq!(own.next().kind, "synced");
    let mut state = first.clone();
    for _ in 0..2 {
        let frame = own.next();
        assert_eq!(frame.kind, "merge");
        let patch: Value = serde_json::from_str(&frame.value.unwrap()).unwrap();
        assert!(patch.get("limits").is_none() && patch.get("now").is_some(), "{patch}");
        json_patch::merge(&mut state, &patch);
    }
    let shown = only(&state["sessions"]);
    assert_eq!(
        (&shown["transport"], &shown["links"]["0"]["path"]),
        (&json!("sse"), &json!("/_server"))
    );
    assert!(state["now"].as_u64().unwrap() - first["now"].as_u64().unwrap() >= 1500);
}
