//! Algorithms of signatures (RFC 7518, 3.1, and RFC 8037, 3.1). There is no `none`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};

/// Algorithm of a signature.
///
/// ```
/// use halfping_credentials::Algorithm;
///
/// assert_eq!(Algorithm::parse("ES256"), Some(Algorithm::ES256));
/// assert_eq!(Algorithm::parse("none"), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSA with SHA-256, padded as PKCS #1 1.5 says.
    RS256,
    /// RSA with SHA-384, padded as PKCS #1 1.5 says.
    RS384,
    /// RSA with SHA-512, padded as PKCS #1 1.5 says.
    RS512,
    /// RSA with SHA-256, padded as PSS says.
    PS256,
    /// RSA with SHA-384, padded as PSS says.
    PS384,
    /// RSA with SHA-512, padded as PSS says.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// EdDSA on Ed25519.
    EdDSA,
}

use Algorithm::*;

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 12] =
        [HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA];

    /// The name in tokens and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            HS256 => "HS256",
            HS384 => "HS384",
            HS512 => "HS512",
            RS256 => "RS256",
            RS384 => "RS384",
            RS512 => "RS512",
            PS256 => "PS256",
            PS384 => "PS384",
            PS512 => "PS512",
            ES256 => "ES256",
            ES384 => "ES384",
            EdDSA => "EdDSA",
        }
    }

    /// Reads a name. Case matters.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The bytes that a secret has to have for it: as many as the hash (RFC 7518, 3.2). `None`
    /// where keys are public.
    pub fn secret_bytes_min(self) -> Option<usize> {
        match self {
            HS256 => Some(32),
            HS384 => Some(48),
            HS512 => Some(64),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
        let name = String::deserialize(deserializer)?;
        Algorithm::parse(&name).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            D::Error::custom(format_args!("there is no algorithm {name:?}; there are {known}"))
        })
    }
}
