//! Settings of `[auth.client_cert]`: certificates of clients, as a proxy passes them on.

use serde_json::{Map, Value};

use crate::identity::Identity;
use crate::secret::Digest;

/// Settings of `[auth.client_cert]`: proxies that end TLS, and say which certificate a client has
/// shown (`Client-Cert`, RFC 9440).
#[derive(Clone, PartialEq, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientCert {
    /// Addresses of the proxies, or networks of them: `127.0.0.1`, `10.0.0.0/8`. From any other
    /// address the field says nothing.
    pub trusted: Vec<String>,
    /// Certificates whose claims are known. Left out, all of them have only their fingerprint.
    pub known: Vec<KnownCert>,
    /// True if certificates that are not known let nobody in.
    pub only_known: bool,
}

/// A certificate, with the claims of who has it.
#[derive(Clone, PartialEq, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnownCert {
    /// SHA-256 of the certificate (DER), as 64 hexadecimal digits, with or without colons.
    pub sha256: String,
    /// Claims of whoever shows it. Left out, `sub` is `cert:` and the fingerprint.
    pub claims: Map<String, Value>,
}

impl KnownCert {
    /// The fingerprint. `None` if it is none.
    pub fn digest(&self) -> Option<Digest> {
        Digest::parse(&self.sha256.replace(':', "").to_ascii_lowercase())
    }
}

impl ClientCert {
    /// Checks all but addresses. The error has the name of the setting.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.trusted.is_empty() {
            let why = "say from which addresses the proxy comes, such as [\"127.0.0.1\"]";
            return Err(("trusted".to_owned(), why.to_owned()));
        }
        for (place, known) in self.known.iter().enumerate() {
            let error = |name: &str, why: String| {
                Err((format!("[[auth.client_cert.known]] {}: {name}", place + 1), why))
            };
            let Some(digest) = known.digest() else {
                let why = "it is the SHA-256 of the certificate, as 64 hexadecimal digits";
                return error("sha256", why.to_owned());
            };
            if self.known[..place].iter().any(|other| other.digest() == Some(digest)) {
                return error("sha256", "the certificate is there already".to_owned());
            }
            if let Err(long) = Identity::new(known.claims.clone()) {
                return error("claims", long.to_string());
            }
        }
        Ok(())
    }
}
