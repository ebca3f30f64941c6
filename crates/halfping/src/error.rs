//! Errors of the API, as a Rust program gets them.

use halfping_engine::{Limits, Path, PathError, Refusal};
use halfping_journal::Fault;
use thiserror::Error;

use crate::problem::Problem;

/// Error of a call of [`Api`](crate::Api).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no path: a mistake of the caller.
    #[error("{path:?} is no path: {source}")]
    Path {
        /// The text that was given.
        path: String,
        /// The fault of the path.
        source: PathError,
    },
    /// The value cannot be written as JSON, or not as JSON that is accepted here. A mistake of the
    /// caller.
    #[error("the value cannot be kept: {0}")]
    Value(String),
    /// The value at the path is not of the type that was asked for.
    #[error("the value at {path} is another than the type asked for: {why}")]
    Type {
        /// The path of the value.
        path: String,
        /// The message of the type's deserialiser.
        why: String,
    },
    /// A view that there cannot be, or a path beneath a [named](crate::NamedViews) one. A mistake
    /// of the caller.
    #[error("this is no view: {0}")]
    View(String),
    /// A write at or beneath a [named view](crate::NamedViews). Nothing has changed.
    #[error("{0}")]
    ReadOnly(String),
    /// The engine refused. Nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The write could not be made durable. Nobody was told that it succeeded; after a crash it may
    /// turn out to have happened.
    #[error("the write could not be made durable: {0}")]
    Storage(#[from] Fault),
    /// Too many links are open.
    #[error("too many links are open")]
    TooManyLinks,
    /// Too many links look through views, or through too many different ones. The text names the
    /// limit.
    #[error("{0}")]
    TooManyViews(String),
    /// The server is stopping.
    #[error("the server is about to stop")]
    Draining,
}

/// The error for a view that cannot be.
pub(crate) fn of_view(problem: Problem) -> Error {
    Error::View(problem.in_words())
}

/// A path, as programs write it.
pub(crate) fn parse_path(path: &str, limits: &Limits) -> Result<Path, Error> {
    Path::parse(path, limits).map_err(|source| Error::Path { path: path.to_owned(), source })
}
