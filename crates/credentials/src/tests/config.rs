//! Settings: what is read, and the errors of what cannot be.

use crate::{Anonymous, AuthConfig, Source, Verifier};

/// Settings as the design of `[auth]` has them.
const WHOLE: &str = r#"
anonymous = { roles = ["guest"] }
profile   = "/people/{claims.sub}"
revoked   = "/auth/revoked"
expiry_grace_ms = 500
cookie    = "halfping"
query_token = true

[[issuer]]
issuer = "https://id.example.org/"
audience = ["halfping"]
jwks = "https://id.example.org/.well-known/jwks.json"
algorithms = ["ES256", "EdDSA"]
claims = ["sub", "roles", "teams"]

[[issuer]]
issuer = "own"
audience = ["halfping"]
secret_file = "hs256.key"
algorithms = ["HS256"]

[[key]]
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
claims = { sub = "importer", roles = ["writer"] }
"#;

fn read(text: &str) -> AuthConfig {
    toml::from_str(text).unwrap()
}

#[test]
fn settings_are_read_from_toml() {
    let config = read(WHOLE);
    assert!(Verifier::new(&config).is_ok());
    assert_eq!(config.cookie.as_deref(), Some("halfping"));
    assert_eq!(config.expiry_grace_ms, 500);
    let url = "https://id.example.org/.well-known/jwks.json";
    assert_eq!(config.issuer[0].source(), Some(Source::Url(url)));
    assert_eq!(config.issuer[1].source(), Some(Source::Secret("hs256.key")));
    assert_eq!(config.key[0].claims["sub"], "importer");
    assert_eq!(read(""), AuthConfig::default());
    assert_eq!(read("anonymous = false").anonymous, Anonymous::Refused);
}

#[test]
fn a_setting_that_does_not_exist_is_refused() {
    for text in [
        "cookies = 'x'",
        "[[issuer]]\nalgorithm = 'ES256'",
        "[[key]]\nkey = 'x'",
        "anonymous = true",
        "anonymous = 'nobody'",
        "[[issuer]]\nalgorithms = ['none']",
        "[[issuer]]\nalgorithms = ['es256']",
    ] {
        assert!(toml::from_str::<AuthConfig>(text).is_err(), "{text}");
    }
    let error = toml::from_str::<AuthConfig>("[[issuer]]\nalgorithms = ['ES512']").unwrap_err();
    assert!(error.to_string().contains("there is no algorithm \"ES512\"; there are HS256, "));
}

#[test]
fn an_error_names_the_setting_and_what_to_do() {
    for (from, to, says) in [
        ("\"/people", "\"people", "[auth] profile: a path begins with '/'"),
        ("\"/auth/revoked", "\"auth/revoked", "[auth] revoked: a path begins with '/'"),
        ("= \"halfping\"\nq", "= \"half ping\"\nq", "[auth] cookie: the name of a cookie is"),
        ("\"own\"", "\"\"", "[[auth.issuer]] 2: issuer: say which 'iss'"),
        (
            "\"own\"",
            "\"https://id.example.org/\"",
            "2: issuer: \"https://id.example.org/\" is there",
        ),
        ("[\"halfping\"]\njwks", "[]\njwks", "[[auth.issuer]] 1: audience: say which 'aud'"),
        ("[\"halfping\"]\njwks", "[\"\"]\njwks", "[[auth.issuer]] 1: audience: say which 'aud'"),
        ("secret_file = \"hs256.key\"", "", "[[auth.issuer]] 2: jwks: name one of"),
        ("secret_file = ", "file = 'x'\nsecret_file = ", "[[auth.issuer]] 2: jwks: name one of"),
        ("[\"HS256\"]", "[]", "[[auth.issuer]] 2: algorithms: say which it uses"),
        ("[\"HS256\"]", "['ES256']", "2: algorithms: ES256 wants a public key: name 'jwks'"),
        ("\"EdDSA\"", "'HS256'", "1: algorithms: HS256 wants a secret, which nobody publishes"),
        ("= \"https://id.example.org/.w", "= \"http://id.example.org/.w", "1: jwks: \"http://id"),
        ("= \"https://id.example.org/.w", "= \"ftp://id.example.org/.w", "begin with https://"),
        ("= \"https://id.example.org/.w", "= \"/.w", "begin with https://"),
        ("= \"https://id.example.org/.w", "= \"https:// /.w", "is no URL"),
        ("= \"https://id.example.org/.w", "= \"https://u:p@id.example.org/.w", "no user"),
        ("9f86d081", "9f86d08", "[[auth.key]] 1: sha256: it is the SHA-256 of the key"),
        ("9f86d081", "9g86d081", "[[auth.key]] 1: sha256: it is the SHA-256 of the key"),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let error = Verifier::new(&read(&WHOLE.replace(from, to))).unwrap_err().to_string();
        assert!(error.contains(says), "{to}: {error}");
    }
    let mut twice = read(WHOLE);
    twice.key.push(twice.key[0].clone());
    let error = Verifier::new(&twice).unwrap_err().to_string();
    assert_eq!(error, "[[auth.key]] 2: sha256: the key is there already");
    let long = format!("anonymous = {{ x = '{}' }}", "x".repeat(16 * 1024));
    let error = Verifier::new(&read(&long)).unwrap_err().to_string();
    assert_eq!(error, "[auth] anonymous: the claims are longer than 16384 bytes");
}

#[test]
fn keys_may_be_on_this_machine_without_tls() {
    for host in ["localhost:9000", "127.0.0.1", "[::1]:80"] {
        let url = format!("jwks = \"http://{host}/keys\"");
        let text = WHOLE.replace("jwks = \"https://id.example.org/.well-known/jwks.json\"", &url);
        assert!(Verifier::new(&read(&text)).is_ok(), "{host}");
    }
}
