//! Sets of keys: which are used, which are left out, and which are gone.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::signers::Signer;
use super::{ISSUER, key_set};
use crate::Algorithm::*;
use crate::encoding::encode;
use crate::{KEY_SET_BYTES_MAX, KEYS_MAX, KEYS_TRIED_MAX, KeySet, KeySetError};

const POINT: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn with(base: &Value, members: Value) -> Value {
    let mut key = base.clone();
    key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    key
}

/// The reason why a key is left out.
fn left_out(key: Value) -> Option<String> {
    let text = json!({ "keys": [key] }).to_string();
    let set = KeySet::parse(ISSUER, &text).unwrap();
    assert_eq!(set.ids().count() + set.left_out().len(), 1);
    set.left_out().first().map(|key| key.why.clone())
}

#[test]
fn a_key_that_cannot_be_used_is_left_out_with_the_reason() {
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": POINT });
    let rsa = Signer::new(RS256).key;
    let ec = Signer::new(ES256).key;
    assert_eq!(left_out(ed.clone()), None);
    let fine = json!({ "use": "sig", "key_ops": ["verify", "sign"], "alg": "EdDSA", "x5c": [1] });
    assert_eq!(left_out(with(&ed, fine)), None);
    let bits = |bytes: usize| encode(&vec![0xff; bytes]);
    for (key, why) in [
        (json!(1), "it is no JSON object"),
        (json!({}), "'kty' is missing"),
        (json!({ "kty": "DH" }), "'kty' is \"DH\""),
        (with(&ed, json!({ "kty": 1 })), "'kty' is no text"),
        (with(&ed, json!({ "crv": "Ed448" })), "'crv' is \"Ed448\""),
        (with(&ed, json!({ "kid": 1 })), "'kid' is no text"),
        (with(&ed, json!({ "kid": "k".repeat(1025) })), "'kid' is longer"),
        (with(&ed, json!({ "use": "enc" })), "'use' is \"enc\""),
        (with(&ed, json!({ "key_ops": ["sign"] })), "'key_ops' is no list that has \"verify\""),
        (with(&ed, json!({ "key_ops": "verify" })), "'key_ops' is no list that has \"verify\""),
        (with(&ed, json!({ "alg": "none" })), "'alg' is \"none\""),
        (with(&ed, json!({ "alg": "ES256" })), "'alg' does not fit"),
        (with(&ed, json!({ "d": POINT })), "it has 'd', a part of the private key"),
        (with(&ed, json!({ "x": "11qY" })), "'x' has to have 32 bytes"),
        (with(&ed, json!({ "x": format!("{POINT}=") })), "'x' is no base64url"),
        (with(&rsa, json!({ "p": "AQAB" })), "it has 'p', a part of the private key"),
        (with(&rsa, json!({ "k": "AQAB" })), "it has 'k', a part of the private key"),
        (with(&rsa, json!({ "n": bits(255) })), "has 2040 bits"),
        (with(&rsa, json!({ "n": bits(1025) })), "has 8200 bits"),
        (with(&rsa, json!({ "e": "AQ" })), "the exponent"),
        (with(&rsa, json!({ "e": "AQAA" })), "the exponent"),
        (with(&rsa, json!({ "e": "" })), "the exponent"),
        (with(&ec, json!({ "crv": "P-384" })), "'x' and 'y' have to have 48 bytes"),
        (with(&ec, json!({ "x": POINT[..40] })), "'x' and 'y' have to have 32 bytes"),
        (with(&ec, json!({ "crv": "secp256k1" })), "'crv' is \"secp256k1\""),
        (json!({ "kty": "oct", "k": bits(31) }), "a secret has to have at least 32 bytes"),
        (json!({ "kty": "oct", "k": bits(47), "alg": "HS384" }), "'alg' does not fit"),
    ] {
        let told = left_out(key.clone()).unwrap_or_else(|| panic!("{key} is used"));
        assert!(told.contains(why), "{key}: {told}");
    }
    // Zeros before a number are how some issuers write it.
    let n = crate::encoding::decode(rsa["n"].as_str().unwrap()).unwrap();
    let padded = with(&rsa, json!({ "n": encode(&[&[0], &*n].concat()) }));
    assert_eq!(key_set(&[padded]).gone(&key_set(&[rsa])), []);
}

#[test]
fn a_text_that_is_no_set_is_an_error_and_a_set_has_bounds() {
    let error = |text: &str| KeySet::parse(ISSUER, text).unwrap_err();
    for text in ["{}", r#"{"keys":{}}"#, r#"{"kty":"OKP"}"#] {
        assert!(matches!(error(text), KeySetError::Form), "{text}");
    }
    for text in ["", "[]", "nothing", r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kty":1,"kty":1}]}"#]
    {
        assert!(matches!(error(text), KeySetError::Json(_)), "{text}");
    }
    let many = |count| json!({ "keys": vec![json!({}); count] }).to_string();
    assert_eq!(KeySet::parse(ISSUER, &many(KEYS_MAX)).unwrap().left_out().len(), KEYS_MAX);
    assert!(matches!(error(&many(KEYS_MAX + 1)), KeySetError::TooMany));
    let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(KEY_SET_BYTES_MAX));
    assert!(matches!(error(&long), KeySetError::TooLong));
}

#[test]
fn a_secret_has_as_many_bytes_as_the_hash_and_is_no_public_key() {
    let of = |bytes: usize, algorithms: &[_]| {
        KeySet::of_secret(ISSUER, &vec![b'x'; bytes], algorithms).map(|set| set.ids().count())
    };
    for (algorithm, bytes) in [(HS256, 32), (HS384, 48), (HS512, 64)] {
        assert!(matches!(of(bytes, &[algorithm]), Ok(1)));
        let error = of(bytes - 1, &[algorithm]).unwrap_err().to_string();
        assert!(error.contains(&format!("openssl rand -hex {bytes}")), "{error}");
    }
    assert!(of(32, &[HS256, HS512]).is_err(), "each algorithm has to have enough");
    assert!(matches!(of(64, &[ES256]), Err(KeySetError::NoSecret(ES256))));
    for public in ["-----BEGIN PUBLIC KEY-----", r#"{"kty":"RSA","n":"…"}"#] {
        let text = format!("{public}{}", "x".repeat(64));
        let error = KeySet::of_secret(ISSUER, text.as_bytes(), &[HS256]).unwrap_err();
        assert!(matches!(error, KeySetError::LooksPublic), "{public}");
    }
    let secret = |text: &str| KeySet::of_secret(ISSUER, text.as_bytes(), &[HS256]).unwrap();
    let text = "x".repeat(32);
    for ending in ["\n", "\r\n"] {
        assert_eq!(secret(&text).gone(&secret(&format!("{text}{ending}"))), []);
    }
    assert_eq!(secret(&text).gone(&secret(&format!("{text} "))).len(), 1);
}

#[test]
fn a_key_is_gone_when_it_is_in_the_set_under_no_name() {
    let (one, two) = (Signer::new(ES256).named("one"), Signer::new(ES256).named("two"));
    let former = key_set(&[one.key.clone(), two.key.clone()]);
    let renamed = with(&one.key, json!({ "kid": "uno", "use": "sig" }));
    assert_eq!(former.gone(&key_set(&[two.key.clone(), renamed])), []);
    let replaced = with(&two.key, json!({ "kid": "one" }));
    let gone = former.gone(&key_set(&[replaced]));
    assert_eq!(gone, former.ids().take(1).cloned().collect::<Vec<_>>());
    assert_eq!(former.gone(&KeySet::default()).len(), 2);
}

#[test]
fn a_token_without_a_name_is_tried_with_a_few_keys_only() {
    let keys: Vec<_> = (0..20).map(|_| Signer::new(ES256).key).collect();
    assert_eq!(key_set(&keys).fitting(None, ES256).count(), KEYS_TRIED_MAX);
    assert_eq!(key_set(&keys).fitting(None, ES384).count(), 0);
}

/// Sets of keys, or nearly.
const TEXT: &str = concat!(
    r#"(\{"keys":\[\{("(kty|crv|x|y|n|e|k|use|alg)":"[A-Za-z0-9-]{0,9}",?)*\}?\]?\}?"#,
    "|.{0,40})",
);

proptest! {
    #[test]
    fn no_text_of_keys_makes_a_panic(text in TEXT) {
        let _ = KeySet::parse(ISSUER, &text);
    }
}
