//! Tokens, and a server that tells its clients apart.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use halfping::{Auth, AuthConfig, Options, Rules};
use serde_json::{Value, json};

use super::raw::{Answer, Stream};
use super::session::Session;
use super::{Running, compare, runtime, serve_with};

/// The secret that the issuer shares with the server.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef";
pub(crate) const ISSUER: &str = "https://id.example.org/";
/// The API key of the configuration.
pub(crate) const API_KEY: &str = "hpk_of_the_importer";

/// A token of the issuer.
pub(crate) fn token_of(claims: &Value) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let head = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    format!("{signed}.{}", encode(ring::hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// A token for a name that is good for so many seconds, with other claims besides.
pub(crate) fn token_for(sub: &str, seconds: i64, others: Value) -> String {
    let now = now();
    let mut claims = json!({
        "iss": ISSUER, "aud": "halfping", "sub": sub, "iat": now, "exp": now + seconds,
    });
    let members = others.as_object().unwrap().clone();
    claims.as_object_mut().unwrap().extend(members);
    token_of(&claims)
}

/// A token for a name, good for an hour.
pub(crate) fn token(sub: &str) -> String {
    token_for(sub, 3600, json!({}))
}

pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// Auth with the issuer, the API key, these other settings and these rules, in TOML.
pub(crate) fn auth(settings: &str, rules: &str) -> Auth {
    let hash = ring::digest::digest(&ring::digest::SHA256, API_KEY.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "{settings}
        [[issuer]]
        issuer = \"{ISSUER}\"
        audience = [\"halfping\"]
        secret_file = \"secret\"
        algorithms = [\"HS256\"]
        claims = [\"roles\", \"teams\", \"tenant\"]
        [[key]]
        sha256 = \"{hash}\"
        claims = {{ sub = \"importer\", roles = [\"writer\"] }}"
    );
    let config: AuthConfig = toml::from_str(&text).unwrap();
    let rules = Rules::parse(rules).unwrap();
    Auth::new(&config, rules, |_| Ok(SECRET.to_vec())).unwrap()
}

/// A server with that.
pub(crate) fn serve_auth(settings: &str, rules: &str) -> Running {
    serve_with(Options { auth: auth(settings, rules), ..Options::default() })
}

/// Rules by path, of every kind.
pub(crate) const RULES: &str = r#"
    [[rule]]
    allow = ["read"]
    path = "/public"

    [[rule]]
    allow = ["read", "write"]
    path = "/users/{user}"
    when = "user == claims.sub"

    [[rule]]
    allow = ["read", "write"]
    path = "/"
    when = "'admin' in claims.roles"

    [[rule]]
    allow = ["create"]
    path = "/inbox/{message}"

    [[rule]]
    allow = ["update"]
    path = "/status"

    [[rule]]
    allow = ["delete"]
    path = "/trash"

    [[rule]]
    allow = ["read", "update"]
    path = "/orders"

    [[rule]]
    deny = ["read", "update"]
    path = "/orders/secret"
"#;

/// Asks with a header that shows who asks.
#[track_caller]
pub(crate) fn ask(server: &Running, short: &str, header: &str) -> Answer {
    let (head, body) = short.split_once("\n\n").unwrap_or((short, ""));
    server.talk().ask(&format!("{head}\n{header}\n\n{body}"))
}

/// Asks so, and compares the answer.
#[track_caller]
pub(crate) fn check(server: &Running, short: &str, header: &str, expect: &str) -> Answer {
    let answer = ask(server, short, header);
    compare(&format!("{short} {header}"), &answer, expect, short.starts_with("HEAD "));
    answer
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A header that says nothing of who asks.
pub(crate) const NOBODY: &str = "X-None: 1";

/// A header of somebody who may do everything that is not denied.
pub(crate) fn admin() -> String {
    bearer(&token_for("root", 3600, json!({ "roles": ["admin"] })))
}

/// Writes what the program that has the API writes, whatever the rules say.
#[track_caller]
pub(crate) fn put(server: &Running, path: &str, value: &Value) {
    runtime().block_on(async { server.api.put(path, value).await }).unwrap();
}

/// A session of whose token this is, with these links, each synced.
#[track_caller]
pub(crate) fn session_of(server: &Running, token: &str, links: &[(u32, &str)]) -> Session {
    let mut session = server.session("/");
    assert_eq!(session.ask(json!({ "auth": token }))["status"], 200);
    for (link, path) in links {
        let answer = session.ask(json!({ "watch": link, "path": path }));
        assert_eq!(answer["status"], 200, "{answer}");
    }
    until_set(&mut session, links.last().unwrap().0);
    session
}

/// Waits until a link is told something.
#[track_caller]
pub(crate) fn until_set(session: &mut Session, link: u32) -> Value {
    loop {
        let state = session.state();
        let found = state["set"].as_array().and_then(|set| set.iter().find(|it| it[0] == link));
        if let Some(found) = found {
            return found.clone();
        }
    }
}

/// The next message is the end of a link, for this reason.
#[track_caller]
pub(crate) fn ends(session: &mut Session, link: u32, kind: &str) {
    let message = session.next();
    assert_eq!(
        (&message["link"], &message["error"]["ends"]),
        (&json!(link), &json!(true)),
        "{message}"
    );
    let told = message["error"]["type"].as_str().unwrap();
    assert!(told.ends_with(&format!(":{kind}")), "{message}");
}

pub(crate) fn stream_of(server: &Running, path: &str, header: &str) -> Stream {
    let accept = "Accept: application/x-ndjson";
    let mut stream = server.stream(&format!("GET {path}?watch\n{accept}\n{header}"));
    stream.until_synced();
    stream
}
