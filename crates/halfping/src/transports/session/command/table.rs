//! The table of commands.

use crate::shape::Parameter;

/// What a command asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Watch,
    Unwatch,
    Get,
    Put,
    Merge,
    Patch,
    Delete,
    Post,
    Credit,
    Ack,
    Auth,
}

/// One command.
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) name: &'static str,
    /// Members that it may have besides `ref`.
    options: &'static [&'static str],
    /// It may have those of a shape: all of them, or those of what is told once.
    shape: TakesShape,
    /// Where else a client goes that is heard only once; `None` where it makes sense of it.
    pub(super) instead: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TakesShape {
    No,
    OfPlain,
    All,
}

impl Command {
    /// Whether it may have a member besides `ref`.
    pub(super) fn takes(&self, option: &str) -> bool {
        let of_shape = |parameter: &Parameter| match self.shape {
            TakesShape::No => false,
            TakesShape::OfPlain => parameter.of_plain,
            TakesShape::All => true,
        };
        self.options.contains(&option) || Parameter::named(option).is_some_and(of_shape)
    }
}

/// What a command is unless it says otherwise: an instruction to the session itself.
const PLAIN: Command =
    Command { verb: Verb::Auth, name: "auth", options: &[], shape: TakesShape::No, instead: None };
const WITH_CREDIT: &str = "leave it out: on a WebSocket, '/', there is credit";

/// All commands. Whoever adds one adds it here, says in `read.rs` what it comes to, and in PROTOCOL
/// what it means.
pub(super) const COMMANDS: [Command; 11] = [
    Command { verb: Verb::Watch, name: "watch", options: &["path"], shape: TakesShape::All, ..PLAIN },
    Command {
        verb: Verb::Unwatch,
        name: "unwatch",
        instead: Some("open another stream with the links that are wanted, and 'since'"),
        ..PLAIN
    },
    Command {
        verb: Verb::Get,
        name: "get",
        shape: TakesShape::OfPlain,
        instead: Some("send GET to the resource's own URL"),
        ..PLAIN
    },
    Command {
        verb: Verb::Put,
        name: "put",
        options: &["value", "if"],
        instead: Some("send PUT to the resource's own URL"),
        ..PLAIN
    },
    Command {
        verb: Verb::Merge,
        name: "merge",
        options: &["value", "if"],
        instead: Some("send PATCH to the resource's own URL"),
        ..PLAIN
    },
    Command {
        verb: Verb::Patch,
        name: "patch",
        options: &["value", "if"],
        instead: Some("send PATCH to the resource's own URL"),
        ..PLAIN
    },
    Command {
        verb: Verb::Delete,
        name: "delete",
        options: &["if"],
        instead: Some("send DELETE to the resource's own URL"),
        ..PLAIN
    },
    Command {
        verb: Verb::Post,
        name: "post",
        options: &["value"],
        instead: Some("send POST to the resource's own URL"),
        ..PLAIN
    },
    Command { verb: Verb::Credit, name: "credit", instead: Some(WITH_CREDIT), ..PLAIN },
    Command { verb: Verb::Ack, name: "ack", instead: Some(WITH_CREDIT), ..PLAIN },
    PLAIN,
];
