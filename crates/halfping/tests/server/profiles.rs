//! Profiles: what rules call `me` is a document of the tree, and counts as it is now (PROTOCOL I32).

use std::time::Duration;

use crate::common::Running;
use crate::common::identity::{
    NOBODY, ask, bearer, check, ends, put, serve_auth, session_of, stream_of, token, until_set,
};
use crate::common::session::Told;
use serde_json::{Value, json};

const PROFILE: &str = "profile = \"/people/{claims.sub}\"";

/// Documents of the teams of whoever asks, and their own profile.
const RULES: &str = r#"
    [[rule]]
    allow = ["read", "update"]
    path = "/teams/{team}"
    when = "team in me.teams"

    [[rule]]
    allow = ["read"]
    path = "/people/{name}"
    when = "name == claims.sub"

    [[rule]]
    allow = ["read"]
    path = "/news"
"#;

fn serve() -> Running {
    let server = serve_auth(PROFILE, RULES);
    put(
        &server,
        "/",
        &json!({
            "teams": { "red": 1, "blue": 2 },
            "people": { "u1": { "teams": ["red"] }, "u2": { "teams": ["red", "blue"] } },
            "news": 0,
        }),
    );
    server
}

/// What is set, by the numbers of the links.
fn sorted(set: &Value) -> Vec<Value> {
    let mut set = set.as_array().unwrap().clone();
    set.sort_by_key(|entry| entry[0].as_u64());
    set
}

#[test]
fn a_request_is_judged_by_the_profile_as_it_is() {
    // PROTOCOL I32
    let server = serve();
    let u1 = bearer(&token("u1"));
    check(&server, "GET /teams", &u1, "200\n\n{\"red\":1}");
    check(&server, "GET /teams", &bearer(&token("u2")), "200\n\n{\"blue\":2,\"red\":1}");
    check(&server, "GET /teams/blue", &u1, "403 forbidden");
    check(&server, "PUT /teams/blue\n\n3", &u1, "403 forbidden");
    put(&server, "/people/u1/teams", &json!(["blue"]));
    check(&server, "GET /teams", &u1, "200\n\n{\"blue\":2}");
    check(&server, "PUT /teams/blue\n\n3", &u1, "200");
    check(&server, "PUT /teams/red\n\n3", &u1, "403 forbidden");
    put(&server, "/people", &json!({}));
    check(&server, "GET /teams/blue", &u1, "403 forbidden");
}

#[test]
fn who_has_no_profile_has_none_of_what_it_would_allow() {
    // PROTOCOL I32
    let server = serve();
    for header in [bearer(&token("nobody's")), NOBODY.to_owned()] {
        let answer = ask(&server, "GET /teams/red", &header);
        assert!(matches!(answer.status, 401 | 403), "{}", answer.text());
        check(&server, "GET /news", &header, "200\n\n0");
    }
    // One that is too long is as good as none.
    put(&server, "/people/u1/note", &json!("x".repeat(70_000)));
    check(&server, "GET /teams/red", &bearer(&token("u1")), "403 forbidden");
    put(&server, "/people/u1/note", &json!("x"));
    check(&server, "GET /teams/red", &bearer(&token("u1")), "200\n\n1");
}

#[test]
fn another_profile_ends_just_the_links_that_it_does_not_allow() {
    // PROTOCOL I32
    let server = serve();
    let links = [(1, "/teams/red"), (2, "/news"), (3, "/people/u1")];
    let mut session = session_of(&server, &token("u1"), &links);
    let mut others = session_of(&server, &token("u2"), &links[..2]);
    let mut stream = stream_of(&server, "/teams/red", &bearer(&token("u1")));
    let mut news = stream_of(&server, "/news", &bearer(&token("u1")));
    put(&server, "/people/u1/teams", &json!(["blue"]));
    ends(&mut session, 1, "forbidden");
    assert_eq!(until_set(&mut session, 3)[2], json!({ "teams": ["blue"] }));
    assert!(stream.next().raw.contains("forbidden"));
    stream.expect_end();
    assert_eq!(session.ask(json!({ "watch": 4, "path": "/teams/blue" }))["status"], 200);
    assert_eq!(until_set(&mut session, 4), json!([4, "snapshot", 2]));
    put(
        &server,
        "/",
        &json!({
            "teams": { "red": 7, "blue": 8 },
            "people": { "u1": { "teams": ["blue"] }, "u2": { "teams": ["red", "blue"] } },
            "news": 9,
        }),
    );
    assert_eq!(
        sorted(&session.state()["set"]),
        [json!([2, "snapshot", 9]), json!([4, "snapshot", 8])]
    );
    assert_eq!(
        sorted(&others.state()["set"]),
        [json!([1, "snapshot", 7]), json!([2, "snapshot", 9])]
    );
    news.expect(&["snapshot 9"]);
    assert!(matches!(session.next_within(Duration::from_millis(20)), Told::Nothing));
}

#[test]
fn a_profile_that_allows_the_same_ends_nothing() {
    // PROTOCOL I32
    let server = serve();
    let mut session = session_of(&server, &token("u1"), &[(1, "/teams"), (2, "/news")]);
    put(&server, "/people/u1", &json!({ "teams": ["red"], "name": "Ada" }));
    put(&server, "/teams/blue", &json!(5));
    put(&server, "/teams/red", &json!(6));
    assert_eq!(until_set(&mut session, 1)[2], json!({ "red": 6 }));
    assert!(matches!(session.next_within(Duration::from_millis(20)), Told::Nothing));
}

#[test]
fn profiles_come_and_go_with_those_who_have_them() {
    // As many as are not followed any more are let go of; none that is.
    let server = serve();
    let mut session = session_of(&server, &token("u1"), &[(1, "/teams/red")]);
    for number in 0..500 {
        put(
            &server,
            "/people",
            &json!({ "u1": { "teams": ["red"] }, (format!("p{number}")): { "teams": ["blue"] } }),
        );
        let header = bearer(&token(&format!("p{number}")));
        check(&server, "GET /teams/blue", &header, "200\n\n2");
    }
    put(&server, "/people/u1/teams", &json!([]));
    ends(&mut session, 1, "forbidden");
}
