//! Signers of tokens for each algorithm, with the keys that verify them.

use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use ring::{hmac, rsa};
use serde_json::{Value, json};

use super::rfc;
use crate::Algorithm::{self, *};
use crate::encoding::{decode, encode};

/// A function from messages to signatures.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Signer of messages, with the key that verifies them, as a JWK.
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    pub(super) key: Value,
    sign: Sign,
}

impl Signer {
    /// A signer with a key of its own kind.
    pub(super) fn new(algorithm: Algorithm) -> Signer {
        match algorithm {
            HS256 => secret(algorithm, hmac::HMAC_SHA256),
            HS384 => secret(algorithm, hmac::HMAC_SHA384),
            HS512 => secret(algorithm, hmac::HMAC_SHA512),
            RS256 => of_rsa(algorithm, &RSA_PKCS1_SHA256),
            RS384 => of_rsa(algorithm, &RSA_PKCS1_SHA384),
            RS512 => of_rsa(algorithm, &RSA_PKCS1_SHA512),
            PS256 => of_rsa(algorithm, &RSA_PSS_SHA256),
            PS384 => of_rsa(algorithm, &RSA_PSS_SHA384),
            PS512 => of_rsa(algorithm, &RSA_PSS_SHA512),
            ES256 => ecdsa(algorithm, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            ES384 => ecdsa(algorithm, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            EdDSA => ed25519(),
        }
    }

    /// A signer for each algorithm.
    pub(super) fn all() -> impl Iterator<Item = Signer> {
        Algorithm::ALL.into_iter().map(Signer::new)
    }

    /// The same signer, with a key that has a name.
    pub(super) fn named(mut self, kid: &str) -> Signer {
        self.key["kid"] = json!(kid);
        self
    }

    pub(super) fn header(&self) -> Value {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        if let Some(kid) = self.key.get("kid") {
            header["kid"] = kid.clone();
        }
        header
    }

    /// A token of these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token of any header and claims.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_encoded(&encode(header.as_bytes()), &encode(claims.as_bytes()))
    }

    /// A token of two parts as they are.
    pub(super) fn sign_encoded(&self, header: &str, claims: &str) -> String {
        let signed = format!("{header}.{claims}");
        let signature = encode(&(self.sign)(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// An HMAC of a message, for tokens that somebody signs with a secret of their own.
pub(super) fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn secret(algorithm: Algorithm, hash: hmac::Algorithm) -> Signer {
    let secret: Vec<u8> = (0..64).collect();
    let key = json!({ "kty": "oct", "k": encode(&secret) });
    let hmac_key = hmac::Key::new(hash, &secret);
    let sign = move |message: &[u8]| hmac::sign(&hmac_key, message).as_ref().to_vec();
    Signer { algorithm, key, sign: Box::new(sign) }
}

fn of_rsa(algorithm: Algorithm, padding: &'static dyn RsaEncoding) -> Signer {
    let jwk = rfc::rsa_private_key();
    let part = |name: &str| decode(jwk[name].as_str().unwrap()).unwrap();
    let pair = rsa::KeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n: part("n"), e: part("e") },
        d: part("d"),
        p: part("p"),
        q: part("q"),
        dP: part("dp"),
        dQ: part("dq"),
        qInv: part("qi"),
    })
    .unwrap();
    let key = json!({ "kty": "RSA", "n": jwk["n"], "e": jwk["e"] });
    let sign = move |message: &[u8]| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    Signer { algorithm, key, sign: Box::new(sign) }
}

fn ecdsa(algorithm: Algorithm, crv: &str, signing: &'static EcdsaSigningAlgorithm) -> Signer {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(point.len() / 2);
    let key = json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) });
    let sign = move |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
    Signer { algorithm, key, sign: Box::new(sign) }
}

fn ed25519() -> Signer {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) });
    let sign = move |message: &[u8]| pair.sign(message).as_ref().to_vec();
    Signer { algorithm: EdDSA, key, sign: Box::new(sign) }
}
