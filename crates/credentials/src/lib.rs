//! Credentials of Halfping: tokens, keys, tickets. One question is answered: who is the one that
//! shows this?
//!
//! [`Shown`] finds a credential in the head of a request, [`Verifier`] says whose it is: an
//! [`Identity`], or a [`Refusal`]. [`Verified`] remembers what was verified, [`Refresh`] says when
//! the keys of an issuer are to be fetched, [`Revoked`] who is not believed any more, and
//! [`Tickets`] are for clients that can send nothing but a URL.
//!
//! Tokens are JWTs (RFC 7519) as strict as RFC 8725 wants them: the key decides about the
//! algorithm, and nothing in a token brings a key along. Nothing here does IO or has a clock: time
//! is an argument, in seconds since 1970, and so are random bytes.
//!
//! Tokens are taken apart here, and signatures verified by `ring`, which is in the build already
//! for TLS. The crate `jsonwebtoken` (12.0) is not used. Its cryptography is one setting of a whole
//! process, which a library must not take from its user, and it reads the system's clock. It parses
//! the `jwk` of a header, accepts lists as `iss`, and overlooks most members that stand twice, so
//! that all of a token would have to be read here once more.

mod algorithm;
mod api_key;
mod cache;
mod claims;
mod config;
mod encoding;
mod identity;
mod jwk;
mod jws;
mod key;
mod key_set;
mod reason;
mod refresh;
mod revoked;
mod secret;
mod shown;
mod ticket;
mod verifier;

pub use algorithm::Algorithm;
pub use api_key::{API_KEY_PREFIX, new_api_key};
pub use cache::{Miss, VERIFIED_MAX, Verified};
pub use claims::LEEWAY_SECONDS;
pub use config::{
    Anonymous, ApiKey, AuthConfig, AuthConfigError, ClientCert, Forward, Issuer, KnownCert, Source,
};
pub use identity::{CLAIMS_BYTES_MAX, ClaimsTooLong, Identity, KeyId};
pub use key_set::{KEY_SET_BYTES_MAX, KEYS_MAX, KEYS_TRIED_MAX, KeySet, KeySetError, LeftOut};
pub use reason::{REFUSED, Reason, Refusal};
pub use refresh::{
    FETCH_SECONDS_MAX, FRESH_SECONDS_MAX, FRESH_SECONDS_MIN, Refresh, STALE_SECONDS_MAX, Step,
    UNKNOWN_KID_SECONDS, UNKNOWN_KIDS_MAX, UNKNOWN_SECONDS, Unknown,
};
pub use revoked::{Revoked, RevokedFault};
pub use secret::{Digest, Secret};
pub use shown::{Places, QUERY_TICKET, QUERY_TOKEN, Shown, ShownError};
pub use ticket::{Holder, TICKET_SECONDS, TICKETS_MAX, Tickets};
pub use verifier::{TOKEN_BYTES_MAX, Verifier};

#[cfg(test)]
mod tests;
