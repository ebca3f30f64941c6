//! Keys that verify signatures. The key decides which algorithms can be meant: a token that says
//! another one is not asked what its author had in mind (RFC 8725, 3.1).

use std::fmt;

use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

use crate::algorithm::Algorithm;
use crate::encoding;
use crate::identity::KeyId;
use crate::secret::Digest;

/// Bits of an RSA key, at least.
const RSA_BITS_MIN: usize = 2048;
/// Bits of an RSA key, at most: verification takes time that grows with them.
const RSA_BITS_MAX: usize = 8192;
/// Bytes of the exponent of an RSA key.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// Key of an issuer.
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) kid: Option<String>,
    /// The algorithms that it may be used with. None of them is one that the material does not fit.
    algorithms: Vec<Algorithm>,
    material: Material,
}

/// The numbers of a key. The values are those of ring, and of the members of a JWK.
pub(crate) enum Material {
    Secret(Vec<u8>),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256([u8; 65]),
    P384([u8; 97]),
    Ed25519([u8; 32]),
}

impl Key {
    /// A key for those of some algorithms that its material fits. `None` if it fits none.
    pub(crate) fn new(
        issuer: &str,
        kid: Option<String>,
        algorithms: &[Algorithm],
        material: Material,
    ) -> Option<Key> {
        let fitting = |it: &Algorithm| material.fits(*it);
        let algorithms: Vec<_> = algorithms.iter().copied().filter(fitting).collect();
        let id = KeyId::new(format!("{issuer}#{}", material.thumbprint()));
        (!algorithms.is_empty()).then_some(Key { id, kid, algorithms, material })
    }

    pub(crate) fn is_same(&self, other: &Key) -> bool {
        (&self.id, &self.kid, &self.algorithms) == (&other.id, &other.kid, &other.algorithms)
    }

    pub(crate) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// True if a signature is that of a message, made with an algorithm of this key.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.is_for(algorithm) && self.material.verify(algorithm, message, signature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Key");
        told.field("kid", &self.kid).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl Material {
    /// An RSA key of a size that is neither weak nor slow.
    pub(crate) fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Material, String> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(format!(
                "the RSA key has {bits} bits; it has to have {RSA_BITS_MIN} to {RSA_BITS_MAX}"
            ));
        }
        let is_odd = e.last().is_some_and(|last| last & 1 == 1);
        if !is_odd || e.len() > RSA_EXPONENT_BYTES_MAX || e == [1] {
            return Err("the exponent of the RSA key is even, 1 or too large".to_owned());
        }
        Ok(Material::Rsa(RsaPublicKeyComponents { n, e }))
    }

    /// The point of an elliptic curve, written as both of its coordinates.
    pub(crate) fn point<const N: usize>(x: &[u8], y: &[u8]) -> Result<[u8; N], String> {
        let bytes = [&[4], x, y].concat();
        let is_whole = x.len() == y.len();
        bytes.try_into().ok().filter(|_| is_whole).ok_or_else(|| {
            format!("'x' and 'y' have to have {} bytes each, with leading zeros", N / 2)
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match self {
            Material::Secret(secret) => {
                algorithm.secret_bytes_min().is_some_and(|bytes| secret.len() >= bytes)
            }
            Material::Rsa(_) => {
                matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
            }
            Material::P256(_) => algorithm == ES256,
            Material::P384(_) => algorithm == ES384,
            Material::Ed25519(_) => algorithm == EdDSA,
        }
    }

    /// True if a signature is that of a message. False for an algorithm that does not fit.
    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match self {
            Material::Secret(secret) => {
                let key = hmac::Key::new(hash(algorithm), secret);
                hmac::verify(&key, message, signature).is_ok()
            }
            Material::Rsa(key) => rsa(algorithm)
                .is_some_and(|parameters| key.verify(parameters, message, signature).is_ok()),
            Material::P256(key) => {
                is_of(&signature::ECDSA_P256_SHA256_FIXED, key, message, signature)
            }
            Material::P384(key) => {
                is_of(&signature::ECDSA_P384_SHA384_FIXED, key, message, signature)
            }
            Material::Ed25519(key) => is_of(&signature::ED25519, key, message, signature),
        }
    }

    /// The thumbprint of the key (RFC 7638): the same for the same key, however it is written.
    pub(crate) fn thumbprint(&self) -> String {
        let b64 = encoding::encode;
        let point = |crv: &str, bytes: &[u8]| {
            let (x, y) = bytes[1..].split_at(bytes.len() / 2);
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, b64(x), b64(y))
        };
        let text = match self {
            Material::Secret(secret) => format!(r#"{{"k":"{}","kty":"oct"}}"#, b64(secret)),
            Material::Rsa(key) => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64(&key.e), b64(&key.n))
            }
            Material::P256(key) => point("P-256", key),
            Material::P384(key) => point("P-384", key),
            Material::Ed25519(key) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(key))
            }
        };
        b64(Digest::of(text.as_bytes()).bytes())
    }
}

fn is_of(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}

fn hash(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

/// A number without the zeros before it, which some issuers write.
fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}
