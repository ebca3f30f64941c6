//! The trait of a journal, its transactions and its faults.

use std::any::Any;

use halfping_engine::{Batch, Checkpoint, Corrupt, Revision, Timestamp};
use thiserror::Error;

/// Journal: keeps commits.
pub trait Journal: Send {
    /// Makes a transaction durable, whole or not at all. After a fault it is not known which; then
    /// nothing is written before [`Journal::recover`] has succeeded.
    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault>;

    /// Passes all contents to `into`, without changing them.
    fn read(&mut self, into: &mut dyn Contents) -> Result<(), Fault>;

    /// Checks that the next start will look where writes go now.
    fn is_in_place(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Gives back unused room, if it is much. `live`: bytes in use.
    fn tidy(&mut self, live: u64) -> Result<(), Fault> {
        let _ = live;
        Ok(())
    }

    /// Makes the journal usable again after a fault, without the batches after revision `newest`:
    /// their clients were told that they failed.
    fn recover(&mut self, newest: Revision) -> Result<(), Fault>;
}

/// Transaction: written at once, whole or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transaction {
    /// Commits that go to the log.
    pub batch: Option<Batch>,
    /// Rows, which replace the log up to their revision.
    pub checkpoint: Option<Checkpoint>,
    /// The revision up to which ephemeral commits may be made from now on.
    pub lease: Option<Revision>,
    /// The parts that are ephemeral from now on, as patterns of paths.
    pub ephemeral: Option<Vec<String>>,
    /// The time up to which names may be given from now on.
    pub names: Option<Timestamp>,
}

impl Transaction {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Transaction::default()
    }
}

/// Header of a journal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Bits of the epoch; see [`Epoch::from_random`](halfping_engine::Epoch::from_random).
    pub epoch: u64,
    /// The revision of the rows; none when there are no rows.
    pub through: Revision,
    /// The revision up to which ephemeral commits may have been made.
    pub lease: Revision,
    /// The parts that were ephemeral, as patterns of paths.
    pub ephemeral: Vec<String>,
    /// The time up to which names may have been given.
    pub names: Timestamp,
    /// The commit times of revisions, in the engine's encoding.
    pub times: Vec<u8>,
    /// The number of rows.
    pub rows: u64,
    /// The number of batches in the log.
    pub batches: u64,
}

/// Visitor of a journal's contents: the header first, then all rows in order of their keys, then
/// the log in order.
pub trait Contents {
    /// The header.
    fn header(&mut self, header: Header) -> Result<(), Corrupt>;
    /// One row. `place`: its place among the rows of one object's members.
    fn row(&mut self, key: &[u8], place: u64, body: &[u8]) -> Result<(), Corrupt>;
    /// The commits of one transaction, up to revision `last`.
    fn batch(&mut self, last: Revision, body: &[u8]) -> Result<(), Corrupt>;
}

/// A fault of a journal.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{what}")]
pub struct Fault {
    /// The kind of the fault.
    pub kind: FaultKind,
    /// The system's message.
    pub what: String,
}

/// Kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// There is no room left.
    Full,
    /// The journal is read-only.
    ReadOnly,
    /// Another process uses the journal.
    InUse,
    /// The journal has a version that is unknown here.
    Version,
    /// The contents are not what was written.
    Damaged,
    /// The ephemeral parts of the configuration do not fit the contents.
    Regions,
    /// Anything else.
    Io,
}

impl FaultKind {
    /// True if the fault may pass without anybody's help.
    pub fn may_pass(self) -> bool {
        matches!(self, FaultKind::Full | FaultKind::ReadOnly | FaultKind::Io)
    }

    /// The kind in a word or two, for logs, metrics and health.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Full => "full",
            FaultKind::ReadOnly => "read-only",
            FaultKind::InUse => "in use",
            FaultKind::Version => "version",
            FaultKind::Damaged => "damaged",
            FaultKind::Regions => "regions",
            FaultKind::Io => "io",
        }
    }
}

impl Fault {
    /// Makes a fault of a panic's message.
    pub fn of_panic(kind: FaultKind, panic: &(dyn Any + Send)) -> Fault {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        Fault::new(
            kind,
            what.or(panic.downcast_ref::<&str>().copied()).unwrap_or("the store panicked"),
        )
    }

    /// A fault of some kind.
    pub fn new(kind: FaultKind, what: impl Into<String>) -> Fault {
        Fault { kind, what: what.into() }
    }
}

impl From<Corrupt> for Fault {
    fn from(corrupt: Corrupt) -> Fault {
        Fault::new(FaultKind::Damaged, corrupt.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        use std::io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                FaultKind::Full
            }
            ErrorKind::ReadOnlyFilesystem => FaultKind::ReadOnly,
            // redb's error for a file that is not its own, or not whole.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => FaultKind::Damaged,
            _ => FaultKind::Io,
        };
        Fault::new(kind, error.to_string())
    }
}
