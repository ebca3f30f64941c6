//! A world: a server that may fail, its disk, its clients, and the checks on them.

mod checks;
mod commit;
mod journal;
mod queue;
mod readers;
mod restart;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use halfping_engine::{
    Condition, Cursor, Engine, Epoch, Path, Refusal, Revision, RootId, States, Tick, Timestamp,
};
use halfping_journal::{Committer, Transaction};
use serde_json::Value;

use crate::client::{Client, Link};
use crate::journal::{Kept, Remains};
use crate::model::{self, Act, Diff, Names, No, Patterns, Seen, Tree};
use crate::mutants;
use crate::script::{
    CLIENTS, Fate, If, Operation, REGIONS, Script, Settings, Writing, brief, show,
};

/// Milliseconds by which the wall clock is set.
const AHEAD: u64 = 5000;
/// Cursors that are kept, to be resumed with later.
const CURSORS: usize = 32;
/// The first epoch of the server's own state; each start has one.
const OWN_EPOCHS: u64 = 1 << 40;
/// Frames within which everything must have been told.
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
    /// The root at which the engine has the server's own state.
    own: Option<RootId>,
}

/// A cursor that was given, with what its reader had.
#[derive(Clone)]
struct Known {
    cursor: Cursor,
    path: Names,
    depth: u32,
    view: usize,
    value: Option<Value>,
    /// True if the value may be newer than the cursor.
    is_later: bool,
}

pub(crate) struct World {
    settings: Settings,
    mutant: &'static str,
    is_told: bool,
    now: u64,
    /// The wall clock, which may be set, and the server's last reading of it.
    wall: u64,
    read: u64,
    epoch: u64,
    regions: usize,
    server: Option<Server>,
    /// The tree that everybody may see.
    tree: Tree,
    /// The server's own state beside it, the number of its commits, and the number of its starts.
    own: Rc<Value>,
    own_revision: u64,
    starts: u64,
    /// Links into it, by generation, of which nothing was sent yet.
    unsent: BTreeSet<u64>,
    /// Commits in line, and how many of them, from the first, are being written.
    pending: Vec<InLine>,
    taken: usize,
    transaction: Option<Transaction>,
    /// True if a planted fault answered commits before they were written.
    early: bool,
    /// Changes that may be on disk although their write was said to have failed.
    doubt: Option<Vec<Diff>>,
    /// The newest revision of this epoch that somebody was told of.
    newest: u64,
    clients: Vec<Client>,
    known: Vec<Known>,
    etags: Vec<(Names, Cursor)>,
    generations: u64,
    /// True once somebody looked through a view that may be kept for who comes back.
    has_rankings: bool,
    report: Report,
    /// Operations so far.
    turns: usize,
}

/// Counts of what happened, which show how much a run has tried.
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

/// The place where two values differ, for finding the reason.
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
pub(crate) fn perform(
    script: &Script,
    mutant: &'static str,
    is_told: bool,
) -> Result<Report, String> {
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
    /// Its effect on a tree, and for each write whether it creates something.
    fn outcome(&self, tree: &Tree, epoch: u64) -> Result<(Vec<bool>, Diff), No> {
        let mut after = (*tree.root).clone();
        let mut created = Vec::new();
        for (writing, condition) in self.writes.iter().zip(&self.conditions) {
            let exists = model::at(&tree.root, &writing.path).is_some();
            let now = tree.changed.get(&model::key(&writing.path)).map(|revision| Cursor {
                epoch: Epoch::from_random(epoch),
                revision: Revision(*revision),
            });
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
            if !condition.is.as_ref().is_none_or(among)
                || condition.is_not.as_ref().is_some_and(among)
            {
                return Err(No::Precondition);
            }
            created.push(model::write(&mut after, &writing.path, &writing.act)?);
        }
        Ok((created, model::diff(Some(&tree.root), Some(&after))))
    }

    /// True if it names a place where another writes, or where another makes what leads there.
    fn meets(&self, other: &InLine, tree: &Tree) -> bool {
        let meet = |a: &[String], b: &[String]| a.starts_with(b) || b.starts_with(a);
        other.writes.iter().any(|write| {
            let is_there = |len: &usize| model::at(&tree.root, &write.path[..*len]).is_some();
            let there = (0..write.path.len()).rev().find(is_there).unwrap_or(0);
            self.writes
                .iter()
                .any(|own| meet(&own.path, &write.path[..(there + 1).min(write.path.len())]))
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
            own_revision: 1,
            starts: 0,
            unsent: BTreeSet::new(),
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
            has_rankings: false,
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

    fn own_cursor(&self, revision: u64) -> Cursor {
        let epoch = Epoch::from_random(OWN_EPOCHS + self.starts);
        Cursor { epoch, revision: Revision(revision) }
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
                // The transaction being written is there, or not.
                if let (Some(transaction), true, false) =
                    (self.transaction.take(), *landed, self.early)
                {
                    let Server { committer, .. } = self.server();
                    let _ = committer.write(&transaction);
                }
                self.crash(*seed, *regions, *open)
            }
            Operation::Stop { regions, open } => self.stop(*regions, *open),
            Operation::Wipe { seed } => self.wipe(*seed),
        }
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
    let ours = seen.view(&link.path, link.depth, link.view);
    let theirs =
        link.value.as_ref().ok_or_else(|| format!("nothing was told of {}", show(&link.path)))?;
    ensure(!link.is_incomplete, || format!("{} is not complete", show(&link.path)))?;
    ensure(ours == *theirs, || {
        format!(
            "the mirror of {} has {}",
            show(&link.path),
            difference(ours.as_ref(), theirs.as_ref())
        )
    })?;
    // Written together, seen together.
    if let (true, 0, Some(value)) = (link.path.is_empty(), link.view, theirs) {
        ensure(value.get("l") == value.get("r"), || "half a commit is seen".to_owned())?;
    }
    Ok(())
}
