//! What can go wrong, by operation; each error knows whose doing it is.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::frame::Problem;
use crate::machine::FrameError;

/// Whose doing an error is, and so what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// The caller asked for what cannot be asked for. Trying again changes nothing.
    Misuse,
    /// The server understood and said no, for the reason in its problem document.
    Refused,
    /// The other side does not speak the protocol.
    PeerFault,
    /// The network, or a server that is not well. Trying again may help.
    Network,
}

/// A base address that a client cannot be made for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// Not a URL at all.
    #[error("`{base}` is not a URL: {why}")]
    NotAUrl {
        /// What was given.
        base: String,
        /// What is wrong with it.
        why: String,
    },
    /// A URL, but not one of a server.
    #[error("`{base}` does not begin with http:// or https://")]
    NotHttp {
        /// What was given.
        base: String,
    },
    /// A base address is a place to append paths to.
    #[error("`{base}` has a query or a fragment, so that no path can follow it")]
    HasQuery {
        /// What was given.
        base: String,
    },
    /// TLS cannot be set up on this machine.
    #[error("https cannot be used here: {why}")]
    Tls {
        /// What is missing.
        why: String,
    },
}

/// A path that cannot be asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// `..` and the like: URL libraries resolve them, and so the request would be for something else.
    #[error("the path `{path}` has a `.` or `..` segment")]
    DotSegment {
        /// What was given.
        path: String,
    },
    /// `#` would silently cut the path.
    #[error("the path `{path}` has a `#`; as part of a name it is written %23")]
    Fragment {
        /// What was given.
        path: String,
    },
    /// Paths begin at the base.
    #[error("the path `{path}` does not begin with `/`")]
    NotAbsolute {
        /// What was given.
        path: String,
    },
}

/// Why a request brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The path cannot be asked for.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The other side is no Halfping server.
    #[error(transparent)]
    PeerFault(#[from] PeerFault),
    /// The network failed, before or after the request was sent: a write may have happened.
    #[error(transparent)]
    Network(#[from] NetworkFault),
}

impl RequestError {
    /// Whose doing it is.
    pub fn family(&self) -> Family {
        match self {
            RequestError::Path(_) => Family::Misuse,
            RequestError::Refused(refusal) => refusal.family(),
            RequestError::PeerFault(_) => Family::PeerFault,
            RequestError::Network(_) => Family::Network,
        }
    }
}

/// Why a watch ended for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The other side is no Halfping server, or a newer one than this client knows.
    #[error(transparent)]
    PeerFault(#[from] PeerFault),
    /// It had ended before this call.
    #[error("the watch has ended")]
    Ended,
}

impl WatchError {
    /// Whose doing it is.
    pub fn family(&self) -> Family {
        match self {
            WatchError::Refused(refusal) => refusal.family(),
            WatchError::PeerFault(_) => Family::PeerFault,
            WatchError::Ended => Family::Misuse,
        }
    }
}

/// Why there is no successful answer: what the errors of all operations over HTTP have in common.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    Refused(Refusal),
    PeerFault(PeerFault),
    Network(NetworkFault),
}

impl From<NoAnswer> for RequestError {
    fn from(why: NoAnswer) -> RequestError {
        match why {
            NoAnswer::Refused(refusal) => RequestError::Refused(refusal),
            NoAnswer::PeerFault(fault) => RequestError::PeerFault(fault),
            NoAnswer::Network(fault) => RequestError::Network(fault),
        }
    }
}

/// The server's no: a status of 400 or more, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The problem document; empty but for a title when the answer had none.
    pub problem: Problem,
    /// How long the server asks to wait before the next try.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether the same request may be answered later: the server is at fault, or busy (408, 429, 5xx).
    pub fn may_pass(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 429)
    }

    /// [`Family::Network`] for 5xx, which says something about the server rather than about the request.
    pub fn family(&self) -> Family {
        if self.status >= 500 { Family::Network } else { Family::Refused }
    }
}

impl Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.problem)
    }
}

/// An answer that no Halfping server gives.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// We do not follow redirects: a write would turn into a read on the way, and a stream would hide the detour.
    #[error("the server redirects ({status}) to {location}")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// A watch was answered, but with something else than a stream.
    #[error("the server answered with {content_type} rather than a stream of frames")]
    NotAStream {
        /// The answer's content type.
        content_type: String,
    },
    /// A resource was answered, but with something else than JSON.
    #[error("the server answered with {content_type} rather than JSON")]
    NotJson {
        /// The answer's content type.
        content_type: String,
    },
    /// A write was answered, but without a cursor.
    #[error("the server answered a write without the cursor that Halfping gives it")]
    NoCursor,
    /// A body beyond all bounds.
    #[error("the server's answer is longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// A body that is not text.
    #[error("the server's answer is not UTF-8")]
    NotText,
    /// A stream that cannot be understood.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A connection that could not be made, or did not last.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct NetworkFault {
    what: &'static str,
    /// The innermost cause: the layers in between say only that something went wrong.
    why: String,
    connecting: bool,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl NetworkFault {
    /// Whether no connection could be made at all, so that nothing was sent.
    pub fn is_connect(&self) -> bool {
        self.connecting
    }
}

impl From<reqwest::Error> for NetworkFault {
    fn from(error: reqwest::Error) -> NetworkFault {
        // The URL is the caller's to name: it knows what the user typed.
        let error = error.without_url();
        let connecting = error.is_connect();
        let what = if connecting { "no connection" } else { "the connection failed" };
        let mut innermost: &dyn Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let why = if error.is_timeout() { "timed out".to_owned() } else { innermost.to_string() };
        NetworkFault { what, why, connecting, source: error.into() }
    }
}
