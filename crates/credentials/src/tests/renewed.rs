//! Identities that were let in before the settings changed.

use serde_json::json;

use super::signers::Signer;
use super::{ISSUER, NOW, claims, issuer, key_set, verifier};
use crate::Algorithm::{ES256, EdDSA};
use crate::{ApiKey, AuthConfig, Digest, Identity, Issuer, Tickets, Verifier};

#[test]
fn an_identity_lasts_as_long_as_its_key_and_what_its_issuer_may_say() {
    let (one, two) = (Signer::new(ES256).named("one"), Signer::new(ES256).named("two"));
    let former = verifier(&[ES256], &[one.key.clone(), two.key.clone()]);
    let identity = former.verify(&one.token(&claims()), NOW).unwrap();
    let with = |change: fn(&mut Issuer), keys: &[&Signer]| {
        let mut issuer = issuer(&[ES256]);
        change(&mut issuer);
        let config = AuthConfig { issuer: vec![issuer], ..AuthConfig::default() };
        let mut verifier = Verifier::new(&config).unwrap();
        verifier.set_keys(0, key_set(&keys.iter().map(|it| it.key.clone()).collect::<Vec<_>>()));
        verifier.renew(&identity, &former)
    };
    assert_eq!(with(|_| (), &[&one]), Some(identity.clone()));
    assert_eq!(
        with(|issuer| issuer.file = Some("b".into()), &[&two, &one]),
        Some(identity.clone())
    );
    assert_eq!(with(|_| (), &[&two]), None, "its key is gone");
    assert_eq!(with(|issuer| issuer.claims.clear(), &[&one]), None);
    assert_eq!(with(|issuer| issuer.audience.push("b".into()), &[&one]), None);
    assert_eq!(with(|issuer| issuer.algorithms.push(EdDSA), &[&one]), None);
    let nobody = Verifier::new(&AuthConfig::default()).unwrap();
    assert_eq!(nobody.renew(&identity, &former), None, "its issuer is gone");
    // Those whom no key let in stay who they are.
    let anonymous = Identity::new(serde_json::Map::new()).unwrap();
    assert_eq!(nobody.renew(&anonymous, &former), Some(anonymous));
}

#[test]
fn keys_are_kept_by_the_name_of_their_issuer() {
    let signer = Signer::new(EdDSA);
    let former = verifier(&[EdDSA], std::slice::from_ref(&signer.key));
    let other = Issuer { issuer: "https://other.example/".to_owned(), ..issuer(&[EdDSA]) };
    let config = AuthConfig { issuer: vec![other, issuer(&[EdDSA])], ..AuthConfig::default() };
    let mut verifier = Verifier::new(&config).unwrap();
    verifier.keep_keys("https://other.example/", &former);
    verifier.keep_keys(ISSUER, &former);
    assert!(verifier.verify(&signer.token(&claims()), NOW).is_ok());
    assert_eq!(verifier.ids().count(), 1);
}

#[test]
fn an_api_key_has_the_claims_of_the_newest_settings() {
    let with = |sub: &str| {
        let claims = json!({ "sub": sub }).as_object().unwrap().clone();
        let key = ApiKey { sha256: Digest::of(b"hpk_x").hex(), claims };
        Verifier::new(&AuthConfig { key: vec![key], ..AuthConfig::default() }).unwrap()
    };
    let (former, now) = (with("a"), with("b"));
    let identity = former.verify("hpk_x", NOW).unwrap();
    assert_eq!(now.renew(&identity, &former).unwrap().subject(), Some("b"));
    let none = Verifier::new(&AuthConfig::default()).unwrap();
    assert_eq!(none.renew(&identity, &former), None);
    // So have tickets that were issued before.
    let mut tickets = Tickets::default();
    let ticket = |tickets: &mut Tickets, random| {
        tickets.issue(&[random; 32], identity.clone(), NOW).unwrap()
    };
    let first = ticket(&mut tickets, 1);
    tickets.renew(|identity| now.renew(identity, &former));
    assert_eq!(tickets.redeem(first.reveal(), NOW).unwrap().subject(), Some("b"));
    let second = ticket(&mut tickets, 2);
    tickets.renew(|identity| none.renew(identity, &former));
    assert_eq!(tickets.redeem(second.reveal(), NOW), None);
}

#[test]
fn a_key_is_unknown_by_its_name_whatever_the_signature_is() {
    let (one, two) = (Signer::new(EdDSA).named("one"), Signer::new(EdDSA).named("two"));
    let verifier = verifier(&[EdDSA], std::slice::from_ref(&one.key));
    let unknown = |token: &str| verifier.unknown_key(token);
    assert_eq!(unknown(&one.token(&claims())), None);
    assert_eq!(unknown(&two.token(&claims())), Some((ISSUER, "two".into())));
    assert_eq!(unknown(&Signer::new(EdDSA).token(&claims())), Some((ISSUER, "".into())));
    assert_eq!(unknown(&Signer::new(ES256).named("two").token(&claims())), None, "not allowed");
    let mut others = claims();
    others["iss"] = json!("https://evil.example/");
    for token in [two.token(&others).as_str(), "x", "hpk_x", &"x".repeat(9000)] {
        assert_eq!(unknown(token), None);
    }
}
