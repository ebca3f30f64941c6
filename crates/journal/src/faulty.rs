//! A journal that fails on demand.

use halfping_engine::Revision;

use crate::journal::{Contents, Fault, FaultKind, Journal, Transaction};

/// Outcome of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// The transaction is written.
    Works,
    /// The transaction is not written, and reported as failed.
    Fails(FaultKind),
    /// The transaction is written, and yet reported as failed, as a failed sync may be.
    FailsAfter(FaultKind),
}

/// A journal around another one, with planned faults.
pub struct Faulty<J, P> {
    journal: J,
    plan: P,
    has_failed: bool,
}

impl<J, P> Faulty<J, P> {
    /// Makes the journal. `plan` gives the outcome of the next transaction, or of an attempt to
    /// recover (`None`).
    pub fn new(journal: J, plan: P) -> Faulty<J, P> {
        Faulty { journal, plan, has_failed: false }
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, format!("planned: {}", kind.name()))
}

impl<J: Journal, P: FnMut(Option<&Transaction>) -> Plan + Send> Journal for Faulty<J, P> {
    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        if self.has_failed {
            return Err(Fault::new(FaultKind::Io, "it failed before, and has not recovered"));
        }
        match (self.plan)(Some(transaction)) {
            Plan::Works => self.journal.write(transaction),
            Plan::Fails(kind) => {
                self.has_failed = true;
                Err(fault(kind))
            }
            Plan::FailsAfter(kind) => {
                self.has_failed = true;
                self.journal.write(transaction)?;
                Err(fault(kind))
            }
        }
    }

    fn read(&mut self, into: &mut dyn Contents) -> Result<(), Fault> {
        self.journal.read(into)
    }

    fn recover(&mut self, newest: Revision) -> Result<(), Fault> {
        match (self.plan)(None) {
            Plan::Works => {
                self.has_failed = false;
                self.journal.recover(newest)
            }
            Plan::Fails(kind) | Plan::FailsAfter(kind) => Err(fault(kind)),
        }
    }
}
