//! Eight readers of different kinds follow views of a recording while it is written: conditions,
//! orders with limits, selections, numbers. Each state that one holds at a cursor is what its view
//! was at that cursor, found by a model that shares no code with the server; in the end all hold
//! exactly the answer of a fresh `GET` of the same URL.
//!
//! The recording is written in its order on one connection, each update without waiting for the one
//! before. So the state at each cursor is known.
//!
//! `HALFPING_RECORDING` names the recording; without it a synthetic one is made, from
//! `HALFPING_SEED` if that is set.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::common::Halfping;
use crate::raw::{self, Connection, DEADLINE, Frame};
use crate::watchers::{self, CATCH_UP, Held, Kind};
use serde_json::{Map, Value, json};

/// Updates that may be unanswered.
const WINDOW: usize = 200;

#[test]
fn eight_watchers_of_views_never_hold_what_a_view_was_not() {
    // PROTOCOL Q1 to Q7, Q11 to Q14
    let file = watchers::recording("eight_views", 10_000);
    let updates: Vec<(String, Value)> =
        watchers::lines(&file).map(|line| (line.name().to_owned(), line.value)).collect();
    let server = Halfping::serve("eight_views", "[limits]\nslice_bytes = 4096\n");
    let address = server.address;
    let past = Arc::new(Past::new(updates));
    past.learn(Connection::open(address).ask("GET /").cursor(), 0);
    let end = Arc::new(OnceLock::new());
    let several = ["/aircraft", "/aircraft/nobody"].map(str::to_owned);
    let events = "text/event-stream";
    let kinds: [(&str, Kind); 9] = [
        ("server-sent events", Kind::stream(FAST, events)),
        ("lines, of the first", Kind::stream(FIRST, "application/x-ndjson")),
        ("long polls", Kind::LongPoll { target: LOW.to_owned() }),
        ("several paths", Kind::Several { paths: several.into(), query: BY_NAME }),
        ("twice a second", Kind::stream(&format!("{FIRST}&rate=2"), "application/x-ndjson")),
        ("cut at depth 1", Kind::stream(&format!("{FAST}&depth=1"), events)),
        ("drops and resumes", Kind::Resumes { target: FAST_FIRST.to_owned() }),
        (
            "stops reading for a while",
            Kind::Pauses { target: PARTS.to_owned(), pause: Duration::from_millis(700) },
        ),
        ("a number, event by event", Kind::stream(LOW, events)),
    ];
    let (followed, ended) = (Arc::clone(&past), Arc::clone(&end));
    let readers = watchers::start(kinds, move |kind| {
        let new = |target: &str| Reader::new(address, &followed, target);
        kind.follow(address, &ended, new, |_, _| ())
    });

    write(address, &past);
    end.set(Instant::now()).unwrap();
    watchers::join(readers);
}

const FAST: &str = "/aircraft?where=groundspeed_kt%3E300";
const FIRST: &str = "/aircraft?order=-groundspeed_kt&limit=20";
const LOW: &str = "/aircraft?where=altitude_ft%3C30000&count=true";
const BY_NAME: &str = "limit=10&select=callsign";
const FAST_FIRST: &str =
    "/aircraft?where=groundspeed_kt%3E300&order=altitude_ft,-groundspeed_kt&limit=15";
const PARTS: &str = "/aircraft?select=callsign,altitude_ft";

/// Writes the updates, and learns which state has which cursor.
fn write(address: SocketAddr, past: &Past) {
    let mut connection = Connection::open(address);
    let mut answered = 0;
    for sent in 0..=past.updates.len() {
        while answered < sent.saturating_sub(WINDOW) || (sent == past.updates.len()) {
            if answered == past.updates.len() {
                return;
            }
            let answer = connection.answer(false);
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
            answered += 1;
            past.learn(answer.cursor(), answered);
        }
        let (name, value) = &past.updates[sent];
        connection.send(&raw::request(&format!("PUT /aircraft/{name}\n\n{value}")));
    }
}

/// All updates, and the states that cursors name: after so many of them.
struct Past {
    updates: Vec<(String, Value)>,
    cursors: Mutex<HashMap<String, usize>>,
    learned: Condvar,
}

impl Past {
    fn new(updates: Vec<(String, Value)>) -> Past {
        Past { updates, cursors: Mutex::default(), learned: Condvar::new() }
    }

    /// Notes a cursor. An update that changes nothing has that of an older state.
    fn learn(&self, cursor: String, updates: usize) {
        self.cursors.lock().unwrap().entry(cursor).or_insert(updates);
        self.learned.notify_all();
    }

    /// The state that a cursor names, once its write was answered.
    fn find(&self, cursor: &str) -> usize {
        let cursors = self.cursors.lock().unwrap();
        let is_new = |cursors: &mut HashMap<String, usize>| !cursors.contains_key(cursor);
        let (cursors, _) = self.learned.wait_timeout_while(cursors, DEADLINE, is_new).unwrap();
        *cursors.get(cursor).unwrap_or_else(|| panic!("{cursor} is the state of no update"))
    }
}

fn number(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64)
}

/// A view, done the slow way.
struct View {
    is_shown: fn(&Value) -> bool,
    /// Members to sort by; true for descending.
    order: &'static [(&'static str, bool)],
    limit: usize,
    select: Option<&'static [&'static str]>,
    count: bool,
    cut: bool,
}

impl View {
    fn of(query: &str) -> View {
        let has = |part: &str| query.contains(part);
        const FAST_FIRST: &[(&str, bool)] = &[("altitude_ft", false), ("groundspeed_kt", true)];
        View {
            is_shown: match () {
                () if has("groundspeed_kt%3E300") => {
                    |value| number(value, "groundspeed_kt").is_some_and(|speed| speed > 300.0)
                }
                () if has("altitude_ft%3C30000") => {
                    |value| number(value, "altitude_ft").is_some_and(|feet| feet < 30_000.0)
                }
                () => |_| true,
            },
            order: match () {
                () if has("order=altitude_ft,-groundspeed_kt") => FAST_FIRST,
                () if has("order=-groundspeed_kt") => &FAST_FIRST[1..],
                () => &[],
            },
            limit: match () {
                () if has("limit=20") => 20,
                () if has("limit=15") => 15,
                () if has("limit=10") => 10,
                () => usize::MAX,
            },
            select: match () {
                () if has("select=callsign,altitude_ft") => Some(&["callsign", "altitude_ft"]),
                () if has("select=callsign") => Some(&["callsign"]),
                () => None,
            },
            count: has("count=true"),
            cut: has("depth=1"),
        }
    }

    fn show(&self, aircraft: &BTreeMap<&str, &Value>) -> Value {
        let shown = aircraft.iter().filter(|(_, value)| (self.is_shown)(value));
        // In order of their names.
        let mut shown: Vec<(&str, &Value)> = shown.map(|(name, value)| (*name, *value)).collect();
        if self.count {
            return json!(shown.len());
        }
        // A stable sort, which leaves equal ones in that order.
        shown.sort_by(|(_, a), (_, b)| self.compare(a, b));
        shown.truncate(self.limit);
        let part = |value: &Value| match (value, self.select) {
            (Value::Object(_), _) if self.cut => json!({}),
            (Value::Object(members), Some(names)) => Value::Object(
                names
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), members.get(*name)?.clone())))
                    .collect::<Map<String, Value>>(),
            ),
            _ => value.clone(),
        };
        Value::Object(shown.iter().map(|(name, value)| ((*name).to_owned(), part(value))).collect())
    }

    fn compare(&self, a: &Value, b: &Value) -> Ordering {
        let columns = self.order.iter().map(|(name, descending)| {
            // What is not there comes first, then null.
            let key = |value: &Value| {
                value.get(*name).map(|found| (!found.is_null()).then(|| found.as_f64().unwrap()))
            };
            let ordering = key(a).partial_cmp(&key(b)).unwrap();
            if *descending { ordering.reverse() } else { ordering }
        });
        columns.fold(Ordering::Equal, Ordering::then)
    }
}

/// A reader's state of a view, and the state of all aircraft at the same time.
struct Reader<'a> {
    address: SocketAddr,
    past: &'a Past,
    target: String,
    view: View,
    /// The path's name beneath `/aircraft`, if it is of one of them.
    one: Option<String>,
    held: Held,
    aircraft: BTreeMap<&'a str, &'a Value>,
    updates: usize,
    fresh: Option<Option<Value>>,
}

impl<'a> Reader<'a> {
    fn new(address: SocketAddr, past: &'a Past, target: &str) -> Reader<'a> {
        let (path, query) = target.split_once('?').unwrap();
        Reader {
            address,
            past,
            target: target.to_owned(),
            view: View::of(query),
            one: path.strip_prefix("/aircraft/").map(str::to_owned),
            held: Held::default(),
            aircraft: BTreeMap::new(),
            updates: 0,
            fresh: None,
        }
    }

    /// The view after so many updates.
    fn at(&mut self, updates: usize) -> Option<Value> {
        assert!(updates >= self.updates, "{} goes back in time", self.target);
        for (name, value) in &self.past.updates[self.updates..updates] {
            self.aircraft.insert(name, value);
        }
        self.updates = updates;
        let is_there = updates > 0 && self.one.is_none();
        is_there.then(|| self.view.show(&self.aircraft))
    }
}

impl watchers::Reader for Reader<'_> {
    fn take(&mut self, frame: &Frame) {
        if !self.held.take(frame) {
            return;
        }
        let updates = self.past.find(frame.cursor().unwrap());
        let expected = self.at(updates);
        let held = &self.held.complete.value;
        assert!(
            *held == expected,
            "{} after {updates} updates is {held:?}, not {expected:?}, at {:.2000}",
            self.target,
            frame.raw
        );
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    fn is_done(&mut self, end: &OnceLock<Instant>) -> bool {
        let Some(ended) = end.get() else { return false };
        let fresh = self.fresh.get_or_insert_with(|| {
            let target = self.target.replace("&rate=2", "");
            let answer = Connection::open(self.address).ask(&format!("GET {target}"));
            (answer.status == 200).then(|| answer.json())
        });
        let is_same = self.held.partial.is_none() && self.held.complete.value == *fresh;
        assert!(is_same || ended.elapsed() < CATCH_UP, "after {CATCH_UP:?}: {}", self.target);
        is_same
    }

    fn told(&self) -> String {
        format!("{} frames, {} states, each as the view was", self.held.frames, self.held.states)
    }
}
