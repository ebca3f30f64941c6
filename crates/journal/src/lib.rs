//! Journal: makes commits durable.
//!
//! A [`Journal`] takes [transactions](Transaction), each of which is on disk whole or not at all
//! when it returns. It holds the newest commits as a log, and the tree as of some revision before
//! them as rows. [`Store`] keeps them in a file (redb), [`Memory`] in memory, for tests, and
//! [`Faulty`] makes either fail on demand.
//!
//! [`Committer`] connects engine and journal: group commit, checkpoints, and the handling of disk
//! failures. [`open`] makes an engine from the contents of a journal. `docs/on-disk-format.md` in
//! the repository states the format on disk.

mod backend;
mod committer;
mod faulty;
mod journal;
mod memory;
mod open;
mod store;

pub use backend::{Backend, FILE, FileIn, close_to_others};
pub use committer::{Committer, Settled, Status};
pub use faulty::{Faulty, Plan};
pub use journal::{Contents, Fault, FaultKind, Header, Journal, Transaction};
pub use memory::Memory;
pub use open::{Opened, Progress, check, open};
pub use store::Store;
