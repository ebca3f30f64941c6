//! Keys that issuers publish at URLs, which whoever has a client for HTTP fetches (PROTOCOL I2,
//! I30).

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::identity::{ISSUER, RULES, bearer, check, now, put};
use crate::common::raw::Answer;
use crate::common::session::{Session, Told};
use crate::common::{Running, runtime, serve_with};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use halfping::{Auth, AuthConfig, KeysFetched, KeysWanted, Options, Rules};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const URL: &str = "https://id.example.org/jwks.json";

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The key of a number, which is its name as well.
fn pair(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap()
}

/// A JWK set of keys.
fn set(numbers: &[u8]) -> String {
    let key = |number: &u8| {
        let x = encode(pair(*number).public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": number.to_string(), "x": x })
    };
    json!({ "keys": numbers.iter().map(key).collect::<Vec<Value>>() }).to_string()
}

/// A token of u1, signed with the key of a number.
fn token(number: u8) -> String {
    let head = json!({ "alg": "EdDSA", "kid": number.to_string() });
    let claims = json!({
        "iss": ISSUER, "aud": "halfping", "sub": "u1", "iat": now(), "exp": now() + 3600,
    });
    let signed = format!(
        "{}.{}",
        encode(head.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    format!("{signed}.{}", encode(pair(number).sign(signed.as_bytes()).as_ref()))
}

fn auth() -> Auth {
    let config: AuthConfig = toml::from_str(&format!(
        "[[issuer]]
        issuer = \"{ISSUER}\"
        audience = [\"halfping\"]
        jwks = \"{URL}\"
        algorithms = [\"EdDSA\"]"
    ))
    .unwrap();
    Auth::new(&config, Rules::parse(RULES).unwrap(), |_| unreachable!("no file is named")).unwrap()
}

fn serve() -> Running {
    let server = serve_with(Options { auth: auth(), ..Options::default() });
    put(&server, "/", &json!({ "public": 0, "users": { "u1": 1 } }));
    server
}

/// The keys that are wanted now.
#[track_caller]
fn wanted(server: &Running) -> KeysWanted {
    let wanted =
        async { tokio::time::timeout(Duration::from_secs(20), server.api.keys_wanted()).await };
    let wanted = runtime().block_on(wanted).expect("keys are wanted");
    assert_eq!((wanted.issuer(), wanted.url()), (ISSUER, URL));
    wanted
}

fn fetched(numbers: &[u8]) -> Result<KeysFetched, String> {
    Ok(KeysFetched { text: set(numbers), max_age: Some(300) })
}

/// A server that has the keys of these numbers.
fn serve_keys(numbers: &[u8]) -> Running {
    let server = serve();
    server.api.take_keys(&wanted(&server), fetched(numbers));
    server
}

/// Reads with the token of a key, on a thread.
fn ask_aside(server: &Running, number: u8) -> JoinHandle<Answer> {
    let mut talk = server.talk();
    let short = format!("GET /users/u1\n{}", bearer(&token(number)));
    std::thread::spawn(move || talk.ask(&short))
}

#[test]
fn requests_wait_for_the_first_keys_and_know_them_from_then_on() {
    let server = serve();
    let first = wanted(&server);
    let waiting = [ask_aside(&server, 1), ask_aside(&server, 1), ask_aside(&server, 2)];
    // Those who show nothing wait for nothing.
    check(&server, "GET /public", "X-None: 1", "200");
    server.api.take_keys(&first, fetched(&[1]));
    let [first, second, other] = waiting.map(|asked| asked.join().unwrap().status);
    assert_eq!((first, second, other), (200, 200, 401));
    check(&server, "GET /users/u1", &bearer(&token(1)), "200");
    let metrics = crate::common::identity::ask(&server, "GET /_metrics", "X-None: 1");
    assert_eq!(metrics.status, 401);
}

#[test]
fn a_key_that_is_new_is_fetched_for_whoever_shows_it_and_once_only() {
    let server = serve_keys(&[1]);
    let waiting = ask_aside(&server, 2);
    let asked = wanted(&server);
    // A known key is not held up.
    check(&server, "GET /users/u1", &bearer(&token(1)), "200");
    assert!(!waiting.is_finished());
    server.api.take_keys(&asked, fetched(&[1, 2]));
    assert_eq!(waiting.join().unwrap().status, 200);
    check(&server, "GET /users/u1", &bearer(&token(1)), "200");
    // One that nobody published is refused, and so are all others for a while: at once.
    let begun = Instant::now();
    for forged in 3..40 {
        check(&server, "GET /users/u1", &bearer(&token(forged)), "401 unauthorized");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "none of them has waited");
}

#[test]
fn sessions_wait_for_a_new_key_as_well() {
    let server = serve();
    let asked = wanted(&server);
    let mut session = server.session("/");
    session.say(&json!([
        { "auth": token(1), "ref": 100 }, { "watch": 1, "path": "/users/u1" }, { "get": "/public", "ref": 101 },
    ]));
    assert!(matches!(session.next_within(Duration::from_millis(50)), Told::Nothing));
    server.api.take_keys(&asked, fetched(&[1]));
    let answer = session.next();
    assert_eq!((&answer["ref"], &answer["identity"]["sub"]), (&json!(100), &json!("u1")));
    assert_eq!(session.next()["ref"], 101);
    assert_eq!(session.state()["set"], json!([[1, "snapshot", 1]]));
}

/// The next message is the end of link 2, for this reason.
#[track_caller]
fn ends(session: &mut Session, kind: &str) {
    let message = session.next();
    assert_eq!(message["link"], 2, "{message}");
    assert!(message["error"]["type"].as_str().unwrap().ends_with(kind), "{message}");
}

fn session_of(server: &Running, number: u8) -> Session {
    let mut session = server.session("/");
    assert_eq!(session.ask(json!({ "auth": token(number) }))["status"], 200);
    for (link, path) in [(1, "/public"), (2, "/users/u1")] {
        assert_eq!(session.ask(json!({ "watch": link, "path": path }))["status"], 200);
    }
    while !session.state()["set"].to_string().contains("[2,") {}
    session
}

#[test]
fn a_key_that_left_the_set_ends_what_it_opened_and_nothing_else() {
    // PROTOCOL I30
    let server = serve_keys(&[1, 2]);
    let (mut first, mut second) = (session_of(&server, 1), session_of(&server, 2));
    let short = format!("GET /users/u1?watch\n{}", bearer(&token(1)));
    let mut stream = server.stream(&short);
    stream.until_synced();
    let waiting = ask_aside(&server, 3);
    server.api.take_keys(&wanted(&server), fetched(&[2, 3]));
    assert_eq!(waiting.join().unwrap().status, 200);
    ends(&mut first, ":revoked");
    assert!(stream.next().raw.contains("revoked"));
    check(&server, "GET /users/u1", &bearer(&token(1)), "401 unauthorized");
    put(&server, "/", &json!({ "public": 5, "users": { "u1": 5 } }));
    assert_eq!(first.state()["set"], json!([[1, "snapshot", 5]]));
    assert_eq!(second.state()["set"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_stay_while_their_issuer_is_down_or_publishes_nonsense_and_over_a_reload() {
    for bad in [
        Err("no connection".to_owned()),
        Ok(KeysFetched { text: "<html>".to_owned(), max_age: None }),
        Ok(KeysFetched { text: "{\"keys\":7}".to_owned(), max_age: None }),
    ] {
        let server = serve_keys(&[1]);
        let mut session = session_of(&server, 1);
        let waiting = ask_aside(&server, 2);
        server.api.take_keys(&wanted(&server), bad);
        assert_eq!(waiting.join().unwrap().status, 401, "it is told when the fetch has ended");
        check(&server, "GET /users/u1", &bearer(&token(1)), "200");
        server.api.reload_auth(&auth()).unwrap();
        check(&server, "GET /users/u1", &bearer(&token(1)), "200");
        put(&server, "/users/u1", &json!(3));
        assert_eq!(session.state()["set"], json!([[2, "snapshot", 3]]));
    }
}

#[test]
fn a_fetch_that_ends_after_its_issuer_is_gone_changes_nothing() {
    let server = serve();
    let asked = wanted(&server);
    let none = Auth::new(&AuthConfig::default(), Rules::parse(RULES).unwrap(), |_| unreachable!());
    server.api.reload_auth(&none.unwrap()).unwrap();
    server.api.take_keys(&asked, fetched(&[1]));
    check(&server, "GET /users/u1", &bearer(&token(1)), "401 unauthorized");
    server.api.reload_auth(&auth()).unwrap();
    server.api.take_keys(&wanted(&server), fetched(&[1]));
    check(&server, "GET /users/u1", &bearer(&token(1)), "200");
}
