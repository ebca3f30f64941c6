//! Errors of the API, as a Rust program gets them.

use halfping_engine::{Limits, Path, PathError, Refusal};
use halfping_journal::Fault;
use thiserror::Error;

/// Error of a call of [`Api`](crate::Api).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The path is none. A mistake of the caller.
    #[error("{path:?} is no path: {source}")]
    Path {
        /// What was given.
        path: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// The value cannot be written as JSON, or not as JSON that is accepted here. A mistake of the
    /// caller.
    #[error("the value cannot be kept: {0}")]
    Value(String),
    /// What is there is not what was asked for.
    #[error("the value at {path} is another than the type asked for: {why}")]
    Type {
        /// Where.
        path: String,
        /// What the type's deserialiser says.
        why: String,
    },
    /// An expected no. Nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be made durable. Nobody was told that it succeeded; after a crash it may turn
    /// out to have happened.
    #[error("the write could not be made durable: {0}")]
    Storage(#[from] Fault),
    /// Too many links are open.
    #[error("too many links are open")]
    TooManyLinks,
    /// The server is stopping.
    #[error("the server is about to stop")]
    Draining,
}

/// A path, as programs write it.
pub(crate) fn parse_path(path: &str, limits: &Limits) -> Result<Path, Error> {
    Path::parse(path, limits).map_err(|source| Error::Path { path: path.to_owned(), source })
}
