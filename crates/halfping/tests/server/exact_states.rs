//! Readers of all kinds beside a writer that makes all kinds of writes. At every cursor, each
//! reader holds exactly the state that the cursor names.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::raw::{Connection, DEADLINE, Frame, Mirror, Next, Random, Stream, seed};
use crate::common::{runtime, serve_limited};
use halfping::{Api, Commit};
use serde_json::{Value, json};

const COMMITS: u64 = 3000;
/// Mark of the last commit, by which a reader knows that it has everything.
const LAST: &str = "the last";

/// The states of the tree, by their cursors.
#[derive(Default)]
struct History {
    states: Mutex<HashMap<String, Arc<Value>>>,
    more: Condvar,
}

impl History {
    fn add(&self, cursor: String, tree: Arc<Value>) {
        self.states.lock().unwrap().insert(cursor, tree);
        self.more.notify_all();
    }

    /// The state at a cursor. A reader may be told of it before the writer has recorded it.
    #[track_caller]
    fn at(&self, cursor: &str) -> Arc<Value> {
        let until = Instant::now() + DEADLINE;
        let mut states = self.states.lock().unwrap();
        loop {
            if let Some(tree) = states.get(cursor) {
                return Arc::clone(tree);
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no state is named {cursor}");
            states = self.more.wait_timeout(states, left).unwrap().0;
        }
    }
}

/// A reader's view of one path.
struct View {
    pointer: &'static str,
    depth: u32,
    complete: Mirror,
    partial: Option<Mirror>,
}

impl View {
    fn new(pointer: &'static str, depth: u32) -> View {
        View { pointer, depth, complete: Mirror::default(), partial: None }
    }

    /// Applies a frame; one with a cursor makes the state complete.
    fn take(&mut self, frame: &Frame, complete: bool) {
        let mut mirror = self.partial.take().unwrap_or_else(|| self.complete.clone());
        mirror.apply(frame);
        match complete {
            true => self.complete = mirror,
            false => self.partial = Some(mirror),
        }
    }

    #[track_caller]
    fn is(&self, tree: &Value, why: &str) {
        let there = tree.pointer(self.pointer).map(|value| cut(value, self.depth));
        assert!(self.partial.is_none(), "slices are missing, {why}");
        assert_eq!(self.complete.value, there, "{} {why}", self.pointer);
    }

    fn is_last(&self) -> bool {
        let end = Some(LAST);
        self.complete
            .value
            .as_ref()
            .is_some_and(|value| value.as_str() == end || value["end"].as_str() == end)
    }
}

/// PROTOCOL R5
fn cut(value: &Value, depth: u32) -> Value {
    match value {
        Value::Object(_) if depth == 0 => json!({}),
        Value::Object(members) => {
            members.iter().map(|(name, v)| (name.clone(), cut(v, depth - 1))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn at_a_cursor_a_reader_holds_what_the_cursor_names() {
    // PROTOCOL S2, S3, S4, S5, S6, S8, S9, R4, R5, C3, C4, M2, M3
    let seed = seed();
    let server = serve_limited(|limits| {
        (limits.slice_bytes, limits.ahead_bytes, limits.tombstones_per_object) = (1024, 8192, 8);
    });
    let history = Arc::new(History::default());
    let first = server.talk().ask("GET /");
    history.add(first.cursor(), Arc::new(first.json()));
    let address = server.address;
    let mut readers = Vec::new();
    let mut read = |name: &str, reader: Box<dyn FnOnce(&History) + Send>| {
        let history = Arc::clone(&history);
        let thread = thread::Builder::new().name(name.to_owned());
        readers.push((name.to_owned(), thread.spawn(move || reader(&history)).unwrap()));
    };
    let one = |target: &'static str, pointer: &'static str, depth: u32, slow: u64| {
        move |history: &History| {
            let mut stream = Stream::open(address, &format!("GET {target}"));
            follow(&mut stream, View::new(pointer, depth), history, slow, usize::MAX);
        }
    };
    read("everything", Box::new(one("/?watch", "", u32::MAX, 0)));
    read("one member", Box::new(one("/r?watch", "/r", u32::MAX, 0)));
    read("deeper", Box::new(one("/r/a?watch", "/r/a", u32::MAX, 0)));
    read("slowly", Box::new(one("/?watch", "", u32::MAX, 5)));
    read("whole values", Box::new(one("/r?watch&delta=false", "/r", u32::MAX, 0)));
    read("at a rate", Box::new(one("/r?watch&rate=50", "/r", u32::MAX, 0)));
    read("cut at 1", Box::new(one("/r?watch&depth=1", "/r", 1, 0)));
    read("cut at 2", Box::new(one("/?watch&depth=2", "", 2, 2)));
    read("in pieces", Box::new(move |history| resumes(address, !seed, false, history)));
    read(
        "in pieces that are kept",
        Box::new(move |history| resumes(address, seed.wrapping_add(1), true, history)),
    );
    read("polls", Box::new(move |history| polls(address, history)));
    read("several", Box::new(move |history| several(address, history)));

    write(&server.api, &history, Random(seed));
    let failed: Vec<String> = readers
        .into_iter()
        .filter_map(|(name, reader)| reader.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "seed {seed}: {failed:?} failed; what each says is above");
}

/// Follows one path until the last commit is seen, or for this many frames. Returns the state held,
/// and its cursor.
fn follow(
    stream: &mut Stream,
    mut view: View,
    history: &History,
    slow: u64,
    frames: usize,
) -> (View, Option<String>) {
    let mut cursor: Option<String> = None;
    let mut earlier = 0;
    for _ in 0..frames {
        if view.is_last() && view.partial.is_none() {
            break;
        }
        let frame = match stream.next_within(DEADLINE) {
            Next::Frame(frame) => frame,
            other => panic!("{other:?} after {cursor:?}"),
        };
        if frame.kind != "synced" {
            view.take(&frame, frame.cursor().is_some());
        }
        if frame.kind == "snapshot" && frame.cursor().is_none() {
            cursor = Some(String::new()); // PROTOCOL S5: from nothing, then
        }
        if let Some(at) = frame.cursor() {
            view.is(&history.at(at), &format!("at {}", frame.raw));
            let number = at.split_once('.').unwrap().1.parse::<u64>().unwrap();
            assert!(number >= earlier, "the cursor goes back");
            (cursor, earlier) = (Some(at.to_owned()), number);
        }
        // A reader that is slow on purpose.
        thread::sleep(Duration::from_millis(slow));
    }
    (view, cursor)
}

/// Reads some frames, and resumes on another connection with the last cursor. Slices of a change
/// that was not complete are kept or discarded: either way the next change is right.
fn resumes(address: std::net::SocketAddr, seed: u64, keeps: bool, history: &History) {
    let mut random = Random(seed);
    let mut view = View::new("/r", u32::MAX);
    let mut since: Option<String> = None;
    while !view.is_last() {
        let request = match &since {
            None => "GET /r?watch".to_owned(),
            Some(nothing) if nothing.is_empty() => "GET /r?watch".to_owned(),
            Some(since) if random.below(2) == 0 => format!("GET /r?watch&since={since}"),
            Some(since) => format!("GET /r\nAccept: text/event-stream\nLast-Event-ID: {since}"),
        };
        let mut stream = Stream::open(address, &request);
        let cursor;
        (view, cursor) = follow(&mut stream, view, history, 0, 1 + random.below(60) as usize);
        let partial = view.partial.take();
        if keeps {
            view.complete = partial.unwrap_or(view.complete);
        }
        since = cursor.or(since);
    }
}

fn polls(address: std::net::SocketAddr, history: &History) {
    let mut connection = Connection::open(address);
    let mut known = String::new();
    let mut value = None;
    while value != Some(json!(LAST)) {
        let answer = match known.as_str() {
            "" => connection.ask("GET /r/end"),
            known => {
                connection.ask(&format!("GET /r/end\nIf-None-Match: \"{known}\"\nPrefer: wait=5"))
            }
        };
        value = match answer.status {
            200 => Some(answer.json()),
            404 => None,
            304 => value,
            other => panic!("{other}"),
        };
        assert_eq!(value.as_ref(), history.at(&answer.cursor()).pointer("/r/end"), "{answer:?}");
        known = answer.cursor();
        let other = connection.ask("GET /r");
        let tree = history.at(&other.cursor());
        assert_eq!(
            (other.status == 200).then(|| other.json()).as_ref(),
            tree.pointer("/r"),
            "{other:?}"
        );
    }
}

fn several(address: std::net::SocketAddr, history: &History) {
    let paths = ["/r", "/r/a", "/s/b", "/none", "/r/end"];
    let query: Vec<String> = paths.iter().map(|path| format!("path={path}")).collect();
    let request = format!("GET /_streams?{}\nAccept: text/event-stream", query.join("&"));
    let mut stream = Stream::open(address, &request);
    let mut views = paths.map(|path| View::new(path, u32::MAX));
    while !views[4].is_last() {
        let frame = stream.next();
        if let Some(path) = &frame.path {
            let view = views.iter_mut().find(|view| view.pointer == path).unwrap();
            view.take(&frame, frame.rev.is_some());
            if let Some(rev) = &frame.rev {
                view.is(&history.at(rev), &format!("at {}", frame.raw));
            }
        }
        if let Some(id) = &frame.id {
            let tree = history.at(id);
            views.iter().for_each(|view| view.is(&tree, &format!("at {}", frame.raw)));
        }
    }
}

/// Makes all kinds of writes, and records the state after each commit.
fn write(api: &Api, history: &History, mut random: Random) {
    let runtime = runtime();
    let note =
        |cursor: String| history.add(cursor, Arc::new(api.get::<Value>("/").unwrap().unwrap()));
    let mut noted = 0;
    for n in 0..COMMITS {
        let mut commit = Commit::new();
        for _ in 0..=random.below(3) {
            commit = match random.below(100) {
                0 => commit.put("/r", &large(&mut random, n)),
                1 => commit.put("/s", &large(&mut random, n)),
                2 => commit.put("/r", &n),
                3 => commit.delete("/r"),
                4 => commit.put("/r", &Value::Null),
                5..20 => commit.delete(&path(&mut random)),
                20..40 => commit.merge(&path(&mut random), &small(&mut random, n)),
                _ => commit.put(&path(&mut random), &small(&mut random, n)),
            };
        }
        // Some commits are refused: nothing changes then, and readers must not be told anything.
        if let Ok(written) = runtime.block_on(api.commit(commit)) {
            let newest =
                written.into_iter().map(|w| w.cursor).max_by_key(|cursor| number(cursor)).unwrap();
            // A commit that changes nothing has no state of its own (PROTOCOL V5).
            if number(&newest) > noted {
                noted = number(&newest);
                note(newest);
            }
        }
        // Slow enough that readers can see some of the states.
        if n % 16 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    // Every path that is followed ends in a state that its reader recognises.
    let last = Commit::new().put("/r", &json!({"end": LAST, "a": LAST})).put("/end", LAST);
    note(runtime.block_on(api.commit(last)).unwrap().remove(0).cursor);
}

fn number(cursor: &str) -> u64 {
    cursor.split_once('.').unwrap().1.parse().unwrap()
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "end"];

fn path(random: &mut Random) -> String {
    let mut path = if random.below(4) == 0 { "/s".to_owned() } else { "/r".to_owned() };
    for _ in 0..1 + random.below(3) {
        path = format!("{path}/{}", NAMES[random.below(6) as usize]);
    }
    if random.below(3) == 0 {
        path = format!("{path}/k{}", random.below(60));
    }
    path
}

fn small(random: &mut Random, n: u64) -> Value {
    let name = NAMES[random.below(6) as usize];
    match random.below(9) {
        0 => Value::Null,
        1 => json!({}),
        2 => json!({ name: n }),
        3 => json!({ name: null, "~/\"": { "x": n } }),
        4 => json!({ name: { "a": { "b": n } }, "k1": null }),
        5 => json!([n, { "a": null }]),
        6 => json!(format!("{n} \u{e4}\n{}", "x".repeat(random.below(200) as usize))),
        7 => large(random, n),
        _ => json!(n),
    }
}

/// A value that comes in several slices.
fn large(random: &mut Random, n: u64) -> Value {
    let count = random.below(90);
    let member = |i: u64| match (i + n) % 7 {
        0 => Value::Null,
        1 => json!({ "a": i, "b": { "c": null, "n": n } }),
        _ => json!(format!("{i} {n} {}", "y".repeat(30))),
    };
    (0..count).map(|i| (format!("k{i}"), member(i))).collect()
}
