//! Tokens that are good, and the claims that make others not good.

use serde_json::{Value, json};

use super::signers::Signer;
use super::{ISSUER, NOW, claims, issuer, key_set, verifier};
use crate::Algorithm::{self, *};
use crate::{
    ApiKey, AuthConfig, Identity, KeySet, LEEWAY_SECONDS, Reason, Refusal, Secret, Verifier,
    new_api_key,
};

fn verify(verifier: &Verifier, token: &str) -> Result<Identity, Reason> {
    verifier.verify(token, NOW).map_err(|refusal| refusal.reason)
}

/// The verdict about claims that are good but for some members.
fn with(members: &[(&str, Value)]) -> Result<Identity, Reason> {
    let signer = Signer::new(EdDSA);
    let verifier = verifier(&[EdDSA], std::slice::from_ref(&signer.key));
    let mut claims = claims();
    for (name, value) in members {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(*name),
            value => claims.as_object_mut().unwrap().insert((*name).to_owned(), value.clone()),
        };
    }
    verify(&verifier, &signer.token(&claims))
}

#[test]
fn a_good_token_of_each_algorithm_says_who_shows_it() {
    for signer in Signer::all() {
        let verifier = verifier(&[signer.algorithm], std::slice::from_ref(&signer.key));
        let identity = verify(&verifier, &signer.token(&claims())).unwrap();
        let kept = json!({ "sub": "u1", "roles": ["writer"] });
        assert_eq!(Value::Object(identity.claims().clone()), kept, "{}", signer.algorithm);
        assert_eq!(identity.subject(), Some("u1"));
        assert_eq!(identity.expires(), Some(NOW + 300));
        assert_eq!(identity.issued_at(), Some(NOW - 10));
        assert_eq!(identity.jti(), Some("t1"));
        assert_eq!(verifier.ids().collect::<Vec<_>>(), [identity.key().unwrap()]);
    }
}

#[test]
fn an_algorithm_needs_a_key_that_it_fits_and_a_place_in_the_list_of_its_issuer() {
    let signers: Vec<_> = Signer::all().collect();
    let all_keys: Vec<_> = signers.iter().map(|signer| signer.key.clone()).collect();
    for signer in &signers {
        let token = signer.token(&claims());
        let others: Vec<_> =
            Algorithm::ALL.into_iter().filter(|other| *other != signer.algorithm).collect();
        let is_listed = verifier(&[signer.algorithm], &all_keys);
        assert!(verify(&is_listed, &token).is_ok(), "{}", signer.algorithm);
        let is_missing = verifier(&others, &all_keys);
        assert_eq!(verify(&is_missing, &token), Err(Reason::Algorithm), "{}", signer.algorithm);
        // A key says for which algorithm it was made.
        for other in others {
            let mut key = signer.key.clone();
            key["alg"] = json!(other.name());
            let text = json!({ "keys": [key] }).to_string();
            let set = KeySet::parse(ISSUER, &text).unwrap();
            let mut verifier = verifier(&Algorithm::ALL, &[]);
            verifier.set_keys(0, set);
            assert_eq!(verify(&verifier, &token), Err(Reason::UnknownKey), "{other}");
        }
    }
}

#[test]
fn a_token_has_to_be_of_the_issuer_and_for_the_audience() {
    assert_eq!(with(&[("iss", Value::Null)]), Err(Reason::Issuer));
    for iss in [json!(""), json!("https://id.example.org"), json!([ISSUER]), json!(1)] {
        assert_eq!(with(&[("iss", iss.clone())]), Err(Reason::Issuer), "{iss}");
    }
    for aud in [json!("halfping"), json!(["other", "halfping"])] {
        assert!(with(&[("aud", aud.clone())]).is_ok(), "{aud}");
    }
    for (aud, reason) in [
        (Value::Null, Reason::Audience),
        (json!("other"), Reason::Audience),
        (json!("Halfping"), Reason::Audience),
        (json!([]), Reason::Audience),
        (json!(["half", "ping"]), Reason::Audience),
        (json!(["halfping", 1]), Reason::Malformed),
        (json!({ "halfping": 1 }), Reason::Malformed),
        (json!(7), Reason::Malformed),
    ] {
        assert_eq!(with(&[("aud", aud.clone())]), Err(reason), "{aud}");
    }
}

#[test]
fn a_token_is_good_from_nbf_to_exp_give_or_take_the_leeway() {
    let is_good = |name: &str, at: u64| with(&[(name, json!(at))]).map(drop);
    assert_eq!(is_good("exp", NOW - LEEWAY_SECONDS + 1), Ok(()));
    assert_eq!(is_good("exp", NOW - LEEWAY_SECONDS), Err(Reason::Expired));
    assert_eq!(is_good("nbf", NOW + LEEWAY_SECONDS), Ok(()));
    assert_eq!(is_good("nbf", NOW + LEEWAY_SECONDS + 1), Err(Reason::NotYet));
    assert_eq!(is_good("iat", NOW + LEEWAY_SECONDS), Ok(()));
    assert_eq!(is_good("iat", NOW + LEEWAY_SECONDS + 1), Err(Reason::NotYet));
    assert_eq!(with(&[("exp", json!(NOW as f64 + 0.5))]).unwrap().expires(), Some(NOW));
    assert_eq!(with(&[("iat", Value::Null)]).unwrap().issued_at(), None);
    assert_eq!(with(&[("exp", Value::Null)]), Err(Reason::Malformed));
}

#[test]
fn a_claim_of_the_wrong_form_is_not_overlooked() {
    let far = json!(253_402_300_800_u64);
    for name in ["exp", "nbf", "iat"] {
        let text = json!(NOW.to_string());
        for value in [text, json!([NOW]), json!({}), json!(true), json!(-1), json!(1e300)] {
            assert_eq!(with(&[(name, value.clone())]), Err(Reason::Malformed), "{name}: {value}");
        }
        assert_eq!(with(&[(name, far.clone())]), Err(Reason::Malformed), "{name}");
    }
    for name in ["sub", "jti"] {
        for value in [json!(1), json!(["u1"]), json!({})] {
            assert_eq!(with(&[(name, value.clone())]), Err(Reason::Malformed), "{name}: {value}");
        }
    }
}

#[test]
fn an_issuer_is_asked_only_about_its_own_tokens() {
    let (ours, theirs) = (Signer::new(EdDSA), Signer::new(ES256));
    let mut config =
        AuthConfig { issuer: vec![issuer(&[EdDSA]), issuer(&[ES256])], ..AuthConfig::default() };
    config.issuer[1].issuer = "other".to_owned();
    let mut verifier = Verifier::new(&config).unwrap();
    verifier.set_keys(0, key_set(std::slice::from_ref(&ours.key)));
    verifier.set_keys(1, key_set(std::slice::from_ref(&theirs.key)));
    let mut of_other = claims();
    of_other["iss"] = json!("other");
    assert!(verify(&verifier, &ours.token(&claims())).is_ok());
    assert!(verify(&verifier, &theirs.token(&of_other)).is_ok());
    for token in [theirs.token(&claims()), ours.token(&of_other)] {
        assert_eq!(verify(&verifier, &token), Err(Reason::Algorithm));
    }
}

#[test]
fn a_key_is_chosen_by_its_name_or_by_its_kind() {
    let (one, two) = (Signer::new(ES256).named("one"), Signer::new(ES256).named("two"));
    let verifier = verifier(&[ES256], &[one.key.clone(), two.key.clone()]);
    assert!(verify(&verifier, &one.token(&claims())).is_ok());
    assert!(verify(&verifier, &two.token(&claims())).is_ok());
    // Without a name, all that fit are tried.
    let nameless = two.sign(r#"{"alg":"ES256"}"#, &claims().to_string());
    assert!(verify(&verifier, &nameless).is_ok());
    // A name is not tried with the key of another.
    let wrong = two.sign(r#"{"alg":"ES256","kid":"one"}"#, &claims().to_string());
    assert_eq!(verify(&verifier, &wrong), Err(Reason::Signature));
    let unknown = two.sign(r#"{"alg":"ES256","kid":"three"}"#, &claims().to_string());
    let refusal = verifier.verify(&unknown, NOW).unwrap_err();
    let unknown_kid = Some("three".into());
    assert_eq!(refusal, Refusal { reason: Reason::UnknownKey, issuer: Some(0), unknown_kid });
}

#[test]
fn a_token_that_names_no_key_may_be_signed_with_a_new_one() {
    let verifier = verifier(&[ES256, EdDSA], &[Signer::new(ES256).named("one").key]);
    for (signer, reason) in [(ES256, Reason::Signature), (EdDSA, Reason::UnknownKey)] {
        let refusal = verifier.verify(&Signer::new(signer).token(&claims()), NOW).unwrap_err();
        let unknown_kid = Some("".into());
        assert_eq!(refusal, Refusal { reason, issuer: Some(0), unknown_kid });
    }
    let named = Signer::new(ES256).named("one").token(&claims());
    assert_eq!(verifier.verify(&named, NOW).unwrap_err().unknown_kid, None);
}

#[test]
fn a_secret_verifies_tokens_whatever_name_they_give_it() {
    let mut config = AuthConfig { issuer: vec![issuer(&[HS256])], ..AuthConfig::default() };
    config.issuer[0].file = None;
    config.issuer[0].secret_file = Some("hs256.key".to_owned());
    let mut verifier = Verifier::new(&config).unwrap();
    let secret: Vec<u8> = (0..64).collect();
    verifier.set_keys(0, KeySet::of_secret(ISSUER, &secret, &[HS256]).unwrap());
    for signer in [Signer::new(HS256), Signer::new(HS256).named("any")] {
        assert!(verify(&verifier, &signer.token(&claims())).is_ok());
    }
}

#[test]
fn an_api_key_has_the_claims_of_the_configuration() {
    let (key, hash) = new_api_key(&[9; 32]);
    let claims = json!({ "sub": "importer", "roles": ["writer"] });
    let setting = ApiKey { sha256: hash.hex(), claims: claims.as_object().unwrap().clone() };
    let config = AuthConfig { key: vec![setting], ..AuthConfig::default() };
    let verifier = Verifier::new(&config).unwrap();
    let identity = verify(&verifier, key.reveal()).unwrap();
    assert_eq!(Value::Object(identity.claims().clone()), claims);
    assert_eq!((identity.expires(), identity.issued_at()), (None, None));
    assert_eq!(verifier.ids().collect::<Vec<_>>(), [identity.key().unwrap()]);
    let (other, _) = new_api_key(&[8; 32]);
    assert_eq!(verify(&verifier, other.reveal()), Err(Reason::UnknownKey));
    assert_eq!(verify(&verifier, &hash.hex()), Err(Reason::Malformed), "the hash is no key");
}

#[test]
fn who_shows_nothing_has_the_claims_of_the_configuration_or_no_way_in() {
    let config = |text: &str| toml::from_str::<AuthConfig>(text).unwrap();
    let anonymous = |text: &str| Verifier::new(&config(text)).unwrap().anonymous().cloned();
    assert_eq!(anonymous("").unwrap().claims().len(), 0);
    assert_eq!(
        anonymous("anonymous = { roles = ['guest'] }").unwrap().claims()["roles"][0],
        "guest"
    );
    assert_eq!(anonymous("anonymous = false"), None);
}

#[test]
fn nothing_that_is_printed_tells_a_secret() {
    let secret = "a-secret-that-nobody-may-read-in-a-log";
    assert_eq!(format!("{:?} {0}", Secret::new(secret)), "… …");
    let set = KeySet::of_secret(ISSUER, secret.as_bytes(), &[HS256]).unwrap();
    let mut verifier = verifier(&[HS256], &[]);
    verifier.set_keys(0, set);
    let printed = format!("{verifier:?}");
    assert!(printed.contains("HS256") && !printed.contains("secret"), "{printed}");
    let bytes = format!("{:?}", secret.as_bytes());
    assert!(!printed.contains(bytes.trim_matches(['[', ']'])), "{printed}");
}
