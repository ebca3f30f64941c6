//! The state machine inside Halfping: one JSON tree, one sequence of revisions, links that are cursors.
//!
//! Nothing here does IO, reads a clock, spawns or awaits: time is an argument, output is returned. Start with [`Engine`], whose
//! documentation states the one law of its use. `ARCHITECTURE.md` in the repository tells how the parts fit.
//!
//! Where the ideas come from: revisions and opaque cursors from etcd and Kubernetes, the epoch from Centrifugo, links and `synced`
//! from Swim's WARP, conflation from market data, merge patches from RFC 7396 and JSON Patch from RFC 6902.

mod apply;
mod base;
mod change;
mod claims;
mod codec;
mod condition;
mod copy;
mod cursor;
mod delta;
mod engine;
mod frame;
mod garbage;
mod interest;
mod json;
mod key;
mod limits;
mod link;
mod mark;
#[cfg(not(feature = "mutants"))]
mod mutants;
#[cfg(feature = "mutants")]
pub mod mutants;
mod notes;
mod operate;
mod order;
mod overlay;
mod own;
mod patch;
mod path;
mod pending;
mod record;
mod refusal;
mod region;
mod restore;
mod seen;
mod serve;
mod session;
mod sharing;
mod splice;
mod standing;
mod stored;
mod submit;
mod text;
mod times;
mod tree;
mod walk;
mod write;

pub use codec::Corrupt;
pub use copy::{Copied, Copying, Read};
pub use cursor::{Cursor, Epoch, Revision};
pub use engine::{Engine, Metadata, Reading, Stats, Watch};
pub use frame::{ENCODINGS, Frame, Kind, Update};
pub use garbage::Husks;
pub use json::{Json, JsonError, JsonErrorKind};
pub use key::{escape_breaks, write_json_string};
pub use limits::Limits;
pub use link::Priority;
pub use own::OWN;
pub use patch::Patch;
pub use path::{Path, PathError};
pub use pending::Batch;
pub use refusal::{PatchError, Refusal};
pub use region::{Pattern, Regions};
pub use restore::Restoring;
pub use session::SessionId;
pub use standing::{LinkStanding, Standing};
pub use stored::{Checkpoint, Key, Row};
pub use submit::Submitted;
pub use times::{Tick, Timestamp};
pub use write::{Action, Condition, States, Write, Written};

#[cfg(test)]
mod tests;
