//! Signed tokens in compact form (RFC 7515, 7.1), read before anything in them is believed.

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::encoding;
use crate::jwk::KID_BYTES_MAX;
use crate::key::Key;
use crate::reason::Reason;

/// Members of a header that change what the rest of it means. Nothing here understands them, so
/// nobody may use them: `crit` names others of the kind (RFC 7515, 4.1.11), `b64` changes what is
/// signed (RFC 7797), `enc` and `zip` belong to encrypted tokens.
const NOT_UNDERSTOOD: [&str; 4] = ["crit", "b64", "enc", "zip"];

/// A token taken apart. Its header and payload are those of whoever made it.
///
/// `jku`, `x5u`, `jwk` and `x5c` in a header name a key, or are one: whoever forges a token brings
/// one along. They are not looked at (RFC 8725, 3.10).
pub(crate) struct Jws<'t> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) payload: Vec<u8>,
    signed: &'t [u8],
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    pub(crate) fn read(token: &'t str) -> Result<Jws<'t>, Reason> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        // A dot is no letter of base64url, so a further part is refused with the payload.
        let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
        let decode = |part| encoding::decode(part).ok_or(Reason::Malformed);
        let (algorithm, kid) = head(&decode(header)?)?;
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        Ok(Jws { algorithm, kid, payload, signed: signed.as_bytes(), signature })
    }

    pub(crate) fn is_signed_with(&self, key: &Key) -> bool {
        key.verify(self.algorithm, self.signed, &self.signature)
    }
}

/// The two members of a header that are used.
fn head(header: &[u8]) -> Result<(Algorithm, Option<String>), Reason> {
    let header = encoding::object(header).map_err(|_| Reason::Malformed)?;
    if NOT_UNDERSTOOD.iter().any(|name| header.contains_key(*name)) {
        return Err(Reason::Malformed);
    }
    let algorithm = match header.get("alg") {
        Some(Value::String(name)) => Algorithm::parse(name).ok_or(Reason::Algorithm)?,
        _ => return Err(Reason::Malformed),
    };
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
        Some(_) => return Err(Reason::Malformed),
    };
    Ok((algorithm, kid))
}
