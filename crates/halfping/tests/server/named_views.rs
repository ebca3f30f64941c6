//! Named views: read at a URL of their own by every way, and never written.

use std::collections::BTreeMap;

use crate::common::session::Session;
use crate::common::{self, Running, serve_with};
use halfping::{Console, Error, Limits, NamedView, NamedViews, Options};
use serde_json::{Value, json};

const FLEET: &str = concat!(
    r#"PUT /v {"a":{"line":"U4","speed":60},"b":{"line":"U6","speed":20},"#,
    r#""c":{"line":"U4","speed":70}}"#,
);

/// A server with the views /top, /many and /lines/u4 of /v.
fn running() -> Running {
    let view = |path: &str| NamedView {
        path: path.to_owned(),
        from: "/v".to_owned(),
        ..NamedView::default()
    };
    let text = |text: &str| Some(text.to_owned());
    let top =
        NamedView { order: text("-speed"), limit: Some(2), select: text("speed"), ..view("/top") };
    let views = [
        top,
        NamedView { count: true, ..view("/many") },
        NamedView { condition: text("line == 'U4'"), ..view("/lines/u4") },
    ];
    let views = NamedViews::new(&views, &Limits::default()).unwrap();
    let server = serve_with(Options { views, console: Console::On, ..Options::default() });
    server.write(&[FLEET]);
    server
}

#[test]
fn a_named_view_is_read_as_any_resource_is() {
    // PROTOCOL Q16
    let server = running();
    let mut talk = server.talk();
    let cursor = talk.ask("GET /v").cursor();
    for (target, shown) in [
        ("/top", json!({ "a": { "speed": 60 }, "c": { "speed": 70 } })),
        ("/top?depth=1", json!({ "a": {}, "c": {} })),
        ("/top?as=list", json!([["c", { "speed": 70 }], ["a", { "speed": 60 }]])),
        // Among those that are wanted, the first are shown.
        ("/top?where=line=='U6'", json!({ "b": { "speed": 20 } })),
        ("/many", json!(3)),
        ("/many?where=line=='U6'", json!(1)),
        ("/lines/u4?where=speed%3E60", json!({ "c": { "line": "U4", "speed": 70 } })),
    ] {
        let answer = talk.ask(&format!("GET {target}"));
        assert_eq!((answer.status, answer.json()), (200, shown), "{target}");
        assert_eq!(answer.cursor(), cursor, "{target}");
        talk.check(&format!("HEAD {target}"), "200\n!Content-Length");
        talk.check(&format!("GET {target}\nIf-None-Match: \"{cursor}\""), "304");
    }
    let mut session = Session::open(server.address, "/top?watch");
    let two = json!({ "a": { "speed": 60 }, "c": { "speed": 70 } });
    assert_eq!(session.next()["set"], json!([[0, "snapshot", two]]));
    assert_eq!(session.ask(json!({ "get": "/many" }))["value"], 3);
    session.ask(json!({ "watch": [[1, "/many"], [2, "/lines/u4"]], "depth": 1 }));
    let mut set = session.next()["set"].as_array().unwrap().clone();
    set.sort_by_key(|update| update[0].as_u64());
    assert_eq!(json!(set), json!([[1, "snapshot", 3], [2, "snapshot", { "a": {}, "c": {} }]]));

    server.write(&["DELETE /v"]);
    talk.check("GET /top", "404 not-found");
}

#[test]
fn a_named_view_is_streamed_beside_others_and_resumes() {
    // PROTOCOL Q16, M1
    let server = running();
    let mut many = server.ndjson("/_streams?path=/top&path=/many&path=/v/b");
    let two = r#"{"c":{"speed":70},"a":{"speed":60}}"#;
    let mut frames = many.until_synced();
    let cursor = frames.pop().unwrap().rev.unwrap();
    let mut shown: Vec<String> = frames.iter().map(common::raw::Frame::show).collect();
    shown.sort();
    let expect = [
        "/many snapshot 3".to_owned(),
        format!("/top snapshot {two}"),
        r#"/v/b snapshot {"line":"U6","speed":20}"#.to_owned(),
    ];
    assert_eq!(shown, expect);
    server.write(&["PUT /v/a/line 1", "PUT /v/d {\"speed\":80}"]);
    // One frame for each, in any order.
    let mut kinds: BTreeMap<String, Value> = BTreeMap::new();
    while kinds.len() < 2 {
        let frame = many.next();
        let value = serde_json::from_str(frame.value.as_deref().unwrap()).unwrap();
        kinds.insert(frame.path.unwrap(), value);
    }
    assert_eq!(kinds["/many"], 4);
    assert_eq!(kinds["/top"]["d"], json!({ "speed": 80 }));

    let mut top = server.sse(&format!("/top?since={cursor}&rate=1000"));
    let first = top.next();
    let change: Value = serde_json::from_str(first.value.as_deref().unwrap()).unwrap();
    assert_eq!(change["d"], json!({ "speed": 80 }), "{}", first.raw);
    let mut whole = server.ndjson("/top?watch&delta=false&as=list");
    whole.expect(&[r#"snapshot [["d",{"speed":80}],["c",{"speed":70}]]"#, "synced"]);
    server.talk().check("GET /_streams?path=/top&path=/top/", "400 bad-parameter\n\ntwice");
    let text = json!([{ "watch": 1, "path": "/top" }, { "watch": 2, "path": "/top/a" }]);
    let mut once = server.stream(&format!("POST /_streams\n\n{text}"));
    let messages = [once.message(), once.message()].map(|message| message.to_string()).concat();
    assert!(messages.contains(r#""speed":80"#) && messages.contains("not-found"), "{messages}");
    let links = server.talk().ask("GET /_server/sessions?select=links");
    assert!(
        links.text().contains(r#""view":"limit=2&order=-speed&select=speed""#),
        "{}",
        links.text()
    );
}

#[test]
fn a_named_view_leaves_no_room_for_another_shape() {
    // PROTOCOL Q16
    let server = running();
    let mut talk = server.talk();
    let mut session = Session::open(server.address, "/");
    for (query, name) in [
        ("select=line", "select"),
        ("order=line&limit=1", "order"),
        ("limit=1", "limit"),
        ("count", "count"),
    ] {
        let says = format!(
            "400 bad-view\n\n'{name}' cannot be asked of /top\na 'where' can be added, before"
        );
        talk.check(&format!("GET /top?{query}"), &says);
        talk.check(&format!("GET /top?watch&{query}"), &says);
        talk.check(&format!("GET /_streams?path=/top&{query}"), &says);
    }
    let answer = session.ask(json!({ "watch": [[1, "/top"], [2, "/v"]], "limit": 1 }));
    assert!(answer["detail"].as_str().unwrap().contains("of /top"), "{answer}");
    assert_eq!(answer["link"], 1);
    // The other is opened all the same.
    assert_eq!(session.next()["set"][0][0], 2);
    talk.check("GET /many?as=list", "400 bad-view\n\nleave out 'as'");
    talk.check("GET /top?watch&as=list", "400 bad-view\n\nadd delta=false");
}

#[test]
fn nothing_is_beneath_a_named_view_and_nothing_is_written_there() {
    // PROTOCOL Q16
    let server = running();
    let mut talk = server.talk();
    talk.check("GET /top/a", "404 not-found\n\nread /v/a");
    talk.check("GET /lines/u4/a/speed?watch", "404 not-found\n\nread /v/a/speed");
    talk.check("GET /_streams?path=/v&path=/top/a", "404 not-found\n\nread /v/a");
    for (path, instead) in [
        ("/top", "write to the members of /v\""),
        ("/top/a", "write to /v/a\""),
        ("/lines/u4/a/speed", "write to /v/a/speed\""),
    ] {
        for method in ["PUT", "PATCH", "POST", "DELETE"] {
            let body = if method == "DELETE" { "" } else { "\n\n{}" };
            let expect = format!("405 read-only\nAllow: GET, HEAD, OPTIONS\n\n{instead}");
            talk.check(&format!("{method} {path}{body}"), &expect);
        }
        talk.check(&format!("OPTIONS {path}"), "204\nAllow: GET, HEAD, OPTIONS");
    }
    let mut session = Session::open(server.address, "/");
    for command in [
        json!({ "put": "/top", "value": 1 }),
        json!({ "merge": "/top/a", "value": {} }),
        json!({ "delete": "/many" }),
        json!({ "post": "/lines/u4", "value": 1 }),
    ] {
        let answer = session.ask(command.clone());
        assert_eq!(answer["status"], 405, "{command}: {answer}");
    }
    // What the tree has there is read from above only.
    server.write(&[r#"MERGE / {"top":{"x":1}}"#, "PUT /lines/u6 2"]);
    assert_eq!(
        talk.ask("GET /?depth=2&select=/top,/lines").json(),
        json!({ "top": { "x": 1 }, "lines": { "u6": 2 } })
    );
    assert_eq!(talk.ask("GET /top").json()["c"], json!({ "speed": 70 }));
    assert_eq!(talk.ask("GET /lines").json(), json!({ "u6": 2 }));
}

#[test]
fn a_program_reads_named_views_and_does_not_write_them() {
    // PROTOCOL Q16
    let server = running();
    let api = &server.api;
    assert_eq!(api.get::<u64>("/many").unwrap(), Some(3));
    let u6 = api.view("/top").filter("line == 'U6'").unwrap();
    assert_eq!(u6.get::<Value>().unwrap(), Some(json!({ "b": { "speed": 20 } })));
    let top = api.view("/top").list().get::<Vec<(String, Value)>>().unwrap().unwrap();
    assert_eq!(top.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    assert!(matches!(api.view("/top").limit(1).unwrap().get::<Value>(), Err(Error::View(_))));
    let Err(Error::View(why)) = api.watch::<Value>("/top/a").map(drop) else { panic!("a watch") };
    assert!(why.contains("read /v/a"), "{why}");
    common::runtime().block_on(async {
        let mut many = api.watch::<u64>("/many").unwrap();
        assert_eq!(many.next().await.unwrap(), Some(3));
        api.delete("/v/a").await.unwrap();
        assert_eq!(many.next().await.unwrap(), Some(2));
        let Err(Error::ReadOnly(why)) = api.put("/top/a", &1).await else { panic!("a write") };
        assert!(why.contains("write to /v/a"), "{why}");
        // A condition on the cursor of a view is one on that of its resource.
        let read = api.read::<Value>("/top").unwrap();
        api.put("/v", &json!({})).if_unchanged(&read).await.unwrap();
        assert!(api.put("/v", &json!({ "x": 1 })).if_unchanged(&read).await.is_err());
    });
}
