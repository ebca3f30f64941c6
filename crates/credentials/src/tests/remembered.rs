//! Things that are remembered: verified tokens, tickets, and who is revoked.

use serde_json::{Value, json};

use super::signers::Signer;
use super::{NOW, claims, key_set, verifier};
use crate::Algorithm::{ES256, EdDSA};
use crate::{Identity, KeySet, Revoked, TICKET_SECONDS, Tickets, Verified, Verifier};

/// A verifier, and tokens that it knows, which expire one second after another.
fn tokens(count: u64) -> (Verifier, Vec<String>) {
    let signer = Signer::new(EdDSA);
    let token = |number| {
        let mut claims = claims();
        claims["exp"] = json!(NOW + 300 + number);
        claims["jti"] = json!(format!("t{number}"));
        signer.token(&claims)
    };
    let verifier = verifier(&[EdDSA], std::slice::from_ref(&signer.key));
    (verifier, (0..count).map(token).collect())
}

fn identity(claims: Value) -> Identity {
    Identity::new(claims.as_object().unwrap().clone()).unwrap()
}

#[test]
fn a_token_is_remembered_until_it_expires() {
    let (verifier, tokens) = tokens(2);
    let mut verified = Verified::default();
    let miss = verified.get(&tokens[0], NOW).unwrap_err();
    let identity = verifier.verify(&tokens[0], NOW).unwrap();
    verified.insert(miss, identity.clone());
    assert_eq!(verified.get(&tokens[0], NOW + 299).unwrap(), identity);
    assert!(verified.get(&tokens[1], NOW).is_err());
    assert!(verified.get(&tokens[0], NOW + 300).is_err());
    assert!(verified.is_empty(), "what has expired is forgotten");
}

#[test]
fn the_oldest_tokens_make_room_for_new_ones() {
    let (verifier, tokens) = tokens(10);
    let mut verified = Verified::new(4);
    for token in &tokens {
        // Tokens that expire and come back take no more room than others.
        for now in [NOW, NOW + 1_000, NOW] {
            if let Err(miss) = verified.get(token, now) {
                verified.insert(miss, verifier.verify(token, NOW).unwrap());
            }
            assert!(verified.len() <= 4);
        }
    }
    assert!(verified.get(&tokens[9], NOW).is_ok());
    assert!(verified.get(&tokens[0], NOW).is_err());
}

#[test]
fn tokens_of_a_key_that_is_gone_are_forgotten_also_those_that_are_being_verified() {
    let (mut verifier, tokens) = tokens(2);
    let mut verified = Verified::default();
    let miss = verified.get(&tokens[0], NOW).unwrap_err();
    verified.insert(miss, verifier.verify(&tokens[0], NOW).unwrap());
    let late = verified.get(&tokens[1], NOW).unwrap_err();
    let verified_late = verifier.verify(&tokens[1], NOW).unwrap();

    let other = Signer::new(ES256);
    let gone = verifier.set_keys(0, key_set(&[other.key]));
    assert_eq!(gone.len(), 1);
    verified.forget(&gone);
    verified.insert(late, verified_late);
    assert!(verified.is_empty());
    assert!(verifier.verify(&tokens[0], NOW).is_err());
}

#[test]
fn tokens_of_keys_that_stay_are_not_forgotten() {
    let (verifier, tokens) = tokens(1);
    let mut verified = Verified::default();
    let miss = verified.get(&tokens[0], NOW).unwrap_err();
    verified.insert(miss, verifier.verify(&tokens[0], NOW).unwrap());
    let other = key_set(&[Signer::new(ES256).key]);
    verified.forget(&other.gone(&KeySet::default()));
    assert!(verified.get(&tokens[0], NOW).is_ok());
    verified.clear();
    assert!(verified.is_empty());
}

#[test]
fn a_ticket_is_good_once_and_for_a_minute() {
    let mut tickets = Tickets::default();
    let identity = identity(json!({ "sub": "u1" }));
    let ticket = tickets.issue(&[1; 32], identity.clone(), NOW).unwrap();
    assert_eq!(ticket.reveal().len(), 43, "256 bits");
    assert_eq!(tickets.redeem("other", NOW), None);
    assert_eq!(tickets.redeem(ticket.reveal(), NOW + TICKET_SECONDS - 1), Some(identity.clone()));
    assert_eq!(tickets.redeem(ticket.reveal(), NOW), None);
    let ticket = tickets.issue(&[2; 32], identity, NOW).unwrap();
    assert_eq!(tickets.redeem(ticket.reveal(), NOW + TICKET_SECONDS), None);
    assert_eq!(tickets.redeem(ticket.reveal(), NOW), None, "it was used up");
}

#[test]
fn a_ticket_is_of_no_use_when_the_token_behind_it_has_expired() {
    let (verifier, tokens) = tokens(1);
    let identity = verifier.verify(&tokens[0], NOW).unwrap();
    let mut tickets = Tickets::default();
    let ticket = tickets.issue(&[1; 32], identity.clone(), NOW + 290).unwrap();
    assert_eq!(tickets.redeem(ticket.reveal(), NOW + 300), None);
    let ticket = tickets.issue(&[1; 32], identity, NOW + 290).unwrap();
    assert!(tickets.redeem(ticket.reveal(), NOW + 299).is_some());
}

#[test]
fn tickets_are_few_at_a_time_and_nobody_loses_one_to_another() {
    let mut tickets = Tickets::new(3);
    let identity = identity(json!({}));
    let issue = |tickets: &mut Tickets, number: u8, now| {
        tickets.issue(&[number; 32], identity.clone(), now)
    };
    let first = issue(&mut tickets, 0, NOW).unwrap();
    for number in 1..100 {
        let ticket = issue(&mut tickets, number, NOW).expect("redeemed ones take no room");
        assert!(tickets.redeem(ticket.reveal(), NOW).is_some());
    }
    assert!(issue(&mut tickets, 101, NOW).is_some() && issue(&mut tickets, 102, NOW).is_some());
    assert!(issue(&mut tickets, 103, NOW).is_none());
    assert!(tickets.redeem(first.reveal(), NOW).is_some());
    assert!(issue(&mut tickets, 104, NOW).is_some());
    assert!(issue(&mut tickets, 105, NOW).is_none());
    assert!(issue(&mut tickets, 106, NOW + TICKET_SECONDS).is_some(), "they have expired");
}

/// An identity with a token that was issued at [`NOW`] less 10 seconds.
fn u1() -> Identity {
    let (verifier, tokens) = tokens(1);
    verifier.verify(&tokens[0], NOW).unwrap()
}

#[test]
fn a_revocation_is_of_a_subject_up_to_a_time_or_of_a_token() {
    let is_revoked = |document: Value| {
        let (revoked, faults) = Revoked::read(Some(&document));
        assert_eq!(faults, [], "{document}");
        revoked.has(&u1())
    };
    let issued = NOW - 10;
    for (document, expected) in [
        (Value::Null, false),
        (json!({}), false),
        (json!({ "sub": {}, "jti": {} }), false),
        (json!({ "sub": { "u1": issued } }), true),
        (json!({ "sub": { "u1": issued - 1 } }), false),
        (json!({ "sub": { "u1": NOW as f64 + 0.5 } }), true),
        (json!({ "sub": { "u2": NOW } }), false),
        (json!({ "jti": { "t0": 0 } }), true),
        (json!({ "jti": { "t0": null } }), true),
        (json!({ "jti": { "t1": NOW } }), false),
    ] {
        assert_eq!(is_revoked(document.clone()), expected, "{document}");
    }
    assert!(!Revoked::read(None).0.has(&u1()));
}

#[test]
fn what_cannot_be_read_revokes_all_that_it_could_be_about() {
    for (document, place, u1_is, u2_is) in [
        (json!([]), "", true, true),
        (json!("u1"), "", true, true),
        (json!({ "sub": ["u1"] }), "/sub", true, true),
        (json!({ "jti": "t0" }), "/jti", true, false),
        (json!({ "sub": { "u1": "now" } }), "/sub/u1", true, false),
        (json!({ "sub": { "u1": null } }), "/sub/u1", true, false),
        (json!({ "sub": { "a/b~": {} } }), "/sub/a~1b~0", false, false),
        (json!({ "subs": { "u1": NOW } }), "/subs", false, false),
    ] {
        let (revoked, faults) = Revoked::read(Some(&document));
        assert_eq!(faults.len(), 1, "{document}");
        assert_eq!(faults[0].place, place, "{document}");
        let u2 = identity(json!({ "sub": "u2" }));
        assert_eq!((revoked.has(&u1()), revoked.has(&u2)), (u1_is, u2_is), "{document}");
        let nobody = identity(json!({}));
        assert!(!revoked.has(&nobody), "{document}: who shows nothing cannot be revoked");
    }
}

#[test]
fn who_does_not_say_since_when_is_revoked_by_any_time() {
    let (revoked, _) = Revoked::read(Some(&json!({ "sub": { "u1": 0 } })));
    assert!(revoked.has(&identity(json!({ "sub": "u1" }))));
    assert!(!revoked.has(&u1()));
    assert!(!revoked.has(&identity(json!({ "sub": "u2" }))));
}
