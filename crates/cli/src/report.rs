//! Reports of errors: one sentence, a hint if there is one, and an exit code.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use halfping_client::{BaseError, Family, PathError, PeerFault, Refusal, RequestError, WatchError};

use crate::log;
use crate::print::printable;
use crate::target::Target;

/// The reason why a command stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    blame: Blame,
    message: String,
    hint: Option<String>,
}

/// The side that is to blame; the exit codes in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The reader of our output has closed it: no error at all.
    Reader = 0,
    /// The server refused.
    Refused = 1,
    /// The command line.
    Usage = 2,
    /// The network or the peer.
    Peer = 3,
    /// A file, a configuration, a value.
    Input = 4,
}

impl Failure {
    pub(crate) fn new(blame: Blame, message: impl Into<String>) -> Failure {
        Failure { blame, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Puts a place before the message, such as a line of a file.
    pub(crate) fn at(mut self, place: impl Display) -> Failure {
        self.message = format!("{place}: {}", self.message);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The hint, if there is one.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Makes a failure of a request about `target`.
    pub(crate) fn request(target: &Target, error: RequestError) -> Failure {
        let blame = blame(error.family());
        match error {
            RequestError::Refused(no) => Failure::refused(target, &no),
            RequestError::PeerFault(fault) => Failure::peer(target, &fault),
            RequestError::Network(fault) if fault.is_connect() => {
                let fault = fault.to_string();
                // The peer's first bytes are not those of TLS.
                let is_plain = fault.contains("InvalidContentType");
                let hint = match target.base.strip_prefix("https://").filter(|_| is_plain) {
                    Some(host) => format!("it speaks no TLS: try http://{host}{}", target.path),
                    None => "is a server running there? `halfping serve` starts one".to_owned(),
                };
                Failure::new(blame, format!("cannot reach {}: {fault}", target.base)).hint(hint)
            }
            error => Failure::new(blame, format!("{target}: {error}")),
        }
    }

    /// Makes a failure of a watch of `target` that ended.
    pub(crate) fn watch(target: &Target, error: WatchError) -> Failure {
        match error {
            WatchError::Refused(no) => Failure::refused(target, &no),
            WatchError::PeerFault(fault) => Failure::peer(target, &fault),
            error => Failure::new(blame(error.family()), format!("{target}: {error}")),
        }
    }

    /// Makes a failure of a request about `target` that the server refused.
    pub(crate) fn refused(target: &Target, no: &Refusal) -> Failure {
        let said = if no.status >= 500 { "the server failed" } else { "the server refused" };
        let failure = Failure::new(blame(no.family()), format!("{said} {target}: {no}"));
        match &no.problem.hint {
            Some(hint) => failure.hint(hint),
            None if no.status == 403 && no.problem.kind.is_none() => {
                failure.hint("that is no answer of Halfping: a proxy may allow only reading")
            }
            None => failure,
        }
    }

    fn peer(target: &Target, fault: &PeerFault) -> Failure {
        Failure::new(Blame::Peer, format!("{target}: {fault}")).hint(match fault {
            PeerFault::Redirect { .. } => "use that URL",
            _ => "is it a Halfping server?",
        })
    }
}

impl From<BaseError> for Failure {
    fn from(error: BaseError) -> Failure {
        let blame =
            if matches!(error, BaseError::Tls { .. }) { Blame::Input } else { Blame::Usage };
        Failure::new(blame, error.to_string())
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Failure {
        Failure::new(Blame::Usage, error.to_string())
    }
}

/// Converts an error of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        let blame =
            if error.kind() == io::ErrorKind::BrokenPipe { Blame::Reader } else { Blame::Input };
        Failure::new(blame, format!("cannot write to stdout: {error}"))
    }
}

/// Prints a message on stderr. A message that cannot be written is lost: `eprintln!` would end a
/// server when its stderr is a closed pipe.
pub(crate) fn tell(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// Prints a failure on stderr, and returns its exit code.
pub(crate) fn say(failure: &Failure) -> ExitCode {
    if failure.blame != Blame::Reader && log::is_json() {
        let (message, hint) = (printable(&failure.message), failure.hint.as_deref().map(printable));
        tracing::error!(hint = hint.as_deref(), "{message}");
    } else if failure.blame != Blame::Reader {
        tell(format_args!("error: {}", printable(&failure.message)));
        if let Some(hint) = &failure.hint {
            tell(format_args!("hint: {}", printable(hint)));
        }
    }
    ExitCode::from(failure.blame as u8)
}

fn blame(family: Family) -> Blame {
    match family {
        Family::Misuse => Blame::Usage,
        Family::Refused => Blame::Refused,
        _ => Blame::Peer,
    }
}
