//! The state machine inside Halfping: one JSON tree, one sequence of revisions, links that are
//! cursors; and other roots beside the tree, each with a sequence of its own.
//!
//! Nothing here does IO, reads a clock, spawns or awaits: time is an argument, output is returned.
//! Start with [`Engine`], whose documentation states the one law of its use. `ARCHITECTURE.md` in
//! the repository tells how the parts fit.
//!
//! Sources of the ideas: revisions and opaque cursors from etcd and Kubernetes, the epoch from
//! Centrifugo, links and `synced` from Swim's WARP, conflation from market data, merge patches from
//! RFC 7396 and JSON Patch from RFC 6902.

mod cursor;
mod engine;
mod grow;
mod limits;
#[cfg(not(feature = "mutants"))]
mod mutants;
#[cfg(feature = "mutants")]
pub mod mutants;
mod path;
mod read;
mod refusal;
mod rows;
mod times;
mod tree;
mod write;

pub use cursor::{Cursor, Epoch, Revision, write_decimal};
pub use engine::copy::{Copied, Copying, Read};
pub use engine::restore::Restoring;
pub use engine::roots::RootId;
pub use engine::standing::{LinkStanding, Standing};
pub use engine::submit::Submitted;
pub use engine::{Engine, Metadata, Reading, Stats};
pub use limits::Limits;
pub use path::{Path, PathError};
pub use read::frame::{ENCODINGS, Frame, Kind, Update};
pub use read::link::{Charge, Priority, Watch};
pub use read::scope::{Others, Scope, Within};
pub use read::session::SessionId;
pub use read::view::{View, Wanted};
pub use refusal::Refusal;
pub use rows::codec::Corrupt;
pub use rows::{Checkpoint, Key, Row};
pub use times::{Tick, Timestamp};
pub use tree::garbage::Husks;
pub use tree::key::{escape_breaks, write_json_string};
pub use write::action::{Action, Condition, States, Write, Written};
pub use write::json::{Json, JsonError, JsonErrorKind};
pub use write::judge::{Effect, Held, Judge, State};
pub use write::patch::{Patch, PatchError};
pub use write::pending::Batch;
pub use write::region::{Pattern, Regions};

#[cfg(test)]
mod tests;
