//! Eight readers of different kinds follow a recording that is replayed as fast as the server takes
//! it. In the end all hold exactly the answer of a fresh `GET`. None ever holds, at a frame with a
//! cursor, a value that its resource did not have.
//!
//! `HALFPING_RECORDING` names the recording; without it a synthetic one is made, from
//! `HALFPING_SEED` if that is set.

// The client is shared with other tests; the helpers here are tests too.
#![allow(dead_code, clippy::unwrap_used)]

mod common;
#[path = "../../halfping/tests/common/raw.rs"]
mod raw;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use common::{Halfping, halfping};
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use raw::{Connection, Frame, Mirror, Next, Random, Stream};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest time that readers may take to catch up once the replay is over.
const CATCH_UP: Duration = Duration::from_secs(60);
/// The longest time of a replay.
const REPLAY: Duration = Duration::from_secs(300);

#[test]
fn eight_watchers_never_hold_what_was_not_there() {
    // PROTOCOL C4, R4, S3, S5, S8, S9, M2
    let recording = Recording::obtain();
    // A real recording is large enough to come in slices by itself.
    let server = Halfping::serve(
        "eight_watchers",
        if recording.updates > 50_000 { "" } else { "[limits]\nslice_bytes = 4096\n" },
    );
    let address = server.address;
    let end = Arc::new(OnceLock::new());
    // The longer the recording, the longer a reader can pause and still miss something.
    let pause = if recording.updates > 50_000 {
        Duration::from_secs(10)
    } else {
        Duration::from_millis(1500)
    };
    let several = recording.several_paths();
    let kinds: [(&str, Kind); 8] = [
        ("server-sent events", Kind::stream("/aircraft", "text/event-stream")),
        ("lines, of everything", Kind::stream("/", "application/x-ndjson")),
        ("long polls", Kind::LongPoll { target: "/aircraft".to_owned() }),
        ("several paths", Kind::Several { paths: several }),
        ("twice a second", Kind::stream("/aircraft?rate=2", "application/x-ndjson")),
        ("cut at depth 1", Kind::stream("/aircraft?depth=1", "text/event-stream")),
        ("drops and resumes", Kind::Resumes { target: "/aircraft".to_owned() }),
        ("stops reading for a while", Kind::Pauses { target: "/aircraft".to_owned(), pause }),
    ];
    let readers: Vec<_> = kinds
        .into_iter()
        .map(|(name, kind)| {
            let recording = Arc::clone(&recording);
            let end = Arc::clone(&end);
            let reader = thread::Builder::new().name(name.to_owned());
            (name, reader.spawn(move || kind.follow(address, &recording, &end)).unwrap())
        })
        .collect();

    let begun = Instant::now();
    replay(&server, &recording.file);
    let took = begun.elapsed();
    end.set(Instant::now()).unwrap();
    println!(
        "{} updates of {} resources in {took:?}",
        recording.updates,
        recording.resources.len()
    );
    let mut failed = Vec::new();
    for (name, reader) in readers {
        match reader.join() {
            Ok(told) => println!("{name}: {told}"),
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}; what each says is above");
    recording.compare_with_oracle(address);
}

/// Kinds of readers.
enum Kind {
    Stream { target: String, accept: &'static str },
    LongPoll { target: String },
    Several { paths: Vec<String> },
    Resumes { target: String },
    Pauses { target: String, pause: Duration },
}

impl Kind {
    fn stream(target: &str, accept: &'static str) -> Kind {
        Kind::Stream { target: target.to_owned(), accept }
    }

    /// Follows until the replay is over and the state held is that of a fresh `GET`.
    fn follow(self, address: SocketAddr, recording: &Recording, end: &OnceLock<Instant>) -> String {
        match self {
            Kind::Stream { target, accept } => {
                let mut stream = Stream::open(address, &format!("GET {target}\nAccept: {accept}"));
                let mut reader = Reader::new(address, recording, &target);
                while !reader.is_done(end) {
                    match stream.next_within(Duration::from_millis(100)) {
                        Next::Frame(frame) => reader.take(&frame),
                        Next::Nothing => {}
                        Next::End => panic!("the stream ended"),
                    }
                }
                reader.told()
            }
            Kind::Pauses { target, pause } => {
                let request = format!("GET {target}\nAccept: text/event-stream");
                let mut stream = Stream::open(address, &request);
                let mut reader = Reader::new(address, recording, &target);
                let mut pauses = 0;
                let mut seen = 0;
                while !reader.is_done(end) {
                    match stream.next_within(Duration::from_millis(100)) {
                        Next::Frame(frame) => {
                            reader.take(&frame);
                            seen += 1;
                        }
                        Next::Nothing => {}
                        Next::End => panic!("the stream ended"),
                    }
                    // Not a wait for something: this reader is about pauses.
                    if seen > 100 && pauses < 2 {
                        thread::sleep(pause);
                        (pauses, seen) = (pauses + 1, 0);
                    }
                }
                format!("{}, {pauses} pauses", reader.told())
            }
            Kind::Resumes { target } => {
                let mut reader = Reader::new(address, recording, &target);
                let mut resumed = 0;
                while !reader.is_done(end) {
                    let since = reader.cursor.clone().unwrap_or_default();
                    // Both ways to send the cursor, and both formats.
                    let request = match (since.is_empty(), resumed % 3) {
                        (true, _) => format!("GET {target}\nAccept: text/event-stream"),
                        (_, 0) => format!("GET {target}?since={since}\nAccept: text/event-stream"),
                        (_, 1) => format!(
                            "GET {target}\nAccept: text/event-stream\nLast-Event-ID: {since}"
                        ),
                        _ => format!("GET {target}?since={since}\nAccept: application/x-ndjson"),
                    };
                    let mut stream = Stream::open(address, &request);
                    reader.begin_again();
                    let cut = Instant::now() + Duration::from_secs(1);
                    let mut frames = 0;
                    while Instant::now() < cut
                        && frames < 37 + 61 * (resumed % 5)
                        && !reader.is_done(end)
                    {
                        match stream.next_within(Duration::from_millis(50)) {
                            Next::Frame(frame) => {
                                reader.take(&frame);
                                frames += 1;
                            }
                            Next::Nothing => {}
                            Next::End => panic!("the stream ended"),
                        }
                    }
                    resumed += 1;
                }
                format!("{}, {resumed} connections", reader.told())
            }
            Kind::LongPoll { target } => {
                let mut reader = Reader::new(address, recording, &target);
                let mut connection = Connection::open(address);
                let (mut known, mut polls) = (String::new(), 0);
                while !reader.is_done(end) {
                    let condition = match known.as_str() {
                        "" => String::new(),
                        known => format!("\nIf-None-Match: {known}\nPrefer: wait=1"),
                    };
                    let answer = connection.ask(&format!("GET {target}{condition}"));
                    polls += 1;
                    known = answer.header("etag").expect("an ETag").to_owned();
                    let cursor = Some(answer.cursor());
                    match answer.status {
                        200 => {
                            let value = Some(answer.text().to_owned());
                            reader.take(&Frame {
                                kind: "snapshot".to_owned(),
                                value,
                                rev: cursor,
                                ..Frame::default()
                            });
                        }
                        304 => assert_eq!(cursor, reader.cursor, "304 is about what is held"),
                        404 => {
                            reader.take(&Frame {
                                kind: "gone".to_owned(),
                                rev: cursor,
                                ..Frame::default()
                            });
                        }
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
                format!("{}, {polls} polls", reader.told())
            }
            Kind::Several { paths } => several(address, recording, &paths, end),
        }
    }
}

/// Follows several paths on one stream. Whenever there is an `id`, all of them show one state.
fn several(
    address: SocketAddr,
    recording: &Recording,
    paths: &[String],
    end: &OnceLock<Instant>,
) -> String {
    let query: Vec<String> = paths.iter().map(|path| format!("path={path}")).collect();
    let request = format!("GET /_streams?{}\nAccept: text/event-stream", query.join("&"));
    let mut stream = Stream::open(address, &request);
    let mut readers: Vec<Reader<'_>> =
        paths.iter().map(|path| Reader::new(address, recording, path)).collect();
    let mut together = 0;
    while !readers.iter_mut().all(|reader| reader.is_done(end)) {
        let frame = match stream.next_within(Duration::from_millis(100)) {
            Next::Frame(frame) => frame,
            Next::Nothing => continue,
            Next::End => panic!("the stream ended"),
        };
        if let Some(path) = &frame.path {
            let place =
                paths.iter().position(|known| known == path).expect("a path that was asked for");
            // `id:` is about all paths, `rev` about this one.
            readers[place].take(&Frame { id: None, ..frame.clone() });
        }
        if frame.id.is_none() {
            continue;
        }
        together += 1;
        // PROTOCOL M2: a stream of many shows what a stream of each shows.
        let all = readers[0].held();
        for (path, reader) in paths.iter().zip(&readers).skip(1) {
            let name = path.rsplit('/').next().unwrap();
            let in_all = all.as_ref().and_then(|all| all.get(name));
            assert_eq!(in_all, reader.held().as_ref(), "{path} at {}", frame.raw);
        }
    }
    format!("{}, {together} common states", readers[0].told())
}

/// A reader's state of one resource, and the checks of it.
struct Reader<'a> {
    address: SocketAddr,
    recording: &'a Recording,
    /// Path and query, for the `GET` at the end.
    target: String,
    scope: Scope,
    /// The last complete state.
    complete: Mirror,
    /// The state that is being put together from slices.
    partial: Option<Mirror>,
    cursor: Option<String>,
    /// Names whose values came since the last complete state; `None`: any name.
    dirty: Option<HashSet<String>>,
    /// Per resource, the earliest of its values that may come next: no reader goes back in time.
    reached: HashMap<String, usize>,
    frames: usize,
    states: usize,
    last: Option<Value>,
    fresh: Option<(Option<Value>, String)>,
}

/// The place of the recording's resources in a reader's state.
#[derive(Clone, PartialEq)]
enum Scope {
    Root,
    Aircraft { cut: bool },
    One(String),
}

impl<'a> Reader<'a> {
    fn new(address: SocketAddr, recording: &'a Recording, target: &str) -> Reader<'a> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let scope = match path {
            "/" => Scope::Root,
            "/aircraft" => Scope::Aircraft { cut: query.contains("depth=1") },
            other => Scope::One(other.rsplit('/').next().unwrap().to_owned()),
        };
        Reader {
            address,
            recording,
            target: target.to_owned(),
            scope,
            complete: Mirror::default(),
            partial: None,
            cursor: None,
            dirty: None,
            reached: HashMap::new(),
            frames: 0,
            states: 0,
            last: None,
            fresh: None,
        }
    }

    fn held(&self) -> &Option<Value> {
        &self.complete.value
    }

    /// Discards the part that was not complete when the connection was lost.
    fn begin_again(&mut self) {
        self.partial = None;
        self.dirty = None;
    }

    fn take(&mut self, frame: &Frame) {
        self.frames += 1;
        if frame.kind == "synced" {
            assert!(self.partial.is_none(), "synced in the middle of slices");
            // A frame without changes names the same state, perhaps by another cursor.
            self.cursor = frame.cursor().map(str::to_owned);
            return;
        }
        self.note(frame);
        let Some(cursor) = frame.cursor() else {
            if frame.kind == "snapshot" {
                self.cursor = None; // PROTOCOL S5: a reader cut off now starts from nothing.
            }
            self.partial.get_or_insert_with(|| self.complete.clone()).apply(frame);
            return;
        };
        let mut mirror = self.partial.take().unwrap_or_else(|| std::mem::take(&mut self.complete));
        mirror.apply(frame);
        self.complete = mirror;
        self.cursor = Some(cursor.to_owned());
        self.states += 1;
        let dirty = self.dirty.replace(HashSet::new());
        self.check(dirty, frame);
    }

    /// Records the names that a frame changes, so that not everything has to be checked again.
    fn note(&mut self, frame: &Frame) {
        let Some(dirty) = &mut self.dirty else { return };
        let value = || serde_json::from_str::<Value>(frame.value.as_deref().unwrap()).unwrap();
        let inner = |value: Value| match self.scope {
            Scope::Root => value.get("aircraft").cloned().unwrap_or(Value::Null),
            _ => value,
        };
        let all = match (frame.kind.as_str(), &self.scope) {
            (_, Scope::One(_)) => true,
            ("merge", _) => match inner(value()) {
                Value::Object(members) => {
                    dirty.extend(members.keys().cloned());
                    false
                }
                _ => true,
            },
            ("patch", scope) => {
                let level = if *scope == Scope::Root { 2 } else { 1 };
                let mut all = false;
                for operation in value().as_array().unwrap() {
                    let pointer = operation["path"].as_str().unwrap();
                    match pointer.split('/').nth(level) {
                        Some(name) => drop(dirty.insert(name.to_owned())),
                        None => all = true,
                    }
                }
                all
            }
            _ => true,
        };
        if all {
            self.dirty = None;
        }
    }

    /// Checks that each value of a complete state is one that its resource had, and not older than
    /// one seen before.
    fn check(&mut self, dirty: Option<HashSet<String>>, frame: &Frame) {
        let value = self.complete.value.as_ref();
        let cut = self.scope == Scope::Aircraft { cut: true };
        let members = match &self.scope {
            Scope::One(name) => {
                if let Some(value) = value {
                    self.recording.find(&mut self.reached, name, value, false, frame);
                }
                return;
            }
            Scope::Root => value.and_then(|root| root.get("aircraft")),
            Scope::Aircraft { .. } => value,
        };
        let Some(members) = members else { return };
        let members = members.as_object().expect("the aircraft are members of an object");
        match dirty {
            Some(names) => {
                for name in names {
                    // The recording removes nothing.
                    let value = members
                        .get(&name)
                        .unwrap_or_else(|| panic!("{name} is gone at {}", frame.raw));
                    self.recording.find(&mut self.reached, &name, value, cut, frame);
                }
            }
            None => {
                let before = self.last.take();
                for (name, value) in members {
                    if before.as_ref().and_then(|before| before.get(name)) != Some(value) {
                        self.recording.find(&mut self.reached, name, value, cut, frame);
                    }
                }
                assert!(self.reached.len() <= members.len(), "something is gone at {}", frame.raw);
                if frame.kind == "snapshot" {
                    self.last = Some(Value::Object(members.clone()));
                }
            }
        }
    }

    /// Whether the replay is over and the state held is the current one.
    fn is_done(&mut self, end: &OnceLock<Instant>) -> bool {
        let Some(ended) = end.get() else { return false };
        if self.fresh.is_none() {
            let answer =
                Connection::open(self.address).ask(&format!("GET {}", self.target_of_get()));
            let value = (answer.status == 200).then(|| answer.json());
            self.fresh = Some((value, answer.cursor()));
        }
        let (value, cursor) = self.fresh.as_ref().unwrap();
        let is_same = self.partial.is_none() && self.complete.value == *value;
        // PROTOCOL C2, C3: a stream and a GET name the state alike. Changes below a cut are not
        // told; an absence may have got another cursor without a change.
        let may_differ = self.target.contains("depth=") || value.is_none();
        let is_named = may_differ || self.cursor.as_ref() == Some(cursor);
        if is_same && is_named {
            return true;
        }
        let late = ended.elapsed() > CATCH_UP;
        assert!(
            !late,
            "after {CATCH_UP:?}: same value: {is_same}, held {:?}, now {cursor}",
            self.cursor
        );
        false
    }

    fn target_of_get(&self) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        match query.contains("depth=") {
            true => self.target.clone(),
            false => path.to_owned(),
        }
    }

    fn told(&self) -> String {
        format!("{} frames, {} complete states", self.frames, self.states)
    }
}

/// A recording, and the values of each of its resources, in their order.
struct Recording {
    file: PathBuf,
    updates: usize,
    resources: HashMap<String, Vec<Known>>,
}

/// Hashes of a value: whole, and cut.
#[derive(PartialEq)]
struct Known {
    whole: u64,
    cut: u64,
}

#[derive(Deserialize)]
struct Line {
    path: String,
    value: Value,
}

fn hash(value: &Value, cut: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::Object(_) if cut => "{}".hash(&mut hasher),
        // Members of a `Value` are in order of their names.
        value => value.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

impl Recording {
    fn obtain() -> Arc<Recording> {
        let file = match std::env::var_os("HALFPING_RECORDING") {
            Some(file) => PathBuf::from(file),
            None => synthetic(),
        };
        let mut bytes = BufReader::new(std::fs::File::open(&file).unwrap());
        let compressed = bytes.fill_buf().unwrap().starts_with(&[0x1f, 0x8b]);
        let lines: Box<dyn Read> =
            if compressed { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
        let mut recording = Recording { file, updates: 0, resources: HashMap::new() };
        for line in BufReader::new(lines).lines() {
            let line: Line = serde_json::from_str(&line.unwrap()).unwrap();
            let name = line
                .path
                .strip_prefix("/aircraft/")
                .expect("recordings here are of /aircraft/NAME");
            let known = Known { whole: hash(&line.value, false), cut: hash(&line.value, true) };
            recording.resources.entry(name.to_owned()).or_default().push(known);
            recording.updates += 1;
        }
        Arc::new(recording)
    }

    /// All aircraft, three of those with the most updates, and one that does not exist.
    fn several_paths(&self) -> Vec<String> {
        let mut names: Vec<&String> = self.resources.keys().collect();
        names.sort_by_key(|name| (std::cmp::Reverse(self.resources[*name].len()), *name));
        let several = names.into_iter().take(3).map(|name| format!("/aircraft/{name}"));
        ["/aircraft".to_owned()]
            .into_iter()
            .chain(several)
            .chain(["/aircraft/nobody".to_owned()])
            .collect()
    }

    /// Finds a value among the resource's values, from the one that was found last.
    fn find(
        &self,
        reached: &mut HashMap<String, usize>,
        name: &str,
        value: &Value,
        cut: bool,
        frame: &Frame,
    ) {
        let known = self
            .resources
            .get(name)
            .unwrap_or_else(|| panic!("{name} is in no line: {}", frame.raw));
        let from = reached.get(name).copied().unwrap_or(0);
        let wanted = hash(value, cut);
        let is = |known: &Known| if cut { known.cut == wanted } else { known.whole == wanted };
        match known[from..].iter().position(is) {
            Some(later) => drop(reached.insert(name.to_owned(), from + later)),
            None => {
                let earlier = known[..from].iter().any(is);
                let what =
                    if earlier { "had before, but it was newer already" } else { "never had" };
                panic!("{name} {what}: {value}\nat {:.2000}", frame.raw);
            }
        }
    }

    /// Compares the tree with the result of a program that shares no code with the server.
    fn compare_with_oracle(&self, address: SocketAddr) {
        let oracle =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/replay_oracle.py");
        let run = |argument: &std::ffi::OsStr, stdin: &[u8]| {
            let mut child = Command::new("python3")
                .arg(&oracle)
                .arg(argument)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut input = child.stdin.take().unwrap();
            input.write_all(stdin)?;
            drop(input);
            child.wait_with_output()
        };
        let answer = Connection::open(address).ask("GET /");
        let expected = match run(self.file.as_os_str(), b"") {
            Ok(output) => output,
            Err(error) => {
                // Written past the test harness, which would capture it.
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED: the final tree was not compared with conformance/replay_oracle.py: python3: {error}"
                );
                return;
            }
        };
        assert!(expected.status.success() && !expected.stdout.is_empty(), "the oracle failed");
        let ours = run("-".as_ref(), &answer.body).unwrap();
        assert!(ours.status.success(), "the oracle failed on our tree");
        assert!(expected.stdout == ours.stdout, "the final tree is not the oracle's");
    }
}

/// Writes a recording with cases that real ones lack: members that come and go, nulls, resources
/// that change their type.
fn synthetic() -> PathBuf {
    let mut random = Random(raw::seed());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("eight_watchers.ndjson.gz");
    let mut out = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::fast());
    let mut values: Vec<Value> = vec![Value::Null; 300];
    for n in 0..20_000u64 {
        let which = if n < 300 { n as usize } else { random.below(300) as usize };
        let value = &mut values[which];
        let odd = random.below(40);
        if !value.is_object() || odd == 0 {
            *value = match if value.is_object() { random.below(5) } else { 9 } {
                0 => Value::Null,
                1 => json!(n),
                2 => json!([n, null, {"in": [which]}]),
                3 => json!({}),
                4 => json!(format!("text {n} \u{1f6e9} \"quoted\"")),
                _ => {
                    json!({"callsign": format!("TST{which}"), "seq": n, "position": {"latitude": 46.5, "longitude": 7.5}})
                }
            };
        }
        if let Value::Object(members) = value {
            members.insert("seq".to_owned(), json!(n));
            members.insert(
                "position".to_owned(),
                json!({"latitude": 45.0 + random.below(4_000_000) as f64 / 1e6, "longitude": 6.0 + random.below(4_000_000) as f64 / 1e6}),
            );
            let name = format!("m{}", random.below(6));
            match random.below(6) {
                0 => drop(members.insert(name, Value::Null)),
                1 | 2 => drop(members.remove(&name)),
                3 => drop(members.insert(name, json!({"a/b": {"~": null, "n": n}}))),
                4 => drop(members.insert(name, json!({}))),
                _ => drop(members.insert(name, json!(random.below(1000)))),
            }
        }
        let line = json!({"t": 1_700_000_000_000u64 + n, "path": format!("/aircraft/{which:06x}"), "value": value});
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
    file
}

fn replay(server: &Halfping, file: &Path) {
    let to = server.address.to_string();
    let mut command = halfping();
    let mut child =
        command.arg("replay").args(["--to", &to, "--speed", "max"]).arg(file).spawn().unwrap();
    let until = Instant::now() + REPLAY;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > until => {
                child.kill().unwrap();
                panic!("the replay does not end");
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    assert!(status.success(), "{status}");
}
