//! Scripts of two worlds, as data, made from a seed.

use std::fmt;

use serde_json::{Map, Value, json};

use super::rules::{Claims, Rule, Segment, Test, Verb};
use crate::model::{Act, Names};
use crate::random::Random;

/// One write of a commit.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    pub(crate) path: Names,
    pub(crate) act: Act,
}

/// The cursor that a request has with it: one of those that its reader was given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tag {
    None,
    Any,
    Given(usize),
}

/// The way in which a reader asks to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Sse,
    Lines,
    /// A session by `POST`.
    Session,
    /// The same, of links that were opened by somebody who may see more.
    Refreshed,
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A commit in both worlds, made if it comes to the same for the reader.
    Commit(Vec<Writing>),
    /// Commits in the second world alone, each made if the reader may see nothing of it.
    Hide(Vec<Vec<Writing>>),
    /// `GET`, or `HEAD`, at one of the script's paths.
    Get {
        head: bool,
        path: usize,
        shape: &'static str,
        tag: Tag,
    },
    Follow {
        way: Way,
        paths: Vec<usize>,
        shape: &'static str,
        since: Tag,
    },
    /// A long poll.
    Wait {
        path: usize,
        tag: Tag,
    },
    /// Reads what a follower has to tell.
    Read(usize),
    ReadAll,
    Leave(usize),
    /// A write of the reader's own.
    Own {
        writing: Writing,
        tag: Tag,
        is_none: bool,
    },
    /// Time passes, until followers that are told nothing are told that they are alive.
    Silence,
}

/// Members of a commit that is one of very many.
const MANY: usize = 60;

impl Operation {
    /// True for a commit of very many members that the reader may not see.
    pub(crate) fn is_of_many(&self) -> bool {
        let has_many = |writing: &Writing| match &writing.act {
            Act::Merge(Value::Object(members)) => members.len() >= MANY,
            _ => false,
        };
        matches!(self, Operation::Hide(commits) if commits.iter().flatten().any(has_many))
    }
}

#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) rules: Vec<Rule>,
    pub(crate) claims: Claims,
    pub(crate) first: Value,
    /// Paths that the reader reads at.
    pub(crate) paths: Vec<&'static str>,
    /// True if somebody with the reader's rights follows each of these paths all the time.
    pub(crate) is_followed: bool,
    pub(crate) tombstones: usize,
    pub(crate) slice_bytes: usize,
    pub(crate) operations: Vec<Operation>,
}

/// Who may see more, and opens links of which a reader is told no state.
pub(crate) fn wide() -> Claims {
    Claims { sub: "b", roles: vec!["staff", "admin"], teams: vec!["red", "blue"] }
}

const PATHS: [&str; 16] = [
    "/",
    "/orders",
    "/orders",
    "/orders/1",
    "/orders/2",
    "/orders/h1",
    "/orders/1/lines",
    "/orders/1/margin",
    "/orders/2/deep",
    "/orders/1/lines/l",
    "/teams",
    "/teams/red",
    "/teams/red/docs",
    "/pub",
    "/z",
    "/none",
];
/// Shapes of what is read; most readers want all.
const SHAPES: [&str; 6] =
    ["depth=1", "depth=2", "where=x%3E2", "count", "order=-x&limit=2", "select=x,owner"];

use Segment::{Any, Is};

/// Patterns of rules, and whether the value at their end has an owner.
const PATTERNS: [(&[Segment], bool); 18] = [
    (&[], false),
    (&[Is("orders")], false),
    (&[Is("orders"), Any("o")], true),
    (&[Is("orders"), Any("o")], true),
    (&[Is("orders"), Any("o")], true),
    (&[Is("orders"), Is("1")], true),
    (&[Is("orders"), Is("h1")], true),
    (&[Is("orders"), Any("o"), Is("margin")], false),
    (&[Is("orders"), Any("o"), Is("x")], false),
    (&[Is("orders"), Any("o"), Is("lines")], false),
    (&[Is("orders"), Any("o"), Is("lines"), Any("l")], true),
    (&[Is("teams")], false),
    (&[Is("teams"), Any("t")], false),
    (&[Is("teams"), Is("red"), Is("docs"), Any("d")], true),
    (&[Is("teams"), Any("t"), Is("docs"), Any("d")], true),
    (&[Is("pub")], false),
    (&[Any("any")], false),
    (&[Any("any"), Any("o")], true),
];

fn test(random: &mut Random, path: &[Segment], has_owner: bool, is_write: bool) -> Test {
    let variables: Vec<&'static str> = path
        .iter()
        .filter_map(|segment| match segment {
            Any(name) => Some(*name),
            Is(_) => None,
        })
        .collect();
    let of_claims = random.one_in(if has_owner { 6 } else { 2 });
    if of_claims || path.is_empty() {
        return match random.below(5) {
            0 => Test::Nobody,
            1 => Test::Role("admin"),
            2 => Test::Role("other"),
            _ => Test::Role("staff"),
        };
    }
    if !variables.is_empty() && random.one_in(if has_owner { 8 } else { 2 }) {
        let name = *random.pick(&variables);
        return if random.one_in(2) { Test::IsMe(name) } else { Test::IsMine(name) };
    }
    let is_new = is_write && random.one_in(2);
    match random.below(9) {
        0 | 1 => Test::Own(is_new, &["owner"]),
        2 => Test::Equals(is_new, &["owner"], "b"),
        3 => Test::Above(&["x"], 2),
        4 => Test::True(&["open"]),
        5 => Test::Listed(&["tags"]),
        6 => Test::Has("margin"),
        7 => Test::Above(&["deep", "e"], 1),
        _ => Test::Above(&["margin"], 2),
    }
}

fn condition(random: &mut Random, path: &[Segment], has_owner: bool, is_write: bool) -> Test {
    let one = |random: &mut Random| test(random, path, has_owner, is_write);
    match random.below(8) {
        0 => Test::Not(Box::new(one(random))),
        1 => Test::And(Box::new(one(random)), Box::new(one(random))),
        2 => Test::Or(Box::new(one(random)), Box::new(one(random))),
        _ => one(random),
    }
}

fn rule(random: &mut Random) -> Rule {
    let (path, has_owner) = *random.pick(&PATTERNS);
    let verbs = match random.below(9) {
        0 => vec![Verb::Create],
        1 => vec![Verb::Update],
        2 => vec![Verb::Delete, Verb::Update],
        3 => vec![Verb::Read, Verb::Create, Verb::Update, Verb::Delete],
        _ => vec![Verb::Read],
    };
    let is_write = !verbs.contains(&Verb::Read);
    let has_condition = has_owner && !random.one_in(4) || random.one_in(2);
    Rule {
        allows: !random.one_in(4),
        verbs,
        path: path.to_vec(),
        condition: has_condition.then(|| condition(random, path, has_owner, is_write)),
        inverse: random.one_in(4),
        beneath: !random.one_in(4),
    }
}

fn name(text: &str) -> String {
    text.to_owned()
}

fn path(names: &[&str]) -> Names {
    names.iter().map(|text| name(text)).collect()
}

/// A text by which a change is shorter than the whole.
const NOTE: &str = "a text by which a change is shorter than all of it";

fn member(random: &mut Random) -> (&'static str, Value) {
    match random.below(9) {
        0 | 1 => ("owner", json!(random.pick(&["a", "a", "b", "c"]))),
        2 | 3 => ("x", json!(random.below(5))),
        4 => ("open", json!(random.one_in(2))),
        5 => ("tags", json!(if random.one_in(2) { vec!["a", "b"] } else { vec!["b"] })),
        6 => ("deep", json!({ "e": random.below(4) })),
        7 => ("margin", json!(random.below(5))),
        _ => ("note", json!(format!("{NOTE} {}", random.below(9)))),
    }
}

fn order(random: &mut Random) -> Value {
    let mut members = Map::new();
    members.insert(name("owner"), json!(random.pick(&["a", "a", "b", "c"])));
    members.insert(name("note"), json!(NOTE));
    for _ in 0..random.below(5) {
        let (name, value) = member(random);
        members.insert(name.to_owned(), value);
    }
    if random.one_in(3) {
        members.insert(name("lines"), json!({ "l": line(random), "m": line(random) }));
    }
    Value::Object(members)
}

fn line(random: &mut Random) -> Value {
    json!({ "owner": random.pick(&["a", "b"]), "x": random.below(5) })
}

/// A write; `hidden`: one that is likely to be of something that the reader may not see.
fn writing(random: &mut Random, hidden: bool) -> Writing {
    let id = match hidden && !random.one_in(3) {
        true => *random.pick(&["h1", "h2", "h3", "h4", "h5", "h6"]),
        false => *random.pick(&["1", "2", "3", "4", "h1"]),
    };
    let (path, act) = match random.below(20) {
        0..=3 => (path(&["orders", id]), Act::Put(order(random))),
        4..=7 => {
            let (name, value) = member(random);
            let value = if random.one_in(8) { Value::Null } else { value };
            (path(&["orders", id]), Act::Merge(json!({ name: value })))
        }
        8 => {
            let (name, value) = member(random);
            (path(&["orders", id, name]), Act::Put(value))
        }
        9 | 10 => (path(&["orders", id]), Act::Delete),
        11 => (path(&["orders", id, member(random).0]), Act::Delete),
        12 | 13 => {
            let at = path(&["orders", id, "lines", *random.pick(&["l", "m", "n"])]);
            match random.below(3) {
                0 => (at, Act::Delete),
                1 => (at, Act::Merge(json!({ "x": random.below(5) }))),
                _ => (at, Act::Put(line(random))),
            }
        }
        14..=16 => {
            let team = *random.pick(&["red", "blue"]);
            let at = path(&["teams", team, "docs", *random.pick(&["d", "e", "f"])]);
            match random.below(5) {
                0 => (at, Act::Delete),
                1 => (at, Act::Merge(json!({ "x": random.below(5) }))),
                2 => (at, Act::Merge(json!({ "owner": random.pick(&["a", "b"]) }))),
                3 => (path(&["teams", team]), Act::Merge(json!({ "lead": random.below(3) }))),
                _ => (at, Act::Put(order(random))),
            }
        }
        17 => (path(&["pub", *random.pick(&["p", "q"])]), Act::Put(json!(random.below(9)))),
        18 => {
            let value = if random.one_in(2) {
                json!(random.below(3))
            } else {
                json!({ "y": order(random) })
            };
            (path(&["z"]), Act::Put(value))
        }
        _ => match random.below(4) {
            0 => (path(&["orders"]), Act::Put(json!({ "1": order(random), id: order(random) }))),
            1 => (path(&["orders", id]), Act::Put(json!(random.below(3)))),
            2 => (path(&["orders", id, "deep"]), Act::Put(json!(7))),
            _ => (path(&[id]), Act::Put(order(random))),
        },
    };
    Writing { path, act }
}

fn commit(random: &mut Random, hidden: bool) -> Vec<Writing> {
    let writes = if random.one_in(5) { 2 } else { 1 };
    (0..writes).map(|_| writing(random, hidden)).collect()
}

/// Very many members that the reader may not see.
fn many(random: &mut Random) -> Vec<Writing> {
    let count = MANY + random.below(200);
    let members = (0..count).map(|n| (format!("h{}", n + 10), json!({ "owner": "b", "x": 0 })));
    let act = Act::Merge(Value::Object(members.collect()));
    vec![Writing { path: path(&["orders"]), act }]
}

fn tag(random: &mut Random) -> Tag {
    match random.below(8) {
        0..=2 => Tag::None,
        3 => Tag::Any,
        _ => Tag::Given(random.below(1000)),
    }
}

fn shape(random: &mut Random) -> &'static str {
    if !random.one_in(4) {
        return "";
    }
    let shape: &&str = random.pick(&SHAPES);
    shape
}

fn own(random: &mut Random) -> Operation {
    let hidden = random.one_in(2);
    let mut writing = writing(random, hidden);
    if random.one_in(5) {
        let (name, value) = member(random);
        let operation = match random.below(3) {
            0 => json!({ "op": "remove", "path": format!("/{name}") }),
            1 => json!({ "op": "test", "path": format!("/{name}"), "value": value }),
            _ => json!({ "op": "add", "path": format!("/{name}"), "value": value }),
        };
        writing.act = Act::Patch(json!([operation]));
    }
    Operation::Own { writing, tag: tag(random), is_none: random.one_in(4) }
}

fn operation(random: &mut Random, paths: usize) -> Operation {
    match random.below(20) {
        0..=4 => Operation::Commit(commit(random, false)),
        5..=9 => {
            let commits = (0..1 + random.below(4)).map(|_| commit(random, true)).collect();
            Operation::Hide(commits)
        }
        10 | 11 => Operation::Get {
            head: random.one_in(5),
            path: random.below(paths),
            shape: shape(random),
            tag: tag(random),
        },
        12 | 13 => {
            let way = match random.below(6) {
                0 => Way::Sse,
                1 | 2 => Way::Lines,
                3 | 4 => Way::Session,
                _ => Way::Refreshed,
            };
            let count = if random.one_in(3) { 2 } else { 1 };
            let paths = (0..count).map(|_| random.below(paths)).collect();
            let shape = if random.one_in(6) { "delta=false" } else { shape(random) };
            let since = if random.one_in(2) { Tag::None } else { Tag::Given(random.below(1000)) };
            Operation::Follow { way, paths, shape, since }
        }
        14 => Operation::Wait { path: random.below(paths), tag: Tag::Given(random.below(1000)) },
        15 => Operation::Read(random.below(8)),
        16 => Operation::ReadAll,
        17 => match random.below(3) {
            0 => Operation::Leave(random.below(8)),
            1 => Operation::Silence,
            _ => Operation::ReadAll,
        },
        _ => own(random),
    }
}

pub(crate) fn generate(seed: u64) -> Script {
    let mut random = Random::new(seed ^ 0xa9a7);
    let random = &mut random;
    let count = 1 + random.below(7);
    let is_simple = random.one_in(3);
    let rules = (0..).map(|_| rule(random)).filter(|rule| !is_simple || rule.is_simple());
    let rules = rules.take(count).collect();
    let orders = ["1", "2", "3"].map(|id| (name(id), order(random)));
    let docs = json!({ "d": line(random), "e": line(random) });
    let first = json!({
        "orders": Map::from_iter(orders),
        "teams": { "red": { "docs": docs, "lead": 1 }, "blue": { "docs": { "d": line(random) } } },
        "pub": { "p": 1, "note": NOTE },
    });
    let paths: Vec<&'static str> = (0..5).map(|_| *random.pick(&PATHS)).collect();
    let claims = Claims {
        sub: "a",
        roles: if random.one_in(2) { vec!["staff"] } else { Vec::new() },
        teams: if random.one_in(2) { vec!["red"] } else { vec!["red", "1"] },
    };
    let has_many = random.one_in(16);
    let mut operations: Vec<Operation> =
        (0..14 + random.below(14)).map(|_| operation(random, paths.len())).collect();
    if has_many {
        let at = random.below(operations.len());
        operations.insert(at, Operation::Hide(vec![many(random)]));
    }
    Script {
        rules,
        claims,
        first,
        paths,
        is_followed: !random.one_in(3),
        tombstones: *random.pick(if is_simple {
            &[1024, 4, 2, 1, 0]
        } else {
            &[1024, 1024, 1024, 1024, 2]
        }),
        slice_bytes: *random.pick(&[1 << 16, 1 << 16, 1 << 16, 1 << 10]),
        operations,
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.iter().try_for_each(|rule| write!(f, "{rule}"))?;
        writeln!(f, "the reader: {:?}", self.claims)?;
        writeln!(f, "at first: {}", self.first)?;
        let followed = if self.is_followed { ", each followed all the time" } else { "" };
        let Script { tombstones, slice_bytes, paths, .. } = self;
        writeln!(f, "paths: {paths:?}{followed}")?;
        writeln!(f, "tombstones_per_object {tombstones}, slice_bytes {slice_bytes}")
    }
}
