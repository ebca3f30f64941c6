//! Scripts: the events of a world as data, made from a seed first, then performed. Any part of a
//! script is a script, so that one that fails can be made shorter. The object of an operation is
//! found when it is performed: a number stands for one of those that there are then.

use std::fmt;

use halfping_engine::Limits;
use serde_json::{Map, Value, json};

use crate::disk::AfterSync;
use crate::model::{Act, Names, VIEWS};
use crate::random::Random;

/// Settings of a world.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// True for the real store on a virtual disk; else a journal in memory.
    pub(crate) store: bool,
    /// The ephemeral regions at first: one of [`REGIONS`].
    pub(crate) regions: usize,
    /// Bytes and commits in the log after which there is a checkpoint.
    pub(crate) log: (usize, usize),
    /// Revisions left free for ephemeral commits before each durable one.
    pub(crate) room: u64,
    /// Links marked, and slots of garbage taken apart, at a time.
    pub(crate) pace: (usize, usize, usize),
    /// Bytes on their way to one client.
    pub(crate) window: usize,
    /// True if the server keeps its own state.
    pub(crate) own: bool,
}

pub(crate) const REGIONS: [&[&str]; 7] =
    [&[], &["/e"], &["/v/*/p"], &["/e", "/v/*/p"], &["/a/b"], &["/*/p"], &["/e", "/b"]];

#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) operations: Vec<Operation>,
}

/// A condition of a write.
#[derive(Clone, Debug)]
pub(crate) enum If {
    Nothing,
    Exists,
    Absent,
    /// The resource has the ETag that it has now.
    Current,
    /// The resource has an ETag that was given for it once.
    Former(usize),
    /// The resource has not changed since the newest state that anybody was told of.
    Newest,
    /// The resource does not have the ETag that it has now.
    NotCurrent,
}

#[derive(Clone, Debug)]
pub(crate) struct Writing {
    pub(crate) path: Names,
    pub(crate) act: Act,
    pub(crate) condition: If,
}

/// Fate of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Works,
    /// It fails at this access to the disk. In memory: `landed` tells whether it is there all the
    /// same.
    Fails {
        access: usize,
        full: bool,
        landed: bool,
    },
    /// A sync fails: it is not known how much of it is on disk.
    FailsSync {
        after: AfterSync,
    },
    /// Power fails at this access to the disk.
    Crashes {
        access: usize,
        seed: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Watching {
    pub(crate) tag: u32,
    pub(crate) path: Names,
    pub(crate) depth: u32,
    /// One of [`VIEWS`].
    pub(crate) view: usize,
    pub(crate) whole: bool,
    pub(crate) interval_ms: u64,
    pub(crate) priority: u8,
    /// A cursor that was given once, if any, with the value that came with it.
    pub(crate) since: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Commit(Vec<Writing>),
    /// A commit to two resources that are always equal.
    Pair(u64),
    /// The server's own state becomes this.
    Own(Value),
    Begin,
    End(Fate),
    Recover(Fate),
    Tick(u64),
    Connect(usize),
    Watch(usize, Watching),
    Unwatch(usize, usize),
    /// The server makes a message of so many frames at most, if there is room.
    Send(usize, usize),
    /// Some bytes arrive at a client.
    Arrive(usize, usize),
    Cut(usize),
    Read(Names),
    /// Resumes with a cursor that was given once, and with the value of a later one.
    Probe(usize, usize),
    /// A slow reader of a collection that never rests, or of what holds it.
    Queue {
        is_nested: bool,
    },
    Rest,
    /// Power fails. `landed`: the transaction being written is there. `open`: the fate of opening
    /// it.
    Crash {
        landed: bool,
        seed: u64,
        regions: Option<usize>,
        open: Fate,
    },
    Stop {
        regions: Option<usize>,
        open: Fate,
    },
    /// A new, empty store in the place of this one.
    Wipe {
        seed: u64,
    },
}

/// Effects that a failed sync may have here. [`AfterSync::Forgotten`] is not among them: no program
/// that goes on can know of it.
const SYNCS: [AfterSync; 3] = [AfterSync::Landed, AfterSync::Kept, AfterSync::Dropped];
pub(crate) const CLIENTS: usize = 4;
const TOPS: [&str; 5] = ["a", "b", "v", "e", "big"];
const NAMES: [&str; 10] = ["a", "b", "p", "q", "", "ä/~ \"", "n\0l", "n", "list", "\u{7f}"];

pub(crate) fn generate(seed: u64) -> Script {
    let random = &mut Random::new(seed);
    let small = random.one_in(2);
    let limits = Limits::default().with(|limits| {
        limits.tombstones_per_object = *random.pick(&[1024, 6, 2, 0]);
        limits.tombstones = *random.pick(&[1_000_000, 1_000_000, 12]);
        limits.slice_bytes = *random.pick(&[1 << 16, 1 << 12, 300, 48]);
        limits.members_per_object = if random.one_in(8) { 12 } else { 1_000_000 };
        limits.tree_bytes = if random.one_in(8) { 6000 } else { 2 << 30 };
        limits.shared_encoding_bytes = *random.pick(&[64 << 20, 500, 0]);
    });
    let theme = *random.pick(&[Theme::All, Theme::All, Theme::Large, Theme::Ephemeral, Theme::Few]);
    let has_regions = random.one_in(2);
    let settings = Settings {
        limits,
        store: random.one_in(8),
        regions: if has_regions { 1 + random.below(REGIONS.len() - 1) } else { 0 },
        log: match theme {
            // This theme is about checkpoints.
            Theme::Large => *random.pick(&[(0, 0), (1 << 20, 1)]),
            _ => {
                *random.pick(&[(1 << 20, 1024), (1 << 12, 64), (1 << 20, 4), (1 << 20, 1), (0, 0)])
            }
        },
        room: *random.pick(&[1 << 16, 3, 1]),
        window: *random.pick(&[1 << 16, 2000, 100, 1]),
        own: seed.is_multiple_of(3),
        pace: [(8192, 4096, 65_536), (1, 1, 1), (3, 2, 70)][(seed % 5 % 3) as usize],
    };
    // Some worlds are calm, so that much is written between restarts; in some hardly anything
    // works.
    let trouble = match theme {
        Theme::Large => *random.pick(&[4usize, 8]),
        _ => *random.pick(&[4usize, 12, 40, 200]),
    };
    let regions = has_regions && random.one_in(2);
    let count = if settings.store {
        20 + random.below(140)
    } else {
        20 + random.below(*random.clone().pick(&[120, 250, 600]))
    };
    let calm = *random.pick(&[1, 3, 10]);
    let maker = &mut Maker { random, small, trouble, theme, calm, changes_regions: regions };
    let mut operations = Vec::new();
    while operations.len() < count {
        maker.operation(&mut operations);
    }
    if settings.own {
        operations = with_own(operations, &mut Random::new(!seed));
    }
    if seed % 4 < 2 {
        operations = with_views(operations, &mut Random::new(seed.rotate_left(32)));
    }
    Script { seed, settings, operations }
}

/// Adds clients that look through views, and changes of what the views show.
fn with_views(operations: Vec<Operation>, random: &mut Random) -> Vec<Operation> {
    let mut all = Vec::new();
    let places: [&[&str]; 5] = [&[], &["a"], &["v"], &["big"], &["a", "b"]];
    for operation in operations {
        let place = random.pick(&places).iter().map(|name| (*name).to_owned());
        if random.one_in(3) {
            let path = place.clone().chain([(*random.pick(&["a", "b", "p"])).to_owned()]).collect();
            let member = json!({ "p": random.below(4), "q": random.below(3) });
            let act = match random.below(8) {
                0 | 1 => Act::Put(member),
                2 => Act::Merge(json!({ "p": null, "b": { "p": random.below(4) } })),
                3 | 4 => Act::Delete,
                _ => Act::Merge(json!({ (*random.pick(&["p", "q"])): random.below(4) })),
            };
            all.push(Operation::Commit(vec![Writing { path, act, condition: If::Nothing }]));
        }
        if random.one_in(8) {
            let watching = Watching {
                tag: random.below(6) as u32,
                path: place.collect(),
                depth: if random.one_in(6) { random.below(4) as u32 } else { u32::MAX },
                view: 1 + random.below(VIEWS.len() - 1),
                whole: random.one_in(8),
                interval_ms: if random.one_in(4) { 1 + random.below(80) as u64 } else { 0 },
                priority: 0,
                since: random.one_in(3).then(|| random.below(64)),
            };
            all.push(Operation::Watch(random.below(CLIENTS), watching));
        }
        all.push(operation);
    }
    all
}

/// Adds changes of the server's own state in between, and clients that watch it.
fn with_own(operations: Vec<Operation>, random: &mut Random) -> Vec<Operation> {
    let mut all = Vec::new();
    for operation in operations {
        if random.one_in(4) {
            let (name, n) = (*random.pick(&["a", "b", "p"]), random.below(9));
            let inner = if random.one_in(2) { json!({ "x": n, "n": null }) } else { json!(n) };
            all.push(Operation::Own(json!({ "now": random.below(1000), "s": { name: inner } })));
        }
        if random.one_in(12) {
            let path = &["_server", "s", "a"][..1 + random.below(3)];
            let watching = Watching {
                tag: random.below(6) as u32,
                path: path.iter().map(|name| (*name).to_owned()).collect(),
                depth: if random.one_in(4) { random.below(4) as u32 } else { u32::MAX },
                view: 0,
                whole: random.one_in(8),
                interval_ms: if random.one_in(3) { 1 + random.below(80) as u64 } else { 0 },
                priority: 0,
                since: random.one_in(4).then(|| random.below(64)),
            };
            all.push(Operation::Watch(random.below(CLIENTS), watching));
        }
        if random.one_in(6) {
            all.push(Operation::Probe(random.below(64), random.below(64)));
        }
        all.push(operation);
    }
    all
}

/// Theme of a world: the place where most of its writes go.
#[derive(Clone, Copy, PartialEq)]
enum Theme {
    All,
    /// One object of many members, which comes to have rows of its own.
    Large,
    /// The region that is ephemeral in most worlds that have one.
    Ephemeral,
    /// A few places, so that much happens to each.
    Few,
}

struct Maker<'r> {
    random: &'r mut Random,
    small: bool,
    theme: Theme,
    /// Factor by which restarts are rarer.
    calm: usize,
    trouble: usize,
    changes_regions: bool,
}

impl Maker<'_> {
    fn operation(&mut self, out: &mut Vec<Operation>) {
        let client = self.random.below(CLIENTS);
        let operation = match self.random.below(100) {
            0..=19 => Operation::Commit(self.writes()),
            28..=30 => Operation::Pair(self.random.below(1000) as u64),
            31..=38 => Operation::Begin,
            39..=46 => Operation::End(self.fate()),
            20..=27 | 47..=50 => {
                // A commit from first to last, which somebody is told of.
                out.push(Operation::Commit(self.writes()));
                out.push(Operation::Begin);
                out.push(Operation::End(self.fate()));
                out.push(Operation::Send(client, 1 + self.random.below(6)));
                Operation::Arrive(client, *self.random.pick(&[20, 1 << 20]))
            }
            51..=52 => Operation::Recover(self.fate()),
            53..=55 => Operation::Tick(1 + self.random.below(60) as u64),
            56..=58 => Operation::Connect(client),
            59..=65 => Operation::Watch(client, self.watching()),
            66 => Operation::Unwatch(client, self.random.below(8)),
            67..=77 => Operation::Send(client, 1 + self.random.below(6)),
            78..=87 => Operation::Arrive(client, *self.random.pick(&[1, 20, 200, 2000, 1 << 20])),
            88..=89 => {
                out.push(Operation::Cut(client));
                Operation::Connect(client)
            }
            90..=91 => Operation::Read(self.path()),
            92..=93 => Operation::Probe(self.random.below(64), self.random.below(64)),
            94 if self.random.one_in(2) => Operation::Queue { is_nested: self.random.one_in(2) },
            94 => Operation::Rest,
            95..=97 if self.random.one_in(self.calm) => {
                let regions = self.regions();
                let seed = self.random.next();
                let landed = self.random.one_in(2);
                Operation::Crash { landed, seed, regions, open: self.fate() }
            }
            98 if self.random.one_in(self.calm) => {
                Operation::Stop { regions: self.regions(), open: self.fate() }
            }
            95..=98 => Operation::Commit(self.writes()),
            _ if self.random.one_in(3) => Operation::Wipe { seed: self.random.next() },
            _ => Operation::Rest,
        };
        // Otherwise a journal that has failed would rarely have another chance.
        let fails =
            matches!(&operation, Operation::End(Fate::Fails { .. } | Fate::FailsSync { .. }));
        out.push(operation);
        if fails && self.random.one_in(2) {
            out.push(Operation::Recover(self.fate()));
        }
    }

    fn regions(&mut self) -> Option<usize> {
        (self.changes_regions && self.random.one_in(3)).then(|| self.random.below(REGIONS.len()))
    }

    fn fate(&mut self) -> Fate {
        if !self.random.one_in(self.trouble) {
            return Fate::Works;
        }
        let (access, landed) = (self.random.below(14), self.random.one_in(2));
        let crashes = self.theme != Theme::Large || self.random.one_in(4);
        match self.random.below(if crashes { 4 } else { 2 }) {
            0 => Fate::Fails { access, full: self.random.one_in(2), landed },
            1 => Fate::FailsSync { after: *self.random.pick(&SYNCS) },
            _ => Fate::Crashes { access, seed: self.random.next() },
        }
    }

    fn path(&mut self) -> Names {
        let name = |random: &mut Random| (*random.pick(&NAMES)).to_owned();
        if self.theme != Theme::All && self.random.one_in(2) {
            let paths: &[&[&str]] = match self.theme {
                Theme::Large => {
                    let top = (*self.random.pick(&["big", "b"])).to_owned();
                    return match self.random.below(24) {
                        0 => vec![top],
                        k => vec![top, format!("k{k}")],
                    };
                }
                Theme::Ephemeral => {
                    &[&["v", "a", "p"], &["e", "a"], &["e"], &["v", "a"], &["a", "b"], &["a", "p"]]
                }
                _ => &[&["a"], &["a", "b"], &["a", "b", "a"], &["b"], &["b", "n"]],
            };
            return self.random.pick(paths).iter().map(|name| (*name).to_owned()).collect();
        }
        match self.random.below(12) {
            0 => vec![],
            1 => vec![(*self.random.pick(&TOPS)).to_owned()],
            2 => vec!["v".to_owned(), (*self.random.pick(&["a", "b", "n"])).to_owned()],
            3 | 4 => vec![
                "v".to_owned(),
                (*self.random.pick(&["a", "b", "n"])).to_owned(),
                (*self.random.pick(&["p", "q"])).to_owned(),
            ],
            5 => vec!["e".to_owned(), name(self.random)],
            6 | 7 => vec!["big".to_owned(), format!("k{}", self.random.below(40))],
            _ => {
                let mut path = vec![(*self.random.pick(&TOPS)).to_owned()];
                (0..1 + self.random.below(3)).for_each(|_| path.push(name(self.random)));
                path
            }
        }
    }

    fn leaf(&mut self) -> Value {
        match self.random.below(10) {
            0 | 1 => Value::Null,
            2 => json!(true),
            3 => json!([1, { "in": null }, []]),
            4 if !self.small => json!("x".repeat(300 + self.random.below(1500))),
            5 => json!("ä\"\n\\".repeat(self.random.below(8))),
            _ => json!(self.random.below(9)),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        if depth == 0 || self.random.one_in(2) {
            return self.leaf();
        }
        self.object(depth)
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut members = Map::new();
        let many = depth > 1 && self.random.one_in(12);
        for i in 0..if many { 25 } else { self.random.below(4) } {
            let name = match many {
                true => format!("k{i}"),
                false => (*self.random.pick(&NAMES)).to_owned(),
            };
            members.insert(name, self.value(depth - 1));
        }
        Value::Object(members)
    }

    fn writes(&mut self) -> Vec<Writing> {
        let count = if self.random.one_in(5) { 2 + self.random.below(3) } else { 1 };
        (0..count).map(|_| self.write()).collect()
    }

    fn write(&mut self) -> Writing {
        let mut path = self.path();
        let act = match self.random.below(12) {
            // So large that an object of some of them does not fit one row.
            0..=6 if self.theme == Theme::Large && path.len() == 2 => {
                Act::Put(json!("x".repeat(300 + self.random.below(1300))))
            }
            0..=4 => Act::Put(self.value(2)),
            5..=7 => Act::Merge(self.object(2)),
            8..=9 => Act::Delete,
            _ => Act::Patch(self.operations()),
        };
        // The whole is not replaced or removed; and a merge or patch there has its names as all
        // others do.
        if path.is_empty() {
            match &act {
                Act::Merge(_) => {
                    let inner = self.value(2);
                    let members = [((*self.random.pick(&TOPS)).to_owned(), inner)];
                    let merge = Act::Merge(Value::Object(members.into_iter().collect()));
                    return Writing { path, act: merge, condition: If::Nothing };
                }
                _ => path = vec!["b".to_owned()],
            }
        }
        let condition = match self.random.below(24) {
            0 => If::Exists,
            1 => If::Absent,
            2 => If::Current,
            3 => If::Former(self.random.below(64)),
            4 => If::NotCurrent,
            5 => If::Newest,
            _ => If::Nothing,
        };
        Writing { path, act, condition }
    }

    fn operations(&mut self) -> Value {
        let count = 1 + self.random.below(3);
        let operations = (0..count).map(|_| {
            let pointer = |random: &mut Random| {
                let names = (0..1 + random.below(2))
                    .map(|_| *random.pick(&["a", "b", "p", "q", "n", "list", ""]));
                names.map(|name| format!("/{name}")).collect::<String>()
            };
            let path = pointer(self.random);
            match self.random.below(8) {
                0..=2 => json!({ "op": "add", "path": path, "value": self.value(1) }),
                3 => json!({ "op": "remove", "path": path }),
                4 => json!({ "op": "replace", "path": path, "value": self.value(1) }),
                5 => json!({ "op": "copy", "from": pointer(self.random), "path": path }),
                6 => json!({ "op": "move", "from": pointer(self.random), "path": path }),
                _ => json!({ "op": "test", "path": path, "value": self.leaf() }),
            }
        });
        operations.collect()
    }

    fn watching(&mut self) -> Watching {
        Watching {
            tag: self.random.below(6) as u32,
            path: if self.random.one_in(4) { vec![] } else { self.path() },
            depth: if self.random.one_in(4) { self.random.below(4) as u32 } else { u32::MAX },
            view: 0,
            whole: self.random.one_in(8),
            interval_ms: if self.random.one_in(3) { 1 + self.random.below(80) as u64 } else { 0 },
            priority: if self.random.one_in(4) { self.random.below(4) as u8 } else { 0 },
            since: self.random.one_in(4).then(|| self.random.below(64)),
        }
    }
}

pub(crate) fn show(path: &[String]) -> String {
    match path.is_empty() {
        true => "/".to_owned(),
        false => path.iter().map(|name| format!("/{}", name.escape_default())).collect(),
    }
}

/// The text of a value, without the middle if it is long.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.len() < 160 {
        return text;
    }
    let start: String = text.chars().take(120).collect();
    format!("{start}… ({} bytes)", text.len())
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits {
            tombstones_per_object,
            tombstones,
            slice_bytes,
            members_per_object,
            tree_bytes,
            ..
        } = self.limits;
        write!(
            f,
            "{}; ephemeral {:?}; checkpoint after {:?}; room {}; window {}; tombstones {tombstones_per_object} and {tombstones}; \
             slices {slice_bytes}; members {members_per_object}; tree {tree_bytes}; shared {}{}",
            if self.store { "store" } else { "memory" },
            REGIONS[self.regions],
            self.log,
            self.room,
            self.window,
            self.limits.shared_encoding_bytes,
            if self.own { "; with its own state" } else { "" }
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Commit(writes) => {
                let writes = writes.iter().map(|w| {
                    let condition = match w.condition {
                        If::Nothing => String::new(),
                        ref condition => format!(" if {condition:?}"),
                    };
                    let path = show(&w.path);
                    match &w.act {
                        Act::Put(v) => format!("PUT {path} {}{condition}", brief(v)),
                        Act::Merge(v) => format!("MERGE {path} {}{condition}", brief(v)),
                        Act::Patch(v) => format!("PATCH {path} {}{condition}", brief(v)),
                        Act::Delete => format!("DELETE {path}{condition}"),
                    }
                });
                write!(f, "commit {}", writes.collect::<Vec<_>>().join(" + "))
            }
            Operation::Watch(client, w) => write!(
                f,
                "client {client} watches {} as {}: depth {}, view {:?}, whole {}, each {} ms, priority {}, since {:?}",
                show(&w.path),
                w.tag,
                w.depth,
                VIEWS[w.view],
                w.whole,
                w.interval_ms,
                w.priority,
                w.since
            ),
            Operation::Read(path) => write!(f, "read {}", show(path)),
            Operation::Own(value) => write!(f, "the server itself: {}", brief(value)),
            other => write!(f, "{other:?}"),
        }
    }
}
