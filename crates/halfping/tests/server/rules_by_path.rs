//! Rules by path: who may read and write where (PROTOCOL I10 to I13b).

use crate::common::identity::{
    NOBODY, RULES, admin, ask, auth, bearer, check, put, serve_auth, token, token_for,
};
use crate::common::{compare, serve_with};
use halfping::{Console, Limits, NamedView, NamedViews, Options};
use serde_json::json;

#[test]
fn reading_needs_the_right_to_something_of_what_is_read() {
    // PROTOCOL I10, I11a, I11b
    let server = serve_auth("", RULES);
    let tree = json!({
        "public": { "a": 1 }, "users": { "u1": 1 }, "orders": { "1": 2, "secret": 3 },
    });
    put(&server, "/", &tree);
    let u1 = bearer(&token("u1"));
    for (path, nobody, user, root) in [
        ("/public", 200, 200, 200),
        ("/public/a", 200, 200, 200),
        ("/public/none", 404, 404, 404),
        ("/", 200, 200, 200),
        ("/users", 401, 200, 200),
        ("/users/u1", 401, 200, 200),
        ("/users/u2", 401, 403, 404),
        ("/nothing/here", 401, 403, 404),
        ("/orders", 200, 200, 200),
        ("/orders/1", 200, 200, 200),
        ("/orders/secret", 401, 403, 403),
    ] {
        for (who, status) in [(NOBODY, nobody), (&u1, user), (&admin(), root)] {
            let answer = ask(&server, &format!("GET {path}"), who);
            assert_eq!(answer.status, status, "{path} {who}: {}", answer.text());
            let problem = match status {
                401 => Some("unauthorized"),
                403 => Some("forbidden"),
                _ => None,
            };
            if let Some(problem) = problem {
                compare(path, &answer, &format!("{status} {problem}\n!ETag"), false);
            }
            for suffix in ["?watch", "?depth=0"] {
                let answer = server.talk().ask(&format!("HEAD {path}{suffix}\n{who}"));
                let expect = if status == 404 && suffix == "?watch" { 200 } else { status };
                assert_eq!(answer.status, expect, "{path}{suffix} {who}");
            }
            let many = ask(&server, &format!("HEAD /_streams?path=/public/z&path={path}"), who);
            assert_eq!(many.status, if status == 404 { 200 } else { status }, "{path} {who}");
        }
    }
    check(&server, "GET /users", &u1, "200\n\n{\"u1\":1}");
    check(&server, "GET /orders", &admin(), "200\n\n{\"1\":2}");
}

#[test]
fn each_verb_is_judged_where_it_writes() {
    // PROTOCOL I12a, I12b
    let server = serve_auth("", RULES);
    put(&server, "/", &json!({ "orders": { "1": 1 }, "trash": { "a": 1, "b": 2 } }));
    let u1 = bearer(&token("u1"));
    let merge = "\nContent-Type: application/merge-patch+json\n\n{\"x\":1}";
    let patch = "\nContent-Type: application/json-patch+json\n\n[{\"op\":\"add\",\"path\":\"\",\"value\":1}]";
    let requests = |path: &str| {
        ["PUT", "merge", "patch"].map(|kind| match kind {
            "PUT" => format!("PUT {path}\n\n1"),
            "merge" => format!("PATCH {path}{merge}"),
            _ => format!("PATCH {path}{patch}"),
        })
    };
    // Only what is not there may be made, only what is there may be changed.
    for (place, request) in requests("/inbox/a").iter().enumerate() {
        let request = request.replace("/inbox/a", &format!("/inbox/{place}"));
        check(&server, &request, NOBODY, "201");
        check(&server, &request, NOBODY, "401 unauthorized\n!ETag");
        check(&server, &request, &u1, "403 forbidden\n!ETag");
        check(&server, &request, &admin(), "200");
    }
    for request in requests("/status") {
        check(&server, &request, NOBODY, "401 unauthorized\n!ETag");
        check(&server, &request, &u1, "403 forbidden\n!ETag");
    }
    put(&server, "/status", &json!({}));
    for request in requests("/status") {
        check(&server, &request, &u1, "200");
        check(&server, &request, NOBODY, "200");
    }
    check(&server, "DELETE /status", &u1, "403 forbidden");
    check(&server, "DELETE /trash/a", NOBODY, "204");
    check(&server, "DELETE /trash/none", NOBODY, "404 not-found");
    check(&server, "PUT /trash/b\n\n1", NOBODY, "401 unauthorized");
    check(&server, "DELETE /orders/1", NOBODY, "401 unauthorized");
    let posted = check(&server, "POST /inbox\n\n1", NOBODY, "201");
    assert!(posted.header("location").unwrap().starts_with("/inbox/"));
    check(&server, "POST /status\n\n1", NOBODY, "401 unauthorized");
    check(&server, "POST /users\n\n1", &u1, "403 forbidden");
    check(&server, "POST /users/u1\n\n1", &u1, "201");
    // All that is beneath has to be allowed.
    check(&server, "PUT /orders/1\n\n2", &u1, "200");
    check(&server, "PUT /orders/secret\n\n2", &admin(), "201");
    check(&server, "PUT /orders/secret\n\n3", &admin(), "403 forbidden");
    check(&server, "PUT /orders\n\n{\"1\":3,\"secret\":3}", &u1, "403 forbidden");
    // Who may not read it is not told that it stays as it was.
    check(&server, "PUT /orders\n\n{\"1\":3,\"secret\":2}", &u1, "403 forbidden");
}

#[test]
fn a_condition_of_the_client_has_to_hold_besides_what_rules_ask_for() {
    // PROTOCOL I12b
    let server = serve_auth("", RULES);
    put(&server, "/", &json!({ "inbox": { "old": 1 }, "status": 1 }));
    for (short, condition, expect) in [
        ("PUT /inbox/new\n\n1", "If-Match: *", "412 precondition-failed"),
        ("PUT /inbox/new\n\n1", "If-Match: \"x.1\"", "412 precondition-failed"),
        ("PUT /inbox/old\n\n1", "If-Match: *", "401 unauthorized"),
        ("PUT /inbox/old\n\n1", "If-None-Match: *", "401 unauthorized"),
        ("PUT /inbox/new\n\n1", "If-None-Match: *", "201"),
        ("PUT /status\n\n1", "If-None-Match: *", "412 precondition-failed"),
        ("PUT /status\n\n1", "If-Match: \"x.1\"", "412 precondition-failed"),
        ("PUT /status\n\n1", "If-Match: *", "200"),
    ] {
        check(&server, short, condition, expect);
    }
}

#[test]
fn a_session_writes_by_the_rules_of_requests() {
    // PROTOCOL I12
    let server = serve_auth("", RULES);
    let mut session = server.session("/");
    let mut status = |command| session.ask(command)["status"].as_u64().unwrap();
    assert_eq!(status(json!({ "put": "/inbox/a", "value": 1 })), 201);
    assert_eq!(status(json!({ "put": "/inbox/a", "value": 2 })), 401);
    assert_eq!(status(json!({ "merge": "/status", "value": {} })), 401);
    assert_eq!(status(json!({ "delete": "/inbox/a" })), 401);
    assert_eq!(status(json!({ "delete": "/trash/a" })), 404);
    assert_eq!(status(json!({ "post": "/inbox", "value": 1 })), 201);
    assert_eq!(status(json!({ "post": "/users", "value": 1 })), 401);
    assert_eq!(status(json!({ "auth": token("u1") })), 200);
    assert_eq!(status(json!({ "put": "/inbox/a", "value": 2 })), 403);
    assert_eq!(status(json!({ "put": "/users/u1/name", "value": 1 })), 201);
    assert_eq!(status(json!({ "watch": 1, "path": "/users/u1" })), 200);
    assert_eq!(status(json!({ "watch": 2, "path": "/users" })), 200);
    assert_eq!(status(json!({ "get": "/users/u2" })), 403);
}

#[test]
fn a_named_view_is_for_those_who_may_read_what_it_is_of() {
    // PROTOCOL I11b
    let view = NamedView {
        path: "/public/names".to_owned(),
        from: "/users".to_owned(),
        ..NamedView::default()
    };
    let views = NamedViews::new(&[view], &Limits::default()).unwrap();
    let server = serve_with(Options { views, auth: auth("", RULES), ..Options::default() });
    put(&server, "/users", &json!({ "u1": 1 }));
    check(&server, "GET /public/names", NOBODY, "401 unauthorized");
    put(&server, "/users/u2", &json!(2));
    check(&server, "GET /public/names", &bearer(&token("u1")), "200\n\n{\"u1\":1}");
    check(&server, "GET /public/names", &admin(), "200\n\n{\"u1\":1,\"u2\":2}");
}

#[test]
fn the_servers_own_resources_obey_the_rules() {
    // PROTOCOL I13a, I13b
    let rules = r#"
        [[rule]]
        allow = ["read"]
        path = "/_server"
        when = "'operator' in claims.roles"
        [[rule]]
        allow = ["read"]
        path = "/_metrics"
        when = "'operator' in claims.roles"
    "#;
    let operator = bearer(&token_for("op", 3600, json!({ "roles": ["operator"] })));
    let everybody = bearer(&token("u1"));
    for console in [Console::On, Console::Loopback, Console::Off] {
        let server = serve_with(Options { console, auth: auth("", rules), ..Options::default() });
        for path in ["/_server", "/_server/counts", "/_metrics"] {
            // Requests for this machine's own name come from this machine.
            let asks = format!("GET {path}\nHost: localhost");
            let is_off = console == Console::Off && path != "/_metrics";
            let status = |who: &str| ask(&server, &asks, who).status;
            assert_eq!(status(&operator), if is_off { 404 } else { 200 }, "{console:?} {path}");
            assert_eq!(status(&everybody), if is_off { 404 } else { 403 }, "{console:?} {path}");
            assert_eq!(status(NOBODY), if is_off { 404 } else { 401 }, "{console:?} {path}");
        }
        let says = if console == Console::Off { "--console on" } else { "the binary has it" };
        for who in [NOBODY, "Authorization: Bearer forged"] {
            check(&server, "GET /_console/", who, &format!("404 not-found\n\n{says}"));
        }
        check(&server, "GET /_health", NOBODY, "200");
    }
}

#[test]
fn what_is_for_this_machine_alone_is_not_for_anybody_elsewhere() {
    // PROTOCOL I13a
    let rules = "[[rule]]\nallow = [\"read\"]\npath = \"/\"\n";
    for (console, is_shown) in [(Console::Loopback, false), (Console::On, true)] {
        let server = serve_with(Options { console, auth: auth("", rules), ..Options::default() });
        let asked = |host: &str, who: &str| {
            ask(&server, &format!("GET /_server/counts\nHost: {host}"), who).status
        };
        assert_eq!(asked("localhost", NOBODY), 200, "{console:?}");
        assert_eq!(asked("proxied.example", NOBODY), if is_shown { 200 } else { 404 });
        assert_eq!(asked("proxied.example", &bearer(&token("u1"))), 200, "rules decide");
    }
}

#[test]
fn pages_are_for_everybody_and_what_they_show_is_not() {
    // PROTOCOL I13b. The library has no pages: the answer says so, and does not ask who is there.
    let auth = auth("anonymous = false", "[[rule]]\nallow = [\"read\"]\npath = \"/\"\n");
    let server = serve_with(Options { console: Console::On, auth, ..Options::default() });
    for who in [NOBODY, "Authorization: Bearer forged", "Authorization: Basic eDp5"] {
        check(&server, "GET /_console/", who, "404 not-found\n\nthe binary has it");
        check(&server, "GET /_assets/x.js", who, "404 not-found");
        check(&server, "GET /_server", who, "401 unauthorized");
        check(&server, "GET /_consoles", who, "401 unauthorized");
        check(&server, "PUT /_console/\n\n1", who, "401 unauthorized");
    }
    check(&server, "GET /_server", &bearer(&token("u1")), "200");
}

#[test]
fn without_settings_nothing_is_looked_at() {
    // PROTOCOL I1
    let server = serve_with(Options::default());
    check(&server, "PUT /a\n\n1", "Authorization: Basic eDp5", "201\n!Halfping-Subject\n!Vary");
    check(&server, "GET /a", "Authorization: Bearer x", "200\nCache-Control: no-cache");
    check(&server, "GET /a?access_token=x", NOBODY, "400 unknown-parameter");
}
