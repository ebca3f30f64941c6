//! Close codes of sessions that are closed from this side: PROTOCOL's table.

use halfping_websocket::Violation;

use crate::problem::Problem;

/// A close code with its reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Close {
    /// The server stops. Come back.
    Draining,
    /// Nothing was heard for too long. Come back.
    Silence,
    /// More commands than allowed. Come back later, and slower.
    CommandRate,
    /// A message did not become whole in time. Come back later, and slower.
    MessageTimeout,
    /// There is no room for another message, by this limit. Come back later.
    NoRoom(&'static str),
    /// The client did not say in time who it is.
    Unidentified,
    /// The message was binary; messages are text here.
    Binary,
    /// RFC 6455 or a bound was broken.
    Violation(Violation),
}

impl Close {
    /// The close of a session for whose message there is no room.
    pub(super) fn without_room(problem: Problem) -> Close {
        Close::NoRoom(problem.limit_name().unwrap_or("buffered_bytes"))
    }

    pub(super) fn code(self) -> u16 {
        match self {
            Close::Draining => 4000,
            Close::Silence => 4001,
            Close::CommandRate => 4100,
            Close::MessageTimeout => 4101,
            Close::NoRoom(_) => 4102,
            Close::Unidentified => 4401,
            Close::Binary => 1003,
            Close::Violation(violation) => violation.code(),
        }
    }

    pub(super) fn reason(self) -> String {
        match self {
            Close::Draining => "the server stops; come back".to_owned(),
            Close::Silence => "nothing was heard, not even pongs; come back".to_owned(),
            Close::CommandRate => {
                "too many commands (commands_per_second); come back later, slower".to_owned()
            }
            Close::MessageTimeout => {
                "a message did not become whole in time (body_timeout_ms); come back later"
                    .to_owned()
            }
            Close::NoRoom(limit) => {
                format!("there is no room for another message now ({limit}); come back later")
            }
            Close::Unidentified => {
                "nobody said in time who they are (auth_timeout_ms); send {\"auth\":TOKEN} first"
                    .to_owned()
            }
            Close::Binary => "messages are text here".to_owned(),
            Close::Violation(Violation::TooLong(max)) => {
                format!("a message of more than {max} bytes (message_bytes)")
            }
            Close::Violation(violation) => violation.to_string(),
        }
    }

    /// The limit that was reached, if one was.
    pub(super) fn limit(self) -> Option<&'static str> {
        match self {
            Close::Silence => Some("silence_ms"),
            Close::CommandRate => Some("commands_per_second"),
            Close::MessageTimeout => Some("body_timeout_ms"),
            Close::NoRoom(limit) => Some(limit),
            Close::Unidentified => Some("auth_timeout_ms"),
            Close::Violation(Violation::TooLong(_)) => Some("message_bytes"),
            Close::Draining | Close::Binary | Close::Violation(_) => None,
        }
    }
}
