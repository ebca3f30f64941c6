//! What a journal is.

use std::any::Any;

use halfping_engine::{Batch, Checkpoint, Corrupt, Revision, Timestamp};
use thiserror::Error;

/// Something that keeps commits.
pub trait Journal: Send {
    /// Makes a transaction durable, whole or not at all. After a fault it is not known which; then nothing is written before
    /// [`Journal::recover`] has succeeded.
    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault>;

    /// Shows all that is there. Nothing is changed by it.
    fn read(&mut self, into: &mut dyn Contents) -> Result<(), Fault>;

    /// Whether what is written still goes to where it is looked for the next time.
    fn is_in_place(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Gives back room that is not used, if that is much. `live`: bytes of what there is.
    fn tidy(&mut self, live: u64) -> Result<(), Fault> {
        let _ = live;
        Ok(())
    }

    /// Makes the journal usable again after a fault, without the batches after a revision: whoever waited for them was told that they failed.
    fn recover(&mut self, newest: Revision) -> Result<(), Fault>;
}

/// What is written at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transaction {
    /// Commits that go to the log.
    pub batch: Option<Batch>,
    /// Rows, in whose place the log up to their revision is removed.
    pub checkpoint: Option<Checkpoint>,
    /// Up to which revision ephemeral commits may be made from now on.
    pub lease: Option<Revision>,
    /// What is ephemeral from now on, as patterns of paths.
    pub ephemeral: Option<Vec<String>>,
    /// Up to which time names may be given from now on.
    pub names: Option<Timestamp>,
}

impl Transaction {
    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        *self == Transaction::default()
    }
}

/// What a journal says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Bits of the epoch; see [`Epoch::from_random`](halfping_engine::Epoch::from_random).
    pub epoch: u64,
    /// The state that the rows have; none when there are none.
    pub through: Revision,
    /// Up to which revision ephemeral commits may have been made.
    pub lease: Revision,
    /// What was ephemeral, as patterns of paths.
    pub ephemeral: Vec<String>,
    /// Up to which time names may have been given.
    pub names: Timestamp,
    /// When revisions were committed, as the engine writes it.
    pub times: Vec<u8>,
    /// How many rows there are.
    pub rows: u64,
    /// How many batches there are in the log.
    pub batches: u64,
}

/// Something that looks at what a journal has: first the header, then all rows in order of their keys, then the log in order.
pub trait Contents {
    /// What the journal says of itself.
    fn header(&mut self, header: Header) -> Result<(), Corrupt>;
    /// One row. `place`: rows of one object's members are in order of theirs.
    fn row(&mut self, key: &[u8], place: u64, body: &[u8]) -> Result<(), Corrupt>;
    /// The commits of one transaction, up to revision `last`.
    fn batch(&mut self, last: Revision, body: &[u8]) -> Result<(), Corrupt>;
}

/// A journal that does not do what it should.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{what}")]
pub struct Fault {
    /// What kind of trouble it is.
    pub kind: FaultKind,
    /// What the system says.
    pub what: String,
}

/// Kinds of trouble with a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// There is no room left.
    Full,
    /// It can be read only.
    ReadOnly,
    /// Somebody else uses it.
    InUse,
    /// It is of a version that is not known here.
    Version,
    /// What is there is not what was written.
    Damaged,
    /// What is to be ephemeral does not go with what is there.
    Regions,
    /// Anything else.
    Io,
}

impl FaultKind {
    /// Whether it may be over before anybody has looked into it.
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
    /// What a panic said, as a fault.
    pub fn of_panic(kind: FaultKind, panic: &(dyn Any + Send)) -> Fault {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        Fault::new(kind, what.or(panic.downcast_ref::<&str>().copied()).unwrap_or("the store panicked"))
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
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => FaultKind::Full,
            ErrorKind::ReadOnlyFilesystem => FaultKind::ReadOnly,
            // What redb says of a file that is not one of its own, or not a whole one.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => FaultKind::Damaged,
            _ => FaultKind::Io,
        };
        Fault::new(kind, error.to_string())
    }
}
