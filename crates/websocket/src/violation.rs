//! Violations of the protocol: each ends the connection.

use thiserror::Error;

/// A client's violation of RFC 6455, or of our bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame that is malformed, or not allowed at this place.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A text message, or the reason of a close, is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
    /// A compressed message that cannot be read.
    #[error("a compressed message that cannot be read")]
    Deflate,
    /// A message that is too long.
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
}

impl Violation {
    /// The close code of this violation (RFC 6455, section 7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Violation::Protocol(_) => 1002,
            Violation::Utf8 | Violation::Deflate => 1007,
            Violation::TooLong(_) => 1009,
        }
    }
}
