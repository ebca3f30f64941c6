//! Eight readers of different kinds follow a recording that is replayed as fast as the server takes
//! it. In the end all hold exactly the answer of a fresh `GET`. None ever holds, at a frame with a
//! cursor, a value that its resource did not have.
//!
//! `HALFPING_RECORDING` names the recording; without it a synthetic one is made, from
//! `HALFPING_SEED` if that is set.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Halfping, halfping};
use crate::raw::{Connection, Frame};
use crate::watchers::{self, CATCH_UP, Held, Kind};
use serde_json::Value;

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
        ("several paths", Kind::Several { paths: several, query: "" }),
        ("twice a second", Kind::stream("/aircraft?rate=2", "application/x-ndjson")),
        ("cut at depth 1", Kind::stream("/aircraft?depth=1", "text/event-stream")),
        ("drops and resumes", Kind::Resumes { target: "/aircraft".to_owned() }),
        ("stops reading for a while", Kind::Pauses { target: "/aircraft".to_owned(), pause }),
    ];
    let (followed, ended) = (Arc::clone(&recording), Arc::clone(&end));
    let readers = watchers::start(kinds, move |kind| follow(kind, address, &followed, &ended));

    let begun = Instant::now();
    replay(&server, &recording.file);
    let took = begun.elapsed();
    end.set(Instant::now()).unwrap();
    println!(
        "{} updates of {} resources in {took:?}",
        recording.updates,
        recording.resources.len()
    );
    watchers::join(readers);
    recording.compare_with_oracle(address);
}

fn follow(
    kind: Kind,
    address: SocketAddr,
    recording: &Recording,
    end: &OnceLock<Instant>,
) -> String {
    let new = |target: &str| Reader::new(address, recording, target);
    kind.follow(address, end, new, |readers, frame| {
        // PROTOCOL M2: a stream of many shows what a stream of each shows.
        let (all, others) = readers.split_first().unwrap();
        let all = all.held.complete.value.as_ref();
        for reader in others {
            let name = reader.target.rsplit('/').next().unwrap();
            let in_all = all.and_then(|all| all.get(name));
            let held = reader.held.complete.value.as_ref();
            assert_eq!(in_all, held, "{} at {}", reader.target, frame.raw);
        }
    })
}

/// A reader's state of one resource, and the checks of it.
struct Reader<'a> {
    address: SocketAddr,
    recording: &'a Recording,
    /// Path and query, for the `GET` at the end.
    target: String,
    scope: Scope,
    held: Held,
    /// Names whose values came since the last complete state; `None`: any name.
    dirty: Option<HashSet<String>>,
    /// Per resource, the earliest of its values that may come next: no reader goes back in time.
    reached: HashMap<String, usize>,
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
            held: Held::default(),
            dirty: None,
            reached: HashMap::new(),
            last: None,
            fresh: None,
        }
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
        let value = self.held.complete.value.as_ref();
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

    fn target_of_get(&self) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        match query.contains("depth=") {
            true => self.target.clone(),
            false => path.to_owned(),
        }
    }
}

impl watchers::Reader for Reader<'_> {
    fn take(&mut self, frame: &Frame) {
        if frame.kind != "synced" {
            self.note(frame);
        }
        if self.held.take(frame) {
            let dirty = self.dirty.replace(HashSet::new());
            self.check(dirty, frame);
        }
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    fn begin_again(&mut self) {
        self.held.partial = None;
        self.dirty = None;
    }

    fn is_done(&mut self, end: &OnceLock<Instant>) -> bool {
        let Some(ended) = end.get() else { return false };
        if self.fresh.is_none() {
            let answer =
                Connection::open(self.address).ask(&format!("GET {}", self.target_of_get()));
            let value = (answer.status == 200).then(|| answer.json());
            self.fresh = Some((value, answer.cursor()));
        }
        let (value, cursor) = self.fresh.as_ref().unwrap();
        let is_same = self.held.partial.is_none() && self.held.complete.value == *value;
        // PROTOCOL C2, C3: a stream and a GET name the state alike. Changes below a cut are not
        // told; an absence may have got another cursor without a change.
        let may_differ = self.target.contains("depth=") || value.is_none();
        let is_named = may_differ || self.held.cursor.as_ref() == Some(cursor);
        if is_same && is_named {
            return true;
        }
        let late = ended.elapsed() > CATCH_UP;
        assert!(
            !late,
            "after {CATCH_UP:?}: same value: {is_same}, held {:?}, now {cursor}",
            self.held.cursor
        );
        false
    }

    fn told(&self) -> String {
        format!("{} frames, {} complete states", self.held.frames, self.held.states)
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
        let file = watchers::recording("eight_watchers", 20_000);
        let mut recording = Recording { file, updates: 0, resources: HashMap::new() };
        for line in watchers::lines(&recording.file.clone()) {
            let known = Known { whole: hash(&line.value, false), cut: hash(&line.value, true) };
            recording.resources.entry(line.name().to_owned()).or_default().push(known);
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
