//! The table of commands.

use crate::shape::Parameter;

/// The verb of a command.
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
    /// True if its own member may be `null`; for other commands that is as good as none.
    pub(super) takes_null: bool,
    /// Members that it may have besides `ref`.
    options: &'static [&'static str],
    /// The members of a shape that it may have: all of them, or those of an answer that is sent
    /// once.
    shape: TakesShape,
    /// The hint for a client that is heard only once; `None` if the command makes sense for it.
    pub(super) instead: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TakesShape {
    No,
    OfPlain,
    All,
}

impl Command {
    /// True if it may have this member besides `ref`.
    pub(super) fn takes(&self, option: &str) -> bool {
        let of_shape = |parameter: &Parameter| match self.shape {
            TakesShape::No => false,
            TakesShape::OfPlain => parameter.of_plain,
            TakesShape::All => true,
        };
        self.options.contains(&option) || Parameter::named(option).is_some_and(of_shape)
    }
}

/// A command that takes no members but its own, and that makes sense whenever it is heard.
const fn plain(verb: Verb, name: &'static str) -> Command {
    Command { verb, name, takes_null: false, options: &[], shape: TakesShape::No, instead: None }
}

const WITH_CREDIT: &str = "leave it out: on a WebSocket, '/', there is credit";

/// All commands. A new one is added here, with its steps in `read.rs` and its meaning in PROTOCOL.
pub(super) const COMMANDS: [Command; 11] = [
    Command {
        takes_null: true,
        options: &["path"],
        shape: TakesShape::All,
        ..plain(Verb::Watch, "watch")
    },
    Command {
        takes_null: true,
        instead: Some("open another stream with the links that are wanted, and 'since'"),
        ..plain(Verb::Unwatch, "unwatch")
    },
    Command {
        shape: TakesShape::OfPlain,
        instead: Some("send GET to the resource's own URL"),
        ..plain(Verb::Get, "get")
    },
    Command {
        options: &["value", "if"],
        instead: Some("send PUT to the resource's own URL"),
        ..plain(Verb::Put, "put")
    },
    Command {
        options: &["value", "if"],
        instead: Some("send PATCH to the resource's own URL"),
        ..plain(Verb::Merge, "merge")
    },
    Command {
        options: &["value", "if"],
        instead: Some("send PATCH to the resource's own URL"),
        ..plain(Verb::Patch, "patch")
    },
    Command {
        options: &["if"],
        instead: Some("send DELETE to the resource's own URL"),
        ..plain(Verb::Delete, "delete")
    },
    Command {
        options: &["value"],
        instead: Some("send POST to the resource's own URL"),
        ..plain(Verb::Post, "post")
    },
    Command { instead: Some(WITH_CREDIT), ..plain(Verb::Credit, "credit") },
    Command { instead: Some(WITH_CREDIT), ..plain(Verb::Ack, "ack") },
    Command { takes_null: true, ..plain(Verb::Auth, "auth") },
];
