//! Group commit: all commits that are waiting become durable with one sync.
//!
//! It takes three steps: [`Committer::begin`], [`Committer::write`], [`Committer::end`]. Only the
//! first and the last need the engine, and only the second takes time. The caller runs them one
//! after the other.

use halfping_engine::{Batch, Engine, Refusal, Revision, Timestamp, Written};

use crate::journal::{Fault, Journal, Transaction};

/// Bytes in the log after which the next transaction includes a checkpoint. This much can be read
/// and applied again in about 10 ms, and its rows are made in a few milliseconds while the engine
/// waits.
const LOG_BYTES: usize = 1 << 20;
/// Commits in the log after which the next transaction includes a checkpoint.
const LOG_COMMITS: usize = 1024;
/// Members in the log after which the next transaction includes a checkpoint. Its rows take some
/// milliseconds to write, while other commits wait.
const LOG_MEMBERS: usize = 4096;
/// Revisions that one lease covers: ephemeral commits may take them before the next lease is
/// written. A restart skips what is left of a lease; 2^24 restarts are as many as a server will
/// see.
const LEASE: u64 = 1 << 40;
/// Milliseconds of names that one lease covers: these may be given before the next lease is
/// written. A restart may skip them.
const NAMES_LEASE_MS: u64 = 1000;

/// Outcome of commits: of each that was [submitted](Engine::submit) and had to wait, in order.
pub type Settled = Result<Vec<Result<Vec<Written>, Refusal>>, Fault>;

/// State of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// The journal takes writes.
    Works,
    /// The journal takes no writes until it has [recovered](Committer::recover).
    Failed(Fault),
}

/// Writer of an engine's commits to a journal.
pub struct Committer<J> {
    journal: J,
    status: Status,
    /// Bytes, commits and members in the log.
    log_bytes: usize,
    log_commits: usize,
    log_members: usize,
    /// Bytes in the log from which a checkpoint is due.
    log_bytes_max: usize,
    log_commits_max: usize,
    /// The revision up to which ephemeral commits may be made.
    lease: Revision,
    /// The time up to which names may be given, and the time of the newest name.
    names_lease: Timestamp,
    names: Timestamp,
    /// The newest revision in the log that was acknowledged.
    newest: Revision,
    /// Patterns that have to be written before the first commit.
    ephemeral: Option<Vec<String>>,
    /// True if the writing before the first commit has failed: the next transaction includes it.
    owes_checkpoint: bool,
}

impl<J: Journal> Committer<J> {
    /// Makes a committer. `newest`, `lease`, `names`: the journal's. `ephemeral`: the patterns that
    /// are to apply, if the journal has others.
    pub(crate) fn new(
        journal: J,
        newest: Revision,
        lease: Revision,
        names: Timestamp,
        ephemeral: Option<Vec<String>>,
    ) -> Committer<J> {
        Committer {
            journal,
            status: Status::Works,
            log_bytes: 0,
            log_commits: 0,
            log_members: 0,
            log_bytes_max: LOG_BYTES,
            log_commits_max: LOG_COMMITS,
            lease,
            names_lease: names,
            names,
            newest,
            ephemeral,
            owes_checkpoint: false,
        }
    }

    /// Sets the bytes and commits in the log from which a checkpoint is due.
    #[must_use]
    pub fn checkpoint_after(self, bytes: usize, commits: usize) -> Committer<J> {
        Committer { log_bytes_max: bytes, log_commits_max: commits, ..self }
    }

    /// Writes what has to be on disk before the first commit: a state without a log, and the
    /// patterns of its ephemeral parts.
    pub fn start(&mut self, engine: &mut Engine) -> Result<(), Fault> {
        let Some(transaction) = self.begin_last(engine) else { return Ok(()) };
        let outcome = self.write(&transaction);
        self.owes_checkpoint = outcome.is_err();
        self.end(engine, &transaction, outcome)?;
        Ok(())
    }

    /// The state of the journal.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The time of the newest name: none that was given before has a later one.
    pub fn names(&self) -> Timestamp {
        self.names
    }

    /// Records that names with times up to this one are given, so that the next start knows of it.
    pub fn give_names(&mut self, through: Timestamp) {
        self.names = self.names.max(through);
    }

    /// The transaction to write now; `None` when there is nothing to write.
    pub fn begin(&mut self, engine: &mut Engine) -> Option<Transaction> {
        if self.status != Status::Works {
            return None;
        }
        let mut transaction = Transaction::default();
        let batch = engine.take_batch();
        let has_batch = batch.is_some();
        if let Some(batch) = batch {
            self.count(&batch);
            transaction.batch = (!batch.body.is_empty()).then_some(batch);
        }
        let is_long = self.log_bytes > self.log_bytes_max
            || self.log_commits > self.log_commits_max
            || self.log_members > LOG_MEMBERS;
        if is_long || self.owes_checkpoint {
            transaction.checkpoint = Some(engine.checkpoint());
        }
        self.add_leases(engine, &mut transaction);
        (has_batch || !transaction.is_empty()).then_some(transaction)
    }

    /// Counts a batch as part of the log.
    fn count(&mut self, batch: &Batch) {
        self.log_bytes += batch.body.len();
        self.log_commits += batch.commits;
        self.log_members += batch.members;
    }

    fn add_leases(&mut self, engine: &Engine, transaction: &mut Transaction) {
        if self.names > self.names_lease {
            transaction.names = Some(Timestamp(self.names.0.saturating_add(NAMES_LEASE_MS)));
        }
        transaction.ephemeral = self.ephemeral.clone();
        let newest = transaction
            .batch
            .as_ref()
            .map_or(Revision::NONE, |batch| batch.last)
            .max(engine.revision());
        if engine.has_ephemeral() && self.lease.0 < newest.0 + LEASE / 2 {
            transaction.lease = Some(Revision(newest.0 + LEASE));
        }
    }

    /// Makes the transaction durable. This is the step that takes time.
    pub fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        if transaction.is_empty() {
            // Commits that change nothing, behind others that are durable by now.
            return Ok(());
        }
        self.journal.write(transaction)
    }

    /// Applies what is durable, or discards what is not.
    pub fn end(
        &mut self,
        engine: &mut Engine,
        transaction: &Transaction,
        outcome: Result<(), Fault>,
    ) -> Settled {
        self.confirm(engine, transaction, outcome)?;
        Ok(engine.settle())
    }

    /// First half of [`Committer::end`]: after it, what is durable has to be
    /// [settled](Engine::settle), at once or in parts.
    pub fn confirm(
        &mut self,
        engine: &mut Engine,
        transaction: &Transaction,
        outcome: Result<(), Fault>,
    ) -> Result<(), Fault> {
        if let Err(fault) = outcome {
            self.fail(engine, &fault);
            return Err(fault);
        }
        if let Some(checkpoint) = &transaction.checkpoint {
            engine.complete_checkpoint(checkpoint);
            self.owes_checkpoint = false;
            // The log now holds only the batch that came with the checkpoint.
            (self.log_bytes, self.log_commits, self.log_members) = (0, 0, 0);
            transaction.batch.iter().for_each(|batch| self.count(batch));
        }
        self.newest = transaction.batch.as_ref().map_or(self.newest, |batch| batch.last);
        self.lease = transaction.lease.unwrap_or(self.lease);
        self.names_lease = transaction.names.unwrap_or(self.names_lease);
        self.ephemeral = None;
        Ok(())
    }

    /// Checks that the journal is still in place. If it is not, it has failed, and so has
    /// everything that waits for it.
    pub fn look(&mut self, engine: &mut Engine) -> Result<(), Fault> {
        let looked = self.journal.is_in_place();
        if let Err(fault) = &looked {
            self.fail(engine, fault);
        }
        looked
    }

    fn fail(&mut self, engine: &mut Engine, fault: &Fault) {
        engine.abandon();
        self.status = Status::Failed(fault.clone());
    }

    /// Tries to make the journal usable again.
    pub fn recover(&mut self) -> Result<(), Fault> {
        self.journal.recover(self.newest)?;
        self.status = Status::Works;
        Ok(())
    }

    /// The last transaction: after it, the log is empty. No commit may be waiting any more.
    pub fn begin_last(&mut self, engine: &mut Engine) -> Option<Transaction> {
        if self.status != Status::Works {
            return None;
        }
        let mut transaction = Transaction::default();
        if engine.stored() < engine.revision() {
            transaction.checkpoint = Some(engine.checkpoint());
        }
        self.add_leases(engine, &mut transaction);
        (!transaction.is_empty()).then_some(transaction)
    }

    /// Gives back unused room on disk. `live`: bytes in use.
    pub fn tidy(&mut self, live: u64) -> Result<(), Fault> {
        self.journal.tidy(live)
    }

    /// The journal.
    pub fn journal(&self) -> &J {
        &self.journal
    }

    /// The journal, for tests that make it fail.
    pub fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }

    /// Returns the journal, when nothing more is to be written.
    pub fn into_journal(self) -> J {
        self.journal
    }
}
