//! Where commits are made durable.
//!
//! A [`Journal`] takes [transactions](Transaction), each of which is on disk whole or not at all when it returns. What is in it: the newest
//! commits as a log, and the tree as of some revision before them as rows. [`Store`] keeps them in a file (redb), [`Memory`] in memory, for
//! tests, and [`Faulty`] makes either fail when it is told to.
//!
//! [`Committer`] brings engine and journal together: group commit, checkpoints, and what happens when the disk fails. [`open`] makes an
//! engine from what a journal has. `docs/on-disk-format.md` in the repository states what is on disk.

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
