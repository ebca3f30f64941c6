//! The table of commands.

use std::borrow::Cow;

use halfping_engine::{Action, Condition, Json, Limits, Patch, Path, States};
use serde_json::value::RawValue;

use super::members::{Members, PATH};
use super::{Act, Steps, bad};
use crate::access::is_own;
use crate::http::write::{is_misplaced, misplaced};
use crate::problem::{Kind, Problem};
use crate::shape::Parameter;
use crate::tag;

/// Bytes of a token that says who speaks.
pub(super) const TOKEN_BYTES_MAX: usize = 8 << 10;
const ID: &str = "an integer from 0 to 4294967295";

/// The refusal of a command, and the link that it is about, if it is about one.
pub(super) type Refused = (Problem, Option<u32>);

/// One command.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// Members that it may have besides `ref`.
    options: &'static [&'static str],
    /// It may have those of a shape: all of them, or those of what is told once.
    shape: TakesShape,
    /// Where else a client goes that is heard only once; `None` where it makes sense of it.
    pub(super) instead: Option<&'static str>,
    /// The steps that it comes to.
    pub(super) read: fn(&Members<'_>, &Limits) -> Result<Steps, Refused>,
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
    Command { name: "", options: &[], shape: TakesShape::No, instead: None, read: |_, _| Ok(Steps::of([])) };
const WITH_CREDIT: &str = "leave it out: on a WebSocket, '/', there is credit";

/// All commands. Whoever adds one adds it here, and to PROTOCOL.
pub(super) const COMMANDS: [Command; 11] = [
    Command { name: "watch", options: &["path"], shape: TakesShape::All, read: watch, ..PLAIN },
    Command {
        name: "unwatch",
        instead: Some("open another stream with the links that are wanted, and 'since'"),
        read: unwatch,
        ..PLAIN
    },
    Command {
        name: "get",
        shape: TakesShape::OfPlain,
        instead: Some("send GET to the resource's own URL"),
        read: get,
        ..PLAIN
    },
    Command {
        name: "put",
        options: &["value", "if"],
        instead: Some("send PUT to the resource's own URL"),
        read: |members, limits| write("put", members, limits, |value| Ok(Action::Put(json(value, limits)?))),
        ..PLAIN
    },
    Command {
        name: "merge",
        options: &["value", "if"],
        instead: Some("send PATCH to the resource's own URL"),
        read: |members, limits| {
            write("merge", members, limits, |value| Ok(Action::Merge(json(value, limits)?)))
        },
        ..PLAIN
    },
    Command {
        name: "patch",
        options: &["value", "if"],
        instead: Some("send PATCH to the resource's own URL"),
        read: |members, limits| {
            write("patch", members, limits, |value| Ok(Action::Patch(Patch::parse(bytes(value)?, limits)?)))
        },
        ..PLAIN
    },
    Command {
        name: "delete",
        options: &["if"],
        instead: Some("send DELETE to the resource's own URL"),
        read: |members, limits| write("delete", members, limits, |_| Ok(Action::Delete)),
        ..PLAIN
    },
    Command {
        name: "post",
        options: &["value"],
        instead: Some("send POST to the resource's own URL"),
        read: post,
        ..PLAIN
    },
    Command { name: "credit", instead: Some(WITH_CREDIT), read: credit, ..PLAIN },
    Command { name: "ack", instead: Some(WITH_CREDIT), read: ack, ..PLAIN },
    Command { name: "auth", read: auth, ..PLAIN },
];

/// A refusal that is about the whole command.
fn whole(problem: Problem) -> Refused {
    (problem, None)
}

fn watch(members: &Members<'_>, limits: &Limits) -> Result<Steps, Refused> {
    let shape = members.shape();
    let path = members.text("path", PATH);
    let text = members.get("watch").map_or("null", RawValue::get);
    let wrong = || whole(bad(format!("'watch' is {ID}, or an array of [ID, PATH]")));
    if text.starts_with('[') {
        let shape = shape.map_err(whole)?;
        if path.map_err(whole)?.is_some() {
            return Err(whole(bad("with an array, each link's path is in the array")));
        }
        let pairs = serde_json::from_str::<Vec<(u32, Box<str>)>>(text).map_err(|_| wrong())?;
        return Ok(Steps::Watches(pairs.into_iter(), Box::new(shape)));
    }
    let id = serde_json::from_str::<u32>(text).map_err(|_| wrong())?;
    let refused = |problem| (problem, Some(id));
    let shape = shape.map_err(refused)?;
    let path = path.map_err(refused)?.ok_or_else(|| refused(bad("there is no 'path'")))?;
    let path = readable(&path, limits).map_err(refused)?;
    Ok(Steps::of([Act::Watch(id, Box::new(shape.watch(path))), Act::Done]))
}

fn unwatch(members: &Members<'_>, _: &Limits) -> Result<Steps, Refused> {
    let text = members.get("unwatch").map_or("null", RawValue::get);
    let ids = match text.starts_with('[') {
        true => serde_json::from_str::<Vec<u32>>(text),
        false => serde_json::from_str::<u32>(text).map(|id| vec![id]),
    };
    let ids = ids.map_err(|_| whole(bad(format!("'unwatch' is {ID}, or an array of such"))))?;
    Ok(Steps::Unwatches(ids.into_iter()))
}

fn get(members: &Members<'_>, limits: &Limits) -> Result<Steps, Refused> {
    let get = |members: &Members<'_>| {
        let path = path("get", members)?;
        let depth = members.shape()?.depth();
        if members.reference().is_none() {
            return Err(bad("'get' needs a 'ref' for its answer to carry"));
        }
        Ok(Steps::of([Act::Get(gettable(&path, limits)?, depth)]))
    };
    get(members).map_err(whole)
}

/// A write of the command `name`, whose value says what is done.
fn write<'t>(
    name: &str,
    members: &Members<'t>,
    limits: &Limits,
    action: impl FnOnce(Option<&'t RawValue>) -> Result<Action, Problem>,
) -> Result<Steps, Refused> {
    let write = || {
        let path = path(name, members)?;
        let condition = condition(members)?;
        let path = resource(&path, limits)?;
        Ok(Steps::of([Act::Write(path, action(members.get("value"))?, condition)]))
    };
    write().map_err(whole)
}

fn post(members: &Members<'_>, limits: &Limits) -> Result<Steps, Refused> {
    let post = || {
        let path = resource(&path("post", members)?, limits)?;
        match is_misplaced(&path) {
            true => Err(misplaced(&path)),
            false => Ok(Steps::of([Act::Post(path, json(members.get("value"), limits)?)])),
        }
    };
    post().map_err(whole)
}

fn credit(members: &Members<'_>, _: &Limits) -> Result<Steps, Refused> {
    let bytes = members.number("credit", "a number of bytes").map_err(whole)?;
    Ok(Steps::of([Act::Credit(bytes.unwrap_or_default() as usize), Act::Done]))
}

fn ack(members: &Members<'_>, _: &Limits) -> Result<Steps, Refused> {
    let text = members.text("ack", "a cursor, a string").map_err(whole)?.unwrap_or_default();
    let cursor = tag::cursor(&text).ok_or_else(|| whole(bad("'ack' is the 'rev' of a message")))?;
    Ok(Steps::of([Act::Ack(cursor), Act::Done]))
}

/// A token is text or `null`. What it says is nobody's business here, not even that of an error.
fn auth(members: &Members<'_>, _: &Limits) -> Result<Steps, Refused> {
    let token = members.get("auth").map_or("null", RawValue::get);
    let token = serde_json::from_str::<Option<Cow<'_, str>>>(token);
    let token = token.map_err(|_| whole(bad("'auth' is a token, a string, or null for nobody")))?;
    match token.is_none_or(|token| token.len() <= TOKEN_BYTES_MAX) {
        true => Ok(Steps::of([Act::Auth, Act::Done])),
        false => Err(whole(bad(format!("'auth' is a token of at most {TOKEN_BYTES_MAX} bytes")))),
    }
}

/// The path that is the value of the command itself.
fn path<'t>(name: &str, members: &Members<'t>) -> Result<Cow<'t, str>, Problem> {
    Ok(members.text(name, PATH)?.unwrap_or_default())
}

fn bytes(value: Option<&RawValue>) -> Result<&[u8], Problem> {
    value.map(|value| value.get().as_bytes()).ok_or_else(|| bad("there is no 'value'"))
}

fn json(value: Option<&RawValue>, limits: &Limits) -> Result<Json, Problem> {
    Ok(Json::parse(bytes(value)?, limits)?)
}

/// `if`: a cursor, `"*"`, or `null` for nothing.
fn condition(members: &Members<'_>) -> Result<Condition, Problem> {
    let Some(text) = members.get("if") else { return Ok(Condition::default()) };
    let text = serde_json::from_str::<Option<Cow<'_, str>>>(text.get());
    let text = text.map_err(|_| bad("'if' is a cursor, \"*\" (something is there) or null (nothing is)"))?;
    Ok(match text.as_deref() {
        None => Condition { is_not: Some(States::Any), ..Condition::default() },
        Some("*") => Condition { is: Some(States::Any), ..Condition::default() },
        Some(cursor) => {
            let cursors = tag::cursor(cursor).into_iter().collect();
            Condition { is: Some(States::These(cursors)), ..Condition::default() }
        }
    })
}

/// The path of a resource that can be read. Whether this client may read the server's own state is
/// not known here.
pub(super) fn readable(text: &str, limits: &Limits) -> Result<Path, Problem> {
    let path = Path::parse(text, limits)?;
    if is_own(&path) { Ok(path) } else { not_reserved(path) }
}

/// The path of a resource that can be read once: of what is the server's own and not there, HTTP
/// says no more than that either (PROTOCOL P4).
fn gettable(text: &str, limits: &Limits) -> Result<Path, Problem> {
    let path = Path::parse(text, limits)?;
    match path.segments().first() {
        Some(name) if name.starts_with('_') && !is_own(&path) => {
            let problem = Problem::new(Kind::NotFound, format!("a session has nothing of its own at {path}"));
            Err(problem.hint("it has /_server; /_health and /_metrics are read with a plain GET"))
        }
        _ => Ok(path),
    }
}

/// The path of a resource that is not the server's own.
fn resource(text: &str, limits: &Limits) -> Result<Path, Problem> {
    not_reserved(Path::parse(text, limits)?)
}

fn not_reserved(path: Path) -> Result<Path, Problem> {
    match path.segments().first() {
        Some(name) if name.starts_with('_') => {
            Err(Problem::new(Kind::ReservedPath, format!("{path} is the server's own")))
        }
        _ => Ok(path),
    }
}
