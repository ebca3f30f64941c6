//! Errors, by operation. Each tells which side caused it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::frame::Problem;
use crate::machine::FrameError;

/// The side that caused an error, and so what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// The caller's request is not valid. Trying again changes nothing.
    Misuse,
    /// The server understood the request and refused it, for the reason in its problem document.
    Refused,
    /// The other side does not follow the protocol.
    PeerFault,
    /// The network failed, the server is at fault, or there is no token. Trying again may help.
    Network,
}

/// A base address that a client cannot use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// The text is not a URL.
    #[error("`{base}` is not a URL: {why}")]
    NotAUrl {
        /// The text that was given.
        base: String,
        /// The parser's message.
        why: String,
    },
    /// A URL of another scheme than `http` and `https`.
    #[error("`{base}` does not begin with http:// or https://")]
    NotHttp {
        /// The text that was given.
        base: String,
    },
    /// A URL with a query or a fragment, to which no path can be appended.
    #[error("`{base}` has a query or a fragment, so that no path can follow it")]
    HasQuery {
        /// The text that was given.
        base: String,
    },
    /// A token with characters that no header can have.
    #[error("the token has characters that cannot be sent in a header")]
    BadToken,
    /// TLS cannot be set up on this machine.
    #[error("https cannot be used here: {why}")]
    Tls {
        /// The reason.
        why: String,
    },
}

/// A path that cannot be requested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A path with a `.` or `..` segment: URL libraries resolve it, and the request would be for
    /// another path.
    #[error("the path `{path}` has a `.` or `..` segment")]
    DotSegment {
        /// The path that was given.
        path: String,
    },
    /// A path with a `#`, which would silently cut it.
    #[error("the path `{path}` has a `#`; as part of a name it is written %23")]
    Fragment {
        /// The path that was given.
        path: String,
    },
    /// A path that does not begin with `/`.
    #[error("the path `{path}` does not begin with `/`")]
    NotAbsolute {
        /// The path that was given.
        path: String,
    },
}

/// A token that there is not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// The function that gives tokens failed.
    #[error("no token: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// It took too long.
    #[error("no token within {} s", .0.as_secs())]
    Late(Duration),
    /// It gave characters that no header can have.
    #[error("the token has characters that cannot be sent in a header")]
    BadToken,
}

/// Error of a single request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The path cannot be requested.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The server refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The other side is not a Halfping server.
    #[error(transparent)]
    PeerFault(#[from] PeerFault),
    /// The network failed, before or after the request was sent: a write may have happened.
    #[error(transparent)]
    Network(#[from] NetworkFault),
    /// There is no token to show. Nothing was sent.
    #[error(transparent)]
    Token(#[from] TokenFault),
}

impl RequestError {
    /// The side that caused it.
    pub fn family(&self) -> Family {
        match self {
            RequestError::Path(_) => Family::Misuse,
            RequestError::Refused(refusal) => refusal.family(),
            RequestError::PeerFault(_) => Family::PeerFault,
            RequestError::Network(_) | RequestError::Token(_) => Family::Network,
        }
    }
}

/// Error that ends a watch for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The server refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The other side is not a Halfping server, or a newer one than this client knows.
    #[error(transparent)]
    PeerFault(#[from] PeerFault),
    /// The watch had ended before this call.
    #[error("the watch has ended")]
    Ended,
}

impl WatchError {
    /// The side that caused it.
    pub fn family(&self) -> Family {
        match self {
            WatchError::Refused(refusal) => refusal.family(),
            WatchError::PeerFault(_) => Family::PeerFault,
            WatchError::Ended => Family::Misuse,
        }
    }
}

/// Reason for an unsuccessful answer, shared by the errors of all operations over HTTP.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    Refused(Refusal),
    PeerFault(PeerFault),
    Network(NetworkFault),
    Token(TokenFault),
}

impl From<TokenFault> for NoAnswer {
    fn from(fault: TokenFault) -> NoAnswer {
        NoAnswer::Token(fault)
    }
}

impl From<NoAnswer> for RequestError {
    fn from(why: NoAnswer) -> RequestError {
        match why {
            NoAnswer::Refused(refusal) => RequestError::Refused(refusal),
            NoAnswer::PeerFault(fault) => RequestError::PeerFault(fault),
            NoAnswer::Network(fault) => RequestError::Network(fault),
            NoAnswer::Token(fault) => RequestError::Token(fault),
        }
    }
}

/// A refusal of the server: a status of 400 or more, and its problem document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The problem document; empty except for a title when the answer had none.
    pub problem: Problem,
    /// The wait that the server asks for before the next attempt.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// True if the same request may succeed later: the server is at fault or busy (408, 429, 5xx).
    pub fn may_pass(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 429)
    }

    /// [`Family::Network`] for 5xx, which is about the server and not about the request.
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
    /// A redirect. It is not followed: a write would become a read, and a stream would hide the
    /// detour.
    #[error("the server redirects ({status}) to {location}")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The target of the redirect.
        location: String,
    },
    /// The answer to a watch was not a stream.
    #[error("the server answered with {content_type} rather than a stream of frames")]
    NotAStream {
        /// The answer's content type.
        content_type: String,
    },
    /// The answer to a read was not JSON.
    #[error("the server answered with {content_type} rather than JSON")]
    NotJson {
        /// The answer's content type.
        content_type: String,
    },
    /// The answer to a write had no cursor.
    #[error("the server answered a write without the cursor that Halfping gives it")]
    NoCursor,
    /// The body is too long.
    #[error("the server's answer is longer than {max} bytes")]
    TooLong {
        /// The longest body that is accepted, in bytes.
        max: usize,
    },
    /// The body is not text.
    #[error("the server's answer is not UTF-8")]
    NotText,
    /// The stream cannot be parsed.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A connection that could not be made, or was lost.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct NetworkFault {
    what: &'static str,
    /// The innermost cause: the layers around it give no details.
    why: String,
    connecting: bool,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl NetworkFault {
    /// True if no connection could be made, so that nothing was sent.
    pub fn is_connect(&self) -> bool {
        self.connecting
    }
}

impl From<reqwest::Error> for NetworkFault {
    fn from(error: reqwest::Error) -> NetworkFault {
        // The caller names the URL, as it knows what the user typed.
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
