//! Identity: who shows a credential, and what becomes of it (PROTOCOL I1 to I9).

use crate::common::identity::{
    API_KEY, ISSUER, NOBODY, RULES, ask, auth, bearer, check, now, serve_auth, token, token_for,
    token_of,
};
use crate::common::{serve_exactly, serve_with};
use halfping::{Cors, Hosts, Options};
use serde_json::json;

#[test]
fn every_credential_names_its_owner_and_the_answer_says_so() {
    // PROTOCOL I2, I9
    let server = serve_auth("cookie = \"hp\"\nquery_token = true", "");
    server.write(&["PUT /a 1"]);
    let u1 = token("u1");
    let private = "200\nCache-Control: private, no-cache\nVary: Accept, Authorization";
    check(&server, "GET /a", &bearer(&u1), &format!("{private}\nHalfping-Subject: u1"));
    check(&server, "GET /a", &format!("authorization: bEARER {u1}"), "200\nHalfping-Subject: u1");
    check(&server, "GET /a", &format!("Cookie: x=1; hp={u1}"), "200\nHalfping-Subject: u1");
    check(&server, "GET /a", &bearer(API_KEY), "200\nHalfping-Subject: importer");
    check(&server, "GET /a", NOBODY, &format!("{private}\n!Halfping-Subject"));
    let name = bearer(&token("zoë 100%"));
    check(&server, "GET /a", &name, "200\nHalfping-Subject: zo%C3%AB%20100%25");
    let stream = server.ndjson(&format!("/a?access_token={u1}&depth=1"));
    assert_eq!(stream.header("halfping-subject"), Some("u1"));
    let vary = ask(&server, "PUT /a\n\n2", &bearer(&u1));
    assert_eq!(vary.header("vary"), Some("Authorization, Cookie"));
}

#[test]
fn a_credential_that_is_no_good_is_never_taken_for_nobody() {
    // PROTOCOL I3, I4
    let server = serve_auth("cookie = \"hp\"", "");
    server.write(&["PUT /a 1"]);
    let u1 = token("u1");
    let other = |members| bearer(&token_for("u1", 3600, members));
    for header in [
        bearer("x"),
        bearer(&format!("{u1}x")),
        bearer(&u1[..u1.len() - 1]),
        bearer("hpk_of_nobody"),
        "Authorization: Bearer".to_owned(),
        "Authorization: Basic dTE6eA==".to_owned(),
        format!("Authorization: {u1}"),
        format!("Cookie: hp={u1}x\nOrigin: http://localhost"),
        other(json!({ "aud": "others" })),
        other(json!({ "iss": "https://evil.example" })),
        other(json!({ "nbf": now() + 300 })),
        other(json!({ "exp": null })),
        bearer(&token_of(&json!({ "iss": ISSUER, "aud": "halfping", "sub": "u1" }))),
    ] {
        for short in ["GET /a", "HEAD /a", "PUT /a\n\n2", "GET /a?watch", "POST /_streams\n\n[]"] {
            let expect = "401 unauthorized\nWWW-Authenticate: Bearer\n!Halfping-Subject";
            let answer = check(&server, short, &header, expect);
            assert!(!answer.text().contains(&u1[..20]), "{header}: {}", answer.text());
        }
        check(&server, "GET /_health", &header, "200");
        check(&server, "OPTIONS /a", &header, "204");
    }
    let expired = bearer(&token_for("u1", -60, json!({})));
    check(&server, "GET /a", &expired, "401 token-expired\nWWW-Authenticate: Bearer");
    let twice = format!("{}\nCookie: hp={u1}", bearer(&u1));
    check(&server, "GET /a", &twice, "400 bad-header");
    let again = format!("{}\n{}", bearer(&u1), bearer(&u1));
    check(&server, "GET /a", &again, "400 bad-header");
}

#[test]
fn a_token_in_the_query_opens_streams_and_sessions_and_nothing_else() {
    // PROTOCOL I5
    let server = serve_auth("query_token = true", "");
    server.write(&["PUT /a 1"]);
    let u1 = token("u1");
    for short in
        ["GET /a?", "HEAD /a?", "PUT /a?", "DELETE /a?", "GET /_metrics?", "POST /_auth/ticket?"]
    {
        let answer = ask(&server, &format!("{short}access_token={u1}\n\n1"), NOBODY);
        assert_eq!(answer.status, 400, "{short}: {}", answer.text());
        assert!(!answer.text().contains(&u1[..20]), "{}", answer.text());
    }
    server.ndjson(&format!("/a?access_token={u1}")).until_synced();
    server.ndjson(&format!("/_streams?path=/a&access_token={u1}")).until_synced();
    let mut session = server.session(&format!("/?access_token={u1}"));
    assert_eq!(session.ask(json!({ "get": "/a" }))["value"], 1);
    check(&server, "GET /a?watch&access_token=x", NOBODY, "401 unauthorized");
    // Where it is not allowed, it is refused all the same.
    let server = serve_auth("", "");
    let short = format!("GET /a?watch&access_token={u1}");
    let answer = check(&server, &short, NOBODY, "400 bad-parameter");
    assert!(!answer.text().contains(&u1[..20]), "{}", answer.text());
}

#[test]
fn a_ticket_opens_one_stream_in_the_name_of_who_asked_for_it() {
    // PROTOCOL I6
    let server = serve_auth("", RULES);
    ask(&server, "PUT /users/u1\n\n1", &bearer(&token("u1")));
    let ticket = || {
        let answer = check(
            &server,
            "POST /_auth/ticket",
            &bearer(&token("u1")),
            "200\nCache-Control: no-store",
        );
        assert_eq!(answer.json()["expires_ms"], 60_000);
        answer.json()["ticket"].as_str().unwrap().to_owned()
    };
    let first = ticket();
    let mut stream = server.sse(&format!("/users/u1?ticket={first}"));
    assert_eq!(stream.header("halfping-subject"), Some("u1"));
    assert_eq!(stream.next().show(), "snapshot 1");
    check(&server, &format!("GET /users/u1?watch&ticket={first}"), NOBODY, "401 unauthorized");
    let mut session = server.session(&format!("/?ticket={}", ticket()));
    assert_eq!(session.ask(json!({ "get": "/users/u1" }))["status"], 200);
    check(&server, &format!("GET /users/u1?ticket={}", ticket()), NOBODY, "400 bad-parameter");
    check(&server, "POST /_auth/ticket", NOBODY, "401 unauthorized");
    check(&server, "GET /_auth/ticket", &bearer(&token("u1")), "404 not-found");
    let without = serve_with(Options::default());
    check(&without, "POST /_auth/ticket", NOBODY, "403 reserved-path");
}

#[test]
fn a_cookie_needs_a_page_that_is_ours_or_listed_to_write_or_open_a_session() {
    // PROTOCOL I7
    let origins = vec!["https://app.example.org".to_owned()];
    let auth = || auth("cookie = \"hp\"", "");
    for cors in [Cors::Origins(origins), Cors::Loopback, Cors::Any, Cors::None] {
        let is_listed = matches!(cors, Cors::Origins(_));
        let server =
            serve_exactly(Options { cors, auth: auth(), hosts: Hosts::Any, ..Options::default() });
        let cookie = format!("Cookie: hp={}", token("u1"));
        for (page, is_let_in) in [
            ("X-None: 1", false),
            ("Sec-Fetch-Site: none", false),
            ("Sec-Fetch-Site: cross-site", false),
            ("Sec-Fetch-Site: same-origin", true),
            ("Origin: http://localhost", true),
            ("Origin: https://app.example.org", is_listed),
            ("Origin: https://app.example.org\nSec-Fetch-Site: cross-site", is_listed),
            ("Origin: http://localhost:5173\nSec-Fetch-Site: same-site", false),
            ("Origin: https://evil.example\nSec-Fetch-Site: cross-site", false),
            ("Origin: null", false),
        ] {
            let status = |short: &str| ask(&server, short, &format!("{cookie}\n{page}")).status;
            let expect = if is_let_in { (200..300, 200) } else { (403..404, 403) };
            assert!(expect.0.contains(&status("PUT /a\n\n1")), "{page}");
            assert_eq!(status("POST /_auth/ticket"), expect.1, "{page}");
            let read = ask(&server, "GET /_health", &format!("{cookie}\n{page}"));
            let credentials = read.header("access-control-allow-credentials");
            let is_cross = page.contains("https://app.example.org");
            assert_eq!(credentials, (is_listed && is_cross).then_some("true"), "{page}");
        }
        // A token in a header is sent by no browser of its own accord.
        assert_eq!(ask(&server, "PUT /a\n\n1", &bearer(&token("u1"))).status, 200);
    }
}

#[test]
fn without_a_credential_nobody_gets_in_where_anonymous_is_false() {
    // PROTOCOL I8
    let server = serve_auth("anonymous = false", "");
    for short in [
        "GET /",
        "GET /?watch",
        "PUT /a\n\n1",
        "GET /_metrics",
        "GET /_streams?path=/",
        "GET /_server",
    ] {
        check(&server, short, NOBODY, "401 unauthorized\nWWW-Authenticate: Bearer");
    }
    check(&server, "GET /_health", NOBODY, "200");
    check(&server, "OPTIONS /a", NOBODY, "204");
    check(&server, "PUT /a\n\n1", &bearer(&token("u1")), "201");
    let mut session = server.session("/");
    assert_eq!(session.ask(json!({ "get": "/a" }))["status"], 401);
    assert_eq!(session.ask(json!({ "put": "/a", "value": 2 }))["status"], 401);
    assert_eq!(session.ask(json!({ "auth": token("u1") }))["identity"]["sub"], "u1");
    assert_eq!(session.ask(json!({ "get": "/a" }))["value"], 1);
    let body = json!([{ "auth": token("u1") }, { "watch": 1, "path": "/a" }]);
    let mut once =
        server.stream(&format!("POST /_streams\nAccept: application/x-ndjson\n\n{body}"));
    assert_eq!(once.synced()["set"], json!([[1, "snapshot", 1]]));
}

#[test]
fn anonymous_clients_have_the_claims_that_the_configuration_gives_them() {
    // PROTOCOL I8, I10
    let server = serve_auth("anonymous = { sub = \"guest\" }", RULES);
    check(&server, "PUT /users/guest\n\n1", NOBODY, "201\n!Halfping-Subject");
    check(&server, "PUT /users/u1\n\n1", NOBODY, "401 unauthorized");
}
