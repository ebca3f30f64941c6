//! Looks as somebody else: for who may read everything, to read (PROTOCOL I33).

use std::time::{Duration, Instant};

use crate::common::identity::{
    API_KEY, NOBODY, admin, ask, auth, bearer, check, now, put, serve_auth, token, token_for,
};
use crate::common::raw::DEADLINE;
use crate::common::session::{Session, Told};
use crate::common::{Running, serve_with};
use halfping::Options;
use serde_json::{Value, json};

const RULES: &str = r#"
    [[rule]]
    allow = ["read", "write"]
    path = "/"
    when = "'admin' in claims.roles"

    [[rule]]
    allow = ["read", "write"]
    path = "/orders/{order}"
    when = "resource.owner == claims.sub"

    [[rule]]
    allow = ["create"]
    path = "/orders/{order}"

    [[rule]]
    allow = ["read"]
    path = "/public"
"#;

fn serve(settings: &str) -> Running {
    let server = serve_auth(settings, RULES);
    let orders = json!({ "1": { "owner": "u1", "n": 1 }, "2": { "owner": "u2", "n": 2 } });
    put(&server, "/", &json!({ "orders": orders, "public": 7, "hidden": { "x": 1 } }));
    server
}

/// Begins a look as somebody with these claims, with the header of who looks.
#[track_caller]
fn look(server: &Running, claims: &Value, who: &str) -> (String, u64) {
    let answer = check(server, &format!("POST /_auth/look\n\n{claims}"), who, "200");
    let answer = answer.json();
    (answer["token"].as_str().unwrap().to_owned(), answer["expires_ms"].as_u64().unwrap())
}

#[test]
fn who_may_read_everything_sees_what_another_one_would_see() {
    // PROTOCOL I33a
    let server = serve("");
    for (claims, theirs) in [
        (json!({ "sub": "u1" }), bearer(&token("u1"))),
        (json!({ "sub": "u2" }), bearer(&token("u2"))),
        (json!({ "sub": "importer" }), bearer(API_KEY)),
        (json!({ "sub": "root", "roles": ["admin"] }), admin()),
    ] {
        let (looks, lasts) = look(&server, &claims, &admin());
        assert!((590_000..=600_000).contains(&lasts), "{lasts}");
        for path in
            ["/", "/orders", "/orders/1", "/orders/2", "/public", "/hidden", "/none", "/_server"]
        {
            let path = format!("GET {path}");
            let (one, other) = (ask(&server, &path, &bearer(&looks)), ask(&server, &path, &theirs));
            let told = |answer: &crate::common::raw::Answer| {
                (answer.status, answer.header("etag").map(str::to_owned), answer.body.clone())
            };
            assert_eq!(told(&one), told(&other), "{claims} {path}");
            assert_eq!(one.header("halfping-subject"), Some("root"), "who looks is named");
        }
    }
}

#[test]
fn who_looks_changes_nothing() {
    // PROTOCOL I33a
    let server = serve("");
    for claims in [json!({ "sub": "u1" }), json!({ "roles": ["admin"] })] {
        let (looks, _) = look(&server, &claims, &admin());
        let before = ask(&server, "GET /", &admin()).cursor();
        let merge = "Content-Type: application/merge-patch+json";
        let patch = "Content-Type: application/json-patch+json";
        for write in [
            "PUT /orders/1/n\n\n5".to_owned(),
            "PUT /orders/3\n\n{\"owner\":\"u1\"}".to_owned(),
            "PUT /\n\n{}".to_owned(),
            "POST /orders\n\n{\"owner\":\"u1\"}".to_owned(),
            "DELETE /orders/1".to_owned(),
            format!("PATCH /orders/1\n{merge}\n\n{{\"n\":6}}"),
            format!("PATCH /orders/1\n{patch}\n\n[{{\"op\":\"remove\",\"path\":\"/n\"}}]"),
            "POST /_auth/ticket".to_owned(),
            "POST /_auth/look\n\n{}".to_owned(),
        ] {
            check(&server, &write, &bearer(&looks), "403 forbidden");
        }
        let mut session = server.session("/");
        session.ask(json!({ "auth": looks }));
        for command in [
            json!({ "put": "/orders/1/n", "value": 5 }),
            json!({ "post": "/orders", "value": { "owner": "u1" } }),
            json!({ "merge": "/orders/1", "value": { "n": 5 } }),
            json!({ "patch": "/orders/1", "value": [{ "op": "remove", "path": "/n" }] }),
            json!({ "delete": "/orders/1" }),
        ] {
            let answer = session.ask(command.clone());
            assert_eq!(answer["status"], 403, "{command} {answer}");
        }
        assert_eq!(ask(&server, "GET /", &admin()).cursor(), before);
        // Its own token is as good as ever.
        assert_eq!(session.ask(json!({ "auth": token("u1") }))["status"], 200);
        assert_eq!(session.ask(json!({ "put": "/orders/1/n", "value": 1 }))["status"], 200);
    }
}

#[test]
fn nobody_else_looks() {
    // PROTOCOL I33a
    let server = serve("");
    let claims = "POST /_auth/look\n\n{\"sub\":\"u2\"}";
    check(&server, claims, NOBODY, "401 unauthorized");
    for who in [token("u1"), API_KEY.to_owned()] {
        check(&server, claims, &bearer(&who), "403 forbidden\n\nread everything");
    }
    let hidden = "[[rule]]\ndeny = [\"read\"]\npath = \"/hidden/x\"\n";
    let masked = serve_auth("", &format!("{RULES}{hidden}"));
    check(&masked, claims, &admin(), "403 forbidden");
    // Where there are no rules, everybody sees all.
    let open = serve_with(Options { auth: auth("", ""), ..Options::default() });
    check(&open, claims, &admin(), "404 not-found\n\nno rules");
    check(&serve_with(Options::default()), claims, NOBODY, "403 reserved-path");

    for forged in ["hpl_", "hpl_00", &format!("hpl_{}", "0".repeat(64))] {
        check(&server, "GET /public", &bearer(forged), "401 unauthorized");
    }
    for (body, expect) in [
        ("[]", "400 bad-body\n\nJSON object"),
        ("{", "400 bad-json"),
        ("{\"sub\":1,\"sub\":2}", "400 duplicate-member"),
        (&format!("{{\"x\":\"{}\"}}", "y".repeat(20_000)), "400 bad-body\n\nlonger than"),
    ] {
        check(&server, &format!("POST /_auth/look\n\n{body}"), &admin(), expect);
    }
    check(&server, "GET /_auth/look", &admin(), "404");
    for _ in 0..256 {
        look(&server, &json!({}), &admin());
    }
    check(&server, "POST /_auth/look\n\n{}", &admin(), "429 too-many-tickets");
}

/// The next message with an `error`.
#[track_caller]
fn error(session: &mut Session) -> Value {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if let Told::Message(message) = session.next_within(Duration::from_millis(100))
            && message.get("error").is_some()
        {
            return message;
        }
    }
    panic!("no error came");
}

#[test]
fn a_look_is_live_and_ends_with_the_token_of_who_looks() {
    // PROTOCOL I33b
    let server = serve("revoked = \"/auth/revoked\"");
    let root = |seconds| bearer(&token_for("root", seconds, json!({ "roles": ["admin"] })));
    let claims = json!({ "sub": "u1", "team": "a" });
    let (short, lasts) = look(&server, &claims, &root(3));
    assert!(lasts <= 3_000, "{lasts}");
    let (long, _) = look(&server, &claims, &root(3600));
    let open = |looks: &str| {
        let mut session = server.session("/");
        let answer = session.ask(json!({ "auth": looks }));
        let identity = &answer["identity"];
        assert_eq!((&identity["sub"], &identity["as"]), (&json!("root"), &claims), "{answer}");
        assert_eq!(session.ask(json!({ "watch": 1, "path": "/orders" }))["status"], 200);
        assert_eq!(session.state()["set"][0][2], json!({ "1": { "owner": "u1", "n": 1 } }));
        session
    };
    let (mut one, mut other) = (open(&short), open(&long));
    put(&server, "/orders/2/owner", &json!("u1"));
    for session in [&mut one, &mut other] {
        let state = session.state();
        assert!(state["set"].to_string().contains("\"n\":2"), "what comes is told: {state}");
    }
    let ended = error(&mut one);
    assert!(ended["error"]["type"].as_str().unwrap().ends_with(":token-expired"), "{ended}");
    check(&server, "GET /orders", &bearer(&short), "401");

    put(&server, "/auth/revoked", &json!({ "sub": { "root": now() + 10 } }));
    let ended = error(&mut other);
    assert!(ended["error"]["type"].as_str().unwrap().ends_with(":revoked"), "{ended}");
    check(&server, "GET /orders", &bearer(&long), "401 revoked");
    // It is not that one who is revoked.
    let theirs = json!({ "sub": { "u1": now() + 10 } });
    put(&server, "/auth/revoked", &theirs);
    check(&server, "GET /orders", &bearer(&long), "200");
}
