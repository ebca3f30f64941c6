//! Tokens that are signed as they should be, and are no good for all that.

use serde_json::json;

use super::super::claims;
use super::super::signers::Signer;
use super::{Forgery, header, parts};
use crate::TOKEN_BYTES_MAX;
use crate::encoding::encode;

/// Tokens that the issuer itself has signed, and that are no good for all that.
pub(super) fn all(signer: &Signer) -> Vec<Forgery> {
    let head = signer.header().to_string();
    let body = claims().to_string();
    let mut all = Vec::new();
    for members in [
        json!({ "crit": [] }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": ["b64"], "b64": true }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": "exp" }),
        json!({ "crit": null }),
        json!({ "b64": false }),
        json!({ "enc": "A256GCM" }),
        json!({ "zip": "DEF" }),
    ] {
        all.push(("crit", signer.sign(&header(signer, members), &body)));
    }
    let unencoded = format!("{}.{body}", encode(head.as_bytes()));
    all.push(("not encoded", format!("{unencoded}.{}", parts(&signer.token(&claims())).2)));

    let inside = |json: &str| json[1..json.len() - 1].to_owned();
    let (in_head, in_body) = (inside(&head), inside(&body));
    for head in [
        format!("{{{in_head},\"alg\":\"{}\"}}", signer.algorithm),
        format!("{{\"alg\":\"none\",{in_head}}}"),
        format!("{{{in_head},\"typ\":\"JWT\"}}"),
        format!("{{{in_head},\"\\u0061lg\":\"none\"}}"),
        format!("{{{in_head},\"x\":{{\"a\":1,\"a\":1}}}}"),
        format!("{{{in_head},}}"),
        format!("{{{in_head}}}}}"),
        format!("{{{in_head}"),
        format!("[{head}]"),
        format!("\u{feff}{head}"),
        format!("{head}{head}"),
        format!("{head}\0"),
        format!("{{{in_head},\"x\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000)),
        "null".to_owned(),
        "[]".to_owned(),
        "\"\"".to_owned(),
        "1".to_owned(),
        String::new(),
    ] {
        all.push(("header", signer.sign(&head, &body)));
    }
    for body in [
        format!("{{{in_body},\"sub\":\"u1\"}}"),
        format!("{{\"sub\":\"admin\",{in_body}}}"),
        format!("{{{in_body},\"\\u0073ub\":\"admin\"}}"),
        format!("{{{in_body},\"x\":[{{\"a\":1,\"a\":2}}]}}"),
        format!("{{{in_body},}}"),
        format!("{{{in_body},\"nbf\":1e999}}"),
        format!("{{{in_body},\"nbf\":NaN}}"),
        format!("{{{in_body},\"nbf\":01}}"),
        format!("{{{in_body},\"nbf\":+1}}"),
        format!("{{{in_body},\"nbf\":0x1}}"),
        format!("{{{in_body},'nbf':1}}"),
        format!("{{{in_body}}}//"),
        format!("{{{in_body},\"x\":\"\n\"}}"),
        format!("{{{in_body},\"x\":\"\\ud800\"}}"),
        format!("[{body}]"),
        format!("\u{feff}{body}"),
        format!("{body} {body}"),
        format!("{{{in_body},\"x\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000)),
        signer.token(&claims()),
        "null".to_owned(),
        "true".to_owned(),
        "[]".to_owned(),
        "\"u1\"".to_owned(),
        String::new(),
    ] {
        all.push(("claims", signer.sign(&head, &body)));
    }
    let utf8 = format!("{}\u{1}", inside(&body)).replace('\u{1}', ",\"x\":\"\u{fffd}\"");
    let bytes: Vec<u8> = format!("{{{utf8}}}").into_bytes();
    let broken = bytes.iter().map(|byte| if *byte == 0xef { 0xff } else { *byte });
    let broken = encode(&broken.collect::<Vec<_>>());
    all.push(("no UTF-8", signer.sign_encoded(&encode(head.as_bytes()), &broken)));

    for (name, values) in [
        (
            "exp",
            vec![
                "null",
                "\"1732371300\"",
                "[1732371300]",
                "{}",
                "true",
                "-1",
                "0",
                "1e300",
                "18446744073709551616",
                "1732371300000",
                "1732370000",
                "1732370000.5",
                "-1732371300",
            ],
        ),
        ("nbf", vec!["\"0\"", "[]", "1e300", "-0.5", "1732379999", "false"]),
        ("iat", vec!["\"0\"", "1732379999", "99999999999999999999", "{}"]),
        (
            "aud",
            vec![
                "null",
                "[]",
                "\"\"",
                "\"other\"",
                "{}",
                "[[\"halfping\"]]",
                "[null,\"halfping\"]",
                "\"halfping \"",
                "1",
            ],
        ),
        (
            "iss",
            vec![
                "null",
                "\"\"",
                "[]",
                "[\"https://id.example.org/\"]",
                "\"https://id.example.org\"",
                "\"HTTPS://ID.EXAMPLE.ORG/\"",
                "\"https://id.example.org/\\u0000\"",
            ],
        ),
        ("sub", vec!["1", "[]", "{}", "true", "null"]),
        ("jti", vec!["1", "[]", "{}", "true", "null"]),
    ] {
        for value in values {
            let mut kept = claims();
            kept.as_object_mut().unwrap().remove(name);
            let body = format!("{{{},\"{name}\":{value}}}", inside(&kept.to_string()));
            all.push(("a claim", signer.sign(&head, &body)));
        }
        if name != "nbf" && name != "iat" && name != "sub" && name != "jti" {
            let mut without = claims();
            without.as_object_mut().unwrap().remove(name);
            all.push(("no claim", signer.token(&without)));
        }
    }
    let mut long = claims();
    long["x"] = json!("x".repeat(TOKEN_BYTES_MAX));
    all.push(("too long", signer.token(&long)));
    all
}
