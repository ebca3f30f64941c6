//! Tests of credentials.

mod config;
mod forgeries;
mod keys;
mod refresh;
mod remembered;
mod renewed;
mod rfc;
mod shown;
mod signers;
mod tokens;
mod wycheproof;

use serde_json::{Value, json};

use crate::{Algorithm, AuthConfig, Issuer, KeySet, Verifier};

/// The time at which tokens of tests are verified.
const NOW: u64 = 1_732_371_000;
const ISSUER: &str = "https://id.example.org/";

/// The settings of an issuer whose keys are in a file.
fn issuer(algorithms: &[Algorithm]) -> Issuer {
    Issuer {
        issuer: ISSUER.to_owned(),
        audience: vec!["halfping".to_owned()],
        file: Some("jwks.json".to_owned()),
        algorithms: algorithms.to_vec(),
        claims: vec!["roles".to_owned()],
        ..Issuer::default()
    }
}

/// A verifier of the tokens of one issuer, with these keys.
fn verifier(algorithms: &[Algorithm], keys: &[Value]) -> Verifier {
    let config = AuthConfig { issuer: vec![issuer(algorithms)], ..AuthConfig::default() };
    let mut verifier = Verifier::new(&config).unwrap();
    verifier.set_keys(0, key_set(keys));
    verifier
}

fn key_set(keys: &[Value]) -> KeySet {
    let set = KeySet::parse(ISSUER, &json!({ "keys": keys }).to_string()).unwrap();
    assert_eq!(set.left_out(), [], "all keys of a test can be used, unless it is about that");
    set
}

/// Claims that are good at [`NOW`].
fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": "halfping",
        "sub": "u1",
        "exp": NOW + 300,
        "iat": NOW - 10,
        "jti": "t1",
        "roles": ["writer"],
        "mail": "u1@example.org",
    })
}
