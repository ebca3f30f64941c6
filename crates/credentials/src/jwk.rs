//! One key as JSON: a JWK (RFC 7517, 4, with the members of RFC 7518, 6, and RFC 8037, 2).

use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::encoding;
use crate::key::{Key, Material};

/// Bytes of the name of a key.
pub(crate) const KID_BYTES_MAX: usize = 1024;

/// Members of keys that nobody but their owner may see, in keys that are public otherwise.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The name of a key, as far as it can be read. It serves to tell which key is meant.
pub(crate) fn kid(jwk: &Value) -> Option<&str> {
    jwk.get("kid").and_then(Value::as_str)
}

/// Reads a key that verifies signatures, or says why it is of no use for that.
pub(crate) fn read(issuer: &str, jwk: &Value) -> Result<Key, String> {
    let jwk = jwk.as_object().ok_or("it is no JSON object")?;
    let kid = text(jwk, "kid")?;
    if kid.is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return Err(format!("'kid' is longer than {KID_BYTES_MAX} bytes"));
    }
    is_for_signatures(jwk)?;
    let material = material(jwk)?;
    let algorithms = match text(jwk, "alg")? {
        None => Algorithm::ALL.to_vec(),
        Some(name) => {
            let known = Algorithm::parse(name);
            vec![known.ok_or_else(|| format!("'alg' is {name:?}: it is not used here"))?]
        }
    };
    Key::new(issuer, kid.map(str::to_owned), &algorithms, material).ok_or_else(|| {
        match jwk.contains_key("alg") {
            true => "'alg' does not fit the key".to_owned(),
            false => "a secret has to have at least 32 bytes".to_owned(),
        }
    })
}

/// Checks that a key was not made for something else.
fn is_for_signatures(jwk: &Map<String, Value>) -> Result<(), String> {
    if let Some(other) = text(jwk, "use")?.filter(|purpose| *purpose != "sig") {
        return Err(format!("'use' is {other:?}: it has to be \"sig\""));
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|it| it == "verify") => Ok(()),
        Some(_) => Err("'key_ops' is no list that has \"verify\" in it".to_owned()),
    }
}

fn material(jwk: &Map<String, Value>) -> Result<Material, String> {
    let kty = text(jwk, "kty")?.ok_or("'kty' is missing")?;
    if kty == "oct" {
        return Ok(Material::Secret(bytes(jwk, "k")?));
    }
    if let Some(name) = PRIVATE.iter().find(|name| jwk.contains_key(**name)) {
        return Err(format!(
            "it has '{name}', a part of the private key: make a new key, and publish only its \
             public part"
        ));
    }
    match (kty, text(jwk, "crv")?) {
        ("RSA", _) => Material::rsa(bytes(jwk, "n")?, bytes(jwk, "e")?),
        ("EC", Some("P-256")) => {
            Material::point(&bytes(jwk, "x")?, &bytes(jwk, "y")?).map(Material::P256)
        }
        ("EC", Some("P-384")) => {
            Material::point(&bytes(jwk, "x")?, &bytes(jwk, "y")?).map(Material::P384)
        }
        ("OKP", Some("Ed25519")) => {
            let point = bytes(jwk, "x")?.try_into();
            point.map(Material::Ed25519).map_err(|_| "'x' has to have 32 bytes".to_owned())
        }
        ("EC" | "OKP", crv) => {
            let crv = crv.unwrap_or_default();
            Err(format!("'crv' is {crv:?}: there are P-256, P-384 and Ed25519 here"))
        }
        _ => Err(format!("'kty' is {kty:?}: there are RSA, EC, OKP and oct here")),
    }
}

fn text<'k>(jwk: &'k Map<String, Value>, name: &str) -> Result<Option<&'k str>, String> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("'{name}' is no text")),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = text(jwk, name)?.ok_or_else(|| format!("'{name}' is missing"))?;
    encoding::decode(text).ok_or_else(|| format!("'{name}' is no base64url without padding"))
}
