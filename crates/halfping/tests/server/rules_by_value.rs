//! Rules by value: writes are judged by what they change (PROTOCOL I12d to I12f).

use crate::common::Running;
use crate::common::identity::{
    NOBODY, admin, ask, bearer, check, put, serve_auth, token, token_for,
};
use serde_json::{Value, json};

/// Everybody has own orders, which begin open. Who owns one may change it, but not give it away, not
/// touch its price, and not take it back once it is sent. Support may change the state alone.
const RULES: &str = r#"
    [[rule]]
    allow = ["read"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub"

    [[rule]]
    allow = ["create"]
    path = "/orders/{order}"
    when = "new.owner == claims.sub && new.state == 'open'"

    [[rule]]
    allow = ["update"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub && new.owner == claims.sub"

    [[rule]]
    allow = ["delete"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub && resource.state == 'open'"

    [[rule]]
    allow = ["update"]
    path = "/orders/{order}/state"
    when = "'support' in claims.roles"

    [[rule]]
    deny = ["write"]
    path = "/orders/{order}/price"
    unless = "'admin' in claims.roles"

    [[rule]]
    allow = ["read", "write"]
    path = "/"
    when = "'admin' in claims.roles"
"#;

const MERGE: &str = "\nContent-Type: application/merge-patch+json\n\n";
const PATCH: &str = "\nContent-Type: application/json-patch+json\n\n";

fn serve() -> Running {
    let server = serve_auth("", RULES);
    put(
        &server,
        "/orders",
        &json!({
            "1": { "owner": "kim", "state": "open", "price": 5 },
            "2": { "owner": "lee", "state": "open", "price": 7 },
            "3": { "owner": "kim", "state": "sent", "lines": { "a": 1, "b": 2 } },
        }),
    );
    server
}

fn kim() -> String {
    bearer(&token("kim"))
}

fn support() -> String {
    bearer(&token_for("sam", 3600, json!({ "roles": ["support"] })))
}

#[track_caller]
fn holds(server: &Running, path: &str, expect: &Value) {
    let answer = ask(server, &format!("GET {path}"), &admin());
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), *expect);
}

#[test]
fn a_new_value_is_made_only_as_the_rules_want_it() {
    let server = serve();
    let kim = kim();
    let mine = r#"{"owner":"kim","state":"open"}"#;
    check(&server, &format!("PUT /orders/4\n\n{mine}"), &kim, "201");
    check(&server, &format!("PATCH /orders/5{MERGE}{mine}"), &kim, "201");
    check(&server, &format!("PATCH /orders{MERGE}{{\"6\":{mine}}}"), &kim, "200");
    check(&server, &format!("POST /orders\n\n{mine}"), &kim, "201");
    check(&server, &format!("PUT /orders/7\n\n{mine}"), NOBODY, "401 unauthorized\n!ETag");
    for other in [
        r#"{"owner":"lee","state":"open"}"#,
        r#"{"owner":"kim","state":"sent"}"#,
        r#"{"owner":"kim"}"#,
        r#"{"state":"open","owner":["kim"]}"#,
        r#"{"owner":"kim","state":"open","price":1}"#,
        r#"{}"#,
        "\"kim\"",
        "null",
    ] {
        check(&server, &format!("PUT /orders/8\n\n{other}"), &kim, "403 forbidden\n!ETag");
        check(&server, &format!("POST /orders\n\n{other}"), &kim, "403 forbidden\n!ETag");
        let many = format!("{{\"9\":{mine},\"8\":{other}}}");
        if other != "null" {
            check(&server, &format!("PATCH /orders{MERGE}{many}"), &kim, "403 forbidden");
        }
    }
    check(&server, "GET /orders/9", &admin(), "404 not-found");
}

#[test]
fn a_value_is_changed_as_its_state_before_and_after_allow() {
    let server = serve();
    let kim = kim();
    check(&server, &format!("PATCH /orders/1{MERGE}{{\"note\":\"x\"}}"), &kim, "200");
    // What is beneath it belongs to it: to make and remove that is to update it.
    check(&server, "DELETE /orders/1/note", &kim, "204");
    check(&server, "PUT /orders/1/note\n\n\"y\"", &kim, "201");
    check(&server, &format!("PATCH /orders/1{MERGE}{{\"owner\":\"lee\"}}"), &kim, "403 forbidden");
    check(&server, &format!("PATCH /orders/1{MERGE}{{\"owner\":null}}"), &kim, "403 forbidden");
    check(&server, "PUT /orders/1/owner\n\n\"lee\"", &kim, "403 forbidden");
    check(&server, &format!("PATCH /orders/2{MERGE}{{\"owner\":\"kim\"}}"), &kim, "403 forbidden");
    check(&server, &format!("PATCH /orders/2{MERGE}{{\"note\":1}}"), &kim, "403 forbidden");
    let op = r#"[{"op":"replace","path":"/state","value":"sent"}]"#;
    check(&server, &format!("PATCH /orders/1{PATCH}{op}"), &kim, "200");
    // What is put as it was is not changed.
    let same = r#"{"owner":"kim","state":"open","note":"y","price":5}"#;
    check(&server, &format!("PUT /orders/1\n\n{same}"), &kim, "200");
    let dearer = same.replace('5', "6");
    check(&server, &format!("PUT /orders/1\n\n{dearer}"), &kim, "403 forbidden");
    let without = same.replace(",\"price\":5", "");
    check(&server, &format!("PUT /orders/1\n\n{without}"), &kim, "403 forbidden");
    check(&server, &format!("PUT /orders/1\n\n{dearer}"), &admin(), "200");
    // A rule beneath is about its own value.
    check(&server, &format!("PATCH /orders/2{MERGE}{{\"state\":\"sent\"}}"), &support(), "200");
    check(&server, "PUT /orders/2/state\n\n\"open\"", &support(), "200");
    let both = r#"{"state":"sent","note":1}"#;
    check(&server, &format!("PATCH /orders/2{MERGE}{both}"), &support(), "403 forbidden");
    holds(&server, "/orders/2", &json!({ "owner": "lee", "state": "open", "price": 7 }));
}

#[test]
fn all_that_goes_with_a_value_is_judged_with_it() {
    let server = serve();
    let kim = kim();
    check(&server, "DELETE /orders/3", &kim, "403 forbidden");
    check(&server, &format!("PATCH /orders/3{MERGE}{{\"lines\":null}}"), &kim, "200");
    check(&server, "PUT /orders/3/state\n\n\"open\"", &kim, "200");
    check(&server, "DELETE /orders/3", &kim, "204");
    // The price goes with it, and may not.
    check(&server, "DELETE /orders/1", &kim, "403 forbidden");
    check(&server, &format!("PATCH /orders{MERGE}{{\"1\":null}}"), &kim, "403 forbidden");
    check(&server, "DELETE /orders/1", &admin(), "204");
    check(&server, "PUT /orders\n\n{}", &kim, "403 forbidden");
    holds(&server, "/orders", &json!({ "2": { "owner": "lee", "state": "open", "price": 7 } }));
}

#[test]
fn a_refusal_does_not_tell_that_something_hidden_is_there() {
    // /orders/2 is of somebody else, and /orders/x of nobody.
    let server = serve();
    let kim = kim();
    let state = ask(&server, "GET /orders/2", &admin()).header("etag").unwrap().to_owned();
    let state = state.split('+').next().unwrap().trim_end_matches('"').to_owned() + "\"";
    let theirs = r#"{"owner":"lee","state":"open","price":7}"#;
    let op = r#"[{"op":"test","path":"/owner","value":"lee"}]"#;
    let add = r#"[{"op":"add","path":"/note","value":1}]"#;
    for request in [
        format!("PUT /orders/ID\n\n{theirs}"),
        format!("PUT /orders/ID\nIf-Match: *\n\n{theirs}"),
        format!("PUT /orders/ID\nIf-Match: {state}\n\n{theirs}"),
        format!("PUT /orders/ID\nIf-Match: \"0.1\"\n\n{theirs}"),
        format!("PUT /orders/ID\nIf-None-Match: *\n\n{theirs}"),
        format!("PATCH /orders/ID{MERGE}{{\"note\":1}}"),
        format!("PATCH /orders/ID{MERGE}{{}}"),
        format!("PATCH /orders/ID{MERGE}{{\"price\":7}}"),
        format!("PATCH /orders/ID{MERGE}{{\"none\":null}}"),
        format!("PATCH /orders/ID{PATCH}{op}"),
        format!("PATCH /orders/ID{PATCH}{add}"),
        "PUT /orders/ID/note\n\n1".to_owned(),
        "PUT /orders/ID/owner/name\n\n1".to_owned(),
        "DELETE /orders/ID".to_owned(),
        "DELETE /orders/ID\nIf-Match: *".to_owned(),
        "DELETE /orders/ID/note".to_owned(),
        "DELETE /orders/ID/state".to_owned(),
        "GET /orders/ID".to_owned(),
    ] {
        let [hidden, absent] = ["2", "x"].map(|id| {
            let answer = ask(&server, &request.replace("ID", id), &kim);
            assert!(answer.status >= 400, "{request}");
            assert_eq!(answer.header("etag").is_some(), request.starts_with("GET"), "{request}");
            (answer.status, answer.text().replace(&format!("/orders/{id}"), "/orders/ID"))
        });
        assert_eq!(hidden, absent, "{request}");
    }
    // Of what is shown, the reason is told.
    check(&server, "PUT /orders/1\nIf-Match: \"0.1\"\n\n{}", &kim, "412 precondition-failed");
    check(&server, "DELETE /orders/1/none", &kim, "404 not-found");
}

#[test]
fn the_tag_of_what_is_shown_is_a_condition_of_a_write() {
    // PROTOCOL I28b
    let server = serve();
    let kim = kim();
    let tag = |path: &str, who: &str| {
        ask(&server, &format!("GET {path}"), who).header("etag").unwrap().to_owned()
    };
    let sets = |tag: &str, note: u8, who: &str| {
        let body = format!("{MERGE}{{\"note\":{note}}}").replacen(
            '\n',
            &format!("\nIf-Match: {tag}\n"),
            1,
        );
        ask(&server, &format!("PATCH /orders/1{body}"), who).status
    };
    let seen = tag("/orders/1", &kim);
    assert_eq!(sets(&seen, 1, &kim), 200);
    assert_eq!(sets(&seen, 2, &kim), 412, "it is another by now");
    assert_eq!(sets(&tag("/orders/3", &kim), 2, &kim), 412, "that of another resource");
    assert_eq!(sets(&tag("/orders/1", &admin()), 2, &kim), 412, "that of other rights");
    let seen = tag("/orders/1", &kim);
    put(&server, "/orders/2/note", &json!(5));
    assert_eq!(sets(&format!("\"0.1\", W/{seen}"), 2, &kim), 200, "as one of several");
    holds(&server, "/orders/1/note", &json!(2));

    let mut session = server.session("/");
    session.ask(json!({ "auth": token("kim") }));
    let rev = session.ask(json!({ "get": "/orders/1" }))["rev"].clone();
    let mut status = |command| session.ask(command)["status"].as_u64().unwrap();
    let merge = json!({ "merge": "/orders/1", "value": { "note": 3 }, "if": rev });
    assert_eq!(status(merge.clone()), 200);
    assert_eq!(status(merge), 412);
    holds(&server, "/orders/1/note", &json!(3));
}

#[test]
fn a_member_that_is_masked_cannot_be_guessed_by_writing_it() {
    let rules = format!(
        "{RULES}\n[[rule]]\ndeny = [\"read\"]\npath = \"/orders/{{order}}/price\"\nunless = \"'admin' in claims.roles\""
    );
    let server = serve_auth("", &rules);
    put(&server, "/orders/1", &json!({ "owner": "kim", "state": "open", "price": [5] }));
    put(&server, "/orders/2", &json!({ "owner": "kim", "state": "open" }));
    let kim = kim();
    for body in [r#"{"price":[5]}"#, r#"{"price":[6]}"#, r#"{"price":null}"#, r#"{"price":{}}"#] {
        for order in [1, 2] {
            let request = format!("PATCH /orders/{order}{MERGE}{body}");
            check(&server, &request, &kim, "403 forbidden");
        }
    }
    for op in [r#""remove","path":"/price""#, r#""remove","path":"/price/0""#] {
        for order in [1, 2] {
            let request = format!("PATCH /orders/{order}{PATCH}[{{\"op\":{op}}}]");
            check(&server, &request, &kim, "403 forbidden");
        }
    }
    check(&server, &format!("PATCH /orders/1{MERGE}{{\"note\":1}}"), &kim, "200");
}

#[test]
fn what_a_rule_denies_of_one_verb_is_denied_from_above_as_well() {
    // PROTOCOL I12d
    let rules = r#"
        [[rule]]
        allow = ["read", "write"]
        path = "/"
        [[rule]]
        deny = ["delete"]
        path = "/orders/{order}"
        [[rule]]
        deny = ["create"]
        path = "/closed/{name}"
    "#;
    let server = serve_auth("", rules);
    put(&server, "/", &json!({ "orders": { "1": { "a": 1 } }, "closed": { "1": 1 } }));
    let remove = r#"[{"op":"remove","path":"/1"}]"#;
    for request in [
        "DELETE /orders/1".to_owned(),
        "DELETE /orders".to_owned(),
        format!("PATCH /orders{MERGE}{{\"1\":null}}"),
        format!("PATCH /{MERGE}{{\"orders\":null}}"),
        format!("PATCH /orders{PATCH}{remove}"),
        "PUT /orders\n\n{}".to_owned(),
        "PUT /\n\n{}".to_owned(),
        "PUT /closed/2\n\n1".to_owned(),
        format!("PATCH /closed{MERGE}{{\"2\":1}}"),
        "POST /closed\n\n1".to_owned(),
    ] {
        check(&server, &request, NOBODY, "401 unauthorized");
    }
    check(&server, &format!("PATCH /orders{MERGE}{{\"1\":{{\"a\":2}}}}"), NOBODY, "200");
    check(&server, "PUT /orders/2\n\n1", NOBODY, "201");
    check(&server, "PUT /closed/1\n\n2", NOBODY, "200");
    check(&server, "DELETE /closed/1", NOBODY, "204");
}

#[test]
fn values_too_large_to_be_looked_at_again_and_again_end_the_judging() {
    let rules = r#"
        [[rule]]
        allow = ["write"]
        path = "/docs/{doc}"
        when = "'a' in resource.tags || !has(resource.tags)"
    "#;
    let server = serve_auth("", rules);
    let tags: Vec<Value> =
        std::iter::once(json!("a")).chain((0..20_000).map(Value::from)).collect();
    put(&server, "/docs/1", &json!({ "tags": tags }));
    let members: Vec<String> = (0..1000).map(|n| format!("\"{n}\":1")).collect();
    let request = format!("PATCH /docs/1{MERGE}{{{}}}", members.join(","));
    check(&server, &request, &kim(), "413 too-many-members");
    check(&server, &format!("PATCH /docs/1{MERGE}{{\"n\":1}}"), &kim(), "200");
}

#[test]
fn a_session_writes_by_the_same_rules() {
    let server = serve();
    let mut session = server.session("/");
    let mut status = |command| session.ask(command)["status"].as_u64().unwrap();
    let mine = json!({ "owner": "kim", "state": "open" });
    assert_eq!(status(json!({ "put": "/orders/4", "value": mine })), 401);
    assert_eq!(status(json!({ "auth": token("kim") })), 200);
    assert_eq!(status(json!({ "put": "/orders/4", "value": mine })), 201);
    assert_eq!(status(json!({ "post": "/orders", "value": mine })), 201);
    assert_eq!(status(json!({ "merge": "/orders/4", "value": { "owner": "lee" } })), 403);
    assert_eq!(status(json!({ "merge": "/orders/4", "value": { "note": 1 } })), 200);
    assert_eq!(status(json!({ "merge": "/orders/2", "value": { "note": 1 } })), 403);
    assert_eq!(status(json!({ "delete": "/orders/2" })), 404);
    assert_eq!(status(json!({ "delete": "/orders/4" })), 204);
    assert_eq!(status(json!({ "delete": "/orders/4" })), 404);
}

#[test]
fn a_condition_reads_members_at_every_depth_and_of_every_kind() {
    let rules = r#"
        [[rule]]
        allow = ["write"]
        path = "/docs/{doc}"
        when = "claims.sub in resource.acl.writers || size(resource.acl) == 0 || 'a' in resource.tags"

        [[rule]]
        allow = ["create"]
        path = "/docs/{doc}"
        when = "doc == claims.sub && 'x' in new.acl"
    "#;
    let server = serve_auth("", rules);
    put(
        &server,
        "/docs",
        &json!({
            "list": { "acl": { "writers": ["lee", "kim"] } },
            "others": { "acl": { "writers": ["lee"] } },
            "empty": { "acl": {} },
            "object": { "tags": { "a": { "b": 1 } } },
            "another": { "tags": { "b": { "a": 2 } } },
            "leaf": { "acl": 5 },
        }),
    );
    for (name, status) in [
        ("list", 201),
        ("others", 403),
        ("empty", 201),
        ("object", 201),
        ("another", 403),
        ("leaf", 403),
        ("none", 403),
    ] {
        let answer = ask(&server, &format!("PUT /docs/{name}/text\n\n1"), &kim());
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    check(&server, "PUT /docs/kim\n\n{\"acl\":{\"y\":1}}", &kim(), "403 forbidden");
    check(&server, "PUT /docs/kim\n\n{\"acl\":{\"x\":1}}", &kim(), "201");
}

#[test]
fn a_write_too_large_to_be_judged_is_refused_with_the_limit() {
    let server = serve();
    let members: Vec<String> = (0..5000).map(|n| format!("\"{n}\":1")).collect();
    let mine =
        format!("{{\"owner\":\"kim\",\"state\":\"open\",\"lines\":{{{}}}}}", members.join(","));
    let answer =
        check(&server, &format!("PUT /orders/4\n\n{mine}"), &kim(), "413 too-many-members");
    assert!(answer.text().contains("judged_values"), "{}", answer.text());
    check(&server, &format!("PUT /orders/4\n\n{mine}"), &admin(), "201");
}
