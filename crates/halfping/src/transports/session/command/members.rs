//! The members of one command, found in one scan of its text.

use std::borrow::Cow;
use std::fmt;

use halfping_engine::Limits;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::table::{COMMANDS, Command};
use super::{REF_MAX, Ref, bad};
use crate::hint::{nearest, shorten};
use crate::problem::{Kind, Problem};
use crate::shape::{self, PARAMETERS, Parameter, Shape, Wrong};

/// Description of a path, for errors about a member.
pub(super) const PATH: &str = "the path of a resource, a string";
const REF: &str = "an integer from 0 to 9007199254740991";

/// Members that are options of commands, beside those of a shape; true if `null` is a value of
/// theirs, false if it is as good as none.
const OPTIONS: [(&str, bool); 4] =
    [("path", false), ("value", true), ("if", true), (REF_NAME, true)];
/// The member that every command may have.
const REF_NAME: &str = "ref";

/// The number of names that a member can have.
const KNOWN: usize = COMMANDS.len() + OPTIONS.len() + PARAMETERS.len();

/// A command as it stands: the text of each of its members.
pub(super) struct Members<'t> {
    /// The text of a member, by the place of its name among the known ones.
    found: [Option<&'t RawValue>; KNOWN],
    /// A member that no command has.
    stranger: Option<String>,
    /// A member that is there twice.
    twice: Option<&'static str>,
    /// True if the `ref` is there twice: nobody can say by which of them its client knows the
    /// command.
    has_refs: bool,
}

/// All names that a member can have: first those of commands.
fn known() -> impl Iterator<Item = &'static str> {
    let commands = COMMANDS.iter().map(|command| command.name);
    commands.chain(options().map(|(name, _)| name))
}

/// The names of options, and whether `null` is a value of theirs.
fn options() -> impl Iterator<Item = (&'static str, bool)> {
    OPTIONS.into_iter().chain(PARAMETERS.iter().map(|parameter| (parameter.name, false)))
}

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Members<'t>, D::Error> {
        struct Object;
        impl<'t> Visitor<'t> for Object {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, a JSON object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Members<'t>, A::Error> {
                let mut members =
                    Members { found: [None; KNOWN], stranger: None, twice: None, has_refs: false };
                while let Some(Name(name)) = map.next_key()? {
                    let value: &'t RawValue = map.next_value()?;
                    match known().enumerate().find(|(_, known)| known.as_bytes() == &*name) {
                        Some((place, name)) => {
                            if members.found[place].replace(value).is_some() {
                                members.twice = Some(name);
                                members.has_refs |= name == REF_NAME;
                            }
                        }
                        None => {
                            let text = || String::from_utf8_lossy(&name).into_owned();
                            members.stranger.get_or_insert_with(text);
                        }
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'t> Members<'t> {
    /// The value of a member; `null` is one.
    pub(super) fn get(&self, name: &str) -> Option<&'t RawValue> {
        known().position(|known| known == name).and_then(|place| self.found[place])
    }

    /// The value of a member where `null` is as good as none.
    fn option(&self, name: &str) -> Option<&'t RawValue> {
        self.get(name).filter(|value| value.get() != "null")
    }

    /// The value of a member that is to be a string.
    pub(super) fn text(&self, name: &str, is: &str) -> Result<Option<Cow<'t, str>>, Problem> {
        let Some(value) = self.option(name) else { return Ok(None) };
        let Text(text) = parse(value, name, is)?;
        Ok(Some(text))
    }

    /// The value of a member that is to be a number.
    pub(super) fn number(&self, name: &str, is: &str) -> Result<Option<u32>, Problem> {
        self.option(name).map(|value| parse(value, name, is)).transpose()
    }

    /// The `ref`, whatever is wrong with the rest.
    pub(super) fn reference(&self) -> Option<Ref> {
        let number =
            serde_json::from_str(self.get(REF_NAME)?.get()).ok().filter(|_| !self.has_refs);
        number.filter(|number| *number <= REF_MAX)
    }

    /// The shape that its members describe.
    pub(super) fn shape(&self, limits: &Limits) -> Result<Shape, Problem> {
        let mut shape = Shape::default();
        for parameter in &PARAMETERS {
            let Some(value) = self.option(parameter.name) else { continue };
            let wrong = || bad(format!("'{}' is {}", parameter.name, parameter.is));
            let text = json_text(parameter, value.get()).ok_or_else(wrong)?;
            parameter.set(&mut shape, &text, limits).map_err(|fault| match fault {
                Wrong::Value => wrong(),
                Wrong::View(problem) => problem,
            })?;
        }
        Ok(shape)
    }

    /// The one command that this is; refuses members that do not go with it.
    pub(super) fn command(&self) -> Result<&'static Command, Problem> {
        if let Some(stranger) = &self.stranger {
            return Err(self.unknown(stranger));
        }
        if let Some(name) = self.twice {
            return Err(bad(format!("duplicate member '{name}'")));
        }
        let is_there = |value: &Option<&RawValue>, takes_null: bool| {
            value.is_some_and(|value| takes_null || value.get() != "null")
        };
        let (of_commands, of_options) = self.found.split_at(COMMANDS.len());
        let named = COMMANDS.iter().zip(of_commands);
        let mut named = named.filter(|(command, value)| is_there(value, command.takes_null));
        let Some((command, _)) = named.next() else {
            return Err(unknown_command("it has no member that names one"));
        };
        let Command { name, .. } = command;
        if let Some((other, _)) = named.next() {
            let detail = format!("'{name}' and '{}' are two commands", other.name);
            return Err(bad(detail).hint("send them as an array"));
        }
        let given = options()
            .zip(of_options)
            .filter(|((_, takes_null), value)| is_there(value, *takes_null));
        let mut given = given.map(|((option, _), _)| option);
        if let Some(option) = given.find(|option| *option != REF_NAME && !command.takes(option)) {
            return Err(bad(format!("'{name}' has no '{option}'")));
        }
        if self.get(REF_NAME).is_some() && self.reference().is_none() {
            return Err(bad(format!("'ref' is {REF}")));
        }
        Ok(command)
    }

    fn unknown(&self, stranger: &str) -> Problem {
        let shown = shorten(stranger);
        let problem = match COMMANDS.iter().any(|command| self.get(command.name).is_some()) {
            true => bad(format!("no command has a member '{shown}'")),
            false => unknown_command(format!("there is no '{shown}'")),
        };
        let known: Vec<&str> = known().collect();
        match nearest(stranger, &known) {
            Some(near) => problem.hint(format!("did you mean '{near}'?")),
            None => problem,
        }
    }
}

/// A member's name in bytes. It may have an unpaired surrogate: then no command has such a member,
/// and the `ref` beside it counts all the same.
struct Name<'t>(Cow<'t, [u8]>);

impl<'t> Deserialize<'t> for Name<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Name<'t>, D::Error> {
        struct Bytes;
        impl<'t> Visitor<'t> for Bytes {
            type Value = Name<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_borrowed_bytes<E>(self, name: &'t [u8]) -> Result<Name<'t>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_bytes<E>(self, name: &[u8]) -> Result<Name<'t>, E> {
                Ok(Name(Cow::Owned(name.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A string, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

/// Reads a member's value as the type that it has to be.
fn parse<'t, T: Deserialize<'t>>(value: &'t RawValue, name: &str, is: &str) -> Result<T, Problem> {
    serde_json::from_str(value.get()).map_err(|_| bad(format!("'{name}' is {is}")))
}

/// A parameter's value as a query would spell it; `None` if it is of another type.
fn json_text<'t>(parameter: &Parameter, json: &'t str) -> Option<Cow<'t, str>> {
    let first = *json.as_bytes().first()?;
    match parameter.json {
        shape::Json::Number => {
            (first == b'-' || first.is_ascii_digit()).then_some(Cow::Borrowed(json))
        }
        shape::Json::Boolean => matches!(json, "true" | "false").then_some(Cow::Borrowed(json)),
        shape::Json::String => serde_json::from_str::<Text<'_>>(json).ok().map(|Text(text)| text),
    }
}

fn unknown_command(detail: impl Into<String>) -> Problem {
    let known: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let problem = Problem::new(Kind::UnknownCommand, detail);
    problem.hint(format!("commands are {}", known.join(", ")))
}
