//! Group commit: as many commits as are waiting become durable with one sync.
//!
//! It takes three steps, of which only the first and the last need the engine, and only the second takes time. Whoever runs it does them one
//! after the other: [`Committer::begin`], [`Committer::write`], [`Committer::end`].

use halfping_engine::{Engine, Refusal, Revision, Timestamp, Written};

use crate::journal::{Fault, Journal, Transaction};

/// Bytes in the log after which the next transaction has a checkpoint with it: about what can be read and applied again in a hundredth of a
/// second, and whose rows are made in a few milliseconds while the engine waits.
const LOG_BYTES: usize = 1 << 20;
/// The same, in commits.
const LOG_COMMITS: usize = 1024;
/// Revisions that ephemeral commits, and those of the server's own state, may take before it has to be written down that they were taken. After a restart as many are left out; 2^24
/// restarts are as many as a server will see.
const LEASE: u64 = 1 << 40;
/// Milliseconds of names that may be given before it has to be written down that they were. After a
/// restart they may be left out.
const NAMES_LEASE_MS: u64 = 1000;

/// What became of commits: of each that was [submitted](Engine::submit) and had to wait, in order.
pub type Settled = Result<Vec<Result<Vec<Written>, Refusal>>, Fault>;

/// How the journal is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// It takes what is written.
    Works,
    /// It does not, until it has [recovered](Committer::recover).
    Failed(Fault),
}

/// Writes what an engine has to have written.
pub struct Committer<J> {
    journal: J,
    status: Status,
    /// Bytes and commits in the log.
    log_bytes: usize,
    log_commits: usize,
    /// How many of them are enough for a checkpoint.
    log_bytes_max: usize,
    log_commits_max: usize,
    /// Up to which revision ephemeral commits may be made.
    lease: Revision,
    /// Up to which time names may be given, and the time of the newest.
    names_lease: Timestamp,
    names: Timestamp,
    /// The newest revision in the log that somebody was told of.
    newest: Revision,
    /// Patterns that have to be written down before the first commit.
    ephemeral: Option<Vec<String>>,
    /// What was to be written before the first commit could not be: the next transaction has it.
    owes_checkpoint: bool,
}

impl<J: Journal> Committer<J> {
    /// `newest`, `lease`, `names`: as the journal has them. `ephemeral`: as they are to be, if they
    /// are others there.
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

    /// The same, with a checkpoint after so many bytes or commits in the log.
    #[must_use]
    pub fn checkpoint_after(self, bytes: usize, commits: usize) -> Committer<J> {
        Committer { log_bytes_max: bytes, log_commits_max: commits, ..self }
    }

    /// Writes what has to be on disk before the first commit: a state without a log, and what of it may be ephemeral.
    pub fn start(&mut self, engine: &mut Engine) -> Result<(), Fault> {
        let Some(transaction) = self.begin_last(engine) else { return Ok(()) };
        let outcome = self.write(&transaction);
        self.owes_checkpoint = outcome.is_err();
        self.end(engine, &transaction, outcome)?;
        Ok(())
    }

    /// How the journal is.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// No name that was given before has a later time.
    pub fn names(&self) -> Timestamp {
        self.names
    }

    /// Names are given that have times up to this one: the next start is to know of it.
    pub fn give_names(&mut self, through: Timestamp) {
        self.names = self.names.max(through);
    }

    /// What has to be written now; `None` when nothing has.
    pub fn begin(&mut self, engine: &mut Engine) -> Option<Transaction> {
        if self.status != Status::Works {
            return None;
        }
        let mut transaction = Transaction::default();
        let batch = engine.take_batch();
        let has_batch = batch.is_some();
        if let Some(batch) = batch {
            self.log_bytes += batch.body.len();
            self.log_commits += batch.commits;
            transaction.batch = (!batch.body.is_empty()).then_some(batch);
        }
        let is_long = self.log_bytes > self.log_bytes_max || self.log_commits > self.log_commits_max;
        if is_long || self.owes_checkpoint {
            transaction.checkpoint = Some(engine.checkpoint());
        }
        self.add_leases(engine, &mut transaction);
        (has_batch || !transaction.is_empty()).then_some(transaction)
    }

    fn add_leases(&mut self, engine: &Engine, transaction: &mut Transaction) {
        if self.names > self.names_lease {
            transaction.names = Some(Timestamp(self.names.0.saturating_add(NAMES_LEASE_MS)));
        }
        transaction.ephemeral = self.ephemeral.clone();
        let newest =
            transaction.batch.as_ref().map_or(Revision::NONE, |batch| batch.last).max(engine.revision());
        if engine.has_ephemeral() && self.lease.0 < newest.0 + LEASE / 2 {
            transaction.lease = Some(Revision(newest.0 + LEASE));
        }
    }

    /// Makes it durable. This is what takes time.
    pub fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        if transaction.is_empty() {
            // Commits that change nothing, behind others that are durable by now.
            return Ok(());
        }
        self.journal.write(transaction)
    }

    /// Applies what is durable, or forgets what is not.
    pub fn end(
        &mut self,
        engine: &mut Engine,
        transaction: &Transaction,
        outcome: Result<(), Fault>,
    ) -> Settled {
        self.confirm(engine, transaction, outcome)?;
        Ok(engine.settle())
    }

    /// The first half of [`Committer::end`]: after it, what is durable has to be [settled](Engine::settle), at once or in parts.
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
            // What is in the log is what came with the checkpoint.
            self.log_bytes = transaction.batch.as_ref().map_or(0, |batch| batch.body.len());
            self.log_commits = transaction.batch.as_ref().map_or(0, |batch| batch.commits);
        }
        self.newest = transaction.batch.as_ref().map_or(self.newest, |batch| batch.last);
        self.lease = transaction.lease.unwrap_or(self.lease);
        engine.lease_own(self.lease);
        self.names_lease = transaction.names.unwrap_or(self.names_lease);
        self.ephemeral = None;
        Ok(())
    }

    /// Looks whether the journal is still there. When it is not, it has failed, and all that waits for it.
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

    /// What is to be written last: after it, the log is empty. Nothing may be in line any more.
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

    /// Gives back room on disk that is not used. `live`: bytes of what there is.
    pub fn tidy(&mut self, live: u64) -> Result<(), Fault> {
        self.journal.tidy(live)
    }

    /// The journal.
    pub fn journal(&self) -> &J {
        &self.journal
    }

    /// The journal, for those who make it fail.
    pub fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }

    /// The journal, when nothing more is to be written.
    pub fn into_journal(self) -> J {
        self.journal
    }
}
