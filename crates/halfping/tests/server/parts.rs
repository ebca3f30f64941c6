//! Parts: who may see some of a resource is shown just that, by every way to read (PROTOCOL I21 to
//! I25).

use crate::common::Running;
use crate::common::identity::{
    NOBODY, admin, ask, bearer, check, put, serve_auth, token, token_for,
};
use serde_json::{Value, json};

/// Own orders without their margin; own teams; administrators see all but margins.
const RULES: &str = r#"
    [[rule]]
    allow = ["read"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub"

    [[rule]]
    deny = ["read"]
    path = "/orders/{order}/margin"
    unless = "'finance' in claims.roles"

    [[rule]]
    allow = ["read"]
    path = "/teams/{team}"
    when = "team in claims.teams"

    [[rule]]
    allow = ["read", "write"]
    path = "/"
    when = "'admin' in claims.roles"

    [[rule]]
    allow = ["read"]
    path = "/_metrics"
"#;

/// Own orders, and nothing else.
const OWN: &str = r#"
    [[rule]]
    allow = ["read"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub"
"#;

fn orders() -> Value {
    json!({
        "1": { "owner": "u1", "total": 5, "margin": 1 },
        "2": { "owner": "u2", "total": 7, "margin": 2 },
        "3": { "owner": "u1", "total": 9, "margin": 3, "lines": { "a": { "n": 1 } } },
    })
}

fn serve(rules: &str) -> Running {
    let server = serve_auth("", rules);
    put(&server, "/orders", &orders());
    put(&server, "/teams", &json!({ "red": { "n": 1 }, "blue": { "n": 2 } }));
    put(&server, "/other", &json!(1));
    server
}

fn u1() -> String {
    bearer(&token("u1"))
}

#[track_caller]
fn value(server: &Running, path: &str, header: &str) -> Value {
    let answer = ask(server, &format!("GET {path}"), header);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[test]
fn a_resource_and_those_above_and_beneath_show_the_part_that_may_be_seen() {
    // PROTOCOL I21, I22
    let server = serve(RULES);
    let own = json!({
        "1": { "owner": "u1", "total": 5 },
        "3": { "owner": "u1", "total": 9, "lines": { "a": { "n": 1 } } },
    });
    assert_eq!(value(&server, "/orders", &u1()), own);
    assert_eq!(value(&server, "/", &u1()), json!({ "orders": own }));
    assert_eq!(value(&server, "/orders?depth=1", &u1()), json!({ "1": {}, "3": {} }));
    assert_eq!(value(&server, "/orders/1", &u1()), own["1"]);
    assert_eq!(value(&server, "/orders/3/lines/a/n", &u1()), 1);
    let team = bearer(&token_for("u3", 3600, json!({ "teams": ["red"] })));
    assert_eq!(value(&server, "/teams", &team), json!({ "red": { "n": 1 } }));
    assert_eq!(value(&server, "/", &team), json!({ "orders": {}, "teams": { "red": { "n": 1 } } }));
    let finance = bearer(&token_for("u1", 3600, json!({ "roles": ["finance"] })));
    assert_eq!(value(&server, "/orders/1", &finance), orders()["1"]);
    let all = value(&server, "/", &admin());
    assert_eq!((&all["other"], &all["orders"]["2"]["margin"]), (&json!(1), &Value::Null));
    for (path, expect) in [("/other", "403 forbidden"), ("/orders/1/margin", "403 forbidden")] {
        check(&server, &format!("GET {path}"), &u1(), expect);
    }
    check(&server, "GET /other", NOBODY, "401 unauthorized");
}

#[test]
fn what_is_hidden_is_answered_as_what_is_not_there() {
    // PROTOCOL I22
    let server = serve(RULES);
    let answers = |path: &str| {
        let mut answers = Vec::new();
        for short in ["GET {}", "HEAD {}", "GET {}\nIf-None-Match: *", "GET {}\nPrefer: wait=0"] {
            let short = short.replace("{}", path);
            let (line, more) = short.split_once('\n').unwrap_or((&short, "X-None: 1"));
            let answer = ask(&server, &format!("{line}\n{more}"), &u1());
            let text = String::from_utf8_lossy(&answer.body).replace(path, "PATH");
            answers.push((answer.status, text, answer.header("etag").map(str::to_owned)));
        }
        let text = format!("/_streams?path={path}");
        let mut stream = server.stream(&format!("GET {text}\n{}", u1()));
        answers.push((200, stream.next().show().replace(path, "PATH"), None));
        answers
    };
    for (hidden, absent) in [("/orders/2", "/orders/9"), ("/orders/2/lines/a", "/orders/9/lines/a")]
    {
        let hidden = answers(hidden);
        assert_eq!(hidden, answers(absent));
        assert_eq!(hidden[0].0, 404, "{hidden:?}");
        assert_eq!(hidden[1].0, 404, "{hidden:?}");
    }
    check(&server, "HEAD /orders/1", &u1(), "200\n!Content-Length");
    let tag = ask(&server, "GET /orders/1", &u1()).header("etag").unwrap().to_owned();
    check(&server, &format!("GET /orders/1\nIf-None-Match: {tag}"), &u1(), "304");
    put(&server, "/orders/2/total", &json!(8));
    check(&server, &format!("GET /orders/1\nIf-None-Match: {tag}"), &u1(), "304");
    put(&server, "/orders/1/total", &json!(6));
    check(&server, &format!("GET /orders/1\nIf-None-Match: {tag}"), &u1(), "200");
}

#[test]
fn a_stream_tells_what_comes_into_sight_and_what_goes_and_resumes() {
    // PROTOCOL I23, I27
    let server = serve(RULES);
    let mut stream = server.stream(&format!("GET /orders?watch\n{}", u1()));
    let mut above = server.stream(&format!("GET /?watch\n{}", u1()));
    stream.until_synced();
    above.until_synced();
    put(&server, "/orders/2/total", &json!(8));
    put(&server, "/other", &json!(2));
    put(&server, "/orders/1/margin", &json!(4));
    put(&server, "/orders/1/owner", &json!("u2"));
    let gone = stream.next();
    assert_eq!(gone.show(), r#"merge {"1":null}"#);
    assert_eq!(above.next().show(), r#"merge {"orders":{"1":null}}"#);
    put(&server, "/orders/2/owner", &json!("u1"));
    // It may have been there with more in it.
    let come = r#""value":{"owner":"u1","total":8}}]"#;
    assert_eq!(stream.next().show(), format!(r#"patch [{{"op":"add","path":"/2",{come}"#));
    assert_eq!(above.next().show(), format!(r#"patch [{{"op":"add","path":"/orders/2",{come}"#));
    put(&server, "/orders/2", &json!(null));
    assert_eq!(stream.next().show(), r#"merge {"2":null}"#);
    put(&server, "/orders/3/total", &json!(10));
    let cursor = gone.cursor().unwrap();
    let mut back = server.stream(&format!("GET /orders?watch&since={cursor}\n{}", u1()));
    assert_eq!(back.next().show(), r#"merge {"3":{"total":10},"2":null}"#);
}

#[test]
fn a_session_follows_members_that_come_into_sight_and_go() {
    // PROTOCOL I23, I24
    let server = serve(RULES);
    let mut session = server.session("/");
    let identity = session.ask(json!({ "auth": token("u1") }));
    assert_eq!(identity["identity"]["sub"], "u1");
    session.ask(json!({ "watch": [[1, "/orders/1"], [2, "/orders/2"], [3, "/orders/3/lines/a"]] }));
    let mut set = session.state()["set"].as_array().unwrap().clone();
    set.sort_by_key(|update| update[0].as_u64());
    let first = json!({ "owner": "u1", "total": 5 });
    assert_eq!(set[0], json!([1, "snapshot", first]));
    assert_eq!((&set[1][1], &set[2]), (&json!("gone"), &json!([3, "snapshot", { "n": 1 }])));
    put(&server, "/orders/2/total", &json!(8));
    put(&server, "/orders/2/owner", &json!("u1"));
    assert_eq!(session.state()["set"], json!([[2, "snapshot", { "owner": "u1", "total": 8 }]]));
    put(&server, "/orders/3/owner", &json!("u2"));
    assert_eq!(session.state()["set"][0][1], "gone");
    assert_eq!(session.ask(json!({ "get": "/orders/3" }))["status"], 404);
    assert_eq!(session.ask(json!({ "get": "/orders/1" }))["value"], first);
    // Another identity sees another part: the links end, and may be opened again.
    let mut told = vec![session.ask(json!({ "auth": token("u2") }))];
    while told.iter().filter(|message| message["error"].is_object()).count() < 3 {
        told.push(session.next());
    }
    session.ask(json!({ "watch": [[1, "/orders/3/total"]] }));
    assert_eq!(session.state()["set"], json!([[1, "snapshot", 9]]));
}

#[test]
fn members_that_may_be_seen_can_be_filtered_sorted_and_counted() {
    // PROTOCOL I25
    let server = serve(OWN);
    for (target, shown) in [
        ("/orders?order=-total&limit=1&select=total", json!({ "3": { "total": 9 } })),
        ("/orders?count", json!(2)),
        ("/orders?where=total%3E5&select=total", json!({ "3": { "total": 9 } })),
        (
            "/orders?as=list&order=total&select=total",
            json!([["1", { "total": 5 }], ["3", { "total": 9 }]]),
        ),
    ] {
        assert_eq!(value(&server, target, &u1()), shown, "{target}");
    }
    // Names that are known by a claim, and all that is there.
    let server = serve(RULES);
    let team = bearer(&token_for("u3", 3600, json!({ "teams": ["red"] })));
    assert_eq!(value(&server, "/teams?count", &team), 1);
    assert_eq!(value(&server, "/teams?where=n==1&select=n", &team), json!({ "red": { "n": 1 } }));
    let rule = |name: &str| format!("[[rule]]\nallow = [\"read\"]\npath = \"/{name}/{{b}}\"\n");
    let server = serve(&(rule("orders") + &rule("other")));
    assert_eq!(value(&server, "/orders?count", NOBODY), 3);
    assert_eq!(value(&server, "/other", NOBODY), json!({}), "nothing beneath it is there");
    // Where something of them is hidden, a condition would tell of it.
    let server = serve(RULES);
    for target in ["/orders?where=margin%3E1", "/orders?order=margin&limit=1", "/?count"] {
        check(&server, &format!("GET {target}"), &u1(), "403 forbidden");
    }
}

#[test]
fn a_cursor_of_other_rights_is_none() {
    // PROTOCOL I27
    let server = serve(RULES);
    let with = |teams: Value| bearer(&token_for("u3", 3600, json!({ "teams": teams })));
    let (red, both) = (with(json!(["red"])), with(json!(["red", "blue"])));
    let tag = ask(&server, "GET /teams", &red).header("etag").unwrap().to_owned();
    let again = format!("GET /teams\nIf-None-Match: {tag}");
    check(&server, &again, &red, "304");
    let answer = ask(&server, &again, &both);
    let all = json!({ "red": { "n": 1 }, "blue": { "n": 2 } });
    assert_eq!((answer.status, answer.json()), (200, all.clone()));
    check(&server, &again, &admin(), "200");
    let cursor = tag.trim_matches('"');
    let mut stream = server.stream(&format!("GET /teams?watch&since={cursor}\n{both}"));
    let first = stream.next().value.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap(), all);
    let absent = ask(&server, "GET /orders/9", &u1());
    let tag = absent.header("etag").unwrap().to_owned();
    check(&server, &format!("GET /orders/9\nIf-None-Match: {tag}"), &u1(), "304");
}

#[test]
fn a_long_poll_of_a_part_ends_with_the_token() {
    // PROTOCOL I17
    let server = serve(RULES);
    let short = bearer(&token_for("u1", 2, json!({})));
    let tag = ask(&server, "GET /orders", &short).header("etag").unwrap().to_owned();
    let poll = format!("GET /orders\nIf-None-Match: {tag}\nPrefer: wait=60");
    check(&server, &poll, &short, "401 token-expired");
}

#[test]
fn a_patch_does_not_tell_what_may_not_be_read() {
    // PROTOCOL I12c
    let rules = r#"
        [[rule]]
        allow = ["read", "write"]
        path = "/orders"

        [[rule]]
        deny = ["read"]
        path = "/orders/{order}/margin"
    "#;
    let server = serve(rules);
    for operation in [
        r#"{"op":"test","path":"/margin","value":1}"#,
        r#"{"op":"copy","from":"/margin","path":"/seen"}"#,
        r#"{"op":"move","from":"/margin","path":"/seen"}"#,
    ] {
        let patch =
            format!("PATCH /orders/1\nContent-Type: application/json-patch+json\n\n[{operation}]");
        check(&server, &patch, NOBODY, "401 unauthorized");
    }
    let patch = r#"[{"op":"add","path":"/total","value":6},{"op":"remove","path":"/margin"}]"#;
    let patch = format!("PATCH /orders/1\nContent-Type: application/json-patch+json\n\n{patch}");
    check(&server, &patch, NOBODY, "200");
}

#[test]
fn a_long_poll_does_not_end_for_what_is_hidden() {
    // PROTOCOL I22
    let server = serve(RULES);
    let tag = ask(&server, "GET /orders/1", &u1()).header("etag").unwrap().to_owned();
    let wait =
        |seconds: u32| format!("GET /orders/1\nIf-None-Match: {tag}\nPrefer: wait={seconds}");
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| ask(&server, &wait(1), &u1()).status);
        server.until_links(1);
        put(&server, "/orders/2/total", &json!(8));
        put(&server, "/orders/4", &json!({ "owner": "u2" }));
        assert_eq!(poll.join().unwrap(), 304);
        let poll = scope.spawn(|| ask(&server, &wait(60), &u1()));
        server.until_links(1);
        put(&server, "/orders/1/total", &json!(6));
        assert_eq!(poll.join().unwrap().json(), json!({ "owner": "u1", "total": 6 }));
    });
}

#[test]
fn what_decides_and_is_hidden_tells_when_it_changes() {
    // PROTOCOL I28e
    let rules = r#"
        [[rule]]
        allow = ["read"]
        path = "/orders/{order}"
        when = "resource.margin > 0"

        [[rule]]
        deny = ["read"]
        path = "/orders/{order}/margin"

        [[rule]]
        allow = ["read"]
        path = "/teams/{team}"
        beneath = false

        [[rule]]
        allow = ["read"]
        path = "/teams/{team}/docs/{doc}"
        when = "resource.owner == claims.sub"
    "#;
    let server = serve_auth("", rules);
    put(&server, "/orders", &orders());
    let docs = json!({ "d": { "owner": "u1" }, "e": { "owner": "u2" } });
    put(&server, "/teams", &json!({ "red": { "docs": docs } }));
    let mut stream = server.stream(&format!("GET /orders?watch\n{}", u1()));
    stream.until_synced();
    put(&server, "/orders/1/margin", &json!(4));
    let told = stream.next().show();
    assert!(told.contains("total") && !told.contains("margin"), "{told}");
    let mut stream = server.stream(&format!("GET /teams?watch\n{}", u1()));
    stream.until_synced();
    put(&server, "/teams/red/docs/e/owner", &json!("u3"));
    let told = stream.next().show();
    assert!(told.contains("u1") && !told.contains("u3"), "{told}");
}
