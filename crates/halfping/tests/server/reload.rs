//! Rules and keys that change while clients are there (PROTOCOL I29, I30).

use std::time::Duration;

use crate::common::identity::{
    NOBODY, RULES, admin, ask, auth, bearer, check, ends, put, serve_auth, session_of, stream_of,
    token, until_set,
};
use crate::common::raw::Stream;
use crate::common::session::Told;
use crate::common::{self, Running, runtime, serve_with};
use axum::Router;
use halfping::{Api, ApiKey, Auth, AuthConfig, Limits, Options, Rules, new_api_key};
use serde_json::json;

/// Rules as in [`RULES`], without those of which one has this path.
fn without(path: &str) -> String {
    let rules = RULES.split("[[rule]]").skip(1);
    let kept = rules.filter(|rule| !rule.contains(&format!("path = \"{path}\"")));
    kept.map(|rule| format!("[[rule]]{rule}")).collect()
}

fn serve_public() -> Running {
    let server = serve_auth("", RULES);
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1, "u2": 2 } }));
    server
}

fn reload(server: &Running, rules: &str) {
    server.api.reload_auth(&auth("", rules)).unwrap();
}

#[test]
fn a_rule_that_is_gone_ends_just_the_links_that_needed_it() {
    // PROTOCOL I29
    let server = serve_public();
    let mut session =
        session_of(&server, &token("u1"), &[(1, "/public"), (2, "/users/u1"), (3, "/public")]);
    let mut own = stream_of(&server, "/users/u1", &bearer(&token("u1")));
    let mut public = stream_of(&server, "/public", &bearer(&token("u1")));
    let mut nobodys = stream_of(&server, "/public", NOBODY);
    reload(&server, &without("/users/{user}"));
    ends(&mut session, 2, "forbidden");
    assert!(own.next().raw.contains("forbidden"));
    own.expect_end();
    assert_eq!(session.ask(json!({ "get": "/users/u1" }))["status"], 403);
    check(&server, "GET /users/u1", &bearer(&token("u1")), "403 forbidden");
    put(&server, "/", &json!({ "public": 5, "users": { "u1": 5 } }));
    let mut told = session.state()["set"].as_array().unwrap().clone();
    told.sort_by_key(|it| it[0].as_u64());
    assert_eq!(json!(told), json!([[1, "snapshot", 5], [3, "snapshot", 5]]));
    for stream in [&mut public, &mut nobodys] {
        stream.expect(&["snapshot 5"]);
    }
    assert!(matches!(session.next_within(Duration::from_millis(20)), Told::Nothing));
}

#[test]
fn a_rule_that_is_new_is_there_for_those_who_are_in_already() {
    // PROTOCOL I29
    let server = serve_auth("", &without("/users/{user}"));
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1 } }));
    let mut session = session_of(&server, &token("u1"), &[(1, "/public")]);
    assert_eq!(session.ask(json!({ "watch": 2, "path": "/users/u1", "ref": 1 }))["status"], 403);
    check(&server, "GET /users/u1", &bearer(&token("u1")), "403 forbidden");
    reload(&server, RULES);
    check(&server, "GET /users/u1", &bearer(&token("u1")), "200\n\n1");
    assert_eq!(session.ask(json!({ "watch": 2, "path": "/users/u1" }))["status"], 200);
    assert_eq!(until_set(&mut session, 2), json!([2, "snapshot", 1]));
    put(&server, "/public", &json!(1));
    assert_eq!(until_set(&mut session, 1), json!([1, "snapshot", 1]));
}

#[test]
fn what_comes_to_the_same_sends_nothing_and_ends_nothing() {
    // PROTOCOL I29
    let server = serve_public();
    let mut session = session_of(&server, &token("u1"), &[(1, "/public"), (2, "/users/u1")]);
    let mut own = stream_of(&server, "/users/u1", &bearer(&token("u1")));
    // The same in another order, and rules about others.
    let rules = format!(
        "[[rule]]\nallow = [\"read\"]\npath = \"/users/u9\"\n{}{RULES}",
        "[[rule]]\nallow = [\"update\"]\npath = \"/public\"\n"
    );
    for rules in [RULES, &rules, RULES] {
        reload(&server, rules);
        assert!(matches!(session.next_within(Duration::from_millis(20)), Told::Nothing));
    }
    put(&server, "/users/u1", &json!(7));
    assert_eq!(session.state()["set"], json!([[2, "snapshot", 7]]));
    own.expect(&["snapshot 7"]);
    // What may be written is another matter than what may be read.
    assert_eq!(session.ask(json!({ "put": "/public", "value": 8 }))["status"], 403);
    reload(&server, &rules);
    assert_eq!(session.ask(json!({ "put": "/public", "value": 8 }))["status"], 200);
    let reloads = ask(&server, "GET /_metrics", &admin());
    let counted = "halfping_reloads_total{outcome=\"ok\"} 4\n";
    assert!(reloads.text().contains(counted), "{}", reloads.text());
}

/// Own orders, and what else the rules say.
fn orders(more: &str) -> String {
    let own = "[[rule]]\nallow = [\"read\"]\npath = \"/orders/{order}\"\nwhen = \"resource.owner == claims.sub\"\n";
    format!("{own}[[rule]]\nallow = [\"read\"]\npath = \"/public\"\n{more}")
}

#[test]
fn a_part_that_becomes_another_one_is_watched_again_and_the_same_part_goes_on() {
    // PROTOCOL I24, I29
    let server = serve_auth("", &orders(""));
    put(
        &server,
        "/",
        &json!({ "public": 0, "orders": {
            "1": { "owner": "u1", "total": 1, "margin": 2 }, "2": { "owner": "u2" },
        } }),
    );
    let mut session = session_of(&server, &token("u1"), &[(1, "/public"), (2, "/orders")]);
    let mut stream = stream_of(&server, "/orders", &bearer(&token("u1")));
    // The part of another path.
    reload(&server, &orders("[[rule]]\nallow = [\"read\"]\npath = \"/users\"\n"));
    put(&server, "/orders/1/total", &json!(3));
    until_set(&mut session, 2);
    assert!(stream.next().raw.contains('3'));
    let deny = "[[rule]]\ndeny = [\"read\"]\npath = \"/orders/{order}/margin\"\n";
    reload(&server, &orders(deny));
    ends(&mut session, 2, "forbidden");
    // What was told before comes first.
    while !stream.next().raw.contains("forbidden") {}
    stream.expect_end();
    assert_eq!(session.ask(json!({ "watch": 2, "path": "/orders" }))["status"], 200);
    let part = json!({ "1": { "owner": "u1", "total": 3 } });
    assert_eq!(until_set(&mut session, 2), json!([2, "snapshot", part]));
    put(&server, "/public", &json!(1));
    assert_eq!(until_set(&mut session, 1), json!([1, "snapshot", 1]));
}

#[test]
fn cursors_and_tickets_outlast_a_reload() {
    // PROTOCOL I6, I27, I29
    let server = serve_auth("", &orders(""));
    put(&server, "/orders", &json!({ "1": { "owner": "u1", "text": "x".repeat(99) } }));
    let header = bearer(&token("u1"));
    let mut stream = server.stream(&format!("GET /orders?watch\n{header}"));
    let synced = stream.until_synced();
    let cursor = synced.iter().rev().find_map(|frame| frame.cursor()).unwrap().to_owned();
    let ticket = ask(&server, "POST /_auth/ticket", &header).json()["ticket"].clone();
    reload(&server, &orders("[[rule]]\nallow = [\"update\"]\npath = \"/public\"\n"));
    put(&server, "/orders/1/n", &json!(1));
    let mut again = server.stream(&format!("GET /orders?watch&since={cursor}\n{header}"));
    again.expect(&["merge {\"1\":{\"n\":1}}"]);
    let ticket = ticket.as_str().unwrap();
    let stream = server.stream(&format!("GET /orders?watch&ticket={ticket}\n{NOBODY}"));
    assert_eq!(stream.header("halfping-subject"), Some("u1"));
}

/// Settings with API keys, each with its `sub`, and no rules.
fn with_keys(keys: &[(u8, &str)], anonymous: &str) -> Auth {
    let mut config: AuthConfig = toml::from_str(anonymous).unwrap();
    config.key = keys
        .iter()
        .map(|(number, sub)| {
            let claims = json!({ "sub": sub }).as_object().unwrap().clone();
            ApiKey { sha256: new_api_key(&[*number; 32]).1.hex(), claims }
        })
        .collect();
    let rules = Rules::parse(RULES).unwrap();
    Auth::new(&config, rules, |_| unreachable!("no file is named")).unwrap()
}

fn key(number: u8) -> String {
    new_api_key(&[number; 32]).0.reveal().to_owned()
}

#[test]
fn a_key_that_is_gone_ends_what_it_opened_and_other_claims_count_at_once() {
    // PROTOCOL I30
    let auth = with_keys(&[(1, "u1"), (2, "u2"), (3, "u1")], "");
    let server = serve_with(Options { auth, ..Options::default() });
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1, "u2": 2 } }));
    let mut first = session_of(&server, &key(1), &[(1, "/public"), (2, "/users/u1")]);
    let mut second = session_of(&server, &key(2), &[(1, "/public"), (2, "/users/u2")]);
    let mut third = session_of(&server, &key(3), &[(1, "/public"), (2, "/users/u1")]);
    let mut stream = stream_of(&server, "/users/u1", &bearer(&key(1)));
    let mut public = stream_of(&server, "/public", &bearer(&key(1)));
    let ticket = ask(&server, "POST /_auth/ticket", &bearer(&key(1))).json()["ticket"].clone();
    server.api.reload_auth(&with_keys(&[(2, "u2"), (3, "u3")], "")).unwrap();
    ends(&mut first, 2, "revoked");
    assert!(stream.next().raw.contains("revoked"));
    stream.expect_end();
    ends(&mut third, 2, "forbidden");
    check(&server, "GET /users/u1", &bearer(&key(1)), "401 unauthorized");
    check(&server, "GET /users/u1", &bearer(&key(3)), "403 forbidden\nHalfping-Subject: u3");
    let ticket = format!("GET /public?watch&ticket={}", ticket.as_str().unwrap());
    check(&server, &ticket, NOBODY, "401 unauthorized");
    assert_eq!(first.ask(json!({ "auth": key(1) }))["status"], 401);
    put(&server, "/", &json!({ "public": 6, "users": { "u1": 6, "u2": 6 } }));
    assert_eq!(first.state()["set"], json!([[1, "snapshot", 6]]));
    until_set(&mut second, 2);
    assert_eq!(third.state()["set"], json!([[1, "snapshot", 6]]));
    public.expect(&["snapshot 6"]);
}

#[test]
fn tokens_that_were_verified_are_not_believed_for_that_after_a_reload() {
    // PROTOCOL I30
    let server = serve_public();
    let u1 = token("u1");
    check(&server, "GET /users/u1", &bearer(&u1), "200");
    let mut session = session_of(&server, &u1, &[(1, "/public"), (2, "/users/u1")]);
    let others = |members: &str| {
        let text = format!(
            "[[issuer]]\nissuer = \"{}\"\nsecret_file = \"s\"\nalgorithms = [\"HS256\"]\n{members}",
            common::identity::ISSUER
        );
        let config: AuthConfig = toml::from_str(&text).unwrap();
        let secret = b"another secret, which is as long as it has to be for HS256".to_vec();
        Auth::new(&config, Rules::parse(RULES).unwrap(), |_| Ok(secret.clone())).unwrap()
    };
    server.api.reload_auth(&others("audience = [\"halfping\"]")).unwrap();
    ends(&mut session, 2, "revoked");
    check(&server, "GET /users/u1", &bearer(&u1), "401 unauthorized");
    // The former settings again: the token is good again.
    reload(&server, RULES);
    check(&server, "GET /users/u1", &bearer(&u1), "200");
    assert_eq!(session.ask(json!({ "auth": u1 }))["status"], 200);
    assert_eq!(session.ask(json!({ "watch": 2, "path": "/users/u1" }))["status"], 200);
}

#[test]
fn where_somebody_is_wanted_now_those_who_are_nobody_are_asked() {
    // PROTOCOL I8, I18, I29
    let limits = Limits::default().with(|limits| limits.auth_timeout_ms = 300);
    let auth = with_keys(&[(1, "u1")], "");
    let server = serve_with(Options { limits, auth, ..Options::default() });
    put(&server, "/public", &json!(0));
    let mut session = server.session("/");
    assert_eq!(session.ask(json!({ "watch": 1, "path": "/public" }))["status"], 200);
    let mut named = session_of(&server, &key(1), &[(1, "/public")]);
    let mut stream = stream_of(&server, "/public", NOBODY);
    server.api.reload_auth(&with_keys(&[(1, "u1")], "anonymous = false")).unwrap();
    assert_eq!(session.closed(), 4401);
    assert!(stream.next().raw.contains("unauthorized"));
    stream.expect_end();
    put(&server, "/public", &json!(1));
    assert_eq!(until_set(&mut named, 1), json!([1, "snapshot", 1]));
}

#[test]
fn long_polls_end_when_what_may_be_read_there_is_another_thing() {
    // PROTOCOL I29
    let base = format!("{}{}", without("/orders"), orders(""));
    let server = serve_auth("", &base);
    put(&server, "/", &json!({ "users": { "u1": 1 }, "orders": { "1": { "owner": "u1" } } }));
    let header = bearer(&token("u1"));
    let less = format!("{}{}", without("/users/{user}"), orders(""));
    for (path, rules) in [("/users/u1", less), ("/orders/1", without("/orders"))] {
        reload(&server, &base);
        let known = ask(&server, &format!("GET {path}"), &header).cursor();
        let short = format!("GET {path}\nIf-None-Match: \"{known}\"\nPrefer: wait=30\n{header}");
        let mut talk = server.talk();
        let waiting = std::thread::spawn(move || talk.ask(&short));
        until_links(&server, 1);
        reload(&server, &base);
        assert!(!waiting.is_finished());
        reload(&server, &rules);
        assert_eq!(waiting.join().unwrap().status, 403, "{path}");
    }
}

/// Waits until so many links are open.
fn until_links(server: &Running, links: u64) {
    let until = std::time::Instant::now() + common::raw::DEADLINE;
    loop {
        let metrics = ask(server, "GET /_metrics", &admin());
        let line = metrics.text().lines().find_map(|line| line.strip_prefix("halfping_links "));
        if line.unwrap().parse::<u64>().unwrap() >= links {
            return;
        }
        assert!(std::time::Instant::now() < until, "less than {links} links");
        std::thread::yield_now();
    }
}

#[test]
fn whether_anybody_is_told_apart_cannot_change() {
    let server = serve_auth("", RULES);
    let error = server.api.reload_auth(&Auth::default()).unwrap_err();
    assert!(error.to_string().contains("restart the server"), "{error}");
    check(&server, "GET /users/u1", NOBODY, "401 unauthorized");
    let metrics = ask(&server, "GET /_metrics", &admin());
    assert!(metrics.text().contains("halfping_reloads_total{outcome=\"failed\"} 1\n"));
    let open = common::serve();
    let error = open.api.reload_auth(&auth("", RULES)).unwrap_err();
    assert!(error.to_string().contains("restart it"), "{error}");
    check(&open, "PUT /users/u1\n\n1", NOBODY, "201");
    open.api.reload_auth(&Auth::default()).unwrap();
}

#[test]
fn revocations_at_another_path_count_with_the_settings_that_name_it() {
    // PROTOCOL I19, I29
    let server = serve_auth("revoked = \"/revoked/a\"", RULES);
    let now = common::identity::now() + 5;
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1, "u2": 1 } }));
    put(&server, "/revoked", &json!({ "a": {}, "b": { "sub": { "u1": now } } }));
    let mut session = session_of(&server, &token("u1"), &[(1, "/public"), (2, "/users/u1")]);
    let mut other = session_of(&server, &token("u2"), &[(1, "/public"), (2, "/users/u2")]);
    server.api.reload_auth(&auth("revoked = \"/revoked/b\"", RULES)).unwrap();
    ends(&mut session, 2, "revoked");
    check(&server, "GET /users/u1", &bearer(&token("u1")), "401 revoked");
    // The path of before is one like all others now.
    put(&server, "/revoked/a", &json!({ "sub": { "u2": now } }));
    check(&server, "GET /users/u2", &bearer(&token("u2")), "200");
    put(&server, "/revoked/b/sub/u2", &json!(now));
    ends(&mut other, 2, "revoked");
    server.api.reload_auth(&auth("", RULES)).unwrap();
    check(&server, "GET /users/u2", &bearer(&token("u2")), "200");
}

#[test]
fn streams_of_another_programs_server_go_on_after_a_reload() {
    // They are tasks, which are woken once for each time that they look.
    let api = Api::new(Options { auth: auth("", RULES), ..Options::default() });
    let runtime = runtime();
    runtime
        .block_on(async { api.put("/", &json!({ "public": 0, "users": { "u1": 1 } })).await })
        .unwrap();
    let address = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().nest_service("/live", api.router());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    });
    let open = |path: &str| {
        let header = bearer(&token("u1"));
        let mut stream = Stream::open(address, &format!("GET /live{path}?watch\n{header}"));
        stream.until_synced();
        stream
    };
    let (mut public, mut own) = (open("/public"), open("/users/u1"));
    for value in 1..4 {
        api.reload_auth(&auth("", RULES)).unwrap();
        runtime.block_on(async { api.put("/public", &value).await }).unwrap();
        public.expect(&[&format!("snapshot {value}")]);
    }
    api.reload_auth(&auth("", &without("/users/{user}"))).unwrap();
    assert!(own.next().raw.contains("forbidden"));
    runtime.block_on(async { api.put("/public", &9).await }).unwrap();
    public.expect(&["snapshot 9"]);
}
