//! Examples of RFC 7515, 7517, 7520, 7638 and 8037, which are in `rfc.json`.

use serde_json::{Value, json};

use super::ISSUER;
use crate::jwk;
use crate::jws::Jws;
use crate::{Algorithm, KeySet};

/// The private key of RFC 7520, 3.4.
pub(super) fn rsa_private_key() -> Value {
    examples()["private"]["key"].take()
}

fn examples() -> Value {
    serde_json::from_str(include_str!("rfc.json")).unwrap()
}

#[test]
fn tokens_of_the_rfcs_are_verified_by_their_keys_and_by_no_other() {
    let examples = examples();
    let tokens = examples["tokens"].as_array().unwrap();
    for (place, example) in tokens.iter().enumerate() {
        let from = &example["from"];
        let token = Jws::read(example["token"].as_str().unwrap()).unwrap();
        let is_same = |other: &Value| other["key"]["n"] == example["key"]["n"];
        for (other_place, other) in tokens.iter().enumerate() {
            let key = jwk::read(ISSUER, &other["key"]).unwrap();
            let expected = place == other_place || example["key"]["kty"] == "RSA" && is_same(other);
            assert_eq!(token.is_signed_with(&key), expected, "{from} with {}", other["from"]);
        }
    }
    assert_eq!(tokens.len(), 7);
}

#[test]
fn a_token_of_the_rfcs_with_any_bit_changed_is_refused() {
    for example in examples()["tokens"].as_array().unwrap() {
        let key = jwk::read(ISSUER, &example["key"]).unwrap();
        let token = example["token"].as_str().unwrap();
        for (at, bit) in (0..token.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
            let mut changed = token.as_bytes().to_vec();
            changed[at] ^= 1 << bit;
            let changed = String::from_utf8(changed).unwrap();
            let is_good = Jws::read(&changed).is_ok_and(|token| token.is_signed_with(&key));
            assert!(!is_good, "{}: byte {at}, bit {bit}", example["from"]);
        }
    }
}

#[test]
fn a_key_verifies_nothing_with_an_algorithm_that_it_is_not_for() {
    let examples = examples();
    for example in examples["tokens"].as_array().unwrap() {
        let token = Jws::read(example["token"].as_str().unwrap()).unwrap();
        for algorithm in Algorithm::ALL {
            let mut key = example["key"].clone();
            key["alg"] = json!(algorithm.name());
            let Ok(key) = jwk::read(ISSUER, &key) else { continue };
            let expected = algorithm == token.algorithm;
            assert_eq!(token.is_signed_with(&key), expected, "{} {algorithm}", example["from"]);
        }
    }
}

#[test]
fn algorithms_that_are_not_here_are_said_so() {
    let example = &examples()["unsupported"][0];
    let refused = Jws::read(example["token"].as_str().unwrap()).err();
    assert_eq!(refused, Some(crate::Reason::Algorithm));
    let why = jwk::read(ISSUER, &example["key"]).unwrap_err();
    assert_eq!(why, "'crv' is \"P-521\": there are P-256, P-384 and Ed25519 here");
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    for example in examples()["thumbprints"].as_array().unwrap() {
        let key = jwk::read("me", &example["key"]).unwrap();
        let expected = format!("me#{}", example["thumbprint"].as_str().unwrap());
        assert_eq!(key.id.to_string(), expected, "{}", example["from"]);
    }
}

#[test]
fn of_the_set_in_rfc_7517_the_key_for_encryption_is_left_out() {
    let text = examples()["set"]["set"].to_string();
    let set = KeySet::parse(ISSUER, &text).unwrap();
    assert_eq!(set.ids().count(), 1);
    let [left_out] = set.left_out() else { panic!("one is left out") };
    assert_eq!(left_out.kid.as_deref(), Some("1"));
    assert_eq!(left_out.why, "'use' is \"enc\": it has to be \"sig\"");
}
