//! Forgeries: tokens as attackers make them. Each is refused, and told the same as any other.

mod changed;
mod keys;
mod signed;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::signers::Signer;
use super::{NOW, claims, verifier};
use crate::Algorithm::{self, *};
use crate::{REFUSED, Verifier};

/// A forgery, and the trick that it is an example of.
type Forgery = (&'static str, String);

/// A verifier that trusts these signers, for all algorithms that there are.
fn trusting(signers: &[Signer]) -> Verifier {
    let keys: Vec<_> = signers.iter().map(|signer| signer.key.clone()).collect();
    verifier(&Algorithm::ALL, &keys)
}

fn is_refused(verifier: &Verifier, token: &str) -> bool {
    verifier.verify(token, NOW).is_err_and(|refusal| refusal.to_string() == REFUSED)
}

/// Signers whose tokens are forged, one of each kind of key, with names.
fn signers() -> Vec<Signer> {
    let named = |algorithm: Algorithm| Signer::new(algorithm).named(algorithm.name());
    [HS256, RS256, PS256, ES256, ES384, EdDSA].map(named).into()
}

#[test]
fn every_forgery_is_refused_with_the_same_words() {
    let signers = signers();
    let verifier = trusting(&signers);
    let mut count = 0;
    for signer in &signers {
        assert!(verifier.verify(&signer.token(&claims()), NOW).is_ok(), "what is forged is good");
        for (trick, token) in forgeries(signer) {
            assert!(is_refused(&verifier, &token), "{} {trick}: {token}", signer.algorithm);
            count += 1;
        }
    }
    assert!(count > 4_000, "there are {count} forgeries");
}

fn forgeries(signer: &Signer) -> Vec<Forgery> {
    [changed::all(signer), keys::all(signer), signed::all(signer)].concat()
}

fn parts(token: &str) -> (&str, &str, &str) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    (header, payload, signature)
}

/// The header of a signer, with some members changed.
fn header(signer: &Signer, members: Value) -> String {
    let mut header = signer.header();
    header.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    header.to_string()
}

#[test]
fn a_key_that_a_token_brings_along_is_not_looked_at() {
    // Whatever it is: the token is good, or not, by the keys of its issuer alone.
    let signer = Signer::new(EdDSA);
    let verifier = trusting(&[Signer::new(EdDSA)]);
    for members in [
        json!({ "jwk": 1 }),
        json!({ "jwk": Signer::new(ES256).key }),
        json!({ "jku": "https://attacker.example/" }),
        json!({ "x5u": [], "x5c": {} }),
    ] {
        let token = signer.sign(&header(&signer, members.clone()), &claims().to_string());
        assert!(verifier.verify(&token, NOW).is_ok(), "{members}");
    }
}

#[test]
fn a_good_token_with_one_byte_changed_is_refused() {
    let signers = signers();
    let verifier = trusting(&signers);
    for signer in &signers {
        let token = signer.token(&claims()).into_bytes();
        for (at, add) in (0..token.len()).flat_map(|at| [1, 2, 4, 6, 26, 32, 64].map(|it| (at, it)))
        {
            let mut changed = token.clone();
            changed[at] = (changed[at] + add) & 127;
            let changed = String::from_utf8(changed).unwrap();
            assert!(is_refused(&verifier, &changed), "{} byte {at}: {changed}", signer.algorithm);
        }
    }
}

/// Texts that look like tokens, or like their beginning.
const TEXT: &str = "(eyJhbGciOiJFUzI1NiJ9|e30|[A-Za-z0-9_-]{0,40})?\\.?\
                    (e30|[A-Za-z0-9_-]{0,40})\\.?.{0,40}";
/// Headers, or nearly.
const HEAD: &str = r#"\{("(alg|kid|typ)":("EdDSA"|1|null|\[\]),?){0,3}\}?"#;
/// Claims, or nearly.
const BODY: &str =
    r#"\{("(iss|aud|exp|sub)":("https://id.example.org/"|"halfping"|1e9|-1|\[\]|\{\}),?){0,5}\}?"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_good_token_with_bytes_changed_put_in_or_left_out_is_refused(
        which in 0_usize..6,
        place in any::<prop::sample::Index>(),
        length in 0_usize..4,
        by in "[A-Za-z0-9_.=\\- ]{0,4}",
    ) {
        let signers = signers();
        let verifier = trusting(&signers);
        let mut token = signers[which].token(&claims());
        let good = token.clone();
        let at = place.index(token.len());
        let end = (at + length).min(token.len());
        token.replace_range(at..end, &by);
        prop_assume!(token != good);
        prop_assert!(is_refused(&verifier, &token), "{}", token);
    }

    #[test]
    fn no_text_makes_a_panic(
        text in TEXT,
    ) {
        prop_assert!(is_refused(&trusting(&[]), &text));
    }

    #[test]
    fn no_claims_of_a_trusted_issuer_make_a_panic(
        head in HEAD,
        body in BODY,
    ) {
        let signer = Signer::new(EdDSA);
        let verifier = trusting(&[Signer::new(EdDSA)]);
        let _ = verifier.verify(&signer.sign(&head, &body), NOW);
    }
}
