//! Texts that no log shows, and the hashes by which they are known again.

use std::fmt;
use std::hash::{Hash, Hasher};

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// Text that is printed as `…`: a token, a key, a ticket. Comparison takes the same time wherever
/// two of the same length differ.
///
/// ```
/// use halfping_credentials::Secret;
///
/// let secret = Secret::new("hpk_AAEC");
/// assert_eq!(format!("{secret} {secret:?}"), "… …");
/// assert_eq!(secret.reveal(), "hpk_AAEC");
/// ```
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// The text itself. It belongs in no log and no error.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// SHA-256 of a secret. Comparison takes the same time wherever two of them differ.
///
/// ```
/// use halfping_credentials::Digest;
///
/// let digest = Digest::of(b"abc");
/// assert!(digest.hex().starts_with("ba7816bf8f01cfea"));
/// assert_eq!(Digest::parse(&digest.hex()), Some(digest));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Digest(hash)
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Digest> {
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Digest(hash))
    }

    /// The hash as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
