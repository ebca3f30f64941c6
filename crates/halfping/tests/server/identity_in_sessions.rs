//! Identity of sessions and streams, which changes and ends (PROTOCOL I14 to I20).

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::identity::{RULES, ask, auth, bearer, check, put, serve_auth, token, token_for};
use crate::common::raw::DEADLINE;
use crate::common::session::{Session, Told};
use crate::common::{self, Running, serve_with};
use halfping::{Limits, Options};
use serde_json::{Value, json};

/// The next message with an `error`.
#[track_caller]
fn error(session: &mut Session) -> Value {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        let message = session.next();
        if message.get("error").is_some() {
            return message;
        }
    }
    panic!("no error came");
}

#[track_caller]
fn watch(session: &mut Session, link: u32, path: &str) {
    let answer = session.ask(json!({ "watch": link, "path": path }));
    assert_eq!(answer["status"], 200, "{answer}");
}

fn serve_public() -> Running {
    let server = serve_auth("", RULES);
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1, "u2": 2 } }));
    server
}

#[test]
fn a_session_says_who_speaks_and_is_told_who_that_is() {
    // PROTOCOL I14
    let server = serve_public();
    let mut session = server.session("/");
    assert_eq!(session.ask(json!({ "get": "/users/u1" }))["status"], 401);
    let answer = session.ask(json!({ "auth": token_for("u1", 300, json!({})) }));
    assert_eq!((&answer["status"], &answer["identity"]["sub"]), (&json!(200), &json!("u1")));
    let left = answer["identity"]["expires_ms"].as_u64().unwrap();
    assert!((295_000..=300_000).contains(&left), "{answer}");
    watch(&mut session, 1, "/users/u1");
    // One that is no good changes nothing.
    for bad in
        ["nonsense".to_owned(), format!("{}x", token("u2")), token_for("u2", -100, json!({}))]
    {
        let answer = session.ask(json!({ "auth": bad }));
        assert_eq!(answer["status"], 401, "{answer}");
        assert!(!answer.to_string().contains(&bad[1..]), "{answer}");
        assert_eq!(session.ask(json!({ "get": "/users/u1" }))["value"], 1);
    }
    let answer = session.ask(json!({ "auth": null }));
    assert_eq!((&answer["status"], answer.get("identity")), (&json!(200), Some(&Value::Null)));
    let ended = error(&mut session);
    assert_eq!((&ended["link"], &ended["error"]["ends"]), (&json!(1), &json!(true)));
    assert!(ended["error"]["type"].as_str().unwrap().ends_with(":unauthorized"), "{ended}");
    assert_eq!(session.ask(json!({ "get": "/users/u1" }))["status"], 401);
    let key = session.ask(json!({ "auth": common::identity::API_KEY }));
    assert_eq!(key["identity"], json!({ "sub": "importer" }));
}

#[test]
fn other_rights_end_the_links_that_they_do_not_allow_and_no_others() {
    // PROTOCOL I15
    let server = serve_public();
    let mut session = server.session("/");
    session.ask(json!({ "auth": token("u1") }));
    watch(&mut session, 1, "/public");
    watch(&mut session, 2, "/users/u1");
    for link in 10..500 {
        watch(&mut session, link, "/users/u1");
    }
    // The same rights: nothing happens.
    session.ask(json!({ "auth": token_for("u1", 1000, json!({})) }));
    put(&server, "/users/u1", &json!(5));
    let state = loop {
        let state = session.state();
        if state["set"].to_string().contains("[2,") && state["set"].to_string().contains('5') {
            break state;
        }
    };
    assert!(state.get("error").is_none());
    // Others: all links but the public one end, each with its reason.
    session.ask(json!({ "auth": token("u2") }));
    let mut ended = Vec::new();
    while ended.len() < 491 {
        let message = error(&mut session);
        assert!(message["error"]["type"].as_str().unwrap().ends_with(":forbidden"), "{message}");
        ended.push(message["link"].as_u64().unwrap());
    }
    ended.sort_unstable();
    assert_eq!(ended, [2].into_iter().chain(10..500).collect::<Vec<u64>>());
    put(&server, "/", &json!({ "public": 9, "users": { "u1": 9 } }));
    let told = session.state();
    assert_eq!(told["set"], json!([[1, "snapshot", 9]]), "{told}");
    assert_eq!(session.ask(json!({ "unwatch": 2 }))["status"], 404);
}

#[test]
fn at_its_tokens_end_a_session_keeps_what_everybody_may_have() {
    // PROTOCOL I16
    let server = serve_public();
    let mut session = server.session("/");
    session.ask(json!({ "auth": token_for("u1", 2, json!({})) }));
    watch(&mut session, 1, "/public");
    watch(&mut session, 2, "/users/u1");
    let begun = Instant::now();
    let ended = error(&mut session);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!((&ended["link"], &ended["error"]["ends"]), (&json!(2), &json!(true)));
    assert!(ended["error"]["type"].as_str().unwrap().ends_with(":token-expired"), "{ended}");
    assert_eq!(session.ask(json!({ "get": "/users/u1" }))["status"], 401);
    put(&server, "/", &json!({ "public": 7, "users": { "u1": 7 } }));
    assert_eq!(session.state()["set"], json!([[1, "snapshot", 7]]));
    // It goes on with another token.
    session.ask(json!({ "auth": token("u1") }));
    watch(&mut session, 2, "/users/u1");
}

#[test]
fn a_fresh_token_in_time_keeps_every_link() {
    // PROTOCOL I15, I16
    let server = serve_public();
    let mut session = server.session("/");
    session.ask(json!({ "auth": token_for("u1", 2, json!({})) }));
    watch(&mut session, 2, "/users/u1");
    session.ask(json!({ "auth": token_for("u1", 60, json!({})) }));
    sleep(Duration::from_millis(2500));
    put(&server, "/users/u1", &json!(8));
    loop {
        let message = session.next();
        assert!(message.get("error").is_none(), "{message}");
        if message["set"].to_string().contains('8') {
            break;
        }
    }
}

#[test]
fn a_stream_ends_with_its_token_unless_everybody_may_have_it() {
    // PROTOCOL I17
    let server = serve_public();
    let short = || bearer(&token_for("u1", 2, json!({})));
    let public = server.stream(&format!("GET /public?watch\n{}", short()));
    let mut public = public;
    public.until_synced();
    for accept in ["text/event-stream", "application/x-ndjson"] {
        for target in ["/users/u1", "/_streams?path=/public&path=/users/u1"] {
            let mut stream = server.stream(&format!("GET {target}\nAccept: {accept}\n{}", short()));
            let last = stream.until_synced();
            assert!(last.len() >= 2);
            let ended = stream.next();
            assert_eq!(ended.kind, "error", "{ended:?}");
            assert!(ended.raw.contains("token-expired") && ended.raw.contains("\"ends\":true"));
            stream.expect_end();
        }
    }
    put(&server, "/public", &json!(3));
    assert_eq!(public.next().show(), "snapshot 3");
    // One that is read by a token that is over never begins.
    check(
        &server,
        "GET /users/u1?watch",
        &bearer(&token_for("u1", -60, json!({}))),
        "401 token-expired",
    );
}

#[test]
fn a_stream_of_a_session_heard_once_loses_its_links_and_ends_without_any() {
    // PROTOCOL I16
    let server = serve_public();
    let commands = json!([
        { "auth": token_for("u1", 2, json!({})), "ref": 1 },
        { "watch": 1, "path": "/users/u1" }, { "watch": 2, "path": "/users/u2" },
    ]);
    let mut stream = server.stream(&format!("POST /_streams\n\n{commands}"));
    assert_eq!(stream.message()["identity"]["sub"], "u1");
    assert!(stream.message().to_string().contains(":forbidden"));
    assert_eq!(stream.synced()["set"], json!([[1, "snapshot", 1]]));
    let ended = stream.message();
    assert_eq!((&ended["link"], &ended["error"]["ends"]), (&json!(1), &json!(true)));
    assert!(ended.to_string().contains(":token-expired"), "{ended}");
    stream.expect_end();
}

#[test]
fn a_long_poll_ends_with_its_token() {
    // PROTOCOL I17
    let server = serve_public();
    let known = ask(&server, "GET /users/u1", &bearer(&token("u1"))).cursor();
    let who = bearer(&token_for("u1", 2, json!({})));
    let begun = Instant::now();
    let short = format!("GET /users/u1\nIf-None-Match: \"{known}\"\nPrefer: wait=30");
    check(&server, &short, &who, "401 token-expired");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_session_of_nobody_is_closed_where_somebody_is_wanted() {
    // PROTOCOL I18
    let limits = Limits::default().with(|limits| limits.auth_timeout_ms = 600);
    let auth = auth("anonymous = false", "");
    let server = serve_with(Options { limits, auth, ..Options::default() });
    let begun = Instant::now();
    assert_eq!(server.session("/").closed(), 4401);
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    // One that says who it is stays, and is asked again when its token ends.
    let mut session = server.session("/");
    session.ask(json!({ "auth": token_for("u1", 2, json!({})) }));
    watch(&mut session, 1, "/a");
    let ended = error(&mut session);
    assert!(ended["error"]["type"].as_str().unwrap().ends_with(":token-expired"), "{ended}");
    assert_eq!(session.closed(), 4401);
}

#[test]
fn who_is_revoked_is_refused_and_those_who_are_in_are_out_soon() {
    // PROTOCOL I19
    let server = serve_auth("revoked = \"/auth/revoked\"", RULES);
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1, "u2": 2 } }));
    let old = token_for("u1", 3600, json!({ "iat": common::identity::now() - 100, "jti": "x" }));
    let mut session = server.session("/");
    session.ask(json!({ "auth": old }));
    watch(&mut session, 1, "/users/u1");
    watch(&mut session, 2, "/public");
    let mut stream = server.stream(&format!("GET /users/u1?watch\n{}", bearer(&old)));
    stream.until_synced();
    put(&server, "/auth/revoked", &json!({ "sub": { "u1": common::identity::now() - 50 } }));
    check(&server, "GET /users/u1", &bearer(&old), "401 revoked\nWWW-Authenticate: Bearer");
    check(&server, "GET /users/u1", &bearer(&token("u1")), "200");
    let ended = error(&mut session);
    assert_eq!(ended["link"], 1);
    assert!(ended["error"]["type"].as_str().unwrap().ends_with(":revoked"), "{ended}");
    assert!(stream.next().raw.contains("revoked"));
    assert_eq!(session.ask(json!({ "auth": old }))["status"], 401);
    put(&server, "/auth/revoked", &json!({ "jti": { "x": 1 } }));
    check(&server, "GET /users/u1", &bearer(&old), "401 revoked");
    // What cannot be read revokes everybody.
    put(&server, "/auth/revoked", &json!(7));
    check(&server, "GET /users/u1", &bearer(&token("u1")), "401 revoked");
    check(&server, "GET /public", "X-None: 1", "200");
    assert!(matches!(session.next_within(Duration::from_millis(10)), Told::Nothing));
}

#[test]
fn all_sessions_of_whom_a_commit_revokes_are_told_without_asking() {
    // PROTOCOL I19
    let server = serve_auth("revoked = \"/revoked\"", RULES);
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1, "u2": 2 }, "revoked": {} }));
    let open = |sub: &str| {
        let mut session = server.session("/");
        session.ask(json!({ "auth": token(sub) }));
        watch(&mut session, 1, "/public");
        watch(&mut session, 2, &format!("/users/{sub}"));
        session.state();
        session
    };
    let mut revoked: Vec<Session> = (0..200).map(|_| open("u1")).collect();
    let mut other = open("u2");
    let begun = Instant::now();
    let now = common::identity::now() + 5;
    put(&server, "/revoked/sub", &json!({ "u1": now }));
    for session in &mut revoked {
        let ended = error(session);
        assert_eq!(ended["link"], 2, "{ended}");
        assert!(ended["error"]["type"].as_str().unwrap().ends_with(":revoked"), "{ended}");
    }
    println!("{} sessions were told within {:?}", revoked.len(), begun.elapsed());
    put(&server, "/", &json!({ "public": 5, "users": { "u2": 5 }, "revoked": {} }));
    while !other.state()["set"].to_string().contains("[2,\"snapshot\",5]") {}
    // The revocation is taken back.
    assert_eq!(revoked[0].ask(json!({ "auth": token("u1") }))["status"], 200);
}
