//! Forgeries of those who have a good token, and change it.

use serde_json::{Value, json};

use super::super::signers::{Signer, hs256};
use super::super::{ISSUER, NOW, claims};
use super::{Forgery, header, parts};
use crate::encoding::{decode, encode};
use crate::{Algorithm, TOKEN_BYTES_MAX};

pub(super) fn all(signer: &Signer) -> Vec<Forgery> {
    let all = [without_algorithm, with_another_signature, with_other_parts, of_other_forms];
    all.into_iter().flat_map(|forge| forge(signer)).collect()
}

/// `none`, in every spelling, and other algorithms that nobody has (CVE-2015-9235,
/// CVE-2018-1000531).
fn without_algorithm(signer: &Signer) -> Vec<Forgery> {
    let spelling = |mask: u32| {
        let letter = |(at, c): (usize, char)| match mask >> at & 1 {
            1 => c.to_ascii_uppercase(),
            _ => c,
        };
        json!("none".chars().enumerate().map(letter).collect::<String>())
    };
    let odd = ["", " none", "none ", "none\0", "nonenone", "null", "HS1", "RS1", "HS256 ", "hs256"];
    let mut algorithms: Vec<Value> = (0..16).map(spelling).collect();
    algorithms.extend(odd.map(Value::from));
    algorithms.extend([json!(null), json!(0), json!([]), json!(["none"]), json!({}), json!(false)]);
    let good = signer.token(&claims());
    let (_, payload, signature) = parts(&good);
    let mut all = Vec::new();
    for algorithm in algorithms {
        let head = encode(header(signer, json!({ "alg": algorithm })).as_bytes());
        for signature in ["", signature, "AA"] {
            all.push(("alg", format!("{head}.{payload}.{signature}")));
        }
        all.push(("alg, two parts", format!("{head}.{payload}")));
    }
    for head in [r#"{}"#, r#"{"typ":"JWT"}"#, r#"{"Alg":"none"}"#] {
        all.push(("no alg", format!("{}.{payload}.", encode(head.as_bytes()))));
        all.push(("no alg", format!("{}.{payload}.{signature}", encode(head.as_bytes()))));
    }
    all
}

/// The signature left out, emptied, cut, lengthened, or another one.
fn with_another_signature(signer: &Signer) -> Vec<Forgery> {
    let good = signer.token(&claims());
    let (head, payload, signature) = parts(&good);
    let bytes = decode(signature).unwrap();
    let length = bytes.len();
    let half = length / 2;
    let p256_order = decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    let mut signatures = vec![
        vec![],
        vec![0],
        vec![0; length],
        vec![0xff; length],
        vec![1; length],
        bytes[..length - 1].to_vec(),
        bytes[..half].to_vec(),
        bytes[1..].to_vec(),
        [&bytes[..], &[0]].concat(),
        [&[0], &bytes[..]].concat(),
        [&bytes[..], &bytes[..]].concat(),
        [&bytes[half..], &bytes[..half]].concat(),
        bytes.iter().rev().copied().collect(),
        // Psychic signatures (CVE-2022-21449), also in DER.
        [vec![0; half], [vec![0; half.saturating_sub(1)], vec![1]].concat()].concat(),
        [[vec![0; half - 1], vec![1]].concat(), vec![0; half]].concat(),
        [p256_order.clone(), p256_order.clone()].concat(),
        [p256_order, vec![0; 32]].concat(),
        vec![0x30, 6, 2, 1, 0, 2, 1, 0],
        vec![0x30, 6, 2, 1, 1, 2, 1, 1],
        // Of other claims.
        decode(parts(&signer.token(&json!({ "sub": "u1" }))).2).unwrap(),
    ];
    for secret in [&b""[..], b"secret", &bytes] {
        signatures.push(hs256(secret, format!("{head}.{payload}").as_bytes()));
    }
    let signature = |bytes: Vec<u8>| ("signature", format!("{head}.{payload}.{}", encode(&bytes)));
    signatures.into_iter().map(signature).collect()
}

/// Header and claims changed, behind which the signature stays.
fn with_other_parts(signer: &Signer) -> Vec<Forgery> {
    let good = signer.token(&claims());
    let (head, payload, signature) = parts(&good);
    let mut all = Vec::new();
    for (name, value) in [
        ("sub", json!("admin")),
        ("roles", json!(["admin"])),
        ("exp", json!(NOW + 100_000)),
        ("iat", json!(NOW)),
        ("nbf", json!(0)),
        ("jti", json!("t2")),
        ("aud", json!(["halfping", "all"])),
        ("iss", json!(format!("{ISSUER} "))),
        ("admin", json!(true)),
    ] {
        let mut changed = claims();
        changed[name] = value;
        let changed = encode(changed.to_string().as_bytes());
        all.push(("claims", format!("{head}.{changed}.{signature}")));
        all.push(("claims", format!("{head}.{changed}.")));
    }
    for other in Algorithm::ALL.into_iter().filter(|other| *other != signer.algorithm) {
        let changed = encode(header(signer, json!({ "alg": other.name() })).as_bytes());
        all.push(("other alg", format!("{changed}.{payload}.{signature}")));
        // Also signed anew: the key does not fit what the header says.
        let changed = header(signer, json!({ "alg": other.name() }));
        all.push(("other alg, signed", signer.sign(&changed, &claims().to_string())));
    }
    // Spaces in JSON do not change its meaning, and yet were not signed.
    let spaced = encode(format!(" {}", claims()).as_bytes());
    all.push(("space", format!("{head}.{spaced}.{signature}")));
    all
}

/// Other numbers of parts, and letters that are none of base64url.
fn of_other_forms(signer: &Signer) -> Vec<Forgery> {
    let good = signer.token(&claims());
    let (head, payload, signature) = parts(&good);
    let direct = encode(br#"{"alg":"dir","enc":"A256GCM"}"#);
    let wrapped = encode(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    let one = json!({ "protected": head, "signature": signature });
    let mut all = Vec::new();
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "....".to_owned(),
        head.to_owned(),
        format!("{head}.{payload}"),
        format!(".{payload}.{signature}"),
        format!("{head}..{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{head}.{payload}.{signature}.{signature}.{signature}"),
        // A token within the parts of an encrypted one.
        format!("{direct}..AAAA.{payload}.{signature}"),
        format!("{wrapped}.AAAA.AAAA.{}.AAAA", encode(good.as_bytes())),
        json!({ "protected": head, "payload": payload, "signature": signature }).to_string(),
        json!({ "payload": payload, "signatures": [one] }).to_string(),
        format!("Bearer {good}"),
        format!("\"{good}\""),
        good.replace('.', "%2E"),
        good.replace('.', "。"),
        good.to_uppercase(),
        "x".repeat(TOKEN_BYTES_MAX + 1),
        ".".repeat(TOKEN_BYTES_MAX),
    ] {
        all.push(("parts", token));
    }
    for odd in
        ["=", "==", "\n", "\r\n", " ", "\t", "\0", "+", "/", "%3D", "\u{feff}", "#", "?", "ä"]
    {
        for place in 0..3 {
            let mut parts = [head.to_owned(), payload.to_owned(), signature.to_owned()];
            let part = parts[place].clone();
            for changed in [
                format!("{part}{odd}"),
                format!("{odd}{part}"),
                format!("{}{odd}{}", &part[..4], &part[4..]),
            ] {
                parts[place] = changed;
                all.push(("letters", parts.join(".")));
            }
        }
        // Signed with the odd letter, so that only the form is wrong.
        all.push(("letters, signed", signer.sign_encoded(&format!("{head}{odd}"), payload)));
        all.push(("letters, signed", signer.sign_encoded(head, &format!("{odd}{payload}"))));
    }
    all
}
