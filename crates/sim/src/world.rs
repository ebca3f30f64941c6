//! A world: a server that may fail, its disk, its clients, and what should be true of them.

mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use halfping_engine::{
    Action, Condition, Cursor, Engine, Epoch, Json, OWN, Patch, Path, Pattern, Priority, Refusal, Regions,
    Revision, SessionId, States, Submitted, Tick, Timestamp, Update, Watch, Write, Written,
};
use halfping_journal::{Committer, Fault, Status, Transaction, open};
use serde_json::Value;

use crate::client::{Client, Connection, Link, Message, Sent, Spoken, Synced};
use crate::journal::{Kept, NotOpened, Remains};
use crate::model::{self, Act, Diff, Names, No, Patterns, Seen, Tree};
use crate::mutants;
use crate::script::{
    CLIENTS, Fate, If, Operation, REGIONS, Script, Settings, Watching, Writing, brief, show,
};

/// How far the clock on the wall is set, in milliseconds.
const AHEAD: u64 = 5000;
/// Cursors that are kept, to be resumed with later.
const CURSORS: usize = 32;
/// Frames in which everything there is to be told must have been told.
const FRAMES: usize = 200_000;

pub(crate) type Outcome = Result<(), String>;

/// A commit that waits for the disk.
struct InLine {
    writes: Vec<Writing>,
    conditions: Vec<Condition>,
}

struct Server {
    engine: Engine,
    committer: Committer<Kept>,
}

/// A cursor that was given, with what its reader had.
#[derive(Clone)]
struct Known {
    cursor: Cursor,
    path: Names,
    depth: u32,
    value: Option<Value>,
    /// The value may be newer than the cursor.
    is_later: bool,
}

pub(crate) struct World {
    settings: Settings,
    mutant: &'static str,
    is_told: bool,
    now: u64,
    /// The clock on the wall, which may be set, and what the server has read there last.
    wall: u64,
    read: u64,
    epoch: u64,
    regions: usize,
    server: Option<Server>,
    /// What everybody may see.
    tree: Tree,
    /// And beside it, the server's own state.
    own: Rc<Value>,
    /// Commits in line, and how many of them, from the first, are being written.
    pending: Vec<InLine>,
    taken: usize,
    transaction: Option<Transaction>,
    /// With a fault that is planted: what was answered before it was written.
    early: bool,
    /// What may be on disk although it was said to have failed.
    doubt: Option<Vec<Diff>>,
    /// The newest revision of this epoch that somebody was told of.
    newest: u64,
    clients: Vec<Client>,
    known: Vec<Known>,
    etags: Vec<(Names, Cursor)>,
    generations: u64,
    report: Report,
    /// Operations so far.
    turns: usize,
}

/// What happened, so that one can see whether it was worth it.
#[derive(Clone, Default)]
pub(crate) struct Report {
    pub(crate) steps: u64,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Report {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

fn path_of(names: &[String]) -> Path {
    names.iter().fold(Path::ROOT, |path, name| path.child(name))
}

fn class(refusal: &Refusal) -> No {
    match refusal {
        Refusal::NotFound(_) => No::NotFound,
        Refusal::NotAnObject { .. } => No::NotAnObject,
        Refusal::Precondition(_) => No::Precondition,
        Refusal::PatchFailed { .. } => No::PatchFailed,
        Refusal::Limit { .. } => No::Limit,
        _ => No::Other,
    }
}

fn ensure(is: bool, what: impl FnOnce() -> String) -> Outcome {
    if is { Ok(()) } else { Err(what()) }
}

fn show_value(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), brief)
}

/// Where two values differ, for those who look for the reason.
fn difference(ours: Option<&Value>, theirs: Option<&Value>) -> String {
    let (mut ours, mut theirs, mut at) = (ours, theirs, String::new());
    while let (Some(Value::Object(a)), Some(Value::Object(b))) = (ours, theirs) {
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let Some(name) = names.into_iter().find(|name| a.get(*name) != b.get(*name)) else { break };
        at.push('/');
        at.extend(name.escape_default());
        (ours, theirs) = (a.get(name), b.get(name));
    }
    format!("at {at:?} {}, not {}", show_value(theirs), show_value(ours))
}

/// Performs a script from first to last.
pub(crate) fn perform(script: &Script, mutant: &'static str, is_told: bool) -> Result<Report, String> {
    mutants::plant(mutant);
    let mut world = World::new(script, mutant, is_told)?;
    for (i, operation) in script.operations.iter().enumerate() {
        world.say(|| format!("{i}: {operation}"));
        world.perform(operation).map_err(|what| format!("operation {i} ({operation}): {what}"))?;
        world.report.steps += 1;
        world.check().map_err(|what| format!("after operation {i} ({operation}): {what}"))?;
    }
    world.finish().map_err(|what| format!("at the end: {what}"))?;
    mutants::plant("");
    Ok(world.report)
}

impl InLine {
    /// What it does to a tree, and of each write whether it creates something.
    fn outcome(&self, tree: &Tree, epoch: u64) -> Result<(Vec<bool>, Diff), No> {
        let mut after = (*tree.root).clone();
        let mut created = Vec::new();
        for (writing, condition) in self.writes.iter().zip(&self.conditions) {
            let exists = model::at(&tree.root, &writing.path).is_some();
            let now = tree
                .changed
                .get(&model::key(&writing.path))
                .map(|revision| Cursor { epoch: Epoch::from_random(epoch), revision: Revision(*revision) });
            let among = |states: &States| match states {
                States::Any => exists,
                // PROTOCOL C5. Nobody was told of a cursor that is ahead.
                States::These(cursors) => {
                    let is_as_in = |c: &Cursor| {
                        now.is_some_and(|now| c.epoch == now.epoch && c.revision >= now.revision)
                    };
                    exists && cursors.iter().any(is_as_in)
                }
            };
            if !condition.is.as_ref().is_none_or(among) || condition.is_not.as_ref().is_some_and(among) {
                return Err(No::Precondition);
            }
            created.push(model::write(&mut after, &writing.path, &writing.act)?);
        }
        Ok((created, model::diff(Some(&tree.root), Some(&after))))
    }

    /// Whether it speaks of a place where another writes, or makes what leads there.
    fn meets(&self, other: &InLine, tree: &Tree) -> bool {
        let meet = |a: &[String], b: &[String]| a.starts_with(b) || b.starts_with(a);
        other.writes.iter().any(|write| {
            let is_there = |len: &usize| model::at(&tree.root, &write.path[..*len]).is_some();
            let there = (0..write.path.len()).rev().find(is_there).unwrap_or(0);
            self.writes.iter().any(|own| meet(&own.path, &write.path[..(there + 1).min(write.path.len())]))
        })
    }
}

impl World {
    fn new(script: &Script, mutant: &'static str, is_told: bool) -> Result<World, String> {
        let epoch = script.seed & 0xffff;
        let mut world = World {
            settings: script.settings.clone(),
            mutant,
            is_told,
            now: 1,
            epoch,
            regions: script.settings.regions,
            server: None,
            tree: Tree::new(),
            own: Rc::new(Value::Object(Default::default())),
            pending: Vec::new(),
            taken: 0,
            transaction: None,
            early: false,
            doubt: None,
            newest: 0,
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            known: Vec::new(),
            etags: Vec::new(),
            generations: 0,
            report: Report::default(),
            turns: 0,
            wall: 1000,
            read: 1000,
        };
        world.say(|| script.settings.to_string());
        let remains = Remains::new(world.settings.store, epoch, mutant);
        world.start(remains, None, Fate::Works, false)?;
        Ok(world)
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{}", what());
        }
    }

    fn patterns(&self) -> Patterns {
        model::patterns(REGIONS[self.regions])
    }

    fn read_clock(&mut self) -> Timestamp {
        self.read = self.wall;
        Timestamp(self.wall)
    }

    fn tick(&self) -> Tick {
        Tick(self.now)
    }

    fn cursor(&self, revision: u64) -> Cursor {
        Cursor { epoch: Epoch::from_random(self.epoch), revision: Revision(revision) }
    }

    fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("the server runs between operations")
    }

    fn perform(&mut self, operation: &Operation) -> Outcome {
        self.turns += 1;
        if self.turns.is_multiple_of(2) {
            self.work();
        }
        match operation {
            Operation::Commit(writes) => self.commit(writes),
            Operation::Pair(n) => {
                let write = |path: &[&str]| Writing {
                    path: path.iter().map(|name| (*name).to_owned()).collect(),
                    act: Act::Put(Value::from(*n)),
                    condition: If::Nothing,
                };
                self.commit(&[write(&["l"]), write(&["r"])])
            }
            Operation::Own(value) => self.commit_own(value),
            Operation::Begin => self.begin(),
            Operation::End(fate) => self.end(*fate),
            Operation::Recover(fate) => self.recover(*fate),
            Operation::Tick(ms) => {
                self.now += ms;
                self.wall = match ms % 8 {
                    0 => self.wall.saturating_sub(AHEAD),
                    1 => self.wall + AHEAD,
                    _ => self.wall + ms,
                };
                Ok(())
            }
            Operation::Connect(client) => self.connect(*client),
            Operation::Watch(client, watching) => self.watch(*client, watching),
            Operation::Unwatch(client, nth) => self.unwatch(*client, *nth),
            Operation::Send(client, frames) => self.send(*client, *frames).map(|_| ()),
            Operation::Arrive(client, bytes) => self.arrive(*client, *bytes),
            Operation::Cut(client) => {
                self.cut(*client);
                Ok(())
            }
            Operation::Read(path) => self.read(path),
            Operation::Probe(cursor, value) => self.probe(*cursor, *value),
            Operation::Queue { is_nested } => self.queue(*is_nested),
            Operation::Rest => self.rest(),
            Operation::Crash { landed, seed, regions, open } => {
                // What is being written is there, or not.
                if let (Some(transaction), true, false) = (self.transaction.take(), *landed, self.early) {
                    let Server { committer, .. } = self.server();
                    let _ = committer.write(&transaction);
                }
                self.crash(*seed, *regions, *open)
            }
            Operation::Stop { regions, open } => self.stop(*regions, *open),
            Operation::Wipe { seed } => self.wipe(*seed),
        }
    }

    fn commit(&mut self, writes: &[Writing]) -> Outcome {
        let limits = &self.settings.limits;
        let is_limited = limits.members_per_object < 1_000_000 || limits.tree_bytes < 1 << 30;
        let patterns = self.patterns();
        let root = &self.tree.root;
        let is_ephemeral =
            !patterns.is_empty() && writes.iter().all(|w| model::is_ephemeral(&patterns, &w.path, root));
        // After a crash, the model would not know which of those in line were refused.
        if is_limited && !is_ephemeral && !self.pending.is_empty() {
            return Ok(());
        }
        let conditions: Vec<Condition> = writes.iter().map(|w| self.condition(w)).collect();
        let asked = writes.iter().zip(&conditions).map(|(w, condition)| {
            let (path, condition) = (path_of(&w.path), condition.clone());
            Ok(Write { path, action: self.action(&w.act)?, condition })
        });
        let Ok(asked) = asked.collect::<Result<Vec<Write>, No>>() else { return Ok(()) };
        let commit = InLine { writes: writes.to_vec(), conditions };
        let at = self.read_clock();
        let engine = &mut self.server().engine;
        match engine.submit(&asked, at) {
            Submitted::Busy => {
                self.report.count("busy");
                self.say(|| "   busy".to_owned());
                ensure(is_ephemeral && !self.pending.is_empty(), || "busy without a reason".to_owned())
            }
            Submitted::Waits => {
                self.say(|| "   waits".to_owned());
                ensure(!is_ephemeral, || "an ephemeral commit waits".to_owned())?;
                self.pending.push(commit);
                Ok(())
            }
            Submitted::Follows => {
                self.report.count("follows");
                self.say(|| "   follows".to_owned());
                let is_behind = self.pending.iter().any(|other| other.meets(&commit, &self.tree));
                ensure(is_ephemeral && is_behind, || "it follows nothing".to_owned())?;
                self.pending.push(commit);
                Ok(())
            }
            Submitted::Done(result) => {
                let expected = commit.outcome(&self.tree, self.epoch);
                if let (Ok((_, diff)), Ok(_), false) = (&expected, &result, is_ephemeral) {
                    let mut after = (*self.tree.root).clone();
                    apply(diff, &mut after);
                    let durable = |value: &Value| model::durable(value, &patterns);
                    ensure(durable(&self.tree.root) == durable(&after), || {
                        "a durable commit is done before it was written".to_owned()
                    })?;
                    ensure(self.pending.is_empty(), || "a commit is done before those before it".to_owned())?;
                }
                if !self.pending.is_empty() {
                    self.report.count("in between");
                }
                self.settled(&commit, result)?;
                self.wake();
                Ok(())
            }
        }
    }

    /// What is said of the server itself changes, and nothing else does.
    fn commit_own(&mut self, next: &Value) -> Outcome {
        let limits = &self.settings.limits;
        let json = |value: &Value| {
            Json::parse(value.to_string().as_bytes(), limits).map_err(|error| error.to_string())
        };
        let Some(change) = json(next)?.over(&json(&self.own)?) else { return Ok(()) };
        let (at, last) = (self.read_clock(), self.tree.revision);
        let engine = &mut self.server().engine;
        // What others have left to be done is gone on with by any commit, and wakes others.
        let had_work = engine.has_work();
        let is_done = engine.commit_own(&change, at);
        let (revision, woken) = (engine.revision().0, engine.take_woken());
        if !is_done {
            self.report.count("own, no room");
            return ensure(!self.pending.is_empty() && revision == last, || {
                "no room without a reason".to_owned()
            });
        }
        self.report.count("own");
        ensure(revision > last, || format!("revision {revision} after {last}"))?;
        (self.tree.revision, self.own) = (revision, Rc::new(next.clone()));
        for client in &mut self.clients {
            let is_own = |link: &Link| link.path.first().is_some_and(|name| name == OWN);
            let watches = client.links.values().any(is_own);
            let Some(connection) = &mut client.connection else { continue };
            let is_woken = woken.contains(&connection.session);
            ensure(watches || !is_woken || had_work, || "who does not watch it is woken by it".to_owned())?;
            connection.is_awake |= is_woken;
        }
        Ok(())
    }

    fn seen(&self) -> Seen {
        Seen { root: self.tree.root.clone(), own: self.own.clone() }
    }

    fn condition(&self, writing: &Writing) -> Condition {
        let now = self.tree.changed.get(&model::key(&writing.path)).copied().unwrap_or(1);
        let these = |cursor| Some(States::These(vec![cursor]));
        let (is, is_not) = match writing.condition {
            If::Nothing => (None, None),
            If::Exists => (Some(States::Any), None),
            If::Absent => (None, Some(States::Any)),
            If::Current => (these(self.cursor(now)), None),
            If::NotCurrent => (None, these(self.cursor(now))),
            If::Newest => (these(self.cursor(self.newest.max(1))), None),
            If::Former(nth) => {
                let own: Vec<Cursor> =
                    self.etags.iter().filter(|(path, _)| *path == writing.path).map(|(_, c)| *c).collect();
                let any = self.etags.get(nth % self.etags.len().max(1)).map(|(_, cursor)| *cursor);
                let cursor = own.get(nth % own.len().max(1)).copied().or(any);
                (these(cursor.unwrap_or(self.cursor(now))), None)
            }
        };
        Condition { is, is_not }
    }

    fn action(&self, act: &Act) -> Result<Action, No> {
        let limits = &self.settings.limits;
        let json = |value: &Value| Json::parse(value.to_string().as_bytes(), limits).map_err(|_| No::Limit);
        Ok(match act {
            Act::Put(value) => Action::Put(json(value)?),
            Act::Merge(value) => Action::Merge(json(value)?),
            Act::Patch(value) => {
                Action::Patch(Patch::parse(value.to_string().as_bytes(), limits).map_err(|_| No::Limit)?)
            }
            Act::Delete => Action::Delete,
        })
    }

    /// A commit has its answer: what it comes to when it is done at its revision, whatever was done between that and when it got in line.
    fn settled(&mut self, commit: &InLine, result: Result<Vec<Written>, Refusal>) -> Outcome {
        let expected = commit.outcome(&self.tree, self.epoch);
        self.say(|| format!("   {result:?}"));
        self.report.count(if result.is_ok() { "commits" } else { "refused" });
        let written = match (expected, result) {
            (Err(no), Err(refusal)) if no == class(&refusal) => return Ok(()),
            (_, Err(Refusal::Limit { .. })) => return Ok(()),
            (Ok(_), Err(refusal)) => return Err(format!("refused without a reason: {refusal}")),
            (Err(no), other) => return Err(format!("expected {no:?}, got {other:?}")),
            (Ok((created, diff)), Ok(written)) => {
                let told: Vec<bool> = written.iter().map(|w| w.created).collect();
                ensure(told == created, || format!("created {told:?}, not {created:?}"))?;
                let revision = written.iter().map(|w| w.revision.0).max().unwrap_or_default();
                if diff != Diff::Keep {
                    let (last, is_sparse) = (self.tree.revision, self.regions != 0 || self.settings.own);
                    let is_next = if is_sparse { revision > last } else { revision == last + 1 };
                    ensure(is_next, || format!("revision {revision} after {last}"))?;
                    self.tree.apply(&diff, revision);
                } else {
                    ensure(revision <= self.tree.revision, || {
                        format!("revision {revision}, and nothing has changed")
                    })?;
                }
                written
            }
        };
        for (Writing { path, .. }, written) in commit.writes.iter().zip(written) {
            if let Some(changed) = self.tree.changed.get(&model::key(path)) {
                let given = written.revision.0;
                ensure(given == *changed, || {
                    format!("the ETag of {} says {given}, and it changed at {changed}", show(path))
                })?;
            }
            self.told(written.revision);
            self.etag(path, written.revision);
        }
        Ok(())
    }

    fn told(&mut self, revision: Revision) {
        self.newest = self.newest.max(revision.0);
    }

    fn etag(&mut self, path: &[String], revision: Revision) {
        if self.etags.len() >= 200 {
            self.etags.swap_remove(self.now as usize % 200);
        }
        self.etags.push((path.to_vec(), self.cursor(revision.0)));
    }

    /// Does some of what commits have left to be done.
    fn work(&mut self) {
        let Some(server) = &mut self.server else { return };
        if server.engine.has_work() {
            drop(server.engine.work());
            self.report.count("steps of work");
            self.wake();
        }
    }

    fn wake(&mut self) {
        let Some(server) = &mut self.server else { return };
        for session in server.engine.take_woken() {
            for connection in self.clients.iter_mut().filter_map(|c| c.connection.as_mut()) {
                connection.is_awake |= connection.session == session;
            }
        }
    }

    /// The next frame of a session whose reader takes turn after turn.
    fn next(&mut self, session: SessionId) -> Option<Update> {
        let tick = self.tick();
        let engine = &mut self.server().engine;
        loop {
            let update = engine.next(session, tick);
            if update.is_some() || engine.take_woken().is_empty() {
                return update;
            }
        }
    }

    fn begin(&mut self) -> Outcome {
        if self.transaction.is_some() {
            return Ok(());
        }
        let Server { engine, committer } = self.server();
        let Some(transaction) = committer.begin(engine) else { return Ok(()) };
        self.taken = self.pending.len();
        let mut taken = self.taken;
        if self.mutant == "answered-early" {
            let Server { engine, committer } = self.server();
            let settled = committer.end(engine, &transaction, Ok(()));
            self.early = true;
            self.answered(settled)?;
            taken = 0;
        }
        self.say(|| {
            let batch = transaction.batch.as_ref().map(|b| (b.commits, b.first, b.last, b.body.len()));
            let checkpoint = transaction.checkpoint.as_ref().map(|c| {
                format!("{} rows, {} forgotten, through {:?}", c.rows.len(), c.forgotten.len(), c.through)
            });
            format!(
                "   {taken} commits, batch {batch:?}, checkpoint {checkpoint:?}, lease {:?}",
                transaction.lease
            )
        });
        if transaction.checkpoint.is_some() {
            self.report.count("checkpoints");
        }
        self.transaction = Some(transaction);
        Ok(())
    }

    fn end(&mut self, fate: Fate) -> Outcome {
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        let is_answered = std::mem::take(&mut self.early);
        let Server { engine, committer } = self.server();
        committer.journal_mut().fate(fate);
        let outcome = committer.write(&transaction);
        if committer.journal().is_off() {
            let Fate::Crashes { seed, .. } = fate else { return Err("power went by itself".to_owned()) };
            return self.crash(seed, None, Fate::Works);
        }
        committer.journal_mut().fate(Fate::Works);
        if is_answered {
            return Ok(());
        }
        let settled = committer.end(engine, &transaction, outcome);
        self.answered(settled)
    }

    fn answered(&mut self, settled: Result<Vec<Result<Vec<Written>, Refusal>>, Fault>) -> Outcome {
        let taken = std::mem::take(&mut self.taken);
        match settled {
            Err(fault) => {
                self.report.count("journal failed");
                self.say(|| format!("   {fault}"));
                self.doubt = Some(self.diffs(taken));
                self.pending.clear();
            }
            Ok(results) => {
                ensure(results.len() == taken, || format!("{} answers for {taken} commits", results.len()))?;
                let commits: Vec<InLine> = self.pending.drain(..taken).collect();
                for (commit, result) in commits.iter().zip(results) {
                    self.settled(commit, result)?;
                }
                self.wake();
            }
        }
        Ok(())
    }

    /// What the first of those in line do, one after the other.
    fn diffs(&self, count: usize) -> Vec<Diff> {
        let mut tree = self.tree.clone();
        let diffs = self.pending[..count].iter().filter_map(|commit| {
            let (_, diff) = commit.outcome(&tree, self.epoch).ok()?;
            tree.apply(&diff, tree.revision + 1);
            Some(diff)
        });
        diffs.collect()
    }

    /// The engine's tree is the model's from now on. `is_known`: the model knew when things changed, and that does not go back.
    fn take_over(&mut self, real: Value, is_known: bool) -> Outcome {
        let engine = &self.server.as_ref().expect("it runs").engine;
        let mut tree =
            Tree { root: Rc::new(real), revision: engine.revision().0, changed: Default::default() };
        for path in tree.places() {
            let revision = engine.read(&path_of(&path), 0).map_err(|e| e.to_string())?.revision.0;
            let key = model::key(&path);
            if let Some(before) = self.tree.changed.get(&key).filter(|_| is_known) {
                ensure(revision >= *before, || {
                    format!("{} goes back from revision {before} to {revision}", show(&path))
                })?;
            }
            tree.changed.insert(key, revision);
        }
        self.tree = tree;
        Ok(())
    }

    fn real(&self) -> Result<Value, String> {
        let engine = &self.server.as_ref().expect("it runs").engine;
        let reading = engine.read(&Path::ROOT, u32::MAX).map_err(|e| e.to_string())?;
        serde_json::from_slice(&reading.value.unwrap_or_default()).map_err(|e| e.to_string())
    }

    fn recover(&mut self, fate: Fate) -> Outcome {
        let Server { committer, .. } = self.server();
        if *committer.status() == Status::Works {
            return Ok(());
        }
        committer.journal_mut().fate(fate);
        let recovered = committer.recover();
        if committer.journal().is_off() {
            let Fate::Crashes { seed, .. } = fate else { return Err("power went by itself".to_owned()) };
            return self.crash(seed, None, Fate::Works);
        }
        committer.journal_mut().fate(Fate::Works);
        self.say(|| format!("   {recovered:?}"));
        match recovered {
            Ok(()) => {
                self.report.count("journal recovered");
                self.doubt = None;
            }
            Err(fault) if matches!(fate, Fate::Works) => return Err(format!("it cannot recover: {fault}")),
            Err(_) => {}
        }
        Ok(())
    }

    fn crash(&mut self, seed: u64, regions: Option<usize>, open: Fate) -> Outcome {
        self.report.count("crashes");
        if seed.is_multiple_of(4) {
            self.wall -= self.wall.min(seed % 64);
        }
        let server = self.server.take().expect("it runs");
        if self.taken > 0 {
            self.doubt = Some(self.diffs(self.taken));
        }
        let remains = server.committer.into_journal().crash(seed);
        self.start(remains, regions, open, false)
    }

    fn stop(&mut self, regions: Option<usize>, open: Fate) -> Outcome {
        self.end(Fate::Works)?;
        self.recover(Fate::Works)?;
        for _ in 0..3 {
            self.begin()?;
            self.end(Fate::Works)?;
        }
        ensure(self.pending.is_empty(), || "commits are in line for ever".to_owned())?;
        let mut server = self.server.take().expect("it runs");
        if let Some(transaction) = server.committer.begin_last(&mut server.engine) {
            let outcome = server.committer.write(&transaction);
            let settled = server.committer.end(&mut server.engine, &transaction, outcome);
            settled.map_err(|fault| format!("it cannot stop: {fault}"))?;
        }
        if let Some(bytes) = server.committer.journal().bytes() {
            let stats = server.engine.stats();
            // Rows repeat the names on the way to them, and tombstones have names and numbers of their own.
            let max = 6 * stats.tree_bytes + 120 * stats.tombstones + 400;
            ensure(bytes <= max || self.regions != 0, || {
                format!(
                    "{bytes} bytes are kept for {} bytes and {} tombstones",
                    stats.tree_bytes, stats.tombstones
                )
            })?;
        }
        let remains = server.committer.into_journal().close();
        self.start(remains, regions, open, true)
    }

    fn wipe(&mut self, seed: u64) -> Outcome {
        self.server = None;
        if self.mutant != "epoch-reused" {
            self.epoch = self.epoch.wrapping_add(1 + (seed & 0xff));
        }
        (self.tree, self.newest, self.doubt) = (Tree::new(), 0, None);
        self.pending.clear();
        self.taken = 0;
        let remains = Remains::new(self.settings.store, self.epoch, self.mutant);
        self.start(remains, None, Fate::Works, false)
    }

    /// Opens what there is, and looks whether all of it is there.
    fn start(&mut self, remains: Remains, regions: Option<usize>, fate: Fate, is_clean: bool) -> Outcome {
        for client in &mut self.clients {
            client.connection = None;
        }
        let was = self.patterns();
        self.regions = regions.unwrap_or(self.regions);
        self.transaction = None;
        self.early = false;
        let mut fate = fate;
        let mut remains = remains;
        let seed = match fate {
            Fate::Crashes { seed, .. } => seed,
            _ => 0,
        };
        // The first attempt may fail; then there is no more trouble.
        let server = loop {
            match self.try_start(remains, fate)? {
                Ok(server) => break server,
                Err(why) => {
                    let (left, fault) = *why;
                    self.report.count("openings failed");
                    self.say(|| format!("   not opened: {fault}"));
                    ensure(!matches!(fate, Fate::Works), || format!("it cannot be opened: {fault}"))?;
                    if let Remains::Disk(disk) = &left {
                        disk.plan(Default::default(), 0);
                        if disk.is_off() {
                            disk.on(seed);
                        }
                    }
                    (remains, fate) = (left, Fate::Works);
                }
            }
        };
        self.server = Some(server);
        self.came_back(&was, is_clean)
    }

    fn try_start(&mut self, remains: Remains, fate: Fate) -> Result<Result<Server, NotOpened>, String> {
        let journal = match remains.open(self.epoch, self.mutant, fate) {
            Ok(journal) => journal,
            Err(left) => return Ok(Err(left)),
        };
        let limits = self.settings.limits.clone();
        let patterns = REGIONS[self.regions].iter().map(|text| Pattern::parse(text, &limits));
        let regions = Regions::new(patterns.collect::<Result<_, _>>().map_err(|e| e.to_string())?);
        let spare = journal.spare();
        let opened = match open(journal, limits, regions, self.read_clock(), &mut |_| {}) {
            Ok(opened) => opened,
            Err(fault) => {
                return match spare {
                    Some(disk) if disk.is_off() => Ok(Err(Box::new((Remains::Disk(disk), fault)))),
                    _ => Err(format!("what is there makes no sense: {fault}")),
                };
            }
        };
        let (mut engine, committer) = (opened.engine, opened.committer);
        engine.leave_room(self.settings.room);
        let (marks, slots, looks) = self.settings.pace;
        engine.set_pace(marks, slots, looks);
        if self.settings.own {
            engine.keep_own(true);
        }
        let (bytes, commits) = self.settings.log;
        let mut committer = committer.checkpoint_after(bytes, commits);
        let started = committer.start(&mut engine);
        engine.take_woken();
        let is_off = committer.journal().is_off();
        committer.journal_mut().fate(Fate::Works);
        match started {
            Ok(()) if !is_off => Ok(Ok(Server { engine, committer })),
            Ok(()) => Err("power went, and nobody noticed".to_owned()),
            Err(fault) => {
                let journal = committer.into_journal();
                let remains = if is_off { journal.crash(self.now) } else { journal.close() };
                Ok(Err(Box::new((remains, fault))))
            }
        }
    }

    fn came_back(&mut self, was: &Patterns, is_clean: bool) -> Outcome {
        let real = self.real()?;
        self.own = Rc::new(Value::Object(Default::default()));
        let stats = self.server().engine.stats();
        let revision = stats.revision.0;
        self.say(|| format!("   it is back at revision {revision}: {}", brief(&real)));
        ensure(revision >= self.newest, || {
            format!("somebody was told of revision {}, and it is back at {revision}", self.newest)
        })?;
        let now = self.patterns();
        let lost: Patterns = was.iter().chain(&now).cloned().collect();
        let doubt = self.doubt.take().filter(|_| !is_clean);
        self.pending.clear();
        self.taken = 0;
        let mut landed = self.tree.clone();
        for diff in doubt.iter().flatten() {
            landed.apply(diff, landed.revision + 1);
        }
        let theirs = model::durable(&real, &lost);
        let known = model::durable(&self.tree.root, &lost);
        let has_landed = theirs != known;
        self.report.count(if is_clean { "clean restarts" } else { "other restarts" });
        if doubt.is_some() {
            self.report.count(if has_landed { "in doubt, there" } else { "in doubt, not there" });
        }
        if has_landed {
            let ours = model::durable(&landed.root, &lost);
            ensure(doubt.is_some() && ours == theirs, || {
                format!(
                    "what was acknowledged is not what is there: {}{}",
                    difference(Some(&known), Some(&theirs)),
                    match doubt {
                        None => String::new(),
                        Some(_) => format!(
                            "; and with what was in doubt, {}",
                            difference(Some(&ours), Some(&theirs))
                        ),
                    }
                )
            })?;
        }
        if lost.is_empty() && !self.settings.own {
            // It may have landed without a difference in the end.
            let landed_unseen =
                doubt.is_some() && revision == landed.revision && revision != self.tree.revision;
            if has_landed || landed_unseen {
                self.tree = landed;
            }
            ensure(revision == self.tree.revision, || {
                format!("it is back at revision {revision}, not {}", self.tree.revision)
            })?;
            let engine = &self.server.as_ref().expect("it runs").engine;
            for path in self.tree.places() {
                let given = engine.read(&path_of(&path), 0).map_err(|e| e.to_string())?.revision.0;
                let changed = self.tree.changed.get(&model::key(&path)).copied().unwrap_or_default();
                ensure(given == changed, || {
                    format!("the ETag of {} was {changed} and is {given}", show(&path))
                })?;
            }
        } else {
            let mut there = Tree::new();
            there.root = Rc::new(real.clone());
            let found = there.places().into_iter().find(|path| model::holds(&lost, path));
            ensure(found.is_none(), || {
                format!("{} was ephemeral, and is there", show(&found.unwrap_or_default()))
            })?;
            self.take_over(real, true)?;
        }
        self.check_tombstones()?;
        (0..self.known.len()).try_for_each(|nth| self.probe(nth, nth))
    }

    fn connect(&mut self, number: usize) -> Outcome {
        if self.clients[number].connection.is_some() {
            return Ok(());
        }
        let session = self.server().engine.open();
        let client = &mut self.clients[number];
        client.connection = Some(Connection { session, pipe: Default::default(), is_awake: false });
        // Some follow each link by its own cursor, as streams do; others all links by one, as sessions do.
        let is_stream = number % 2 == 1;
        let common = client.synced;
        let mut watches = Vec::new();
        for (tag, link) in &mut client.links {
            self.generations += 1;
            link.generation = self.generations;
            let own = if is_stream { link.cursor } else { common.filter(|_| link.is_covered) };
            let since = own.filter(|_| !link.is_broken && link.value.is_some());
            match since {
                None => {
                    link.value = None;
                    (link.cursor, link.is_lenient) = (None, false);
                }
                Some(cursor) if cursor.epoch != Epoch::from_random(self.epoch) => {
                    self.report.count("resumed, other epoch");
                    link.is_lenient = true;
                }
                Some(_) => link.is_lenient = link.is_ahead || link.is_incomplete || !is_stream,
            }
            (link.is_incomplete, link.is_broken, link.is_covered) = (false, false, false);
            watches.push((*tag, link.clone(), since));
        }
        for (tag, link, since) in watches {
            self.open_link(session, tag, &link, since)?;
        }
        self.wake();
        Ok(())
    }

    fn open_link(
        &mut self,
        session: halfping_engine::SessionId,
        tag: u32,
        link: &Link,
        since: Option<Cursor>,
    ) -> Outcome {
        let watch = Watch {
            path: path_of(&link.path),
            since,
            depth: link.depth,
            whole: link.whole,
            interval_ms: link.interval_ms,
            priority: Priority::new(link.priority).unwrap_or_default(),
        };
        let opened = self.server().engine.watch(session, tag, &watch);
        ensure(opened, || format!("tag {tag} is said to be taken"))
    }

    fn watch(&mut self, number: usize, watching: &Watching) -> Outcome {
        self.connect(number)?;
        self.unwatch_tag(number, watching.tag)?;
        self.generations += 1;
        let mut link = Link {
            generation: self.generations,
            path: watching.path.clone(),
            depth: watching.depth,
            whole: watching.whole,
            interval_ms: watching.interval_ms,
            priority: watching.priority,
            value: None,
            cursor: None,
            is_ahead: false,
            is_incomplete: false,
            is_broken: false,
            is_lenient: false,
            is_covered: false,
            newest: None,
        };
        let known = watching.since.and_then(|nth| self.known.get(nth % self.known.len().max(1)));
        if let Some(known) = known {
            (link.path, link.depth) = (known.path.clone(), known.depth);
            (link.value, link.cursor) = (Some(known.value.clone()), Some(known.cursor));
            link.is_lenient = known.is_later;
        }
        let since = link.cursor;
        let Some(connection) = &self.clients[number].connection else { return Ok(()) };
        let session = connection.session;
        self.open_link(session, watching.tag, &link, since)?;
        self.clients[number].links.insert(watching.tag, link);
        self.wake();
        Ok(())
    }

    fn unwatch(&mut self, number: usize, nth: usize) -> Outcome {
        let tags: Vec<u32> = self.clients[number].links.keys().copied().collect();
        match tags.get(nth % tags.len().max(1)) {
            Some(tag) => self.unwatch_tag(number, *tag),
            None => Ok(()),
        }
    }

    fn unwatch_tag(&mut self, number: usize, tag: u32) -> Outcome {
        if self.clients[number].links.remove(&tag).is_none() {
            return Ok(());
        }
        let Some(connection) = &self.clients[number].connection else { return Ok(()) };
        let session = connection.session;
        let ended = self.server().engine.unwatch(session, tag);
        ensure(ended, || format!("tag {tag} is said not to be there"))
    }

    fn cut(&mut self, number: usize) {
        if let Some(connection) = self.clients[number].connection.take() {
            self.server().engine.close(connection.session);
        }
    }

    /// Makes a message. Says whether there was anything.
    fn send(&mut self, number: usize, frames_max: usize) -> Result<bool, String> {
        let (window, tick, epoch) = (self.settings.window, self.tick(), Epoch::from_random(self.epoch));
        let client = &mut self.clients[number];
        let Some(connection) = &mut client.connection else { return Ok(false) };
        let Some(Server { engine, .. }) = &mut self.server else { return Ok(false) };
        let on_their_way: usize = connection.pipe.iter().map(|m| m.left).sum();
        let is_due = engine.due(connection.session).is_some_and(|due| due <= tick);
        if on_their_way >= window || !(connection.is_awake || is_due) {
            return Ok(false);
        }
        connection.is_awake = true;
        let mut frames = Vec::new();
        let mut newest = self.newest;
        let mut is_done = false;
        while frames.len() < frames_max {
            let Some(update) = engine.next(connection.session, tick) else {
                // Its turn is over; if it has not been told everything, it is woken.
                is_done = engine.take_woken().is_empty();
                break;
            };
            let Some(link) = client.links.get(&update.tag) else {
                return Err(format!("a frame for tag {}, which is not watched", update.tag));
            };
            let frame = update.frame.map_err(|refusal| refusal.to_string())?;
            let cursor = frame.revision.map(|revision| Cursor { epoch, revision });
            let body: Value = serde_json::from_slice(&frame.body).map_err(|e| e.to_string())?;
            self.report.count(if cursor.is_some() { frame.kind.name() } else { "slices" });
            if let Some(revision) = frame.revision {
                newest = newest.max(revision.0);
                if let Some(changed) = self.tree.changed.get(&model::key(&link.path)) {
                    ensure(*changed == revision.0, || {
                        format!(
                            "a frame of {} leads to {revision:?}; it changed at {changed}",
                            show(&link.path)
                        )
                    })?;
                }
                ensure(revision.0 <= self.tree.revision, || format!("a frame leads to {revision:?}"))?;
                ensure(frame.time.0 <= self.read, || format!("a frame of the time {:?}", frame.time))?;
            }
            ensure(!link.whole || matches!(frame.kind.name(), "snapshot" | "gone"), || {
                format!("a {} for a link of whole values", frame.kind.name())
            })?;
            if self.is_told {
                println!("   tag {} {} {} {cursor:?}", update.tag, frame.kind.name(), brief(&body));
            }
            frames.push(Sent {
                tag: update.tag,
                generation: link.generation,
                kind: frame.kind,
                body,
                cursor,
            });
        }
        let mut synced = None;
        if is_done {
            connection.is_awake = false;
        }
        // Who has nothing left to be told may still have a link that is not marked. It is woken when all are.
        let is_synced = is_done && engine.is_synced(connection.session);
        ensure(is_synced || !is_done || engine.has_work(), || {
            "nothing is left, and it is not synced".to_owned()
        })?;
        if is_synced {
            let revision = engine.resume_point(connection.session);
            let waits = engine.due(connection.session).is_some();
            ensure(
                if waits { revision.0 <= self.tree.revision } else { revision.0 == self.tree.revision },
                || format!("synced at {revision:?}, waiting {waits}"),
            )?;
            newest = newest.max(revision.0);
            let links = client.links.iter().map(|(tag, link)| Spoken {
                tag: *tag,
                generation: link.generation,
                is_newest: !waits || link.interval_ms == 0,
            });
            synced = Some(Synced { cursor: Cursor { epoch, revision }, links: links.collect() });
        }
        self.newest = newest;
        let left = 20 + frames.iter().map(|f| f.body.to_string().len() + 20).sum::<usize>();
        let seen = Seen { root: self.tree.root.clone(), own: self.own.clone() };
        connection.pipe.push_back(Message { frames, seen, synced, left });
        self.report.steps += 1;
        Ok(true)
    }

    fn arrive(&mut self, number: usize, bytes: usize) -> Outcome {
        let mut bytes = bytes;
        loop {
            let Some(connection) = &mut self.clients[number].connection else { return Ok(()) };
            let Some(message) = connection.pipe.front_mut() else { return Ok(()) };
            if message.left > bytes {
                message.left -= bytes;
                return Ok(());
            }
            bytes -= message.left;
            let Some(message) = connection.pipe.pop_front() else { return Ok(()) };
            self.take(number, &message).map_err(|what| format!("client {number}: {what}"))?;
        }
    }

    fn take(&mut self, number: usize, message: &Message) -> Outcome {
        let keeps_nulls = self.mutant == "client-keeps-nulls";
        let client = &mut self.clients[number];
        let mut learned = Vec::new();
        for sent in &message.frames {
            let Some(link) = client.links.get_mut(&sent.tag).filter(|l| l.generation == sent.generation)
            else {
                continue;
            };
            link.apply(sent, keeps_nulls).map_err(|what| format!("{}: {what}", show(&link.path)))?;
            if let Some(cursor) = sent.cursor {
                check_mirror(link, &message.seen)?;
                (link.cursor, link.is_ahead) = (Some(cursor), false);
                learned.push((cursor, link.clone(), false));
            }
        }
        if let Some(Synced { cursor, links }) = &message.synced {
            for Spoken { tag, generation, is_newest } in links {
                let Some(link) = client.links.get_mut(tag).filter(|l| l.generation == *generation) else {
                    continue;
                };
                link.is_covered = true;
                if !is_newest {
                    // It has the state of its last turn, which the cursor stands for as well.
                    ensure(link.value.is_some(), || {
                        format!("synced at {cursor} without {}", show(&link.path))
                    })?;
                    continue;
                }
                check_mirror(link, &message.seen).map_err(|what| format!("synced at {cursor}: {what}"))?;
                if link.cursor.is_none_or(|c| c.epoch != cursor.epoch || c.revision <= cursor.revision) {
                    (link.cursor, link.is_ahead) = (Some(*cursor), false);
                    learned.push((*cursor, link.clone(), false));
                }
            }
            client.synced = Some(*cursor);
        }
        for (cursor, link, is_later) in learned {
            self.learn(cursor, &link, is_later);
        }
        Ok(())
    }

    fn learn(&mut self, cursor: Cursor, link: &Link, is_later: bool) {
        let Some(value) = link.value.clone() else { return };
        let known = Known { cursor, path: link.path.clone(), depth: link.depth, value, is_later };
        if self.known.len() < CURSORS {
            self.known.push(known);
        } else {
            // Old ones stay, now and then.
            let place = (cursor.revision.0 as usize).wrapping_mul(7).wrapping_add(self.report.steps as usize)
                % (2 * CURSORS);
            if place < CURSORS {
                self.known[place] = known;
            }
        }
    }

    fn read(&mut self, path: &Names) -> Outcome {
        let Some(Server { engine, .. }) = &self.server else { return Ok(()) };
        let reading = engine.read(&path_of(path), u32::MAX).map_err(|e| e.to_string())?;
        let theirs = reading.value.map(|v| serde_json::from_slice::<Value>(&v)).transpose();
        let theirs = theirs.map_err(|e| e.to_string())?;
        let ours = model::at(&self.tree.root, path);
        ensure(ours == theirs.as_ref(), || {
            format!("{} reads {}", show(path), difference(ours, theirs.as_ref()))
        })?;
        let revision = reading.revision;
        ensure(revision.0 <= self.tree.revision, || format!("a cursor of the future: {revision:?}"))?;
        if let Some(changed) = self.tree.changed.get(&model::key(path)) {
            ensure(*changed == revision.0, || {
                format!("{} changed at {changed}, and says {revision:?}", show(path))
            })?;
        }
        self.told(revision);
        self.etag(path, revision);
        Ok(())
    }

    /// Resumes with a cursor. What its reader has is what it had then, or, if there is one, a later state of the same.
    fn probe(&mut self, cursor: usize, value: usize) -> Outcome {
        let count = self.known.len().max(1);
        let Some(known) = self.known.get(cursor % count).cloned() else { return Ok(()) };
        let later = self.known.get(value % count).filter(|later| {
            (&later.path, later.depth) == (&known.path, known.depth)
                && later.cursor.epoch == known.cursor.epoch
                && later.cursor.revision > known.cursor.revision
        });
        let is_later = later.is_some() || known.is_later;
        self.report.count(if is_later { "probes, later value" } else { "probes" });
        let has = later.map_or(known.value.clone(), |later| later.value.clone());
        let mut link = Link {
            generation: 0,
            path: known.path.clone(),
            depth: known.depth,
            whole: false,
            interval_ms: 0,
            priority: 0,
            value: Some(has.clone()),
            cursor: Some(known.cursor),
            is_ahead: false,
            is_incomplete: false,
            is_broken: false,
            is_lenient: is_later,
            is_covered: false,
            newest: Some(known.cursor),
        };
        let session = self.server().engine.open();
        self.open_link(session, 0, &link, Some(known.cursor))?;
        let epoch = Epoch::from_random(self.epoch);
        let told = |what: String| {
            format!(
                "a reader of {} resumes with {} and {}: {what}",
                show(&known.path),
                known.cursor,
                show_value(has.as_ref())
            )
        };
        for _ in 0..FRAMES {
            let Some(update) = self.next(session) else {
                check_mirror(&link, &self.seen()).map_err(told)?;
                self.server().engine.close(session);
                self.wake();
                self.report.steps += 1;
                return Ok(());
            };
            let frame = update.frame.map_err(|refusal| refusal.to_string())?;
            let body: Value = serde_json::from_slice(&frame.body).map_err(|e| e.to_string())?;
            let cursor = frame.revision.map(|revision| Cursor { epoch, revision });
            let sent = Sent { tag: 0, generation: 0, kind: frame.kind, body, cursor };
            link.apply(&sent, false).map_err(told)?;
        }
        Err(told("there is no end of frames".to_owned()))
    }

    /// Everything is delivered; then everybody has what there is.
    fn rest(&mut self) -> Outcome {
        while self.server().engine.has_work() {
            self.work();
        }
        for number in 0..CLIENTS {
            for round in 0.. {
                ensure(round < FRAMES, || "there is no end of messages".to_owned())?;
                self.arrive(number, 1 << 30)?;
                if self.send(number, 16)? {
                    continue;
                }
                let Some(connection) = &self.clients[number].connection else { break };
                let session = connection.session;
                match self.server().engine.due(session) {
                    Some(due) => self.now = self.now.max(due.0),
                    None => break,
                }
            }
            let seen = self.seen();
            self.clients[number]
                .links
                .values()
                .filter(|_| self.clients[number].connection.is_some())
                .try_for_each(|link| {
                    check_mirror(link, &seen).map_err(|what| format!("client {number}, at rest: {what}"))
                })?;
        }
        self.read(&Vec::new())
    }

    /// What holds after each step.
    fn check(&mut self) -> Outcome {
        let connections = self.clients.iter().filter(|client| client.connection.is_some());
        let links: usize = connections.clone().map(|client| client.links.len()).sum();
        let sessions = connections.count();
        let Some(Server { engine, .. }) = &self.server else { return Ok(()) };
        let stats = engine.stats();
        ensure((stats.sessions, stats.links) == (sessions, links), || {
            format!("{} sessions and {} links, not {sessions} and {links}", stats.sessions, stats.links)
        })?;
        ensure(links > 0 || stats.places == 0, || format!("{} places without a link", stats.places))?;
        ensure(stats.revision.0 == self.tree.revision, || {
            format!("the tree is at {:?}, not {}", stats.revision, self.tree.revision)
        })?;
        let is_escaped = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
        let text = self.tree.root.to_string();
        // PROTOCOL V6: such a character takes six bytes.
        let bytes =
            text.len() + text.chars().filter(|c| is_escaped(*c)).map(|c| 6 - c.len_utf8()).sum::<usize>();
        ensure(stats.tree_bytes == bytes, || format!("{} bytes, not {bytes}", stats.tree_bytes))?;
        let (limits, most) = (&self.settings.limits, most_members(&self.tree.root));
        ensure(bytes <= limits.tree_bytes.max(2), || format!("{bytes} bytes, and {limits:?}"))?;
        ensure(most <= limits.members_per_object, || format!("{most} members of one object"))?;
        self.check_tombstones()
    }

    fn check_tombstones(&self) -> Outcome {
        let Some(Server { engine, .. }) = &self.server else { return Ok(()) };
        let tombstones = engine.stats().tombstones;
        // What was ephemeral is buried whatever the bound.
        ensure(self.settings.regions != 0 || tombstones <= self.settings.limits.tombstones, || {
            format!("{tombstones} tombstones")
        })
    }

    fn finish(&mut self) -> Outcome {
        self.rest()?;
        self.stop(None, Fate::Works)?;
        (0..CLIENTS).try_for_each(|client| self.connect(client))?;
        self.rest()
    }
}

fn most_members(value: &Value) -> usize {
    let Value::Object(members) = value else { return 0 };
    members.values().map(most_members).fold(members.len(), usize::max)
}

fn apply(diff: &Diff, root: &mut Value) {
    if let Value::Object(members) = root {
        diff.apply(members);
    }
}

fn check_mirror(link: &Link, seen: &Seen) -> Outcome {
    let ours = seen.view(&link.path, link.depth);
    let theirs = link.value.as_ref().ok_or_else(|| format!("nothing was told of {}", show(&link.path)))?;
    ensure(!link.is_incomplete, || format!("{} is not complete", show(&link.path)))?;
    ensure(ours == *theirs, || {
        format!("the mirror of {} has {}", show(&link.path), difference(ours.as_ref(), theirs.as_ref()))
    })?;
    // Written together, seen together.
    if let (true, Some(value)) = (link.path.is_empty(), theirs) {
        ensure(value.get("l") == value.get("r"), || "half a commit is seen".to_owned())?;
    }
    Ok(())
}
