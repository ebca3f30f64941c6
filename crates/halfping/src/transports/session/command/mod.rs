//! Commands of a session's client (PROTOCOL L2 to L10, L14), from text to steps.
//!
//! Here a message is taken apart into commands, and these into steps. `table.rs` has all commands,
//! `members.rs` finds the members of one, and `read.rs` makes its steps.

mod members;
mod read;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;

use halfping_credentials::Secret;
use halfping_engine::{Action, Json, Limits, Path};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use self::members::Members;
use self::read::{Refused, steps};
use self::table::Command;
use crate::aside::LARGE_BYTES;
use crate::problem::{Kind, Problem};
use crate::shape::Shape;
use crate::tag::Given;

/// The number that a client gave a command, to know its answer by.
pub(super) type Ref = u64;

/// The largest `ref`: whole numbers beyond this are not the same everywhere.
const REF_MAX: Ref = (1 << 53) - 1;

/// One thing to do. A command that opens many links is many steps.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) number: Option<Ref>,
    pub(super) act: Act,
}

#[derive(Debug)]
pub(super) enum Act {
    Watch(u32, Path, Arc<Shape>),
    Unwatch(u32),
    Get(Path, Box<Shape>),
    Write(Path, Action, If),
    Post(Path, Json),
    Credit(usize),
    Ack(Given),
    /// A token that tells who speaks from here on; `None` for nobody. Answered by itself.
    Auth(Option<Secret>),
    /// All steps of the command are done.
    Done,
    /// The command, or one link of it, cannot be understood.
    Refuse(Problem, Option<u32>),
}

/// The condition of a write, as its client says it.
#[derive(Clone, Copy, Debug)]
pub(super) enum If {
    Always,
    /// Something is there.
    Something,
    Nothing,
    /// The resource is as it was in the state that a cursor names; `None` for what is no cursor.
    State(Option<Given>),
}

/// The commands of one message. It is taken apart as it is handled: as a list of steps it could
/// need a hundred times the room of its text.
#[derive(Debug)]
pub(crate) struct Commands {
    text: String,
    /// True if the client will send no others (PROTOCOL M4).
    once: bool,
    /// The cursor from which all links resume, whatever their `since` says.
    since: Option<Given>,
    /// The place in the text where the next command begins, or where the text before it does;
    /// `None` before the message was looked at as a whole.
    at: Option<usize>,
    /// The number of commands before the next, if the message is an array.
    place: Option<usize>,
    /// The places and lengths of the commands that take long to read.
    large: VecDeque<(usize, usize)>,
    /// The `ref` of the command before, and what is left to do of it.
    number: Option<Ref>,
    steps: Steps,
}

/// One command, step by step.
#[derive(Debug)]
enum Steps {
    Few(std::vec::IntoIter<Act>),
    /// Links to open, alike in all but their paths.
    Watches(std::vec::IntoIter<(u32, Box<str>)>, Arc<Shape>),
    Unwatches(std::vec::IntoIter<u32>),
}

impl Steps {
    fn of<const N: usize>(acts: [Act; N]) -> Steps {
        Steps::Few(Vec::from(acts).into_iter())
    }

    fn is_over(&self) -> bool {
        matches!(self, Steps::Few(acts) if acts.len() == 0)
    }

    fn next(&mut self, limits: &Limits) -> Option<Act> {
        let act = match self {
            Steps::Few(acts) => acts.next(),
            Steps::Watches(pairs, shape) => {
                let open = |(id, path): (u32, Box<str>)| match Path::parse(&path, limits) {
                    Ok(path) => Act::Watch(id, path, shape.clone()),
                    // The others are opened all the same.
                    Err(error) => Act::Refuse(error.into(), Some(id)),
                };
                pairs.next().map(open)
            }
            Steps::Unwatches(ids) => ids.next().map(Act::Unwatch),
        };
        if act.is_some() {
            return act;
        }
        match std::mem::replace(self, Steps::of([])) {
            Steps::Few(..) => None,
            Steps::Watches(..) | Steps::Unwatches(..) => Some(Act::Done),
        }
    }
}

impl Commands {
    pub(super) fn new(text: String) -> Commands {
        Commands {
            text,
            once: false,
            since: None,
            at: None,
            place: None,
            large: VecDeque::new(),
            number: None,
            steps: Steps::of([]),
        }
    }

    /// All commands of a client that is heard only once: none of them is taken if the text is not
    /// JSON.
    pub(crate) fn once(bytes: &[u8], _: &Limits) -> Result<Commands, Problem> {
        let text = std::str::from_utf8(bytes);
        let text = text
            .map_err(|error| Problem::new(Kind::BadJson, format!("this is not UTF-8: {error}")))?;
        let mut commands = Commands { once: true, ..Commands::new(text.to_owned()) };
        commands.look().map_err(|error| not_json(&error))?;
        Ok(commands)
    }

    /// Sets the cursor from which all links resume, if there is one.
    pub(super) fn resume(&mut self, since: Option<Given>) {
        self.since = since;
    }

    /// Bytes that the next step is to be read from.
    pub(super) fn next_bytes(&self) -> usize {
        match self.at {
            _ if !self.steps.is_over() => 0,
            None => self.text.len(),
            Some(at) => match self.large.front() {
                Some((begin, bytes)) if *begin == at => *bytes,
                _ => 0,
            },
        }
    }

    /// The next thing to do. A message that is not JSON is one step that says so.
    pub(super) fn next(&mut self, limits: &Limits) -> Option<Step> {
        loop {
            if let Some(act) = self.steps.next(limits) {
                return Some(Step { number: self.number, act });
            }
            let Some(at) = self.at else {
                if let Err(error) = self.look() {
                    self.at = Some(self.text.len());
                    return Some(Step { number: None, act: Act::Refuse(not_json(&error), None) });
                }
                continue;
            };
            if self.large.front().is_some_and(|(begin, _)| *begin == at) {
                self.large.pop_front();
            }
            let rest = &self.text[at..];
            if rest.is_empty() || rest.starts_with(']') {
                return None;
            }
            let (members, len) = command(rest);
            let next = match self.place {
                Some(_) => after(&self.text, at + len, b','),
                None => self.text.len(),
            };
            self.at = Some(next);
            // The only command needs no number to be known by.
            let is_alone = self.place == Some(0) && self.text[next..].starts_with(']');
            self.number = members.as_ref().ok().and_then(Members::reference);
            // A command with a `ref` is known by that.
            let place = self.place.filter(|_| !is_alone && self.number.is_none());
            let steps = members.map_err(|problem| (problem, None));
            let steps = steps.and_then(|members| self.steps_of(&members, limits));
            self.steps = steps.unwrap_or_else(|(problem, link)| {
                let problem = match place {
                    Some(place) => problem.in_element(place),
                    None => problem,
                };
                match link {
                    Some(_) => Steps::of([Act::Refuse(problem, link), Act::Done]),
                    None => Steps::of([Act::Refuse(problem, None)]),
                }
            });
            self.place = self.place.map(|place| place + 1);
        }
    }

    /// The steps of one command.
    fn steps_of(&self, members: &Members<'_>, limits: &Limits) -> Result<Steps, Refused> {
        let command = members.command().map_err(|problem| (problem, None))?;
        if let Some(instead) = command.instead.filter(|_| self.once) {
            return Err((only_links(command, instead), None));
        }
        steps(command, members, self.since, limits)
    }

    /// Checks that all of the message is JSON: else nothing of it is done.
    fn look(&mut self) -> Result<(), serde_json::Error> {
        let text = self.text.as_str();
        let mut json = serde_json::Deserializer::from_str(text);
        let start = after(text, 0, b'[');
        if text.trim_ascii_start().starts_with('[') {
            self.large = json.deserialize_seq(Large { text })?;
            json.end()?;
            (self.at, self.place) = (Some(start), Some(0));
        } else {
            <&RawValue>::deserialize(&mut json)?;
            json.end()?;
            self.at = Some(start);
            self.large.extend((text.len() >= LARGE_BYTES).then_some((start, text.len())));
        }
        Ok(())
    }
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::BadJson, format!("this is not JSON: {error}"))
        .hint("say one command, such as {\"watch\":1,\"path\":\"/a\"}, or an array of commands")
}

/// Finds the elements of an array that take long to read.
struct Large<'a> {
    text: &'a str,
}

impl<'de> Visitor<'de> for Large<'de> {
    type Value = VecDeque<(usize, usize)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of commands")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut large = Self::Value::new();
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let element = element.get();
            if element.len() >= LARGE_BYTES {
                large.push_back((
                    element.as_ptr() as usize - self.text.as_ptr() as usize,
                    element.len(),
                ));
            }
        }
        Ok(large)
    }
}

/// The place after white space, and after a certain byte and more of it.
fn after(text: &str, at: usize, byte: u8) -> usize {
    let skip = |at: usize| text.len() - text[at..].trim_ascii_start().len();
    let at = skip(at);
    if text.as_bytes().get(at) == Some(&byte) { skip(at + 1) } else { at }
}

/// The members of the command that this text begins with, and its length. The text is known to be
/// JSON.
fn command(text: &str) -> (Result<Members<'_>, Problem>, usize) {
    // An array would be taken for the members in their order.
    let error = match text.starts_with('{') {
        true => {
            let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Members<'_>>();
            match objects.next() {
                Some(Ok(members)) => return (Ok(members), objects.byte_offset()),
                Some(Err(error)) => without_place(&error),
                None => "there is no command".to_owned(),
            }
        }
        false => "a command is a JSON object".to_owned(),
    };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    values.next();
    (Err(bad(error)), values.byte_offset())
}

/// The refusal of a command that makes no sense of a client that is heard only once.
fn only_links(command: &Command, instead: &str) -> Problem {
    let name = command.name;
    let detail =
        format!("'{name}' is not possible here: this stream opens links, and hears nothing else");
    Problem::new(Kind::MethodNotAllowed, detail).hint(instead)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadCommand, detail)
}

/// The message of serde, without a line and a column that mean nothing here.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use halfping_engine::Priority;

    use super::read::TOKEN_BYTES_MAX;
    use super::*;

    fn parse(text: &str) -> Vec<Step> {
        let mut commands = Commands::new(text.to_owned());
        std::iter::from_fn(|| commands.next(&Limits::default())).collect()
    }

    fn steps(text: &str) -> Vec<Act> {
        parse(text).into_iter().map(|step| step.act).collect()
    }

    /// The name and detail of the one problem that a message makes.
    fn refused(text: &str) -> String {
        match steps(text).as_slice() {
            [Act::Refuse(problem, _)] | [Act::Refuse(problem, Some(_)), Act::Done] => {
                format!(
                    "{} {}",
                    problem.kind().name(),
                    String::from_utf8(problem.to_json()).unwrap()
                )
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (text, name, says) in [
            ("{", "bad-json", "line 1"),
            ("7", "bad-command", "a command is a JSON object"),
            ("[7]", "bad-command", "\"detail\":\"a command is a JSON object\""),
            ("{}", "unknown-command", "watch, unwatch"),
            (r#"{"wacth":1,"path":"/a"}"#, "unknown-command", "did you mean 'watch'?"),
            (r#"{"Watch":1}"#, "unknown-command", "did you mean 'watch'?"),
            (r#"{"watch":1,"path":"/n?x"}"#, "bad-path", "%3F"),
            (r##"{"watch":1,"path":"/n#x"}"##, "bad-path", "%23"),
            (r#"{"put":"/n?depth=1","value":1}"#, "bad-path", "'?'"),
            (r#"{"watch":1,"path":"/a","dept":1}"#, "bad-command", "did you mean 'depth'?"),
            (r#"{"watch":1}"#, "bad-command", "no 'path'"),
            (r#"{"watch":"1","path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":-1,"path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":null,"path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":4294967296,"path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":1,"path":"a"}"#, "bad-path", "begins with"),
            (r#"{"watch":1,"path":7}"#, "bad-command", "'path' is the path"),
            (r#"{"watch":1,"path":"/a","rate":0}"#, "bad-command", "positive"),
            (r#"{"watch":1,"path":"/a","priority":4}"#, "bad-command", "from 0 to 3"),
            (r#"{"watch":1,"path":"/a","value":4}"#, "bad-command", "'watch' has no 'value'"),
            (r#"{"watch":1,"path":"/a","unwatch":2}"#, "bad-command", "two commands"),
            (r#"{"watch":1,"watch":2,"path":"/a"}"#, "bad-command", "duplicate"),
            (r#"{"put":"/a"}"#, "bad-command", "no 'value'"),
            (r#"{"put":"/a","value":{"x":1,"x":2}}"#, "duplicate-member", "x"),
            (r#"{"patch":"/a","value":{}}"#, "bad-patch", "array"),
            (r#"{"get":"/a"}"#, "bad-command", "needs a 'ref'"),
            (r#"{"get":"/a","ref":-1}"#, "bad-command", "'ref' is an integer"),
            (r#"{"watch":1,"path":null}"#, "bad-command", "no 'path'"),
            (r#"{"watch":1,"path":"/a","depth":-1}"#, "bad-command", "'depth' is a number"),
            (r#"{"watch":1,"path":"/a","rate":"fast"}"#, "bad-command", "'rate' is a positive"),
            (r#"{"credit":1.5}"#, "bad-command", "'credit' is a number"),
            (r#"{"get":"/a","ref":9007199254740992}"#, "bad-command", "'ref' is an integer"),
            (r#"{"get":"/a","ref":null}"#, "bad-command", "'ref' is an integer"),
            (r#"[[1,null,null,null]]"#, "bad-command", "a command is a JSON object"),
            (r#"{"put":"/a","value":1,"if":7}"#, "bad-command", "'if' is"),
            (r#"{"ack":"x"}"#, "bad-command", "'ack' is"),
            (r#"{"auth":7}"#, "bad-command", "'auth' is a token"),
            (r#"{"auth":["x"]}"#, "bad-command", "'auth' is a token"),
            (r#"{"auth":"x","value":1}"#, "bad-command", "'auth' has no 'value'"),
        ] {
            let said = refused(text);
            assert!(said.starts_with(name) && said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn commands_are_found_whatever_is_between_them() {
        for (text, count) in [
            (" [ ] ", 0),
            ("[]", 0),
            (r#" {"unwatch":1} "#, 2),
            (r#"[{"unwatch":1}]"#, 2),
            ("\n[ {\"unwatch\":1}\t,\r\n{\"unwatch\":[2]} , {\"unwatch\":[]} ]\n", 5),
            (r#"[1,"],[",{"put":"/a","value":[[1],"]"]},null,[2]]"#, 5),
        ] {
            assert_eq!(steps(text).len(), count, "{text}");
        }
        // Nothing of a message is done that is not JSON to its end (PROTOCOL L9).
        for text in [
            r#"[{"unwatch":1}"#,
            r#"[{"unwatch":1},]"#,
            r#"[{"unwatch":1}] 1"#,
            r#"{"unwatch":1} 1"#,
            "",
            " ",
        ] {
            assert!(refused(text).starts_with("bad-json"), "{text}");
        }
    }

    #[test]
    fn what_takes_long_to_read_is_known_before() {
        let long = format!(r#"{{"put":"/a","value":"{}"}}"#, "x".repeat(LARGE_BYTES));
        // The message as a whole is looked at first, then each command when it is its turn.
        for (text, second) in [
            (r#"[{"delete":"/a"}]"#.to_owned(), 0),
            (long.clone(), 0),
            (format!(r#"[{{"delete":"/a"}},{long}]"#), long.len()),
            (format!(r#"[ {long} , {{"delete":"/a"}} ]"#), 0),
        ] {
            let mut commands = Commands::new(text.clone());
            for bytes in [text.len(), second, 0] {
                assert_eq!(commands.next_bytes(), bytes, "{}", &text[..15]);
                commands.next(&Limits::default());
            }
        }
    }

    #[test]
    fn what_is_wrong_with_one_command_is_no_matter_to_the_next() {
        let acts = steps(r#"[{"put":"/a","value":null},{"nonsense":1},{"unwatch":[1,2]}]"#);
        assert!(
            matches!(
                acts.as_slice(),
                [Act::Write(..), Act::Refuse(..), Act::Unwatch(1), Act::Unwatch(2), Act::Done]
            ),
            "{acts:?}"
        );
    }

    #[test]
    fn a_command_that_is_no_object_has_no_ref() {
        for text in ["[[7]]", "[ [7] ]", "[7]", "7"] {
            let steps = parse(text);
            assert!(
                matches!(steps.as_slice(), [Step { number: None, act: Act::Refuse(..) }]),
                "{text}: {steps:?}"
            );
        }
    }

    #[test]
    fn a_command_with_two_refs_is_known_by_none() {
        let steps = parse(r#"[{"unwatch":1,"ref":3,"ref":0},{"unwatch":1,"ref":4}]"#);
        let numbers: Vec<Option<Ref>> = steps.iter().map(|step| step.number).collect();
        assert_eq!(numbers, [None, Some(4), Some(4)]);
        let Act::Refuse(problem, None) = &steps[0].act else { panic!("{steps:?}") };
        let said = String::from_utf8(problem.to_json()).unwrap();
        assert!(said.contains("element 0 of the array: duplicate member 'ref'"), "{said}");
    }

    #[test]
    fn a_token_is_bounded_and_never_repeated() {
        // PROTOCOL L14
        for token in
            ["null".to_owned(), "\"\"".to_owned(), format!("{:?}", "x".repeat(TOKEN_BYTES_MAX))]
        {
            let acts = steps(&format!(r#"{{"auth":{token}}}"#));
            assert!(matches!(acts.as_slice(), [Act::Auth(_)]), "{acts:?}");
            assert!(!format!("{acts:?}").contains("xxx"), "{acts:?}");
        }
        let long = format!("{:?}", "secret".repeat(TOKEN_BYTES_MAX / 6 + 1));
        for text in [
            format!(r#"{{"auth":{long}}}"#),
            r#"{"auth":["secret"]}"#.to_owned(),
            r#"{"auth":"secret","auth":"secret"}"#.to_owned(),
            r#"{"auth":"secret","rate":"fast"}"#.to_owned(),
            r#"{"auth":"secret","#.to_owned(),
        ] {
            let said = refused(&text);
            assert!(said.starts_with("bad-") && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn many_links_share_their_options() {
        let acts =
            steps(r#"{"watch":[[1,"/a"],[2,"b"],[3,"/c"]],"rate":2,"delta":false,"priority":3}"#);
        let [Act::Watch(1, _, a), Act::Refuse(_, Some(2)), Act::Watch(3, path, c), Act::Done] =
            acts.as_slice()
        else {
            panic!("{acts:?}");
        };
        assert_eq!(path.to_string(), "/c");
        for shape in [a, c] {
            let watch = shape.watch(Path::ROOT).unwrap();
            assert!(
                watch.whole
                    && watch.interval_ms == 500
                    && watch.priority == Priority::new(3).unwrap()
            );
        }
    }

    #[test]
    fn a_command_that_is_wrong_keeps_its_ref() {
        let deep = format!(r#"{{"get":{}{},"ref":7}}"#, "[".repeat(10_000), "]".repeat(10_000));
        for (text, says) in [
            (r#"{"ref":7,"wacth":1}"#, "did you mean"),
            (r#"{"ref":7,"watch":1}"#, "no 'path'"),
            (r#"{"ref":7,"put":1}"#, "'put' is the path"),
            (r#"{"watch":1,"path":"/a","ref":7,"rate":1e400}"#, "'rate' is a positive"),
            (r#"{"get":"/\ud83d","ref":7}"#, "'get' is the path"),
            (r#"{"get":"/b","foo":1e400,"ref":7}"#, "no command has a member 'foo'"),
            (r#"{"watch":1,"path":"/a","ref":7,"\ud800":1}"#, "no command has a member '\u{fffd}"),
            (r#"{"\udc00x":1,"ref":7}"#, "there is no '\u{fffd}"),
            (r#"{"\u0077acth":1,"ref":7}"#, "did you mean"),
            (&deep, "'get' is the path"),
        ] {
            let steps = parse(text);
            assert_eq!(steps[0].number, Some(7), "{text}");
            let Act::Refuse(problem, _) = &steps[0].act else { panic!("{text}") };
            assert!(String::from_utf8(problem.to_json()).unwrap().contains(says), "{text}");
        }
    }
}
