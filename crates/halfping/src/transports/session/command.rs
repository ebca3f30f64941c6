//! What a client says in a session (PROTOCOL L2 to L10, L14), from text to steps.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use halfping_engine::{Action, Condition, Cursor, Json, Limits, Patch, Path, Priority, States, Watch};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::access::is_own;
use crate::aside::LARGE_BYTES;
use crate::http::negotiate::{nearest, shorten};
use crate::http::write::{is_misplaced, misplaced};
use crate::problem::{Kind, Problem};
use crate::tag;
use crate::transports::interval_ms;

/// The number that a client gave a command, to know its answer by.
pub(super) type Ref = u64;

/// Whole numbers beyond this are not the same everywhere.
const REF_MAX: Ref = (1 << 53) - 1;

/// Bytes of a token that says who speaks.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// One thing to do. A command that opens many links is many steps.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) number: Option<Ref>,
    pub(super) act: Act,
}

#[derive(Debug)]
pub(super) enum Act {
    Watch(u32, Box<Watch>),
    Unwatch(u32),
    Get(Path, u32),
    Write(Path, Action, Condition),
    Post(Path, Json),
    Credit(usize),
    Ack(Cursor),
    /// Who speaks. Nobody is told apart yet, so the token is not kept.
    Auth,
    /// All steps of the command are done.
    Done,
    /// The command, or one link of it, cannot be understood.
    Refuse(Problem, Option<u32>),
}

/// What a client said in one message. It is taken apart as it is handled: as a list of steps it could need a hundred times the room of its
/// text.
#[derive(Debug)]
pub(crate) struct Commands {
    text: String,
    /// They are all that the client will ever say (PROTOCOL M4).
    once: bool,
    /// Where all links resume, whatever their `since` says.
    since: Option<Cursor>,
    /// Where in it the next command begins, or what is before it; `None` before the message was looked at as a whole.
    at: Option<usize>,
    /// How many came before the next, if the message is an array.
    place: Option<usize>,
    /// Where those begin that take long to read, and their lengths.
    large: VecDeque<(usize, usize)>,
    /// What is left to do of the command before.
    steps: Steps,
}

/// One command, step by step.
#[derive(Debug)]
enum Steps {
    Few(Option<Ref>, std::vec::IntoIter<Act>),
    /// Links to open, alike in all but their paths.
    Watches(Option<Ref>, std::vec::IntoIter<(u32, Box<str>)>, Box<Watch>),
    Unwatches(Option<Ref>, std::vec::IntoIter<u32>),
}

impl Steps {
    fn few<const N: usize>(number: Option<Ref>, acts: [Act; N]) -> Steps {
        Steps::Few(number, Vec::from(acts).into_iter())
    }

    fn none() -> Steps {
        Steps::few(None, [])
    }

    fn is_over(&self) -> bool {
        matches!(self, Steps::Few(_, acts) if acts.len() == 0)
    }

    fn next(&mut self, limits: &Limits) -> Option<Step> {
        let (number, act) = match self {
            Steps::Few(number, acts) => (*number, acts.next()),
            Steps::Watches(number, pairs, model) => {
                let open = |(id, path): (u32, Box<str>)| match readable(&path, limits) {
                    Ok(path) => Act::Watch(id, Box::new(Watch { path, ..(**model).clone() })),
                    // The others are opened all the same.
                    Err(problem) => Act::Refuse(problem, Some(id)),
                };
                (*number, pairs.next().map(open))
            }
            Steps::Unwatches(number, ids) => (*number, ids.next().map(Act::Unwatch)),
        };
        if let Some(act) = act {
            return Some(Step { number, act });
        }
        match std::mem::replace(self, Steps::none()) {
            Steps::Few(..) => None,
            Steps::Watches(..) | Steps::Unwatches(..) => Some(Step { number, act: Act::Done }),
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
            large: Default::default(),
            steps: Steps::none(),
        }
    }

    /// All that a client says that is heard only once: nothing of it is taken if it is not JSON.
    pub(crate) fn once(bytes: &[u8], _: &Limits) -> Result<Commands, Problem> {
        let text = std::str::from_utf8(bytes);
        let text =
            text.map_err(|error| Problem::new(Kind::BadJson, format!("this is not UTF-8: {error}")))?;
        let mut commands = Commands { once: true, ..Commands::new(text.to_owned()) };
        commands.look().map_err(|error| not_json(&error))?;
        Ok(commands)
    }

    /// All links resume from here, if this is a place.
    pub(super) fn resume(&mut self, since: Option<Cursor>) {
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
            if let Some(mut step) = self.steps.next(limits) {
                if let Act::Watch(_, watch) = &mut step.act {
                    watch.since = self.since.or(watch.since);
                }
                return Some(step);
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
            let (from, to) = element(&self.text, at)?;
            let next = match self.place {
                Some(_) => after(&self.text, to, b','),
                None => self.text.len(),
            };
            self.at = Some(next);
            // The only one needs no number to be known by.
            let is_alone = self.place == Some(0) && self.text[next..].starts_with(']');
            let place = self.place.filter(|_| !is_alone);
            self.steps = one(&self.text[from..to], place, self.once, limits);
            self.place = self.place.map(|place| place + 1);
        }
    }

    /// Sees whether the message is JSON, all of it: else nothing of it is done.
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
                large.push_back((element.as_ptr() as usize - self.text.as_ptr() as usize, element.len()));
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

/// Where the value begins and ends that is at this place of a text that is known to be JSON; `None` at its end, or that of an array.
fn element(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = &text[at..];
    if rest.is_empty() || rest.starts_with(']') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    let value = values.next()?.ok()?.get();
    Some((at, at + value.len()))
}

/// Members of all commands. A value that is there but `null` is told from one that is not there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "there")]
    watch: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    unwatch: Option<&'a RawValue>,
    #[serde(borrow, default)]
    get: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    put: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    merge: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    patch: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    delete: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    post: Option<Cow<'a, str>>,
    credit: Option<u32>,
    #[serde(borrow, default)]
    ack: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "there")]
    auth: Option<&'a RawValue>,

    #[serde(borrow, default, deserialize_with = "there", rename = "ref")]
    number: Option<&'a RawValue>,
    #[serde(borrow, default)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    since: Option<Cow<'a, str>>,
    rate: Option<f64>,
    depth: Option<u32>,
    delta: Option<bool>,
    priority: Option<u8>,
    #[serde(borrow, default, deserialize_with = "there")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there", rename = "if")]
    condition: Option<&'a RawValue>,
}

/// What commands are called, and the members that each may have besides `ref`.
const COMMANDS: &[(&str, &[&str])] = &[
    ("watch", &["path", "since", "rate", "depth", "delta", "priority"]),
    ("unwatch", &[]),
    ("get", &["depth"]),
    ("put", &["value", "if"]),
    ("merge", &["value", "if"]),
    ("patch", &["value", "if"]),
    ("delete", &["if"]),
    ("post", &["value"]),
    ("credit", &[]),
    ("ack", &[]),
    ("auth", &[]),
];

fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn one(text: &str, place: Option<usize>, once: bool, limits: &Limits) -> Steps {
    let number = number_of(text);
    let done = match serde_json::from_str::<Members<'_>>(text) {
        // An array would be taken for the members in their order.
        _ if !text.starts_with('{') => Err((bad("a command is a JSON object"), None)),
        Ok(members) => members.steps(number, text, once, limits),
        Err(error) => Err((explain(text).unwrap_or_else(|| bad(without_place(&error))), None)),
    };
    done.unwrap_or_else(|(problem, link)| {
        // A command with a `ref` is known by that.
        let problem = match place.filter(|_| number.is_none()) {
            Some(place) => problem.in_element(place),
            None => problem,
        };
        match link {
            Some(_) => Steps::few(number, [Act::Refuse(problem, link), Act::Done]),
            None => Steps::few(number, [Act::Refuse(problem, None)]),
        }
    })
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadCommand, detail)
}

/// What is wrong and about which link, if it is about one.
type Refused = (Problem, Option<u32>);

impl Members<'_> {
    fn steps(self, number: Option<Ref>, text: &str, once: bool, limits: &Limits) -> Result<Steps, Refused> {
        let whole = |problem: Problem| (problem, None);
        let name = self.check_names(text).map_err(whole)?;
        if once {
            check_once(name).map_err(whole)?;
        }
        if self.number.is_some() && number.is_none() {
            return Err(whole(bad(format!("'ref' is {REF}"))));
        }
        let condition = self.condition().map_err(whole)?;
        if let Some(watch) = self.watch {
            return self.watches(number, watch.get(), limits);
        }
        if let Some(unwatch) = self.unwatch {
            let ids = match unwatch.get().starts_with('[') {
                true => serde_json::from_str::<Vec<u32>>(unwatch.get()),
                false => serde_json::from_str::<u32>(unwatch.get()).map(|id| vec![id]),
            };
            let ids = ids.map_err(|_| whole(bad(format!("'unwatch' is {ID}, or an array of such"))))?;
            return Ok(Steps::Unwatches(number, ids.into_iter()));
        }
        let value = self.value.map(|value| value.get().as_bytes());
        let json = || -> Result<Json, Refused> {
            let value = value.ok_or_else(|| whole(bad("there is no 'value'")))?;
            Json::parse(value, limits).map_err(|error| whole(error.into()))
        };
        let resource = |text: &str| resource(text, limits).map_err(whole);
        let acts = if let Some(path) = &self.get {
            if number.is_none() {
                return Err(whole(bad("'get' needs a 'ref' for its answer to carry")));
            }
            let path = gettable(path, limits).map_err(whole)?;
            vec![Act::Get(path, self.depth.unwrap_or(u32::MAX))]
        } else if let Some(path) = &self.put {
            vec![Act::Write(resource(path)?, Action::Put(json()?), condition)]
        } else if let Some(path) = &self.merge {
            vec![Act::Write(resource(path)?, Action::Merge(json()?), condition)]
        } else if let Some(path) = &self.patch {
            let value = value.ok_or_else(|| whole(bad("there is no 'value'")))?;
            let patch = Patch::parse(value, limits).map_err(|error| whole(error.into()))?;
            vec![Act::Write(resource(path)?, Action::Patch(patch), condition)]
        } else if let Some(path) = &self.delete {
            vec![Act::Write(resource(path)?, Action::Delete, condition)]
        } else if let Some(path) = &self.post {
            let path = resource(path)?;
            if is_misplaced(&path) {
                return Err(whole(misplaced(&path)));
            }
            vec![Act::Post(path, json()?)]
        } else if let Some(bytes) = self.credit {
            vec![Act::Credit(bytes as usize), Act::Done]
        } else if let Some(cursor) = &self.ack {
            let cursor = tag::cursor(cursor).ok_or_else(|| whole(bad("'ack' is the 'rev' of a message")))?;
            vec![Act::Ack(cursor), Act::Done]
        } else if let Some(token) = self.auth {
            check_token(token).map_err(whole)?;
            vec![Act::Auth, Act::Done]
        } else {
            Vec::new()
        };
        Ok(Steps::Few(number, acts.into_iter()))
    }

    fn watches(&self, number: Option<Ref>, watch: &str, limits: &Limits) -> Result<Steps, Refused> {
        let priority = Priority::new(self.priority.unwrap_or_default());
        let problem = if self.rate.is_some_and(|rate| rate <= 0.0) {
            Some(bad("'rate' is a positive number of updates a second"))
        } else if priority.is_none() {
            Some(bad(format!("'priority' is from 0 to {}", Priority::MAX)))
        } else {
            None
        };
        let model = Watch {
            // One that cannot be read is as good as none (PROTOCOL C4).
            since: self.since.as_deref().and_then(tag::cursor),
            depth: self.depth.unwrap_or(u32::MAX),
            whole: self.delta == Some(false),
            interval_ms: self.rate.map_or(0, interval_ms),
            priority: priority.unwrap_or_default(),
            ..Watch::new(Path::default())
        };
        if !watch.starts_with('[') {
            let id = serde_json::from_str::<u32>(watch);
            let id = id.map_err(|_| (bad(format!("'watch' is {ID}, or an array of [ID, PATH]")), None))?;
            let refused = |problem| (problem, Some(id));
            if let Some(problem) = problem {
                return Err(refused(problem));
            }
            let path = self.path.as_deref().ok_or_else(|| refused(bad("there is no 'path'")))?;
            let path = readable(path, limits).map_err(refused)?;
            return Ok(Steps::few(number, [Act::Watch(id, Box::new(Watch { path, ..model })), Act::Done]));
        }
        if let Some(problem) = problem {
            return Err((problem, None));
        }
        if self.path.is_some() {
            return Err((bad("with an array, each link's path is in the array"), None));
        }
        let pairs = serde_json::from_str::<Vec<(u32, Box<str>)>>(watch);
        let pairs = pairs.map_err(|_| (bad(format!("'watch' is {ID}, or an array of [ID, PATH]")), None))?;
        Ok(Steps::Watches(number, pairs.into_iter(), Box::new(model)))
    }

    /// Exactly one command, and only such members as go with it. Its name.
    fn check_names(&self, text: &str) -> Result<&'static str, Problem> {
        let there = |name: &str| match name {
            "watch" => self.watch.is_some(),
            "unwatch" => self.unwatch.is_some(),
            "get" => self.get.is_some(),
            "put" => self.put.is_some(),
            "merge" => self.merge.is_some(),
            "patch" => self.patch.is_some(),
            "delete" => self.delete.is_some(),
            "post" => self.post.is_some(),
            "credit" => self.credit.is_some(),
            "ack" => self.ack.is_some(),
            "auth" => self.auth.is_some(),
            "path" => self.path.is_some(),
            "since" => self.since.is_some(),
            "rate" => self.rate.is_some(),
            "depth" => self.depth.is_some(),
            "delta" => self.delta.is_some(),
            "priority" => self.priority.is_some(),
            "value" => self.value.is_some(),
            _ => self.condition.is_some(),
        };
        let mut named = COMMANDS.iter().filter(|(name, _)| there(name));
        let Some(&(name, members)) = named.next() else {
            return Err(explain(text).unwrap_or_else(|| unknown_command("it has no member that names one")));
        };
        if let Some((other, _)) = named.next() {
            return Err(bad(format!("'{name}' and '{other}' are two commands")).hint("send them as an array"));
        }
        let options = COMMANDS.iter().flat_map(|(_, members)| members.iter());
        match options.filter(|option| !members.contains(option)).find(|option| there(option)) {
            Some(option) => Err(bad(format!("'{name}' has no '{option}'"))),
            None => Ok(name),
        }
    }

    /// `if`: a cursor, `"*"`, or `null` for nothing.
    fn condition(&self) -> Result<Condition, Problem> {
        let Some(text) = self.condition else { return Ok(Condition::default()) };
        let text = serde_json::from_str::<Option<Cow<'_, str>>>(text.get());
        let text =
            text.map_err(|_| bad("'if' is a cursor, \"*\" (something is there) or null (nothing is)"))?;
        Ok(match text.as_deref() {
            None => Condition { is_not: Some(States::Any), ..Condition::default() },
            Some("*") => Condition { is: Some(States::Any), ..Condition::default() },
            Some(cursor) => {
                let cursors = tag::cursor(cursor).into_iter().collect();
                Condition { is: Some(States::These(cursors)), ..Condition::default() }
            }
        })
    }
}

/// Whether a command makes sense of a client that is heard only once.
fn check_once(name: &str) -> Result<(), Problem> {
    let hint = match name {
        "watch" | "auth" => return Ok(()),
        "unwatch" => "open another stream with the links that are wanted, and 'since'".to_owned(),
        "credit" | "ack" => "leave it out: on a WebSocket, '/', there is credit".to_owned(),
        "merge" | "patch" => "send PATCH to the resource's own URL".to_owned(),
        _ => format!("send {} to the resource's own URL", name.to_ascii_uppercase()),
    };
    let detail = format!("'{name}' is not possible here: this stream opens links, and hears nothing else");
    Err(Problem::new(Kind::MethodNotAllowed, detail).hint(hint))
}

const ID: &str = "an integer from 0 to 4294967295";

/// A token is text or `null`. What it says is nobody's business here, not even that of an error.
fn check_token(token: &RawValue) -> Result<(), Problem> {
    let token = serde_json::from_str::<Option<Cow<'_, str>>>(token.get());
    let token = token.map_err(|_| bad("'auth' is a token, a string, or null for nobody"))?;
    match token.is_none_or(|token| token.len() <= TOKEN_BYTES_MAX) {
        true => Ok(()),
        false => Err(bad(format!("'auth' is a token of at most {TOKEN_BYTES_MAX} bytes"))),
    }
}

/// The path of a resource that can be read. Whether this client may read the server's own state is not known here.
fn readable(text: &str, limits: &Limits) -> Result<Path, Problem> {
    let path = Path::parse(text, limits)?;
    if is_own(&path) { Ok(path) } else { resource(text, limits) }
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
    let path = Path::parse(text, limits)?;
    match path.segments().first() {
        Some(name) if name.starts_with('_') => {
            Err(Problem::new(Kind::ReservedPath, format!("{path} is the server's own")))
        }
        _ => Ok(path),
    }
}

/// The `ref` of a command, whatever is wrong with the rest of it.
fn number_of(text: &str) -> Option<Ref> {
    #[derive(Deserialize)]
    struct Only<'a> {
        #[serde(borrow, rename = "ref")]
        number: &'a RawValue,
    }
    // Of an array, the first element would be taken for it.
    let object = Some(text).filter(|text| text.starts_with('{'))?;
    let only = serde_json::from_str::<Only<'_>>(object).ok()?;
    serde_json::from_str(only.number.get()).ok().filter(|number| *number <= REF_MAX)
}

const REF: &str = "an integer from 0 to 9007199254740991";

/// What members have to be. (Of the others, `watch`, `unwatch` and `auth` may be several things, and values anything.)
#[expect(clippy::type_complexity, reason = "a table, read once below")]
const TYPES: &[(&str, &str, fn(&serde_json::Value) -> bool)] = &[
    (
        "get put merge patch delete post path",
        "the path of a resource, a string",
        serde_json::Value::is_string,
    ),
    ("since ack", "a cursor, a string", serde_json::Value::is_string),
    ("ref", REF, |value| value.as_u64().is_some_and(|number| number <= REF_MAX)),
    ("rate", "a positive number of updates a second", serde_json::Value::is_number),
    ("delta", "true or false", serde_json::Value::is_boolean),
    ("priority", "from 0 to 3", |value| {
        value.as_u64().is_some_and(|level| level <= u64::from(Priority::MAX))
    }),
    ("depth", "a number of levels", |value| value.as_u64().is_some_and(|depth| depth <= u64::from(u32::MAX))),
    ("credit", "a number of bytes", |value| value.as_u64().is_some_and(|bytes| bytes <= u64::from(u32::MAX))),
];

/// Says in our words what is wrong with a command that has a member that none has or that is of another type. Values are only looked at
/// where they matter: any of them may be such as nobody could read.
fn explain(text: &str) -> Option<Problem> {
    let object = serde_json::from_str::<HashMap<String, &RawValue>>(text).ok()?;
    let of_commands = COMMANDS.iter().map(|(name, _)| *name);
    let options = COMMANDS.iter().flat_map(|(_, members)| members.iter().copied());
    let known: Vec<&str> = of_commands.clone().chain(options).chain(["ref"]).collect();
    let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) else {
        let is_wrong = |name: &str, is: &fn(&serde_json::Value) -> bool| {
            object.get(name).is_some_and(|raw| !serde_json::from_str(raw.get()).is_ok_and(|value| is(&value)))
        };
        let wrong = TYPES.iter().find_map(|(names, what, is)| {
            names.split(' ').find(|name| is_wrong(name, is)).map(|name| (name, what))
        });
        return wrong.map(|(name, what)| bad(format!("'{name}' is {what}")));
    };
    let shown = shorten(name);
    let problem = match of_commands.clone().any(|command| object.contains_key(command)) {
        true => bad(format!("no command has a member '{shown}'")),
        false => unknown_command(format!("there is no '{shown}'")),
    };
    Some(match nearest(name, &known) {
        Some(near) => problem.hint(format!("did you mean '{near}'?")),
        None => problem,
    })
}

fn unknown_command(detail: impl Into<String>) -> Problem {
    let known: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
    Problem::new(Kind::UnknownCommand, detail).hint(format!("commands are {}", known.join(", ")))
}

/// What serde says, without a line and a column that mean nothing here.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
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
                format!("{} {}", problem.kind().name(), String::from_utf8(problem.to_json()).unwrap())
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
            (r#"{"get":"/_nope","ref":1}"#, "not-found", "/_nope"),
            (r#"{"watch":1,"path":"/a","dept":1}"#, "bad-command", "did you mean 'depth'?"),
            (r#"{"watch":1}"#, "bad-command", "no 'path'"),
            (r#"{"watch":"1","path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":-1,"path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":null,"path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":4294967296,"path":"/a"}"#, "bad-command", "an integer"),
            (r#"{"watch":1,"path":"/_x"}"#, "reserved-path", "/_x"),
            (r#"{"post":"/a/_streams","value":1}"#, "reserved-path", "/a/_streams"),
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
    fn a_token_is_bounded_and_never_repeated() {
        // PROTOCOL L14
        for token in ["null".to_owned(), "\"\"".to_owned(), format!("{:?}", "x".repeat(TOKEN_BYTES_MAX))] {
            let acts = steps(&format!(r#"{{"auth":{token}}}"#));
            assert!(matches!(acts.as_slice(), [Act::Auth, Act::Done]), "{acts:?}");
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
        let acts = steps(r#"{"watch":[[1,"/a"],[2,"/_b"],[3,"/c"]],"rate":2,"delta":false,"priority":3}"#);
        let [Act::Watch(1, a), Act::Refuse(_, Some(2)), Act::Watch(3, c), Act::Done] = acts.as_slice() else {
            panic!("{acts:?}");
        };
        for watch in [a, c] {
            assert!(watch.whole && watch.interval_ms == 500 && watch.priority == Priority::new(3).unwrap());
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
            (&deep, "'get' is the path"),
        ] {
            let steps = parse(text);
            assert_eq!(steps[0].number, Some(7), "{text}");
            let Act::Refuse(problem, _) = &steps[0].act else { panic!("{text}") };
            assert!(String::from_utf8(problem.to_json()).unwrap().contains(says), "{text}");
        }
    }
}
