//! Authenticators: senders whom somebody else knows (PROTOCOL I34a, I35).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use halfping::{AskTerms, Authenticate, Identity, Options, Question, Unidentified};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::common::identity::{NOBODY, RULES, admin, ask, auth, bearer, check, token};
use crate::common::raw::DEADLINE;
use crate::common::{Running, serve_with};

/// A log-in: what it says of each cookie, and of each `Authorization`.
#[derive(Clone, Default)]
struct Login(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Mutex<HashMap<String, Value>>,
    asked: AtomicUsize,
    seen: Mutex<Vec<String>>,
    is_down: Mutex<bool>,
    takes: Mutex<Duration>,
}

impl Login {
    /// Says from here on that this credential has these claims; `null`: it is no good; `false`: it
    /// is not let in.
    fn says(&self, credential: &str, claims: Value) {
        self.0.known.lock().unwrap().insert(credential.to_owned(), claims);
    }

    fn is_down(&self, is_down: bool) {
        *self.0.is_down.lock().unwrap() = is_down;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl Authenticate for Login {
    fn fields(&self) -> &[HeaderName] {
        const FIELDS: [HeaderName; 2] = [COOKIE, AUTHORIZATION];
        &FIELDS
    }

    fn authenticate<'q>(
        &'q self,
        question: &'q Question,
    ) -> BoxFuture<'q, Result<Identity, Unidentified>> {
        let (login, takes) = (&self.0, *self.0.takes.lock().unwrap());
        Box::pin(async move {
            login.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(takes).await;
            if *login.is_down.lock().unwrap() {
                return Err(Unidentified::Unavailable("it is down".to_owned()));
            }
            let fields = question.headers();
            let seen = format!("{} {} {:?}", question.method(), question.target(), question.host());
            login.seen.lock().unwrap().push(seen);
            let credential = fields.get(COOKIE).or(fields.get(AUTHORIZATION)).unwrap();
            let known = login.known.lock().unwrap();
            match known.get(credential.to_str().unwrap()) {
                Some(Value::Object(claims)) => Ok(Identity::vouched(claims.clone()).unwrap()),
                Some(Value::Bool(false)) => Err(Unidentified::Forbidden),
                _ => {
                    Err(Unidentified::Refused(Some(HeaderValue::from_static("Basic realm=\"r\""))))
                }
            }
        })
    }
}

const TERMS: AskTerms = AskTerms { timeout_ms: 30_000, cache_ms: 600_000, stale_ms: 600_000 };
/// Terms by which those who hold a link are asked about again each second.
const OFTEN: AskTerms = AskTerms { cache_ms: 100, ..TERMS };

fn serve(login: &Login, settings: &str, rules: &str, terms: AskTerms) -> Running {
    let auth = auth(settings, rules).asking(login.clone(), terms);
    serve_with(Options { auth, ..Options::default() })
}

fn kim() -> Login {
    let login = Login::default();
    login.says("session=kim", json!({ "sub": "kim" }));
    login.says("Bearer opaque", json!({ "sub": "kim" }));
    login.says("Basic a2ltOng=", json!({ "sub": "kim" }));
    login
}

const COOKIE_OF_KIM: &str = "Cookie: session=kim\nOrigin: http://localhost";

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn whoever_is_named_has_their_rights_and_nobody_else() {
    // PROTOCOL I34a
    let login = kim();
    login.says("session=evil", json!(false));
    let server = serve(&login, "", RULES, TERMS);
    for header in [COOKIE_OF_KIM, "Authorization: Bearer opaque", "Authorization: Basic a2ltOng="] {
        let answer = ask(&server, "PUT /users/kim\n\n1", header);
        assert!(answer.status < 300, "{header}: {}", answer.text());
        check(&server, "GET /users/kim", header, "200\nHalfping-Subject: kim");
        check(&server, "PUT /users/u1\n\n1", header, "403 forbidden");
    }
    let vary = ask(&server, "PUT /users/kim\n\n1", COOKIE_OF_KIM);
    assert_eq!(vary.header("vary"), Some("authorization, cookie"));
    let challenge = "401 unauthorized\nWWW-Authenticate: Basic realm=\"r\"\n!Halfping-Subject";
    check(&server, "GET /users/kim", "Cookie: session=gone", challenge);
    check(&server, "GET /public", "Authorization: Bearer junk", challenge);
    check(&server, "GET /users/kim", "Cookie: session=evil", "403 forbidden\n!Halfping-Subject");
    // Those whom the server knows itself are not asked about, nor those who show nothing.
    let before = login.asked();
    check(&server, "PUT /users/u1\n\n1", &bearer(&token("u1")), "201\nHalfping-Subject: u1");
    check(&server, "GET /users/u1", NOBODY, "401 unauthorized");
    check(&server, "GET /_health", "Cookie: session=gone", "200");
    let expired = format!("{}x", token("u1"));
    check(&server, "GET /public", &bearer(&expired), "401 unauthorized\nWWW-Authenticate: Bearer");
    assert_eq!(login.asked(), before);
}

#[test]
fn the_question_has_the_request_and_no_credential_of_its_url() {
    // PROTOCOL I34a
    let login = kim();
    let server = serve(&login, "query_token = true", RULES, TERMS);
    ask(&server, "GET /users/kim?depth=1", COOKIE_OF_KIM);
    server.ndjson("/users/kim?access_token=opaque&depth=2").until_synced();
    let seen = login.0.seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        [
            "GET /users/kim?depth=1 Some(\"localhost\")",
            "GET /users/kim?depth=2 Some(\"localhost\")"
        ]
    );
}

#[test]
fn equal_fields_share_one_question() {
    // PROTOCOL I34a
    let login = kim();
    *login.0.takes.lock().unwrap() = Duration::from_millis(200);
    let server = serve(&login, "", RULES, TERMS);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| ask(&server, "GET /users/kim", COOKIE_OF_KIM));
        }
    });
    ask(&server, "PUT /users/kim\n\n1", COOKIE_OF_KIM);
    assert_eq!(login.asked(), 1);
    // Those who come while it is not known that nobody answers share that as well, and no others.
    login.is_down(true);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let expect = "503 identity-unavailable\nRetry-After: *";
                check(&server, "GET /public", "Cookie: session=new", expect);
            });
        }
    });
    assert!((2..6).contains(&login.asked()), "{}", login.asked());
    let before = login.asked();
    check(&server, "GET /public", "Cookie: session=new", "503 identity-unavailable");
    assert_eq!(login.asked(), before + 1);
    // Whom it named a while ago is still known.
    check(&server, "GET /users/kim", COOKIE_OF_KIM, "200");
}

#[test]
fn an_answer_that_takes_too_long_is_none() {
    // PROTOCOL I34a
    let login = kim();
    *login.0.takes.lock().unwrap() = Duration::from_secs(600);
    let server = serve(&login, "", RULES, AskTerms { timeout_ms: 50, ..TERMS });
    check(&server, "GET /public", COOKIE_OF_KIM, "503 identity-unavailable\nRetry-After: *");
    check(&server, "GET /public", NOBODY, "404 not-found");
}

#[test]
fn a_page_of_another_site_does_nothing_with_what_its_browser_adds() {
    // PROTOCOL I7, I34a
    let login = kim();
    let server = serve(&login, "query_token = true", RULES, TERMS);
    let stranger = "Origin: https://evil.example";
    for cookie in ["Cookie: session=kim", "Authorization: Basic a2ltOng="] {
        let header = format!("{cookie}\n{stranger}");
        check(&server, "PUT /users/kim\n\n1", &header, "403 forbidden-origin");
        check(&server, "GET /users/kim?watch", &header, "403 forbidden-origin");
    }
    check(&server, "PUT /users/kim\n\n1", "Cookie: session=kim", "403 forbidden-origin");
    // A token in the URL does not let a cookie in.
    let junk = "GET /users/kim?watch&access_token=junk";
    check(&server, junk, &format!("Cookie: session=kim\n{stranger}"), "401 unauthorized");
    check(&server, junk, "Cookie: session=kim", "401 unauthorized");
}

#[test]
fn a_session_may_name_itself_by_a_token_that_somebody_else_knows() {
    // PROTOCOL I14, I34a
    let login = kim();
    let server = serve(&login, "anonymous = false", RULES, TERMS);
    let mut session = server.session("/");
    assert_eq!(session.ask(json!({ "auth": "opaque" }))["identity"], json!({ "sub": "kim" }));
    assert_eq!(session.ask(json!({ "put": "/users/kim", "value": 1 }))["status"], 201);
    assert_eq!(session.ask(json!({ "auth": "junk" }))["status"], 401);
    assert_eq!(session.ask(json!({ "get": "/users/kim" }))["value"], 1);
    login.is_down(true);
    assert_eq!(session.ask(json!({ "auth": "other" }))["status"], 503);
    assert_eq!(session.ask(json!({ "auth": token("u1") }))["identity"]["sub"], "u1");
}

#[test]
fn who_is_put_out_loses_what_is_open() {
    // PROTOCOL I35
    let login = kim();
    let server = serve(&login, "", RULES, OFTEN);
    ask(&server, "PUT /users/kim\n\n1", COOKIE_OF_KIM);
    ask(&server, "PUT /public\n\n1", &admin());
    let kim = "Accept: application/x-ndjson\nCookie: session=kim";
    let mut private = server.stream(&format!("GET /users/kim?watch\n{kim}"));
    let mut public = server.stream(&format!("GET /public?watch\n{kim}"));
    private.until_synced();
    public.until_synced();
    let before = login.asked();
    until("it is asked again while somebody follows", || login.asked() > before + 1);
    login.says("session=kim", Value::Null);
    let end = private.next();
    assert_eq!(end.problem.unwrap()["type"], "urn:halfping:problem:revoked");
    ask(&server, "PUT /public\n\n2", &admin());
    assert_eq!(public.next().value.unwrap(), "2", "what everybody may have goes on");
    check(&server, "GET /users/kim", COOKIE_OF_KIM, "401 unauthorized");
}

#[test]
fn other_claims_are_other_rights_at_once() {
    // PROTOCOL I35
    let login = kim();
    let server = serve(&login, "", RULES, OFTEN);
    ask(&server, "PUT /users/kim\n\n1", COOKIE_OF_KIM);
    let mut session = server.session("/");
    assert_eq!(session.ask(json!({ "auth": "opaque" }))["identity"]["sub"], "kim");
    assert_eq!(session.ask(json!({ "watch": 1, "path": "/users/kim" }))["status"], 200);
    assert_eq!(session.ask(json!({ "get": "/users/u1" }))["status"], 403);
    login.says("Bearer opaque", json!({ "sub": "kim", "roles": ["admin"] }));
    until("the session has other rights", || {
        session.ask(json!({ "get": "/users/u1" }))["status"] == 404
    });
    // Its link went on: it may have that still.
    assert_eq!(session.ask(json!({ "unwatch": 1 }))["status"], 200);
}

#[test]
fn while_nobody_answers_those_who_are_in_stay_for_a_while() {
    // PROTOCOL I35
    let login = kim();
    let server = serve(&login, "", RULES, AskTerms { stale_ms: 3_000, ..OFTEN });
    ask(&server, "PUT /users/kim\n\n1", COOKIE_OF_KIM);
    let kim = "Accept: application/x-ndjson\nCookie: session=kim";
    let mut stream = server.stream(&format!("GET /users/kim?watch\n{kim}"));
    stream.until_synced();
    login.is_down(true);
    let begun = Instant::now();
    until("who comes now is not let in", || {
        ask(&server, "GET /users/kim", COOKIE_OF_KIM).status == 503
    });
    let end = stream.next();
    assert!(begun.elapsed() > Duration::from_millis(2_000), "{:?}", begun.elapsed());
    assert_eq!(end.problem.unwrap()["type"], "urn:halfping:problem:token-expired");
    login.is_down(false);
    check(&server, "GET /users/kim", COOKIE_OF_KIM, "200");
}

#[test]
fn a_ticket_is_of_whom_somebody_else_names_as_well() {
    // PROTOCOL I6, I35
    let login = kim();
    let server = serve(&login, "", RULES, OFTEN);
    ask(&server, "PUT /users/kim\n\n1", COOKIE_OF_KIM);
    let ticket = ask(&server, "POST /_auth/ticket", "Authorization: Bearer opaque");
    let ticket = ticket.json()["ticket"].as_str().unwrap().to_owned();
    let mut stream = server.ndjson(&format!("/users/kim?ticket={ticket}"));
    stream.until_synced();
    login.says("Bearer opaque", Value::Null);
    assert_eq!(stream.next().kind, "error", "it is asked about again");
}

#[test]
fn another_authenticator_is_asked_anew() {
    // PROTOCOL I37
    let login = kim();
    let server = serve(&login, "", RULES, TERMS);
    ask(&server, "PUT /users/kim\n\n1", COOKIE_OF_KIM);
    ask(&server, "PUT /public\n\n1", &admin());
    let kim = "Accept: application/x-ndjson\nCookie: session=kim";
    let mut private = server.stream(&format!("GET /users/kim?watch\n{kim}"));
    let mut public = server.stream(&format!("GET /public?watch\n{kim}"));
    private.until_synced();
    public.until_synced();
    let other = Login::default();
    server.api.reload_auth(&auth("", RULES).asking(other.clone(), TERMS)).unwrap();
    let end = private.next();
    assert_eq!(end.problem.unwrap()["type"], "urn:halfping:problem:token-expired");
    ask(&server, "PUT /public\n\n2", &admin());
    assert_eq!(public.next().value.unwrap(), "2", "what everybody may have goes on");
    let before = login.asked();
    check(&server, "GET /users/kim", COOKIE_OF_KIM, "401 unauthorized");
    other.says("Bearer opaque", json!({ "sub": "kim" }));
    check(&server, "GET /users/kim", "Authorization: Bearer opaque", "200");
    assert_eq!((login.asked(), other.asked()), (before, 2));
    // Without one, such credentials are of nobody.
    server.api.reload_auth(&auth("", RULES)).unwrap();
    check(&server, "GET /users/kim", "Authorization: Bearer opaque", "401 unauthorized");
    check(&server, "GET /public", COOKIE_OF_KIM, "200\n!Halfping-Subject");
}

#[test]
fn who_is_named_looks_as_somebody_else_only_as_long_as_that() {
    // PROTOCOL I33b, I35
    let login = Login::default();
    login.says("Bearer boss", json!({ "sub": "boss", "roles": ["admin"] }));
    let rules = "[[rule]]\nallow = [\"read\", \"write\"]\npath = \"/\"\nwhen = \"'admin' in claims.roles\"\n\
        [[rule]]\nallow = [\"read\"]\npath = \"/users/{user}\"\nwhen = \"user == claims.sub\"";
    let server = serve(&login, "", rules, OFTEN);
    ask(&server, "PUT /users/u1\n\n1", &admin());
    let look = ask(&server, "POST /_auth/look\n\n{\"sub\":\"u1\"}", "Authorization: Bearer boss");
    let look = look.json()["token"].as_str().unwrap().to_owned();
    check(&server, "GET /users/u1", &bearer(&look), "200\nHalfping-Subject: boss");
    let mut stream = server
        .stream(&format!("GET /users/u1?watch\nAccept: application/x-ndjson\n{}", bearer(&look)));
    stream.until_synced();
    login.says("Bearer boss", Value::Null);
    assert_eq!(stream.next().problem.unwrap()["type"], "urn:halfping:problem:revoked");
    until("the look is over", || ask(&server, "GET /users/u1", &bearer(&look)).status == 401);
}
