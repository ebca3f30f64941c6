//! Sessions: a client's messages, over a pipe in memory instead of a socket, from the handshake on.
//!
//! Each line of the bytes is a message; `$rev` in it stands for the last cursor that the server
//! told. After each, a `get` of the whole tree follows: once it is answered, the messages before
//! have been handled, and their effects can be checked.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use halfping::{Api, Limits, Options};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};

use crate::model::{self, Change, Shape};
use crate::protocol::check_problem;
use crate::tree::members;

const MESSAGES_MAX: usize = 12;
/// The longest message; longer ones are refused (L13).
const MESSAGE_BYTES: usize = 1000;
const REF_MAX: u64 = (1 << 53) - 1;
/// The number of the last link, which a message may have taken before.
const LAST_LINK: u32 = u32::MAX;
/// The longest wait. Everything happens in memory, so nothing comes later.
const PATIENCE: Duration = Duration::from_secs(10);

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

pub fn session_command(data: &[u8]) {
    RUNTIME.with_borrow_mut(|runtime| {
        runtime.block_on(async {
            let talk = tokio::time::timeout(PATIENCE, talk(data));
            talk.await.expect("PROTOCOL L2: an answer is missing");
        });
    });
}

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.json_depth = 8;
        limits.members_per_object = 6;
        limits.key_bytes = 20;
        limits.path_depth = 5;
        limits.tree_bytes = 2000;
        limits.links_per_connection = 6;
        limits.message_bytes = MESSAGE_BYTES;
        // A small bound: as much as possible is cut into parts.
        limits.slice_bytes = 1 << 10;
        limits.tombstones_per_object = 2;
    })
}

async fn talk(data: &[u8]) {
    let api = Api::new(Options { limits: limits(), ..Options::default() });
    let start = json!({ "a": { "b": 1, "list": [1, { "x": null }] }, "text": "ä" });
    api.put("/", &start).await.expect("the tree of the start fits");
    let mut session = Session::open(&api).await;
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(MESSAGES_MAX)
    {
        let (opcode, payload) = match line.strip_prefix(b"\0") {
            Some(payload) => (BINARY, payload.to_vec()),
            None => (TEXT, session.filled_in(line)),
        };
        // The rows of PROTOCOL L13 that a whole message can reach.
        let closed = match std::str::from_utf8(&payload) {
            _ if payload.len() > MESSAGE_BYTES => Some(1009),
            _ if opcode == BINARY => Some(1003),
            Err(_) => Some(1007),
            Ok(_) => None,
        };
        if let Some(code) = closed {
            session.send(opcode, &payload).await;
            return session.expect_close(code).await;
        }
        session.say(std::str::from_utf8(&payload).unwrap_or_default()).await;
    }
    session.finish().await;
}

/// The client's side of a session.
struct Session {
    pipe: DuplexStream,
    tree: Value,
    /// The newest cursor that was told.
    rev: String,
    /// The states that links show. `None`: unknown, as the link resumed from a cursor whose state
    /// this client does not have.
    mirrors: HashMap<u32, Option<Option<Value>>>,
    /// Links whose state is certain.
    links: HashMap<u32, (Vec<String>, Shape)>,
    /// Links that are certainly ended, and of which nothing is told any more (L4).
    ended: HashSet<u32>,
    /// The cursor of the last message of state.
    told: Option<String>,
    synced: bool,
}

/// Answers to a message.
#[derive(Default)]
struct Heard {
    /// Answers that carry a `ref`, in their order, without those to our own commands.
    answers: Vec<Value>,
    /// Errors that belong to no command with a `ref`.
    errors: Vec<Value>,
}

impl Session {
    async fn open(api: &Api) -> Session {
        let (mut pipe, theirs) = tokio::io::duplex(1 << 20);
        let service = TowerToHyperService::new(api.router());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), service);
            drop(connection.with_upgrades().await);
        });
        let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Protocol: halfping.v1\r\n\r\n";
        pipe.write_all(request.as_bytes()).await.expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(pipe.read_u8().await.expect("the server answers"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut session = Session {
            pipe,
            tree: Value::Null,
            rev: "000000000000.1".to_owned(),
            mirrors: HashMap::new(),
            links: HashMap::new(),
            ended: HashSet::new(),
            told: None,
            synced: false,
        };
        session.say(r#"{"credit":0}"#).await;
        session
    }

    fn filled_in(&self, line: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(line) {
            Ok(text) => text.replace("$rev", &self.rev).into_bytes(),
            Err(_) => line.to_vec(),
        }
    }

    /// Sends a frame, with a mask that changes nothing.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.pipe.write_all(&frame).await.expect("the session goes on");
    }

    /// The next frame. (The server does not compress, as that was not offered.)
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = self.pipe.read_u8().await.expect("the session goes on");
        assert_eq!(first & 0xF0, 0x80, "whole frames without extensions");
        let len = match self.pipe.read_u8().await.expect("a whole frame") {
            126 => u64::from(self.pipe.read_u16().await.expect("a whole frame")),
            127 => self.pipe.read_u64().await.expect("a whole frame"),
            len => u64::from(len),
        };
        let mut payload = vec![0; len as usize];
        self.pipe.read_exact(&mut payload).await.expect("a whole frame");
        (first & 0x0F, payload)
    }

    async fn message(&mut self) -> Value {
        let (opcode, payload) = self.frame().await;
        let text = String::from_utf8(payload).expect("text is UTF-8");
        assert_eq!(opcode, TEXT, "only what L13 names ends a session: {text:?}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in a message: {text}"))
    }

    async fn expect_close(&mut self, code: u16) {
        loop {
            let (opcode, payload) = self.frame().await;
            if opcode == CLOSE {
                let told = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                assert_eq!(told, Some(code), "{}", String::from_utf8_lossy(&payload[2..]));
                return;
            }
        }
    }

    /// Sends a message and checks its effects.
    async fn say(&mut self, text: &str) {
        let commands = commands(text);
        let expected: Vec<u64> =
            commands.iter().flatten().filter_map(|command| command.number).collect();
        self.send(TEXT, text.as_bytes()).await;
        if text.contains("watch") || text.contains('\\') {
            self.ended.clear();
        }
        let before = std::mem::take(&mut self.tree);
        let heard = self.barrier(expected.len()).await;
        let refs: Vec<u64> =
            heard.answers.iter().filter_map(|answer| answer["ref"].as_u64()).collect();
        assert_eq!(
            refs, expected,
            "PROTOCOL L2: one answer to each command: {text}: {:?}",
            heard.answers
        );
        for answer in heard.answers.iter().filter(|answer| answer["type"].is_string()) {
            let (name, status) = check_problem(answer);
            assert!(
                answer.get("rev").is_some() || !matches!(status, 412),
                "PROTOCOL L8: {answer} ({name})"
            );
        }
        let Some(commands) = commands else {
            assert_eq!(
                heard.errors.len(),
                1,
                "a message that is no JSON: {text}: {:?}",
                heard.errors
            );
            assert_eq!(heard.errors[0]["type"], "urn:halfping:problem:bad-json");
            assert_eq!(before, self.tree, "{text}");
            return;
        };
        self.check_writes(&commands, &heard, before, text);
        let is_known = match (commands.as_slice(), heard.answers.as_slice()) {
            ([command], [answer]) => self.note_links(command, answer),
            _ => false,
        };
        // The message was about links, in a way that this model does not follow.
        if !is_known && text.contains("atch") || text.contains('\\') {
            self.links.clear();
            self.mirrors.clear();
        }
    }

    /// Applies the commands that were not refused to the model, and compares the tree.
    fn check_writes(&self, commands: &[Command], heard: &Heard, mut tree: Value, text: &str) {
        // An error without a `ref` belongs to a command without one, or to a link of any command.
        // It can be assigned only when there was one command alone.
        let is_alone = commands.len() == 1;
        let has_unclear =
            !heard.errors.is_empty() && commands.iter().any(|command| command.number.is_none());
        if tree.is_null() || (has_unclear && !is_alone) {
            return;
        }
        let mut answers = heard.answers.iter();
        for command in commands {
            let answer = match command.number {
                Some(_) => answers.next(),
                None => heard.errors.first(),
            };
            let is_done = answer.is_none_or(|answer| answer.get("type").is_none());
            let name = ["get", "put", "merge", "patch", "delete", "post"]
                .into_iter()
                .find(|name| command.names.contains(*name));
            assert!(!is_done || !command.names.is_empty(), "done, and is nothing: {text}");
            let Some(name) = name else { continue };
            let said = &command.value;
            let path = said[name].as_str().and_then(names);
            let path =
                path.as_ref().map(|path| path.iter().map(String::as_str).collect::<Vec<_>>());
            let Some(path) = path else {
                match is_done {
                    true => return, // by a path that is not read here
                    false => continue,
                }
            };
            let value = said["value"].clone();
            let change = match name {
                "get" => {
                    if is_done {
                        let view = Shape::of(said).view(&tree, &path);
                        let value = answer.and_then(|answer| answer.get("value"));
                        assert!(value == view.as_ref(), "{text}: {answer:?}");
                    }
                    continue;
                }
                "put" => Change::Put(value),
                "merge" => Change::Merge(value),
                "patch" => Change::Patch(value),
                "delete" => Change::Delete,
                // The command's path is known from the answer only.
                _ => match answer
                    .filter(|_| is_done)
                    .map(|answer| answer["path"].as_str().and_then(names))
                {
                    Some(Some(path)) => {
                        let path: Vec<&str> = path.iter().map(String::as_str).collect();
                        assert!(
                            model::at(&tree, &path).is_none(),
                            "PROTOCOL W5: {text}: {answer:?}"
                        );
                        model::apply(&mut tree, &path, &Change::Put(value)).expect("it was done");
                        continue;
                    }
                    _ if is_done => return,
                    _ => continue,
                },
            };
            let mut expected = tree.clone();
            let applied = model::apply(&mut expected, &path, &change).is_some();
            let refusal = answer.and_then(|answer| answer["type"].as_str()).unwrap_or_default();
            if is_done {
                assert!(
                    applied,
                    "done, and should have been refused: {text}: {answer:?} on {tree}"
                );
                let status = match (name, model::at(&tree, &path).is_some()) {
                    ("delete", _) => 204,
                    (_, true) => 200,
                    (_, false) => 201,
                };
                assert!(
                    answer.is_none_or(|answer| answer["status"] == status),
                    "{text}: {answer:?} on {tree}"
                );
                tree = expected;
            } else if ["not-found", "not-an-object", "patch-failed"]
                .iter()
                .any(|name| refusal.ends_with(name))
            {
                assert!(
                    !applied,
                    "refused, and should have been done: {text}: {answer:?} on {tree}"
                );
            }
        }
        assert_eq!(self.tree, tree, "PROTOCOL L8, X2: {text}: {:?}", heard.answers);
    }

    /// Records the link that a command opened or ended. True when the current links are known.
    fn note_links(&mut self, command: &Command, answer: &Value) -> bool {
        let (said, is_done) = (&command.value, answer.get("type").is_none());
        if !is_done {
            // A refused `watch` opens nothing. If its number was in use, the link of that number
            // stays as it was.
            return said["watch"].is_u64() || !command.text.contains("atch");
        }
        if let (Some(link), Some(names)) =
            (said["watch"].as_u64(), said["path"].as_str().and_then(names))
        {
            // A link with a rate may be behind.
            if said.get("rate").is_none_or(Value::is_null) {
                self.links.insert(link as u32, (names, Shape::of(said)));
            }
            return true;
        }
        if let Some(link) = said["unwatch"].as_u64() {
            self.links.remove(&(link as u32));
            self.mirrors.remove(&(link as u32));
            self.ended.insert(link as u32);
            return true;
        }
        false
    }

    /// Requests the tree, and takes everything until it has come and the given number of answers
    /// before it.
    async fn barrier(&mut self, mut answers: usize) -> Heard {
        self.send(TEXT, format!(r#"{{"get":"/","ref":{REF_MAX}}}"#).as_bytes()).await;
        let mut heard = Heard::default();
        loop {
            let message = self.message().await;
            if message.get("ref").is_none() {
                self.hear(message, &mut heard);
            } else if answers > 0 {
                answers -= 1;
                heard.answers.push(message);
            } else {
                assert_eq!(
                    message["ref"], REF_MAX,
                    "an answer more than there were commands: {message}"
                );
                assert_eq!(message["status"], 200, "{message}");
                self.rev = message["rev"].as_str().expect("a cursor").to_owned();
                self.tree = message["value"].clone();
                return heard;
            }
        }
    }

    /// Handles a message that is not an answer: an error, or state.
    fn hear(&mut self, message: Value, heard: &mut Heard) {
        if let Some(problem) = message.get("error") {
            check_problem(problem);
            assert!(problem["ends"].is_boolean(), "PROTOCOL L9: {message}");
            heard.errors.push(problem.clone());
            return;
        }
        assert!(message["rev"].is_string() && message["t"].is_u64(), "PROTOCOL L5: {message}");
        self.told = message["rev"].as_str().map(str::to_owned);
        self.synced = message.get("synced").is_some_and(|synced| *synced == true);
        for frame in message["set"].as_array().into_iter().flatten() {
            let link =
                frame[0].as_u64().unwrap_or_else(|| panic!("a frame is of a link: {frame}")) as u32;
            let kind = frame[1].as_str().unwrap_or_default();
            assert!(
                !self.ended.contains(&link),
                "PROTOCOL L4: {frame} is of a link that was ended"
            );
            let mirror = self.mirrors.entry(link).or_default();
            match (kind, mirror) {
                ("error", _) => panic!("nothing here is too large: {frame}"),
                ("snapshot" | "gone", mirror) => {
                    *mirror = Some((kind == "snapshot").then(|| frame[2].clone()));
                }
                (_, Some(state)) => model::show(state, kind, frame[2].clone()),
                // The link resumed from a cursor.
                (kind, None) => assert!(matches!(kind, "merge" | "patch"), "{frame}"),
            }
        }
    }

    /// Opens one more link, waits until everything is synced, and compares what links show.
    async fn finish(mut self) {
        // Make room for the last link.
        let spare = self.links.keys().copied().find(|link| *link != LAST_LINK);
        for link in [Some(LAST_LINK), spare].into_iter().flatten() {
            self.say(&format!(r#"{{"unwatch":{link},"ref":1}}"#)).await;
        }
        self.synced = false;
        self.ended.remove(&LAST_LINK);
        self.send(TEXT, format!(r#"{{"watch":{LAST_LINK},"path":"/","ref":2}}"#).as_bytes()).await;
        let (mut answered, mut heard) = (false, Heard::default());
        while !(answered && self.synced) {
            // Confirm state, to get credit for more (L10).
            if let Some(told) = self.told.take() {
                self.send(TEXT, format!(r#"{{"ack":"{told}"}}"#).as_bytes()).await;
            }
            let message = self.message().await;
            match message.get("ref") {
                // There are more links than the model knows of.
                Some(_) if message["type"] == "urn:halfping:problem:too-many-links" => return,
                Some(_) => {
                    assert_eq!(message["status"], 200, "{message}");
                    (answered, self.synced) = (true, false);
                }
                None => self.hear(message, &mut heard),
            }
        }
        self.barrier(0).await;
        self.links.insert(LAST_LINK, (Vec::new(), Shape::ALL));
        for (link, (path, shape)) in &self.links {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Some(Some(state)) = self.mirrors.get(link) {
                assert_eq!(
                    *state,
                    shape.view(&self.tree, &path),
                    "PROTOCOL L6: link {link} at {path:?}"
                );
            }
        }
        // The client closes, which is answered.
        self.send(CLOSE, &1000_u16.to_be_bytes()).await;
        self.expect_close(1000).await;
    }
}

/// A command, parsed without the library.
struct Command {
    text: String,
    number: Option<u64>,
    names: HashSet<String>,
    /// The command's JSON; `Null` when it cannot be read as one value.
    value: Value,
}

/// The commands of a message; `None` when it is not JSON.
fn commands(text: &str) -> Option<Vec<Command>> {
    use serde_json::value::RawValue;
    let one = serde_json::from_str::<&RawValue>(text).ok()?;
    let commands = match one.get().starts_with('[') {
        true => serde_json::from_str::<Vec<&RawValue>>(text).ok()?,
        false => vec![one],
    };
    let command = |command: &RawValue| {
        // A name with half a surrogate is no text, but the other members are read all the same.
        let text = without_halves(command.get());
        let pairs = text.starts_with('{').then(|| members(&text)).flatten().unwrap_or_default();
        let numbers: Vec<&str> =
            pairs.iter().filter(|(name, _)| name == "ref").map(|(_, value)| value.get()).collect();
        let number = match numbers.as_slice() {
            [one] => one.parse().ok().filter(|number| *number <= REF_MAX && !one.starts_with('+')),
            _ => None,
        };
        let value = serde_json::from_str(command.get()).unwrap_or_default();
        let names = pairs.into_iter().map(|(name, _)| name).collect();
        Command { text: command.get().to_owned(), number, names, value }
    };
    Some(commands.into_iter().map(command).collect())
}

/// JSON with U+FFFD for each escape that is half a surrogate pair.
fn without_halves(text: &str) -> String {
    let unit = |escape: &str| {
        let digits = escape.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
    };
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let is_pair = |next: &str| matches!(unit(next), Some(0xdc00..=0xdfff));
        let length = match unit(escape) {
            Some(0xd800..=0xdbff) if is_pair(&escape[6..]) => 12,
            Some(0xd800..=0xdfff) => {
                whole.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            Some(_) => 6,
            // A backslash, and what it escapes.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        whole.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    whole + rest
}

/// The names of a path without escapes.
fn names(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix('/')?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if path.contains('%') {
        return None;
    }
    Some(inner.split('/').filter(|_| path.len() > 1).map(str::to_owned).collect())
}
