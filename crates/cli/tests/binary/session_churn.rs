//! Sessions watch and unwatch random paths while a writer commits and connections are cut at
//! random. At every synced message their mirrors hold the state at its revision. At the end they
//! equal a fresh `GET`. The memory that the sessions cost goes with them.
//!
//! `HALFPING_CHURN=full` makes it 200 sessions among 20,000 paths for two minutes. `HALFPING_SEED`
//! repeats the choices.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Halfping;
use crate::raw::{Connection, DEADLINE, Random, request, seed};
use crate::session::{Mirrors, Phase, Session, Told, revision};
use serde_json::{Value, json};

/// Leaves of one group; each is at `/c/g7/r42`.
const LEAVES: usize = 200;
/// The longest time until all have the last state.
const CATCH_UP: Duration = Duration::from_secs(60);
/// The path of the last commit's mark, by which a session knows that it has everything.
const END: &str = "/c/end";
/// The link of every session to that path.
const END_LINK: u64 = 0;

struct Size {
    sessions: u64,
    groups: usize,
    writing: Duration,
    links_max: usize,
}

fn size() -> Size {
    match std::env::var("HALFPING_CHURN").as_deref() {
        Ok("full") => {
            Size { sessions: 200, groups: 100, writing: Duration::from_secs(120), links_max: 200 }
        }
        _ => Size { sessions: 40, groups: 20, writing: Duration::from_secs(8), links_max: 60 },
    }
}

#[test]
fn after_the_dust_settles_every_mirror_is_right_and_nothing_is_left() {
    // PROTOCOL L3, L4, L6, S3, S5, S7, S8
    let seed = seed();
    let size = size();
    // Small frames and few tombstones, so that every kind of update occurs.
    let config =
        "[limits]\nslice_bytes = 2048\ntombstones_per_object = 50\nmembers_per_commit = 1000000\n";
    let server = Halfping::serve("session_churn", config);
    let world = Arc::new(World::new(server.address, &size));
    let (links, sessions) = (server.metric("halfping_links"), server.metric("halfping_sessions"));
    let memory_before = server.memory();
    println!("before: {links} links, {sessions} sessions, {} KiB", memory_before >> 10);

    let threads: Vec<_> = (0..size.sessions)
        .map(|number| {
            let (world, links_max) = (Arc::clone(&world), size.links_max);
            let thread = thread::Builder::new().name(format!("session {number}"));
            let random = Random(seed.wrapping_mul(1000).wrapping_add(number));
            thread.spawn(move || Churn::new(&world, number, links_max, random).run()).unwrap()
        })
        .collect();
    let commits = write(&world, Random(seed), size.writing);
    let mut sum = Counts::default();
    let mut failed = Vec::new();
    for (number, thread) in threads.into_iter().enumerate() {
        match thread.join() {
            Ok(counts) => sum.add(&counts),
            Err(_) => failed.push(number),
        }
    }
    assert!(failed.is_empty(), "seed {seed}: sessions {failed:?} failed; what each says is above");
    println!("{commits} commits; {sum:?}");
    // A run with few events would prove little.
    assert!(sum.cuts >= size.sessions && sum.synced > 10 * size.sessions, "seed {seed}: {sum:?}");
    for (kind, count) in &sum.kinds {
        assert!(*count > 0, "seed {seed}: no {kind} was ever sent");
    }

    server.until("halfping_links", links);
    server.until("halfping_sessions", sessions);
    println!("after: {} KiB", server.memory() >> 10);
    // The allocator keeps some freed memory, so the test is that another round of the same needs no
    // more.
    visit(&world, size.sessions);
    server.until("halfping_links", links);
    let once = server.memory();
    for _ in 0..4 {
        visit(&world, size.sessions);
    }
    server.until("halfping_links", links);
    server.until("halfping_sessions", sessions);
    let again = server.memory();
    println!("after a round of visits: {} KiB; after four more: {} KiB", once >> 10, again >> 10);
    assert!(again < once + (8 << 20), "seed {seed}: from {once} to {again} bytes");
    let allowed = memory_before + (64 << 20);
    assert!(
        again < allowed,
        "seed {seed}: {again} bytes are left; before there were {memory_before}"
    );
}

/// All sessions open, watch all of a group, and close.
fn visit(world: &World, sessions: u64) {
    let all: Vec<Session> = (0..sessions)
        .map(|number| {
            let mut session = Session::open(world.address, "/");
            let group = number as usize % world.groups;
            let pairs = (0..LEAVES).map(|leaf| json!([leaf, format!("/c/g{group}/r{leaf}")]));
            session.say(&json!({ "watch": Value::from_iter(pairs) }));
            session
        })
        .collect();
    for mut session in all {
        while session.state().get("synced").is_none() {}
    }
}

/// The truth: the states of every leaf, by revision.
struct World {
    address: SocketAddr,
    groups: usize,
    leaves: Vec<RwLock<History>>,
    /// Everything up to this revision is recorded.
    noted: Mutex<u64>,
    more: Condvar,
    /// No more cuts and no more random steps: the last commit is coming.
    settling: AtomicBool,
    end: AtomicU64,
}

/// States of one leaf and the revisions that made them, in order.
type History = Vec<(u64, Option<Value>)>;

/// The target of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Leaf(usize),
    /// A whole group, with `depth` 1.
    Group(usize),
    End,
}

impl Target {
    fn path(self) -> String {
        match self {
            Target::Leaf(leaf) => format!("/c/g{}/r{}", leaf / LEAVES, leaf % LEAVES),
            Target::Group(group) => format!("/c/g{group}"),
            Target::End => END.to_owned(),
        }
    }
}

impl World {
    /// Fills the tree: every second leaf exists.
    fn new(address: SocketAddr, size: &Size) -> World {
        let mut random = Random(1);
        let mut tree = BTreeMap::new();
        let mut leaves = Vec::new();
        for group in 0..size.groups {
            let mut members = BTreeMap::new();
            for leaf in 0..LEAVES {
                let value = (leaf % 2 == 0).then(|| value(&mut random));
                if let Some(value) = &value {
                    members.insert(format!("r{leaf}"), value.clone());
                }
                leaves.push(RwLock::new(vec![(0, value)]));
            }
            tree.insert(format!("g{group}"), members);
        }
        let mut connection = Connection::open(address);
        connection.send(&request(&format!("PUT /c\n\n{}", json!(tree))));
        let answer = connection.answer(false);
        assert_eq!(answer.status, 201, "{answer:?}");
        let noted = Mutex::new(revision(&answer.cursor()));
        let (settling, end) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
        World { address, groups: size.groups, leaves, noted, more: Condvar::new(), settling, end }
    }

    fn note(&self, at: u64, changes: Vec<(usize, Option<Value>)>) {
        for (leaf, value) in changes {
            self.leaves[leaf].write().unwrap().push((at, value));
        }
        *self.noted.lock().unwrap() = at;
        self.more.notify_all();
    }

    /// The state of a leaf at a revision. A session may be told of a commit before the writer has
    /// recorded it.
    #[track_caller]
    fn until_noted(&self, at: u64) {
        let until = Instant::now() + DEADLINE;
        let mut noted = self.noted.lock().unwrap();
        while *noted < at {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the revision {at} was not made by the writer");
            noted = self.more.wait_timeout(noted, left).unwrap().0;
        }
    }

    fn leaf(&self, leaf: usize, at: u64) -> Option<Value> {
        let states = self.leaves[leaf].read().unwrap();
        let after = states.partition_point(|(revision, _)| *revision <= at);
        states[after - 1].1.clone()
    }

    /// The value of a target at a revision.
    fn at(&self, target: Target, at: u64) -> Option<Value> {
        match target {
            Target::Leaf(leaf) => self.leaf(leaf, at),
            Target::Group(group) => {
                let members = (0..LEAVES).filter_map(|leaf| {
                    let value = self.leaf(group * LEAVES + leaf, at)?;
                    // PROTOCOL R5
                    let value = if value.is_object() { json!({}) } else { value };
                    Some((format!("r{leaf}"), value))
                });
                Some(Value::Object(members.collect()))
            }
            Target::End => (at >= self.end.load(Ordering::Acquire)).then(|| json!("end")),
        }
    }
}

fn value(random: &mut Random) -> Value {
    let n = random.below(1_000_000);
    match random.below(12) {
        0 => Value::Null,
        1 => json!(n),
        2 => json!([n, { "x": null }]),
        3 => json!({ "n": n, "null": null }),
        // A value that comes in parts.
        4 => (0..random.below(120)).map(|i| (format!("k{i}"), json!("y".repeat(40)))).collect(),
        _ => {
            json!({ "n": n, "text": "x".repeat(random.below(80) as usize), "in": { "a": n % 7, "b": [n] } })
        }
    }
}

/// Commits until the time is over, then makes the last commit. Returns the number of commits.
fn write(world: &World, mut random: Random, time: Duration) -> u64 {
    let mut connection = Connection::open(world.address);
    let mut now: Vec<Option<Value>> =
        (0..world.leaves.len()).map(|leaf| world.leaf(leaf, u64::MAX)).collect();
    let mut patch = |operations: Value| {
        let head = "PATCH /c\nContent-Type: application/json-patch+json";
        connection.send(&request(&format!("{head}\n\n{operations}")));
        let answer = connection.answer(false);
        assert_eq!(answer.status, 200, "{operations}: {answer:?}");
        revision(&answer.cursor())
    };
    let until = Instant::now() + time;
    let mut commits = 0;
    while Instant::now() < until {
        let mut changes: BTreeMap<usize, Option<Value>> = BTreeMap::new();
        let mut operations = Vec::new();
        for _ in 0..=random.below(4) {
            let leaf = random.below(now.len() as u64) as usize;
            if changes.contains_key(&leaf) {
                continue;
            }
            let path = format!("/g{}/r{}", leaf / LEAVES, leaf % LEAVES);
            let old = &now[leaf];
            let new = match (old, random.below(4)) {
                (Some(_), 0) => {
                    operations.push(json!({ "op": "remove", "path": path }));
                    None
                }
                // A change of one member, so that there is a small update to tell.
                (Some(Value::Object(members)), 1 | 2) => {
                    let (mut members, value) = (members.clone(), json!(random.below(1_000_000)));
                    operations
                        .push(json!({ "op": "add", "path": format!("{path}/n"), "value": value }));
                    members.insert("n".to_owned(), value);
                    Some(Value::Object(members))
                }
                _ => {
                    let value = value(&mut random);
                    operations.push(json!({ "op": "add", "path": path, "value": value }));
                    Some(value)
                }
            };
            changes.insert(leaf, new);
        }
        let at = patch(json!(operations));
        for (leaf, value) in &changes {
            now[*leaf] = value.clone();
        }
        // A write that changes nothing has no revision of its own (PROTOCOL V5); the state recorded
        // then holds anyway.
        world.note(at, changes.into_iter().collect());
        commits += 1;
        // A steady rate, with bursts.
        if random.below(20) == 0 {
            thread::sleep(Duration::from_millis(random.below(20)));
        }
    }
    world.settling.store(true, Ordering::Release);
    // No session can be told of the commit before its revision is known.
    let next = *world.noted.lock().unwrap() + 1;
    world.end.store(next, Ordering::Release);
    let at = patch(json!([{ "op": "add", "path": "/end", "value": "end" }]));
    assert_eq!(at, next, "somebody else writes");
    world.note(at, Vec::new());
    commits
}

#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    synced: u64,
    checked: u64,
    cuts: u64,
    watches: u64,
    unwatches: u64,
    /// Links that were compared with a fresh `GET` at the end.
    compared: u64,
    kinds: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.messages += other.messages;
        self.synced += other.synced;
        self.checked += other.checked;
        self.cuts += other.cuts;
        self.watches += other.watches;
        self.unwatches += other.unwatches;
        self.compared += other.compared;
        for kind in ["snapshot", "merge", "patch", "gone", "more"] {
            *self.kinds.entry(kind.to_owned()).or_default() +=
                other.kinds.get(kind).copied().unwrap_or(0);
        }
    }

    fn count(&mut self, message: &Value) {
        self.messages += 1;
        for change in message["set"].as_array().into_iter().flatten() {
            *self.kinds.entry(change[1].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            if change.get(3).is_some() {
                *self.kinds.entry("more".to_owned()).or_default() += 1;
            }
        }
    }
}

/// The options of a link that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Shape {
    delta: bool,
    priority: u64,
    /// Updates a second. The mirror of such a link may be newer or older than the state that `rev`
    /// names for the others (PROTOCOL L6).
    rate: Option<u64>,
}

/// A client that is cut and comes back.
struct Churn<'a> {
    world: &'a World,
    session: Session,
    mirrors: Mirrors,
    targets: HashMap<u64, (Target, Shape)>,
    /// Links that a command opens or ends, by its `ref`, until the answer comes.
    asked: HashMap<u64, Vec<u64>>,
    next_link: u64,
    links_max: usize,
    /// The credit that it gives, if any.
    credit: Option<u64>,
    random: Random,
    counts: Counts,
}

impl<'a> Churn<'a> {
    fn new(world: &'a World, number: u64, links_max: usize, mut random: Random) -> Churn<'a> {
        let session = Session::open(world.address, "/");
        let rated = number % 8 == 7;
        let credit = (number % 5 == 4).then(|| 1 + random.below(40_000));
        let mut churn = Churn {
            world,
            session,
            // With rates, mirrors are compared at the end only.
            mirrors: Mirrors::new(rated),
            targets: HashMap::new(),
            asked: HashMap::new(),
            next_link: END_LINK,
            links_max,
            credit,
            random,
            counts: Counts::default(),
        };
        churn.begin();
        churn.watch(vec![Target::End], Shape { delta: true, priority: 0, rate: None });
        churn
    }

    fn begin(&mut self) {
        if let Some(bytes) = self.credit {
            self.session.say(&json!({ "credit": bytes }));
        }
    }

    fn run(mut self) -> Counts {
        let mut until = None;
        loop {
            let settling = self.world.settling.load(Ordering::Acquire);
            if settling {
                let until = *until.get_or_insert_with(|| Instant::now() + CATCH_UP);
                assert!(Instant::now() < until, "{:?}: {}", self.first_wrong(), self.status());
            }
            let wait = Duration::from_millis(self.random.below(30));
            match self.session.next_within(wait) {
                Told::Message(message) => {
                    self.take(&message);
                    if self.has_the_end() {
                        break;
                    }
                }
                // With rates, `rev` stays behind when a link's turn brings nothing new; the values
                // decide.
                Told::Nothing if self.mirrors.rated && self.is_settled() => {
                    if self.first_wrong().is_none() {
                        break;
                    }
                }
                Told::Nothing => {}
                other => panic!("{other:?}, which nobody asked for"),
            }
            if !settling {
                self.wish();
            }
        }
        assert_eq!(self.first_wrong(), None, "{}", self.status());
        self.counts.compared += self.mirrors.views.len() as u64;
        if self.random.below(2) == 0 {
            self.session.close();
        }
        self.counts
    }

    fn has_the_end(&self) -> bool {
        let at = self.mirrors.synced.as_deref().map_or(0, revision);
        at >= self.world.end.load(Ordering::Acquire) && self.is_settled()
    }

    /// True if it has seen the last commit and has no command on its way.
    fn is_settled(&self) -> bool {
        let here = self.mirrors.views[&END_LINK].value == Some(json!("end"));
        here && self.asked.is_empty() && self.mirrors.views.values().all(|view| view.known)
    }

    /// A description for the message of a failure.
    fn status(&self) -> String {
        let unknown: Vec<String> = self
            .mirrors
            .views
            .iter()
            .filter(|(_, view)| !view.known || view.phase != Phase::Open)
            .map(|(id, view)| format!("{id} at {} {:?}", self.targets[id].0.path(), view.phase))
            .collect();
        let Churn { asked, credit, counts, targets, .. } = self;
        let (synced, end) = (&self.mirrors.synced, self.world.end.load(Ordering::Acquire));
        format!(
            "{} links, synced at {synced:?} of {end}, waits for answers to {asked:?}, for links {unknown:?}; \
             credit {credit:?}, rated {}, {counts:?}",
            targets.len(),
            self.mirrors.rated
        )
    }

    /// Takes a random step.
    fn wish(&mut self) {
        match self.random.below(100) {
            0..12 if self.targets.len() < self.links_max => {
                let count = 1 + self.random.below(10);
                let targets = (0..count).map(|_| self.target()).collect();
                let rate = (self.mirrors.rated && self.random.below(2) == 0)
                    .then(|| 1 + self.random.below(20));
                let (delta, priority) = (self.random.below(8) != 0, self.random.below(4));
                self.watch(targets, Shape { delta, priority, rate });
            }
            12..20 => self.unwatch(),
            20..22 => thread::sleep(Duration::from_millis(self.random.below(150))),
            22..24 => self.cut(),
            _ => {}
        }
    }

    fn target(&mut self) -> Target {
        match self.random.below(30) {
            0 => Target::Group(self.random.below(self.world.groups as u64) as usize),
            _ => Target::Leaf(self.random.below(self.world.leaves.len() as u64) as usize),
        }
    }

    fn watch(&mut self, targets: Vec<Target>, shape: Shape) {
        let mut ids = Vec::new();
        for target in targets {
            let id = self.next_link;
            self.next_link += 1;
            self.targets.insert(id, (target, shape));
            self.mirrors.open(id, Phase::Opening);
            ids.push(id);
        }
        self.counts.watches += ids.len() as u64;
        let commands = self.watch_commands(&ids, None);
        commands.iter().for_each(|command| self.session.say(command));
    }

    fn watch_commands(&mut self, ids: &[u64], since: Option<&str>) -> Vec<Value> {
        let mut commands = Vec::new();
        // A group is always cut, so groups and leaves need separate commands.
        for depth in [false, true] {
            let is = |id: &&u64| matches!(self.targets[*id].0, Target::Group(_)) == depth;
            let some: Vec<u64> = ids.iter().filter(is).copied().collect();
            let Some(first) = some.first() else { continue };
            let shape = self.targets[first].1;
            let pairs = some.iter().map(|id| json!([id, self.targets[id].0.path()]));
            let number = self.session.fresh();
            let mut command = json!({ "ref": number, "watch": Value::from_iter(pairs) });
            if depth {
                command["depth"] = json!(1);
            }
            if !shape.delta {
                command["delta"] = json!(false);
            }
            if shape.priority > 0 {
                command["priority"] = json!(shape.priority);
            }
            if let Some(rate) = shape.rate {
                command["rate"] = json!(rate);
            }
            if let Some(since) = since {
                command["since"] = json!(since);
            }
            commands.push(command);
            self.asked.insert(number, some);
        }
        commands
    }

    fn unwatch(&mut self) {
        let open = |id: &u64| *id != END_LINK && self.mirrors.views[id].phase == Phase::Open;
        let mut ids: Vec<u64> = self.targets.keys().copied().filter(open).collect();
        ids.sort_unstable(); // The order of a hash map is not the seed's.
        let count = self.random.below(8).min(ids.len() as u64) as usize;
        let some: Vec<u64> = (0..count)
            .map(|_| ids.swap_remove(self.random.below(ids.len() as u64) as usize))
            .collect();
        if some.is_empty() {
            return;
        }
        for id in &some {
            self.mirrors.views.get_mut(id).unwrap().phase = Phase::Leaving;
        }
        self.counts.unwatches += some.len() as u64;
        let number = self.session.fresh();
        self.session.say(&json!({ "ref": number, "unwatch": some }));
        self.asked.insert(number, some);
    }

    /// Cuts the connection at any point, and resumes all links with one cursor.
    fn cut(&mut self) {
        self.counts.cuts += 1;
        let fresh = Session::open(self.world.address, "/");
        drop(std::mem::replace(&mut self.session, fresh));
        thread::sleep(Duration::from_millis(self.random.below(60)));
        self.asked.clear();
        self.mirrors.cut();
        self.targets.retain(|id, _| self.mirrors.views.contains_key(id));
        self.begin();
        let mut groups: BTreeMap<(Shape, bool), Vec<u64>> = BTreeMap::new();
        for (id, view) in &self.mirrors.views {
            groups.entry((self.targets[id].1, view.known)).or_default().push(*id);
        }
        let synced = self.mirrors.synced.clone();
        let mut commands = Vec::new();
        for ((_, known), ids) in groups {
            commands.extend(self.watch_commands(&ids, synced.as_deref().filter(|_| known)));
        }
        // One message: otherwise a synced message may come between the commands, and its `rev` does
        // not cover links that are not open yet.
        self.session.say(&Value::Array(commands));
    }

    fn take(&mut self, message: &Value) {
        if let Some(number) = message.get("ref") {
            assert_eq!(message["status"], 200, "{message}");
            let ids =
                self.asked.remove(&number.as_u64().unwrap()).expect("an answer to a question");
            for id in ids {
                let view = self.mirrors.views.get_mut(&id).unwrap();
                if view.phase == Phase::Opening {
                    view.phase = Phase::Open;
                } else {
                    self.mirrors.views.remove(&id);
                    self.targets.remove(&id);
                }
            }
            return;
        }
        self.counts.count(message);
        if self.mirrors.take(message) {
            self.counts.synced += 1;
            if !self.mirrors.rated {
                self.check(message);
            }
        }
        if self.credit.is_some() {
            if self.random.below(3) == 0 {
                // A short delay.
                thread::sleep(Duration::from_millis(self.random.below(10)));
            }
            self.session.say(&json!({ "ack": message["rev"] }));
        }
    }

    /// PROTOCOL L6: every link shows the state at `rev`.
    fn check(&mut self, message: &Value) {
        let at = revision(message["rev"].as_str().unwrap());
        self.world.until_noted(at);
        let told: Vec<u64> = message["set"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|change| change[0].as_u64())
            .collect();
        // The links that were told, and sometimes all: links that are told nothing have to be right
        // too.
        let all = self.random.below(10) == 0;
        for (id, view) in self.mirrors.views.iter().filter(|(_, view)| view.phase == Phase::Open) {
            if !all && !told.contains(id) {
                continue;
            }
            let (target, shape) = self.targets[id];
            let truth = self.world.at(target, at);
            self.counts.checked += 1;
            assert_eq!(
                view.value,
                truth,
                "link {id} at {} ({shape:?}) at revision {at}: {message}",
                target.path()
            );
        }
    }

    /// The first link that does not show the answer of a fresh `GET`, if any.
    fn first_wrong(&self) -> Option<String> {
        let mut connection = Connection::open(self.world.address);
        self.mirrors.views.iter().find_map(|(id, view)| {
            let (target, shape) = self.targets[id];
            let depth = if matches!(target, Target::Group(_)) { "?depth=1" } else { "" };
            let answer = connection.ask(&format!("GET {}{depth}", target.path()));
            let there = (answer.status == 200).then(|| answer.json());
            (view.value != there).then(|| {
                format!(
                    "link {id} at {} ({shape:?}) shows {:?}, not {there:?}",
                    target.path(),
                    view.value
                )
            })
        })
    }
}

impl Halfping {
    #[track_caller]
    fn metric(&self, name: &str) -> u64 {
        let metrics = Connection::open(self.address).ask("GET /_metrics");
        let value =
            metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {}", metrics.text())).parse().unwrap()
    }

    /// Waits until a metric has a value.
    #[track_caller]
    fn until(&self, name: &str, value: u64) {
        let until = Instant::now() + DEADLINE;
        while self.metric(name) != value {
            assert!(Instant::now() < until, "{name} is {}, not {value}", self.metric(name));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Memory of the server in bytes, where the system tells.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.unwrap_or_default() * 1024
    }
}
