//! The journal: transactions, their fates, and faults.

use std::rc::Rc;

use halfping_engine::{Path, Refusal, Written};
use halfping_journal::{Fault, Status};
use serde_json::Value;

use super::{InLine, Outcome, Server, World, ensure, path_of};
use crate::model::{self, Diff, Tree};
use crate::script::{Fate, show};

impl World {
    pub(super) fn begin(&mut self) -> Outcome {
        if self.transaction.is_some() {
            return Ok(());
        }
        let Server { engine, committer, .. } = self.server();
        let Some(transaction) = committer.begin(engine) else { return Ok(()) };
        self.taken = self.pending.len();
        let mut taken = self.taken;
        if self.mutant == "answered-early" {
            let Server { engine, committer, .. } = self.server();
            let settled = committer.end(engine, &transaction, Ok(()));
            self.early = true;
            self.answered(settled)?;
            taken = 0;
        }
        self.say(|| {
            let batch =
                transaction.batch.as_ref().map(|b| (b.commits, b.first, b.last, b.body.len()));
            let checkpoint = transaction.checkpoint.as_ref().map(|c| {
                format!(
                    "{} rows, {} forgotten, through {:?}",
                    c.rows.len(),
                    c.forgotten.len(),
                    c.through
                )
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

    pub(super) fn end(&mut self, fate: Fate) -> Outcome {
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        let is_answered = std::mem::take(&mut self.early);
        let Server { engine, committer, .. } = self.server();
        committer.journal_mut().fate(fate);
        let outcome = committer.write(&transaction);
        if committer.journal().is_off() {
            let Fate::Crashes { seed, .. } = fate else {
                return Err("power went by itself".to_owned());
            };
            return self.crash(seed, None, Fate::Works);
        }
        committer.journal_mut().fate(Fate::Works);
        if is_answered {
            return Ok(());
        }
        let settled = committer.end(engine, &transaction, outcome);
        self.answered(settled)
    }

    pub(super) fn answered(
        &mut self,
        settled: Result<Vec<Result<Vec<Written>, Refusal>>, Fault>,
    ) -> Outcome {
        let taken = std::mem::take(&mut self.taken);
        match settled {
            Err(fault) => {
                self.report.count("journal failed");
                self.say(|| format!("   {fault}"));
                self.doubt = Some(self.diffs(taken));
                self.pending.clear();
            }
            Ok(results) => {
                ensure(results.len() == taken, || {
                    format!("{} answers for {taken} commits", results.len())
                })?;
                let commits: Vec<InLine> = self.pending.drain(..taken).collect();
                for (commit, result) in commits.iter().zip(results) {
                    self.settled(commit, result)?;
                }
                self.wake();
            }
        }
        Ok(())
    }

    /// Changes of the first `count` commits in line, one after the other.
    pub(super) fn diffs(&self, count: usize) -> Vec<Diff> {
        let mut tree = self.tree.clone();
        let diffs = self.pending[..count].iter().filter_map(|commit| {
            let (_, diff) = commit.outcome(&tree, self.epoch).ok()?;
            tree.apply(&diff, tree.revision + 1);
            Some(diff)
        });
        diffs.collect()
    }

    /// Takes the engine's tree over as the model's. `is_known`: the model knew the revisions of
    /// changes, which do not go back.
    pub(super) fn take_over(&mut self, real: Value, is_known: bool) -> Outcome {
        let engine = &self.server.as_ref().expect("it runs").engine;
        let mut tree = Tree {
            root: Rc::new(real),
            revision: engine.revision().0,
            changed: Default::default(),
        };
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

    pub(super) fn real(&self) -> Result<Value, String> {
        let engine = &self.server.as_ref().expect("it runs").engine;
        let reading = engine.read(&Path::ROOT, u32::MAX).map_err(|e| e.to_string())?;
        serde_json::from_slice(&reading.value.unwrap_or_default()).map_err(|e| e.to_string())
    }

    pub(super) fn recover(&mut self, fate: Fate) -> Outcome {
        let Server { committer, .. } = self.server();
        if *committer.status() == Status::Works {
            return Ok(());
        }
        committer.journal_mut().fate(fate);
        let recovered = committer.recover();
        if committer.journal().is_off() {
            let Fate::Crashes { seed, .. } = fate else {
                return Err("power went by itself".to_owned());
            };
            return self.crash(seed, None, Fate::Works);
        }
        committer.journal_mut().fate(Fate::Works);
        self.say(|| format!("   {recovered:?}"));
        match recovered {
            Ok(()) => {
                self.report.count("journal recovered");
                self.doubt = None;
            }
            Err(fault) if matches!(fate, Fate::Works) => {
                return Err(format!("it cannot recover: {fault}"));
            }
            Err(_) => {}
        }
        Ok(())
    }
}
