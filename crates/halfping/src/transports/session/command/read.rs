//! Steps of each command.

use std::borrow::Cow;
use std::sync::Arc;

use halfping_credentials::Secret;
use halfping_engine::{Action, Json, Limits, Patch, Path};
use serde_json::value::RawValue;

use super::members::{Members, PATH};
use super::table::{Command, Verb};
use super::{Act, If, Steps, bad};
use crate::problem::Problem;
use crate::tag::{self, Given};

/// Bytes of a token that says who speaks.
pub(super) const TOKEN_BYTES_MAX: usize = 8 << 10;
const ID: &str = "an integer from 0 to 4294967295";

/// The refusal of a command, and the link that it is about, if it is about one.
pub(super) type Refused = (Problem, Option<u32>);

/// The steps that a command comes to. `since`: the cursor from which links resume, whatever theirs
/// says.
pub(super) fn steps(
    command: &Command,
    members: &Members<'_>,
    since: Option<Given>,
    limits: &Limits,
) -> Result<Steps, Refused> {
    let value = members.get("value");
    let write = |action: Result<Action, Problem>| write(command.name, members, limits, action);
    let done = match command.verb {
        // A fault of it may be about its link.
        Verb::Watch => return watch(members, since, limits),
        Verb::Unwatch => unwatch(members),
        Verb::Get => get(members, limits),
        Verb::Put => write(json(value, limits).map(Action::Put)),
        Verb::Merge => write(json(value, limits).map(Action::Merge)),
        Verb::Patch => write(patch(value, limits).map(Action::Patch)),
        Verb::Delete => write(Ok(Action::Delete)),
        Verb::Post => post(members, limits),
        Verb::Credit => credit(members),
        Verb::Ack => ack(members),
        Verb::Auth => auth(members),
    };
    done.map_err(whole)
}

/// A refusal that is about the whole command.
fn whole(problem: Problem) -> Refused {
    (problem, None)
}

fn watch(members: &Members<'_>, since: Option<Given>, limits: &Limits) -> Result<Steps, Refused> {
    let shape = members.shape(limits).and_then(|mut shape| {
        shape.since = since.or(shape.since);
        // Links of a list have no fault of their own in it.
        shape.watch(Path::ROOT)?;
        Ok(Arc::new(shape))
    });
    let path = members.text("path", PATH);
    let text = members.get("watch").map_or("null", RawValue::get);
    let wrong = || whole(bad(format!("'watch' is {ID}, or an array of [ID, PATH]")));
    if text.starts_with('[') {
        let shape = shape.map_err(whole)?;
        if path.map_err(whole)?.is_some() {
            return Err(whole(bad("with an array, each link's path is in the array")));
        }
        let pairs = serde_json::from_str::<Vec<(u32, Box<str>)>>(text).map_err(|_| wrong())?;
        return Ok(Steps::Watches(pairs.into_iter(), shape));
    }
    let id = serde_json::from_str::<u32>(text).map_err(|_| wrong())?;
    let refused = |problem| (problem, Some(id));
    let shape = shape.map_err(refused)?;
    let path = path.map_err(refused)?.ok_or_else(|| refused(bad("there is no 'path'")))?;
    let path = Path::parse(&path, limits).map_err(|error| refused(error.into()))?;
    Ok(Steps::of([Act::Watch(id, path, shape), Act::Done]))
}

fn unwatch(members: &Members<'_>) -> Result<Steps, Problem> {
    let text = members.get("unwatch").map_or("null", RawValue::get);
    let ids = match text.starts_with('[') {
        true => serde_json::from_str::<Vec<u32>>(text),
        false => serde_json::from_str::<u32>(text).map(|id| vec![id]),
    };
    let ids = ids.map_err(|_| bad(format!("'unwatch' is {ID}, or an array of such")))?;
    Ok(Steps::Unwatches(ids.into_iter()))
}

fn get(members: &Members<'_>, limits: &Limits) -> Result<Steps, Problem> {
    let path = path("get", members)?;
    let shape = members.shape(limits)?;
    if members.reference().is_none() {
        return Err(bad("'get' needs a 'ref' for its answer to carry"));
    }
    Ok(Steps::of([Act::Get(Path::parse(&path, limits)?, Box::new(shape))]))
}

/// A write of the command `name`.
fn write(
    name: &str,
    members: &Members<'_>,
    limits: &Limits,
    action: Result<Action, Problem>,
) -> Result<Steps, Problem> {
    let path = path(name, members)?;
    let condition = condition(members)?;
    let path = Path::parse(&path, limits)?;
    Ok(Steps::of([Act::Write(path, action?, condition)]))
}

fn post(members: &Members<'_>, limits: &Limits) -> Result<Steps, Problem> {
    let path = Path::parse(&path("post", members)?, limits)?;
    Ok(Steps::of([Act::Post(path, json(members.get("value"), limits)?)]))
}

fn credit(members: &Members<'_>) -> Result<Steps, Problem> {
    let bytes = members.number("credit", "a number of bytes")?;
    Ok(Steps::of([Act::Credit(bytes.unwrap_or_default() as usize), Act::Done]))
}

fn ack(members: &Members<'_>) -> Result<Steps, Problem> {
    let text = members.text("ack", "a cursor, a string")?.unwrap_or_default();
    let cursor = tag::cursor(&text).ok_or_else(|| bad("'ack' is the 'rev' of a message"))?;
    Ok(Steps::of([Act::Ack(cursor), Act::Done]))
}

/// The steps of `auth`. A token is text or `null`. Its content is not looked at here, and no error
/// repeats it.
fn auth(members: &Members<'_>) -> Result<Steps, Problem> {
    let token = members.get("auth").map_or("null", RawValue::get);
    let token = serde_json::from_str::<Option<Cow<'_, str>>>(token);
    let token = token.map_err(|_| bad("'auth' is a token, a string, or null for nobody"))?;
    if token.as_ref().is_some_and(|token| token.len() > TOKEN_BYTES_MAX) {
        return Err(bad(format!("'auth' is a token of at most {TOKEN_BYTES_MAX} bytes")));
    }
    Ok(Steps::of([Act::Auth(token.map(|token| Secret::new(&*token)))]))
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

fn patch(value: Option<&RawValue>, limits: &Limits) -> Result<Patch, Problem> {
    Ok(Patch::parse(bytes(value)?, limits)?)
}

/// The condition in `if`: a cursor, `"*"`, or `null` for nothing.
fn condition(members: &Members<'_>) -> Result<If, Problem> {
    let Some(text) = members.get("if") else { return Ok(If::Always) };
    let text = serde_json::from_str::<Option<Cow<'_, str>>>(text.get());
    let text =
        text.map_err(|_| bad("'if' is a cursor, \"*\" (something is there) or null (nothing is)"))?;
    Ok(match text.as_deref() {
        None => If::Nothing,
        Some("*") => If::Something,
        Some(cursor) => If::State(tag::cursor(cursor)),
    })
}
