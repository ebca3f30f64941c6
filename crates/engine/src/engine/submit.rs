//! Commits that have to be durable: worked out at once, written by somebody else, applied when they are on disk.

use crate::cursor::Revision;
use crate::engine::Engine;
use crate::mutants;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::times::Timestamp;
use crate::tree::Value;
use crate::write::action::{Write, Written};
use crate::write::base::{Base, effective};
use crate::write::change::Change;
use crate::write::claims::Claims;
use crate::write::overlay;
use crate::write::pending::{Batch, Laid, Prepared};
use crate::write::record::Record;

/// Ephemeral commits that can be made while the journal writes one durable one. At a million a second it takes the journal long enough to
/// be in trouble; and 2^64 revisions last for 2^48 durable commits.
pub(crate) const EPHEMERAL_ROOM: u64 = 1 << 16;

/// What became of a commit that has to be durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// It is done, or refused: nothing of it has to be written.
    Done(Result<Vec<Written>, Refusal>),
    /// It is in line to be made durable. [`Engine::settle`] tells what became of it.
    Waits,
    /// Nothing of it is to be durable, but commits that are read or write in the same place: it is in line behind them. [`Engine::settle`] tells
    /// what became of it; if they come to nothing, it can be submitted again.
    Follows,
    /// It is not to be durable, but so many such were made since the journal began to write that it has to be tried again
    /// when the journal is done.
    Busy,
}

impl Engine {
    /// Works out a commit that has to be durable where it writes to durable regions. Nobody sees anything of it before it is
    /// [settled](Engine::settle).
    pub fn submit(&mut self, writes: &[Write], now: Timestamp) -> Submitted {
        self.read_clock(now);
        let is_ephemeral = !self.regions.is_empty() && writes.iter().all(|w| self.is_ephemeral(&w.path));
        if is_ephemeral && !writes.iter().any(|w| self.pending.meet(self.made_from(&w.path))) {
            return match self.has_room() {
                true => Submitted::Done(self.commit_between(writes, now)),
                false => Submitted::Busy,
            };
        }
        let waiting = self.prepare(writes, now);
        if self.pending.is_empty() {
            // Nothing that it could have seen can still come to nothing.
            match waiting {
                Err(refusal) => return Submitted::Done(Err(refusal)),
                Ok(prepared) if prepared.record.is_none() => {
                    return Submitted::Done(Ok(self.perform(prepared)));
                }
                Ok(_) => {}
            }
        }
        // Without regions, there is nothing that could be applied before it.
        let claims = if self.regions.is_empty() { Claims::default() } else { Claims::of(writes) };
        self.pending.push(&claims, waiting);
        if is_ephemeral { Submitted::Follows } else { Submitted::Waits }
    }

    /// Where a write begins to make a difference: at its path, or at the first object on the way there that is not there yet.
    fn made_from<'p>(&self, path: &'p Path) -> &'p [Box<str>] {
        let names = path.segments();
        let is_there =
            |len: &usize| self.follow(names[..*len].iter().map(|name| self.keys.find(name))).value.is_some();
        let there = (0..names.len()).rev().find(is_there).unwrap_or(0);
        &names[..there + 1]
    }

    /// Applies an ephemeral commit at once, before those in line. Objects need room for its members beside theirs.
    fn commit_between(&mut self, writes: &[Write], now: Timestamp) -> Result<Vec<Written>, Refusal> {
        let worked_out = self.work_out(writes, &Change::Keep)?;
        let base = Base::new(&self.tree.value, &self.pending.laid.over);
        overlay::check(&worked_out.0, base, &self.keys, &self.limits, &mut Vec::new())?;
        Ok(self.carry_out(writes, worked_out, now))
    }

    /// The last revision that a commit has, or will have.
    fn newest_given(&self) -> Revision {
        match mutants::is("revision-reused") {
            true => self.tree.revision,
            false => self.tree.revision.max(self.pending.last()),
        }
    }

    fn prepare(&self, writes: &[Write], now: Timestamp) -> Result<Prepared, Refusal> {
        let (change, created) = self.work_out(writes, &self.pending.laid.over)?;
        let change = effective(&self.keys, change, Base::new(&self.tree.value, &self.pending.laid.over));
        let revision = match change {
            Change::Keep => Revision::NONE,
            _ => Revision(self.newest_given().0 + 1 + self.ephemeral_room()),
        };
        let base = Base::new(&self.tree.value, &self.pending.laid.over);
        let record = match self.regions.durable_part(&self.keys, &change, base) {
            Change::Keep => None,
            durable => Some(Record::write(revision, now, &durable)),
        };
        let writes = writes.iter().map(|w| w.path.clone()).zip(created).collect();
        Ok(Prepared { revision, at: now, change, writes, record })
    }

    /// Whether there are commits that no journal is told of: those of ephemeral regions.
    pub fn has_ephemeral(&self) -> bool {
        !self.regions.is_empty()
    }

    /// All commits that were submitted since the last time, to be written to the journal. `None` when there are none, or when the last ones
    /// have not been settled.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.pending.take()
    }

    /// The batch that was taken is durable: its commits are applied, and this is what became of each of them.
    pub fn settle(&mut self) -> Vec<Result<Vec<Written>, Refusal>> {
        self.settle_some(usize::MAX)
    }

    /// The same for the first of its commits: as many as write so many members together, but one at least. When nothing is returned, all are
    /// settled.
    pub fn settle_some(&mut self, members: usize) -> Vec<Result<Vec<Written>, Refusal>> {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        let (settled, laid) = self.pending.settle(members);
        if let Some(laid) = laid.filter(Laid::is_large) {
            self.tree.garbage.add_husk(laid);
        }
        settled.into_iter().map(|waiting| waiting.map(|prepared| self.perform(prepared))).collect()
    }

    /// The journal could not be written: all commits that were submitted are forgotten. Returns how many.
    pub fn abandon(&mut self) -> usize {
        self.pending.abandon()
    }

    fn perform(&mut self, prepared: Prepared) -> Vec<Written> {
        self.apply(prepared.change, prepared.revision, prepared.at);
        prepared.writes.iter().map(|(path, created)| self.written(path, *created)).collect()
    }

    /// Revisions that are left free before each durable one, so that ephemeral commits need not wait for the disk.
    fn ephemeral_room(&self) -> u64 {
        if self.regions.is_empty() { 0 } else { self.room }
    }

    /// Leaves so many revisions free before each durable commit, where the default is more than a test could use up.
    #[doc(hidden)]
    pub fn leave_room(&mut self, revisions: u64) {
        self.room = revisions;
    }

    /// Whether a write there has nothing to do with the disk. One that makes the object which holds a region has: that object is durable.
    fn is_ephemeral(&self, path: &Path) -> bool {
        let Some(names) = self.regions.entered_at(path) else { return false };
        let holder = path.segments()[..names - 1].iter().map(|name| self.keys.find(name));
        matches!(self.follow(holder).value, Some(Value::Object(_)))
    }

    fn has_room(&self) -> bool {
        self.pending.first().is_none_or(|first| self.tree.revision.next() < first)
    }
}
