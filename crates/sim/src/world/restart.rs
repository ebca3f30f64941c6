//! Crashes, stops and starts, and checks of the state afterwards.

use std::rc::Rc;

use halfping_engine::{Pattern, Regions, Timestamp};
use halfping_journal::open;
use serde_json::Value;

use super::{Outcome, Server, World, difference, ensure, path_of};
use crate::journal::{NotOpened, Remains};
use crate::model::{self, OWN, Patterns, Tree};
use crate::script::{Fate, REGIONS, brief, show};

impl World {
    pub(super) fn crash(&mut self, seed: u64, regions: Option<usize>, open: Fate) -> Outcome {
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

    pub(super) fn stop(&mut self, regions: Option<usize>, open: Fate) -> Outcome {
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
            // Rows repeat the names on the way to them, and tombstones have names and numbers of
            // their own.
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

    pub(super) fn wipe(&mut self, seed: u64) -> Outcome {
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

    /// Opens the journal, and checks that all of it is there.
    pub(super) fn start(
        &mut self,
        remains: Remains,
        regions: Option<usize>,
        fate: Fate,
        is_clean: bool,
    ) -> Outcome {
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
                    ensure(!matches!(fate, Fate::Works), || {
                        format!("it cannot be opened: {fault}")
                    })?;
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

    pub(super) fn try_start(
        &mut self,
        remains: Remains,
        fate: Fate,
    ) -> Result<Result<Server, NotOpened>, String> {
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
        self.starts += 1;
        let epoch = self.own_cursor(1).epoch;
        let own = self.settings.own.then(|| engine.add_root(OWN, epoch, Timestamp(self.read)));
        let (bytes, commits) = self.settings.log;
        let mut committer = committer.checkpoint_after(bytes, commits);
        let started = committer.start(&mut engine);
        engine.take_woken();
        let is_off = committer.journal().is_off();
        committer.journal_mut().fate(Fate::Works);
        match started {
            Ok(()) if !is_off => Ok(Ok(Server { engine, committer, own })),
            Ok(()) => Err("power went, and nobody noticed".to_owned()),
            Err(fault) => {
                let journal = committer.into_journal();
                let remains = if is_off { journal.crash(self.now) } else { journal.close() };
                Ok(Err(Box::new((remains, fault))))
            }
        }
    }

    pub(super) fn came_back(&mut self, was: &Patterns, is_clean: bool) -> Outcome {
        let real = self.real()?;
        (self.own, self.own_revision) = (Rc::new(Value::Object(Default::default())), 1);
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
        if lost.is_empty() {
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
                let changed =
                    self.tree.changed.get(&model::key(&path)).copied().unwrap_or_default();
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
}
