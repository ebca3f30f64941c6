//! Forgeries of those who sign with a key that is not the issuer's.

use serde_json::{Value, json};

use super::super::signers::{Signer, hs256};
use super::super::{ISSUER, claims};
use super::{Forgery, header};
use crate::Algorithm::*;
use crate::encoding::{decode, encode};

pub(super) fn all(signer: &Signer) -> Vec<Forgery> {
    let all =
        [with_the_public_key_as_secret, with_a_name_that_leads_elsewhere, with_a_key_of_their_own];
    all.into_iter().flat_map(|forge| forge(signer)).collect()
}

/// HMAC with that as secret which everybody knows, in every way to write it (CVE-2016-5431).
fn with_the_public_key_as_secret(signer: &Signer) -> Vec<Forgery> {
    let mut secrets: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0; 32], vec![0; 64]];
    for guess in ["secret", "null", "undefined", "halfping", ISSUER, signer.algorithm.name()] {
        secrets.push(guess.into());
    }
    if signer.algorithm != HS256 {
        secrets.push(signer.key.to_string().into());
        secrets.push(format!("{{\"keys\":[{}]}}", signer.key).into());
        for part in ["n", "e", "x", "y"] {
            let Some(text) = signer.key.get(part).and_then(Value::as_str) else { continue };
            secrets.push(text.into());
            secrets.push(decode(text).unwrap());
        }
        for (label, der) in ders(&signer.key) {
            secrets.push(der.clone());
            for end in ["", "\n"] {
                for line_end in ["\n", "\r\n", ""] {
                    secrets.push(format!("{}{end}", pem(label, &der, line_end)).into());
                }
            }
        }
    }
    let mut all = Vec::new();
    for secret in secrets {
        // With the name of the key, with none, and with that of the one secret that there is.
        let head = |kid: Value| header(signer, json!({ "alg": "HS256", "kid": kid }));
        let nameless = r#"{"alg":"HS256","typ":"JWT"}"#.to_owned();
        for head in [head(json!(signer.algorithm.name())), head(json!("HS256")), nameless] {
            let signed =
                format!("{}.{}", encode(head.as_bytes()), encode(claims().to_string().as_bytes()));
            let signature = encode(&hs256(&secret, signed.as_bytes()));
            all.push(("a public secret", format!("{signed}.{signature}")));
        }
    }
    all
}

/// A public key in DER: as `SubjectPublicKeyInfo`, and for RSA also as PKCS #1 has it.
fn ders(key: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let part = |name: &str| decode(key[name].as_str().unwrap()).unwrap();
    let value = |tag: u8, bytes: &[u8]| {
        let length = bytes.len();
        let head = match length {
            0..128 => vec![tag, length as u8],
            128..256 => vec![tag, 0x81, length as u8],
            _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        };
        [head, bytes.to_vec()].concat()
    };
    let info = |algorithm: &[u8], key: &[u8]| {
        let bits = value(0x03, &[&[0], key].concat());
        value(0x30, &[value(0x30, algorithm), bits].concat())
    };
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    const P256: &[u8] =
        &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22];
    const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
    match (key["kty"].as_str().unwrap(), key["crv"].as_str()) {
        ("RSA", _) => {
            let number = |name| value(0x02, &[&[0], &*part(name)].concat());
            let numbers = value(0x30, &[number("n"), value(0x02, &part("e"))].concat());
            vec![("PUBLIC KEY", info(RSA, &numbers)), ("RSA PUBLIC KEY", numbers)]
        }
        ("EC", crv) => {
            let point = [vec![4], part("x"), part("y")].concat();
            let curve = if crv == Some("P-256") { P256 } else { P384 };
            vec![("PUBLIC KEY", info(curve, &point))]
        }
        _ => vec![("PUBLIC KEY", info(ED25519, &part("x")))],
    }
}

fn pem(label: &str, der: &[u8], line_end: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|it| std::str::from_utf8(it).unwrap()).collect();
    let lines = lines.join(line_end);
    format!("-----BEGIN {label}-----{line_end}{lines}{line_end}-----END {label}-----")
}

/// Names of keys that are paths, queries or commands elsewhere.
fn with_a_name_that_leads_elsewhere(signer: &Signer) -> Vec<Forgery> {
    let theirs = Signer::new(signer.algorithm);
    let long = "k".repeat(5_000);
    let mut all = Vec::new();
    for kid in [
        "/dev/null",
        "../../../../../../../../dev/null",
        "..\\..\\..\\..\\nul",
        "/proc/sys/kernel/randomize_va_space",
        "file:///dev/null",
        "http://127.0.0.1/key",
        "' UNION SELECT 'x' -- ",
        "x' or '1'='1",
        "| sleep 10",
        "$(sleep 10)",
        "%00",
        "\0",
        "",
        " ",
        "../HS256",
        "HS256\0",
        "hs256",
        "*",
        &long,
    ] {
        let secret = header(signer, json!({ "alg": "HS256", "kid": kid }));
        let signed =
            format!("{}.{}", encode(secret.as_bytes()), encode(claims().to_string().as_bytes()));
        for secret in [&[][..], b"\0", b"x", b"2", b"2\n"] {
            all.push(("kid", format!("{signed}.{}", encode(&hs256(secret, signed.as_bytes())))));
        }
        let head = header(signer, json!({ "kid": kid }));
        if signer.algorithm != HS256 && signer.algorithm != RS256 && signer.algorithm != PS256 {
            all.push(("kid", theirs.sign(&head, &claims().to_string())));
        }
    }
    for kid in [json!(1), json!(["HS256"]), json!({}), json!(null)] {
        all.push((
            "kid of no text",
            signer.sign(&header(signer, json!({ "kid": kid })), &claims().to_string()),
        ));
    }
    all
}

/// A key that the token brings along (CVE-2018-0114), or says where to find.
fn with_a_key_of_their_own(_: &Signer) -> Vec<Forgery> {
    let mut all = Vec::new();
    for theirs in [Signer::new(ES256), Signer::new(ES384)] {
        let alg = theirs.algorithm.name();
        let mut named = theirs.key.clone();
        named["kid"] = json!(alg);
        let url = "https://attacker.example/jwks.json";
        for members in [
            json!({}),
            json!({ "jwk": theirs.key }),
            json!({ "jwk": named }),
            json!({ "jku": url }),
            json!({ "jku": format!("{ISSUER}@attacker.example/") }),
            json!({ "x5u": url }),
            json!({ "x5c": ["MIIB"] }),
            json!({ "x5t": "AAAA", "x5t#S256": "AAAA" }),
            json!({ "jwk": theirs.key, "jku": url, "x5u": url, "x5c": ["MIIB"] }),
            json!({ "keys": [theirs.key] }),
        ] {
            for kid in [json!(alg), json!("theirs"), Value::Null] {
                let mut head = json!({ "alg": alg, "kid": kid });
                head.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
                if kid.is_null() {
                    head.as_object_mut().unwrap().remove("kid");
                }
                all.push(("their key", theirs.sign(&head.to_string(), &claims().to_string())));
            }
        }
    }
    all
}
