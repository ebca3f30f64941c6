//! Commits that have to be durable: worked out at once, written by a journal, applied when they are
//! on disk.

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

/// Ephemeral commits that can be made while the journal writes one durable one. At a million a
/// second they last for 65 ms, and a journal that takes longer is in trouble; and 2^64 revisions
/// last for 2^48 durable commits.
pub(crate) const EPHEMERAL_ROOM: u64 = 1 << 16;

/// Outcome of submitting a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// The commit is done, or refused: nothing of it has to be written.
    Done(Result<Vec<Written>, Refusal>),
    /// The commit is in line to be made durable. [`Engine::settle`] returns its outcome.
    Waits,
    /// The commit is ephemeral, but durable ones read or write in the same place: it is in line
    /// behind them. [`Engine::settle`] returns its outcome; if they fail, it can be submitted
    /// again.
    Follows,
    /// The commit is ephemeral, but so many such were made since the journal began to write that it
    /// has to be tried again when the journal is done.
    Busy,
}

impl Engine {
    /// Works out a commit that has to be durable where it writes to durable regions. Nobody sees
    /// anything of it before it is [settled](Engine::settle).
    pub fn submit(&mut self, writes: &[Write], now: Timestamp) -> Submitted {
        self.read_clock(now);
        self.begin_to_change();
        let is_ephemeral =
            !self.regions.is_empty() && writes.iter().all(|w| self.is_ephemeral(&w.path));
        if is_ephemeral && !writes.iter().any(|w| self.pending.meet(self.made_from(&w.path))) {
            return match self.has_room() {
                true => Submitted::Done(self.commit_between(writes, now)),
                false => Submitted::Busy,
            };
        }
        let waiting = self.prepare(writes, now);
        if self.pending.is_empty() {
            // No commit that it could have seen can still fail.
            match waiting {
                Err(refusal) => return Submitted::Done(Err(refusal)),
                Ok(prepared) if prepared.record.is_none() => {
                    return Submitted::Done(Ok(self.perform(prepared)));
                }
                Ok(_) => {}
            }
        }
        // Without regions, no commit could be applied before it.
        let mut claims = Claims::default();
        if !self.regions.is_empty() {
            claims = Claims::of(writes);
            waiting.iter().for_each(|prepared| claims.add_made(&prepared.change));
        }
        self.pending.push(&claims, waiting);
        if is_ephemeral { Submitted::Follows } else { Submitted::Waits }
    }

    /// The place from which a write makes a difference: its path, or the first object on the way
    /// there that does not exist yet.
    fn made_from<'p>(&self, path: &'p Path) -> &'p [Box<str>] {
        let names = path.segments();
        let is_there = |len: &usize| {
            self.follow(names[..*len].iter().map(|name| self.keys.find(name))).value.is_some()
        };
        let there = (0..names.len()).rev().find(is_there).unwrap_or(0);
        &names[..there + 1]
    }

    /// Applies an ephemeral commit at once, before those in line. Objects need room for its members
    /// beside theirs.
    fn commit_between(
        &mut self,
        writes: &[Write],
        now: Timestamp,
    ) -> Result<Vec<Written>, Refusal> {
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
        let change =
            effective(&self.keys, change, Base::new(&self.tree.value, &self.pending.laid.over));
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

    /// True if there are commits that no journal gets: those of ephemeral regions.
    pub fn has_ephemeral(&self) -> bool {
        !self.regions.is_empty()
    }

    /// Takes all commits that were submitted since the last batch, to be written to the journal.
    /// `None` if there are none, or if the last batch has not been settled.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.pending.take()
    }

    /// Applies the commits of the batch that was taken, which is durable now. Returns the outcome
    /// of each.
    pub fn settle(&mut self) -> Vec<Result<Vec<Written>, Refusal>> {
        self.settle_some(usize::MAX)
    }

    /// Applies the first commits of that batch: as many as write `members` members together, but
    /// one at least. If nothing is returned, all are settled.
    pub fn settle_some(&mut self, members: usize) -> Vec<Result<Vec<Written>, Refusal>> {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        self.begin_to_change();
        let (settled, laid) = self.pending.settle(members);
        if let Some(laid) = laid.filter(Laid::is_large) {
            self.tree.garbage.add_husk(laid);
        }
        settled.into_iter().map(|waiting| waiting.map(|prepared| self.perform(prepared))).collect()
    }

    /// Forgets all submitted commits, since the journal could not be written. Returns their number.
    pub fn abandon(&mut self) -> usize {
        self.pending.abandon()
    }

    fn perform(&mut self, prepared: Prepared) -> Vec<Written> {
        self.apply(prepared.change, prepared.revision, prepared.at);
        prepared.writes.iter().map(|(path, created)| self.written(path, *created)).collect()
    }

    /// Revisions that are left free before each durable one, so that ephemeral commits need not
    /// wait for the disk.
    fn ephemeral_room(&self) -> u64 {
        if self.regions.is_empty() { 0 } else { self.room }
    }

    /// Sets the revisions left free before each durable commit, where the default is more than a
    /// test could use up.
    #[doc(hidden)]
    pub fn leave_room(&mut self, revisions: u64) {
        self.room = revisions;
    }

    /// True if a write there needs no disk. A write that makes the object which holds a region
    /// does: that object is durable.
    fn is_ephemeral(&self, path: &Path) -> bool {
        let Some(names) = self.regions.entered_at(path) else { return false };
        let holder = path.segments()[..names - 1].iter().map(|name| self.keys.find(name));
        matches!(self.follow(holder).value, Some(Value::Object(_)))
    }

    fn has_room(&self) -> bool {
        self.pending.first().is_none_or(|first| self.tree.revision.next() < first)
    }
}
